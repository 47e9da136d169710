/* SPDX-License-Identifier: ISC */
/*
 * Several lookups at a time: the walks of a group go down in step, a level at a time, so that what one of them waits for
 * comes while the others compute.  All walks of one group start at the same root and so have the same height, and a
 * child of a branch of level l has level l - 1: no walk ends before the others.
 *
 * Part of search.c, which supplies search_branch() and search_leaf().
 */
#ifndef CLEAVE_MANY_H
#define CLEAVE_MANY_H

#include "walk.h"

#define MANY 8u /* walks of a group: as many cache misses as a core keeps under way, with some left for its neighbour */

/*
 * Of a leaf, which is seldom in a near cache.  Branches are not prefetched: their searches come soon enough to overlap by
 * themselves, and where all is cached every prefetch costs what a load costs (measured: a third more at 7,000 entries).
 */
static PORT_ALWAYS_INLINE void prefetch_leaf(const struct cleave__node *node)
{
	const char *line = (const char *)node;

	PORT_PREFETCH(line);
	PORT_PREFETCH(line + 64);
	PORT_PREFETCH(line + 128);
	PORT_PREFETCH(line + 192);
}

static PORT_ALWAYS_INLINE void descend_many(const struct cleave *index, const uint64_t *addrs, unsigned int n,
					    const struct cleave__node **node) PORT_INSIDE
{
	uint64_t root = cleave__root_rcu(index);

	for (unsigned int i = 0; i < n; i++)
		node[i] = cleave__root_node(root);
	for (unsigned int level = cleave__root_level(root); level > 0; level--) {
		for (unsigned int i = 0; i < n; i++) {
			const struct cleave__branch *branch = cleave__branch_const(node[i]);

			node[i] = cleave__link_read_rcu(&branch->child[search_branch(branch, addrs[i])]);
			if (level == 1)
				prefetch_leaf(node[i]);
		}
	}
}

static PORT_ALWAYS_INLINE void lookup_group(const struct cleave *index, const uint64_t *addrs, unsigned int n,
					    struct cleave_entry *entries) PORT_INSIDE
{
	const struct cleave__node *node[MANY];

	descend_many(index, addrs, n, node);
	for (unsigned int i = 0; i < n; i++) {
		const struct cleave__leaf *leaf = cleave__leaf_const(node[i]);
		uint64_t order = cleave__order_rcu(leaf);
		unsigned int below = search_leaf(leaf, order, addrs[i]);

		search_entry(leaf, order, below != cleave__live(order), search_count(below) - 1, &entries[i]);
	}
}

static void lookup_many_rcu(const struct cleave *index, const uint64_t *addrs, size_t n,
			    struct cleave_entry *entries) PORT_INSIDE
{
	for (; n >= MANY; n -= MANY, addrs += MANY, entries += MANY)
		lookup_group(index, addrs, MANY, entries); /* of a constant size: without loops */
	lookup_group(index, addrs, (unsigned int)n, entries);
}

#endif
