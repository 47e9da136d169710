/* SPDX-License-Identifier: ISC */
/* One map, one thread, for tests of faults. */
#ifndef TESTS_FAULT_ONE_H
#define TESTS_FAULT_ONE_H

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

static inline void begin_with(bool zero)
{
	struct cleave_map_config config = { .min = BASE, .max = AT(PAGES), .page_shift = 12 };

	manual_start(&one.domain, GRACE_LATE, NULL, UINT64_C(1) << 40);
	fault_world_start(&one.world, &one.domain.domain, 4096, zero);
	fault_thread_start(&one.world, &one.thread, &one.domain.self);
	CHECK(cleave_map_init(&one.map, &one.thread.map, &config) == 0, "map");
	fault_table_add(&one.world, &one.map, BASE, PAGES);
}

static inline int begin(void **state)
{
	(void)state;
	begin_with(false);
	return 0;
}

static inline int begin_zero(void **state)
{
	(void)state;
	begin_with(true);
	return 0;
}

static inline int end(void **state)
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

static inline void map_private(unsigned int from, unsigned int n, unsigned int protection)
{
	struct cleave_map_request request = fault_request(AT(from), n, protection);

	assert_int_equal(cleave_map_map(&one.map, &one.thread.map, &request), 0);
}

static inline uint64_t read_at(struct cleave_map *map, unsigned int n)
{
	uint64_t value = 0;
	int result = fault_read(&one.world, map, AT(n), &value);

	CHECK(result == 0, "page %u: %d", n, result);
	return value;
}

static inline void write_at(struct cleave_map *map, unsigned int n, uint64_t value)
{
	int result = fault_write(&one.world, map, AT(n), value);

	CHECK(result == 0, "page %u: %d", n, result);
}

static inline uint64_t pages_used(void)
{
	cleave_space_flush(&one.thread);
	return one.world.live.word;
}

/* A page is kept for the next fault. */
static inline uint64_t spare(void)
{
	return one.thread.spare != NULL;
}

static inline void protect(unsigned int from, unsigned int to, unsigned int protection)
{
	assert_int_equal(cleave_map_protect(&one.map, &one.thread.map, AT(from), AT(to), protection, 0, 0), 0);
}

static inline void advise(unsigned int from, unsigned int to, unsigned int advice)
{
	assert_int_equal(cleave_map_advise(&one.map, &one.thread.map, AT(from), AT(to), advice), 0);
}

static inline void unmap(struct cleave_map *map, unsigned int from, unsigned int to)
{
	assert_int_equal(cleave_map_unmap(map, &one.thread.map, AT(from), AT(to), CLEAVE_MAP_REMOVE_HOLES), 0);
}

static inline struct cleave_map *fork_map(struct cleave_map *parent)
{
	struct cleave_map *child = calloc(1, sizeof(*child));

	assert_non_null(child);
	fault_table_add(&one.world, child, BASE, PAGES);
	assert_int_equal(cleave_map_fork(parent, &one.thread.map, child), 0);
	return child;
}

static inline void exit_map(struct cleave_map *child)
{
	unmap(child, 0, PAGES);
	cleave_map_destroy(child, &one.thread.map);
	fault_table_drop(&one.world, child);
	free(child);
}

static inline uint32_t page_shown(struct cleave_map *map, unsigned int n)
{
	return (uint32_t)fault_shows(&one.world, map, AT(n), NULL);
}

static inline bool writable(struct cleave_map *map, unsigned int n)
{
	unsigned int protection;

	return fault_shows(&one.world, map, AT(n), &protection) && (protection & CLEAVE_PROT_WRITE);
}

static inline int touch(struct cleave_map *map, unsigned int n, unsigned int access)
{
	return cleave_fault(&one.thread, map, AT(n), access);
}

static inline size_t evict(struct cleave_map *map, unsigned int n)
{
	uint32_t page = page_shown(map, n);

	return page ? fault_evict(&one.world, &page, 1) : 0;
}

static inline void map_object(unsigned int from, unsigned int n, struct sim_object *object, unsigned int protection,
			      bool shared)
{
	struct cleave_map_request request = fault_request(AT(from), n, protection);

	request.object = object;
	request.entry_flags = shared ? 0 : CLEAVE_MAP_COW;
	__atomic_fetch_add(&object->refs.word, 1, __ATOMIC_RELAXED);
	assert_int_equal(cleave_map_map(&one.map, &one.thread.map, &request), 0);
}

#endif
