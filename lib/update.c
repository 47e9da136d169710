/* SPDX-License-Identifier: ISC */
/*
 * The simple changes.  Each is one put, decided under the lock of the leaf that holds its first address.  If that leaf
 * can hold the change it is an edit: lock, fill, store the order word, unlock.  (The commonest are made in edit.c,
 * which comes here if that is not enough.)  If not, a copy takes its place, or it is divided (siblings.h).  If that
 * cannot be done at once, the same change is made by a range transaction, from scratch.
 */
#include "edit.h"

#define GO_ON 1 /* the change is the put [first, last] = value */
#define RESTART CLEAVE__RESTART

/* The entry that follows `entry`, all of whose leaf is locked: what begins there cannot leave (invariant 1). */
static void entry_after(struct cleave *index, const struct cleave_entry *entry, struct cleave_entry *after)
{
	index->search->lookup_rcu(index, entry->last + 1, after);
}

/*
 * Under the lock, inside a read section: what does the change amount to, where `entry` holds its first address, and
 * `before` the address below?  (`before` is for CLEAVE__UNCLIP, which comes here only from change_slowly(); else it may
 * be NULL.)
 * 0: nothing to do; GO_ON: `change` says what to put; or an error.
 */
static int resolve(struct cleave *index, struct cleave__change *change, const struct cleave_entry *entry,
		   const struct cleave_entry *before)
{
	switch (change->verb) {
	case CLEAVE__CLIP:
		if (!entry->value)
			return -ENOENT;
		if (entry->first == change->first)
			return 0;
		change->last = entry->last;
		change->value = entry->value;
		return GO_ON;
	case CLEAVE__UNCLIP:
		if (!entry->value || entry->first != change->first)
			return -ENOENT;
		if (before->value != entry->value)
			return -ENOENT;
		change->first = before->first;
		change->last = entry->last;
		change->value = entry->value;
		return GO_ON;
	case CLEAVE__INSERT:
		if (!entry->value && entry->last >= change->last)
			return GO_ON;
		if (change->entry && entry->value)
			*change->entry = *entry;
		else if (change->entry)
			entry_after(index, entry, change->entry);
		return -EEXIST;
	case CLEAVE__STORE:
		return GO_ON;
	default: /* CLEAVE__REPLACE */
		if (entry->value == change->entry->value && entry->first == change->first &&
		    entry->last == change->last)
			return GO_ON;
		*change->entry = *entry;
		return -ENOENT;
	}
}

/* What an edit displaced: copied under the lock, delivered without it. */
struct displaced {
	struct cleave_entry entries[CLEAVE__CELLS + 1];
	unsigned int n;
};

static void collect(struct displaced *displaced, const struct cleave__leaf *leaf, uint64_t order, unsigned int count,
		    unsigned int r, uint64_t first, uint64_t last)
{
	for (; r < count; r++) {
		struct cleave_entry *entry = &displaced->entries[displaced->n];

		cleave__leaf_entry(leaf, order, count, r, entry);
		if (entry->first > last)
			break;
		if (entry->first < first)
			entry->first = first;
		if (entry->last > last)
			entry->last = last;
		displaced->n += entry->value != NULL;
	}
}

/* The put of a change that begins in `entry`, the r-th of the edit's leaf. */
static PORT_ALWAYS_INLINE bool put_edit(struct cleave__edit *edit, const struct cleave__change *change, unsigned int r,
					const struct cleave_entry *entry)
{
	if (PORT_LIKELY(change->last <= entry->last))
		return cleave__leaf_edit_put_inside(edit, r, entry, change->first, change->last, change->value);
	return cleave__leaf_edit_put(edit, r, change->first, change->last, change->value);
}

/* Put a private copy into the place of a locked leaf, if its parent is free; else give it back. */
static PORT_ALWAYS_INLINE bool swing_copy(struct cleave *index, struct cleave_thread *self,
					  const struct cleave__position *position, struct cleave__node *copy)
	PORT_INSIDE PORT_LOCKED(position->node->lock) PORT_UNCHECKED
{
	struct cleave__branch *parent = position->parent;

	copy->count = (uint8_t)(position->node->count + 1);
	/*
	 * A live branch found by the walk is the parent of a locked live leaf: its child there is this leaf.  Its bound
	 * is still what it was found, or raised, to be: none is lowered without the child's lock.
	 */
	if (PORT_UNLIKELY(!cleave__trylock_live(index, &parent->node))) {
		cleave__pool_give(self, copy);
		return false;
	}
	PORT_YIELD();
	cleave__mark_dead_locked(position->node);
	cleave__link_publish_locked(&parent->child[position->index], copy);
	cleave__unlock_node(index, &parent->node);
	PORT_COUNT(self->counters.restructures);
	PORT_COUNT(self->counters.copies);
	return true;
}

/*
 * The leaf has no clean cell left: copy it, with the put, if that needs no wait and the copy holds it.  `edit` is of
 * the copy then, published in the place of the leaf, which is dead.
 */
static bool copy_leaf(struct cleave *index, struct cleave_thread *self, struct cleave__change *change,
		      const struct cleave__position *position, uint64_t order, unsigned int count, unsigned int r,
		      const struct cleave_entry *entry, struct cleave__edit *edit)
	PORT_INSIDE PORT_LOCKED(position->node->lock)
{
	struct cleave__branch *parent = position->parent;
	struct cleave__node *copy;

	if (!change->copy && cleave__leaf_cramped(cleave__leaf(position->node), count)) {
		change->spread = true;
		return false;
	}
	if (!parent || self->nfree[CLEAVE__LEAF] <= self->reserved[CLEAVE__LEAF])
		return false;
	copy = cleave__pool_take(self, CLEAVE__LEAF);
	cleave__leaf_edit_init_copy(edit, cleave__leaf(copy), cleave__leaf(position->node), order, count);
	if (!put_edit(edit, change, r, entry) ||
	    (edit->gap > cleave__branch_gap(parent, position->index) &&
	     !cleave__raise(index, self, 0, change->first, edit->gap, parent, true)))
		goto give_up;
	cleave__leaf_edit_store_private(edit);
	return swing_copy(index, self, position, copy);
give_up:
	cleave__pool_give(self, copy);
	return false;
}

bool cleave__copy_exchange_leave(struct cleave *index, struct cleave_thread *self,
				 const struct cleave__position *position, struct cleave__exchange exchange,
				 const struct cleave__filling *filling) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(position->node);
	struct cleave__branch *parent = position->parent;
	uint64_t order = position->order;
	unsigned int count = position->count, clean = CLEAVE__ALL_CELLS & ~(cleave__live(order) & ~exchange.dropped);
	struct cleave__node *copy;

	if (count + exchange.n - exchange.drop > CLEAVE__CELLS || cleave__leaf_cramped(leaf, count) || !parent ||
	    self->nfree[CLEAVE__LEAF] <= self->reserved[CLEAVE__LEAF])
		return false;
	copy = cleave__pool_take(self, CLEAVE__LEAF);
	cleave__leaf_copy_private(cleave__leaf(copy), leaf);
	exchange.fresh = exchange.added = 0;
	for (unsigned int k = 0; k < exchange.n; k++) {
		unsigned int cell = (unsigned int)__builtin_ctz(clean);

		clean &= clean - 1;
		PORT_CELL_WRITE(cleave__leaf(copy)->start[cell], filling->start[k]);
		PORT_CELL_WRITE(cleave__leaf(copy)->value[cell], filling->value[k]);
		exchange.fresh |= cell << (4 * k);
		exchange.added |= 1u << cell;
	}
	PORT_STORE(&copy->order, cleave__order_exchange(order, &exchange), PORT_RELAXED);
	if (!swing_copy(index, self, position, copy))
		return false;
	cleave__unlock_dead(index, position->node);
	PORT_COUNT_RELEASE(self->unlocks); /* [U8-rel] */
	cleave__leave(index, self);
	cleave__pool_retire(self, position->node);
	cleave__pool_nudge(self);
	return true;
}

/* The put of a change, in a locked leaf that can hold it; what it needs beside that leaf is held too. */
static int put_leaf(struct cleave *index, struct cleave_thread *self, struct cleave__change *change,
		    const struct cleave__position *position, uint64_t order, unsigned int count, unsigned int r,
		    const struct cleave_entry *entry, bool *left, unsigned int *cells,
		    struct cleave__node **others) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(position->node);
	struct cleave__edit edit;
	bool fits, full;

	cleave__leaf_edit_init(&edit, leaf, order, count, cleave__pool_clean_cells(self, leaf, order));
	fits = put_edit(&edit, change, r, entry);
	if (PORT_UNLIKELY(!fits)) {
		/* Inside one entry, without gaps to be joined, it is known what a copy would have to hold. */
		full = change->value && change->last <= entry->last &&
		       count + (change->first > entry->first) + (change->last < entry->last) > CLEAVE__CELLS;
		fits = (!full && copy_leaf(index, self, change, position, order, count, r, entry, &edit)) ||
		       (!change->copy && cleave__divide(index, self, position, change->first, change->last,
							change->value, 0, NULL, others));
		return fits ? 0 : RESTART;
	}
	if (edit.gap && position->parent &&
	    (cleave__branch_gap(position->parent, position->index) < edit.gap ||
	     cleave__dead_locked(&position->parent->node)) &&
	    !cleave__raise(index, self, 0, change->first, edit.gap, position->parent, true)) {
		if (change->try_only)
			return -EAGAIN;
		*left = true;
		cleave__leave(index, self);
		cleave__raise(index, self, 0, change->first, edit.gap, NULL, false);
	}
	cleave__pool_store_edit(self, &edit);
	if (!change->value)
		*cells = edit.count;
	return 0;
}

/* A put of a gap, which must not meet another one over the leaf's border. */
static int put_gap(struct cleave *index, struct cleave_thread *self, struct cleave__change *change,
		   const struct cleave__position *position, uint64_t order, unsigned int count, unsigned int r,
		   const struct cleave_entry *entry, bool *left, unsigned int *cells,
		   struct cleave__node **others) PORT_UNCHECKED
{
	struct cleave__border border = { 0 };
	int result;

	if (cleave__border_reached(position->node, change->first, change->last) &&
	    !cleave__border_look(index, position, change->first, change->last, &border))
		return RESTART;
	if (PORT_LIKELY(!border.joins[0] && !border.joins[1]))
		return put_leaf(index, self, change, position, order, count, r, entry, left, cells, others);
	result = cleave__border_move(index, self, position, change->first, change->last, &border, others) ? 0 : RESTART;
	cleave__border_release(index, &border);
	return result;
}

/*
 * The edit of a locked leaf, inside a read section.  *left becomes true if it had to leave the section (never in a
 * try).  0, an error, or RESTART.
 */
static int edit_leaf(struct cleave *index, struct cleave_thread *self, struct cleave__change *change,
		     const struct cleave__position *position, struct displaced *displaced, bool *left,
		     unsigned int *cells, struct cleave__node **others)
	PORT_INSIDE PORT_LOCKED(position->node->lock) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = cleave__leaf(position->node);
	uint64_t order = cleave__order_locked(leaf);
	unsigned int count = position->count, r = position->r;
	struct cleave_entry entry;
	int result;

	if (PORT_UNLIKELY(order != position->order)) {
		count = cleave__count12(cleave__live(order));
		r = cleave__leaf_rank(leaf, order, count, 0, change->first);
	}
	if (change->verb == CLEAVE__UNCLIP)
		return cleave__unclip_leaf(self, leaf, order, r, change->first);
	cleave__leaf_entry(leaf, order, count, r, &entry);
	result = resolve(index, change, &entry, NULL);
	if (result != GO_ON)
		return result;
	if (change->last > leaf->node.last)
		return RESTART;
	if (change->sink)
		collect(displaced, leaf, order, count, r, change->first, change->last);
	if (change->verb != CLEAVE__STORE || change->value)
		result = put_leaf(index, self, change, position, order, count, r, &entry, left, cells, others);
	else
		result = put_gap(index, self, change, position, order, count, r, &entry, left, cells, others);
	if (result == RESTART)
		displaced->n = 0;
	return result;
}

/* The same change by a transaction: the leaf is full, or several are involved. */
static int change_slowly(struct cleave *index, struct cleave_thread *self, struct cleave__change *change) PORT_UNCHECKED
{
	uint64_t first = change->first - (change->verb == CLEAVE__UNCLIP);
	struct cleave_entry entry, before;
	struct cleave_txn txn;
	int result;

	PORT_ASSERT(change->verb != CLEAVE__UNCLIP || change->first > 0, "there is nothing below 0 to be joined with");
	if (!change->try_only &&
	    cleave__pool_fill(self, CLEAVE__SIMPLE_LEAVES, CLEAVE__SIMPLE_BRANCHES, true) != 0)
		return -ENOMEM;
	if (!cleave__begin(&txn, index, self, first, change->last, change->try_only))
		return -EAGAIN;
	if (!change->try_only)
		cleave__enter(index, self);
	index->search->lookup_rcu(index, change->first, &entry);
	index->search->lookup_rcu(index, first, &before);
	result = resolve(index, change, &entry, &before);
	if (!change->try_only)
		cleave__leave(index, self);
	if (result == GO_ON) {
		txn.spread = change->spread;
		result = cleave__put(&txn, change->first, change->last, change->value);
		if (result == 0 && !cleave__publish(&txn, false))
			result = -EAGAIN;
	}
	if (result == -ENOMEM && change->try_only)
		result = -EAGAIN; /* a call that may sleep could succeed */
	cleave__finish(&txn, change->sink);
	return result;
}

static int make_change(struct cleave *index, struct cleave_thread *self, struct cleave__change *change);

/* To divide a leaf was only a wish: it takes more nodes, and more locks, than a copy. */
static int divide_or_copy(struct cleave *index, struct cleave_thread *self, struct cleave__change *change)
{
	int result = change_slowly(index, self, change);

	if ((result == -ENOMEM || result == -EAGAIN) && change->spread) {
		change->spread = false;
		change->copy = true;
		return make_change(index, self, change);
	}
	return result;
}

int cleave__change_leave(struct cleave *index, struct cleave_thread *self, struct cleave__change *change,
			 const struct cleave__position *position) PORT_UNCHECKED
{
	struct displaced displaced;
	uint64_t addr = change->first;
	unsigned int cells = CLEAVE__CELLS;
	struct cleave__node *others = NULL;
	enum cleave__joined joined = CLEAVE__NO_ROOM;
	bool left = false, dead;
	int result;

	displaced.n = 0;
	result = edit_leaf(index, self, change, position, &displaced, &left, &cells, &others);
	if (PORT_UNLIKELY(cells <= CLEAVE__SMALL) && cells <= cleave__small_now(self))
		joined = left ? CLEAVE__ELSEWHERE : cleave__join(index, self, position, &others);
	dead = cleave__dead_locked(position->node);
	cleave__unlock(index->domain, &position->node->lock, !dead);
	if (!change->try_only)
		PORT_COUNT_RELEASE(self->unlocks); /* [U8-rel] */
	if (!change->try_only && !left)
		cleave__leave(index, self);
	if (PORT_UNLIKELY(dead))
		cleave__pool_retire_with(self, position->node, others);
	if (PORT_UNLIKELY(result == RESTART))
		return divide_or_copy(index, self, change);
	PORT_ASSERT(result == 0 || displaced.n == 0,
		    "only a try fails after it has displaced something, and a try has no sink");
	for (unsigned int i = 0; i < displaced.n; i++)
		change->sink->each(change->sink, &displaced.entries[i]);
	if (change->try_only)
		return result;
	if (PORT_UNLIKELY(joined == CLEAVE__ELSEWHERE) && position->parent)
		cleave__merge_small(index, self, addr);
	cleave__pool_nudge(self);
	return result;
}

static int make_change(struct cleave *index, struct cleave_thread *self, struct cleave__change *change)
	PORT_UNCHECKED
{
	struct cleave__position position;

	cleave__check_writer(index, self, change->try_only);
	if (!change->try_only) {
		cleave__prepare(self);
		cleave__lock_leaf_enter(index, self, change->first, &position);
	} else if (!cleave__trylock_leaf_rcu(index, change->first, &position)) {
		return -EAGAIN;
	}
	return cleave__change_leave(index, self, change, &position);
}

int cleave_clip(struct cleave *index, struct cleave_thread *self, uint64_t addr)
{
	return index->search->edits->clip(index, self, addr);
}

int cleave_try_clip_rcu(struct cleave *index, struct cleave_thread *self, uint64_t addr)
{
	struct cleave__change change = { .verb = CLEAVE__CLIP, .first = addr, .last = addr, .try_only = true };

	return make_change(index, self, &change);
}

int cleave_unclip(struct cleave *index, struct cleave_thread *self, uint64_t addr)
{
	return index->search->edits->unclip(index, self, addr);
}

int cleave_insert(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last, void *value,
		  struct cleave_entry *conflict)
{
	if (first > last || !value)
		return -EINVAL;
	return index->search->edits->insert(index, self, first, last, value, conflict);
}

static int store(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last, void *value,
		 struct cleave_sink *sink, bool try_only)
{
	struct cleave__change change = {
		.verb = CLEAVE__STORE, .first = first, .last = last, .value = value, .sink = sink, .try_only = try_only
	};

	if (first > last)
		return -EINVAL;
	return make_change(index, self, &change);
}

int cleave_store(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last, void *value,
		 struct cleave_sink *sink)
{
	return store(index, self, first, last, value, sink, false);
}

int cleave_try_store_rcu(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last, void *value)
{
	return store(index, self, first, last, value, NULL, true);
}

int cleave_erase(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
		 struct cleave_sink *sink)
{
	if (first > last)
		return -EINVAL;
	return index->search->edits->erase(index, self, first, last, sink);
}

static int replace_if(struct cleave *index, struct cleave_thread *self, struct cleave_entry *expected, void *value,
		      bool try_only)
{
	struct cleave__change change = { .verb = CLEAVE__REPLACE,
					 .first = expected->first,
					 .last = expected->last,
					 .value = value,
					 .entry = expected,
					 .try_only = try_only };

	if (expected->first > expected->last || !expected->value || !value)
		return -EINVAL;
	return make_change(index, self, &change);
}

int cleave_replace_if(struct cleave *index, struct cleave_thread *self, struct cleave_entry *expected, void *value)
{
	return replace_if(index, self, expected, value, false);
}

int cleave_try_replace_if_rcu(struct cleave *index, struct cleave_thread *self, struct cleave_entry *expected,
			      void *value)
{
	return replace_if(index, self, expected, value, true);
}
