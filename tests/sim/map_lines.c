/* SPDX-License-Identifier: ISC */
/*
 * Which cache lines do two writers of one map both write?  None, where they protect ranges in different leaves, but for
 * what map.h names: the counter of a limit.  (The page counter of an object that both cut is written later.)
 *
 * Two coroutines of the simulator protect at the same time, under random schedules; and each alone.
 */
#include "map.h"

#include "lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE UINT64_C(4096)
#define BASE (UINT64_C(1) << 32)
#define ENTRIES 60u
#define EXECUTIONS 2000u
#define RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)

struct world {
	_Alignas(64) struct cleave_domain domain;
	_Alignas(64) struct cleave_maps maps;
	_Alignas(64) struct cleave_map map;
	struct own {
		_Alignas(64) struct cleave_thread self;
		_Alignas(64) struct cleave_map_thread thread;
		int result;
	} own[THREADS + 1];
};

struct call {
	unsigned int entry;
	unsigned int first; /* pages of the entry */
	unsigned int end;
	unsigned int protection;
};

/* What both may write: what it is for, and what must be among it (or the test tests nothing). */
enum common { NOTHING, LIMIT, BRANCHES };

struct scenario {
	const char *name;
	bool one_mapping; /* one object, clipped into entries; else each entry has its own */
	bool roomy;	  /* the two entries are moved to leaves with room for the pieces */
	uint32_t flags;	  /* of the map */
	uint8_t protection;
	struct call call[THREADS];
	enum common common;
};

static const struct scenario scenarios[] = {
	{ "whole entries", false, false, 0, RW, { { 2, 0, 4, 1 }, { 55, 0, 4, 1 } }, NOTHING },
	{ "parts of entries", false, true, 0, RW, { { 2, 1, 2, 1 }, { 54, 2, 3, 1 } }, NOTHING },
	{ "upper and lower half", false, true, 0, RW, { { 4, 2, 4, 1 }, { 52, 0, 2, 1 } }, NOTHING },
	{ "one object, cut by both", true, false, 0, RW, { { 2, 0, 4, 1 }, { 55, 0, 4, 1 } }, NOTHING },
	{ "one object, parts", true, true, 0, RW, { { 2, 1, 2, 1 }, { 54, 2, 3, 1 } }, NOTHING },
	{ "a data limit", false, false, CLEAVE_MAP_LIMITS, 0, { { 2, 0, 4, RW }, { 55, 0, 4, RW } }, LIMIT },
	{ "limits, nothing grows", false, false, CLEAVE_MAP_LIMITS, RW, { { 2, 0, 4, 1 }, { 55, 0, 4, 1 } }, NOTHING },
	/* Not so near that both share the room of one leaf between them. */
	{ "full leaves are divided", false, false, 0, RW, { { 2, 1, 2, 1 }, { 44, 1, 2, 1 } }, BRANCHES },
};

static struct world *world;
static const struct scenario *scenario;
static struct call calls[THREADS]; /* the scenario's, maybe moved */
static struct sim_snapshot snapshot;

/* ---- The map ---- */

static void must(int error, const char *what)
{
	if (error) {
		printf("%s: %s: %d\n", scenario->name, what, error);
		exit(1);
	}
}

static uint64_t entry_start(unsigned int i)
{
	return BASE + i * 4 * PAGE;
}

static void map_range(uint64_t start, uint64_t end)
{
	struct cleave_map_request request = {
		.addr = start,
		.size = end - start,
		.flags = CLEAVE_MAP_FIXED,
		.entry_flags = CLEAVE_MAP_COW,
		.protection = scenario->protection,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};

	must(cleave_map_map(&world->map, &world->own[THREADS].thread, &request), "map");
}

static void prepare(void)
{
	static const struct cleave_map_ops ops = { .object_ref = NULL };
	struct cleave_map_config config = {
		.min = PAGE,
		.max = UINT64_C(1) << 47,
		.page_shift = 12,
		.flags = scenario->flags,
		.size_limit = CLEAVE_MAP_UNLIMITED,
		.data_limit = UINT64_C(1) << 30,
	};
	struct cleave_map_thread *thread;

	sim_snapshot_free(&snapshot);
	sim_arena_clear();
	world = sim_arena_alloc(sizeof(*world));
	arena = (const char *)world;
	memset(world, 0, sizeof(*world));
	cleave_domain_init(&world->domain, &sim_ops, &sim_memory, NULL, UINT64_MAX / 2);
	cleave_maps_init(&world->maps, &world->domain, &ops);
	for (unsigned int t = 0; t <= THREADS; t++) {
		cleave_thread_init(&world->own[t].self, &world->domain);
		cleave_map_thread_init(&world->own[t].thread, &world->maps, &world->own[t].self);
	}
	thread = &world->own[THREADS].thread;
	must(cleave_map_init(&world->map, thread, &config), "init");
	sim_index = &world->map.index;
	sim_domain = &world->domain;
	if (scenario->one_mapping)
		map_range(entry_start(0), entry_start(ENTRIES));
	/* Not upward: leaves that are divided share evenly then, and most have room. */
	for (unsigned int i = 0; i < ENTRIES; i++) {
		unsigned int entry = scenario->roomy ? i * 23 % ENTRIES : i;

		if (scenario->one_mapping)
			must(cleave_map_clip_start(&world->map, thread, entry_start(entry), NULL), "clip");
		else
			map_range(entry_start(entry), entry_start(entry + 1));
	}
	cleave_map_thread_flush(thread, true);
	/* Caches are full: an empty one is the allocator's affair. */
	for (unsigned int t = 0; t < THREADS; t++)
		must(cleave_map_reserve(&world->own[t].thread, 2), "reserve");
	sim_snapshot_take(&snapshot);
}

static void body(unsigned int thread)
{
	const struct call *call = &calls[thread];
	struct own *own = &world->own[thread];
	uint64_t start = entry_start(call->entry);

	sim_call("protect");
	own->result = cleave_map_protect(&world->map, &own->thread, start + call->first * PAGE,
					 start + call->end * PAGE, call->protection, 0, 0);
	sim_return();
}

static void body_of_second(unsigned int thread)
{
	(void)thread;
	body(1);
}

/* ---- What both have written ---- */

/* A node above the leaves, or what the library counts when it replaces nodes. */
static bool is_branch_line(size_t line)
{
	const char *name = line_name(line);

	return line == line_of(&world->map.index.root_lock) || line == line_of(&world->map.index.root) ||
	       line == line_of(&world->domain.garbage) || !strncmp(name, "branch", 6);
}

static bool may_be_common(size_t line)
{
	switch (scenario->common) {
	case LIMIT:
		return line == line_of(&world->map.data);
	case BRANCHES:
		return is_branch_line(line);
	default:
		return false;
	}
}

/* Return: how many lines both have written, of those below `end`; -1: one of them must not be. */
static int common_lines(size_t end, const char *when)
{
	int common = 0;

	for (size_t line = 0; line < end; line++) {
		if (!written[0][line] || !written[1][line])
			continue;
		common++;
		if (may_be_common(line))
			continue;
		printf("FAILED: %s, %s: both write line %zu (%s)\n", scenario->name, when, line, line_name(line));
		return -1;
	}
	return common;
}

static unsigned int count(unsigned int thread)
{
	unsigned int n = 0;

	for (size_t line = 0; line < LINES; line++)
		n += written[thread][line];
	return n;
}

/* One call alone, from the start, with the lines that its plain stores have changed. */
static bool run_one(const struct sim_options *options, unsigned int thread, bool lines[LINES])
{
	sim_explore(options);
	if (lines_run_alone(&snapshot, thread ? body_of_second : body) != SIM_PASSED) {
		printf("FAILED: %s, alone: %s\n", scenario->name, sim_failure());
		return false;
	}
	must(world->own[thread].result, "protect");
	/* Alone, either is the simulator's thread 0. */
	memcpy(lines, written[0], sizeof(written[0]));
	return true;
}

/* Where the scenario wants room, move to an entry whose leaf is edited, not replaced. */
static bool choose(const struct sim_options *options, unsigned int thread)
{
	static bool ignored[LINES];

	calls[thread] = scenario->call[thread];
	while (scenario->roomy && calls[thread].entry > 0 && calls[thread].entry < ENTRIES - 1) {
		if (!run_one(options, thread, ignored))
			return false;
		if (!world->own[thread].self.counters.restructures)
			return true;
		calls[thread].entry += thread ? -1u : 1u;
	}
	if (scenario->roomy)
		printf("FAILED: %s: no leaf has room\n", scenario->name);
	return !scenario->roomy;
}

static bool run_alone(const struct sim_options *options)
{
	static bool lines[THREADS][LINES];

	for (unsigned int thread = 0; thread < THREADS; thread++)
		if (!choose(options, thread) || !run_one(options, thread, lines[thread]))
			return false;
	memcpy(written, lines, sizeof(written));
	sim_snapshot_restore(&snapshot);
	return common_lines((snapshot.used + 63) / 64, "one after the other") >= 0;
}

static bool run_together(struct sim_options *options)
{
	unsigned int met = 0, most = 0, lines = 0;

	sim_explore(options);
	for (unsigned int i = 0; i < EXECUTIONS; i++) {
		int common;

		if (lines_run(&snapshot, THREADS, body, i) != SIM_PASSED) {
			printf("FAILED: %s, execution %u: %s\n", scenario->name, i, sim_failure());
			return false;
		}
		must(world->own[0].result, "first protect");
		must(world->own[1].result, "second protect");
		common = common_lines(LINES, "together");
		if (common < 0)
			return false;
		met += common > 0;
		most = (unsigned int)common > most ? (unsigned int)common : most;
		lines = count(0) + count(1);
		for (unsigned int t = 0; t < THREADS; t++)
			cleave_map_thread_exit(&world->own[t].thread);
		if (cleave_map_verify(&world->map, &world->own[THREADS].thread, NULL)) {
			printf("FAILED: %s, execution %u: the map is damaged\n", scenario->name, i);
			return false;
		}
	}
	printf("%-26s %u executions, %u lines written, %u common at most, in %u of them\n", scenario->name, EXECUTIONS,
	       lines, most, met);
	/* What is allowed must happen, or else it was not looked at. */
	if (scenario->common != NOTHING && !met) {
		printf("FAILED: %s: they never met\n", scenario->name);
		return false;
	}
	return lines > 0;
}

int main(int argc, char **argv)
{
	struct sim_options options = { .seed = 1, .bound = 2 };
	bool good = true;

	lines_begin(argc, argv, "Do two writers of a map, on entries of their own, write cache lines of their own?");
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		scenario = &scenarios[i];
		prepare();
		good = run_alone(&options) && good;
		good = run_together(&options) && good;
	}
	sim_snapshot_free(&snapshot);
	return lines_end(good);
}
