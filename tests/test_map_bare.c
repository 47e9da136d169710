/* SPDX-License-Identifier: ISC */
/*
 * Maps whose embedder leaves callbacks out, or changes a map from one; references in transactions; maps that do not
 * sleep, or find no memory.
 */
#include "map_world.h"

#include "map.h"

static char a_store, an_object;

static struct cleave_map_attributes attributes_of(void *store, uint64_t store_delta)
{
	return (struct cleave_map_attributes){ .store = store,
					       .store_delta = store_delta,
					       .flags = CLEAVE_MAP_COW,
					       .protection = RW,
					       .max_protection = CLEAVE_PROT_ALL,
					       .inheritance = CLEAVE_INHERIT_COPY };
}

static int put(struct solo *solo, unsigned int from, unsigned int to, const struct cleave_map_attributes *attributes)
{
	struct cleave_map_txn txn;
	int error = cleave_map_begin(&txn, &solo->map, &solo->thread, AT(from), AT(to));

	if (!error)
		error = cleave_map_put(&txn, AT(from), AT(to), attributes);
	return error ? cleave_map_abort(&txn), error : cleave_map_commit(&txn);
}

/* The embedder supplies these callbacks and no others. */
static void start_with(struct solo *solo, struct cleave_map_ops ops)
{
	solo_start(solo, NULL);
	solo->embedder.ops = ops;
}

/* ---- Callbacks that are left out ---- */

static int empty_store(const struct cleave_map_ops *ops, uint64_t n, void **store)
{
	(void)ops;
	(void)n;
	*store = &a_store;
	return 0;
}

static int same_stores(const struct cleave_map_ops *ops, struct cleave_map *parent, void *const *stores, void **clones,
		       size_t n)
{
	(void)ops;
	(void)parent;
	memcpy(clones, stores, n * sizeof(*clones));
	return 0;
}

static int wire_below_12(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
			 unsigned int protection)
{
	(void)ops;
	(void)map;
	(void)start;
	(void)protection;
	return end > AT(12) ? -EIO : 0;
}

static int no_copy(const struct cleave_map_ops *ops, void *clone, uint64_t first, uint64_t n)
{
	(void)ops;
	(void)clone;
	(void)first;
	(void)n;
	return -ENOMEM;
}

/* Stores that nobody counts, and whose windows nobody counts. */
static void stores_need_no_callbacks(void **state)
{
	struct cleave_map_attributes attributes = attributes_of(&a_store, 0 - AT(0));
	struct cleave_map_request request;
	struct cleave_map_entry entry;
	struct cleave_map child;
	struct cleave_map_txn txn;
	struct solo solo;
	uint64_t addr;
	int error;

	(void)state;
	start_with(&solo, (struct cleave_map_ops){ NULL });
	assert_int_equal(put(&solo, 0, 8, &attributes), 0);
	attributes.store_delta -= 16 * PAGE;
	/* The window moves in the store: taken back, then published. */
	assert_int_equal(cleave_map_begin(&txn, &solo.map, &solo.thread, AT(2), AT(10)), 0);
	assert_int_equal(cleave_map_put(&txn, AT(2), AT(10), &attributes), 0);
	assert_int_equal(cleave_map_prepare(&txn), 0);
	cleave_map_abort(&txn);
	assert_true(solo_lookup(&solo, 3, &entry) && entry.attributes.store_delta == 0 - AT(0));
	assert_int_equal(put(&solo, 2, 10, &attributes), 0);
	assert_true(solo_lookup(&solo, 3, &entry) && entry.attributes.store_delta == attributes.store_delta);
	/* A store for an entry with an object; for one that has a store, or is to share one: none. */
	request = request_fixed(20, 24);
	request.object = &an_object;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_true(solo_lookup(&solo, 20, &entry));
	assert_int_equal(cleave_map_set_store(&solo.map, &solo.thread, AT(20), entry.version, &a_store), 0);
	assert_true(solo_lookup(&solo, 20, &entry) && entry.attributes.store == &a_store);
	attributes.flags |= CLEAVE_MAP_NEEDS_COPY;
	assert_int_equal(put(&solo, 24, 26, &attributes), 0);
	assert_true(solo_lookup(&solo, 24, &entry));
	assert_int_equal(cleave_map_set_store(&solo.map, &solo.thread, AT(24), entry.version, &a_store), -EEXIST);
	assert_int_equal(cleave_map_unmap(&solo.map, &solo.thread, AT(24), AT(26), 0), 0);
	request = request_fixed(24, 26);
	request.inheritance = CLEAVE_INHERIT_SHARE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	/* The child shares what cannot be cloned. */
	assert_int_equal(cleave_map_wire(&solo.map, &solo.thread, AT(4), AT(6)), 0);
	for (uint64_t grant = 0;; grant++) {
		cleave_map_thread_flush(&solo.thread, true);
		counting_memory_grant(&solo.domain.memory, grant);
		error = cleave_map_fork(&solo.map, &solo.thread, &child);
		counting_memory_grant(&solo.domain.memory, GRANT_ALL);
		if (!error)
			break;
		assert_int_equal(error, -ENOMEM);
		solo_check(&solo);
	}
	assert_int_equal(cleave_map_verify(&child, &solo.thread, NULL), 0);
	manual_enter(&solo.domain);
	assert_true(cleave_map_lookup_rcu(&child, AT(3), &entry) && entry.attributes.store == &a_store);
	manual_leave(&solo.domain);
	assert_int_equal(cleave_map_extract(&solo.map, &solo.thread, AT(6), 2 * PAGE, &child, 0, &addr), 0);
	/* In a transaction, with an object that nobody counts. */
	assert_int_equal(cleave_map_begin(&txn, &solo.map, &solo.thread, AT(30), AT(34)), 0);
	request = request_fixed(30, 34);
	request.object = &an_object;
	assert_int_equal(cleave_map_txn_map(&txn, &request), 0);
	assert_int_equal(cleave_map_commit(&txn), 0);
	assert_int_equal(cleave_map_unmap(&solo.map, &solo.thread, AT(1), AT(5), 0), 0);
	assert_string_equal(solo_text(&solo), "0-1:rw- 5-6:rw-W 6-8:rw- 8-10:rw- 20-24:rw- 24-26:rw- 30-34:rw-");
	cleave_map_destroy(&child, &solo.thread);
	solo_stop(&solo);
}

/* Stores that are made, but counted by nobody. */
static void stores_need_no_references(void **state)
{
	struct cleave_map_attributes attributes = attributes_of(&a_store, 0 - AT(40));
	struct cleave_map_request request;
	struct cleave_map_entry entry;
	struct cleave_map child;
	struct solo solo;
	uint64_t addr;

	(void)state;
	start_with(&solo,
		   (struct cleave_map_ops){ .store_new = empty_store, .clone = same_stores, .wire = wire_below_12 });
	request = request_fixed(0, 4);
	request.inheritance = CLEAVE_INHERIT_SHARE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(put(&solo, 40, 44, &attributes), 0);
	assert_int_equal(cleave_map_fork(&solo.map, &solo.thread, &child), 0);
	assert_true(solo_lookup(&solo, 0, &entry) && entry.attributes.store == &a_store &&
		    (entry.attributes.flags & CLEAVE_MAP_SHARED));
	/* One entry is wired, and let go again, because the next one cannot be: there is nothing to call for that. */
	assert_int_equal(solo_map(&solo, 8, 10), 0);
	request = request_fixed(10, 14);
	request.max_protection = RW;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(cleave_map_wire(&solo.map, &solo.thread, AT(8), AT(14)), -EIO);
	assert_true(solo_lookup(&solo, 8, &entry) && entry.attributes.wired == 0);
	assert_int_equal(cleave_map_wire(&solo.map, &solo.thread, AT(8), AT(10)), 0);
	assert_true(solo_lookup(&solo, 8, &entry) && entry.attributes.wired == 1 && entry.attributes.store == &a_store);
	/* Future mappings are wired: late failures, and what has no pages. */
	assert_int_equal(cleave_map_wire_all(&solo.map, &solo.thread, CLEAVE_WIRE_FUTURE, CLEAVE_MAP_UNLIMITED), 0);
	request = request_fixed(50, 52);
	request.object = &an_object;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), -ENOMEM);
	request = request_fixed(50, 52);
	request.entry_flags = CLEAVE_MAP_HOLE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(cleave_map_wire_all(&solo.map, &solo.thread, 0, 0), 0);
	assert_int_equal(solo_map(&solo, 60, 64), 0);
	assert_int_equal(cleave_map_extract(&solo.map, &solo.thread, AT(60), 2 * PAGE, &child, 0, &addr), 0);
	assert_true(solo_lookup(&solo, 60, &entry) && entry.attributes.store == &a_store);
	assert_string_equal(solo_text(&solo), "0-4:rw- 8-10:rw- 10-14:rw- 40-44:rw- 50-52:rw-H 60-62:rw- 62-64:rw-");
	cleave_map_destroy(&child, &solo.thread);
	solo_stop(&solo);
}

static void a_copy_that_fails_needs_no_undo(void **state)
{
	struct cleave_map_attributes attributes = attributes_of(&a_store, 0 - AT(4));
	struct cleave_map child;
	struct solo solo;

	(void)state;
	start_with(&solo, (struct cleave_map_ops){ .copy_wired = no_copy });
	assert_int_equal(put(&solo, 4, 8, &attributes), 0);
	assert_int_equal(cleave_map_wire(&solo.map, &solo.thread, AT(6), AT(8)), 0);
	assert_int_equal(cleave_map_fork(&solo.map, &solo.thread, &child), -ENOMEM);
	assert_string_equal(solo_text(&solo), "4-6:rw- 6-8:rw-W");
	solo_stop(&solo);
}

/* ---- A callback that changes a map ---- */

static struct solo *changed;
static unsigned int next_page;

static void unmap_one_more(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)object;
	(void)flags;
	cleave_map_thread_flush(&changed->thread, true); /* does nothing: it is on its way */
	if (next_page < 10)
		assert_int_equal(cleave_map_unmap(&changed->map, &changed->thread, AT(next_page), AT(next_page + 1), 0),
				 0);
	next_page++;
}

static void what_is_released_may_change_a_map(void **state)
{
	struct cleave_map_request request;
	struct solo solo;

	(void)state;
	start_with(&solo, (struct cleave_map_ops){ .object_unref = unmap_one_more });
	changed = &solo;
	for (unsigned int i = 0; i < 10; i++) {
		request = request_fixed(i, i + 1);
		request.object = &an_object;
		request.offset = i % 2 * PAGE;
		request.advice = i % 2; /* so that each has attributes of its own */
		assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	}
	next_page = 1;
	assert_int_equal(cleave_map_unmap(&solo.map, &solo.thread, AT(0), AT(1), 0), 0);
	cleave_map_thread_flush(&solo.thread, true);
	assert_int_equal(next_page, 11);
	assert_string_equal(solo_text(&solo), "");
	solo_stop(&solo);
}

static void protect_one_more(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)object;
	(void)flags;
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(cleave_map_protect(&changed->map, &changed->thread, AT(20 + i), AT(21 + i),
						    next_page % 2, 0, 0),
				 0);
	next_page++;
}

/* The counts that it keeps to itself are written down before the thread ends, too. */
static void what_is_released_last_may_change_attributes(void **state)
{
	struct cleave_map_request request = request_fixed(0, 1);
	struct solo solo;

	(void)state;
	start_with(&solo, (struct cleave_map_ops){ .object_unref = protect_one_more });
	changed = &solo;
	next_page = 0;
	assert_int_equal(solo_map(&solo, 20, 30), 0);
	request.object = &an_object;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(cleave_map_unmap(&solo.map, &solo.thread, AT(0), AT(1), 0), 0);
	cleave_map_thread_exit(&solo.thread);
	assert_int_equal(next_page, 1);
	cleave_map_thread_init(&solo.thread, &solo.maps, &solo.domain.self);
	solo_check(&solo);
	solo_stop(&solo);
}

/* ---- References in transactions ---- */

static void a_transaction_takes_references_of_its_own(void **state)
{
	struct cleave_map_request request = request_fixed(2, 4);
	struct cleave_map_txn txn;
	struct thing *object;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	object = thing_new(&solo.embedder);
	request.object = object;
	for (unsigned int turn = 0; turn < 2; turn++) {
		assert_int_equal(cleave_map_begin(&txn, &solo.map, &solo.thread, AT(0), AT(8)), 0);
		assert_int_equal(cleave_map_txn_map(&txn, &request), 0);
		if (turn == 0)
			cleave_map_abort(&txn);
		else
			assert_int_equal(cleave_map_commit(&txn), 0);
		cleave_map_thread_flush(&solo.thread, true);
		assert_int_equal(thing_refs(object), 1 + turn);
	}
	assert_int_equal(cleave_map_unmap(&solo.map, &solo.thread, AT(0), AT(8), 0), 0);
	cleave_map_thread_flush(&solo.thread, true);
	assert_int_equal(thing_refs(object), 1);
	thing_unref(&solo.embedder, object);
	solo_stop(&solo);
}

/* The same object, but as a submap: what was entered is removed. */
static void a_submap_is_no_object(void **state)
{
	struct cleave_map_attributes attributes = attributes_of(NULL, 0);
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	solo.embedder.ops.object_ref = NULL;
	solo.embedder.ops.object_unref = NULL;
	attributes.flags = 0;
	attributes.object = &an_object;
	assert_int_equal(put(&solo, 4, 8, &attributes), 0);
	assert_int_equal(solo.embedder.removals, 0);
	attributes.flags = CLEAVE_MAP_SUBMAP;
	assert_int_equal(put(&solo, 4, 8, &attributes), 0);
	assert_int_equal(solo.embedder.removals, 1);
	solo_stop(&solo);
}

/* Who made the map busy goes on changing it, on the short way too. */
static void the_owner_of_a_busy_map_changes_it(void **state)
{
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 2, 10), 0);
	cleave_map_busy(&solo.map, &solo.thread);
	cleave_map_busy(&solo.map, &solo.thread);
	assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, AT(4), AT(5), CLEAVE_PROT_READ, 0, 0), 0);
	cleave_map_unbusy(&solo.map, &solo.thread);
	assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, AT(6), AT(7), CLEAVE_PROT_READ, 0, 0), 0);
	cleave_map_unbusy(&solo.map, &solo.thread);
	assert_string_equal(solo_text(&solo), "2-4:rw- 4-5:r-- 5-6:rw- 6-7:r-- 7-10:rw-");
	solo_stop(&solo);
}

/* One thread changes two maps by turns: what it made for one is not given to the other. */
static void each_map_has_objects_of_its_own(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = request_fixed(0, 40);
	struct cleave_map other, *map;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(cleave_map_init(&other, &solo.thread, &config), 0);
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(cleave_map_map(&other, &solo.thread, &request), 0);
	for (unsigned int i = 0; i < 80; i++) {
		map = i % 2 ? &other : &solo.map;
		assert_int_equal(
			cleave_map_protect(map, &solo.thread, AT(i / 2), AT(i / 2 + 1), CLEAVE_PROT_READ, 0, 0), 0);
	}
	assert_int_equal(cleave_map_verify(&other, &solo.thread, NULL), 0);
	cleave_map_destroy(&other, &solo.thread);
	solo_stop(&solo);
}

/* ---- Maps that do not sleep ---- */

static void a_map_that_does_not_sleep_says_that_it_is_locked(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request;
	struct cleave_map_thread thread;
	struct cleave_map other, third, child;
	struct cleave_thread self;
	struct cleave_map_entry entry;
	struct cleave_map_txn txn;
	struct solo solo;
	uint64_t addr;

	(void)state;
	config.flags = CLEAVE_MAP_NO_SLEEP;
	solo_start(&solo, &config);
	assert_int_equal(cleave_map_init(&other, &solo.thread, &config), 0);
	assert_int_equal(solo_map(&solo, 2, 10), 0);
	assert_true(solo_lookup(&solo, 2, &entry));
	cleave_thread_init(&self, &solo.domain.domain);
	cleave_map_thread_init(&thread, &solo.maps, &self);
	request = request_fixed(2, 4);
	assert_int_equal(cleave_map_map(&other, &thread, &request), 0);
	assert_int_equal(cleave_map_begin(&txn, &solo.map, &solo.thread, AT(0), AT(SOLO_PAGES)), 0);
#define LOCKED(call) assert_int_equal(call, -EAGAIN)
	LOCKED(cleave_map_clip_start(&solo.map, &thread, AT(4), NULL));
	LOCKED(cleave_map_coalesce(&solo.map, &thread, AT(2), AT(10)));
	LOCKED(cleave_map_set_store(&solo.map, &thread, AT(2), entry.version, NULL));
	LOCKED(cleave_map_submap(&solo.map, &thread, AT(2), AT(4), &other));
	LOCKED(cleave_map_remap_as_stack(&solo.map, &thread, AT(2), 4 * PAGE));
	LOCKED(cleave_map_clean(&solo.map, &thread, AT(2), AT(4), CLEAVE_CLEAN_SYNC));
	LOCKED(cleave_map_unmap(&solo.map, &thread, AT(2), AT(4), 0));
	LOCKED(cleave_map_munmap(&solo.map, &thread, AT(2), 2 * PAGE));
	LOCKED(cleave_map_protect(&solo.map, &thread, AT(2), AT(4), CLEAVE_PROT_READ, 0, 0));
	LOCKED(cleave_map_inherit(&solo.map, &thread, AT(2), AT(4), CLEAVE_INHERIT_NONE));
	LOCKED(cleave_map_wire(&solo.map, &thread, AT(2), AT(4)));
	LOCKED(cleave_map_unwire(&solo.map, &thread, AT(2), AT(4)));
	LOCKED(cleave_map_wire_all(&solo.map, &thread, 0, 0));
	LOCKED(cleave_map_fork(&solo.map, &thread, &child));
	LOCKED(cleave_map_extract(&solo.map, &thread, AT(2), PAGE, &other, 0, &addr));
	LOCKED(cleave_map_extract(&other, &thread, AT(2), PAGE, &solo.map, 0, &addr));
	request = request_fixed(20, 24);
	LOCKED(cleave_map_map(&solo.map, &thread, &request));
	request.flags |= CLEAVE_MAP_TRY;
	assert_int_equal(cleave_map_map(&solo.map, &thread, &request), -EFAULT);
	request.flags = 0;
	LOCKED(cleave_map_map(&solo.map, &thread, &request));
	request.addr = 0;
	LOCKED(cleave_map_map(&solo.map, &thread, &request));
	cleave_map_abort(&txn);
	/* The second map of two is locked, whichever comes first. */
	assert_int_equal(cleave_map_init(&third, &solo.thread, &config), 0);
	assert_int_equal(cleave_map_begin(&txn, &other, &solo.thread, AT(0), AT(SOLO_PAGES)), 0);
	LOCKED(cleave_map_extract(&solo.map, &thread, AT(2), PAGE, &other, 0, &addr));
	LOCKED(cleave_map_extract(&other, &thread, AT(2), PAGE, &third, 0, &addr));
	cleave_map_abort(&txn);
	assert_int_equal(cleave_map_extract(&solo.map, &thread, AT(2), PAGE, &other, 0, &addr), 0);
	assert_string_equal(solo_text(&solo), "2-3:rw- 3-10:rw-");
	cleave_map_destroy(&third, &solo.thread);
	solo.embedder.destroying = true;
	cleave_map_destroy(&other, &solo.thread);
	cleave_map_thread_exit(&thread);
	cleave_thread_exit(&self);
	solo_stop(&solo);
}

/* ---- No memory ---- */

static void reserves_fail_or_serve(void **state)
{
	struct solo solo;
	uint64_t grant;
	int error = -ENOMEM;

	(void)state;
	solo_start(&solo, NULL);
	for (grant = 0; error; grant++) {
		counting_memory_grant(&solo.domain.memory, grant);
		error = cleave_map_reserve(&solo.thread, 20);
		assert_true(error == 0 || error == -ENOMEM);
	}
	assert_true(grant > 60); /* three objects each */
	counting_memory_grant(&solo.domain.memory, 0);
	assert_int_equal(cleave_map_reserve(&solo.thread, 10), 0);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(solo_map(&solo, 2 * i, 2 * i + 1), 0);
	counting_memory_grant(&solo.domain.memory, GRANT_ALL);
	solo_stop(&solo);
}

/* More pieces than a transaction has room for, each with attributes of its own; then, at once, many of them wired. */
static int put_many(struct solo *solo)
{
	struct cleave_map_txn txn;
	int error = cleave_map_begin(&txn, &solo->map, &solo->thread, AT(0), AT(SOLO_PAGES));

	for (unsigned int i = 0; !error && i < 30; i++) {
		struct cleave_map_attributes attributes = attributes_of(NULL, 0);

		attributes.flags |= CLEAVE_MAP_NEEDS_COPY;
		attributes.advice = (uint8_t)(i % 3);
		error = cleave_map_put(&txn, AT(2 * i), AT(2 * i + 1), &attributes);
	}
	return error ? cleave_map_abort(&txn), error : cleave_map_commit(&txn);
}

static int wire_many(struct solo *solo)
{
	return cleave_map_wire(&solo->map, &solo->thread, AT(80), AT(100));
}

static int protect_many(struct solo *solo)
{
	return cleave_map_protect(&solo->map, &solo->thread, AT(110), AT(120), RW, 0, 0);
}

/* Of some: guards move. */
static int unmap_many(struct solo *solo)
{
	struct cleave_map_txn txn;
	int error = cleave_map_begin(&txn, &solo->map, &solo->thread, AT(0), AT(SOLO_PAGES));

	for (unsigned int i = 0; !error && i < 60; i += 4)
		error = cleave_map_txn_unmap(&txn, AT(i), AT(i + 1), 0);
	return error ? cleave_map_abort(&txn), error : cleave_map_commit(&txn);
}

static void what_fails_has_changed_nothing(void **state)
{
	int (*const calls[])(struct solo *) = { put_many, wire_many, protect_many, unmap_many };
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request;
	struct picture before, after;
	struct solo solo;

	config.flags = *state ? CLEAVE_MAP_GUARD_PAGES : 0;
	solo_start(&solo, &config);
	for (unsigned int i = 80; i < 100; i++) {
		request = request_fixed(i, i + 1);
		request.advice = (uint8_t)(i % 3);
		assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	}
	for (unsigned int i = 110; i < 120; i++) {
		request = request_fixed(i, i + 1);
		request.protection = 0;
		request.advice = (uint8_t)(i % 3);
		assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	}
	assert_int_equal(cleave_map_wire_all(&solo.map, &solo.thread, CLEAVE_WIRE_FUTURE, CLEAVE_MAP_UNLIMITED), 0);
	for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
		int error = -ENOMEM;

		for (uint64_t grant = 0; error; grant++) {
			cleave_map_thread_flush(&solo.thread, true);
			picture_take(&before, &solo.map, &solo.thread);
			counting_memory_grant(&solo.domain.memory, grant);
			error = calls[c](&solo);
			counting_memory_grant(&solo.domain.memory, GRANT_ALL);
			assert_true(error == 0 || error == -ENOMEM);
			solo_check(&solo);
			/* The wiring of what is protected may fail late, and wiring clips. */
			if (error && (calls[c] == put_many || calls[c] == unmap_many)) {
				picture_take(&after, &solo.map, &solo.thread);
				assert_true(picture_equal(&before, &after));
				picture_free(&after);
			}
			picture_free(&before);
			assert_true(grant < 1000);
		}
	}
	solo_stop(&solo);
}

int main(int argc, char **argv)
{
	static bool guarded = true;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stores_need_no_callbacks),
		cmocka_unit_test(stores_need_no_references),
		cmocka_unit_test(a_copy_that_fails_needs_no_undo),
		cmocka_unit_test(what_is_released_may_change_a_map),
		cmocka_unit_test(what_is_released_last_may_change_attributes),
		cmocka_unit_test(a_transaction_takes_references_of_its_own),
		cmocka_unit_test(a_submap_is_no_object),
		cmocka_unit_test(each_map_has_objects_of_its_own),
		cmocka_unit_test(the_owner_of_a_busy_map_changes_it),
		cmocka_unit_test(a_map_that_does_not_sleep_says_that_it_is_locked),
		cmocka_unit_test(reserves_fail_or_serve),
		cmocka_unit_test(what_fails_has_changed_nothing),
		cmocka_unit_test_prestate(what_fails_has_changed_nothing, &guarded),
	};

	return RUN_TESTS(tests, argc, argv);
}
