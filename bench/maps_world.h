/* SPDX-License-Identifier: ISC */
/* What the benchmarks of maps share: a map beside an index, and the memory of both and of the trees. */
#ifndef BENCH_MAPS_WORLD_H
#define BENCH_MAPS_WORLD_H

#include "suite.h"

#include <cleave/map.h>
#include <cleave/section.h>

#define MAPS_RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)
#define MAPS_OBJECT 128 /* size of an attribute object */
#define MAPS_CLASSES 4	/* sizes that are pooled: objects, and the index's nodes */

/*
 * What a thread has freed, by size: as the caches in front of a kernel's pools.  What runs for the second time takes
 * its memory from here, so that neither an allocator's time counts nor that of a kernel that clears pages.
 */
struct cache {
	size_t size; /* 0: not used yet */
	size_t n;
	void *free;
};

extern _Thread_local struct cache maps_classes[MAPS_CLASSES];

struct pool {
	struct cleave_memory memory;
	bool libc; /* objects come from there */
};

/* Objects that this thread asked for: two threads that count in one word lose to each other what no map makes them. */
extern _Thread_local uint64_t maps_objects;

void *maps_pool_alloc(const struct cleave_memory *memory, size_t size, size_t align);
void maps_pool_free(const struct cleave_memory *memory, void *object, size_t size);
/* The thread's lists, in address order: who runs next does not suffer from the order in which the last one freed. */
void maps_pool_sort(void);
/* Give half of them to a thread that does not run yet, with what it has. */
void maps_pool_share(struct cache other[MAPS_CLASSES]);
void maps_pool_drain(void);

/* A map and an index. */
struct world {
	CLEAVE_SECTION_DOMAIN domain;
	CLEAVE_SECTION_THREAD record;
	struct pool pool;
	bool files; /* each entry shows one of its own */
	struct cleave_maps maps;
	struct cleave_map_thread thread;
	struct cleave_map map;
	struct cleave index;
};

/* libc: its objects come from there. */
struct world *maps_world_make(const struct suite *suite, bool libc);
void maps_world_destroy(struct world *world);

void maps_must(int error, const char *what);
/* file: what is mapped, at the same addresses; NULL: memory. */
void maps_map(struct world *world, uint64_t start, uint64_t end, void *file);
/* Say so if the map has another number of entries. */
void maps_check_entries(struct world *world, uint64_t wanted);

#endif
