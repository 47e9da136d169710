/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <inttypes.h>

#include "job.h"
#include "shared.h"

#define SCRATCH 1024

/* ---- One entry ---- */

static void check_hull(struct worker *worker, const struct cleave_entry *entry)
{
	const struct object *object = entry->value;
	bool inside;

	if (!object)
		return;
	worker_saw(worker, object);
	count(worker, COUNT_CHECKED_HULLS, 1);
	if (object->kind == OBJECT_HEAP)
		inside = entry->last - entry->first == object->last;
	else
		inside = entry->first >= object->first && entry->last <= object->last;
	if (!inside || object->kind == OBJECT_OWNED)
		violation(worker, entry->first,
			  "shared: %" PRIx64 "-%" PRIx64 " %p was put at %" PRIx64 "-%" PRIx64 " (kind %d)",
			  entry->first, entry->last, entry->value, object->first, object->last, (int)object->kind);
}

static void query_one(struct worker *worker)
{
	struct zone zone = shared_zone((unsigned int)rng_below(&worker->rng, ZONES));
	struct cleave_entry entry;
	uint64_t addr;

	if (one_in(&worker->rng, 4))
		zone = (struct zone){ HEAP_FIRST, HEAP_FIRST + HEAP_SIZE - 1 };
	addr = zone.first + rng_below(&worker->rng, zone.last - zone.first + 1);
	cleave_lookup_rcu(worker->index, addr, &entry);
	count(worker, COUNT_LOOKUPS, 1);
	if (addr < entry.first || addr > entry.last)
		violation(worker, addr, "lookup of %" PRIx64 " answers %" PRIx64 "-%" PRIx64, addr, entry.first,
			  entry.last);
	check_hull(worker, &entry);
}

static void query_run(struct worker *worker)
{
	struct zone zone = shared_zone((unsigned int)rng_below(&worker->rng, ZONES));
	uint64_t addr = zone.first + rng_below(&worker->rng, zone.last - zone.first + 1);
	bool up = one_in(&worker->rng, 2);
	struct cleave_visit visits[32];
	struct cleave_cursor cursor;
	size_t n;

	cleave_cursor_init(&cursor, worker->index, addr, true);
	n = up ? cleave_next_rcu(&cursor, visits, 32) : cleave_previous_rcu(&cursor, visits, 32);
	count(worker, up ? COUNT_VISITS_UP : COUNT_VISITS_DOWN, n);
	for (size_t i = 0; i < n && visits[i].first >= SHARED_FIRST && visits[i].last <= SHARED_LAST; i++) {
		uint64_t expected = up ? (i ? visits[i - 1].last + 1 : addr) : (i ? visits[i - 1].first - 1 : addr - 1);

		if ((up ? visits[i].first : visits[i].last) != expected)
			violation(worker, addr, "cursor: visit %zu is %" PRIx64 "-%" PRIx64 ", expected at %" PRIx64, i,
				  visits[i].first, visits[i].last, expected);
		check_hull(worker, &visits[i].entry);
	}
}

/* ---- Pairs ---- */

#define GONE UINT64_MAX

static uint64_t version_of(const struct object *object)
{
	return object && object->kind == OBJECT_PAIR ? object->tag : GONE;
}

static void check_versions(struct worker *worker, unsigned int pair, uint64_t left, uint64_t right, const char *what)
{
	count(worker, COUNT_CHECKED_PAIRS, 1);
	if (left == GONE || right == GONE)
		violation(worker, shared_pair(pair, 0), "%s: pair %u: a half is gone", what, pair);
	else if (left != right)
		violation(worker, shared_pair(pair, 0),
			  "%s: pair %u: versions %" PRIu64 " and %" PRIu64 " at one instant", what, pair, left, right);
}

/* While the left half's ticket is valid, what the right half shows is of the same instant. */
static void query_pair(struct worker *worker, unsigned int pair)
{
	uint64_t left = shared_pair(pair, 0) + rng_below(&worker->rng, PAIR_SIZE);
	uint64_t right = shared_pair(pair, 1) + rng_below(&worker->rng, PAIR_SIZE);
	struct cleave_entry entry[2];
	struct cleave_ticket ticket;
	void *value[2];

	value[0] = cleave_lookup_ticket_rcu(worker->index, left, &entry[0], &ticket);
	worker_delay(worker);
	value[1] = cleave_lookup_rcu(worker->index, right, &entry[1]);
	count(worker, COUNT_TICKETS, 1);
	check_hull(worker, &entry[0]);
	check_hull(worker, &entry[1]);
	if (cleave_ticket_valid_rcu(&ticket)) {
		count(worker, COUNT_TICKETS_VALID, 1);
		check_versions(worker, pair, version_of(value[0]), version_of(value[1]), "ticket");
	}
}

struct halves {
	uint64_t addr[2];
	uint64_t version[2];
};

/* Read here: outside of sections the objects may be gone when the call returns. */

static bool find_halves(void *context, const struct cleave_entry *entry)
{
	struct halves *halves = context;

	for (unsigned int i = 0; i < 2; i++)
		if (entry->first <= halves->addr[i] && entry->last >= halves->addr[i])
			halves->version[i] = version_of(entry->value);
	return true;
}

static void cover_pair(struct worker *worker, unsigned int pair, bool in_section)
{
	struct cleave_ticket scratch[SCRATCH];
	struct halves halves = { .addr = { shared_pair(pair, 0) + rng_below(&worker->rng, PAIR_SIZE),
					   shared_pair(pair, 1) + rng_below(&worker->rng, PAIR_SIZE) } };
	int result;

	if (in_section)
		result = cleave_covers_rcu(worker->index, halves.addr[0], halves.addr[1], find_halves, &halves, NULL,
					   scratch, SCRATCH);
	else
		result = cleave_covers(worker->index, worker->self, halves.addr[0], halves.addr[1], find_halves,
				       &halves, NULL);
	count(worker, in_section ? COUNT_COVERS : COUNT_COVERS_LOCKED, 1);
	if (result == -EAGAIN && in_section)
		count(worker, COUNT_COVERS_AGAIN, 1);
	else if (result != 1)
		violation(worker, halves.addr[0], "covers of a pair returns %d", result);
	else
		check_versions(worker, pair, halves.version[0], halves.version[1], "covers");
}

void shared_query(struct worker *worker)
{
	uint64_t dice = rng_below(&worker->rng, 8);

	if (dice < 4)
		query_one(worker);
	else if (dice < 5)
		query_run(worker);
	else if (dice < 7)
		query_pair(worker, (unsigned int)rng_below(&worker->rng, PAIRS));
	else
		cover_pair(worker, (unsigned int)rng_below(&worker->rng, one_in(&worker->rng, 8) ? PAIRS : PAIRS / 2),
			   true);
}

void shared_query_locked(struct worker *worker)
{
	cover_pair(worker, (unsigned int)rng_below(&worker->rng, one_in(&worker->rng, 8) ? PAIRS : PAIRS / 2), false);
}

/* ---- Standing still ---- */

static void each_shared(struct worker *main, void (*visit)(struct worker *main, const struct cleave_entry *entry))
{
	struct cleave_visit visits[64];
	struct cleave_cursor cursor;
	size_t n;

	cleave_cursor_init(&cursor, main->index, SHARED_FIRST, false);
	do {
		worker_enter(main);
		n = cleave_next_rcu(&cursor, visits, 64);
		worker_leave(main);
		for (size_t i = 0; i < n && visits[i].first <= SHARED_LAST; i++)
			visit(main, &visits[i].entry);
	} while (n == 64 && visits[n - 1].first <= SHARED_LAST);
}

static void clear_census(struct worker *main, const struct cleave_entry *entry)
{
	(void)main;
	((struct object *)entry->value)->census = 0;
}

static void add_census(struct worker *main, const struct cleave_entry *entry)
{
	struct object *object = entry->value;

	object->census += (int64_t)(entry->last - entry->first + 1);
	check_hull(main, entry);
}

static void compare_census(struct worker *main, const struct cleave_entry *entry)
{
	struct object *object = entry->value;
	int64_t mapped = atomic_load(&object->mapped);

	if (object->kind == OBJECT_HEAP) {
		for (uint64_t addr = entry->first; addr <= entry->last; addr++)
			if (atomic_load(&main->job->heap_holder[addr - HEAP_FIRST]) != object->tag)
				violation(main, addr, "heap: %" PRIx64 " is thread %" PRIu64 "'s, held by another",
					  addr, object->tag - 1);
		return;
	}
	if (mapped != object->census)
		violation(main, entry->first,
			  "shared: %" PRIx64 "-%" PRIx64 " %p: %" PRId64 " addresses are counted as mapped, %" PRId64
			  " are",
			  entry->first, entry->last, entry->value, mapped, object->census);
}

static int64_t total; /* of the census; main only */

static void add_total(struct worker *main, const struct cleave_entry *entry)
{
	const struct object *object = entry->value;

	(void)main;
	if (object->kind != OBJECT_HEAP)
		total += (int64_t)(entry->last - entry->first + 1);
}

void shared_census(struct worker *main)
{
	int64_t balance = 0;

	each_shared(main, clear_census);
	each_shared(main, add_census);
	each_shared(main, compare_census);
	total = 0;
	each_shared(main, add_total);
	for (unsigned int i = 0; i < main->job->nworkers; i++)
		balance += main->job->workers[i].balance;
	if (balance != total)
		violation(main, SHARED_FIRST,
			  "shared: %" PRId64 " addresses were mapped and not displaced, %" PRId64 " are there", balance,
			  total);
	for (unsigned int pair = 0; pair < PAIRS; pair++) {
		struct cleave_entry entry[2];

		worker_enter(main);
		for (unsigned int half = 0; half < 2; half++)
			cleave_lookup_rcu(main->index, shared_pair(pair, half), &entry[half]);
		check_versions(main, pair, version_of(entry[0].value), version_of(entry[1].value), "at rest");
		worker_leave(main);
	}
}
