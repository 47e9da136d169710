/* SPDX-License-Identifier: ISC */
/* Life of a map, lookups, snapshots, accounts. */
#include "map.h"

#define BATCH 16u /* cells looked at in one read section */

_Static_assert(offsetof(struct cleave_map, busy) % 64 == 0 && offsetof(struct cleave_map, wakeups) % 64 == 0 &&
		       offsetof(struct cleave_map, size_limit) % 64 == 0 &&
		       offsetof(struct cleave_map, stripes) % 64 == 0 && sizeof(struct cleave__map_stripe) == 64,
	       "what writers read, rare events, limits and stripes do not share cache lines");

static void enter(const struct cleave_map *map, struct cleave_map_thread *thread)
{
	map->maps->domain->ops->enter(map->maps->domain, thread->self);
}

static void leave(const struct cleave_map *map, struct cleave_map_thread *thread)
{
	map->maps->domain->ops->leave(map->maps->domain, thread->self);
}

/* ---- Life ---- */

static bool config_valid(const struct cleave_map_config *config)
{
	uint64_t mask;

	if (config->page_shift < 1 || config->page_shift > 30 || config->nselectors > CLEAVE_MAP_SELECTORS ||
	    config->stack_start > config->stack_end ||
	    (config->flags & ~(CLEAVE_MAP_GUARD_PAGES | CLEAVE_MAP_COALESCE | CLEAVE_MAP_NO_SLEEP | CLEAVE_MAP_LIMITS)))
		return false;
	mask = (UINT64_C(1) << config->page_shift) - 1;
	if (config->min >= config->max || ((config->min | config->max) & mask))
		return false;
	for (uint32_t i = 0; i < config->nselectors; i++) {
		const struct cleave_map_selector *one = &config->selectors[i];

		if (one->start >= one->end || ((one->start | one->end) & mask) || one->start < config->min ||
		    one->end > config->max || one->policy > CLEAVE_SELECT_HIGHEST ||
		    one->role > CLEAVE_SELECT_BRK_STACK)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (one->start < config->selectors[j].end && config->selectors[j].start < one->end)
				return false;
	}
	return true;
}

int cleave__map_setup(struct cleave_map *map, struct cleave_map_thread *thread, const struct cleave_map_config *config)
{
	memset(map, 0, sizeof(*map));
	map->maps = thread->maps;
	map->number = PORT_FETCH_ADD(&thread->maps->numbers, 1, PORT_RELAXED);
	map->config = *config;
	if (!config->nselectors) {
		map->config.nselectors = 1;
		map->config.selectors[0] = (struct cleave_map_selector){ config->min, config->max, CLEAVE_SELECT_LOWEST,
									 CLEAVE_SELECT_ANY };
	}
	PORT_STORE(&map->serial, 1, PORT_RELAXED);
	PORT_STORE(&map->references, 1, PORT_RELAXED);
	PORT_STORE(&map->size_limit, config->size_limit, PORT_RELAXED);
	PORT_STORE(&map->data_limit, config->data_limit, PORT_RELAXED);
	return cleave_init(&map->index, thread->self);
}

int cleave_map_init(struct cleave_map *map, struct cleave_map_thread *thread, const struct cleave_map_config *config)
{
	if (!config_valid(config))
		return -EINVAL;
	return cleave__map_setup(map, thread, config);
}

/* One entry of a map that nobody uses any more. */
static void destroy_entry(struct cleave_map *map, struct cleave_map_thread *thread, const struct cleave_entry *entry)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	struct cleave__map_object *object = entry->value;
	const struct cleave_map_attributes *attributes = &object->attributes;
	uint64_t n = (entry->last - entry->first + 1) >> map->config.page_shift;

	if (cleave__map_is_guard(object))
		return;
	if (attributes->wired && ops->unwire)
		ops->unwire(ops, map, entry->first, entry->last + 1);
	if (attributes->store && ops->window_drop)
		ops->window_drop(ops, attributes->store,
				 (entry->first + attributes->store_delta) >> map->config.page_shift, n);
	cleave__map_pages_drop(thread, object, n);
}

void cleave_map_destroy(struct cleave_map *map, struct cleave_map_thread *thread)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	struct cleave_visit visits[BATCH];
	struct cleave_cursor cursor;
	size_t n;

	if (ops->translate)
		ops->translate(ops, map, map->config.min, map->config.max, CLEAVE_MAP_REMOVE);
	cleave_cursor_init(&cursor, &map->index, 0, false);
	do {
		enter(map, thread);
		n = cleave_next_rcu(&cursor, visits, BATCH);
		leave(map, thread);
		for (size_t i = 0; i < n; i++)
			destroy_entry(map, thread, &visits[i].entry);
		cleave__map_tidy(thread, true);
	} while (n == BATCH);
	cleave_destroy(&map->index, thread->self);
}

void cleave_map_share(struct cleave_map *map)
{
	PORT_FETCH_ADD(&map->references, 1, PORT_RELAXED);
}

bool cleave_map_release(struct cleave_map *map, struct cleave_map_thread *thread)
{
	/* [P4-rel] [P4-acq] who gives the last reference back comes after all that others did with the map */
	if (PORT_FETCH_ADD(&map->references, (uint64_t)-1, PORT_ACQ_REL) != 1)
		return false;
	cleave_map_destroy(map, thread);
	return true;
}

/* ---- Lookups ---- */

bool cleave__map_border(const struct cleave_map *map, uint64_t low, uint64_t high, uint64_t *border)
{
	uint64_t highest = 0;
	bool found = false;

	for (uint32_t i = 0; i < 2 * map->config.nselectors; i++) {
		const struct cleave_map_selector *selector = &map->config.selectors[i / 2];
		uint64_t at = i % 2 ? selector->end : selector->start;

		if (at >= low && at <= high && at >= highest) {
			highest = at;
			found = true;
		}
	}
	if (found)
		*border = highest;
	return found;
}

uint64_t cleave__map_border_above(const struct cleave_map *map, uint64_t addr, uint64_t end)
{
	for (uint32_t i = 0; i < 2 * map->config.nselectors; i++) {
		const struct cleave_map_selector *selector = &map->config.selectors[i / 2];
		uint64_t at = i % 2 ? selector->end : selector->start;

		if (at > addr && at < end)
			end = at;
	}
	return end;
}

void cleave__map_describe(struct cleave_map_entry *entry, uint64_t start, uint64_t end,
			  const struct cleave__map_object *object)
{
	entry->start = start;
	entry->end = end;
	entry->guard = 0;
	entry->fspace = 0;
	if (object) {
		entry->version = object->version;
		entry->attributes = object->attributes;
	} else {
		entry->version = 0;
		memset(&entry->attributes, 0, sizeof(entry->attributes));
	}
}

/* A gap, trimmed to the map. */
static void trim(const struct cleave_map *map, const struct cleave_entry *gap, uint64_t *start, uint64_t *end)
{
	*start = gap->first < map->config.min ? map->config.min : gap->first;
	*end = gap->last > map->config.max - 1 ? map->config.max : gap->last + 1;
}

/*
 * `addr` is free or guarded.  A gap lies in the leaf of what is below it, so that the visits are of one instant; only
 * a guard can begin a leaf.
 */
static bool lookup_below(const struct cleave_map *map, uint64_t addr, struct cleave_map_entry *entry)
{
	struct cleave_visit visits[3];
	struct cleave_entry after;
	struct cleave_cursor cursor;
	uint64_t start, end, border, guard = 0;
	const struct cleave__map_object *object;
	size_t n, i = 0;

	cleave_cursor_init(&cursor, &map->index, addr + 1, true);
	n = cleave_previous_rcu(&cursor, visits, 3);
	object = visits[0].entry.value;
	if (cleave__map_is_entry(object)) { /* since the first look */
		cleave__map_describe(entry, visits[0].entry.first, visits[0].entry.last + 1, object);
		return cleave__map_is_mapped(object);
	}
	if (object) {
		start = end = visits[0].entry.last + 1;
		if (end < map->config.max && !cleave_lookup_rcu(&map->index, end, &after))
			trim(map, &after, &start, &end);
		/* A guard may be under a border: what is above it belongs to no entry then. */
		if (cleave__map_border(map, start, start, &border))
			end = start;
		guard = start - visits[0].entry.first;
		i = 1;
	} else {
		trim(map, &visits[0].entry, &start, &end);
		border = start;
		if (cleave__map_border(map, start, addr, &border) || start == map->config.min) {
			cleave__map_describe(entry, border, border, NULL);
			entry->fspace = cleave__map_border_above(map, border, end) - border;
			return false;
		}
		i = 1;
		if (cleave__map_is_guard(visits[1].entry.value)) {
			guard = visits[1].entry.last - visits[1].entry.first + 1;
			i = 2;
		}
	}
	PORT_ASSERT(i < n, "there are addresses below a guard, and below free space above the map's start");
	if (cleave__map_is_entry(visits[i].entry.value) && visits[i].entry.last + 1 == start - guard)
		cleave__map_describe(entry, visits[i].entry.first, visits[i].entry.last + 1, visits[i].entry.value);
	else
		cleave__map_describe(entry, start - guard, start - guard, NULL); /* it went between two leaves */
	entry->guard = guard;
	entry->fspace = cleave__map_border_above(map, start, end) - start;
	return false;
}

bool cleave_map_lookup_rcu(const struct cleave_map *map, uint64_t addr, struct cleave_map_entry *entry)
{
	const struct cleave__map_object *object;
	struct cleave_entry found;

	if (PORT_UNLIKELY(addr < map->config.min || addr >= map->config.max)) {
		cleave__map_describe(entry, 0, 0, NULL);
		return false;
	}
	object = cleave_lookup_rcu(&map->index, addr, &found);
	if (PORT_UNLIKELY(!cleave__map_is_entry(object)))
		return lookup_below(map, addr, entry);
	cleave__map_describe(entry, found.first, found.last + 1, object);
	return cleave__map_is_mapped(object);
}

static bool permits(void *context, const struct cleave_entry *entry)
{
	const struct cleave__map_object *object = entry->value;
	const unsigned int *protection = context;

	return cleave__map_is_mapped(object) && (*protection & ~(unsigned int)object->attributes.protection) == 0;
}

bool cleave_map_check_protection(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
				 unsigned int protection)
{
	if (start < map->config.min || end > map->config.max || start > end)
		return false;
	return start == end ||
	       cleave_covers(&map->index, thread->self, start, end - 1, permits, &protection, NULL) == 1;
}

bool cleave_map_inentry_rcu(const struct cleave_map *map, struct cleave_map_inentry *cache, uint64_t addr,
			    uint32_t flags)
{
	/* [P3-acq] who sees the new count sees the new entries */
	uint64_t serial = PORT_LOAD(&map->serial, PORT_ACQUIRE);
	struct cleave_map_entry entry;

	if (addr >= cache->start && addr < cache->end && cache->serial == serial)
		return true;
	if (!cleave_map_lookup_rcu(map, addr, &entry) || (entry.attributes.flags & flags) != flags)
		return false;
	cache->start = entry.start;
	cache->end = entry.end;
	cache->serial = serial;
	return true;
}

/* ---- Snapshots ---- */

struct snapshot {
	const struct cleave_map *map;
	struct cleave_map_entry *entries;
	size_t room;
	size_t n;
	struct cleave_map_entry open; /* whose free space is not known yet */
	bool has_open;
};

static bool flush(struct snapshot *snapshot)
{
	if (!snapshot->has_open)
		return true;
	if (snapshot->n == snapshot->room)
		return false;
	snapshot->entries[snapshot->n++] = snapshot->open;
	snapshot->has_open = false;
	return true;
}

/* Take one cell; false: the array is full. */
static bool take(struct snapshot *snapshot, const struct cleave_visit *visit)
{
	const struct cleave_map *map = snapshot->map;
	struct cleave_map_entry *open = &snapshot->open;
	struct cleave_entry cell = { visit->first, visit->last, visit->entry.value };
	uint64_t start, end, border;

	if (cell.value && cleave__map_is_entry(cell.value)) {
		if (!flush(snapshot))
			return false;
		cleave__map_describe(open, cell.first, cell.last + 1, cell.value);
		snapshot->has_open = true;
		return true;
	}
	if (cell.value) {
		if (snapshot->has_open && open->end == cell.first)
			open->guard = cell.last - cell.first + 1;
		return true;
	}
	trim(map, &cell, &start, &end);
	if (snapshot->has_open && open->end + open->guard == start && !cleave__map_border(map, start, start, &border)) {
		open->fspace = cleave__map_border_above(map, start, end) - start;
		start += open->fspace;
	}
	while (start < end) {
		if (!flush(snapshot))
			return false;
		cleave__map_describe(open, start, start, NULL);
		open->fspace = cleave__map_border_above(map, start, end) - start;
		snapshot->has_open = true;
		start += open->fspace;
	}
	return true;
}

int cleave_map_snapshot(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t *from,
			struct cleave_map_entry *entries, size_t *n)
{
	struct snapshot snapshot = { .map = map, .entries = entries, .room = *n };
	struct cleave_visit visits[BATCH];
	struct cleave_cursor cursor;
	struct cleave_map_entry first;
	bool full = false;
	size_t seen;

	*n = 0;
	if (*from < map->config.min)
		*from = map->config.min;
	if (*from >= map->config.max)
		return 0;
	enter(map, thread);
	(void)cleave_map_lookup_rcu(map, *from, &first);
	cleave_cursor_init(&cursor, &map->index, first.start, true);
	do {
		seen = cleave_next_rcu(&cursor, visits, BATCH);
		for (size_t i = 0; i < seen && !full && visits[i].first < map->config.max; i++)
			full = !take(&snapshot, &visits[i]);
		leave(map, thread);
		enter(map, thread);
	} while (!full && seen == BATCH && visits[seen - 1].last < map->config.max);
	leave(map, thread);
	if (!full)
		full = !flush(&snapshot);
	*n = snapshot.n;
	if (full)
		*from = snapshot.open.start;
	return full ? -ENOMEM : 0;
}

int cleave_map_snapshot_locked(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t *from,
			       struct cleave_map_entry *entries, size_t *n)
{
	struct cleave_txn txn;
	int result;

	(void)cleave_begin(&txn, &map->index, thread->self, map->config.min, map->config.max - 1);
	result = cleave_map_snapshot(map, thread, from, entries, n);
	cleave_abort(&txn);
	return result;
}

/* ---- Accounts ---- */

void cleave_map_account(struct cleave_map *map, struct cleave_map_thread *thread, struct cleave_map_accounts *accounts)
{
	struct cleave_visit visits[BATCH];
	struct cleave_cursor cursor;
	size_t n;

	memset(accounts, 0, sizeof(*accounts));
	for (uint32_t i = 0; i < CLEAVE_MAP_STRIPES; i++) {
		accounts->size += PORT_LOAD(&map->stripes[i].size, PORT_RELAXED);
		accounts->data += PORT_LOAD(&map->stripes[i].data, PORT_RELAXED);
	}
	accounts->serial = PORT_LOAD(&map->serial, PORT_RELAXED);
	cleave_cursor_init(&cursor, &map->index, 0, false);
	do {
		enter(map, thread);
		n = cleave_next_rcu(&cursor, visits, BATCH);
		leave(map, thread);
		for (size_t i = 0; i < n; i++)
			accounts->entries += cleave__map_is_entry(visits[i].entry.value);
	} while (n == BATCH);
}

int cleave_map_set_limits(struct cleave_map *map, uint64_t size_limit, uint64_t data_limit)
{
	if (!(map->config.flags & CLEAVE_MAP_LIMITS))
		return -EINVAL;
	PORT_STORE(&map->size_limit, size_limit, PORT_RELAXED);
	PORT_STORE(&map->data_limit, data_limit, PORT_RELAXED);
	return 0;
}
