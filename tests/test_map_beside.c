/* SPDX-License-Identifier: ISC */
/*
 * What a map's calls meet that another thread does meanwhile: brought about by the domain's and the embedder's
 * callbacks, without threads.  What another thread holds is let go when the call parks for it.
 */
#include "map_world.h"

#include "map.h"

#include <limits.h>

static struct solo busy;
static struct cleave_map_thread other; /* the other thread's */
static struct cleave_thread other_self;
static struct cleave_ops ops; /* the domain's, but for what a test replaces */
static const struct cleave_ops *plain;

static void begin(const struct cleave_map_config *config)
{
	solo_start(&busy, config);
	plain = busy.domain.domain.ops;
	ops = *plain;
	busy.domain.domain.ops = &ops;
	cleave_thread_init(&other_self, &busy.domain.domain);
	cleave_map_thread_init(&other, &busy.maps, &other_self);
}

static void end(void)
{
	cleave_map_thread_exit(&other);
	cleave_thread_exit(&other_self);
	solo_stop(&busy);
}

/* ---- After a section of the call, the other thread maps or unmaps pages ---- */

static struct {
	struct cleave_map *map;
	unsigned int sections; /* until then; UINT_MAX: it has */
	bool maps;
	unsigned int low, high;
} deed;

/* While the call has locked something, it must not be waited for. */
static bool locked(struct cleave_domain *domain)
{
	struct cleave_txn txn;
	int error;

	plain->enter(domain, &other_self);
	error = cleave_try_begin_rcu(&txn, &deed.map->index, &other_self, 0, CLEAVE_LAST);
	plain->leave(domain, &other_self);
	if (!error)
		cleave_abort(&txn);
	return error;
}

static void leave_and_change(struct cleave_domain *domain, struct cleave_thread *self)
{
	plain->leave(domain, self);
	if (self != &busy.domain.self || deed.sections == UINT_MAX || locked(domain) || deed.sections-- > 0)
		return;
	deed.sections = UINT_MAX;
	if (deed.maps) {
		struct cleave_map_request request = request_fixed(deed.low, deed.high);

		request.flags |= CLEAVE_MAP_REPLACE;
		assert_int_equal(cleave_map_map(deed.map, &other, &request), 0);
	} else {
		assert_int_equal(cleave_map_unmap(deed.map, &other, AT(deed.low), AT(deed.high), 0), 0);
	}
}

static void after(unsigned int sections, bool maps, unsigned int low, unsigned int high)
{
	deed.map = &busy.map;
	deed.sections = sections;
	deed.maps = maps;
	deed.low = low;
	deed.high = high;
	ops.leave = leave_and_change;
}

/* Did it come to that? */
static bool has_met(void)
{
	ops.leave = plain->leave;
	return deed.sections == UINT_MAX;
}

/* What a snapshot says is in order, and each part of it was so, whatever happens between two of its sections. */
static bool snapshot_beside(unsigned int sections, bool maps, unsigned int low, unsigned int high)
{
	struct cleave_map_entry entries[256];
	uint64_t from = 0, at = 0;
	size_t n = 256;
	bool met;

	for (unsigned int i = 0; i < 124; i += 4)
		assert_int_equal(solo_map(&busy, i, i + 1 + i % 8 / 4), 0);
	after(sections, maps, low, high);
	assert_int_equal(cleave_map_snapshot(&busy.map, &busy.thread, &from, entries, &n), 0);
	met = has_met();
	for (size_t i = 0; i < n; i++) {
		assert_true(entries[i].start >= at && entries[i].end >= entries[i].start);
		at = entries[i].end + entries[i].guard + entries[i].fspace;
	}
	assert_int_equal(cleave_map_unmap(&busy.map, &busy.thread, AT(0), AT(128), 0), 0);
	return met;
}

static void a_snapshot_of_a_map_that_changes(void **state)
{
	struct cleave_map_config config = solo_config();

	(void)state;
	for (unsigned int guards = 0; guards < 2; guards++) {
		config.flags = guards ? CLEAVE_MAP_GUARD_PAGES : 0;
		begin(&config);
		for (unsigned int low = 0; low < 120; low += 3)
			for (unsigned int high = low + 1; high < 126; high += 9)
				for (unsigned int maps = 0; maps < 2; maps++)
					for (unsigned int n = 0; snapshot_beside(n, maps, low, high); n++)
						;
		end();
	}
}

/* What a search has found is taken, in part or whole, before it is locked. */
static bool map_beside(unsigned int sections, unsigned int low, unsigned int high, unsigned int hint)
{
	struct cleave_map_request request = request_fixed(0, 0);
	struct cleave_map_entry entry;
	bool met;

	request.flags = 0;
	request.size = 2 * PAGE;
	request.addr = hint ? AT(hint) : 0;
	after(sections, true, low, high);
	assert_int_equal(cleave_map_map(&busy.map, &busy.thread, &request), 0);
	met = has_met();
	for (uint64_t page = request.addr; page < request.addr + request.size; page += PAGE)
		assert_true(solo_lookup_in(&busy, &busy.map, page, &entry));
	for (unsigned int page = low; page < high && met; page++)
		assert_true(solo_lookup(&busy, page, &entry) &&
			    (AT(page) < request.addr || AT(page) >= request.addr + request.size));
	solo_check(&busy);
	assert_int_equal(cleave_map_unmap(&busy.map, &busy.thread, AT(0), AT(12), 0), 0);
	return met;
}

static void space_that_was_found_is_taken(void **state)
{
	struct cleave_map_config config = solo_config();

	(void)state;
	config.max = AT(12);
	for (unsigned int i = 0; i < 4; i++) {
		config.flags = i & 1 ? CLEAVE_MAP_GUARD_PAGES : 0;
		config.nselectors = 1;
		config.selectors[0] = (struct cleave_map_selector){
			AT(0), AT(12), i & 2 ? CLEAVE_SELECT_HIGHEST : CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY
		};
		begin(&config);
		for (unsigned int low = 0; low < 11; low++)
			for (unsigned int high = low + 1; high < low + 5 && high < 12; high++)
				for (unsigned int hint = 0; hint < 8; hint += 4)
					for (unsigned int n = 0; map_beside(n, low, high, hint); n++)
						;
		end();
	}
}

/* The same where memory is shown in a second map; or the source has gone by then. */
static bool extract_beside(struct cleave_map *to, unsigned int sections, bool maps, unsigned int low, unsigned int high)
{
	struct cleave_map_entry entry;
	uint64_t addr = 0;
	bool met;
	int result;

	assert_int_equal(solo_map(&busy, 20, 28), 0);
	after(sections, maps, low, high);
	if (maps)
		deed.map = to;
	result = cleave_map_extract(&busy.map, &busy.thread, AT(22), 4 * PAGE, to, 0, &addr);
	met = has_met();
	assert_true(result == 0 || (result == -EINVAL && met && !maps));
	for (uint64_t page = addr; !result && page < addr + 4 * PAGE; page += PAGE)
		assert_true(solo_lookup_in(&busy, to, page, &entry));
	assert_int_equal(cleave_map_unmap(&busy.map, &busy.thread, AT(0), AT(128), 0), 0);
	assert_int_equal(cleave_map_unmap(to, &busy.thread, AT(0), AT(128), 0), 0);
	return met;
}

static void what_is_extracted_changes(void **state)
{
	struct cleave_map_config config = solo_config();
	struct cleave_map to;

	(void)state;
	begin(&config);
	assert_int_equal(cleave_map_init(&to, &busy.thread, &config), 0);
	embedder_watch(&busy.embedder, &to, SOLO_BASE);
	for (unsigned int low = 0; low < 6; low++)
		for (unsigned int high = low + 1; high < 9; high++)
			for (unsigned int n = 0; extract_beside(&to, n, true, low, high); n++)
				;
	for (unsigned int n = 0; extract_beside(&to, n, false, 23, 24); n++)
		;
	solo_destroy(&busy, &to);
	end();
}

/* ---- Waiting for grace periods ---- */

static unsigned int waits;

static void wait_without_locks(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	CHECK(!cleave_thread_holds(self), "a grace period is waited for with a map locked");
	waits++;
	plain->wait(domain, self, cookie);
}

/* Pages of different advice, with a store each: all their attributes change when they are shown elsewhere, too. */
static void an_extract_waits_after_both_maps(void **state)
{
	const uint64_t most = CLEAVE__MAP_GARBAGE;
	struct cleave_map_config config = solo_config();
	struct cleave_map_request request;
	struct cleave_map to;
	uint64_t addr;

	(void)state;
	begin(&config);
	busy.domain.grace = GRACE_ON_DEMAND;
	ops.wait = wait_without_locks;
	waits = 0;
	assert_int_equal(cleave_map_init(&to, &busy.thread, &config), 0);
	embedder_watch(&busy.embedder, &to, SOLO_BASE);
	for (unsigned int i = 0; i < 60; i++) {
		request = request_fixed(i, i + 1);
		request.advice = (uint8_t)(i % 3);
		assert_int_equal(cleave_map_map(&busy.map, &busy.thread, &request), 0);
	}
	while (busy.thread.nold + busy.thread.nyoung < most - 30) {
		assert_int_equal(solo_map(&busy, 100, 110), 0);
		assert_int_equal(cleave_map_unmap(&busy.map, &busy.thread, AT(100), AT(110), 0), 0);
	}
	assert_int_equal(waits, 0);
	assert_int_equal(cleave_map_extract(&busy.map, &busy.thread, AT(0), 60 * PAGE, &to, 0, &addr), 0);
	CHECK(waits == 1 && busy.thread.nold <= most, "%u waits", waits);
	solo_destroy(&busy, &to);
	end();
}

/* ---- Waiting for each other ---- */

static void unbusy_when_waited_for(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *word,
				   uint32_t seen)
{
	(void)domain;
	(void)self;
	(void)word;
	(void)seen;
	cleave_map_unbusy(&busy.map, &other);
}

static void a_map_is_busy_for_one_after_the_other(void **state)
{
	(void)state;
	begin(NULL);
	ops.park = unbusy_when_waited_for;
	cleave_map_busy(&busy.map, &other);
	cleave_map_busy(&busy.map, &busy.thread);
	cleave_map_busy(&busy.map, &busy.thread);
	cleave_map_unbusy(&busy.map, &busy.thread);
	cleave_map_unbusy(&busy.map, &busy.thread);
	cleave_map_busy(&busy.map, &other);
	assert_int_equal(solo_map(&busy, 0, 4), 0);
	ops.park = plain->park;
	end();
}

/* ---- While pages are wired ---- */

static int (*wire)(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		   unsigned int protection);
static unsigned int wirings;

/* Memory that needs no store to be wired gets none before that has ended. */
static int wire_and_set_store(const struct cleave_map_ops *map_ops, struct cleave_map *map, uint64_t start,
			      uint64_t until, unsigned int protection)
{
	struct cleave_map_entry entry;

	assert_true(solo_lookup_in(&busy, map, start, &entry));
	assert_int_equal(cleave_map_set_store(map, &busy.thread, start, entry.version, &busy), -EEXIST);
	wirings++;
	return wire(map_ops, map, start, until, protection);
}

static void no_store_comes_while_pages_are_wired(void **state)
{
	struct thing *object;
	struct cleave_map_request request = request_fixed(0, 8);

	(void)state;
	begin(NULL);
	object = thing_new(&busy.embedder);
	wire = busy.embedder.ops.wire;
	busy.embedder.ops.wire = wire_and_set_store;
	thing_ref(object);
	request.object = object;
	request.protection = CLEAVE_PROT_READ;
	assert_int_equal(cleave_map_map(&busy.map, &busy.thread, &request), 0);
	assert_int_equal(cleave_map_wire(&busy.map, &busy.thread, AT(0), AT(8)), 0);
	assert_int_equal(wirings, 1);
	assert_int_equal(cleave_map_unmap(&busy.map, &busy.thread, AT(0), AT(8), 0), 0);
	thing_unref(&busy.embedder, object);
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_of_a_map_that_changes),
		cmocka_unit_test(space_that_was_found_is_taken),
		cmocka_unit_test(what_is_extracted_changes),
		cmocka_unit_test(an_extract_waits_after_both_maps),
		cmocka_unit_test(a_map_is_busy_for_one_after_the_other),
		cmocka_unit_test(no_store_comes_while_pages_are_wired),
	};

	return RUN_TESTS(tests, argc, argv);
}
