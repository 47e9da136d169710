/* SPDX-License-Identifier: ISC */
/* Faults of every kind, one thread. */
#include "fault_world.h"

#define BASE UINT64_C(0x10000)
#define PAGES 256u
#define AT(n) (BASE + (uint64_t)(n)*PAGE)

struct one {
	struct manual_domain domain;
	struct fault_world world;
	struct cleave_space_thread thread;
	struct cleave_map map;
};

static struct one one;

static void begin_with(bool zero)
{
	struct cleave_map_config config = { .min = BASE, .max = AT(PAGES), .page_shift = 12 };

	manual_start(&one.domain, GRACE_LATE, NULL, UINT64_C(1) << 40);
	fault_world_start(&one.world, &one.domain.domain, 4096, zero);
	fault_thread_start(&one.world, &one.thread, &one.domain.self);
	CHECK(cleave_map_init(&one.map, &one.thread.map, &config) == 0, "map");
	fault_table_add(&one.world, &one.map, BASE, PAGES);
}

static int begin(void **state)
{
	(void)state;
	begin_with(false);
	return 0;
}

static int begin_zero(void **state)
{
	(void)state;
	begin_with(true);
	return 0;
}

static int end(void **state)
{
	(void)state;
	fault_self = &one.thread;
	assert_int_equal(cleave_map_unmap(&one.map, &one.thread.map, BASE, AT(PAGES), CLEAVE_MAP_REMOVE_HOLES), 0);
	cleave_map_destroy(&one.map, &one.thread.map);
	fault_table_drop(&one.world, &one.map);
	fault_thread_stop(&one.thread);
	fault_world_stop(&one.world);
	manual_stop(&one.domain);
	return 0;
}

static void map_private(unsigned int from, unsigned int n, unsigned int protection)
{
	struct cleave_map_request request = fault_request(AT(from), n, protection);

	assert_int_equal(cleave_map_map(&one.map, &one.thread.map, &request), 0);
}

static uint64_t read_at(struct cleave_map *map, unsigned int n)
{
	uint64_t value = 0;
	int result = fault_read(&one.world, map, AT(n), &value);

	CHECK(result == 0, "page %u: %d", n, result);
	return value;
}

static void write_at(struct cleave_map *map, unsigned int n, uint64_t value)
{
	int result = fault_write(&one.world, map, AT(n), value);

	CHECK(result == 0, "page %u: %d", n, result);
}

static void zero_fill(void **state)
{
	(void)state;
	map_private(0, 8, RW);
	assert_int_equal(read_at(&one.map, 0), 0);
	write_at(&one.map, 1, 11);
	write_at(&one.map, 0, 10);
	assert_int_equal(read_at(&one.map, 1), 11);
	assert_int_equal(read_at(&one.map, 0), 10);
	assert_int_equal(one.thread.counters.fills, 2);
	assert_int_equal(one.thread.counters.stores, 1);
}

int main(int argc, char **argv)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, begin, end)
#define ZERO(test) cmocka_unit_test_setup_teardown(test, begin_zero, end)
	const struct CMUnitTest tests[] = {
		ROW(zero_fill),
	};

	(void)begin_zero;
	return RUN_TESTS(tests, argc, argv);
}
