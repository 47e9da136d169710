/* SPDX-License-Identifier: ISC */
/*
 * Read sections, a domain and memory for nodes in the Linux kernel: what <cleave/section.h> is in userspace.
 *
 *	rcu_read_lock(), rcu_read_unlock()	a section; cleave_section_enter() and leave() are the same.  They nest,
 *						and are everybody's: a section that was entered for another structure
 *						protects this one, too.  Nobody sleeps in them.
 *	struct cleave_linux			a domain; its member `domain` is the struct cleave_domain
 *	struct cleave_linux_thread		a thread's record, for changes; lookups need none.  Its member `thread`
 *						is the struct cleave_thread.  One for each task that changes something,
 *						or one for each operation under way
 *	struct cleave_linux_memory		kmem_cache and kvmalloc(), for any number of domains
 *
 * All of it in process context, outside of sections but for enter and leave, and without a spinlock held.
 */
#ifndef CLEAVE_SECTION_H
#define CLEAVE_SECTION_H

#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include <cleave/cleave.h>

#include "../kernel/grace_types.h"

#define CLEAVE_LINUX_CACHES 8 /* of objects of 64 to 512 bytes */

struct cleave_linux_memory {
	struct cleave_memory memory;
	gfp_t gfp; /* [I] */
	struct kmem_cache *caches[CLEAVE_LINUX_CACHES];
};

/*
 * gfp: GFP_KERNEL, or what does not reclaim (GFP_NOFS, GFP_NOWAIT, ...): for an index on whose locks reclaim may wait.
 * Return: 0; -ENOMEM.
 */
int cleave_linux_memory_init(struct cleave_linux_memory *memory, gfp_t gfp);
/* All that was allocated has been freed: after the domains' ends. */
void cleave_linux_memory_destroy(struct cleave_linux_memory *memory);

/* The members are the port's.  [l] under `lock`. */
struct cleave_linux {
	struct cleave_domain domain;
	struct cleave_grace grace;
	spinlock_t lock;
	uint64_t running;    /* [l] the number of the grace period under way; 0: there is none */
	unsigned long state; /* [l] what poll_state_synchronize_rcu() knows it by */
};

struct cleave_linux_thread {
	struct cleave_thread thread;
};

/* garbage_limit: nodes above which an update waits for a grace period; 0 for 16384. */
void cleave_linux_start(struct cleave_linux *domain, const struct cleave_memory *memory, uint64_t garbage_limit);
/* No record, no index, no reader is left. */
void cleave_linux_stop(struct cleave_linux *domain);

void cleave_linux_register(struct cleave_linux_thread *record, struct cleave_linux *domain);
void cleave_linux_unregister(struct cleave_linux_thread *record, struct cleave_linux *domain);

#define CLEAVE_SECTION_DOMAIN struct cleave_linux
#define CLEAVE_SECTION_THREAD struct cleave_linux_thread
#define cleave_section_start cleave_linux_start
#define cleave_section_stop cleave_linux_stop
#define cleave_section_register cleave_linux_register
#define cleave_section_unregister cleave_linux_unregister

static inline void cleave_section_enter(CLEAVE_SECTION_THREAD *record)
{
	(void)record;
	rcu_read_lock();
}

static inline void cleave_section_leave(CLEAVE_SECTION_THREAD *record)
{
	(void)record;
	rcu_read_unlock();
}

#endif
