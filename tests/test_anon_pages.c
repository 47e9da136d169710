/* SPDX-License-Identifier: ISC */
/*
 * The store's table of features, one test a row: s10 to s17, copies, iteration, truncation, busy slots, anons, walks,
 * counts.
 */
#include "anon_one.h"

#include "anon_node.h"

struct copier {
	struct cleave_anon_copier copier;
	unsigned int copies;
	unsigned int limit;
};

static int copy_some(struct cleave_anon_copier *copier, uint64_t from, uint64_t *content)
{
	struct copier *self = (struct copier *)copier;

	CHECK(world.pages->state[from / 2] == 1, "a page that is gone is copied");
	if (self->copies == self->limit)
		return -ENOMEM;
	self->copies++;
	*content = pages_take(world.pages, false);
	return 0;
}

static void undo_some(struct cleave_anon_copier *copier, uint64_t content)
{
	((struct copier *)copier)->copies--;
	pages_release(&world.pages->ops, content);
}

static void s10_copy_now_goes_on_after_a_failure(void **state)
{
	struct cleave_anon *store = store_make(&world, 1000), *clone;
	struct copier copier = { { copy_some, undo_some }, 0, 100 };
	uint64_t slot = 0;

	(void)state;
	for (uint64_t i = 0; i < 300; i++)
		store_fill(&world, store, i * 3);
	clone = store_clone(&world, store);
	for (uint64_t i = 0; i < 20; i++) /* these are no longer shared */
		store_write(&world, clone, i * 3);
	assert_int_equal(cleave_anon_cow_now(world.context, store, 0, 999, &copier.copier, &slot), -ENOMEM);
	assert_int_equal(copier.copies, 100);
	assert_true(slot >= 300 && slot < 999);
	copier.limit = UINT32_MAX;
	assert_int_equal(cleave_anon_cow_now(world.context, store, slot, 999, &copier.copier, &slot), 0);
	/* the twenty were copied too if their old anons still had the other share; no others twice */
	assert_true(copier.copies >= 280 && copier.copies <= 300);
	for (uint64_t i = 0; i < 300; i++) {
		assert_ptr_not_equal(store_lookup(&world, store, i * 3), store_lookup(&world, clone, i * 3));
		assert_int_equal(cleave_anon_page_shares(store_lookup(&world, store, i * 3)), 1);
	}
	copier.copies = 0;
	assert_int_equal(cleave_anon_cow_now(world.context, store, 0, 999, &copier.copier, &slot), 0);
	assert_int_equal(copier.copies, 0);
	cleave_anon_unref(world.context, store);
	cleave_anon_unref(world.context, clone);
}

static void s11_iteration_is_resumed_by_slot_number(void **state)
{
	struct cleave_anon *store = store_make(&world, CLEAVE_ANON_SLOTS);
	static const uint64_t slots[] = { 0,
					  1,
					  31,
					  32,
					  33,
					  1023,
					  1024,
					  70000,
					  1 << 20,
					  UINT64_C(1) << 32,
					  (UINT64_C(1) << 32) + 1,
					  CLEAVE_ANON_SLOTS - 2,
					  CLEAVE_ANON_SLOTS - 1 };
	const size_t n = sizeof(slots) / sizeof(slots[0]);
	struct cleave_anon_visit visits[5];
	struct cleave_anon_page *anon;

	(void)state;
	for (size_t i = n; i-- > 0;)
		store_fill(&world, store, slots[i]);
	for (size_t step = 1; step <= 5; step++) {
		uint64_t slot = 0;
		size_t seen = 0, got;

		do {
			manual_enter(&world.manual);
			got = cleave_anon_next_rcu(store, &slot, visits, step);
			manual_leave(&world.manual);
			for (size_t i = 0; i < got; i++)
				assert_int_equal(visits[i].slot, slots[seen++]);
			/* What comes and goes behind it does not matter, what comes before it does not repeat it. */
			if (seen > 2 && seen < n) {
				assert_int_equal(cleave_anon_remove(world.context, store, slots[1], &anon), 0);
				cleave_anon_page_drop(world.context, anon);
				store_fill(&world, store, slots[1]);
			}
		} while (got == step);
		assert_int_equal(seen, n);
	}
	/* What comes in front of it is seen, what goes there is not. */
	for (uint64_t slot = 40; slot == 40;) {
		manual_enter(&world.manual);
		assert_int_equal(cleave_anon_next_rcu(store, &slot, visits, 1), 1);
		manual_leave(&world.manual);
		assert_int_equal(visits[0].slot, 1023);
		store_fill(&world, store, 50000);
		assert_int_equal(cleave_anon_remove(world.context, store, 1024, &anon), 0);
		cleave_anon_page_drop(world.context, anon);
		manual_enter(&world.manual);
		assert_int_equal(cleave_anon_next_rcu(store, &slot, visits, 2), 2);
		manual_leave(&world.manual);
		assert_int_equal(visits[0].slot, 50000);
		assert_int_equal(visits[1].slot, 70000);
	}
	cleave_anon_unref(world.context, store);
}

static void s12_truncate_drops_the_tail_and_extend_moves_nothing(void **state)
{
	struct cleave_anon *store = store_make(&world, 2000), *clone;
	struct cleave_anon_page *anon;

	(void)state;
	for (uint64_t i = 0; i < 2000; i += 50)
		store_fill(&world, store, i);
	clone = store_clone(&world, store);
	assert_int_equal(cleave_anon_truncate(world.context, store, 2000), -EINVAL);
	assert_int_equal(cleave_anon_truncate(world.context, store, 0), -EINVAL);
	assert_int_equal(cleave_anon_truncate(world.context, store, 1001), 0);
	assert_int_equal(store_count(&world, store), 21);
	/* The clone keeps its own end, and its tail until it goes. */
	assert_int_equal(cleave_anon_slots(clone), 2000);
	assert_int_equal(store_count(&world, clone), 40);
	cleave_anon_unref(world.context, clone);
	cleave_anon_flush(world.context);
	assert_int_equal(pages_live(world.pages), 21);
	/* What was cut off does not come back. */
	assert_int_equal(cleave_anon_extend(store, 2000), 0);
	assert_null(store_lookup(&world, store, 1050));
	assert_int_equal(cleave_anon_truncate(world.context, store, 1001), 0);
	anon = store_lookup(&world, store, 1000);
	assert_int_equal(cleave_anon_fill(world.context, store, 1001, anon, NULL), -EINVAL);
	assert_int_equal(cleave_anon_extend(store, 1001), -EINVAL);
	assert_int_equal(cleave_anon_extend(store, CLEAVE_ANON_SLOTS + 1), -EINVAL);
	assert_int_equal(cleave_anon_extend(store, UINT64_C(1) << 33), 0);
	store_fill(&world, store, (UINT64_C(1) << 33) - 1); /* the root grows */
	assert_ptr_equal(store_lookup(&world, store, 1000), anon);
	assert_int_equal(store_count(&world, store), 22);
	assert_int_equal(cleave_anon_truncate(world.context, store, 1), 0);
	cleave_anon_flush(world.context);
	assert_int_equal(pages_live(world.pages), 1);
	cleave_anon_unref(world.context, store);
}

static void s13_a_busy_slot_stops_nobody_else(void **state)
{
	struct cleave_anon *store = store_make(&world, 100);
	struct cleave_anon_context *other = cleave_anon_context_open(&world.domain, &world.manual.self);
	struct cleave_anon_page *anon = store_fill(&world, store, 10), *fresh = page_make(world.context, world.pages),
				*found;
	struct cleave_anon_busy busy, second;

	(void)state;
	assert_int_equal(cleave_anon_prepare(world.context, store), 0);
	assert_int_equal(cleave_anon_prepare(other, store), 0);
	assert_int_equal(cleave_anon_guard(world.context, store, 10, 10), 0);
	assert_int_equal(cleave_anon_try_busy(world.context, store, 10, &busy), 0);
	assert_ptr_equal(busy.anon, anon);
	/* The other context, in the same section: manual domains have one. */
	assert_int_equal(cleave_anon_try_busy(other, store, 10, &second), -EAGAIN);
	assert_int_equal(cleave_anon_try_fill(other, store, 10, fresh, NULL), -EAGAIN);
	assert_int_equal(cleave_anon_try_replace(other, store, 10, anon, fresh), -EAGAIN);
	assert_int_equal(cleave_anon_try_fill(other, store, 11, fresh, NULL), 0);
	assert_int_equal(cleave_anon_try_lookup(world.context, store, 10, &found), -EAGAIN);
	assert_int_equal(cleave_anon_try_lookup(world.context, store, 11, &found), 0);
	assert_ptr_equal(found, fresh);
	assert_int_equal(cleave_anon_try_lookup(world.context, store, 99, &found), 0);
	assert_null(found);
	assert_int_equal(cleave_anon_try_lookup(world.context, store, 100, &found), -EINVAL);
	assert_ptr_equal(cleave_anon_lookup_rcu(store, 10), anon);
	cleave_anon_release(world.context, &busy, anon);
	/* An empty slot is made busy too. */
	assert_int_equal(cleave_anon_try_busy(world.context, store, 12, &busy), 0);
	assert_null(busy.anon);
	assert_int_equal(cleave_anon_try_busy(other, store, 12, &second), -EAGAIN);
	assert_null(cleave_anon_lookup_rcu(store, 12));
	cleave_anon_release(world.context, &busy, NULL);
	cleave_anon_unguard(world.context);
	other->count = NULL;
	assert_int_equal(store_count(&world, store), 2);
	cleave_anon_unref(world.context, store);
	cleave_anon_context_close(other);
}

/* Lookup, fill, replace, remove and busy do without every lock of the store, once the path is there. */
static void s13_no_lock_of_the_store_is_taken(void **state)
{
	struct cleave_anon *store = store_make(&world, UINT64_C(1) << 20);
	struct cleave_anon_page *anon = store_fill(&world, store, 70000), *fresh, *removed;
	struct cleave__anon_node *node;
	struct cleave_anon_busy busy;

	(void)state;
	store_fill(&world, store, 70001);
	store->root_lock.word = store->domain->lock.word = 1;
	node = cleave__anon_node_of(store->root.word);
	for (unsigned int level = cleave__anon_level_of(store->root.word);; level--) {
		node->lock.word = 1;
		if (level == 0)
			break;
		node = cleave__anon_child(node->slot[cleave__anon_index(70000, level)].word);
	}
	assert_ptr_equal(store_lookup(&world, store, 70000), anon);
	store_fill(&world, store, 70002);
	fresh = page_make(world.context, world.pages);
	assert_int_equal(cleave_anon_replace(world.context, store, 70000, anon, fresh), 0);
	cleave_anon_page_drop(world.context, anon);
	assert_int_equal(cleave_anon_remove(world.context, store, 70001, &removed), 0);
	cleave_anon_page_drop(world.context, removed);
	assert_int_equal(cleave_anon_guard(world.context, store, 70003, 70003), 0);
	assert_int_equal(cleave_anon_try_busy(world.context, store, 70003, &busy), 0);
	cleave_anon_release(world.context, &busy, NULL);
	cleave_anon_unguard(world.context);
	assert_int_equal(store_count(&world, store), 2);
	store->root_lock.word = store->domain->lock.word = 0;
	node = cleave__anon_node_of(store->root.word);
	for (unsigned int level = cleave__anon_level_of(store->root.word);; level--) {
		node->lock.word = 0;
		if (level == 0)
			break;
		node = cleave__anon_child(node->slot[cleave__anon_index(70000, level)].word);
	}
	cleave_anon_unref(world.context, store);
}

static void s14_the_lock_follows_the_anon(void **state)
{
	struct cleave_anon *store = store_make(&world, 100), *clone;
	struct cleave_anon_context *other = cleave_anon_context_open(&world.domain, &world.manual.self);
	struct cleave_anon_page *anon = store_fill(&world, store, 10), *neighbour = store_fill(&world, store, 11);

	(void)state;
	clone = store_clone(&world, store);
	manual_enter(&world.manual);
	assert_int_equal(cleave_anon_page_trylock_rcu(world.context, cleave_anon_lookup_rcu(store, 10)), 0);
	assert_int_equal(cleave_anon_page_trylock_rcu(other, cleave_anon_lookup_rcu(clone, 10)), -EAGAIN);
	assert_int_equal(cleave_anon_page_trylock_rcu(other, cleave_anon_lookup_rcu(clone, 11)), 0);
	cleave_anon_page_unlock(world.context, anon);
	assert_int_equal(cleave_anon_page_trylock_rcu(other, cleave_anon_lookup_rcu(clone, 10)), 0);
	cleave_anon_page_unlock(other, anon);
	cleave_anon_page_unlock(other, neighbour);
	manual_leave(&world.manual);
	other->count = NULL;
	cleave_anon_unref(world.context, store);
	cleave_anon_unref(world.context, clone);
	cleave_anon_context_close(other);
}

static void s14_pins_do_not_run_into_the_marks(void **state)
{
	struct cleave_anon *store = store_make(&world, 100);
	struct cleave_anon_page *anon = store_fill(&world, store, 10);
	const unsigned int pins = 70000; /* more than sixteen bits */

	(void)state;
	for (unsigned int i = 0; i < pins; i++)
		assert_true(cleave_anon_page_pin_rcu(anon));
	assert_int_equal(cleave_anon_page_shares(anon), 1);
	assert_false(cleave_anon_in_transit_rcu(world.context, anon));
	assert_int_equal(cleave_anon_page_trylock_rcu(world.context, anon), 0);
	cleave_anon_page_unlock(world.context, anon);
	for (unsigned int i = 0; i < pins; i++)
		cleave_anon_page_unpin(world.context, anon);
	assert_ptr_equal(store_lookup(&world, store, 10), anon);
	cleave_anon_unref(world.context, store);
}

struct swap_off {
	struct cleave_anon_walker walker;
	unsigned int fail_after;
	unsigned int visits;
};

static bool swapped(struct cleave_anon_walker *walker, uint64_t content)
{
	(void)walker;
	return CLEAVE_ANON_IS_SWAPPED(content);
}

static int page_in(struct cleave_anon_walker *walker, uint64_t content, uint64_t *fresh)
{
	struct swap_off *self = (struct swap_off *)walker;

	if (self->visits == self->fail_after)
		return -ENOMEM;
	self->visits++;
	*fresh = pages_take(world.pages, false);
	pages_release(&world.pages->ops, content);
	return 0;
}

static void s15_swap_off_visits_each_anon_once_and_reports_a_failure(void **state)
{
	struct swap_off off = { { .match = swapped, .visit = page_in }, 30, 0 };
	struct cleave_anon *stores[20], *clones[20];

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		stores[i] = store_make(&world, 1000);
		for (uint64_t slot = 0; slot < 10; slot++) {
			uint64_t content = pages_take(world.pages, slot % 2);
			struct cleave_anon_page *anon = cleave_anon_page_make(world.context, content);

			assert_int_equal(cleave_anon_fill(world.context, stores[i], slot * 20, anon, NULL), 0);
		}
	}
	for (unsigned int i = 0; i < 20; i++) {
		clones[i] = store_clone(&world, stores[i]);
		store_write(&world, clones[i], 0);
	}
	assert_int_equal(cleave_anon_walk(world.context, &off.walker), -ENOMEM);
	assert_int_equal(off.walker.visited, 30);
	off.fail_after = UINT32_MAX;
	off.walker.stores = 0;
	assert_int_equal(cleave_anon_walk(world.context, &off.walker), 0);
	assert_int_equal(off.walker.visited, 100);
	assert_int_equal(off.walker.stores, 40);
	assert_int_equal(cleave_anon_walk(world.context, &off.walker), 0);
	assert_int_equal(off.walker.visited, 100);
	for (unsigned int i = 0; i < 20; i++) {
		cleave_anon_unref(world.context, stores[i]);
		cleave_anon_unref(world.context, clones[i]);
	}
}

/* The store that a walker stands on goes when the walker does. */
struct last_reference {
	struct cleave_anon_walker walker;
	struct cleave_anon *store;
	uint64_t live;
};

static int drop_store(struct cleave_anon_walker *walker, uint64_t content, uint64_t *fresh)
{
	struct last_reference *self = (struct last_reference *)walker;

	if (self->store) {
		cleave_anon_unref(world.context, self->store);
		cleave_anon_flush(world.context);
		self->live = pages_live(world.pages);
	}
	self->store = NULL;
	*fresh = pages_take(world.pages, false);
	pages_release(&world.pages->ops, content);
	return 0;
}

static void s15_a_wipeout_is_deferred_while_the_store_is_pinned(void **state)
{
	struct last_reference last = { { .match = swapped, .visit = drop_store }, store_make(&world, 1000), 0 };

	(void)state;
	for (uint64_t slot = 0; slot < 50; slot++)
		assert_int_equal(cleave_anon_fill(world.context, last.store, slot,
						  cleave_anon_page_make(world.context, pages_take(world.pages, true)),
						  NULL),
				 0);
	assert_int_equal(cleave_anon_walk(world.context, &last.walker), 0);
	assert_int_equal(last.live, 50);
	assert_int_equal(last.walker.visited, 50);
	cleave_anon_flush(world.context);
	assert_int_equal(pages_live(world.pages), 0);
	assert_int_equal(world.domain.stores, 0);
}

static void s16_counts_are_exact_at_rest(void **state)
{
	struct cleave_anon *store = store_make(&world, 5000);
	uint64_t populated = 0, leaves = 0;
	bool is_populated[5000] = { 0 };
	struct cleave_anon_page *anon;

	(void)state;
	world.rng.state = test_seed();
	for (int i = 0; i < 20000; i++) {
		uint64_t slot = rng_below(&world.rng, 5000);

		if (is_populated[slot] && rng_one_in(&world.rng, 2)) {
			assert_int_equal(cleave_anon_remove(world.context, store, slot, &anon), 0);
			cleave_anon_page_drop(world.context, anon);
			is_populated[slot] = false;
		} else if (!is_populated[slot] && rng_one_in(&world.rng, 3)) {
			store_fill(&world, store, slot);
			is_populated[slot] = true;
		}
	}
	for (unsigned int i = 0; i < 5000; i += 32) {
		bool any = false;

		for (unsigned int k = i; k < i + 32 && k < 5000; k++) {
			populated += is_populated[k];
			any |= is_populated[k];
		}
		leaves += any;
	}
	assert_int_equal(store_count(&world, store), populated);
	assert_int_equal(store_statistics(&world, store).populated, populated);
	assert_int_equal(store_statistics(&world, store).leaves, leaves);
	cleave_anon_flush(world.context);
	assert_int_equal(pages_live(world.pages), populated);
	cleave_anon_unref(world.context, store);
}

static void s17_memory_follows_what_is_populated(void **state)
{
	struct cleave_anon *store = store_make(&world, UINT64_C(1) << 18);
	struct cleave_anon_statistics statistics;
	uint64_t dense = UINT64_C(1) << 18, worst;

	(void)state;
	/* One page of each leaf: the worst case. */
	for (uint64_t slot = 0; slot < dense; slot += 32)
		store_fill(&world, store, slot);
	statistics = store_statistics(&world, store);
	worst = statistics.bytes / statistics.populated;
	assert_true(worst < 300);
	for (uint64_t slot = 0; slot < dense; slot++)
		if (slot % 32)
			store_fill(&world, store, slot);
	statistics = store_statistics(&world, store);
	assert_int_equal(statistics.populated, dense);
	/* 152 bytes for 16 pages, 2.5 MiB for 1 GiB, inner nodes and all */
	assert_true(statistics.bytes <= 152 * dense / 16);
	assert_true(statistics.bytes <= (UINT64_C(5) << 20) / 2);
	printf("1 GiB dense: %llu bytes of nodes, %llu for 64 KiB; one page of each leaf: %llu bytes a page\n",
	       LL(statistics.bytes), LL(statistics.bytes * 16 / dense), LL(worst));
	cleave_anon_unref(world.context, store);
}

int main(int argc, char **argv)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		ROW(s10_copy_now_goes_on_after_a_failure),
		ROW(s11_iteration_is_resumed_by_slot_number),
		ROW(s12_truncate_drops_the_tail_and_extend_moves_nothing),
		ROW(s13_a_busy_slot_stops_nobody_else),
		ROW(s13_no_lock_of_the_store_is_taken),
		ROW(s14_the_lock_follows_the_anon),
		ROW(s14_pins_do_not_run_into_the_marks),
		ROW(s15_swap_off_visits_each_anon_once_and_reports_a_failure),
		ROW(s15_a_wipeout_is_deferred_while_the_store_is_pinned),
		ROW(s16_counts_are_exact_at_rest),
		ROW(s17_memory_follows_what_is_populated),
	};

	return RUN_TESTS(tests, argc, argv);
}
