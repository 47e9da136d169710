/* SPDX-License-Identifier: ISC */
/* Free space: every order against the model, and allocation from several threads. */
#include "fixture.h"
#include "world.h"

/* ---- One thread ---- */

static void every_order_agrees_with_the_model(void **state)
{
	static const struct keyspace spaces[] = {
		{ "crowded", 0, 3000, 1, 12 },
		{ "crowded at the top", CLEAVE_LAST - 2999, 3000, 1, 12 },
		{ "crowded pages", UINT64_C(1) << 46, 3000, 4096, 12 },
	};
	uint64_t seed = test_seed();

	(void)state;
	for (size_t s = 0; s < 3; s++) {
		struct manual_domain manual;
		struct world world;

		manual_start(&manual, GRACE_LATE, NULL, 1000);
		world_start(&world, &manual.domain, &manual.self, &spaces[s], seed + s);
		/* Nearly full, so that most searches are hard. */
		for (uint64_t i = 0; i < 6000; i++) {
			uint64_t first, last;

			keyspace_range(world.space, &world.rng, &first, &last);
			if (model_insert(&world.model, first, last, &world, NULL) == 0)
				CHECK(cleave_insert(&world.index, &manual.self, first, last, &world, NULL) == 0,
				      "insert");
		}
		world_compare(&world);
		for (uint64_t n = test_scaled(30000); n; n--) {
			struct operation operation;
			struct outcome outcome;

			do
				operation_random(&world, &operation);
			while (operation.call != CALL_ALLOC && operation.call != CALL_ERASE);
			if (operation.call == CALL_ERASE && rng_one_in(&world.rng, 2))
				continue;
			check_context("seed %#llx, %s, %llu left", (unsigned long long)seed, world.space->name,
				      (unsigned long long)n);
			world_call(&world, &operation, &outcome);
			world_follow(&world, &operation, &outcome);
			displaced_free(&outcome.displaced);
			world_ask(&world);
		}
		world_compare(&world);
		world_stop(&world);
		manual_stop(&manual);
	}
}

/*
 * Space is taken at both ends of one window, where a search begins in the branch that the thread's last one began in:
 * whatever became of that meanwhile, by the thread's own changes, and in whichever of two indexes.
 */
#define WINDOW 600

static uint64_t lowest_free(const bool *taken, uint64_t size, bool up)
{
	for (uint64_t k = 0; k + size <= WINDOW; k++) {
		uint64_t at = up ? k : WINDOW - size - k, n = 0;

		while (n < size && !taken[at + n])
			n++;
		if (n == size)
			return at;
	}
	return CLEAVE_LAST;
}

static void the_same_edge_again(void **state)
{
	static const enum grace graces[] = { GRACE_AT_ONCE, GRACE_LATE, GRACE_ON_DEMAND, GRACE_LATE };
	uint64_t seed = test_seed();

	(void)state;
	for (size_t g = 0; g < 4; g++) {
		bool taken[2][WINDOW] = { { false } };
		struct cleave indexes[2];
		struct manual_domain domain;
		struct cleave_ops ops;
		struct rng rng = { .state = seed + g };

		manual_start(&domain, graces[g], NULL, 1000);
		ops = *domain.domain.ops;
		domain.domain.ops = &ops;
		if (g == 3)
			ops.begun = NULL; /* then there is no branch that could be known to be the same */
		for (size_t i = 0; i < 2; i++)
			CHECK(cleave_init(&indexes[i], &domain.self) == 0, "init");
		for (uint64_t n = test_scaled(40000), own = 0, up = 0, full = 0; n; n--) {
			struct cleave_request request = { .min = 1000, .max = 1000 + WINDOW - 1, .align = 1 };
			uint64_t addr, at;

			check_context("seed %#llx, %zu, %llu left", (unsigned long long)seed, g, (unsigned long long)n);
			own ^= rng_one_in(&rng, 20);
			up ^= rng_one_in(&rng, 20);
			full ^= rng_one_in(&rng, 300);
			if (rng_below(&rng, 8) < (full ? 3 : 5)) {
				at = rng_below(&rng, rng_one_in(&rng, 2) ? WINDOW : 30);
				if (!taken[own][at])
					continue;
				CHECK(cleave_erase(&indexes[own], &domain.self, 1000 + at, 1000 + at, NULL) == 0,
				      "erase");
				taken[own][at] = false;
				continue;
			}
			request.order = up ? CLEAVE_LOWEST : CLEAVE_HIGHEST;
			request.size = 1 + rng_below(&rng, 3);
			at = lowest_free(taken[own], request.size, up);
			if (at == CLEAVE_LAST) {
				CHECK(cleave_alloc(&indexes[own], &domain.self, &request, &domain, &addr) == -ENOSPC,
				      "space that there is not");
				continue;
			}
			CHECK(cleave_alloc(&indexes[own], &domain.self, &request, &domain, &addr) == 0, "no space");
			CHECK(addr == 1000 + at, "at %llu, not %llu", (unsigned long long)addr,
			      (unsigned long long)(1000 + at));
			/* Pieces of one, so that any of them may be erased. */
			for (uint64_t k = 0; k < request.size; k++) {
				taken[own][at + k] = true;
				CHECK(cleave_clip(&indexes[own], &domain.self, addr + k) == 0, "clip");
			}
		}
		for (size_t i = 0; i < 2; i++) {
			check_index(&indexes[i]);
			cleave_destroy(&indexes[i], &domain.self);
		}
		manual_stop(&domain);
	}
}

static struct manual_domain manual;
static struct cleave gap_index;

static int gap_setup(void **state)
{
	(void)state;
	manual_start(&manual, GRACE_LATE, NULL, 1000);
	return cleave_init(&gap_index, &manual.self);
}

static int gap_teardown(void **state)
{
	(void)state;
	check_index(&gap_index);
	cleave_destroy(&gap_index, &manual.self);
	manual_stop(&manual);
	return 0;
}

static int find(struct cleave_request request, uint64_t *addr)
{
	int result;

	manual_enter(&manual);
	result = cleave_find_gap_rcu(&gap_index, &request, addr);
	manual_leave(&manual);
	return result;
}

static void the_empty_index_has_room_at_both_ends(void **state)
{
	struct cleave_request request = { .size = 1, .max = CLEAVE_LAST };
	uint64_t addr;

	(void)state;
	assert_int_equal(find(request, &addr), 0);
	assert_int_equal(addr, 0);
	request.order = CLEAVE_HIGHEST;
	assert_int_equal(find(request, &addr), 0);
	assert_int_equal(addr, CLEAVE_LAST);
	request.size = CLEAVE_LAST;
	assert_int_equal(find(request, &addr), 0);
	assert_int_equal(addr, 1);
	request.order = CLEAVE_LOWEST;
	assert_int_equal(find(request, &addr), 0);
	assert_int_equal(addr, 0);
	request.min = 2;
	assert_int_equal(find(request, &addr), -ENOSPC);
	request = (struct cleave_request){ .order = CLEAVE_NEXT, .size = 2, .hint = CLEAVE_LAST, .max = CLEAVE_LAST };
	assert_int_equal(find(request, &addr), -ENOSPC);
	request.size = 1;
	assert_int_equal(find(request, &addr), 0);
	assert_int_equal(addr, CLEAVE_LAST);
}

static void the_full_index_has_no_room(void **state)
{
	uint64_t addr;

	(void)state;
	assert_int_equal(cleave_store(&gap_index, &manual.self, 0, CLEAVE_LAST, &addr, NULL), 0);
	for (int order = CLEAVE_LOWEST; order <= CLEAVE_BEST; order++)
		assert_int_equal(find((struct cleave_request){ .order = (enum cleave_order)order,
							       .size = 1,
							       .max = CLEAVE_LAST,
							       .hint = 5 },
				      &addr),
				 -ENOSPC);
	assert_int_equal(cleave_erase(&gap_index, &manual.self, CLEAVE_LAST, CLEAVE_LAST, NULL), 0);
	for (int order = CLEAVE_LOWEST; order <= CLEAVE_BEST; order++) {
		assert_int_equal(find((struct cleave_request){ .order = (enum cleave_order)order,
							       .size = 1,
							       .max = CLEAVE_LAST,
							       .hint = 5 },
				      &addr),
				 0);
		assert_int_equal(addr, CLEAVE_LAST);
	}
}

static void the_nearest_of_two_equals_is_the_lower(void **state)
{
	uint64_t addr;

	(void)state;
	assert_int_equal(cleave_store(&gap_index, &manual.self, 0, CLEAVE_LAST, &addr, NULL), 0);
	assert_int_equal(cleave_erase(&gap_index, &manual.self, 90, 90, NULL), 0);
	assert_int_equal(cleave_erase(&gap_index, &manual.self, 110, 110, NULL), 0);
	assert_int_equal(
		find((struct cleave_request){ .order = CLEAVE_NEAREST, .size = 1, .hint = 100, .max = CLEAVE_LAST },
		     &addr),
		0);
	assert_int_equal(addr, 90);
	assert_int_equal(
		find((struct cleave_request){ .order = CLEAVE_NEAREST, .size = 1, .hint = 101, .max = CLEAVE_LAST },
		     &addr),
		0);
	assert_int_equal(addr, 110);
}

/* Each of a handful of fitting gaps comes up sooner or later. */
static void a_random_search_can_choose_every_gap(void **state)
{
	uint64_t seed = test_seed(), found = 0, addr;

	(void)state;
	assert_int_equal(cleave_store(&gap_index, &manual.self, 0, CLEAVE_LAST, &addr, NULL), 0);
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(cleave_erase(&gap_index, &manual.self, 1000 * i, 1000 * i + 9, NULL), 0);
	for (uint64_t n = 0; n < 4000000 && found != (UINT64_C(1) << 40) - 1; n++) {
		struct rng rng = { .state = seed + n };

		assert_int_equal(find((struct cleave_request){ .order = CLEAVE_RANDOM,
							       .size = 10,
							       .max = 40000,
							       .hint = rng_next(&rng) },
				      &addr),
				 0);
		assert_int_equal(addr % 1000, 0);
		found |= UINT64_C(1) << addr / 1000;
	}
	assert_int_equal(found, (UINT64_C(1) << 40) - 1);
}

/* Counted in the window: of gaps of 30, 12, 20, 12 and 8 units, one of which the window cuts. */
static void the_smallest_gap_that_fits_is_the_best(void **state)
{
	static const struct {
		uint64_t size, align, max, addr;
	} cases[] = {
		{ 8, 1, 9999, 4000 },  { 9, 1, 9999, 1000 },  { 12, 1, 9999, 1000 }, { 13, 1, 9999, 2000 },
		{ 21, 1, 9999, 0 },    { 3, 16, 9999, 4000 }, { 9, 1, 3009, 3000 },  { 8, 1, 3007, 3000 },
		{ 12, 64, 9999, 0 },   { 9, 1, 999, 0 },
	};
	static const uint64_t lengths[] = { 30, 12, 20, 12, 8 };
	struct cleave_request request = { .order = CLEAVE_BEST };
	uint64_t addr;

	(void)state;
	assert_int_equal(cleave_store(&gap_index, &manual.self, 0, CLEAVE_LAST, &addr, NULL), 0);
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(cleave_erase(&gap_index, &manual.self, 1000 * i, 1000 * i + lengths[i] - 1, NULL), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		request.size = cases[i].size;
		request.align = cases[i].align;
		request.max = cases[i].max;
		check_context("case %zu", i);
		assert_int_equal(find(request, &addr), 0);
		assert_int_equal(addr, cases[i].addr);
	}
	request = (struct cleave_request){ .order = CLEAVE_BEST, .size = 31, .max = CLEAVE_LAST };
	assert_int_equal(find(request, &addr), -ENOSPC);
}

static void a_window_within_one_gap_is_obeyed(void **state)
{
	uint64_t addr;

	(void)state;
	for (int order = CLEAVE_LOWEST; order <= CLEAVE_BEST; order++) {
		struct cleave_request request = {
			.order = (enum cleave_order)order, .size = 16, .min = 1000, .max = 1015
		};

		assert_int_equal(find(request, &addr), 0);
		assert_int_equal(addr, 1000);
		request.size = 17;
		assert_int_equal(find(request, &addr), -ENOSPC);
		request.size = 8;
		request.align = 8;
		request.phase = 4;
		assert_int_equal(find(request, &addr), 0);
		assert_int_equal(addr, 1004);
	}
}

/* ---- Several threads ---- */

#define THREADS 4
#define UNITS 2048
#define HELD 24

struct arena {
	struct cleave_word32 owner[UNITS];
};

static void take(struct arena *arena, struct worker *worker, uint64_t addr, uint64_t size)
{
	for (uint64_t i = addr; i < addr + size; i++) {
		uint32_t other = __atomic_exchange_n(&arena->owner[i].word, worker->number + 1, __ATOMIC_RELAXED);

		CHECK(other == 0, "address %llu is allocated twice, to %u and %u", (unsigned long long)i, other - 1,
		      worker->number);
	}
}

static void give_back(struct arena *arena, struct worker *worker, uint64_t addr, uint64_t size)
{
	for (uint64_t i = addr; i < addr + size; i++)
		__atomic_store_n(&arena->owner[i].word, 0, __ATOMIC_RELAXED);
	CHECK(cleave_erase(&worker->fixture->index, worker_self(worker), addr, addr + size - 1, NULL) == 0, "erase");
}

static uint64_t allocate(struct worker *worker, const struct cleave_request *request)
{
	struct cleave_entry entry;
	uint64_t addr = 0;
	int result = cleave_alloc(&worker->fixture->index, worker_self(worker), request, worker, &addr);

	if (result == -ENOSPC)
		return CLEAVE_LAST;
	CHECK(result == 0, "%d", result);
	CHECK(addr >= request->min && addr + request->size - 1 <= request->max, "%llu is outside of the window",
	      (unsigned long long)addr);
	CHECK(!request->align || addr % request->align == request->phase, "%llu is not aligned",
	      (unsigned long long)addr);
	cleave_section_enter(&worker->record);
	CHECK(cleave_lookup_rcu(&worker->fixture->index, addr, &entry) == worker, "my own entry");
	CHECK(entry.first == addr && entry.last == addr + request->size - 1, "of the size I asked for");
	cleave_section_leave(&worker->record);
	return addr;
}

static void allocate_and_free(struct worker *worker)
{
	struct arena *arena = worker->context;
	struct cleave_entry held[HELD] = { 0 };

	check_context("seed %#llx, thread %u", (unsigned long long)worker->fixture->seed, worker->number);
	for (uint64_t n = test_scaled(15000); n; n--) {
		struct cleave_entry *mine = &held[rng_below(&worker->rng, HELD)];

		if (mine->value) {
			give_back(arena, worker, mine->first, mine->last - mine->first + 1);
			mine->value = NULL;
		} else {
			struct cleave_request request = {
				.order = (enum cleave_order)rng_below(&worker->rng, CLEAVE_BEST + 1),
				.size = 1 + rng_below(&worker->rng, 20),
				.align = UINT64_C(1) << rng_below(&worker->rng, 4),
				.max = UNITS - 1,
				.hint = rng_below(&worker->rng, UNITS),
			};
			uint64_t addr;

			if (request.order == CLEAVE_RANDOM)
				request.hint = rng_next(&worker->rng);
			addr = allocate(worker, &request);
			if (addr == CLEAVE_LAST)
				continue; /* possible: it is crowded */
			take(arena, worker, addr, request.size);
			*mine = (struct cleave_entry){ addr, addr + request.size - 1, worker };
		}
		cleave_section_quiescent(&worker->record);
	}
	for (size_t i = 0; i < HELD; i++)
		if (held[i].value)
			give_back(arena, worker, held[i].first, held[i].last - held[i].first + 1);
}

static void threads_never_get_the_same_space(void **state)
{
	static struct arena arena;
	struct worker workers[THREADS];
	struct fixture fixture;
	struct cleave_entry entry;

	(void)state;
	fixture_start(&fixture, 0);
	workers_run(&fixture, workers, THREADS, allocate_and_free, &arena);
	check_index(&fixture.index);
	cleave_section_enter(&fixture.main);
	assert_null(cleave_lookup_rcu(&fixture.index, 0, &entry));
	cleave_section_leave(&fixture.main);
	assert_int_equal(entry.last, CLEAVE_LAST);
	fixture_stop(&fixture);
}

/*
 * Thread t asks for single addresses that are t modulo THREADS, and never holds all of its class: there always is one
 * that nobody else may take, whatever happens to the gap around it.
 */
static void allocate_in_a_class(struct worker *worker)
{
	struct arena *arena = worker->context;
	uint64_t held[HELD];
	unsigned int n = 0;

	check_context("seed %#llx, thread %u", (unsigned long long)worker->fixture->seed, worker->number);
	for (uint64_t rounds = test_scaled(20000); rounds; rounds--) {
		if (n < HELD - 1 && rng_one_in(&worker->rng, 2)) {
			struct cleave_request request = {
				.order = (enum cleave_order)rng_below(&worker->rng, 3),
				.size = 1,
				.align = THREADS,
				.phase = worker->number,
				.max = HELD * THREADS - 1,
				.hint = rng_below(&worker->rng, HELD * THREADS),
			};
			uint64_t addr = allocate(worker, &request);

			CHECK(addr != CLEAVE_LAST, "order %d: -ENOSPC, but one of %u was free all along", request.order,
			      HELD - n);
			take(arena, worker, addr, 1);
			held[n++] = addr;
		} else if (n) {
			unsigned int i = (unsigned int)rng_below(&worker->rng, n);

			give_back(arena, worker, held[i], 1);
			held[i] = held[--n];
		}
		cleave_section_quiescent(&worker->record);
	}
	while (n)
		give_back(arena, worker, held[--n], 1);
}

static void no_space_means_that_none_was_there_all_along(void **state)
{
	static struct arena arena;
	struct worker workers[THREADS];
	struct fixture fixture;

	(void)state;
	fixture_start(&fixture, 0);
	workers_run(&fixture, workers, THREADS, allocate_in_a_class, &arena);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

/*
 * The same with gaps that stay whole: each of two threads has a region beside the crowded middle that is in its window
 * only, and large enough for anything it asks for.
 */
#define REGION 64
#define MIDDLE 512

static void allocate_beside_the_middle(struct worker *worker)
{
	struct arena *arena = worker->context;
	struct cleave_entry held[HELD] = { 0 };
	uint64_t min = worker->number ? REGION : 0,
		 max = worker->number ? REGION + MIDDLE + REGION - 1 : REGION + MIDDLE - 1;

	check_context("seed %#llx, thread %u", (unsigned long long)worker->fixture->seed, worker->number);
	for (uint64_t n = test_scaled(20000); n; n--) {
		struct cleave_entry *mine = &held[rng_below(&worker->rng, HELD)];

		if (mine->value) {
			give_back(arena, worker, mine->first, mine->last - mine->first + 1);
			mine->value = NULL;
		} else {
			struct cleave_request request = {
				.order = (enum cleave_order)rng_below(&worker->rng, 3),
				.size = 1 + rng_below(&worker->rng, REGION),
				.min = min,
				.max = max,
				.hint = rng_between(&worker->rng, min, max),
			};
			uint64_t addr = allocate(worker, &request);

			CHECK(addr != CLEAVE_LAST, "order %d: -ENOSPC, but my region was free all along",
			      request.order);
			take(arena, worker, addr, request.size);
			*mine = (struct cleave_entry){ addr, addr + request.size - 1, worker };
			/* Keep the region free. */
			if (mine->first < REGION || mine->last >= REGION + MIDDLE) {
				give_back(arena, worker, addr, request.size);
				mine->value = NULL;
			}
		}
		cleave_section_quiescent(&worker->record);
	}
	for (size_t i = 0; i < HELD; i++)
		if (held[i].value)
			give_back(arena, worker, held[i].first, held[i].last - held[i].first + 1);
}

static void a_gap_that_stays_is_found(void **state)
{
	static struct arena arena;
	struct worker workers[2];
	struct fixture fixture;

	(void)state;
	fixture_start(&fixture, 0);
	workers_run(&fixture, workers, 2, allocate_beside_the_middle, &arena);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_empty_index_has_room_at_both_ends, gap_setup, gap_teardown),
		cmocka_unit_test_setup_teardown(the_full_index_has_no_room, gap_setup, gap_teardown),
		cmocka_unit_test_setup_teardown(the_nearest_of_two_equals_is_the_lower, gap_setup, gap_teardown),
		cmocka_unit_test_setup_teardown(a_random_search_can_choose_every_gap, gap_setup, gap_teardown),
		cmocka_unit_test_setup_teardown(the_smallest_gap_that_fits_is_the_best, gap_setup, gap_teardown),
		cmocka_unit_test_setup_teardown(a_window_within_one_gap_is_obeyed, gap_setup, gap_teardown),
		cmocka_unit_test(every_order_agrees_with_the_model),
		cmocka_unit_test(the_same_edge_again),
		cmocka_unit_test(threads_never_get_the_same_space),
		cmocka_unit_test(no_space_means_that_none_was_there_all_along),
		cmocka_unit_test(a_gap_that_stays_is_found),
	};

	return RUN_TESTS(tests, argc, argv);
}
