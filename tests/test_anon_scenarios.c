/* SPDX-License-Identifier: ISC */
/*
 * What programs do to a store, with the figures printed: one gigabyte touched, many threads faulting, terabytes
 * reserved, forks beside writers, windows unmapped in any order.  CLEAVE_TEST_STATED=1: forks of one gigabyte.
 */
#include "anon_fixture.h"

#include <sched.h>
#include <time.h>

static struct anon_fixture it;

static uint64_t pages_bytes(void)
{
	return it.domain.anons.word * sizeof(struct cleave_anon_page);
}

static uint64_t bytes_used(void)
{
	return it.fixture.memory.bytes.word - pages_bytes();
}

static struct cleave_anon *store_of(uint64_t nslots)
{
	struct cleave_anon *store;

	CHECK(cleave_anon_create(it.context, nslots, &store) == 0, "create");
	return store;
}

static void touch(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot)
{
	struct cleave_anon_page *anon = page_make(context, it.pages);

	if (cleave_anon_fill(context, store, slot, anon, NULL))
		cleave_anon_page_drop(context, anon);
}

static uint64_t count(struct cleave_anon *store)
{
	uint64_t n;

	cleave_section_enter(&it.fixture.main);
	n = cleave_anon_count_rcu(store);
	cleave_section_leave(&it.fixture.main);
	return n;
}

static void windows(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first, uint64_t last,
		    int delta)
{
	struct cleave_anon_change change;

	CHECK(cleave_anon_windows_begin(&change, context, store, first, last) == 0, "begin");
	CHECK(cleave_anon_windows_put(&change, first, last, delta) == 0, "put");
	CHECK(cleave_anon_windows_prepare(&change) == 0, "prepare");
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
}

/* ---- 2 ---- */

static void scenario_2_one_gigabyte_touched_in_order_is_one_window(void **state)
{
	const uint64_t n = UINT64_C(1) << 18;
	struct cleave_statistics statistics;
	struct cleave_anon *store;
	uint64_t before, used;

	(void)state;
	anon_fixture_start(&it);
	before = bytes_used();
	store = store_of(n);
	windows(it.context, store, 0, n - 1, 1);
	for (uint64_t slot = 0; slot < n; slot++)
		touch(it.context, store, slot);
	used = bytes_used() - before;
	cleave_section_enter(&it.fixture.main);
	cleave_statistics_rcu(&store->windows, &statistics);
	cleave_section_leave(&it.fixture.main);
	CHECK(statistics.entries == 1, "%llu ranges", LL(statistics.entries));
	CHECK(count(store) == n, "count");
	printf("%llu pages: %llu bytes of nodes, counts and spares; %llu of anons; 1 range\n", LL(n), LL(used),
	       LL(pages_bytes()));
	CHECK(used <= UINT64_C(5) << 19, "%llu bytes", LL(used));
	cleave_anon_unref(it.context, store);
	anon_fixture_stop(&it);
}

/* ---- 3 ---- */

#define SEGMENT 65536

struct faults {
	struct cleave_anon *store;
	unsigned int threads;
	int pattern; /* 0 blocks, 1 interleaved, 2 all the same */
	struct cleave_word won;
};

static void fault(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct faults *faults = worker->context;
	uint64_t share = SEGMENT / faults->threads, won = 0;

	CHECK(context != NULL, "context");
	for (uint64_t i = 0; i < (faults->pattern == 2 ? SEGMENT : share); i++) {
		uint64_t slot = faults->pattern == 0   ? worker->number * share + i
				: faults->pattern == 1 ? i * faults->threads + worker->number
						       : i;
		struct cleave_anon_page *anon = page_make(context, it.pages), *winner = NULL;
		int result = cleave_anon_fill(context, faults->store, slot, anon, &winner);

		CHECK(result == 0 || (result == -EEXIST && faults->pattern == 2 && winner && winner != anon),
		      "%d", result);
		won += !result;
		if (result) {
			cleave_anon_page_unpin(context, winner);
			cleave_anon_page_drop(context, anon);
		}
		cleave_section_quiescent(&worker->record);
	}
	__atomic_fetch_add(&faults->won.word, won, __ATOMIC_RELAXED);
	cleave_anon_context_close(context);
}

static void scenario_3_each_page_gets_one_anon_whoever_faults(void **state)
{
	static const char *const names[] = { "blocks", "interleaved", "same page" };
	struct worker workers[8];

	(void)state;
	anon_fixture_start(&it);
	for (int pattern = 0; pattern < 3; pattern++) {
		for (unsigned int threads = 1; threads <= 8; threads *= 2) {
			struct faults faults = { store_of(SEGMENT), threads, pattern, { 0 } };

			workers_run(&it.fixture, workers, threads, fault, &faults);
			CHECK(faults.won.word == SEGMENT, "%llu anons", LL(faults.won.word));
			CHECK(count(faults.store) == SEGMENT, "count");
			CHECK(pages_live(it.pages) == SEGMENT, "%llu pages", LL(pages_live(it.pages)));
			printf("%s, %u threads: %u anons\n", names[pattern], threads, SEGMENT);
			cleave_anon_unref(it.context, faults.store);
			cleave_anon_flush(it.context);
		}
	}
	anon_fixture_stop(&it);
}

/* ---- 4 ---- */

static void reserve(unsigned int bits)
{
	const uint64_t nslots = UINT64_C(1) << bits, span = 512; /* 2 MiB */
	struct rng rng = { .state = it.fixture.seed };
	struct cleave_anon *store;
	uint64_t before = bytes_used(), used;

	store = store_of(nslots);
	for (unsigned int i = 0; i < 1000;) {
		uint64_t first = rng_below(&rng, nslots / span) * span;
		uint64_t there;

		cleave_section_enter(&it.fixture.main);
		there = cleave_anon_windows_rcu(store, first);
		cleave_section_leave(&it.fixture.main);
		if (there)
			continue;
		windows(it.context, store, first, first + span - 1, 1);
		touch(it.context, store, first + rng_below(&rng, span));
		i++;
	}
	used = bytes_used() - before;
	printf("%u TiB, 1,000 windows of 2 MiB, a page in each: %llu bytes\n", 1u << (bits - 28), LL(used));
	CHECK(used < UINT64_C(2) << 20, "%llu bytes", LL(used));
	CHECK(count(store) == 1000, "count");
	cleave_anon_unref(it.context, store);
	cleave_anon_flush(it.context);
}

static void scenario_4_terabytes_reserved_cost_what_is_touched(void **state)
{
	struct cleave_anon **stores = calloc(1000, sizeof(*stores));
	uint64_t before;

	(void)state;
	anon_fixture_start(&it);
	reserve(28);
	reserve(32); /* more slots than an int has */
	/* No store before the first touch: one of 512 slots each. */
	before = bytes_used();
	for (unsigned int i = 0; i < 1000; i++) {
		stores[i] = store_of(512);
		windows(it.context, stores[i], 0, 511, 1);
		touch(it.context, stores[i], i % 512);
	}
	printf("1,000 stores of 512 slots, a page in each: %llu bytes\n", LL(bytes_used() - before));
	for (unsigned int i = 0; i < 1000; i++)
		cleave_anon_unref(it.context, stores[i]);
	anon_fixture_stop(&it);
	free(stores);
}

/* ---- 8 ---- */

#define FORK_WRITERS 8
#define JOBS 17 /* make -j17 */
#define SHARED_SLOTS 64u

static unsigned int fork_slots; /* populated, of four times as many */

struct forks {
	struct cleave_anon *store;
	struct cleave_anon *shared;
	struct cleave_word32 stop;
	struct cleave_word writes;
	struct cleave_word jobs;
};

static void write_on(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct forks *forks = worker->context;
	uint64_t n = 0;

	CHECK(context != NULL, "context");
	while (!__atomic_load_n(&forks->stop.word, __ATOMIC_RELAXED)) {
		slot_write(&it, context, forks->store, rng_below(&worker->rng, fork_slots), ++n);
		cleave_section_quiescent(&worker->record);
	}
	__atomic_fetch_add(&forks->writes.word, n, __ATOMIC_RELAXED);
	cleave_anon_context_close(context);
}

/*
 * Fork and exec, again and again.  The parent has three entries: what is in `store` below half is inherited as a copy,
 * above it as ZERO (nothing of it stays in the clone), and `shared` as it is.
 */
static void fork_and_exec(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct forks *forks = worker->context;
	uint64_t n = 0, half = fork_slots / 2;

	CHECK(context != NULL, "context");
	while (!__atomic_load_n(&forks->stop.word, __ATOMIC_RELAXED)) {
		struct cleave_anon *child;
		uint64_t seen[8], slot = rng_below(&worker->rng, half - 8);

		CHECK(cleave_anon_clone_begin(context, &forks->store, &child, 1) == 0, "clone");
		cleave_anon_clone_end(context, &forks->store, &child, 1);
		cleave_anon_clone_done(context, &forks->store, 1);
		windows(context, child, 0, half - 1, 1);
		CHECK(cleave_anon_wipe_outside(context, child) == 0, "wipe outside");
		cleave_anon_ref(forks->shared, true);
		windows(context, forks->shared, 0, SHARED_SLOTS - 1, 1);

		for (unsigned int i = 0; i < 8; i++)
			seen[i] = slot_read(&it, &worker->record, child, slot + i);
		slot_write(&it, context, child, slot, ~n);
		slot_write(&it, context, forks->shared, rng_below(&worker->rng, SHARED_SLOTS), n);
		sched_yield();
		CHECK(slot_read(&it, &worker->record, child, slot) == ~n, "a child's write is lost");
		for (unsigned int i = 1; i < 8; i++)
			CHECK(slot_read(&it, &worker->record, child, slot + i) == seen[i], "a child's page changes");
		CHECK(slot_read(&it, &worker->record, child, half + slot) == 0, "ZERO is inherited");

		/* exec: no window is left, so that the pages go at once, whoever still has a reference */
		windows(context, child, 0, half - 1, -1);
		windows(context, forks->shared, 0, SHARED_SLOTS - 1, -1);
		cleave_anon_unref(context, child);
		cleave_anon_unref(context, forks->shared);
		n++;
		cleave_section_quiescent(&worker->record);
	}
	__atomic_fetch_add(&forks->jobs.word, n, __ATOMIC_RELAXED);
	cleave_anon_context_close(context);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void scenario_8_forks_beside_writers_leave_nothing(void **state)
{
	struct worker workers[FORK_WRITERS + JOBS];
	struct cleave_anon *children[17] = { NULL };
	unsigned int jobs = (unsigned int)test_stated(3, JOBS), nworkers = FORK_WRITERS;
	struct forks forks = { .store = NULL };
	double longest = 0, sum = 0;
	uint64_t copies, n = test_scaled(100);

	(void)state;
	fork_slots = (unsigned int)test_stated(16384, 262144); /* 1 GiB */
	anon_fixture_start(&it);
	forks.store = store_of(4 * fork_slots);
	windows(it.context, forks.store, 0, 4 * fork_slots - 1, 1);
	for (uint64_t slot = 0; slot < fork_slots; slot++)
		touch(it.context, forks.store, slot);
	forks.shared = store_of(SHARED_SLOTS);
	windows(it.context, forks.shared, 0, SHARED_SLOTS - 1, 1);
	for (uint64_t slot = 0; slot < SHARED_SLOTS; slot++)
		touch(it.context, forks.shared, slot);
	/* The first write after a fork copies one leaf and the branches above it. */
	CHECK(cleave_anon_clone_begin(it.context, &forks.store, &children[0], 1) == 0, "clone");
	cleave_anon_clone_end(it.context, &forks.store, children, 1);
	cleave_anon_clone_done(it.context, &forks.store, 1);
	copies = it.context->copies;
	slot_write(&it, it.context, forks.store, 5, 1);
	printf("first write after a fork: %llu nodes copied\n", LL(it.context->copies - copies));
	CHECK(it.context->copies - copies == test_stated(3, 4), /* of 32^3 or 32^4 slots */ "%llu",
	      LL(it.context->copies - copies));
	copies = it.context->copies;
	slot_write(&it, it.context, forks.store, 6, 1);
	CHECK(it.context->copies == copies, "the second write in a leaf copies");

	for (unsigned int i = 0; i < FORK_WRITERS; i++)
		worker_start(&workers[i], &it.fixture, i, write_on, &forks);
	for (; nworkers < FORK_WRITERS + jobs; nworkers++)
		worker_start(&workers[nworkers], &it.fixture, nworkers, fork_and_exec, &forks);
	for (unsigned int i = 1; i <= n; i++) {
		unsigned int k = i % 17; /* the child that exits now, and the next one: 17 at a time, as of make -j17 */
		struct cleave_anon *store =
			i % 5 == 0 && children[(k + 16) % 17] ? children[(k + 16) % 17] : forks.store;
		double began, took;

		if (children[k])
			cleave_anon_unref(it.context, children[k]);
		children[k] = NULL;
		began = seconds();
		CHECK(cleave_anon_clone_begin(it.context, &store, &children[k], 1) == 0, "clone");
		cleave_anon_clone_end(it.context, &store, &children[k], 1);
		cleave_anon_clone_done(it.context, &store, 1);
		took = seconds() - began;
		longest = took > longest ? took : longest;
		sum += took;
		slot_write(&it, it.context, children[k], i, i);
		CHECK(slot_read(&it, &it.fixture.main, children[k], i) == i, "a child's write is lost");
		if (i % 8 == 0) /* what the child's windows do not cover goes */
			CHECK(cleave_anon_wipe(it.context, children[k], 1000, UINT64_MAX) == 0, "wipe");
		cleave_section_quiescent(&it.fixture.main);
		sched_yield();
	}
	__atomic_store_n(&forks.stop.word, 1, __ATOMIC_RELAXED);
	while (nworkers > 0)
		worker_join(&workers[--nworkers]);
	for (unsigned int k = 0; k < 17; k++)
		if (children[k])
			cleave_anon_unref(it.context, children[k]);
	printf("%llu forks of %u pages beside %u writers (%llu writes) and %u jobs that fork and exec (%llu times): "
	       "%.1f us "
	       "each, longest %.1f\n",
	       LL(n), fork_slots, FORK_WRITERS, LL(forks.writes.word), jobs, LL(forks.jobs.word), sum * 1e6 / (double)n,
	       longest * 1e6);
	cleave_anon_flush(it.context);
	CHECK(count(forks.store) == fork_slots, "count");
	CHECK(count(forks.shared) == SHARED_SLOTS, "count");
	CHECK(pages_live(it.pages) == fork_slots + SHARED_SLOTS, "%llu pages", LL(pages_live(it.pages)));
	cleave_anon_unref(it.context, forks.store);
	cleave_anon_unref(it.context, forks.shared);
	anon_fixture_stop(&it);
}

/* ---- 9 ---- */

static void scenario_9_what_no_window_covers_is_gone_in_any_order(void **state)
{
	const uint64_t pieces = 1024, size = 256; /* 1 GiB */
	unsigned int *order = calloc(3 * 1024, sizeof(*order)), left[1024];
	struct cleave_statistics statistics;
	struct cleave_anon *store;
	uint64_t live, most = 0;
	struct rng rng = { 0 };

	(void)state;
	anon_fixture_start(&it);
	rng.state = it.fixture.seed;
	store = store_of(pieces * size);
	for (unsigned int share = 0; share < 3; share++)
		windows(it.context, store, 0, pieces * size - 1, 1);
	for (uint64_t i = 0; i < pieces; i++) {
		left[i] = 3;
		for (uint64_t page = 0; page < 8; page++)
			touch(it.context, store, i * size + page * 30);
	}
	live = pieces * 8;
	for (unsigned int i = 0; i < 3 * pieces; i++) {
		uint64_t k = rng_below(&rng, i + 1);

		order[i] = order[k];
		order[k] = i % (unsigned int)pieces;
	}
	for (unsigned int i = 0; i < 3 * pieces; i++) {
		struct cleave_anon_change change;
		uint64_t first = order[i] * size;

		CHECK(cleave_anon_windows_begin(&change, it.context, store, first, first + size - 1) == 0, "begin");
		CHECK(cleave_anon_windows_put(&change, first, first + size - 1, -1) == 0, "put");
		CHECK(cleave_anon_windows_prepare(&change) == 0, "prepare");
		/* From here on there is no memory, every other time. */
		if (i % 2)
			counting_memory_grant(&it.fixture.memory, 0);
		cleave_anon_windows_commit(&change);
		cleave_anon_windows_wipe(&change);
		counting_memory_grant(&it.fixture.memory, GRANT_ALL);
		if (--left[order[i]] == 0)
			live -= 8;
		if (i % 16 == 0 || i == 3 * pieces - 1) {
			cleave_anon_flush(it.context);
			CHECK(pages_live(it.pages) == live, "step %u: %llu pages live, %llu have a window", i,
			      LL(pages_live(it.pages)), LL(live));
		}
		cleave_section_enter(&it.fixture.main);
		cleave_statistics_rcu(&store->windows, &statistics);
		cleave_section_leave(&it.fixture.main);
		most = statistics.entries > most ? statistics.entries : most;
	}
	printf("%llu unmaps in random order: at most %llu ranges, none left\n", LL(3 * pieces), LL(most));
	CHECK(count(store) == 0, "count");
	cleave_anon_unref(it.context, store);
	anon_fixture_stop(&it);
	free(order);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scenario_2_one_gigabyte_touched_in_order_is_one_window),
		cmocka_unit_test(scenario_3_each_page_gets_one_anon_whoever_faults),
		cmocka_unit_test(scenario_4_terabytes_reserved_cost_what_is_touched),
		cmocka_unit_test(scenario_8_forks_beside_writers_leave_nothing),
		cmocka_unit_test(scenario_9_what_no_window_covers_is_gone_in_any_order),
	};

	return RUN_TESTS(tests, argc, argv);
}
