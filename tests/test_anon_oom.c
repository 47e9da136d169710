/* SPDX-License-Identifier: ISC */
/* Every allocation of every call fails in turn: the store is as before, and the same call succeeds afterwards. */
#include "anon_one.h"

#define SLOTS 300
#define MOST 400 /* allocations of one call */

static struct cleave_anon *store, *clone;

/* What can be seen of both stores. */
struct picture {
	struct cleave_anon_page *anons[2][SLOTS];
	uint64_t windows[2][SLOTS];
	uint64_t slots[2];
	uint64_t stores;
};

static void look(struct picture *picture)
{
	struct cleave_anon *stores[2] = { store, clone };

	memset(picture, 0, sizeof(*picture));
	for (int i = 0; i < 2; i++) {
		for (uint64_t slot = 0; slot < SLOTS; slot++) {
			picture->anons[i][slot] = store_lookup(&world, stores[i], slot * 1000);
			picture->windows[i][slot] = store_windows(&world, stores[i], slot * 1000);
		}
		picture->slots[i] = cleave_anon_slots(stores[i]);
		check_index(&stores[i]->windows);
	}
	picture->stores = world.domain.stores;
}

/* A store with a clone, so that everything is shared and must be copied. */
static void prepare(void)
{
	anon_world_start(&world, GRACE_ON_DEMAND);
	store = store_make(&world, SLOTS * 1000);
	for (uint64_t slot = 0; slot < SLOTS; slot++)
		if (slot % 3)
			store_fill(&world, store, slot * 1000);
	assert_int_equal(store_window(&world, store, 0, SLOTS * 1000 - 1, 2), 0);
	clone = store_clone(&world, store);
}

static void end(void)
{
	cleave_anon_unref(world.context, store);
	cleave_anon_unref(world.context, clone);
	anon_world_stop(&world);
}

static void release_caches(void)
{
	/* A context that was closed has no spare nodes; a thread that left, no leaves. */
	cleave_anon_context_close(world.context);
	cleave_thread_exit(&world.manual.self);
	cleave_thread_init(&world.manual.self, &world.manual.domain);
	world.context = cleave_anon_context_open(&world.domain, &world.manual.self);
	CHECK(world.context != NULL, "context");
}

/* Fails with less than it needs; the picture stays.  Returns the allocations that it needed. */
static uint64_t in_turn(const char *name, int (*call)(void))
{
	struct picture before, after;
	uint64_t live = pages_live(world.pages);

	look(&before);
	for (uint64_t grant = 0;; grant++) {
		int result;

		check_context("%s with %llu allocations", name, LL(grant));
		CHECK(grant < MOST, "still failing");
		release_caches();
		counting_memory_grant(&world.manual.memory, grant);
		result = call();
		counting_memory_grant(&world.manual.memory, GRANT_ALL);
		if (!result)
			return grant;
		CHECK(result == -ENOMEM, "%d", result);
		look(&after);
		CHECK(memcmp(&before, &after, sizeof(before)) == 0, "a failed call changed something");
		cleave_anon_flush(world.context);
		CHECK(pages_live(world.pages) == live, "a page leaked, or went");
	}
}

static struct cleave_anon_page *spare;

static int fill(void)
{
	return cleave_anon_fill(world.context, store, 0, spare, NULL);
}

static int replace(void)
{
	return cleave_anon_replace(world.context, store, 4000, store_lookup(&world, store, 4000), spare);
}

static int remove_one(void)
{
	return cleave_anon_remove(world.context, store, 5000, &spare);
}

static int wipe(void)
{
	return cleave_anon_wipe(world.context, store, 7001, 150500);
}

static int truncate_store(void)
{
	return cleave_anon_truncate(world.context, clone, 100500);
}

static struct cleave_anon *made;

static int create(void)
{
	return cleave_anon_create(world.context, 1000, &made);
}

static struct cleave_anon *two[2];

static int clone_both(void)
{
	struct cleave_anon *stores[2] = { store, clone };

	return cleave_anon_clone_begin(world.context, stores, two, 2);
}

static int windows(void)
{
	struct cleave_anon_change change;
	int result = cleave_anon_windows_begin(&change, world.context, store, 0, SLOTS * 1000 - 1);

	for (uint64_t i = 0; i < 20 && !result; i++)
		result = cleave_anon_windows_put(&change, i * 9000 + 1, i * 9000 + 4000, i % 2 ? -2 : 1);
	if (!result)
		result = cleave_anon_windows_prepare(&change);
	if (result) {
		/* The change survives a failure. */
		counting_memory_grant(&world.manual.memory, GRANT_ALL);
		assert_int_equal(cleave_anon_windows_prepare(&change), 0);
		cleave_anon_windows_abort(&change);
		return result;
	}
	/* Nothing fails from here on, whatever memory is left: all that it may still want is not granted. */
	counting_memory_grant(&world.manual.memory, 0);
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
	return 0;
}

static int copy_now(void)
{
	struct cleave_anon_copier copier = { copy_page, undo_page };

	/* One slot: what a longer range had done stays done. */
	return cleave_anon_cow_now(world.context, clone, 10000, 10999, &copier, NULL);
}

static void a_failed_fill_changes_nothing(void **state)
{
	(void)state;
	prepare();
	spare = page_make(world.context, world.pages);
	assert_true(in_turn("fill", fill) >= 4);
	assert_ptr_equal(store_lookup(&world, store, 0), spare);
	end();
}

static void a_failed_replace_changes_nothing(void **state)
{
	struct cleave_anon_page *old;

	(void)state;
	prepare();
	spare = page_make(world.context, world.pages);
	old = store_lookup(&world, store, 4000);
	assert_true(in_turn("replace", replace) >= 4);
	cleave_anon_page_drop(world.context, old);
	assert_ptr_equal(store_lookup(&world, clone, 4000), old);
	end();
}

static void a_failed_removal_changes_nothing(void **state)
{
	(void)state;
	prepare();
	assert_true(in_turn("remove", remove_one) >= 4);
	cleave_anon_page_drop(world.context, spare);
	assert_non_null(store_lookup(&world, clone, 5000));
	end();
}

static void a_failed_wipe_changes_nothing(void **state)
{
	(void)state;
	prepare();
	assert_true(in_turn("wipe", wipe) >= 4);
	assert_null(store_lookup(&world, store, 8000));
	assert_non_null(store_lookup(&world, store, 7000));
	assert_non_null(store_lookup(&world, clone, 8000));
	assert_true(in_turn("truncate", truncate_store) >= 4);
	assert_null(store_lookup(&world, clone, 101000));
	end();
}

static void a_failed_creation_or_clone_leaves_nothing(void **state)
{
	uint64_t stores;

	(void)state;
	prepare();
	stores = world.domain.stores;
	assert_true(in_turn("create", create) >= 2);
	assert_true(in_turn("clone", clone_both) >= 4);
	assert_int_equal(world.domain.stores, stores + 1);
	cleave_anon_clone_abort(world.context, (struct cleave_anon *[]){ store, clone }, two, 2);
	cleave_anon_unref(world.context, made);
	end();
}

static void nothing_fails_after_the_commit_of_windows(void **state)
{
	(void)state;
	prepare();
	assert_true(in_turn("windows", windows) >= 10);
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(store_windows(&world, store, i * 9000 + 1000), i % 2 ? 0 : 3);
	cleave_anon_flush(world.context);
	assert_null(store_lookup(&world, store, 10000));
	assert_non_null(store_lookup(&world, store, 20000));
	/* Where a mark could not be cleared, it no longer means anything. */
	assert_int_equal(store_window(&world, store, 0, SLOTS * 1000 - 1, 1), 0);
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(store_windows(&world, store, i * 9000 + 1000), i % 2 ? 1 : 4);
	end();
}

/* A truncated store keeps its tall root, whose path a wipe may have to copy. */
static void a_wipe_below_a_tall_root_needs_no_more_than_was_kept(void **state)
{
	struct cleave_anon_change change;
	struct cleave_anon *tall, *other;

	(void)state;
	prepare();
	tall = store_make(&world, UINT64_C(1) << 35);
	for (uint64_t slot = 0; slot < 4; slot++)
		store_fill(&world, tall, slot);
	store_fill(&world, tall, (UINT64_C(1) << 35) - 1);
	assert_int_equal(cleave_anon_truncate(world.context, tall, 4), 0);
	assert_int_equal(store_statistics(&world, tall).levels, 7);
	assert_int_equal(store_window(&world, tall, 0, 3, 1), 0);
	other = store_clone(&world, tall);
	release_caches();
	assert_int_equal(cleave_anon_windows_begin(&change, world.context, tall, 1, 2), 0);
	assert_int_equal(cleave_anon_windows_put(&change, 1, 2, -1), 0);
	assert_int_equal(cleave_anon_windows_prepare(&change), 0);
	/* Nothing more is granted. */
	counting_memory_grant(&world.manual.memory, 0);
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
	counting_memory_grant(&world.manual.memory, GRANT_ALL);
	assert_int_equal(store_count(&world, tall), 2);
	assert_int_equal(store_count(&world, other), 4);
	cleave_anon_unref(world.context, tall);
	cleave_anon_unref(world.context, other);
	end();
}

static void a_failed_copy_now_changes_nothing(void **state)
{
	(void)state;
	prepare();
	assert_true(in_turn("copy now", copy_now) >= 4);
	assert_ptr_not_equal(store_lookup(&world, clone, 10000), store_lookup(&world, store, 10000));
	end();
}

static void a_context_that_cannot_be_made_is_null(void **state)
{
	struct cleave_anon_context *context;

	(void)state;
	prepare();
	release_caches();
	counting_memory_grant(&world.manual.memory, 0);
	assert_null(cleave_anon_context_open(&world.domain, &world.manual.self));
	assert_null(cleave_anon_page_make(world.context, 0));
	counting_memory_grant(&world.manual.memory, GRANT_ALL);
	context = cleave_anon_context_open(&world.domain, &world.manual.self);
	assert_ptr_not_equal(context, world.context);
	cleave_anon_context_close(context);
	assert_ptr_equal(cleave_anon_context_open(&world.domain, &world.manual.self), context);
	cleave_anon_context_close(context);
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failed_fill_changes_nothing),
		cmocka_unit_test(a_failed_replace_changes_nothing),
		cmocka_unit_test(a_failed_removal_changes_nothing),
		cmocka_unit_test(a_failed_wipe_changes_nothing),
		cmocka_unit_test(a_failed_creation_or_clone_leaves_nothing),
		cmocka_unit_test(nothing_fails_after_the_commit_of_windows),
		cmocka_unit_test(a_wipe_below_a_tall_root_needs_no_more_than_was_kept),
		cmocka_unit_test(a_failed_copy_now_changes_nothing),
		cmocka_unit_test(a_context_that_cannot_be_made_is_null),
	};

	return RUN_TESTS(tests, argc, argv);
}
