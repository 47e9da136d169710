/* SPDX-License-Identifier: ISC */
#include "edit.h"

#include "search.h"

#include "steps.h"

#define NAME_OF_(name) cleave__edits_##name
#define NAME_OF(name) NAME_OF_(name)

/* Search a locked leaf whose order word is known. */
static PORT_ALWAYS_INLINE void search_locked(uint64_t addr, struct cleave__position *position)
{
	const struct cleave__leaf *leaf = cleave__leaf_const(position->node);

	position->r = search_count(search_leaf(leaf, position->order, addr)) - 1;
	position->count = search_count(cleave__live(position->order));
}

/* Lock the leaf of a position, inside a read section.  False: it is locked, or dead, and not locked now. */
static PORT_ALWAYS_INLINE bool lock_at(struct cleave *index, const struct cleave__position *position, uint64_t *order)
	PORT_INSIDE PORT_TRYLOCKS(position->node->lock)
{
	struct cleave__leaf *leaf = cleave__leaf(position->node);

	if (PORT_UNLIKELY(!cleave__trylock(&leaf->node.lock)))
		return false;
	*order = cleave__order_locked(leaf);
	if (PORT_LIKELY(!(*order & CLEAVE__DEAD)))
		return true;
	cleave__unlock_dead(index, &leaf->node);
	return false;
}

/* The same, and search it under the lock. */
static PORT_ALWAYS_INLINE bool lock_this(struct cleave *index, uint64_t addr, struct cleave__position *position)
	PORT_INSIDE PORT_TRYLOCKS(position->node->lock)
{
	if (PORT_UNLIKELY(!lock_at(index, position, &position->order)))
		return false;
	search_locked(addr, position);
	return true;
}

/* It was found, and searched before it is locked: searched again if it has changed since. */
static PORT_ALWAYS_INLINE bool lock_found(struct cleave *index, uint64_t addr, struct cleave__position *position)
	PORT_INSIDE PORT_TRYLOCKS(position->node->lock)
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
static PORT_ALWAYS_INLINE bool lock_leaf(struct cleave *index, uint64_t addr, struct cleave__position *position)
	PORT_INSIDE PORT_TRYLOCKS(position->node->lock)
{
	cleave__walk(index, 0, addr, search_branch, search_twos, position);
	return lock_this(index, addr, position);
}

/* The same, in a section that may end and begin again meanwhile. */
static PORT_NO_INLINE struct cleave__position lock_leaf_slowly(struct cleave *index, struct cleave_thread *self,
							       uint64_t addr,
							       struct cleave__position position) PORT_UNCHECKED
{
	cleave__lock_leaf_slowly(index, self, addr, &position);
	position.order = cleave__order_locked(cleave__leaf_const(position.node));
	search_locked(addr, &position);
	return position;
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
	cleave__leaf_exchange(leaf, position.order, position.count,
			      &(struct cleave__exchange){
				      .at = position.r + 1, .n = 1, .fresh = cell, .added = 1u << cell });
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
	result = cleave__unclip_leaf(self, cleave__leaf(position.node), position.order, position.count, position.r,
				     addr);
	if (PORT_UNLIKELY(result == CLEAVE__RESTART))
		return begin_again(index, self, CLEAVE__UNCLIP, addr, true);
	return finish(index, self, position.node, result);
}

/* As fill(), below, in a copy: the leaf has too few clean cells.  Or there is no such gap. */
static PORT_NO_INLINE int fill_copy(struct cleave *index, struct cleave_thread *self, struct cleave__change change,
				    const struct cleave__position *position) PORT_LEAVES
	PORT_UNLOCKS(position->node->lock) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(position->node);
	unsigned int at = cleave__cell(position->order, position->r);
	uint64_t tail = cleave__cell_last(leaf, position->order, position->count, position->r);
	bool below = PORT_CELL_READ(leaf->start[at]) < change.first;

	if (!PORT_CELL_READ(leaf->value[at]) && change.last <= tail &&
	    cleave__copy_exchange_leave(
		    index, self, position,
		    (struct cleave__exchange){ .at = position->r + below,
					       .drop = !below,
					       .dropped = (unsigned int)!below << at,
					       .n = 1 + (change.last < tail) },
		    &(struct cleave__filling){ { change.first, change.last + 1 }, { change.value, NULL } }))
		return 0;
	return go_on(index, self, change, *position);
}

/*
 * Fill a part of the gap at a position of a locked leaf: what is left of it below keeps its cell, what is left above
 * gets another.
 */
static PORT_ALWAYS_INLINE int fill(struct cleave *index, struct cleave_thread *self, struct cleave__change change,
				   const struct cleave__position *position) PORT_LEAVES
	PORT_UNLOCKS(position->node->lock) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(position->node);
	unsigned int count = position->count, r = position->r, clean, others, one, other, below, above, at;
	uint64_t order = position->order, tail;

	at = cleave__cell(order, r);
	tail = cleave__cell_last(leaf, order, count, r);
	below = PORT_CELL_READ(leaf->start[at]) < change.first;
	above = change.last < tail;
	clean = cleave__pool_recycle_cells(self, leaf, order);
	others = clean & (clean - 1);
	if (PORT_UNLIKELY((PORT_CELL_READ(leaf->value[at]) != NULL) | (tail < change.last) | !clean |
			  (above & !others)))
		return fill_copy(index, self, change, position);
	/* Both cells are written, even where only one is needed. */
	one = (unsigned int)__builtin_ctz(clean);
	other = (unsigned int)__builtin_ctz(others ? others : clean);
	PORT_CELL_WRITE(leaf->start[other], change.last + 1);
	PORT_CELL_WRITE(leaf->value[other], NULL);
	PORT_CELL_WRITE(leaf->start[one], change.first);
	PORT_CELL_WRITE(leaf->value[one], change.value);
	cleave__leaf_exchange(leaf, order, count,
			      &(struct cleave__exchange){ .at = r + below,
							  .drop = !below,
							  .dropped = (unsigned int)!below << at,
							  .n = 1 + above,
							  .fresh = one | (other & (0 - above)) << 4,
							  .added = 1u << one | above << other });
	cleave__pool_drop_cells(self, leaf, (unsigned int)!below << at);
	PORT_COUNT(self->counters.edits);
	return finish(index, self, &leaf->node, 0);
}

static int insert(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last, void *value,
		  struct cleave_entry *conflict) PORT_UNCHECKED
{
	struct cleave__change change = {
		.verb = CLEAVE__INSERT, .first = first, .last = last, .value = value, .entry = conflict
	};
	struct cleave__position position;

	cleave__prepare_change(index, self);
	cleave__enter(index, self);
	if (PORT_UNLIKELY(!lock_leaf(index, first, &position)))
		return wait_and_go_on(index, self, change, position);
	return fill(index, self, change, &position);
}

/* (`position` stays where it is: what was written by pieces would be slow to copy.) */
static int insert_found_leave(struct cleave *index, struct cleave_thread *self, struct cleave__position *position,
			      uint64_t first, uint64_t last, void *value) PORT_UNCHECKED
{
	struct cleave__change change = { .verb = CLEAVE__INSERT, .first = first, .last = last, .value = value };

	if (PORT_UNLIKELY(!lock_found(index, first, position)))
		return wait_and_go_on(index, self, change, *position);
	return fill(index, self, change, position);
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

/* The same where there is neither a gap below nor a clean cell: in a copy. */
static PORT_NO_INLINE int erase_copy(struct cleave *index, struct cleave_thread *self, struct cleave__change change,
				     struct cleave__position position, unsigned int dropped,
				     void *value) PORT_UNCHECKED
{
	if (!cleave__copy_exchange_leave(
		    index, self, &position,
		    (struct cleave__exchange){ .at = position.r,
					       .drop = cleave__count12(dropped),
					       .dropped = dropped,
					       .n = 1 },
		    &(struct cleave__filling){ { change.first }, { NULL } }))
		return go_on(index, self, change, position);
	if (change.sink)
		change.sink->each(change.sink, &(struct cleave_entry){ change.first, change.last, value });
	return 0;
}

/* Erase one whole entry: gaps beside it are joined, that below in its cell, that above in a new one. */
static int erase(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
		 struct cleave_sink *sink) PORT_UNCHECKED
{
	struct cleave__change change = { .verb = CLEAVE__STORE, .first = first, .last = last, .sink = sink };
	struct cleave__position position;
	struct cleave__leaf *leaf;
	unsigned int at, clean, cells, one, below, above, low, high, dropped;
	uint64_t order, gap_first, gap_last, gap;
	void *value;

	cleave__prepare_change(index, self);
	cleave__enter(index, self);
	if (PORT_UNLIKELY(!lock_leaf(index, first, &position)))
		return wait_and_go_on(index, self, change, position);
	leaf = cleave__leaf(position.node);
	order = position.order;
	at = cleave__cell(order, position.r);
	value = PORT_CELL_READ(leaf->value[at]);
	if (PORT_UNLIKELY((PORT_CELL_READ(leaf->start[at]) != first) |
			  (cleave__cell_last(leaf, order, position.count, position.r) != last) | !value))
		return go_on(index, self, change, position);
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
		return go_on(index, self, change, position);
	/*
	 * The first cell, or the last?  (0 - 1 is above all, and so is 1 - 2, of a single one.)  That is as good as
	 * random: it is asked late, so that little is left to be done when it was mispredicted.
	 */
	if (position.r - 1 >= position.count - 2 && !entry_beside(index, &position) &&
	    !border_is_clear(index, position, first, last))
		return go_on(index, self, change, position);
	gap = cleave__gap_size(gap_first, gap_last);
	if (PORT_UNLIKELY(!cleave__bound_allows(&position, gap)) &&
	    !cleave__raise(index, self, 0, first, gap, position.parent, true))
		return go_on(index, self, change, position);
	dropped = 1u << at | above << high;
	one = 0;
	if (PORT_LIKELY(clean)) {
		one = (unsigned int)__builtin_ctz(clean);
		PORT_CELL_WRITE(leaf->start[one], first);
		PORT_CELL_WRITE(leaf->value[one], NULL);
	} else if (!below) {
		return erase_copy(index, self, change, position, dropped, value);
	}
	cleave__leaf_exchange(leaf, order, position.count,
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

/* ---- Held entries ---- */

/*
 * The leaf of the thread's last hold, if it holds the address: who goes upward need not walk each time.  It is still a
 * leaf of this index, or was one until it died:
 *	1. begun() said n, and after that a walk found it: so it was not unlinked before a token below n
 *	2. begun() says n again, in this section: no other token is done before the section ends, nor a node reused that
 *	   was retired under it
 * (Did begun() say n after the walk only, a branch on the way could have been unlinked before token n - 1, while the
 * walk was under way, and be reused when 1's section ended.  Not the leaf, which is locked by then.)  What it was found
 * under is as safe to look at.  What a division, or a copy, of the thread's own has put in the place of such a leaf,
 * after begun() said n, is so, too: who unlinks that has seen it published, and so what begun() saw, and his token is
 * not below n.  An index that is destroyed frees its leaves at once; no other one has its number.
 */
static PORT_ALWAYS_INLINE bool remembers(const struct cleave *index, const struct cleave_thread *self, uint64_t begun)
{
	return begun && self->last.begun == begun && self->last.index == index->number;
}

static PORT_ALWAYS_INLINE bool holds_last(const struct cleave *index, const struct cleave_thread *self, uint64_t addr,
					  uint64_t begun) PORT_INSIDE
{
	return remembers(index, self, begun) && addr >= self->last.leaf->first && addr <= self->last.leaf->last;
}

/* The leaf is locked and lives: the entry is held from here on. */
static PORT_ALWAYS_INLINE void hold_leave(struct cleave_hold *hold, struct cleave *index, struct cleave_thread *self,
					  const struct cleave__position *position)
	PORT_LEAVES PORT_LOCKED(position->node->lock) PORT_UNCHECKED
{
	uintptr_t value;

	cleave__leaf_entry(cleave__leaf_const(position->node), position->order, position->count, position->r,
			   &hold->entry);
	self->last.r = (uint8_t)(position->r + 1);
	/* Who holds an entry looks at its value, where it is a pointer: it need not be one. */
	value = (uintptr_t)hold->entry.value;
	PORT_PREFETCH((const void *)value);
	PORT_PREFETCH((const void *)(value + 64));
	position->node->link = NULL;
	hold->leaf = position->node;
	hold->dead = NULL;
	hold->order = position->order;
	hold->count = position->count;
	hold->r = position->r;
	hold->put = hold->erased = hold->handed_over = hold->more = false;
	hold->txn.index = index;
	hold->txn.self = self;
	hold->txn.next = self->txns;
	self->txns = &hold->txn;
	cleave__leave(index, self); /* a locked live node stays */
}

/*
 * The leaf behind that one, for who came back to it before: he goes upward.  The branch has it, or had it when it died,
 * after begun() said n: so it is as safe to look at.
 */
static PORT_ALWAYS_INLINE bool find_next(const struct cleave *index, const struct cleave_thread *self, uint64_t addr,
					 uint64_t begun, struct cleave__position *position) PORT_INSIDE
{
	const struct cleave__place *last = &self->last;
	struct cleave__node *next;

	if (!last->again || !remembers(index, self, begun) || !last->parent ||
	    last->at + 1 >= last->parent->node.count)
		return false;
	next = cleave__link_read_rcu(&last->parent->child[last->at + 1]);
	position->node = next;
	position->parent = last->parent;
	position->above = last->above;
	position->index = last->at + 1;
	return addr >= next->first && addr <= next->last;
}

/* Find the leaf, by a walk if need be, after begun() said `begun`. */
static PORT_NO_INLINE void hold_begin_anew(struct cleave_hold *hold, struct cleave *index, struct cleave_thread *self,
					   uint64_t addr, uint64_t begun) PORT_LEAVES PORT_UNCHECKED
{
	struct cleave__position position;

	if (!find_next(index, self, addr, begun, &position))
		cleave__walk(index, 0, addr, search_branch, search_twos, &position);
	if (PORT_UNLIKELY(!lock_this(index, addr, &position)))
		position = lock_leaf_slowly(index, self, addr, position);
	self->last = (struct cleave__place){
		.leaf = position.node,
		.parent = position.parent,
		.above = position.above,
		.at = position.index,
		.index = index->number,
		.begun = begun,
	};
	hold_leave(hold, index, self, &position);
}

/* The last leaf is locked, and lives; another entry than the expected one holds the address. */
static PORT_NO_INLINE void hold_begin_searched(struct cleave_hold *hold, struct cleave *index,
					       struct cleave_thread *self, uint64_t addr) PORT_LEAVES PORT_UNCHECKED
{
	struct cleave__position position = { .node = self->last.leaf };

	position.order = cleave__order_locked(cleave__leaf_const(position.node));
	search_locked(addr, &position);
	hold_leave(hold, index, self, &position);
}

/* The last leaf was locked, and is dead. */
static PORT_NO_INLINE void hold_begin_dead(struct cleave_hold *hold, struct cleave *index, struct cleave_thread *self,
					   uint64_t addr, uint64_t begun) PORT_LEAVES PORT_UNCHECKED
{
	cleave__unlock_dead(index, self->last.leaf);
	hold_begin_anew(hold, index, self, addr, begun);
}

/* Is it the entry of that rank?  Who changes one after the other, upward, is mostly right, and searches nothing. */
static PORT_ALWAYS_INLINE bool expects(uint64_t addr, struct cleave__position *position)
{
	struct cleave_entry entry;

	position->count = search_count(cleave__live(position->order));
	if (PORT_UNLIKELY(position->r >= position->count))
		return false;
	cleave__leaf_entry(cleave__leaf_const(position->node), position->order, position->count, position->r, &entry);
	return addr >= entry.first && addr <= entry.last;
}

static void hold_begin(struct cleave_hold *hold, struct cleave *index, struct cleave_thread *self, uint64_t addr)
	PORT_UNCHECKED
{
	struct cleave__position position;
	uint64_t begun;

	cleave__prepare_change(index, self);
	cleave__enter(index, self);
	begun = cleave__pool_begun(self);
	if (!holds_last(index, self, addr, begun) || PORT_UNLIKELY(!cleave__trylock(&self->last.leaf->lock))) {
		hold_begin_anew(hold, index, self, addr, begun);
		return;
	}
	position.node = self->last.leaf;
	position.r = self->last.r;
	position.order = cleave__order_locked(cleave__leaf_const(position.node));
	if (PORT_UNLIKELY(position.order & CLEAVE__DEAD)) {
		hold_begin_dead(hold, index, self, addr, begun);
		return;
	}
	/* Who comes back to a leaf mostly goes on upward: the next one is on its way meanwhile. */
	if (PORT_UNLIKELY(!self->last.again)) {
		cleave__prefetch_child(self->last.parent, self->last.at + 1);
		self->last.again = true;
	}
	if (PORT_UNLIKELY(!expects(addr, &position)))
		hold_begin_searched(hold, index, self, addr);
	else
		hold_leave(hold, index, self, &position);
}

/* A cell of a held leaf is no longer listed, by a store that displaced its value. */
static PORT_NO_INLINE void drop_displaced(struct cleave_hold *hold, unsigned int cell)
{
	cleave__pool_drop_displaced(hold->txn.self, cleave__leaf(hold->leaf), cell);
}

static PORT_NO_INLINE void drop_gap(struct cleave_hold *hold, unsigned int cell)
{
	cleave__pool_drop_cells(hold->txn.self, cleave__leaf(hold->leaf), cell);
}

/* The head keeps its cell; what is put, and what is left above it, get others.  (Apart: the rest needs no frame.) */
static PORT_NO_INLINE int hold_put_behind(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value,
					  cleave__hold_put *elsewhere) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(hold->leaf);
	struct cleave_thread *self = hold->txn.self;
	unsigned int clean = cleave__pool_clean_cells(self, leaf, hold->order), others = clean & (clean - 1);
	unsigned int above = last < hold->entry.last, one, other;
	const void *displaced = hold->entry.value;

	if (PORT_UNLIKELY(!(above ? others : clean)))
		return elsewhere(hold, first, last, value);
	/* Both cells are written, even where only one is needed. */
	one = (unsigned int)__builtin_ctz(clean);
	other = (unsigned int)__builtin_ctz(others ? others : clean);
	PORT_CELL_WRITE(leaf->start[other], last + 1);
	PORT_CELL_WRITE(leaf->value[other], hold->entry.value);
	PORT_CELL_WRITE(leaf->start[one], first);
	PORT_CELL_WRITE(leaf->value[one], value);
	cleave__leaf_exchange(leaf, hold->order, hold->count,
			      &(struct cleave__exchange){ .at = hold->r + 1,
							  .n = 1 + above,
							  .fresh = one | (other & (0 - above)) << 4,
							  .added = 1u << one | above << other,
							  .displaces = displaced && displaced != value });
	hold->count += 1 + above;
	self->last.r++; /* the head was not expected to stay */
	PORT_COUNT(self->counters.edits);
	return 0;
}

/* Put the held entry, or its head, if there are clean cells.  (What takes a call comes last: no frame is needed.) */
static PORT_ALWAYS_INLINE bool put_head(struct cleave_hold *hold, uint64_t last, void *value, unsigned int clean)
	PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(hold->leaf);
	struct cleave_thread *self = hold->txn.self;
	uint64_t order = hold->order;
	unsigned int r = hold->r, cell = 1u << cleave__cell(order, r);

	if (PORT_UNLIKELY(!cleave__leaf_replace(leaf, order, &hold->count, r, &hold->entry, last, value, clean)))
		return false;
	PORT_COUNT(self->counters.edits);
	if (PORT_UNLIKELY(!hold->entry.value))
		drop_gap(hold, cell);
	else if (PORT_LIKELY(self->started != NULL))
		cleave__pool_drop_displaced(self, leaf, cell);
	else
		drop_displaced(hold, cell);
	return true;
}

/*
 * What waits in the leaf is looked at by calls.  Where the cells do not suffice, too: that gives them a cookie, and
 * pushes it on, lest a thread without memory be refused for ever.
 */
static PORT_NO_INLINE int hold_put_slowly(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value,
					  cleave__hold_put *elsewhere) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(hold->leaf);
	unsigned int clean = cleave__pool_clean_cells(hold->txn.self, leaf, hold->order);

	return put_head(hold, last, value, clean) ? 0 : elsewhere(hold, first, last, value);
}

static int hold_put(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value, cleave__hold_put *elsewhere)
	PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(hold->leaf);
	unsigned int clean;

	hold->put = true;
	if (PORT_UNLIKELY(first != hold->entry.first))
		return hold_put_behind(hold, first, last, value, elsewhere);
	if (PORT_LIKELY(cleave__pool_look_at_cells(hold->txn.self, leaf, hold->order, &clean) &&
			put_head(hold, last, value, clean)))
		return 0;
	return hold_put_slowly(hold, first, last, value, elsewhere);
}

extern const struct cleave__edits NAME_OF(SEARCH_NAME);
const struct cleave__edits NAME_OF(SEARCH_NAME) = {
	.clip = clip,
	.unclip = unclip,
	.insert = insert,
	.insert_found_leave = insert_found_leave,
	.erase = erase,
	.hold_begin = hold_begin,
	.hold_put = hold_put,
};
