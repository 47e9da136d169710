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

#define CLEAVE__BATCH 16u /* retired nodes that share a cookie */

static inline size_t cleave__node_size(enum cleave__kind kind)
{
	return kind == CLEAVE__LEAF ? sizeof(struct cleave__leaf) : sizeof(struct cleave__branch);
}

/*
 * Have at least that many unpromised nodes in the cache.  Outside of read sections; `may_wait`: no node lock is held,
 * so that a grace period may be waited for when garbage is above its limit.
 * 0; -ENOMEM.
 */
int cleave__pool_fill(struct cleave_thread *self, unsigned int leaves, unsigned int branches, bool may_wait);

/* Take a node from the cache.  NULL: it is empty. */
struct cleave__node *cleave__pool_take(struct cleave_thread *self, enum cleave__kind kind);

/* Put a node back that no reader has seen. */
void cleave__pool_give(struct cleave_thread *self, struct cleave__node *node);

/* Retire a node that was published over.  Its lock is free. */
void cleave__pool_retire(struct cleave_thread *self, struct cleave__node *node);

/* cleave__pool_clean_cells(), when few are clean: recycle what passed its grace period, and start one for the rest. */
unsigned int cleave__pool_recycle_cells(struct cleave_thread *self, struct cleave__leaf *leaf, unsigned int clean);

/* The cells of a locked leaf that may be written. */
static inline unsigned int cleave__pool_clean_cells(struct cleave_thread *self, struct cleave__leaf *leaf,
						    uint64_t order)
{
	unsigned int dirty = leaf->node.young | leaf->node.old;
	unsigned int clean = ~(cleave__live(order) | dirty) & CLEAVE__ALL_CELLS;
	unsigned int above_one = clean & (clean - 1);

	/* Below three: ahead of need, because a grace period takes a while. */
	if (PORT_UNLIKELY((above_one & (above_one - 1)) == 0 && dirty))
		return cleave__pool_recycle_cells(self, leaf, clean);
	return clean;
}

/* Give nodes above a small stock back to the allocator.  Outside of read sections, without locks. */
void cleave__pool_trim(struct cleave_thread *self);

#endif
