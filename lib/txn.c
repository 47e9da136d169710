/* SPDX-License-Identifier: ISC */
#include "txn.h"

#define RELEASES PORT_RELEASES /* times that begin lets go of its leaves when it must park; then it holds on */

static void add_leaf(struct cleave_txn *txn, struct cleave__node *leaf)
{
	PORT_ASSERT(!txn->leaves_tail || leaf->first == txn->leaves_tail->last + 1,
		    "lock order: leaves from left to right, without a hole");
	leaf->link = NULL;
	leaf->replaced = CLEAVE__STAYS;
	if (txn->leaves_tail)
		txn->leaves_tail->link = leaf;
	else
		txn->leaves = leaf;
	txn->leaves_tail = leaf;
	txn->nleaves++;
}

static void unlock_leaves(struct cleave_txn *txn) PORT_UNCHECKED
{
	struct cleave__node *leaf = txn->leaves, *next;

	for (; leaf; leaf = next) {
		next = leaf->link;
		cleave__unlock_node(txn->index, leaf);
	}
	txn->leaves = txn->leaves_tail = NULL;
	txn->nleaves = 0;
}

void cleave__check_writer_now(struct cleave *index, struct cleave_thread *self, bool in_section)
{
	for (struct cleave_txn *other = self->txns; other; other = other->next)
		PORT_ASSERT(other->index != index,
			    "a thread does not write to an index in which it holds a transaction");
	if (in_section)
		PORT_ASSERT(index->domain->ops->inside(index->domain, self) != 0,
			    "try forms are called inside a read section");
	else
		PORT_ASSERT(index->domain->ops->inside(index->domain, self) != 1,
			    "calls that may sleep are made outside of read sections");
}

/* Lock the leaves that hold [addr, last], left to right. */
static bool lock_leaves(struct cleave_txn *txn, uint64_t addr, uint64_t last) PORT_UNCHECKED
{
	struct cleave *index = txn->index;
	struct cleave_thread *self = txn->self;
	struct cleave__wait wait = { 0 };
	unsigned int releases = 0;
	uint64_t at = addr;

	for (;;) {
		struct cleave__position position;
		bool locked, dead = false;

		wait.hold_on = !txn->leaves || releases == RELEASES;
		if (txn->try_only) {
			locked = cleave__trylock_leaf_rcu(index, at, &position);
		} else {
			cleave__enter(index, self);
			index->search->seek_rcu(index, at, &position);
			locked = cleave__lock_or_mark(index->domain, self, &position.node->lock, &wait);
			dead = locked && cleave__dead_locked(position.node);
			if (dead)
				cleave__unlock_dead(index, position.node);
			cleave__leave(index, self);
		}
		if (locked && !dead) {
			add_leaf(txn, position.node);
			if (position.node->last >= last)
				return true;
			at = position.node->last + 1;
			wait.wakes = 0;
			wait.asked = NULL;
			continue;
		}
		if (txn->try_only)
			return false;
		if (dead) {
			PORT_COUNT(self->counters.restarts);
			continue;
		}
		if (txn->leaves && releases < RELEASES) {
			releases++;
			unlock_leaves(txn);
			at = addr;
		}
		cleave__park(index->domain, self, &wait);
	}
}

/* Nothing is locked or staged yet. */
static void init(struct cleave_txn *txn, bool try_only)
{
	txn->leaves = txn->leaves_tail = NULL;
	txn->branches = txn->branches_tail = NULL;
	txn->fresh = NULL;
	txn->dead_leaves = txn->dead_branches = NULL;
	txn->puts = txn->inline_puts;
	txn->runs = txn->inline_runs;
	txn->nputs = 0;
	txn->capacity = CLEAVE_TXN_INLINE;
	txn->cells = 0;
	txn->nleaves = txn->nruns = 0;
	txn->touched = NULL;
	txn->reserved[CLEAVE__LEAF] = txn->reserved[CLEAVE__BRANCH] = 0;
	txn->try_only = try_only;
	txn->published = txn->spread = false;
	txn->ndisplaced = 0;
}

static bool begin(struct cleave_txn *txn, struct cleave *index, struct cleave_thread *self, uint64_t first,
		  uint64_t last, bool try_only)
{
	cleave__check_writer(index, self, try_only);
	txn->index = index;
	txn->self = self;
	init(txn, try_only);
	if (!lock_leaves(txn, first, last)) {
		unlock_leaves(txn);
		return false;
	}
	txn->next = self->txns;
	self->txns = txn;
	return true;
}

void cleave__begin_with(struct cleave_txn *txn, struct cleave__node *leaf)
{
	init(txn, false);
	txn->first = leaf->first;
	txn->last = leaf->last;
	add_leaf(txn, leaf);
}

bool cleave__begin(struct cleave_txn *txn, struct cleave *index, struct cleave_thread *self, uint64_t first,
		   uint64_t last, bool try_only)
{
	txn->first = first;
	txn->last = last;
	/* With the neighbours of its border: a gap may have to be joined with one there. */
	return begin(txn, index, self, first ? first - 1 : 0, last < UINT64_MAX ? last + 1 : last, try_only);
}

/* ---- Staging ---- */

static size_t staged_size(unsigned int capacity)
{
	return (capacity * (sizeof(struct cleave__staged) + sizeof(struct cleave__run)) + 63) & ~(size_t)63;
}

/* Room for two more puts: one may split another. */
static int grow(struct cleave_txn *txn)
{
	const struct cleave_memory *memory = txn->index->domain->memory;
	unsigned int capacity = txn->capacity * 4;
	struct cleave__staged *puts;

	if (txn->nputs + 2 <= txn->capacity)
		return 0;
	PORT_ASSERT(!txn->try_only, "a try makes one put, for which there is room");
	puts = memory->alloc(memory, staged_size(capacity), 64);
	if (!puts)
		return -ENOMEM;
	memcpy(puts, txn->puts, txn->nputs * sizeof(*puts));
	if (txn->puts != txn->inline_puts)
		memory->free(memory, txn->puts, staged_size(txn->capacity));
	txn->puts = puts;
	txn->runs = (struct cleave__run *)(void *)(puts + capacity);
	txn->capacity = capacity;
	return 0;
}

/* The locked leaf of an address. */
static struct cleave__node *leaf_of(struct cleave_txn *txn, uint64_t addr) PORT_UNCHECKED
{
	struct cleave__position position;
	struct cleave__node *leaf = txn->leaves;

	for (unsigned int near = 0; near < 4; near++, leaf = leaf->link)
		if (leaf->last >= addr)
			return leaf;
	if (!txn->try_only)
		cleave__enter(txn->index, txn->self);
	txn->index->search->seek_rcu(txn->index, addr, &position);
	if (!txn->try_only)
		cleave__leave(txn->index, txn->self);
	return position.node; /* locked by this transaction, so outside of the section too */
}

/* Count a leaf's cells towards the bound, once.  Return: the leaf, if this was the first time. */
static struct cleave__node *touch(struct cleave_txn *txn, uint64_t addr)
{
	struct cleave__node *leaf = leaf_of(txn, addr);
	bool fresh = leaf->replaced == CLEAVE__STAYS;

	if (fresh) {
		leaf->replaced = CLEAVE__TOUCHED;
		txn->cells += cleave__count12(cleave__live(cleave__order_locked(cleave__leaf(leaf))));
		/* another run, unless a neighbour is touched already (of the one on the left only the last is known) */
		txn->nruns += !(txn->touched && txn->touched->link == leaf) &&
			      !(leaf->link && leaf->link->replaced == CLEAVE__TOUCHED);
	}
	txn->touched = leaf;
	return fresh ? leaf : NULL;
}

/* What the commit needs at most, with one more put. */
static void needed(struct cleave_txn *txn, unsigned int *leaves, unsigned int *branches)
{
	unsigned int hull;

	/* full leaves, one begun for each run, and a neighbour taken along */
	*leaves = (unsigned int)(txn->cells / (CLEAVE__CELLS - 1)) + txn->nruns + 4;
	*branches = cleave__branches_for(*leaves, txn->nruns);
	hull = cleave__branches_for(*leaves + txn->nleaves, 1);
	if (*branches > hull)
		*branches = hull;
	PORT_ASSERT(*leaves >= txn->reserved[CLEAVE__LEAF] && *branches >= txn->reserved[CLEAVE__BRANCH],
		    "with a put more no fewer nodes are needed");
}

/* Promise so many nodes more to the transaction. */
static int promise(struct cleave_txn *txn, unsigned int leaves, unsigned int branches)
{
	struct cleave_thread *self = txn->self;
	int error = 0;

	if (!txn->try_only)
		error = cleave__pool_fill(self, leaves, branches, false);
	else if (self->nfree[CLEAVE__LEAF] - self->reserved[CLEAVE__LEAF] < leaves ||
		 self->nfree[CLEAVE__BRANCH] - self->reserved[CLEAVE__BRANCH] < branches)
		error = -ENOMEM;
	if (error)
		return error;
	self->reserved[CLEAVE__LEAF] += leaves;
	self->reserved[CLEAVE__BRANCH] += branches;
	txn->reserved[CLEAVE__LEAF] += leaves;
	txn->reserved[CLEAVE__BRANCH] += branches;
	return 0;
}

/* Give up what was promised: the commit takes it now, or there will be none. */
static void unpromise(struct cleave_txn *txn)
{
	for (unsigned int kind = 0; kind < 2; kind++) {
		txn->self->reserved[kind] -= txn->reserved[kind];
		txn->reserved[kind] = 0;
	}
}

/*
 * Reserve what the commit needs with one more put.  If there is no memory for it, it has touched nothing: the commit
 * takes along what others between two puts have touched, and that was not promised.
 */
static int reserve(struct cleave_txn *txn, uint64_t first, uint64_t last)
{
	struct cleave__node *touched = txn->touched, *fresh[4] = { NULL };
	uint64_t cells = txn->cells;
	uint32_t nruns = txn->nruns;
	unsigned int leaves, branches;
	int error;

	if (first > txn->leaves->first)
		fresh[0] = touch(txn, first - 1); /* a gap may be joined with one in the leaf on either side */
	fresh[1] = touch(txn, first);
	fresh[2] = touch(txn, last);
	if (last < txn->leaves_tail->last)
		fresh[3] = touch(txn, last + 1);
	txn->cells += 2;
	needed(txn, &leaves, &branches);
	error = promise(txn, leaves - txn->reserved[CLEAVE__LEAF], branches - txn->reserved[CLEAVE__BRANCH]);
	if (!error)
		return 0;
	for (unsigned int i = 0; i < 4; i++)
		if (fresh[i])
			fresh[i]->replaced = CLEAVE__STAYS;
	txn->touched = touched;
	txn->cells = cells;
	txn->nruns = nruns;
	return error;
}

/* Lay a put over the staged ones. */
static void stage(struct cleave_txn *txn, uint64_t first, uint64_t last, void *value)
{
	struct cleave__staged *puts = txn->puts;
	struct cleave__staged tail = { 0 };
	unsigned int low = 0, high = txn->nputs, end;
	bool rest = false;

	while (low < high) { /* the first that ends at or after `first` */
		unsigned int middle = (low + high) / 2;

		if (puts[middle].last < first)
			low = middle + 1;
		else
			high = middle;
	}
	end = low;
	while (end < txn->nputs && puts[end].first <= last)
		end++;
	if (end > low && puts[end - 1].last > last) {
		rest = true;
		tail = puts[end - 1];
		tail.first = last + 1;
	}
	if (end > low && puts[low].first < first) {
		puts[low].last = first - 1;
		low++;
	}
	memmove(&puts[low + 1 + rest], &puts[end], (txn->nputs - end) * sizeof(*puts));
	txn->nputs = txn->nputs - (end - low) + 1 + rest;
	puts[low] = (struct cleave__staged){ first, last, value };
	if (rest)
		puts[low + 1] = tail;
}

int cleave__put(struct cleave_txn *txn, uint64_t first, uint64_t last, void *value)
{
	int error = grow(txn);

	if (!error)
		error = reserve(txn, first, last);
	if (!error)
		stage(txn, first, last, value);
	return error;
}

/* ---- Publishing ---- */

static void displaced(struct cleave_txn *txn, const struct cleave__leaf *leaf, uint64_t order,
		      const struct cleave__staged *put)
{
	unsigned int count = cleave__count12(cleave__live(order));

	for (unsigned int r = cleave__leaf_rank(leaf, order, count, 0, put->first); r < count; r++) {
		struct cleave_entry *entry = &txn->displaced[txn->ndisplaced];

		cleave__leaf_entry(leaf, order, count, r, entry);
		if (entry->first > put->last)
			break;
		if (entry->first < put->first)
			entry->first = put->first;
		if (entry->last > put->last)
			entry->last = put->last;
		txn->ndisplaced += entry->value != NULL;
	}
}

static bool lay_puts(const struct cleave_txn *txn, struct cleave__edit *edit)
{
	for (unsigned int p = 0; p < txn->nputs; p++)
		if (!cleave__leaf_edit_put(edit, 0, txn->puts[p].first, txn->puts[p].last, txn->puts[p].value))
			return false;
	return true;
}

/* The leaf has no clean cell left, but a copy of it holds the puts, and takes its place. */
static bool publish_copy(struct cleave_txn *txn, struct cleave__node *node, uint64_t order, unsigned int count,
			 bool keep_locked)
{
	struct cleave__node *copy = cleave__pool_take(txn->self, CLEAVE__LEAF);
	struct cleave__edit edit;

	cleave__leaf_edit_init_copy(&edit, cleave__leaf(copy), cleave__leaf(node), order, count);
	if (lay_puts(txn, &edit)) {
		cleave__leaf_edit_store_private(&edit);
		copy->count = (uint8_t)(node->count + 1);
		if (cleave__replace_leaf(txn, node, copy, edit.gap, keep_locked))
			return true;
	}
	cleave__pool_give(txn->self, copy);
	return false;
}

/* All puts are inside one leaf: one store of its order word, or of its place. */
static bool publish_in_leaf(struct cleave_txn *txn, bool keep_locked) PORT_UNCHECKED
{
	struct cleave__leaf *leaf;
	struct cleave__node *node = txn->leaves, *before = NULL;
	struct cleave__edit edit;
	unsigned int count;
	uint64_t order;

	if (txn->nputs > CLEAVE_TXN_INLINE)
		return false;
	for (; node->last < txn->puts[0].first; node = node->link)
		before = node;
	if (txn->puts[txn->nputs - 1].last > node->last)
		return false;
	for (unsigned int p = 0; p < txn->nputs; p++)
		if (cleave__gap_meets_left(txn, p, node, before) || cleave__gap_meets_right(txn, p, node))
			return false;
	leaf = cleave__leaf(node);
	order = cleave__order_locked(leaf);
	count = cleave__count12(cleave__live(order));
	cleave__leaf_edit_init(&edit, leaf, order, count, cleave__pool_clean_cells(txn->self, leaf, order));
	if (!lay_puts(txn, &edit)) {
		txn->spread |= cleave__leaf_cramped(leaf, count);
		return !txn->spread && publish_copy(txn, node, order, count, keep_locked);
	}
	if (edit.gap && !cleave__raise(txn->index, txn->self, 0, node->first, edit.gap, NULL, txn->try_only))
		return false;
	for (unsigned int p = 0; p < txn->nputs; p++)
		displaced(txn, leaf, order, &txn->puts[p]);
	cleave__pool_store_edit(txn->self, &edit);
	return true;
}

bool cleave__publish(struct cleave_txn *txn, bool keep_locked)
{
	uint32_t branches = txn->reserved[CLEAVE__BRANCH];

	/* From here on only this commit takes nodes. */
	unpromise(txn);
	if (txn->nputs > 0 && !publish_in_leaf(txn, keep_locked) && !cleave__restructure(txn, branches, keep_locked)) {
		PORT_ASSERT(txn->try_only, "a commit cannot fail");
		return false;
	}
	txn->published = true;
	return true;
}

static void deliver(struct cleave_txn *txn, struct cleave_sink *sink)
{
	struct cleave__node *leaf = txn->dead_leaves;

	for (unsigned int i = 0; i < txn->ndisplaced; i++)
		sink->each(sink, &txn->displaced[i]);
	for (unsigned int p = 0; leaf && p < txn->nputs; p++) {
		const struct cleave__staged *put = &txn->puts[p];

		while (leaf->last < put->first)
			leaf = leaf->link;
		for (;;) {
			txn->ndisplaced = 0;
			displaced(txn, cleave__leaf(leaf), cleave__order_locked(cleave__leaf(leaf)),
				  &(struct cleave__staged){ put->first > leaf->first ? put->first : leaf->first,
							    put->last, NULL });
			for (unsigned int i = 0; i < txn->ndisplaced; i++)
				sink->each(sink, &txn->displaced[i]);
			if (leaf->last >= put->last)
				break;
			leaf = leaf->link;
		}
	}
}

/* Unlock, hand out what was displaced, retire what was replaced. */
void cleave__finish(struct cleave_txn *txn, struct cleave_sink *sink)
{
	struct cleave_thread *self = txn->self;
	const struct cleave_memory *memory = self->domain->memory;

	unlock_leaves(txn); /* or the commit has */
	if (!txn->try_only) {
		cleave__check_outside(self);
		PORT_COUNT_RELEASE(self->unlocks); /* [U8-rel] */
	}
	cleave__unlist(txn);
	unpromise(txn);
	if (sink && txn->published)
		deliver(txn, sink);
	if (txn->dead_leaves)
		cleave__pool_retire_with(self, txn->dead_leaves, txn->dead_leaves->link);
	if (txn->dead_branches)
		cleave__pool_retire_with(self, txn->dead_branches, txn->dead_branches->link);
	if (txn->puts != txn->inline_puts)
		memory->free(memory, txn->puts, staged_size(txn->capacity));
	if (!txn->try_only) {
		cleave__pool_trim(self);
		cleave__pool_nudge(self);
	}
}

/* Is there a neighbour that a leaf of `n` cells could be merged with?  A look only. */
static bool mergeable(struct cleave *index, struct cleave_thread *self, uint64_t addr)
{
	struct cleave__position here, there;
	bool found = false;

	cleave__enter(index, self);
	index->search->seek_rcu(index, addr, &here);
	if (here.node->last != UINT64_MAX) {
		index->search->seek_rcu(index, here.node->last + 1, &there);
		found = here.count + there.count <= CLEAVE__JOINED;
	}
	if (!found && here.node->first != 0) {
		index->search->seek_rcu(index, here.node->first - 1, &there);
		found = here.count + there.count <= CLEAVE__JOINED;
	}
	cleave__leave(index, self);
	return found;
}

void cleave__merge_small(struct cleave *index, struct cleave_thread *self, uint64_t addr)
{
	struct cleave_txn txn;

	if (!mergeable(index, self, addr) ||
	    cleave__pool_fill(self, CLEAVE__SIMPLE_LEAVES, CLEAVE__SIMPLE_BRANCHES, true))
		return;
	begin(&txn, index, self, addr, addr, false);
	cleave__merge(&txn);
	cleave__finish(&txn, NULL);
}

/* ---- The public functions ---- */

int cleave_reserve(struct cleave_thread *self, unsigned int puts)
{
	/* as needed() counts: each put in a transaction of its own touches four leaves, adds two cells and two runs */
	unsigned int leaves = puts * ((4 * CLEAVE__CELLS + 2) / (CLEAVE__CELLS - 1) + 1 + 2 + 4);
	unsigned int branches = cleave__branches_for(leaves, 2 * puts);

	if (self->stock[CLEAVE__LEAF] < leaves)
		self->stock[CLEAVE__LEAF] = leaves;
	if (self->stock[CLEAVE__BRANCH] < branches)
		self->stock[CLEAVE__BRANCH] = branches;
	return cleave__pool_fill(self, leaves, branches, true);
}

int cleave_begin(struct cleave_txn *txn, struct cleave *index, struct cleave_thread *self, uint64_t first,
		 uint64_t last)
{
	if (first > last)
		return -EINVAL;
	if (cleave__pool_over_limit(self, 1))
		cleave__pool_wait_garbage(self);
	cleave__begin(txn, index, self, first, last, false);
	return 0;
}

int cleave_try_begin_rcu(struct cleave_txn *txn, struct cleave *index, struct cleave_thread *self, uint64_t first,
			 uint64_t last)
{
	if (first > last)
		return -EINVAL;
	if (!cleave__begin(txn, index, self, first, last, true))
		return -EAGAIN;
	txn->try_only = false; /* only the begin was inside a section */
	return 0;
}

void *cleave_txn_lookup(struct cleave_txn *txn, uint64_t addr, struct cleave_entry *entry)
{
	void *value;

	PORT_ASSERT(addr >= txn->first && addr <= txn->last, "a transaction looks only at its own range");
	cleave__enter(txn->index, txn->self);
	value = txn->index->search->lookup_rcu(txn->index, addr, entry);
	cleave__leave(txn->index, txn->self);
	return value;
}

int cleave_put(struct cleave_txn *txn, uint64_t first, uint64_t last, void *value)
{
	if (first > last || first < txn->first || last > txn->last || txn->published)
		return -EINVAL;
	return cleave__put(txn, first, last, value);
}

void cleave_publish(struct cleave_txn *txn)
{
	PORT_ASSERT(!txn->published, "a transaction is published once");
	cleave__publish(txn, true);
}

void cleave_end(struct cleave_txn *txn, struct cleave_sink *sink)
{
	PORT_ASSERT(txn->published, "a transaction ends after it was published; else it is aborted");
	cleave__finish(txn, sink);
}

void cleave_commit(struct cleave_txn *txn, struct cleave_sink *sink)
{
	PORT_ASSERT(!txn->published, "a transaction is published once");
	cleave__publish(txn, false);
	cleave__finish(txn, sink);
}

void cleave_abort(struct cleave_txn *txn)
{
	PORT_ASSERT(!txn->published, "a published transaction cannot be aborted");
	cleave__finish(txn, NULL);
}
