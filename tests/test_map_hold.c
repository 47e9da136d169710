/* SPDX-License-Identifier: ISC */
/*
 * Changes of one entry under its leaf's lock alone: objects that serve several entries, counts that threads keep to
 * themselves, what is left to transactions.
 */
#include "map_world.h"

#include <stdlib.h>

#define PAGES 40u

static int protect(struct solo *solo, struct cleave_map_thread *thread, unsigned int from, unsigned int to,
		   unsigned int protection)
{
	return cleave_map_protect(&solo->map, thread, AT(from), AT(to), protection, 0, 0);
}

static uint64_t version(struct solo *solo, unsigned int n)
{
	struct cleave_map_entry entry;

	assert_true(solo_lookup(solo, n, &entry));
	return entry.version;
}

static void entries_that_get_the_same_share_an_object(void **state)
{
	struct solo solo;
	uint64_t first, second;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 0, PAGES), 0);
	/* By turns, as a collector's barrier does. */
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(protect(&solo, &solo.thread, i, i + 1, i % 2), 0);
	first = version(&solo, 0);
	second = version(&solo, 1);
	assert_true(first != second);
	for (unsigned int i = 0; i < 6; i++)
		assert_true(version(&solo, i) == (i % 2 ? second : first));
	/* Far from there, too. */
	assert_int_equal(protect(&solo, &solo.thread, PAGES - 2, PAGES - 1, 0), 0);
	assert_true(version(&solo, PAGES - 2) == first);
	/*
	 * A page gets another one, and then what it had: a neighbour still has that object, but it must not come again.
	 */
	assert_int_equal(protect(&solo, &solo.thread, 4, 5, RW), 0);
	assert_int_equal(protect(&solo, &solo.thread, 4, 5, 0), 0);
	assert_true(version(&solo, 4) > second && version(&solo, 2) == first);
	solo_check(&solo);
	solo_stop(&solo);
}

/* All versions that a page has had. */
struct history {
	uint64_t *versions;
	size_t n;
};

static void remember(struct history *history, uint64_t now)
{
	if (history->n && history->versions[history->n - 1] == now)
		return;
	for (size_t i = 0; i < history->n; i++)
		CHECK(history->versions[i] != now, "version %#llx came again", (unsigned long long)now);
	history->versions = realloc(history->versions, (history->n + 1) * sizeof(*history->versions));
	assert_non_null(history->versions);
	history->versions[history->n++] = now;
}

static void no_version_comes_again_at_any_page(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (uint64_t round = test_scaled(40); round; round--) {
		struct history histories[PAGES] = { { .versions = NULL } };
		struct cleave_map_thread other, *threads[2];
		struct rng rng = { .state = seed + round };
		unsigned int at = 0;
		struct solo solo;

		solo_start(&solo, NULL);
		cleave_map_thread_init(&other, &solo.maps, &solo.domain.self);
		threads[0] = &solo.thread;
		threads[1] = &other;
		assert_int_equal(solo_map(&solo, 0, PAGES), 0);
		for (unsigned int step = 0; step < 1000; step++) {
			struct cleave_map_thread *thread = threads[rng_one_in(&rng, 2)];
			unsigned int from, to;

			check_context("seed %#llx, round %llu, step %u", (unsigned long long)seed,
				      (unsigned long long)round, step);
			if (rng_one_in(&rng, 8))
				at = (unsigned int)rng_below(&rng, PAGES);
			from = at + (unsigned int)rng_below(&rng, 2); /* mostly around the same place */
			from = from < PAGES ? from : at;
			to = from + 1;
			if (rng_one_in(&rng, 16))
				to = from + 1 + (unsigned int)rng_below(&rng, PAGES - from);
			if (rng_one_in(&rng, 6))
				assert_int_equal(cleave_map_advise(&solo.map, thread, AT(from), AT(to),
								   (unsigned int)rng_below(&rng, 2)),
						 0);
			else
				assert_int_equal(protect(&solo, thread, from, to, (unsigned int)rng_below(&rng, 2)), 0);
			for (unsigned int i = from; i < to; i++)
				remember(&histories[i], version(&solo, i));
		}
		cleave_map_thread_exit(&other);
		solo_check(&solo);
		solo_stop(&solo);
		for (unsigned int i = 0; i < PAGES; i++)
			free(histories[i].versions);
	}
}

/* What was taken over by one store is told to the embedder while the range is locked. */
static void lost_permissions_are_told_under_the_lock(void **state)
{
	struct solo solo;
	uint64_t before;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 0, PAGES), 0);
	before = solo.embedder.restrictions;
	assert_int_equal(protect(&solo, &solo.thread, 3, 5, CLEAVE_PROT_READ), 0);
	assert_int_equal(solo.embedder.restrictions, before + 1);
	assert_int_equal(protect(&solo, &solo.thread, 3, 5, RW), 0); /* growth needs nothing */
	assert_int_equal(cleave_map_advise(&solo.map, &solo.thread, AT(3), AT(5), CLEAVE_ADVICE_RANDOM), 0);
	assert_int_equal(solo.embedder.restrictions, before + 1);
	solo_stop(&solo);
}

static void a_change_over_the_data_limit_changes_nothing(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_accounts accounts;
	struct cleave_map_request request = request_fixed(0, PAGES);
	struct solo solo;

	(void)state;
	config.flags |= CLEAVE_MAP_LIMITS;
	config.size_limit = CLEAVE_MAP_UNLIMITED;
	config.data_limit = 4 * PAGE;
	solo_start(&solo, &config);
	request.protection = 0;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(protect(&solo, &solo.thread, 1, 4, RW), 0);
	assert_int_equal(protect(&solo, &solo.thread, 8, 10, RW), -ENOMEM);
	assert_int_equal(solo_entries(&solo), 3);
	assert_int_equal(protect(&solo, &solo.thread, 8, 9, CLEAVE_PROT_READ), 0);
	assert_int_equal(protect(&solo, &solo.thread, 9, 10, CLEAVE_PROT_READ), -ENOMEM);
	assert_int_equal(protect(&solo, &solo.thread, 1, 2, 0), 0); /* gives one back */
	assert_int_equal(protect(&solo, &solo.thread, 9, 10, CLEAVE_PROT_READ), 0);
	cleave_map_account(&solo.map, &solo.thread, &accounts);
	assert_true(accounts.data == 4 * PAGE && accounts.size == PAGES * PAGE);
	solo_check(&solo);
	solo_stop(&solo);
}

/* Two threads give pages of one object away; a third made it: it is gone when all have said so, and not before. */
static void an_object_goes_with_the_last_count_that_a_thread_keeps(void **state)
{
	struct cleave_map_request request = request_fixed(0, PAGES);
	struct cleave_map_thread others[2];
	struct thing *thing;
	struct solo solo;
	uint64_t made;

	(void)state;
	solo_start(&solo, NULL);
	for (unsigned int i = 0; i < 2; i++)
		cleave_map_thread_init(&others[i], &solo.maps, &solo.domain.self);
	thing = thing_new(&solo.embedder);
	thing_ref(thing);
	request.object = thing;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	cleave_map_thread_flush(&solo.thread, true);
	assert_true(thing_refs(thing) == 2);
	for (unsigned int i = 10; i < 20; i += 2)
		assert_int_equal(protect(&solo, &solo.thread, i, i + 1, 0), 0);
	assert_true(thing_refs(thing) == 3); /* one object for all five */
	made = version(&solo, 10);
	assert_true(version(&solo, 18) == made);
	/* Others take all of it; who made it still may use it. */
	for (unsigned int i = 10; i < 20; i += 2)
		assert_int_equal(protect(&solo, &others[i / 2 % 2], i, i + 1, CLEAVE_PROT_READ), 0);
	for (unsigned int i = 0; i < 2; i++)
		cleave_map_thread_flush(&others[i], true);
	assert_int_equal(thing_refs(thing), 5); /* two more: who replaces another's object makes one */
	assert_int_equal(protect(&solo, &solo.thread, 30, 31, 0), 0);
	assert_true(version(&solo, 30) == made);
	assert_int_equal(protect(&solo, &others[0], 30, 31, RW), 0);
	cleave_map_thread_flush(&solo.thread, true);
	assert_int_equal(thing_refs(thing), 6); /* who took page 30 has not said so; it has another object now */
	cleave_map_thread_flush(&others[0], true);
	assert_int_equal(thing_refs(thing), 5);
	for (unsigned int i = 0; i < 2; i++)
		cleave_map_thread_exit(&others[i]);
	solo_check(&solo);
	thing_unref(&solo.embedder, thing);
	solo_stop(&solo);
}

/* Page after page of an object is taken by one thread: with the last page it ends, and need not be asked for. */
static void an_object_ends_with_its_last_page(void **state)
{
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 0, 8), 0);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(solo.thread.nyoung, 0);
		assert_int_equal(protect(&solo, &solo.thread, i, i + 1, CLEAVE_PROT_READ), 0);
	}
	assert_int_equal(solo.thread.nyoung, 1);
	solo_check(&solo);
	solo_stop(&solo);
}

/* So many pages that what a thread keeps to itself could be taken for what it adds to keep the object. */
static void more_pages_than_a_thread_keeps_to_itself(void **state)
{
	struct cleave_map_config config = { .min = 2, .max = UINT64_C(1) << 63, .page_shift = 1 };
	struct cleave_map_request request = {
		.addr = 2,
		.size = config.max - 2,
		.flags = CLEAVE_MAP_FIXED,
		.protection = RW,
		.max_protection = CLEAVE_PROT_ALL,
	};
	struct solo solo;

	(void)state;
	solo_start(&solo, &config);
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	for (uint64_t at = 2; at < config.max / 2; at *= 2) {
		assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, at, 2 * at, CLEAVE_PROT_READ, 0, 0), 0);
		assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, at, 2 * at, at & 0xaaaa ? 0 : 1, 0, 0), 0);
	}
	solo_check(&solo);
	for (uint64_t at = 2; at < config.max / 2; at *= 2)
		assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, at, 2 * at, RW, 0, 0), 0);
	solo_check(&solo);
	solo_stop(&solo);
}

/* More threads than stripes; every third one ends after each round, and another one takes its stripe. */
static void accounts_add_up_over_all_stripes(void **state)
{
	struct cleave_map_thread threads[2 * CLEAVE_MAP_STRIPES];
	unsigned int n = sizeof(threads) / sizeof(threads[0]), own = 0;
	struct cleave_map_accounts accounts;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 0, PAGES), 0);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = round; i < n; i++) {
			if (round == 0 || i % 3 == 0)
				cleave_map_thread_init(&threads[i], &solo.maps, &solo.domain.self);
			own += threads[i].stripe < CLEAVE_MAP_OWN_STRIPES;
			assert_int_equal(protect(&solo, &threads[i], i, i + 1, round % 2 ? RW : 0), 0);
		}
		for (unsigned int i = round + 1; i < n; i++)
			if (i % 3 == 0)
				cleave_map_thread_exit(&threads[i]);
		cleave_map_account(&solo.map, &solo.thread, &accounts);
		assert_true(accounts.size == PAGES * PAGE);
	}
	assert_true(own >= CLEAVE_MAP_OWN_STRIPES - 1); /* this test's own thread has the other */
	/* Page 0 was changed once, page 1 twice, the others three times, those above never. */
	assert_true(accounts.data == (PAGES - n + 1) * PAGE);
	for (unsigned int i = 0; i < n; i++)
		if (i == 0 || i % 3)
			cleave_map_thread_exit(&threads[i]);
	solo_check(&solo);
	solo_stop(&solo);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_object_goes_with_the_last_count_that_a_thread_keeps),
		cmocka_unit_test(an_object_ends_with_its_last_page),
		cmocka_unit_test(more_pages_than_a_thread_keeps_to_itself),
		cmocka_unit_test(accounts_add_up_over_all_stripes),
		cmocka_unit_test(entries_that_get_the_same_share_an_object),
		cmocka_unit_test(no_version_comes_again_at_any_page),
		cmocka_unit_test(lost_permissions_are_told_under_the_lock),
		cmocka_unit_test(a_change_over_the_data_limit_changes_nothing),
	};

	return RUN_TESTS(tests, argc, argv);
}
