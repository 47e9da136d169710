/* SPDX-License-Identifier: ISC */
/*
 * A fault thread: asks about stripes that others change, and has every answer judged by the stripe's oracle.
 */
#include <errno.h>
#include <inttypes.h>

#include "job.h"
#include "random_change.h"
#include "shared.h"

#define COVER_ENTRIES 512
#define COVER_SCRATCH 512
#define COLLECT 24

static uint64_t latest(uint64_t x, uint64_t y)
{
	return x > y ? x : y;
}

static uint64_t before(struct worker *worker, const struct stripe *stripe)
{
	return latest(oracle_before(&stripe->oracle), worker->floor[stripe->number]);
}

/* The answer was of one of these spans: later ones will not be of an older state. */
static void raise_floor(struct worker *worker, const struct stripe *stripe, const struct spans *spans, uint64_t a)
{
	uint64_t least = UINT64_MAX;

	for (unsigned int i = 0; i < spans->n; i++)
		if (latest(spans->span[i].from, a) < least)
			least = latest(spans->span[i].from, a);
	if (spans->n && least > worker->floor[stripe->number])
		worker->floor[stripe->number] = least;
}

static void wrong(struct worker *worker, const struct stripe *stripe, const struct cleave_entry *entry,
		  struct window window, const char *what)
{
	struct spans ever;

	oracle_lives(&stripe->oracle, entry->value, entry->first, entry->last, (struct window){ 0, UINT64_MAX - 1 },
		     &ever);
	if (ever.n)
		violation(worker, entry->first,
			  "%s: stripe %u: %" PRIx64 "-%" PRIx64 " %p did not exist in states %" PRIu64 "..%" PRIu64
			  ", but from %" PRIu64 " until %" PRIu64,
			  what, stripe->number, entry->first, entry->last, entry->value, window.a, window.b,
			  ever.span[ever.n - 1].from, ever.span[ever.n - 1].to);
	else
		violation(worker, entry->first,
			  "%s: stripe %u: %" PRIx64 "-%" PRIx64 " %p did not exist in states %" PRIu64 "..%" PRIu64
			  ", nor at any time known",
			  what, stripe->number, entry->first, entry->last, entry->value, window.a, window.b);
}

/* Judge one answer.  False: undecided, or wrong. */
static bool judge(struct worker *worker, const struct stripe *stripe, const struct cleave_entry *entry,
		  struct window window, struct spans *spans, const char *what)
{
	enum verdict verdict = oracle_lives(&stripe->oracle, entry->value, entry->first, entry->last, window, spans);

	count(worker, COUNT_CHECKED, 1);
	worker_saw(worker, entry->value);
	if (spans->n == 0 && verdict == UNDECIDED)
		count(worker, COUNT_UNDECIDED_ANSWERS, 1);
	else if (spans->n == 0)
		wrong(worker, stripe, entry, window, what);
	else
		raise_floor(worker, stripe, spans, window.a);
	return verdict == RIGHT;
}

/* ---- Where to ask ---- */

static uint64_t some_addr(struct worker *worker, const struct stripe *stripe)
{
	struct rng *rng = &worker->rng;
	uint64_t span = stripe->last - stripe->first, offset;
	uint64_t hot = atomic_load_explicit(&stripe->oracle.hot[rng_below(rng, ORACLE_HOT)], memory_order_relaxed);

	if (stripe->narrow || one_in(rng, 16) || hot < stripe->first || hot > stripe->last)
		return stripe->first + rng_below(rng, span + 1);
	offset = one_in(rng, 2) ? rng_below(rng, 3) : rng_below(rng, 64 * 4096);
	if (one_in(rng, 2))
		return hot - stripe->first < offset ? stripe->first : hot - offset;
	return stripe->last - hot < offset ? stripe->last : hot + offset;
}

static struct stripe *some_stripe(struct worker *worker)
{
	struct stripe *stripe = &worker->job->stripes[rng_below(&worker->rng, worker->job->nstripes)];

	while (!stripe->narrow && atomic_load_explicit(&worker->job->storm, memory_order_relaxed))
		stripe = &worker->job->stripes[rng_below(&worker->rng, worker->job->nstripes)];
	return stripe;
}

/* ---- Planted faults ---- */

static void plant(struct worker *worker, const struct stripe *stripe, uint64_t addr, struct cleave_entry *entry)
{
	static _Thread_local struct cleave_entry old;
	static _Thread_local const struct stripe *old_stripe;
	static _Thread_local uint64_t old_addr;
	enum plant plant = worker->job->options.plant;

	if (plant == PLANT_TORN && old_stripe == stripe && old.last > entry->first && old.last != entry->last) {
		entry->last = old.last;
		old_stripe = NULL;
	} else if (plant == PLANT_STALE && old_stripe == stripe && old_addr == addr) {
		*entry = old;
		old_stripe = NULL;
	} else if (plant == PLANT_TORN || plant == PLANT_STALE) {
		if (!old_stripe || one_in(&worker->rng, 1000)) {
			old = *entry;
			old_stripe = stripe;
			old_addr = addr;
		}
	}
}

/* ---- Queries ---- */

static void check_holds(struct worker *worker, const struct cleave_entry *entry, const void *value, uint64_t addr)
{
	if (addr < entry->first || addr > entry->last || value != entry->value)
		violation(worker, addr, "lookup of %" PRIx64 " answers %" PRIx64 "-%" PRIx64 " %p, returns %p", addr,
			  entry->first, entry->last, entry->value, value);
}

static void query_lookup(struct worker *worker, const struct stripe *stripe)
{
	uint64_t addr = some_addr(worker, stripe);
	struct cleave_entry entry;
	struct window window;
	struct spans spans;
	void *value;

	window.a = before(worker, stripe);
	value = cleave_lookup_rcu(worker->index, addr, &entry);
	window.b = oracle_after(&stripe->oracle);
	count(worker, COUNT_LOOKUPS, 1);
	check_holds(worker, &entry, value, addr);
	if (worker->job->options.plant != PLANT_NOTHING)
		plant(worker, stripe, addr, &entry);
	judge(worker, stripe, &entry, window, &spans, "lookup");
}

static void query_ticket(struct worker *worker, const struct stripe *stripe)
{
	uint64_t addr = some_addr(worker, stripe);
	struct window window, later;
	struct cleave_ticket ticket;
	struct cleave_entry entry;
	struct spans spans;
	bool valid, held = false;
	void *value;

	window.a = before(worker, stripe);
	value = cleave_lookup_ticket_rcu(worker->index, addr, &entry, &ticket);
	window.b = oracle_after(&stripe->oracle);
	worker_delay(worker); /* the fault's work */
	later.a = oracle_before(&stripe->oracle);
	valid = cleave_ticket_valid_rcu(&ticket);
	later.b = oracle_after(&stripe->oracle);
	count(worker, COUNT_TICKETS, 1);
	count(worker, COUNT_TICKETS_VALID, valid);
	check_holds(worker, &entry, value, addr);
	if (!judge(worker, stripe, &entry, window, &spans, "lookup with ticket") || !valid)
		return;
	for (unsigned int i = 0; i < spans.n; i++)
		held |= spans.span[i].from <= later.b && spans.span[i].to > later.a;
	if (!held)
		violation(worker, addr,
			  "ticket for %" PRIx64 "-%" PRIx64 " %p is valid in states %" PRIu64 "..%" PRIu64
			  ", but it ended at %" PRIu64,
			  entry.first, entry.last, entry.value, later.a, later.b, spans.span[spans.n - 1].to);
}

struct cover {
	uint64_t first;
	uint32_t mode;
	size_t n;
	bool overflow;
	bool satisfied[COVER_ENTRIES];
	struct cleave_entry entry[COVER_ENTRIES];
};

static bool satisfies(const struct cover *cover, const struct cleave_entry *entry)
{
	const struct object *object = entry->value;

	return cover->mode == 0 || (object && (cover->mode == 1 || object->attributes & TRACE_PROT));
}

static bool predicate(void *context, const struct cleave_entry *entry)
{
	struct cover *cover = context;
	bool satisfied = satisfies(cover, entry); /* outside of sections its object may be gone later */

	if (entry->first <= cover->first) { /* it begins again */
		cover->n = 0;
		cover->overflow = false;
	}
	if (cover->n < COVER_ENTRIES) {
		cover->satisfied[cover->n] = satisfied;
		cover->entry[cover->n++] = *entry;
	} else {
		cover->overflow = true;
	}
	return satisfied;
}

/* All entries of the last round, at one instant. */
static void judge_cover(struct worker *worker, const struct stripe *stripe, const struct cover *cover, uint64_t last,
			struct window window, int result, const struct cleave_entry *bad)
{
	struct spans all = { 1, { { window.a, window.b + 1 } } }, spans;
	const struct cleave_entry *end = &cover->entry[cover->n - 1];
	bool complete = true;

	if (cover->n == 0) {
		violation(worker, cover->first, "covers(%" PRIx64 "-%" PRIx64 ") returns %d, and asked about nothing",
			  cover->first, last, result);
		return;
	}
	if (!cover->overflow && (cover->satisfied[cover->n - 1] != result || (result && end->last < last)))
		violation(worker, cover->first, "covers(%" PRIx64 "-%" PRIx64 ") returns %d after %zu entries",
			  cover->first, last, result, cover->n);
	if (!result && !cover->overflow &&
	    (bad->first != end->first || bad->last != end->last || bad->value != end->value))
		violation(worker, cover->first,
			  "covers names %" PRIx64 "-%" PRIx64 " as bad, asked about %" PRIx64 "-%" PRIx64, bad->first,
			  bad->last, end->first, end->last);
	for (size_t i = 0; i < cover->n; i++) {
		const struct cleave_entry *entry = &cover->entry[i];

		if (i > 0 && (entry->first != entry[-1].last + 1 || !cover->satisfied[i - 1]))
			violation(worker, entry->first,
				  "covers(%" PRIx64 "-%" PRIx64 ") asks about %" PRIx64 " after %" PRIx64, cover->first,
				  last, entry->first, entry[-1].last);
		complete &= judge(worker, stripe, entry, window, &spans, "covers");
		complete &= all.n < ORACLE_SPANS;
		spans_intersect(&all, &spans);
	}
	if (!all.n && complete)
		violation(worker, cover->first,
			  "covers(%" PRIx64 "-%" PRIx64 "): its %zu entries did not exist at one "
			  "instant of states %" PRIu64 "..%" PRIu64,
			  cover->first, last, cover->n, window.a, window.b);
	raise_floor(worker, stripe, &all, window.a);
}

static void query_covers(struct worker *worker, const struct stripe *stripe, bool in_section)
{
	uint64_t addr = some_addr(worker, stripe), last;
	struct cleave_ticket scratch[COVER_SCRATCH];
	struct cover cover = { .first = addr, .mode = (uint32_t)rng_below(&worker->rng, 3) };
	struct cleave_entry bad = { 0 };
	struct window window;
	int result;

	last = stripe->narrow ? addr + rng_below(&worker->rng, stripe->last - addr + 1)
			      : addr + 4096 * rng_below(&worker->rng, one_in(&worker->rng, 8) ? 1 << 20 : 1024);
	if (last > stripe->last || last < addr)
		last = stripe->last;
	window.a = before(worker, stripe);
	if (!in_section)
		result = cleave_covers(worker->index, worker->self, addr, last, predicate, &cover, &bad);
	else
		result = cleave_covers_rcu(worker->index, addr, last, predicate, &cover, &bad,
					   one_in(&worker->rng, 2) ? scratch : NULL, COVER_SCRATCH);
	window.b = oracle_after(&stripe->oracle);
	count(worker, in_section ? COUNT_COVERS : COUNT_COVERS_LOCKED, 1);
	if (result == -EAGAIN && in_section)
		count(worker, COUNT_COVERS_AGAIN, 1);
	else if (result != 0 && result != 1)
		violation(worker, addr, "covers returns %d", result);
	else
		judge_cover(worker, stripe, &cover, last, window, result, &bad);
}

/* ---- Cursors ---- */

static bool is_trimmed(const struct cleave_visit *visit)
{
	return visit->first < visit->entry.first || visit->last > visit->entry.last || visit->first > visit->last;
}

/* Visit up to n entries of the stripe; return how many. */
static size_t walk(struct worker *worker, const struct stripe *stripe, struct cleave_cursor *cursor,
		   struct cleave_visit *visits, size_t n, bool up)
{
	uint64_t key = cursor->key; /* of a struct that is the caller's own; for the check only */
	struct window window;
	struct spans spans;
	size_t got, mine = 0;

	window.a = before(worker, stripe);
	got = up ? cleave_next_rcu(cursor, visits, n) : cleave_previous_rcu(cursor, visits, n);
	window.b = oracle_after(&stripe->oracle);
	for (size_t i = 0; i < got; i++) {
		const struct cleave_visit *visit = &visits[i];
		uint64_t expected = up ? (i ? visit[-1].last + 1 : key) : (i ? visit[-1].first - 1 : key - 1);

		if (visit->entry.first < stripe->first || visit->entry.last > stripe->last)
			break;
		if (is_trimmed(visit) || (up ? visit->last != visit->entry.last : visit->first != visit->entry.first) ||
		    (cursor->gaps && (up ? visit->first : visit->last) != expected))
			violation(worker, visit->first,
				  "cursor: visit %zu is %" PRIx64 "-%" PRIx64 " of %" PRIx64 "-%" PRIx64
				  ", expected at %" PRIx64,
				  i, visit->first, visit->last, visit->entry.first, visit->entry.last, expected);
		judge(worker, stripe, &visit->entry, window, &spans, up ? "cursor upward" : "cursor downward");
		/* There are times t0 <= t1 <= ... */
		window.a = latest(window.a, worker->floor[stripe->number]);
		mine++;
	}
	count(worker, up ? COUNT_VISITS_UP : COUNT_VISITS_DOWN, mine);
	return mine;
}

static void query_cursor(struct worker *worker, const struct stripe *stripe)
{
	struct cleave_visit visits[16];
	struct cleave_cursor cursor;
	bool up = one_in(&worker->rng, 2);
	uint64_t addr = some_addr(worker, stripe);

	if (addr == stripe->first)
		addr++; /* else downward begins outside */
	cleave_cursor_init(&cursor, worker->index, addr, !one_in(&worker->rng, 4));
	for (uint64_t calls = rng_below(&worker->rng, 3) + 1; calls > 0; calls--) {
		size_t n = 1 + rng_below(&worker->rng, 16);

		if (walk(worker, stripe, &cursor, visits, n, up) < n)
			return;
		if (one_in(&worker->rng, 8)) {
			up = !up;
			if (cursor.before || cursor.after)
				return;
		}
	}
}

/* ---- Free space ---- */

static void judge_place(struct worker *worker, const struct stripe *stripe, const struct cleave_request *request,
			uint64_t addr, struct window window)
{
	uint64_t last = addr + (request->size - 1), align = request->align ? request->align : 1;
	enum verdict verdict = WRONG;
	struct cleave_entry entry;
	struct spans spans;

	if (addr < request->min || last < addr || last > request->max || ((addr - request->phase) & (align - 1)))
		violation(worker, addr,
			  "find_gap gives %" PRIx64 "-%" PRIx64 ", wanted align %" PRIx64 "+%" PRIx64 " in %" PRIx64
			  "-%" PRIx64,
			  addr, last, align, request->phase, request->min, request->max);
	cleave_lookup_rcu(worker->index, addr, &entry);
	if (!entry.value && entry.first <= addr && entry.last >= last) {
		verdict = oracle_lives(&stripe->oracle, NULL, entry.first, entry.last, window, &spans);
		if (spans.n)
			verdict = RIGHT;
	}
	if (verdict == WRONG)
		verdict = oracle_was_gap(&stripe->oracle, addr, last, window);
	count(worker, COUNT_CHECKED_GAPS, 1);
	count(worker, COUNT_UNDECIDED_GAPS, verdict == UNDECIDED);
	if (verdict == WRONG)
		violation(worker, addr,
			  "find_gap gives %" PRIx64 "-%" PRIx64 ", which was in no gap in states %" PRIu64 "..%" PRIu64,
			  addr, last, window.a, window.b);
}

/* No gap that was there for the whole call would have been a better answer. */
static void judge_better(struct worker *worker, const struct stripe *stripe, const struct cleave_request *request,
			 const struct cleave_visit *visits, size_t n, bool found, uint64_t addr, struct window window)
{
	for (size_t i = 0; i < n; i++) {
		const struct cleave_entry *gap = &visits[i].entry;
		uint64_t candidate;
		struct spans spans;
		bool stayed = false;

		if (gap->value || !place_in_gap(request, gap->first, gap->last, &candidate))
			continue;
		if (found && !place_is_better(request, candidate, addr))
			continue;
		oracle_lives(&stripe->oracle, NULL, gap->first, gap->last, window, &spans);
		for (unsigned int s = 0; s < spans.n; s++)
			stayed |= spans.span[s].from <= window.a && spans.span[s].to > window.b;
		if (stayed)
			violation(worker, candidate,
				  "find_gap (order %d, size %" PRIx64 ", align %" PRIx64 "+%" PRIx64 ", hint %" PRIx64
				  ", in %" PRIx64 "-%" PRIx64 ") %s %" PRIx64 ", but %" PRIx64
				  " was free in states %" PRIu64 "..%" PRIu64,
				  (int)request->order, request->size, request->align, request->phase, request->hint,
				  request->min, request->max, found ? "gives" : "finds no room", addr, candidate,
				  window.a, window.b);
	}
}

static void query_find(struct worker *worker, const struct stripe *stripe)
{
	struct cleave_visit visits[COLLECT];
	struct cleave_request request;
	struct cleave_cursor cursor;
	struct window window;
	uint64_t addr = 0;
	size_t n;
	int result;

	cleave_cursor_init(&cursor, worker->index, some_addr(worker, stripe), true);
	n = walk(worker, stripe, &cursor, visits, 1 + rng_below(&worker->rng, COLLECT), true);
	if (n == 0)
		return;
	random_request(&worker->rng, stripe->narrow, visits[0].first, visits[n - 1].last, &request);
	if (one_in(&worker->rng, 5))
		request.order = CLEAVE_RANDOM;
	window.a = oracle_before(&stripe->oracle);
	result = cleave_find_gap_rcu(worker->index, &request, &addr);
	window.b = oracle_after(&stripe->oracle);
	count(worker, COUNT_FINDS, 1);
	if (result == 0)
		judge_place(worker, stripe, &request, addr, window);
	else if (result != -ENOSPC)
		violation(worker, request.min, "find_gap returns %d", result);
	else
		count(worker, COUNT_FINDS_FULL, 1);
	judge_better(worker, stripe, &request, visits, n, result == 0, addr, window);
}

/* ---- The thread ---- */

void reader_section(struct worker *worker)
{
	const struct stripe *stripe = some_stripe(worker);
	uint64_t n = 1 + rng_below(&worker->rng, 8);

	if (one_in(&worker->rng, 16)) {
		query_covers(worker, stripe, false);
		return;
	}
	if (one_in(&worker->rng, 16)) {
		shared_query_locked(worker);
		return;
	}
	worker_enter(worker);
	for (; n > 0; n--) {
		uint64_t dice = rng_below(&worker->rng, 32);

		worker_delay(worker);
		if (dice < 16)
			query_lookup(worker, stripe);
		else if (dice < 20)
			query_ticket(worker, stripe);
		else if (dice < 22)
			query_covers(worker, stripe, true);
		else if (dice < 25)
			query_cursor(worker, stripe);
		else if (dice < 28)
			query_find(worker, stripe);
		else
			shared_query(worker);
		if (one_in(&worker->rng, 4))
			stripe = some_stripe(worker);
	}
	worker_delay(worker);
	worker_leave(worker);
}

void reader_run(struct worker *worker)
{
	while (worker_goes_on(worker))
		reader_section(worker);
}
