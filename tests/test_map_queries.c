/* SPDX-License-Identifier: ISC */
/* What a map says when it is asked: where free space is, snapshots in parts, whether an address is on a stack. */
#include "map_world.h"

/* Many gaps to compare, more than are looked at in one read section. */
static void the_best_fit_of_many(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = { .protection = RW, .max_protection = RW };
	struct solo solo;

	(void)state;
	config.nselectors = 1;
	config.selectors[0] = (struct cleave_map_selector){ AT(0), AT(128), CLEAVE_SELECT_BEST_FIT, CLEAVE_SELECT_ANY };
	solo_start(&solo, &config);
	for (unsigned int i = 0; i < 100; i += 4) /* gaps of three pages, one of two */
		assert_int_equal(solo_map(&solo, i, i + 1 + (i == 80)), 0);
	request.size = 2 * PAGE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(request.addr, AT(82));
	solo_stop(&solo);
}

/* Where no selector begins, free space begins with the map. */
static void free_space_below_all_selectors(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_entry entry;
	struct solo solo;

	(void)state;
	config.nselectors = 1;
	config.selectors[0] = (struct cleave_map_selector){ AT(20), AT(128), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	solo_start(&solo, &config);
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	for (unsigned int page = 0; page < 10; page++) {
		manual_enter(&solo.domain);
		assert_false(cleave_map_lookup_rcu(&solo.map, AT(page), &entry));
		manual_leave(&solo.domain);
		assert_true(entry.start == config.min && entry.end == config.min);
		assert_true(entry.fspace == AT(10) - config.min);
	}
	solo_stop(&solo);
}

/* A selector that has page 0 alone serves nobody; one of more than 4 GiB starts within the first. */
static void selectors_at_the_ends(void **state)
{
	struct cleave_map_config config = { .max = UINT64_C(1) << 36, .page_shift = 12, .nselectors = 2 };
	struct cleave_map_request request = { .size = PAGE, .protection = RW, .max_protection = RW };
	struct solo solo;

	(void)state;
	config.selectors[0] = (struct cleave_map_selector){ 0, PAGE, CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	config.selectors[1] = (struct cleave_map_selector){ PAGE, config.max, CLEAVE_SELECT_RANDOM, CLEAVE_SELECT_ANY };
	solo_start(&solo, &config);
	for (unsigned int i = 0; i < 20; i++) {
		request.addr = 0;
		assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
		assert_true(request.addr >= PAGE && request.addr <= PAGE + (UINT64_C(1) << 32));
	}
	solo_stop(&solo);
}

/* Above, below and between ranges for the heap and the stack, in any order. */
static void queries_pass_over_reserved_ranges(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = { .protection = RW, .max_protection = RW };
	struct solo solo;

	(void)state;
	config.nselectors = 3;
	config.selectors[0] =
		(struct cleave_map_selector){ AT(20), AT(30), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_BRK_STACK };
	config.selectors[1] =
		(struct cleave_map_selector){ AT(60), AT(70), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_BRK_STACK };
	config.selectors[2] = (struct cleave_map_selector){ AT(70), AT(128), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	solo_start(&solo, &config);
#define QUERY(from, pages) \
	(request.addr = AT(from), request.size = (pages)*PAGE, cleave_map_query(&solo.map, &solo.thread, &request))
	assert_int_equal(QUERY(10, 10), 0);
	assert_int_equal(request.addr, AT(10));
	assert_int_equal(QUERY(10, 11), 0);
	assert_int_equal(request.addr, AT(30));
	assert_int_equal(QUERY(10, 40), 0);
	assert_int_equal(request.addr, AT(70));
	assert_int_equal(QUERY(25, 10), 0);
	assert_int_equal(request.addr, AT(30));
	assert_int_equal(QUERY(100, 29), -ENOMEM);
	solo_stop(&solo);
}

/* A snapshot in parts of any size, from anywhere, is the whole one; selectors in any order, guards or none. */
static void snapshots_in_parts_are_the_whole(void **state)
{
	struct cleave_map_entry whole[64], part[64], entry;
	struct cleave_map_config config = solo_config();
	struct solo solo;
	uint64_t from;
	size_t n;

	(void)state;
	config.nselectors = 3;
	config.selectors[0] = (struct cleave_map_selector){ AT(90), AT(120), CLEAVE_SELECT_HIGHEST, CLEAVE_SELECT_ANY };
	config.selectors[1] = (struct cleave_map_selector){ AT(40), AT(60), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	config.selectors[2] = (struct cleave_map_selector){ AT(0), AT(30), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	for (unsigned int guards = 0; guards < 2; guards++) {
		config.flags = guards ? CLEAVE_MAP_GUARD_PAGES : 0;
		solo_start(&solo, &config);
		assert_int_equal(solo_map(&solo, 2, 4), 0);
		assert_int_equal(solo_map(&solo, 10, 12), 0);
		assert_int_equal(solo_map(&solo, 12, 14), 0);
		assert_int_equal(solo_map(&solo, 44, 50), 0);
		assert_int_equal(solo_map(&solo, 100, 101), 0);
		from = 0;
		n = 64;
		assert_int_equal(cleave_map_snapshot(&solo.map, &solo.thread, &from, whole, &n), 0);
		assert_true(n < 32);
		for (size_t room = 1; room <= n; room++) {
			size_t got = 0, size;
			int error = -ENOMEM;

			for (from = 0; error; got += size) {
				size = room;
				error = cleave_map_snapshot(&solo.map, &solo.thread, &from, part + got, &size);
				assert_true(size == room || !error);
				assert_true(got + size <= n);
			}
			assert_int_equal(got, n);
			assert_memory_equal(part, whole, n * sizeof(*whole));
		}
		for (unsigned int page = 0; page < SOLO_PAGES; page++) {
			size_t i = 0, size = 64;

			/* The entry, or the free space, that holds the page; a guard is its entry's. */
			solo_lookup(&solo, page, &entry);
			while (i < n && whole[i].end + whole[i].guard + whole[i].fspace <= AT(page))
				i++;
			assert_true(i < n && entry.start == whole[i].start && entry.end == whole[i].end);
			from = AT(page);
			assert_int_equal(cleave_map_snapshot(&solo.map, &solo.thread, &from, part, &size), 0);
			assert_int_equal(size, n - i);
			assert_memory_equal(part, whole + i, size * sizeof(*whole));
		}
		solo_stop(&solo);
	}
}

/* Between two stacks: what was learnt of one does not serve the other. */
static void a_remembered_stack_is_no_other(void **state)
{
	struct cleave_map_inentry cache = { 0 };
	struct cleave_map_request request;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	for (unsigned int i = 2; i < 10; i += 4) {
		request = request_fixed(i, i + 2);
		request.entry_flags |= CLEAVE_MAP_STACK;
		assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	}
	manual_enter(&solo.domain);
	assert_true(cleave_map_inentry_rcu(&solo.map, &cache, AT(6), CLEAVE_MAP_STACK));
	assert_true(cache.start == AT(6) && cache.end == AT(8));
	assert_false(cleave_map_inentry_rcu(&solo.map, &cache, AT(4), CLEAVE_MAP_STACK));
	assert_true(cleave_map_inentry_rcu(&solo.map, &cache, AT(3), CLEAVE_MAP_STACK));
	assert_true(cache.start == AT(2) && cache.end == AT(4));
	assert_true(cleave_map_inentry_rcu(&solo.map, &cache, AT(2), CLEAVE_MAP_STACK));
	assert_false(cleave_map_inentry_rcu(&solo.map, &cache, AT(9), CLEAVE_MAP_STACK));
	manual_leave(&solo.domain);
	solo_stop(&solo);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_best_fit_of_many),
		cmocka_unit_test(free_space_below_all_selectors),
		cmocka_unit_test(selectors_at_the_ends),
		cmocka_unit_test(queries_pass_over_reserved_ranges),
		cmocka_unit_test(snapshots_in_parts_are_the_whole),
		cmocka_unit_test(a_remembered_stack_is_no_other),
	};

	return RUN_TESTS(tests, argc, argv);
}
