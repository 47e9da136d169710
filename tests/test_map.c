/* SPDX-License-Identifier: ISC */
/* The rules of a map, one test each: M1 to M9 of doc/map.md, ranges and what a range operation does to them. */
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
	};

	return RUN_TESTS(tests, argc, argv);
}
