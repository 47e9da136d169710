/* SPDX-License-Identifier: ISC */
/* Building a whole index from sorted entries: a list of dense leaves, branches over it, one store of the root. */
#include "build.h"

struct builder {
	struct cleave_thread *self;
	struct cleave__node *head; /* leaves, by link */
	struct cleave__node *tail;
	unsigned int leaves;
	unsigned int cells; /* in the last leaf */
	uint64_t at;	    /* the first address not yet covered */
};

static int add_leaf(struct builder *builder, uint64_t first)
{
	struct cleave__node *node;
	int error = cleave__pool_fill(builder->self, 1, 0, false);

	if (error)
		return error;
	node = cleave__pool_take(builder->self, CLEAVE__LEAF);
	cleave__leaf_init_private(cleave__leaf(node), first, UINT64_MAX);
	if (builder->tail) {
		builder->tail->last = first - 1;
		builder->tail->link = node;
	} else {
		builder->head = node;
	}
	builder->tail = node;
	builder->leaves++;
	builder->cells = 0;
	return 0;
}

static void add_cell(struct builder *builder, uint64_t start, void *value)
{
	cleave__leaf_append_private(cleave__leaf(builder->tail), start, value);
	builder->cells++;
}

static int begin(struct builder *builder, struct cleave_thread *self)
{
	memset(builder, 0, sizeof(*builder));
	builder->self = self;
	return add_leaf(builder, 0);
}

/* Append [first, last]; `gap` says that a gap follows, which must not begin a leaf. */
static int add_entry(struct builder *builder, uint64_t first, uint64_t last, void *value, bool gap)
{
	int error = 0;

	if (first > builder->at && builder->cells == 0)
		add_cell(builder, builder->at, NULL); /* only before the first entry of all */
	if (builder->cells + 1 + gap > CLEAVE__CELLS)
		error = add_leaf(builder, first);
	if (error)
		return error;
	add_cell(builder, first, value);
	if (gap)
		add_cell(builder, last + 1, NULL);
	builder->at = last + 1;
	return 0;
}

static void cancel(struct builder *builder)
{
	struct cleave__node *next;

	for (struct cleave__node *node = builder->head; node; node = next) {
		next = node->link;
		cleave__pool_give(builder->self, node);
	}
	cleave__pool_trim(builder->self);
}

/* Put branches over the leaves; the root of the private tree, or NULL: -ENOMEM. */
static struct cleave__node *finish(struct builder *builder)
{
	struct cleave__run run = { .fresh = builder->head, .nfresh = builder->leaves, .last = UINT64_MAX };
	struct cleave_txn txn = { .self = builder->self };
	unsigned int branches = 0;

	if (builder->cells == 0)
		add_cell(builder, 0, NULL); /* nothing came */
	for (unsigned int n = builder->leaves; n > 1; branches += n)
		n = (n + CLEAVE__FANOUT - 1) / CLEAVE__FANOUT;
	if (cleave__pool_fill(builder->self, 0, branches, false))
		return NULL;
	cleave__build_root(&txn, 0, &run);
	return run.fresh;
}

void cleave__free_tree(struct cleave_thread *self, struct cleave__node *root)
{
	struct cleave__node *path[CLEAVE__LEVELS];
	unsigned int top = root->level, level = top;

	path[level] = root;
	for (;;) {
		struct cleave__node *node = path[level];

		if (level > 0 && node->count > 0) {
			path[level - 1] = cleave__link_read_locked(&cleave__branch(node)->child[--node->count]);
			level--;
			continue;
		}
		cleave__pool_give(self, node);
		cleave__pool_trim(self);
		if (level++ == top)
			return;
	}
}

/* Put the tree in place of an empty index's only leaf.  -EEXIST: it is not empty, and the tree is still private. */
static int install(struct cleave *index, struct cleave_thread *self, struct cleave__node *root) PORT_UNCHECKED
{
	struct cleave_txn txn;
	struct cleave__node *old;
	uint64_t order;

	cleave__begin(&txn, index, self, 0, UINT64_MAX, false);
	old = txn.leaves;
	order = cleave__order_locked(cleave__leaf(old));
	if (old->link || cleave__count12(cleave__live(order)) != 1 ||
	    PORT_CELL_READ(cleave__leaf(old)->value[cleave__cell(order, 0)])) {
		cleave_abort(&txn);
		return -EEXIST;
	}
	cleave__lock_word(index->domain, self, &index->root_lock);
	cleave__mark_dead_locked(old);
	cleave__root_publish_locked(index, root);
	cleave__unlock(index->domain, &index->root_lock, true);
	txn.leaves = txn.leaves_tail = NULL;
	cleave__unlock_dead(index, old);
	txn.dead_leaves = old;
	cleave__finish(&txn, NULL);
	return 0;
}

static int check(const struct cleave_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!entries[i].value || entries[i].first > entries[i].last ||
		    (i > 0 && entries[i].first <= entries[i - 1].last))
			return -EINVAL;
	return 0;
}

int cleave_build(struct cleave *index, struct cleave_thread *self, const struct cleave_entry *entries, size_t n)
{
	struct builder builder;
	struct cleave__node *root;
	int error = check(entries, n);

	if (!error)
		error = begin(&builder, self);
	if (error)
		return error;
	for (size_t i = 0; i < n && !error; i++) {
		bool gap = i + 1 < n ? entries[i + 1].first != entries[i].last + 1 : entries[i].last != UINT64_MAX;

		error = add_entry(&builder, entries[i].first, entries[i].last, entries[i].value, gap);
	}
	root = error ? NULL : finish(&builder);
	if (!root) {
		cancel(&builder);
		return -ENOMEM;
	}
	error = install(index, self, root);
	if (error)
		cleave__free_tree(self, root);
	return error;
}

/* ---- Duplicate ---- */

/* The entry after `at` among the locked leaves, gaps skipped. */
static bool next_entry(struct cleave_txn *txn, uint64_t *at, bool *ended, struct cleave_entry *entry)
{
	while (!*ended) {
		cleave_txn_lookup(txn, *at, entry);
		*ended = entry->last == UINT64_MAX;
		*at = entry->last + 1;
		if (entry->value)
			return true;
	}
	return false;
}

/* Undo the copies of all entries in the list of leaves. */
static void undo_copies(struct builder *builder, struct cleave_copier *copier)
{
	/* The last leaf is not finished: it ends where the last entry does. */
	if (builder->at != 0)
		builder->tail->last = builder->at - 1;
	for (struct cleave__node *node = builder->head; copier && node; node = node->link) {
		struct cleave__leaf *leaf = cleave__leaf(node);
		uint64_t order = cleave__order_locked(leaf);
		unsigned int count = cleave__count12(cleave__live(order));

		for (unsigned int r = 0; r < count; r++) {
			struct cleave_entry entry;

			cleave__leaf_entry(leaf, order, count, r, &entry);
			if (entry.value)
				copier->undo(copier, &entry);
		}
	}
}

static int copy_entries(struct builder *builder, struct cleave_txn *txn, struct cleave_copier *copier)
{
	struct cleave_entry entry, pending = { 0 };
	bool ended = false, have = false;
	uint64_t at = 0;
	int error = 0;

	while (!error && next_entry(txn, &at, &ended, &entry)) {
		void *value = entry.value;

		error = copier ? copier->copy(copier, &entry, &value) : 0;
		if (error || !value)
			continue;
		if (have)
			error = add_entry(builder, pending.first, pending.last, pending.value,
					  entry.first != pending.last + 1);
		if (error) {
			entry.value = value;
			if (copier)
				copier->undo(copier, &entry);
			break;
		}
		pending = (struct cleave_entry){ entry.first, entry.last, value };
		have = true;
	}
	if (!error && have) {
		error = add_entry(builder, pending.first, pending.last, pending.value, pending.last != UINT64_MAX);
		have = error != 0;
	}
	if (error && have && copier)
		copier->undo(copier, &pending);
	return error;
}

int cleave_duplicate(struct cleave *to, struct cleave *from, struct cleave_thread *self, struct cleave_copier *copier)
{
	struct cleave__node *root = NULL;
	struct cleave_txn txn;
	struct builder builder;
	int error = begin(&builder, self);

	if (error)
		return error;
	cleave__begin(&txn, from, self, 0, UINT64_MAX, false);
	error = copy_entries(&builder, &txn, copier);
	cleave_abort(&txn);
	if (!error) {
		root = finish(&builder);
		error = root ? install(to, self, root) : -ENOMEM;
	}
	if (!error)
		return 0;
	undo_copies(&builder, copier);
	if (root)
		cleave__free_tree(self, root);
	else
		cancel(&builder);
	return error;
}
