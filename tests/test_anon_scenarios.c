/* SPDX-License-Identifier: ISC */
/*
 * What programs do to a store, in test size, with the figures printed: one gigabyte touched, many threads faulting,
 * terabytes reserved, forks beside writers, windows unmapped in any order, swap-off beside everything.
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

		CHECK(result == 0 || (result == -EEXIST && faults->pattern == 2 && winner && winner != anon), "%d", result);
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
	struct rng rng = { it.fixture.seed };
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

#define FORK_SLOTS 16384 /* populated, of four times as many */
#define FORK_WRITERS 8

struct forks {
	struct cleave_anon *store;
	struct cleave_word32 stop;
	struct cleave_word writes;
};

static void write_on(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct forks *forks = worker->context;
	uint64_t n = 0;

	CHECK(context != NULL, "context");
	while (!__atomic_load_n(&forks->stop.word, __ATOMIC_RELAXED)) {
		slot_write(&it, context, forks->store, rng_below(&worker->rng, FORK_SLOTS), ++n);
		cleave_section_quiescent(&worker->record);
	}
	__atomic_fetch_add(&forks->writes.word, n, __ATOMIC_RELAXED);
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
	struct worker workers[FORK_WRITERS];
	struct cleave_anon *children[17] = { NULL };
	struct forks forks = { .store = NULL };
	double longest = 0, sum = 0;
	uint64_t copies, n = test_scaled(100);

	(void)state;
	anon_fixture_start(&it);
	forks.store = store_of(4 * FORK_SLOTS);
	for (uint64_t slot = 0; slot < FORK_SLOTS; slot++)
		touch(it.context, forks.store, slot);
	/* The first write after a fork copies one leaf and the branches above it. */
	CHECK(cleave_anon_clone_begin(it.context, &forks.store, &children[0], 1) == 0, "clone");
	cleave_anon_clone_end(it.context, &forks.store, children, 1);
	cleave_anon_clone_done(it.context, &forks.store, 1);
	copies = it.context->copies;
	slot_write(&it, it.context, forks.store, 5, 1);
	printf("first write after a fork: %llu nodes copied\n", LL(it.context->copies - copies));
	CHECK(it.context->copies - copies == 3, /* of 32^3 slots */ "%llu", LL(it.context->copies - copies));
	copies = it.context->copies;
	slot_write(&it, it.context, forks.store, 6, 1);
	CHECK(it.context->copies == copies, "the second write in a leaf copies");

	for (unsigned int i = 0; i < FORK_WRITERS; i++)
		worker_start(&workers[i], &it.fixture, i, write_on, &forks);
	for (unsigned int i = 1; i <= n; i++) {
		unsigned int k = i % 17; /* the child that exits now, and the next one: 17 at a time, as of make -j17 */
		struct cleave_anon *store = i % 5 == 0 && children[(k + 16) % 17] ? children[(k + 16) % 17] : forks.store;
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
	for (unsigned int i = 0; i < FORK_WRITERS; i++)
		worker_join(&workers[i]);
	for (unsigned int k = 0; k < 17; k++)
		if (children[k])
			cleave_anon_unref(it.context, children[k]);
	printf("%llu forks of %u pages beside %u writers (%llu writes): %.1f us each, longest %.1f\n", LL(n), FORK_SLOTS,
	       FORK_WRITERS, LL(forks.writes.word), sum * 1e6 / (double)n, longest * 1e6);
	cleave_anon_flush(it.context);
	CHECK(count(forks.store) == FORK_SLOTS, "count");
	CHECK(pages_live(it.pages) == FORK_SLOTS, "%llu pages", LL(pages_live(it.pages)));
	cleave_anon_unref(it.context, forks.store);
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
	struct rng rng;

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

/* ---- 10 ---- */

#define SWAP_STORES 400
#define SWAP_PAGES 50 /* of each */

struct swap {
	struct store_table table;
	struct cleave_word32 stop;
	struct cleave_word exits, faults, frees, faulted_in;
	unsigned char *visits; /* of each token */
};

static struct cleave_anon *swap_store(struct cleave_anon_context *context, struct rng *rng, bool swapped)
{
	struct cleave_anon *store;

	CHECK(cleave_anon_create(context, UINT64_C(1) << 24, &store) == 0, "create");
	for (unsigned int i = 0; i < SWAP_PAGES; i++) {
		uint64_t content = pages_take(it.pages, swapped && rng_below(rng, 10) < 3);
		struct cleave_anon_page *anon = cleave_anon_page_make(context, content);

		CHECK(anon && cleave_anon_fill(context, store, i * 1001, anon, NULL) == 0, "fill");
	}
	return store;
}

/* Read faults: swap in what is out; write faults now and then. */
static void swap_faults(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct swap *swap = worker->context;
	uint64_t n = 0, in = 0;

	CHECK(context != NULL, "context");
	while (!__atomic_load_n(&swap->stop.word, __ATOMIC_RELAXED)) {
		struct cleave_anon *store = table_get(&swap->table, (unsigned int)rng_below(&worker->rng, SWAP_STORES));
		uint64_t slot = rng_below(&worker->rng, SWAP_PAGES) * 1001, content = 0;
		struct cleave_anon_page *anon;
		int result = -ENOENT;

		if (!store)
			continue;
		n++;
		if (rng_one_in(&worker->rng, 4)) {
			slot_write(&it, context, store, slot, n);
		} else {
			cleave_section_enter(&worker->record);
			anon = cleave_anon_lookup_rcu(store, slot);
			content = anon ? cleave_anon_page_content(anon) : 0;
			/* Now and then: the walker is to find most of them. */
			if (CLEAVE_ANON_IS_SWAPPED(content) && rng_one_in(&worker->rng, 500))
				result = cleave_anon_transit_begin_rcu(context, anon, content);
			cleave_section_leave(&worker->record);
			if (result == -EAGAIN)
				cleave_anon_wait(context);
			if (!result) {
				uint64_t page = pages_take(it.pages, false);

				cleave_anon_transit_end(context, anon, page);
				pages_release(&it.pages->ops, content);
				in++;
			}
		}
		cleave_anon_unref(context, store);
		cleave_section_quiescent(&worker->record);
	}
	__atomic_fetch_add(&swap->faults.word, n, __ATOMIC_RELAXED);
	__atomic_fetch_add(&swap->faulted_in.word, in, __ATOMIC_RELAXED);
	cleave_anon_context_close(context);
}

static void swap_frees(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct swap *swap = worker->context;
	uint64_t n = 0;

	CHECK(context != NULL, "context");
	while (!__atomic_load_n(&swap->stop.word, __ATOMIC_RELAXED)) {
		struct cleave_anon *store = table_get(&swap->table, (unsigned int)rng_below(&worker->rng, SWAP_STORES));
		uint64_t first = rng_below(&worker->rng, SWAP_PAGES) * 1001;

		if (!store)
			continue;
		CHECK(cleave_anon_wipe(context, store, first, first + 3000) == 0, "wipe");
		cleave_anon_unref(context, store);
		n++;
		cleave_section_quiescent(&worker->record);
		sched_yield();
	}
	__atomic_fetch_add(&swap->frees.word, n, __ATOMIC_RELAXED);
	cleave_anon_context_close(context);
}

/* Exits and forks; new stores have nothing on swap, clones what their parents have. */
static void swap_exits(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct swap *swap = worker->context;
	uint64_t n = 0;

	CHECK(context != NULL, "context");
	while (!__atomic_load_n(&swap->stop.word, __ATOMIC_RELAXED)) {
		unsigned int i = (unsigned int)rng_below(&worker->rng, SWAP_STORES), k;
		struct cleave_anon *parent, *child, *gone;

		k = (unsigned int)rng_below(&worker->rng, SWAP_STORES);
		parent = table_get(&swap->table, k);
		if (parent && rng_one_in(&worker->rng, 2)) {
			CHECK(cleave_anon_clone_begin(context, &parent, &child, 1) == 0, "clone");
			cleave_anon_clone_end(context, &parent, &child, 1);
			cleave_anon_clone_done(context, &parent, 1);
		} else {
			child = swap_store(context, &worker->rng, false);
		}
		gone = table_swap(&swap->table, i, child);
		if (parent)
			cleave_anon_unref(context, parent);
		if (gone)
			cleave_anon_unref(context, gone);
		n++;
		cleave_section_quiescent(&worker->record);
		sched_yield();
	}
	__atomic_fetch_add(&swap->exits.word, n, __ATOMIC_RELAXED);
	cleave_anon_context_close(context);
}

struct swap_off {
	struct cleave_anon_walker walker;
	struct swap *swap;
};

static bool is_token(struct cleave_anon_walker *walker, uint64_t content)
{
	(void)walker;
	return CLEAVE_ANON_IS_SWAPPED(content);
}

static int swap_in(struct cleave_anon_walker *walker, uint64_t content, uint64_t *fresh)
{
	struct swap_off *off = (struct swap_off *)walker;

	CHECK(off->swap->visits[content / 2]++ == 0, "token %#llx is visited twice", LL(content));
	*fresh = pages_take(it.pages, false);
	pages_release(&it.pages->ops, content);
	sched_yield(); /* a page comes in slowly */
	return 0;
}

static void scenario_10_swap_off_beside_faults_frees_and_exits(void **state)
{
	struct worker workers[8 + 2 + 1];
	struct swap swap = { .visits = calloc(PAGES_MOST, 1) };
	struct swap_off off = { { .match = is_token, .visit = swap_in }, &swap };
	struct cleave_anon_visit visit;
	uint64_t tokens = 0;
	unsigned int n = 0;
	struct rng rng;

	(void)state;
	CHECK(swap.visits != NULL, "memory");
	anon_fixture_start(&it);
	rng.state = it.fixture.seed;
	table_make(&swap.table, SWAP_STORES);
	for (unsigned int i = 0; i < SWAP_STORES; i++)
		swap.table.store[i] = swap_store(it.context, &rng, true);
	for (; n < 8; n++)
		worker_start(&workers[n], &it.fixture, n, swap_faults, &swap);
	for (; n < 10; n++)
		worker_start(&workers[n], &it.fixture, n, swap_frees, &swap);
	worker_start(&workers[n], &it.fixture, n, swap_exits, &swap), n++;
	CHECK(cleave_anon_walk(it.context, &off.walker) == 0, "walk");
	__atomic_store_n(&swap.stop.word, 1, __ATOMIC_RELAXED);
	while (n-- > 0)
		worker_join(&workers[n]);
	/* Nothing is left on swap: no new token was made, so whatever stayed was visited. */
	for (unsigned int i = 0; i < SWAP_STORES; i++) {
		uint64_t slot = 0;

		cleave_section_enter(&it.fixture.main);
		while (cleave_anon_next_rcu(swap.table.store[i], &slot, &visit, 1) == 1)
			tokens += CLEAVE_ANON_IS_SWAPPED(cleave_anon_page_content(visit.anon));
		cleave_section_leave(&it.fixture.main);
	}
	CHECK(tokens == 0, "%llu tokens were missed", LL(tokens));
	printf("%u stores, %u pages: walked %llu stores, visited %llu anons once each; meanwhile %llu faults (%llu swapped "
	       "in), %llu frees, %llu exits\n",
	       SWAP_STORES, SWAP_STORES * SWAP_PAGES, LL(off.walker.stores), LL(off.walker.visited), LL(swap.faults.word),
	       LL(swap.faulted_in.word), LL(swap.frees.word), LL(swap.exits.word));
	for (unsigned int i = 0; i < SWAP_STORES; i++)
		cleave_anon_unref(it.context, swap.table.store[i]);
	table_free(&swap.table);
	anon_fixture_stop(&it);
	free(swap.visits);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scenario_2_one_gigabyte_touched_in_order_is_one_window),
		cmocka_unit_test(scenario_3_each_page_gets_one_anon_whoever_faults),
		cmocka_unit_test(scenario_4_terabytes_reserved_cost_what_is_touched),
		cmocka_unit_test(scenario_8_forks_beside_writers_leave_nothing),
		cmocka_unit_test(scenario_9_what_no_window_covers_is_gone_in_any_order),
		cmocka_unit_test(scenario_10_swap_off_beside_faults_frees_and_exits),
	};

	return RUN_TESTS(tests, argc, argv);
}
