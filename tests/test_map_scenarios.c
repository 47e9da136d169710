/* SPDX-License-Identifier: ISC */
/* Address spaces that have hurt others, with the counts that a map must reach. */
#include "map_world.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)
#define TIB (MIB * MIB)
#define LOW UINT64_C(0x10000000)

struct space {
	struct solo solo;
	struct rng rng;
};

static void space_start(struct space *space, uint64_t size, uint32_t flags)
{
	struct cleave_map_config config = { .min = LOW, .max = LOW + size, .page_shift = 12, .flags = flags };

	memset(space, 0, sizeof(*space));
	space->rng.state = test_seed();
	solo_start(&space->solo, &config);
	space->solo.embedder.counted = false; /* stores of any size */
}

static int map_at(struct space *space, uint64_t addr, uint64_t size, unsigned int protection, uint32_t flags)
{
	struct cleave_map_request request = { .addr = addr,
					      .size = size,
					      .flags = CLEAVE_MAP_FIXED | flags,
					      .entry_flags = CLEAVE_MAP_COW,
					      .protection = (uint8_t)protection,
					      .max_protection = CLEAVE_PROT_ALL,
					      .inheritance = CLEAVE_INHERIT_COPY };

	return cleave_map_map(&space->solo.map, &space->solo.thread, &request);
}

static int protect_at(struct space *space, uint64_t addr, uint64_t size, unsigned int protection)
{
	return cleave_map_protect(&space->solo.map, &space->solo.thread, addr, addr + size, protection, 0, 0);
}

static bool entry_at(struct space *space, uint64_t addr, struct cleave_map_entry *entry)
{
	bool mapped;

	manual_enter(&space->solo.domain);
	mapped = cleave_map_lookup_rcu(&space->solo.map, addr, entry);
	manual_leave(&space->solo.domain);
	return mapped;
}

/* First touch: who needs a copy gets its store. */
static bool touch(struct space *space, uint64_t addr)
{
	struct embedder *embedder = &space->solo.embedder;
	struct cleave_map_entry entry;
	void *store;

	assert_true(entry_at(space, addr, &entry));
	if (!(entry.attributes.flags & CLEAVE_MAP_NEEDS_COPY))
		return false;
	assert_int_equal(embedder->ops.store_new(&embedder->ops, (entry.end - entry.start) / PAGE, &store), 0);
	assert_int_equal(cleave_map_set_store(&space->solo.map, &space->solo.thread, addr, entry.version, store), 0);
	return true;
}

/* Scenario 4: a reservation of 1 or 16 TiB, and 1,000 commits of 2 MiB. */
static void reserve_and_commit(uint64_t size, bool store_first)
{
	uint64_t stores = 0, entries;
	struct space space;

	space_start(&space, size, 0);
	assert_int_equal(map_at(&space, LOW, size, CLEAVE_PROT_NONE, store_first ? CLEAVE_MAP_OVERLAY : 0), 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t addr = LOW + rng_below(&space.rng, size / (2 * MIB)) * 2 * MIB;

		assert_int_equal(protect_at(&space, addr, 2 * MIB, RW), 0);
		stores += touch(&space, addr + rng_below(&space.rng, 512) * PAGE);
	}
	entries = solo_entries(&space.solo);
	printf("%llu TiB: %llu entries, %llu stores\n", (unsigned long long)(size / TIB), (unsigned long long)entries,
	       (unsigned long long)stores);
	assert_true(entries <= 2001);
	assert_true(store_first ? stores == 0 : stores <= 1000 && stores > 900);
	solo_stop(&space.solo);
}

static void scenario_4_reserve_1_tib(void **state)
{
	(void)state;
	reserve_and_commit(TIB, false);
	reserve_and_commit(TIB, true);
	reserve_and_commit(16 * TIB, false);
	reserve_and_commit(16 * TIB, true);
}

/* Scenario 5: 65,536 alternate protections, and back. */
static void scenario_5_alternate_protections(void **state)
{
	uint64_t size = 256 * MIB;
	struct space space;

	(void)state;
	space_start(&space, size, 0);
	assert_int_equal(map_at(&space, LOW, size, RW, 0), 0);
	for (uint64_t at = 0; at < size; at += 2 * PAGE)
		assert_int_equal(protect_at(&space, LOW + at, PAGE, CLEAVE_PROT_READ), 0);
	assert_int_equal(solo_entries(&space.solo), 65536);
	solo_check(&space.solo);
	for (uint64_t at = 0; at < size; at += 2 * PAGE)
		assert_int_equal(protect_at(&space, LOW + at, PAGE, RW), 0);
	assert_int_equal(solo_entries(&space.solo), 65536);
	/* In one call the same attributes are one object. */
	assert_int_equal(protect_at(&space, LOW, size, CLEAVE_PROT_READ), 0);
	assert_int_equal(protect_at(&space, LOW, size, RW), 0);
	cleave_map_thread_flush(&space.solo.thread, true);
	assert_int_equal(solo_entries(&space.solo), 65536);
	assert_int_equal(cleave_map_coalesce(&space.solo.map, &space.solo.thread, LOW, LOW + size), 0);
	assert_int_equal(solo_entries(&space.solo), 1);
	solo_stop(&space.solo);
}

static void scenario_5_comes_back_to_one_entry_by_itself(void **state)
{
	uint64_t size = 256 * MIB;
	struct space space;

	(void)state;
	space_start(&space, size, CLEAVE_MAP_COALESCE);
	assert_int_equal(map_at(&space, LOW, size, RW, 0), 0);
	for (uint64_t at = 0; at < size; at += 2 * PAGE)
		assert_int_equal(protect_at(&space, LOW + at, PAGE, CLEAVE_PROT_READ), 0);
	assert_int_equal(solo_entries(&space.solo), 65536);
	for (uint64_t at = 0; at < size; at += 2 * PAGE)
		assert_int_equal(protect_at(&space, LOW + at, PAGE, RW), 0);
	assert_int_equal(solo_entries(&space.solo), 1);
	solo_stop(&space.solo);
}

/* Failing allocations at every k-th change of a full map: nothing has changed. */
static void scenario_5_with_failures(void **state)
{
	uint64_t size = 256 * MIB, failures = 0;
	struct space space;

	(void)state;
	space_start(&space, size, 0);
	space.solo.domain.grace = GRACE_ON_DEMAND;
	assert_int_equal(map_at(&space, LOW, size, RW, 0), 0);
	for (uint64_t n = 0; n < 32765; n++) {
		bool fail = n % 97 == 0;
		int result;

		if (fail) {
			cleave_map_thread_exit(&space.solo.thread);
			cleave_thread_exit(&space.solo.domain.self);
			cleave_thread_init(&space.solo.domain.self, &space.solo.domain.domain);
			cleave_map_thread_init(&space.solo.thread, &space.solo.maps, &space.solo.domain.self);
			counting_memory_grant(&space.solo.domain.memory, n / 97 % 4);
		}
		result = protect_at(&space, LOW + 2 * n * PAGE, PAGE, CLEAVE_PROT_READ);
		counting_memory_grant(&space.solo.domain.memory, GRANT_ALL);
		assert_true(result == 0 || (fail && result == -ENOMEM));
		if (result == 0)
			continue;
		failures++;
		assert_int_equal(solo_entries(&space.solo), n ? 2 * n : 1);
		assert_int_equal(protect_at(&space, LOW + 2 * n * PAGE, PAGE, CLEAVE_PROT_READ), 0);
	}
	assert_int_equal(solo_entries(&space.solo), 65530);
	assert_true(failures > 100);
	printf("%llu failures\n", (unsigned long long)failures);
	solo_stop(&space.solo);
}

/* Scenario 6: stacks with a guard come and go. */
static uint64_t stack_new(struct space *space)
{
	struct cleave_map_request request = { .size = 324 * KIB,
					      .entry_flags = CLEAVE_MAP_COW | CLEAVE_MAP_STACK,
					      .protection = RW,
					      .max_protection = CLEAVE_PROT_ALL,
					      .inheritance = CLEAVE_INHERIT_COPY };

	assert_int_equal(cleave_map_map(&space->solo.map, &space->solo.thread, &request), 0);
	assert_int_equal(protect_at(space, request.addr, PAGE, CLEAVE_PROT_NONE), 0);
	return request.addr;
}

static void stack_free(struct space *space, uint64_t addr)
{
	assert_int_equal(cleave_map_munmap(&space->solo.map, &space->solo.thread, addr, 324 * KIB), 0);
}

static void scenario_6_guarded_stacks(void **state)
{
	uint64_t live[300], burst[64];
	struct space space;

	(void)state;
	space_start(&space, TIB, 0);
	assert_int_equal(map_at(&space, LOW + TIB - MIB, MIB, RW, 0), 0);
	for (unsigned int i = 0; i < 300; i++)
		live[i] = stack_new(&space);
	assert_int_equal(solo_entries(&space.solo), 601);
	for (unsigned int cycle = 0; cycle < 500; cycle++) {
		unsigned int i = (unsigned int)rng_below(&space.rng, 300);

		stack_free(&space, live[i]);
		live[i] = stack_new(&space);
	}
	assert_int_equal(solo_entries(&space.solo), 601);
	for (unsigned int round = 0; round < 40; round++) {
		for (unsigned int i = 0; i < 64; i++)
			burst[i] = stack_new(&space);
		assert_int_equal(solo_entries(&space.solo), 601 + 128);
		for (unsigned int i = 0; i < 64; i++)
			stack_free(&space, burst[i]);
		assert_int_equal(solo_entries(&space.solo), 601);
	}
	for (unsigned int i = 0; i < 300; i++)
		stack_free(&space, live[i]);
	assert_int_equal(solo_entries(&space.solo), 1);
	solo_stop(&space.solo);
}

/* Scenario 7: jemalloc's pattern, half of it unmapped, and searches that a scan of all pages agrees with. */
#define CHUNKS 32765u
#define CHUNK_PAGES 23u /* 84 KiB and 8 KiB */

static uint64_t scan(const uint8_t *used, uint64_t pages, uint64_t size, uint64_t align)
{
	uint64_t run = 0;

	for (uint64_t n = 0; n < pages; n++) {
		uint64_t start;

		run = used[n] ? 0 : run + 1;
		if (run < size)
			continue;
		start = n + 1 - size;
		if ((LOW / PAGE + start) % align == 0)
			return start;
	}
	return UINT64_MAX;
}

static void scenario_7_gaps_are_found(void **state)
{
	uint64_t pages = (uint64_t)CHUNKS * CHUNK_PAGES, found = 0;
	uint8_t *used = malloc(pages);
	struct space space;

	(void)state;
	assert_non_null(used);
	memset(used, 1, pages);
	space_start(&space, pages * PAGE, 0);
	for (uint64_t n = 0; n < CHUNKS; n++) {
		uint64_t addr = LOW + n * CHUNK_PAGES * PAGE;

		assert_int_equal(map_at(&space, addr, 84 * KIB, RW, 0), 0);
		assert_int_equal(map_at(&space, addr + 84 * KIB, 8 * KIB, CLEAVE_PROT_NONE, 0), 0);
	}
	assert_int_equal(solo_entries(&space.solo), 65530);
	for (uint64_t n = 0; n < 2 * CHUNKS; n++) {
		uint64_t start = n / 2 * CHUNK_PAGES + n % 2 * 21, size = n % 2 ? 2 : 21;

		if (rng_one_in(&space.rng, 2))
			continue;
		assert_int_equal(
			cleave_map_munmap(&space.solo.map, &space.solo.thread, LOW + start * PAGE, size * PAGE), 0);
		memset(used + start, 0, size);
	}
	for (unsigned int i = 0; i < 120; i++) {
		struct cleave_map_request request = { .size = i % 2 ? 72 * KIB : 8 * KIB,
						      .align = i % 4 < 2 ? 64 * KIB : 0,
						      .entry_flags = CLEAVE_MAP_COW,
						      .protection = RW,
						      .max_protection = CLEAVE_PROT_ALL };
		uint64_t want = scan(used, pages, request.size / PAGE, request.align ? request.align / PAGE : 1);
		int result = cleave_map_map(&space.solo.map, &space.solo.thread, &request);

		assert_int_equal(result, want == UINT64_MAX ? -ENOMEM : 0);
		if (result)
			continue;
		assert_int_equal(request.addr, LOW + want * PAGE);
		memset(used + want, 1, request.size / PAGE);
		found++;
	}
	assert_true(found > 100);
	solo_stop(&space.solo);
	free(used);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scenario_4_reserve_1_tib),
		cmocka_unit_test(scenario_5_alternate_protections),
		cmocka_unit_test(scenario_5_comes_back_to_one_entry_by_itself),
		cmocka_unit_test(scenario_5_with_failures),
		cmocka_unit_test(scenario_6_guarded_stacks),
		cmocka_unit_test(scenario_7_gaps_are_found),
	};

	return RUN_TESTS(tests, argc, argv);
}
