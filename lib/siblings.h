/* SPDX-License-Identifier: ISC */
/*
 * One or two neighbouring leaves of one branch give way to others, and the branch to a copy of it with other children:
 * the commonest restructures, without a transaction.
 *
 *	before			 after
 *	     G			     G
 *	     |			     |
 *	     P			     P'
 *	    / \			    /|\
 *	   A   B		  A' N B'	a full leaf is divided, and shares its neighbour's room
 *			 or	  A'  B'	the border between two leaves moves
 *			 or	   AB		a small leaf is joined with its neighbour
 *
 * A, which the caller changes, is locked.  B's lock, which may be out of order, is only tried, as are then those of P
 * and G.  With A locked, what the leaves will be can be built before P and G are; P's copy is made under its lock, so
 * that it has the children and bounds of the moment (invariants 6 and 7).  A live branch found by the walk and locked
 * is the parent of A, and so of B:
 *	1. T1: walks to A under P, locks A, which lives
 *	2. T2: replaces P by P2, which has A too (for another child's sake); P is dead
 *	3. T1: locks P, sees that it is dead, gives up.  Had it copied P, the other child's change would be lost.
 *
 * If P is full, it is divided as well, so that the new leaves are beside each other; who goes upward, or downward,
 * leaves a branch behind that is well filled.  G is replaced, too, and published at what is above it.
 *
 *	     G			     G'
 *	     |			    / \
 *	     P			   P'  Q
 *	    / \			   |  / \
 *	  ...  A		  ... A' N
 *
 * What cannot be done so (P is full, and is the root, or G is full too, or the branch behind P has room to share; P has
 * too few children; a lock is held; a bound above must rise; no nodes) takes a restructure.
 */
#ifndef CLEAVE_SIBLINGS_H
#define CLEAVE_SIBLINGS_H

#include "repack.h"

#define CLEAVE__MOST_FRESH ((2 * CLEAVE__CELLS + 2 + CLEAVE__CRAMPED - 1) / CLEAVE__CRAMPED) /* leaves made of two */

/*
 * These are called inside a read section, with the leaf of `position` locked and live.
 * True: published; that leaf is dead, still locked, and *others lists, by link, what else is to be retired once the
 * section is left.  False: nothing has changed.
 */

/* Leaves that are published locked, by link, and where they stand. */
struct cleave__divided {
	struct cleave__node *leaves;
	struct cleave__branch *parent;
	struct cleave__branch *above; /* the parent's; it may be dead; NULL: that was the root */
	unsigned int at; /* the number of the first among its children */
};

/*
 * Divide the leaf, with the put [first, last] = value inside it; or share what it has with a neighbour.  The put does
 * not make a gap that meets another one over the leaf's border.  `share`: cells that the first of two leaves gets,
 * before the leaf is full, because it is cut upward (cleave__cut_share()); or 0.  `locked` (may be NULL): the new
 * leaves are published locked, and it says which.
 */
bool cleave__divide(struct cleave *index, struct cleave_thread *self, const struct cleave__position *position,
		    uint64_t first, uint64_t last, void *value, unsigned int share, struct cleave__divided *locked,
		    struct cleave__node **others)
	PORT_INSIDE PORT_LOCKED(position->node->lock);

/*
 * Erase [first, last] of the leaf, which meets a gap of `beside`, its locked live neighbour under the same parent: the
 * leaf gets the joint gap, so that the border between the two moves, and that what is erased next, where entries are
 * taken out one after the other, does not meet the border again.  It gets an entry or two behind the gap as well, if
 * the border then lies between two entries: there it stays.  `beside` is dead then too, and unlocked.
 */
bool cleave__move_border(struct cleave *index, struct cleave_thread *self, const struct cleave__position *position,
			 struct cleave__node *beside, uint64_t first, uint64_t last, struct cleave__node **others)
	PORT_INSIDE PORT_LOCKED(position->node->lock);

enum cleave__joined {
	CLEAVE__JOINS,
	CLEAVE__NO_ROOM, /* both neighbours have too many cells, or are locked */
	CLEAVE__ELSEWHERE, /* it is a restructure's */
};

/* Join the leaf, which is small, with a neighbour. */
enum cleave__joined cleave__join(struct cleave *index, struct cleave_thread *self,
				 const struct cleave__position *position, struct cleave__node **others)
	PORT_INSIDE PORT_LOCKED(position->node->lock);

#endif
