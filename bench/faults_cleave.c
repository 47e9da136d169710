/* SPDX-License-Identifier: ISC */
/*
 * The library's fault path: cleave_fault() on a map.  Compiled once for each flavour of RCU: CLEAVE_SECTION_... chooses
 * it, FAULTS_FLAVOUR is the table's symbol and BENCH_NAME its name.
 *
 * "chunked" (FAULTS_CHUNKED) does what kernels do whose amaps are dense: memory that has no store yet is first clipped
 * out of its entry, 64 KiB at a time, and each piece gets a store of its own.
 */
#include "faults.h"

#include <cleave/fault.h>
#include <cleave/section.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
	struct cleave_space_ops ops; /* first */
	struct cleave_memory memory;
	CLEAVE_SECTION_DOMAIN domain;
	struct cleave_space space;
	struct cleave_map map;
	uint64_t others;
	struct thread *ended; /* records; some flavours keep them to the end */
};

struct thread {
	CLEAVE_SECTION_THREAD record;
	struct cleave_space_thread space;
	struct world *world;
	struct thread *next;
};

static _Thread_local struct thread *self;
static _Thread_local uint64_t next_page;

static void must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "cleave-bench: a fault path: %s: %d\n", what, error);
		exit(1);
	}
}

static void *alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	(void)memory;
	(void)align;
	return faults_alloc(size);
}

static void release(const struct cleave_memory *memory, void *at, size_t size)
{
	(void)memory;
	faults_free(at, size);
}

/* ---- The embedder: nothing ---- */

static struct cleave_space_thread *calling_thread(const struct cleave_space_ops *ops)
{
	(void)ops;
	return &self->space;
}

static uint64_t page_get(const struct cleave_space_ops *ops)
{
	(void)ops;
	return next_page += 2;
}

static void page_free(const struct cleave_space_ops *ops, uint64_t page)
{
	(void)ops;
	(void)page;
}

static void page_copy(const struct cleave_space_ops *ops, uint64_t from, uint64_t to)
{
	(void)ops;
	(void)from;
	(void)to;
}

static int enter(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t addr, uint64_t page,
		 struct cleave_anon_page *anon, unsigned int protection, unsigned int flags)
{
	(void)ops;
	(void)map;
	(void)addr;
	(void)page;
	(void)anon;
	(void)protection;
	(void)flags;
	return 0;
}

static void remove_range(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	(void)ops;
	(void)map;
	(void)start;
	(void)end;
}

/* ---- The table ---- */

static void *attach(void *at)
{
	struct world *world = at;
	struct thread *thread = need(aligned_alloc(64, (sizeof(*thread) + 63) & ~(size_t)63));

	memset(thread, 0, sizeof(*thread));
	thread->world = world;
	cleave_section_register(&thread->record, &world->domain);
	must(cleave_space_thread_init(&thread->space, &world->space, &thread->record.thread), "thread");
	self = thread;
	return thread;
}

static void detach(void *at)
{
	struct thread *thread = at;

	cleave_space_thread_exit(&thread->space);
	cleave_section_unregister(&thread->record, &thread->world->domain);
	thread->next = thread->world->ended;
	thread->world->ended = thread;
	self = NULL;
}

static void online(void *thread)
{
	(void)thread;
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_online();
#endif
}

static void offline(void *thread)
{
	(void)thread;
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_offline();
#endif
}

static int map_range(struct thread *thread, uint64_t start, uint64_t end)
{
	struct cleave_map_request request = { .addr = start,
					      .size = end - start,
					      .flags = CLEAVE_MAP_FIXED,
					      .entry_flags = CLEAVE_MAP_COW,
					      .protection = CLEAVE_PROT_READ | CLEAVE_PROT_WRITE,
					      .max_protection = CLEAVE_PROT_ALL,
					      .inheritance = CLEAVE_INHERIT_COPY };

	return cleave_map_map(&thread->world->map, &thread->space.map, &request);
}

static void *make(uint64_t pages, const struct layout *others)
{
	struct world *world = need(aligned_alloc(64, (sizeof(*world) + 63) & ~(size_t)63));
	struct cleave_map_config config = { .min = FAULTS_PAGE, .max = 2 * FAULTS_BASE, .page_shift = 12 };
	struct thread *thread;

	memset(world, 0, sizeof(*world));
	world->ops = (struct cleave_space_ops){
		.calling_thread = calling_thread,
		.page_get = page_get,
		.page_free = page_free,
		.page_copy = page_copy,
		.enter = enter,
		.remove = remove_range,
	};
	world->memory = (struct cleave_memory){ alloc, release };
	world->others = others->n;
	must(cleave_section_start(&world->domain, &world->memory, 0), "domain");
	cleave_space_init(&world->space, &world->domain.domain, &world->ops, 12);
	thread = attach(world);
	must(cleave_map_init(&world->map, &thread->space.map, &config), "map");
	must(map_range(thread, FAULTS_BASE, FAULTS_BASE + pages * FAULTS_PAGE), "the segment");
	for (size_t i = 0; i < others->n; i++)
		must(map_range(thread, others->entries[i].first, others->entries[i].last + 1), "another");
	detach(thread);
	return world;
}

static void destroy(void *at)
{
	struct world *world = at;
	struct thread *thread = attach(world);

	cleave_map_destroy(&world->map, &thread->space.map);
	detach(thread);
	cleave_space_exit(&world->space);
	cleave_section_stop(&world->domain);
	while (world->ended) {
		thread = world->ended;
		world->ended = thread->next;
		free(thread);
	}
	free(world);
}

static size_t touch(void *at, const uint64_t *pages, size_t n)
{
	struct thread *thread = at;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		failed += cleave_fault(&thread->space, &thread->world->map, FAULTS_BASE + pages[i] * FAULTS_PAGE,
				       CLEAVE_PROT_WRITE) != 0;
		cleave_section_quiescent(&thread->record);
	}
	return failed;
}

static size_t remap(void *at, const struct cleave_entry *entry)
{
	struct thread *thread = at;
	size_t failed = 0;

	failed += cleave_map_unmap(&thread->world->map, &thread->space.map, entry->first, entry->last + 1, 0) != 0;
	failed += map_range(thread, entry->first, entry->last + 1) != 0;
	cleave_section_quiescent(&thread->record);
	return failed;
}

static void *fork_world(void *at)
{
	struct thread *thread = at;
	struct cleave_map *child = need(aligned_alloc(64, (sizeof(*child) + 63) & ~(size_t)63));

	must(cleave_map_fork(&thread->world->map, &thread->space.map, child), "fork");
	return child;
}

static void exit_world(void *at, void *child)
{
	struct thread *thread = at;

	cleave_map_destroy(child, &thread->space.map);
	cleave_space_flush(&thread->space);
	free(child);
}

static uint64_t entries(void *at)
{
	struct thread *thread = at;
	struct cleave_map_accounts accounts;

	cleave_map_account(&thread->world->map, &thread->space.map, &accounts);
	return accounts.entries - thread->world->others;
}

#define FUNCTIONS                                                                                            \
	.make = make, .destroy = destroy, .attach = attach, .detach = detach, .online = online,              \
	.offline = offline, .remap = remap, .fork = fork_world, .exit = exit_world, .entries = entries

const struct faults_impl FAULTS_FLAVOUR = { .name = BENCH_NAME, .touch = touch, FUNCTIONS };

#ifdef FAULTS_CHUNKED
static size_t touch_chunked(void *at, const uint64_t *pages, size_t n)
{
	const uint64_t size = FAULTS_CHUNK * FAULTS_PAGE;
	struct thread *thread = at;
	struct cleave_map *map = &thread->world->map;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t addr = FAULTS_BASE + pages[i] * FAULTS_PAGE, low = addr & ~(size - 1);
		struct cleave_map_entry entry;
		bool bare;

		cleave_section_enter(&thread->record);
		bare = cleave_map_lookup_rcu(map, addr, &entry) && !entry.attributes.store;
		cleave_section_leave(&thread->record);
		if (bare && entry.start < low)
			failed += cleave_map_clip_start(map, &thread->space.map, low, NULL) != 0;
		if (bare && low + size < entry.end)
			failed += cleave_map_clip_end(map, &thread->space.map, low + size, NULL) != 0;
		failed += touch(thread, &pages[i], 1);
	}
	return failed;
}

const struct faults_impl FAULTS_CHUNKED = { .name = BENCH_NAME " chunked", .touch = touch_chunked, FUNCTIONS };
#endif

#ifdef FAULTS_COPIES
void FAULTS_COPIES(const void *at, uint64_t *nodes, uint64_t *pages)
{
	const struct thread *thread = at;

	*nodes = thread->space.context->copies;
	*pages = thread->space.counters.copies;
}
#endif
