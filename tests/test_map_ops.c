/* SPDX-License-Identifier: ISC */
/* The operations of a map, a test for each line of doc/map.md's table. */
#include "map_world.h"

#define MAP (&solo.map)
#define THREAD (&solo.thread)

static struct solo solo;

static int setup(void **state)
{
	(void)state;
	solo_start(&solo, NULL);
	return 0;
}

/* Checks that nothing is left. */
static int teardown(void **state)
{
	(void)state;
	solo_stop(&solo);
	return 0;
}

#define USING_SOLO(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void op_lookup_says_mapped_or_names_the_predecessor(void **state)
{
	struct cleave_map_entry entry;

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	assert_true(solo_lookup(&solo, 10, &entry));
	assert_false(solo_lookup(&solo, 12, &entry));
	assert_true(entry.start == AT(10) && entry.fspace == 116 * PAGE && entry.version != 0);
	assert_false(solo_lookup(&solo, 9, &entry));
	assert_true(entry.start == AT(0) && entry.end == AT(0) && entry.version == 0);
}

static void op_isavail_is_what_fixed_and_hints_obey(void **state)
{
	struct cleave_map_request request;

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	request = request_fixed(11, 13);
	request.flags = CLEAVE_MAP_QUERY; /* a hint that is taken gives way */
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(request.addr, AT(0));
	request = request_fixed(12, 13);
	request.flags = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(request.addr, AT(12));
	/* A hint has the alignment, or is none. */
	request = request_fixed(21, 22);
	request.flags = CLEAVE_MAP_QUERY;
	request.align = 16 * PAGE;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(request.addr % (16 * PAGE), 0);
	/* And begins with a page. */
	request = request_fixed(21, 22);
	request.flags = CLEAVE_MAP_QUERY;
	request.addr++;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(request.addr, AT(0));
	/* A wrap is not available. */
	request = request_fixed(100, 101);
	request.size = (uint64_t)0 - AT(50);
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -ENOMEM);
}

static void op_mapanon_checks_in_this_order(void **state)
{
	struct cleave_map_request request;
	struct cleave_map_entry entry;

	(void)state;
	request = request_fixed(10, 12);
	request.size = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -EINVAL);
	request = request_fixed(10, 12);
	request.addr += 1;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -EINVAL);
	request = request_fixed(10, 12);
	request.flags = CLEAVE_MAP_REPLACE;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -EINVAL);
	request = request_fixed(10, 12);
	request.align = 3 * PAGE;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -EINVAL);
	request = request_fixed(10, 12);
	request.max_protection = CLEAVE_PROT_READ;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -EACCES);
	/* An overlay has its store at once, for all of it. */
	request = request_fixed(10, 12);
	request.flags |= CLEAVE_MAP_OVERLAY;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_true(solo_lookup(&solo, 10, &entry));
	assert_int_equal(entry.attributes.flags, CLEAVE_MAP_COW);
	assert_int_equal(((struct thing *)entry.attributes.store)->pages, 2);
	/* COW without one needs a copy. */
	assert_int_equal(solo_map(&solo, 12, 14), 0);
	assert_true(solo_lookup(&solo, 12, &entry));
	assert_int_equal(entry.attributes.flags, CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY);
	/* Never joined without being asked. */
	assert_int_equal(solo_map(&solo, 14, 16), 0);
	assert_int_equal(solo_entries(&solo), 3);
}

static void op_map_takes_the_reference_only_if_it_succeeds(void **state)
{
	struct cleave_map_request request;
	struct thing *object;

	(void)state;
	object = thing_new(&solo.embedder);
	request = request_fixed(10, 12);
	request.object = object;
	thing_ref(object);
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	thing_ref(object);
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -ENOMEM);
	cleave_map_thread_flush(THREAD, true);
	assert_int_equal(thing_refs(object), 3);
	thing_unref(&solo.embedder, object);
	/* A HOLE has neither object nor store, and only where it is told. */
	request = request_fixed(20, 22);
	request.entry_flags = CLEAVE_MAP_HOLE;
	request.object = object;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -EINVAL);
	request.object = NULL;
	request.flags = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -EINVAL);
	request.flags = CLEAVE_MAP_FIXED;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(0), AT(128), CLEAVE_MAP_REMOVE_HOLES), 0);
	cleave_map_thread_flush(THREAD, true);
	assert_int_equal(thing_refs(object), 1);
	thing_unref(&solo.embedder, object);
}

static void op_munmap_wants_everything_mapped(void **state)
{
	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, AT(8), 4 * PAGE), -EINVAL);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, AT(18), 4 * PAGE), -EINVAL);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, AT(0) - PAGE, PAGE), -EINVAL);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, AT(12) + 5, 1), 0); /* rounded outward */
	assert_string_equal(solo_text(&solo), "10-12:rw- 13-20:rw-");
	assert_int_equal(cleave_map_munmap(MAP, THREAD, AT(10), 10 * PAGE), -EINVAL);
	/* The plain form takes what there is. */
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(8), AT(15), 0), 0);
	assert_string_equal(solo_text(&solo), "15-20:rw-");
	assert_true(solo.embedder.removals > 0);
}

static void op_pageable_all(void **state)
{
	struct cleave_map_request request;
	struct cleave_map_entry entry;

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(solo_map(&solo, 30, 40), 0);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(30), AT(32), 0, 0, 0), 0);
	assert_int_equal(cleave_map_wire_all(MAP, THREAD, CLEAVE_WIRE_CURRENT, 17 * PAGE), -ENOMEM);
	assert_string_equal(solo_text(&solo), "10-20:rw- 30-32:--- 32-40:rw-");
	assert_int_equal(cleave_map_wire_all(MAP, THREAD, CLEAVE_WIRE_CURRENT | CLEAVE_WIRE_FUTURE, 18 * PAGE), 0);
	assert_string_equal(solo_text(&solo), "10-20:rw-W 30-32:--- 32-40:rw-W");
	/* What is mapped or opened later is wired, too. */
	assert_int_equal(solo_map(&solo, 50, 52), 0);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(30), AT(31), RW, 0, 0), 0);
	assert_string_equal(solo_text(&solo), "10-20:rw-W 30-31:rw-W 31-32:--- 32-40:rw-W 50-52:rw-W");
	/* Late failures: a mapping is taken back, a protection stays. */
	solo.embedder.bad_page = AT(60);
	request = request_fixed(60, 62);
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -ENOMEM);
	assert_false(solo_lookup(&solo, 60, &entry));
	solo.embedder.bad_page = AT(31);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(31), AT(32), RW, 0, 0), -ENOMEM);
	assert_string_equal(solo_text(&solo), "10-20:rw-W 30-31:rw-W 31-32:rw- 32-40:rw-W 50-52:rw-W");
	assert_int_equal(cleave_map_wire_all(MAP, THREAD, 0, CLEAVE_MAP_UNLIMITED), 0);
	assert_string_equal(solo_text(&solo), "10-20:rw- 30-31:rw- 31-32:rw- 32-40:rw- 50-52:rw-");
	assert_int_equal(solo_map(&solo, 60, 62), 0);
	assert_true(solo_lookup(&solo, 60, &entry));
	assert_int_equal(entry.attributes.wired, 0);
}

static void op_checkprot(void **state)
{
	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(12), AT(14), 0, 0, 0), 0);
	assert_true(cleave_map_check_protection(MAP, THREAD, AT(10), AT(20), CLEAVE_PROT_NONE));
	assert_false(cleave_map_check_protection(MAP, THREAD, AT(10), AT(20), CLEAVE_PROT_READ));
	assert_true(cleave_map_check_protection(MAP, THREAD, AT(14), AT(20), RW));
	assert_false(cleave_map_check_protection(MAP, THREAD, AT(14), AT(21), CLEAVE_PROT_NONE));
	assert_false(cleave_map_check_protection(MAP, THREAD, AT(20), AT(10), CLEAVE_PROT_NONE));
	assert_false(cleave_map_check_protection(MAP, THREAD, AT(0) - PAGE, AT(0) - PAGE, CLEAVE_PROT_NONE));
}

static void op_findspace_random_goes_upward_only(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = { .size = 3 * PAGE, .max_protection = 7 };
	bool places[SOLO_PAGES] = { false };
	unsigned int different = 0, none = 0;
	uint64_t addr;

	(void)state;
	config.nselectors = 1;
	config.selectors[0] = (struct cleave_map_selector){ AT(0), AT(128), CLEAVE_SELECT_RANDOM, CLEAVE_SELECT_ANY };
	solo_start(&solo, &config);
	assert_int_equal(solo_map(&solo, 64, 128), 0);
	for (unsigned int i = 0; i < 400; i++) {
		if (cleave_map_find_space(MAP, THREAD, &request, &addr)) {
			none++; /* it began behind the last gap */
			continue;
		}
		assert_true(addr <= AT(61) && addr % PAGE == 0);
		different += !places[(addr - SOLO_BASE) / PAGE];
		places[(addr - SOLO_BASE) / PAGE] = true;
	}
	assert_true(different > 30);
	assert_true(none > 100 && none < 300);
	solo_stop(&solo);
}

static void op_extract_shares_without_exec(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_entry entry, source;
	struct cleave_map kernel;
	uint64_t addr = 0;

	(void)state;
	config.min += 1000 * PAGE;
	config.max += 1000 * PAGE;
	assert_int_equal(cleave_map_init(&kernel, THREAD, &config), 0);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(12), AT(14), CLEAVE_PROT_READ | CLEAVE_PROT_EXEC, 0, 0), 0);
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(11) + 1, PAGE, &kernel, 0, &addr), -EINVAL);
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(18), 4 * PAGE, &kernel, 0, &addr), -EINVAL);
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(10), 0, &kernel, 0, &addr), 0);
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(10), PAGE, MAP, 0, &addr), -EINVAL);
	solo.embedder.fail_after = 0; /* no store for what has none yet */
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(11), 2 * PAGE, &kernel, 0, &addr), -ENOMEM);
	solo.embedder.fail_after = GRANT_ALL;
	assert_int_equal(map_entries(&kernel, THREAD), 0);
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(11), 2 * PAGE, &kernel, 0, &addr), 0);
	assert_int_equal(addr, config.min);
	assert_true(solo_lookup_in(&solo, &kernel, addr + PAGE, &entry));
	assert_int_equal(entry.attributes.protection, CLEAVE_PROT_READ);
	assert_true(solo_lookup(&solo, 12, &source));
	assert_true(source.attributes.store && source.attributes.store == entry.attributes.store);
	assert_true(source.attributes.flags & entry.attributes.flags & CLEAVE_MAP_SHARED);
	/* The same page of the store, at another address */
	assert_int_equal(addr + PAGE + entry.attributes.store_delta, AT(12) + source.attributes.store_delta);
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(12), PAGE, &kernel, CLEAVE_EXTRACT_FIXPROT, &addr), 0);
	assert_true(solo_lookup_in(&solo, &kernel, addr, &entry));
	assert_int_equal(entry.attributes.protection, RW);
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(10), 10 * PAGE, &kernel, 0, &addr), 0);
	assert_int_equal(cleave_map_verify(&kernel, THREAD, NULL), 0);
	solo_destroy(&solo, &kernel);
}

static void op_fork_refuses_submaps(void **state)
{
	struct cleave_map_request request = request_fixed(10, 12);
	struct cleave_map child;
	struct thing *submap;

	(void)state;
	submap = thing_new(&solo.embedder);
	request.entry_flags = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(10), AT(11), submap), 0);
	assert_int_equal(cleave_map_fork(MAP, THREAD, &child), -EINVAL);
	thing_unref(&solo.embedder, submap);
}

static void op_fork_copies_wired_pages_at_once(void **state)
{
	struct cleave_map child;
	struct cleave_map_entry entry;

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_wire(MAP, THREAD, AT(12), AT(15)), 0);
	assert_int_equal(cleave_map_fork(MAP, THREAD, &child), 0);
	assert_int_equal(solo.embedder.copied, 3);
	assert_true(solo_lookup_in(&solo, &child, AT(12), &entry));
	assert_int_equal(entry.attributes.wired, 0);
	solo_destroy(&solo, &child);
}

static void op_share_is_a_count(void **state)
{
	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	cleave_map_share(MAP);
	assert_false(cleave_map_release(MAP, THREAD));
	assert_string_equal(solo_text(&solo), "10-20:rw-");
	assert_true(cleave_map_release(MAP, THREAD));
	{
		struct cleave_map_config config = solo_config();

		assert_int_equal(cleave_map_init(MAP, THREAD, &config), 0);
	}
}

static void op_submap_wants_a_blank_entry(void **state)
{
	struct cleave_map_request request = request_fixed(10, 20);
	struct cleave_map_entry entry;
	struct thing *submap;

	(void)state;
	submap = thing_new(&solo.embedder);
	assert_int_equal(solo_map(&solo, 30, 40), 0);
	request.entry_flags = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(32), AT(34), submap), -EINVAL); /* COW */
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(18), AT(22), submap), -EINVAL); /* beyond it */
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(50), AT(52), submap), -EINVAL);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(120), AT(130), submap), -EINVAL);
	assert_string_equal(solo_text(&solo), "10-20:rw- 30-40:rw-");
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(12), AT(14), submap), 0);
	assert_true(solo_lookup(&solo, 13, &entry));
	assert_true(entry.start == AT(12) && entry.end == AT(14) && cleave_map_offset(&entry) == 0);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(12), AT(14), submap), -EINVAL);
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(12), AT(14), 0), 0);
	cleave_map_thread_flush(THREAD, true);
	assert_int_equal(thing_refs(submap), 1);
	thing_unref(&solo.embedder, submap);
}

static void op_clean_checks_then_hands_on(void **state)
{
	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_clean(MAP, THREAD, AT(9), AT(12), CLEAVE_CLEAN_SYNC), -EFAULT);
	assert_int_equal(cleave_map_clean(MAP, THREAD, AT(12), AT(11), CLEAVE_CLEAN_SYNC), -EINVAL);
	assert_int_equal(cleave_map_clean(MAP, THREAD, AT(12), AT(12), CLEAVE_CLEAN_SYNC), 0);
	assert_int_equal(solo.embedder.cleaned, 0);
	assert_int_equal(cleave_map_clean(MAP, THREAD, AT(12), AT(18), CLEAVE_CLEAN_FREE), 0);
	assert_int_equal(solo.embedder.cleaned, 6);
	solo.embedder.bad_page = AT(13);
	assert_int_equal(cleave_map_clean(MAP, THREAD, AT(12), AT(18), CLEAVE_CLEAN_SYNC), -EIO);
	assert_string_equal(solo_text(&solo), "10-20:rw-");
}

static void op_remap_as_stack_rounds_inward(void **state)
{
	struct cleave_map_entry entry;

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_remap_as_stack(MAP, THREAD, AT(10), 3 * PAGE), 0);
	assert_string_equal(solo_text(&solo), "10-11:rw- 11-13:rw- 13-20:rw-");
	assert_true(solo_lookup(&solo, 11, &entry));
	assert_int_equal(entry.attributes.flags, CLEAVE_MAP_STACK | CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY);
	assert_int_equal(cleave_map_remap_as_stack(MAP, THREAD, AT(14) + 1, 3 * PAGE - 1), 0);
	assert_string_equal(solo_text(&solo), "10-11:rw- 11-13:rw- 13-15:rw- 15-17:rw- 17-20:rw-");
	assert_int_equal(cleave_map_remap_as_stack(MAP, THREAD, AT(18), PAGE), 0); /* nothing is left of it */
	assert_int_equal(cleave_map_remap_as_stack(MAP, THREAD, AT(18), 4 * PAGE), -EINVAL);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(19), AT(20), CLEAVE_PROT_READ, 0, 0), 0);
	assert_int_equal(cleave_map_remap_as_stack(MAP, THREAD, AT(17), 3 * PAGE), -EINVAL);
	assert_int_equal(cleave_map_remap_as_stack(MAP, THREAD, AT(17), UINT64_MAX), -EINVAL);
}

static void op_set_store_has_one_winner(void **state)
{
	struct cleave_map_entry entry;
	struct thing *stores[2];

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_true(solo_lookup(&solo, 10, &entry));
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(solo.embedder.ops.store_new(&solo.embedder.ops, 10, (void **)&stores[i]), 0);
	assert_int_equal(cleave_map_set_store(MAP, THREAD, AT(15), entry.version + 1, stores[0]), -ENOENT);
	assert_int_equal(cleave_map_set_store(MAP, THREAD, AT(25), entry.version, stores[0]), -ENOENT);
	assert_int_equal(cleave_map_set_store(MAP, THREAD, AT(15), entry.version, stores[0]), 0);
	assert_int_equal(cleave_map_set_store(MAP, THREAD, AT(15), entry.version, stores[1]), -ENOENT);
	assert_true(solo_lookup(&solo, 15, &entry));
	assert_int_equal(cleave_map_set_store(MAP, THREAD, AT(15), entry.version, stores[1]), -EEXIST);
	assert_ptr_equal(entry.attributes.store, stores[0]);
	assert_int_equal((AT(15) + entry.attributes.store_delta) / PAGE, 5);
	assert_int_equal(stores[0]->windows[9], 1);
	thing_unref(&solo.embedder, stores[1]);
	/* A clip touches no window; an unmapped part loses its own. */
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(12), AT(14), 0), 0);
	assert_int_equal(stores[0]->windows[2] + stores[0]->windows[3], 0);
	assert_int_equal(stores[0]->windows[1] + stores[0]->windows[4], 2);
}

/* The upper or lower part is handed back; a border is no work. */
static void op_clip_start_and_clip_end(void **state)
{
	struct cleave_map_entry entry;

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_wire(MAP, THREAD, AT(10), AT(20)), 0);
	assert_int_equal(cleave_map_clip_start(MAP, THREAD, AT(12), &entry), 0);
	assert_true(entry.start == AT(12) && entry.end == AT(20) && entry.attributes.wired == 1);
	assert_int_equal((entry.start + entry.attributes.store_delta) / PAGE, 2);
	assert_int_equal(cleave_map_clip_end(MAP, THREAD, AT(15), &entry), 0);
	assert_true(entry.start == AT(12) && entry.end == AT(15) && entry.attributes.wired == 1);
	/* No window, no translation, no wiring was touched. */
	assert_int_equal(solo.embedder.removals + solo.embedder.restrictions, 0);
	assert_string_equal(solo_text(&solo), "10-12:rw-W 12-15:rw-W 15-20:rw-W");
}

static void op_isjoinable_wants_them_equal_and_not_wired(void **state)
{
	(void)state;
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	assert_int_equal(solo_map(&solo, 12, 14), 0);
	assert_int_equal(solo_map(&solo, 15, 16), 0); /* a page between */
	assert_int_equal(cleave_map_wire(MAP, THREAD, AT(12), AT(14)), 0);
	assert_int_equal(cleave_map_coalesce(MAP, THREAD, AT(0), AT(128)), 0);
	assert_int_equal(solo_entries(&solo), 3);
	assert_int_equal(cleave_map_unwire(MAP, THREAD, AT(12), AT(14)), 0);
	assert_int_equal(cleave_map_coalesce(MAP, THREAD, AT(0), AT(128)), 0);
	assert_int_equal(solo_entries(&solo), 3); /* one has a store by now */
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(12), AT(14), 0), 0);
	assert_int_equal(solo_map(&solo, 12, 15), 0);
	assert_int_equal(cleave_map_coalesce(MAP, THREAD, AT(0), AT(128)), 0);
	assert_string_equal(solo_text(&solo), "10-16:rw-");
}

static void op_protect_takes_down_what_is_lost_and_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(12), AT(14), CLEAVE_PROT_READ, 0, 0), 0);
	assert_true(solo.embedder.restrictions == 1 && solo.embedder.removals == 0);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(10), AT(20), CLEAVE_PROT_ALL, 0, 0), 0);
	assert_int_equal(solo.embedder.restrictions, 1); /* gains need no work */
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(0), AT(128), CLEAVE_PROT_ALL, 0, 0), 0);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(0), AT(128), CLEAVE_PROT_ALL, CLEAVE_MAP_COW, 0), -EINVAL);
	assert_int_equal(cleave_map_protect(MAP, THREAD, AT(0), AT(128), 8, 0, 0), -EINVAL);
	assert_int_equal(solo.embedder.restrictions, 1);
}

static void op_inherit_advice_immutable_tolerate_gaps_and_clip(void **state)
{
	struct cleave_map_entry entry;

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(solo_map(&solo, 30, 40), 0);
	assert_int_equal(cleave_map_inherit(MAP, THREAD, AT(15), AT(35), CLEAVE_INHERIT_SHARE), 0);
	assert_string_equal(solo_text(&solo), "10-15:rw- 15-20:rw- 30-35:rw- 35-40:rw-");
	assert_int_equal(cleave_map_advise(MAP, THREAD, AT(0), AT(128), CLEAVE_ADVICE_SEQUENTIAL), 0);
	assert_int_equal(cleave_map_immutable(MAP, THREAD, AT(38), AT(128), true), 0);
	assert_string_equal(solo_text(&solo), "10-15:rw- 15-20:rw- 30-35:rw- 35-38:rw- 38-40:rw-I");
	assert_true(solo_lookup(&solo, 39, &entry));
	assert_true(entry.attributes.advice == CLEAVE_ADVICE_SEQUENTIAL &&
		    entry.attributes.inheritance == CLEAVE_INHERIT_COPY);
	assert_int_equal(cleave_map_immutable(MAP, THREAD, AT(38), AT(128), false), 0);
}

static void op_pageable_rounds_and_unwires(void **state)
{
	struct cleave_map_entry entry;

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_wire(MAP, THREAD, AT(12) + 1, AT(13) + 1), 0);
	assert_string_equal(solo_text(&solo), "10-12:rw- 12-14:rw-W 14-20:rw-");
	assert_int_equal(cleave_map_wire(MAP, THREAD, AT(13), AT(12)), -EINVAL);
	/* Only what is wired is clipped when it is unwired. */
	assert_int_equal(cleave_map_unwire(MAP, THREAD, AT(11), AT(13)), 0);
	assert_string_equal(solo_text(&solo), "10-12:rw- 12-13:rw- 13-14:rw-W 14-20:rw-");
	/* An unmap lets go of the pages: they can be wired anew. */
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(13), AT(14), 0), 0);
	assert_int_equal(solo_map(&solo, 13, 14), 0);
	assert_true(solo_lookup(&solo, 13, &entry));
	assert_int_equal(entry.attributes.wired, 0);
	assert_int_equal(cleave_map_wire(MAP, THREAD, AT(13), AT(14)), 0);
}

static void op_unmap_remove_and_detach(void **state)
{
	struct cleave_map_request request = request_fixed(10, 20);
	struct thing *object;

	(void)state;
	object = thing_new(&solo.embedder);
	request.object = object;
	thing_ref(object);
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(cleave_map_immutable(MAP, THREAD, AT(18), AT(20), true), 0);
	assert_int_equal(thing_refs(object), 3); /* two sets of attributes */
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(0), AT(128), CLEAVE_MAP_KEEP_IMMUTABLE), -EPERM);
	assert_string_equal(solo_text(&solo), "10-18:rw- 18-20:rw-I");
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(0), AT(128), 8), -EINVAL);
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(0), AT(128), 0), 0);
	cleave_map_thread_flush(THREAD, true);
	assert_int_equal(thing_refs(object), 1);
	thing_unref(&solo.embedder, object);
}

static void op_mquery_goes_forward_from_the_hint(void **state)
{
	struct cleave_map_request request = { .size = 4 * PAGE };

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(solo_map(&solo, 23, 128), 0);
	request.addr = AT(3) + 17;
	assert_int_equal(cleave_map_query(MAP, THREAD, &request), 0);
	assert_int_equal(request.addr, AT(3));
	request.addr = AT(7);
	assert_int_equal(cleave_map_query(MAP, THREAD, &request), -ENOMEM); /* never backward */
	request.size = 3 * PAGE;
	request.addr = AT(9);
	assert_int_equal(cleave_map_query(MAP, THREAD, &request), 0);
	assert_int_equal(request.addr, AT(20));
	request.flags = CLEAVE_MAP_FIXED;
	assert_int_equal(cleave_map_query(MAP, THREAD, &request), 0);
	request.addr = AT(19);
	assert_int_equal(cleave_map_query(MAP, THREAD, &request), -EINVAL);
	request.addr = AT(20) + 1; /* free, but no page begins there */
	request.size = PAGE;
	assert_int_equal(cleave_map_query(MAP, THREAD, &request), -EINVAL);
}

static void op_fill_vmmap_stops_when_the_array_is_full(void **state)
{
	struct cleave_map_entry entries[2];
	uint64_t from = AT(11);
	size_t n = 2;

	(void)state;
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	assert_int_equal(solo_map(&solo, 12, 14), 0);
	assert_int_equal(solo_map(&solo, 20, 22), 0);
	assert_int_equal(cleave_map_snapshot(MAP, THREAD, &from, entries, &n), -ENOMEM);
	assert_true(n == 2 && entries[0].start == AT(10) && entries[1].fspace == 6 * PAGE && from == AT(20));
	n = 2;
	assert_int_equal(cleave_map_snapshot(MAP, THREAD, &from, entries, &n), 0);
	assert_true(n == 1 && entries[0].start == AT(20));
	n = 0;
	assert_int_equal(cleave_map_snapshot(MAP, THREAD, &from, entries, &n), -ENOMEM);
	from = AT(500);
	assert_int_equal(cleave_map_snapshot(MAP, THREAD, &from, entries, &n), 0);
}

static void op_inentry_asks_the_map_only_after_a_change(void **state)
{
	struct cleave_map_inentry cache = { 0 };
	struct cleave_map_request request = request_fixed(10, 20);
	uint64_t serial;

	(void)state;
	request.entry_flags |= CLEAVE_MAP_STACK;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	manual_enter(&solo.domain);
	assert_false(cleave_map_inentry_rcu(MAP, &cache, AT(20), CLEAVE_MAP_STACK));
	assert_true(cleave_map_inentry_rcu(MAP, &cache, AT(19), CLEAVE_MAP_STACK));
	serial = cache.serial;
	assert_true(cleave_map_inentry_rcu(MAP, &cache, AT(10), CLEAVE_MAP_STACK));
	assert_int_equal(cache.serial, serial);
	manual_leave(&solo.domain);
	/* A clip is no change of a stack; its removal is. */
	assert_int_equal(cleave_map_clip_start(MAP, THREAD, AT(15), NULL), 0);
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(10), AT(11), 0), 0);
	manual_enter(&solo.domain);
	assert_false(cleave_map_inentry_rcu(MAP, &cache, AT(10), CLEAVE_MAP_STACK));
	assert_true(cleave_map_inentry_rcu(MAP, &cache, AT(11), CLEAVE_MAP_STACK));
	manual_leave(&solo.domain);
	assert_true(cache.serial > serial);
}

static void op_teardown_takes_immutables_and_holes(void **state)
{
	struct cleave_map_request request = request_fixed(30, 32);

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_wire(MAP, THREAD, AT(12), AT(14)), 0);
	assert_int_equal(cleave_map_immutable(MAP, THREAD, AT(12), AT(14), true), 0);
	request.entry_flags = CLEAVE_MAP_HOLE;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	solo_stop(&solo); /* checks that nothing is left */
	assert_false(solo.embedder.watched[0].wired[12]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		USING_SOLO(op_lookup_says_mapped_or_names_the_predecessor),
		USING_SOLO(op_isavail_is_what_fixed_and_hints_obey),
		USING_SOLO(op_mapanon_checks_in_this_order),
		USING_SOLO(op_map_takes_the_reference_only_if_it_succeeds),
		USING_SOLO(op_munmap_wants_everything_mapped),
		USING_SOLO(op_pageable_all),
		USING_SOLO(op_checkprot),
		cmocka_unit_test(op_findspace_random_goes_upward_only),
		USING_SOLO(op_extract_shares_without_exec),
		USING_SOLO(op_fork_refuses_submaps),
		USING_SOLO(op_fork_copies_wired_pages_at_once),
		USING_SOLO(op_share_is_a_count),
		USING_SOLO(op_submap_wants_a_blank_entry),
		USING_SOLO(op_clean_checks_then_hands_on),
		USING_SOLO(op_remap_as_stack_rounds_inward),
		USING_SOLO(op_set_store_has_one_winner),
		USING_SOLO(op_clip_start_and_clip_end),
		USING_SOLO(op_isjoinable_wants_them_equal_and_not_wired),
		USING_SOLO(op_protect_takes_down_what_is_lost_and_nothing_else),
		USING_SOLO(op_inherit_advice_immutable_tolerate_gaps_and_clip),
		USING_SOLO(op_pageable_rounds_and_unwires),
		USING_SOLO(op_unmap_remove_and_detach),
		USING_SOLO(op_mquery_goes_forward_from_the_hint),
		USING_SOLO(op_fill_vmmap_stops_when_the_array_is_full),
		USING_SOLO(op_inentry_asks_the_map_only_after_a_change),
		cmocka_unit_test(op_teardown_takes_immutables_and_holes),
	};

	return RUN_TESTS(tests, argc, argv);
}
