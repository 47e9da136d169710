/* SPDX-License-Identifier: ISC */
/* Faults of every kind, one thread. */
#include "fault_world.h"

#define BASE UINT64_C(0x10000)
#define PAGES 256u
#define AT(n) (BASE + (uint64_t)(n)*PAGE)

struct one {
	struct manual_domain domain;
	struct fault_world world;
	struct cleave_space_thread thread;
	struct cleave_map map;
};

static struct one one;

static void begin_with(bool zero)
{
	struct cleave_map_config config = { .min = BASE, .max = AT(PAGES), .page_shift = 12 };

	manual_start(&one.domain, GRACE_LATE, NULL, UINT64_C(1) << 40);
	fault_world_start(&one.world, &one.domain.domain, 4096, zero);
	fault_thread_start(&one.world, &one.thread, &one.domain.self);
	CHECK(cleave_map_init(&one.map, &one.thread.map, &config) == 0, "map");
	fault_table_add(&one.world, &one.map, BASE, PAGES);
}

static int begin(void **state)
{
	(void)state;
	begin_with(false);
	return 0;
}

static int begin_zero(void **state)
{
	(void)state;
	begin_with(true);
	return 0;
}

static int end(void **state)
{
	(void)state;
	fault_self = &one.thread;
	assert_int_equal(cleave_map_unmap(&one.map, &one.thread.map, BASE, AT(PAGES), CLEAVE_MAP_REMOVE_HOLES), 0);
	cleave_map_destroy(&one.map, &one.thread.map);
	fault_table_drop(&one.world, &one.map);
	fault_thread_stop(&one.thread);
	fault_world_stop(&one.world);
	manual_stop(&one.domain);
	return 0;
}

static void map_private(unsigned int from, unsigned int n, unsigned int protection)
{
	struct cleave_map_request request = fault_request(AT(from), n, protection);

	assert_int_equal(cleave_map_map(&one.map, &one.thread.map, &request), 0);
}

static uint64_t read_at(struct cleave_map *map, unsigned int n)
{
	uint64_t value = 0;
	int result = fault_read(&one.world, map, AT(n), &value);

	CHECK(result == 0, "page %u: %d", n, result);
	return value;
}

static void write_at(struct cleave_map *map, unsigned int n, uint64_t value)
{
	int result = fault_write(&one.world, map, AT(n), value);

	CHECK(result == 0, "page %u: %d", n, result);
}

static uint64_t pages_used(void)
{
	cleave_space_flush(&one.thread);
	return one.world.live.word;
}

/* A page is kept for the next fault. */
static uint64_t spare(void)
{
	return one.thread.spare != NULL;
}

static void protect(unsigned int from, unsigned int to, unsigned int protection)
{
	assert_int_equal(cleave_map_protect(&one.map, &one.thread.map, AT(from), AT(to), protection, 0, 0), 0);
}

static void advise(unsigned int from, unsigned int to, unsigned int advice)
{
	assert_int_equal(cleave_map_advise(&one.map, &one.thread.map, AT(from), AT(to), advice), 0);
}

static void unmap(struct cleave_map *map, unsigned int from, unsigned int to)
{
	assert_int_equal(cleave_map_unmap(map, &one.thread.map, AT(from), AT(to), CLEAVE_MAP_REMOVE_HOLES), 0);
}

static struct cleave_map *fork_map(struct cleave_map *parent)
{
	struct cleave_map *child = calloc(1, sizeof(*child));

	assert_non_null(child);
	fault_table_add(&one.world, child, BASE, PAGES);
	assert_int_equal(cleave_map_fork(parent, &one.thread.map, child), 0);
	return child;
}

static void exit_map(struct cleave_map *child)
{
	unmap(child, 0, PAGES);
	cleave_map_destroy(child, &one.thread.map);
	fault_table_drop(&one.world, child);
	free(child);
}

static uint32_t page_shown(struct cleave_map *map, unsigned int n)
{
	return (uint32_t)fault_shows(&one.world, map, AT(n), NULL);
}

static bool writable(struct cleave_map *map, unsigned int n)
{
	unsigned int protection;

	return fault_shows(&one.world, map, AT(n), &protection) && (protection & CLEAVE_PROT_WRITE);
}

static int touch(struct cleave_map *map, unsigned int n, unsigned int access)
{
	return cleave_fault(&one.thread, map, AT(n), access);
}

static size_t evict(struct cleave_map *map, unsigned int n)
{
	uint32_t page = page_shown(map, n);

	return page ? fault_evict(&one.world, &page, 1) : 0;
}

static void map_object(unsigned int from, unsigned int n, struct sim_object *object, unsigned int protection,
		       bool shared)
{
	struct cleave_map_request request = fault_request(AT(from), n, protection);

	request.object = object;
	request.entry_flags = shared ? 0 : CLEAVE_MAP_COW;
	__atomic_fetch_add(&object->refs.word, 1, __ATOMIC_RELAXED);
	assert_int_equal(cleave_map_map(&one.map, &one.thread.map, &request), 0);
}

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
	assert_int_equal(one.thread.counters.locked, 1);
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

		cleave_space_flush(
			&thread); /* what the first side displaced is the other's alone a grace period later */
		copies = thread.context->copies;
		assert_int_equal(fault_write(&world, map, base + 5 * PAGE, 1000 + side), 0);
		copies = thread.context->copies - copies;
		CHECK(side ? copies == 0 : copies == 4, "%llu nodes on side %u", LL(copies), side); /* levels */
		assert_int_equal(world.copied.word, 1);	       /* the second one has the old page for itself */
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
		ROW(swapped_pages_come_back_once),
		ROW(swap_that_fails),
		ROW(freed_pages_read_as_zeros),
		ROW(freed_leaves_go),
		ROW(shared_windows_are_only_deactivated),
		ROW(wired_pages_stay),
		ROW(a_wiring_follows_a_promotion),
		ROW(a_wiring_that_fails_leaves_nothing_wired),
		ROW(without_a_page_nothing_is_held),
		ROW(each_allocation_fails_in_turn),
		ROW(each_callback_fails_in_turn),
		ROW(after_eight_restarts_the_range_is_locked),
		ROW(a_fork_of_a_gibibyte_costs_one_path),
	};

	return RUN_TESTS(tests, argc, argv);
}
