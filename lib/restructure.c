/* SPDX-License-Identifier: ISC */
#include "restructure.h"

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
 * Build the parents, at `level`, of the `n` children to come.  One child over all addresses needs none.
 */
static void pack_branches(struct cleave_txn *txn, struct cleave__run *run, unsigned int level,
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
			return;
		}
		if (room == 0) {
			struct cleave__node *node = cleave__pool_take(txn->self, CLEAVE__BRANCH);

			if (branch)
				cleave__branch_seal_private(branch);
			room = (n + k - 1) / k;
			if (n == CLEAVE__FANOUT + 1 && run->lean)
				room = run->lean > 0 ? CLEAVE__FANOUT - 1 : 2;
			k--;
			branch = cleave__branch(node);
			cleave__branch_init_private(branch, level, child.first);
			cleave__own(txn, node);
			cleave__run_append(run, &tail, node);
		}
		cleave__branch_append_private(branch, child.node, child.last, child.gap);
		room--;
		n--;
	}
	cleave__branch_seal_private(branch);
}

static void hold_branch(struct cleave_txn *txn, struct cleave__node *branch)
{
	branch->replaced = CLEAVE__REPLACED;
	cleave__append(&txn->branches, &txn->branches_tail, branch);
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
	PORT_UNCHECKED
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
		pack_branches(txn, &run, level, &children, n);
		runs[out++] = run;
	}
	*nruns = out;
	return true;
}

void cleave__build_root(struct cleave_txn *txn, unsigned int level, struct cleave__run *run)
{
	while (run->nfresh > 1) {
		struct children children = { .fresh = run->fresh, .nfresh = run->nfresh };

		pack_branches(txn, run, ++level, &children, run->nfresh);
	}
}

/* ---- Publication ---- */

/* Nothing was published: give back what was built and locked. */
static void undo(struct cleave_txn *txn) PORT_UNCHECKED
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
			cleave__append(&txn->dead_leaves, &dead_tail, leaf);
			continue;
		}
		for (; fresh && fresh->first < leaf->first; fresh = fresh->chain)
			cleave__append(&txn->leaves, &txn->leaves_tail, fresh);
		cleave__append(&txn->leaves, &txn->leaves_tail, leaf);
	}
	for (; fresh; fresh = fresh->chain)
		cleave__append(&txn->leaves, &txn->leaves_tail, fresh);
}

bool cleave__swing_leaf(struct cleave *index, struct cleave_thread *self, struct cleave__node *leaf,
			struct cleave__node *copy, uint64_t gap, bool keep_locked, bool try_only) PORT_UNCHECKED
{
	struct cleave__node *parent;
	unsigned int i;
	bool lower;

	if (!try_only)
		cleave__enter(index, self);
	parent = cleave__lock_node(index, self, 1, leaf->first, true, &lower);
	if (!try_only)
		cleave__leave(index, self);
	if (!parent)
		return false;
	i = cleave__branch_index(cleave__branch(parent), leaf->first);
	if (gap > cleave__branch_gap(cleave__branch(parent), i)) {
		cleave__unlock_node(index, parent);
		return false;
	}
	PORT_STORE(&copy->lock, keep_locked ? CLEAVE__LOCKED : 0, PORT_RELAXED);
	PORT_YIELD();
	cleave__mark_dead_locked(leaf);
	cleave__link_publish_locked(&cleave__branch(parent)->child[i], copy);
	cleave__unlock_node(index, parent);
	PORT_COUNT(self->counters.restructures);
	PORT_COUNT(self->counters.copies);
	return true;
}

bool cleave__replace_leaf(struct cleave_txn *txn, struct cleave__node *leaf, struct cleave__node *copy, uint64_t gap,
			  bool keep_locked) PORT_UNCHECKED
{
	if (!cleave__swing_leaf(txn->index, txn->self, leaf, copy, gap, keep_locked, txn->try_only))
		return false;
	leaf->replaced = CLEAVE__REPLACED;
	settle_leaves(txn, keep_locked ? copy : NULL);
	cleave__unlock_dead(txn->index, leaf);
	return true;
}

/* Find, lock and, if need be, raise the covering node of the one run that is left; *cover is NULL for the root. */
static bool lock_cover(struct cleave_txn *txn, unsigned int *nruns, bool hull, struct cleave__branch **cover)
	PORT_UNCHECKED
{
	struct cleave__run *run = &txn->runs[0];

	for (unsigned int level = 0;; level++) {
		struct cleave__node *parent = NULL;

		if (*nruns == 1 && run->nold == 1) {
			if (!cleave__lock_above(txn->index, txn->self, level, run->first, txn->try_only, cover))
				return false;
			if (!*cover) {
				cleave__build_root(txn, level, run);
				return true;
			}
			PORT_ASSERT(!run->kept, "one child that covers everything has no branch above it");
			if (run->nfresh == 1)
				return true;
			parent = &(*cover)->node;
			hold_branch(txn, parent);
		}
		if (!build_branches(txn, level + 1, parent, nruns, hull && level == 0))
			return false;
	}
}

/* The covering node's bounds, and those above it, before the store that needs them. */
static bool raise_cover(struct cleave_txn *txn, struct cleave__branch *cover, struct cleave__run *run) PORT_UNCHECKED
{
	unsigned int i = cleave__branch_index(cover, run->first);
	uint64_t before = cleave__branch_gap(cover, i);
	uint64_t gap = cleave__node_gap(run->fresh);

	if (before >= gap)
		return true;
	cleave__branch_set_gap_locked(cover, i, gap);
	PORT_COUNT(txn->self->counters.raises);
	if (cleave__raise(txn->index, txn->self, cover->node.level, run->first, gap, NULL, txn->try_only))
		return true;
	cleave__branch_set_gap_locked(cover, i, before);
	cleave__unlock_node(txn->index, &cover->node);
	return false;
}

/* Mark dead, store, unlock: nothing fails from here on. */
static void publish(struct cleave_txn *txn, struct cleave__branch *cover, struct cleave__node *fresh_leaves)
	PORT_UNCHECKED
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
	unsigned int nruns = cleave__form_runs(txn), old = 0, made = 0;
	struct cleave__node *fresh_leaves = NULL;
	struct cleave__branch *cover = NULL;

	for (unsigned int i = 0; i < nruns; i++) {
		cleave__build_leaves(txn, &txn->runs[i], nruns == 1, keep_locked);
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
	if (!lock_cover(txn, &nruns, cleave__branches_for(made, nruns) > branches, &cover) ||
	    (cover && !raise_cover(txn, cover, &txn->runs[0]))) {
		PORT_ASSERT(!keep_locked, "only a try fails, and none keeps its leaves");
		undo(txn);
		return false;
	}
	publish(txn, cover, fresh_leaves);
	PORT_COUNT(txn->self->counters.restructures);
	if (made == 1 && old == 1)
		PORT_COUNT(txn->self->counters.copies);
	else if (made > old)
		cleave__pool_count_split(txn->self);
	else if (made < old)
		PORT_COUNT(txn->self->counters.merges);
	return true;
}

void cleave__merge(struct cleave_txn *txn)
{
	struct cleave__node *leaf = txn->leaves;
	unsigned int n = cleave__count12(cleave__live(cleave__order_locked(cleave__leaf(leaf))));
	struct cleave__run run = { .first = leaf->first, .last = leaf->last };

	if (n <= CLEAVE__SMALL && cleave__absorb_neighbour(txn, &run, n))
		cleave__restructure(txn, UINT32_MAX, false); /* no try: it cannot fail */
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
