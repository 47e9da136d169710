/* SPDX-License-Identifier: ISC */
/*
 * One branch: pivots, children and gap bounds.
 *
 *	line 0	   header (node.h)
 *	lines 1-2  pivot[16]   the last address of each child; unused ones: the branch's own last
 *	lines 3-4  child[16]
 *	lines 5-6  gap[16]     lookups never touch these
 *
 * The child that holds `addr` is number "pivots < addr": with last addresses as pivots every address of 64 bits is
 * found without a special case.
 *
 * Invariants
 *   4. Child i covers exactly [pivot[i-1] + 1, pivot[i]] (from `first` for i = 0).  A swing puts another child of the
 *	same range in its place; every other change makes a new branch.
 *   6. A replaced node is locked before it is copied, is marked dead after that and before the publishing store, with
 *	nothing in between, and never changes again.
 *   7. gap[i] is never below the largest gap inside child i, and for a child branch never below any bound inside it
 *	(except while that child's lock is held).  It is written under this branch's lock, and lowered only while the
 *	child's lock is held too.  Whoever makes a gap grow raises first and publishes afterwards.  Sizes; 0: no gap;
 *	2^64 counts as 2^64 - 1.
 *
 * This file knows no locks and no tree.
 */
#ifndef CLEAVE_BRANCH_H
#define CLEAVE_BRANCH_H

#include "node.h"

#define CLEAVE__CHILD_ROOM 16u	  /* what the layout holds */
#define CLEAVE__FANOUT PORT_FANOUT /* of these in use; 16, but in tests */

struct cleave__branch {
	struct cleave__node node;
	uint64_t pivot[CLEAVE__CHILD_ROOM];	       /* [I] */
	struct cleave__link child[CLEAVE__CHILD_ROOM]; /* [a] swung under n */
	struct cleave_word gap[CLEAVE__CHILD_ROOM];	   /* [a] written under n */
};

_Static_assert(sizeof(struct cleave__branch) == 7 * 64, "a branch is seven cache lines");

static inline struct cleave__branch *cleave__branch(struct cleave__node *node)
{
	return (struct cleave__branch *)node;
}

static PORT_ALWAYS_INLINE const struct cleave__branch *cleave__branch_const(const struct cleave__node *node)
{
	return (const struct cleave__branch *)node;
}

/*
 * The lines of the children; named by what is last in them, for gcc keeps the address of the first child in a register
 * if it meets it twice, which is an instruction more in each step of a walk.
 */
static PORT_ALWAYS_INLINE void cleave__branch_prefetch(const struct cleave__branch *branch)
{
	PORT_PREFETCH(&branch->child[7]);
	PORT_PREFETCH(&branch->child[15]);
}

/*
 * The child that a search found, which counts `twos` (1 or 2) to a child: a load scales its address in any case, and
 * to halve a number first is an instruction on the way to the child.  (Of `&branch->child[i]`, to be loaded from, gcc
 * makes an addition and a load; of this a load.)
 */
static PORT_ALWAYS_INLINE const struct cleave__link *cleave__branch_child(const struct cleave__branch *branch,
									  size_t found, size_t twos)
{
	const void *child = (const char *)branch->child + found * (sizeof(struct cleave__link) / twos);

	return (const struct cleave__link *)child;
}

/* The number of the child that holds `addr`. */
static inline unsigned int cleave__branch_index(const struct cleave__branch *branch, uint64_t addr)
{
	unsigned int i = 0;

	while (branch->pivot[i] < addr)
		i++;
	return i;
}

/* A bound is a hint to readers and exact enough for a writer that holds the child (invariant 7): relaxed. */
static inline uint64_t cleave__branch_gap(const struct cleave__branch *branch, unsigned int i)
{
	return PORT_LOAD(&branch->gap[i], PORT_RELAXED);
}

static inline void cleave__branch_set_gap_locked(struct cleave__branch *branch, unsigned int i, uint64_t gap)
	PORT_LOCKED(branch->node.lock)
{
	PORT_STORE(&branch->gap[i], gap, PORT_RELAXED);
}

/* The largest bound of the branch. */
static inline uint64_t cleave__branch_largest_gap(const struct cleave__branch *branch)
{
	uint64_t gap = 0;

	for (unsigned int i = 0; i < branch->node.count; i++)
		if (cleave__branch_gap(branch, i) > gap)
			gap = cleave__branch_gap(branch, i);
	return gap;
}

/* Make a private branch that begins at `first`, without children. */
void cleave__branch_init_private(struct cleave__branch *branch, unsigned int level, uint64_t first);

/* Append a child, which ends at `last`. */
void cleave__branch_append_private(struct cleave__branch *branch, struct cleave__node *child, uint64_t last,
				   uint64_t gap);

/* Make a private copy of a locked branch, with `n` children, which are yet to be set, in place of `drop` from `at`. */
void cleave__branch_copy_private(struct cleave__branch *restrict copy, const struct cleave__branch *restrict from,
				 unsigned int at, unsigned int drop, unsigned int n);

/* Set the i-th child. */
static inline void cleave__branch_set_private(struct cleave__branch *branch, unsigned int i,
					      struct cleave__node *child, uint64_t gap)
{
	branch->pivot[i] = child->last;
	cleave__link_init_private(&branch->child[i], child);
	PORT_STORE(&branch->gap[i], gap, PORT_RELAXED);
}

/* Append the children [c, end) of a locked branch, with their bounds. */
void cleave__branch_append_copies_private(struct cleave__branch *branch, const struct cleave__branch *from,
					  unsigned int c, unsigned int end);

/* All children are there. */
void cleave__branch_seal_private(struct cleave__branch *branch);

#endif
