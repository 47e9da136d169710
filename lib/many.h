/* SPDX-License-Identifier: ISC */
/*
 * Several lookups at a time: the walks of a group go down in step, a level at a time, so that what one of them waits
 * for comes while the others compute.  All walks of one group start at the same root and so have the same height, and a
 * child of a branch of level l has level l - 1: no walk ends before the others.
 *
 * Part of search.c, which supplies search_branch(), search_pivots(), search_twos and search_leaf().
 */
#ifndef CLEAVE_MANY_H
#define CLEAVE_MANY_H

#include "walk.h"

#define MANY 8u /* walks of a group: as many cache misses as a core keeps under way, with some left for its neighbour */

static PORT_ALWAYS_INLINE const struct cleave__node *child_of(const struct cleave__node *node,
							      uint64_t addr) PORT_INSIDE
{
	const struct cleave__branch *branch = cleave__branch_const(node);

	return cleave__link_read_rcu(cleave__branch_child(branch, search_pivots(branch, addr), search_twos));
}

/*
 * Brings in the leaf, which is seldom in a near cache.  Branches are not prefetched: their searches come soon enough to
 * overlap by themselves, and where all is cached every prefetch costs what a load costs.  For the same reason only the
 * lowest ones, which are the many, bring in their children while their pivots are searched (search_branch()).
 */
static PORT_ALWAYS_INLINE const struct cleave__node *leaf_of(const struct cleave__node *node, uint64_t addr) PORT_INSIDE
{
	const struct cleave__branch *branch = cleave__branch_const(node);
	size_t found = search_branch(branch, addr);
	const struct cleave__node *leaf = cleave__link_read_rcu(cleave__branch_child(branch, found, search_twos));

	cleave__leaf_prefetch(leaf);
	return leaf;
}

/*
 * As cleave__leaf_entry_any(), but the end is chosen by arithmetic.  gcc makes a branch of the choice here, which is
 * predicted wrongly once in a leaf's cells, and then all walks of the group begin anew: a fifth of what a lookup takes.
 */
static PORT_ALWAYS_INLINE void entry_by_arithmetic(const struct cleave__leaf *leaf, uint64_t order, bool more,
						   unsigned int r, struct cleave_entry *entry)
{
	uint64_t last = leaf->node.last;

	cleave__leaf_entry_any(leaf, order, true, r, entry);
	entry->last = last ^ ((last ^ entry->last) & (0 - (uint64_t)more));
}

/* n is a constant, and the loops are unrolled. */
static PORT_ALWAYS_INLINE void lookup_group(const struct cleave *index, const uint64_t *addrs, unsigned int n,
					    struct cleave_entry *entries) PORT_INSIDE
{
	uint64_t root = cleave__root_rcu(index);
	unsigned int level = cleave__root_level(root);
	const struct cleave__node *node[MANY];

#pragma GCC unroll 8
	for (unsigned int i = 0; i < n; i++)
		node[i] = cleave__root_node(root);
	for (; level > 1; level--) {
#pragma GCC unroll 8
		for (unsigned int i = 0; i < n; i++)
			node[i] = child_of(node[i], addrs[i]);
	}
	if (level == 1) {
#pragma GCC unroll 8
		for (unsigned int i = 0; i < n; i++)
			node[i] = leaf_of(node[i], addrs[i]);
	}
#pragma GCC unroll 8
	for (unsigned int i = 0; i < n; i++) {
		const struct cleave__leaf *leaf = cleave__leaf_const(node[i]);
		uint64_t order = cleave__order_rcu(leaf);
		unsigned int below = search_leaf(leaf, order, addrs[i]);

		search_entry_many(leaf, order, below != cleave__live(order), search_count(below) - 1, &entries[i]);
	}
}

static void lookup_many_rcu(const struct cleave *index, const uint64_t *addrs, size_t n,
			    struct cleave_entry *entries) PORT_INSIDE
{
	for (; n >= MANY; n -= MANY, addrs += MANY, entries += MANY)
		lookup_group(index, addrs, MANY, entries);
	/* What is left, in groups of constant sizes as well. */
	for (; n >= 3; n -= 3, addrs += 3, entries += 3)
		lookup_group(index, addrs, 3, entries);
	for (; n > 0; n--, addrs++, entries++)
		lookup_group(index, addrs, 1, entries);
}

#endif
