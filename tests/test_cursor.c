/* SPDX-License-Identifier: ISC */
/* Cursors: where they start, how they turn, and what they see when the index changes under them. */
#include "fixture.h"
#include "world.h"

static struct manual_domain manual;
static struct world world;

static void *const A = (void *)0x11, *const B = (void *)0x22;

static int setup(void **state)
{
	(void)state;
	manual_start(&manual, GRACE_LATE, NULL, 1000);
	world_start(&world, &manual.domain, &manual.self, &keyspaces[2], 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	check_index(&world.index);
	world_stop(&world);
	manual_stop(&manual);
	return 0;
}

static void store(uint64_t first, uint64_t last, void *value)
{
	assert_int_equal(cleave_store(&world.index, world.self, first, last, value, NULL), 0);
	model_store(&world.model, first, last, value, NULL);
}

static size_t next(struct cleave_cursor *cursor, struct cleave_visit *visit, size_t n)
{
	manual_enter(&manual);
	n = cleave_next_rcu(cursor, visit, n);
	manual_leave(&manual);
	return n;
}

static size_t previous(struct cleave_cursor *cursor, struct cleave_visit *visit, size_t n)
{
	manual_enter(&manual);
	n = cleave_previous_rcu(cursor, visit, n);
	manual_leave(&manual);
	return n;
}

static void expect(const struct cleave_visit *visit, uint64_t entry_first, uint64_t entry_last, void *value,
		   uint64_t first, uint64_t last)
{
	assert_int_equal(visit->entry.first, entry_first);
	assert_int_equal(visit->entry.last, entry_last);
	assert_ptr_equal(visit->entry.value, value);
	assert_int_equal(visit->first, first);
	assert_int_equal(visit->last, last);
}

static void a_cursor_begins_at_the_entry_that_holds_its_address(void **state)
{
	struct cleave_cursor cursor;
	struct cleave_visit visit[4];

	(void)state;
	store(10, 19, A);
	store(30, 39, B);
	cleave_cursor_init(&cursor, &world.index, 15, false);
	assert_int_equal(next(&cursor, visit, 4), 2);
	expect(&visit[0], 10, 19, A, 15, 19);
	expect(&visit[1], 30, 39, B, 30, 39);

	cleave_cursor_init(&cursor, &world.index, 20, false);
	assert_int_equal(next(&cursor, visit, 4), 1);
	expect(&visit[0], 30, 39, B, 30, 39);

	cleave_cursor_init(&cursor, &world.index, 20, true);
	assert_int_equal(next(&cursor, visit, 4), 3);
	expect(&visit[0], 20, 29, NULL, 20, 29);

	cleave_cursor_init(&cursor, &world.index, 20, false);
	assert_int_equal(previous(&cursor, visit, 4), 1);
	expect(&visit[0], 10, 19, A, 10, 19);

	cleave_cursor_init(&cursor, &world.index, 36, true);
	assert_int_equal(previous(&cursor, visit, 4), 4);
	expect(&visit[0], 30, 39, B, 30, 35);
	expect(&visit[1], 20, 29, NULL, 20, 29);
	expect(&visit[3], 0, 9, NULL, 0, 9);
	assert_int_equal(previous(&cursor, visit, 4), 0);
}

static void a_cursor_knows_both_ends(void **state)
{
	struct cleave_cursor cursor;
	struct cleave_visit visit[2];

	(void)state;
	cleave_cursor_init(&cursor, &world.index, 0, true);
	assert_int_equal(previous(&cursor, visit, 2), 0);
	assert_int_equal(next(&cursor, visit, 2), 1);
	expect(&visit[0], 0, CLEAVE_LAST, NULL, 0, CLEAVE_LAST);
	assert_int_equal(next(&cursor, visit, 2), 0);

	cleave_cursor_init_last(&cursor, &world.index, true);
	assert_int_equal(next(&cursor, visit, 2), 0);
	assert_int_equal(previous(&cursor, visit, 2), 1);
	expect(&visit[0], 0, CLEAVE_LAST, NULL, 0, CLEAVE_LAST);
	assert_int_equal(previous(&cursor, visit, 2), 0);

	store(0, 0, A);
	store(CLEAVE_LAST, CLEAVE_LAST, B);
	cleave_cursor_init(&cursor, &world.index, CLEAVE_LAST, false);
	assert_int_equal(next(&cursor, visit, 2), 1);
	expect(&visit[0], CLEAVE_LAST, CLEAVE_LAST, B, CLEAVE_LAST, CLEAVE_LAST);
	assert_int_equal(next(&cursor, visit, 2), 0);
	assert_int_equal(previous(&cursor, visit, 1), 1);
	expect(&visit[0], CLEAVE_LAST, CLEAVE_LAST, B, CLEAVE_LAST, CLEAVE_LAST);
	cleave_cursor_init(&cursor, &world.index, 1, false);
	assert_int_equal(previous(&cursor, visit, 2), 1);
	expect(&visit[0], 0, 0, A, 0, 0);
	assert_int_equal(previous(&cursor, visit, 2), 0);
}

static void a_cursor_that_turns_visits_the_same_entry_again(void **state)
{
	struct cleave_cursor cursor;
	struct cleave_visit visit[4];

	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		store(10 * i, 10 * i + 9, i & 1 ? A : B);
	cleave_cursor_init(&cursor, &world.index, 0, false);
	for (uint64_t i = 0; i < 99; i++) {
		assert_int_equal(next(&cursor, visit, 1), 1);
		expect(&visit[0], 10 * i, 10 * i + 9, i & 1 ? A : B, 10 * i, 10 * i + 9);
		assert_int_equal(previous(&cursor, visit, 1), 1);
		assert_int_equal(visit[0].entry.first, 10 * i);
		assert_int_equal(next(&cursor, visit, 1), 1);
		assert_int_equal(visit[0].entry.first, 10 * i);
	}
}

static void entries_that_were_joined_are_visited_once(void **state)
{
	struct cleave_cursor cursor;
	struct cleave_visit visit[4];

	(void)state;
	store(10, 19, A);
	store(20, 29, A);
	store(30, 39, A);
	cleave_cursor_init(&cursor, &world.index, 0, false);
	assert_int_equal(next(&cursor, visit, 1), 1);
	expect(&visit[0], 10, 19, A, 10, 19);
	assert_int_equal(cleave_unclip(&world.index, world.self, 20), 0);
	assert_int_equal(next(&cursor, visit, 1), 1);
	expect(&visit[0], 10, 29, A, 20, 29);
	assert_int_equal(cleave_unclip(&world.index, world.self, 30), 0);
	assert_int_equal(next(&cursor, visit, 1), 1);
	expect(&visit[0], 10, 39, A, 30, 39);
	assert_int_equal(next(&cursor, visit, 1), 0);

	assert_int_equal(cleave_clip(&world.index, world.self, 30), 0);
	assert_int_equal(previous(&cursor, visit, 1), 1);
	expect(&visit[0], 30, 39, A, 30, 39);
	assert_int_equal(cleave_unclip(&world.index, world.self, 30), 0);
	assert_int_equal(previous(&cursor, visit, 1), 1);
	expect(&visit[0], 10, 39, A, 10, 29);
	assert_int_equal(previous(&cursor, visit, 1), 0);
}

/* Whatever happens between two visits: keys only go one way, and each visit is what the index holds there now. */
static void a_cursor_survives_every_change(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	world.rng.state = seed;
	world.seed = seed;
	for (uint64_t round = test_scaled(3000); round; round--) {
		struct cleave_cursor cursor;
		struct cleave_visit visit;
		uint64_t start = keyspace_addr(world.space, &world.rng), edge = start;
		bool upward = rng_one_in(&world.rng, 2), gaps = rng_one_in(&world.rng, 2), first = true;

		cleave_cursor_init(&cursor, &world.index, start, gaps);
		for (int visits = 0; visits < 20; visits++) {
			const struct cleave_entry *want;

			for (uint64_t steps = rng_below(&world.rng, 4); steps; steps--)
				world_step(&world);
			check_context("seed %#llx, cursor from %#llx", (unsigned long long)seed,
				      (unsigned long long)start);
			if (!(upward ? next(&cursor, &visit, 1) : previous(&cursor, &visit, 1)))
				break;
			want = model_at(&world.model, visit.first);
			CHECK(visit.entry.first == want->first && visit.entry.last == want->last &&
				      visit.entry.value == want->value,
			      "[%#llx, %#llx] %p is not there now", (unsigned long long)visit.entry.first,
			      (unsigned long long)visit.entry.last, visit.entry.value);
			CHECK(gaps || visit.entry.value, "a gap");
			CHECK(visit.entry.first <= visit.first && visit.first <= visit.last &&
				      visit.last <= visit.entry.last,
			      "part [%#llx, %#llx]", (unsigned long long)visit.first, (unsigned long long)visit.last);
			if (upward) {
				CHECK(first ? visit.first >= edge : visit.first > edge, "visited twice");
				CHECK(!gaps || visit.first == (first ? edge : edge + 1), "something was skipped");
				edge = visit.last;
			} else {
				CHECK(visit.last < edge, "visited twice");
				CHECK(!gaps || visit.last == edge - 1, "something was skipped");
				edge = visit.first;
			}
			first = false;
		}
	}
	world_compare(&world);
}

/* ---- Beside writers ---- */

#define ENTRIES 400

struct walk {
	struct cleave_word32 stop;
};

/* Entry i is [10 i, 10 i + 9]; odd ones come and go, even ones stay and are clipped. */
static void odd_entries_come_and_go(struct worker *worker)
{
	struct walk *walk = worker->context;
	struct cleave *index = &worker->fixture->index;

	for (uint64_t n = test_scaled(60000); n; n--) {
		uint64_t i = rng_below(&worker->rng, ENTRIES);

		if (i & 1) {
			if (cleave_insert(index, worker_self(worker), 10 * i, 10 * i + 9, B, NULL))
				cleave_erase(index, worker_self(worker), 10 * i, 10 * i + 9, NULL);
		} else {
			cleave_clip(index, worker_self(worker), 10 * i + 5);
			if (rng_one_in(&worker->rng, 2))
				cleave_unclip(index, worker_self(worker), 10 * i + 5);
		}
		cleave_section_quiescent(&worker->record);
	}
	__atomic_store_n(&walk->stop.word, 1, __ATOMIC_RELEASE);
}

static void walk_all(struct worker *worker)
{
	struct walk *walk = worker->context;
	struct cleave_visit visit[16];

	check_context("seed %#llx", (unsigned long long)worker->fixture->seed);
	do {
		struct cleave_cursor cursor;
		bool upward = rng_one_in(&worker->rng, 2);
		uint64_t edge = upward ? 0 : CLEAVE_LAST, covered = 0, want, n;

		if (upward)
			cleave_cursor_init(&cursor, &worker->fixture->index, 0, true);
		else
			cleave_cursor_init_last(&cursor, &worker->fixture->index, true);
		do {
			want = 1 + rng_below(&worker->rng, 16);
			cleave_section_enter(&worker->record);
			n = upward ? cleave_next_rcu(&cursor, visit, want) : cleave_previous_rcu(&cursor, visit, want);
			cleave_section_leave(&worker->record);
			cleave_section_quiescent(&worker->record);
			for (uint64_t k = 0; k < n; k++) {
				uint64_t i = visit[k].first / 10;

				/* The visits tile the whole range, whatever changes meanwhile. */
				CHECK((upward ? visit[k].first : visit[k].last) == edge, "a hole at %llu",
				      (unsigned long long)edge);
				edge = upward ? visit[k].last + 1 : visit[k].first - 1;
				if (visit[k].entry.value == A)
					covered += visit[k].last - visit[k].first + 1;
				CHECK(visit[k].entry.value != A || i % 2 == 0, "even entries hold A");
				CHECK(visit[k].entry.value != B || i % 2 == 1, "odd entries hold B");
			}
		} while (n == want);
		CHECK(covered == ENTRIES / 2 * 10, "%llu addresses of the entries that stay",
		      (unsigned long long)covered);
	} while (!__atomic_load_n(&walk->stop.word, __ATOMIC_ACQUIRE));
}

static void visits_tile_the_range_beside_writers(void **state)
{
	struct worker workers[3];
	struct fixture fixture;
	struct walk walk = { 0 };

	(void)state;
	fixture_start(&fixture, 0);
	for (uint64_t i = 0; i < ENTRIES; i += 2)
		assert_int_equal(cleave_insert(&fixture.index, &fixture.main.thread, 10 * i, 10 * i + 9, A, NULL), 0);
	worker_start(&workers[0], &fixture, 0, walk_all, &walk);
	worker_start(&workers[1], &fixture, 1, walk_all, &walk);
	worker_start(&workers[2], &fixture, 2, odd_entries_come_and_go, &walk);
	for (unsigned int i = 0; i < 3; i++)
		worker_join(&workers[i]);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

#define CURSOR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CURSOR(a_cursor_begins_at_the_entry_that_holds_its_address),
		CURSOR(a_cursor_knows_both_ends),
		CURSOR(a_cursor_that_turns_visits_the_same_entry_again),
		CURSOR(entries_that_were_joined_are_visited_once),
		CURSOR(a_cursor_survives_every_change),
		cmocka_unit_test(visits_tile_the_range_beside_writers),
	};

	return RUN_TESTS(tests, argc, argv);
}
