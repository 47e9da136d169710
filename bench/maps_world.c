/* SPDX-License-Identifier: ISC */
#include "maps_world.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Memory ---- */

_Thread_local struct cache maps_classes[MAPS_CLASSES];
_Thread_local uint64_t maps_objects;

static struct cache *cache_of(const struct pool *pool, size_t size)
{
	unsigned int i = 0;

	while (i < MAPS_CLASSES && maps_classes[i].size && maps_classes[i].size != size)
		i++;
	if (i == MAPS_CLASSES || size > 1024 || (size == MAPS_OBJECT && pool->libc))
		return NULL;
	maps_classes[i].size = size;
	return &maps_classes[i];
}

void *maps_pool_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	struct pool *pool = (struct pool *)(uintptr_t)memory;
	struct cache *cache = cache_of(pool, size);
	void *object;

	maps_objects += size == MAPS_OBJECT;
	if (!cache || !cache->free)
		return aligned_alloc(align, (size + align - 1) & ~(align - 1));
	object = cache->free;
	cache->free = *(void **)object;
	cache->n--;
	return object;
}

void maps_pool_free(const struct cleave_memory *memory, void *object, size_t size)
{
	struct cache *cache = cache_of((struct pool *)(uintptr_t)memory, size);

	if (!cache) {
		free(object);
		return;
	}
	*(void **)object = cache->free;
	cache->free = object;
	cache->n++;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t one = (uintptr_t) * (void *const *)a, other = (uintptr_t) * (void *const *)b;

	return (one > other) - (one < other);
}

/* In address order, so that who runs next does not suffer from the order in which the last one freed. */
void maps_pool_sort(void)
{
	for (unsigned int i = 0; i < MAPS_CLASSES; i++) {
		size_t n = maps_classes[i].n;
		void **all = need(malloc((n + 1) * sizeof(*all)));

		for (size_t j = 0; j < n; j++) {
			all[j] = maps_classes[i].free;
			maps_classes[i].free = *(void **)all[j];
		}
		qsort(all, n, sizeof(*all), by_address);
		maps_classes[i].free = NULL;
		while (n--) {
			*(void **)all[n] = maps_classes[i].free;
			maps_classes[i].free = all[n];
		}
		free(all);
	}
}

void maps_pool_share(struct cache other[MAPS_CLASSES])
{
	for (unsigned int i = 0; i < MAPS_CLASSES; i++) {
		struct cache *from = &maps_classes[i], *to = other;

		while (to->size && to->size != from->size)
			to++;
		to->size = from->size;
		while (from->n > to->n) {
			void *object = from->free;

			from->free = *(void **)object;
			from->n--;
			*(void **)object = to->free;
			to->free = object;
			to->n++;
		}
	}
}

void maps_pool_drain(void)
{
	for (unsigned int i = 0; i < MAPS_CLASSES; i++) {
		while (maps_classes[i].free) {
			void *next = *(void **)maps_classes[i].free;

			free(maps_classes[i].free);
			maps_classes[i].free = next;
		}
		maps_classes[i].n = 0;
	}
}

/* ---- A world: a map and an index with the same entries ---- */

void maps_must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "cleave-bench: %s: error %d\n", what, error);
		exit(1);
	}
}

/* libc: its objects come from there. */
struct world *maps_world_make(const struct suite *suite, bool libc)
{
	static const struct cleave_map_ops ops = { .object_ref = NULL };
	struct cleave_map_config config = { .min = LAYOUT_PAGE, .max = LAYOUT_TOP, .page_shift = 12 };
	struct world *world = need(aligned_alloc(64, (sizeof(*world) + 63) & ~(size_t)63));

	*world = (struct world){ .pool = { .memory = { maps_pool_alloc, maps_pool_free }, .libc = libc } };
	measure_unpin();
	maps_must(cleave_section_start(&world->domain, &world->pool.memory, 0), "start");
	measure_pin(suite->processor[0]);
	cleave_section_register(&world->record, &world->domain);
	cleave_maps_init(&world->maps, &world->domain.domain, &ops);
	cleave_map_thread_init(&world->thread, &world->maps, &world->record.thread);
	maps_must(cleave_map_init(&world->map, &world->thread, &config), "map");
	maps_must(cleave_init(&world->index, &world->record.thread), "index");
	return world;
}

void maps_world_destroy(struct world *world)
{
	cleave_map_destroy(&world->map, &world->thread);
	cleave_map_thread_exit(&world->thread);
	cleave_destroy(&world->index, &world->record.thread);
	cleave_section_unregister(&world->record, &world->domain);
	cleave_section_stop(&world->domain);
	free(world);
}

void maps_map(struct world *world, uint64_t start, uint64_t end, void *file)
{
	struct cleave_map_request request = {
		.addr = start,
		.size = end - start,
		.flags = CLEAVE_MAP_FIXED,
		.entry_flags = CLEAVE_MAP_COW,
		.protection = MAPS_RW,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
		.object = file,
		.offset = file ? start : 0,
	};

	maps_must(cleave_map_map(&world->map, &world->thread, &request), "map");
}

void maps_check_entries(struct world *world, uint64_t wanted)
{
	struct cleave_map_accounts accounts;

	cleave_map_account(&world->map, &world->thread, &accounts);
	if (accounts.entries != wanted)
		printf("maps: %llu entries instead of %llu\n", (unsigned long long)accounts.entries,
		       (unsigned long long)wanted);
}
