/* SPDX-License-Identifier: ISC */
/*
 * What one thread does to a map: mprotect of a part of an entry, beside the index's own clip; and the scenario of a
 * garbage collector's barrier, 256 MiB of which each page gets a protection of its own and then all get the old one
 * back, beside a red-black tree.  Neighbours are not joined.
 *
 * Attribute objects, and the trees' entries, come from a list that never runs dry, so that the price of an allocator
 * does not count where a protect is judged by a clip, and is the same for all; those of "memb, libc" come from libc.
 */
#include "maps.h"
#include "suite.h"

#include <cleave/section.h>

#include <stdio.h>
#include <stdlib.h>

#define RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)
#define OBJECT_SIZE 128
#define POOL ((size_t)3 << 16) /* more than are ever in use */
#define BATCH 32	       /* entries that are changed before they are changed back */

/* ---- Memory ---- */

/* Attribute objects from a list that never runs dry, so that the time of an allocator does not count; or from libc. */
struct pool {
	struct cleave_memory memory;
	void *free;
	bool pooled;
	uint64_t objects; /* asked for */
};

static void *pool_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	struct pool *pool = (struct pool *)(uintptr_t)memory;
	void *object = pool->free;

	if (size != OBJECT_SIZE)
		return aligned_alloc(align, (size + align - 1) & ~(align - 1));
	pool->objects++;
	if (!pool->pooled || !object)
		return aligned_alloc(align, size);
	pool->free = *(void **)object;
	return object;
}

static void pool_free(const struct cleave_memory *memory, void *object, size_t size)
{
	struct pool *pool = (struct pool *)(uintptr_t)memory;

	if (size != OBJECT_SIZE || !pool->pooled) {
		free(object);
		return;
	}
	*(void **)object = pool->free;
	pool->free = object;
}

static void pool_fill(struct pool *pool, size_t n)
{
	while (n-- > 0)
		pool_free(&pool->memory, need(aligned_alloc(64, OBJECT_SIZE)), OBJECT_SIZE);
}

static void pool_drain(struct pool *pool)
{
	while (pool->free) {
		void *next = *(void **)pool->free;

		free(pool->free);
		pool->free = next;
	}
}

/* ---- A world: a map and an index with the same entries ---- */

struct world {
	CLEAVE_SECTION_DOMAIN domain;
	CLEAVE_SECTION_THREAD record;
	struct pool pool;
	struct cleave_maps maps;
	struct cleave_map_thread thread;
	struct cleave_map map;
	struct cleave index;
};

static void must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "cleave-bench: %s: error %d\n", what, error);
		exit(1);
	}
}

/* pool: objects to begin with; 0: they come from libc. */
static struct world *world_make(const struct suite *suite, size_t pool)
{
	static const struct cleave_map_ops ops = { .object_ref = NULL };
	struct cleave_map_config config = { .min = LAYOUT_PAGE, .max = LAYOUT_TOP, .page_shift = 12 };
	struct world *world = need(aligned_alloc(64, (sizeof(*world) + 63) & ~(size_t)63));

	*world = (struct world){ .pool = { .memory = { pool_alloc, pool_free }, .pooled = pool > 0 } };
	pool_fill(&world->pool, pool);
	measure_unpin();
	must(cleave_section_start(&world->domain, &world->pool.memory, 0), "start");
	measure_pin(suite->processor[0]);
	cleave_section_register(&world->record, &world->domain);
	cleave_maps_init(&world->maps, &world->domain.domain, &ops);
	cleave_map_thread_init(&world->thread, &world->maps, &world->record.thread);
	must(cleave_map_init(&world->map, &world->thread, &config), "map");
	must(cleave_init(&world->index, &world->record.thread), "index");
	return world;
}

static void world_destroy(struct world *world)
{
	cleave_map_destroy(&world->map, &world->thread);
	cleave_map_thread_exit(&world->thread);
	cleave_destroy(&world->index, &world->record.thread);
	cleave_section_unregister(&world->record, &world->domain);
	cleave_section_stop(&world->domain);
	pool_drain(&world->pool);
	free(world);
}

static void map_range(struct world *world, uint64_t start, uint64_t end)
{
	struct cleave_map_request request = {
		.addr = start,
		.size = end - start,
		.flags = CLEAVE_MAP_FIXED,
		.entry_flags = CLEAVE_MAP_COW,
		.protection = RW,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};

	must(cleave_map_map(&world->map, &world->thread, &request), "map");
}

static void protect(struct world *world, uint64_t start, uint64_t end, unsigned int protection)
{
	must(cleave_map_protect(&world->map, &world->thread, start, end, protection, 0, 0), "protect");
}

/* ---- Part of an entry ---- */

enum step { CLIP, UNCLIP, HALF, HALF_BACK, HALF_JOIN, PAGE, PAGE_BACK, PAGE_JOIN, STEPS };

static const char *const step_names[STEPS] = {
	"map-clip",  "map-unclip",   "protect-half",	  "protect-half-back",
	"join-half", "protect-page", "protect-page-back", "join-page",
};

static void do_step(struct world *world, enum step step, const struct cleave_entry *entry)
{
	uint64_t start = entry->first, end = entry->last + 1;
	uint64_t middle = start + (end - start) / 2 / LAYOUT_PAGE * LAYOUT_PAGE;

	switch (step) {
	case CLIP:
		must(cleave_clip(&world->index, &world->record.thread, middle), "clip");
		break;
	case UNCLIP:
		must(cleave_unclip(&world->index, &world->record.thread, middle), "unclip");
		break;
	case HALF:
		protect(world, middle, end, CLEAVE_PROT_READ);
		break;
	case PAGE:
		protect(world, middle, middle + LAYOUT_PAGE, CLEAVE_PROT_READ);
		break;
	case HALF_BACK:
		protect(world, middle, end, RW);
		break;
	case PAGE_BACK:
		protect(world, middle, middle + LAYOUT_PAGE, RW);
		break;
	default:
		must(cleave_map_coalesce(&world->map, &world->thread, start, end), "join");
	}
}

/* What some batches of one step took. */
struct tally {
	double wall;
	uint64_t copies;
	uint64_t objects;
};

static void run_step(struct world *world, enum step step, const struct cleave_entry *entries, size_t n,
		     struct tally *tally)
{
	const struct cleave_counters *counters = &world->record.thread.counters;
	uint64_t copies = counters->copies, objects = world->pool.objects;
	double start = measure_wall();

	for (size_t i = 0; i < n; i++)
		do_step(world, step, &entries[i]);
	tally->wall += measure_wall() - start;
	tally->copies += counters->copies - copies;
	tally->objects += world->pool.objects - objects;
}

/* Steps that undo one another, on all entries, by turns.  Return: the seconds of all. */
static double run_group(struct world *world, enum step first, enum step last, const struct cleave_entry *entries,
			size_t n, struct tally tallies[STEPS])
{
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (size_t at = 0; at < n; at += BATCH)
		for (unsigned int step = first; step <= last; step++)
			run_step(world, (enum step)step, entries + at, n - at < BATCH ? n - at : BATCH, &tallies[step]);
	return stopwatch_seconds(&watch);
}

static void check_entries(struct world *world, uint64_t wanted)
{
	struct cleave_map_accounts accounts;

	cleave_map_account(&world->map, &world->thread, &accounts);
	if (accounts.entries != wanted)
		printf("maps: %llu entries instead of %llu\n", (unsigned long long)accounts.entries,
		       (unsigned long long)wanted);
}

#define PARTS 2 /* objects from the pool, objects from libc */

static const char *const part_names[PARTS] = { "memb", "memb, libc" };

struct part {
	struct world *world;
	struct samples ns[STEPS];
	struct samples copies[STEPS];
	struct samples objects[STEPS];
};

/*
 * Group by group, first once to warm the caches.  The stopwatch gives a group's sum; how it is shared out is seen from
 * the wall clock.
 */
static void repeat_part(struct part *part, const struct cleave_entry *entries, size_t n)
{
	static const enum step lasts[] = { UNCLIP, HALF_JOIN, PAGE_JOIN };
	unsigned int step = CLIP;

	for (unsigned int group = 0; group < sizeof(lasts) / sizeof(lasts[0]); group++) {
		struct tally warm[STEPS] = { { .wall = 0 } }, tallies[STEPS] = { { .wall = 0 } };
		double seconds, wall = 0;

		run_group(part->world, (enum step)step, lasts[group], entries, n, warm);
		seconds = run_group(part->world, (enum step)step, lasts[group], entries, n, tallies);
		for (unsigned int i = step; i <= lasts[group]; i++)
			wall += tallies[i].wall;
		for (; step <= lasts[group]; step++) {
			const struct tally *tally = &tallies[step];

			samples_add(&part->ns[step], seconds * tally->wall / wall / (double)n * 1e9);
			samples_add(&part->copies[step], 100 * (double)tally->copies / (double)n);
			samples_add(&part->objects[step], (double)tally->objects / (double)n);
		}
	}
}

static void report_one(struct suite *suite, const char *workload, const char *impl, const char *unit,
		       const struct samples *samples, const char *base, double target)
{
	struct row row = {
		.workload = workload,
		.impl = impl,
		.n = SUITE_SIZE,
		.threads = 1,
		.unit = unit,
		.figure = samples_figure(samples),
		.base = base,
		.target = target,
	};

	suite_report(suite, &row, base ? report_find(&suite->report, base, impl, SUITE_SIZE) : NULL);
}

/* What a protect takes is judged with objects from the pool: an allocator's price is not the map's. */
static void report_part(struct suite *suite, const struct part *part, const char *impl, bool judged)
{
	for (unsigned int i = 0; i < STEPS; i++)
		report_one(suite, step_names[i], impl, "ns", &part->ns[i], i == CLIP ? NULL : step_names[CLIP],
			   judged && (i == HALF || i == PAGE) ? 3 : 0);
	report_one(suite, "map-clip-copies", impl, "%", &part->copies[CLIP], NULL, 0);
	report_one(suite, "protect-half-copies", impl, "%", &part->copies[HALF], NULL, 0);
	report_one(suite, "protect-page-copies", impl, "%", &part->copies[PAGE], NULL, 0);
	report_one(suite, "protect-half-objects", impl, "x", &part->objects[HALF], NULL, 0);
	report_one(suite, "protect-page-objects", impl, "x", &part->objects[PAGE], NULL, 0);
}

/* What one attribute object costs from libc: allocated in batches, as changes do it, and freed in that order. */
static void time_objects(struct samples *samples)
{
	void *objects[8 * BATCH];
	struct stopwatch watch;
	double seconds = 0;

	for (unsigned int round = 0; round < 20; round++) {
		stopwatch_start(&watch);
		for (unsigned int i = 0; i < 8 * BATCH; i++)
			objects[i] = need(aligned_alloc(64, OBJECT_SIZE));
		seconds += stopwatch_seconds(&watch);
		for (unsigned int i = 0; i < 8 * BATCH; i++)
			free(objects[i]);
	}
	samples_add(samples, seconds / (20 * 8 * BATCH) * 1e9);
}

static bool any_wanted(const struct suite *suite, const char *const *names, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < PARTS; j++)
			if (suite_wants(suite, names[i], part_names[j]))
				return true;
	return false;
}

static void suite_parts(struct suite *suite)
{
	struct part parts[PARTS] = { { .world = NULL } };
	struct samples objects = { .n = 0 };
	struct layout layout;
	struct cleave_entry *entries;
	size_t n = 0;

	if (!any_wanted(suite, step_names, STEPS))
		return;
	layout_make(&layout, SUITE_SIZE, suite->seed);
	entries = layout_shuffled(&layout, suite->seed + 1);
	for (unsigned int i = 0; i < PARTS; i++) {
		struct world *world = parts[i].world = world_make(suite, i == 0 ? 2 * SUITE_SIZE : 0);

		for (size_t j = 0; j < layout.n; j++) {
			map_range(world, entries[j].first, entries[j].last + 1);
			must(cleave_insert(&world->index, &world->record.thread, entries[j].first, entries[j].last,
					   entries[j].value, NULL),
			     "insert");
		}
	}
	/* A page in the middle, with something on both sides of it. */
	for (size_t i = 0; i < layout.n; i++)
		if (entries[i].last - entries[i].first >= 3 * LAYOUT_PAGE - 1)
			entries[n++] = entries[i];
	for (unsigned int round = 0; round < suite->repetitions; round++) {
		for (unsigned int i = 0; i < PARTS; i++)
			repeat_part(&parts[i], entries, n);
		time_objects(&objects);
	}
	report_one(suite, "protect-object", "libc", "ns", &objects, NULL, 0);
	for (unsigned int i = 0; i < PARTS; i++) {
		check_entries(parts[i].world, layout.n);
		report_part(suite, &parts[i], part_names[i], i == 0);
		world_destroy(parts[i].world);
	}
	free(entries);
	layout_free(&layout);
}

/* ---- Each page of 256 MiB ---- */

#define BARRIER_PAGES 65536u
#define BARRIER_START (UINT64_C(1) << 32)
#define BARRIER_END (BARRIER_START + (uint64_t)BARRIER_PAGES * LAYOUT_PAGE)

/*
 * "alternate": each page in turn, even ones NONE, odd ones READ, so that each call cuts one page off what is left.
 * "every other": only the odd ones, so that each call cuts a page out of what is left, and two entries remain of it.
 */
struct barrier {
	const char *cut;
	const char *back;
	unsigned int step;
};

static const struct barrier barriers[] = {
	{ "protect-alternate", "protect-back", 1 },
	{ "protect-every-other", "protect-other-back", 2 },
};

enum { OURS, TREE, TREE_OBJECTS, CONTENDERS };

static const char *const contender_names[CONTENDERS] = { "memb", "rbtree", "rbtree, objects" };

/* One of them: the other is NULL. */
struct contender {
	struct world *world;
	struct tree_map *tree;
	struct pool pool; /* the tree's */
};

static void barrier_protect(const struct contender *contender, uint64_t page, unsigned int protection)
{
	uint64_t start = BARRIER_START + page * LAYOUT_PAGE;

	if (contender->world)
		protect(contender->world, start, start + LAYOUT_PAGE, protection);
	else
		must(tree_map_protect(contender->tree, start, start + LAYOUT_PAGE, protection), "protect");
}

static double barrier_run(const struct contender *contender, const struct barrier *barrier, bool back)
{
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (uint64_t page = barrier->step - 1; page < BARRIER_PAGES; page += barrier->step)
		barrier_protect(contender, page, back ? RW : page & 1 ? CLEAVE_PROT_READ : CLEAVE_PROT_NONE);
	return stopwatch_seconds(&watch) / (double)(BARRIER_PAGES / barrier->step) * 1e9;
}

static void check_barrier(const struct contender *contender)
{
	if (contender->world)
		check_entries(contender->world, BARRIER_PAGES);
	else if (tree_map_entries(contender->tree) != BARRIER_PAGES)
		printf("maps: %zu entries in the tree\n", tree_map_entries(contender->tree));
}

static void repeat_barrier(const struct suite *suite, const struct barrier *barrier, unsigned int who,
			   struct samples *cut, struct samples *back)
{
	static const struct cleave_map_attributes attributes = {
		.flags = CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY,
		.protection = RW,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};
	struct contender contender = { .pool = { .memory = { pool_alloc, pool_free }, .pooled = true } };

	if (who == OURS) {
		contender.world = world_make(suite, POOL);
		map_range(contender.world, BARRIER_START, BARRIER_END);
	} else {
		pool_fill(&contender.pool, POOL);
		contender.tree = tree_map_make(&contender.pool.memory, who == TREE_OBJECTS);
		must(tree_map_insert(contender.tree, BARRIER_START, BARRIER_END, &attributes), "insert");
	}
	samples_add(cut, barrier_run(&contender, barrier, false));
	check_barrier(&contender);
	samples_add(back, barrier_run(&contender, barrier, true));
	check_barrier(&contender);
	if (contender.world) {
		world_destroy(contender.world);
		return;
	}
	tree_map_destroy(contender.tree);
	pool_drain(&contender.pool);
}

/* The ratio is how many times faster than the tree. */
static void report_barrier(struct suite *suite, const char *workload, const struct samples samples[CONTENDERS],
			   double target)
{
	double ours = samples_figure(&samples[OURS]).median;

	for (unsigned int who = 0; who < CONTENDERS; who++) {
		struct row row = {
			.workload = workload,
			.impl = contender_names[who],
			.n = BARRIER_PAGES,
			.threads = 1,
			.unit = "ns",
			.figure = samples_figure(&samples[who]),
		};

		if (who != OURS) {
			row.base = "cleave_map's: over that";
			row.ratio = row.figure.median / ours;
			row.target = target;
			row.at_least = true;
		}
		report_add(&suite->report, &row);
	}
}

static void suite_barrier(struct suite *suite, const struct barrier *barrier, bool judged)
{
	struct samples cut[CONTENDERS] = { { .n = 0 } }, back[CONTENDERS] = { { .n = 0 } };
	const char *const names[] = { barrier->cut, barrier->back };

	if (!any_wanted(suite, names, 2))
		return;
	for (unsigned int round = 0; round < suite->repetitions; round++)
		for (unsigned int who = 0; who < CONTENDERS; who++)
			repeat_barrier(suite, barrier, who, &cut[who], &back[who]);
	report_barrier(suite, barrier->cut, cut, judged ? 4 : 0);
	report_barrier(suite, barrier->back, back, judged ? 2 : 0);
}

void suite_maps(struct suite *suite)
{
	suite_parts(suite);
	for (size_t i = 0; i < sizeof(barriers) / sizeof(barriers[0]); i++)
		suite_barrier(suite, &barriers[i], i == 0);
}
