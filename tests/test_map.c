/* SPDX-License-Identifier: ISC */
/* The rules of a map, one test each: M1 to M20 of doc/map.md. */
#include "map_world.h"

static int protect(struct solo *solo, unsigned int from, unsigned int to, unsigned int protection)
{
	return cleave_map_protect(&solo->map, &solo->thread, AT(from), AT(to), protection, 0, 0);
}

static int unmap(struct solo *solo, unsigned int from, unsigned int to)
{
	return cleave_map_unmap(&solo->map, &solo->thread, AT(from), AT(to), 0);
}

static void m1_a_free_address_belongs_to_its_predecessor(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_entry entry;
	struct solo solo;

	(void)state;
	config.nselectors = 2;
	config.selectors[0] = (struct cleave_map_selector){ AT(0), AT(64), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	config.selectors[1] = (struct cleave_map_selector){ AT(64), AT(128), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	config.flags = CLEAVE_MAP_GUARD_PAGES;
	solo_start(&solo, &config);
	assert_false(solo_lookup(&solo, 5, &entry));
	assert_true(entry.start == AT(0) && entry.end == AT(0) && entry.guard == 0 && entry.fspace == 64 * PAGE);
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	assert_true(solo_lookup(&solo, 11, &entry));
	assert_true(entry.start == AT(10) && entry.end == AT(12));
	/* The guard is neither mapped nor free. */
	assert_false(solo_lookup(&solo, 12, &entry));
	assert_true(entry.start == AT(10) && entry.end == AT(12) && entry.guard == PAGE && entry.fspace == 51 * PAGE);
	assert_false(solo_lookup(&solo, 40, &entry));
	assert_true(entry.start == AT(10) && entry.guard == PAGE && entry.fspace == 51 * PAGE);
	/* Free space does not cross a selector's border. */
	assert_false(solo_lookup(&solo, 64, &entry));
	assert_true(entry.start == AT(64) && entry.end == AT(64) && entry.fspace == 64 * PAGE);
	/* Below the first entry, and outside. */
	assert_false(solo_lookup(&solo, 9, &entry));
	assert_true(entry.start == AT(0) && entry.end == AT(0) && entry.fspace == 10 * PAGE);
	assert_false(solo_lookup(&solo, 128, &entry));
	assert_true(entry.start == 0 && entry.end == 0);
	solo_stop(&solo);
}

static void m2_ranges_are_half_open_and_clamped(void **state)
{
	struct solo solo;
	struct cleave_map *map = &solo.map;
	struct cleave_map_thread *thread = &solo.thread;
	uint64_t top = (uint64_t)0 - PAGE, addr;
	struct cleave_map_config config = solo_config();
	struct cleave_map other;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(cleave_map_init(&other, thread, &config), 0);
	assert_int_equal(solo_map(&solo, 0, 128), 0);
	/* start > end, unaligned */
	assert_int_equal(cleave_map_protect(map, thread, AT(2), AT(1), 0, 0, 0), -EINVAL);
	assert_int_equal(cleave_map_inherit(map, thread, AT(2), AT(1), 0), -EINVAL);
	assert_int_equal(cleave_map_advise(map, thread, AT(2), AT(1), 0), -EINVAL);
	assert_int_equal(cleave_map_immutable(map, thread, AT(2), AT(1), true), -EINVAL);
	assert_int_equal(cleave_map_unmap(map, thread, AT(2), AT(1), 0), -EINVAL);
	assert_int_equal(cleave_map_protect(map, thread, AT(2) + 1, AT(3), 0, 0, 0), -EINVAL);
	/* empty */
	assert_int_equal(cleave_map_protect(map, thread, AT(2), AT(2), 0, 0, 0), 0);
	assert_int_equal(cleave_map_unmap(map, thread, AT(2), AT(2), 0), 0);
	assert_int_equal(cleave_map_munmap(map, thread, AT(2), 0), 0);
	assert_int_equal(cleave_map_wire(map, thread, AT(2), AT(2)), 0);
	assert_true(cleave_map_check_protection(map, thread, AT(2), AT(2), CLEAVE_PROT_ALL));
	assert_string_equal(solo_text(&solo), "0-128:rw-");
	/* clamped */
	assert_int_equal(cleave_map_protect(map, thread, 0, top, CLEAVE_PROT_READ, 0, 0), 0);
	assert_int_equal(cleave_map_inherit(map, thread, 0, top, CLEAVE_INHERIT_NONE), 0);
	assert_int_equal(cleave_map_advise(map, thread, 0, top, CLEAVE_ADVICE_RANDOM), 0);
	assert_string_equal(solo_text(&solo), "0-128:r--");
	/* not clamped */
	assert_int_equal(cleave_map_wire(map, thread, AT(127), AT(129)), -EINVAL);
	assert_int_equal(cleave_map_wire(map, thread, AT(0) - PAGE, AT(2)), -EFAULT);
	assert_int_equal(cleave_map_clean(map, thread, AT(127), AT(129), CLEAVE_CLEAN_SYNC), -EINVAL);
	assert_false(cleave_map_check_protection(map, thread, AT(127), AT(129), 0));
	assert_int_equal(cleave_map_extract(map, thread, AT(127), 2 * PAGE, &other, 0, &addr), -EINVAL);
	/* wraps; rounds up to 0 */
	assert_int_equal(cleave_map_munmap(map, thread, AT(1), UINT64_MAX - AT(1)), -EINVAL);
	assert_int_equal(cleave_map_munmap(map, thread, AT(1) + 8, UINT64_MAX), -EINVAL);
	assert_int_equal(cleave_map_munmap(map, thread, AT(1), UINT64_MAX), -EINVAL);
	assert_int_equal(cleave_map_wire(map, thread, AT(1), UINT64_MAX), -EINVAL);
	assert_int_equal(cleave_map_unmap(map, thread, 0, top, 0), 0);
	assert_string_equal(solo_text(&solo), "");
	cleave_map_destroy(&other, thread);
	solo_stop(&solo);
}

static void m3_a_clip_keeps_attributes_and_offsets(void **state)
{
	struct cleave_map_request request = request_fixed(10, 20);
	struct cleave_map_entry lower, upper, before;
	struct thing *object;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	object = thing_new(&solo.embedder);
	thing_ref(object);
	request.object = object;
	request.offset = 7 * PAGE;
	request.entry_flags = CLEAVE_MAP_CONCEAL;
	request.advice = CLEAVE_ADVICE_SEQUENTIAL;
	request.inheritance = CLEAVE_INHERIT_NONE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_true(solo_lookup(&solo, 10, &before));
	assert_int_equal(cleave_map_offset(&before), 7 * PAGE);
	/* The upper part is handed back, */
	assert_int_equal(cleave_map_clip_start(&solo.map, &solo.thread, AT(13), &upper), 0);
	assert_true(upper.start == AT(13) && upper.end == AT(20) && cleave_map_offset(&upper) == 10 * PAGE);
	assert_true(solo_lookup(&solo, 12, &lower));
	assert_true(lower.start == AT(10) && lower.end == AT(13) && cleave_map_offset(&lower) == 7 * PAGE);
	/* or the lower one. */
	assert_int_equal(cleave_map_clip_end(&solo.map, &solo.thread, AT(17), &lower), 0);
	assert_true(lower.start == AT(13) && lower.end == AT(17));
	/* No object was made, no reference taken. */
	assert_true(upper.version == before.version && lower.version == before.version);
	assert_true(upper.attributes.advice == CLEAVE_ADVICE_SEQUENTIAL &&
		    upper.attributes.flags == CLEAVE_MAP_CONCEAL &&
		    upper.attributes.inheritance == CLEAVE_INHERIT_NONE);
	assert_int_equal(thing_refs(object), 2);
	/* A border is no work; free space and unaligned addresses are refused. */
	assert_int_equal(cleave_map_clip_start(&solo.map, &solo.thread, AT(13), NULL), 0);
	assert_int_equal(cleave_map_clip_end(&solo.map, &solo.thread, AT(20), NULL), 0);
	assert_int_equal(solo_entries(&solo), 3);
	assert_int_equal(cleave_map_clip_start(&solo.map, &solo.thread, AT(20), NULL), -ENOENT);
	assert_int_equal(cleave_map_clip_end(&solo.map, &solo.thread, AT(10), NULL), -ENOENT);
	assert_int_equal(cleave_map_clip_start(&solo.map, &solo.thread, AT(11) + 1, NULL), -EINVAL);
	solo_check(&solo);
	assert_int_equal(unmap(&solo, 0, 128), 0);
	cleave_map_thread_flush(&solo.thread, true);
	assert_int_equal(thing_refs(object), 1);
	thing_unref(&solo.embedder, object);
	solo_stop(&solo);
}

static void m4_a_clip_that_fails_changes_nothing(void **state)
{
	struct picture before, after;
	struct solo solo;
	uint64_t failures = 0;

	(void)state;
	solo_start(&solo, NULL);
	solo.domain.grace = GRACE_ON_DEMAND;
	assert_int_equal(solo_map(&solo, 0, 128), 0);
	for (unsigned int n = 1; n < 120; n++) {
		int result = -ENOMEM;

		for (uint64_t grant = 0; result; grant++) {
			picture_take(&before, &solo.map, &solo.thread);
			cleave_thread_exit(&solo.domain.self);
			cleave_thread_init(&solo.domain.self, &solo.domain.domain);
			counting_memory_grant(&solo.domain.memory, grant);
			result = cleave_map_clip_start(&solo.map, &solo.thread, AT(n), NULL);
			counting_memory_grant(&solo.domain.memory, GRANT_ALL);
			picture_take(&after, &solo.map, &solo.thread);
			if (result) {
				assert_int_equal(result, -ENOMEM);
				assert_true(picture_equal(&before, &after));
				failures++;
			}
			picture_free(&before);
			picture_free(&after);
		}
		assert_int_equal(solo_entries(&solo), n + 1);
		solo_check(&solo);
	}
	assert_true(failures > 50);
	solo_stop(&solo);
}

static void m5_fixed_replaces_only_if_asked_and_never_immutables(void **state)
{
	struct cleave_map_request request;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(solo_map(&solo, 19, 22), -ENOMEM);
	assert_int_equal(solo_map(&solo, 5, 11), -ENOMEM);
	request = request_fixed(15, 25);
	request.flags |= CLEAVE_MAP_REPLACE;
	request.protection = CLEAVE_PROT_READ;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_string_equal(solo_text(&solo), "10-15:rw- 15-25:r--");
	assert_int_equal(cleave_map_immutable(&solo.map, &solo.thread, AT(20), AT(21), true), 0);
	request = request_fixed(12, 30);
	request.flags |= CLEAVE_MAP_REPLACE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), -EPERM);
	assert_string_equal(solo_text(&solo), "10-15:rw- 15-20:r-- 20-21:r--I 21-25:r--");
	/* A stack over what is not all mapped */
	request = request_fixed(22, 26);
	request.flags |= CLEAVE_MAP_REPLACE;
	request.entry_flags |= CLEAVE_MAP_STACK;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), -EINVAL);
	solo_stop(&solo);
}

static void m6_unmap_clips_and_defers_the_end(void **state)
{
	struct cleave_map_request request = request_fixed(10, 20);
	struct cleave_map_entry entry;
	struct thing *object;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	solo.domain.grace = GRACE_ON_DEMAND;
	object = thing_new(&solo.embedder);
	thing_ref(object);
	request.object = object;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	request = request_fixed(30, 32);
	request.entry_flags = CLEAVE_MAP_HOLE;
	request.protection = 0;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	/* A HOLE is not mapped, but has its own entry. */
	assert_false(solo_lookup(&solo, 30, &entry));
	assert_true(entry.start == AT(30) && entry.end == AT(32));
	assert_int_equal(unmap(&solo, 12, 14), 0);
	assert_string_equal(solo_text(&solo), "10-12:rw- 14-20:rw- 30-32:---H");
	assert_false(solo_lookup(&solo, 13, &entry));
	assert_true(entry.start == AT(10) && entry.end == AT(12) && entry.fspace == 2 * PAGE);
	assert_int_equal(thing_refs(object), 2);
	assert_int_equal(unmap(&solo, 0, 128), 0);
	assert_string_equal(solo_text(&solo), "30-32:---H");
	/* A reader may still look at the object until a grace period has passed. */
	assert_int_equal(thing_refs(object), 2);
	cleave_map_thread_flush(&solo.thread, false);
	assert_int_equal(thing_refs(object), 2);
	cleave_map_thread_flush(&solo.thread, true);
	assert_int_equal(thing_refs(object), 1);
	assert_int_equal(cleave_map_unmap(&solo.map, &solo.thread, AT(0), AT(128), CLEAVE_MAP_REMOVE_HOLES), 0);
	assert_string_equal(solo_text(&solo), "");
	thing_unref(&solo.embedder, object);
	solo_stop(&solo);
}

static void m7_protect_is_all_or_nothing(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request;
	struct cleave_map_entry entry;
	struct thing *submap;
	struct solo solo;

	(void)state;
	config.flags = CLEAVE_MAP_LIMITS;
	config.size_limit = CLEAVE_MAP_UNLIMITED;
	config.data_limit = 40 * PAGE;
	solo_start(&solo, &config);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	request = request_fixed(20, 30);
	request.max_protection = RW;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(protect(&solo, 15, 25, CLEAVE_PROT_READ | CLEAVE_PROT_EXEC), -EACCES);
	assert_string_equal(solo_text(&solo), "10-20:rw- 20-30:rw-");
	/* What is so already is not clipped; gaps are passed over. */
	assert_int_equal(protect(&solo, 5, 35, RW), 0);
	assert_int_equal(protect(&solo, 12, 14, RW), 0);
	assert_string_equal(solo_text(&solo), "10-20:rw- 20-30:rw-");
	assert_int_equal(protect(&solo, 5, 12, CLEAVE_PROT_READ), 0);
	assert_string_equal(solo_text(&solo), "10-12:r-- 12-20:rw- 20-30:rw-");
	/* The greatest protection takes from the present one. */
	assert_int_equal(
		cleave_map_protect(&solo.map, &solo.thread, AT(12), AT(14), CLEAVE_PROT_READ, 0, CLEAVE_PROTECT_MAX),
		0);
	assert_true(solo_lookup(&solo, 12, &entry));
	assert_true(entry.attributes.max_protection == CLEAVE_PROT_READ &&
		    entry.attributes.protection == CLEAVE_PROT_READ && entry.end == AT(14));
	assert_int_equal(protect(&solo, 12, 14, RW), -EACCES);
	/* Immutable and submap */
	assert_int_equal(cleave_map_immutable(&solo.map, &solo.thread, AT(16), AT(18), true), 0);
	assert_int_equal(protect(&solo, 10, 20, 0), -EPERM);
	assert_int_equal(protect(&solo, 14, 16, 0), 0);
	request = request_fixed(40, 50);
	request.entry_flags = 0;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	submap = thing_new(&solo.embedder);
	assert_int_equal(cleave_map_submap(&solo.map, &solo.thread, AT(42), AT(44), submap), 0);
	thing_unref(&solo.embedder, submap);
	assert_int_equal(protect(&solo, 40, 50, CLEAVE_PROT_READ), -EINVAL);
	/* Growth from NONE is data. */
	request = request_fixed(60, 80);
	request.protection = 0;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(protect(&solo, 60, 80, CLEAVE_PROT_READ), -ENOMEM);
	assert_int_equal(protect(&solo, 60, 62, CLEAVE_PROT_READ), 0);
	solo_stop(&solo);
}

static void m8_inherit_checks_before_it_clips(void **state)
{
	struct solo solo;
	struct cleave_map *map = &solo.map;
	struct cleave_map_thread *thread = &solo.thread;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_inherit(map, thread, AT(10), AT(20), 4), -EINVAL);
	assert_int_equal(protect(&solo, 18, 20, CLEAVE_PROT_READ), 0);
	/* ZERO wants it writable; no split is left behind. */
	assert_int_equal(cleave_map_inherit(map, thread, AT(15), AT(20), CLEAVE_INHERIT_ZERO), -EPERM);
	assert_string_equal(solo_text(&solo), "10-18:rw- 18-20:r--");
	assert_int_equal(cleave_map_inherit(map, thread, AT(15), AT(17), CLEAVE_INHERIT_ZERO), 0);
	assert_string_equal(solo_text(&solo), "10-15:rw- 15-17:rw- 17-18:rw- 18-20:r--");
	assert_int_equal(cleave_map_immutable(map, thread, AT(16), AT(20), true), -EPERM);
	assert_int_equal(cleave_map_immutable(map, thread, AT(17), AT(20), true), 0);
	assert_int_equal(cleave_map_inherit(map, thread, AT(10), AT(18), CLEAVE_INHERIT_SHARE), -EPERM);
	/* Advice does not mind; all three clip what they do not change. */
	assert_int_equal(cleave_map_advise(map, thread, AT(19), AT(20), CLEAVE_ADVICE_NORMAL), 0);
	assert_string_equal(solo_text(&solo), "10-15:rw- 15-17:rw- 17-18:rw-I 18-19:r--I 19-20:r--I");
	assert_int_equal(cleave_map_advise(map, thread, AT(0), AT(128), 3), -EINVAL);
	assert_int_equal(cleave_map_immutable(map, thread, AT(17), AT(20), false), 0);
	solo_stop(&solo);
}

static void m8_free_space_without_an_entry_is_not_writable(void **state)
{
	struct cleave_map_config config = solo_config();
	struct solo solo;

	(void)state;
	config.nselectors = 2;
	config.selectors[0] = (struct cleave_map_selector){ AT(0), AT(64), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	config.selectors[1] = (struct cleave_map_selector){ AT(64), AT(128), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	solo_start(&solo, &config);
	assert_int_equal(solo_map(&solo, 60, 62), 0);
	assert_int_equal(solo_map(&solo, 66, 68), 0);
	assert_int_equal(cleave_map_inherit(&solo.map, &solo.thread, AT(60), AT(68), CLEAVE_INHERIT_ZERO), -EPERM);
	assert_int_equal(cleave_map_inherit(&solo.map, &solo.thread, AT(60), AT(64), CLEAVE_INHERIT_ZERO), 0);
	assert_int_equal(cleave_map_inherit(&solo.map, &solo.thread, AT(64), AT(68), CLEAVE_INHERIT_ZERO), 0);
	assert_int_equal(solo_map(&solo, 62, 66), 0);
	assert_int_equal(cleave_map_inherit(&solo.map, &solo.thread, AT(60), AT(68), CLEAVE_INHERIT_ZERO), 0);
	solo_stop(&solo);
}

static void m9_immutable_blocks_what_it_should(void **state)
{
	struct solo solo;
	struct cleave_map *map = &solo.map, child;
	struct cleave_map_thread *thread = &solo.thread;
	struct cleave_map_request request;
	struct cleave_map_entry entry;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_wire(map, thread, AT(10), AT(11)), 0); /* gives it a store */
	assert_int_equal(cleave_map_immutable(map, thread, AT(10), AT(20), true), 0);
	assert_int_equal(cleave_map_munmap(map, thread, AT(12), PAGE), -EPERM);
	assert_int_equal(cleave_map_unmap(map, thread, AT(12), AT(13), CLEAVE_MAP_KEEP_IMMUTABLE), -EPERM);
	assert_int_equal(protect(&solo, 12, 13, 0), -EPERM);
	assert_int_equal(cleave_map_inherit(map, thread, AT(12), AT(13), CLEAVE_INHERIT_NONE), -EPERM);
	request = request_fixed(12, 13);
	request.flags |= CLEAVE_MAP_REPLACE;
	assert_int_equal(cleave_map_map(map, thread, &request), -EPERM);
	assert_int_equal(cleave_map_clean(map, thread, AT(10), AT(13), CLEAVE_CLEAN_FREE), -EPERM);
	assert_int_equal(cleave_map_clean(map, thread, AT(10), AT(13), CLEAVE_CLEAN_DEACTIVATE), -EPERM);
	/* It does not block these. */
	assert_int_equal(cleave_map_advise(map, thread, AT(12), AT(13), CLEAVE_ADVICE_RANDOM), 0);
	assert_int_equal(cleave_map_wire(map, thread, AT(12), AT(13)), 0);
	assert_int_equal(cleave_map_clean(map, thread, AT(10), AT(13), CLEAVE_CLEAN_SYNC), 0);
	assert_int_equal(cleave_map_remap_as_stack(map, thread, AT(14), 3 * PAGE), 0);
	assert_int_equal(cleave_map_protect(map, thread, AT(18), AT(19), 0, 0, CLEAVE_PROTECT_IMMUTABLE), 0);
	assert_string_equal(solo_text(&solo), "10-11:rw-WI 11-12:rw-I 12-13:rw-WI 13-15:rw-I 15-17:rw- 17-18:rw-I "
					      "18-19:---I 19-20:rw-I");
	/* Clips and forks copy it. */
	assert_int_equal(cleave_map_clip_start(map, thread, AT(14), &entry), 0);
	assert_true(entry.attributes.flags & CLEAVE_MAP_IMMUTABLE);
	assert_int_equal(cleave_map_fork(map, thread, &child), 0);
	assert_int_equal(cleave_map_munmap(&child, thread, AT(10), PAGE), -EPERM);
	solo_destroy(&solo, &child);
	assert_int_equal(unmap(&solo, 12, 13), 0);
	solo_stop(&solo);
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
		cmocka_unit_test(m1_a_free_address_belongs_to_its_predecessor),
		cmocka_unit_test(m2_ranges_are_half_open_and_clamped),
		cmocka_unit_test(m3_a_clip_keeps_attributes_and_offsets),
		cmocka_unit_test(m4_a_clip_that_fails_changes_nothing),
		cmocka_unit_test(m5_fixed_replaces_only_if_asked_and_never_immutables),
		cmocka_unit_test(m6_unmap_clips_and_defers_the_end),
		cmocka_unit_test(m7_protect_is_all_or_nothing),
		cmocka_unit_test(m8_inherit_checks_before_it_clips),
		cmocka_unit_test(m8_free_space_without_an_entry_is_not_writable),
		cmocka_unit_test(m9_immutable_blocks_what_it_should),
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
