/* SPDX-License-Identifier: ISC */
/*
 * The workloads of two threads.  Each is pinned to a processor of its own; the thread that conducts sleeps meanwhile.
 * What two threads of wholly private work lose to each other (a shared core, a shared cache, a busy host) is measured
 * in the same rounds, and the figures are judged against that.  So is how far the two processors are from each other
 * (distance.h).
 *
 * Each lane asks its own processor for its pace (pace.h) before and after it is timed.  A pairing in which one was slow
 * is done again, as long as there is patience; a figure made of several pairings is at full pace where all of them are.
 */
#define _GNU_SOURCE
#include "distance.h"
#include "limit.h"
#include "pace.h"
#include "suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READS 64
#define WRITES 16
#define ADDRESSES ((size_t)1 << 16)
#define WARM_SECONDS 0.003

enum role { IDLE, PRIVATE, READ, CLIP };
enum part { ALL, LOW, HIGH, PARTS };
enum phase { WARM, TIMED, STOP };

struct side {
	enum role role;
	enum part part;
};

struct pairing {
	struct side side[2];
};

/* What a lane works on. */
struct lane {
	_Alignas(MEASURE_APART) pthread_t thread;
	int processor;
	struct limit *own; /* private work */
	uint64_t *reads[PARTS];
	uint64_t *clips[PARTS];

	/* The job: under the mutex. */
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	void (*job)(struct lane *lane);
	bool quit;

	/* Its arguments and results. */
	const struct bench_impl *impl;
	void *index;
	void *handle;
	struct side side;
	size_t ops;
	double patience; /* seconds to wait for full pace */
	double waited;
	bool full; /* at full pace? */
	double seconds;
	double cpu;
	uint64_t copies;
	volatile uint64_t sink;
};

static struct lane lanes[2];

/* What both lanes look at all the time: apart from all that anybody writes. */
static struct {
	_Alignas(MEASURE_APART) atomic_int phase;
	_Alignas(MEASURE_APART) atomic_int ready;
} common;

static void *lane_main(void *argument)
{
	struct lane *lane = argument;

	measure_pin(lane->processor);
	pace_on((unsigned int)(lane - lanes));
	pthread_mutex_lock(&lane->mutex);
	while (!lane->quit) {
		if (!lane->job) {
			pthread_cond_wait(&lane->changed, &lane->mutex);
			continue;
		}
		pthread_mutex_unlock(&lane->mutex);
		lane->job(lane);
		pthread_mutex_lock(&lane->mutex);
		lane->job = NULL;
		pthread_cond_broadcast(&lane->changed);
	}
	pthread_mutex_unlock(&lane->mutex);
	return NULL;
}

static void lane_post(struct lane *lane, void (*job)(struct lane *lane))
{
	pthread_mutex_lock(&lane->mutex);
	lane->job = job;
	pthread_cond_broadcast(&lane->changed);
	pthread_mutex_unlock(&lane->mutex);
}

static void lane_wait(struct lane *lane)
{
	pthread_mutex_lock(&lane->mutex);
	while (lane->job)
		pthread_cond_wait(&lane->changed, &lane->mutex);
	pthread_mutex_unlock(&lane->mutex);
}

static void both(void (*job)(struct lane *lane))
{
	for (int i = 0; i < 2; i++) {
		lane_post(&lanes[i], job);
		lane_wait(&lanes[i]);
	}
}

static void attach(struct lane *lane)
{
	lane->handle = lane->impl->attach(lane->index);
	if (lane->impl->offline)
		lane->impl->offline(lane->handle);
}

static void detach(struct lane *lane)
{
	if (lane->impl->online)
		lane->impl->online(lane->handle);
	if (lane->impl->detach)
		lane->impl->detach(lane->handle);
}

/* One batch.  Return: its operations; a clip and its merge are two. */
static size_t work(struct lane *lane, size_t *at)
{
	const uint64_t *reads = lane->reads[lane->side.part] + *at % ADDRESSES;

	switch (lane->side.role) {
	case PRIVATE:
		lane->sink += limit_simd()->lookup(lane->own, reads, READS);
		*at += READS;
		return READS;
	case READ:
		lane->sink += lane->impl->lookup_each(lane->handle, reads, READS);
		*at += READS;
		return READS;
	case CLIP:
		/* Two threads may meet at one address: who comes second finds nothing to do. */
		lane->impl->clip_unclip(lane->handle, lane->clips[lane->side.part] + *at % ADDRESSES, WRITES);
		*at += WRITES;
		return 2 * WRITES;
	default:
		return 0;
	}
}

static void timed(struct lane *lane)
{
	bool shared = lane->side.role == READ || lane->side.role == CLIP;
	struct bench_counters before = { .copies = 0 }, after = { .copies = 0 };
	struct stopwatch watch;
	size_t at = 0;

	/* Who waits here holds up nobody. */
	lane->waited = pace_wait(lane->patience);
	if (shared && lane->impl->online)
		lane->impl->online(lane->handle);
	atomic_fetch_add(&common.ready, 1);
	while (atomic_load_explicit(&common.phase, memory_order_relaxed) == WARM)
		work(lane, &at);
	lane->ops = 0;
	lane->full = pace_full();
	if (shared && lane->impl->counters)
		lane->impl->counters(lane->handle, &before);
	stopwatch_start(&watch);
	while (atomic_load_explicit(&common.phase, memory_order_relaxed) == TIMED)
		lane->ops += work(lane, &at);
	lane->cpu = stopwatch_cpu(&watch);
	lane->seconds = stopwatch_seconds(&watch);
	lane->full = pace_full() && lane->full;
	if (shared && lane->impl->counters)
		lane->impl->counters(lane->handle, &after);
	if (shared && lane->impl->offline)
		lane->impl->offline(lane->handle);
	lane->copies = after.copies - before.copies;
}

static void rest(double seconds)
{
	struct timespec time = { .tv_sec = (time_t)seconds };

	time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
	nanosleep(&time, NULL);
}

static double process_seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* What a pairing gave. */
struct run {
	double ns[2]; /* per operation of each */
	double busy;  /* processor time of other threads, seconds */
	bool full;    /* both at full pace */
};

/* Run both sides for a while. */
static struct run run_once(const struct suite *suite, const struct pairing *pairing)
{
	struct run run = { .full = true };
	double waited = 0;
	int active = 0;

	atomic_store(&common.phase, WARM);
	atomic_store(&common.ready, 0);
	for (int i = 0; i < 2; i++) {
		lanes[i].side = pairing->side[i];
		lanes[i].patience = suite->apart ? pace_patience() : 0;
		if (pairing->side[i].role != IDLE) {
			lane_post(&lanes[i], timed);
			active++;
		}
	}
	while (atomic_load(&common.ready) < active)
		rest(0.0001);
	rest(WARM_SECONDS);
	run.busy = process_seconds();
	atomic_store(&common.phase, TIMED);
	rest(suite->pair_seconds);
	atomic_store(&common.phase, STOP);
	run.busy = process_seconds() - run.busy;
	for (int i = 0; i < 2; i++) {
		const struct lane *lane = &lanes[i];

		if (pairing->side[i].role == IDLE)
			continue;
		lane_wait(&lanes[i]);
		/* Locked out all the time: at least that long. */
		run.ns[i] = lane->seconds / (double)(lane->ops ? lane->ops : 1) * 1e9;
		run.busy -= lane->cpu;
		run.full = run.full && lane->full;
		waited = lane->waited > waited ? lane->waited : waited;
	}
	pace_waited(waited);
	run.busy = run.busy > 0 ? run.busy : 0;
	return run;
}

static struct run run_pairing(const struct suite *suite, const struct pairing *pairing)
{
	struct run run;
	double began;

	do {
		began = measure_wall();
		run = run_once(suite, pairing);
	} while (suite->apart && pace_again(run.full, began));
	return run;
}

void pair_start(struct suite *suite)
{
	struct layout layout;

	if (suite->processor[1] < 0)
		return;
	layout_make(&layout, SUITE_SIZE, suite->seed);
	for (int i = 0; i < 2; i++) {
		struct lane *lane = &lanes[i];
		const size_t from[PARTS] = { 0, 0, layout.n / 2 };
		const size_t to[PARTS] = { layout.n, layout.n / 2, layout.n };

		*lane = (struct lane){ .processor = suite->processor[i] };
		lane->own = limit_simd()->make(limit_simd(), &layout, NULL);
		for (int j = 0; j < PARTS; j++) {
			uint64_t seed = suite->seed + 100 + (uint64_t)(i * PARTS + j);

			lane->reads[j] = layout_addresses(&layout, from[j], to[j], ADDRESSES, seed, NULL);
			lane->clips[j] = layout_middles(&layout, from[j], to[j], ADDRESSES, seed);
		}
		pthread_mutex_init(&lane->mutex, NULL);
		pthread_cond_init(&lane->changed, NULL);
		if (pthread_create(&lane->thread, NULL, lane_main, lane))
			abort();
	}
	layout_free(&layout);
}

void pair_stop(void)
{
	for (int i = 0; i < 2; i++) {
		struct lane *lane = &lanes[i];

		if (!lane->own)
			continue;
		pthread_mutex_lock(&lane->mutex);
		lane->quit = true;
		pthread_cond_broadcast(&lane->changed);
		pthread_mutex_unlock(&lane->mutex);
		pthread_join(lane->thread, NULL);
		pthread_mutex_destroy(&lane->mutex);
		pthread_cond_destroy(&lane->changed);
		limit_destroy(lane->own);
		for (int j = 0; j < PARTS; j++) {
			free(lane->reads[j]);
			free(lane->clips[j]);
		}
	}
}

static const struct pairing private_alone = { { { PRIVATE, ALL }, { IDLE, ALL } } };
static const struct pairing private_both = { { { PRIVATE, ALL }, { PRIVATE, ALL } } };

/* How much more two threads do than one. */
static void add_speedup(struct samples *samples, const struct run *both, const struct run *alone)
{
	samples_add_paced(samples, alone->ns[0] * (1 / both->ns[0] + 1 / both->ns[1]), both->full && alone->full);
}

static void report(struct suite *suite, const char *workload, const char *impl, unsigned int threads, const char *unit,
		   const struct samples *samples, const struct row *row)
{
	struct row full = row ? *row : (struct row){ .target = 0 };

	if (!suite_wants(suite, workload, impl))
		return;
	full.workload = workload;
	full.impl = impl;
	full.n = SUITE_SIZE;
	full.threads = threads;
	full.unit = unit;
	full.samples = *samples;
	if (lanes[0].impl && lanes[0].impl->peer && !full.base && !strcmp(unit, "ns"))
		suite_report_peer(suite, &full);
	else
		report_add(&suite->report, &full);
}

void pair_speedup(struct suite *suite)
{
	struct samples samples = { .n = 0 }, distance = { .n = 0 };

	if (suite->processor[1] < 0 ||
	    (!suite_wants(suite, "S", "private work") && !suite_wants(suite, REPORT_DISTANCE, "private work")))
		return;
	measure_unpin();
	for (unsigned int round = 0; round < suite->repetitions; round++) {
		samples_add(&distance, distance_between(suite->processor[0], suite->processor[1]));

		struct run alone = run_pairing(suite, &private_alone), both = run_pairing(suite, &private_both);

		add_speedup(&samples, &both, &alone);
	}
	suite_report_distance(suite, REPORT_DISTANCE, "private work", &distance);
	report(suite, "S", "private work", 2, "x", &samples, NULL);
}

enum {
	PRIVATE_ALONE,
	PRIVATE_BOTH,
	READER_ALONE,
	READER_PRIVATE,
	READER_WRITER,
	READER_WRITER_SAME,
	READERS,
	WRITER_ALONE,
	WRITERS,
	WRITERS_SAME,
	PAIRINGS
};

static const struct pairing pairings[PAIRINGS] = {
	[PRIVATE_ALONE] = { { { PRIVATE, ALL }, { IDLE, ALL } } },
	[PRIVATE_BOTH] = { { { PRIVATE, ALL }, { PRIVATE, ALL } } },
	[READER_ALONE] = { { { READ, LOW }, { IDLE, ALL } } },
	[READER_PRIVATE] = { { { READ, LOW }, { PRIVATE, HIGH } } },
	[READER_WRITER] = { { { READ, LOW }, { CLIP, HIGH } } },
	[READER_WRITER_SAME] = { { { READ, ALL }, { CLIP, ALL } } },
	[READERS] = { { { READ, ALL }, { READ, ALL } } },
	[WRITER_ALONE] = { { { CLIP, LOW }, { IDLE, ALL } } },
	[WRITERS] = { { { CLIP, LOW }, { CLIP, HIGH } } },
	[WRITERS_SAME] = { { { CLIP, ALL }, { CLIP, ALL } } },
};

struct outcome {
	struct samples ns[PAIRINGS][2];
	struct samples copies[PAIRINGS]; /* percent of clips */
	struct samples helper;		 /* percent of the lone writer's time that other threads of the process used */
	struct samples private_speedup;
	struct samples writers_speedup;
	struct samples distance;
};

static void one_round(const struct suite *suite, struct outcome *outcome)
{
	struct run runs[PAIRINGS];

	samples_add(&outcome->distance, distance_between(suite->processor[0], suite->processor[1]));
	for (int i = 0; i < PAIRINGS; i++) {
		const struct run *run = &runs[i];
		uint64_t copies = 0;
		size_t clips = 0;

		runs[i] = run_pairing(suite, &pairings[i]);
		for (int j = 0; j < 2; j++) {
			samples_add_paced(&outcome->ns[i][j], run->ns[j], run->full);
			if (pairings[i].side[j].role == CLIP) {
				copies += lanes[j].copies;
				clips += lanes[j].ops / 2;
			}
		}
		if (clips)
			samples_add_paced(&outcome->copies[i], 100 * (double)copies / (double)clips, run->full);
		if (i == WRITER_ALONE)
			samples_add_paced(&outcome->helper, 100 * run->busy / lanes[0].seconds, run->full);
	}
	add_speedup(&outcome->private_speedup, &runs[PRIVATE_BOTH], &runs[PRIVATE_ALONE]);
	add_speedup(&outcome->writers_speedup, &runs[WRITERS], &runs[WRITER_ALONE]);
}

static void report_outcome(struct suite *suite, const char *impl, const struct outcome *outcome)
{
	const struct samples(*ns)[2] = outcome->ns;
	struct row row;

	suite_report_distance(suite, REPORT_DISTANCE_AGAIN, impl, &outcome->distance);
	report(suite, "S-again", impl, 2, "x", &outcome->private_speedup, NULL);
	report(suite, "reader", impl, 1, "ns", &ns[READER_ALONE][0], NULL);
	report(suite, "readers", impl, 2, "ns", &ns[READERS][0], NULL);
	report(suite, "reader+private", impl, 2, "ns", &ns[READER_PRIVATE][0], NULL);
	row = (struct row){ .target = 0 };
	if (!lanes[0].impl->peer)
		row = (struct row){
			.base = "reader+private",
			.ratio = samples_ratio_by_turns(&ns[READER_WRITER][0], &ns[READER_PRIVATE][0]),
			.target = 1.25,
		};
	report(suite, "reader+writer", impl, 2, "ns", &ns[READER_WRITER][0], &row);
	report(suite, "writer+reader", impl, 2, "ns", &ns[READER_WRITER][1], NULL);
	report(suite, "reader+writer-same", impl, 2, "ns", &ns[READER_WRITER_SAME][0], NULL);
	report(suite, "writer+reader-same", impl, 2, "ns", &ns[READER_WRITER_SAME][1], NULL);
	report(suite, "writer", impl, 1, "ns", &ns[WRITER_ALONE][0], NULL);
	if (lanes[0].impl->counters)
		report(suite, "writer-copies", impl, 1, "%", &outcome->copies[WRITER_ALONE], NULL);
	report(suite, "writer-helper", impl, 1, "%", &outcome->helper, NULL);
	report(suite, "writers", impl, 2, "ns", &ns[WRITERS][0], NULL);
	row = (struct row){
		.base = "S-again",
		.ratio = samples_ratio_by_turns(&outcome->writers_speedup, &outcome->private_speedup),
		.target = lanes[0].impl->peer ? 0 : 0.9,
		.at_least = true,
	};
	report(suite, "writers-speedup", impl, 2, "x", &outcome->writers_speedup, &row);
	row = (struct row){ .target = strcmp(impl, bench_ck.name) ? 0 : 25 };
	if (lanes[0].impl->counters)
		report(suite, "writers-copies", impl, 2, "%", &outcome->copies[WRITERS], &row);
	report(suite, "writers-same", impl, 2, "ns", &ns[WRITERS_SAME][0], NULL);
	if (lanes[0].impl->counters)
		report(suite, "writers-same-copies", impl, 2, "%", &outcome->copies[WRITERS_SAME], NULL);
}

static bool wants(const struct suite *suite, const char *impl)
{
	static const char *const names[] = {
		REPORT_DISTANCE_AGAIN,
		"S-again",
		"reader",
		"readers",
		"reader+private",
		"reader+writer",
		"writer+reader",
		"reader+writer-same",
		"writer+reader-same",
		"writer",
		"writer-copies",
		"writer-helper",
		"writers",
		"writers-speedup",
		"writers-copies",
		"writers-same",
		"writers-same-copies",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (suite_wants(suite, names[i], impl))
			return true;
	return false;
}

/* Make this implementation the one that both lanes work on. */
static void choose(const struct bench_impl *impl, void *index, void *const handle[2])
{
	for (int i = 0; i < 2; i++) {
		lanes[i].impl = impl;
		lanes[i].index = index;
		lanes[i].handle = handle[i];
	}
}

void pair_workloads(struct suite *suite)
{
	static struct outcome outcomes[SUITE_IMPLS];
	const struct bench_impl *impls[SUITE_IMPLS];
	void *index[SUITE_IMPLS], *handle[SUITE_IMPLS][2];
	const unsigned int rounds = samples_rounds();
	struct layout layout;
	size_t n = 0;

	if (suite->processor[1] < 0)
		return;
	layout_make(&layout, SUITE_SIZE, suite->seed);
	for (size_t i = 0; i < suite->nimpls; i++) {
		const struct bench_impl *impl = suite->impls[i];

		if (!impl->concurrent || !impl->clip_unclip || !wants(suite, impl->name))
			continue;
		for (int j = 0; j < PAIRINGS; j++)
			outcomes[n].ns[j][0].rounds = outcomes[n].ns[j][1].rounds = rounds;
		impls[n] = impl;
		index[n] = suite_make_apart(suite, impl, &layout);
		choose(impl, index[n], (void *[2]){ NULL, NULL });
		both(attach);
		for (int j = 0; j < 2; j++)
			handle[n][j] = lanes[j].handle;
		n++;
	}
	measure_unpin();
	for (unsigned int round = 0; round < suite->repetitions; round++)
		for (size_t i = 0; i < n; i++) {
			choose(impls[i], index[i], handle[i]);
			one_round(suite, &outcomes[i]);
		}
	for (size_t i = 0; i < n; i++) {
		choose(impls[i], index[i], handle[i]);
		report_outcome(suite, impls[i]->name, &outcomes[i]);
	}
	/* A thread gives up its records in the reverse order. */
	while (n-- > 0) {
		choose(impls[n], index[n], handle[n]);
		both(detach);
		impls[n]->destroy(index[n]);
	}
	layout_free(&layout);
}
