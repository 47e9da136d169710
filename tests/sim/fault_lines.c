/* SPDX-License-Identifier: ISC */
/*
 * Which cache lines does a fault write?  Its guard, its slot, its anon, and what is its thread's own: no other, after
 * the first fault in the leaf; also where there is no slot, and for neighbours that are entered ahead.
 *
 * Two coroutines of the simulator fault on different pages of one leaf; and first one of them alone.
 */
#include "fault.h"

#include "lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE UINT64_C(4096)
#define BASE (UINT64_C(1) << 32)
#define SLOTS 32u
#define EXECUTIONS 1000u
#define RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)

enum content { NOTHING, PRESENT, SHARED, OBJECT };

static const struct scenario {
	const char *name;
	enum content content;
	unsigned int access;
	unsigned int advice;
	bool slot; /* it is written */
	bool anon;
} scenarios[] = {
	{ "zero fill", NOTHING, CLEAVE_PROT_WRITE, CLEAVE_ADVICE_RANDOM, true, true },
	{ "zero fill by reading", NOTHING, CLEAVE_PROT_READ, CLEAVE_ADVICE_RANDOM, true, true },
	{ "read", PRESENT, CLEAVE_PROT_READ, CLEAVE_ADVICE_RANDOM, false, false },
	{ "read with neighbours", PRESENT, CLEAVE_PROT_READ, CLEAVE_ADVICE_NORMAL, false, false },
	{ "write in place", PRESENT, CLEAVE_PROT_WRITE, CLEAVE_ADVICE_RANDOM, true, false },
	{ "copy on write", SHARED, CLEAVE_PROT_WRITE, CLEAVE_ADVICE_RANDOM, true, true },
	{ "page of an object", OBJECT, CLEAVE_PROT_READ, CLEAVE_ADVICE_NORMAL, false, false },
};

static struct world {
	_Alignas(64) struct cleave_domain domain;
	_Alignas(64) struct cleave_space space;
	_Alignas(64) struct cleave_map map;
	_Alignas(64) struct cleave_map child;
	struct own {
		_Alignas(64) struct cleave_thread self;
		_Alignas(64) struct cleave_space_thread thread;
		_Alignas(64) int result;
	} own[THREADS + 1];
} * world;

static const struct scenario *scenario;
static struct sim_snapshot snapshot;
static const struct cleave_anon_page *before_it[THREADS]; /* the anon that a fault replaces */
static unsigned int next_page;			      /* not in the arena: pages and their tables are the embedder's */
static const unsigned int pages[THREADS] = { 8, 24 }; /* in different lines of one leaf */

/* ---- The embedder: nothing ---- */

static struct cleave_space_thread *calling_thread(const struct cleave_space_ops *ops)
{
	(void)ops;
	return &world->own[noting ? sim_self() : THREADS].thread;
}

static uint64_t page_get(const struct cleave_space_ops *ops)
{
	(void)ops;
	return 2 * ++next_page;
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

static uint64_t object_page(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write)
{
	(void)ops;
	(void)object;
	(void)write;
	return 100000 + 2 * (offset / PAGE);
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

static const struct cleave_space_ops ops = {
	.calling_thread = calling_thread,
	.page_get = page_get,
	.page_free = page_free,
	.page_copy = page_copy,
	.object_page = object_page,
	.enter = enter,
	.remove = remove_range,
};

/* ---- A map ---- */

static void must(int error, const char *what)
{
	if (error) {
		printf("%s: %s: %d\n", scenario->name, what, error);
		exit(1);
	}
}

static int touch(unsigned int thread, unsigned int page, unsigned int access)
{
	return cleave_fault(&world->own[thread].thread, &world->map, BASE + page * PAGE, access);
}

static const struct cleave_word *slot_word(unsigned int page, struct cleave_anon_page **anon)
{
	struct cleave_map_entry entry;
	struct cleave_anon *store;
	uint64_t word;
	struct cleave__anon_node *node;

	*anon = NULL;
	if (!cleave_map_lookup_rcu(&world->map, BASE + page * PAGE, &entry) || !entry.attributes.store)
		return NULL;
	store = entry.attributes.store;
	word = store->root.word;
	node = cleave__anon_node_of(word);
	*anon = cleave_anon_lookup_rcu(store, page);
	return node ? &node->slot[page] : NULL;
}

static void prepare(void)
{
	struct cleave_map_config config = { .min = PAGE, .max = UINT64_C(1) << 47, .page_shift = 12 };
	struct cleave_map_request request = { .addr = BASE,
					      .size = SLOTS * PAGE,
					      .flags = CLEAVE_MAP_FIXED,
					      .entry_flags = CLEAVE_MAP_COW,
					      .protection = RW,
					      .max_protection = CLEAVE_PROT_ALL,
					      .inheritance = CLEAVE_INHERIT_COPY,
					      .advice = (uint8_t)scenario->advice };
	struct cleave_space_thread *thread;

	sim_snapshot_free(&snapshot);
	sim_arena_clear();
	world = sim_arena_alloc(sizeof(*world));
	arena = (const char *)world;
	memset(world, 0, sizeof(*world));
	cleave_domain_init(&world->domain, &sim_ops, &sim_memory, NULL, UINT64_MAX / 2);
	cleave_space_init(&world->space, &world->domain, &ops, 12);
	for (unsigned int t = 0; t <= THREADS; t++) {
		cleave_thread_init(&world->own[t].self, &world->domain);
		must(cleave_space_thread_init(&world->own[t].thread, &world->space, &world->own[t].self), "thread");
	}
	thread = &world->own[THREADS].thread;
	must(cleave_map_init(&world->map, &thread->map, &config), "init");
	sim_index = &world->map.index;
	sim_domain = &world->domain;
	if (scenario->content == OBJECT)
		request.object = &world->own; /* any address */
	must(cleave_map_map(&world->map, &thread->map, &request), "map");
	if (scenario->content != OBJECT)
		must(touch(THREADS, 0, CLEAVE_PROT_WRITE), "the first fault in the leaf");
	for (unsigned int page = 1; page < SLOTS; page++)
		if (scenario->content == PRESENT || scenario->content == SHARED)
			must(touch(THREADS, page, CLEAVE_PROT_WRITE), "populate");
	if (scenario->content == SHARED) {
		must(cleave_map_fork(&world->map, &thread->map, &world->child), "fork");
		must(touch(THREADS, 0, CLEAVE_PROT_WRITE), "the first write after the fork");
	}
	cleave_space_flush(thread);
	/* Each thread has what a fault may need: the allocator is another matter. */
	for (unsigned int t = 0; t < THREADS; t++) {
		struct cleave_anon_page *anon = cleave_anon_page_make(world->own[t].thread.context, page_get(&ops));

		if (!anon)
			exit(1);
		world->own[t].thread.spare = anon;
	}
	for (unsigned int t = 0; t < THREADS; t++) {
		struct cleave_anon_page *anon;

		slot_word(pages[t], &anon);
		before_it[t] = anon;
	}
	sim_snapshot_take(&snapshot);
}

static void body(unsigned int thread)
{
	sim_call("fault");
	world->own[thread].result = touch(thread, pages[thread], scenario->access);
	sim_return();
}

/* ---- What was written ---- */

static bool within(size_t line, const void *p, size_t size)
{
	return p && line >= line_of(p) && line <= line_of((const char *)p + size - 1);
}

static bool judge(unsigned int thread, const char *when, unsigned int *n)
{
	struct own *own = &world->own[thread];
	struct cleave_anon_page *anon;
	const struct cleave_word *slot = slot_word(pages[thread], &anon);

	*n = 0;
	for (size_t line = 0; line < LINES; line++) {
		if (!written[thread][line])
			continue;
		if (within(line, own, sizeof(*own)))
			continue;
		if (within(line, own->thread.context, sizeof(*own->thread.context))) {
			*n += line == line_of(&own->thread.context->guard);
			continue; /* the rest of it nobody else looks at */
		}
		++*n;
		if ((scenario->slot && within(line, slot, 8)) ||
		    (scenario->anon &&
		     (within(line, anon, sizeof(*anon)) || within(line, before_it[thread], sizeof(*anon)))))
			continue;
		printf("FAILED: %s, %s: thread %u writes line %zu (%s)\n", scenario->name, when, thread, line,
		       line_name(line));
		return false;
	}
	return true;
}

/* The first thread: the second does the same. */
static bool run_alone(const struct sim_options *options)
{
	unsigned int lines;

	sim_explore(options);
	if (lines_run_alone(&snapshot, body) != SIM_PASSED) {
		printf("FAILED: %s, alone: %s\n", scenario->name, sim_failure());
		return false;
	}
	must(world->own[0].result, "fault");
	return judge(0, "alone", &lines);
}

static bool run_together(const struct sim_options *options)
{
	unsigned int most = 0, lines;

	sim_explore(options);
	for (unsigned int i = 0; i < EXECUTIONS; i++) {
		if (lines_run(&snapshot, THREADS, body, i) != SIM_PASSED) {
			printf("FAILED: %s, execution %u: %s\n", scenario->name, i, sim_failure());
			return false;
		}
		for (unsigned int t = 0; t < THREADS; t++) {
			must(world->own[t].result, "fault");
			if (!judge(t, "together", &lines))
				return false;
			most = lines > most ? lines : most;
		}
		for (size_t line = 0; line < LINES; line++)
			if (written[0][line] && written[1][line]) {
				printf("FAILED: %s: both write line %zu (%s)\n", scenario->name, line, line_name(line));
				return false;
			}
	}
	printf("%-24s %u executions, at most %u lines written that others look at, none by both\n", scenario->name,
	       EXECUTIONS, most);
	return most > 0;
}

int main(int argc, char **argv)
{
	struct sim_options options = { .seed = 1, .bound = 2 };
	bool good = true;

	lines_begin(argc, argv, "Does a page fault write lines of its own alone, and as few as it can?");
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		scenario = &scenarios[i];
		prepare();
		good = run_alone(&options) && good;
		good = run_together(&options) && good;
	}
	sim_snapshot_free(&snapshot);
	return lines_end(good);
}
