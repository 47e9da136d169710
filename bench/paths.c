/* SPDX-License-Identifier: ISC */
/*
 * What the library was made for, with all that a fault is: threads that touch the pages of one large anonymous segment
 * in order, each touch a fault from the lookup to the page that is entered, while others unmap and map elsewhere.
 *
 * fault-path: a touch.  remap-path: a pair of unmap and map beside it.  ...-cpu: of that, without what the thread slept
 * or waited for a processor.  entries-path: what became of the segment.
 * (touches.c does the same with each index, and what stands around it as simple as can be.)
 */
#include "crowd.h"
#include "distance.h"
#include "faults.h"
#include "pace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES ((uint64_t)1 << 16) /* a thread's: of several, each must last longer than a time slice */
#define SMOKE_PAGES ((uint64_t)1 << 11)
#define PLACES 4096
#define FAULTERS 4 /* at the most, and as many others */

static const struct faults_impl *const paths[] = {
	&faults_memb, &faults_qsbr, &faults_ck, &faults_memb_chunked, &faults_amap, &faults_tree,
};
#define PATHS (sizeof(paths) / sizeof(paths[0]))

struct part {
	const struct faults_impl *path;
	uint64_t first;
	uint64_t n;		      /* pages to touch */
	struct cleave_entry *entries; /* to unmap and map */
	unsigned int *faulting;	      /* [a] threads that have not finished */
	double seconds;
	double cpu;
};

static void must(size_t failed, const struct part *part, const char *what)
{
	if (failed) {
		fprintf(stderr, "cleave-bench: %s: %s failed\n", part->path->name, what);
		exit(1);
	}
}

static void stop(struct part *part, const struct stopwatch *watch)
{
	part->seconds = measure_wall() - watch->wall;
	part->cpu = stopwatch_cpu(watch);
}

static void *fault(struct crowd_member *member)
{
	struct part *part = member->context;
	struct stopwatch watch;

	faults_stock(part->n * 128);
	stopwatch_start(&watch);
	for (uint64_t page = part->first; page < part->first + part->n; page++)
		must(part->path->touch(member->thread, &page, 1), part, "a fault");
	stop(part, &watch);
	member->ops = part->n;
	__atomic_fetch_sub(part->faulting, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *remap(struct crowd_member *member)
{
	struct part *part = member->context;
	struct stopwatch watch;
	size_t at = 0;

	stopwatch_start(&watch);
	while (__atomic_load_n(part->faulting, __ATOMIC_ACQUIRE)) {
		must(part->path->remap(member->thread, &part->entries[at]), part, "an unmap or a map");
		at = (at + 1) % PLACES;
		member->ops++;
	}
	stop(part, &watch);
	return NULL;
}

enum { TOUCH, TOUCH_CPU, PAIR, PAIR_CPU, ENTRIES, OUTCOMES };

static const struct {
	const char *workload;
	const char *unit;
} rows[OUTCOMES] = {
	[TOUCH] = { "fault-path", "ns" },    [TOUCH_CPU] = { "fault-path-cpu", "ns" },
	[PAIR] = { "remap-path", "ns" },     [PAIR_CPU] = { "remap-path-cpu", "ns" },
	[ENTRIES] = { "entries-path", "entries" },
};

struct outcome {
	struct samples of[OUTCOMES];
};

struct run {
	double of[OUTCOMES];
	bool full; /* at full pace */
};

/* The means of some threads, ns. */
static void means(double *wall, double *cpu, const struct crowd_member *members, unsigned int n)
{
	double wall_ns = 0, cpu_ns = 0;
	uint64_t ops = 0;

	for (unsigned int i = 0; i < n; i++) {
		const struct part *part = members[i].context;

		wall_ns += part->seconds * 1e9;
		cpu_ns += part->cpu * 1e9;
		ops += members[i].ops;
	}
	*wall = wall_ns / (double)(ops ? ops : 1);
	*cpu = cpu_ns / (double)(ops ? ops : 1);
}

static struct run one_run(struct suite *suite, const struct faults_impl *path, const struct layout *layout,
			  unsigned int faulters)
{
	struct run run;
	uint64_t share = suite->smoke ? SMOKE_PAGES : PAGES, pages = share * faulters;
	struct bench_impl threads = { .name = path->name,
				      .attach = path->attach,
				      .detach = path->detach,
				      .online = path->online,
				      .offline = path->offline };
	struct crowd_member members[2 * FAULTERS];
	struct part parts[2 * FAULTERS];
	unsigned int faulting = faulters;
	void *world, *thread;

	measure_unpin();
	world = path->make(pages, layout);
	for (unsigned int i = 0; i < 2 * faulters; i++) {
		bool faults = i < faulters;
		unsigned int number = faults ? i : i - faulters;
		size_t from = layout->n * number / faulters, to = layout->n * (number + 1) / faulters;

		parts[i] = (struct part){ .path = path,
					  .first = share * number,
					  .n = faults ? share : 0,
					  .entries = faults ? NULL
							    : layout_drawn(layout, from, to, PLACES, suite->seed + i),
					  .faulting = &faulting };
		members[i] = (struct crowd_member){ .impl = &threads,
						    .index = world,
						    .processor = faulters == 1 ? suite->processor[i] : -1,
						    .body = faults ? fault : remap,
						    .context = &parts[i] };
	}
	run.full = crowd_run(members, 2 * faulters, 0, 0);
	means(&run.of[TOUCH], &run.of[TOUCH_CPU], members, faulters);
	means(&run.of[PAIR], &run.of[PAIR_CPU], members + faulters, faulters);
	thread = path->attach(world);
	run.of[ENTRIES] = (double)path->entries(thread);
	path->detach(thread);
	path->destroy(world);
	faults_forget();
	for (unsigned int i = faulters; i < 2 * faulters; i++)
		free(parts[i].entries);
	return run;
}

/* Two threads are measured at full pace, if there is patience; more have no processor of their own. */
static void one_sample(struct suite *suite, const struct faults_impl *path, const struct layout *layout,
		       unsigned int faulters, struct outcome *outcome)
{
	bool pinned = faulters == 1;
	struct run run;
	double began;

	do {
		began = measure_wall();
		run = one_run(suite, path, layout, faulters);
	} while (pinned && suite->apart && pace_again(run.full, began));
	for (unsigned int i = 0; i < OUTCOMES; i++) {
		if (pinned && i != ENTRIES)
			samples_add_paced(&outcome->of[i], run.of[i], run.full);
		else
			samples_add(&outcome->of[i], run.of[i]);
	}
}

static void report(struct suite *suite, const struct faults_impl *path, unsigned int threads, unsigned int what,
		   const struct samples *samples)
{
	struct row row = {
		.workload = rows[what].workload,
		.impl = path->name,
		.n = SUITE_SIZE,
		.threads = threads,
		.unit = rows[what].unit,
		.samples = *samples,
	};

	if (path->peer && what != ENTRIES)
		suite_report_peer(suite, &row);
	else
		suite_report(suite, &row, NULL);
}

static void paths_of(struct suite *suite, const struct layout *layout, unsigned int faulters)
{
	static struct outcome outcomes[PATHS];
	unsigned int rounds = suite->smoke ? 1 : suite->quick ? 3 : 7;
	struct samples distance = { .n = 0 };
	bool any = false;

	memset(outcomes, 0, sizeof(outcomes));
	for (unsigned int round = 0; round < rounds; round++) {
		for (size_t i = 0; i < PATHS; i++) {
			if (!suite_wants(suite, "fault-path", paths[i]->name))
				continue;
			one_sample(suite, paths[i], layout, faulters, &outcomes[i]);
			any = true;
		}
		if (any && faulters == 1)
			samples_add(&distance, distance_between(suite->processor[0], suite->processor[1]));
	}
	suite_report_distance(suite, REPORT_DISTANCE_AGAIN, "fault-path", &distance);
	for (unsigned int what = 0; what < OUTCOMES; what++)
		for (size_t i = 0; i < PATHS; i++)
			if (outcomes[i].of[what].n)
				report(suite, paths[i], 2 * faulters, what, &outcomes[i].of[what]);
}

void suite_paths(struct suite *suite)
{
	struct layout layout;

	layout_make(&layout, SUITE_SIZE, suite->seed);
	if (suite->processor[1] >= 0)
		paths_of(suite, &layout, 1);
	paths_of(suite, &layout, FAULTERS);
	measure_pin(suite->processor[0]);
	layout_free(&layout);
}
