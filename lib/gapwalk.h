/* SPDX-License-Identifier: ISC */
/*
 * The search for free space in one direction.  Part of search.c, which supplies search_branch(), search_twos,
 * search_gaps(), search_leaf(), search_free(), search_ranks() and search_count().
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

/* The lowest or highest fitting address of a gap.  Mostly there is one: what is asked is asked at once. */
static PORT_ALWAYS_INLINE bool place_in(const struct cleave__gap_search *search, bool up, uint64_t first, uint64_t last,
					uint64_t *addr)
{
	uint64_t more = search->size - 1, mask = search->align - 1, room, skew;
	bool fits;

	first = first < search->min ? search->min : first;
	last = last > search->max ? search->max : last;
	room = last - first;
	fits = (first <= last) & (room >= more);
	skew = (up ? search->phase - first : last - more - search->phase) & mask;
	*addr = up ? first + skew : last - more - skew;
	return fits & (room - more >= skew);
}

/* The first of a mask in the direction of the search. */
static PORT_ALWAYS_INLINE unsigned int next_of(bool up, unsigned int mask)
{
	return up ? (unsigned int)__builtin_ctz(mask) : 31 - (unsigned int)__builtin_clz(mask);
}

/* The gaps of a leaf, as cells, that are not behind the edge that the search comes from. */
static PORT_ALWAYS_INLINE unsigned int gaps_ahead(const struct cleave__gap_search *search, bool up,
						  const struct cleave__leaf *leaf, uint64_t order)
{
	uint64_t first = leaf->node.first, last = leaf->node.last;
	uint64_t from = up ? (search->min > first ? search->min : first) : (search->max < last ? search->max : last);
	unsigned int below = search_leaf(leaf, order, from), at = cleave__cell(order, search_count(below) - 1);

	return search_free(leaf, order) & (up ? ~below | 1u << at : below);
}

/* Take the first of some gaps of a leaf that fits.  If there is none: how large is the largest? */
static PORT_ALWAYS_INLINE bool take(const struct cleave__gap_search *search, bool up, struct cleave__node *node,
				    uint64_t order, unsigned int cells, struct cleave__gap_found *found,
				    uint64_t *largest)
{
	unsigned int count = search_count(cleave__live(order));

	*largest = 0;
	for (unsigned int ranks = search_ranks(order, count, cells); ranks;) {
		unsigned int r = next_of(up, ranks);
		struct cleave_entry entry;
		uint64_t size;

		cleave__leaf_entry(cleave__leaf_const(node), order, count, r, &entry);
		if (PORT_LIKELY(place_in(search, up, entry.first, entry.last, &found->addr))) {
			found->position.node = node;
			found->position.r = r;
			found->position.count = count;
			found->position.order = order;
			return true;
		}
		size = cleave__gap_size(entry.first, entry.last);
		*largest = size > *largest ? size : *largest;
		ranks &= ~(1u << r);
	}
	return false;
}

/*
 * Nothing fits in the i-th child, although its bound says so.  (A gap that leaves the window does not count.)  Of a
 * leaf: with which order word, and what its largest gap was then.
 */
static inline void misled(const struct cleave__gap_search *search, struct cleave__branch *parent, unsigned int i,
			  struct cleave__node *child, uint64_t order, uint64_t gap, struct cleave__gap_found *found)
{
	if (child->first < search->min || child->last > search->max || found->nstale == CLEAVE__STALE ||
	    cleave__branch_gap(parent, i) < search->size)
		return;
	found->stale[found->nstale++] = (struct cleave__gap_stale){ parent, i, child, order, gap };
}

/* The way to a leaf, by level. */
struct path {
	struct cleave__branch *branch;
	unsigned int index; /* of the child */
};

static PORT_ALWAYS_INLINE bool arrive(const struct path *path, unsigned int top, struct cleave__gap_found *found)
{
	found->position.parent = top > 0 ? path[1].branch : NULL;
	found->position.above = top > 1 ? path[2].branch : NULL;
	found->position.index = top > 0 ? path[1].index : 0;
	return true;
}

/* The children that come after the i-th, as the search goes. */
static PORT_ALWAYS_INLINE unsigned int after(bool up, unsigned int i)
{
	return up ? ~1u << i : (1u << i) - 1;
}

/* Is a child beyond the window, and all that come after it? */
static PORT_ALWAYS_INLINE bool beyond(const struct cleave__gap_search *search, const struct path *at)
{
	const uint64_t *pivot = at->branch->pivot;

	return search->up ? at->index > 0 && pivot[at->index - 1] >= search->max : pivot[at->index] < search->min;
}

/* This node, of `level`, has none: up to where there may be one, and down to it.  Depth first, without recursion. */
static PORT_NO_INLINE bool next_gap(const struct cleave__gap_search *search, struct path *path, unsigned int level,
				    unsigned int top, struct cleave__node *node,
				    struct cleave__gap_found *found) PORT_INSIDE
{
	while (level < top) {
		struct path *at = &path[++level];
		unsigned int room = search_gaps(at->branch, search->size) & after(search->up, at->index);

		if (level > 1)
			misled(search, at->branch, at->index, node, 0, 0, found);
		node = &at->branch->node;
		while (room) {
			at = &path[level--];
			at->index = next_of(search->up, room);
			if (beyond(search, at))
				return false;
			node = cleave__link_read_rcu(&at->branch->child[at->index]);
			if (level == 0) {
				const struct cleave__leaf *leaf = cleave__leaf_const(node);
				uint64_t order = cleave__order_rcu(leaf), largest;

				if (take(search, search->up, node, order, search_free(leaf, order), found, &largest))
					return arrive(path, top, found);
				misled(search, at->branch, at->index, node, order, largest, found);
				break;
			}
			path[level].branch = cleave__branch(node);
			room = search_gaps(path[level].branch, search->size);
		}
	}
	return false;
}

static PORT_ALWAYS_INLINE uint64_t either(bool other, uint64_t a, uint64_t b)
{
	return a ^ ((a ^ b) & (0 - (uint64_t)other));
}

static PORT_ALWAYS_INLINE bool first_gap(const struct cleave *index, const struct cleave__gap_search *search, bool up,
					 struct cleave__gap_found *found) PORT_INSIDE
{
	struct path path[CLEAVE__LEVELS];
	uint64_t edge = up ? search->min : search->max;
	uint64_t root = cleave__root_rcu(index), order, largest;
	struct cleave__node *node = cleave__root_node(root);
	unsigned int top = cleave__root_level(root), gaps;

	found->nstale = 0;
	for (unsigned int level = top; level > 1; level--) {
		path[level].branch = cleave__branch(node);
		path[level].index = (unsigned int)search_branch(path[level].branch, edge) / search_twos;
		node = cleave__link_read_rcu(&path[level].branch->child[path[level].index]);
	}
	if (PORT_LIKELY(top > 0)) {
		/*
		 * Whether the leaf at the edge has a gap ahead is as good as random, and known only at the end of a
		 * walk: to ask takes longer than to look at the next leaf with room, too.  So the choice is computed.
		 */
		struct cleave__branch *parent = cleave__branch(node);
		unsigned int i = (unsigned int)search_branch(parent, edge) / search_twos;
		unsigned int room = search_gaps(parent, search->size);
		unsigned int ahead = room & after(up, i), j = ahead ? next_of(up, ahead) : i;
		struct cleave__node *here = cleave__link_read_rcu(&parent->child[i]);
		struct cleave__node *there = cleave__link_read_rcu(&parent->child[j]);
		uint64_t here_order = cleave__order_rcu(cleave__leaf_const(here));
		uint64_t there_order = cleave__order_rcu(cleave__leaf_const(there));
		unsigned int there_gaps = search_free(cleave__leaf_const(there), there_order);
		bool other;

		gaps = gaps_ahead(search, up, cleave__leaf_const(here), here_order) & (0 - (room >> i & 1));
		other = !gaps;
		gaps = (unsigned int)either(other, gaps, there_gaps);
		order = either(other, here_order, there_order);
		node = (struct cleave__node *)(uintptr_t)either(other, (uintptr_t)here, (uintptr_t)there);
		path[1].branch = parent;
		path[1].index = (unsigned int)either(other, i, j);
	} else {
		order = cleave__order_rcu(cleave__leaf_const(node));
		gaps = gaps_ahead(search, up, cleave__leaf_const(node), order);
	}
	if (PORT_LIKELY(take(search, up, node, order, gaps, found, &largest)))
		return arrive(path, top, found);
	if (top > 0)
		misled(search, path[1].branch, path[1].index, node, order, largest, found);
	return next_gap(search, path, 0, top, node, found);
}

/* There is none under the branch at the edge: go on under the one above, if that lives (gap.c). */
static PORT_NO_INLINE bool gap_behind(const struct cleave__gap_search *search, const struct cleave__edge *from,
				      struct cleave__gap_found *found) PORT_INSIDE
{
	struct path path[3];

	if (!from->above || cleave__dead_locked(&from->above->node))
		return false;
	path[2].branch = from->above;
	path[2].index = (unsigned int)search_branch(from->above, from->parent->node.last) / search_twos;
	return next_gap(search, path, 1, 2, &from->parent->node, found);
}

/*
 * The same where the edge is known, and nowhere but under the two branches above it.  Who searches from the same edge
 * again finds mostly in the same leaf, so that branches are predicted: nothing is looked at in vain.
 */
static PORT_ALWAYS_INLINE bool first_gap_from(const struct cleave__gap_search *search, const struct cleave__edge *from,
					      bool up, struct cleave__gap_found *found) PORT_INSIDE
{
	struct cleave__branch *parent = from->parent;
	unsigned int i = from->at, room = search_gaps(parent, search->size), ahead = room & after(up, i);
	struct cleave__node *node = cleave__link_read_rcu(&parent->child[i]);
	uint64_t order = cleave__order_rcu(cleave__leaf_const(node)), largest = 0;
	unsigned int cells = gaps_ahead(search, up, cleave__leaf_const(node), order) & (0 - (room >> i & 1));

	found->nstale = 0;
	while (!cells || PORT_UNLIKELY(!take(search, up, node, order, cells, found, &largest))) {
		if (room >> i & 1) /* else its gaps were not asked for, though the bound may have risen by now */
			misled(search, parent, i, node, order, largest, found);
		if (up ? node->last >= search->max : node->first <= search->min)
			return false;
		if (!ahead)
			return gap_behind(search, from, found);
		i = next_of(up, ahead);
		ahead &= after(up, i);
		node = cleave__link_read_rcu(&parent->child[i]);
		order = cleave__order_rcu(cleave__leaf_const(node));
		cells = search_free(cleave__leaf_const(node), order);
		largest = 0;
	}
	found->position.parent = parent;
	found->position.above = from->above;
	found->position.index = i;
	return true;
}

static bool gap_rcu(const struct cleave *index, const struct cleave__gap_search *search,
		    struct cleave__gap_found *found) PORT_INSIDE
{
	return search->up ? first_gap(index, search, true, found) : first_gap(index, search, false, found);
}

static bool gap_from_rcu(const struct cleave__gap_search *search, const struct cleave__edge *from,
			 struct cleave__gap_found *found) PORT_INSIDE
{
	return search->up ? first_gap_from(search, from, true, found) : first_gap_from(search, from, false, found);
}

#endif
