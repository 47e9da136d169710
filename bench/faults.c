/* SPDX-License-Identifier: ISC */
/*
 * cleave-bench-faults: the library's part of a page fault, beside a chunked amap under an exclusive lock and a
 * red-black tree under a rwlock.  Repetitions go round all implementations, so that the machine's noise hits all alike.
 *
 * A benchmark is no test: the exit status is 0 whether the targets are reached or not.
 */
#include "faults.h"

#include "distance.h"
#include "pace.h"
#include "report.h"

#include "../tools/program.h"

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES ((uint64_t)1 << 18) /* 1 GiB */
#define SMOKE_PAGES ((uint64_t)1 << 12)
#define BLOCK 256u		  /* pages of 1 MiB */
#define OTHERS 2000		  /* mappings beside, so that indexes have levels */

static const struct faults_impl *const impls[] = { &faults_memb, &faults_amap, &faults_tree };
#define IMPLS (sizeof(impls) / sizeof(impls[0]))

static struct {
	bool quick;
	uint64_t pages;
	unsigned int repetitions;
	double patience; /* seconds for each part (pace.h) */
	int processor[2];
	bool apart; /* each has a core of its own */
	struct layout others;
	struct report report;
} bench = { .pages = PAGES, .repetitions = 15, .patience = 60 };

/* ---- Reports ---- */

static void report(const char *workload, const char *impl, unsigned int threads, const char *unit,
		   const struct samples *samples, double target)
{
	struct row row = { .workload = workload,
			   .impl = impl,
			   .n = bench.pages,
			   .threads = threads,
			   .unit = unit,
			   .samples = *samples,
			   .target = target };

	report_add(&bench.report, &row);
}

static void report_value(const char *workload, const char *impl, const char *unit, double value, double target)
{
	struct samples samples = { 0 };

	samples_add(&samples, value);
	report(workload, impl, 1, unit, &samples, target);
}

/* ---- One thread ---- */

static uint64_t *page_list(unsigned int threads, unsigned int number, bool interleaved, size_t *n)
{
	uint64_t *pages = malloc(bench.pages * sizeof(*pages));

	if (!pages)
		exit(1);
	*n = 0;
	for (uint64_t page = 0; page < bench.pages; page++)
		if (threads == 1 || (interleaved ? page : page / BLOCK) % threads == number)
			pages[(*n)++] = page;
	return pages;
}

static void alone(void)
{
	struct samples samples[IMPLS] = { { 0 } };
	uint64_t entries[IMPLS] = { 0 };
	bool again;
	size_t n;
	uint64_t *pages = page_list(1, 0, false, &n);

	for (unsigned int r = 0; r < bench.repetitions; r++)
		for (size_t i = 0; i < IMPLS; i++) {
			struct pace pace;
			double seconds;

			do {
				void *world = impls[i]->make(bench.pages, &bench.others);
				void *thread = impls[i]->attach(world);
				struct stopwatch watch;

				faults_stock((size_t)48 << 20);
				pace_begin(&pace);
				pace_mark(&pace);
				stopwatch_start(&watch);
				if (impls[i]->touch(thread, pages, n))
					abort();
				seconds = stopwatch_seconds(&watch);
				again = !pace_end(&pace);
				entries[i] = impls[i]->entries(thread);
				impls[i]->detach(thread);
				impls[i]->destroy(world);
				faults_forget();
			} while (again);
			samples_add_paced(&samples[i], seconds * 1e9 / (double)n, pace.full);
		}
	for (size_t i = 0; i < IMPLS; i++)
		report("fault", impls[i]->name, 1, "ns", &samples[i], i == 0 ? 120 : 0);
	for (size_t i = 0; i < IMPLS; i++)
		report_value("entries", impls[i]->name, "", (double)entries[i], i == 0 ? 1 : 0);
	free(pages);
}

/* ---- Two threads ---- */

struct pair {
	_Alignas(MEASURE_APART) const struct faults_impl *impl;
	void *world;
	unsigned int number;
	unsigned int threads;
	uint64_t *pages;
	size_t n;
	pthread_barrier_t *barrier;
	unsigned int *running;
	double patience; /* seconds to wait for full pace */
	double waited;
	bool full; /* at full pace */
	double seconds;
};

/* Work that shares nothing: what the machine gives two threads. */
static double private_work(uint64_t n)
{
	volatile uint64_t sum = 0;
	uint64_t state = 1;

	for (uint64_t i = 0; i < n * 16; i++) {
		uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		sum += z ^ (z >> 31);
	}
	return (double)sum;
}

static void *pair_run(void *at)
{
	struct pair *pair = at;
	struct stopwatch watch;
	void *thread = NULL;

	measure_pin(bench.processor[pair->number]);
	pace_on(pair->number);
	if (pair->impl) {
		thread = pair->impl->attach(pair->world);
		faults_stock(((size_t)48 << 20) / pair->threads);
	}
	pair->waited = pace_wait(pair->patience);
	pthread_barrier_wait(pair->barrier);
	__atomic_fetch_add(pair->running, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(pair->running, __ATOMIC_ACQUIRE) < pair->threads)
		;
	pair->full = pace_full();
	stopwatch_start(&watch);
	if (!pair->impl)
		private_work(pair->n);
	else if (pair->impl->touch(thread, pair->pages, pair->n))
		abort();
	pair->seconds = stopwatch_seconds(&watch);
	pair->full = pace_full() && pair->full;
	pthread_barrier_wait(pair->barrier);
	if (pair->impl)
		pair->impl->detach(thread);
	return NULL;
}

enum how { BLOCKS, INTERLEAVED, APART }; /* APART: each in an address space of its own */

/* The speed-up of two threads over one, which then does the work of both; all at full pace? */
static double try_speedup(const struct faults_impl *impl, enum how how, bool *full)
{
	double seconds[2] = { 0, 0 };

	*full = true;

	for (unsigned int threads = 1; threads <= 2; threads++) {
		void *worlds[2] = { impl ? impl->make(bench.pages, &bench.others) : NULL,
				    impl && how == APART ? impl->make(bench.pages, &bench.others) : NULL };
		pthread_barrier_t barrier;
		unsigned int running = 0;
		double waited = 0;
		struct pair pairs[2];
		pthread_t ids[2];

		pthread_barrier_init(&barrier, NULL, threads);
		for (unsigned int t = 0; t < threads; t++) {
			pairs[t] = (struct pair){ .impl = impl,
						  .world = worlds[how == APART ? t : 0],
						  .number = t,
						  .threads = threads,
						  .barrier = &barrier,
						  .running = &running,
						  .patience = bench.apart ? pace_patience() : 0 };
			pairs[t].pages = page_list(threads, t, how == INTERLEAVED, &pairs[t].n);
		}
		for (unsigned int t = 0; t < threads; t++)
			pthread_create(&ids[t], NULL, pair_run, &pairs[t]);
		for (unsigned int t = 0; t < threads; t++) {
			pthread_join(ids[t], NULL);
			if (pairs[t].seconds > seconds[threads - 1])
				seconds[threads - 1] = pairs[t].seconds;
			*full = *full && pairs[t].full;
			waited = pairs[t].waited > waited ? pairs[t].waited : waited;
			free(pairs[t].pages);
		}
		pace_waited(waited);
		pthread_barrier_destroy(&barrier);
		for (unsigned int t = 0; t < 2; t++)
			if (worlds[t])
				impl->destroy(worlds[t]);
		faults_forget();
	}
	return seconds[0] / seconds[1];
}

static void add_speedup(struct samples *samples, const struct faults_impl *impl, enum how how)
{
	double began, times;
	bool full;

	do {
		began = measure_wall();
		times = try_speedup(impl, how, &full);
	} while (bench.apart && pace_again(full, began));
	samples_add_paced(samples, times, full);
}

static void together(void)
{
	struct samples s = { 0 }, distance = { 0 }, apart = { 0 }, blocks[IMPLS] = { { 0 } }, turns[IMPLS] = { { 0 } };

	if (bench.processor[1] < 0)
		return;
	for (unsigned int r = 0; r < (bench.repetitions + 1) / 2; r++) {
		samples_add(&distance, distance_between(bench.processor[0], bench.processor[1]));
		add_speedup(&s, NULL, BLOCKS);
		add_speedup(&apart, &faults_memb, APART);
		for (size_t i = 0; i < IMPLS; i++) {
			add_speedup(&blocks[i], impls[i], BLOCKS);
			add_speedup(&turns[i], impls[i], INTERLEAVED);
		}
	}
	measure_pin(bench.processor[0]);
	report(REPORT_DISTANCE, "private", 2, "ns", &distance, 0);
	report("S", "private", 2, "x", &s, 0);
	report("fault-apart", faults_memb.name, 2, "x", &apart, 0);
	for (size_t i = 0; i < 2 * IMPLS; i++) {
		struct row row = { .workload = i < IMPLS ? "fault-blocks" : "fault-interleaved",
				   .impl = impls[i % IMPLS]->name,
				   .n = bench.pages,
				   .threads = 2,
				   .unit = "x",
				   .samples = i < IMPLS ? blocks[i] : turns[i - IMPLS],
				   .base = "S" };

		row.ratio = samples_ratio_by_turns(&row.samples, &s);
		row.target = i == 0 ? 0.9 : 0;
		row.at_least = true;
		report_add(&bench.report, &row);
	}
}

/* ---- Fork ---- */

static void after_fork(void)
{
	struct samples forks[IMPLS] = { { 0 } }, first[IMPLS] = { { 0 } };
	uint64_t nodes = 0, copied = 0, nodes_before, copied_before;
	size_t n;
	uint64_t *pages = page_list(1, 0, false, &n);

	for (size_t i = 0; i < IMPLS; i++) {
		void *world, *thread;

		if (!impls[i]->fork)
			continue;
		world = impls[i]->make(bench.pages, &bench.others);
		thread = impls[i]->attach(world);
		if (impls[i]->touch(thread, pages, n))
			abort();
		for (unsigned int r = 0; r < bench.repetitions; r++) {
			uint64_t page = (uint64_t)r * 7919 % bench.pages;
			double began = measure_wall();
			void *child = impls[i]->fork(thread);

			samples_add(&forks[i], (measure_wall() - began) * 1e6);
			if (i == 0)
				faults_memb_copies(thread, &nodes_before, &copied_before);
			began = measure_wall();
			if (impls[i]->touch(thread, &page, 1))
				abort();
			samples_add(&first[i], (measure_wall() - began) * 1e9);
			if (i == 0) {
				faults_memb_copies(thread, &nodes, &copied);
				nodes -= nodes_before;
				copied -= copied_before;
			}
			impls[i]->exit(thread, child);
		}
		impls[i]->detach(thread);
		impls[i]->destroy(world);
		faults_forget();
	}
	for (size_t i = 0; i < IMPLS; i++)
		if (impls[i]->fork)
			report("fork-1GiB", impls[i]->name, 1, "us", &forks[i], 0);
	for (size_t i = 0; i < IMPLS; i++)
		if (impls[i]->fork)
			report("first-fault", impls[i]->name, 1, "ns", &first[i], 0);
	report_value("first-fault-nodes", faults_memb.name, "", (double)nodes, 4);
	report_value("first-fault-pages", faults_memb.name, "", (double)copied, 1);
	free(pages);
}

/* ---- The program ---- */

static const char help[] =
	"usage: cleave-bench-faults [OPTION...]\n"
	"\n"
	"Measure the library's part of page faults beside a chunked amap and a tree under a rwlock.\n"
	"\n"
	"  -q, --quick          fewer repetitions\n"
	"      --smoke          none that says anything: only to see that all of it works\n"
	"  -j, --json FILE      write the rows to FILE as well\n"
	"  -h, --help           this text\n"
	"\n"
	"Example:\n"
	"  cleave-bench-faults --quick\n"
	"\n"
	"Exit status: 0; 2: wrong usage, or FILE cannot be written; 130: interrupted.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "smoke", no_argument, NULL, 'S' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *json = NULL;
	int option;

	program_begin(argv);
	while ((option = getopt_long(argc, argv, "qj:h", options, NULL)) != -1) {
		switch (option) {
		case 'q':
			bench.quick = true;
			bench.repetitions = 5;
			bench.patience = 20;
			break;
		case 'S':
			bench.quick = true;
			bench.repetitions = 1;
			bench.pages = SMOKE_PAGES;
			bench.patience = 0;
			break;
		case 'j':
			json = program_output(optarg);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
	bench.apart = measure_processors(&bench.processor[0], &bench.processor[1]);
	pace_start_both(bench.processor, bench.patience > 0);
	measure_pin(bench.processor[0]);
	layout_make(&bench.others, OTHERS, 42);
	report_header();
	pace_grant(bench.patience);
	alone();
	pace_grant(bench.patience);
	together();
	after_fork();
	report_summary(&bench.report);
	report_pace(&bench.report, pace_spent());
	layout_free(&bench.others);
	if (json && !report_json(&bench.report, json, bench.quick ? "\"quick\": true," : "\"quick\": false,"))
		return program_end(PROGRAM_WRONG);
	return program_end(0);
}
