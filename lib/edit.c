/* SPDX-License-Identifier: ISC */
#include "edit.h"

#include "search.h"

#include "edit_lock.h"

#define NAME_OF_(name) cleave__edits_##name
#define NAME_OF(name) NAME_OF_(name)

/* It was found, and searched before it is locked: searched again if it has changed since. */
static PORT_ALWAYS_INLINE bool lock_found(struct cleave *index, uint64_t addr,
					  struct cleave__position *position) PORT_INSIDE
	PORT_TRYLOCKS(position->node->lock)
{
	uint64_t order;

	if (PORT_UNLIKELY(!lock_at(index, position, &order)))
		return false;
	if (PORT_UNLIKELY(order != position->order)) {
		position->order = order;
		search_locked(addr, position);
	}
	return true;
}

/* Find the leaf of an address, lock and search it, in a section that stays open. */
static PORT_ALWAYS_INLINE bool lock_leaf(struct cleave *index, uint64_t addr,
					 struct cleave__position *position) PORT_INSIDE
	PORT_TRYLOCKS(position->node->lock)
{
	cleave__walk(index, 0, addr, search_branch, search_twos, position);
	return lock_this(index, addr, position);
}

/* The edit is published: end the call. */
static PORT_ALWAYS_INLINE int finish(struct cleave *index, struct cleave_thread *self, struct cleave__node *leaf,
				     int result) PORT_LEAVES PORT_UNLOCKS(leaf->lock) PORT_UNCHECKED
{
	cleave__unlock_node(index, leaf);
	PORT_COUNT_RELEASE(self->unlocks); /* [U8-rel] */
	cleave__leave(index, self);
	cleave__pool_nudge(self);
	return result;
}

/* It takes more than an edit, and the leaf is locked. */
static int go_on(struct cleave *index, struct cleave_thread *self, struct cleave__change change,
		 struct cleave__position position) PORT_LEAVES PORT_UNLOCKS(position.node->lock)
{
	return cleave__change_leave(index, self, &change, &position);
}

/* The leaf is not locked yet, and not searched. */
static int wait_and_go_on(struct cleave *index, struct cleave_thread *self, struct cleave__change change,
			  struct cleave__position position) PORT_LEAVES PORT_UNCHECKED
{
	position.order = 0; /* of no leaf: who holds the lock searches it then */
	cleave__lock_leaf_slowly(index, self, change.first, &position);
	return cleave__change_leave(index, self, &change, &position);
}

/*
 * A clip, or its undoing, takes more than an edit: it begins once more.  A leaf that is held (locked, and live) is
 * found by another walk: this is rare, and what only it needs would be in the way of all others.
 */
static PORT_NO_INLINE int begin_again(struct cleave *index, struct cleave_thread *self, enum cleave__verb verb,
				      uint64_t addr, bool held) PORT_LEAVES PORT_UNCHECKED
{
	struct cleave__change change = { .verb = verb, .first = addr, .last = addr };
	struct cleave__position position;

	index->search->seek_rcu(index, addr, &position);
	return held ? go_on(index, self, change, position) : wait_and_go_on(index, self, change, position);
}

static int clip(struct cleave *index, struct cleave_thread *self, uint64_t addr) PORT_UNCHECKED
{
	struct cleave__position position;
	struct cleave__leaf *leaf;
	unsigned int at, clean, cell;
	void *value;

	cleave__prepare_change(index, self);
	cleave__enter(index, self);
	if (PORT_UNLIKELY(!lock_leaf(index, addr, &position)))
		return begin_again(index, self, CLEAVE__CLIP, addr, false);
	leaf = cleave__leaf(position.node);
	at = cleave__cell(position.order, position.r);
	value = PORT_CELL_READ(leaf->value[at]);
	if (PORT_UNLIKELY(!value))
		return finish(index, self, position.node, -ENOENT);
	if (PORT_UNLIKELY(PORT_CELL_READ(leaf->start[at]) == addr))
		return finish(index, self, position.node, 0);
	clean = cleave__pool_clean_cells(self, leaf, position.order);
	if (PORT_UNLIKELY(!clean))
		return begin_again(index, self, CLEAVE__CLIP, addr, true);
	cell = (unsigned int)__builtin_ctz(clean);
	PORT_CELL_WRITE(leaf->start[cell], addr);
	PORT_CELL_WRITE(leaf->value[cell], value);
	cleave__leaf_exchange(
		leaf, position.order,
		&(struct cleave__exchange){ .at = position.r + 1, .n = 1, .fresh = cell, .added = 1u << cell });
	PORT_COUNT(self->counters.edits);
	return finish(index, self, position.node, 0);
}

static int unclip(struct cleave *index, struct cleave_thread *self, uint64_t addr) PORT_UNCHECKED
{
	struct cleave__position position;
	int result;

	cleave__prepare_change(index, self);
	cleave__enter(index, self);
	if (PORT_UNLIKELY(!lock_leaf(index, addr, &position)))
		return begin_again(index, self, CLEAVE__UNCLIP, addr, false);
	result = cleave__unclip_leaf(self, cleave__leaf(position.node), position.order, position.r, addr);
	if (PORT_UNLIKELY(result == CLEAVE__RESTART))
		return begin_again(index, self, CLEAVE__UNCLIP, addr, true);
	return finish(index, self, position.node, result);
}

/* As fill(), below, in a copy: the leaf has too few clean cells.  False: not at once, or there is no such gap. */
static bool fill_copy(struct cleave *index, struct cleave_thread *self, const struct cleave__change *change,
		      const struct cleave__position *position) PORT_UNCHECKED
{
	const struct cleave__leaf *leaf = cleave__leaf_const(position->node);
	unsigned int at = cleave__cell(position->order, position->r);
	uint64_t tail = cleave__cell_last(leaf, position->order, position->count, position->r);
	bool below = PORT_CELL_READ(leaf->start[at]) < change->first;

	return !PORT_CELL_READ(leaf->value[at]) && change->last <= tail &&
	       cleave__copy_exchange_leave(
		       index, self, position,
		       (struct cleave__exchange){ .at = position->r + below,
						  .drop = !below,
						  .dropped = (unsigned int)!below << at,
						  .n = 1 + (change->last < tail) },
		       &(struct cleave__filling){ { change->first, change->last + 1 }, { change->value, NULL } });
}

/* An insertion takes more than an edit.  `held`: the leaf is locked, and searched. */
static PORT_NO_INLINE int insert_more(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
				      void *value, struct cleave_entry *conflict, struct cleave__position position,
				      bool held) PORT_LEAVES PORT_UNCHECKED
{
	struct cleave__change change = {
		.verb = CLEAVE__INSERT, .first = first, .last = last, .value = value, .entry = conflict
	};

	if (!held)
		return wait_and_go_on(index, self, change, position);
	if (fill_copy(index, self, &change, &position))
		return 0;
	return go_on(index, self, change, position);
}

/*
 * Fill a part of the gap at a position of a locked leaf: what is left of it below keeps its cell, what is left above
 * gets another.
 *
 * All that is computed here waits for the walk, in the processor's scheduler.  If that is full, the next call's walk is
 * not begun meanwhile, so each instruction counts, even one that would be free by itself: 25 more in an edit that has
 * 50 make it 12 ns slower (Zen 5, which has room for 88).
 */
static PORT_ALWAYS_INLINE int fill(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
				   void *value, struct cleave_entry *conflict,
				   const struct cleave__position *position) PORT_LEAVES
	PORT_UNLOCKS(position->node->lock) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(position->node);
	unsigned int r = position->r, at, clean, one, other, below, above;
	uint64_t order = position->order, numbers = (order & CLEAVE__NUMBERS) >> 4 * r, upper = numbers >> 4, live;
	struct cleave_entry gap;

	search_entry(leaf, order, r + 1 < position->count, r, &gap);
	at = numbers & 15;
	below = gap.first < first;
	above = last < gap.last;
	clean = cleave__pool_recycle_cells(self, leaf, order);
	if (PORT_UNLIKELY(gap.value != NULL) || PORT_UNLIKELY(gap.last < last) || PORT_UNLIKELY(!clean))
		return insert_more(index, self, first, last, value, conflict, *position, true);
	one = (unsigned int)__builtin_ctz(clean);
	other = 31 - (unsigned int)__builtin_clz(clean);
	if (PORT_UNLIKELY(above & (one == other)))
		return insert_more(index, self, first, last, value, conflict, *position, true);
	/* Both cells are written, even where only one is needed. */
	PORT_CELL_WRITE(leaf->start[other], last + 1);
	PORT_CELL_WRITE(leaf->value[other], NULL);
	PORT_CELL_WRITE(leaf->start[one], first);
	PORT_CELL_WRITE(leaf->value[one], value);
	upper = (upper << 4 | other) >> 4 * (above ^ 1);
	upper = upper << 4 | one;
	upper = (upper << 4 | at) >> 4 * (below ^ 1);
	live = (order >> 48 & ~((uint64_t)(below ^ 1) << at)) | UINT64_C(1) << one | (uint64_t)above << other;
	cleave__order_displace_locked(leaf, (order & cleave__low_numbers(r)) | upper << 4 * r | live << 48);
	cleave__pool_drop_displaced(self, leaf, (below ^ 1) << at);
	PORT_COUNT(self->counters.edits);
	return finish(index, self, &leaf->node, 0);
}

static int insert(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last, void *value,
		  struct cleave_entry *conflict) PORT_UNCHECKED
{
	struct cleave__position position;

	cleave__prepare_change(index, self);
	cleave__enter(index, self);
	if (PORT_UNLIKELY(!lock_leaf(index, first, &position)))
		return insert_more(index, self, first, last, value, conflict, position, false);
	return fill(index, self, first, last, value, conflict, &position);
}

static int insert_found_leave(struct cleave *index, struct cleave_thread *self, struct cleave__position *position,
			      uint64_t first, uint64_t last, void *value) PORT_UNCHECKED
{
	if (PORT_UNLIKELY(!lock_found(index, first, position)))
		return insert_more(index, self, first, last, value, NULL, *position, false);
	return fill(index, self, first, last, value, NULL, position);
}

/* Has the neighbour that the leaf's first or last cell meets an entry there?  Mostly it is so simple; else false. */
static PORT_ALWAYS_INLINE bool entry_beside(struct cleave *index, const struct cleave__position *position)
	PORT_INSIDE PORT_LOCKED(position->node->lock) PORT_UNCHECKED
{
	const struct cleave__branch *parent = position->parent;
	unsigned int left = position->r == 0, right = position->r + 1 == position->count;
	unsigned int at = position->index + right - left; /* left of the first: above all */
	struct cleave__node *beside;
	uint64_t order;
	const void *value;

	if (PORT_UNLIKELY(!parent || at >= parent->node.count) || PORT_UNLIKELY(left & right))
		return false;
	beside = cleave__link_read_rcu(&parent->child[at]);
	if (PORT_UNLIKELY(!cleave__trylock_live(index, beside)))
		return false;
	order = cleave__order_locked(cleave__leaf_const(beside));
	at = left ? search_count(cleave__live(order)) - 1 : 0;
	value = PORT_CELL_READ(cleave__leaf_const(beside)->value[cleave__cell(order, at)]);
	cleave__unlock_node(index, beside);
	return value != NULL;
}

/* Does an erasure up to the leaf's border leave its neighbours alone?  (border.h) */
static bool border_is_clear(struct cleave *index, struct cleave__position position, uint64_t first, uint64_t last)
	PORT_INSIDE PORT_LOCKED(position.node->lock)
{
	struct cleave__border border;

	if (!cleave__border_look(index, &position, first, last, &border))
		return false;
	cleave__border_release(index, &border);
	return !border.joins[0] && !border.joins[1];
}

/* An erasure takes more than an edit. */
static PORT_NO_INLINE int erase_more(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
				     struct cleave_sink *sink, struct cleave__position position, bool held)
	PORT_LEAVES PORT_UNCHECKED
{
	struct cleave__change change = { .verb = CLEAVE__STORE, .first = first, .last = last, .sink = sink };

	return held ? go_on(index, self, change, position) : wait_and_go_on(index, self, change, position);
}

/* Erase one whole entry in a copy: there is neither a gap below it nor a clean cell. */
static PORT_NO_INLINE int erase_copy(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
				     struct cleave_sink *sink, struct cleave__position position, unsigned int dropped,
				     void *value) PORT_UNCHECKED
{
	if (!cleave__copy_exchange_leave(
		    index, self, &position,
		    (struct cleave__exchange){
			    .at = position.r, .drop = cleave__count12(dropped), .dropped = dropped, .n = 1 },
		    &(struct cleave__filling){ { first }, { NULL } }))
		return erase_more(index, self, first, last, sink, position, true);
	if (sink)
		sink->each(sink, &(struct cleave_entry){ first, last, value });
	return 0;
}

/* Erase one whole entry: gaps beside it are joined, that below in its cell, that above in a new one. */
static int erase(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
		 struct cleave_sink *sink) PORT_UNCHECKED
{
	struct cleave__position position;
	struct cleave__leaf *leaf;
	unsigned int at, clean, cells, one, below, above, low, high, dropped;
	uint64_t order, gap_first, gap_last, gap;
	void *value;

	cleave__prepare_change(index, self);
	cleave__enter(index, self);
	if (PORT_UNLIKELY(!lock_leaf(index, first, &position)))
		return erase_more(index, self, first, last, sink, position, false);
	leaf = cleave__leaf(position.node);
	order = position.order;
	at = cleave__cell(order, position.r);
	value = PORT_CELL_READ(leaf->value[at]);
	if (PORT_UNLIKELY((PORT_CELL_READ(leaf->start[at]) != first) |
			  (cleave__cell_last(leaf, order, position.count, position.r) != last) | !value))
		return erase_more(index, self, first, last, sink, position, true);
	/* Where there is nothing below or above, the entry stands for it. */
	low = cleave__cell(order, position.r - (position.r > 0));
	high = cleave__cell(order, position.r + (position.r + 1 < position.count));
	below = !PORT_CELL_READ(leaf->value[low]);
	above = !PORT_CELL_READ(leaf->value[high]);
	gap_first = PORT_CELL_READ(leaf->start[at ^ ((at ^ low) & (0 - below))]);
	gap_last = cleave__cell_last(leaf, order, position.count, position.r + above);
	clean = cleave__pool_recycle_cells(self, leaf, order);
	cells = position.count - below - above;
	if (PORT_UNLIKELY(cells <= CLEAVE__SMALL) && cells <= cleave__small_now(self))
		return erase_more(index, self, first, last, sink, position, true);
	/*
	 * The first cell, or the last?  (0 - 1 is above all, and so is 1 - 2, of a single one.)  That is as good as
	 * random: it is asked late, so that little is left to be done when it was mispredicted.
	 */
	if (position.r - 1 >= position.count - 2 && !entry_beside(index, &position) &&
	    !border_is_clear(index, position, first, last))
		return erase_more(index, self, first, last, sink, position, true);
	gap = cleave__gap_size(gap_first, gap_last);
	if (PORT_UNLIKELY(!cleave__bound_allows(&position, gap)) &&
	    !cleave__raise(index, self, 0, first, gap, position.parent, true))
		return erase_more(index, self, first, last, sink, position, true);
	dropped = 1u << at | above << high;
	one = 0;
	if (PORT_LIKELY(clean)) {
		one = (unsigned int)__builtin_ctz(clean);
		PORT_CELL_WRITE(leaf->start[one], first);
		PORT_CELL_WRITE(leaf->value[one], NULL);
	} else if (!below) {
		return erase_copy(index, self, first, last, sink, position, dropped, value);
	}
	cleave__leaf_exchange(leaf, order,
			      &(struct cleave__exchange){ .at = position.r,
							  .drop = 1 + above,
							  .dropped = dropped,
							  .n = !below,
							  .fresh = one & (below - 1),
							  .added = (unsigned int)!below << one,
							  .displaces = true });
	cleave__pool_drop_displaced(self, leaf, dropped);
	PORT_COUNT(self->counters.edits);
	finish(index, self, position.node, 0);
	if (sink)
		sink->each(sink, &(struct cleave_entry){ first, last, value });
	return 0;
}

extern const struct cleave__edits NAME_OF(SEARCH_NAME);
const struct cleave__edits NAME_OF(SEARCH_NAME) = {
	.clip = clip,
	.unclip = unclip,
	.insert = insert,
	.insert_found_leave = insert_found_leave,
	.erase = erase,
	.hold_begin = HOLD_BEGIN,
	.hold_put = HOLD_PUT,
};
