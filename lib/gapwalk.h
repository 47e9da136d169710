/* SPDX-License-Identifier: ISC */
/*
 * The search for free space in one direction.  Part of search.c, which supplies search_gaps(), search_leaf(),
 * search_free() and search_count().
 *
 * It descends only where the bound lets a gap of the size in; bounds are never too low (invariant 7), so that no gap is
 * skipped that existed for the whole call.  The path's branches may be replaced meanwhile: what hangs under a dead
 * branch is what was current when it died, which is after the call began.
 *
 * Where the gaps are is as good as random.  So a node is not looked through: which of its children, or cells, may have
 * room is one mask, and the first or last of these is taken.
 */
#ifndef CLEAVE_GAPWALK_H
#define CLEAVE_GAPWALK_H

#include "walk.h"

/* The lowest or highest fitting address of a gap. */
static PORT_ALWAYS_INLINE bool place_in(const struct cleave__gap_search *search, uint64_t first, uint64_t last,
					uint64_t *addr)
{
	uint64_t skew;

	if (first < search->min)
		first = search->min;
	if (last > search->max)
		last = search->max;
	if (first > last || last - first < search->size - 1)
		return false;
	if (search->up) {
		skew = (search->phase - first) & (search->align - 1);
		if (skew > last - first - (search->size - 1))
			return false;
		*addr = first + skew;
	} else {
		*addr = last - (search->size - 1);
		skew = (*addr - search->phase) & (search->align - 1);
		if (skew > *addr - first)
			return false;
		*addr -= skew;
	}
	return true;
}

/* The first of a mask in the direction of the search. */
static PORT_ALWAYS_INLINE unsigned int next_of(const struct cleave__gap_search *search, unsigned int mask)
{
	return search->up ? (unsigned int)__builtin_ctz(mask) : 31 - (unsigned int)__builtin_clz(mask);
}

static PORT_ALWAYS_INLINE bool search_gap_leaf(const struct cleave__gap_search *search, struct cleave__node *node,
					       struct cleave__gap_found *found) PORT_INSIDE
{
	const struct cleave__leaf *leaf = cleave__leaf_const(node);
	uint64_t order = cleave__order_rcu(leaf);
	uint64_t from = search->min > node->first ? search->min : node->first;
	uint64_t down = search->max < node->last ? search->max : node->last;
	unsigned int count = search_count(cleave__live(order)), edge, ranks;

	/* Not those behind the edge that the search comes from. */
	edge = search_count(search_leaf(leaf, order, search->up ? from : down)) - 1;
	ranks = search_free(leaf, order, count) & (search->up ? 0u - (1u << edge) : (2u << edge) - 1);
	while (ranks) {
		unsigned int r = next_of(search, ranks);
		struct cleave_entry entry;

		cleave__leaf_entry(leaf, order, count, r, &entry);
		if (place_in(search, entry.first, entry.last, &found->addr)) {
			found->position.node = node;
			found->position.r = r;
			found->position.count = count;
			found->position.order = order;
			return true;
		}
		ranks &= ~(1u << r);
	}
	return false;
}

/* Nothing fits in the i-th child, although its bound said so.  (A gap that leaves the window does not count.) */
static inline void misled(const struct cleave__gap_search *search, struct cleave__branch *parent, unsigned int i,
			  const struct cleave__node *child, struct cleave__gap_found *found)
{
	if (child->first < search->min || child->last > search->max || found->nstale == CLEAVE__STALE)
		return;
	found->stale[found->nstale].parent = parent;
	found->stale[found->nstale].index = i;
	found->nstale++;
}

/* Where the search begins in a branch that it reaches. */
static PORT_ALWAYS_INLINE uint64_t edge_in(const struct cleave__gap_search *search, const struct cleave__branch *branch)
{
	uint64_t last = branch->pivot[CLEAVE__FANOUT - 1]; /* its own, as in unused ones */

	return search->up ? search->min : search->max < last ? search->max : last;
}

/* Depth first, without recursion. */
static bool gap_rcu(const struct cleave *index, const struct cleave__gap_search *search,
		    struct cleave__gap_found *found) PORT_INSIDE
{
	struct {
		struct cleave__branch *branch;
		unsigned int index; /* of the child that the search is in */
		unsigned int ahead; /* children that it has yet to visit */
	} path[CLEAVE__LEVELS];
	uint64_t root = cleave__root_rcu(index);
	struct cleave__node *node = cleave__root_node(root);
	unsigned int top = cleave__root_level(root), level = top;

	found->nstale = 0;
	found->position.above = found->position.parent = NULL;
	found->position.index = 0;
	if (top == 0)
		return search_gap_leaf(search, node, found);
	for (;;) {
		struct cleave__branch *branch = cleave__branch(node);
		/* Mostly the child at the edge has room: a guess that is right is a shorter way to it than the mask. */
		size_t i = search_branch(branch, edge_in(search, branch));
		unsigned int ahead = search_gaps(branch, search->size, search->min, search->max);
		bool at_edge = ahead >> i & 1;

		for (;;) {
			if (PORT_UNLIKELY(!at_edge)) {
				if (PORT_UNLIKELY(!ahead)) {
					if (level == top)
						return false;
					level++;
					misled(search, path[level].branch, path[level].index, &branch->node, found);
					branch = path[level].branch;
					ahead = path[level].ahead;
					continue;
				}
				i = next_of(search, ahead);
			}
			at_edge = false;
			ahead &= ~(1u << i);
			node = cleave__link_read_rcu(&branch->child[i]);
			if (level > 1)
				break;
			if (PORT_LIKELY(search_gap_leaf(search, node, found))) {
				found->position.parent = branch;
				found->position.above = level < top ? path[level + 1].branch : NULL;
				found->position.index = (unsigned int)i;
				return true;
			}
			misled(search, branch, (unsigned int)i, node, found);
		}
		path[level].branch = branch;
		path[level].index = (unsigned int)i;
		path[level].ahead = ahead;
		level--;
	}
}

#endif
