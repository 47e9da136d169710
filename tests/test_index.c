/* SPDX-License-Identifier: ISC */
/* The index against the model, one thread. */
#include "world.h"

/* As README.md and doc/porting.md say. */
_Static_assert(sizeof(struct cleave) == 128 && sizeof(struct cleave_thread) == 432, "sizes");
_Static_assert(sizeof(struct cleave_txn) == 800 && sizeof(struct cleave_hold) == 864, "sizes");

/* Every distribution of addresses, in a domain whose grace periods come as told. */
static void differential(enum grace grace, uint64_t steps)
{
	uint64_t seed = test_seed(), edges = 0;

	for (size_t i = 0; i < nkeyspaces; i++) {
		struct manual_domain manual;
		struct world world;

		manual_start(&manual, grace, NULL, 1000);
		world_start(&world, &manual.domain, &manual.self, &keyspaces[i], seed + i);
		for (uint64_t n = test_scaled(steps); n; n--) {
			world_step(&world);
			world_ask(&world);
			if (rng_one_in(&world.rng, 1 + 2 * world.model.count))
				world_compare(&world);
		}
		world_compare(&world);
		CHECK(world.refused <= world.tried / 2, "try forms refused %llu times of %llu",
		      (unsigned long long)world.refused, (unsigned long long)world.tried);
		edges += world.edges;
		world_stop(&world);
		manual_stop(&manual);
	}
	CHECK(edges >= test_scaled(steps) / 200, "only %llu allocations at the edge of the last one",
	      (unsigned long long)edges);
}

static void agrees_with_the_model_when_cells_are_reused_at_once(void **state)
{
	(void)state;
	differential(GRACE_AT_ONCE, 100000);
}

static void agrees_with_the_model_when_grace_periods_are_late(void **state)
{
	(void)state;
	differential(GRACE_LATE, 100000);
}

static void agrees_with_the_model_when_only_waiting_ends_grace_periods(void **state)
{
	(void)state;
	differential(GRACE_ON_DEMAND, 100000);
}

/* Short lives: most trees are small, and every step is compared in full. */
static void agrees_with_the_model_after_each_of_few_steps(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (uint64_t n = test_scaled(3000); n; n--) {
		struct manual_domain manual;
		struct world world;

		manual_start(&manual, (enum grace)(n % 3), NULL, 10);
		world_start(&world, &manual.domain, &manual.self, &keyspaces[n % nkeyspaces], seed + n);
		for (uint64_t steps = 1 + rng_below(&world.rng, 60); steps; steps--) {
			world_step(&world);
			world_compare(&world);
		}
		world_stop(&world);
		manual_stop(&manual);
	}
}

/* Grow to a deep tree, then shrink it to nothing: nodes must go too. */
static void shrinks_with_its_contents(void **state)
{
	struct manual_domain manual;
	struct cleave_statistics full, empty;
	struct cleave index;
	const uint64_t n = test_scaled(20000);

	(void)state;
	manual_start(&manual, GRACE_AT_ONCE, NULL, 1000);
	assert_int_equal(cleave_init(&index, &manual.self), 0);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(cleave_insert(&index, &manual.self, 4 * i, 4 * i + 1, &index, NULL), 0);
	check_index(&index);
	manual_enter(&manual);
	cleave_statistics_rcu(&index, &full);
	manual_leave(&manual);
	assert_int_equal(full.entries, n);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(cleave_erase(&index, &manual.self, 4 * i, 4 * i + 1, NULL), 0);
	check_index(&index);
	manual_enter(&manual);
	cleave_statistics_rcu(&index, &empty);
	manual_leave(&manual);
	assert_int_equal(empty.entries, 0);
	assert_int_equal(empty.gaps, 1);
	assert_true(empty.leaves < 1 + full.leaves / 8);
	cleave_destroy(&index, &manual.self);
	manual_stop(&manual);
}

/*
 * The end of a hold merges a leaf that its erasure left small; but while the thread holds more, it locks nothing: that
 * would be out of the order in which indexes are begun.
 */
static void a_hold_that_ends_inside_a_transaction_merges_nothing(void **state)
{
	struct cleave_entry entries[13];
	struct manual_domain manual;

	(void)state;
	for (unsigned int i = 0; i < 13; i++)
		entries[i] = (struct cleave_entry){ 10 * i, 10 * i + 9, entries };
	manual_start(&manual, GRACE_AT_ONCE, NULL, 1000);
	for (unsigned int within = 0; within < 2; within++) {
		struct cleave index, other;
		struct cleave_hold hold;
		struct cleave_txn txn;
		uint64_t merges;

		/* twelve entries | one and a gap;  then seven cells | two */
		assert_int_equal(cleave_init(&index, &manual.self), 0);
		assert_int_equal(cleave_init(&other, &manual.self), 0);
		assert_int_equal(cleave_build(&index, &manual.self, entries, 13), 0);
		assert_int_equal(cleave_erase(&index, &manual.self, 10, 69, NULL), 0);
		merges = manual.self.counters.merges;
		cleave_hold_begin(&hold, &index, &manual.self, 125);
		if (within)
			assert_int_equal(cleave_begin(&txn, &other, &manual.self, 0, 9), 0);
		assert_int_equal(cleave_hold_erase(&hold, 125, 129), 0);
		cleave_hold_end(&hold);
		if (within)
			cleave_abort(&txn);
		assert_int_equal(manual.self.counters.merges - merges, !within);
		check_index(&index);
		cleave_destroy(&index, &manual.self);
		cleave_destroy(&other, &manual.self);
	}
	manual_stop(&manual);
}

/*
 * An erasure inside the held entry only; and where a gap might lie over the border, only if one can look at the leaf
 * there.
 */
static void a_held_entry_is_erased_only_if_all_of_it_is_known(void **state)
{
	struct cleave_entry entries[13];
	struct cleave_hold below, hold;
	struct manual_domain manual;
	struct cleave_thread other;
	struct cleave index;

	(void)state;
	for (unsigned int i = 0; i < 13; i++)
		entries[i] = (struct cleave_entry){ 10 * i, 10 * i + 9, entries };
	manual_start(&manual, GRACE_AT_ONCE, NULL, 1000);
	assert_int_equal(cleave_init(&index, &manual.self), 0);
	assert_int_equal(cleave_build(&index, &manual.self, entries, 13), 0); /* twelve | one and a gap */
	cleave_thread_init(&other, &manual.domain);
	cleave_hold_begin(&below, &index, &other, 110);
	cleave_hold_begin(&hold, &index, &manual.self, 120);
	assert_int_equal(cleave_hold_erase(&hold, 119, 129), -EINVAL);
	assert_int_equal(cleave_hold_erase(&hold, 125, 130), -EINVAL);
	assert_int_equal(cleave_hold_erase(&hold, 120, 125), -EAGAIN); /* the leaf below is locked */
	cleave_hold_end(&below);
	assert_int_equal(cleave_hold_erase(&hold, 120, 125), 0);
	assert_int_equal(cleave_hold_erase(&hold, 126, 127), -EINVAL); /* once */
	cleave_hold_end(&hold);
	cleave_hold_begin(&hold, &index, &manual.self, 122);
	assert_int_equal(cleave_hold_erase(&hold, 122, 122), -EINVAL); /* a gap */
	cleave_hold_end(&hold);
	check_index(&index);
	cleave_thread_exit(&other);
	cleave_destroy(&index, &manual.self);
	manual_stop(&manual);
}

/* A hold begins at the leaf of the thread's last one, but not at one of an index that stood at the same address. */
static void a_hold_begins_in_no_index_that_is_gone(void **state)
{
	struct cleave_entry entries[40];
	struct manual_domain manual;
	struct cleave_hold hold;
	struct cleave index;

	(void)state;
	for (unsigned int i = 0; i < 40; i++)
		entries[i] = (struct cleave_entry){ 10 * i, 10 * i + 9, entries };
	manual_start(&manual, GRACE_ON_DEMAND, NULL, 1000);
	for (unsigned int built = 1; built < 3; built++) {
		assert_int_equal(cleave_init(&index, &manual.self), 0);
		assert_int_equal(cleave_build(&index, &manual.self, entries, 40 / built), 0);
		for (uint64_t at = 130; at < 200; at++) {
			cleave_hold_begin(&hold, &index, &manual.self, at);
			assert_int_equal(hold.entry.first, at / 10 * 10);
			assert_int_equal(hold.entry.last, at / 10 * 10 + 9);
			cleave_hold_end(&hold);
		}
		cleave_destroy(&index, &manual.self);
	}
	assert_int_equal(cleave_init(&index, &manual.self), 0);
	cleave_hold_begin(&hold, &index, &manual.self, 199);
	assert_null(hold.entry.value);
	assert_int_equal(hold.entry.first, 0);
	assert_true(hold.entry.last == UINT64_MAX);
	cleave_hold_end(&hold);
	check_index(&index);
	cleave_destroy(&index, &manual.self);
	manual_stop(&manual);
}

/*
 * Who cuts an entry from below upward, a part after the other, copies no leaf for want of clean cells, and finds room
 * to change the parts again.  No grace period ends meanwhile.
 */
static void cuts_from_below_upward_leave_room(void **state)
{
	struct cleave_entry whole = { 1000, 4999, &whole };
	struct manual_domain manual;

	(void)state;
	for (unsigned int step = 1; step <= 2; step++) {
		uint64_t values[3], last = whole.last - step;
		const struct cleave_counters *counters = &manual.self.counters;
		struct cleave index;

		manual_start(&manual, GRACE_ON_DEMAND, NULL, UINT32_MAX);
		assert_int_equal(cleave_init(&index, &manual.self), 0);
		assert_int_equal(cleave_build(&index, &manual.self, &whole, 1), 0);
		/* Parts of one address; with step 2 a rest remains between them. */
		for (unsigned int round = 0; round < 2; round++) {
			for (uint64_t at = whole.first + step - 1; at <= last; at += step) {
				void *value = round ? &values[2] : &values[at / step & 1];
				struct cleave_hold hold;

				cleave_hold_begin(&hold, &index, &manual.self, at);
				assert_int_equal(cleave_hold_put(&hold, at, at, value), 0);
				cleave_hold_end(&hold);
			}
			if (round == 0)
				assert_int_equal(counters->copies, 0);
			check_index(&index);
		}
		/* Each leaf takes the second round's changes, but for some at the branches' ends. */
		assert_true(counters->copies <= counters->splits / 10);
		assert_true(counters->splits <= 4000 / 6 + 1);
		/* Batches of nodes wait, the first node of each as well as the others. */
		assert_true(counters->retired > 100);
		assert_int_equal(counters->reuses, 0);
		cleave_destroy(&index, &manual.self);
		manual_stop(&manual);
	}
}

/* Gaps among what was cut off, and the one above what remains, stay where they are, and no bound is too low. */
static void gaps_stay_beside_what_is_cut_off(void **state)
{
	struct cleave_entry whole = { 1000, 4999, &whole }, entry;
	struct manual_domain manual;
	struct cleave index;
	int part;

	(void)state;
	manual_start(&manual, GRACE_ON_DEMAND, NULL, UINT32_MAX);
	assert_int_equal(cleave_init(&index, &manual.self), 0);
	assert_int_equal(cleave_build(&index, &manual.self, &whole, 1), 0);
	for (uint64_t at = whole.first; at < whole.last; at++) {
		struct cleave_hold hold;

		cleave_hold_begin(&hold, &index, &manual.self, at);
		assert_int_equal(cleave_hold_put(&hold, at, at, &part), 0);
		cleave_hold_end(&hold);
		if (at % 7 < 2)
			assert_int_equal(cleave_erase(&index, &manual.self, at, at, NULL), 0);
		check_index(&index);
	}
	manual_enter(&manual);
	for (uint64_t at = whole.first; at < whole.last; at++) {
		cleave_lookup_rcu(&index, at, &entry);
		assert_ptr_equal(entry.value, at % 7 < 2 ? NULL : &part);
	}
	manual_leave(&manual);
	cleave_destroy(&index, &manual.self);
	manual_stop(&manual);
}

/* Cut pages of one address off an entry, [first, end). */
static void cut_off(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t end)
{
	static int values[2];

	for (uint64_t at = first; at < end; at++) {
		struct cleave_hold hold;

		cleave_hold_begin(&hold, index, self, at);
		assert_int_equal(cleave_hold_put(&hold, at, at, &values[at & 1]), 0);
		cleave_hold_end(&hold);
	}
}

/* The nodes of a thread that has ended serve others, once their grace periods have passed. */
static void what_a_thread_leaves_behind_is_reused(void **state)
{
	struct cleave_entry whole = { 1000, 4999, &whole };
	struct manual_domain manual;
	const struct cleave_counters *counters = &manual.self.counters;
	struct cleave_thread other;
	struct cleave index;

	(void)state;
	manual_start(&manual, GRACE_ON_DEMAND, NULL, UINT32_MAX);
	assert_int_equal(cleave_init(&index, &manual.self), 0);
	assert_int_equal(cleave_build(&index, &manual.self, &whole, 1), 0);
	cleave_thread_init(&other, &manual.domain);
	cut_off(&index, &other, 1000, 2000);
	assert_true(other.counters.retired > 100);
	cleave_thread_exit(&other);
	cut_off(&index, &manual.self, 2000, 2050);
	assert_int_equal(counters->reuses, 0);
	assert_true(manual.self.old[0].count == 0); /* its own ones have no cookie yet */
	cleave_grace_wait(&manual.self, cleave_grace_cookie(&manual.self));
	cut_off(&index, &manual.self, 2050, 2070);
	assert_true(counters->reuses > 0);
	check_index(&index);
	cleave_destroy(&index, &manual.self);
	manual_stop(&manual);
}

/* ---- Corners ---- */

static struct manual_domain manual;
static struct world world;

static int corner_setup(void **state)
{
	static const struct keyspace any = { "corners", 0, 0, 1, 0 };

	(void)state;
	manual_start(&manual, GRACE_LATE, NULL, 100);
	world_start(&world, &manual.domain, &manual.self, &any, 1);
	return 0;
}

static int corner_teardown(void **state)
{
	(void)state;
	world_compare(&world);
	world_stop(&world);
	manual_stop(&manual);
	return 0;
}

static void follow(const struct operation *operation)
{
	struct outcome outcome;
	char text[400];

	operation_print(operation, text, sizeof(text));
	check_context("%s", text);
	world_call(&world, operation, &outcome);
	world_follow(&world, operation, &outcome);
	displaced_free(&outcome.displaced);
	world_compare(&world);
}

static void store(uint64_t first, uint64_t last, void *value)
{
	follow(&(struct operation){ .call = CALL_STORE, .first = first, .last = last, .value = value });
}

static void insert(uint64_t first, uint64_t last, void *value)
{
	follow(&(struct operation){ .call = CALL_INSERT, .first = first, .last = last, .value = value });
}

static void clip(uint64_t addr)
{
	follow(&(struct operation){ .call = CALL_CLIP, .first = addr, .last = addr });
}

static void unclip(uint64_t addr)
{
	follow(&(struct operation){ .call = CALL_UNCLIP, .first = addr, .last = addr });
}

static void *const A = (void *)0x10, *const B = (void *)0x21;

static void empty_index_is_one_gap_over_all_addresses(void **state)
{
	struct cleave_entry entry;

	(void)state;
	manual_enter(&manual);
	assert_null(cleave_lookup_rcu(&world.index, 12345, &entry));
	manual_leave(&manual);
	assert_int_equal(entry.first, 0);
	assert_int_equal(entry.last, CLEAVE_LAST);
	assert_null(entry.value);
	clip(0);
	clip(5);
	clip(CLEAVE_LAST);
	unclip(0);
	unclip(CLEAVE_LAST);
	store(0, CLEAVE_LAST, NULL);
	store(7, 9, NULL);
}

static void one_entry_can_hold_all_addresses(void **state)
{
	(void)state;
	insert(0, CLEAVE_LAST, A);
	insert(3, 3, B);
	clip(0);
	clip(CLEAVE_LAST);
	clip(1);
	unclip(1);
	unclip(CLEAVE_LAST);
	store(0, CLEAVE_LAST, B);
	store(0, CLEAVE_LAST, NULL);
}

static void entries_of_one_address_at_both_ends(void **state)
{
	(void)state;
	insert(0, 0, A);
	insert(CLEAVE_LAST, CLEAVE_LAST, B);
	insert(1, CLEAVE_LAST - 1, A);
	unclip(1);
	unclip(CLEAVE_LAST);
	store(0, 0, NULL);
	store(CLEAVE_LAST, CLEAVE_LAST, NULL);
	store(0, 0, B);
	store(CLEAVE_LAST, CLEAVE_LAST, A);
	store(1, CLEAVE_LAST - 1, NULL);
	store(0, CLEAVE_LAST, NULL);
}

static void adjacent_entries_stay_apart_and_gaps_join(void **state)
{
	(void)state;
	insert(10, 19, A);
	insert(20, 29, A);
	insert(30, 39, A);
	insert(9, 10, B);
	insert(39, 40, B);
	unclip(20);
	unclip(30);
	unclip(40);
	clip(25);
	store(20, 29, NULL);
	store(10, 19, NULL);
	store(30, 39, NULL);
}

static void a_store_inside_an_entry_leaves_both_ends(void **state)
{
	(void)state;
	insert(100, 199, A);
	store(140, 159, B);
	store(150, 150, A);
	store(100, 100, B);
	store(199, 199, B);
	store(150, 150, NULL);
	store(100, 100, NULL);
	store(199, 199, NULL);
	store(90, 210, B);
}

static void every_split_of_a_full_row_of_pages(void **state)
{
	(void)state;
	store(0, 99, A);
	for (uint64_t addr = 0; addr <= 100; addr++)
		clip(addr);
	for (uint64_t addr = 0; addr <= 100; addr += 2)
		unclip(addr);
	for (uint64_t addr = 1; addr <= 100; addr += 3)
		store(addr, addr, NULL);
	for (uint64_t addr = 101; addr--;)
		unclip(addr);
	for (uint64_t addr = 101; addr--;)
		store(addr, addr, addr & 1 ? B : NULL);
}

/* ---- Bad input ---- */

static void inverted_ranges_and_null_values_change_nothing(void **state)
{
	struct cleave_entry expected = { 50, 59, A };
	struct cleave_entry bad = { 1, 2, B };
	struct cleave_txn txn;

	(void)state;
	insert(50, 59, A);
	assert_int_equal(cleave_insert(&world.index, world.self, 6, 5, A, &bad), -EINVAL);
	assert_int_equal(cleave_insert(&world.index, world.self, CLEAVE_LAST, 0, A, NULL), -EINVAL);
	assert_int_equal(cleave_insert(&world.index, world.self, 5, 6, NULL, &bad), -EINVAL);
	assert_int_equal(cleave_insert(&world.index, world.self, 55, 56, NULL, NULL), -EINVAL);
	assert_int_equal(cleave_store(&world.index, world.self, 56, 55, A, NULL), -EINVAL);
	assert_int_equal(cleave_store(&world.index, world.self, CLEAVE_LAST, 0, NULL, NULL), -EINVAL);
	assert_int_equal(cleave_erase(&world.index, world.self, 56, 55, NULL), -EINVAL);
	assert_int_equal(cleave_replace_if(&world.index, world.self, &expected, NULL), -EINVAL);
	expected.value = NULL;
	assert_int_equal(cleave_replace_if(&world.index, world.self, &expected, A), -EINVAL);
	expected = (struct cleave_entry){ 59, 50, A };
	assert_int_equal(cleave_replace_if(&world.index, world.self, &expected, B), -EINVAL);
	assert_int_equal(expected.first, 59);
	assert_int_equal(cleave_begin(&txn, &world.index, world.self, 2, 1), -EINVAL);
	assert_int_equal(cleave_covers(&world.index, world.self, 2, 1, NULL, NULL, NULL), -EINVAL);
	manual_enter(&manual);
	assert_int_equal(cleave_try_begin_rcu(&txn, &world.index, world.self, 2, 1), -EINVAL);
	assert_int_equal(cleave_try_store_rcu(&world.index, world.self, 2, 1, A), -EINVAL);
	assert_int_equal(cleave_try_replace_if_rcu(&world.index, world.self, &expected, B), -EINVAL);
	assert_int_equal(cleave_covers_rcu(&world.index, 2, 1, NULL, NULL, NULL, NULL, 0), -EINVAL);
	manual_leave(&manual);
	assert_int_equal(bad.first, 1);
}

static void puts_outside_of_the_transaction_are_refused(void **state)
{
	struct cleave_txn txn;

	(void)state;
	insert(50, 59, A);
	assert_int_equal(cleave_begin(&txn, &world.index, world.self, 40, 60), 0);
	assert_int_equal(cleave_put(&txn, 39, 41, B), -EINVAL);
	assert_int_equal(cleave_put(&txn, 60, 61, B), -EINVAL);
	assert_int_equal(cleave_put(&txn, 0, CLEAVE_LAST, NULL), -EINVAL);
	assert_int_equal(cleave_put(&txn, 10, 20, B), -EINVAL);
	assert_int_equal(cleave_put(&txn, 61, 70, B), -EINVAL);
	assert_int_equal(cleave_put(&txn, 51, 50, B), -EINVAL);
	cleave_commit(&txn, NULL);
}

static void impossible_gap_requests_are_refused(void **state)
{
	static const struct cleave_request bad[] = {
		{ .size = 0, .max = CLEAVE_LAST },
		{ .size = 1, .align = 3, .max = CLEAVE_LAST },
		{ .size = 1, .align = 6, .max = CLEAVE_LAST },
		{ .size = 1, .align = 8, .phase = 8, .max = CLEAVE_LAST },
		{ .size = 1, .align = 0, .phase = 1, .max = CLEAVE_LAST },
		{ .size = 1, .align = 1, .phase = 1, .max = CLEAVE_LAST },
		{ .size = 1, .min = 2, .max = 1 },
		{ .size = 1, .align = CLEAVE_LAST, .max = CLEAVE_LAST },
	};
	struct cleave_request nowhere = { .order = (enum cleave_order)(CLEAVE_BEST + 1), .size = 1,
					  .max = CLEAVE_LAST };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (int order = CLEAVE_LOWEST; order <= CLEAVE_BEST; order++) {
			struct cleave_request request = bad[i];
			uint64_t addr = 77;

			request.order = (enum cleave_order)order;
			check_context("request %zu, order %d", i, order);
			manual_enter(&manual);
			assert_int_equal(cleave_find_gap_rcu(&world.index, &request, &addr), -EINVAL);
			manual_leave(&manual);
			assert_int_equal(cleave_alloc(&world.index, world.self, &request, A, &addr), -EINVAL);
		}
	assert_int_equal(cleave_alloc(&world.index, world.self, &(struct cleave_request){ .size = 1, .max = 9 }, NULL,
				      &(uint64_t){ 0 }),
			 -EINVAL);
	assert_int_equal(cleave_alloc(&world.index, world.self, &nowhere, A, &(uint64_t){ 0 }), -EINVAL);
}

static void each_index_of_a_domain_is_its_own(void **state)
{
	struct cleave other;
	struct cleave_entry entry;

	(void)state;
	assert_int_equal(cleave_init(&other, world.self), 0);
	insert(10, 19, A);
	assert_int_equal(cleave_insert(&other, world.self, 15, 25, B, NULL), 0);
	manual_enter(&manual);
	assert_ptr_equal(cleave_lookup_rcu(&other, 15, &entry), B);
	assert_null(cleave_lookup_rcu(&other, 10, &entry));
	assert_ptr_equal(cleave_lookup_rcu(&world.index, 15, &entry), A);
	manual_leave(&manual);
	cleave_destroy(&other, world.self);
}

static void count_line(struct cleave_lines *lines, const char *text)
{
	struct {
		struct cleave_lines lines;
		size_t count;
	} *counter = (void *)lines;

	assert_null(strchr(text, '\n'));
	counter->count++;
}

static void dump_prints_a_line_for_each_entry(void **state)
{
	struct {
		struct cleave_lines lines;
		size_t count;
	} counter = { { count_line }, 0 };
	size_t entries;

	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(cleave_insert(&world.index, world.self, 10 * i, 10 * i + 4, A, NULL), 0);
	manual_enter(&manual);
	cleave_dump_rcu(&world.index, &counter.lines, false);
	entries = counter.count;
	assert_true(entries >= 100);
	cleave_dump_rcu(&world.index, &counter.lines, true);
	manual_leave(&manual);
	assert_true(counter.count > 2 * entries);
	for (uint64_t i = 0; i < 100; i++)
		model_store(&world.model, 10 * i, 10 * i + 4, A, NULL);
}

/* ---- Thread records ---- */

static void a_reserve_serves_the_next_puts_without_allocation(void **state)
{
	(void)state;
	assert_int_equal(cleave_reserve(world.self, 8), 0);
	counting_memory_grant(&manual.memory, 0);
	for (uint64_t i = 0; i < 8; i++)
		insert(100 * i, 100 * i + 9, A);
	counting_memory_grant(&manual.memory, GRANT_ALL);
	assert_int_equal(counting_memory_failed(&manual.memory), 0);
}

/* A ticket says whether what a lookup saw still holds. */
static void tickets_end_with_what_they_saw(void **state)
{
	struct cleave_ticket ticket;
	struct cleave_entry entry;
	int result;

	(void)state;
	insert(10, 19, A);
	assert_int_equal(cleave_reserve(world.self, 8), 0);
	manual_enter(&manual);
	assert_ptr_equal(cleave_lookup_ticket_rcu(&world.index, 12, &entry, &ticket), A);
	assert_true(cleave_ticket_valid_rcu(&ticket));
	result = cleave_try_store_rcu(&world.index, world.self, 11, 13, B);
	assert_int_equal(result, 0);
	assert_false(cleave_ticket_valid_rcu(&ticket));

	/* There and back again is a change as well. */
	assert_ptr_equal(cleave_lookup_ticket_rcu(&world.index, 12, &entry, &ticket), B);
	assert_int_equal(cleave_try_store_rcu(&world.index, world.self, 11, 13, A), 0);
	assert_int_equal(cleave_try_store_rcu(&world.index, world.self, 11, 13, B), 0);
	assert_false(cleave_ticket_valid_rcu(&ticket));
	manual_leave(&manual);
	model_store(&world.model, 11, 13, B, NULL);
}

#define CORNER(test) cmocka_unit_test_setup_teardown(test, corner_setup, corner_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CORNER(empty_index_is_one_gap_over_all_addresses),
		CORNER(one_entry_can_hold_all_addresses),
		CORNER(entries_of_one_address_at_both_ends),
		CORNER(adjacent_entries_stay_apart_and_gaps_join),
		CORNER(a_store_inside_an_entry_leaves_both_ends),
		CORNER(every_split_of_a_full_row_of_pages),
		CORNER(inverted_ranges_and_null_values_change_nothing),
		CORNER(puts_outside_of_the_transaction_are_refused),
		CORNER(impossible_gap_requests_are_refused),
		CORNER(each_index_of_a_domain_is_its_own),
		CORNER(dump_prints_a_line_for_each_entry),
		CORNER(a_reserve_serves_the_next_puts_without_allocation),
		CORNER(tickets_end_with_what_they_saw),
		cmocka_unit_test(agrees_with_the_model_after_each_of_few_steps),
		cmocka_unit_test(agrees_with_the_model_when_cells_are_reused_at_once),
		cmocka_unit_test(agrees_with_the_model_when_grace_periods_are_late),
		cmocka_unit_test(agrees_with_the_model_when_only_waiting_ends_grace_periods),
		cmocka_unit_test(shrinks_with_its_contents),
		cmocka_unit_test(a_hold_that_ends_inside_a_transaction_merges_nothing),
		cmocka_unit_test(a_held_entry_is_erased_only_if_all_of_it_is_known),
		cmocka_unit_test(a_hold_begins_in_no_index_that_is_gone),
		cmocka_unit_test(cuts_from_below_upward_leave_room),
		cmocka_unit_test(gaps_stay_beside_what_is_cut_off),
		cmocka_unit_test(what_a_thread_leaves_behind_is_reused),
	};

	return RUN_TESTS(tests, argc, argv);
}
