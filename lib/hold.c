/* SPDX-License-Identifier: ISC */
/*
 * Holds: one entry, under its leaf's lock alone.  What a transaction does in general, for the commonest case: the
 * caller looks at the entry that holds an address, decides, and gives a part of it another value.
 *
 *	lock the leaf -> (caller) -> fill clean cells, store the order word -> (caller) -> unlock
 *
 * Where a value other than NULL is put no gap grows: no bound is raised, and no neighbour is looked at.  A leaf without
 * clean cells is copied, and one without room divided, under the lock that is held.  If neither can be done at once,
 * the leaf is handed over to a transaction.  A gap that is put raises the bounds above, under the leaf's lock; if a
 * neighbour has a gap to be joined with it, that is not done here.
 */
#include "edit.h"

static struct cleave__leaf *leaf_of(const struct cleave_hold *hold)
{
	return cleave__leaf(hold->leaf);
}

void cleave_hold_begin(struct cleave_hold *hold, struct cleave *index, struct cleave_thread *self, uint64_t addr)
{
	index->search->edits->hold_begin(hold, index, self, addr);
}

void *cleave_hold_beside(const struct cleave_hold *hold, int steps)
{
	unsigned int r = hold->r + (unsigned int)steps; /* wraps below the first: no rank then */

	PORT_ASSERT(!hold->put, "who looks beside a held entry does so before the put");
	return r < hold->count ? PORT_CELL_READ(leaf_of(hold)->value[cleave__cell(hold->order, r)]) : NULL;
}

/* The held leaf as a walk finds it, for it is locked and lives: what the last one remembers, if it can look there. */
static void find_held(const struct cleave_hold *hold, uint64_t begun, struct cleave__position *position) PORT_INSIDE
{
	struct cleave *index = hold->txn.index;
	const struct cleave__place *last = &hold->txn.self->last;

	if (last->leaf == hold->leaf && begun && last->begun == begun && last->parent &&
	    !cleave__dead_locked(&last->parent->node)) {
		position->node = last->leaf;
		position->parent = last->parent;
		position->above = last->above;
		position->index = last->at;
		position->order = hold->order;
		position->count = hold->count;
		position->r = hold->r;
	} else {
		index->search->seek_rcu(index, hold->leaf->first, position);
	}
}

/* A gap is to appear: no bound above may be lower.  Only the leaf is locked, outside of sections: this may wait. */
static void raise(struct cleave_hold *hold, uint64_t addr, uint64_t gap) PORT_UNCHECKED
{
	struct cleave *index = hold->txn.index;
	struct cleave_thread *self = hold->txn.self;
	struct cleave__position position;
	bool done;

	cleave__enter(index, self);
	find_held(hold, cleave__pool_begun(self), &position);
	done = cleave__bound_allows(&position, gap) ||
	       cleave__raise(index, self, 0, addr, gap, position.parent, true);
	cleave__leave(index, self);
	if (PORT_UNLIKELY(!done))
		(void)cleave__raise(index, self, 0, addr, gap, NULL, false);
}

/*
 * A gap is put by one store of the order word: gaps beside it are joined, that below in its cell, that above in the new
 * one.  False: there are no clean cells for it.  (Few branches, as in edit.c's erase().)
 */
static bool put_gap(struct cleave_hold *hold, uint64_t first, uint64_t last) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = leaf_of(hold);
	struct cleave_thread *self = hold->txn.self;
	unsigned int r = hold->r, count = hold->count, head = hold->entry.first < first, tail = last < hold->entry.last;
	uint64_t order = hold->order, gap_first, gap_last;
	unsigned int at, low, high, below, above, clean, others, n, one, other, dropped;

	/* Where there is nothing below or above, the entry stands for it. */
	at = cleave__cell(order, r);
	low = cleave__cell(order, r - (r > 0));
	high = cleave__cell(order, r + (r + 1 < count));
	below = !head & !PORT_CELL_READ(leaf->value[low]);
	above = !tail & !PORT_CELL_READ(leaf->value[high]);
	n = !below + tail;
	clean = cleave__pool_recycle_cells(self, leaf, order);
	others = clean & (clean - 1);
	if (PORT_UNLIKELY(!(n > 1 ? others : clean)))
		return false;
	gap_first = below ? PORT_CELL_READ(leaf->start[low]) : first;
	gap_last = above ? cleave__cell_last(leaf, order, count, r + 1) : last;
	raise(hold, first, cleave__gap_size(gap_first, gap_last));
	/* Both cells are written, even where one is needed, or none. */
	one = (unsigned int)__builtin_ctz(clean);
	other = (unsigned int)__builtin_ctz(others ? others : clean);
	PORT_CELL_WRITE(leaf->start[other], last + 1);
	PORT_CELL_WRITE(leaf->value[other], hold->entry.value);
	PORT_CELL_WRITE(leaf->start[one], below ? last + 1 : first);
	PORT_CELL_WRITE(leaf->value[one], below ? hold->entry.value : NULL);
	dropped = (unsigned int)!head << at | above << high;
	cleave__leaf_exchange(leaf, order, count,
			      &(struct cleave__exchange){
				      .at = r + head,
				      .drop = !head + above,
				      .dropped = dropped,
				      .n = n,
				      .fresh = (one | other << 4) & (unsigned int)cleave__low_numbers(n),
				      .added = (unsigned int)(n > 0) << one | (unsigned int)(n > 1) << other,
				      .displaces = true,
			      });
	cleave__pool_drop_displaced(self, leaf, dropped);
	PORT_COUNT(self->counters.edits);
	hold->count = count + n - (!head + above);
	return true;
}

/* The same in a copy, which takes the leaf's place, locked.  False: the parent is busy, or no node, or no room. */
static bool put_in_copy(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value) PORT_UNCHECKED
{
	struct cleave_thread *self = hold->txn.self;
	struct cleave__node *copy;
	struct cleave__edit edit;

	if (self->nfree[CLEAVE__LEAF] <= self->reserved[CLEAVE__LEAF])
		return false;
	copy = cleave__pool_take(self, CLEAVE__LEAF);
	cleave__leaf_edit_init_copy(&edit, cleave__leaf(copy), leaf_of(hold), hold->order, hold->count);
	if (cleave__leaf_edit_put(&edit, hold->r, first, last, value)) {
		cleave__leaf_edit_store_private(&edit);
		copy->count = (uint8_t)(hold->leaf->count + 1);
		if (edit.gap)
			raise(hold, first, edit.gap);
		if (cleave__swing_leaf(hold->txn.index, self, hold->leaf, copy, edit.gap, true, false)) {
			cleave__unlock_dead(hold->txn.index, hold->leaf);
			hold->dead = hold->leaf;
			hold->more = true;
			if (self->last.leaf == hold->leaf)
				self->last.leaf = copy; /* as remember_divided() */
			hold->leaf = copy;
			hold->count = edit.count;
			return true;
		}
	}
	cleave__pool_give(self, copy);
	return false;
}

/*
 * Cells of the first leaf if the leaf, which has no clean cell, is to be divided because it is cut upward; else 0.
 * What this thread cuts head by head is the highest entry of its leaf, or becomes so: others may cut what is above it.
 */
static unsigned int cut_share(const struct cleave_hold *hold, uint64_t first, uint64_t last)
{
	const struct cleave__place *place = &hold->txn.self->last;
	bool head = first == hold->entry.first, tail = last < hold->entry.last;
	unsigned int share = cleave__cut_share(leaf_of(hold), first, last, hold->count + !head + tail);

	if (!share && head && tail && place->again && place->leaf == hold->leaf && hold->r + 1 < hold->count &&
	    hold->count >= CLEAVE__CELLS / 2 && hold->r + 2 <= CLEAVE__FULL)
		share = hold->r + 2;
	return share;
}

/*
 * Who cuts upward goes on behind `last`: remember the leaf there, as if a walk had found it.  All of it was published
 * after begun() said `begun`.
 */
static void remember_divided(struct cleave_thread *self, const struct cleave *index, struct cleave__divided divided,
			     uint64_t last, uint64_t begun)
{
	for (; divided.leaves->link && divided.leaves->last <= last; divided.at++)
		divided.leaves = divided.leaves->link;
	self->last = (struct cleave__place){
		.leaf = divided.leaves,
		.parent = divided.parent,
		.above = divided.above,
		.at = divided.at,
		.index = index->number,
		.begun = begun,
	};
}

/* The leaf is full, or to be divided: its place is taken by several, locked. */
static bool put_in_several(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value,
			   unsigned int share) PORT_UNCHECKED
{
	struct cleave *index = hold->txn.index;
	struct cleave_thread *self = hold->txn.self;
	struct cleave__node *leaf = hold->leaf;
	struct cleave__position position;
	struct cleave__divided divided;
	uint64_t begun;
	bool done;

	cleave__enter(index, self);
	begun = cleave__pool_begun(self);
	find_held(hold, begun, &position);
	done = cleave__divide(index, self, &position, first, last, value, share, &divided, &leaf->link);
	if (done) {
		remember_divided(self, index, divided, last, begun);
		cleave__unlock_dead(index, leaf);
		hold->leaf = divided.leaves;
		hold->dead = leaf;
		hold->more = true;
	}
	cleave__leave(index, self);
	return done;
}

/* Neither could be done at once: from here on it is a transaction's. */
static int put_by_txn(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value, bool spread)
{
	struct cleave_txn *txn = &hold->txn;
	int error;

	cleave__begin_with(txn, hold->leaf);
	txn->spread = spread;
	hold->handed_over = hold->more = true;
	error = cleave__put(txn, first, last, value);
	if (!error) {
		cleave__publish(txn, true);
	} else if (put_in_copy(hold, first, last, value)) {
		/* To divide the leaf was only a wish: it takes more nodes than a copy. */
		hold->handed_over = false;
		error = 0;
	}
	return error;
}

static inline bool may_put(const struct cleave_hold *hold, uint64_t first, uint64_t last)
{
	return first <= last && first >= hold->entry.first && last <= hold->entry.last && !hold->put;
}

/* The leaf cannot hold it. */
static int put_elsewhere(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value)
{
	unsigned int share = cut_share(hold, first, last);
	bool divides = share || cleave__leaf_cramped(leaf_of(hold), hold->count);

	if ((divides || !put_in_copy(hold, first, last, value)) &&
	    !put_in_several(hold, first, last, value, share))
		return put_by_txn(hold, first, last, value, divides);
	return 0;
}

int cleave_hold_put(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value)
{
	if (PORT_UNLIKELY(!value || !may_put(hold, first, last)))
		return -EINVAL;
	return hold->txn.index->search->edits->hold_put(hold, first, last, value, put_elsewhere);
}

/*
 * Has a neighbour a gap at the border that [first, last] reaches, to be joined with it, or is it busy?  If not, it has
 * none until this leaf is unlocked (border.h).
 */
static bool gap_beyond(struct cleave_hold *hold, uint64_t first, uint64_t last) PORT_UNCHECKED
{
	struct cleave *index = hold->txn.index;
	struct cleave__position position;
	struct cleave__border border;
	bool seen;

	cleave__enter(index, hold->txn.self);
	find_held(hold, cleave__pool_begun(hold->txn.self), &position);
	seen = cleave__border_look(index, &position, first, last, &border);
	if (seen)
		cleave__border_release(index, &border);
	cleave__leave(index, hold->txn.self);
	return !seen || border.joins[0] || border.joins[1];
}

int cleave_hold_erase(struct cleave_hold *hold, uint64_t first, uint64_t last)
{
	if (!hold->entry.value || !may_put(hold, first, last))
		return -EINVAL;
	if ((cleave__border_reached(hold->leaf, first, last) && gap_beyond(hold, first, last)) ||
	    (!put_gap(hold, first, last) && !put_in_copy(hold, first, last, NULL)))
		return -EAGAIN;
	hold->put = hold->erased = true;
	hold->more |= hold->count <= CLEAVE__SMALL;
	return 0;
}

/* Not only a leaf to be unlocked. */
static PORT_NO_INLINE void end_slowly(struct cleave_hold *hold) PORT_UNCHECKED
{
	struct cleave_thread *self = hold->txn.self;
	struct cleave__node *next;
	bool small;

	if (hold->handed_over) {
		cleave__finish(&hold->txn, NULL);
		return;
	}
	cleave__unlist(&hold->txn);
	/*
	 * A small leaf is merged, unless this thread holds more, for that locks the leaf again, out of order:
	 *	1. T1: holds an entry of A, and B after it; erases, ends the hold on A
	 *	2. T2: begins on that leaf of A; begins on B, waits for T1
	 *	3. T1: locks the leaf of A to merge it, waits for T2
	 */
	small = hold->erased && hold->count <= CLEAVE__SMALL && !self->txns &&
		(hold->leaf->first != 0 || hold->leaf->last != UINT64_MAX);
	do {
		next = hold->leaf->link;
		cleave__unlock_node(hold->txn.index, hold->leaf);
		hold->leaf = next;
	} while (PORT_UNLIKELY(next != NULL));
	PORT_COUNT_RELEASE(self->unlocks); /* [U8-rel] */
	if (hold->dead)
		cleave__pool_retire_with(self, hold->dead, hold->dead->link);
	if (small)
		cleave__merge_small(hold->txn.index, self, hold->entry.first);
	cleave__pool_nudge(self);
}

void cleave_hold_end(struct cleave_hold *hold) PORT_UNCHECKED
{
	struct cleave_thread *self = hold->txn.self;

	if (PORT_UNLIKELY(hold->more | (self->txns != &hold->txn))) {
		end_slowly(hold);
		return;
	}
	self->txns = hold->txn.next;
	cleave__unlock_node(hold->txn.index, hold->leaf);
	PORT_COUNT_RELEASE(self->unlocks); /* [U8-rel] */
	cleave__pool_nudge(self);
}
