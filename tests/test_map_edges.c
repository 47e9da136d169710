/* The map at its edges: what it must refuse, an embedder that supplies nothing, failures of staged changes. */
/* SPDX-License-Identifier: ISC */
/*
 * The map at its edges: what it must refuse, an embedder that supplies nothing, failures of staged changes, and the
 * validator, which sees each thing that it looks for.
 */
#include "map_world.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Refused ---- */

static void configurations_are_checked(void **state)
{
	struct cleave_map_selector right = { AT(0), AT(8), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	struct cleave_map_selector wrong[] = { right, right, right, right, right, right, right };
	struct cleave_map_config config;
	struct cleave_map map;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
#define REFUSED(change)                                                                  \
	do {                                                                             \
		config = solo_config();                                                  \
		change;                                                                  \
		assert_int_equal(cleave_map_init(&map, &solo.thread, &config), -EINVAL); \
	} while (0)
	REFUSED(config.page_shift = 0);
	REFUSED(config.page_shift = 31);
	REFUSED(config.nselectors = CLEAVE_MAP_SELECTORS + 1);
	REFUSED(config.stack_start = config.stack_end + 1);
	REFUSED(config.flags = 1u << 31);
	REFUSED(config.min = config.max);
	REFUSED(config.min += 1);
	wrong[0].end = wrong[0].start;
	wrong[1].start += 1;
	wrong[2].start = SOLO_BASE - PAGE;
	wrong[3].end = AT(SOLO_PAGES + 1);
	wrong[4].policy = CLEAVE_SELECT_HIGHEST + 1;
	wrong[5].role = CLEAVE_SELECT_BRK_STACK + 1;
	for (unsigned int i = 0; i < COUNT(wrong); i++)
		REFUSED(config.nselectors = 2; config.selectors[0] = right; config.selectors[1] = wrong[i]);
	/* Two that do not overlap, the first one above. */
	config = solo_config();
	config.nselectors = 2;
	config.selectors[0] = (struct cleave_map_selector){ AT(8), AT(9), CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	config.selectors[1] = right;
	assert_int_equal(cleave_map_init(&map, &solo.thread, &config), 0);
	cleave_map_destroy(&map, &solo.thread);
	solo_stop(&solo);
}

static const char *refused_requests(struct solo *solo, int (*call)(struct solo *, struct cleave_map_request *))
{
	static char text[128];
	struct cleave_map_request request;

#define TRY(change, error)                                                                 \
	do {                                                                               \
		int result;                                                                \
		request = request_fixed(4, 6);                                             \
		change;                                                                    \
		result = call(solo, &request);                                             \
		if (result != (error))                                                     \
			return snprintf(text, sizeof(text), #change ": %d", result), text; \
	} while (0)
	TRY(request.flags |= 1u << 31, -EINVAL);
	TRY(request.entry_flags |= CLEAVE_MAP_SHARED, -EINVAL);
	TRY(request.protection = CLEAVE_PROT_ALL + 1, -EINVAL);
	TRY(request.max_protection = CLEAVE_PROT_ALL + 1, -EINVAL);
	TRY(request.inheritance = CLEAVE_INHERIT_ZERO + 1, -EINVAL);
	TRY(request.advice = CLEAVE_ADVICE_SEQUENTIAL + 1, -EINVAL);
	TRY(request.addr += 1, -EINVAL);
	TRY(request.size += 1, -EINVAL);
	TRY(request.size = 0, -EINVAL);
	TRY(request.flags = CLEAVE_MAP_REPLACE, -EINVAL);
	TRY(request.align = 3 * PAGE, -EINVAL);
	TRY(request.align = 3, -EINVAL);
	TRY(request.phase = PAGE, -EINVAL);
	TRY((request.align = 4 * PAGE, request.phase = 1), -EINVAL);
	TRY(request.size = 2 * SOLO_PAGES * PAGE, -ENOMEM);
	TRY(request.max_protection = CLEAVE_PROT_READ, -EACCES);
	TRY((request.entry_flags = CLEAVE_MAP_HOLE, request.flags = 0), -EINVAL);
	TRY(request.entry_flags = CLEAVE_MAP_HOLE | CLEAVE_MAP_COW, -EINVAL);
	TRY((request.entry_flags = CLEAVE_MAP_HOLE, request.flags |= CLEAVE_MAP_OVERLAY), -EINVAL);
	TRY((request.entry_flags = CLEAVE_MAP_HOLE, request.object = solo), -EINVAL);
	return NULL;
}

static int call_map(struct solo *solo, struct cleave_map_request *request)
{
	return cleave_map_map(&solo->map, &solo->thread, request);
}

/* The same in a transaction of [4, 8), which takes more: only what is inside it. */
static int call_txn_map(struct solo *solo, struct cleave_map_request *request)
{
	struct cleave_map_txn txn;
	int result;

	assert_int_equal(cleave_map_begin(&txn, &solo->map, &solo->thread, AT(4), AT(8)), 0);
	result = cleave_map_txn_map(&txn, request);
	cleave_map_abort(&txn);
	return result;
}

static void calls_refuse_what_makes_no_sense(void **state)
{
	struct cleave_map_thread *thread;
	struct cleave_map *map;
	struct cleave_map_txn txn;
	struct solo solo;
	uint64_t addr;

	(void)state;
	solo_start(&solo, NULL);
	map = &solo.map;
	thread = &solo.thread;
	assert_null(refused_requests(&solo, call_map));
	assert_null(refused_requests(&solo, call_txn_map));
	assert_int_equal(solo_map(&solo, 2, 10), 0);
	assert_int_equal(cleave_map_unmap(map, thread, AT(2), AT(3), 1u << 31), -EINVAL);
	assert_int_equal(cleave_map_protect(map, thread, AT(2), AT(3), 0, 0, 1u << 31), -EINVAL);
	assert_int_equal(cleave_map_protect(map, thread, AT(2), AT(3), CLEAVE_PROT_ALL + 1, 0, 0), -EINVAL);
	assert_int_equal(cleave_map_inherit(map, thread, AT(2), AT(3), CLEAVE_INHERIT_ZERO + 1), -EINVAL);
	assert_int_equal(cleave_map_advise(map, thread, AT(2), AT(3), CLEAVE_ADVICE_SEQUENTIAL + 1), -EINVAL);
	assert_int_equal(cleave_map_clean(map, thread, AT(2), AT(3), 16), -EINVAL);
	assert_int_equal(cleave_map_clean(map, thread, AT(3), AT(2), 1), -EINVAL);
	assert_int_equal(cleave_map_clean(map, thread, AT(2) + 1, AT(3), 1), -EINVAL);
	assert_int_equal(cleave_map_submap(map, thread, AT(2), AT(3), NULL), -EINVAL);
	assert_int_equal(cleave_map_submap(map, thread, AT(100), AT(101), &solo), -EINVAL);
	assert_int_equal(cleave_map_clip_end(map, thread, 0, NULL), -ENOENT);
	assert_int_equal(cleave_map_clip_end(map, thread, AT(3) + 1, NULL), -EINVAL);
	assert_int_equal(cleave_map_wire_all(map, thread, 1u << 31, CLEAVE_MAP_UNLIMITED), -EINVAL);
	assert_int_equal(cleave_map_remap_as_stack(map, thread, UINT64_MAX - 1, 0), -EINVAL);
	assert_int_equal(cleave_map_remap_as_stack(map, thread, AT(1), UINT64_MAX), -EINVAL);
	assert_int_equal(cleave_map_extract(map, thread, AT(2), PAGE, map, 0, &addr), -EINVAL);
	assert_int_equal(cleave_map_begin(&txn, map, thread, AT(3), AT(3)), -EINVAL);
	assert_int_equal(cleave_map_begin(&txn, map, thread, SOLO_BASE - PAGE, AT(3)), -EINVAL);
	assert_int_equal(cleave_map_begin(&txn, map, thread, AT(3), AT(SOLO_PAGES + 1)), -EINVAL);
	assert_int_equal(cleave_map_begin(&txn, map, thread, AT(3) + 1, AT(4)), -EINVAL);
	assert_int_equal(cleave_map_begin(&txn, map, thread, AT(3), AT(4) + 1), -EINVAL);
	assert_string_equal(solo_text(&solo), "2-10:rw-");
	solo_stop(&solo);
}

static void extraction_refuses_other_worlds(void **state)
{
	struct cleave_map_config config = solo_config();
	struct solo solo, stranger;
	struct cleave_map other;
	uint64_t addr;

	(void)state;
	solo_start(&solo, NULL);
	solo_start(&stranger, NULL);
	assert_int_equal(solo_map(&solo, 2, 10), 0);
	assert_int_equal(cleave_map_extract(&solo.map, &solo.thread, AT(2), PAGE, &stranger.map, 0, &addr), -EINVAL);
	config.page_shift = 13;
	assert_int_equal(cleave_map_init(&other, &solo.thread, &config), 0);
	assert_int_equal(cleave_map_extract(&solo.map, &solo.thread, AT(2), PAGE, &other, 0, &addr), -EINVAL);
	cleave_map_destroy(&other, &solo.thread);
	config.page_shift = 12;
	assert_int_equal(cleave_map_init(&other, &solo.thread, &config), 0);
#define EXTRACT(start, len, flags) cleave_map_extract(&solo.map, &solo.thread, start, len, &other, flags, &addr)
	assert_int_equal(EXTRACT(AT(2), PAGE, 1u << 31), -EINVAL);
	assert_int_equal(EXTRACT(AT(2), UINT64_MAX, 0), -EINVAL);
	assert_int_equal(EXTRACT(AT(2) + 1, PAGE, 0), -EINVAL);
	assert_int_equal(EXTRACT(AT(2), PAGE + 1, 0), -EINVAL);
	assert_int_equal(EXTRACT(SOLO_BASE - PAGE, PAGE, 0), -EINVAL);
	assert_int_equal(EXTRACT(AT(SOLO_PAGES), PAGE, 0), -EINVAL);
	assert_int_equal(EXTRACT(AT(20), PAGE, 0), -EINVAL);
	assert_int_equal(EXTRACT(AT(2), 0, 0), 0);
	cleave_map_destroy(&other, &solo.thread);
	solo_stop(&stranger);
	solo_stop(&solo);
}

/* A transaction takes no change outside of its range, none after it is prepared, and none that makes no sense. */
static void transactions_refuse_what_makes_no_sense(void **state)
{
	struct cleave_map_attributes right = { .protection = RW, .max_protection = CLEAVE_PROT_ALL }, attributes;
	struct cleave_map_request request;
	struct cleave_map_entry entry;
	struct cleave_map_txn txn;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 2, 10), 0);
	assert_int_equal(cleave_map_begin(&txn, &solo.map, &solo.thread, AT(4), AT(8)), 0);
	assert_false(cleave_map_txn_lookup(&txn, AT(3), &entry));
	assert_false(cleave_map_txn_lookup(&txn, AT(8), &entry));
	assert_true(cleave_map_txn_lookup(&txn, AT(5), &entry) && entry.start == AT(4) && entry.end == AT(8));
	assert_int_equal(cleave_map_put(&txn, AT(5), AT(5), &right), -EINVAL);
	assert_int_equal(cleave_map_put(&txn, AT(3), AT(5), &right), -EINVAL);
	assert_int_equal(cleave_map_put(&txn, AT(5), AT(9), &right), -EINVAL);
	assert_int_equal(cleave_map_put(&txn, AT(5) + 1, AT(6), &right), -EINVAL);
#define PUT(change) (attributes = right, change, cleave_map_put(&txn, AT(4), AT(5), &attributes))
	assert_int_equal(PUT(attributes.protection = CLEAVE_PROT_ALL + 1), -EINVAL);
	assert_int_equal(PUT(attributes.max_protection = CLEAVE_PROT_ALL + 1), -EINVAL);
	assert_int_equal(PUT(attributes.inheritance = CLEAVE_INHERIT_ZERO + 1), -EINVAL);
	assert_int_equal(PUT(attributes.advice = CLEAVE_ADVICE_SEQUENTIAL + 1), -EINVAL);
	assert_int_equal(PUT(attributes.flags = CLEAVE_MAP_IN_TRANSITION), -EINVAL);
	assert_int_equal(PUT(attributes.flags = 1u << 20), -EINVAL);
	assert_int_equal(cleave_map_txn_munmap(&txn, AT(3), AT(5)), -EINVAL);
	assert_int_equal(cleave_map_txn_unmap(&txn, AT(6), AT(5), 0), -EINVAL);
	assert_int_equal(cleave_map_txn_unmap(&txn, AT(5), AT(6), 1u << 31), -EINVAL);
	assert_int_equal(cleave_map_txn_protect(&txn, AT(5), AT(9), 0, 0, 0), -EINVAL);
	assert_int_equal(cleave_map_txn_inherit(&txn, AT(5) + 1, AT(6), 0), -EINVAL);
	assert_int_equal(cleave_map_txn_advise(&txn, AT(5), AT(6) + 1, 0), -EINVAL);
	assert_int_equal(cleave_map_txn_inherit(&txn, AT(5), AT(6), CLEAVE_INHERIT_ZERO + 1), -EINVAL);
	assert_int_equal(cleave_map_txn_advise(&txn, AT(5), AT(6), CLEAVE_ADVICE_SEQUENTIAL + 1), -EINVAL);
	request = request_fixed(3, 5);
	assert_int_equal(cleave_map_txn_map(&txn, &request), -EINVAL);
	request = request_fixed(8, 9);
	assert_int_equal(cleave_map_txn_map(&txn, &request), -EINVAL);
	request = request_fixed(7, 9);
	assert_int_equal(cleave_map_txn_map(&txn, &request), -EINVAL);
	request = request_fixed(4, 5);
	request.flags = 0;
	assert_int_equal(cleave_map_txn_map(&txn, &request), -EINVAL);
	assert_int_equal(cleave_map_txn_unmap(&txn, AT(4), AT(5), 0), 0);
	request = request_fixed(4, 5);
	request.flags |= CLEAVE_MAP_QUERY;
	assert_int_equal(cleave_map_txn_map(&txn, &request), 0);
	assert_int_equal(cleave_map_prepare(&txn), 0);
	request.flags = CLEAVE_MAP_FIXED;
	assert_int_equal(cleave_map_txn_map(&txn, &request), -EINVAL);
	assert_int_equal(cleave_map_put(&txn, AT(4), AT(5), &right), -EINVAL);
	assert_int_equal(cleave_map_txn_unmap(&txn, AT(5), AT(6), 0), -EINVAL);
	assert_int_equal(cleave_map_commit(&txn), 0);
	assert_string_equal(solo_text(&solo), "2-4:rw- 5-10:rw-");
	solo_stop(&solo);
}

/* What was staged before a failure goes with it: each later call says so, too. */
static void a_staging_that_fails_spoils_the_transaction(void **state)
{
	struct cleave_map_attributes attributes = { .protection = RW, .max_protection = CLEAVE_PROT_ALL };
	struct cleave_map_thread fresh;
	struct cleave_map_txn txn;
	struct solo solo;
	int error = 0;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 2, 10), 0);
	for (uint64_t grant = 0; !error && grant < 3; grant++) {
		assert_int_equal(cleave_map_begin(&txn, &solo.map, &solo.thread, AT(4), AT(8)), 0);
		counting_memory_grant(&solo.domain.memory, grant);
		for (unsigned int i = 0; !error && i < 64; i++) {
			attributes.advice = (uint8_t)(i % 2);
			error = cleave_map_put(&txn, AT(4 + i % 4), AT(5 + i % 4), &attributes);
		}
		if (error)
			assert_int_equal(cleave_map_put(&txn, AT(4), AT(5), &attributes), -ENOMEM);
		counting_memory_grant(&solo.domain.memory, GRANT_ALL);
		cleave_map_abort(&txn);
		assert_string_equal(solo_text(&solo), "2-10:rw-");
	}
	assert_int_equal(error, -ENOMEM);
	/* If nothing was staged the commit says so: by a thread that has nothing spare. */
	cleave_map_thread_init(&fresh, &solo.maps, &solo.domain.self);
	assert_int_equal(cleave_map_begin(&txn, &solo.map, &fresh, AT(4), AT(8)), 0);
	counting_memory_grant(&solo.domain.memory, 0);
	assert_int_equal(cleave_map_put(&txn, AT(4), AT(5), &attributes), -ENOMEM);
	assert_int_equal(cleave_map_commit(&txn), -ENOMEM);
	counting_memory_grant(&solo.domain.memory, GRANT_ALL);
	cleave_map_thread_exit(&fresh);
	assert_string_equal(solo_text(&solo), "2-10:rw-");
	solo_stop(&solo);
}

/* What lies between holes, which stay, is unmapped piece by piece: all of it, or nothing. */
static void an_unmap_between_holes_fails_as_a_whole(void **state)
{
	struct picture before, after;
	int error = -ENOMEM;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	for (unsigned int n = 0; n < 120; n += 3) {
		struct cleave_map_request request = request_fixed(n + 2, n + 3);

		request.entry_flags = CLEAVE_MAP_HOLE;
		assert_int_equal(solo_map(&solo, n, n + 2), 0);
		assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	}
	picture_take(&before, &solo.map, &solo.thread);
	for (uint64_t grant = 0; error; grant++) {
		counting_memory_grant(&solo.domain.memory, grant);
		error = cleave_map_unmap(&solo.map, &solo.thread, AT(0), AT(120), 0);
		counting_memory_grant(&solo.domain.memory, GRANT_ALL);
		assert_true(error == 0 || error == -ENOMEM);
		assert_true(grant < 1000);
		picture_take(&after, &solo.map, &solo.thread);
		assert_true(picture_equal(&before, &after) == (error != 0));
		picture_free(&after);
	}
	assert_int_equal(solo_entries(&solo), 40);
	picture_free(&before);
	solo_stop(&solo);
}

/* What cannot be wired after it was opened is said so, and is not wired; to unwire it needs memory, too. */
static void wiring_fails_at_each_allocation(void **state)
{
	struct cleave_map_entry entry;
	struct solo solo;
	int error = -ENOMEM;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(cleave_map_wire_all(&solo.map, &solo.thread, CLEAVE_WIRE_FUTURE, 0), 0);
	for (uint64_t grant = 0; error; grant++) {
		struct cleave_map_request request = request_fixed(0, 40);

		request.protection = CLEAVE_PROT_NONE;
		assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
		for (unsigned int i = 1; i < 40; i += 2)
			assert_int_equal(cleave_map_clip_start(&solo.map, &solo.thread, AT(i), NULL), 0);
		counting_memory_grant(&solo.domain.memory, grant);
		error = cleave_map_protect(&solo.map, &solo.thread, AT(0), AT(40), RW, 0, 0);
		counting_memory_grant(&solo.domain.memory, GRANT_ALL);
		assert_true(error == 0 || error == -ENOMEM);
		assert_true(grant < 1000);
		if (error)
			assert_int_equal(cleave_map_unmap(&solo.map, &solo.thread, AT(0), AT(40), 0), 0);
	}
	assert_true(solo_lookup(&solo, 20, &entry) && entry.attributes.wired);
	/* What opens nothing wires nothing. */
	assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, AT(0), AT(2), 0, 0, 0), 0);
	assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, AT(0), AT(2), CLEAVE_PROT_READ, 0,
					    CLEAVE_PROTECT_MAX),
			 0);
	assert_true(solo_lookup(&solo, 0, &entry) && !entry.attributes.wired);
	error = -ENOMEM;
	for (uint64_t grant = 0; error; grant++) {
		counting_memory_grant(&solo.domain.memory, grant);
		error = cleave_map_wire_all(&solo.map, &solo.thread, 0, 0);
		counting_memory_grant(&solo.domain.memory, GRANT_ALL);
		assert_true(error == 0 || error == -ENOMEM);
		assert_true(grant < 1000);
		assert_true(solo_lookup(&solo, 20, &entry) && !entry.attributes.wired == !error);
	}
	solo_stop(&solo);
}

/* A mapping that cannot be wired, late, gives its object back. */
static void who_maps_keeps_the_object_if_it_cannot_be_wired(void **state)
{
	struct cleave_map_request request = request_fixed(0, 4);
	struct thing *object;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(cleave_map_wire_all(&solo.map, &solo.thread, CLEAVE_WIRE_FUTURE, 0), 0);
	object = thing_new(&solo.embedder);
	thing_ref(object);
	request.object = object;
	request.entry_flags = 0;
	solo.embedder.bad_page = AT(2);
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), -ENOMEM);
	cleave_map_thread_flush(&solo.thread, true);
	assert_int_equal(solo_entries(&solo), 0);
	assert_int_equal(thing_refs(object), 2);
	solo.embedder.bad_page = 0;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(cleave_map_unmap(&solo.map, &solo.thread, AT(0), AT(4), 0), 0);
	cleave_map_thread_flush(&solo.thread, true);
	assert_int_equal(thing_refs(object), 1);
	thing_unref(&solo.embedder, object);
	solo_stop(&solo);
}

/* An entry without protection is passed over, and clipped at the range's begin: nothing settles it later. */
static void a_wiring_that_fails_leaves_what_it_passed_over(void **state)
{
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, AT(10), AT(14), CLEAVE_PROT_NONE, 0, 0), 0);
	solo.embedder.fail_after = 0;
	assert_int_equal(cleave_map_wire(&solo.map, &solo.thread, AT(12), AT(18)), -ENOMEM);
	solo.embedder.fail_after = GRANT_ALL;
	assert_string_equal(solo_text(&solo), "10-14:--- 14-20:rw-");
	assert_int_equal(cleave_map_wire(&solo.map, &solo.thread, AT(12), AT(18)), 0);
	assert_int_equal(solo_entries(&solo), 4);
	solo_stop(&solo);
}

/* What may not be opened is not wired. */
static void a_limit_keeps_memory_shut(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request = request_fixed(0, 8);
	struct cleave_map_entry entry;
	struct solo solo;

	(void)state;
	config.flags = CLEAVE_MAP_LIMITS;
	config.size_limit = 16 * PAGE;
	config.data_limit = 4 * PAGE;
	solo_start(&solo, &config);
	request.protection = CLEAVE_PROT_NONE;
	assert_int_equal(cleave_map_map(&solo.map, &solo.thread, &request), 0);
	assert_int_equal(cleave_map_wire_all(&solo.map, &solo.thread, CLEAVE_WIRE_FUTURE, 0), 0);
	assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, AT(0), AT(8), RW, 0, 0), -ENOMEM);
	assert_true(solo_lookup(&solo, 0, &entry) && !entry.attributes.wired && !entry.attributes.protection);
	assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, AT(0), AT(4), RW, 0, 0), 0);
	assert_true(solo_lookup(&solo, 0, &entry) && entry.attributes.wired);
	solo_stop(&solo);
}

/* An embedder may put more than the maximum allows; who lowers that to what it is takes the rest away. */
static void a_maximum_is_enforced_when_it_is_set(void **state)
{
	struct cleave_map_attributes attributes = { .protection = RW, .max_protection = CLEAVE_PROT_READ };
	struct cleave_map_entry entry;
	struct cleave_map_txn txn;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(cleave_map_begin(&txn, &solo.map, &solo.thread, AT(4), AT(8)), 0);
	assert_int_equal(cleave_map_put(&txn, AT(4), AT(8), &attributes), 0);
	assert_int_equal(cleave_map_prepare(&txn), 0);
	assert_int_equal(cleave_map_commit(&txn), 0);
	assert_true(solo_lookup(&solo, 5, &entry) && entry.attributes.protection == RW);
	for (unsigned int turn = 0; turn < 2; turn++) {
		assert_int_equal(cleave_map_protect(&solo.map, &solo.thread, AT(4), AT(8), CLEAVE_PROT_READ, 0,
						    CLEAVE_PROTECT_MAX),
				 0);
		assert_true(solo_lookup(&solo, 5, &entry) && entry.attributes.protection == CLEAVE_PROT_READ);
	}
	solo_stop(&solo);
}

/* More threads than there are accounts of their own: the others share some. */
static void accounts_are_shared_by_many_threads(void **state)
{
	struct cleave_map_thread threads[2 * CLEAVE_MAP_OWN_STRIPES];
	struct cleave_map_accounts accounts;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	for (unsigned int i = 0; i < 2 * CLEAVE_MAP_OWN_STRIPES; i++)
		cleave_map_thread_init(&threads[i], &solo.maps, &solo.domain.self);
	for (unsigned int i = 0; i < 2 * CLEAVE_MAP_OWN_STRIPES; i++) {
		struct cleave_map_request request = request_fixed(2 * i, 2 * i + 2);

		assert_int_equal(cleave_map_map(&solo.map, &threads[i], &request), 0);
		/* Of that one page is data no more, and then not even mapped. */
		assert_int_equal(cleave_map_protect(&solo.map, &threads[i], AT(2 * i), AT(2 * i + 1), 0, 0, 0), 0);
		cleave_map_account(&solo.map, &solo.thread, &accounts);
		assert_true(accounts.size == (i + 2) * PAGE && accounts.data == (i + 1) * PAGE);
		/* Two entries, in a transaction, that maps nothing. */
		for (unsigned int data = 2; data-- > 0;) {
			assert_int_equal(cleave_map_protect(&solo.map, &threads[i], AT(2 * i), AT(2 * i + 2),
							    data ? RW : 0, 0, 0),
					 0);
			assert_int_equal(cleave_map_protect(&solo.map, &threads[i], AT(2 * i + 1), AT(2 * i + 2), RW, 0,
							    0),
					 0);
			cleave_map_account(&solo.map, &solo.thread, &accounts);
			assert_true(accounts.size == (i + 2) * PAGE && accounts.data == (i + 1 + data) * PAGE);
		}
		assert_int_equal(cleave_map_unmap(&solo.map, &threads[i], AT(2 * i), AT(2 * i + 1), 0), 0);
		cleave_map_account(&solo.map, &solo.thread, &accounts);
		assert_true(accounts.size == (i + 1) * PAGE && accounts.data == (i + 1) * PAGE);
	}
	for (unsigned int i = 0; i < 2 * CLEAVE_MAP_OWN_STRIPES; i++)
		cleave_map_thread_exit(&threads[i]);
	solo_stop(&solo);
}

/* ---- An embedder that supplies nothing ---- */

static void an_embedder_may_supply_nothing(void **state)
{
	static const struct cleave_map_ops nothing = { .object_ref = NULL };
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request;
	struct cleave_map_thread *thread;
	struct cleave_map child, *map;
	struct solo solo;
	uint64_t addr;

	(void)state;
	config.nselectors = 1;
	config.selectors[0] = (struct cleave_map_selector){ AT(0), AT(128), CLEAVE_SELECT_RANDOM, CLEAVE_SELECT_ANY };
	memset(&solo, 0, sizeof(solo));
	manual_start(&solo.domain, GRACE_LATE, NULL, UINT64_C(1) << 40);
	cleave_maps_init(&solo.maps, &solo.domain.domain, &nothing);
	cleave_map_thread_init(&solo.thread, &solo.maps, &solo.domain.self);
	map = &solo.map;
	thread = &solo.thread;
	assert_int_equal(cleave_map_init(map, thread, &config), 0);
	assert_int_equal(solo_map(&solo, 0, 20), 0);
	request = request_fixed(20, 24);
	request.object = &solo;
	assert_int_equal(cleave_map_map(map, thread, &request), 0);
	request = request_fixed(24, 28);
	request.flags |= CLEAVE_MAP_OVERLAY;
	assert_int_equal(cleave_map_map(map, thread, &request), 0);
	request = request_fixed(40, 44);
	request.flags = 0;
	request.addr = 0;
	assert_int_equal(cleave_map_map(map, thread, &request), 0);
	assert_true(request.addr >= AT(28));
	assert_int_equal(cleave_map_unmap(map, thread, request.addr, request.addr + 4 * PAGE, 0), 0);
	assert_int_equal(cleave_map_wire(map, thread, AT(4), AT(6)), 0);
	assert_int_equal(cleave_map_clean(map, thread, AT(4), AT(6), CLEAVE_CLEAN_DEACTIVATE), 0);
	assert_int_equal(cleave_map_fork(map, thread, &child), 0);
	assert_int_equal(cleave_map_extract(map, thread, AT(10), 2 * PAGE, &child, 0, &addr), 0);
	assert_int_equal(cleave_map_protect(map, thread, AT(4), AT(7), CLEAVE_PROT_READ, 0, 0), 0);
	assert_int_equal(cleave_map_unwire(map, thread, AT(4), AT(6)), 0);
	assert_int_equal(cleave_map_wire(map, thread, AT(1), AT(3)), 0);
	assert_int_equal(cleave_map_unmap(map, thread, AT(2), AT(22), 0), 0);
	assert_int_equal(cleave_map_verify(map, thread, NULL), 0);
	assert_int_equal(cleave_map_verify(&child, thread, NULL), 0);
	assert_int_equal(map_entries(map, thread), 4);
	cleave_map_destroy(&child, thread);
	cleave_map_destroy(map, thread);
	cleave_map_thread_exit(thread);
	manual_stop(&solo.domain);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configurations_are_checked),
		cmocka_unit_test(calls_refuse_what_makes_no_sense),
		cmocka_unit_test(extraction_refuses_other_worlds),
		cmocka_unit_test(transactions_refuse_what_makes_no_sense),
		cmocka_unit_test(an_unmap_between_holes_fails_as_a_whole),
		cmocka_unit_test(who_maps_keeps_the_object_if_it_cannot_be_wired),
		cmocka_unit_test(wiring_fails_at_each_allocation),
		cmocka_unit_test(a_wiring_that_fails_leaves_what_it_passed_over),
		cmocka_unit_test(a_limit_keeps_memory_shut),
		cmocka_unit_test(a_maximum_is_enforced_when_it_is_set),
		cmocka_unit_test(accounts_are_shared_by_many_threads),
		cmocka_unit_test(a_staging_that_fails_spoils_the_transaction),
		cmocka_unit_test(an_embedder_may_supply_nothing),
	};

	return RUN_TESTS(tests, argc, argv);
}
