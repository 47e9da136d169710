/* SPDX-License-Identifier: ISC */
/*
 * The nodes of an RCU domain: each thread has a cache of clean nodes and two limbos of retired ones.
 *
 *	retire -> young (no cookie yet) --a batch full: one cookie--> old --done: one by one--> reused
 *
 * An update waits for no grace period, unless garbage passes the domain's limit.  What a thread leaves behind goes to
 * the domain's orphans.
 */
#ifndef CLEAVE_POOL_H
#define CLEAVE_POOL_H

#include "nodelock.h"

#define CLEAVE__BATCH PORT_BATCH /* retired nodes that share a cookie */

static inline size_t cleave__node_size(enum cleave__kind kind)
{
	return kind == CLEAVE__LEAF ? sizeof(struct cleave__leaf) : sizeof(struct cleave__branch);
}

/*
 * Have at least that many unpromised nodes in the cache.  Outside of read sections.  `may_wait`: no node of this index
 * is locked, so that a grace period may be waited for when garbage is above its limit.  (A transaction on another index
 * may be open: nobody waits for its locks inside a read section, so the grace period does not wait for it.)
 * 0; -ENOMEM: the allocator has none, or garbage is at twice its limit and may not be waited for.
 */
int cleave__pool_fill(struct cleave_thread *self, unsigned int leaves, unsigned int branches, bool may_wait);

/* Take a node from the cache.  NULL: it is empty. */
struct cleave__node *cleave__pool_take(struct cleave_thread *self, enum cleave__kind kind);

/* Put a node back that no reader has seen. */
void cleave__pool_give(struct cleave_thread *self, struct cleave__node *node);

/* Retire a node that was published over.  Its lock is free. */
void cleave__pool_retire(struct cleave_thread *self, struct cleave__node *node);

/* The same, and a list of others, by link. */
static inline void cleave__pool_retire_with(struct cleave_thread *self, struct cleave__node *node,
					    struct cleave__node *others)
{
	struct cleave__node *next;

	cleave__pool_retire(self, node);
	for (; others; others = next) {
		next = others->link;
		cleave__pool_retire(self, others);
	}
}

/* cleave__pool_clean_cells(), when some wait: take back those whose grace period has passed, and start one for the rest. */
unsigned int cleave__pool_recycle_cells(struct cleave_thread *self, struct cleave__leaf *leaf, unsigned int clean);

/*
 * Start the grace period of a locked leaf's young cells, unless old ones wait for another.  If their cookie would be the
 * same, what they wait for is the same (types.h: tokens that are equal), and the young join the old.
 */
void cleave__pool_age_cells(struct cleave_thread *self, struct cleave__leaf *leaf);

/*
 * After an edit that dropped cells: start their grace period now, so that it has passed by the next edit.  (A cookie costs
 * a full barrier.  But to take one only where few cells are left is to ask what is as good as random, at each edit twice:
 * mispredicted, that costs more, by 20 ns for an unmap and a map.)
 */
static inline void cleave__pool_dropped_cells(struct cleave_thread *self, struct cleave__leaf *leaf)
{
	if (leaf->node.young)
		cleave__pool_age_cells(self, leaf);
}

/* The cells of a locked leaf that may be written. */
static inline unsigned int cleave__pool_clean_cells(struct cleave_thread *self, struct cleave__leaf *leaf,
						    uint64_t order)
{
	unsigned int dirty = leaf->node.young | leaf->node.old;
	unsigned int clean = ~(cleave__live(order) | dirty) & CLEAVE__ALL_CELLS;

	return dirty ? cleave__pool_recycle_cells(self, leaf, clean) : clean;
}

/* Give nodes above the thread's stock back to the allocator. */
void cleave__pool_trim(struct cleave_thread *self);

/* Garbage is above the domain's limit: wait for a grace period.  Outside of read sections, without node locks here. */
void cleave__pool_wait_garbage(struct cleave_thread *self) PORT_OUTSIDE;

/* The end of a call, outside of read sections and locks: let the port push on what the call waits for in vain. */
static inline void cleave__pool_nudge(struct cleave_thread *self)
{
	uint64_t cookie = self->wanted;

	if (PORT_UNLIKELY(cookie)) {
		self->wanted = 0;
		if (self->domain->ops->advance)
			self->domain->ops->advance(self->domain, self, cookie);
	}
}

/* The limit of garbage may be passed by those that cannot wait, up to twice. */
static inline bool cleave__pool_over_limit(const struct cleave_thread *self, unsigned int times)
{
	int64_t garbage = (int64_t)PORT_LOAD(&self->domain->garbage, PORT_RELAXED);

	return garbage > 0 && (uint64_t)garbage > times * self->domain->garbage_limit;
}

#endif
