/* SPDX-License-Identifier: ISC */
#define CLEAVE_SECTION_MEMB
#include "faults.h"

#include <cleave/fault.h>
#include <cleave/section.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
	struct cleave_space_ops ops; /* first */
	struct cleave_memory memory;
	struct cleave_urcu domain;
	struct cleave_space space;
	struct cleave_map map;
	uint64_t pages;
};

struct thread {
	struct cleave_urcu_thread record;
	struct cleave_space_thread space;
};

static _Thread_local struct thread *self;
static _Thread_local uint64_t next_page;

static void must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "cleave-bench-faults: %s: %d\n", what, error);
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

static struct cleave_space_thread *current(const struct cleave_space_ops *ops)
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

	self = calloc(1, sizeof(*self));
	must(self ? 0 : -1, "memory");
	cleave_section_register(&self->record, &world->domain);
	must(cleave_space_thread_init(&self->space, &world->space, &self->record.thread), "thread");
	return self;
}

static void detach(void *world, void *thread)
{
	(void)world;
	cleave_space_thread_exit(&self->space);
	cleave_section_unregister(&self->record, &((struct world *)world)->domain);
	free(thread);
	self = NULL;
}

static void *make(uint64_t pages)
{
	struct world *world = NULL;
	struct cleave_map_config config = {
		.min = FAULTS_PAGE, .max = (uint64_t)1 << 46, .page_shift = 12, .flags = CLEAVE_MAP_GUARD_PAGES
	};
	struct cleave_map_request request = { .addr = FAULTS_BASE,
					      .size = pages * FAULTS_PAGE,
					      .flags = CLEAVE_MAP_FIXED,
					      .entry_flags = CLEAVE_MAP_COW,
					      .protection = CLEAVE_PROT_READ | CLEAVE_PROT_WRITE,
					      .max_protection = CLEAVE_PROT_ALL,
					      .inheritance = CLEAVE_INHERIT_COPY };
	void *thread;

	if (posix_memalign((void **)&world, 64, sizeof(*world)))
		must(-1, "memory");
	memset(world, 0, sizeof(*world));
	world->ops = (struct cleave_space_ops){
		.current = current,
		.page_get = page_get,
		.page_free = page_free,
		.page_copy = page_copy,
		.enter = enter,
		.remove = remove_range,
	};
	world->pages = pages;
	world->memory = (struct cleave_memory){ alloc, release };
	must(cleave_section_start(&world->domain, &world->memory, 0), "domain");
	cleave_space_init(&world->space, &world->domain.domain, &world->ops, 12);
	thread = attach(world);
	must(cleave_map_init(&world->map, &self->space.map, &config), "map");
	must(cleave_map_map(&world->map, &self->space.map, &request), "map");
	/* Some neighbours, so that the index has levels. */
	for (unsigned int i = 1; i <= 2000; i++) {
		request.addr = FAULTS_BASE + ((uint64_t)1 << 40) + i * 4 * FAULTS_PAGE;
		request.size = FAULTS_PAGE;
		must(cleave_map_map(&world->map, &self->space.map, &request), "neighbour");
	}
	detach(world, thread);
	return world;
}

static void destroy(void *at)
{
	struct world *world = at;
	void *thread = attach(world);

	cleave_map_destroy(&world->map, &self->space.map);
	detach(world, thread);
	cleave_space_exit(&world->space);
	cleave_section_stop(&world->domain);
	free(world);
}

static size_t touch(void *at, void *thread, const uint64_t *pages, size_t n)
{
	struct world *world = at;
	size_t failed = 0;

	(void)thread;
	for (size_t i = 0; i < n; i++)
		failed += cleave_fault(&self->space, &world->map, FAULTS_BASE + pages[i] * FAULTS_PAGE,
				       CLEAVE_PROT_WRITE) != 0;
	return failed;
}

static void *fork_world(void *at, void *thread)
{
	struct world *world = at;
	struct cleave_map *child = NULL;

	(void)thread;
	if (posix_memalign((void **)&child, 64, sizeof(*child)))
		must(-1, "memory");
	must(cleave_map_fork(&world->map, &self->space.map, child), "fork");
	return child;
}

static void exit_world(void *world, void *thread, void *at)
{
	struct cleave_map *child = at;

	(void)world;
	(void)thread;
	cleave_map_destroy(child, &self->space.map);
	cleave_space_flush(&self->space);
	free(child);
}

static uint64_t entries(void *at, void *thread)
{
	struct world *world = at;
	struct cleave_map_accounts accounts;

	(void)thread;
	cleave_map_account(&world->map, &self->space.map, &accounts);
	return accounts.entries - 2000;
}

void faults_cleave_copies(const void *at, uint64_t *nodes, uint64_t *pages)
{
	const struct thread *thread = at;

	*nodes = thread->space.context->copies;
	*pages = thread->space.counters.copies;
}

const struct faults_impl faults_cleave = {
	.name = "cleave",
	.make = make,
	.destroy = destroy,
	.attach = attach,
	.detach = detach,
	.touch = touch,
	.fork = fork_world,
	.exit = exit_world,
	.entries = entries,
};
