/* SPDX-License-Identifier: ISC */
/*
 * The store at its edges: what it must refuse, and what a context does that meets another one half way: a lock that is
 * held, a slot that is sealed, an anon that is gone.
 */
#include "anon_one.h"

#include "anon_node.h"

static void what_makes_no_sense_is_refused(void **state)
{
	struct cleave_anon_copier copier = { copy_page, undo_page };
	struct cleave_anon *store = store_make(&world, 100);
	struct cleave_anon_page *anon = page_make(world.context, world.pages);
	struct cleave_anon_change change;
	struct cleave_anon_busy busy;

	(void)state;
	assert_int_equal(cleave_anon_guard(world.context, store, 100, 100), 0);
	assert_int_equal(cleave_anon_try_replace(world.context, store, 100, anon, anon), -EINVAL);
	assert_int_equal(cleave_anon_try_busy(world.context, store, 100, &busy), -EINVAL);
	/* Nothing there: no path is made or copied for it. */
	assert_int_equal(cleave_anon_try_replace(world.context, store, 1, anon, anon), -ENOENT);
	cleave_anon_unguard(world.context);
	assert_int_equal(cleave_anon_clone_begin(world.context, NULL, NULL, 0), -EINVAL);
	assert_int_equal(cleave_anon_wipe(world.context, store, 5, 4), -EINVAL);
	assert_int_equal(cleave_anon_cow_now(world.context, store, 5, 4, &copier, NULL), -EINVAL);
	assert_int_equal(cleave_anon_windows_begin(&change, world.context, store, 5, 4), -EINVAL);
	assert_int_equal(cleave_anon_windows_begin(&change, world.context, store, 5, CLEAVE_ANON_SLOTS), -EINVAL);
	assert_int_equal(cleave_anon_windows_begin(&change, world.context, store, 5, 9), 0);
	assert_int_equal(cleave_anon_windows_put(&change, 7, 6, 1), -EINVAL);
	assert_int_equal(cleave_anon_windows_put(&change, 4, 6, 1), -EINVAL);
	assert_int_equal(cleave_anon_windows_put(&change, 6, 10, 1), -EINVAL);
	cleave_anon_windows_abort(&change);
	cleave_anon_page_drop(world.context, anon);
	cleave_anon_unref(world.context, store);
}

/* A transaction of windows with more pieces than its own room, several times over. */
static void a_change_of_many_windows_finds_more_room(void **state)
{
	struct cleave_anon *store = store_make(&world, 4000);
	struct cleave_anon_change change;

	(void)state;
	assert_int_equal(cleave_anon_windows_begin(&change, world.context, store, 0, 3999), 0);
	for (uint64_t slot = 0; slot < 400; slot += 2)
		assert_int_equal(cleave_anon_windows_put(&change, slot, slot, 1), 0);
	/* What is there already, cut on both sides, and the spaces between. */
	assert_int_equal(cleave_anon_windows_put(&change, 1, 399, 1), 0);
	assert_int_equal(cleave_anon_windows_put(&change, 10, 12, -1), 0);
	assert_int_equal(cleave_anon_windows_prepare(&change), 0);
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
	assert_int_equal(store_windows(&world, store, 0), 1);
	assert_int_equal(store_windows(&world, store, 1), 1);
	assert_int_equal(store_windows(&world, store, 2), 2);
	assert_int_equal(store_windows(&world, store, 11), 0);
	assert_int_equal(store_windows(&world, store, 12), 1);
	assert_int_equal(store_windows(&world, store, 400), 0);
	cleave_anon_unref(world.context, store);
}

/* Who meets a lock marks it and goes back: a path to copy, to grow, to unlink. */
static void a_lock_that_is_held_sends_back(void **state)
{
	struct cleave_anon *store = store_make(&world, UINT64_C(1) << 20), *clone;
	struct cleave_anon_page *anon = store_fill(&world, store, 10), *fresh = page_make(world.context, world.pages);
	struct cleave_anon_busy busy;

	(void)state;
	/* The root does not reach the slot, and its lock is another's. */
	assert_int_equal(cleave_anon_prepare(world.context, store), 0);
	store->root_lock.word = CLEAVE__ANON_LOCKED;
	assert_int_equal(cleave_anon_guard(world.context, store, 70000, 70000), 0);
	assert_int_equal(cleave_anon_try_fill(world.context, store, 70000, fresh, NULL), -EAGAIN);
	assert_true(store->root_lock.word & CLEAVE__ANON_LOCK_WAITED);
	cleave_anon_unguard(world.context);
	/* The root is shared, and must be copied under that lock. */
	store->root_lock.word = 0;
	clone = store_clone(&world, store);
	assert_int_equal(cleave_anon_prepare(world.context, store), 0);
	store->root_lock.word = CLEAVE__ANON_LOCKED | CLEAVE__ANON_LOCK_WAITED;
	assert_int_equal(cleave_anon_guard(world.context, store, 10, 10), 0);
	assert_int_equal(cleave_anon_try_busy(world.context, store, 10, &busy), -EAGAIN);
	assert_int_equal(cleave_anon_try_replace(world.context, store, 10, anon, fresh), -EAGAIN);
	cleave_anon_unguard(world.context);
	store->root_lock.word = 0;
	world.context->count = NULL;
	cleave_anon_page_drop(world.context, fresh);
	cleave_anon_unref(world.context, clone);
	cleave_anon_unref(world.context, store);
}

/* A leaf that somebody is about to unlink: lookups read its slots as empty, writers wait for who seals. */
static void a_sealed_slot_is_empty_and_not_to_be_filled(void **state)
{
	struct cleave_anon *store = store_make(&world, 20);
	struct cleave_anon_page *fresh = page_make(world.context, world.pages), *found;
	struct cleave__anon_node *leaf;
	struct cleave_anon_busy busy;

	(void)state;
	store_fill(&world, store, 10);
	leaf = cleave__anon_node_of(store->root.word);
	assert_int_equal(cleave__anon_level_of(store->root.word), 0);
	assert_int_equal(cleave_anon_prepare(world.context, store), 0);
	leaf->slot[3].word = CLEAVE__ANON_SEALED;
	assert_null(store_lookup(&world, store, 3));
	assert_int_equal(cleave_anon_guard(world.context, store, 3, 3), 0);
	assert_int_equal(cleave_anon_try_lookup(world.context, store, 3, &found), 0);
	assert_null(found);
	assert_int_equal(cleave_anon_try_fill(world.context, store, 3, fresh, NULL), -EAGAIN);
	assert_int_equal(cleave_anon_try_busy(world.context, store, 3, &busy), -EAGAIN);
	assert_int_equal(cleave_anon_try_replace(world.context, store, 3, fresh, fresh), -ENOENT);
	cleave_anon_unguard(world.context);
	world.context->count = NULL;
	leaf->slot[3].word = 0;
	cleave_anon_page_drop(world.context, fresh);
	cleave_anon_unref(world.context, store);
}

/* A pin needs a user; a transit needs the content that was looked at. */
static void an_anon_that_is_gone_or_has_changed_is_left_alone(void **state)
{
	struct cleave_anon *store = store_make(&world, 20);
	struct cleave_anon_page *anon = store_fill(&world, store, 10);
	uint64_t content = cleave_anon_page_content(anon), token = pages_take(world.pages, true);

	(void)state;
	manual_enter(&world.manual);
	assert_false(cleave_anon_transit_begin_rcu(world.context, anon, token) == 0);
	assert_false(cleave_anon_in_transit_rcu(world.context, anon));
	assert_int_equal(cleave_anon_transit_begin_rcu(world.context, anon, content), 0);
	assert_true(cleave_anon_in_transit_rcu(world.context, anon));
	assert_false(cleave_anon_transit_begin_rcu(world.context, anon, content) == 0);
	manual_leave(&world.manual);
	cleave_anon_transit_end(world.context, anon, content);
	pages_release(&world.pages->ops, token);
	cleave_anon_unref(world.context, store);
}

/* Nothing to be copied now, nothing to be wiped. */
static void nothing_is_done_for_nothing(void **state)
{
	struct cleave_anon_copier copier = { copy_page, undo_page };
	struct cleave_anon *store = store_make(&world, 100);
	uint64_t before = pages_live(world.pages);

	(void)state;
	assert_int_equal(cleave_anon_cow_now(world.context, store, 0, 99, &copier, NULL), 0);
	store_fill(&world, store, 10); /* its own: nothing to copy */
	assert_int_equal(cleave_anon_cow_now(world.context, store, 0, 99, &copier, NULL), 0);
	assert_int_equal(pages_live(world.pages), before + 1);
	assert_int_equal(cleave_anon_wipe(world.context, store, 20, 99), 0);
	assert_int_equal(store_count(&world, store), 1);
	cleave_anon_unref(world.context, store);
}

/* ---- The limit of what waits ---- */

#define LIMIT 8u

/* Only a wait ends a grace period, as if somebody always read. */
static void begin_limited(void)
{
	world.manual.grace = GRACE_ON_DEMAND;
	world.manual.domain.garbage_limit = LIMIT;
}

static uint64_t waiting(void)
{
	return world.context->young.count + world.context->old.count;
}

/* Under a guard nobody waits: twice the limit, then nothing is changed, until who may sleep has made room. */
static void steps_are_refused_at_twice_the_limit(void **state)
{
	struct cleave_anon *store = store_make(&world, 20);
	struct cleave_anon_page *old = store_fill(&world, store, 3), *fresh, *found;
	struct cleave_anon_busy busy;
	unsigned int dropped = 0;
	int result;

	(void)state;
	begin_limited();
	for (;;) {
		fresh = page_make(world.context, world.pages);
		assert_int_equal(cleave_anon_guard(world.context, store, 3, 4), 0);
		result = cleave_anon_try_busy(world.context, store, 3, &busy);
		if (result)
			break;
		assert_ptr_equal(busy.anon, old);
		cleave_anon_release(world.context, &busy, fresh);
		cleave_anon_unguard(world.context);
		cleave_anon_page_drop(world.context, old);
		old = fresh;
		dropped++;
	}
	assert_int_equal(result, -ENOMEM);
	assert_int_equal(dropped, 2 * LIMIT + 1);
	assert_int_equal(waiting(), 2 * LIMIT + 1);
	assert_int_equal(cleave_anon_try_replace(world.context, store, 3, old, fresh), -ENOMEM);
	assert_int_equal(cleave_anon_try_lookup(world.context, store, 3, &found), 0); /* not busy */
	assert_ptr_equal(found, old);
	/* What drops nothing is not refused. */
	assert_int_equal(cleave_anon_try_fill(world.context, store, 4, fresh, NULL), 0);
	cleave_anon_unguard(world.context);
	assert_int_equal(world.context->gp_waits, 0);
	assert_int_equal(cleave_anon_prepare(world.context, store), 0);
	assert_true(world.context->gp_waits > 0);
	assert_int_equal(world.context->most_waiting, 2 * LIMIT + 1);
	assert_true(waiting() <= LIMIT);
	assert_int_equal(pages_live(world.pages), 2);
	assert_int_equal(cleave_anon_guard(world.context, store, 3, 3), 0);
	assert_int_equal(cleave_anon_try_busy(world.context, store, 3, &busy), 0);
	cleave_anon_release(world.context, &busy, busy.anon);
	cleave_anon_unguard(world.context);
	cleave_anon_unref(world.context, store);
}

/* Others may want a transaction's locks: who has one does not wait, but goes on up to twice the limit. */
static void who_holds_a_transaction_does_not_wait(void **state)
{
	struct cleave_anon *store = store_make(&world, 100);
	struct cleave_anon_page *anon, *fresh;
	struct cleave_txn txn;
	struct cleave index;
	unsigned int dropped;

	(void)state;
	for (uint64_t slot = 0; slot < 90; slot++)
		store_fill(&world, store, slot);
	assert_int_equal(cleave_init(&index, &world.manual.self), 0);
	cleave_anon_flush(world.context);
	begin_limited();
	assert_false(cleave_thread_holds(&world.manual.self));
	assert_int_equal(cleave_begin(&txn, &index, &world.manual.self, 5, 9), 0);
	assert_true(cleave_thread_holds(&world.manual.self));
	for (dropped = 0; !cleave_anon_remove(world.context, store, dropped, &anon); dropped++)
		cleave_anon_page_drop(world.context, anon);
	assert_int_equal(dropped, 2 * LIMIT + 1);
	assert_int_equal(cleave_anon_remove(world.context, store, dropped, &anon), -ENOMEM);
	anon = store_lookup(&world, store, dropped);
	assert_non_null(anon);
	fresh = page_make(world.context, world.pages);
	assert_int_equal(cleave_anon_replace(world.context, store, dropped, anon, fresh), -ENOMEM);
	assert_ptr_equal(store_lookup(&world, store, dropped), anon);
	assert_int_equal(cleave_anon_prepare(world.context, store), -ENOMEM);
	assert_int_equal(cleave_anon_fill(world.context, store, 0, fresh, NULL), 0);
	/* What only gives back is not refused. */
	assert_int_equal(cleave_anon_wipe(world.context, store, 30, 69), 0);
	assert_true(waiting() > 2 * LIMIT + 40);
	assert_int_equal(world.context->gp_waits, 0);
	cleave_abort(&txn);
	assert_int_equal(cleave_anon_remove(world.context, store, dropped, &anon), 0);
	cleave_anon_page_drop(world.context, anon);
	assert_true(world.context->gp_waits > 0);
	assert_true(waiting() <= LIMIT);
	cleave_destroy(&index, &world.manual.self);
	cleave_anon_unref(world.context, store);
}

/* What is in a store that goes is not known: it counts as a part of the limit.  An empty one is one thing. */
static void stores_that_go_count_for_more(void **state)
{
	unsigned int gone = 0;

	(void)state;
	begin_limited();
	world.manual.domain.garbage_limit = UINT64_C(100) * CLEAVE_ANON_GONE;
	for (unsigned int i = 0; i < 2 * CLEAVE_ANON_GONE; i++)
		cleave_anon_unref(world.context, store_make(&world, 1000));
	assert_int_equal(world.context->gp_waits, 0);
	cleave_anon_flush(world.context);
	for (; !world.context->gp_waits; gone++) {
		struct cleave_anon *store = store_make(&world, 1000);

		store_fill(&world, store, 999);
		cleave_anon_unref(world.context, store);
	}
	assert_int_equal(gone, CLEAVE_ANON_GONE);
	/* Their nodes are taken apart by and by, as long as what that drops finds room. */
	world.manual.domain.garbage_limit = LIMIT;
	cleave_anon_unref(world.context, store_make(&world, 1000));
	assert_true(waiting() <= LIMIT);
}

/* ---- A page that is given back makes room: more is dropped, and looked after, meanwhile ---- */

static struct cleave_anon *evicting; /* from this store's context */
static struct cleave_anon_page *evicted[50];
static unsigned int releases;

static void release_and_evict(const struct cleave_anon_ops *ops, uint64_t content)
{
	pages_release(ops, content);
	if (++releases == 1) {
		for (unsigned int i = 1; i < 50; i++)
			cleave_anon_page_drop(world.context, evicted[i]);
		assert_int_equal(cleave_anon_prepare(world.context, evicting), 0);
	} else if (releases == 2) {
		cleave_anon_page_drop(world.context, evicted[0]);
	}
}

static void what_is_dropped_by_a_release_is_not_lost(void **state)
{
	(void)state;
	evicting = store_make(&world, 10);
	releases = 0;
	for (unsigned int i = 0; i < 50; i++)
		evicted[i] = page_make(world.context, world.pages);
	world.pages->ops.release = release_and_evict;
	while (releases < 3) {
		cleave_anon_page_drop(world.context, page_make(world.context, world.pages));
		assert_int_equal(cleave_anon_prepare(world.context, evicting), 0);
	}
	world.pages->ops.release = pages_release;
	cleave_anon_flush(world.context);
	assert_int_equal(pages_live(world.pages), 0);
	cleave_anon_unref(world.context, evicting);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_makes_no_sense_is_refused, start, stop),
		cmocka_unit_test_setup_teardown(a_change_of_many_windows_finds_more_room, start, stop),
		cmocka_unit_test_setup_teardown(a_lock_that_is_held_sends_back, start, stop),
		cmocka_unit_test_setup_teardown(a_sealed_slot_is_empty_and_not_to_be_filled, start, stop),
		cmocka_unit_test_setup_teardown(an_anon_that_is_gone_or_has_changed_is_left_alone, start, stop),
		cmocka_unit_test_setup_teardown(nothing_is_done_for_nothing, start, stop),
		cmocka_unit_test_setup_teardown(steps_are_refused_at_twice_the_limit, start, stop),
		cmocka_unit_test_setup_teardown(who_holds_a_transaction_does_not_wait, start, stop),
		cmocka_unit_test_setup_teardown(stores_that_go_count_for_more, start, stop),
		cmocka_unit_test_setup_teardown(what_is_dropped_by_a_release_is_not_lost, start, stop),
	};

	return RUN_TESTS(tests, argc, argv);
}
