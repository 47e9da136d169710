/* SPDX-License-Identifier: ISC */
/*
 * Deferred frees for peers that need grace periods: those of the library's own memb domain, so that all pay the same
 * for them, and in batches, one cookie each.  A node waits in a thread's list and comes back to its free list; what
 * frees it is the peer's.
 */
#ifndef BENCH_GRACE_H
#define BENCH_GRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRACE_BATCH 64

struct grace; /* a domain */

/* Stands at the beginning of what is retired. */
struct grace_link {
	struct grace_link *next;
};

struct grace_list {
	struct grace_link *head;
	size_t n;
};

/* One thread's; `release` gets each node once its grace period has passed. */
struct grace_thread {
	void *record; /* of the domain */
	struct grace_list young;
	struct grace_list old;
	uint64_t cookie; /* of the old ones */
	void (*release)(struct grace_thread *thread, struct grace_link *node);
};

/* Through pointers: the module of the maple tree is no part of this program. */
struct grace_calls {
	struct grace *(*start)(void);
	void (*stop)(struct grace *grace);
	void (*attach)(struct grace_thread *thread, struct grace *grace);
	void (*detach)(struct grace_thread *thread);
	void (*settle)(struct grace_thread *thread);
	void (*drain)(struct grace_thread *thread); /* waits until all of its nodes are released */
};

extern const struct grace_calls grace_calls;

/* Readers may still be at the node. */
static inline void grace_retire(struct grace_thread *thread, struct grace_link *node)
{
	node->next = thread->young.head;
	thread->young.head = node;
	thread->young.n++;
}

/* After each change, outside of locks. */
static inline void grace_settle(const struct grace_calls *calls, struct grace_thread *thread)
{
	if (thread->old.n || thread->young.n >= GRACE_BATCH)
		calls->settle(thread);
}

#endif
