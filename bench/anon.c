/* SPDX-License-Identifier: ISC */
/*
 * cleave-bench-anon: the anonymous store beside what others keep their pages in.  Repetitions go round all
 * implementations, so that the machine's noise hits all alike; figures are medians and quartiles.
 *
 * A benchmark is no test: the exit status is 0 whether the targets are reached or not.
 */
#include "anon.h"

#include "distance.h"
#include "pace.h"
#include "report.h"

#include "../tools/program.h"

#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES (((uint64_t)1 << 18) >> bench.shrink) /* 1 GiB */
#define PAIR_PAGES (((uint64_t)1 << 20) >> bench.shrink)
#define BLOCK 256 /* slots of 1 MiB */

static const struct anon_impl *const impls[] = { &anon_cleave, &anon_table, &anon_amap, &anon_array };
#define IMPLS (sizeof(impls) / sizeof(impls[0]))

static struct {
	bool quick;
	unsigned int shrink; /* powers of two less of everything: says nothing any more */
	uint64_t seed;
	unsigned int repetitions;
	double patience; /* seconds for each part (pace.h) */
	int processor[2];
	bool apart; /* each has a core of its own */
	struct report report;
} bench = { .seed = 42, .repetitions = 15, .patience = 60 };

static void *memory(size_t n, size_t size)
{
	void *at = calloc(n, size);

	if (!at) {
		fprintf(stderr, "cleave-bench-anon: no memory\n");
		exit(1);
	}
	return at;
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void **make_anons(const struct anon_impl *impl, void *thread, size_t n)
{
	void **anons = memory(n, sizeof(*anons));

	for (size_t i = 0; i < n; i++)
		anons[i] = impl->anon(thread);
	return anons;
}

/* The store's own end frees cleave's anons; the others' anons are freed here. */
static void free_store(const struct anon_impl *impl, void *thread, void *store, void **anons, size_t n)
{
	impl->destroy(store);
	for (size_t i = 0; i < n && impl != &anon_cleave; i++)
		impl->anon_free(thread, anons[i]);
	free(anons);
}

static void report(const char *workload, const char *impl, size_t n, unsigned int threads, const char *unit,
		   const struct samples *samples, double target)
{
	struct row row = { .workload = workload, .impl = impl, .n = n, .threads = threads, .unit = unit,
			   .samples = *samples, .target = target };

	report_add(&bench.report, &row);
}

static void report_value(const char *workload, const char *impl, size_t n, const char *unit, double value,
			 double target)
{
	struct samples samples = { 0 };

	samples_add(&samples, value);
	report(workload, impl, n, 1, unit, &samples, target);
}

/* ---- Filling ---- */

static void order(uint64_t *slots, uint64_t n, bool shuffled)
{
	uint64_t state = bench.seed;

	for (uint64_t i = 0; i < n; i++)
		slots[i] = i;
	for (uint64_t i = n - 1; shuffled && i > 0; i--) {
		uint64_t k = random_next(&state) % (i + 1), slot = slots[i];

		slots[i] = slots[k];
		slots[k] = slot;
	}
}

static void fill_alone(bool shuffled)
{
	struct samples samples[IMPLS] = { { 0 } };
	uint64_t *slots = memory(PAGES, sizeof(*slots));
	bool again;

	order(slots, PAGES, shuffled);
	for (unsigned int r = 0; r < bench.repetitions; r++)
		for (size_t i = 0; i < IMPLS; i++) {
			struct pace pace;
			double seconds;

			do {
				void *thread = impls[i]->attach(), *store = impls[i]->make(PAGES);
				void **anons = make_anons(impls[i], thread, PAGES);
				struct stopwatch watch;

				pace_begin(&pace);
				pace_mark(&pace);
				stopwatch_start(&watch);
				if (impls[i]->fill(thread, store, slots, anons, PAGES))
					abort();
				seconds = stopwatch_seconds(&watch);
				again = !pace_end(&pace);
				free_store(impls[i], thread, store, anons, PAGES);
				impls[i]->detach(thread);
			} while (again);
			samples_add_paced(&samples[i], seconds * 1e9 / (double)PAGES, pace.full);
		}
	for (size_t i = 0; i < IMPLS; i++)
		report(shuffled ? "fill-random" : "fill", impls[i]->name, PAGES, 1, "ns", &samples[i],
		       i == 0 && !shuffled ? 40 : 0);
	free(slots);
}

/* Two threads in one segment: each has half of the slots. */
struct pair {
	_Alignas(MEASURE_APART) const struct anon_impl *impl;
	void *store;
	unsigned int number;
	uint64_t n;
	uint64_t *slots;
	pthread_barrier_t *barrier;
	unsigned int threads;
	unsigned int *running; /* threads that are there: nobody begins alone */
	double patience;       /* seconds to wait for full pace */
	double waited;
	bool full; /* at full pace */
	double seconds;
	bool private_work;
};

/* Work that shares nothing: what the machine gives two threads. */
static double private_work(uint64_t n)
{
	volatile uint64_t sum = 0;
	uint64_t state = 1;

	for (uint64_t i = 0; i < n * 8; i++)
		sum += random_next(&state);
	return (double)sum;
}

/* Give the thread's malloc() the pages that it will need, so that the kernel has no part in what is measured. */
static void warm_malloc(uint64_t n)
{
	void **blocks = memory(n, sizeof(*blocks));

	for (uint64_t i = 0; i < n; i++)
		blocks[i] = memory(1, 264);
	for (uint64_t i = 0; i < n; i++)
		free(blocks[i]);
	free(blocks);
}

static void *pair_run(void *at)
{
	struct pair *pair = at;
	void *thread, **anons = NULL;
	struct stopwatch watch;

	measure_pin(bench.processor[pair->number]);
	pace_on(pair->number);
	thread = pair->impl->attach();
	if (!pair->private_work)
		anons = make_anons(pair->impl, thread, pair->n);
	warm_malloc(pair->n / 12);
	pair->waited = pace_wait(pair->patience);
	pthread_barrier_wait(pair->barrier);
	__atomic_fetch_add(pair->running, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(pair->running, __ATOMIC_ACQUIRE) < pair->threads)
		;
	pair->full = pace_full();
	stopwatch_start(&watch);
	if (pair->private_work)
		private_work(pair->n);
	else if (pair->impl->fill(thread, pair->store, pair->slots, anons, pair->n))
		abort();
	pair->seconds = stopwatch_seconds(&watch);
	pair->full = pace_full() && pair->full;
	pthread_barrier_wait(pair->barrier);
	/* The anons stay with the store, or leak with the process: freeing them is not what is measured. */
	free(anons);
	pair->impl->detach(thread);
	return NULL;
}

/* The speed-up of two threads over one, which then does the work of both; all at full pace? */
static double try_speedup(const struct anon_impl *impl, bool interleaved, bool private_work_only, bool *full)
{
	double seconds[2] = { 0, 0 };

	*full = true;

	for (unsigned int threads = 1; threads <= 2; threads++) {
		struct pair pairs[2];
		pthread_barrier_t barrier;
		unsigned int running = 0;
		double waited = 0;
		pthread_t ids[2];
		void *store = private_work_only ? NULL : impl->make(PAIR_PAGES);

		pthread_barrier_init(&barrier, NULL, threads);
		for (unsigned int t = 0; t < threads; t++) {
			uint64_t *slots = memory(PAIR_PAGES, sizeof(*slots)), n = 0;

			for (uint64_t slot = 0; slot < PAIR_PAGES; slot++)
				if (threads == 1 || (interleaved ? slot : slot / BLOCK) % 2 == t)
					slots[n++] = slot;
			pairs[t] = (struct pair){ .impl = impl, .store = store, .number = t, .n = n, .slots = slots,
						  .barrier = &barrier, .threads = threads, .running = &running,
						  .patience = bench.apart ? pace_patience() : 0,
						  .private_work = private_work_only };
		}
		for (unsigned int t = 0; t < threads; t++)
			pthread_create(&ids[t], NULL, pair_run, &pairs[t]);
		for (unsigned int t = 0; t < threads; t++) {
			pthread_join(ids[t], NULL);
			if (pairs[t].seconds > seconds[threads - 1])
				seconds[threads - 1] = pairs[t].seconds;
			*full = *full && pairs[t].full;
			waited = pairs[t].waited > waited ? pairs[t].waited : waited;
			free(pairs[t].slots);
		}
		pace_waited(waited);
		pthread_barrier_destroy(&barrier);
		if (store)
			impl->destroy(store);
	}
	return seconds[0] / seconds[1];
}

static void add_speedup(struct samples *samples, const struct anon_impl *impl, bool interleaved, bool private_work_only)
{
	double began, times;
	bool full;

	do {
		began = measure_wall();
		times = try_speedup(impl, interleaved, private_work_only, &full);
	} while (bench.apart && pace_again(full, began));
	samples_add_paced(samples, times, full);
}

static void fill_together(void)
{
	struct samples s = { 0 }, distance = { 0 }, blocks[IMPLS] = { { 0 } }, slots[IMPLS] = { { 0 } };

	if (bench.processor[1] < 0)
		return;
	for (unsigned int r = 0; r < (bench.repetitions + 1) / 2; r++) {
		samples_add(&distance, distance_between(bench.processor[0], bench.processor[1]));
		add_speedup(&s, &anon_array, false, true);
		for (size_t i = 0; i < IMPLS; i++) {
			add_speedup(&blocks[i], impls[i], false, false);
			add_speedup(&slots[i], impls[i], true, false);
		}
	}
	measure_pin(bench.processor[0]);
	report(REPORT_DISTANCE, "private", 0, 2, "ns", &distance, 0);
	report("S", "private", PAIR_PAGES, 2, "x", &s, 0);
	for (size_t i = 0; i < IMPLS; i++) {
		struct row row = { .workload = "fill-blocks", .impl = impls[i]->name, .n = PAIR_PAGES, .threads = 2,
				   .unit = "x", .samples = blocks[i], .base = "S" };

		row.ratio = samples_ratio_by_turns(&blocks[i], &s);
		row.target = i == 0 ? 0.9 : 0;
		row.at_least = true;
		report_add(&bench.report, &row);
	}
	for (size_t i = 0; i < IMPLS; i++)
		report("fill-interleaved", impls[i]->name, PAIR_PAGES, 2, "x", &slots[i], 0);
}

/* ---- Memory ---- */

static void sizes(void)
{
	for (size_t i = 0; i < IMPLS; i++) {
		void *thread = impls[i]->attach();
		void **anons = make_anons(impls[i], thread, PAGES), *store = impls[i]->make(PAGES);
		uint64_t *slots = memory(PAGES, sizeof(*slots)), state = bench.seed;
		size_t n = 0;

		order(slots, PAGES, false);
		impls[i]->reserve(thread, store, 0, PAGES - 1);
		impls[i]->fill(thread, store, slots, anons, PAGES);
		report_value("bytes-1GiB", impls[i]->name, PAGES, "B", (double)impls[i]->bytes(store),
			     i == 0 ? 2.5 * 1048576 : 0);
		free_store(impls[i], thread, store, anons, PAGES);
		/* 1 TiB, 1,000 windows of 2 MiB, a page in each; an array of it would be 2 GiB. */
		if (impls[i] != &anon_array) {
			anons = make_anons(impls[i], thread, 1000);
			store = impls[i]->make(UINT64_C(1) << 28);
			while (n < 1000) {
				uint64_t first = random_next(&state) % (UINT64_C(1) << 19) * 512;

				slots[0] = first + random_next(&state) % 512;
				if (impls[i]->fill(thread, store, slots, anons + n, 1))
					continue;
				impls[i]->reserve(thread, store, first, first + 511);
				n++;
			}
			report_value("bytes-1TiB", impls[i]->name, 1000, "B", (double)impls[i]->bytes(store),
				     i == 0 ? 2 * 1048576.0 : 0);
			free_store(impls[i], thread, store, anons, 1000);
		}
		free(slots);
		impls[i]->detach(thread);
	}
}

/* ---- Walk, clone ---- */

static void walk_and_clone(uint64_t n)
{
	struct samples walks[IMPLS] = { { 0 } }, clones[IMPLS] = { { 0 } }, writes[IMPLS] = { { 0 } };
	uint64_t copies = 0;

	for (size_t i = 0; i < IMPLS; i++) {
		void *thread = impls[i]->attach(), *store = impls[i]->make(n);
		void **anons = make_anons(impls[i], thread, n);
		uint64_t *slots = memory(n, sizeof(*slots)), state = bench.seed;

		order(slots, n, false);
		impls[i]->fill(thread, store, slots, anons, n);
		for (unsigned int r = 0; r < bench.repetitions; r++) {
			struct stopwatch watch;
			void *clone, *fresh;
			double began, seconds;
			struct pace pace;

			do {
				pace_begin(&pace);
				if (impls[i]->walk(thread, store) != n)
					abort();
				pace_mark(&pace);
				stopwatch_start(&watch);
				if (impls[i]->walk(thread, store) != n)
					abort();
				seconds = stopwatch_seconds(&watch);
			} while (!pace_end(&pace));
			samples_add_paced(&walks[i], seconds * 1e9 / (double)n, pace.full);
			began = measure_wall();
			clone = impls[i]->clone(thread, store);
			samples_add(&clones[i], (measure_wall() - began) * 1e9);
			fresh = impls[i]->anon(thread);
			if (i == 0)
				copies = anon_cleave_copies(thread);
			began = measure_wall();
			if (!impls[i]->write(thread, store, random_next(&state) % n, fresh))
				impls[i]->anon_free(thread, fresh);
			samples_add(&writes[i], (measure_wall() - began) * 1e9);
			if (i == 0)
				copies = anon_cleave_copies(thread) - copies;
			impls[i]->drop(thread, clone);
		}
		free(slots);
		/* What copy on write replaced is freed already: the anons of the peers stay behind. */
		impls[i]->destroy(store);
		free(anons);
		impls[i]->detach(thread);
	}
	for (size_t i = 0; i < IMPLS; i++)
		report("walk", impls[i]->name, n, 1, "ns", &walks[i], i == 0 && n > 100000 ? 3 : 0);
	for (size_t i = 0; i < IMPLS; i++)
		report("clone", impls[i]->name, n, 1, "ns", &clones[i], 0);
	for (size_t i = 0; i < IMPLS; i++)
		report("first-write", impls[i]->name, n, 1, "ns", &writes[i], 0);
	report_value("first-write-copies", "cleave", n, "nodes", (double)copies, 0);
}

/* ---- Clones beside faulting threads ---- */

struct stop {
	_Alignas(MEASURE_APART) uint32_t now;
};

struct faulter {
	_Alignas(MEASURE_APART) const struct anon_impl *impl;
	void *store;
	unsigned int number;
	uint64_t n;
	const struct stop *stop;
	double longest;
};

static void *faulter_run(void *at)
{
	struct faulter *faulter = at;
	void *thread = faulter->impl->attach(), *fresh = faulter->impl->anon(thread);
	uint64_t state = faulter->number + 7;

	while (!__atomic_load_n(&faulter->stop->now, __ATOMIC_RELAXED)) {
		double began = measure_wall(), took;

		if (faulter->impl->write(thread, faulter->store, random_next(&state) % faulter->n, fresh))
			fresh = faulter->impl->anon(thread);
		took = measure_wall() - began;
		if (took > faulter->longest)
			faulter->longest = took;
	}
	faulter->impl->anon_free(thread, fresh);
	faulter->impl->detach(thread);
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void clone_beside_faults(void)
{
	const uint64_t n = PAIR_PAGES;
	const unsigned int clones = bench.quick ? 50 : 300;

	for (size_t i = 0; i < IMPLS - 1; i++) { /* an array has nothing that would keep a clone consistent */
		void *thread = impls[i]->attach(), *store = impls[i]->make(n);
		void **anons = make_anons(impls[i], thread, n);
		unsigned int rounds = i ? clones / 10 : clones;
		double *times = memory(rounds, sizeof(*times));
		uint64_t *slots = memory(n, sizeof(*slots));
		struct faulter faulters[2];
		pthread_t ids[2];
		struct stop stop = { 0 };

		order(slots, n, false);
		impls[i]->fill(thread, store, slots, anons, n);
		measure_unpin();
		for (unsigned int t = 0; t < 2; t++) {
			faulters[t] = (struct faulter){ impls[i], store, t, n, &stop, 0 };
			pthread_create(&ids[t], NULL, faulter_run, &faulters[t]);
		}
		for (unsigned int r = 0; r < rounds; r++) {
			double began = measure_wall();
			void *clone = impls[i]->clone(thread, store);

			times[r] = measure_wall() - began;
			impls[i]->drop(thread, clone);
		}
		__atomic_store_n(&stop.now, 1, __ATOMIC_RELAXED);
		for (unsigned int t = 0; t < 2; t++)
			pthread_join(ids[t], NULL);
		measure_pin(bench.processor[0]);
		qsort(times, rounds, sizeof(*times), by_value);
		report_value("clone-beside-faults-p50", impls[i]->name, n, "us", times[rounds / 2] * 1e6, 0);
		report_value("clone-beside-faults-p99", impls[i]->name, n, "us", times[rounds - 1 - rounds / 100] * 1e6,
			     i == 0 ? 1000 : 0);
		report_value("longest-fault", impls[i]->name, n, "us",
			     1e6 * (faulters[0].longest > faulters[1].longest ? faulters[0].longest
									      : faulters[1].longest),
			     0);
		impls[i]->destroy(store);
		free(anons);
		free(times);
		free(slots);
		impls[i]->detach(thread);
	}
}

/* ---- The program ---- */

static const char help[] = "usage: cleave-bench-anon [OPTION...]\n"
			   "\n"
			   "Measure the anonymous store beside a table, an amap and an array.\n"
			   "\n"
			   "  -q, --quick          fewer repetitions\n"
			   "      --smoke          none that says anything: only to see that all of it works\n"
			   "  -j, --json FILE      write the rows to FILE as well\n"
			   "  -s, --seed N         of all random choices (default 42)\n"
			   "  -h, --help           this text\n"
			   "\n"
			   "Examples:\n"
			   "  cleave-bench-anon --quick\n"
			   "  cleave-bench-anon --json anon.json\n"
			   "\n"
			   "Exit status: 0; 2: wrong usage, or FILE cannot be written; 130: interrupted.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "smoke", no_argument, NULL, 'S' },
		{ "json", required_argument, NULL, 'j' },
		{ "seed", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *json = NULL;
	char facts[128];
	int option;

	program_begin(argv);
	while ((option = getopt_long(argc, argv, "qj:s:h", options, NULL)) != -1) {
		switch (option) {
		case 'q':
			bench.quick = true;
			bench.repetitions = 5;
			bench.patience = 20;
			break;
		case 'S':
			bench.quick = true;
			bench.repetitions = 1;
			bench.shrink = 8;
			bench.patience = 0;
			break;
		case 'j':
			json = program_output(optarg);
			break;
		case 's':
			bench.seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
	/* malloc() keeps what it has. */
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	bench.apart = measure_processors(&bench.processor[0], &bench.processor[1]);
	pace_start_both(bench.processor, bench.patience > 0);
	measure_pin(bench.processor[0]);
	report_header();
	pace_grant(bench.patience);
	fill_alone(false);
	fill_alone(true);
	pace_grant(bench.patience);
	fill_together();
	sizes();
	pace_grant(bench.patience);
	walk_and_clone(1000);
	walk_and_clone(UINT64_C(1000000) >> bench.shrink);
	clone_beside_faults();
	report_summary(&bench.report);
	report_pace(&bench.report, pace_spent());
	snprintf(facts, sizeof(facts), "\"seed\": %llu, \"quick\": %s,", (unsigned long long)bench.seed,
		 bench.quick ? "true" : "false");
	if (json && !report_json(&bench.report, json, facts))
		return program_end(PROGRAM_WRONG);
	return program_end(0);
}
