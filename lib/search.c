/* SPDX-License-Identifier: ISC */
/*
 * The walk's instances for one way of searching a node.  Compiled once for each folder of port/search/, whose
 * "search.h" defines search_branch(), search_pivots(), search_twos, search_leaf(), search_gaps(), search_free(),
 * search_ranks(), search_cells() and SEARCH_NAME.
 */
#include "walk.h"

#include "search.h"

#include "gapwalk.h"
#include "many.h"
#include "steps.h"

#define NAME_OF_(name) cleave__search_##name
#define NAME_OF(name) NAME_OF_(name)
#define EDITS_OF_(name) cleave__edits_##name
#define EDITS_OF(name) EDITS_OF_(name)
#define TEXT_OF_(name) #name
#define TEXT_OF(name) TEXT_OF_(name)

static PORT_ALWAYS_INLINE const struct cleave__leaf *find(const struct cleave *index, uint64_t addr, uint64_t *order,
							   bool *more, unsigned int *r) PORT_INSIDE
{
	struct cleave__position position;
	const struct cleave__leaf *leaf;
	unsigned int below;

	cleave__walk(index, 0, addr, search_branch, search_twos, &position);
	leaf = cleave__leaf_const(position.node);
	PORT_PREFETCH(&leaf->value[4]);
	*order = cleave__order_rcu(leaf);
	below = search_leaf(leaf, *order, addr);
	*r = search_count(below) - 1;
	*more = below != cleave__live(*order);
	return leaf;
}

static void *lookup_rcu(const struct cleave *index, uint64_t addr, struct cleave_entry *entry) PORT_INSIDE
{
	uint64_t order;
	unsigned int r;
	bool more;
	const struct cleave__leaf *leaf = find(index, addr, &order, &more, &r);

	search_entry(leaf, order, more, r, entry);
	return entry->value;
}

static void *value_rcu(const struct cleave *index, uint64_t addr) PORT_INSIDE
{
	struct cleave__position position;
	const struct cleave__leaf *leaf;
	uint64_t order;

	cleave__walk(index, 0, addr, search_branch, search_twos, &position);
	leaf = cleave__leaf_const(position.node);
	PORT_PREFETCH(&leaf->value[4]);
	order = cleave__order_rcu(leaf);
	return PORT_CELL_READ(leaf->value[cleave__cell(order, search_count(search_leaf(leaf, order, addr)) - 1)]);
}

static void *lookup_ticket_rcu(const struct cleave *index, uint64_t addr, struct cleave_entry *entry,
			       struct cleave_ticket *ticket) PORT_INSIDE
{
	uint64_t order;
	unsigned int r;
	bool more;
	const struct cleave__leaf *leaf = find(index, addr, &order, &more, &r);

	search_entry(leaf, order, more, r, entry);
	ticket->leaf = &leaf->node;
	ticket->order = cleave__order_ticket(order);
	return entry->value;
}

static PORT_ALWAYS_INLINE void seek(const struct cleave *index, uint64_t addr,
				    struct cleave__position *position) PORT_INSIDE
{
	const struct cleave__leaf *leaf;

	cleave__walk(index, 0, addr, search_branch, search_twos, position);
	leaf = cleave__leaf_const(position->node);
	position->order = cleave__order_rcu(leaf);
	position->r = search_count(search_leaf(leaf, position->order, addr)) - 1;
	position->count = search_count(cleave__live(position->order));
}

static void seek_rcu(const struct cleave *index, uint64_t addr, struct cleave__position *position) PORT_INSIDE
{
	seek(index, addr, position);
}

/*
 * Leaves come while those before them are visited: two leaves ahead, and over the end of a branch, where it takes a
 * walk.  That finds the branch beside this one, too: *beyond.  `fresh`: a walk led to this leaf, so that nothing was
 * brought in before.
 */
static PORT_ALWAYS_INLINE void look_ahead(const struct cleave *index, const struct cleave__position *position,
					  bool fresh, struct cleave__branch **beyond) PORT_INSIDE
{
	const struct cleave__branch *parent = position->parent;
	struct cleave__position ahead;

	if (!parent)
		return;
	if (fresh)
		cleave__prefetch_child(parent, position->index + 1);
	cleave__prefetch_child(parent, position->index + 2);
	if (position->index + 2 == parent->node.count && parent->node.last < CLEAVE_LAST) {
		cleave__walk(index, 0, parent->node.last + 1, search_branch, search_twos, &ahead);
		cleave__leaf_prefetch(ahead.node);
		*beyond = ahead.parent;
	}
}

/*
 * To the next leaf without a walk: beside this one, or the first one of the branch beside, if that is known and is
 * there still.  What was found as such may begin at 0, which 2^64 is, too:
 *	1. cursor: walks to A, under P
 *	2. writer: joins P and the branch beside it to Q, over all addresses
 *	3. cursor: looks ahead, finds Q;  walks to the leaf after A, under Q, and goes on to the last one.
 */
static PORT_ALWAYS_INLINE bool step_on(struct cleave__position *position, struct cleave__branch *beyond) PORT_INSIDE
{
	uint64_t last = position->node->last;

	if (!cleave__step(position, position->index + 1)) {
		if (!beyond || last == CLEAVE_LAST || beyond->node.first != last + 1)
			return false;
		position->parent = beyond;
		if (!cleave__step(position, 0))
			return false;
	}
	position->count = search_count(cleave__live(position->order));
	return true;
}

/*
 * The way upward, from the cursor's key to `last`: cleave_next_rcu() and cleave_lookup_range_rcu().  It ends with a
 * leaf: the last entries may begin above `last`.
 */
static PORT_ALWAYS_INLINE size_t go_up(struct cleave_cursor *cursor, uint64_t last, enum cleave__form form, void *to,
				       size_t n) PORT_INSIDE
{
	const struct cleave *index = cursor->index;
	const bool gaps = cursor->gaps;
	uint64_t key = cursor->key;
	bool known = false; /* the position is where the key is */
	struct cleave__branch *beyond = NULL;
	struct cleave__position position;
	size_t done = 0;

	while (done < n && !cursor->after && key <= last) {
		const struct cleave__leaf *leaf;
		size_t room = n - done;
		unsigned int found;
		void *at = cleave__form_at(form, to, done);

		if (!known)
			seek(index, key, &position);
		look_ahead(index, &position, !known, &beyond);
		leaf = cleave__leaf_const(position.node);
		found = search_cells(leaf, position.order, position.count, position.r, room, gaps, form, at);
		if (form == CLEAVE__VISITS && !known && found && ((struct cleave_visit *)at)->first < key)
			((struct cleave_visit *)at)->first = key;
		done += found;
		cursor->before = false;
		if (room < position.count - position.r) {
			position.r += (unsigned int)room;
			key = PORT_CELL_READ(leaf->start[cleave__cell(position.order, position.r)]);
			known = true;
			continue;
		}
		/* Most leaves are passed as a whole, with room for all that one may have: nothing else is asked. */
		for (known = leaf->node.last < last && step_on(&position, beyond);
		     known && n - done >= CLEAVE__CELL_ROOM;
		     known = leaf->node.last < last && step_on(&position, beyond)) {
			look_ahead(index, &position, false, &beyond);
			leaf = cleave__leaf_const(position.node);
			done += search_cells(leaf, position.order, position.count, 0, CLEAVE__CELL_ROOM, gaps, form,
					     cleave__form_at(form, to, done));
		}
		position.r = 0;
		key = leaf->node.last + 1; /* 0: 2^64 */
		cursor->after = key == 0;
		key -= cursor->after;
	}
	cursor->key = key;
	return done;
}

static size_t next_rcu(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n) PORT_INSIDE
{
	return go_up(cursor, CLEAVE_LAST, CLEAVE__VISITS, visits, n);
}

static size_t lookup_range_rcu(const struct cleave *index, uint64_t first, uint64_t last, bool gaps,
			       struct cleave_entry *entries, size_t n) PORT_INSIDE
{
	struct cleave_cursor cursor = { .index = index, .key = first, .gaps = gaps };
	size_t found = go_up(&cursor, last, CLEAVE__ENTRIES, entries, n);

	/* They ascend, and what begins above `last` is in the leaf that holds it. */
	while (found && entries[found - 1].first > last)
		found--;
	return found;
}

static bool climb_rcu(const struct cleave *index, unsigned int level, uint64_t addr,
		      struct cleave__position *position) PORT_INSIDE
{
	return cleave__walk(index, level, addr, search_branch, search_twos, position);
}

extern const struct cleave__edits EDITS_OF(SEARCH_NAME);
extern const struct cleave__search NAME_OF(SEARCH_NAME);
const struct cleave__search NAME_OF(SEARCH_NAME) = {
	.name = TEXT_OF(SEARCH_NAME),
	.lookup_rcu = lookup_rcu,
	.value_rcu = value_rcu,
	.lookup_ticket_rcu = lookup_ticket_rcu,
	.lookup_many_rcu = lookup_many_rcu,
	.seek_rcu = seek_rcu,
	.lookup_range_rcu = lookup_range_rcu,
	.next_rcu = next_rcu,
	.climb_rcu = climb_rcu,
	.gap_rcu = gap_rcu,
	.gap_from_rcu = gap_from_rcu,
	.edits = &EDITS_OF(SEARCH_NAME),
};
