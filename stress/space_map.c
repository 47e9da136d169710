/* SPDX-License-Identifier: ISC */
#include "space_map.h"

#include <cleave/section.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 64

/* A file. */
struct object {
	uint32_t number;
	int64_t references;
};

struct space_map {
	struct cleave_domain domain;
	unsigned int sections; /* that the thread is in */
	uint64_t cookies;
	struct cleave_thread self;
	struct cleave_map_ops ops;
	struct cleave_maps maps;
	struct cleave_map_thread thread;
	struct cleave_map_config config;
	struct cleave_map **process; /* process p is process[p - 1]; NULL: not alive */
	uint32_t processes;
	struct object **object; /* object o is object[o - 1] */
	uint32_t objects;
	struct space_map_figures figures;
};

/* ---- The domain ---- */

static struct space_map *space_of(struct cleave_domain *domain)
{
	return (struct space_map *)domain;
}

static uint64_t take_cookie(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	return ++space_of(domain)->cookies;
}

static bool cookie_done(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	(void)self;
	(void)cookie;
	return !space_of(domain)->sections;
}

static void cookie_wait(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	if (!cookie_done(domain, self, cookie))
		abort(); /* it waits for itself */
}

static void enter(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	space_of(domain)->sections++;
}

static void leave(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	space_of(domain)->sections--;
}

static int inside(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	return space_of(domain)->sections > 0;
}

static void park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *count, uint32_t seen)
{
	(void)domain;
	(void)self;
	(void)count;
	(void)seen;
	abort(); /* nobody else is there who could wake it */
}

static void wake(struct cleave_domain *domain, struct cleave_word32 *count)
{
	(void)domain;
	(void)count;
}

/* ---- Objects ---- */

static void object_ref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)flags;
	((struct object *)object)->references++;
}

static void object_unref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)flags;
	if (--((struct object *)object)->references < 0)
		abort();
}

static struct object *object_of(struct space_map *map, uint32_t number)
{
	if (number > map->objects) {
		struct object **grown = realloc(map->object, number * sizeof(struct object *));

		if (!grown)
			return NULL;
		map->object = grown;
		while (map->objects < number)
			map->object[map->objects++] = NULL;
	}
	if (!map->object[number - 1]) {
		map->object[number - 1] = calloc(1, sizeof(struct object));
		if (map->object[number - 1])
			map->object[number - 1]->number = number;
		map->figures.objects++;
	}
	return map->object[number - 1];
}

/* ---- Life ---- */

int space_map_create(struct space_map **out, uint64_t page_size, bool join)
{
	static const struct cleave_ops ops = {
		.cookie = take_cookie,
		.cookie_stored = take_cookie,
		.done = cookie_done,
		.wait = cookie_wait,
		.enter = enter,
		.leave = leave,
		.inside = inside,
		.park = park,
		.wake = wake,
	};
	struct space_map *map = aligned_alloc(64, (sizeof(*map) + 63) & ~(size_t)63);

	*out = map;
	if (!map)
		return -ENOMEM;
	memset(map, 0, sizeof(*map));
	map->ops = (struct cleave_map_ops){ .object_ref = object_ref, .object_unref = object_unref };
	map->config = (struct cleave_map_config){
		.min = page_size,
		.max = UINT64_MAX / page_size * page_size,
		.flags = join ? CLEAVE_MAP_COALESCE : 0,
	};
	while (UINT64_C(1) << map->config.page_shift < page_size)
		map->config.page_shift++;
	cleave_domain_init(&map->domain, &ops, &cleave_memory_libc, NULL, 1024);
	cleave_thread_init(&map->self, &map->domain);
	cleave_maps_init(&map->maps, &map->domain, &map->ops);
	cleave_map_thread_init(&map->thread, &map->maps, &map->self);
	return 0;
}

static void end_process(struct space_map *map, uint32_t number)
{
	struct cleave_map *process = map->process[number - 1];

	if (process) {
		cleave_map_destroy(process, &map->thread);
		free(process);
	}
	map->process[number - 1] = NULL;
}

size_t space_map_destroy(struct space_map *map)
{
	size_t left = 0;

	if (!map)
		return 0;
	for (uint32_t i = 1; i <= map->processes; i++)
		end_process(map, i);
	cleave_map_thread_exit(&map->thread);
	for (uint32_t i = 0; i < map->objects; i++) {
		left += map->object[i] && map->object[i]->references;
		free(map->object[i]);
	}
	cleave_thread_exit(&map->self);
	cleave_domain_exit(&map->domain);
	free(map->process);
	free(map->object);
	free(map);
	return left;
}

static struct cleave_map *find_process(const struct space_map *map, uint32_t number)
{
	return number >= 1 && number <= map->processes ? map->process[number - 1] : NULL;
}

/* An empty map, or a fork of the parent's. */
static int begin(struct space_map *map, const struct space_effect *effect)
{
	struct cleave_map *parent = effect->kind == SPACE_FORK ? find_process(map, effect->other) : NULL;
	struct cleave_map *process;
	int error;

	if (effect->kind == SPACE_FORK && !parent)
		return -EINVAL;
	if (effect->process > map->processes) {
		struct cleave_map **grown = realloc(map->process, effect->process * sizeof(struct cleave_map *));

		if (!grown)
			return -ENOMEM;
		map->process = grown;
		while (map->processes < effect->process)
			map->process[map->processes++] = NULL;
	}
	end_process(map, effect->process);
	process = aligned_alloc(64, (sizeof(*process) + 63) & ~(size_t)63);
	if (!process)
		return -ENOMEM;
	error = parent ? cleave_map_fork(parent, &map->thread, process)
		       : cleave_map_init(process, &map->thread, &map->config);
	if (error) {
		free(process);
		return error;
	}
	map->figures.forks += parent != NULL;
	map->process[effect->process - 1] = process;
	return 0;
}

/* ---- Changes ---- */

static int put(struct space_map *map, struct cleave_map *process, const struct space_range *range)
{
	bool shared = range->attributes & TRACE_SHARED, stack = range->attributes & TRACE_GROWS_DOWN;
	struct object *object = range->object ? object_of(map, range->object) : NULL;
	struct cleave_map_request request = {
		.addr = range->start,
		.size = range->end - range->start,
		.object = object,
		.offset = range->offset,
		.flags = CLEAVE_MAP_FIXED | CLEAVE_MAP_REPLACE,
		.entry_flags = (shared ? 0 : CLEAVE_MAP_COW) | (stack ? CLEAVE_MAP_STACK : 0),
		.protection = (uint8_t)(range->attributes & TRACE_PROT),
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = shared ? CLEAVE_INHERIT_SHARE : CLEAVE_INHERIT_COPY,
	};
	int error = 0;

	if (range->object && !object)
		return -ENOMEM;
	if (range->attributes & SPACE_NO_FORK)
		request.inheritance = CLEAVE_INHERIT_NONE;
	/* A stack replaces only what is all mapped. */
	if (stack) {
		error = cleave_map_unmap(process, &map->thread, range->start, range->end, 0);
		request.flags = CLEAVE_MAP_FIXED;
	}
	if (error)
		return error;
	if (object)
		object->references++;
	error = cleave_map_map(process, &map->thread, &request);
	if (error && object)
		object->references--;
	return error;
}

static bool lookup(struct space_map *map, struct cleave_map *process, uint64_t addr, struct cleave_map_entry *entry)
{
	bool mapped;

	enter(&map->domain, &map->self);
	mapped = cleave_map_lookup_rcu(process, addr, entry);
	leave(&map->domain, &map->self);
	return mapped;
}

/* Forks leave it out; or they do what its kind of mapping is for. */
static int advise(struct space_map *map, uint32_t number, const struct space_range *range)
{
	struct cleave_map *process = find_process(map, number);
	struct cleave_map_entry entry;
	struct space_range piece;
	uint64_t at = range->start;
	int error = 0;

	if (range->attributes & SPACE_NO_FORK)
		return cleave_map_inherit(process, &map->thread, range->start, range->end, CLEAVE_INHERIT_NONE);
	while (!error && space_map_next(map, number, at, &piece) && piece.start < range->end) {
		uint64_t start = piece.start > at ? piece.start : at;

		at = piece.end < range->end ? piece.end : range->end;
		lookup(map, process, start, &entry);
		error = cleave_map_inherit(process, &map->thread, start, at,
					   entry.attributes.flags & CLEAVE_MAP_COW ? CLEAVE_INHERIT_COPY
										   : CLEAVE_INHERIT_SHARE);
	}
	return error;
}

int space_map_effect(void *context, const struct space_effect *effect)
{
	struct space_map *map = context;
	const struct space_range *range = &effect->range;
	struct cleave_map *process;

	if (effect->kind == SPACE_EXEC || effect->kind == SPACE_FORK)
		return begin(map, effect);
	process = find_process(map, effect->process);
	if (!process)
		return -EINVAL;
	switch (effect->kind) {
	case SPACE_EXIT:
		end_process(map, effect->process);
		return 0;
	case SPACE_MAP:
	case SPACE_GROW:
		return put(map, process, range);
	case SPACE_UNMAP:
		return cleave_map_unmap(process, &map->thread, range->start, range->end, 0);
	case SPACE_PROTECT:
		return cleave_map_protect(process, &map->thread, range->start, range->end,
					  range->attributes & TRACE_PROT, 0, 0);
	case SPACE_ADVISE:
		return advise(map, effect->process, range);
	default:
		return 0;
	}
}

/* ---- What is there ---- */

static struct space_range range_of(const struct cleave_map_entry *entry)
{
	const struct cleave_map_attributes *attributes = &entry->attributes;
	const struct object *object = attributes->object;
	struct space_range range = {
		.start = entry->start,
		.end = entry->end,
		.offset = cleave_map_offset(entry),
		.object = object ? object->number : 0,
		.attributes = attributes->protection,
	};

	if (!(attributes->flags & CLEAVE_MAP_COW))
		range.attributes |= TRACE_SHARED;
	if (attributes->flags & CLEAVE_MAP_STACK)
		range.attributes |= TRACE_GROWS_DOWN;
	if (attributes->inheritance == CLEAVE_INHERIT_NONE)
		range.attributes |= SPACE_NO_FORK;
	return range;
}

/* The free space of an entry is its own: what comes next begins behind that. */
bool space_map_next(void *context, uint32_t number, uint64_t from, struct space_range *range)
{
	struct space_map *map = context;
	struct cleave_map *process = find_process(map, number);
	struct cleave_map_entry entry;
	uint64_t at = from;

	if (!process || from >= map->config.max)
		return false;
	if (at < map->config.min)
		at = map->config.min;
	if (!lookup(map, process, at, &entry)) {
		at = entry.end + entry.guard + entry.fspace;
		if (at >= map->config.max || !lookup(map, process, at, &entry))
			return false;
	}
	*range = range_of(&entry);
	return true;
}

/* All entries, joined where they differ in nothing that a snapshot shows. */
static size_t read_all(struct space_map *map, struct cleave_map *process, struct space_range **ranges)
{
	struct cleave_map_entry entries[BATCH];
	uint64_t from = map->config.min;
	size_t n = 0, room = 0, got;
	uint64_t total = 0;
	int more;

	*ranges = NULL;
	do {
		got = BATCH;
		more = cleave_map_snapshot(process, &map->thread, &from, entries, &got);
		for (size_t i = 0; i < got; i++) {
			struct space_range range = range_of(&entries[i]), *last = n ? &(*ranges)[n - 1] : NULL;

			if (range.start == range.end)
				continue;
			total++;
			range.attributes &= ~SPACE_NO_FORK;
			if (last && last->end == range.start && last->attributes == range.attributes &&
			    last->object == range.object &&
			    (!last->object || last->offset + (last->end - last->start) == range.offset)) {
				last->end = range.end;
				continue;
			}
			if (n == room) {
				room = room ? 2 * room : 256;
				*ranges = realloc(*ranges, room * sizeof(**ranges));
				if (!*ranges)
					abort();
			}
			(*ranges)[n++] = range;
		}
	} while (more == -ENOMEM);
	if (total > map->figures.peak_entries)
		map->figures.peak_entries = total;
	return n;
}

/* Where both sides of a piece begin and end does not matter: go from border to border of either. */
bool space_map_matches(struct space_map *map, uint32_t number, const struct trace_range *snapshot, size_t count,
		       struct space_difference *difference)
{
	struct cleave_map *process = find_process(map, number);
	struct space_range *ranges = NULL;
	size_t n = process ? read_all(map, process, &ranges) : 0, i = 0, j = 0;
	bool same = true;
	uint64_t at = 0;

	while (same && (i < n || j < count)) {
		const struct space_range *left = i < n && ranges[i].start <= at ? &ranges[i] : NULL;
		const struct trace_range *right = j < count && snapshot[j].start <= at ? &snapshot[j] : NULL;
		uint64_t left_border = left ? left->end : i < n ? ranges[i].start : UINT64_MAX;
		uint64_t right_border = right ? right->end : j < count ? snapshot[j].start : UINT64_MAX;
		uint64_t border = left_border < right_border ? left_border : right_border;

		same = !left == !right;
		if (left && right)
			same = left->attributes == right->attributes && left->object == right->object &&
			       (!left->object || left->offset - left->start == right->offset - right->start);
		if (!same)
			*difference = (struct space_difference){
				.start = at,
				.end = border,
				.has_model = left,
				.has_snapshot = right,
				.model = left ? *left : (struct space_range){ 0 },
				.snapshot = right ? *right : (struct trace_range){ 0 },
			};
		i += left && left->end == border;
		j += right && right->end == border;
		at = border;
	}
	free(ranges);
	return same;
}

size_t space_map_verify(struct space_map *map, uint32_t number, struct cleave_lines *lines)
{
	struct cleave_map *process = find_process(map, number);

	return process ? cleave_map_verify(process, &map->thread, lines) : 0;
}

void space_map_figures(const struct space_map *map, struct space_map_figures *figures)
{
	*figures = map->figures;
}
