/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "layout.h"
#include "maps.h"

/* Kept at each node: the largest free space of its subtree.  A rotation calls this for what it moves. */
struct tree_entry;
static inline void augment(struct tree_entry *entry);
#define RB_AUGMENT(entry) augment(entry)
#include <bsd/sys/tree.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define SIZE 128 /* of a cleave_map's attribute objects, and of all that is allocated here */

/* Attributes that do not change while somebody may look at them. */
struct tree_object {
	struct cleave_map_attributes attributes;
	size_t entries;
};

/* It owns [start, end) and `fspace` bytes of free space above. */
struct tree_entry {
	RB_ENTRY(tree_entry) link;
	uint64_t start;
	uint64_t end;
	uint64_t fspace;
	uint64_t largest; /* free space in its subtree */
	union {
		struct cleave_map_attributes attributes;
		struct tree_object *object; /* TREE_UVM_OBJECTS */
	};
};

_Static_assert(sizeof(struct tree_entry) <= SIZE && sizeof(struct tree_object) <= SIZE, "they fit");

RB_HEAD(tree, tree_entry);

struct tree_map {
	pthread_rwlock_t lock;
	struct tree tree;
	const struct cleave_memory *memory;
	enum tree_kind kind;
	uint64_t min, max;
	struct cleave_word busy; /* who made the map busy: nobody does */
	uint64_t timestamp;
	uint64_t data;
	size_t entries;
	void (*translate)(struct tree_map *map, uint64_t start, uint64_t end); /* pmap_protect(): none here */
};

/* ---- The tree ---- */

static int compare(const struct tree_entry *a, const struct tree_entry *b)
{
	return (a->start > b->start) - (a->start < b->start);
}

static inline uint64_t largest_below(const struct tree_entry *entry)
{
	const struct tree_entry *left = RB_LEFT(entry, link), *right = RB_RIGHT(entry, link);
	uint64_t largest = entry->fspace;

	if (left && left->largest > largest)
		largest = left->largest;
	if (right && right->largest > largest)
		largest = right->largest;
	return largest;
}

/* Up to where nothing changes. */
static inline void augment(struct tree_entry *entry)
{
	for (; entry; entry = RB_PARENT(entry, link)) {
		uint64_t largest = largest_below(entry);

		if (entry->largest == largest)
			return;
		entry->largest = largest;
	}
}

RB_GENERATE_INTERNAL(tree, tree_entry, link, compare, __attribute__((unused)) static)

/* ---- Life ---- */

struct tree_map *tree_map_make(const struct cleave_memory *memory, enum tree_kind kind, uint64_t min, uint64_t max)
{
	struct tree_map *map = need(calloc(1, sizeof(*map)));
	pthread_rwlockattr_t attributes;

	/* As a kernel's: a reader waits behind a writer that waits. */
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&map->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	RB_INIT(&map->tree);
	map->memory = memory;
	map->kind = kind;
	map->min = min;
	map->max = max;
	return map;
}

static void drop_object(struct tree_map *map, struct tree_object *object)
{
	if (--object->entries == 0)
		map->memory->free(map->memory, object, SIZE);
}

void tree_map_destroy(struct tree_map *map)
{
	struct tree_entry *entry;

	while ((entry = RB_ROOT(&map->tree)) != NULL) {
		RB_REMOVE(tree, &map->tree, entry);
		if (map->kind == TREE_UVM_OBJECTS)
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

/* ---- Entries ---- */

static const struct cleave_map_attributes *attributes_of(const struct tree_map *map, const struct tree_entry *entry)
{
	return map->kind == TREE_UVM_OBJECTS ? &entry->object->attributes : &entry->attributes;
}

static struct tree_object *new_object(struct tree_map *map, const struct cleave_map_attributes *attributes)
{
	struct tree_object *object = new (map);

	if (object)
		*object = (struct tree_object){ *attributes, 1 };
	return object;
}

static int set_protection(struct tree_map *map, struct tree_entry *entry, uint8_t protection)
{
	struct cleave_map_attributes attributes;
	struct tree_object *object;

	if (map->kind != TREE_UVM_OBJECTS) {
		entry->attributes.protection = protection;
		return 0;
	}
	attributes = entry->object->attributes;
	attributes.protection = protection;
	object = new_object(map, &attributes);
	if (!object)
		return -ENOMEM;
	drop_object(map, entry->object);
	entry->object = object;
	return 0;
}

static uint64_t free_end(const struct tree_entry *entry)
{
	return entry->end + entry->fspace;
}

int tree_map_insert(struct tree_map *map, uint64_t start, uint64_t end, const struct cleave_map_attributes *attributes)
{
	struct tree_entry *entry = new (map), *below = new (map);

	if (!entry || !below)
		return -ENOMEM;
	/* The free space below it belongs to an entry that is nothing else. */
	*below = (struct tree_entry){ .start = map->min, .end = map->min, .fspace = start - map->min };
	*entry = (struct tree_entry){ .start = start, .end = end, .fspace = map->max - end };
	below->largest = below->fspace;
	entry->largest = entry->fspace;
	if (map->kind == TREE_UVM_OBJECTS) {
		entry->object = new_object(map, attributes);
		below->object = new_object(map, attributes);
		if (!entry->object || !below->object)
			return -ENOMEM;
	} else {
		entry->attributes = below->attributes = *attributes;
	}
	pthread_rwlock_wrlock(&map->lock);
	RB_INSERT(tree, &map->tree, below);
	RB_INSERT(tree, &map->tree, entry);
	augment(entry);
	map->entries++;
	map->data += end - start;
	pthread_rwlock_unlock(&map->lock);
	return 0;
}

/* Who owns `addr`. */
static struct tree_entry *find(const struct tree_map *map, uint64_t addr)
{
	struct tree_entry *entry = RB_ROOT(&map->tree);

	while (entry) {
		if (entry->start > addr)
			entry = RB_LEFT(entry, link);
		else if (free_end(entry) <= addr)
			entry = RB_RIGHT(entry, link);
		else
			break;
	}
	return entry;
}

/* Cut at `addr`, which lies inside: `upper`, a fresh one, takes what is above, its free space too. */
static void split(struct tree_map *map, struct tree_entry *entry, struct tree_entry *upper, uint64_t addr)
{
	upper->end = entry->end;
	upper->fspace = entry->fspace;
	upper->largest = 0;
	if (map->kind == TREE_UVM_OBJECTS) {
		upper->object = entry->object;
		upper->object->entries++;
	} else {
		upper->attributes = entry->attributes;
	}
	entry->fspace = 0;
	entry->end = upper->start = addr;
	if (map->kind != TREE_PLAIN)
		augment(entry);
	RB_INSERT(tree, &map->tree, upper);
	if (map->kind != TREE_PLAIN)
		augment(upper);
	map->entries++;
}

/* Cut *entry to what is in [start, end). */
static int clip(struct tree_map *map, struct tree_entry **entry, uint64_t start, uint64_t end)
{
	if (start > (*entry)->start) {
		struct tree_entry *upper = new (map);

		if (!upper)
			return -ENOMEM;
		split(map, *entry, upper, start);
		*entry = upper;
	}
	if (end < (*entry)->end) {
		struct tree_entry *upper = new (map);

		if (!upper)
			return -ENOMEM;
		split(map, *entry, upper, end);
	}
	return 0;
}

/* ---- Protect ---- */

static void lock(struct tree_map *map)
{
	pthread_rwlock_wrlock(&map->lock);
	if (map->kind == TREE_PLAIN)
		return;
	if (__atomic_load_n(&map->busy.word, __ATOMIC_RELAXED))
		abort(); /* nobody makes it busy here */
	map->timestamp++;
}

static int check(const struct tree_map *map, struct tree_entry *first, uint64_t end, unsigned int protection)
{
	for (struct tree_entry *entry = first; entry && entry->start < end; entry = RB_NEXT(tree, NULL, entry)) {
		const struct cleave_map_attributes *attributes = attributes_of(map, entry);

		if (entry->start == entry->end || (attributes->flags & CLEAVE_MAP_HOLE))
			continue;
		if (attributes->flags & CLEAVE_MAP_IMMUTABLE)
			return -EPERM;
		if (attributes->flags & CLEAVE_MAP_SUBMAP)
			return -EINVAL;
		if (protection & ~(unsigned int)attributes->max_protection)
			return -EACCES;
	}
	return 0;
}

/* Anonymous memory is data if it can be accessed. */
static void count_data(struct tree_map *map, const struct tree_entry *entry, uint8_t was)
{
	const struct cleave_map_attributes *attributes = attributes_of(map, entry);

	if (attributes->object)
		return;
	if (was && !attributes->protection)
		map->data -= entry->end - entry->start;
	else if (!was && attributes->protection)
		map->data += entry->end - entry->start;
}

static int protect_one(struct tree_map *map, struct tree_entry **entry, uint64_t start, uint64_t end,
		       uint8_t protection)
{
	uint8_t was = attributes_of(map, *entry)->protection;
	int error;

	if ((*entry)->start == (*entry)->end || (attributes_of(map, *entry)->flags & CLEAVE_MAP_HOLE) ||
	    was == protection)
		return 0;
	error = clip(map, entry, start, end);
	if (!error)
		error = set_protection(map, *entry, protection);
	if (error || map->kind == TREE_PLAIN)
		return error;
	count_data(map, *entry, was);
	if (map->translate)
		map->translate(map, (*entry)->start, (*entry)->end);
	return 0;
}

int tree_map_protect(struct tree_map *map, uint64_t start, uint64_t end, unsigned int protection)
{
	struct tree_entry *first;
	int error;

	if (start > end)
		return -EINVAL;
	if (start < map->min)
		start = map->min;
	if (end > map->max)
		end = map->max;
	if (start >= end)
		return 0;
	lock(map);
	first = find(map, start);
	if (first && first->end <= start)
		first = RB_NEXT(tree, NULL, first);
	error = check(map, first, end, protection);
	for (struct tree_entry *entry = first; !error && entry && entry->start < end;
	     entry = RB_NEXT(tree, NULL, entry))
		error = protect_one(map, &entry, start, end, (uint8_t)protection);
	pthread_rwlock_unlock(&map->lock);
	return error;
}

/* ---- Looking ---- */

bool tree_map_lookup(struct tree_map *map, uint64_t addr, struct cleave_map_attributes *attributes)
{
	const struct tree_entry *entry;
	bool mapped;

	pthread_rwlock_rdlock(&map->lock);
	entry = find(map, addr);
	mapped = entry && addr < entry->end;
	if (mapped)
		*attributes = *attributes_of(map, entry);
	pthread_rwlock_unlock(&map->lock);
	return mapped;
}

size_t tree_map_entries(struct tree_map *map)
{
	return map->entries;
}

bool tree_map_verify(struct tree_map *map)
{
	struct tree_entry *entry;
	uint64_t at = map->min, data = 0;

	RB_FOREACH(entry, tree, &map->tree)
	{
		if (entry->start != at || (map->kind != TREE_PLAIN && entry->largest != largest_below(entry)))
			return false;
		at = free_end(entry);
		if (attributes_of(map, entry)->protection && !attributes_of(map, entry)->object)
			data += entry->end - entry->start;
	}
	return at == map->max && (map->kind == TREE_PLAIN || data == map->data);
}
