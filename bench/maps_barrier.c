/* SPDX-License-Identifier: ISC */
/*
 * A garbage collector's barrier: 256 MiB of which each page gets a protection of its own, and then all get the old one
 * back, beside a red-black tree; alone, with a second thread that does the other half, with one that looks up
 * meanwhile.  Neighbours are not joined.  All that the map and the trees allocate comes from lists of the thread that
 * do not run dry.
 */
#include "distance.h"
#include "maps.h"
#include "maps_world.h"
#include "pace.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

enum { OURS, UVM, UVM_OBJECTS, PLAIN, CONTENDERS };

static const char *const contender_names[CONTENDERS] = { "memb", "rbtree", "rbtree, objects", "rbtree, bare" };

/* Who else is there. */
enum company { ALONE, WRITER, READER, COMPANIES };

static const char *const company_names[COMPANIES] = { "", ", 2 writers", ", 1 reader" };

/* One of them: the other is NULL. */
struct contender {
	struct world *world;
	struct tree_map *tree;
	struct pool pool; /* the tree's */
};

/* A thread's part of the work. */
struct lane {
	_Alignas(MEASURE_APART) pthread_t thread;
	int processor;
	const struct contender *contender;
	const struct barrier *barrier;
	uint64_t first, end; /* pages to change; none: looks up instead */
	uint64_t seed;
	bool back;
	double waited; /* for full pace; before that, for how long it may */
	bool full;     /* at full pace */
	double seconds;
	double wall;
	uint64_t lookups;
	CLEAVE_SECTION_THREAD *record;
	struct cleave_map_thread *map_thread;
};

/* Apart from all that anybody writes. */
static struct {
	_Alignas(MEASURE_APART) atomic_int waiting; /* lanes that are not ready yet */
	_Alignas(MEASURE_APART) atomic_int working; /* lanes that change pages */
} common;

static void lane_protect(struct lane *lane, uint64_t page, unsigned int protection)
{
	const struct contender *contender = lane->contender;
	uint64_t start = BARRIER_START + page * LAYOUT_PAGE, end = start + LAYOUT_PAGE;

	if (contender->world)
		maps_must(cleave_map_protect(&contender->world->map, lane->map_thread, start, end, protection, 0, 0),
			  "protect");
	else
		maps_must(tree_map_protect(contender->tree, start, end, protection), "protect");
}

static void lane_lookup(struct lane *lane)
{
	const struct contender *contender = lane->contender;
	uint64_t page;

	lane->seed = lane->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	page = (lane->seed >> 40) % BARRIER_PAGES;
	if (contender->world) {
		struct cleave_map_entry entry;

		cleave_section_enter(lane->record);
		cleave_map_lookup_rcu(&contender->world->map, BARRIER_START + page * LAYOUT_PAGE, &entry);
		cleave_section_leave(lane->record);
	} else {
		struct cleave_map_attributes attributes;

		tree_map_lookup(contender->tree, BARRIER_START + page * LAYOUT_PAGE, &attributes);
	}
	lane->lookups++;
}

static void lane_work(struct lane *lane)
{
	struct stopwatch watch;

	lane->waited = pace_wait(lane->waited);
	atomic_fetch_sub(&common.waiting, 1);
	while (atomic_load(&common.waiting))
		;
	lane->full = pace_full();
	stopwatch_start(&watch);
	lane->wall = measure_wall();
	if (lane->first == lane->end)
		while (atomic_load(&common.working))
			lane_lookup(lane);
	for (uint64_t page = lane->first; page < lane->end; page += lane->barrier->step)
		lane_protect(lane, page, lane->back ? MAPS_RW : page & 1 ? CLEAVE_PROT_READ : CLEAVE_PROT_NONE);
	if (lane->first < lane->end)
		atomic_fetch_sub(&common.working, 1);
	lane->wall = measure_wall() - lane->wall;
	lane->seconds = stopwatch_seconds(&watch);
	lane->full = pace_full() && lane->full;
}

/* What the second thread takes, and has freed when it ends: that of the next one that takes its place. */
static struct cache left_behind[MAPS_CLASSES];

static void *lane_main(void *argument)
{
	struct lane *lane = argument;
	struct world *world = lane->contender->world;
	struct cleave_map_thread map_thread;
	CLEAVE_SECTION_THREAD record;

	measure_pin(lane->processor);
	pace_on(1);
	memcpy(maps_classes, left_behind, sizeof(maps_classes));
	maps_pool_sort();
	if (world) {
		lane->record = &record;
		lane->map_thread = &map_thread;
		cleave_section_register(&record, &world->domain);
		cleave_map_thread_init(&map_thread, &world->maps, &record.thread);
	}
	lane_work(lane);
	if (world) {
		cleave_map_thread_exit(&map_thread);
		cleave_section_unregister(&record, &world->domain);
	}
	maps_pool_sort();
	memcpy(left_behind, maps_classes, sizeof(maps_classes));
	return NULL;
}

/*
 * Each lane is a thread, the first one the caller.  Return: ns a page, of the time of the slower one of those that
 * change pages, slept time included; all at full pace?
 */
static double barrier_run(const struct suite *suite, const struct contender *contender, const struct barrier *barrier,
			  enum company company, bool back, bool *full)
{
	unsigned int n = company == ALONE ? 1 : 2;
	struct lane lanes[2];
	double seconds;

	atomic_store(&common.waiting, (int)n);
	atomic_store(&common.working, company == WRITER ? 2 : 1);
	for (unsigned int i = 0; i < n; i++) {
		uint64_t half = BARRIER_PAGES / 2;

		lanes[i] = (struct lane){ .processor = suite->processor[i],
					  .contender = contender,
					  .barrier = barrier,
					  .end = BARRIER_PAGES,
					  .seed = suite->seed,
					  .waited = n == 1 || suite->apart ? pace_patience() : 0,
					  .back = back };
		if (company == WRITER && i == 0)
			lanes[i].end = half;
		if (company == WRITER && i == 1)
			lanes[i].first = half;
		if (company == READER && i == 1)
			lanes[i].first = lanes[i].end;
		if (lanes[i].first < lanes[i].end)
			lanes[i].first += barrier->step - 1;
	}
	if (n == 2)
		maps_pool_share(left_behind); /* a world's memory goes back to whoever destroys it: the first thread */
	if (n == 2 && pthread_create(&lanes[1].thread, NULL, lane_main, &lanes[1]))
		maps_must(-EAGAIN, "thread");
	if (contender->world) {
		lanes[0].record = &contender->world->record;
		lanes[0].map_thread = &contender->world->thread;
	}
	lane_work(&lanes[0]);
	seconds = lanes[0].seconds;
	pace_waited(lanes[0].waited);
	*full = lanes[0].full;
	if (n == 2) {
		pthread_join(lanes[1].thread, NULL);
		if (lanes[1].waited > lanes[0].waited)
			pace_waited(lanes[1].waited - lanes[0].waited);
		*full = *full && lanes[1].full;
		if (company == WRITER && lanes[1].seconds > seconds)
			seconds = lanes[1].seconds;
	}
	return seconds / (double)(BARRIER_PAGES / barrier->step) * 1e9;
}

static void check_barrier(const struct contender *contender)
{
	if (contender->world)
		maps_check_entries(contender->world, BARRIER_PAGES);
	else if (tree_map_entries(contender->tree) != BARRIER_PAGES || !tree_map_verify(contender->tree))
		printf("maps: %zu entries in the tree\n", tree_map_entries(contender->tree));
}

/* ns a page of the cut, of the way back; at full pace?  Return: one of them is to be done again. */
static bool try_barrier(const struct suite *suite, const struct barrier *barrier, unsigned int who,
			enum company company, double ns[2], bool full[2])
{
	static const struct cleave_map_attributes attributes = {
		.flags = CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY,
		.protection = MAPS_RW,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};
	static const enum tree_kind kinds[] = {
		[UVM] = TREE_UVM, [UVM_OBJECTS] = TREE_UVM_OBJECTS, [PLAIN] = TREE_PLAIN
	};
	struct contender contender = { .pool = { .memory = { maps_pool_alloc, maps_pool_free } } };
	bool again = false;

	if (who == OURS) {
		contender.world = maps_world_make(suite, false);
		maps_map(contender.world, BARRIER_START, BARRIER_END, NULL);
	} else {
		measure_pin(suite->processor[0]);
		contender.tree = tree_map_make(&contender.pool.memory, kinds[who], LAYOUT_PAGE, LAYOUT_TOP);
		maps_must(tree_map_insert(contender.tree, BARRIER_START, BARRIER_END, &attributes), "insert");
	}
	for (unsigned int back = 0; back < 2 && !again; back++) {
		double began = measure_wall();

		ns[back] = barrier_run(suite, &contender, barrier, company, back, &full[back]);
		/* A tree's writer can wait for a reader for up to a minute: once. */
		again = company != READER && (company == ALONE || suite->apart) && pace_again(full[back], began);
		check_barrier(&contender);
	}
	if (contender.world)
		maps_world_destroy(contender.world);
	else
		tree_map_destroy(contender.tree);
	maps_pool_sort();
	return again;
}

static void repeat_barrier(const struct suite *suite, const struct barrier *barrier, unsigned int who,
			   enum company company, struct samples *cut, struct samples *back)
{
	double ns[2];
	bool full[2];

	while (try_barrier(suite, barrier, who, company, ns, full))
		;
	samples_add_paced(cut, ns[0], full[0]);
	samples_add_paced(back, ns[1], full[1]);
}

/* The ratio is how many times faster than the tree. */
static void report_barrier(struct suite *suite, const char *workload, enum company company,
			   const struct samples samples[CONTENDERS], double target)
{
	char *name = need(malloc(64)); /* for as long as the report */

	snprintf(name, 64, "%s%s", workload, company_names[company]);
	for (unsigned int who = 0; who < CONTENDERS; who++) {
		struct row row = {
			.workload = name,
			.impl = contender_names[who],
			.n = BARRIER_PAGES,
			.threads = company == ALONE ? 1 : 2,
			.unit = "ns",
			.samples = samples[who],
		};

		if (who != OURS) {
			row.base = "cleave_map's: over that";
			row.ratio = samples_ratio_by_turns(&samples[who], &samples[OURS]);
			row.target = who == UVM ? target : 0;
			row.at_least = true;
		}
		report_add(&suite->report, &row);
	}
}

static void suite_one(struct suite *suite, const struct barrier *barrier, enum company company, bool judged)
{
	struct samples cut[CONTENDERS] = { { .n = 0 } }, back[CONTENDERS] = { { .n = 0 } };
	char names[2][64];
	bool found = false;

	snprintf(names[0], sizeof(names[0]), "%s%s", barrier->cut, company_names[company]);
	snprintf(names[1], sizeof(names[1]), "%s%s", barrier->back, company_names[company]);
	for (unsigned int who = 0; who < CONTENDERS; who++)
		found |= suite_wants(suite, names[0], contender_names[who]) ||
			 suite_wants(suite, names[1], contender_names[who]);
	if (!found || (company != ALONE && suite->processor[1] < 0))
		return;
	/* A tree's writer waits for readers for up to a minute, where the rwlock prefers them. */
	unsigned int rounds = company == ALONE ? suite->repetitions : suite->quick || company == READER ? 1 : 3;

	struct samples distance = { .n = 0 };

	/* First once for the memory. */
	for (unsigned int who = 0; who < CONTENDERS && rounds > 1; who++) {
		double ns[2];
		bool full[2];

		(void)try_barrier(suite, barrier, who, company, ns, full);
	}
	for (unsigned int round = 0; round < rounds; round++) {
		for (unsigned int who = 0; who < CONTENDERS; who++)
			repeat_barrier(suite, barrier, who, company, &cut[who], &back[who]);
		if (company != ALONE)
			samples_add(&distance, distance_between(suite->processor[0], suite->processor[1]));
	}
	if (distance.n) {
		char *name = need(malloc(64)); /* for as long as the report */

		snprintf(name, 64, "%s", names[0]);
		suite_report_distance(suite, REPORT_DISTANCE_AGAIN, name, &distance);
	}
	report_barrier(suite, barrier->cut, company, cut, judged ? 4 : 0);
	report_barrier(suite, barrier->back, company, back, judged ? 2 : 0);
}

void suite_maps_barrier(struct suite *suite)
{
	for (size_t i = 0; i < sizeof(barriers) / sizeof(barriers[0]); i++)
		suite_one(suite, &barriers[i], ALONE, i == 0);
	suite_one(suite, &barriers[0], WRITER, false);
	if (!suite->smoke)
		suite_one(suite, &barriers[0], READER, false);
	maps_pool_drain();
	memcpy(maps_classes, left_behind, sizeof(maps_classes));
	maps_pool_drain();
}
