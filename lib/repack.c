/* SPDX-License-Identifier: ISC */
#include "repack.h"

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

/* ---- Private leaves ---- */

/*
 * Pack `n` cells into `k` leaves.  `first_share`: cells of the first leaf, 0 for an even share.  A gap stays with the
 * entry before it, so that fewer borders have one to be joined.
 */
static void pack_leaves(struct cleave_txn *txn, struct cleave__run *run, struct cleave__node *old, unsigned int n,
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
			struct cleave__node *node = cleave__pool_take(txn->self, CLEAVE__LEAF);

			if (leaf)
				leaf->node.last = first - 1;
			room = run->nfresh == 0 && first_share ? first_share : (n + k - 1) / k;
			k--;
			leaf = cleave__leaf(node);
			cleave__leaf_init_private(leaf, first, run->last);
			PORT_STORE(&node->lock, locked ? CLEAVE__LOCKED : 0, PORT_RELAXED);
			cleave__own(txn, node);
			cleave__run_append(run, &tail, node);
		}
		cleave__leaf_append_private(leaf, first, value);
		room -= room > 0;
	}
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

unsigned int cleave__form_runs(struct cleave_txn *txn)
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
static struct cleave__node *absorb(struct cleave_txn *txn, uint64_t addr, unsigned int most) PORT_UNCHECKED
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

bool cleave__absorb_neighbour(struct cleave_txn *txn, struct cleave__run *run, unsigned int n)
{
	unsigned int most = n > CLEAVE__JOINED ? CLEAVE__CELLS : CLEAVE__JOINED - n;
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

unsigned int cleave__uneven_share(const struct cleave__leaf *leaf, unsigned int r, uint64_t last, unsigned int n)
{
	uint64_t order = cleave__order_locked(leaf);
	unsigned int count = cleave__count12(cleave__live(order));

	if (r + 1 == count ||
	    (r + 2 == count && !PORT_CELL_READ(leaf->value[cleave__cell(order, count - 1)])))
		return CLEAVE__FULL;
	if (r <= 1 && !PORT_CELL_READ(leaf->value[cleave__cell(order, r)]) &&
	    last == cleave__cell_last(leaf, order, count, r))
		return n - CLEAVE__FULL; /* from the top of a gap downward, as mmap() does */
	return 0;
}

unsigned int cleave__cut_share(const struct cleave__leaf *leaf, uint64_t first, uint64_t last, unsigned int n)
{
	uint64_t order = cleave__order_locked(leaf);
	unsigned int count = cleave__count12(cleave__live(order)), above = 1;
	struct cleave_entry entry;

	if (count < CLEAVE__CELLS / 2 || count < 2)
		return 0;
	cleave__leaf_entry(leaf, order, count, count - 1, &entry);
	if (!entry.value) {
		cleave__leaf_entry(leaf, order, count, count - 2, &entry); /* no gap lies below a gap */
		above = 2;
	}
	if (first < entry.first || last >= entry.last)
		return 0;
	return n - above < CLEAVE__CRAMPED ? n - above : CLEAVE__CRAMPED;
}

void cleave__build_leaves(struct cleave_txn *txn, struct cleave__run *run, bool alone, bool locked)
{
	struct cleave__node *start = mark_run(txn, run);
	unsigned int n = count_cells(txn, run, start);
	unsigned int k = n <= CLEAVE__CELLS ? 1 : (n + CLEAVE__FULL - 1) / CLEAVE__FULL;
	unsigned int share = 0, full;

	if (k == 2 && alone && run->nold == 1) {
		const struct cleave__leaf *leaf = cleave__leaf(start);
		uint64_t order = cleave__order_locked(leaf);
		unsigned int r =
			cleave__leaf_rank(leaf, order, cleave__count12(cleave__live(order)), 0, txn->puts[0].first);

		share = cleave__uneven_share(leaf, r, txn->puts[0].last, n);
	}
	run->lean = share == 0 ? 0 : share == CLEAVE__FULL ? 1 : -1;
	if (txn->spread && run->nold == 1 && txn->nputs == 1) { /* what is spread out is the only run */
		unsigned int cut = cleave__cut_share(cleave__leaf(start), txn->puts[0].first, txn->puts[0].last, n);

		if (cut) {
			k = k > 1 ? k : 2;
			share = cut;
			run->lean = 1;
		}
	}
	if (txn->spread && k == 1 && n >= CLEAVE__CRAMPED)
		k = 2;
	if (alone && !share && (n <= CLEAVE__SMALL || k > run->nold) && run->nold <= 2 &&
	    cleave__absorb_neighbour(txn, run, n)) {
		start = mark_run(txn, run);
		n = count_cells(txn, run, start);
		full = txn->spread ? CLEAVE__CRAMPED : CLEAVE__FULL;
		k = n <= CLEAVE__CELLS && !txn->spread ? 1 : (n + full - 1) / full;
	}
	pack_leaves(txn, run, start, n, k, share, locked);
}
