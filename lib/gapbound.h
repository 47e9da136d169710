/* SPDX-License-Identifier: ISC */
/*
 * Gap bounds of the branches above a node (invariant 7, branch.h).  A bound is written only by who also holds the
 * child, or raises on behalf of who holds a node below it; so the child's holder may read it unlocked, and a failed try
 * may restore it.
 */
#ifndef CLEAVE_GAPBOUND_H
#define CLEAVE_GAPBOUND_H

#include "pool.h"

/*
 * A gap of this size is about to appear inside the locked live node of `level` that holds `addr`: no bound above it
 * may be lower.  Blocks outside of read sections; with `try_only` it is called inside one.
 * `parent` (may be NULL, and is if this may block): the node's, found by a walk of this section, whose bound is too
 * low.  False: `try_only`, and a branch is locked, or the parent dead; nothing is raised.
 */
bool cleave__raise(struct cleave *index, struct cleave_thread *self, unsigned int level, uint64_t addr, uint64_t gap,
		   struct cleave__branch *parent, bool try_only);

/*
 * A search found nothing under `child`, the i-th of a branch, though its bound let it in: if both are free to lock, and
 * live, lower the bound to what the child has: `gap`, if it is a leaf whose order word is still `order`.  (Live, they
 * are child and parent still: a child dies before another takes its place.)  Inside the section of the search; never
 * waits.
 */
void cleave__lower_rcu(const struct cleave *index, struct cleave_thread *self, struct cleave__branch *parent,
		       unsigned int i, struct cleave__node *child, uint64_t order, uint64_t gap)
	PORT_INSIDE;

/* The largest gap inside a node: exact for a leaf, the largest bound for a branch.  The node is locked or private. */
uint64_t cleave__node_gap(struct cleave__node *node);

/* May a gap of that size appear in this leaf, as far as its parent is concerned (invariant 7)? */
static PORT_ALWAYS_INLINE bool cleave__bound_allows(const struct cleave__position *position, uint64_t gap)
{
	const struct cleave__branch *parent = position->parent;

	return !parent ||
	       (cleave__branch_gap(parent, position->index) >= gap && !cleave__dead_locked(&parent->node));
}

#endif
