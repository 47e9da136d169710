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

/* Does the thread remember where it found the held leaf, so that the branches there are safe to look at? */
static bool remembers(const struct cleave_hold *hold, uint64_t begun) PORT_INSIDE
{
	const struct cleave__place *last = &hold->txn.self->last;

	return last->leaf == hold->leaf && begun && last->begun == begun && last->parent;
}

/* The held leaf as a walk finds it, for it is locked and lives: what the last one remembers, if it can look there. */
static void find_held(const struct cleave_hold *hold, uint64_t begun, struct cleave__position *position) PORT_INSIDE
{
	struct cleave *index = hold->txn.index;
	const struct cleave__place *last = &hold->txn.self->last;

	if (remembers(hold, begun) && !cleave__dead_locked(&last->parent->node)) {
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
	cleave__leaf_exchange(leaf, order,
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
 * Is the leaf, which has no clean cell, to be divided because it is cut upward?  The held entry is its highest then.
 * (As cleave__cut_share().)
 */
static bool cuts_upward(const struct cleave_hold *hold, uint64_t last)
{
	unsigned int above = hold->count - hold->r - 1;
	uint64_t order = hold->order;

	return hold->entry.value && last < hold->entry.last && hold->count >= CLEAVE__CELLS / 2 && hold->count >= 2 &&
	       (above == 0 ||
		(above == 1 && !PORT_CELL_READ(leaf_of(hold)->value[cleave__cell(order, hold->r + 1)])));
}

/*
 * Cells of the first leaf then; else 0.  What this thread cuts head by head is the highest entry of its leaf, or
 * becomes so: others may cut what is above it.
 */
static unsigned int cut_share(const struct cleave_hold *hold, uint64_t first, uint64_t last)
{
	const struct cleave__place *place = &hold->txn.self->last;
	bool head = first == hold->entry.first, tail = last < hold->entry.last;

	if (cuts_upward(hold, last))
		return hold->r + 1 + !head < CLEAVE__CRAMPED ? hold->r + 1 + !head : CLEAVE__CRAMPED;
	if (head && tail && place->again && place->leaf == hold->leaf && hold->r + 1 < hold->count &&
	    hold->count >= CLEAVE__CELLS / 2 && hold->r + 2 <= CLEAVE__FULL)
		return hold->r + 2;
	return 0;
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

/* ---- What is cut off ---- */

/*
 * The commonest division.  Who cuts an entry from below upward has filled its leaf with what he cut off: that stays, in
 * a copy that lists no more, and what remains of the entry begins a leaf of its own.
 *
 *	before			   after
 *	      G				    G
 *	      |				    |
 *	      P				    P'
 *	      |				   / \
 *	a  b  REST  gap		a  b  put   REST'  gap
 *
 * No cell is moved, and no gap grows, so that no bound rises.  Who may replace P, and what comes in which order, is as
 * in siblings.h, which does what is not done here: P is full, or the root; it or G is locked, or dead, or not known
 * from where the hold began; there are no nodes.
 */

/* What stays, locked.  The put takes the place of the entry, or comes behind what is left of it below. */
static struct cleave__node *build_below(const struct cleave_hold *hold, uint64_t first, uint64_t last, void *value)
{
	struct cleave__node *node = cleave__pool_take(hold->txn.self, CLEAVE__LEAF);
	struct cleave__leaf *leaf = cleave__leaf(node);
	unsigned int r = hold->r, cell = cleave__cell(hold->order, r), live = cleave__live(hold->order);
	uint64_t numbers = hold->order & cleave__low_numbers(r + 1);

	if (r + 1 < hold->count)
		live &= ~(1u << cleave__cell(hold->order, r + 1));
	cleave__leaf_copy_private(leaf, leaf_of(hold));
	node->last = last;
	if (hold->entry.first < first) {
		cell = (unsigned int)__builtin_ctz(~live);
		live |= 1u << cell;
		numbers |= (uint64_t)cell << (4 * r + 4);
		PORT_CELL_WRITE(leaf->start[cell], first);
	}
	PORT_CELL_WRITE(leaf->value[cell], value);
	PORT_STORE(&node->order, numbers | (uint64_t)live << 48, PORT_RELAXED);
	PORT_STORE(&node->lock, CLEAVE__LOCKED, PORT_RELAXED);
	return node;
}

/* What remains, and the gap above it, locked.  (Its cell is written even where there is none.) */
static struct cleave__node *build_rest(const struct cleave_hold *hold, uint64_t last)
{
	struct cleave__node *node = cleave__pool_take(hold->txn.self, CLEAVE__LEAF);
	struct cleave__leaf *leaf = cleave__leaf(node);

	cleave__node_init_private(node, 0, last + 1, hold->leaf->last);
	PORT_CELL_WRITE(leaf->start[0], last + 1);
	PORT_CELL_WRITE(leaf->value[0], hold->entry.value);
	PORT_CELL_WRITE(leaf->start[1], hold->entry.last + 1);
	PORT_CELL_WRITE(leaf->value[1], NULL);
	PORT_STORE(&node->order, cleave__order_of_first(hold->count - hold->r), PORT_RELAXED);
	PORT_STORE(&node->lock, CLEAVE__LOCKED, PORT_RELAXED);
	return node;
}

/* In the place of P, which is locked, with both. */
static struct cleave__branch *build_parent(const struct cleave_hold *hold, struct cleave__node *below,
					   struct cleave__node *rest)
{
	const struct cleave__place *place = &hold->txn.self->last;
	struct cleave__branch *branch = cleave__branch(cleave__pool_take(hold->txn.self, CLEAVE__BRANCH));
	uint64_t end = hold->entry.last;

	cleave__branch_copy_private(branch, place->parent, place->at, 1, 2);
	cleave__branch_set_private(branch, place->at, below, cleave__node_gap(below));
	cleave__branch_set_private(branch, place->at + 1, rest,
				   end < rest->last ? cleave__gap_size(end + 1, rest->last) : 0);
	return branch;
}

/* Try to lock P, and G, which is above it still if both live. */
static bool lock_place(struct cleave *index, const struct cleave__place *place) PORT_INSIDE PORT_UNCHECKED
{
	if (!cleave__trylock_live(index, &place->parent->node))
		return false;
	if (cleave__trylock_live(index, &place->above->node))
		return true;
	cleave__unlock_node(index, &place->parent->node);
	return false;
}

/* The branches that the hold was found under are safe to look at.  False: nothing has changed. */
static bool cut_off_rcu(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value) PORT_INSIDE PORT_UNCHECKED
{
	struct cleave *index = hold->txn.index;
	struct cleave_thread *self = hold->txn.self;
	struct cleave__place *place = &self->last;
	struct cleave__branch *parent = place->parent, *above = place->above, *copy;
	struct cleave__node *below, *rest, *leaf = hold->leaf;
	unsigned int i;

	if (parent->node.count == CLEAVE__FANOUT || !lock_place(index, place))
		return false;
	below = build_below(hold, first, last, value);
	rest = build_rest(hold, last);
	copy = build_parent(hold, below, rest);
	i = cleave__branch_index(above, parent->node.first);
	PORT_YIELD();
	cleave__mark_dead_locked(leaf);
	cleave__mark_dead_locked(&parent->node);
	cleave__link_publish_locked(&above->child[i], &copy->node);
	cleave__unlock_node(index, &above->node);
	cleave__unlock_dead(index, &parent->node);
	cleave__unlock_dead(index, leaf);
	PORT_COUNT(self->counters.restructures);
	cleave__pool_count_split(self);
	parent->node.link = NULL;
	leaf->link = &parent->node;
	hold->dead = leaf;
	below->link = rest;
	hold->leaf = below;
	hold->more = true;
	/* As remember_divided(). */
	place->leaf = rest;
	place->parent = copy;
	place->at++;
	place->again = false;
	place->r = 0;
	return true;
}

/* The leaf is cut upward (cuts_upward()).  False: nothing has changed. */
static bool cut_off(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value) PORT_UNCHECKED
{
	struct cleave *index = hold->txn.index;
	struct cleave_thread *self = hold->txn.self;
	bool done;

	if (hold->r + 1 + (hold->entry.first < first) > CLEAVE__CRAMPED || !self->last.above ||
	    self->nfree[CLEAVE__LEAF] < self->reserved[CLEAVE__LEAF] + 2 ||
	    self->nfree[CLEAVE__BRANCH] < self->reserved[CLEAVE__BRANCH] + 1)
		return false;
	cleave__enter(index, self);
	done = remembers(hold, cleave__pool_begun(self)) && cut_off_rcu(hold, first, last, value);
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
	unsigned int share;
	bool divides;

	if (cuts_upward(hold, last) && cut_off(hold, first, last, value))
		return 0;
	share = cut_share(hold, first, last);
	divides = share || cleave__leaf_cramped(leaf_of(hold), hold->count);
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
	cleave__check_outside(self);
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
	cleave__check_outside(self);
	PORT_COUNT_RELEASE(self->unlocks); /* [U8-rel] */
	cleave__pool_nudge(self);
}
