/* SPDX-License-Identifier: ISC */
/*
 * Faults, forks, wipes and a walker beside each other.  Each slot has one writer, whose page says how often it has
 * written: a clone must show a number between those before and after it, and must not change any more.
 */
#include "anon_fixture.h"

#include <sched.h>

#define WRITERS 3
#define SLOTS 96 /* of each writer; those of all writers take turns, so that they share leaves */
#define STRIDE 7

static struct anon_fixture it;

struct scene {
	struct cleave_anon *store;
	struct cleave_word written[WRITERS * SLOTS]; /* the number that each slot surely shows */
	struct cleave_word begun[WRITERS * SLOTS];   /* the number that it may show */
	struct cleave_word32 writing;
	struct cleave_word clones;
	struct cleave_word walks;
	bool wipes;
};

static uint64_t load(struct cleave_word *word)
{
	return __atomic_load_n(&word->word, __ATOMIC_ACQUIRE);
}

static void store_word(struct cleave_word *word, uint64_t value)
{
	__atomic_store_n(&word->word, value, __ATOMIC_RELEASE);
}

static void write_slots(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct scene *scene = worker->context;

	CHECK(context != NULL, "context");
	for (uint64_t i = test_scaled(15000); i > 0; i--) {
		uint64_t slot = rng_below(&worker->rng, SLOTS) * WRITERS + worker->number, value;

		check_context("writer %u, slot %llu", worker->number, LL(slot));
		value = load(&scene->begun[slot]) + 1;
		store_word(&scene->begun[slot], value);
		slot_write(&it, context, scene->store, slot * STRIDE, value);
		if (!scene->wipes)
			CHECK(slot_read(&it, &worker->record, scene->store, slot * STRIDE) == value, "lost write");
		store_word(&scene->written[slot], value);
		cleave_section_quiescent(&worker->record);
	}
	cleave_anon_context_close(context);
	__atomic_fetch_sub(&scene->writing.word, 1, __ATOMIC_RELEASE);
}

static bool still_writing(struct scene *scene)
{
	return __atomic_load_n(&scene->writing.word, __ATOMIC_ACQUIRE) != 0;
}

static void fork_and_compare(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	uint64_t before[WRITERS * SLOTS], seen[WRITERS * SLOTS];
	struct scene *scene = worker->context;

	CHECK(context != NULL, "context");
	do {
		struct cleave_anon *clone;

		for (unsigned int slot = 0; slot < WRITERS * SLOTS; slot++)
			before[slot] = load(&scene->written[slot]);
		CHECK(cleave_anon_clone_begin(context, &scene->store, &clone, 1) == 0, "clone");
		cleave_anon_clone_end(context, &scene->store, &clone, 1);
		/* Between end and done a kernel takes write permission away. */
		cleave_anon_clone_done(context, &scene->store, 1);
		for (unsigned int slot = 0; slot < WRITERS * SLOTS; slot++) {
			seen[slot] = slot_read(&it, &worker->record, clone, slot * STRIDE);
			check_context("slot %u of a clone", slot);
			if (!scene->wipes || seen[slot])
				CHECK(seen[slot] >= (scene->wipes ? 1 : before[slot]) &&
					      seen[slot] <= load(&scene->begun[slot]),
				      "%llu, was %llu before", LL(seen[slot]), LL(before[slot]));
		}
		/* The child writes too: the parent must not see it (each writer checks). */
		for (unsigned int i = 0; i < 20; i++) {
			uint64_t slot = rng_below(&worker->rng, WRITERS * SLOTS);

			seen[slot] = UINT64_C(1) << 40 | slot;
			slot_write(&it, context, clone, slot * STRIDE, seen[slot]);
		}
		if (scene->wipes && rng_one_in(&worker->rng, 2)) {
			CHECK(cleave_anon_wipe(context, clone, 100 * STRIDE, 150 * STRIDE) == 0, "wipe");
			for (unsigned int slot = 100; slot <= 150; slot++)
				seen[slot] = 0;
		}
		for (unsigned int slot = 0; slot < WRITERS * SLOTS; slot++) {
			uint64_t now = slot_read(&it, &worker->record, clone, slot * STRIDE);

			CHECK(now == seen[slot],
			      "slot %u of a clone changes from %llu to %llu", slot, LL(seen[slot]), LL(now));
		}
		cleave_anon_unref(context, clone);
		__atomic_fetch_add(&scene->clones.word, 1, __ATOMIC_RELAXED);
		cleave_section_quiescent(&worker->record);
	} while (still_writing(scene));
	cleave_anon_context_close(context);
}

static void wipe_ranges(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct scene *scene = worker->context;

	CHECK(context != NULL, "context");
	do {
		uint64_t first = rng_below(&worker->rng, WRITERS * SLOTS * STRIDE);
		uint64_t last =
			first + (rng_one_in(&worker->rng, 8) ? WRITERS * SLOTS * STRIDE : rng_below(&worker->rng, 300));
		struct cleave_anon_page *anon;

		if (rng_one_in(&worker->rng, 3))
			CHECK(cleave_anon_wipe(context, scene->store, first, last) == 0, "wipe");
		else if (!cleave_anon_remove(context, scene->store, first / STRIDE * STRIDE, &anon))
			cleave_anon_page_drop(context, anon);
		cleave_section_quiescent(&worker->record);
	} while (still_writing(scene));
	cleave_anon_context_close(context);
}

/* Moves every page to another one, as if from one swap device to another. */
struct mover {
	struct cleave_anon_walker walker;
	uint64_t side;
};

static bool on_side(struct cleave_anon_walker *walker, uint64_t content)
{
	return (content & 1) == ((struct mover *)walker)->side;
}

static int move(struct cleave_anon_walker *walker, uint64_t content, uint64_t *fresh)
{
	/* The page keeps its number: who writes in place meanwhile must not be lost. */
	(void)walker;
	*fresh = content ^ 1;
	return 0;
}

static void walk(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct mover mover = { { .match = on_side, .visit = move }, 0 };
	struct scene *scene = worker->context;

	CHECK(context != NULL, "context");
	do {
		mover.side = 0;
		CHECK(cleave_anon_walk(context, &mover.walker) == 0, "walk");
		mover.side = 1;
		CHECK(cleave_anon_walk(context, &mover.walker) == 0, "walk");
		__atomic_fetch_add(&scene->walks.word, 1, __ATOMIC_RELAXED);
		cleave_section_quiescent(&worker->record);
	} while (still_writing(scene));
	cleave_anon_context_close(context);
}

static void run(bool wipes)
{
	struct worker workers[WRITERS + 3];
	struct scene *scene = calloc(1, sizeof(*scene));
	unsigned int n = 0;

	CHECK(scene != NULL, "memory");
	anon_fixture_start(&it);
	scene->wipes = wipes;
	scene->writing.word = WRITERS;
	CHECK(cleave_anon_create(it.context, UINT64_C(1) << 30, &scene->store) == 0, "create");
	for (; n < WRITERS; n++)
		worker_start(&workers[n], &it.fixture, n, write_slots, scene);
	worker_start(&workers[n], &it.fixture, n, fork_and_compare, scene), n++;
	worker_start(&workers[n], &it.fixture, n, wipes ? wipe_ranges : fork_and_compare, scene), n++;
	worker_start(&workers[n], &it.fixture, n, walk, scene), n++;
	while (n-- > 0)
		worker_join(&workers[n]);
	if (!wipes)
		for (unsigned int slot = 0; slot < WRITERS * SLOTS; slot++)
			CHECK(slot_read(&it, &it.fixture.main, scene->store, slot * STRIDE) ==
				      load(&scene->written[slot]),
			      "slot %u", slot);
	printf("%llu clones, %llu walks\n", LL(load(&scene->clones)), LL(load(&scene->walks)));
	cleave_anon_unref(it.context, scene->store);
	anon_fixture_stop(&it);
	free(scene);
}

static void clones_show_one_instant_beside_writers(void **state)
{
	(void)state;
	run(false);
}

static void clones_stay_as_they_are_beside_wipes(void **state)
{
	(void)state;
	run(true);
}

/* ---- Nodes come and go under the same few slots ---- */

struct rush {
	struct cleave_anon *store;
	struct cleave_word filled;
};

/* Every thread fills and removes the same slots: whoever wins a slot removes it. */
static void fill_and_remove(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct rush *rush = worker->context;
	uint64_t won = 0;

	CHECK(context != NULL, "context");
	for (uint64_t i = test_scaled(20000); i > 0; i--) {
		uint64_t slot = rng_below(&worker->rng, 4) * 1024 + rng_below(&worker->rng, 2) * 40;
		struct cleave_anon_page *anon = page_make(context, it.pages), *gone = NULL, *winner = NULL;
		int result = cleave_anon_fill(context, rush->store, slot, anon, &winner);

		if (result == -EEXIST) {
			CHECK(winner != NULL && winner != anon, "who lost has no winner");
			cleave_anon_page_unpin(context, winner);
			cleave_anon_page_drop(context, anon);
		} else {
			CHECK(result == 0, "fill: %d", result);
			won++;
			/* It is the slot's until this thread removes it. */
			cleave_section_enter(&worker->record);
			CHECK(cleave_anon_lookup_rcu(rush->store, slot) == anon, "what was filled is gone");
			cleave_section_leave(&worker->record);
			result = cleave_anon_remove(context, rush->store, slot, &gone);
			CHECK(result == 0 && gone == anon, "removed another one: %d", result);
			cleave_anon_page_drop(context, gone);
		}
		cleave_section_quiescent(&worker->record);
	}
	cleave_anon_context_close(context);
	__atomic_fetch_add(&rush->filled.word, won, __ATOMIC_RELAXED);
}

static void one_of_many_fills_wins_while_nodes_come_and_go(void **state)
{
	struct worker workers[4];
	struct rush rush = { NULL, { 0 } };
	struct cleave_anon_statistics statistics;

	(void)state;
	anon_fixture_start(&it);
	CHECK(cleave_anon_create(it.context, UINT64_C(1) << 20, &rush.store) == 0, "create");
	workers_run(&it.fixture, workers, 4, fill_and_remove, &rush);
	cleave_section_enter(&it.fixture.main);
	cleave_anon_statistics_rcu(rush.store, &statistics);
	cleave_section_leave(&it.fixture.main);
	CHECK(statistics.bytes == 0, "%llu empty leaves are left", LL(statistics.leaves));
	printf("%llu fills won\n", LL(rush.filled.word));
	cleave_anon_unref(it.context, rush.store);
	anon_fixture_stop(&it);
}

/* ---- Windows of one store, by several threads ---- */

static void come_and_go(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));
	struct cleave_anon *store = worker->context;

	CHECK(context != NULL, "context");
	for (uint64_t i = test_scaled(1500); i > 0; i--) {
		uint64_t first = rng_below(&worker->rng, 1000), last = first + rng_below(&worker->rng, 200), slot;
		struct cleave_anon_change change;
		int result;

		CHECK(cleave_anon_windows_begin(&change, context, store, first, last) == 0, "begin");
		result = cleave_anon_windows_put(&change, first, last, 1);
		if (!result)
			result = cleave_anon_windows_prepare(&change);
		if (result) {
			CHECK(result == -EBUSY, "%d", result);
			cleave_anon_windows_abort(&change);
			continue;
		}
		cleave_anon_windows_commit(&change);
		cleave_anon_windows_wipe(&change);
		/* With a window over it, what this thread writes stays, unless another that has one writes there. */
		slot = rng_between(&worker->rng, first, last);
		slot_write(&it, context, store, slot, worker->number + 1);
		CHECK(slot_read(&it, &worker->record, store, slot) != 0, "a slot with a window was wiped");
		CHECK(cleave_anon_windows_begin(&change, context, store, first, last) == 0, "begin");
		CHECK(cleave_anon_windows_put(&change, first, last, -1) == 0, "put");
		CHECK(cleave_anon_windows_prepare(&change) == 0, "prepare");
		cleave_anon_windows_commit(&change);
		cleave_anon_windows_wipe(&change);
		cleave_section_quiescent(&worker->record);
	}
	cleave_anon_context_close(context);
}

static void slots_go_with_their_last_window_and_not_before(void **state)
{
	struct worker workers[3];
	struct cleave_anon *store;
	uint64_t left;

	(void)state;
	anon_fixture_start(&it);
	CHECK(cleave_anon_create(it.context, UINT64_C(1) << 20, &store) == 0, "create");
	workers_run(&it.fixture, workers, 3, come_and_go, store);
	check_index(&store->windows);
	cleave_section_enter(&it.fixture.main);
	left = cleave_anon_count_rcu(store);
	cleave_section_leave(&it.fixture.main);
	CHECK(left == 0, "%llu slots are left", LL(left));
	cleave_anon_unref(it.context, store);
	anon_fixture_stop(&it);
}

/* ---- Writes in place ---- */

/*
 * Steps free nothing; but they are refused, above twice the limit, until what waits was looked at:
 *	1. A clones the store, and does not run for a while
 *	2. B copies what it writes, and from then on writes in place: each time it takes a page, and drops it unused
 *	3. all pages are in B's context; A wants one to go on.
 */
#define LIMIT 1000

static void writes_in_place_do_not_use_up_the_pages(void **state)
{
	struct cleave_anon *store;

	(void)state;
	anon_fixture_start_with(&it, LIMIT);
	CHECK(cleave_anon_create(it.context, 10, &store) == 0, "create");
	for (uint64_t i = 0; i < 8 * LIMIT; i++) {
		slot_write(&it, it.context, store, 5, i);
		cleave_section_quiescent(&it.fixture.main);
		CHECK(pages_live(it.pages) <= 2 * LIMIT + 4, "%llu pages for one slot", LL(pages_live(it.pages)));
	}
	cleave_anon_unref(it.context, store);
	anon_fixture_stop(&it);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clones_show_one_instant_beside_writers),
		cmocka_unit_test(clones_stay_as_they_are_beside_wipes),
		cmocka_unit_test(one_of_many_fills_wins_while_nodes_come_and_go),
		cmocka_unit_test(slots_go_with_their_last_window_and_not_before),
		cmocka_unit_test(writes_in_place_do_not_use_up_the_pages),
	};

	return RUN_TESTS(tests, argc, argv);
}
