/* SPDX-License-Identifier: ISC */
/* Free space.  The search itself is in gapwalk.h. */
#include "edit.h"

struct search {
	const struct cleave *index;
	struct cleave_thread *self; /* NULL: never lower a bound */
	struct cleave__gap_search gap;
};

/* Check a request; the window and the direction are of each search of its own. */
static PORT_ALWAYS_INLINE int begin(struct search *search, const struct cleave *index, struct cleave_thread *self,
				    const struct cleave_request *request)
{
	uint64_t align = request->align ? request->align : 1;

	if (request->size == 0 || (align & (align - 1)) != 0 || request->phase >= align ||
	    request->min > request->max || (unsigned int)request->order > CLEAVE_BEST)
		return -EINVAL;
	search->index = index;
	search->self = self;
	search->gap.size = request->size;
	search->gap.align = align;
	search->gap.phase = request->phase;
	return 0;
}

/* Nothing fitted in these nodes: lower their bounds, if they are higher than what is there. */
static void lower(const struct search *search, const struct cleave__gap_found *found) PORT_INSIDE
{
	for (unsigned int k = 0; k < found->nstale; k++) {
		const struct cleave__gap_stale *stale = &found->stale[k];
		uint64_t gap = stale->child->level ? cleave__branch_largest_gap(cleave__branch_const(stale->child)) :
						     stale->gap;

		if (gap < cleave__branch_gap(stale->parent, stale->index))
			cleave__lower_rcu(search->index, search->self, stale->parent, stale->index, stale->child,
					  stale->order, gap);
	}
}

/* The end of a search: was it misled? */
static PORT_ALWAYS_INLINE bool searched(const struct search *search, const struct cleave__gap_found *found,
					bool fits) PORT_INSIDE
{
	if (PORT_UNLIKELY(found->nstale) && search->self)
		lower(search, found);
	return fits;
}

static PORT_ALWAYS_INLINE bool search_all(struct search *search, struct cleave__gap_found *found) PORT_INSIDE
{
	return searched(search, found, search->index->search->gap_rcu(search->index, &search->gap, found));
}

static PORT_ALWAYS_INLINE void set_window(struct search *search, uint64_t min, uint64_t max, bool up)
{
	search->gap.min = min;
	search->gap.max = max;
	search->gap.up = up;
}

static PORT_ALWAYS_INLINE bool search_window(struct search *search, uint64_t min, uint64_t max, bool up,
					     struct cleave__gap_found *found) PORT_INSIDE
{
	set_window(search, min, max, up);
	return min <= max && search_all(search, found);
}

static uint64_t mix(uint64_t x) /* splitmix64, Steele, Lea and Flood 2014 */
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static bool find_nearest(struct search *search, const struct cleave_request *request,
			 struct cleave__gap_found *found) PORT_INSIDE
{
	uint64_t hint = request->hint < request->min ? request->min :
			request->hint > request->max ? request->max : request->hint;
	uint64_t span = request->max - hint, reach;
	struct cleave__gap_found above, below;
	bool have_above, have_below;

	have_above = search_window(search, hint, request->max, true, &above);
	/* Below: begins under the hint, and may reach over it. */
	reach = search->gap.size - 1 < span ? hint + (search->gap.size - 1) : request->max;
	have_below = search_window(search, request->min, reach, false, &below) &&
		     (!have_above || hint - below.addr <= above.addr - hint);
	PORT_ASSERT(!have_below || below.addr <= hint, "what ends below `reach` begins below the hint");
	if (have_below)
		*found = below;
	else if (have_above)
		*found = above;
	return have_above || have_below;
}

/* Bounds tell nothing of small gaps: all that fit are looked at. */
static bool find_best(struct search *search, const struct cleave_request *request,
		      struct cleave__gap_found *best) PORT_INSIDE
{
	uint64_t from = request->min, least = 0; /* size - 1 of the best so far */
	struct cleave__gap_found found;
	struct cleave_entry gap;
	bool any = false;

	while (search_window(search, from, request->max, true, &found)) {
		cleave__leaf_entry(cleave__leaf_const(found.position.node), found.position.order, found.position.count,
				   found.position.r, &gap);
		if (gap.first < request->min)
			gap.first = request->min;
		if (gap.last > request->max)
			gap.last = request->max;
		if (!any || gap.last - gap.first < least) {
			*best = found;
			least = gap.last - gap.first;
			any = true;
		}
		if (least == request->size - 1 || gap.last == request->max)
			break;
		from = gap.last + 1;
	}
	return any;
}

static PORT_NO_INLINE bool find_otherwise(struct search *search, const struct cleave_request *request,
					  struct cleave__gap_found *found) PORT_INSIDE
{
	uint64_t from;

	switch (request->order) {
	case CLEAVE_NEAREST:
		return find_nearest(search, request, found);
	case CLEAVE_NEXT:
		from = request->hint < request->min ? request->min : request->hint;
		return search_window(search, from, request->max, true, found);
	case CLEAVE_BEST:
		return find_best(search, request, found);
	default: /* CLEAVE_RANDOM */
		from = request->max - request->min;
		from = request->min + (from == UINT64_MAX ? mix(request->hint) : mix(request->hint) % (from + 1));
		return search_window(search, from, request->max, true, found) ||
		       search_window(search, request->min, request->max, true, found);
	}
}

static PORT_ALWAYS_INLINE bool find(struct search *search, const struct cleave_request *request,
				    struct cleave__gap_found *found) PORT_INSIDE
{
	bool up = request->order == CLEAVE_LOWEST;

	if (PORT_LIKELY(up || request->order == CLEAVE_HIGHEST))
		return search_window(search, request->min, request->max, up, found);
	return find_otherwise(search, request, found);
}

int cleave_find_gap_rcu(const struct cleave *index, const struct cleave_request *request, uint64_t *addr)
{
	struct search search;
	struct cleave__gap_found found;
	int error = begin(&search, index, NULL, request);

	cleave__check_reader(index);
	if (error)
		return error;
	if (!find(&search, request, &found))
		return -ENOSPC;
	*addr = found.addr;
	return 0;
}

static bool holds(const struct cleave__node *node, uint64_t addr)
{
	return addr >= node->first && addr <= node->last;
}

/*
 * The thread's edge is not known, or there is no space near it: search everywhere.  If that found space where the next
 * search will look, under the branch two levels above the leaf at the edge, remember the edge.
 */
static PORT_NO_INLINE bool find_anew(struct search *search, uint64_t begun, struct cleave__gap_found *found) PORT_INSIDE
{
	struct cleave__edge *edge = &search->self->edge;
	bool fits = search_all(search, found);
	const struct cleave__branch *above = found->position.above;
	struct cleave__position position;

	edge->parent = NULL;
	if (!fits || !begun || (above && !holds(&above->node, edge->addr)))
		return fits;
	if (search->index->search->climb_rcu(search->index, 1, edge->addr, &position) && position.parent == above) {
		edge->parent = cleave__branch(position.node);
		edge->above = position.parent;
		edge->at = cleave__branch_index(edge->parent, edge->addr);
		edge->index = search->index->number;
		edge->begun = begun;
	}
	return fits;
}

/*
 * Who takes space takes it mostly at the same end of the same window.  So a thread whose search begins where its last
 * one did begins it in the lowest branch there, without a walk: if that lives, and is the branch that it was
 * (edit_hold.c, remembers(), has the argument).
 * It was live in an earlier call, and no branch comes back to life: so one that is not seen dead, by a relaxed load,
 * was the branch of this edge when the call began, and what is under it is what a walk may find, too.
 * If there is no space under it, the search goes on under the branch above, if that is not seen dead either.  What is
 * under a dead one may have been replaced before the call began:
 *	1. T1: remembers the branch E, and A above it; B stands beside E under A
 *	2. T2: divides B, which is full, and replaces A; E lives.  Erases an entry that is now in B's place
 *	3. T1: finds nothing under E, goes on from A to B, and takes a place behind the one that 2 has made free.
 * If there is no space there either, nothing is remembered: the next time it would be in vain again.
 * A branch that the thread's own division puts in the place of E is as safe to begin in (remembers(), again).
 */
static PORT_ALWAYS_INLINE bool find_to_take(struct search *search, const struct cleave_request *request,
					    struct cleave__gap_found *found) PORT_INSIDE
{
	struct cleave__edge *edge = &search->self->edge;
	bool up = request->order == CLEAVE_LOWEST;
	uint64_t addr = up ? request->min : request->max, begun;

	if (PORT_UNLIKELY(!up && request->order != CLEAVE_HIGHEST))
		return find_otherwise(search, request, found);
	set_window(search, request->min, request->max, up);
	if (addr != edge->addr) {
		edge->addr = addr;
		edge->parent = NULL;
		return search_all(search, found);
	}
	begun = cleave__pool_begun(search->self);
	if (PORT_LIKELY(edge->parent && edge->begun == begun && edge->index == search->index->number &&
			!cleave__dead_locked(&edge->parent->node)) &&
	    PORT_LIKELY(searched(search, found, search->index->search->gap_from_rcu(&search->gap, edge, found))))
		return true;
	return find_anew(search, begun, found);
}

int cleave_alloc(struct cleave *index, struct cleave_thread *self, const struct cleave_request *request, void *value,
		 uint64_t *addr) PORT_UNCHECKED
{
	struct search search;
	int error = value ? begin(&search, index, self, request) : -EINVAL;

	while (!error) {
		struct cleave__gap_found found;

		cleave__prepare_change(index, self);
		cleave__enter(index, self);
		if (!find_to_take(&search, request, &found)) {
			cleave__leave(index, self);
			return -ENOSPC;
		}
		error = index->search->edits->insert_found_leave(index, self, &found.position, found.addr,
								 found.addr + (request->size - 1), value);
		if (!error) {
			*addr = found.addr;
			return 0;
		}
		if (error == -EEXIST)
			error = 0; /* somebody took it: search again */
	}
	return error;
}
