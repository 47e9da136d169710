/* SPDX-License-Identifier: ISC */
/* Every allocation of every call fails in turn: nothing has changed, nothing leaks. */
#include "world.h"

/* More allocations than one call can need. */
#define MOST 5000

/* Each of the first allocations fails in turn; of many, which are all reservations, some. */
static uint64_t next_grant(uint64_t grant, struct rng *rng)
{
	return grant < 30 ? grant + 1 : grant + 1 + rng_below(rng, grant / 4);
}

/* A thread without nodes in its caches asks the allocator for each. */
static void forget_caches(struct manual_domain *manual)
{
	cleave_thread_exit(&manual->self);
	cleave_thread_init(&manual->self, &manual->domain);
}

static bool is_try(enum call call)
{
	return call >= CALL_TRY_STORE;
}

static void changes_that_fail_change_nothing(void **state)
{
	uint64_t seed = test_seed(), failures = 0;

	(void)state;
	for (size_t s = 0; s < nkeyspaces; s++) {
		struct manual_domain manual;
		struct world world;

		/* Nothing is reused, so that most changes of nodes allocate. */
		manual_start(&manual, GRACE_ON_DEMAND, NULL, UINT64_C(1) << 40);
		world_start(&world, &manual.domain, &manual.self, &keyspaces[s], seed + s);
		for (uint64_t n = test_scaled(1000); n; n--, world.step++) {
			struct operation operation;
			struct outcome outcome;
			char text[400];
			uint64_t grant, failed;

			operation_random(&world, &operation);
			operation_print(&operation, text, sizeof(text));
			for (grant = 0;; grant = next_grant(grant, &world.rng)) {
				check_context("seed %#llx, %s, step %llu, %llu allocations granted: %s",
					      (unsigned long long)seed, world.space->name,
					      (unsigned long long)world.step, (unsigned long long)grant, text);
				CHECK(grant < MOST, "still failing");
				forget_caches(&manual);
				failed = counting_memory_failed(&manual.memory);
				counting_memory_grant(&manual.memory, grant);
				world_call(&world, &operation, &outcome);
				counting_memory_grant(&manual.memory, GRANT_ALL);
				failed = counting_memory_failed(&manual.memory) - failed;
				if (outcome.result != -ENOMEM)
					break;
				CHECK(failed > 0, "-ENOMEM, but no allocation failed");
				CHECK(outcome.displaced.count == 0, "a failed call displaced something");
				CHECK(operation.call != CALL_REPLACE_IF ||
					      !memcmp(&outcome.entry, &operation.expected, sizeof(outcome.entry)),
				      "a failed call wrote its argument");
				displaced_free(&outcome.displaced);
				failures++;
				if (world.model.count < 300 || rng_one_in(&world.rng, 32))
					world_compare(&world);
				else
					check_index(&world.index);
			}
			if (is_try(operation.call) && operation.call != CALL_TRY_TXN)
				CHECK(failed == 0 && grant == 0, "a try form allocates");
			world_follow(&world, &operation, &outcome);
			displaced_free(&outcome.displaced);
			world_ask(&world);
			if (rng_one_in(&world.rng, 1 + world.model.count))
				world_compare(&world);
		}
		world_compare(&world);
		world_stop(&world);
		manual_stop(&manual);
	}
	printf("%llu failures\n", (unsigned long long)failures);
	assert_true(failures > 100);
}

/* What a failed put would have changed is none of the commit's business, between two others even. */
static void failed_puts_between_two_others_need_no_nodes(void **state)
{
	enum { LEAVES = 60, CELLS = 12, SIZE = 8, N = LEAVES * CELLS, LEAF = CELLS * SIZE, MIDDLE = LEAF / 2 - 6 };
	static struct cleave_entry entries[N];
	struct manual_domain manual;
	struct cleave_entry entry;
	struct cleave_txn txn;
	struct cleave index;

	(void)state;
	manual_start(&manual, GRACE_ON_DEMAND, NULL, UINT64_C(1) << 40);
	for (uint64_t i = 0; i < N; i++)
		entries[i] = (struct cleave_entry){ i * SIZE, i * SIZE + SIZE - 1, (void *)(uintptr_t)(i + 1) };
	for (unsigned int between = 0; between < LEAVES - 1; between += between < 8 ? 1 : 10) {
		const uint64_t far = (between + 1) * LEAF + MIDDLE;

		assert_int_equal(cleave_init(&index, &manual.self), 0);
		assert_int_equal(cleave_build(&index, &manual.self, entries, N), 0);
		forget_caches(&manual);
		assert_int_equal(cleave_begin(&txn, &index, &manual.self, 0, UINT64_MAX), 0);
		/* Each divides its leaf, which is full. */
		assert_int_equal(cleave_put(&txn, MIDDLE, MIDDLE + 1, &index), 0);
		assert_int_equal(cleave_put(&txn, far, far + 1, &index), 0);
		counting_memory_grant(&manual.memory, 0);
		for (unsigned int leaf = 1; leaf <= between; leaf++)
			(void)cleave_put(&txn, leaf * LEAF + MIDDLE, leaf * LEAF + MIDDLE + 1, &txn);
		cleave_commit(&txn, NULL);
		counting_memory_grant(&manual.memory, GRANT_ALL);
		check_index(&index);
		manual_enter(&manual);
		assert_ptr_equal(cleave_lookup_rcu(&index, MIDDLE, &entry), &index);
		assert_ptr_equal(cleave_lookup_rcu(&index, far, &entry), &index);
		manual_leave(&manual);
		cleave_destroy(&index, &manual.self);
	}
	manual_stop(&manual);
}

/* A put that fails leaves the transaction usable; the commit needs no memory at all. */
static void a_transaction_survives_failing_puts(void **state)
{
	uint64_t seed = test_seed(), failures = 0;

	(void)state;
	for (uint64_t round = test_scaled(150); round; round--) {
		struct manual_domain manual;
		struct world world;
		struct model staged = { 0 };

		manual_start(&manual, GRACE_ON_DEMAND, NULL, UINT64_C(1) << 40);
		world_start(&world, &manual.domain, &manual.self, &keyspaces[2], seed + round);
		for (int i = 0; i < 200; i++)
			world_step(&world);
		for (int n = 0; n < 10; n++) {
			struct cleave_txn txn;
			uint64_t first, last, failed, before;

			keyspace_range(world.space, &world.rng, &first, &last);
			check_context("seed %#llx, round %llu, transaction %d", (unsigned long long)seed,
				      (unsigned long long)round, n);
			model_copy(&staged, &world.model);
			forget_caches(&manual);
			/* A begin without memory fails, if at all, before it holds anything. */
			counting_memory_grant(&manual.memory, 0);
			CHECK(cleave_begin(&txn, &world.index, &manual.self, first, last) == 0, "begin");
			counting_memory_grant(&manual.memory, GRANT_ALL);
			for (uint64_t puts = rng_below(&world.rng, 30); puts; puts--) {
				uint64_t from = rng_between(&world.rng, first, last), to;
				uintptr_t value = rng_below(&world.rng, 3);
				int result;

				to = rng_between(&world.rng, from, last < from + 50 ? last : from + 50);
				for (uint64_t grant = 0;; grant = next_grant(grant, &world.rng)) {
					CHECK(grant < MOST, "still failing");
					counting_memory_grant(&manual.memory, grant);
					result = cleave_put(&txn, from, to, (void *)value);
					counting_memory_grant(&manual.memory, GRANT_ALL);
					if (!result)
						break;
					CHECK(result == -ENOMEM, "%d", result);
					failures++;
					if (rng_one_in(&world.rng, 4)) /* given up, for good */
						break;
				}
				if (!result)
					model_store(&staged, from, to, (void *)value, NULL);
			}
			failed = counting_memory_failed(&manual.memory);
			before = manual.memory.allocated.word;
			counting_memory_grant(&manual.memory, 0);
			if (rng_one_in(&world.rng, 4)) {
				cleave_abort(&txn);
			} else {
				cleave_commit(&txn, NULL);
				model_copy(&world.model, &staged);
			}
			CHECK(counting_memory_failed(&manual.memory) == failed &&
				      manual.memory.allocated.word == before,
			      "the end of a transaction allocates");
			counting_memory_grant(&manual.memory, GRANT_ALL);
			world_compare(&world);
		}
		model_free(&staged);
		world_stop(&world);
		manual_stop(&manual);
	}
	printf("%llu failures\n", (unsigned long long)failures);
	assert_true(failures > 100);
}

static void an_init_that_fails_leaves_nothing(void **state)
{
	struct manual_domain manual;
	struct cleave index;

	(void)state;
	manual_start(&manual, GRACE_ON_DEMAND, NULL, 1000);
	counting_memory_grant(&manual.memory, 0);
	assert_int_equal(cleave_init(&index, &manual.self), -ENOMEM);
	counting_memory_grant(&manual.memory, GRANT_ALL);
	assert_int_equal(cleave_init(&index, &manual.self), 0);
	cleave_destroy(&index, &manual.self);
	manual_stop(&manual);
}

static void a_reserve_that_fails_changes_nothing(void **state)
{
	struct manual_domain manual;
	struct world world;

	(void)state;
	manual_start(&manual, GRACE_ON_DEMAND, NULL, 1000);
	world_start(&world, &manual.domain, &manual.self, &keyspaces[2], test_seed());
	for (uint64_t grant = 0;; grant++) {
		int result;

		CHECK(grant < MOST, "still failing");
		forget_caches(&manual);
		counting_memory_grant(&manual.memory, grant);
		result = cleave_reserve(&manual.self, 4);
		counting_memory_grant(&manual.memory, GRANT_ALL);
		world_compare(&world);
		if (!result)
			break;
		assert_int_equal(result, -ENOMEM);
	}
	world_stop(&world);
	manual_stop(&manual);
}

/* An index of leaves that have 12 entries of 16 addresses each. */
static void build_full(struct cleave *index, struct manual_domain *manual, size_t leaves)
{
	size_t n = 12 * leaves;
	struct cleave_entry *entries = calloc(n, sizeof(*entries));

	assert_non_null(entries);
	for (size_t i = 0; i < n; i++)
		entries[i] = (struct cleave_entry){ i * 16, i * 16 + 15, (void *)(i + 1) };
	assert_int_equal(cleave_init(index, &manual->self), 0);
	assert_int_equal(cleave_build(index, &manual->self, entries, n), 0);
	free(entries);
	forget_caches(manual);
}

/* Puts over borders of full leaves, far apart, are the most expensive ones. */
static void what_was_reserved_is_enough(void **state)
{
	(void)state;
	for (unsigned int puts = 1; puts <= 3; puts++) {
		struct manual_domain manual;
		struct cleave index;
		struct cleave_txn txn;
		uint64_t allocated;

		manual_start(&manual, GRACE_ON_DEMAND, NULL, 1000000);
		build_full(&index, &manual, 3200);
		allocated = manual.memory.allocated.word;
		assert_int_equal(cleave_reserve(&manual.self, puts), 0);
		allocated = manual.memory.allocated.word - allocated;
		assert_true(allocated <= puts * (11 + 66)); /* as cleave.h says */
		assert_true(puts > 1 || allocated == 11 + 66);
		counting_memory_grant(&manual.memory, 0);
		assert_int_equal(cleave_begin(&txn, &index, &manual.self, 0, CLEAVE_LAST), 0);
		for (uint64_t p = 0; p < puts; p++) {
			uint64_t leaf = 100 + p * 1000;

			assert_int_equal(cleave_put(&txn, 192 * leaf, 192 * (leaf + 3) - 1, NULL), 0);
		}
		cleave_commit(&txn, NULL);
		assert_int_equal(counting_memory_failed(&manual.memory), 0);
		check_index(&index);
		counting_memory_grant(&manual.memory, GRANT_ALL);
		cleave_destroy(&index, &manual.self);
		manual_stop(&manual);
	}
}

/* A leaf that runs out of cells again and again is divided if there are nodes for that, and copied if there are not. */
static void a_leaf_that_cannot_be_divided_is_copied(void **state)
{
	struct manual_domain manual;
	struct cleave index;
	uint64_t at = 96 * 16;
	unsigned int done = 0;
	int error = 0;

	(void)state;
	manual_start(&manual, GRACE_ON_DEMAND, NULL, 1000000);
	build_full(&index, &manual, 50);
	assert_int_equal(cleave_store(&index, &manual.self, at, at + 63, &index, NULL), 0); /* leaves 9 cells */
	forget_caches(&manual);
	counting_memory_grant(&manual.memory, 40); /* enough for some leaves, not for all the branches of a division */
	for (; !error && done < 200; done++)
		error = done % 2 ? cleave_unclip(&index, &manual.self, at + 5)
				 : cleave_clip(&index, &manual.self, at + 5);
	/* A copy takes one leaf, and lasts for three clips. */
	CHECK(done > 20, "only %u changes with 40 nodes: error %d", done, error);
	counting_memory_grant(&manual.memory, GRANT_ALL);
	check_index(&index);
	cleave_destroy(&index, &manual.self);
	manual_stop(&manual);
}

static void a_build_that_fails_leaves_the_index_empty(void **state)
{
	struct cleave_entry entry[500];
	struct manual_domain manual;
	struct world world;
	uint64_t grant;

	(void)state;
	manual_start(&manual, GRACE_ON_DEMAND, NULL, 1000);
	world_start(&world, &manual.domain, &manual.self, &keyspaces[2], test_seed());
	for (uint64_t i = 0; i < 500; i++)
		entry[i] = (struct cleave_entry){ 7 * i, 7 * i + rng_below(&world.rng, 7), &manual };
	for (grant = 0;; grant++) {
		int result;

		CHECK(grant < MOST, "still failing");
		forget_caches(&manual);
		counting_memory_grant(&manual.memory, grant);
		result = cleave_build(&world.index, &manual.self, entry, 500);
		counting_memory_grant(&manual.memory, GRANT_ALL);
		if (!result)
			break;
		assert_int_equal(result, -ENOMEM);
		world_compare(&world);
	}
	assert_true(grant > 20);
	for (size_t i = 0; i < 500; i++)
		model_store(&world.model, entry[i].first, entry[i].last, entry[i].value, NULL);
	world_compare(&world);
	world_stop(&world);
	manual_stop(&manual);
}

struct balance {
	struct cleave_copier copier;
	int64_t values;
};

static int copy_value(struct cleave_copier *copier, const struct cleave_entry *entry, void **value)
{
	((struct balance *)copier)->values++;
	*value = entry->value;
	return 0;
}

static void undo_value(struct cleave_copier *copier, const struct cleave_entry *made)
{
	(void)made;
	((struct balance *)copier)->values--;
}

static void a_duplicate_that_fails_undoes_its_copies(void **state)
{
	struct balance balance = { { copy_value, undo_value }, 0 };
	struct manual_domain manual;
	struct world from, to;
	uint64_t grant;

	(void)state;
	manual_start(&manual, GRACE_ON_DEMAND, NULL, UINT64_C(1) << 40);
	world_start(&from, &manual.domain, &manual.self, &keyspaces[2], test_seed());
	world_start(&to, &manual.domain, &manual.self, &keyspaces[2], 1);
	for (int i = 0; i < 400; i++)
		world_step(&from);
	for (grant = 0;; grant++) {
		int result;

		CHECK(grant < MOST, "still failing");
		forget_caches(&manual);
		counting_memory_grant(&manual.memory, grant);
		result = cleave_duplicate(&to.index, &from.index, &manual.self, &balance.copier);
		counting_memory_grant(&manual.memory, GRANT_ALL);
		if (!result)
			break;
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(balance.values, 0);
		world_compare(&to);
		check_index(&from.index);
	}
	assert_int_equal(balance.values, (int64_t)model_entries(&from.model));
	world_compare(&from);
	model_copy(&to.model, &from.model);
	world_compare(&to);
	world_stop(&from);
	world_stop(&to);
	manual_stop(&manual);
}

/*
 * A leaf's cells that wait become clean, whatever the memory says: a put that only lacks cells is refused until then,
 * not for ever.  Whether the port has a word that tells of grace periods, and whether anybody else wants one, is the
 * same.
 */
static void a_held_put_without_memory_gets_its_cells(void **state)
{
	enum { CELLS = 12, FIRST = 1000, MIDDLES = 10, TRIES = 200 };
	struct rng rng = { .state = test_seed() };
	uint64_t refused[4] = { 0 };

	(void)state;
	for (uint64_t round = test_scaled(4000); round; round--) {
		const bool has_word = round & 1, pushed = round & 2;
		bool cut[MIDDLES] = { false };
		unsigned int live = 3, tries = 0;
		struct cleave_word ended = { 0 };
		struct manual_domain manual;
		struct cleave_hold hold;
		struct cleave index;
		int result;

		check_context("seed %#llx, %llu left", (unsigned long long)test_seed(), (unsigned long long)round);
		manual_start(&manual, pushed ? GRACE_LATE : GRACE_ON_DEMAND, NULL, UINT64_C(1) << 40);
		manual.domain.done = has_word ? &ended : NULL;
		forget_caches(&manual);
		assert_int_equal(cleave_init(&index, &manual.self), 0);
		assert_int_equal(cleave_store(&index, &manual.self, FIRST, FIRST + 10 * MIDDLES - 1, &index, NULL), 0);
		counting_memory_grant(&manual.memory, 0);
		forget_caches(&manual);
		for (uint64_t n = rng_below(&rng, 40); n; n--) {
			uint64_t i = 1 + rng_below(&rng, MIDDLES - 1), at = FIRST + 10 * i;

			result = cut[i] ? cleave_unclip(&index, &manual.self, at)
					: cleave_clip(&index, &manual.self, at);
			if (!result) {
				live += cut[i] ? -1u : 1u;
				cut[i] = !cut[i];
			}
			if (rng_one_in(&rng, 8))
				cleave_grace_wait(&manual.self, cleave_grace_cookie(&manual.self));
			ended.word = manual.ended;
		}
		for (result = -ENOMEM; live + 2 <= CELLS && result; tries++) {
			cleave_hold_begin(&hold, &index, &manual.self, FIRST);
			result = cleave_hold_put(&hold, FIRST, FIRST + 2, &manual);
			cleave_hold_end(&hold);
			CHECK(!result || (result == -ENOMEM && tries < TRIES), "refused for ever: %d", result);
			if (!pushed)
				cleave_grace_wait(&manual.self, cleave_grace_cookie(&manual.self));
			ended.word = manual.ended;
		}
		refused[round & 3] += tries > 1;
		counting_memory_grant(&manual.memory, GRANT_ALL);
		check_index(&index);
		cleave_destroy(&index, &manual.self);
		manual_stop(&manual);
	}
	for (unsigned int i = 0; i < 4; i++)
		CHECK(refused[i] > 0, "no put was refused: %u", i);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_init_that_fails_leaves_nothing),
		cmocka_unit_test(a_reserve_that_fails_changes_nothing),
		cmocka_unit_test(what_was_reserved_is_enough),
		cmocka_unit_test(a_leaf_that_cannot_be_divided_is_copied),
		cmocka_unit_test(a_build_that_fails_leaves_the_index_empty),
		cmocka_unit_test(a_duplicate_that_fails_undoes_its_copies),
		cmocka_unit_test(changes_that_fail_change_nothing),
		cmocka_unit_test(a_transaction_survives_failing_puts),
		cmocka_unit_test(failed_puts_between_two_others_need_no_nodes),
		cmocka_unit_test(a_held_put_without_memory_gets_its_cells),
	};

	return RUN_TESTS(tests, argc, argv);
}
