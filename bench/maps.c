/* SPDX-License-Identifier: ISC */
/*
 * What one thread does to a map: mprotect of a part of an entry, unmap and map of a page inside one and of whole ones,
 * beside the index's own clip.  Neighbours are not joined.
 *
 * Attribute objects and nodes come from lists of the thread that do not run dry, so that the price of an allocator does
 * not count where a protect is judged by a clip; the objects of "memb, libc" come from libc.  Entries that show the
 * same, or nothing, get an object together; those of "memb, files" cannot.
 */
#include "maps_world.h"
#include "pace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 32 /* entries that are changed before they are changed back */

static void protect(struct world *world, uint64_t start, uint64_t end, unsigned int protection)
{
	maps_must(cleave_map_protect(&world->map, &world->thread, start, end, protection, 0, 0), "protect");
}

static void unmap(struct world *world, uint64_t start, uint64_t end)
{
	maps_must(cleave_map_unmap(&world->map, &world->thread, start, end, 0), "unmap");
}

/* ---- Part of an entry, or all of it ---- */

enum step {
	CLIP,
	UNCLIP,
	HALF,
	HALF_BACK,
	HALF_JOIN,
	PAGE,
	PAGE_BACK,
	PAGE_JOIN,
	UNMAP_PAGE,
	MAP_PAGE,
	MAPPED_JOIN,
	UNMAP,
	MAP,
	STEPS
};

static const char *const step_names[STEPS] = {
	"map-clip",	"map-unclip",	     "protect-half", "protect-half-back", "join-half",
	"protect-page", "protect-page-back", "join-page",    "unmap-page",	  "map-page",
	"join-mapped",	"unmap-entry",	     "map-entry",
};

static void do_step(struct world *world, enum step step, const struct cleave_entry *entry)
{
	void *file = world->files ? entry->value : NULL;
	uint64_t start = entry->first, end = entry->last + 1;
	uint64_t middle = start + (end - start) / 2 / LAYOUT_PAGE * LAYOUT_PAGE;

	switch (step) {
	case CLIP:
		maps_must(cleave_clip(&world->index, &world->record.thread, middle), "clip");
		break;
	case UNCLIP:
		maps_must(cleave_unclip(&world->index, &world->record.thread, middle), "unclip");
		break;
	case HALF:
		protect(world, middle, end, CLEAVE_PROT_READ);
		break;
	case PAGE:
		protect(world, middle, middle + LAYOUT_PAGE, CLEAVE_PROT_READ);
		break;
	case HALF_BACK:
		protect(world, middle, end, MAPS_RW);
		break;
	case PAGE_BACK:
		protect(world, middle, middle + LAYOUT_PAGE, MAPS_RW);
		break;
	case UNMAP_PAGE:
		unmap(world, middle, middle + LAYOUT_PAGE);
		break;
	case MAP_PAGE:
		maps_map(world, middle, middle + LAYOUT_PAGE, file);
		break;
	case UNMAP:
		unmap(world, start, end);
		break;
	case MAP:
		maps_map(world, start, end, file);
		break;
	default:
		maps_must(cleave_map_coalesce(&world->map, &world->thread, start, end), "join");
	}
}

/* What some batches of one step took. */
struct tally {
	double wall;
	uint64_t copies;
	uint64_t objects;
};

static void run_step(struct world *world, enum step step, const struct cleave_entry *entries, size_t n, bool clocks,
		     struct tally *tally)
{
	const struct cleave_counters *counters = &world->record.thread.counters;
	uint64_t copies = counters->copies, objects = maps_objects;
	double start = clocks ? measure_wall() : 0;

	for (size_t i = 0; i < n; i++)
		do_step(world, step, &entries[i]);
	tally->wall += clocks ? measure_wall() - start : 0;
	tally->copies += counters->copies - copies;
	tally->objects += maps_objects - objects;
}

/* Steps that undo one another, on all entries, by turns.  Return: the seconds of all. */
static double run_group(struct world *world, enum step first, enum step last, const struct cleave_entry *entries,
			size_t n, bool clocks, struct tally tallies[STEPS])
{
	struct stopwatch watch;

	stopwatch_start(&watch);
	for (size_t at = 0; at < n; at += BATCH)
		for (unsigned int step = first; step <= last; step++)
			run_step(world, (enum step)step, entries + at, n - at < BATCH ? n - at : BATCH, clocks,
				 &tallies[step]);
	return stopwatch_seconds(&watch);
}

/* Objects from the pool; from libc; and where each entry shows a file of its own, so that none can be shared. */
enum { POOL, LIBC, FILES, PARTS };

static const char *const part_names[PARTS] = { "memb", "memb, libc", "memb, files" };

struct part {
	struct world *world;
	struct samples ns[STEPS];
	struct samples copies[STEPS];
	struct samples objects[STEPS];
};

/* The last steps of groups that undo one another; the first ones change attributes alone, the others what is mapped. */
static const enum step changing[] = { UNCLIP, HALF_JOIN, PAGE_JOIN }, mapping[] = { MAPPED_JOIN, MAP };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Group by group, each first until it is steady.  The stopwatch gives a group's sum; how it is shared out was seen from
 * the wall clock in the untimed passes.
 */
static void repeat_part(struct part *part, const struct cleave_entry *entries, size_t n, unsigned int step,
			const enum step *lasts, size_t groups)
{
	for (size_t group = 0; group < groups; group++) {
		struct tally warm[STEPS], tallies[STEPS];
		struct pace pace;
		double seconds, wall = 0;

		do {
			struct steady steady = { .passes = 0 };

			memset(tallies, 0, sizeof(tallies));
			pace_begin(&pace);
			do {
				memset(warm, 0, sizeof(warm));
				seconds = run_group(part->world, (enum step)step, lasts[group], entries, n, true, warm);
			} while (steady_pass(&steady, seconds));
			pace_mark(&pace);
			seconds = run_group(part->world, (enum step)step, lasts[group], entries, n, false, tallies);
		} while (!pace_end(&pace));
		for (unsigned int i = step; i <= lasts[group]; i++)
			wall += warm[i].wall;
		for (; step <= lasts[group]; step++) {
			const struct tally *tally = &tallies[step];

			samples_add_paced(&part->ns[step], seconds * warm[step].wall / wall / (double)n * 1e9,
					  pace.full);
			samples_add_paced(&part->copies[step], 100 * (double)tally->copies / (double)n, pace.full);
			samples_add_paced(&part->objects[step], (double)tally->objects / (double)n, pace.full);
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
		.samples = *samples,
		.base = base,
		.target = target,
	};

	suite_report(suite, &row, base ? report_find(&suite->report, base, impl, SUITE_SIZE) : NULL);
}

/* What a protect takes is judged where few objects are made, of the pool's memory; the others are reported beside. */
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
			objects[i] = need(aligned_alloc(64, MAPS_OBJECT));
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

void suite_maps_parts(struct suite *suite)
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
		struct world *world = parts[i].world = maps_world_make(suite, i == LIBC);

		world->files = i == FILES;
		for (size_t j = 0; j < layout.n; j++) {
			maps_map(world, entries[j].first, entries[j].last + 1,
				 world->files ? entries[j].value : NULL);
			maps_must(cleave_insert(&world->index, &world->record.thread, entries[j].first, entries[j].last,
						entries[j].value, NULL),
				  "insert");
		}
	}
	for (unsigned int i = 0, rounds = samples_rounds(); i < PARTS; i++)
		for (unsigned int step = CLIP; step <= PAGE_JOIN; step++)
			parts[i].ns[step].rounds = rounds;
	/* A page in the middle, with something on both sides of it. */
	for (size_t i = 0; i < layout.n; i++)
		if (entries[i].last - entries[i].first >= 3 * LAYOUT_PAGE - 1)
			entries[n++] = entries[i];
	for (unsigned int round = 0; round < suite->repetitions; round++) {
		for (unsigned int i = 0; i < PARTS; i++)
			repeat_part(&parts[i], entries, n, CLIP, changing, COUNT(changing));
		time_objects(&objects);
	}
	/* Afterwards, because what is mapped anew has an object of its own. */
	for (unsigned int round = 0; round < suite->repetitions; round++)
		for (unsigned int i = 0; i < PARTS; i++)
			repeat_part(&parts[i], entries, n, UNMAP_PAGE, mapping, COUNT(mapping));
	report_one(suite, "protect-object", "libc", "ns", &objects, NULL, 0);
	for (unsigned int i = 0; i < PARTS; i++) {
		maps_check_entries(parts[i].world, layout.n);
		report_part(suite, &parts[i], part_names[i], i == POOL);
		maps_world_destroy(parts[i].world);
	}
	free(entries);
	layout_free(&layout);
}
