/* SPDX-License-Identifier: ISC */
/* What an embedder of the fault path may leave out, and what it cleans, lowers or loses for want of memory. */
#include "fault_one.h"

/* ---- Callbacks that are left out ---- */

static void references_and_hints_are_optional(void **state)
{
	struct sim_object *object = fault_object(&one.world, 1000000, 8, true);
	uint32_t page;

	(void)state;
	one.world.ops.object_ref = NULL;
	one.world.ops.object_unref = NULL;
	one.world.ops.may_evict = NULL;
	one.world.ops.deactivate = NULL;
	map_object(0, 8, object, RW, false);
	map_private(8, 8, RW);
	assert_int_equal(read_at(&one.map, 1), 1000000 + PAGE);
	write_at(&one.map, 1, 5);
	write_at(&one.map, 9, 6);
	page = page_shown(&one.map, 9);
	one.world.pages[page].active.word = 1;
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(8), AT(16), CLEAVE_CLEAN_DEACTIVATE), 0);
	assert_int_equal(one.world.pages[page].active.word, 1);
	assert_int_equal(evict(&one.map, 9), 1);
	assert_int_equal(read_at(&one.map, 9), 6);
	unmap(&one.map, 0, 8);
	cleave_space_flush(&one.thread);
	assert_int_equal(object->refs.word, 2); /* nobody was asked to drop the map's */
	fault_object_put(&one.world, object);
	fault_object_put(&one.world, object);
}

/* Where a page cannot be protected everywhere it is removed. */
static void a_clone_of_shared_pages_removes_them(void **state)
{
	struct cleave_map *sharer, *child;

	(void)state;
	one.world.ops.protect_page = NULL;
	map_private(0, 8, RW);
	write_at(&one.map, 0, 1);
	write_at(&one.map, 5, 2);
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(4), CLEAVE_INHERIT_SHARE), 0);
	sharer = fork_map(&one.map);
	write_at(sharer, 0, 3);
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(4), CLEAVE_INHERIT_COPY), 0);
	child = fork_map(&one.map);
	assert_int_equal(page_shown(sharer, 0), 0);
	write_at(sharer, 0, 4);
	assert_int_equal(read_at(&one.map, 0), 4);
	assert_int_equal(read_at(child, 0), 3);
	assert_int_equal(read_at(child, 5), 2);
	exit_map(child);
	exit_map(sharer);
}

static uint64_t asked;

static uint64_t a_random_number(const struct cleave_space_ops *ops)
{
	(void)ops;
	return ++asked;
}

/* Its own random numbers, in a map whose free space is chosen by them. */
static void the_embedders_random_numbers_are_used(void **state)
{
	struct cleave_map_request request = fault_request(0, 2, RW);
	struct cleave_map_config config = { .min = BASE,
					    .max = AT(PAGES),
					    .page_shift = 12,
					    .nselectors = 1,
					    .selectors = { { BASE, AT(PAGES), CLEAVE_SELECT_RANDOM,
							     CLEAVE_SELECT_ANY } } };
	static struct fault_world world;
	struct cleave_space_thread thread;
	struct cleave_map map;

	(void)state;
	fault_world_start(&world, &one.domain.domain, 16, false);
	world.ops.random = a_random_number;
	cleave_space_init(&world.space, &one.domain.domain, &world.ops, 12);
	fault_thread_start(&world, &thread, &one.domain.self);
	assert_int_equal(cleave_map_init(&map, &thread.map, &config), 0);
	request.flags = 0;
	asked = 6;
	assert_int_equal(cleave_map_map(&map, &thread.map, &request), 0);
	assert_int_equal(request.addr, AT(7));
	fault_table_add(&world, &map, BASE, PAGES);
	assert_int_equal(cleave_map_unmap(&map, &thread.map, BASE, AT(PAGES), 0), 0);
	cleave_map_destroy(&map, &thread.map);
	fault_table_drop(&world, &map);
	fault_thread_stop(&thread);
	fault_world_stop(&world);
}

/* ---- Cleaning ---- */

static struct {
	unsigned int calls, flags;
	uint64_t offset, size;
	int result;
} cleaned;

static int object_clean(const struct cleave_space_ops *ops, void *object, uint64_t offset, uint64_t size,
			unsigned int flags)
{
	(void)ops;
	(void)object;
	cleaned.calls++;
	cleaned.offset = offset;
	cleaned.size = size;
	cleaned.flags = flags;
	return cleaned.result;
}

static void objects_are_cleaned_by_the_embedder(void **state)
{
	struct sim_object *object = fault_object(&one.world, 1000000, 16, true);

	(void)state;
	one.world.ops.object_clean = object_clean;
	map_object(0, 8, object, RW, true);
	map_object(8, 8, object, RW, false);
	write_at(&one.map, 2, 5);
	write_at(&one.map, 9, 6);
#define CLEAN(from, to, flags) cleave_map_clean(&one.map, &one.thread.map, AT(from), AT(to), flags)
	assert_int_equal(CLEAN(1, 4, CLEAVE_CLEAN_SYNC), 0);
	assert_true(cleaned.calls == 1 && cleaned.offset == PAGE && cleaned.size == 3 * PAGE &&
		    cleaned.flags == CLEAVE_CLEAN_SYNC);
	assert_int_equal(CLEAN(1, 4, CLEAVE_CLEAN_FREE), 0);
	assert_true(cleaned.calls == 2 && cleaned.flags == CLEAVE_CLEAN_FREE);
	/* A private copy: its own pages are freed, and the object is not asked. */
	assert_int_equal(read_at(&one.map, 9), 6);
	assert_int_equal(CLEAN(8, 12, CLEAVE_CLEAN_SYNC), 0);
	assert_int_equal(cleaned.calls, 3);
	assert_int_equal(read_at(&one.map, 9), 6);
	assert_int_equal(CLEAN(8, 12, CLEAVE_CLEAN_FREE), 0);
	assert_int_equal(cleaned.calls, 3);
	assert_int_equal(read_at(&one.map, 9), 1000000 + PAGE);
	cleaned.result = -EIO;
	assert_int_equal(CLEAN(1, 4, CLEAVE_CLEAN_SYNC), -EIO);
	cleaned.result = 0;
	fault_object_put(&one.world, object);
}

/* What is swapped is not needed soon anyway. */
static void deactivation_passes_over_swapped_pages(void **state)
{
	(void)state;
	map_private(0, 8, RW);
	for (unsigned int i = 0; i < 4; i++) {
		write_at(&one.map, i, i);
		one.world.pages[page_shown(&one.map, i)].active.word = 1;
	}
	assert_int_equal(evict(&one.map, 1), 1);
	assert_int_equal(CLEAN(0, 8, CLEAVE_CLEAN_DEACTIVATE), 0);
	for (unsigned int i = 0; i < 4; i++)
		if (i != 1)
			assert_int_equal(one.world.pages[page_shown(&one.map, i)].active.word, 0);
	assert_int_equal(read_at(&one.map, 1), 1);
}

/* A part of the range has another window, in another map. */
static void what_another_map_shows_is_not_freed(void **state)
{
	struct cleave_map *sharer;

	(void)state;
	map_private(0, 16, RW);
	for (unsigned int i = 0; i < 16; i++)
		write_at(&one.map, i, 1 + i);
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(16), CLEAVE_INHERIT_SHARE), 0);
	sharer = fork_map(&one.map);
	unmap(sharer, 4, 8);
	assert_int_equal(CLEAN(0, 16, CLEAVE_CLEAN_FREE), 0);
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(read_at(&one.map, i), i / 4 == 1 ? 0 : 1 + i);
	exit_map(sharer);
}

/* ---- Lowering ---- */

/* What lost permissions has been joined with neighbours that had none: lowered is only what was asked for. */
static uint64_t map_entries_of(struct cleave_map *map)
{
	struct cleave_map_accounts accounts;

	cleave_map_account(map, &one.thread.map, &accounts);
	return accounts.entries;
}

static void a_joined_entry_is_lowered_where_it_lost(void **state)
{
	struct cleave_map_config config = { .min = BASE, .max = AT(PAGES), .page_shift = 12,
					    .flags = CLEAVE_MAP_COALESCE };
	struct cleave_map_request request = fault_request(AT(0), 8, RW);
	struct cleave_map map;

	(void)state;
	assert_int_equal(cleave_map_init(&map, &one.thread.map, &config), 0);
	fault_table_add(&one.world, &map, BASE, PAGES);
	assert_int_equal(cleave_map_map(&map, &one.thread.map, &request), 0);
	for (unsigned int i = 0; i < 8; i++)
		write_at(&map, i, i);
	assert_int_equal(cleave_map_protect(&map, &one.thread.map, AT(4), AT(8), CLEAVE_PROT_READ, 0, 0), 0);
	assert_true(writable(&map, 3) && !writable(&map, 4));
	assert_int_equal(cleave_map_protect(&map, &one.thread.map, AT(2), AT(4), CLEAVE_PROT_READ, 0, 0), 0);
	assert_true(writable(&map, 1) && !writable(&map, 2) && !writable(&map, 3));
	assert_int_equal(touch(&map, 3, CLEAVE_PROT_WRITE), -EACCES);
	assert_int_equal(read_at(&map, 3), 3);
	/* With what follows: that stays as it is. */
	assert_int_equal(cleave_map_protect(&map, &one.thread.map, AT(0), AT(2), CLEAVE_PROT_READ, 0, 0), 0);
	assert_true(!writable(&map, 0) && !writable(&map, 1));
	assert_int_equal(map_entries_of(&map), 1);
	unmap(&map, 0, PAGES);
	cleave_map_destroy(&map, &one.thread.map);
	fault_table_drop(&one.world, &map);
}

/* ---- No memory ---- */

/* A map is destroyed without memory: the windows that it had are ended later, or with the stores. */
enum late {
	LATER,
	NEVER,	   /* the thread ends before */
	UNPROMISED /* none has ended in time: there is no place yet for late ones */
};

/* Only for nodes there is no memory. */
static void *alloc_no_nodes(const struct cleave_memory *self, size_t size, size_t align)
{
	(void)self;
	return size >= 256 ? NULL : one.domain.memory.memory.alloc(&one.domain.memory.memory, size, align);
}

static void free_as_ever(const struct cleave_memory *self, void *at, size_t size)
{
	(void)self;
	one.domain.memory.memory.free(&one.domain.memory.memory, at, size);
}

static void windows_end_late(enum late late)
{
	static const struct cleave_memory no_nodes = { .alloc = alloc_no_nodes, .free = free_as_ever };
	struct cleave_map *child;
	uint64_t pages;

	for (unsigned int i = 0; i < 60; i += 2) {
		map_private(i, 1, RW);
		write_at(&one.map, i, i);
	}
	child = fork_map(&one.map);
	for (unsigned int i = 0; i < 60; i += 2)
		write_at(child, i, 100 + i);
	map_private(64, 192, RW);
	write_at(&one.map, 64, 64);
	/* Once windows have ended in time there is a place for late ones. */
	if (late != UNPROMISED)
		unmap(&one.map, 65, 66);
	pages = pages_used();
	for (unsigned int i = 0; i < PAGES; i++) /* its page table goes first */
		one.world.ops.remove(&one.world.ops, child, AT(i), AT(i + 1));
	/* Whatever is spare is used up. */
	counting_memory_grant(&one.domain.memory, 0);
	for (unsigned int i = 96; i < PAGES; i += 32)
		touch(&one.map, i, CLEAVE_PROT_WRITE);
	if (late == UNPROMISED) {
		counting_memory_grant(&one.domain.memory, GRANT_ALL);
		one.domain.domain.memory = &no_nodes;
	}
	cleave_map_destroy(child, &one.thread.map);
	CHECK(one.thread.nlate > 1, "%u windows are late", one.thread.nlate);
	if (late == NEVER)
		fault_thread_stop(&one.thread);
	one.domain.domain.memory = &one.domain.memory.memory;
	counting_memory_grant(&one.domain.memory, GRANT_ALL);
	fault_table_drop(&one.world, child);
	free(child);
	if (late == NEVER) {
		fault_thread_start(&one.world, &one.thread, &one.domain.self);
		return;
	}
	/* The next one that ends takes the others with it. */
	unmap(&one.map, 0, 2);
	assert_int_equal(one.thread.nlate, 0);
	unmap(&one.map, 64, PAGES);
	cleave_space_flush(&one.thread);
	CHECK(pages_used() <= pages - 30, "%llu pages of %llu", LL(pages_used()), LL(pages));
	for (unsigned int i = 2; i < 60; i += 2)
		assert_int_equal(read_at(&one.map, i), i);
}

static void windows_end_late_for_want_of_memory(void **state)
{
	(void)state;
	windows_end_late(LATER);
}

static void late_windows_find_a_place_unpromised(void **state)
{
	(void)state;
	windows_end_late(UNPROMISED);
}

static void a_thread_ends_before_its_late_windows(void **state)
{
	(void)state;
	windows_end_late(NEVER);
}

/* The child's copies of wired pages fail one after the other: the windows that it had by then end, unused. */
static void a_fork_that_cannot_copy_wired_pages(void **state)
{
	struct cleave_map *child = calloc(1, sizeof(*child));
	unsigned int granted;
	int result = -1;

	(void)state;
	assert_non_null(child);
	map_private(0, 8, RW);
	write_at(&one.map, 6, 6);
	assert_int_equal(cleave_map_wire(&one.map, &one.thread.map, AT(0), AT(4)), 0);
	fault_table_add(&one.world, child, BASE, PAGES);
	for (granted = 0; result; granted++) {
		one.world.fail_after.word = granted;
		result = cleave_map_fork(&one.map, &one.thread.map, child);
		one.world.fail_after.word = GRANT_ALL;
		assert_true(result == 0 || result == -ENOMEM);
	}
	assert_int_equal(granted, 5);
	write_at(&one.map, 6, 7);
	assert_int_equal(read_at(child, 6), 6);
	exit_map(child);
}

static void a_thread_without_memory_does_not_start(void **state)
{
	struct cleave_space_thread thread;

	(void)state;
	counting_memory_grant(&one.domain.memory, 0);
	assert_int_equal(cleave_space_thread_init(&thread, &one.world.space, &one.domain.self), -ENOMEM);
	counting_memory_grant(&one.domain.memory, GRANT_ALL);
}

/* A map larger than a store can be. */
static void a_store_has_as_many_slots_as_it_can(void **state)
{
	struct cleave_map_config config = { .min = BASE, .max = UINT64_MAX & ~(PAGE - 1), .page_shift = 12 };
	struct cleave_map_request request = fault_request(AT(0), 8, RW);
	struct cleave_map_request beyond = fault_request(AT(16), CLEAVE_ANON_SLOTS + 1, RW);
	struct cleave_map_attributes wide;
	struct cleave_map map, child;
	struct cleave_map_entry entry;
	struct cleave_map_txn txn;

	(void)state;
	assert_int_equal(cleave_map_init(&map, &one.thread.map, &config), 0);
	fault_table_add(&one.world, &map, BASE, PAGES);
	assert_int_equal(cleave_map_map(&map, &one.thread.map, &request), 0);
	write_at(&map, 3, 1);
	manual_enter(&one.domain);
	assert_true(cleave_map_lookup_rcu(&map, AT(3), &entry));
	assert_int_equal(cleave_anon_slots(entry.attributes.store), CLEAVE_ANON_SLOTS);
	manual_leave(&one.domain);
	/* No window is as wide as that. */
	assert_int_equal(cleave_map_begin(&txn, &map, &one.thread.map, AT(16), AT(16) + (CLEAVE_ANON_SLOTS + 1) * PAGE),
			 0);
	wide = entry.attributes;
	assert_int_equal(cleave_map_put(&txn, AT(16), AT(16) + (CLEAVE_ANON_SLOTS + 1) * PAGE, &wide), 0);
	assert_int_equal(cleave_map_prepare(&txn), -EINVAL);
	cleave_map_abort(&txn);
	/* To be shared it needs a store at once, which none can be. */
	beyond.inheritance = CLEAVE_INHERIT_SHARE;
	assert_int_equal(cleave_map_map(&map, &one.thread.map, &beyond), 0);
	assert_int_equal(cleave_map_fork(&map, &one.thread.map, &child), -ENOMEM);
	unmap(&map, 0, PAGES);
	assert_int_equal(cleave_map_unmap(&map, &one.thread.map, AT(16), config.max, 0), 0);
	cleave_map_destroy(&map, &one.thread.map);
	fault_table_drop(&one.world, &map);
}

/* Read-only memory that is wired has pages of its own, not the one of zeros. */
static void wired_zeros_have_pages_of_their_own(void **state)
{
	(void)state;
	map_private(0, 4, CLEAVE_PROT_READ);
	assert_int_equal(read_at(&one.map, 0), 0);
	assert_int_equal(page_shown(&one.map, 0), one.world.ops.zero_page / 2);
	assert_int_equal(cleave_map_wire(&one.map, &one.thread.map, AT(0), AT(2)), 0);
	assert_int_not_equal(page_shown(&one.map, 0), one.world.ops.zero_page / 2);
	assert_int_not_equal(page_shown(&one.map, 0), page_shown(&one.map, 1));
	assert_int_equal(read_at(&one.map, 1), 0);
}

/* ---- Without memory ---- */

/* What the thread has dropped is waited for, once, before a fault fails; not with a transaction open. */
static void what_was_dropped_is_used_before_a_fault_fails(void **state)
{
	const struct cleave_space_ops *ops = &one.world.ops;
	const struct cleave_anon_context *context = one.thread.context;
	const unsigned int left = 3;
	static uint64_t taken[4096];
	unsigned int n = 0;
	struct cleave index;
	struct cleave_txn txn;

	(void)state;
	one.domain.grace = GRACE_ON_DEMAND;
	while (one.world.live.word < one.world.npages - 1 - left)
		taken[n++] = ops->page_get(ops);
	assert_int_equal(cleave_init(&index, &one.domain.self), 0);
	map_private(0, 8, RW);
	write_at(&one.map, 0, 1);
	write_at(&one.map, 1, 1);
	unmap(&one.map, 1, 2);
	write_at(&one.map, 2, 2);
	assert_int_equal(context->gp_waits, 0);
	write_at(&one.map, 3, 3); /* with the page of 1 */
	assert_int_equal(context->gp_waits, 1);
	/* Reading in. */
	assert_int_equal(evict(&one.map, 0), 1);
	write_at(&one.map, 4, 4);
	unmap(&one.map, 2, 3);
	assert_int_equal(read_at(&one.map, 0), 1);
	assert_int_equal(context->gp_waits, 2);
	/* Not while others might wait for what this thread has locked. */
	unmap(&one.map, 3, 4);
	assert_int_equal(cleave_begin(&txn, &index, &one.domain.self, 5, 9), 0);
	assert_int_equal(touch(&one.map, 5, CLEAVE_PROT_WRITE), -ENOMEM);
	cleave_abort(&txn);
	assert_int_equal(context->gp_waits, 2);
	write_at(&one.map, 5, 5);
	assert_int_equal(context->gp_waits, 3);
	/* Nothing waits. */
	assert_int_equal(touch(&one.map, 6, CLEAVE_PROT_WRITE), -ENOMEM);
	assert_int_equal(context->gp_waits, 3);
	while (n)
		ops->page_free(ops, taken[--n]);
	cleave_destroy(&index, &one.domain.self);
}

int main(int argc, char **argv)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		ROW(references_and_hints_are_optional),
		ROW(a_clone_of_shared_pages_removes_them),
		ROW(the_embedders_random_numbers_are_used),
		ROW(objects_are_cleaned_by_the_embedder),
		ROW(deactivation_passes_over_swapped_pages),
		ROW(what_another_map_shows_is_not_freed),
		ROW(a_joined_entry_is_lowered_where_it_lost),
		ROW(windows_end_late_for_want_of_memory),
		ROW(late_windows_find_a_place_unpromised),
		ROW(a_thread_ends_before_its_late_windows),
		ROW(a_fork_that_cannot_copy_wired_pages),
		ROW(a_thread_without_memory_does_not_start),
		ROW(a_store_has_as_many_slots_as_it_can),
		ROW(what_was_dropped_is_used_before_a_fault_fails),
		cmocka_unit_test_setup_teardown(wired_zeros_have_pages_of_their_own, begin_zero, end),
	};

	return RUN_TESTS(tests, argc, argv);
}
