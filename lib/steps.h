/* SPDX-License-Identifier: ISC */
/* How a cursor goes from leaf to leaf: upward in search.c, downward in cursor.c. */
#ifndef CLEAVE_STEPS_H
#define CLEAVE_STEPS_H

#include "walk.h"

/* A neighbour's lines come while entries before it are visited. */
static inline void cleave__prefetch_child(const struct cleave__branch *parent, unsigned int i) PORT_INSIDE
{
	if (parent && i < parent->node.count)
		cleave__leaf_prefetch(cleave__link_read_rcu(&parent->child[i]));
}

/*
 * From a leaf whose word was read to the i-th child of its parent, which is beside it, without a walk.  Only while the
 * parent lives, looked at after the word was read; for visits are of times that do not decrease, and without that:
 *	1. cursor: walks to A, under P
 *	2. writer: divides B, beside A: P is dead, P' in its place;  then it changes A
 *	3. cursor: reads A, as it is now; goes on from P to B, as it was before 2
 * What the parent had when it was alive was there at that moment; should it die before the child is read, then in the
 * moment when it died, which is later.  (So the branch beside the parent serves as well, with its first or last child,
 * however long ago it was found.)
 * The live cells are the caller's to count.
 */
static inline bool cleave__step(struct cleave__position *position, unsigned int i) PORT_INSIDE
{
	const struct cleave__branch *parent = position->parent;

	if (!parent || i >= parent->node.count || cleave__dead_locked(&parent->node))
		return false;
	position->node = cleave__link_read_rcu(&parent->child[i]);
	position->index = i;
	position->order = cleave__order_rcu(cleave__leaf_const(position->node));
	return true;
}

#endif
