/* SPDX-License-Identifier: ISC */
/*
 * The leaf half of a restructure: which leaves a transaction's puts replace, and the private leaves that take their
 * place.  A *run* is a sequence of neighbouring leaves that are replaced together.  restructure.h has the rest: the
 * branches above, and the publication.
 */
#ifndef CLEAVE_REPACK_H
#define CLEAVE_REPACK_H

#include "gapbound.h"

#define CLEAVE__FULL (CLEAVE__CELLS - 1) /* cells packed into a leaf: a gap behind the last entry fits as the 12th */
#define CLEAVE__SMALL 2u  /* a leaf with at most so many cells is worth merging with a neighbour ... */
#define CLEAVE__JOINED (CLEAVE__CELLS * 3 / 4) /* ... if the two have at most so many */

/*
 * With at most so many cells a leaf is to be joined after an erasure.  Who has just divided one is likely to fill this
 * one again, as who takes free space always at the same end: so it waits for one cell less.
 */
static PORT_ALWAYS_INLINE unsigned int cleave__small_now(const struct cleave_thread *self)
{
	return CLEAVE__SMALL - (self->counters.edits - self->divided < PORT_RESTLESS);
}

/* ---- Lists of nodes ---- */

static inline void cleave__append(struct cleave__node **head, struct cleave__node **tail, struct cleave__node *node)
{
	node->link = NULL;
	if (*tail)
		(*tail)->link = node;
	else
		*head = node;
	*tail = node;
}

/* Append a new node to a run's list. */
static inline void cleave__run_append(struct cleave__run *run, struct cleave__node **tail, struct cleave__node *node)
{
	cleave__append(&run->fresh, tail, node);
	run->nfresh++;
}

/* List a node that was built, so that it can be given back. */
static inline void cleave__own(struct cleave_txn *txn, struct cleave__node *node)
{
	node->chain = txn->fresh;
	txn->fresh = node;
}

/* ---- Runs of leaves ---- */

/*
 * Does the p-th put make a gap that meets another one over the border of the locked leaf that it begins, or ends, in?
 * The two must become one (invariant 1).
 */
bool cleave__gap_meets_left(const struct cleave_txn *txn, unsigned int p, const struct cleave__node *leaf,
			    const struct cleave__node *before);
bool cleave__gap_meets_right(const struct cleave_txn *txn, unsigned int p, const struct cleave__node *leaf);

/*
 * Group the leaves that the puts replace into runs of neighbours, txn->runs.  Leaves in between that some put has
 * touched go along, so that there are no more runs than the puts reserved for.  Return: their number.
 */
unsigned int cleave__form_runs(struct cleave_txn *txn);

/*
 * A leaf is divided because of a put that begins in its r-th cell, and has `n` cells with it: does that look like
 * ascending or descending insertion?  Then leave a full leaf behind, not a half one.  Cells of the first leaf; 0: share
 * evenly.
 */
unsigned int cleave__uneven_share(const struct cleave__leaf *leaf, unsigned int r, uint64_t last, unsigned int n);

/*
 * Does a put cut off, or out of, the highest entry of a locked leaf a part that is not its end?  Who cuts an entry from
 * below upward does so, and goes on in what remains.  When no clean cell is left, such a leaf is divided instead of
 * being copied: what remains gets a leaf of its own, and what was cut keeps room for the next changes of it.
 * Cells of the first leaf, of `n` with the put; 0: it does not, or the leaf has few cells.
 */
unsigned int cleave__cut_share(const struct cleave__leaf *leaf, uint64_t first, uint64_t last, unsigned int n);

/*
 * Build the leaves that replace a run, of nodes that were reserved.  `alone`: it is the only one; `locked`: they are
 * published locked.
 */
void cleave__build_leaves(struct cleave_txn *txn, struct cleave__run *run, bool alone, bool locked);

/*
 * Take a neighbour along with a run of `n` cells: a small run, to become one leaf with it; a full one, to share the
 * neighbour's room.  Neighbours are only tried: they may be out of lock order.
 */
bool cleave__absorb_neighbour(struct cleave_txn *txn, struct cleave__run *run, unsigned int n);

#endif
