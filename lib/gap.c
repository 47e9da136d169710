/* SPDX-License-Identifier: ISC */
/*
 * Free space.  A search descends only where the bound lets a gap of the size in; bounds are never too low (invariant
 * 7), so that no gap is skipped that existed for the whole call.  The path's branches may be replaced meanwhile: what
 * hangs under a dead branch is what was current when it died, which is after the call began.
 */
#include "update.h"

static int check(const struct cleave_request *request, uint64_t *align)
{
	*align = request->align ? request->align : 1;
	if (request->size == 0 || (*align & (*align - 1)) != 0 || request->phase >= *align ||
	    request->min > request->max)
		return -EINVAL;
	return 0;
}

struct search {
	const struct cleave *index;
	struct cleave_thread *self; /* NULL: never lower a bound */
	uint64_t size;
	uint64_t align;
	uint64_t phase;
	uint64_t min;
	uint64_t max;
	bool up; /* lowest first */
};

/* A place that fits, and the gap's cell as it was. */
struct found {
	uint64_t addr;
	struct cleave__position position;
};

/* The lowest or highest fitting address of a gap. */
static bool place(const struct search *search, uint64_t first, uint64_t last, uint64_t *addr)
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

/* *largest: of the leaf's gaps, if none fits. */
static bool search_leaf(const struct search *search, struct cleave__node *node, struct found *found, uint64_t *largest)
	PORT_INSIDE
{
	const struct cleave__leaf *leaf = cleave__leaf_const(node);
	uint64_t order = cleave__order_rcu(leaf);
	unsigned int count = cleave__count12(cleave__live(order));

	*largest = 0;
	for (unsigned int k = 0; k < count; k++) {
		unsigned int r = search->up ? k : count - 1 - k;
		struct cleave_entry entry;

		if (PORT_CELL_READ(leaf->value[cleave__cell(order, r)]))
			continue;
		cleave__leaf_entry(leaf, order, count, r, &entry);
		if (place(search, entry.first, entry.last, &found->addr)) {
			found->position = (struct cleave__position){ .node = node, .r = r, .count = count,
								     .order = order };
			return true;
		}
		if (cleave__gap_size(entry.first, entry.last) > *largest)
			*largest = cleave__gap_size(entry.first, entry.last);
	}
	return false;
}

/* Nothing fits below child i: lower its bound, if it is higher than what is there. */
static void lower(const struct search *search, const struct cleave__branch *branch, unsigned int i, uint64_t largest)
	PORT_INSIDE
{
	if (search->self && largest < cleave__branch_gap(branch, i))
		cleave__lower_rcu((struct cleave *)search->index, search->self, branch->node.level - 1u, branch->pivot[i]);
}

/* The search in one direction: depth first, without recursion. */
static bool search_tree(const struct search *search, struct found *found) PORT_INSIDE
{
	struct cleave__branch *path[CLEAVE__LEVELS];
	unsigned int visited[CLEAVE__LEVELS]; /* children of each */
	uint64_t root = cleave__root_rcu(search->index), largest;
	struct cleave__node *node = cleave__root_node(root);
	unsigned int top = cleave__root_level(root), level = top;

	if (top == 0)
		return search_leaf(search, node, found, &largest);
	path[level] = cleave__branch(node);
	visited[level] = 0;
	for (;;) {
		struct cleave__branch *branch = path[level];
		unsigned int i;

		if (visited[level] == branch->node.count) {
			if (level++ == top)
				return false;
			i = search->up ? visited[level] - 1 : path[level]->node.count - visited[level];
			lower(search, path[level], i, cleave__branch_largest_gap(branch));
			continue;
		}
		i = search->up ? visited[level] : branch->node.count - 1u - visited[level];
		visited[level]++;
		if (branch->pivot[i] < search->min || (i ? branch->pivot[i - 1] + 1 : branch->node.first) > search->max ||
		    cleave__branch_gap(branch, i) < search->size)
			continue;
		node = cleave__link_read_rcu(&branch->child[i]);
		if (level > 1) {
			path[--level] = cleave__branch(node);
			visited[level] = 0;
		} else if (search_leaf(search, node, found, &largest)) {
			found->position.parent = branch;
			found->position.index = i;
			return true;
		} else {
			lower(search, branch, i, largest);
		}
	}
}

static bool search_window(struct search *search, uint64_t min, uint64_t max, bool up, struct found *found) PORT_INSIDE
{
	search->min = min;
	search->max = max;
	search->up = up;
	return min <= max && search_tree(search, found);
}

static uint64_t mix(uint64_t x) /* splitmix64, Steele, Lea and Flood 2014 */
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static bool find_nearest(struct search *search, const struct cleave_request *request, struct found *found) PORT_INSIDE
{
	uint64_t hint = request->hint < request->min ? request->min :
			request->hint > request->max ? request->max : request->hint;
	uint64_t span = request->max - hint, reach;
	struct found above, below;
	bool have_above, have_below;

	have_above = search_window(search, hint, request->max, true, &above);
	/* Below: begins under the hint, and may reach over it. */
	reach = search->size - 1 < span ? hint + (search->size - 1) : request->max;
	have_below = search_window(search, request->min, reach, false, &below) && below.addr <= hint &&
		     (!have_above || hint - below.addr <= above.addr - hint);
	if (have_below)
		*found = below;
	else if (have_above)
		*found = above;
	return have_above || have_below;
}

static bool find(const struct cleave *index, struct cleave_thread *self, const struct cleave_request *request,
		 uint64_t align, struct found *found) PORT_INSIDE
{
	struct search search = { .index = index, .self = self, .size = request->size, .align = align,
				 .phase = request->phase };
	uint64_t from;

	switch (request->order) {
	case CLEAVE_LOWEST:
		return search_window(&search, request->min, request->max, true, found);
	case CLEAVE_HIGHEST:
		return search_window(&search, request->min, request->max, false, found);
	case CLEAVE_NEAREST:
		return find_nearest(&search, request, found);
	case CLEAVE_NEXT:
		from = request->hint < request->min ? request->min : request->hint;
		return search_window(&search, from, request->max, true, found);
	case CLEAVE_RANDOM:
		from = request->max - request->min;
		from = request->min + (from == UINT64_MAX ? mix(request->hint) : mix(request->hint) % (from + 1));
		return search_window(&search, from, request->max, true, found) ||
		       search_window(&search, request->min, request->max, true, found);
	}
	return false;
}

int cleave_find_gap_rcu(const struct cleave *index, const struct cleave_request *request, uint64_t *addr)
{
	struct found found;
	uint64_t align;
	int error = check(request, &align);

	cleave__check_reader(index);
	if (error)
		return error;
	if (!find(index, NULL, request, align, &found))
		return -ENOSPC;
	*addr = found.addr;
	return 0;
}

int cleave_alloc(struct cleave *index, struct cleave_thread *self, const struct cleave_request *request, void *value,
		 uint64_t *addr)
{
	uint64_t align;
	int error = value ? check(request, &align) : -EINVAL;

	while (!error) {
		struct found found;

		cleave__prepare_change(index, self);
		cleave__enter(index, self);
		if (!find(index, self, request, align, &found)) {
			cleave__leave(index, self);
			return -ENOSPC;
		}
		error = cleave__insert_leave(index, self, &found.position, found.addr,
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
