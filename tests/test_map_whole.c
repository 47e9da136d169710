/* SPDX-License-Identifier: ISC */
/*
 * The rules of a map, one test each: M10 to M20 of doc/map.md, wiring, versions, joining, free space, fork, accounts.
 */
#include "map_world.h"

static int protect(struct solo *solo, unsigned int from, unsigned int to, unsigned int protection)
{
	return cleave_map_protect(&solo->map, &solo->thread, AT(from), AT(to), protection, 0, 0);
}

static int unmap(struct solo *solo, unsigned int from, unsigned int to)
{
	return cleave_map_unmap(&solo->map, &solo->thread, AT(from), AT(to), 0);
}

static void m10_wire_counts_clears_and_undoes(void **state)
{
	struct solo solo;
	struct cleave_map *map = &solo.map;
	struct cleave_map_thread *thread = &solo.thread;
	struct cleave_map_entry entry;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(solo_map(&solo, 22, 30), 0);
	assert_int_equal(cleave_map_wire(map, thread, AT(9), AT(12)), -EFAULT);
	assert_int_equal(cleave_map_wire(map, thread, AT(18), AT(24)), -EINVAL);
	assert_int_equal(cleave_map_unwire(map, thread, AT(20), AT(24)), -EFAULT);
	assert_int_equal(cleave_map_unwire(map, thread, AT(19), AT(24)), -EINVAL);
	assert_string_equal(solo_text(&solo), "10-20:rw- 22-30:rw-");
	assert_int_equal(cleave_map_wire(map, thread, AT(12), AT(14) - 100), 0);
	assert_string_equal(solo_text(&solo), "10-12:rw- 12-14:rw-W 14-20:rw- 22-30:rw-");
	assert_true(solo_lookup(&solo, 12, &entry));
	assert_true(entry.attributes.wired == 1 && entry.attributes.store);
	assert_false(entry.attributes.flags & (CLEAVE_MAP_NEEDS_COPY | CLEAVE_MAP_IN_TRANSITION));
	/* What is wired already is not clipped; the last entry, if wired, is left alone. */
	assert_int_equal(cleave_map_wire(map, thread, AT(13), AT(16)), 0);
	assert_string_equal(solo_text(&solo), "10-12:rw- 12-14:rw-W 14-16:rw-W 16-20:rw- 22-30:rw-");
	assert_true(solo_lookup(&solo, 12, &entry));
	assert_int_equal(entry.attributes.wired, 2);
	assert_int_equal(cleave_map_wire(map, thread, AT(11), AT(13)), 0);
	assert_true(solo_lookup(&solo, 12, &entry));
	assert_int_equal(entry.attributes.wired, 2);
	assert_true(solo_lookup(&solo, 11, &entry));
	assert_int_equal(entry.attributes.wired, 1);
	/* Without protection: passed over. */
	assert_int_equal(protect(&solo, 24, 26, 0), 0);
	assert_int_equal(cleave_map_wire(map, thread, AT(22), AT(30)), 0);
	assert_string_equal(solo_text(&solo), "10-11:rw- 11-12:rw-W 12-14:rw-W 14-16:rw-W 16-20:rw- 22-24:rw-W "
					      "24-26:--- 26-30:rw-W");
	/* One unwire is enough, and NONE unwires. */
	assert_int_equal(cleave_map_unwire(map, thread, AT(13), AT(14)), 0);
	assert_true(solo_lookup(&solo, 13, &entry));
	assert_int_equal(entry.attributes.wired, 0);
	assert_int_equal(protect(&solo, 26, 28, 0), 0);
	assert_false(embedder_watched(&solo.embedder, map)->wired[27]);
	/* A failure undoes what it did. */
	assert_int_equal(cleave_map_unwire(map, thread, AT(10), AT(20)), 0);
	solo.embedder.bad_page = AT(17);
	assert_int_equal(cleave_map_wire(map, thread, AT(10), AT(20)), -EIO);
	for (unsigned int n = 10; n < 20; n++) {
		assert_true(solo_lookup(&solo, n, &entry));
		assert_int_equal(entry.attributes.wired, 0);
		assert_false(embedder_watched(&solo.embedder, map)->wired[n]);
	}
	solo_stop(&solo);
}

static void m11_busy_nests_and_lets_its_owner_write(void **state)
{
	struct cleave_map_thread other;
	struct cleave_map_request request = request_fixed(10, 12);
	struct cleave_map_entry before, after;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	cleave_map_thread_init(&other, &solo.maps, &solo.domain.self);
	assert_int_equal(solo_map(&solo, 20, 22), 0);
	assert_true(solo_lookup(&solo, 20, &before));
	cleave_map_busy(&solo.map, &solo.thread);
	cleave_map_busy(&solo.map, &solo.thread);
	request.flags |= CLEAVE_MAP_TRY;
	assert_int_equal(cleave_map_map(&solo.map, &other, &request), -EFAULT);
	assert_true(solo_lookup(&solo, 20, &after)); /* readers go on */
	assert_int_equal(solo_map(&solo, 14, 16), 0);
	cleave_map_unbusy(&solo.map, &solo.thread);
	assert_int_equal(cleave_map_map(&solo.map, &other, &request), -EFAULT);
	cleave_map_unbusy(&solo.map, &solo.thread);
	assert_int_equal(cleave_map_map(&solo.map, &other, &request), 0);
	assert_true(solo_lookup(&solo, 20, &after));
	assert_true(before.version == after.version);
	cleave_map_thread_exit(&other);
	solo_stop(&solo);
}

static void m12_versions_are_of_attributes_and_never_come_again(void **state)
{
	struct cleave_map_entry entries[4], entry;
	struct picture picture;
	struct solo solo;
	uint64_t last = 0;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(solo_map(&solo, 30, 40), 0);
	assert_true(solo_lookup(&solo, 10, &entries[0]));
	assert_true(solo_lookup(&solo, 30, &entries[1]));
	assert_true(entries[0].version != entries[1].version && entries[0].version && entries[1].version);
	for (unsigned int i = 0; i < 50; i++) {
		assert_int_equal(protect(&solo, 12, 14, i % 2 ? RW : CLEAVE_PROT_READ), 0);
		assert_true(solo_lookup(&solo, 12, &entry));
		assert_true(entry.version > last);
		last = entry.version;
		/* Its neighbours and others keep theirs. */
		assert_true(solo_lookup(&solo, 10, &entry));
		assert_true(entry.version == entries[0].version);
		assert_true(solo_lookup(&solo, 30, &entry));
		assert_true(entry.version == entries[1].version);
	}
	/* Who only reads changes none; the thread's numbers run over into a new range of numbers. */
	picture_take(&picture, &solo.map, &solo.thread);
	picture_free(&picture);
	assert_true(solo_lookup(&solo, 12, &entry));
	assert_true(entry.version == last);
	solo.thread.version |= (UINT64_C(1) << 40) - 1;
	assert_int_equal(protect(&solo, 12, 13, 0), 0);
	assert_true(solo_lookup(&solo, 12, &entry));
	assert_true(entry.version >> 40 != last >> 40 && (entry.version << 24) != 0);
	solo_stop(&solo);
}

static void m13_neighbours_join_only_if_they_differ_in_nothing(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request;
	struct thing *object;
	struct solo solo;

	(void)state;
	config.flags = CLEAVE_MAP_COALESCE;
	solo_start(&solo, &config);
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	assert_int_equal(solo_map(&solo, 14, 16), 0);
	assert_int_equal(solo_map(&solo, 12, 14), 0);
	assert_string_equal(solo_text(&solo), "10-16:rw-");
	request = request_fixed(16, 18);
	request.flags |= CLEAVE_MAP_NO_MERGE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_string_equal(solo_text(&solo), "10-16:rw- 16-18:rw-");
	/* A clip stays. */
	assert_int_equal(cleave_map_clip_start(&solo.map, &solo.thread, AT(12), NULL), 0);
	assert_string_equal(solo_text(&solo), "10-12:rw- 12-16:rw- 16-18:rw-");
	assert_int_equal(protect(&solo, 12, 16, 0), 0);
	assert_string_equal(solo_text(&solo), "10-12:rw- 12-16:--- 16-18:rw-");
	assert_int_equal(protect(&solo, 12, 16, RW), 0);
	assert_string_equal(solo_text(&solo), "10-18:rw-");
	/* Anything that differs keeps them apart. */
	assert_int_equal(cleave_map_advise(&solo.map, &solo.thread, AT(12), AT(13), CLEAVE_ADVICE_RANDOM), 0);
	assert_int_equal(cleave_map_inherit(&solo.map, &solo.thread, AT(14), AT(15), CLEAVE_INHERIT_SHARE), 0);
	assert_int_equal(cleave_map_immutable(&solo.map, &solo.thread, AT(16), AT(17), true), 0);
	assert_int_equal(solo_entries(&solo), 7);
	assert_int_equal(cleave_map_wire(&solo.map, &solo.thread, AT(17), AT(18)), 0);
	assert_int_equal(solo_map(&solo, 18, 20), 0);
	assert_int_equal(solo_entries(&solo), 8);
	/* Objects: contiguous offsets, or not */
	object = thing_new(&solo.embedder);
	for (unsigned int i = 0; i < 3; i++) {
		request = request_fixed(40 + 2 * i, 42 + 2 * i);
		request.entry_flags = 0;
		request.object = object;
		request.offset = i < 2 ? 2 * i * PAGE : 0;
		thing_ref(object);
		assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	}
	assert_int_equal(solo_entries(&solo), 10);
	cleave_map_thread_flush(&solo.thread, true);
	assert_int_equal(thing_refs(object), 3);
	thing_unref(&solo.embedder, object);
	solo_stop(&solo);
}

static void m13_coalesce_joins_on_demand(void **state)
{
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	for (unsigned int n = 0; n < 128; n += 2)
		assert_int_equal(solo_map(&solo, n, n + 2), 0);
	assert_int_equal(solo_entries(&solo), 64);
	assert_int_equal(protect(&solo, 60, 62, CLEAVE_PROT_READ), 0);
	assert_int_equal(cleave_map_coalesce(&solo.map, &solo.thread, AT(0), AT(128)), 0);
	assert_string_equal(solo_text(&solo), "0-60:rw- 60-62:r-- 62-128:rw-");
	solo_stop(&solo);
}

static void m14_space_is_found_by_selectors(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = { .size = 4 * PAGE, .max_protection = 7 };
	struct solo solo;
	uint64_t addr;

	(void)state;
	config.nselectors = 4;
	config.selectors[0] = (struct cleave_map_selector){ AT(0), AT(32), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_EXEC };
	config.selectors[1] = (struct cleave_map_selector){ AT(32), AT(64), CLEAVE_SELECT_BEST_FIT, CLEAVE_SELECT_ANY };
	config.selectors[2] = (struct cleave_map_selector){ AT(64), AT(96), CLEAVE_SELECT_HIGHEST, CLEAVE_SELECT_ANY };
	config.selectors[3] =
		(struct cleave_map_selector){ AT(96), AT(128), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_BRK_STACK };
	solo_start(&solo, &config);
	assert_int_equal(solo_map(&solo, 40, 42), 0);
	assert_int_equal(solo_map(&solo, 47, 49), 0); /* gaps 32-40, 42-47, 49-64 */
	assert_int_equal(cleave_map_find_space(&solo.map, &solo.thread, &request, &addr), 0);
	assert_int_equal(addr, AT(42));
	/* Executable first asks its own. */
	request.protection = CLEAVE_PROT_EXEC;
	assert_int_equal(cleave_map_find_space(&solo.map, &solo.thread, &request, &addr), 0);
	assert_int_equal(addr, AT(0));
	request.protection = 0;
	/* No gap crosses a border: 15 + 32 pages are free side by side, 16 do not fit below 64. */
	request.size = 16 * PAGE;
	assert_int_equal(cleave_map_find_space(&solo.map, &solo.thread, &request, &addr), 0);
	assert_int_equal(addr, AT(80));
	request.size = 33 * PAGE;
	assert_int_equal(cleave_map_find_space(&solo.map, &solo.thread, &request, &addr), -ENOMEM);
	/* Alignment and phase */
	request.size = 2 * PAGE;
	request.align = 16 * PAGE;
	request.phase = 3 * PAGE;
	assert_int_equal(cleave_map_find_space(&solo.map, &solo.thread, &request, &addr), 0);
	assert_true(addr % (16 * PAGE) == 3 * PAGE);
	assert_true(addr >= AT(32) && addr < AT(64));
	/* The last resort */
	assert_int_equal(solo_map(&solo, 64, 96), 0);
	request = (struct cleave_map_request){ .size = 20 * PAGE, .max_protection = 7 };
	assert_int_equal(cleave_map_find_space(&solo.map, &solo.thread, &request, &addr), 0);
	assert_int_equal(addr, AT(96));
	/* mquery does not look there. */
	request.addr = AT(50);
	assert_int_equal(cleave_map_query(&solo.map, &solo.thread, &request), -ENOMEM);
	request.size = 8 * PAGE;
	assert_int_equal(cleave_map_query(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(request.addr, AT(50));
	request.flags = CLEAVE_MAP_FIXED;
	request.addr = AT(46);
	assert_int_equal(cleave_map_query(&solo.map, &solo.thread, &request), -EINVAL);
	solo_stop(&solo);
}

static void m14_guard_pages(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = { .size = 2 * PAGE, .max_protection = 7 };
	struct cleave_map_entry entry;
	struct solo solo;
	uint64_t addr;

	(void)state;
	config.flags = CLEAVE_MAP_GUARD_PAGES;
	solo_start(&solo, &config);
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	assert_int_equal(solo_map(&solo, 14, 16), 0); /* two pages between: both are guards */
	assert_false(solo_lookup(&solo, 13, &entry));
	assert_true(entry.start == AT(10) && entry.guard == 2 * PAGE && entry.fspace == 0);
	/* One page again when there is room */
	assert_int_equal(unmap(&solo, 14, 15), 0);
	assert_false(solo_lookup(&solo, 13, &entry));
	assert_true(entry.start == AT(10) && entry.guard == PAGE && entry.fspace == 2 * PAGE);
	solo_check(&solo);
	/* FIXED may take a guard's place; the gap that is left has its own. */
	assert_int_equal(solo_map(&solo, 12, 13), 0);
	assert_false(solo_lookup(&solo, 13, &entry));
	assert_true(entry.start == AT(12) && entry.guard == 2 * PAGE);
	solo_check(&solo);
	/* A new entry needs room for its guard. */
	assert_int_equal(solo_map(&solo, 20, 128), 0);
	assert_int_equal(solo_map(&solo, 0, 7), 0);
	assert_int_equal(cleave_map_find_space(&solo.map, &solo.thread, &request, &addr), 0);
	assert_int_equal(addr, AT(17)); /* 7-10 has two free pages, 17-20 three */
	request.size = 3 * PAGE;
	assert_int_equal(cleave_map_find_space(&solo.map, &solo.thread, &request, &addr), -ENOMEM);
	assert_false(cleave_map_check_protection(&solo.map, &solo.thread, AT(12), AT(14), 0));
	assert_int_equal(unmap(&solo, 0, 128), 0);
	solo_stop(&solo);
}

static void m14_a_query_changes_nothing(void **state)
{
	struct cleave_map_request request = { .size = 4 * PAGE, .max_protection = 7, .flags = CLEAVE_MAP_QUERY };
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	request.addr = AT(33);
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(request.addr, AT(33));
	request.addr = 0;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(request.addr, AT(0));
	request.flags |= CLEAVE_MAP_FIXED;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(solo_entries(&solo), 0);
	solo_stop(&solo);
}

static void m15_fork_follows_inheritance(void **state)
{
	static const uint8_t kinds[] = { CLEAVE_INHERIT_SHARE, CLEAVE_INHERIT_COPY, CLEAVE_INHERIT_NONE,
					 CLEAVE_INHERIT_ZERO };
	struct cleave_map_entry parent[8], child[8];
	struct cleave_map *map, forked;
	struct cleave_map_request request;
	struct thing *object;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	map = &solo.map;
	object = thing_new(&solo.embedder);
	for (unsigned int i = 0; i < 8; i++) {
		request = request_fixed(10 + 4 * i, 12 + 4 * i);
		request.inheritance = kinds[i % 4];
		if (i >= 4) {
			request.object = object;
			request.offset = i * PAGE;
			thing_ref(object);
		}
		assert_int_equal(cleave_map_map(map, &solo.thread, &request), 0);
	}
	/* The private anonymous one has a store, with a window and pages entered writable. */
	assert_int_equal(cleave_map_wire(map, &solo.thread, AT(14), AT(16)), 0);
	assert_int_equal(cleave_map_unwire(map, &solo.thread, AT(14), AT(16)), 0);
	embedder_watched(&solo.embedder, map)->translations[14] =
		(struct translation){ .present = true, .protection = RW };
	assert_int_equal(cleave_map_fork(map, &solo.thread, &forked), 0);
	assert_int_equal(embedder_watched(&solo.embedder, map)->translations[14].protection, CLEAVE_PROT_READ);
	for (unsigned int i = 0; i < 8; i++) {
		assert_true(solo_lookup(&solo, 10 + 4 * i, &parent[i]));
		assert_int_equal(solo_lookup_in(&solo, &forked, AT(10 + 4 * i), &child[i]),
				 kinds[i % 4] != CLEAVE_INHERIT_NONE);
	}
	/* SHARE: one store, made for the purpose */
	assert_true(parent[0].attributes.store && parent[0].attributes.store == child[0].attributes.store);
	assert_false(parent[0].attributes.flags & CLEAVE_MAP_NEEDS_COPY);
	assert_true(parent[0].attributes.flags & child[0].attributes.flags & CLEAVE_MAP_SHARED);
	/* COPY: a clone of the store; nothing per page */
	assert_true(child[1].attributes.store && child[1].attributes.store != parent[1].attributes.store);
	assert_ptr_equal(((struct thing *)child[1].attributes.store)->origin, parent[1].attributes.store);
	assert_int_equal(solo.embedder.clones, 1);
	assert_int_equal(solo.embedder.copied, 0);
	/* COPY of an object without a store: copy on write, and a store when it needs one */
	assert_true(child[5].attributes.object == object && !child[5].attributes.store);
	assert_int_equal(child[5].attributes.flags & (CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY),
			 CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY);
	assert_int_equal(cleave_map_offset(&child[5]), 5 * PAGE);
	/* ZERO: neither */
	for (unsigned int i = 3; i < 8; i += 4) {
		assert_null(child[i].attributes.object);
		assert_null(child[i].attributes.store);
		assert_int_equal(child[i].attributes.flags, CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY);
	}
	assert_int_equal(map_entries(&forked, &solo.thread), 6);
	assert_int_equal(cleave_map_verify(&forked, &solo.thread, NULL), 0);
	solo_destroy(&solo, &forked);
	assert_int_equal(unmap(&solo, 0, 128), 0);
	cleave_map_thread_flush(&solo.thread, true);
	assert_int_equal(thing_refs(object), 1);
	thing_unref(&solo.embedder, object);
	solo_stop(&solo);
}

static void m16_accounts_are_exact(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_accounts accounts;
	struct cleave_map_request request;
	struct solo solo;

	(void)state;
	config.flags = CLEAVE_MAP_LIMITS;
	config.size_limit = 100 * PAGE;
	config.data_limit = 30 * PAGE;
	config.stack_start = AT(100);
	config.stack_end = AT(110);
	solo_start(&solo, &config);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(solo_map(&solo, 98, 112), 0); /* ten of these are the stack's */
	request = request_fixed(40, 60);
	request.protection = 0;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	request = request_fixed(60, 64);
	request.entry_flags = CLEAVE_MAP_HOLE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	cleave_map_account(&solo.map, &solo.thread, &accounts);
	assert_int_equal(accounts.size, 44 * PAGE);
	assert_int_equal(accounts.data, 14 * PAGE);
	assert_int_equal(accounts.entries, 4);
	assert_int_equal(protect(&solo, 40, 57, RW), -ENOMEM);
	assert_int_equal(protect(&solo, 40, 56, RW), 0);
	assert_int_equal(unmap(&solo, 12, 42), 0);
	cleave_map_account(&solo.map, &solo.thread, &accounts);
	assert_int_equal(accounts.size, 34 * PAGE);
	assert_int_equal(accounts.data, 20 * PAGE);
	assert_int_equal(accounts.entries, 5);
	/* The size's limit; lower than what is mapped, nothing grows */
	request = request_fixed(64, 98);
	request.protection = 0;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(solo_map(&solo, 0, 11), -ENOMEM);
	assert_int_equal(cleave_map_set_limits(&solo.map, 10 * PAGE, CLEAVE_MAP_UNLIMITED), 0);
	assert_int_equal(solo_map(&solo, 0, 1), -ENOMEM);
	assert_int_equal(unmap(&solo, 0, 128), 0);
	assert_int_equal(solo_map(&solo, 0, 10), 0);
	solo_stop(&solo);
	solo_start(&solo, NULL);
	assert_int_equal(cleave_map_set_limits(&solo.map, 1, 1), -EINVAL);
	solo_stop(&solo);
}

static void m17_a_snapshot_goes_on_where_it_was_full(void **state)
{
	struct cleave_map_entry entries[3], all[40];
	struct solo solo;
	uint64_t from = 0;
	size_t n = 40, total = 0;
	int result;

	(void)state;
	solo_start(&solo, NULL);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(solo_map(&solo, 10 + 3 * i, 12 + 3 * i), 0);
	assert_int_equal(cleave_map_snapshot_locked(&solo.map, &solo.thread, &from, all, &n), 0);
	assert_int_equal(n, 11); /* the free space at the start, too */
	assert_true(all[0].start == AT(0) && all[0].end == AT(0) && all[0].fspace == 10 * PAGE);
	assert_true(all[10].end == AT(39) && all[10].fspace == 89 * PAGE);
	/* It tiles the map. */
	for (size_t i = 0; i + 1 < n; i++)
		assert_true(all[i].end + all[i].guard + all[i].fspace == all[i + 1].start);
	from = 0;
	do {
		size_t room = 3;

		result = cleave_map_snapshot(&solo.map, &solo.thread, &from, entries, &room);
		assert_true(result == 0 || (result == -ENOMEM && room == 3));
		for (size_t i = 0; i < room; i++)
			assert_true(entries[i].start == all[total + i].start &&
				    entries[i].fspace == all[total + i].fspace);
		total += room;
	} while (result);
	assert_int_equal(total, n);
	solo_stop(&solo);
}

static void m18_the_serial_counts_changes_of_stacks(void **state)
{
	struct cleave_map_inentry cache = { 0 };
	struct cleave_map_request request;
	struct cleave_map_accounts accounts;
	struct solo solo;
	uint64_t serial;
	bool inside;

	(void)state;
	solo_start(&solo, NULL);
	request = request_fixed(10, 20);
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	cleave_map_account(&solo.map, &solo.thread, &accounts);
	serial = accounts.serial;
	request.flags |= CLEAVE_MAP_REPLACE;
	request.entry_flags |= CLEAVE_MAP_STACK;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	cleave_map_account(&solo.map, &solo.thread, &accounts);
	assert_int_equal(accounts.serial, serial + 1);
	manual_enter(&solo.domain);
	inside = cleave_map_inentry_rcu(&solo.map, &cache, AT(12), CLEAVE_MAP_STACK);
	manual_leave(&solo.domain);
	assert_true(inside && cache.start == AT(10) && cache.end == AT(20));
	/* Changes elsewhere do not count. */
	assert_int_equal(solo_map(&solo, 30, 32), 0);
	assert_int_equal(unmap(&solo, 30, 31), 0);
	cleave_map_account(&solo.map, &solo.thread, &accounts);
	assert_int_equal(accounts.serial, serial + 1);
	assert_int_equal(unmap(&solo, 15, 20), 0);
	cleave_map_account(&solo.map, &solo.thread, &accounts);
	assert_int_equal(accounts.serial, serial + 2);
	manual_enter(&solo.domain);
	inside = cleave_map_inentry_rcu(&solo.map, &cache, AT(16), CLEAVE_MAP_STACK);
	manual_leave(&solo.domain);
	assert_false(inside);
	/* Only where it becomes RW. */
	assert_int_equal(
		cleave_map_protect(&solo.map, &solo.thread, AT(31), AT(32), CLEAVE_PROT_READ, CLEAVE_MAP_STACK, 0), 0);
	cleave_map_account(&solo.map, &solo.thread, &accounts);
	assert_int_equal(accounts.serial, serial + 2);
	assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, AT(31), AT(32), RW, CLEAVE_MAP_STACK, 0), 0);
	cleave_map_account(&solo.map, &solo.thread, &accounts);
	assert_int_equal(accounts.serial, serial + 3);
	solo_stop(&solo);
}

static void m19_without_sleeping_and_without_memory(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = request_fixed(10, 12);
	struct cleave_map_txn txn;
	struct cleave_map_thread other;
	struct solo solo;

	(void)state;
	config.flags = CLEAVE_MAP_NO_SLEEP;
	solo_start(&solo, &config);
	cleave_map_thread_init(&other, &solo.maps, &solo.domain.self);
	assert_int_equal(cleave_map_reserve(&solo.thread, 8), 0);
	counting_memory_grant(&solo.domain.memory, 0);
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(protect(&solo, 10, 11, 0), 0);
	assert_int_equal(protect(&solo, 10, 11, CLEAVE_PROT_READ), 0);
	assert_int_equal(unmap(&solo, 11, 12), 0);
	counting_memory_grant(&solo.domain.memory, GRANT_ALL);
	assert_string_equal(solo_text(&solo), "10-11:r--");
	assert_int_equal(counting_memory_failed(&solo.domain.memory), 0);
	cleave_map_busy(&solo.map, &other);
	assert_int_equal(protect(&solo, 10, 11, 0), -EAGAIN);
	assert_int_equal(cleave_map_begin(&txn, &solo.map, &solo.thread, AT(0), AT(1)), -EAGAIN);
	cleave_map_unbusy(&solo.map, &other);
	assert_int_equal(protect(&solo, 10, 11, 0), 0);
	cleave_map_thread_exit(&other);
	solo_stop(&solo);
}

static void m20_the_ends_of_the_address_space(void **state)
{
	struct cleave_map_config config = { .min = 0, .max = (uint64_t)0 - PAGE, .page_shift = 12 };
	struct cleave_map_request request = { .size = PAGE, .max_protection = 7 };
	struct cleave_map_entry entry;
	struct solo solo;
	uint64_t addr;

	(void)state;
	solo_start(&solo, &config);
	/* Page 0 is never chosen, but may be asked for. */
	assert_int_equal(cleave_map_find_space(&solo.map, &solo.thread, &request, &addr), 0);
	assert_int_equal(addr, PAGE);
	request.flags = CLEAVE_MAP_FIXED;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	/* The last page of the map */
	request.addr = config.max - PAGE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	manual_enter(&solo.domain);
	assert_true(cleave_map_lookup_rcu(&solo.map, config.max - 1, &entry));
	assert_false(cleave_map_lookup_rcu(&solo.map, config.max, &entry));
	assert_false(cleave_map_lookup_rcu(&solo.map, UINT64_MAX, &entry));
	manual_leave(&solo.domain);
	request.addr = config.max;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), -ENOMEM);
	request.addr = 2 * PAGE;
	request.size = (uint64_t)0 - 2 * PAGE; /* wraps to 0 */
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), -ENOMEM);
	request.size -= PAGE; /* up to the end of the map, where something is */
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), -ENOMEM);
	request.addr = PAGE;
	request.size = config.max - 2 * PAGE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	solo_check(&solo);
	assert_int_equal(cleave_map_unmap(&solo.map, &solo.thread, 0, config.max, 0), 0);
	solo_stop(&solo);
	/* What is no map */
	solo_start(&solo, NULL);
	{
		static struct cleave_map other;
		struct cleave_map_config bad = config;

		bad.max += 1;
		assert_int_equal(cleave_map_init(&other, &solo.thread, &bad), -EINVAL);
		bad = config;
		bad.min = bad.max;
		assert_int_equal(cleave_map_init(&other, &solo.thread, &bad), -EINVAL);
		bad = config;
		bad.nselectors = 2;
		bad.selectors[0] = (struct cleave_map_selector){ 0, 2 * PAGE, 0, 0 };
		bad.selectors[1] = (struct cleave_map_selector){ PAGE, 3 * PAGE, 0, 0 };
		assert_int_equal(cleave_map_init(&other, &solo.thread, &bad), -EINVAL);
	}
	solo_stop(&solo);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(m10_wire_counts_clears_and_undoes),
		cmocka_unit_test(m11_busy_nests_and_lets_its_owner_write),
		cmocka_unit_test(m12_versions_are_of_attributes_and_never_come_again),
		cmocka_unit_test(m13_neighbours_join_only_if_they_differ_in_nothing),
		cmocka_unit_test(m13_coalesce_joins_on_demand),
		cmocka_unit_test(m14_space_is_found_by_selectors),
		cmocka_unit_test(m14_guard_pages),
		cmocka_unit_test(m14_a_query_changes_nothing),
		cmocka_unit_test(m15_fork_follows_inheritance),
		cmocka_unit_test(m16_accounts_are_exact),
		cmocka_unit_test(m17_a_snapshot_goes_on_where_it_was_full),
		cmocka_unit_test(m18_the_serial_counts_changes_of_stacks),
		cmocka_unit_test(m19_without_sleeping_and_without_memory),
		cmocka_unit_test(m20_the_ends_of_the_address_space),
	};

	return RUN_TESTS(tests, argc, argv);
}
