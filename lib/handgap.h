/* SPDX-License-Identifier: ISC */
/*
 * Erasing what begins a leaf.  A gap must not begin a leaf (invariant 1), so the space goes to the end of the leaf on the
 * left, and the border between the two moves: two leaves and their parent are replaced.
 *
 *	before			 after
 *	     G			     G
 *	     |			     |
 *	     P			     P'
 *	    / \			    / \
 *	 [..a][b c ..]		 [..a gap][c ..]
 *	   A	B		    A'	    B'
 *
 * cleave__restructure() does this too, for any number of leaves; one erase in six needs it, so the common form has its
 * own code: all cells and children are copied once, and every lock is only tried.
 */
#ifndef CLEAVE_HANDGAP_H
#define CLEAVE_HANDGAP_H

#include "txn.h"

/*
 * `position` is of a leaf that the caller has locked, live, inside a read section.  Erase [leaf first, last], inside it.
 * True: published; the leaf is dead, and *others lists, by link, what else is to be retired once the section is left.
 * False: nothing changed; it takes a restructure.
 */
bool cleave__hand_gap_left(struct cleave *index, struct cleave_thread *self, const struct cleave__position *position,
			   uint64_t order, unsigned int count, uint64_t last, struct cleave__node **others);

#endif
