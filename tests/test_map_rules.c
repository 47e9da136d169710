/* SPDX-License-Identifier: ISC */
/* More of the rules M1 to M20 (doc/map.md): each test fails where its rule is broken in one word. */
#include "map_world.h"

#define MAP (&solo.map)
#define THREAD (&solo.thread)

static int protect(struct solo *solo, unsigned int from, unsigned int to, unsigned int protection, unsigned int flags)
{
	return cleave_map_protect(&solo->map, &solo->thread, AT(from), AT(to), protection, 0, flags);
}

static int map_hole(struct solo *solo, unsigned int from, unsigned int to)
{
	struct cleave_map_request request = request_fixed(from, to);

	request.entry_flags = CLEAVE_MAP_HOLE;
	return cleave_map_map(&solo->map, &solo->thread, &request);
}

/*
 * Where nothing is mapped munmap fails anyway; but what is outside of the map is refused for that, however short it is.
 */
static void m2_munmap_outside_of_the_map_is_refused(void **state)
{
	uint64_t end = AT(SOLO_PAGES);
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, SOLO_PAGES - 2, SOLO_PAGES), 0);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, SOLO_BASE - PAGE, 0), -EINVAL);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, end + PAGE, 0), -EINVAL);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, SOLO_BASE, 0), 0);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, end, 0), 0);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, end - PAGE, 2 * PAGE), -EINVAL);
	assert_string_equal(solo_text(&solo), "126-128:rw-");
	assert_int_equal(cleave_map_munmap(MAP, THREAD, end - PAGE, PAGE), 0);
	solo_stop(&solo);
}

/* The free space at the map's start is no entry that could be asked whether it is writable. */
static void m2_a_range_is_clamped_below_before_it_is_looked_at(void **state)
{
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_inherit(MAP, THREAD, SOLO_BASE, AT(20), CLEAVE_INHERIT_ZERO), 0);
	assert_int_equal(cleave_map_inherit(MAP, THREAD, 0, AT(20), CLEAVE_INHERIT_ZERO), 0);
	solo_stop(&solo);
}

static void m2_wiring_below_the_map_is_a_fault_before_it_is_an_error(void **state)
{
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 0, SOLO_PAGES), 0);
	assert_int_equal(cleave_map_wire(MAP, THREAD, SOLO_BASE - PAGE, AT(SOLO_PAGES) + PAGE), -EFAULT);
	assert_int_equal(cleave_map_wire(MAP, THREAD, SOLO_BASE, AT(SOLO_PAGES) + PAGE), -EINVAL);
	assert_int_equal(cleave_map_unwire(MAP, THREAD, SOLO_BASE - PAGE, AT(SOLO_PAGES) + PAGE), -EFAULT);
	solo_stop(&solo);
}

/* Not even an edit of the index, which could want memory, or wait. */
static void m3_a_clip_at_a_border_changes_nothing(void **state)
{
	const struct cleave_counters *counters;
	struct cleave_map_entry entry;
	uint64_t changes;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	counters = &solo.domain.self.counters;
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	changes = counters->edits + counters->restructures;
	assert_int_equal(cleave_map_clip_start(MAP, THREAD, AT(10), &entry), 0);
	assert_true(entry.start == AT(10) && entry.end == AT(20));
	assert_int_equal(cleave_map_clip_end(MAP, THREAD, AT(20), &entry), 0);
	assert_true(entry.start == AT(10) && entry.end == AT(20));
	assert_true(counters->edits + counters->restructures == changes);
	assert_int_equal(cleave_map_clip_start(MAP, THREAD, AT(15), NULL), 0);
	assert_true(counters->edits + counters->restructures > changes);
	solo_stop(&solo);
}

static void m5_a_hole_survives_what_replaces(void **state)
{
	struct cleave_map_request request = request_fixed(8, 14);
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(map_hole(&solo, 10, 12), 0);
	request.flags |= CLEAVE_MAP_REPLACE;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), -ENOMEM);
	request = request_fixed(12, 14);
	request.flags |= CLEAVE_MAP_REPLACE;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	solo_stop(&solo);
}

static void m6_an_immutable_hole_does_not_block(void **state)
{
	struct cleave_map_entry entry;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 8, 14), 0);
	assert_int_equal(map_hole(&solo, 14, 16), 0);
	assert_int_equal(cleave_map_immutable(MAP, THREAD, AT(14), AT(16), true), 0);
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(8), AT(16), CLEAVE_MAP_KEEP_IMMUTABLE), 0);
	assert_false(solo_lookup(&solo, 8, &entry));
	assert_false(solo_lookup(&solo, 14, &entry));
	assert_true(entry.attributes.flags & CLEAVE_MAP_HOLE); /* it is still there, */
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(8), AT(16), CLEAVE_MAP_REMOVE_HOLES), 0);
	assert_int_equal(solo_entries(&solo), 0); /* and goes if it is meant */
	solo_stop(&solo);
}

static void m7_set_max_that_says_nothing_new_clips_nothing(void **state)
{
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(protect(&solo, 12, 14, CLEAVE_PROT_ALL, CLEAVE_PROTECT_MAX), 0);
	assert_int_equal(solo_entries(&solo), 1);
	assert_int_equal(protect(&solo, 12, 14, RW, CLEAVE_PROTECT_MAX), 0);
	assert_int_equal(solo_entries(&solo), 3);
	assert_int_equal(protect(&solo, 12, 14, CLEAVE_PROT_ALL, 0), -EACCES);
	solo_stop(&solo);
}

static void m8_what_says_nothing_new_is_clipped(void **state)
{
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	/* In one entry, */
	assert_int_equal(cleave_map_inherit(MAP, THREAD, AT(12), AT(14), CLEAVE_INHERIT_COPY), 0);
	assert_string_equal(solo_text(&solo), "10-12:rw- 12-14:rw- 14-20:rw-");
	/* and over several. */
	assert_int_equal(cleave_map_advise(MAP, THREAD, AT(11), AT(16), CLEAVE_ADVICE_NORMAL), 0);
	assert_string_equal(solo_text(&solo), "10-11:rw- 11-12:rw- 12-14:rw- 14-16:rw- 16-20:rw-");
	solo_check(&solo);
	solo_stop(&solo);
}

static void m8_immutable_can_be_taken_back(void **state)
{
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_immutable(MAP, THREAD, AT(10), AT(20), true), 0);
	assert_int_equal(protect(&solo, 12, 14, 0, 0), -EPERM);
	assert_int_equal(cleave_map_immutable(MAP, THREAD, AT(10), AT(20), false), 0);
	assert_int_equal(protect(&solo, 12, 14, 0, 0), 0);
	/* Over several entries, too. */
	assert_int_equal(cleave_map_immutable(MAP, THREAD, AT(10), AT(20), true), 0);
	assert_int_equal(cleave_map_immutable(MAP, THREAD, AT(10), AT(20), false), 0);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, AT(10), 10 * PAGE), 0);
	solo_stop(&solo);
}

static void *new_store(struct solo *solo)
{
	void *store;

	assert_int_equal(solo->embedder.ops.store_new(&solo->embedder.ops, 20, &store), 0);
	return store;
}

/* Two neighbours that a mirror puts, equal but for what `differ` does to the upper one.  How many entries there are. */
static uint64_t neighbours(struct solo *solo, void (*differ)(struct solo *solo, struct cleave_map_attributes *upper))
{
	struct cleave_map_attributes attributes = { .object = thing_new(&solo->embedder),
						    .store = new_store(solo),
						    .flags = CLEAVE_MAP_COW,
						    .protection = CLEAVE_PROT_READ,
						    .max_protection = RW };
	struct cleave_map_attributes upper;
	struct cleave_map_txn txn;
	struct thing *object = attributes.object, *store = attributes.store;
	uint64_t n;

	attributes.delta = (uint64_t)0 - AT(10);
	attributes.store_delta = (uint64_t)0 - AT(10);
	upper = attributes;
	if (differ)
		differ(solo, &upper);
	assert_int_equal(cleave_map_begin(&txn, &solo->map, &solo->thread, AT(10), AT(20)), 0);
	assert_int_equal(cleave_map_put(&txn, AT(10), AT(15), &attributes), 0);
	assert_int_equal(cleave_map_put(&txn, AT(15), AT(20), &upper), 0);
	assert_int_equal(cleave_map_commit(&txn), 0);
	n = solo_entries(solo);
	if (upper.object != attributes.object)
		thing_unref(&solo->embedder, upper.object);
	if (upper.store != attributes.store)
		thing_unref(&solo->embedder, upper.store);
	thing_unref(&solo->embedder, object);
	thing_unref(&solo->embedder, store);
	assert_int_equal(cleave_map_unmap(&solo->map, &solo->thread, AT(10), AT(20), 0), 0);
	return n;
}

static void other_object(struct solo *solo, struct cleave_map_attributes *upper)
{
	upper->object = thing_new(&solo->embedder);
}

static void other_delta(struct solo *solo, struct cleave_map_attributes *upper)
{
	(void)solo;
	upper->delta += PAGE;
}

static void other_store(struct solo *solo, struct cleave_map_attributes *upper)
{
	upper->store = new_store(solo);
}

static void other_store_delta(struct solo *solo, struct cleave_map_attributes *upper)
{
	(void)solo;
	upper->store_delta += PAGE;
}

static void other_flags(struct solo *solo, struct cleave_map_attributes *upper)
{
	(void)solo;
	upper->flags |= CLEAVE_MAP_CONCEAL;
}

static void other_protection(struct solo *solo, struct cleave_map_attributes *upper)
{
	(void)solo;
	upper->protection = CLEAVE_PROT_WRITE;
}

static void other_max_protection(struct solo *solo, struct cleave_map_attributes *upper)
{
	(void)solo;
	upper->max_protection = CLEAVE_PROT_ALL;
}

static void other_inheritance(struct solo *solo, struct cleave_map_attributes *upper)
{
	(void)solo;
	upper->inheritance = CLEAVE_INHERIT_NONE;
}

static void other_advice(struct solo *solo, struct cleave_map_attributes *upper)
{
	(void)solo;
	upper->advice = CLEAVE_ADVICE_RANDOM;
}

static void m13_each_attribute_keeps_neighbours_apart(void **state)
{
	static void (*const differences[])(struct solo *, struct cleave_map_attributes *) = {
		other_object,	  other_delta,		other_store,	   other_store_delta, other_flags,
		other_protection, other_max_protection, other_inheritance, other_advice,
	};
	struct cleave_map_config config = solo_config();
	struct solo solo;

	(void)state;
	config.flags = CLEAVE_MAP_COALESCE;
	solo_start(&solo, &config);
	assert_int_equal(neighbours(&solo, NULL), 1);
	for (size_t i = 0; i < sizeof(differences) / sizeof(differences[0]); i++)
		assert_int_equal(neighbours(&solo, differences[i]), 2);
	solo_stop(&solo);
}

static void m13_wired_entries_and_submaps_stay_apart(void **state)
{
	struct cleave_map_request request;
	struct solo solo;
	struct thing *submap;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 14), 0);
	assert_int_equal(cleave_map_wire(MAP, THREAD, AT(10), AT(12)), 0);
	assert_int_equal(cleave_map_wire(MAP, THREAD, AT(12), AT(14)), 0);
	assert_int_equal(cleave_map_clip_start(MAP, THREAD, AT(11), NULL), 0);
	assert_int_equal(solo_entries(&solo), 3);
	assert_int_equal(cleave_map_coalesce(MAP, THREAD, AT(0), AT(128)), 0);
	assert_int_equal(solo_entries(&solo), 3);
	assert_int_equal(cleave_map_unwire(MAP, THREAD, AT(10), AT(14)), 0);
	assert_int_equal(cleave_map_munmap(MAP, THREAD, AT(10), 4 * PAGE), 0);
	/* One window on another map, in two entries. */
	submap = thing_new(&solo.embedder);
	request = request_fixed(20, 24);
	request.entry_flags = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	thing_ref(submap);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(20), AT(24), submap), 0);
	thing_unref(&solo.embedder, submap);
	assert_int_equal(cleave_map_clip_start(MAP, THREAD, AT(22), NULL), 0);
	assert_int_equal(cleave_map_coalesce(MAP, THREAD, AT(0), AT(128)), 0);
	assert_int_equal(solo_entries(&solo), 2);
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(20), AT(24), 0), 0);
	thing_unref(&solo.embedder, submap);
	solo_stop(&solo);
}

static void m15_a_copy_is_cow_though_its_parent_is_not(void **state)
{
	struct cleave_map_request request = request_fixed(10, 12);
	struct cleave_map_entry entry;
	struct cleave_map child;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	request.entry_flags = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(cleave_map_fork(MAP, THREAD, &child), 0);
	solo.domain.domain.ops->enter(&solo.domain.domain, &solo.domain.self);
	assert_true(cleave_map_lookup_rcu(&child, AT(10), &entry));
	solo.domain.domain.ops->leave(&solo.domain.domain, &solo.domain.self);
	assert_true((entry.attributes.flags & (CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY)) ==
		    (CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY));
	assert_true(solo_lookup(&solo, 10, &entry));
	assert_int_equal(entry.attributes.flags, 0);
	cleave_map_destroy(&child, THREAD);
	solo_stop(&solo);
}

static void m15_what_needs_a_copy_without_cow_is_refused(void **state)
{
	struct cleave_map_attributes attributes = { .flags = CLEAVE_MAP_NEEDS_COPY,
						    .protection = RW,
						    .max_protection = RW };
	struct cleave_map child;
	struct cleave_map_txn txn;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(cleave_map_begin(&txn, MAP, THREAD, AT(10), AT(12)), 0);
	assert_int_equal(cleave_map_put(&txn, AT(10), AT(12), &attributes), 0);
	assert_int_equal(cleave_map_commit(&txn), 0);
	assert_int_equal(cleave_map_fork(MAP, THREAD, &child), -EINVAL);
	solo_check(&solo);
	solo_stop(&solo);
}

static void m16_what_an_object_backs_is_no_data(void **state)
{
	struct cleave_map_request request = request_fixed(20, 24);
	struct cleave_map_accounts accounts;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	request.object = thing_new(&solo.embedder);
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	cleave_map_account(MAP, THREAD, &accounts);
	assert_true(accounts.size == 6 * PAGE && accounts.data == 2 * PAGE);
	/* Nor is it when its protection comes and goes, in one entry or over both. */
	assert_int_equal(protect(&solo, 20, 22, 0, 0), 0);
	assert_int_equal(protect(&solo, 10, 22, CLEAVE_PROT_READ, 0), 0);
	cleave_map_account(MAP, THREAD, &accounts);
	assert_true(accounts.size == 6 * PAGE && accounts.data == 2 * PAGE);
	solo_check(&solo);
	solo_stop(&solo);
}

static void m18_a_stack_that_is_put_somewhere_is_told(void **state)
{
	struct cleave_map_request request = request_fixed(20, 24);
	struct cleave_map_accounts before, after;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	cleave_map_account(MAP, THREAD, &before);
	request.entry_flags |= CLEAVE_MAP_STACK;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	cleave_map_account(MAP, THREAD, &after);
	assert_true(after.serial > before.serial);
	solo_stop(&solo);
}

static void m19_a_submap_wants_a_blank_entry_that_covers_it(void **state)
{
	struct cleave_map_attributes attributes = { .flags = CLEAVE_MAP_COW, .protection = RW, .max_protection = RW };
	struct cleave_map_request request = request_fixed(20, 24);
	struct cleave_map_txn txn;
	struct solo solo;
	struct thing *submap;

	(void)state;
	solo_start(&solo, NULL);
	submap = thing_new(&solo.embedder);
	/* an object, */
	request.entry_flags = 0;
	request.object = thing_new(&solo.embedder);
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(20), AT(24), submap), -EINVAL);
	/* copy on write, */
	assert_int_equal(cleave_map_begin(&txn, MAP, THREAD, AT(30), AT(32)), 0);
	assert_int_equal(cleave_map_put(&txn, AT(30), AT(32), &attributes), 0);
	assert_int_equal(cleave_map_commit(&txn), 0);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(30), AT(32), submap), -EINVAL);
	/* more than one entry, or one and a gap */
	request = request_fixed(40, 44);
	request.entry_flags = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(40), AT(45), submap), -EINVAL);
	assert_int_equal(cleave_map_clip_start(MAP, THREAD, AT(42), NULL), 0);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(40), AT(44), submap), -EINVAL);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(40), AT(42), submap), 0);
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(40), AT(42), 0), 0);
	thing_unref(&solo.embedder, submap);
	solo_stop(&solo);
}

/* With guard pages, or joins, more is locked than the entry: it could be put there. */
static void m19_a_submap_does_not_reach_over_its_entry(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = request_fixed(40, 44);
	struct solo solo;
	struct thing *submap;

	(void)state;
	config.flags |= CLEAVE_MAP_GUARD_PAGES;
	solo_start(&solo, &config);
	submap = thing_new(&solo.embedder);
	request.entry_flags = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(40), AT(45), submap), -EINVAL);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(42), AT(47), submap), -EINVAL);
	assert_string_equal(solo_text(&solo), "40-44:rw-");
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(42), AT(44), submap), 0);
	thing_unref(&solo.embedder, submap);
	solo_stop(&solo);
}

static void op_mirror_put_refuses_codes_that_there_are_not(void **state)
{
	static const struct cleave_map_attributes good = {
		.flags = CLEAVE_MAP_COW, .protection = RW, .max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_ZERO, .advice = CLEAVE_ADVICE_SEQUENTIAL,
	};
	struct cleave_map_attributes bad[6];
	struct cleave_map_txn txn;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	for (unsigned int i = 0; i < 6; i++)
		bad[i] = good;
	bad[0].protection = CLEAVE_PROT_ALL + 1;
	bad[1].max_protection = CLEAVE_PROT_ALL + 1;
	bad[2].inheritance = CLEAVE_INHERIT_ZERO + 1;
	bad[3].advice = CLEAVE_ADVICE_SEQUENTIAL + 1;
	bad[4].flags = CLEAVE_MAP_IN_TRANSITION;
	bad[5].flags = 0x1000;
	assert_int_equal(cleave_map_begin(&txn, MAP, THREAD, AT(10), AT(20)), 0);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(cleave_map_put(&txn, AT(10), AT(12), &bad[i]), -EINVAL);
	assert_int_equal(cleave_map_put(&txn, AT(10), AT(10), &good), -EINVAL);
	assert_int_equal(cleave_map_put(&txn, AT(9), AT(12), &good), -EINVAL);
	assert_int_equal(cleave_map_put(&txn, AT(19), AT(21), &good), -EINVAL);
	assert_int_equal(cleave_map_put(&txn, AT(10), AT(12) + 1, &good), -EINVAL);
	assert_int_equal(cleave_map_put(&txn, AT(10), AT(12), &good), 0);
	assert_int_equal(cleave_map_commit(&txn), 0);
	assert_string_equal(solo_text(&solo), "10-12:rw-");
	solo_stop(&solo);
}

static void op_extract_and_clean_refuse_holes_and_submaps(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = request_fixed(20, 22);
	struct cleave_map other;
	struct solo solo;
	struct thing *submap;
	uint64_t addr;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(cleave_map_init(&other, THREAD, &config), 0);
	assert_int_equal(map_hole(&solo, 10, 12), 0);
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(10), 2 * PAGE, &other, 0, &addr), -EINVAL);
	assert_int_equal(cleave_map_clean(MAP, THREAD, AT(10), AT(12), CLEAVE_CLEAN_SYNC), -EFAULT);
	submap = thing_new(&solo.embedder);
	request.entry_flags = 0;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(cleave_map_submap(MAP, THREAD, AT(20), AT(22), submap), 0);
	assert_int_equal(cleave_map_extract(MAP, THREAD, AT(20), 2 * PAGE, &other, 0, &addr), -EINVAL);
	assert_int_equal(cleave_map_clean(MAP, THREAD, AT(20), AT(22), CLEAVE_CLEAN_SYNC), -EINVAL);
	assert_int_equal(solo_entries(&solo), 2);
	thing_unref(&solo.embedder, submap);
	cleave_map_destroy(&other, THREAD);
	solo_stop(&solo);
}

static void op_inentry_asks_for_all_flags(void **state)
{
	struct cleave_map_request request = request_fixed(20, 24);
	struct cleave_map_inentry cache = { .serial = 0 };
	struct solo solo;
	struct cleave_domain *domain = &solo.domain.domain;

	(void)state;
	solo_start(&solo, NULL);
	request.entry_flags |= CLEAVE_MAP_STACK;
	assert_int_equal(cleave_map_map(MAP, THREAD, &request), 0);
	assert_int_equal(solo_map(&solo, 10, 12), 0);
	domain->ops->enter(domain, &solo.domain.self);
	assert_false(cleave_map_inentry_rcu(MAP, &cache, AT(10), CLEAVE_MAP_STACK));
	assert_false(cleave_map_inentry_rcu(MAP, &cache, AT(20), CLEAVE_MAP_STACK | CLEAVE_MAP_CONCEAL));
	assert_true(cleave_map_inentry_rcu(MAP, &cache, AT(20), CLEAVE_MAP_STACK));
	assert_true(cleave_map_inentry_rcu(MAP, &cache, AT(23), CLEAVE_MAP_STACK));
	domain->ops->leave(domain, &solo.domain.self);
	solo_stop(&solo);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(m2_munmap_outside_of_the_map_is_refused),
		cmocka_unit_test(m2_a_range_is_clamped_below_before_it_is_looked_at),
		cmocka_unit_test(m2_wiring_below_the_map_is_a_fault_before_it_is_an_error),
		cmocka_unit_test(m3_a_clip_at_a_border_changes_nothing),
		cmocka_unit_test(m5_a_hole_survives_what_replaces),
		cmocka_unit_test(m6_an_immutable_hole_does_not_block),
		cmocka_unit_test(m7_set_max_that_says_nothing_new_clips_nothing),
		cmocka_unit_test(m8_what_says_nothing_new_is_clipped),
		cmocka_unit_test(m8_immutable_can_be_taken_back),
		cmocka_unit_test(m13_each_attribute_keeps_neighbours_apart),
		cmocka_unit_test(m13_wired_entries_and_submaps_stay_apart),
		cmocka_unit_test(m15_a_copy_is_cow_though_its_parent_is_not),
		cmocka_unit_test(m15_what_needs_a_copy_without_cow_is_refused),
		cmocka_unit_test(m16_what_an_object_backs_is_no_data),
		cmocka_unit_test(m18_a_stack_that_is_put_somewhere_is_told),
		cmocka_unit_test(m19_a_submap_wants_a_blank_entry_that_covers_it),
		cmocka_unit_test(m19_a_submap_does_not_reach_over_its_entry),
		cmocka_unit_test(op_mirror_put_refuses_codes_that_there_are_not),
		cmocka_unit_test(op_extract_and_clean_refuse_holes_and_submaps),
		cmocka_unit_test(op_inentry_asks_for_all_flags),
	};

	return RUN_TESTS(tests, argc, argv);
}
