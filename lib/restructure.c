/* SPDX-License-Identifier: ISC */
#include "restructure.h"

#define FULL (CLEAVE__CELLS - 1)  /* cells packed into a leaf, so that a gap behind the last entry fits as the 12th */

static void list_append(struct cleave__node **head, struct cleave__node **tail, struct cleave__node *node)
{
	node->link = NULL;
	if (*tail)
		(*tail)->link = node;
	else
		*head = node;
	*tail = node;
}

/* ---- The cells that a run of leaves will have ---- */

struct reader {
	struct cleave__node *leaf;
	uint64_t order;
	unsigned int count;
	unsigned int r; /* the next old cell */
	const struct cleave__staged *put;
	const struct cleave__staged *put_end;
	uint64_t last;
	uint64_t tail_at;
	void *under; /* value of the old cell that was passed last */
	bool tail;   /* a put ended before tail_at: what it covered in part may go on there */
	bool gap;    /* the cell before is a gap */
};

static void reader_leaf(struct reader *reader, struct cleave__node *leaf)
{
	reader->leaf = leaf;
	reader->order = cleave__order_locked(cleave__leaf(leaf));
	reader->count = cleave__count12(cleave__live(reader->order));
	reader->r = 0;
}

static void reader_init(struct reader *reader, struct cleave_txn *txn, const struct cleave__run *run,
			struct cleave__node *leaf)
{
	reader_leaf(reader, leaf);
	reader->put = txn->puts;
	reader->put_end = txn->puts + txn->nputs;
	while (reader->put < reader->put_end && reader->put->last < run->first)
		reader->put++;
	while (reader->put_end > reader->put && reader->put_end[-1].first > run->last)
		reader->put_end--;
	reader->last = run->last;
	reader->tail_at = 0;
	reader->under = NULL;
	reader->tail = false;
	reader->gap = false;
}

/* Where the next old cell starts; false: there is none. */
static bool old_cell(struct reader *reader, uint64_t *start)
{
	if (reader->r == reader->count) {
		if (reader->leaf->last == reader->last)
			return false;
		reader_leaf(reader, reader->leaf->link);
	}
	*start = PORT_CELL_READ(cleave__leaf(reader->leaf)->start[cleave__cell(reader->order, reader->r)]);
	return true;
}

static void pass_old_cell(struct reader *reader)
{
	reader->under = PORT_CELL_READ(cleave__leaf(reader->leaf)->value[cleave__cell(reader->order, reader->r)]);
	reader->r++;
}

/* The next cell of the old ones with the puts laid over them; gaps not yet joined. */
static bool next_piece(struct reader *reader, uint64_t *first, void **value)
{
	uint64_t start = 0;
	bool more = old_cell(reader, &start);

	if (reader->tail) {
		reader->tail = false;
		if ((!more || start > reader->tail_at) &&
		    (reader->put == reader->put_end || reader->put->first > reader->tail_at)) {
			*first = reader->tail_at;
			*value = reader->under;
			return true;
		}
	}
	if (reader->put < reader->put_end && (!more || reader->put->first <= start)) {
		const struct cleave__staged *put = reader->put++;

		while (more && start <= put->last) {
			pass_old_cell(reader);
			more = old_cell(reader, &start);
		}
		reader->tail = put->last < reader->last;
		reader->tail_at = put->last + 1;
		*first = put->first;
		*value = put->value;
		return true;
	}
	if (!more)
		return false;
	pass_old_cell(reader);
	*first = start;
	*value = reader->under;
	return true;
}

/* The next cell of the run. */
static bool reader_next(struct reader *reader, uint64_t *first, void **value)
{
	bool joined;

	do {
		if (!next_piece(reader, first, value))
			return false;
		joined = reader->gap && !*value;
		reader->gap = !*value;
	} while (joined);
	return true;
}

static unsigned int count_cells(struct cleave_txn *txn, const struct cleave__run *run, struct cleave__node *leaf)
{
	struct reader reader;
	unsigned int n = 0;
	uint64_t first;
	void *value;

	reader_init(&reader, txn, run, leaf);
	while (reader_next(&reader, &first, &value))
		n++;
	return n;
}

/* ---- Private nodes ---- */

static struct cleave__node *take(struct cleave_txn *txn, enum cleave__kind kind)
{
	struct cleave__node *node = cleave__pool_take(txn->self, kind);

	PORT_ASSERT(node || txn->try_only, "nodes are reserved before a change begins");
	return node;
}

static void own(struct cleave_txn *txn, struct cleave__node *node)
{
	node->chain = txn->fresh;
	txn->fresh = node;
}

/* Append a new node to a run's list. */
static void run_append(struct cleave__run *run, struct cleave__node **tail, struct cleave__node *node)
{
	list_append(&run->fresh, tail, node);
	run->nfresh++;
}

/*
 * Pack `n` cells into `k` leaves.  `first_share`: cells of the first leaf, 0 for an even share.  A gap stays with the
 * entry before it, so that fewer borders have one to be joined.
 */
static bool pack_leaves(struct cleave_txn *txn, struct cleave__run *run, struct cleave__node *old, unsigned int n,
			unsigned int k, unsigned int first_share, bool locked)
{
	struct reader reader;
	struct cleave__node *tail = NULL;
	struct cleave__leaf *leaf = NULL;
	unsigned int room = 0;
	uint64_t first;
	void *value;

	run->fresh = NULL;
	run->nfresh = 0;
	reader_init(&reader, txn, run, old);
	for (; reader_next(&reader, &first, &value); n--) {
		if (!leaf || (room == 0 && value)) {
			struct cleave__node *node = take(txn, CLEAVE__LEAF);

			if (!node)
				return false;
			if (leaf)
				leaf->node.last = first - 1;
			room = run->nfresh == 0 && first_share ? first_share : (n + k - 1) / k;
			k--;
			leaf = cleave__leaf(node);
			cleave__leaf_init_private(leaf, first, run->last);
			PORT_STORE(&node->lock, locked ? CLEAVE__LOCKED : 0, PORT_RELAXED);
			own(txn, node);
			run_append(run, &tail, node);
		}
		cleave__leaf_append_private(leaf, first, value);
		room -= room > 0;
	}
	return true;
}

/* ---- Leaves: which are replaced, and by what ---- */

/* Are all leaves between two locked ones counted among those that puts have touched? */
static bool touched_between(const struct cleave__node *left, const struct cleave__node *right)
{
	for (const struct cleave__node *leaf = left->link; leaf != right; leaf = leaf->link)
		if (leaf->replaced == CLEAVE__STAYS)
			return false;
	return true;
}

bool cleave__gap_meets_left(const struct cleave_txn *txn, unsigned int p, const struct cleave__node *leaf,
			    const struct cleave__node *before)
{
	const struct cleave__staged *put = &txn->puts[p];

	if (put->value || put->first != leaf->first || leaf->first == 0)
		return false;
	if (p > 0 && put[-1].last == leaf->first - 1)
		return !put[-1].value;
	return cleave__leaf_gap_at_end(cleave__leaf_const(before), true);
}

bool cleave__gap_meets_right(const struct cleave_txn *txn, unsigned int p, const struct cleave__node *leaf)
{
	const struct cleave__staged *put = &txn->puts[p];

	if (put->value || put->last != leaf->last || leaf->last == UINT64_MAX)
		return false;
	if (p + 1 < txn->nputs && put[1].first == leaf->last + 1)
		return !put[1].value;
	return cleave__leaf_gap_at_end(cleave__leaf_const(leaf->link), false);
}

/*
 * Group the leaves that the puts replace into runs of neighbours.  Leaves in between that some put has touched go along,
 * so that there are no more runs than the puts reserved for.
 */
static unsigned int form_runs(struct cleave_txn *txn)
{
	struct cleave__node *leaf = txn->leaves, *before = NULL, *end = NULL;
	unsigned int n = 0;

	if (txn->nputs == 0) { /* a merge: all that is locked */
		txn->runs[0].first = txn->leaves->first;
		txn->runs[0].last = txn->leaves_tail->last;
		return 1;
	}
	for (unsigned int p = 0; p < txn->nputs; p++) {
		const struct cleave__staged *put = &txn->puts[p];
		struct cleave__node *start;

		while (leaf->last < put->first) {
			before = leaf;
			leaf = leaf->link;
		}
		start = before && cleave__gap_meets_left(txn, p, leaf, before) ? before : leaf;
		while (leaf->last < put->last) {
			before = leaf;
			leaf = leaf->link;
		}
		if (n == 0 || (start->first > txn->runs[n - 1].last && !touched_between(end, start)))
			txn->runs[n++].first = start->first;
		end = cleave__gap_meets_right(txn, p, leaf) ? leaf->link : leaf;
		txn->runs[n - 1].last = end->last;
	}
	return n;
}

static struct cleave__node *mark_run(struct cleave_txn *txn, struct cleave__run *run)
{
	struct cleave__node *start = NULL;

	run->nold = 0;
	run->kept = false;
	run->lean = 0;
	for (struct cleave__node *leaf = txn->leaves; leaf && leaf->first <= run->last; leaf = leaf->link) {
		if (leaf->first < run->first)
			continue;
		if (!start)
			start = leaf;
		leaf->replaced = CLEAVE__REPLACED;
		run->nold++;
	}
	return start;
}

/* Try to lock the neighbour at `addr`, if its number of cells suits. */
static struct cleave__node *absorb(struct cleave_txn *txn, uint64_t addr, unsigned int most)
{
	struct cleave *index = txn->index;
	struct cleave__position position;
	struct cleave__node *found = NULL;

	if (!txn->try_only)
		cleave__enter(index, txn->self);
	index->search->seek_rcu(index, addr, &position);
	if (cleave__count12(cleave__live(position.order)) <= most && cleave__trylock(&position.node->lock)) {
		if (!cleave__dead_locked(position.node))
			found = position.node;
		else
			cleave__unlock_dead(index, position.node);
	}
	if (!txn->try_only)
		cleave__leave(index, txn->self);
	if (found) {
		found->replaced = CLEAVE__STAYS;
		found->link = NULL;
	}
	return found;
}

/*
 * Take a neighbour along: a small run, to become one leaf with it; a full one, to share the neighbour's room.
 * Neighbours are only tried: they may be out of lock order.
 */
static bool absorb_neighbour(struct cleave_txn *txn, struct cleave__run *run, unsigned int n)
{
	unsigned int most = n > CLEAVE__CELLS ? CLEAVE__CELLS : CLEAVE__JOINED - n;
	struct cleave__node *leaf;

	if (run->last == txn->leaves_tail->last && run->last != UINT64_MAX) {
		leaf = absorb(txn, run->last + 1, most);
		if (leaf) {
			txn->leaves_tail->link = leaf;
			txn->leaves_tail = leaf;
			run->last = leaf->last;
			return true;
		}
	}
	if (run->first == txn->leaves->first && run->first != 0) {
		leaf = absorb(txn, run->first - 1, most);
		if (leaf) {
			leaf->link = txn->leaves;
			txn->leaves = leaf;
			run->first = leaf->first;
			return true;
		}
	}
	return false;
}

/*
 * A leaf splits because of one put: does that look like ascending or descending insertion?  Then leave a full leaf behind
 * instead of a half one.  Cells of the first leaf; 0: share evenly.
 */
static unsigned int uneven_share(const struct cleave_txn *txn, const struct cleave__leaf *leaf, unsigned int n)
{
	uint64_t order = cleave__order_locked(leaf);
	unsigned int count = cleave__count12(cleave__live(order));
	unsigned int r = cleave__leaf_rank(leaf, order, count, 0, txn->puts[0].first);
	struct cleave_entry entry, last;

	cleave__leaf_entry(leaf, order, count, r, &entry);
	cleave__leaf_entry(leaf, order, count, count - 1, &last);
	if (r + 1 == count || (r + 2 == count && !last.value))
		return FULL;
	if (r <= 1 && !entry.value && txn->puts[0].last == entry.last)
		return n - FULL; /* from the top of a gap downward, as mmap() does */
	return 0;
}

/* Build the leaves that replace a run. */
static bool build_leaves(struct cleave_txn *txn, struct cleave__run *run, bool alone, bool locked)
{
	struct cleave__node *start = mark_run(txn, run);
	unsigned int n = count_cells(txn, run, start);
	unsigned int k = n <= CLEAVE__CELLS ? 1 : (n + FULL - 1) / FULL;
	unsigned int share = 0;

	if (txn->spread && k == 1 && n >= CLEAVE__CELLS * 2 / 3)
		k = 2;
	else if (k == 2 && alone && run->nold == 1)
		share = uneven_share(txn, cleave__leaf(start), n);
	run->lean = share == 0 ? 0 : share == FULL ? 1 : -1;
	if (alone && !share && (n <= CLEAVE__SMALL || k > run->nold) && run->nold <= 2 && absorb_neighbour(txn, run, n)) {
		start = mark_run(txn, run);
		n = count_cells(txn, run, start);
		k = n <= CLEAVE__CELLS ? 1 : (n + FULL - 1) / FULL;
	}
	return pack_leaves(txn, run, start, n, k, share, locked);
}

/* ---- Branches ---- */

struct children {
	struct cleave__node *branch; /* of the old parents, by link; NULL: none left */
	unsigned int nbranches;
	unsigned int i;
	const struct cleave__run *run; /* of the level below */
	const struct cleave__run *run_end;
	struct cleave__node *fresh; /* left of the run that is being given out */
	unsigned int nfresh;
};

struct child {
	struct cleave__node *node;
	uint64_t first;
	uint64_t last;
	uint64_t gap;
	bool fresh;
};

/* The next child that the new parents will have: new nodes in place of the runs, the other old children as they are. */
static bool next_child(struct children *children, struct child *child)
{
	for (;;) {
		const struct cleave__branch *branch;
		unsigned int i = children->i;

		if (children->nfresh > 0) {
			child->node = children->fresh;
			child->first = children->fresh->first;
			child->last = children->fresh->last;
			child->gap = cleave__node_gap(children->fresh);
			child->fresh = true;
			if (--children->nfresh > 0)
				children->fresh = children->fresh->link;
			return true;
		}
		if (children->nbranches == 0)
			return false;
		branch = cleave__branch_const(children->branch);
		children->i++;
		child->first = i ? branch->pivot[i - 1] + 1 : branch->node.first;
		child->last = branch->pivot[i];
		child->node = cleave__link_read_locked(&branch->child[i]);
		child->gap = cleave__branch_gap(branch, i);
		child->fresh = false;
		if (children->i == branch->node.count) {
			children->i = 0;
			if (--children->nbranches > 0)
				children->branch = branch->node.link;
		}
		while (children->run < children->run_end && children->run->last < child->first)
			children->run++;
		if (children->run == children->run_end || child->last < children->run->first)
			return true;
		if (child->first == children->run->first) {
			children->fresh = children->run->fresh;
			children->nfresh = children->run->nfresh;
		}
	}
}

/*
 * Build the parents, at `level`, of the `n` children to come.  One child over all addresses needs none: it stands itself.
 */
static bool pack_branches(struct cleave_txn *txn, struct cleave__run *run, unsigned int level,
			  struct children *children, unsigned int n)
{
	struct cleave__branch *branch = NULL;
	struct cleave__node *tail = NULL;
	struct child child;
	unsigned int k = (n + CLEAVE__FANOUT - 1) / CLEAVE__FANOUT, room = 0;

	PORT_ASSERT(level < CLEAVE__LEVELS, "the tree is at most 12 levels high");
	run->fresh = NULL;
	run->nfresh = 0;
	run->kept = n == 1 && run->first == 0 && run->last == UINT64_MAX;
	while (next_child(children, &child)) {
		if (run->kept) {
			run->fresh = child.node;
			run->nfresh = 1;
			return true;
		}
		if (room == 0) {
			struct cleave__node *node = take(txn, CLEAVE__BRANCH);

			if (!node)
				return false;
			if (branch)
				cleave__branch_seal_private(branch);
			room = (n + k - 1) / k;
			if (n == CLEAVE__FANOUT + 1 && run->lean)
				room = run->lean > 0 ? CLEAVE__FANOUT - 1 : 2;
			k--;
			branch = cleave__branch(node);
			cleave__branch_init_private(branch, level, child.first);
			own(txn, node);
			run_append(run, &tail, node);
		}
		cleave__branch_append_private(branch, child.node, child.last, child.gap);
		room--;
		n--;
	}
	cleave__branch_seal_private(branch);
	return true;
}

static void hold_branch(struct cleave_txn *txn, struct cleave__node *branch)
{
	branch->replaced = CLEAVE__REPLACED;
	list_append(&txn->branches, &txn->branches_tail, branch);
}

/* Lock the branch of `level` that holds `addr`: it will be replaced. */
static struct cleave__node *replace_branch(struct cleave_txn *txn, unsigned int level, uint64_t addr)
{
	bool lower;
	struct cleave__node *node = cleave__lock_node(txn->index, txn->self, level, addr, txn->try_only, &lower);

	PORT_ASSERT(!node || !txn->branches_tail || txn->branches_tail->level < node->level ||
			    (txn->branches_tail->level == node->level && txn->branches_tail->last < node->first),
		    "lock order: by level, and within a level by address");
	if (node)
		hold_branch(txn, node);
	return node;
}

/* A small branch, or a full one, takes its right neighbour along, if that is free and has at most so many children. */
static struct cleave__node *absorb_branch(struct cleave_txn *txn, unsigned int level, uint64_t addr, unsigned int most)
{
	struct cleave *index = txn->index;
	struct cleave__node *node;
	bool lower;

	if (!txn->try_only)
		cleave__enter(index, txn->self);
	node = cleave__lock_node(index, txn->self, level, addr, true, &lower);
	if (!txn->try_only)
		cleave__leave(index, txn->self);
	if (node && node->count > most) {
		cleave__unlock_node(index, node);
		node = NULL;
	}
	if (node)
		hold_branch(txn, node);
	return node;
}

/*
 * Go one level up: replace the parents, at `level`, of all runs.  `parent` is the first one, if it is locked already.
 * Left to right; a run of parents holds every run of children that it meets.  `hull`: replace the parents between the
 * runs too, so that there is one run from here on.
 */
static bool build_branches(struct cleave_txn *txn, unsigned int level, struct cleave__node *parent, unsigned int *nruns,
			   bool hull)
{
	struct cleave__run *runs = txn->runs;
	uint64_t hull_last = hull ? runs[*nruns - 1].last : 0;
	unsigned int out = 0;

	for (unsigned int a = 0, b; a < *nruns; a = b) {
		struct cleave__run run = { 0 };
		struct children children = { 0 };
		struct cleave__node *node = parent ? parent : replace_branch(txn, level, runs[a].first);
		unsigned int n;

		parent = NULL;
		if (!node)
			return false;
		children.branch = node;
		children.nbranches = 1;
		n = node->count;
		run.first = node->first;
		run.last = node->last;
		for (b = a; b < *nruns && (hull || runs[b].first <= run.last); b++) {
			while (run.last < (hull ? hull_last : runs[b].last)) {
				node = replace_branch(txn, level, run.last + 1);
				if (!node)
					return false;
				run.last = node->last;
				n += node->count;
				children.nbranches++;
			}
			n = n - runs[b].nold + runs[b].nfresh;
		}
		if (*nruns == 1 && (n <= CLEAVE__SMALL || n == CLEAVE__FANOUT + 1) && !runs[a].lean &&
		    children.nbranches == 1 && run.last != UINT64_MAX) {
			node = absorb_branch(txn, level, run.last + 1, CLEAVE__FANOUT - 3);
			if (node) {
				run.last = node->last;
				n += node->count;
				children.nbranches++;
			}
		}
		run.nold = children.nbranches;
		children.run = &runs[a];
		children.run_end = &runs[b];
		if (runs[a].lean < 0 ? runs[a].first == run.first : runs[b - 1].last == run.last)
			run.lean = runs[a].lean;
		if (!pack_branches(txn, &run, level, &children, n))
			return false;
		runs[out++] = run;
	}
	*nruns = out;
	return true;
}

bool cleave__build_root(struct cleave_txn *txn, unsigned int level, struct cleave__run *run)
{
	while (run->nfresh > 1) {
		struct children children = { .fresh = run->fresh, .nfresh = run->nfresh };

		if (!pack_branches(txn, run, ++level, &children, run->nfresh))
			return false;
	}
	return true;
}

/* ---- Publication ---- */

/* Nothing was published: give back what was built and locked. */
static void undo(struct cleave_txn *txn)
{
	struct cleave__node *next;

	for (struct cleave__node *node = txn->fresh; node; node = next) {
		next = node->chain;
		cleave__pool_give(txn->self, node);
	}
	txn->fresh = NULL;
	for (struct cleave__node *node = txn->branches; node; node = next) {
		next = node->link;
		node->replaced = CLEAVE__STAYS;
		cleave__unlock_node(txn->index, node);
	}
	txn->branches = txn->branches_tail = NULL;
	for (struct cleave__node *leaf = txn->leaves; leaf; leaf = leaf->link)
		leaf->replaced = CLEAVE__STAYS;
}

/* Move the replaced leaves, dead by now, off the list of locked ones, and the new ones (by chain) onto it. */
static void settle_leaves(struct cleave_txn *txn, struct cleave__node *fresh)
{
	struct cleave__node *leaf = txn->leaves, *dead_tail = NULL, *next;

	txn->leaves = txn->leaves_tail = NULL;
	for (; leaf; leaf = next) {
		next = leaf->link;
		if (leaf->replaced == CLEAVE__REPLACED) {
			list_append(&txn->dead_leaves, &dead_tail, leaf);
			continue;
		}
		for (; fresh && fresh->first < leaf->first; fresh = fresh->chain)
			list_append(&txn->leaves, &txn->leaves_tail, fresh);
		list_append(&txn->leaves, &txn->leaves_tail, leaf);
	}
	for (; fresh; fresh = fresh->chain)
		list_append(&txn->leaves, &txn->leaves_tail, fresh);
}

/* Find, lock and, if need be, raise the covering node of the one run that is left; *cover is NULL for the root. */
static bool lock_cover(struct cleave_txn *txn, unsigned int *nruns, bool hull, struct cleave__branch **cover)
{
	struct cleave__run *run = &txn->runs[0];

	for (unsigned int level = 0;; level++) {
		struct cleave__node *parent = NULL;

		if (*nruns == 1 && run->nold == 1) {
			if (!cleave__lock_above(txn->index, txn->self, level, run->first, txn->try_only, cover))
				return false;
			if (!*cover) {
				if (cleave__build_root(txn, level, run))
					return true;
				cleave__unlock(txn->index->domain, &txn->index->root_lock, true);
				return false;
			}
			if (run->nfresh == 1 && !run->kept)
				return true;
			parent = &(*cover)->node;
			hold_branch(txn, parent);
		}
		if (!build_branches(txn, level + 1, parent, nruns, hull && level == 0))
			return false;
	}
}

/* The covering node's bounds, and those above it, before the store that needs them. */
static bool raise_cover(struct cleave_txn *txn, struct cleave__branch *cover, struct cleave__run *run)
{
	unsigned int i = cleave__branch_index(cover, run->first);
	uint64_t before = cleave__branch_gap(cover, i);
	uint64_t gap = cleave__node_gap(run->fresh);

	if (before >= gap)
		return true;
	cleave__branch_set_gap_locked(cover, i, gap);
	PORT_COUNT(txn->self->counters.raises);
	if (cleave__raise(txn->index, txn->self, cover->node.level, run->first, gap, txn->try_only))
		return true;
	cleave__branch_set_gap_locked(cover, i, before);
	cleave__unlock_node(txn->index, &cover->node);
	return false;
}

/* Mark dead, store, unlock: nothing fails from here on. */
static void publish(struct cleave_txn *txn, struct cleave__branch *cover, struct cleave__node *fresh_leaves)
{
	struct cleave *index = txn->index;
	const struct cleave__run *run = &txn->runs[0];

	PORT_YIELD();
	for (struct cleave__node *leaf = txn->leaves; leaf; leaf = leaf->link)
		if (leaf->replaced == CLEAVE__REPLACED)
			cleave__mark_dead_locked(leaf);
	for (struct cleave__node *branch = txn->branches; branch; branch = branch->link)
		cleave__mark_dead_locked(branch);
	if (cover) {
		cleave__link_publish_locked(&cover->child[cleave__branch_index(cover, run->first)], run->fresh);
		cleave__unlock_node(index, &cover->node);
	} else {
		cleave__root_publish_locked(index, run->fresh);
		cleave__unlock(index->domain, &index->root_lock, true);
	}
	for (struct cleave__node *branch = txn->branches; branch; branch = branch->link)
		cleave__unlock_dead(index, branch);
	txn->dead_branches = txn->branches;
	txn->branches = txn->branches_tail = NULL;
	txn->fresh = NULL;
	settle_leaves(txn, fresh_leaves);
	for (struct cleave__node *leaf = txn->dead_leaves; leaf; leaf = leaf->link)
		cleave__unlock_dead(index, leaf);
}

bool cleave__restructure(struct cleave_txn *txn, unsigned int branches, bool keep_locked)
{
	unsigned int nruns = form_runs(txn), old = 0, made = 0;
	struct cleave__node *fresh_leaves = NULL;
	struct cleave__branch *cover = NULL;

	for (unsigned int i = 0; i < nruns; i++) {
		if (!build_leaves(txn, &txn->runs[i], nruns == 1, keep_locked))
			goto fail;
		old += txn->runs[i].nold;
		made += txn->runs[i].nfresh;
	}
	/* `fresh` lists the leaves newest first: turn that round, for those that stay with the transaction. */
	while (keep_locked && txn->fresh) {
		struct cleave__node *node = txn->fresh;

		txn->fresh = node->chain;
		node->chain = fresh_leaves;
		fresh_leaves = node;
	}
	/* Many runs far apart may need more branches than all that is between them. */
	if (!lock_cover(txn, &nruns, cleave__branches_for(made, nruns) > branches, &cover))
		goto fail;
	if (cover && !raise_cover(txn, cover, &txn->runs[0]))
		goto fail;
	publish(txn, cover, fresh_leaves);
	PORT_COUNT(txn->self->counters.restructures);
	if (made == 1 && old == 1)
		PORT_COUNT(txn->self->counters.copies);
	else if (made > old)
		PORT_COUNT(txn->self->counters.splits);
	else if (made < old)
		PORT_COUNT(txn->self->counters.merges);
	return true;
fail:
	while (fresh_leaves) {
		struct cleave__node *node = fresh_leaves;

		fresh_leaves = node->chain;
		own(txn, node);
	}
	undo(txn);
	return false;
}

bool cleave__merge(struct cleave_txn *txn)
{
	struct cleave__node *leaf = txn->leaves;
	unsigned int n = cleave__count12(cleave__live(cleave__order_locked(cleave__leaf(leaf))));
	struct cleave__run run = { .first = leaf->first, .last = leaf->last };

	return n <= CLEAVE__SMALL && absorb_neighbour(txn, &run, n) &&
	       cleave__restructure(txn, UINT32_MAX, false);
}

unsigned int cleave__branches_for(unsigned int leaves, unsigned int runs)
{
	unsigned int c = leaves, total = 0;

	for (unsigned int level = 1; level < CLEAVE__LEVELS; level++) {
		c = (c + runs * (2 * CLEAVE__FANOUT - 2 + CLEAVE__FANOUT - 1)) / CLEAVE__FANOUT;
		total += c;
	}
	return total;
}
