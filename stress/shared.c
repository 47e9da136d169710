/* SPDX-License-Identifier: ISC */
#include "shared.h"

#include <errno.h>
#include <inttypes.h>

#include "job.h"

/* ---- Layout ---- */

struct zone shared_zone(unsigned int number)
{
	if (number == 0)
		return (struct zone){ SHARED_FIRST + 0x20000, SHARED_FIRST + 0x23fff };
	return (struct zone){ shared_pair(number - 1, 0) + PAIR_SIZE, shared_pair(number - 1, 1) - 1 };
}

uint64_t shared_pair(unsigned int pair, unsigned int half)
{
	if (pair < PAIRS / 2)
		return SHARED_FIRST + 0x10000 + 1024 * pair + 512 * half;
	return SHARED_FIRST + 0x4000 + 16 * pair + 0x80000 * half;
}

/* ---- Objects that are counted ---- */

static struct object *mapped_object(struct worker *worker, enum object_kind kind, uint64_t first, uint64_t last)
{
	struct object *object = object_new(worker, kind, first, last);
	uint64_t length = last - first + 1;

	atomic_store_explicit(&object->mapped, (int64_t)length, memory_order_relaxed);
	worker->balance += (int64_t)length;
	return object;
}

/* It was not published. */
static void unmapped_object(struct worker *worker, struct object *object)
{
	worker->balance -= (int64_t)(object->last - object->first + 1);
	object_drop(worker, object);
}

static void take_off(struct worker *worker, const struct cleave_entry *displaced)
{
	struct object *object = displaced->value;
	int64_t length = (int64_t)(displaced->last - displaced->first + 1);
	int64_t left;

	if (displaced->first < object->first || displaced->last > object->last)
		violation(worker, displaced->first,
			  "displaced %" PRIx64 "-%" PRIx64 " %p was put at %" PRIx64 "-%" PRIx64, displaced->first,
			  displaced->last, displaced->value, object->first, object->last);
	left = atomic_fetch_sub_explicit(&object->mapped, length, memory_order_acq_rel) - length;
	worker->balance -= length;
	count(worker, COUNT_CHECKED_DISPLACED, 1);
	if (left < 0)
		violation(worker, displaced->first,
			  "more of an object was displaced than was mapped: %" PRIx64 "-%" PRIx64 " %p leaves %" PRId64,
			  displaced->first, displaced->last, displaced->value, left);
	else if (left == 0)
		object_retire(worker, object);
}

struct taking {
	struct cleave_sink sink;
	struct worker *worker;
};

static void take_each(struct cleave_sink *sink, const struct cleave_entry *displaced)
{
	take_off(((struct taking *)sink)->worker, displaced);
}

static void expect_one_of(struct worker *worker, uint64_t addr, const char *what, int result, int one, int two)
{
	if (result != one && result != two)
		violation(worker, addr, "%s returns %d, should be %d or %d", what, result, one, two);
}

/* ---- Zones ---- */

static void random_range(struct rng *rng, struct zone zone, uint64_t *first, uint64_t *last)
{
	uint64_t span = zone.last - zone.first + 1;

	*first = zone.first + rng_below(rng, span);
	*last = *first + rng_below(rng, one_in(rng, 64) ? span : span / 32 + 8);
	if (*last > zone.last)
		*last = zone.last;
}

static void replace(struct worker *worker, uint64_t addr, struct zone zone)
{
	struct cleave_entry entry, expected;
	struct object *object;
	int result;

	worker_enter(worker);
	cleave_lookup_rcu(worker->index, addr, &entry);
	worker_leave(worker);
	if (!entry.value || entry.first < zone.first || entry.last > zone.last)
		return;
	object = mapped_object(worker, OBJECT_COMMON, entry.first, entry.last);
	expected = entry;
	worker_delay(worker);
	result = cleave_replace_if(worker->index, worker->self, &expected, object);
	count(worker, COUNT_REPLACES, 1);
	worker_did(worker, "shared replace_if", entry.first, entry.last, object, 0, result);
	expect_one_of(worker, addr, "replace_if", result, 0, -ENOENT);
	if (result) {
		count(worker, COUNT_MISMATCHES, 1);
		if (expected.first == entry.first && expected.last == entry.last && expected.value == entry.value)
			violation(worker, addr, "replace_if fails, and says that what was expected is there");
		unmapped_object(worker, object);
	} else {
		take_off(worker, &entry);
	}
}

static void several(struct worker *worker, struct zone zone)
{
	struct taking taking = { { take_each }, worker };
	struct object *objects[6];
	struct cleave_txn txn;
	uint64_t first, last, at, end;
	unsigned int n = 0;
	int result = -EAGAIN;

	random_range(&worker->rng, zone, &first, &last);
	if (one_in(&worker->rng, 8)) {
		worker_enter(worker);
		result = cleave_try_begin_rcu(&txn, worker->index, worker->self, first, last);
		worker_leave(worker);
		count(worker, COUNT_TRIES, 1);
		count(worker, COUNT_TRIES_AGAIN, result == -EAGAIN);
	}
	if (result == -EAGAIN)
		result = cleave_begin(&txn, worker->index, worker->self, first, last);
	expect_one_of(worker, first, "begin", result, 0, 0);
	count(worker, COUNT_TXNS, 1);
	worker_delay(worker);
	for (at = first; at <= last && n < 6; at = end + 1) {
		struct object *object = NULL;

		end = at + rng_below(&worker->rng, last - at + 1);
		if (one_in(&worker->rng, 3))
			continue;
		if (one_in(&worker->rng, 2))
			object = mapped_object(worker, OBJECT_COMMON, at, end);
		expect_one_of(worker, at, "put", cleave_put(&txn, at, end, object), 0, 0);
		count(worker, COUNT_PUTS, 1);
		if (object)
			objects[n++] = object;
	}
	worker_delay(worker);
	worker_did(worker, "shared transaction", first, last, n ? objects[0] : NULL, 0, (int)n);
	if (one_in(&worker->rng, 4)) {
		count(worker, COUNT_ABORTS, 1);
		cleave_abort(&txn);
		while (n > 0)
			unmapped_object(worker, objects[--n]);
	} else if (one_in(&worker->rng, 4)) {
		count(worker, COUNT_PUBLISHES, 1);
		cleave_publish(&txn);
		worker_delay(worker);
		cleave_end(&txn, &taking.sink);
	} else {
		cleave_commit(&txn, &taking.sink);
	}
}

static void change_zone(struct worker *worker, struct zone zone)
{
	struct taking taking = { { take_each }, worker };
	struct cleave_entry conflict;
	struct object *object;
	uint64_t first, last;
	int result = 0;

	random_range(&worker->rng, zone, &first, &last);
	switch (rng_below(&worker->rng, 8)) {
	case 0:
		object = mapped_object(worker, OBJECT_COMMON, first, last);
		worker_did(worker, "shared store", first, last, object, 0, 0);
		count(worker, COUNT_STORES, 1);
		result = cleave_store(worker->index, worker->self, first, last, object, &taking.sink);
		expect_one_of(worker, first, "store", result, 0, 0);
		break;
	case 1:
		worker_did(worker, "shared erase", first, last, NULL, 0, 0);
		count(worker, COUNT_ERASES, 1);
		result = cleave_erase(worker->index, worker->self, first, last, &taking.sink);
		expect_one_of(worker, first, "erase", result, 0, 0);
		break;
	case 2:
		object = mapped_object(worker, OBJECT_COMMON, first, last);
		result = cleave_insert(worker->index, worker->self, first, last, object, &conflict);
		worker_did(worker, "shared insert", first, last, object, 0, result);
		expect_one_of(worker, first, "insert", result, 0, -EEXIST);
		count(worker, result ? COUNT_CONFLICTS : COUNT_INSERTS, 1);
		if (result && (conflict.first > last || conflict.last < first || !conflict.value))
			violation(worker, first,
				  "insert of %" PRIx64 "-%" PRIx64 " conflicts with %" PRIx64 "-%" PRIx64 " %p", first,
				  last, conflict.first, conflict.last, conflict.value);
		if (result)
			unmapped_object(worker, object);
		break;
	case 3:
	case 4:
		result = cleave_clip(worker->index, worker->self, first);
		worker_did(worker, "shared clip", first, first, NULL, 0, result);
		count(worker, COUNT_CLIPS, 1);
		expect_one_of(worker, first, "clip", result, 0, -ENOENT);
		break;
	case 5:
		result = cleave_unclip(worker->index, worker->self, first);
		worker_did(worker, "shared unclip", first, first, NULL, 0, result);
		count(worker, COUNT_UNCLIPS, 1);
		expect_one_of(worker, first, "unclip", result, 0, -ENOENT);
		break;
	case 6:
		replace(worker, first, zone);
		break;
	default:
		several(worker, zone);
	}
}

/* ---- Pairs ---- */

static struct object *pair_object(struct worker *worker, unsigned int pair, unsigned int half, uint64_t version)
{
	uint64_t first = shared_pair(pair, half);
	struct object *object = mapped_object(worker, OBJECT_PAIR, first, first + PAIR_SIZE - 1);

	object->tag = version;
	return object;
}

static void change_pair(struct worker *worker, unsigned int pair)
{
	struct taking taking = { { take_each }, worker };
	uint64_t version = atomic_fetch_add(&worker->job->pair_versions, 1) + 1;
	struct object *halves[2] = { pair_object(worker, pair, 0, version), pair_object(worker, pair, 1, version) };
	struct cleave_entry entry[2];
	struct cleave_txn txn;

	worker_did(worker, "pair", halves[0]->first, halves[1]->last, halves[0], version, 0);
	if (worker->job->options.plant == PLANT_SPLIT_PAIR && one_in(&worker->rng, 16)) {
		for (unsigned int half = 0; half < 2; half++)
			cleave_store(worker->index, worker->self, halves[half]->first, halves[half]->last, halves[half],
				     &taking.sink);
		return;
	}
	cleave_begin(&txn, worker->index, worker->self, halves[0]->first, halves[1]->last);
	worker_delay(worker);
	for (unsigned int half = 0; half < 2; half++) {
		const struct object *old = cleave_txn_lookup(&txn, halves[half]->first, &entry[half]);

		if (!old || old->kind != OBJECT_PAIR) {
			violation(worker, halves[half]->first, "half %u of pair %u is gone", half, pair);
			cleave_abort(&txn);
			return;
		}
		expect_one_of(worker, halves[half]->first, "put",
			      cleave_put(&txn, halves[half]->first, halves[half]->last, halves[half]), 0, 0);
	}
	if (((struct object *)entry[0].value)->tag != ((struct object *)entry[1].value)->tag)
		violation(worker, entry[0].first, "pair %u has different versions under its lock", pair);
	worker_delay(worker);
	count(worker, COUNT_CHECKED_PAIRS, 1);
	count(worker, COUNT_TXNS, 1);
	count(worker, COUNT_PUTS, 2);
	cleave_commit(&txn, &taking.sink);
}

/* Cut a half in two, or join it. */
static void clip_pair(struct worker *worker, unsigned int pair)
{
	uint64_t addr = shared_pair(pair, (unsigned int)rng_below(&worker->rng, 2)) + 1 +
			rng_below(&worker->rng, PAIR_SIZE - 1);
	bool clip = one_in(&worker->rng, 2);
	int result = clip ? cleave_clip(worker->index, worker->self, addr)
			  : cleave_unclip(worker->index, worker->self, addr);

	worker_did(worker, clip ? "pair clip" : "pair unclip", addr, addr, NULL, 0, result);
	count(worker, clip ? COUNT_CLIPS : COUNT_UNCLIPS, 1);
	expect_one_of(worker, addr, "clip or unclip of a pair", result, 0, clip ? 0 : -ENOENT);
}

/* ---- Heap ---- */

static void hold(struct shared *shared)
{
	struct worker *worker = shared->worker;
	struct cleave_request request = {
		.order = (enum cleave_order)rng_below(&worker->rng, CLEAVE_BEST + 1),
		.size = 1 + rng_below(&worker->rng, one_in(&worker->rng, 16) ? 256 : 24),
		.align = UINT64_C(1) << rng_below(&worker->rng, 5),
		.min = HEAP_FIRST,
		.max = HEAP_FIRST + HEAP_SIZE - 1,
		.hint = HEAP_FIRST + rng_below(&worker->rng, HEAP_SIZE),
	};
	struct object *object = object_new(worker, OBJECT_HEAP, 0, request.size - 1);
	uint64_t addr = 0;
	int result;

	if (request.order == CLEAVE_RANDOM)
		request.hint = rng_next(&worker->rng);
	object->tag = worker->number + 1;
	result = cleave_alloc(worker->index, worker->self, &request, object, &addr);
	worker_did(worker, "heap alloc", addr, addr + request.size - 1, object, 0, result);
	expect_one_of(worker, HEAP_FIRST, "alloc", result, 0, -ENOSPC);
	count(worker, result ? COUNT_ALLOCS_FULL : COUNT_ALLOCS, 1);
	if (result) {
		object_drop(worker, object);
		return;
	}
	count(worker, COUNT_CHECKED_ALLOCS, 1);
	if (addr < request.min || addr > request.max - (request.size - 1) || addr & (request.align - 1)) {
		violation(worker, addr, "alloc gives %" PRIx64 ", wanted size %" PRIx64 " align %" PRIx64, addr,
			  request.size, request.align);
		return;
	}
	for (uint64_t i = 0; i < request.size; i++) {
		uint64_t other = atomic_exchange(&worker->job->heap_holder[addr - HEAP_FIRST + i], worker->number + 1);

		if (other)
			violation(worker, addr + i, "alloc gives %" PRIx64 ", which thread %" PRIu64 " holds", addr + i,
				  other - 1);
	}
	shared->held[shared->nheld++] = (struct held){ addr, addr + (request.size - 1), object };
}

static void release(struct shared *shared, unsigned int i)
{
	struct worker *worker = shared->worker;
	struct held held = shared->held[i];
	struct cleave_entry entry;
	int result;

	shared->held[i] = shared->held[--shared->nheld];
	worker_enter(worker);
	cleave_lookup_rcu(worker->index, held.first + rng_below(&worker->rng, held.last - held.first + 1), &entry);
	worker_leave(worker);
	if (entry.first != held.first || entry.last != held.last || entry.value != held.object)
		violation(worker, held.first, "held %" PRIx64 "-%" PRIx64 " %p, found %" PRIx64 "-%" PRIx64 " %p",
			  held.first, held.last, (void *)held.object, entry.first, entry.last, entry.value);
	for (uint64_t addr = held.first; addr <= held.last; addr++)
		if (atomic_exchange(&worker->job->heap_holder[addr - HEAP_FIRST], 0) != worker->number + 1)
			violation(worker, addr, "somebody else got %" PRIx64 ", which this thread held", addr);
	result = cleave_erase(worker->index, worker->self, held.first, held.last, NULL);
	worker_did(worker, "heap erase", held.first, held.last, held.object, 0, result);
	count(worker, COUNT_ERASES, 1);
	expect_one_of(worker, held.first, "erase", result, 0, 0);
	object_retire(worker, held.object);
}

/* ---- All ---- */

void shared_start(struct shared *shared, struct worker *worker)
{
	shared->worker = worker;
	shared->nheld = 0;
}

void shared_change(struct shared *shared)
{
	struct worker *worker = shared->worker;
	uint64_t dice = rng_below(&worker->rng, 64);

	if (dice < 36)
		change_zone(worker,
			    shared_zone(one_in(&worker->rng, 3) ? (unsigned int)rng_below(&worker->rng, ZONES) : 0));
	else if (dice < 40)
		change_pair(worker, (unsigned int)rng_below(&worker->rng, PAIRS / 2));
	else if (dice == 40 && one_in(&worker->rng, 4))
		change_pair(worker, PAIRS / 2 + (unsigned int)rng_below(&worker->rng, PAIRS / 2));
	else if (dice < 44)
		clip_pair(worker, (unsigned int)rng_below(&worker->rng, PAIRS));
	else if (shared->nheld < SHARED_HELD && (shared->nheld == 0 || one_in(&worker->rng, 2)))
		hold(shared);
	else
		release(shared, (unsigned int)rng_below(&worker->rng, shared->nheld));
}

void shared_stop(struct shared *shared)
{
	while (shared->nheld > 0 && !atomic_load(&shared->worker->job->violations))
		release(shared, shared->nheld - 1);
}

int shared_init(struct worker *main)
{
	int error = 0;

	for (unsigned int pair = 0; pair < PAIRS; pair++) {
		for (unsigned int half = 0; half < 2; half++) {
			struct object *object = pair_object(main, pair, half, 0);

			error |= cleave_insert(main->index, main->self, object->first, object->last, object, NULL);
		}
	}
	for (unsigned int number = 0; number < ZONES; number++) {
		struct zone zone = shared_zone(number);

		for (uint64_t addr = zone.first; addr + 16 <= zone.last; addr += 16) {
			struct object *object = mapped_object(main, OBJECT_COMMON, addr, addr + 11);

			error |= cleave_insert(main->index, main->self, addr, addr + 11, object, NULL);
		}
	}
	return error;
}
