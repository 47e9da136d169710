/* SPDX-License-Identifier: ISC */
/*
 * Erasing up to the border of a leaf.  A gap never reaches over a border (invariant 1): of two leaves that meet, at
 * most one has a gap there.  So who makes a gap at a border looks at the neighbour, under its lock too, and
 *
 *   - the neighbour has an entry there: edits its own leaf, nothing else changes;
 *   - it has a gap there: one leaf must hold both, and the border between the two moves (siblings.h).
 *
 * In the first case the neighbour is let go before the store; a gap cannot come there meanwhile:
 *	1. T1: locks A; locks B, sees an entry, unlocks B
 *	2. T2: locks B, to erase what begins it; tries A, which is locked; lets B go and begins a transaction
 *	3. T1: stores its gap, unlocks A
 *	4. T2: locks A, then B; sees T1's gap
 * Without any lock of the neighbour each would see the other's entry, and both would store a gap.
 *
 * The lock of the neighbour, which may be out of order, is only tried, as are those above the two.  What cannot be
 * done so takes a transaction.
 */
#ifndef CLEAVE_BORDER_H
#define CLEAVE_BORDER_H

#include "siblings.h"

/* The neighbours, left and right, that have a gap at the border: they are locked.  NULL: nothing to be joined. */
struct cleave__border {
	struct cleave__node *joins[2];
};

/* Does [first, last], inside the node, reach one of its ends, where a neighbour begins? */
static PORT_ALWAYS_INLINE bool cleave__border_reached(const struct cleave__node *node, uint64_t first, uint64_t last)
{
	return (first == node->first) & (first != 0) || (last == node->last) & (last != UINT64_MAX);
}

/*
 * Which neighbours must be joined if [first, last] of a locked leaf becomes a gap?  Inside a read section.
 * False: a neighbour is locked or dead; nothing is held.
 */
bool cleave__border_look(struct cleave *index, const struct cleave__position *position, uint64_t first, uint64_t last,
			 struct cleave__border *border) PORT_INSIDE PORT_LOCKED(position->node->lock);

/*
 * Erase [first, last], join the gap of the one neighbour, and move the border (cleave__move_border()).
 * True: published; the leaf is dead, and *others lists, by link, what else is to be retired once the section is left.
 * False: nothing changed; it takes a restructure.
 */
bool cleave__border_move(struct cleave *index, struct cleave_thread *self, const struct cleave__position *position,
			 uint64_t first, uint64_t last, struct cleave__border *border, struct cleave__node **others)
	PORT_INSIDE PORT_LOCKED(position->node->lock);

void cleave__border_release(struct cleave *index, struct cleave__border *border);

#endif
