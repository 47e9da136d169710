/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "measure.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static cpu_set_t allowed;
static bool allowed_known;
static double reading; /* what a stopwatch shows when nothing was done */

static double clock_seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double measure_wall(void)
{
	return clock_seconds(CLOCK_MONOTONIC);
}

static long sleeps(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

void stopwatch_start(struct stopwatch *watch)
{
	watch->sleeps = sleeps();
	watch->wall = measure_wall();
	watch->cpu = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}

double stopwatch_cpu(const struct stopwatch *watch)
{
	double seconds = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - watch->cpu - reading;

	return seconds > 0 ? seconds : 0;
}

double stopwatch_seconds(const struct stopwatch *watch)
{
	double cpu = stopwatch_cpu(watch);
	double wall = measure_wall() - watch->wall;

	return sleeps() == watch->sleeps ? cpu : wall;
}

#define READINGS 1000

static void find_reading(void)
{
	struct stopwatch watch;
	double least = 0;

	reading = 0;
	for (unsigned int i = 0; i < READINGS; i++) {
		double seconds;

		stopwatch_start(&watch);
		seconds = stopwatch_cpu(&watch);
		least = !i || seconds < least ? seconds : least;
	}
	reading = least;
}

void samples_add_paced(struct samples *samples, double value, bool full)
{
	if (samples->n == SAMPLES_MAX)
		return;
	samples->paced = true;
	samples->slow[samples->n] = !full;
	samples->value[samples->n++] = value;
}

void samples_add(struct samples *samples, double value)
{
	bool paced = samples->paced;

	samples_add_paced(samples, value, true);
	samples->paced = paced;
}

unsigned int samples_full(const struct samples *samples)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < samples->n; i++)
		n += !samples->slow[i];
	return n;
}

/* Those that count. */
static struct samples chosen(const struct samples *samples)
{
	struct samples some = { .n = 0 };
	bool all = samples_full(samples) < SAMPLES_FEW;

	for (unsigned int i = 0; i < samples->n; i++)
		if (all || !samples->slow[i])
			samples_add(&some, samples->value[i]);
	return some;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The value at a fraction of the sorted samples, between two of them by proportion. */
static double quantile(const double *sorted, unsigned int n, double fraction)
{
	double place = fraction * (n - 1);
	unsigned int below = (unsigned int)place;

	if (below + 1 >= n)
		return sorted[n - 1];
	return sorted[below] + (place - below) * (sorted[below + 1] - sorted[below]);
}

struct figure samples_figure(const struct samples *samples)
{
	struct samples sorted = chosen(samples);

	if (!sorted.n)
		return (struct figure){ 0, 0, 0 };
	qsort(sorted.value, sorted.n, sizeof(sorted.value[0]), by_value);
	return (struct figure){
		.median = quantile(sorted.value, sorted.n, 0.5),
		.q1 = quantile(sorted.value, sorted.n, 0.25),
		.q3 = quantile(sorted.value, sorted.n, 0.75),
	};
}

unsigned int samples_rounds(void)
{
	static unsigned int rounds;

	return ++rounds;
}

double samples_ratio_by_turns(const struct samples *a, const struct samples *b)
{
	struct samples ratios = { .n = 0 };

	for (unsigned int i = 0; i < a->n && i < b->n; i++)
		samples_add_paced(&ratios, a->value[i] / b->value[i], !a->slow[i] && !b->slow[i]);
	return samples_figure(&ratios).median;
}

double samples_ratio(const struct samples *a, const struct samples *b)
{
	if (a->rounds && a->rounds == b->rounds)
		return samples_ratio_by_turns(a, b);
	return samples_figure(a).median / samples_figure(b).median;
}

bool steady_pass(struct steady *steady, double seconds)
{
	bool faster = !steady->passes || seconds < STEADY_FASTER * steady->fastest;

	if (!steady->passes || seconds < steady->fastest)
		steady->fastest = seconds;
	return ++steady->passes < STEADY_PASSES && faster;
}

static void find_allowed(void)
{
	if (!allowed_known && sched_getaffinity(0, sizeof(allowed), &allowed)) {
		perror("cleave-bench: sched_getaffinity");
		exit(1);
	}
	allowed_known = true;
}

static int topology(int processor, const char *what)
{
	char path[128];
	int id = -1;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s", processor, what);

	FILE *file = fopen(path, "re");

	if (!file)
		return -1;
	if (fscanf(file, "%d", &id) != 1)
		id = -1;
	fclose(file);
	return id;
}

static bool same_core(int a, int b)
{
	int core = topology(a, "core_id");

	return core >= 0 && core == topology(b, "core_id") &&
	       topology(a, "physical_package_id") == topology(b, "physical_package_id");
}

bool measure_processors(int *first, int *second)
{
	int sibling = -1;

	find_reading();
	find_allowed();
	*first = -1;
	*second = -1;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET((size_t)i, &allowed))
			continue;
		if (*first < 0) {
			*first = i;
		} else if (!same_core(*first, i)) {
			*second = i;
			return true;
		} else if (sibling < 0) {
			sibling = i;
		}
	}
	*second = sibling;
	return false;
}

void measure_pin(int processor)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((size_t)processor, &one);
	if (pthread_setaffinity_np(pthread_self(), sizeof(one), &one))
		fprintf(stderr, "cleave-bench: cannot pin a thread to processor %d\n", processor);
}

void measure_unpin(void)
{
	find_allowed();
	pthread_setaffinity_np(pthread_self(), sizeof(allowed), &allowed);
}
