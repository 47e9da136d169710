/* SPDX-License-Identifier: ISC */
/* The ways to search a node against each other, through the public functions. */
#include "world.h"

static const char *const names[] = { "scalar", "avx2", "avx512", "live" };

#define NAMES (sizeof(names) / sizeof(names[0]))

static struct cleave_request random_request(const struct keyspace *keyspace, struct rng *rng)
{
	struct cleave_request request = {
		.order = (enum cleave_order)rng_below(rng, 5),
		.size = 1 + (rng_one_in(rng, 4) ? rng_next(rng) >> rng_below(rng, 64) : rng_below(rng, 8)),
		.align = UINT64_C(1) << rng_below(rng, rng_one_in(rng, 8) ? 64 : 3),
		.min = rng_one_in(rng, 4) ? 0 : keyspace_addr(keyspace, rng),
		.max = rng_one_in(rng, 4) ? CLEAVE_LAST : keyspace_addr(keyspace, rng),
		.hint = keyspace_addr(keyspace, rng),
	};

	request.size += request.size == 0;
	request.phase = rng_next(rng) & (request.align - 1);
	if (request.min > request.max) {
		uint64_t min = request.max;

		request.max = request.min;
		request.min = min;
	}
	return request;
}

/* The same steps under each walk: all agree with one model, and so with each other. */
static void all_walks_agree_on_the_same_index(void **state)
{
	uint64_t seed = test_seed();
	unsigned int found = 0;
	uint64_t fits = 0;

	(void)state;
	for (size_t s = 0; s < nkeyspaces; s++) {
		struct manual_domain manual[NAMES];
		struct world world[NAMES];
		bool there[NAMES];
		struct rng rng = { .state = seed + s };

		found = 0;
		for (size_t i = 0; i < NAMES; i++) {
			there[i] = cleave_search_named(names[i]) != NULL;
			if (!there[i])
				continue;
			found++;
			manual_start(&manual[i], GRACE_LATE, names[i], 1000);
			world_start(&world[i], &manual[i].domain, &manual[i].self, &keyspaces[s], seed);
			for (uint64_t n = test_scaled(10000); n; n--)
				world_step(&world[i]);
			world_compare(&world[i]);
		}
		for (uint64_t n = test_scaled(200000); n; n--) {
			uint64_t addr = keyspace_addr(&keyspaces[s], &rng);
			struct cleave_entry first = { 0 }, entry;
			bool have = false;

			if (rng_one_in(&rng, 16))
				addr = rng_one_in(&rng, 2) ? 0 : CLEAVE_LAST;
			for (size_t i = 0; i < NAMES; i++) {
				struct cleave_ticket ticket;

				if (!there[i])
					continue;
				manual_enter(&manual[i]);
				if (have) {
					cleave_lookup_ticket_rcu(&world[i].index, addr, &entry, &ticket);
					CHECK(entry.first == first.first && entry.last == first.last &&
						      entry.value == first.value,
					      "seed %#llx, %s differs at %#llx", (unsigned long long)seed, names[i],
					      (unsigned long long)addr);
				} else {
					cleave_lookup_rcu(&world[i].index, addr, &first);
					have = true;
				}
				manual_leave(&manual[i]);
			}
		}
		for (uint64_t n = test_scaled(100000); n; n--) {
			struct cleave_request request = random_request(&keyspaces[s], &rng);
			uint64_t first = 0, addr;
			int expected = 0, result = 0;
			bool have = false;

			for (size_t i = 0; i < NAMES; i++) {
				if (!there[i])
					continue;
				addr = 0;
				manual_enter(&manual[i]);
				result = cleave_find_gap_rcu(&world[i].index, &request, &addr);
				manual_leave(&manual[i]);
				CHECK(!have || (result == expected && addr == first),
				      "seed %#llx, %s finds %d, %#llx in place of %d, %#llx", (unsigned long long)seed,
				      names[i], result, (unsigned long long)addr, expected, (unsigned long long)first);
				expected = result;
				first = addr;
				have = true;
			}
			fits += result == 0;
		}
		for (size_t i = 0; i < NAMES; i++)
			if (there[i]) {
				world_stop(&world[i]);
				manual_stop(&manual[i]);
			}
	}
	printf("%u walks compared, %llu gaps found\n", found, (unsigned long long)fits);
	assert_true(found >= 1 && fits > 0);
}

/* Groups of every length, full ones and what is left over. */
static void many_lookups_find_what_single_ones_do(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (size_t i = 0; i < NAMES; i++) {
		struct manual_domain manual;
		struct rng rng = { .state = seed };
		struct world world;

		if (!cleave_search_named(names[i]))
			continue;
		manual_start(&manual, GRACE_LATE, names[i], 1000);
		world_start(&world, &manual.domain, &manual.self, &keyspaces[0], seed);
		for (uint64_t n = test_scaled(3000); n; n--) {
			struct cleave_entry entries[21], one;
			uint64_t addrs[20];
			size_t count = rng_below(&rng, 21);

			world_step(&world);
			for (size_t j = 0; j < count; j++)
				addrs[j] = rng_one_in(&rng, 8) ? CLEAVE_LAST : keyspace_addr(&keyspaces[0], &rng);
			entries[count].value = &rng; /* not its to write */
			manual_enter(&manual);
			cleave_lookup_many_rcu(&world.index, addrs, count, entries);
			for (size_t j = 0; j < count; j++) {
				cleave_lookup_rcu(&world.index, addrs[j], &one);
				CHECK(entries[j].first == one.first && entries[j].last == one.last &&
					      entries[j].value == one.value,
				      "seed %#llx, %s, %zu of %zu differs at %#llx", (unsigned long long)seed, names[i],
				      j, count, (unsigned long long)addrs[j]);
			}
			manual_leave(&manual);
			CHECK(entries[count].value == &rng, "%zu entries and more were written", count);
		}
		world_stop(&world);
		manual_stop(&manual);
	}
}

/*
 * Visits of every number, from anywhere, whether they end in a leaf or go through several; and the entries of a range,
 * up to an address that comes before the last visit or after it.
 */
static void cursors_and_ranges_yield_what_lookups_find(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (size_t i = 0; i < NAMES; i++) {
		struct manual_domain manual;
		struct rng rng = { .state = seed };
		struct world world;
		uint64_t seen = 0;

		if (!cleave_search_named(names[i]))
			continue;
		manual_start(&manual, GRACE_LATE, names[i], 1000);
		world_start(&world, &manual.domain, &manual.self, &keyspaces[0], seed);
		for (uint64_t n = test_scaled(5000); n; n--) {
			bool gaps = rng_one_in(&rng, 3), end = false;
			uint64_t key = keyspace_addr(&keyspaces[0], &rng), first = key;
			uint64_t last = rng_one_in(&rng, 4) ? CLEAVE_LAST : keyspace_addr(&keyspaces[0], &rng);
			size_t want = rng_below(&rng, 41), got, expected = 0;
			struct cleave_entry entries[41];
			struct cleave_visit visits[41];
			struct cleave_cursor cursor;

			world_step(&world);
			visits[want].entry.value = entries[want].value = &rng; /* not theirs to write */
			cleave_cursor_init(&cursor, &world.index, key, gaps);
			manual_enter(&manual);
			got = cleave_next_rcu(&cursor, visits, want);
			while (expected < want && !end) {
				const struct cleave_visit *visit = &visits[expected];
				struct cleave_entry entry;

				if (cleave_lookup_rcu(&world.index, key, &entry) || gaps) {
					CHECK(expected < got && visit->entry.first == entry.first &&
						      visit->entry.last == entry.last &&
						      visit->entry.value == entry.value && visit->first == key &&
						      visit->last == entry.last,
					      "seed %#llx, %s, visit %zu of %zu differs at %#llx",
					      (unsigned long long)seed, names[i], expected, got,
					      (unsigned long long)key);
					expected++;
				}
				end = entry.last == CLEAVE_LAST;
				key = entry.last + 1;
			}
			CHECK(got == expected, "seed %#llx, %s: %zu visits in place of %zu", (unsigned long long)seed,
			      names[i], got, expected);
			seen += got;

			got = cleave_lookup_range_rcu(&world.index, first, last, gaps, entries, want);
			manual_leave(&manual);
			while (expected && (first > last || visits[expected - 1].entry.first > last))
				expected--;
			CHECK(got == expected, "seed %#llx, %s: %zu entries in place of %zu", (unsigned long long)seed,
			      names[i], got, expected);
			for (size_t j = 0; j < got; j++)
				CHECK(entries[j].first == visits[j].entry.first &&
					      entries[j].last == visits[j].entry.last &&
					      entries[j].value == visits[j].entry.value,
				      "seed %#llx, %s, entry %zu of %zu from %#llx differs", (unsigned long long)seed,
				      names[i], j, got, (unsigned long long)first);
			CHECK(visits[want].entry.value == &rng && entries[want].value == &rng,
			      "%zu visits or entries and more were written", want);
		}
		assert_true(seen > 0);
		world_stop(&world);
		manual_stop(&manual);
	}
}

/* Through more than one level of branches. */
static void many_lookups_go_down_a_tall_index(void **state)
{
	static struct cleave_entry all[5000];
	const uint64_t n = sizeof(all) / sizeof(all[0]);

	(void)state;
	for (uint64_t k = 0; k < n; k++)
		all[k] = (struct cleave_entry){ 16 * k, 16 * k + 7, &all[k] };
	for (size_t i = 0; i < NAMES; i++) {
		struct cleave_statistics statistics;
		struct cleave_entry entries[20];
		struct manual_domain manual;
		struct cleave index;
		uint64_t addrs[20];

		if (!cleave_search_named(names[i]))
			continue;
		manual_start(&manual, GRACE_LATE, names[i], 1000);
		assert_int_equal(cleave_init(&index, &manual.self), 0);
		assert_int_equal(cleave_build(&index, &manual.self, all, n), 0);
		manual_enter(&manual);
		cleave_statistics_rcu(&index, &statistics);
		assert_true(statistics.height >= 3);
		for (uint64_t first = 0; first < 16 * (n - 1); first += 16 * 19 + 5) {
			for (size_t j = 0; j < 20; j++)
				addrs[j] = (first + j * 16 * 251) % (16 * (n - 1));
			cleave_lookup_many_rcu(&index, addrs, 20, entries);
			for (size_t j = 0; j < 20; j++) {
				uint64_t gap = addrs[j] / 8 % 2, begin = addrs[j] & ~UINT64_C(7);

				CHECK(entries[j].first == begin && entries[j].last == begin + 7 &&
					      entries[j].value == (gap ? NULL : &all[addrs[j] / 16]),
				      "%s: %zu of 20 is wrong at %#llx", names[i], j, (unsigned long long)addrs[j]);
			}
		}
		manual_leave(&manual);
		cleave_destroy(&index, &manual.self);
		manual_stop(&manual);
	}
}

/* Signed comparison, wrong masks and unused cells show at the extremes. */
static void every_walk_finds_every_boundary(void **state)
{
	(void)state;
	for (size_t i = 0; i < NAMES; i++) {
		struct manual_domain manual;
		struct world world;

		if (!cleave_search_named(names[i]))
			continue;
		manual_start(&manual, GRACE_LATE, names[i], 1000);
		world_start(&world, &manual.domain, &manual.self, &keyspaces[5], 1);
		check_context("%s", names[i]);
		for (unsigned int bit = 0; bit < 64; bit++) {
			uint64_t at = UINT64_C(1) << bit;

			for (int below = 0; below < 2; below++) {
				uint64_t addr = at - (uint64_t)below;

				CHECK(cleave_store(&world.index, &manual.self, addr, addr, &manual, NULL) == 0,
				      "store");
				model_store(&world.model, addr, addr, &manual, NULL);
				CHECK(cleave_store(&world.index, &manual.self, ~addr, ~addr, &manual, NULL) == 0,
				      "store");
				model_store(&world.model, ~addr, ~addr, &manual, NULL);
				world_compare(&world);
			}
		}
		world_stop(&world);
		manual_stop(&manual);
	}
}

static void unknown_names_find_nothing(void **state)
{
	(void)state;
	assert_null(cleave_search_named("none of that name"));
	assert_null(cleave_search_named(""));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_names_find_nothing),
		cmocka_unit_test(every_walk_finds_every_boundary),
		cmocka_unit_test(all_walks_agree_on_the_same_index),
		cmocka_unit_test(many_lookups_find_what_single_ones_do),
		cmocka_unit_test(many_lookups_go_down_a_tall_index),
		cmocka_unit_test(cursors_and_ranges_yield_what_lookups_find),
	};

	return RUN_TESTS(tests, argc, argv);
}
