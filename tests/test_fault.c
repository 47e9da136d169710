/* SPDX-License-Identifier: ISC */
/* Faults of every kind, one thread. */
#include "fault_one.h"

/* ---- Kinds ---- */

static void zero_fill(void **state)
{
	(void)state;
	map_private(0, 8, RW);
	assert_int_equal(read_at(&one.map, 0), 0);
	write_at(&one.map, 1, 11);
	write_at(&one.map, 0, 10);
	assert_int_equal(read_at(&one.map, 1), 11);
	assert_int_equal(read_at(&one.map, 0), 10);
	assert_int_equal(one.thread.counters.fills, 2);
	assert_int_equal(one.thread.counters.stores, 1);
	assert_int_equal(one.thread.counters.restarts, 2); /* for the store, for nodes */
}

static void what_is_refused(void **state)
{
	struct cleave_map_request hole = fault_request(AT(20), 2, CLEAVE_PROT_NONE);
	struct cleave_map_request nofault = fault_request(AT(30), 2, RW);

	(void)state;
	hole.entry_flags = CLEAVE_MAP_HOLE;
	nofault.entry_flags = CLEAVE_MAP_COW | CLEAVE_MAP_NOFAULT;
	assert_int_equal(cleave_map_map(&one.map, &one.thread.map, &hole), 0);
	assert_int_equal(cleave_map_map(&one.map, &one.thread.map, &nofault), 0);
	map_private(0, 8, RW);
	protect(4, 6, CLEAVE_PROT_READ);
	protect(6, 8, CLEAVE_PROT_NONE);
	assert_int_equal(touch(&one.map, 10, CLEAVE_PROT_READ), -EFAULT);
	assert_int_equal(touch(&one.map, 20, CLEAVE_PROT_READ), -EFAULT);
	assert_int_equal(touch(&one.map, 30, CLEAVE_PROT_READ), -EFAULT);
	assert_int_equal(cleave_fault(&one.thread, &one.map, 0, CLEAVE_PROT_READ), -EFAULT);
	assert_int_equal(cleave_fault(&one.thread, &one.map, UINT64_MAX, CLEAVE_PROT_READ), -EFAULT);
	assert_int_equal(touch(&one.map, 4, CLEAVE_PROT_WRITE), -EACCES);
	assert_int_equal(touch(&one.map, 4, CLEAVE_PROT_EXEC), -EACCES);
	assert_int_equal(touch(&one.map, 6, CLEAVE_PROT_READ), -EACCES);
	assert_int_equal(touch(&one.map, 4, CLEAVE_PROT_READ), 0);
	assert_int_equal(one.world.enters.word, 1);
}

static void a_fork_copies_what_is_written_first(void **state)
{
	struct cleave_map *child;

	(void)state;
	map_private(0, 64, RW);
	for (unsigned int i = 0; i < 64; i++)
		write_at(&one.map, i, 100 + i);
	child = fork_map(&one.map);
	assert_int_equal(one.world.copied.word, 0);
	for (unsigned int i = 0; i < 64; i++) {
		assert_false(writable(&one.map, i));
		assert_int_equal(read_at(child, i), 100 + i);
		assert_int_equal(page_shown(child, i), page_shown(&one.map, i));
	}
	write_at(&one.map, 3, 7);
	assert_int_equal(one.world.copied.word, 1);
	assert_int_equal(read_at(child, 3), 103);
	cleave_space_flush(&one.thread);
	write_at(child, 3, 8); /* nobody else has the old page any more */
	assert_int_equal(one.world.copied.word, 1);
	assert_int_equal(one.thread.counters.in_place, 1);
	write_at(child, 5, 9);
	assert_int_equal(one.world.copied.word, 2);
	assert_int_equal(read_at(&one.map, 5), 105);
	assert_int_equal(read_at(&one.map, 3), 7);
	assert_int_equal(read_at(child, 3), 8);
	exit_map(child);
	assert_int_equal(pages_used(), 64 + spare());
	/* All is the parent's alone. */
	for (unsigned int i = 0; i < 64; i++)
		write_at(&one.map, i, 200 + i);
	assert_int_equal(one.world.copied.word, 2);
}

static void forks_of_forks(void **state)
{
	struct cleave_map *child, *grandchild;

	(void)state;
	map_private(0, 4, RW);
	write_at(&one.map, 0, 1);
	child = fork_map(&one.map);
	grandchild = fork_map(child);
	write_at(child, 0, 2);
	assert_int_equal(read_at(&one.map, 0), 1);
	assert_int_equal(read_at(grandchild, 0), 1);
	cleave_space_flush(&one.thread);
	write_at(grandchild, 0, 3);
	cleave_space_flush(&one.thread);
	write_at(&one.map, 0, 4);
	assert_int_equal(one.world.copied.word, 2);
	assert_int_equal(read_at(child, 0), 2);
	assert_int_equal(read_at(grandchild, 0), 3);
	exit_map(child);
	assert_int_equal(read_at(grandchild, 0), 3);
	exit_map(grandchild);
}

static void read_then_write(void **state)
{
	struct cleave_map *child;

	(void)state;
	map_private(0, 4, RW);
	write_at(&one.map, 0, 1);
	child = fork_map(&one.map);
	assert_int_equal(read_at(&one.map, 0), 1);
	assert_int_equal(read_at(child, 0), 1);
	assert_false(writable(child, 0));
	write_at(child, 0, 2);
	assert_true(writable(child, 0));
	assert_int_equal(read_at(&one.map, 0), 1);
	exit_map(child);
}

static void shared_memory(void **state)
{
	struct cleave_map *child;

	(void)state;
	map_private(0, 8, RW);
	write_at(&one.map, 1, 1);
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_INHERIT_SHARE), 0);
	child = fork_map(&one.map);
	write_at(child, 1, 2);
	assert_int_equal(read_at(&one.map, 1), 2);
	write_at(&one.map, 2, 3);
	assert_int_equal(read_at(child, 2), 3);
	assert_int_equal(page_shown(child, 2), page_shown(&one.map, 2));
	/* A fork of shared memory that is to be copied: neither side writes it in place. */
	assert_int_equal(cleave_map_inherit(child, &one.thread.map, AT(0), AT(8), CLEAVE_INHERIT_COPY), 0);
	{
		struct cleave_map *copy = fork_map(child);

		assert_false(writable(&one.map, 1));
		assert_false(writable(child, 1));
		write_at(&one.map, 1, 5);
		assert_int_equal(read_at(child, 1), 5);
		assert_int_equal(read_at(copy, 1), 2);
		write_at(copy, 2, 6);
		assert_int_equal(read_at(child, 2), 3);
		exit_map(copy);
	}
	exit_map(child);
	assert_int_equal(read_at(&one.map, 1), 5);
}

static void extracted_memory(void **state)
{
	struct cleave_map_config config = { .min = BASE, .max = AT(PAGES), .page_shift = 12 };
	struct cleave_map *other = calloc(1, sizeof(*other));
	uint64_t addr, value;

	(void)state;
	assert_int_equal(cleave_map_init(other, &one.thread.map, &config), 0);
	fault_table_add(&one.world, other, BASE, PAGES);
	map_private(0, 8, RW);
	write_at(&one.map, 2, 5);
	assert_int_equal(cleave_map_extract(&one.map, &one.thread.map, AT(2), 2 * PAGE, other, 0, &addr), 0);
	assert_int_equal(fault_read(&one.world, other, addr, &value), 0);
	assert_int_equal(value, 5);
	assert_int_equal(fault_write(&one.world, other, addr + PAGE, 6), 0);
	assert_int_equal(read_at(&one.map, 3), 6);
	unmap(&one.map, 0, 8);
	assert_int_equal(pages_used(), 2 + spare());
	exit_map(other);
}

static void one_store_for_an_entry(void **state)
{
	struct cleave_map_entry entry, other;

	(void)state;
	map_private(0, 200, RW);
	write_at(&one.map, 100, 1);
	assert_int_equal(cleave_map_clip_start(&one.map, &one.thread.map, AT(100), NULL), 0);
	write_at(&one.map, 99, 2);
	write_at(&one.map, 150, 3);
	assert_int_equal(one.thread.counters.stores, 1);
	manual_enter(&one.domain);
	assert_true(cleave_map_lookup_rcu(&one.map, AT(99), &entry));
	assert_true(cleave_map_lookup_rcu(&one.map, AT(100), &other));
	manual_leave(&one.domain);
	assert_int_equal(entry.end, AT(100));
	assert_ptr_equal(cleave_space_store(&entry.attributes), cleave_space_store(&other.attributes));
	assert_int_equal(cleave_space_slot(&one.world.space, &other.attributes, AT(100)), 100);
	assert_int_equal(read_at(&one.map, 100), 1);
	/* What is cut off is freed at once, slots and all. */
	unmap(&one.map, 90, 110);
	assert_int_equal(pages_used(), 1 + spare());
	map_private(95, 8, RW);
	assert_int_equal(read_at(&one.map, 100), 0);
	assert_int_equal(read_at(&one.map, 150), 3);
}

static void private_objects(void **state)
{
	struct sim_object *object = fault_object(&one.world, 1000000, 16, true);

	(void)state;
	map_object(0, 16, object, RW, false);
	assert_int_equal(read_at(&one.map, 3), 1000000 + 3 * PAGE);
	assert_int_equal(one.thread.counters.slotless, 1);
	assert_int_equal(one.thread.counters.fetches, 1);
	assert_int_equal(one.thread.counters.stores, 0);
	assert_false(writable(&one.map, 3));
	write_at(&one.map, 3, 1);
	write_at(&one.map, 4, 2); /* without having been read, or being resident */
	assert_int_equal(one.thread.counters.promotions, 2);
	assert_int_equal(read_at(&one.map, 3), 1);
	assert_int_equal(read_at(&one.map, 5), 1000000 + 5 * PAGE);
	fault_object_evict(&one.world, object, 5 * PAGE);
	assert_int_equal(page_shown(&one.map, 5), 0);
	assert_int_equal(read_at(&one.map, 5), 1000000 + 5 * PAGE);
	/* Dropped, it shows the object again. */
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(3), AT(4), CLEAVE_CLEAN_FREE), 0);
	assert_int_equal(read_at(&one.map, 3), 1000000 + 3 * PAGE);
	fault_object_put(&one.world, object);
}

static void shared_objects(void **state)
{
	struct sim_object *object = fault_object(&one.world, 5000000, 16, false);
	struct cleave_map *child;

	(void)state;
	map_object(0, 8, object, RW, true);
	map_object(8, 8, object, CLEAVE_PROT_READ, true);
	assert_int_equal(read_at(&one.map, 1), 5000000 + PAGE);
	assert_false(writable(&one.map, 1)); /* so that the embedder learns of the first write */
	write_at(&one.map, 1, 9);
	assert_int_equal(read_at(&one.map, 9), 9); /* the same page of the object */
	assert_int_equal(one.thread.counters.stores, 0);
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_INHERIT_SHARE), 0);
	child = fork_map(&one.map);
	write_at(child, 1, 10);
	assert_int_equal(read_at(&one.map, 1), 10);
	exit_map(child);
	fault_object_put(&one.world, object);
}

/* Every fork keeps the object's page where nothing was written. */
static void private_objects_through_forks(void **state)
{
	struct sim_object *object = fault_object(&one.world, 7000000, 8, false);
	struct cleave_map *child;

	(void)state;
	map_object(0, 8, object, RW, false);
	write_at(&one.map, 0, 1);
	assert_int_equal(read_at(&one.map, 1), 7000000 + PAGE);
	child = fork_map(&one.map);
	write_at(child, 1, 2);
	write_at(child, 0, 3);
	assert_int_equal(read_at(&one.map, 0), 1);
	assert_int_equal(read_at(&one.map, 1), 7000000 + PAGE);
	exit_map(child);
	fault_object_put(&one.world, object);
}

/* Shared with a child that promotes a page: the parent must not go on showing the object's. */
static void promoted_in_a_shared_window(void **state)
{
	struct sim_object *object = fault_object(&one.world, 9000000, 8, false);
	struct cleave_map *child;

	(void)state;
	map_object(0, 8, object, RW, false);
	assert_int_equal(read_at(&one.map, 2), 9000000 + 2 * PAGE);
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_INHERIT_SHARE), 0);
	child = fork_map(&one.map);
	write_at(child, 2, 5);
	assert_int_equal(page_shown(&one.map, 2), 0);
	assert_int_equal(read_at(&one.map, 2), 5);
	exit_map(child);
	fault_object_put(&one.world, object);
}

/* ---- The zero page ---- */

static void zero_pages(void **state)
{
	struct cleave_map *child;
	uint32_t zero = (uint32_t)(one.world.ops.zero_page / 2);

	(void)state;
	map_private(0, 8, RW);
	assert_int_equal(read_at(&one.map, 0), 0);
	assert_int_equal(page_shown(&one.map, 0), zero);
	assert_int_equal(one.thread.counters.stores, 0);
	write_at(&one.map, 0, 1);
	assert_int_equal(read_at(&one.map, 0), 1);
	assert_int_equal(read_at(&one.map, 1), 0);
	/* Shared afterwards: who writes first takes the zero page from the others. */
	assert_int_equal(cleave_map_inherit(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_INHERIT_SHARE), 0);
	child = fork_map(&one.map);
	write_at(child, 1, 2);
	assert_int_equal(read_at(&one.map, 1), 2);
	assert_int_equal(read_at(child, 3), 0);
	exit_map(child);
	/* Wired memory has pages of its own. */
	assert_int_equal(cleave_map_wire(&one.map, &one.thread.map, AT(4), AT(6)), 0);
	assert_int_not_equal(page_shown(&one.map, 4), zero);
	protect(6, 8, CLEAVE_PROT_READ);
	assert_int_equal(cleave_map_wire(&one.map, &one.thread.map, AT(6), AT(8)), 0);
	assert_int_not_equal(page_shown(&one.map, 6), zero);
	assert_int_equal(one.world.pages[zero].wired.word, 0);
}

/* ---- Ahead ---- */

static void neighbours_are_entered_as_advised(void **state)
{
	struct sim_object *object = fault_object(&one.world, 1000000, 64, false);
	unsigned int n = 0;

	(void)state;
	map_object(0, 64, object, RW, false);
	map_private(100, 20, RW);
	advise(100, 120, CLEAVE_ADVICE_NORMAL);
	for (unsigned int i = 100; i < 120; i++)
		write_at(&one.map, i, i);
	advise(0, 64, CLEAVE_ADVICE_NORMAL);
	assert_int_equal(read_at(&one.map, 20), 1000000 + 20 * PAGE);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(page_shown(&one.map, i) != 0, i >= 17 && i <= 24);
	advise(30, 64, CLEAVE_ADVICE_SEQUENTIAL);
	assert_int_equal(read_at(&one.map, 33), 1000000 + 33 * PAGE);
	for (unsigned int i = 25; i < 64; i++)
		assert_int_equal(page_shown(&one.map, i) != 0, i >= 30 && i <= 40);
	assert_int_equal(read_at(&one.map, 60), 1000000 + 60 * PAGE);
	assert_int_equal(page_shown(&one.map, 51), 0);
	assert_int_not_equal(page_shown(&one.map, 52), 0);
	assert_int_not_equal(page_shown(&one.map, 63), 0);
	assert_int_equal(page_shown(&one.map, 64), 0);
	/* Pages of slots: what is swapped, or nowhere, is passed over. */
	assert_int_equal(evict(&one.map, 104), 1);
	n = page_shown(&one.map, 105);
	one.world.ops.remove(&one.world.ops, &one.map, AT(100), AT(120));
	assert_int_equal(read_at(&one.map, 106), 106);
	assert_int_equal(page_shown(&one.map, 104), 0);
	assert_int_equal(page_shown(&one.map, 105), n);
	assert_int_equal(page_shown(&one.map, 111), 0);
	assert_false(writable(&one.map, 105));
	/* A write brings nothing along. */
	one.world.ops.remove(&one.world.ops, &one.map, AT(100), AT(120));
	write_at(&one.map, 106, 6);
	assert_int_equal(page_shown(&one.map, 105), 0);
	fault_object_put(&one.world, object);
}

/* ---- Protection ---- */

static void protection_is_lost_and_won(void **state)
{
	(void)state;
	map_private(0, 8, RW);
	write_at(&one.map, 0, 1);
	write_at(&one.map, 1, 2);
	protect(0, 1, CLEAVE_PROT_READ);
	assert_false(writable(&one.map, 0));
	assert_int_equal(page_shown(&one.map, 0) != 0, one.world.ops.protect != NULL);
	assert_true(writable(&one.map, 1));
	assert_int_equal(touch(&one.map, 0, CLEAVE_PROT_WRITE), -EACCES);
	assert_int_equal(read_at(&one.map, 0), 1);
	protect(0, 1, CLEAVE_PROT_NONE);
	assert_int_equal(page_shown(&one.map, 0), 0);
	protect(0, 1, RW);
	write_at(&one.map, 0, 3);
	assert_int_equal(one.thread.counters.in_place, 1);
}

static void without_protect_pages_are_removed(void **state)
{
	struct cleave_map *child;

	one.world.ops.protect = NULL;
	one.world.ops.protect_page = NULL;
	protection_is_lost_and_won(state);
	child = fork_map(&one.map);
	assert_int_equal(page_shown(&one.map, 0), 0);
	write_at(&one.map, 0, 4);
	assert_int_equal(read_at(child, 0), 3);
	exit_map(child);
}

int main(int argc, char **argv)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, begin, end)
#define ZERO(test) cmocka_unit_test_setup_teardown(test, begin_zero, end)
	const struct CMUnitTest tests[] = {
		ROW(zero_fill),
		ROW(what_is_refused),
		ROW(a_fork_copies_what_is_written_first),
		ROW(forks_of_forks),
		ROW(read_then_write),
		ROW(shared_memory),
		ROW(extracted_memory),
		ROW(one_store_for_an_entry),
		ROW(private_objects),
		ROW(shared_objects),
		ROW(private_objects_through_forks),
		ROW(promoted_in_a_shared_window),
		ZERO(zero_pages),
		ROW(neighbours_are_entered_as_advised),
		ROW(protection_is_lost_and_won),
		ROW(without_protect_pages_are_removed),
	};

	return RUN_TESTS(tests, argc, argv);
}
