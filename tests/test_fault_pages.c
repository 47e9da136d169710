/* SPDX-License-Identifier: ISC */
/* Pages that are swapped, freed by advice, wired; what fails; restarts; a large segment; one thread. */
#include "fault_one.h"

/* ---- Swap ---- */

static void swapped_pages_come_back_once(void **state)
{
	struct cleave_map *child;

	(void)state;
	map_private(0, 8, RW);
	write_at(&one.map, 0, 1);
	write_at(&one.map, 1, 2);
	write_at(&one.map, 2, 3);
	child = fork_map(&one.map);
	assert_int_equal(read_at(child, 0), 1);
	assert_int_equal(evict(&one.map, 0), 1);
	assert_int_equal(page_shown(child, 0), 0);
	assert_int_equal(one.world.tokens.word, 1);
	assert_int_equal(read_at(child, 0), 1);
	assert_int_equal(one.world.tokens.word, 0);
	assert_int_equal(read_at(&one.map, 0), 1);
	assert_int_equal(one.thread.counters.swap_ins, 1);
	/* Written while it is swapped: it comes back, and is copied. */
	assert_int_equal(evict(&one.map, 1), 1);
	write_at(child, 1, 7);
	assert_int_equal(read_at(&one.map, 1), 2);
	assert_int_equal(one.thread.counters.swap_ins, 2);
	/* Its token goes with it. */
	assert_int_equal(evict(&one.map, 2), 1);
	unmap(&one.map, 2, 3);
	assert_int_equal(read_at(child, 2), 3);
	assert_int_equal(evict(child, 2), 1);
	exit_map(child);
	cleave_space_flush(&one.thread);
	assert_int_equal(one.world.tokens.word, 0);
}

static void swap_that_fails(void **state)
{
	(void)state;
	map_private(0, 8, RW);
	write_at(&one.map, 0, 1);
	one.world.fail_after.word = 0;
	assert_int_equal(evict(&one.map, 0), 0);
	assert_int_equal(page_shown(&one.map, 0), 0);
	one.world.fail_after.word = GRANT_ALL;
	assert_int_equal(read_at(&one.map, 0), 1);
	assert_int_equal(evict(&one.map, 0), 1);
	for (unsigned int granted = 0;; granted++) {
		int result;

		one.world.fail_after.word = granted;
		result = touch(&one.map, 0, CLEAVE_PROT_READ);
		one.world.fail_after.word = GRANT_ALL;
		if (!result)
			break;
		assert_true(result == -ENOMEM || result == -EIO || result == -EAGAIN);
	}
	assert_int_equal(read_at(&one.map, 0), 1);
}

/* ---- Freed by advice ---- */

static void freed_pages_read_as_zeros(void **state)
{
	struct cleave_map *child;

	(void)state;
	map_private(0, 128, RW);
	for (unsigned int i = 0; i < 128; i++)
		if (i % 7)
			write_at(&one.map, i, i);
	assert_int_equal(evict(&one.map, 50), 1);
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(40), AT(100), CLEAVE_CLEAN_FREE), 0);
	for (unsigned int i = 0; i < 128; i++) {
		bool gone = i % 7 == 0 || (i >= 40 && i < 100);

		assert_int_equal(page_shown(&one.map, i) == 0, gone);
		assert_int_equal(read_at(&one.map, i), gone ? 0 : i);
	}
	cleave_space_flush(&one.thread);
	assert_int_equal(one.world.tokens.word, 0);
	/* A clone keeps its own. */
	child = fork_map(&one.map);
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(0), AT(40), CLEAVE_CLEAN_FREE), 0);
	assert_int_equal(read_at(&one.map, 1), 0);
	assert_int_equal(read_at(child, 1), 1);
	exit_map(child);
}

/* What was freed waits for a grace period: without the range, at the end of the call. */
static void freed_pages_are_waited_for_above_the_limit(void **state)
{
	struct cleave_anon_context *context = one.thread.context;
	const uint64_t limit = 8;
	struct cleave_map *child;
	struct cleave index;
	struct cleave_txn txn;
	int result;

	(void)state;
	one.domain.grace = GRACE_ON_DEMAND;
	map_private(0, 128, RW);
	for (unsigned int i = 0; i < 128; i++)
		write_at(&one.map, i, i + 1);
	assert_int_equal(cleave_init(&index, &one.domain.self), 0);
	cleave_space_flush(&one.thread);
	one.domain.domain.garbage_limit = limit;
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(0), AT(64), CLEAVE_CLEAN_FREE), 0);
	assert_true(context->gp_waits > 0);
	assert_true(context->young.count + context->old.count <= limit);
	assert_int_equal(one.world.live.word, 64 + spare());
	/* Not while the thread has another transaction: it goes on with more than twice the limit. */
	child = fork_map(&one.map);
	cleave_space_flush(&one.thread);
	context->gp_waits = 0;
	assert_int_equal(cleave_begin(&txn, &index, &one.domain.self, 5, 9), 0);
	for (unsigned int i = 96; i < 128; i++)
		write_at(child, i, i);
	assert_int_equal(cleave_map_clean(child, &one.thread.map, AT(96), AT(128), CLEAVE_CLEAN_FREE), 0);
	assert_int_equal(context->gp_waits, 0);
	assert_true(context->young.count + context->old.count > 2 * limit);
	/* A copy would add to that. */
	result = fault_write(&one.world, child, AT(64), 7);
	assert_int_equal(result, -ENOMEM);
	assert_int_equal(read_at(child, 64), 65);
	cleave_abort(&txn);
	write_at(child, 64, 7);
	assert_true(context->gp_waits > 0);
	assert_true(context->young.count + context->old.count <= limit);
	assert_int_equal(read_at(child, 64), 7);
	assert_int_equal(read_at(&one.map, 64), 65);
	exit_map(child);
	unmap(&one.map, 0, 128);
	assert_true(context->young.count + context->old.count <= limit);
	cleave_destroy(&index, &one.domain.self);
}

/* Nodes that are left empty go. */
static void freed_leaves_go(void **state)
{
	uint64_t nodes;

	(void)state;
	map_private(0, 200, RW);
	for (unsigned int i = 0; i < 200; i++)
		write_at(&one.map, i, i);
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(0), AT(200), CLEAVE_CLEAN_FREE), 0);
	cleave_space_flush(&one.thread);
	assert_int_equal(one.world.live.word, spare());
	nodes = one.world.space.anons.nodes.word - one.thread.context->nnodes;
	assert_int_equal(nodes, 0);
}

static void shared_windows_are_only_deactivated(void **state)
{
	struct cleave_map *child;
	uint32_t page;

	(void)state;
	map_private(0, 8, RW);
	write_at(&one.map, 0, 1);
	page = page_shown(&one.map, 0);
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_INHERIT_SHARE), 0);
	child = fork_map(&one.map);
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_CLEAN_FREE), 0);
	assert_int_equal(one.world.pages[page].active.word, 0);
	assert_int_equal(read_at(child, 0), 1);
	exit_map(child);
	one.world.pages[page].active.word = 1;
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_CLEAN_DEACTIVATE), 0);
	assert_int_equal(one.world.pages[page].active.word, 0);
	assert_int_equal(read_at(&one.map, 0), 1);
	/* Cut, but shown once: freed. */
	assert_int_equal(cleave_map_clip_start(&one.map, &one.thread.map, AT(4), NULL), 0);
	protect(4, 8, CLEAVE_PROT_READ);
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_CLEAN_FREE), 0);
	assert_int_equal(read_at(&one.map, 0), 0);
}

/* ---- Wired ---- */

static uint64_t wired(void)
{
	uint64_t n = 0;

	for (uint32_t i = 1; i < one.world.npages; i++)
		n += one.world.pages[i].wired.word;
	return n;
}

static void wired_pages_stay(void **state)
{
	struct cleave_map *child;

	(void)state;
	map_private(0, 16, RW);
	write_at(&one.map, 0, 1);
	assert_int_equal(cleave_map_wire(&one.map, &one.thread.map, AT(0), AT(8)), 0);
	assert_int_equal(wired(), 8);
	for (unsigned int i = 0; i < 8; i++)
		assert_true(writable(&one.map, i));
	assert_int_equal(evict(&one.map, 0), 0);
	assert_true(writable(&one.map, 0));
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_CLEAN_FREE), 0);
	assert_int_equal(read_at(&one.map, 0), 1);
	/* A child gets copies at once, and the parent keeps its pages. */
	child = fork_map(&one.map);
	assert_int_equal(one.world.copied.word, 8);
	assert_int_equal(read_at(child, 0), 1);
	assert_int_not_equal(page_shown(child, 0), page_shown(&one.map, 0));
	write_at(&one.map, 0, 2);
	write_at(child, 0, 3);
	assert_int_equal(one.world.copied.word, 8);
	assert_int_equal(wired(), 8);
	exit_map(child);
	assert_int_equal(cleave_map_unwire(&one.map, &one.thread.map, AT(2), AT(4)), 0);
	assert_int_equal(wired(), 6);
	unmap(&one.map, 0, 1);
	assert_int_equal(wired(), 5);
	unmap(&one.map, 0, 16);
	assert_int_equal(wired(), 0);
}

/* Nobody holds what another map's write has put in the place of a wired page: it may be swapped when a child comes. */
static void a_fork_of_wired_memory_that_is_swapped(void **state)
{
	struct cleave_map *sharer, *other, *child;

	(void)state;
	map_private(0, 4, RW);
	write_at(&one.map, 0, 1);
	write_at(&one.map, 1, 5);
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(4), CLEAVE_INHERIT_SHARE), 0);
	sharer = fork_map(&one.map);
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(4), CLEAVE_INHERIT_COPY), 0);
	assert_int_equal(cleave_map_inherit(sharer, &one.thread.map, AT(0), AT(4), CLEAVE_INHERIT_COPY), 0);
	assert_int_equal(cleave_map_wire(&one.map, &one.thread.map, AT(0), AT(2)), 0);
	other = fork_map(sharer);
	write_at(sharer, 0, 2);
	assert_int_equal(wired(), 1);
	assert_int_equal(evict(sharer, 0), 1);
	child = fork_map(&one.map);
	write_at(&one.map, 0, 3);
	assert_int_equal(wired(), 2);
	assert_int_equal(read_at(child, 0), 2);
	assert_int_equal(read_at(child, 1), 5);
	assert_int_equal(read_at(sharer, 0), 3);
	assert_int_equal(read_at(other, 0), 1);
	exit_map(child);
	exit_map(other);
	exit_map(sharer);
}

/* The copies for a child displace nodes: more than twice the limit, with the parent locked.  No lack of memory. */
static void a_fork_of_wired_memory_above_the_limit(void **state)
{
	enum { N = PAGES };
	struct cleave_map *child;

	(void)state;
	one.domain.grace = GRACE_ON_DEMAND;
	map_private(0, N, RW);
	for (unsigned int i = 0; i < N; i++)
		write_at(&one.map, i, i + 1);
	assert_int_equal(cleave_map_wire(&one.map, &one.thread.map, AT(0), AT(N)), 0);
	cleave_space_flush(&one.thread);
	one.domain.domain.garbage_limit = 2;
	child = fork_map(&one.map);
	assert_int_equal(one.world.copied.word, N);
	for (unsigned int i = 0; i < N; i++)
		assert_int_equal(read_at(child, i), i + 1);
	exit_map(child);
}

static void a_wiring_follows_a_promotion(void **state)
{
	struct sim_object *object = fault_object(&one.world, 1000000, 8, true);

	(void)state;
	map_object(0, 8, object, CLEAVE_PROT_READ, false);
	assert_int_equal(cleave_map_wire(&one.map, &one.thread.map, AT(0), AT(4)), 0);
	assert_int_equal(wired(), 4);
	protect(0, 8, RW);
	write_at(&one.map, 1, 5);
	assert_int_equal(wired(), 4);
	assert_int_equal(one.world.pages[page_shown(&one.map, 1)].wired.word, 1);
	assert_int_equal(cleave_map_unwire(&one.map, &one.thread.map, AT(0), AT(4)), 0);
	assert_int_equal(wired(), 0);
	fault_object_put(&one.world, object);
}

static void a_wiring_that_fails_leaves_nothing_wired(void **state)
{
	unsigned int granted;
	int result = -1;

	(void)state;
	map_private(0, 8, RW);
	for (granted = 0; result; granted++) {
		one.world.fail_after.word = granted;
		result = cleave_map_wire(&one.map, &one.thread.map, AT(0), AT(8));
		one.world.fail_after.word = GRANT_ALL;
		assert_int_equal(wired(), result ? 0 : 8);
	}
	assert_true(granted > 8);
}

/* ---- What fails ---- */

static void without_a_page_nothing_is_held(void **state)
{
	(void)state;
	map_private(0, 8, RW);
	write_at(&one.map, 0, 1); /* uses the spare page */
	one.world.fail_after.word = 0;
	assert_int_equal(touch(&one.map, 1, CLEAVE_PROT_WRITE), -ENOMEM);
	assert_int_equal(touch(&one.map, 1, CLEAVE_PROT_READ), -ENOMEM);
	one.world.fail_after.word = GRANT_ALL;
	assert_int_equal(touch(&one.map, 1, CLEAVE_PROT_WRITE), 0);
	one.world.fail_after.word = 1; /* for the page table; a page that is there needs none */
	assert_int_equal(touch(&one.map, 0, CLEAVE_PROT_READ), -EAGAIN);
	one.world.fail_after.word = GRANT_ALL;
	assert_int_equal(touch(&one.map, 0, CLEAVE_PROT_READ), 0);
}

/* A life in a few steps, each of which may fail and is made again. */
static unsigned int steps_made;

static int step(unsigned int i, struct cleave_map **child, struct sim_object *object, bool *forked)
{
	struct cleave_map_request request = fault_request(AT(0), 100, RW);
	struct cleave_map_request backed = fault_request(AT(100), 8, RW);

	switch (i) {
	case 0:
		return cleave_map_map(&one.map, &one.thread.map, &request);
	case 1:
		return fault_write(&one.world, &one.map, AT(10), 10);
	case 2:
		return fault_write(&one.world, &one.map, AT(70), 70);
	case 3: {
		int result;

		backed.object = object;
		__atomic_fetch_add(&object->refs.word, 1, __ATOMIC_RELAXED);
		result = cleave_map_map(&one.map, &one.thread.map, &backed);
		if (result)
			fault_object_put(&one.world, object);
		return result;
	}
	case 4:
		return touch(&one.map, 101, CLEAVE_PROT_READ);
	case 5:
		return fault_write(&one.world, &one.map, AT(101), 101);
	case 6: {
		int result = cleave_map_fork(&one.map, &one.thread.map, *child);

		*forked |= !result;
		return result;
	}
	case 7:
		return fault_write(&one.world, *child, AT(10), 11);
	case 8:
		return fault_write(&one.world, &one.map, AT(70), 71);
	case 9:
		return touch(*child, 70, CLEAVE_PROT_READ);
	case 10:
		return cleave_map_unmap(&one.map, &one.thread.map, AT(9), AT(12), 0);
	case 11:
		return cleave_map_protect(*child, &one.thread.map, AT(69), AT(71), CLEAVE_PROT_READ, 0, 0);
	case 12:
		return cleave_map_clean(*child, &one.thread.map, AT(0), AT(50), CLEAVE_CLEAN_FREE);
	case 13:
		return cleave_map_wire(&one.map, &one.thread.map, AT(69), AT(72));
	default:
		return 1;
	}
}

static void live(void (*grant)(uint64_t n), uint64_t *failures)
{
	struct sim_object *object = fault_object(&one.world, 1000000, 8, true);
	struct cleave_map *child = calloc(1, sizeof(*child));
	bool forked = false;
	int result = 0;

	assert_non_null(child);
	fault_table_add(&one.world, child, BASE, PAGES);
	*failures = 0;
	for (unsigned int i = 0; result <= 0; i++)
		for (uint64_t granted = 0;; granted++) {
			check_context("step %u, %llu granted", i, LL(granted));
			steps_made++;
			grant(granted);
			result = step(i, &child, object, &forked);
			grant(GRANT_ALL);
			if (result >= 0)
				break;
			CHECK(result == -ENOMEM || result == -EAGAIN || result == -EIO, "%d", result);
			++*failures;
		}
	assert_int_equal(read_at(child, 10), 0);
	assert_int_equal(read_at(child, 70), 70);
	assert_int_equal(read_at(child, 101), 101);
	assert_int_equal(read_at(&one.map, 70), 71);
	assert_int_equal(touch(&one.map, 10, CLEAVE_PROT_READ), -EFAULT);
	assert_int_equal(wired(), 3);
	/* Both 70s, the 101 that both have, zeros at 10, two more that are wired; the object's. */
	CHECK(pages_used() - spare() == 2 + 1 + 1 + 2 + 1, "%llu pages", LL(pages_used() - spare()));
	exit_map(child);
	fault_object_put(&one.world, object);
}

static void grant_memory(uint64_t n)
{
	counting_memory_grant(&one.domain.memory, n);
}

static void grant_callbacks(uint64_t n)
{
	one.world.fail_after.word = n;
}

static void each_allocation_fails_in_turn(void **state)
{
	uint64_t failures;

	(void)state;
	live(grant_memory, &failures);
	printf("%llu failures\n", LL(failures));
	assert_true(failures > 20);
}

static void each_callback_fails_in_turn(void **state)
{
	uint64_t failures;

	(void)state;
	live(grant_callbacks, &failures);
	printf("%llu failures\n", LL(failures));
	assert_true(failures > 15);
}

/* ---- Restarts ---- */

static unsigned int reluctance;

static int fetch_reluctantly(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write)
{
	(void)ops;
	(void)object;
	(void)offset;
	(void)write;
	if (reluctance-- == 0) {
		((struct fault_world *)(uintptr_t)ops)->ops.object_fetch = NULL;
		return -EIO;
	}
	return 0; /* it was evicted again */
}

static void after_eight_restarts_the_range_is_locked(void **state)
{
	struct sim_object *object = fault_object(&one.world, 1000000, 8, true);

	(void)state;
	map_object(0, 8, object, RW, false);
	one.world.ops.object_fetch = fetch_reluctantly;
	reluctance = 12;
	assert_int_equal(touch(&one.map, 0, CLEAVE_PROT_READ), -EIO);
	assert_int_equal(one.thread.counters.restarts, 13);
	assert_int_equal(one.thread.counters.locked, 5);
	fault_object_put(&one.world, object);
}

/* ---- A large segment ---- */

/* After a fork the first write of either side copies one path and one page. */
static void a_fork_of_a_gibibyte_costs_one_path(void **state)
{
	const uint64_t base = UINT64_C(1) << 32, pages = 1 << 18;
	struct cleave_map_config config = { .min = base, .max = base + 2 * pages * PAGE, .page_shift = 12 };
	struct cleave_map_request request = fault_request(base, pages, RW);
	struct cleave_map *parent = calloc(1, sizeof(*parent)), *child = calloc(1, sizeof(*child));
	static struct fault_world world;
	struct cleave_space_thread thread;
	uint64_t value, copies, locks;

	(void)state;
	assert_true(parent && child);
	fault_world_start(&world, &one.domain.domain, (uint32_t)pages + 100, false);
	fault_thread_start(&world, &thread, &one.domain.self);
	assert_int_equal(cleave_map_init(parent, &thread.map, &config), 0);
	fault_table_add(&world, parent, base, pages);
	fault_table_add(&world, child, base, pages);
	locks = one.domain.self.counters.restructures + one.domain.self.counters.edits;
	assert_int_equal(cleave_map_map(parent, &thread.map, &request), 0);
	for (uint64_t i = 0; i < pages; i++)
		CHECK(fault_write(&world, parent, base + i * PAGE, i) == 0, "page %llu", LL(i));
	/* Scenario 2: one entry, one change of the map for the store, 2.5 MiB of nodes. */
	manual_enter(&one.domain);
	{
		struct cleave_map_accounts accounts;
		struct cleave_anon_statistics statistics;
		struct cleave_map_entry entry;

		assert_true(cleave_map_lookup_rcu(parent, base, &entry));
		cleave_anon_statistics_rcu(entry.attributes.store, &statistics);
		manual_leave(&one.domain);
		cleave_map_account(parent, &thread.map, &accounts);
		assert_int_equal(accounts.entries, 1);
		assert_int_equal(statistics.populated, pages);
		assert_true(statistics.bytes <= (UINT64_C(5) << 20) / 2);
		assert_int_equal(thread.counters.stores, 1);
		assert_true(one.domain.self.counters.restructures + one.domain.self.counters.edits - locks <= 8);
		printf("1 GiB touched page by page: %llu entry, %llu bytes of nodes\n", LL(accounts.entries),
		       LL(statistics.bytes));
	}
	assert_int_equal(cleave_map_fork(parent, &thread.map, child), 0);
	for (unsigned int side = 0; side < 2; side++) {
		struct cleave_map *map = side ? child : parent;

		/* What the first side displaced is the other's alone a grace period later. */
		cleave_space_flush(&thread);
		copies = thread.context->copies;
		assert_int_equal(fault_write(&world, map, base + 5 * PAGE, 1000 + side), 0);
		copies = thread.context->copies - copies;
		CHECK(side ? copies == 0 : copies == 4, "%llu nodes on side %u", LL(copies), side); /* levels */
		assert_int_equal(world.copied.word, 1); /* the second one has the old page for itself */
		assert_int_equal(fault_read(&world, side ? parent : child, base + 5 * PAGE, &value), 0);
		assert_int_equal(value, side ? 1000 : 5);
	}
	assert_int_equal(cleave_map_unmap(child, &thread.map, base, base + pages * PAGE, 0), 0);
	assert_int_equal(cleave_map_unmap(parent, &thread.map, base, base + pages * PAGE, 0), 0);
	cleave_map_destroy(child, &thread.map);
	cleave_map_destroy(parent, &thread.map);
	fault_table_drop(&world, child);
	fault_table_drop(&world, parent);
	free(child);
	free(parent);
	fault_thread_stop(&thread);
	fault_world_stop(&world);
}

int main(int argc, char **argv)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		ROW(swapped_pages_come_back_once),	  ROW(swap_that_fails),
		ROW(freed_pages_read_as_zeros),		  ROW(freed_leaves_go),
		ROW(freed_pages_are_waited_for_above_the_limit),
		ROW(shared_windows_are_only_deactivated), ROW(wired_pages_stay),
		ROW(a_fork_of_wired_memory_that_is_swapped),
		ROW(a_fork_of_wired_memory_above_the_limit),
		ROW(a_wiring_follows_a_promotion),	  ROW(a_wiring_that_fails_leaves_nothing_wired),
		ROW(without_a_page_nothing_is_held),	  ROW(each_allocation_fails_in_turn),
		ROW(each_callback_fails_in_turn),	  ROW(after_eight_restarts_the_range_is_locked),
		ROW(a_fork_of_a_gibibyte_costs_one_path),
	};

	return RUN_TESTS(tests, argc, argv);
}
