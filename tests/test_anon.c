/* SPDX-License-Identifier: ISC */
/* The store's table of features, one test a row: s1 to s9, slots, windows, clones. */
#include "anon_one.h"

static uint64_t bytes_used(void)
{
	return world.manual.memory.bytes.word;
}

static void s1_creation_costs_the_same_for_any_size(void **state)
{
	static const uint64_t sizes[] = {
		1, 5, 33, 1000, UINT64_C(1) << 20, (UINT64_C(1) << 31) + 7, CLEAVE_ANON_SLOTS - 1, CLEAVE_ANON_SLOTS
	};
	uint64_t first_cost = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t before = bytes_used(), cost;
		struct cleave_anon *store = store_make(&world, sizes[i]);

		cost = bytes_used() - before;
		if (i == 0)
			first_cost = cost;
		assert_true(cost <= first_cost); /* less, where the index of windows reuses a leaf */
		assert_true(cost < 2048);
		assert_int_equal(cleave_anon_slots(store), sizes[i]);
		/* The first and the last slot are there, the next is not. */
		if (sizes[i] > 1)
			store_fill(&world, store, 0);
		store_fill(&world, store, sizes[i] - 1);
		assert_int_equal(store_count(&world, store), sizes[i] > 1 ? 2 : 1);
		assert_int_equal(cleave_anon_fill(world.context, store, sizes[i], NULL, NULL), -EINVAL);
		cleave_anon_unref(world.context, store);
		cleave_anon_flush(world.context);
	}
	assert_int_equal(cleave_anon_create(world.context, 0, &(struct cleave_anon *){ NULL }), -EINVAL);
	assert_int_equal(cleave_anon_create(world.context, CLEAVE_ANON_SLOTS + 1, &(struct cleave_anon *){ NULL }),
			 -EINVAL);
}

static void s2_lookups_see_absent_nodes_as_empty_and_stop_at_the_end(void **state)
{
	struct cleave_anon *store = store_make(&world, 1000);
	struct cleave_anon_page *anons[100], *a, *b;

	(void)state;
	assert_null(store_lookup(&world, store, 0));
	assert_null(store_lookup(&world, store, UINT64_MAX));
	a = store_fill(&world, store, 900);
	b = store_fill(&world, store, 999);
	assert_ptr_equal(store_lookup(&world, store, 900), a);
	assert_null(store_lookup(&world, store, 899));
	manual_enter(&world.manual);
	cleave_anon_lookups_rcu(store, 900, 100, anons);
	for (size_t i = 1; i < 99; i++)
		assert_null(anons[i]);
	assert_ptr_equal(anons[0], a);
	assert_ptr_equal(anons[99], b);
	cleave_anon_lookups_rcu(store, 998, 100, anons);
	assert_null(anons[0]);
	assert_ptr_equal(anons[1], b);
	for (size_t i = 2; i < 100; i++)
		assert_null(anons[i]);
	cleave_anon_lookups_rcu(store, 0, 100, anons);
	for (size_t i = 0; i < 100; i++)
		assert_null(anons[i]);
	manual_leave(&world.manual);
	/* Nobody's lock is in the way. */
	store->root_lock.word = 1;
	assert_ptr_equal(store_lookup(&world, store, 900), a);
	assert_int_equal(store_count(&world, store), 2);
	store->root_lock.word = 0;
	cleave_anon_unref(world.context, store);
}

static int try_fill(struct cleave_anon *store, uint64_t slot, struct cleave_anon_page *anon)
{
	int result;

	assert_int_equal(cleave_anon_guard(world.context, store, slot, slot), 0);
	result = cleave_anon_try_fill(world.context, store, slot, anon, NULL);
	cleave_anon_unguard(world.context);
	return result;
}

static void s3_a_second_fill_gets_the_winner(void **state)
{
	struct cleave_anon *store = store_make(&world, UINT64_C(1) << 30);
	struct cleave_anon_page *first = store_fill(&world, store, 77), *late = page_make(world.context, world.pages),
				*winner = NULL;

	(void)state;
	assert_int_equal(cleave_anon_fill(world.context, store, 77, late, &winner), -EEXIST);
	assert_ptr_equal(winner, first);
	cleave_anon_page_unpin(world.context, winner);
	assert_int_equal(cleave_anon_fill(world.context, store, 77, late, NULL), -EEXIST);
	/*
	 * Without nodes the try form fails and changes nothing, also where some are there; after prepare it does not.
	 */
	for (uint64_t far = 1;; far++) {
		struct cleave_anon_statistics before = store_statistics(&world, store), after;
		struct cleave_anon_page *anon = page_make(world.context, world.pages);
		int result = try_fill(store, far << 20, anon);

		if (!result)
			continue;
		assert_int_equal(result, -ENOMEM);
		assert_null(store_lookup(&world, store, far << 20));
		after = store_statistics(&world, store);
		assert_memory_equal(&before, &after, sizeof(before));
		cleave_anon_page_drop(world.context, anon);
		assert_int_equal(cleave_anon_prepare(world.context, store), 0);
		assert_int_equal(try_fill(store, far << 20, late), 0);
		assert_ptr_equal(store_lookup(&world, store, far << 20), late);
		break;
	}
	cleave_anon_unref(world.context, store);
}

static void s4_replace_compares_and_hands_back_the_old_share(void **state)
{
	struct cleave_anon *store = store_make(&world, 100);
	struct cleave_anon_page *old = store_fill(&world, store, 3), *fresh = page_make(world.context, world.pages),
				*other = page_make(world.context, world.pages);

	(void)state;
	assert_int_equal(cleave_anon_replace(world.context, store, 4, old, fresh), -ENOENT);
	assert_int_equal(cleave_anon_replace(world.context, store, 3, other, fresh), -EEXIST);
	assert_int_equal(cleave_anon_replace(world.context, store, 3, old, fresh), 0);
	assert_ptr_equal(store_lookup(&world, store, 3), fresh);
	/* The old one lives until its share is dropped. */
	cleave_anon_flush(world.context);
	assert_int_equal(cleave_anon_page_shares(old), 1);
	assert_int_equal(pages_live(world.pages), 3);
	cleave_anon_page_drop(world.context, old);
	cleave_anon_page_drop(world.context, other);
	cleave_anon_flush(world.context);
	assert_int_equal(pages_live(world.pages), 1);
	cleave_anon_unref(world.context, store);
}

static void s5_wipe_costs_what_is_populated(void **state)
{
	struct cleave_anon *store = store_make(&world, CLEAVE_ANON_SLOTS);
	struct cleave_anon_page *anon;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		store_fill(&world, store, 1000 + i * 7);
	store_fill(&world, store, CLEAVE_ANON_SLOTS - 1);
	assert_int_equal(cleave_anon_wipe(world.context, store, 5, 4), -EINVAL);
	assert_int_equal(cleave_anon_wipe(world.context, store, 1001, 1006), 0);
	assert_int_equal(store_count(&world, store), 1001);
	assert_int_equal(cleave_anon_wipe(world.context, store, 1007, 2000 + 7 * 100), 0);
	cleave_anon_flush(world.context);
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t slot = 1000 + i * 7;

		assert_int_equal(!store_lookup(&world, store, slot), slot >= 1007 && slot <= 2700);
	}
	assert_int_equal(pages_live(world.pages), store_count(&world, store));
	/* Half of the slots there are: as cheap as the handful that is populated. */
	assert_int_equal(cleave_anon_wipe(world.context, store, 0, CLEAVE_ANON_SLOTS / 2), 0);
	assert_int_equal(store_count(&world, store), 1);
	/* Removing one by one frees the nodes. */
	assert_int_equal(cleave_anon_remove(world.context, store, 4, &anon), -ENOENT);
	assert_int_equal(cleave_anon_remove(world.context, store, CLEAVE_ANON_SLOTS - 1, &anon), 0);
	cleave_anon_page_drop(world.context, anon);
	cleave_anon_flush(world.context);
	assert_int_equal(store_statistics(&world, store).bytes, 0);
	assert_int_equal(world.domain.nodes.word, world.context->nnodes); /* those kept for later */
	assert_int_equal(pages_live(world.pages), 0);
	/* At a cost for each slot of the range this would never end. */
	for (uint64_t i = 0; i < 1000; i++) {
		store_fill(&world, store, i << 25);
		store_fill(&world, store, CLEAVE_ANON_SLOTS - 1 - (i << 24));
		assert_int_equal(cleave_anon_wipe(world.context, store, 0, CLEAVE_ANON_SLOTS - 1), 0);
		assert_int_equal(store_count(&world, store), 0);
	}
	cleave_anon_unref(world.context, store);
}

static void s6_splitting_a_window_touches_no_slot(void **state)
{
	struct cleave_anon *store = store_make(&world, UINT64_C(1) << 18);
	struct cleave_anon_statistics before, after;
	uint64_t live;

	(void)state;
	assert_int_equal(store_window(&world, store, 0, (UINT64_C(1) << 18) - 1, 1), 0);
	for (uint64_t i = 0; i < 1000; i++)
		store_fill(&world, store, i * 200);
	cleave_anon_flush(world.context);
	before = store_statistics(&world, store);
	live = world.manual.memory.live.word;
	/* A clip is a second (store, first slot): one more reference, whatever the size. */
	for (int i = 0; i < 100; i++)
		cleave_anon_ref(store, false);
	after = store_statistics(&world, store);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(world.manual.memory.live.word, live);
	assert_int_equal(store_windows(&world, store, 12345), 1);
	for (int i = 0; i < 101; i++)
		cleave_anon_unref(world.context, store);
}

static void s7_slots_without_a_window_are_freed_at_once(void **state)
{
	struct cleave_anon *store = store_make(&world, 10000);
	struct cleave_anon_change change;
	struct cleave_statistics statistics;

	(void)state;
	assert_int_equal(store_window(&world, store, 0, 9999, 1), 0);
	for (uint64_t i = 0; i < 10000; i += 10)
		store_fill(&world, store, i);
	assert_int_equal(store_window(&world, store, 1000, 1999, 1), 0);
	assert_int_equal(store_window(&world, store, 500, 1499, -1), 0);
	assert_int_equal(store_windows(&world, store, 499), 1);
	assert_int_equal(store_windows(&world, store, 500), 0);
	assert_int_equal(store_windows(&world, store, 1000), 1);
	assert_int_equal(store_windows(&world, store, 1999), 2);
	cleave_anon_flush(world.context);
	assert_int_equal(pages_live(world.pages), 950);
	assert_int_equal(store_count(&world, store), 950);
	/* Fewer than none. */
	assert_int_equal(store_window(&world, store, 400, 600, -1), -EINVAL);
	/* Dying slots take no window until they are wiped. */
	assert_int_equal(cleave_anon_windows_begin(&change, world.context, store, 3000, 3999), 0);
	assert_int_equal(cleave_anon_windows_put(&change, 3000, 3999, -1), 0);
	assert_int_equal(cleave_anon_windows_prepare(&change), 0);
	cleave_anon_windows_commit(&change);
	assert_int_equal(store_window(&world, store, 3999, 3999, 1), -EBUSY);
	assert_int_equal(store_windows(&world, store, 3999), 0);
	cleave_anon_windows_wipe(&change);
	assert_int_equal(store_window(&world, store, 3999, 3999, 1), 0);
	assert_null(store_lookup(&world, store, 3990));
	/* Equal neighbours are joined: back to one range, then to none. */
	assert_int_equal(store_window(&world, store, 500, 999, 1), 0);
	assert_int_equal(store_window(&world, store, 3000, 3998, 1), 0);
	assert_int_equal(store_window(&world, store, 1500, 1999, -1), 0);
	manual_enter(&world.manual);
	cleave_statistics_rcu(&store->windows, &statistics);
	manual_leave(&world.manual);
	assert_int_equal(statistics.entries, 1);
	assert_int_equal(store_window(&world, store, 0, 9999, -1), 0);
	cleave_anon_flush(world.context);
	assert_int_equal(pages_live(world.pages), 0);
	assert_int_equal(store_statistics(&world, store).bytes, 0);
	cleave_anon_unref(world.context, store);
}

static void s8_a_clone_costs_no_slot_and_its_first_write_one_path(void **state)
{
	struct cleave_anon *store = store_make(&world, UINT64_C(1) << 20), *clone;
	struct cleave_anon_page *anon, *fresh;
	uint64_t allocated, copies;

	(void)state;
	for (uint64_t i = 0; i < 4096; i++)
		store_fill(&world, store, i);
	anon = store_lookup(&world, store, 100);
	cleave_anon_flush(world.context);
	allocated = world.manual.memory.allocated.word;
	copies = world.context->copies;
	clone = store_clone(&world, store);
	assert_true(world.manual.memory.allocated.word - allocated <= 4);
	assert_int_equal(world.context->copies, copies);
	assert_ptr_equal(store_lookup(&world, clone, 100), anon);
	assert_int_equal(cleave_anon_page_shares(anon), 1);

	fresh = store_write(&world, store, 100);
	assert_ptr_not_equal(fresh, anon);
	assert_int_equal(world.context->copies - copies, store_statistics(&world, store).levels);
	assert_ptr_equal(store_lookup(&world, clone, 100), anon);
	assert_ptr_equal(store_lookup(&world, store, 100), fresh);
	/* A second write to the same leaf copies nothing; the new anon is written in place. */
	copies = world.context->copies;
	assert_ptr_equal(store_write(&world, store, 100), fresh);
	store_write(&world, store, 101);
	assert_int_equal(world.context->copies, copies);
	/* What one side fills, the other does not see. */
	store_fill(&world, store, 5000);
	store_fill(&world, clone, 5001);
	assert_null(store_lookup(&world, clone, 5000));
	assert_null(store_lookup(&world, store, 5001));
	/* Once the parent is gone, the child takes over what it has alone. */
	cleave_anon_unref(world.context, store);
	cleave_anon_flush(world.context);
	copies = world.context->copies;
	anon = store_lookup(&world, clone, 3000);
	assert_ptr_equal(store_write(&world, clone, 3000), anon);
	assert_int_equal(world.context->copies, copies);
	assert_true(world.context->takeovers > 0);
	cleave_anon_unref(world.context, clone);
}

static void s9_shared_ends_with_the_second_reference(void **state)
{
	struct cleave_anon *store = store_make(&world, 64);
	bool freed = true;

	(void)state;
	store_fill(&world, store, 1);
	assert_false(cleave_anon_shared(store));
	cleave_anon_ref(store, true);
	cleave_anon_ref(store, false);
	assert_true(cleave_anon_shared(store));
	assert_int_equal(cleave_anon_discard(world.context, store, 0, 63, &freed), 0);
	assert_false(freed);
	assert_non_null(store_lookup(&world, store, 1));
	cleave_anon_unref(world.context, store);
	assert_true(cleave_anon_shared(store));
	cleave_anon_unref(world.context, store);
	assert_false(cleave_anon_shared(store));
	assert_int_equal(cleave_anon_refs(store), 1);
	assert_int_equal(cleave_anon_discard(world.context, store, 63, 0, &freed), -EINVAL);
	assert_int_equal(cleave_anon_discard(world.context, store, 0, 63, &freed), 0);
	assert_true(freed);
	assert_null(store_lookup(&world, store, 1));
	store_fill(&world, store, 1);
	assert_int_equal(cleave_anon_discard(world.context, store, 0, 63, NULL), 0);
	assert_null(store_lookup(&world, store, 1));
	cleave_anon_unref(world.context, store);
}

int main(int argc, char **argv)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		ROW(s1_creation_costs_the_same_for_any_size),
		ROW(s2_lookups_see_absent_nodes_as_empty_and_stop_at_the_end),
		ROW(s3_a_second_fill_gets_the_winner),
		ROW(s4_replace_compares_and_hands_back_the_old_share),
		ROW(s5_wipe_costs_what_is_populated),
		ROW(s6_splitting_a_window_touches_no_slot),
		ROW(s7_slots_without_a_window_are_freed_at_once),
		ROW(s8_a_clone_costs_no_slot_and_its_first_write_one_path),
		ROW(s9_shared_ends_with_the_second_reference),
	};

	return RUN_TESTS(tests, argc, argv);
}
