/* SPDX-License-Identifier: ISC */
#include "change.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- What was displaced ---- */

struct capture {
	struct cleave_sink sink;
	struct cleave_entry *entry;
	size_t n;
	size_t room;
};

static void add(struct capture *capture, const struct cleave_entry *entry)
{
	if (capture->n == capture->room) {
		capture->room = capture->room ? 2 * capture->room : 16;
		capture->entry = realloc(capture->entry, capture->room * sizeof(*capture->entry));
		if (!capture->entry)
			abort();
	}
	capture->entry[capture->n++] = *entry;
}

static void each(struct cleave_sink *sink, const struct cleave_entry *displaced)
{
	add((struct capture *)sink, displaced);
}

/* What the model says that puts displace, before it is settled. */
static void expect(const struct stripe *stripe, const struct put *puts, size_t n, struct capture *expected)
{
	for (size_t p = 0; p < n; p++) {
		size_t i = tiles_find(&stripe->tiles, puts[p].first);

		for (; i < stripe->tiles.n && stripe->tiles.tile[i].first <= puts[p].last; i++) {
			const struct tile *tile = &stripe->tiles.tile[i];
			struct cleave_entry piece = { tile->first, tile->last, tile->object };

			if (piece.first < puts[p].first)
				piece.first = puts[p].first;
			if (piece.last > puts[p].last)
				piece.last = puts[p].last;
			if (piece.value)
				add(expected, &piece);
		}
	}
}

static int by_first(const void *x, const void *y)
{
	const struct cleave_entry *a = x, *b = y;

	return a->first < b->first ? -1 : a->first > b->first;
}

/* Staged puts overlap and are cut up: compare what is displaced, not in how many pieces. */
static void join(struct capture *capture)
{
	size_t n = 0;

	if (capture->n)
		qsort(capture->entry, capture->n, sizeof(*capture->entry), by_first);
	for (size_t i = 0; i < capture->n; i++) {
		struct cleave_entry *last = n ? &capture->entry[n - 1] : NULL, *piece = &capture->entry[i];

		if (last && last->value == piece->value &&
		    (piece->first <= last->last || piece->first == last->last + 1)) {
			if (piece->last > last->last)
				last->last = piece->last;
		} else {
			capture->entry[n++] = *piece;
		}
	}
	capture->n = n;
}

static void check_displaced(struct worker *worker, struct capture *got, struct capture *expected, const char *what)
{
	for (size_t i = 0; i < got->n || i < expected->n; i++) {
		const struct cleave_entry none = { 0 };
		const struct cleave_entry *x = i < got->n ? &got->entry[i] : &none;
		const struct cleave_entry *y = i < expected->n ? &expected->entry[i] : &none;

		if (x->first != y->first || x->last != y->last || x->value != y->value) {
			violation(worker, y->value ? y->first : x->first,
				  "%s: displaced entry %zu is %" PRIx64 "-%" PRIx64 " %p, should be %" PRIx64
				  "-%" PRIx64 " %p",
				  what, i, x->first, x->last, x->value, y->first, y->last, y->value);
			break;
		}
	}
	count(worker, COUNT_CHECKED_DISPLACED, expected->n);
}

/* ---- The index against the model: nobody else changes the stripe ---- */

static bool same(const struct cleave_entry *entry, const struct tile *tile)
{
	return entry->first == tile->first && entry->last == tile->last && entry->value == tile->object;
}

static void check_tile(struct worker *worker, const struct tile *tile, uint64_t addr, const char *what)
{
	struct cleave_entry entry;

	cleave_lookup_rcu(worker->index, addr, &entry);
	if (!same(&entry, tile))
		violation(worker, addr,
			  "after %s: %" PRIx64 " is in %" PRIx64 "-%" PRIx64 " %p, should be in %" PRIx64 "-%" PRIx64
			  " %p",
			  what, addr, entry.first, entry.last, entry.value, tile->first, tile->last,
			  (void *)tile->object);
}

/* All tiles around a small change, some around a large one. */
static void check_around(struct worker *worker, struct stripe *stripe, size_t from, size_t to, const char *what)
{
	size_t step = (to - from) / 12 + 1;

	if (from > 0)
		from--;
	if (to < stripe->tiles.n)
		to++;
	worker_enter(worker);
	for (size_t i = from; i < to; i += step) {
		const struct tile *tile = &stripe->tiles.tile[i];

		check_tile(worker, tile, tile->first, what);
		if (tile->last != tile->first)
			check_tile(worker, tile, tile->last, what);
	}
	worker_leave(worker);
	count(worker, COUNT_CHECKED_CHANGES, 1);
}

static void check_planned(struct worker *worker, struct stripe *stripe, const char *what)
{
	check_around(worker, stripe, stripe->from, stripe->from + stripe->plan.n, what);
}

static void check_result(struct worker *worker, uint64_t addr, const char *what, int got, int expected)
{
	if (got != expected)
		violation(worker, addr, "%s returned %d, should be %d", what, got, expected);
}

/* ---- Changes of one put ---- */

static int carry_out(struct worker *worker, const struct put *put, enum how how, struct capture *got, bool *captured)
{
	struct cleave *index = worker->index;
	struct cleave_request request = { CLEAVE_LOWEST, put->last - put->first + 1, 1, 0, put->first, put->last, 0 };
	struct cleave_entry conflict;
	uint64_t addr = 0;
	int result = -EAGAIN;

	*captured = false;
	if (how == BY_TRY) {
		count(worker, COUNT_TRIES, 1);
		worker_enter(worker);
		result = cleave_try_store_rcu(index, worker->self, put->first, put->last, put->object);
		worker_leave(worker);
		if (result != -EAGAIN)
			return result;
		count(worker, COUNT_TRIES_AGAIN, 1);
	}
	if (how == BY_INSERT) {
		count(worker, COUNT_INSERTS, 1);
		return cleave_insert(index, worker->self, put->first, put->last, put->object, &conflict);
	}
	if (how == BY_ALLOC) {
		count(worker, COUNT_ALLOCS, 1);
		result = cleave_alloc(index, worker->self, &request, put->object, &addr);
		if (!result && addr != put->first)
			violation(worker, addr, "alloc chose %" PRIx64 " outside of its window", addr);
		return result;
	}
	*captured = true;
	if (!put->object && one_in(&worker->rng, 2)) {
		count(worker, COUNT_ERASES, 1);
		return cleave_erase(index, worker->self, put->first, put->last, &got->sink);
	}
	count(worker, COUNT_STORES, 1);
	return cleave_store(index, worker->self, put->first, put->last, put->object, &got->sink);
}

void change_put(struct worker *worker, struct stripe *stripe, uint64_t first, uint64_t last, struct object *object,
		enum how how)
{
	static const char *const names[HOWS] = { "store", "try_store", "insert", "alloc", "transaction" };
	struct capture got = { .sink = { each } }, expected = { .n = 0 };
	struct put put = { first, last, object };
	bool captured;
	int result;

	if (how == BY_TXN) {
		change_txn(worker, stripe, first, last, &put, 1, false, COMMIT);
		return;
	}
	stripe_plan(stripe, first, last);
	stripe_plan_put(stripe, first, last, object);
	expect(stripe, &put, 1, &expected);
	worker_did(worker, names[how], first, last, object, oracle_next(&stripe->oracle), 1);
	stripe_announce(stripe);
	worker_delay(worker);
	result = carry_out(worker, &put, how, &got, &captured);
	worker_delay(worker);
	stripe_settle(stripe, worker);
	check_result(worker, first, names[how], result, 0);
	if (captured)
		check_displaced(worker, &got, &expected, names[how]);
	check_planned(worker, stripe, names[how]);
	free(got.entry);
	free(expected.entry);
}

static int do_clip(struct worker *worker, uint64_t addr, bool try)
{
	int result;

	if (try) {
		count(worker, COUNT_TRIES, 1);
		worker_enter(worker);
		result = cleave_try_clip_rcu(worker->index, worker->self, addr);
		worker_leave(worker);
		if (result != -EAGAIN)
			return result;
		count(worker, COUNT_TRIES_AGAIN, 1);
	}
	count(worker, COUNT_CLIPS, 1);
	if (worker->job->options.plant == PLANT_LOST_CHANGE && one_in(&worker->rng, 1000))
		return 0;
	return cleave_clip(worker->index, worker->self, addr);
}

void change_clip(struct worker *worker, struct stripe *stripe, uint64_t addr, bool try)
{
	const struct tile tile = stripe->tiles.tile[tiles_find(&stripe->tiles, addr)];
	int result;

	worker_did(worker, "clip", addr, addr, tile.object, oracle_next(&stripe->oracle), 1);
	if (!tile.object || tile.first == addr) {
		check_result(worker, addr, "clip", do_clip(worker, addr, try), tile.object ? 0 : -ENOENT);
		return;
	}
	stripe_plan(stripe, addr, tile.last);
	stripe_plan_put(stripe, addr, tile.last, tile.object);
	stripe_announce(stripe);
	worker_delay(worker);
	result = do_clip(worker, addr, try);
	worker_delay(worker);
	stripe_settle(stripe, worker);
	check_result(worker, addr, "clip", result, 0);
	check_planned(worker, stripe, "clip");
}

void change_unclip(struct worker *worker, struct stripe *stripe, uint64_t addr)
{
	size_t i = tiles_find(&stripe->tiles, addr);
	const struct tile *tile = &stripe->tiles.tile[i];
	int result;

	count(worker, COUNT_UNCLIPS, 1);
	worker_did(worker, "unclip", addr, addr, tile->object, oracle_next(&stripe->oracle), 1);
	if (!tile->object || tile->first != addr || i == 0 || tile[-1].object != tile->object) {
		check_result(worker, addr, "unclip", cleave_unclip(worker->index, worker->self, addr), -ENOENT);
		return;
	}
	stripe_plan(stripe, tile[-1].first, tile->last);
	stripe_plan_join(stripe, addr);
	stripe_announce(stripe);
	worker_delay(worker);
	result = cleave_unclip(worker->index, worker->self, addr);
	worker_delay(worker);
	stripe_settle(stripe, worker);
	check_result(worker, addr, "unclip", result, 0);
	check_planned(worker, stripe, "unclip");
}

/* ---- Changes that depend on what is there ---- */

void change_insert(struct worker *worker, struct stripe *stripe, uint64_t first, uint64_t last, struct object *object)
{
	struct cleave_entry conflict = { 0 };
	size_t i = tiles_find(&stripe->tiles, first);

	if (stripe_is_free(stripe, first, last)) {
		change_put(worker, stripe, first, last, object, BY_INSERT);
		return;
	}
	while (!stripe->tiles.tile[i].object)
		i++;
	count(worker, COUNT_CONFLICTS, 1);
	worker_did(worker, "insert", first, last, object, oracle_next(&stripe->oracle), -EEXIST);
	check_result(worker, first, "insert",
		     cleave_insert(worker->index, worker->self, first, last, object, &conflict), -EEXIST);
	if (!same(&conflict, &stripe->tiles.tile[i]))
		violation(worker, first,
			  "insert at %" PRIx64 "-%" PRIx64 ": conflict is %" PRIx64 "-%" PRIx64
			  " %p, should be %" PRIx64 "-%" PRIx64 " %p",
			  first, last, conflict.first, conflict.last, conflict.value, stripe->tiles.tile[i].first,
			  stripe->tiles.tile[i].last, (void *)stripe->tiles.tile[i].object);
	object_drop(worker, object);
}

static int do_replace(struct worker *worker, struct cleave_entry *expected, struct object *object, bool try)
{
	int result;

	if (try) {
		count(worker, COUNT_TRIES, 1);
		worker_enter(worker);
		result = cleave_try_replace_if_rcu(worker->index, worker->self, expected, object);
		worker_leave(worker);
		if (result != -EAGAIN)
			return result;
		count(worker, COUNT_TRIES_AGAIN, 1);
	}
	count(worker, COUNT_REPLACES, 1);
	return cleave_replace_if(worker->index, worker->self, expected, object);
}

void change_replace(struct worker *worker, struct stripe *stripe, const struct cleave_entry *expected,
		    struct object *object, bool try)
{
	const struct tile tile = stripe->tiles.tile[tiles_find(&stripe->tiles, expected->first)];
	struct cleave_entry found = *expected;
	int result;

	worker_did(worker, "replace_if", expected->first, expected->last, object, oracle_next(&stripe->oracle),
		   same(expected, &tile));
	if (!same(expected, &tile)) {
		count(worker, COUNT_MISMATCHES, 1);
		check_result(worker, expected->first, "replace_if", do_replace(worker, &found, object, try), -ENOENT);
		if (!same(&found, &tile))
			violation(worker, expected->first,
				  "replace_if says that %" PRIx64 "-%" PRIx64 " %p is there, should be %" PRIx64
				  "-%" PRIx64 " %p",
				  found.first, found.last, found.value, tile.first, tile.last, (void *)tile.object);
		object_drop(worker, object);
		return;
	}
	stripe_plan(stripe, tile.first, tile.last);
	stripe_plan_put(stripe, tile.first, tile.last, object);
	stripe_announce(stripe);
	worker_delay(worker);
	result = do_replace(worker, &found, object, try);
	worker_delay(worker);
	stripe_settle(stripe, worker);
	check_result(worker, tile.first, "replace_if", result, 0);
	check_planned(worker, stripe, "replace_if");
}

bool change_alloc(struct worker *worker, struct stripe *stripe, const struct cleave_request *request,
		  struct object *object, uint64_t *addr)
{
	uint64_t chosen = 0;
	int result;

	worker_did(worker, "alloc", request->min, request->max, object, oracle_next(&stripe->oracle), 1);
	count(worker, COUNT_CHECKED_ALLOCS, 1);
	if (!stripe_place(stripe, request, addr)) {
		count(worker, COUNT_ALLOCS_FULL, 1);
		result = cleave_alloc(worker->index, worker->self, request, object, &chosen);
		check_result(worker, request->min, "alloc", result, -ENOSPC);
		object_drop(worker, object);
		return false;
	}
	object->first = *addr;
	object->last = *addr + (request->size - 1);
	stripe_plan(stripe, object->first, object->last);
	stripe_plan_put(stripe, object->first, object->last, object);
	count(worker, COUNT_ALLOCS, 1);
	stripe_announce(stripe);
	worker_delay(worker);
	result = cleave_alloc(worker->index, worker->self, request, object, &chosen);
	worker_delay(worker);
	stripe_settle(stripe, worker);
	check_result(worker, *addr, "alloc", result, 0);
	if (!result && chosen != *addr)
		violation(worker, chosen,
			  "alloc of %" PRIx64 " (order %d, hint %" PRIx64 ", align %" PRIx64 "+%" PRIx64 ") in %" PRIx64
			  "-%" PRIx64 " chose %" PRIx64 ", should be %" PRIx64,
			  request->size, (int)request->order, request->hint, request->align, request->phase,
			  request->min, request->max, chosen, *addr);
	check_planned(worker, stripe, "alloc");
	return true;
}

/* ---- Transactions ---- */

static void check_inside(struct worker *worker, struct stripe *stripe, struct cleave_txn *txn, uint64_t first,
			 uint64_t last)
{
	for (unsigned int n = 0; n < 3; n++) {
		uint64_t addr = n == 0 ? first : n == 1 ? last : first + rng_below(&worker->rng, last - first + 1);
		const struct tile *tile = &stripe->tiles.tile[tiles_find(&stripe->tiles, addr)];
		struct cleave_entry entry;

		cleave_txn_lookup(txn, addr, &entry);
		if (!same(&entry, tile))
			violation(worker, addr,
				  "transaction: %" PRIx64 " is in %" PRIx64 "-%" PRIx64 " %p, should be in %" PRIx64
				  "-%" PRIx64 " %p",
				  addr, entry.first, entry.last, entry.value, tile->first, tile->last,
				  (void *)tile->object);
	}
}

static void begin(struct worker *worker, struct cleave_txn *txn, uint64_t first, uint64_t last, bool try)
{
	int result = -EAGAIN;

	if (try) {
		count(worker, COUNT_TRIES, 1);
		worker_enter(worker);
		result = cleave_try_begin_rcu(txn, worker->index, worker->self, first, last);
		worker_leave(worker);
		count(worker, COUNT_TRIES_AGAIN, result == -EAGAIN);
	}
	if (result == -EAGAIN)
		result = cleave_begin(txn, worker->index, worker->self, first, last);
	check_result(worker, first, "begin", result, 0);
	worker_delay(worker);
}

static void abort_txn(struct worker *worker, struct stripe *stripe, struct cleave_txn *txn, const struct put *puts,
		      size_t n)
{
	size_t from = tiles_find(&stripe->tiles, txn->first), to = tiles_find(&stripe->tiles, txn->last) + 1;

	count(worker, COUNT_ABORTS, 1);
	cleave_abort(txn);
	for (size_t p = 0; p < n; p++)
		if (puts[p].object)
			object_drop(worker, puts[p].object);
	check_around(worker, stripe, from, to, "abort");
}

/* Objects whose puts are covered by later ones entirely never appear. */
static void drop_covered(struct worker *worker, const struct stripe *stripe, const struct put *puts, size_t n)
{
	for (size_t p = 0; p < n; p++)
		if (puts[p].object)
			puts[p].object->census = 0;
	for (size_t i = 0; i < stripe->plan.n; i++)
		if (stripe->plan.tile[i].object)
			stripe->plan.tile[i].object->census = 1;
	for (size_t p = 0; p < n; p++) {
		if (puts[p].object && !puts[p].object->census) {
			puts[p].object->census = 1;
			object_drop(worker, puts[p].object);
		}
	}
}

void change_txn(struct worker *worker, struct stripe *stripe, uint64_t first, uint64_t last, const struct put *puts,
		size_t n, bool try, enum ending ending)
{
	struct capture got = { .sink = { each } }, expected = { .n = 0 };
	struct cleave_txn txn;

	count(worker, COUNT_TXNS, 1);
	count(worker, COUNT_PUTS, n);
	worker_did(worker,
		   ending == ABORT     ? "abort"
		   : ending == PUBLISH ? "publish"
				       : "commit",
		   first, last, n ? puts[0].object : NULL, oracle_next(&stripe->oracle), (int)n);
	begin(worker, &txn, first, last, try);
	check_inside(worker, stripe, &txn, first, last);
	for (size_t p = 0; p < n; p++)
		check_result(worker, puts[p].first, "put",
			     cleave_put(&txn, puts[p].first, puts[p].last, puts[p].object), 0);
	worker_delay(worker);
	check_inside(worker, stripe, &txn, first, last);
	if (ending == ABORT) {
		abort_txn(worker, stripe, &txn, puts, n);
		return;
	}
	stripe_plan(stripe, first, last);
	for (size_t p = 0; p < n; p++)
		stripe_plan_put(stripe, puts[p].first, puts[p].last, puts[p].object);
	expect(stripe, puts, n, &expected);
	stripe_announce(stripe);
	worker_delay(worker);
	if (ending == PUBLISH) {
		count(worker, COUNT_PUBLISHES, 1);
		cleave_publish(&txn);
	} else {
		cleave_commit(&txn, &got.sink);
	}
	worker_delay(worker);
	stripe_settle(stripe, worker);
	if (ending == PUBLISH) {
		check_planned(worker, stripe, "publish");
		cleave_end(&txn, &got.sink);
	}
	drop_covered(worker, stripe, puts, n);
	if (n > 1) {
		join(&got);
		join(&expected);
	}
	check_displaced(worker, &got, &expected, "transaction");
	check_planned(worker, stripe, "transaction");
	free(got.entry);
	free(expected.entry);
}

void change_invalid(struct worker *worker, struct stripe *stripe)
{
	uint64_t addr = stripe->low + rng_below(&worker->rng, stripe->high - stripe->low) + 1;
	struct cleave_entry entry = { addr, addr - 1, stripe };
	struct cleave_request request = { CLEAVE_LOWEST, 0, 1, 0, stripe->low, stripe->high, 0 };
	struct cleave_txn txn;
	uint64_t place;

	count(worker, COUNT_INVALIDS, 1);
	check_result(worker, addr, "inverted store",
		     cleave_store(worker->index, worker->self, addr, addr - 1, stripe, NULL), -EINVAL);
	check_result(worker, addr, "insert of NULL", cleave_insert(worker->index, worker->self, addr, addr, NULL, NULL),
		     -EINVAL);
	check_result(worker, addr, "inverted replace_if",
		     cleave_replace_if(worker->index, worker->self, &entry, stripe), -EINVAL);
	check_result(worker, addr, "inverted begin", cleave_begin(&txn, worker->index, worker->self, addr, addr - 1),
		     -EINVAL);
	check_result(worker, addr, "alloc of nothing",
		     cleave_alloc(worker->index, worker->self, &request, stripe, &place), -EINVAL);
}
