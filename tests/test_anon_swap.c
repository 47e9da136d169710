/* SPDX-License-Identifier: ISC */
/*
 * Swap-off beside faults, frees, forks and exits; and a stack that grows up to its neighbour beside lookups.
 * CLEAVE_TEST_STATED=1: 10,000 stores of 1,000,000 pages, 100 exits a second, 1,000,000 clips.
 */
#include "anon_fixture.h"

#include <sched.h>
#include <time.h>

static struct anon_fixture it;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static unsigned int nstores, npages; /* of each store */

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
	for (unsigned int i = 0; i < npages; i++) {
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
		struct cleave_anon *store = table_get(&swap->table, (unsigned int)rng_below(&worker->rng, nstores));
		uint64_t slot = rng_below(&worker->rng, npages) * 1001, content = 0;
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
		struct cleave_anon *store = table_get(&swap->table, (unsigned int)rng_below(&worker->rng, nstores));
		uint64_t first = rng_below(&worker->rng, npages) * 1001;

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

static void pause_for(unsigned int milliseconds)
{
	struct timespec time = { 0, 1000000l * milliseconds };

#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_offline();
#endif
	nanosleep(&time, NULL);
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_online();
#endif
}

/* Exits and forks; new stores have nothing on swap, clones what their parents have. */
static void swap_exits(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct swap *swap = worker->context;
	uint64_t n = 0;

	CHECK(context != NULL, "context");
	while (!__atomic_load_n(&swap->stop.word, __ATOMIC_RELAXED)) {
		unsigned int i = (unsigned int)rng_below(&worker->rng, nstores), k;
		struct cleave_anon *parent, *child, *gone;

		k = (unsigned int)rng_below(&worker->rng, nstores);
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
		if (test_stated(0, 1))
			pause_for(10);
		else
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
	double began, filled, walked;
	struct rng rng = { 0 };

	(void)state;
	CHECK(swap.visits != NULL, "memory");
	nstores = (unsigned int)test_stated(400, 10000);
	npages = (unsigned int)test_stated(50, 100);
	anon_fixture_start(&it);
	began = seconds();
	rng.state = it.fixture.seed;
	table_make(&swap.table, nstores);
	for (unsigned int i = 0; i < nstores; i++)
		swap.table.store[i] = swap_store(it.context, &rng, true);
	filled = seconds() - began;
	for (; n < 8; n++)
		worker_start(&workers[n], &it.fixture, n, swap_faults, &swap);
	for (; n < 10; n++)
		worker_start(&workers[n], &it.fixture, n, swap_frees, &swap);
	worker_start(&workers[n], &it.fixture, n, swap_exits, &swap), n++;
	began = seconds();
	CHECK(cleave_anon_walk(it.context, &off.walker) == 0, "walk");
	walked = seconds() - began;
	__atomic_store_n(&swap.stop.word, 1, __ATOMIC_RELAXED);
	while (n-- > 0)
		worker_join(&workers[n]);
	/* Nothing is left on swap: no new token was made, so whatever stayed was visited. */
	for (unsigned int i = 0; i < nstores; i++) {
		uint64_t slot = 0;

		cleave_section_enter(&it.fixture.main);
		while (cleave_anon_next_rcu(swap.table.store[i], &slot, &visit, 1) == 1)
			tokens += CLEAVE_ANON_IS_SWAPPED(cleave_anon_page_content(visit.anon));
		cleave_section_leave(&it.fixture.main);
	}
	CHECK(tokens == 0, "%llu tokens were missed", LL(tokens));
	printf("%u stores, %u pages (made in %.2f s): walked %llu stores, visited %llu anons once each in %.2f s; "
	       "meanwhile "
	       "%llu faults (%llu swapped in), %llu frees, %llu exits\n",
	       nstores, nstores * npages, filled, LL(off.walker.stores), LL(off.walker.visited), walked,
	       LL(swap.faults.word), LL(swap.faulted_in.word), LL(swap.frees.word), LL(swap.exits.word));
	for (unsigned int i = 0; i < nstores; i++)
		cleave_anon_unref(it.context, swap.table.store[i]);
	table_free(&swap.table);
	anon_fixture_stop(&it);
	free(swap.visits);
}

/* ---- A stack and its neighbour ---- */

/* [1000, 1999] is the neighbour, [3000, 3999] the stack, which grows down to 2000 and shrinks again. */
#define NEIGHBOUR ((void *)16)
#define STACK ((void *)32)

struct growth {
	struct cleave_word32 stop;
	struct cleave_word looked;
};

static void look_at_both(struct worker *worker)
{
	struct growth *growth = worker->context;
	uint64_t n = 0;

	while (!__atomic_load_n(&growth->stop.word, __ATOMIC_ACQUIRE)) {
		uint64_t addr = rng_between(&worker->rng, 1000, 3999);
		struct cleave_entry entry;

		cleave_section_enter(&worker->record);
		cleave_lookup_rcu(&it.fixture.index, addr, &entry);
		cleave_section_leave(&worker->record);
		check_context("address %llu: [%llu, %llu]", LL(addr), LL(entry.first), LL(entry.last));
		CHECK(entry.first <= addr && addr <= entry.last, "an entry that does not hold it");
		if (addr < 2000)
			CHECK(entry.value == NEIGHBOUR && entry.first >= 1000 && entry.last <= 1999, "the neighbour");
		else if (addr >= 3000 || entry.value)
			CHECK(entry.value == STACK && entry.first >= 2000 && entry.last <= 3999, "the stack");
		else
			CHECK(entry.first == 2000 && entry.last <= 2999, "the gap");
		n++;
		cleave_section_quiescent(&worker->record);
	}
	__atomic_fetch_add(&growth->looked.word, n, __ATOMIC_RELAXED);
}

static void scenario_10_a_stack_grows_up_to_its_neighbour(void **state)
{
	struct growth growth = { { 0 }, { 0 } };
	struct cleave_thread *self = &it.fixture.main.thread;
	uint64_t changes = test_stated(test_scaled(30000), 1000000), low = 3000, grown = 0;
	struct worker workers[2];
	struct rng rng = { 0 };

	(void)state;
	anon_fixture_start(&it);
	rng.state = it.fixture.seed;
	CHECK(cleave_store(&it.fixture.index, self, 1000, 1999, NEIGHBOUR, NULL) == 0, "store");
	CHECK(cleave_store(&it.fixture.index, self, 3000, 3999, STACK, NULL) == 0, "store");
	for (unsigned int i = 0; i < 2; i++)
		worker_start(&workers[i], &it.fixture, i, look_at_both, &growth);
	for (uint64_t i = 0; i < changes; i++) {
		uint64_t at = rng_between(&rng, 1001, 3999);
		int result = 0;

		if (i % 4 == 0) {
			uint64_t next = low - 2000 < 100 ? 2000 : low - rng_between(&rng, 1, 100);

			if (low > 2000) {
				result = cleave_store(&it.fixture.index, self, next, low - 1, STACK, NULL);
				low = next;
			} else {
				result = cleave_erase(&it.fixture.index, self, 2000, 2999, NULL);
				low = 3000;
				grown++;
			}
		} else if (i % 4 < 3) {
			result = cleave_clip(&it.fixture.index, self, at);
		} else {
			result = cleave_unclip(&it.fixture.index, self, at);
		}
		CHECK(result == 0 || result == -ENOENT || result == -EINVAL, "%d", result);
		cleave_section_quiescent(&it.fixture.main);
	}
	__atomic_store_n(&growth.stop.word, 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < 2; i++)
		worker_join(&workers[i]);
	check_index(&it.fixture.index);
	CHECK(grown > 0, "it never met its neighbour");
	printf("%llu changes, %llu times up to the neighbour, %llu lookups\n", LL(changes), LL(grown),
	       LL(growth.looked.word));
	CHECK(cleave_erase(&it.fixture.index, self, 0, CLEAVE_LAST, NULL) == 0, "erase");
	anon_fixture_stop(&it);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scenario_10_swap_off_beside_faults_frees_and_exits),
		cmocka_unit_test(scenario_10_a_stack_grows_up_to_its_neighbour),
	};

	return RUN_TESTS(tests, argc, argv);
}
