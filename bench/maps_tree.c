/* SPDX-License-Identifier: ISC */
#include "layout.h"
#include "maps.h"

#include <bsd/sys/tree.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define SIZE 128 /* of a cleave_map's attribute objects, and of all that is allocated here */

struct tree_entry {
	RB_ENTRY(tree_entry) link;
	uint64_t start;
	uint64_t end;
	struct cleave_map_attributes attributes;
	struct tree_object *object; /* instead of the attributes */
};

/* Attributes that do not change while somebody may look at them: as lookups without the lock would need them. */
struct tree_object {
	struct cleave_map_attributes attributes;
	size_t entries;
};

_Static_assert(sizeof(struct tree_entry) <= SIZE && sizeof(struct tree_object) <= SIZE, "they fit");

RB_HEAD(tree, tree_entry);

struct tree_map {
	pthread_rwlock_t lock;
	struct tree tree;
	const struct cleave_memory *memory;
	size_t entries;
	bool objects;
};

static int compare(const struct tree_entry *a, const struct tree_entry *b)
{
	return (a->start > b->start) - (a->start < b->start);
}

RB_GENERATE_INTERNAL(tree, tree_entry, link, compare, __attribute__((unused)) static)

struct tree_map *tree_map_make(const struct cleave_memory *memory, bool objects)
{
	struct tree_map *map = need(calloc(1, sizeof(*map)));

	pthread_rwlock_init(&map->lock, NULL);
	RB_INIT(&map->tree);
	map->memory = memory;
	map->objects = objects;
	return map;
}

static void drop_object(struct tree_map *map, struct tree_object *object)
{
	if (object && --object->entries == 0)
		map->memory->free(map->memory, object, SIZE);
}

void tree_map_destroy(struct tree_map *map)
{
	struct tree_entry *entry;

	while ((entry = RB_ROOT(&map->tree)) != NULL) {
		RB_REMOVE(tree, &map->tree, entry);
		drop_object(map, entry->object);
		map->memory->free(map->memory, entry, SIZE);
	}
	pthread_rwlock_destroy(&map->lock);
	free(map);
}

static void *new (struct tree_map *map)
{
	return map->memory->alloc(map->memory, SIZE, 64);
}

static const struct cleave_map_attributes *attributes_of(const struct tree_entry *entry)
{
	return entry->object ? &entry->object->attributes : &entry->attributes;
}

static int set_attributes(struct tree_map *map, struct tree_entry *entry,
			  const struct cleave_map_attributes *attributes)
{
	struct tree_object *object = map->objects ? new (map) : NULL;

	if (map->objects && !object)
		return -ENOMEM;
	if (object)
		*object = (struct tree_object){ *attributes, 1 };
	else
		entry->attributes = *attributes;
	drop_object(map, entry->object);
	entry->object = object;
	return 0;
}

static void copy_entry(struct tree_entry *to, const struct tree_entry *from)
{
	*to = *from;
	if (to->object)
		to->object->entries++;
}

static void add(struct tree_map *map, struct tree_entry *entry)
{
	RB_INSERT(tree, &map->tree, entry);
	map->entries++;
}

int tree_map_insert(struct tree_map *map, uint64_t start, uint64_t end, const struct cleave_map_attributes *attributes)
{
	struct tree_entry *entry = new (map);

	if (!entry)
		return -ENOMEM;
	entry->start = start;
	entry->end = end;
	entry->object = NULL;
	if (set_attributes(map, entry, attributes)) {
		map->memory->free(map->memory, entry, SIZE);
		return -ENOMEM;
	}
	pthread_rwlock_wrlock(&map->lock);
	add(map, entry);
	pthread_rwlock_unlock(&map->lock);
	return 0;
}

/* The first entry that ends above `addr`. */
static struct tree_entry *find(struct tree_map *map, uint64_t addr)
{
	struct tree_entry *entry = RB_ROOT(&map->tree), *found = NULL;

	while (entry) {
		if (entry->end > addr) {
			found = entry;
			if (entry->start <= addr)
				break;
			entry = RB_LEFT(entry, link);
		} else {
			entry = RB_RIGHT(entry, link);
		}
	}
	return found;
}

/* The entry keeps the upper part. */
static int clip_start(struct tree_map *map, struct tree_entry *entry, uint64_t addr)
{
	struct tree_entry *lower;

	if (addr <= entry->start)
		return 0;
	lower = new (map);
	if (!lower)
		return -ENOMEM;
	copy_entry(lower, entry);
	lower->end = addr;
	entry->start = addr; /* still above the one before and below the next: it stays where it is */
	add(map, lower);
	return 0;
}

/* The entry keeps the lower part. */
static int clip_end(struct tree_map *map, struct tree_entry *entry, uint64_t addr)
{
	struct tree_entry *upper;

	if (addr >= entry->end)
		return 0;
	upper = new (map);
	if (!upper)
		return -ENOMEM;
	copy_entry(upper, entry);
	upper->start = addr;
	entry->end = addr;
	add(map, upper);
	return 0;
}

static int check(struct tree_entry *first, uint64_t end, unsigned int protection)
{
	for (struct tree_entry *entry = first; entry && entry->start < end; entry = RB_NEXT(tree, NULL, entry)) {
		if (attributes_of(entry)->flags & CLEAVE_MAP_IMMUTABLE)
			return -EPERM;
		if (protection & ~(unsigned int)attributes_of(entry)->max_protection)
			return -EACCES;
	}
	return 0;
}

int tree_map_protect(struct tree_map *map, uint64_t start, uint64_t end, unsigned int protection)
{
	struct tree_entry *first;
	int error;

	pthread_rwlock_wrlock(&map->lock);
	first = find(map, start);
	error = check(first, end, protection);
	for (struct tree_entry *entry = first; !error && entry && entry->start < end;
	     entry = RB_NEXT(tree, NULL, entry)) {
		struct cleave_map_attributes attributes = *attributes_of(entry);

		if (attributes.protection == protection)
			continue;
		attributes.protection = (uint8_t)protection;
		error = clip_start(map, entry, start);
		if (!error)
			error = clip_end(map, entry, end);
		if (!error)
			error = set_attributes(map, entry, &attributes);
	}
	pthread_rwlock_unlock(&map->lock);
	return error;
}

size_t tree_map_entries(struct tree_map *map)
{
	return map->entries;
}
