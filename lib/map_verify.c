/* SPDX-License-Identifier: ISC */
/* The validator: does a map at rest agree with its own invariants? */
#include "map.h"

struct verify {
	struct cleave_map *map;
	struct cleave_map_thread *thread;
	struct cleave_lines *lines;
	size_t violations;
};

static void complain(struct verify *verify, const char *text)
{
	verify->violations++;
	if (verify->lines)
		verify->lines->line(verify->lines, text);
}

/* An object and the pages found under it. */
struct tally {
	const struct cleave__map_object *object;
	uint64_t pages;
};

/* Heap sort by address: no recursion, no memory. */
static void sift(struct tally *tallies, size_t at, size_t n)
{
	for (;;) {
		size_t child = 2 * at + 1;
		struct tally swapped;

		if (child >= n)
			return;
		if (child + 1 < n && (uintptr_t)tallies[child + 1].object > (uintptr_t)tallies[child].object)
			child++;
		if ((uintptr_t)tallies[at].object >= (uintptr_t)tallies[child].object)
			return;
		swapped = tallies[at];
		tallies[at] = tallies[child];
		tallies[child] = swapped;
		at = child;
	}
}

static void sort(struct tally *tallies, size_t n)
{
	for (size_t i = n / 2; i--;)
		sift(tallies, i, n);
	for (size_t i = n; i > 1; i--) {
		struct tally top = tallies[0];

		tallies[0] = tallies[i - 1];
		tallies[i - 1] = top;
		sift(tallies, 0, i - 1);
	}
}

/* Every object counts exactly the pages under it; more, where other threads count for themselves. */
static void check_pages(struct verify *verify, struct tally *tallies, size_t n)
{
	bool exact = PORT_LOAD(&verify->map->maps->threads, PORT_RELAXED) <= 1;

	sort(tallies, n);
	for (size_t i = 0, j; i < n; i = j) {
		uint64_t pages = 0, counted = PORT_LOAD(&tallies[i].object->pages, PORT_RELAXED);

		for (j = i; j < n && tallies[j].object == tallies[i].object; j++)
			pages += tallies[j].pages;
		if (exact ? counted != pages : counted < pages)
			complain(verify, "an object's page count is not what is mapped under it");
	}
}

/* A run of unmapped space: its guard, and what is below and above. */
static void check_run(struct verify *verify, uint64_t start, uint64_t guard, uint64_t end)
{
	uint64_t page = cleave__map_page(verify->map), want = 0;

	if (start == end)
		return;
	if ((verify->map->config.flags & CLEAVE_MAP_GUARD_PAGES) && start > verify->map->config.min)
		want = end - start == 2 * page ? 2 * page : page;
	if (guard != want)
		complain(verify, "a guard is not where and as long as it should be");
}

static void check_object(struct verify *verify, const struct cleave_entry *cell,
			 const struct cleave__map_object *object)
{
	const struct cleave_map_attributes *attributes = &object->attributes;
	const struct cleave_map *map = verify->map;

	if (cell->first < map->config.min || cell->last >= map->config.max ||
	    !cleave__map_aligned(map, cell->first | (cell->last + 1)))
		complain(verify, "an entry is unaligned or outside of the map");
	if (object->version == 0 || (attributes->protection & ~attributes->max_protection) ||
	    (!attributes->object && attributes->delta) || (!attributes->store && attributes->store_delta))
		complain(verify, "attributes contradict each other");
	if ((attributes->flags & CLEAVE_MAP_IN_TRANSITION) || (attributes->wired && !attributes->protection))
		complain(verify, "a wiring was left over");
}

/* Walk all cells; `tallies` may be NULL: only count. */
static size_t walk(struct verify *verify, struct tally *tallies, struct cleave__map_bytes *bytes)
{
	const struct cleave_map *map = verify->map;
	struct cleave_domain *domain = map->maps->domain;
	uint64_t run = map->config.min, guard = 0;
	struct cleave_visit visits[16];
	struct cleave_cursor cursor;
	size_t seen, n = 0;

	cleave_cursor_init(&cursor, &map->index, 0, false);
	do {
		domain->ops->enter(domain, verify->thread->self);
		seen = cleave_next_rcu(&cursor, visits, 16);
		domain->ops->leave(domain, verify->thread->self);
		for (size_t i = 0; i < seen; i++) {
			const struct cleave_entry *cell = &visits[i].entry;
			const struct cleave__map_object *object = cell->value;

			if (!tallies) {
				n++;
				continue;
			}
			if (cleave__map_is_guard(object)) {
				if (cell->first != run)
					complain(verify, "a guard does not follow an entry");
				guard = cell->last - cell->first + 1;
				continue;
			}
			check_run(verify, run, guard, cell->first);
			check_object(verify, cell, object);
			tallies[n++] =
				(struct tally){ object, (cell->last - cell->first + 1) >> map->config.page_shift };
			if (cleave__map_is_mapped(object))
				bytes->size += cell->last - cell->first + 1;
			bytes->data += cleave__map_data(map, object, cell->first, cell->last + 1);
			run = cell->last + 1;
			guard = 0;
		}
	} while (seen == 16);
	if (tallies)
		check_run(verify, run, guard, map->config.max);
	return n;
}

size_t cleave_map_verify(struct cleave_map *map, struct cleave_map_thread *thread, struct cleave_lines *lines)
{
	const struct cleave_memory *memory = map->maps->domain->memory;
	struct verify verify = { .map = map, .thread = thread, .lines = lines };
	struct cleave__map_bytes bytes = { 0 };
	struct cleave_map_accounts accounts;
	struct tally *tallies;
	size_t n, size;

	cleave_map_thread_flush(thread, false);
	verify.violations = cleave_check(&map->index, lines);
	n = walk(&verify, NULL, NULL);
	size = (n + 1) * sizeof(*tallies);
	tallies = memory->alloc(memory, size, 16);
	if (!tallies) {
		complain(&verify, "no memory to verify with");
		return verify.violations;
	}
	n = walk(&verify, tallies, &bytes);
	check_pages(&verify, tallies, n);
	memory->free(memory, tallies, size);
	cleave_map_account(map, thread, &accounts);
	if (accounts.size != bytes.size || accounts.data != bytes.data)
		complain(&verify, "the accounts are not what is mapped");
	if ((map->config.flags & CLEAVE_MAP_LIMITS) &&
	    (PORT_LOAD(&map->size, PORT_RELAXED) != bytes.size || PORT_LOAD(&map->data, PORT_RELAXED) != bytes.data))
		complain(&verify, "the limits' counters are not what is mapped");
	return verify.violations;
}
