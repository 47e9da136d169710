/* SPDX-License-Identifier: ISC */
#include "edit.h"

#include "search.h"

#include "edit_lock.h"
#include "steps.h"

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

/* lock_this(), in a section that may end and begin again meanwhile. */
static PORT_NO_INLINE struct cleave__position lock_leaf_slowly(struct cleave *index, struct cleave_thread *self,
							       uint64_t addr,
							       struct cleave__position position) PORT_UNCHECKED
{
	cleave__lock_leaf_slowly(index, self, addr, &position);
	position.order = cleave__order_locked(cleave__leaf_const(position.node));
	search_locked(addr, &position);
	return position;
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

void HOLD_BEGIN(struct cleave_hold *hold, struct cleave *index, struct cleave_thread *self, uint64_t addr)
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
	if (PORT_UNLIKELY(position.order >= CLEAVE__DEAD)) {
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
	cleave__leaf_exchange(leaf, hold->order,
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

int HOLD_PUT(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value, cleave__hold_put *elsewhere)
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
