/* SPDX-License-Identifier: ISC */
/*
 * How long does a grace cookie take?  The time from cookie to done, as a writer sees it that goes on working meanwhile
 * and asks at each of its operations; beside it, what the grace periods cost the writers.
 *
 * usage: cookie [seconds a row [only this row: 0 to 3]]
 *
 * Rows: `wait` sleeps until done; `poll` asks without a pause; `1` to `3` threads work (a section of some 10 ns and as
 * much outside), and each takes a new cookie as soon as the last one is done: far more often than an index does.
 * Mop/s: operations by the second of processor time, with cookies and without.
 * The executable is for the flavour that it was compiled for (CLEAVE_SECTION_...).
 */
#define _GNU_SOURCE
#include <cleave/section.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 400000

#if defined(CLEAVE_SECTION_MEMB)
#define FLAVOUR "memb"
#elif defined(CLEAVE_SECTION_QSBR)
#define FLAVOUR "qsbr"
#elif defined(CLEAVE_SECTION_BP)
#define FLAVOUR "bp"
#else
#define FLAVOUR "ck"
#endif

static CLEAVE_SECTION_DOMAIN domain;
static bool stop, take;

struct worker {
	pthread_t thread;
	uint64_t operations;
	uint32_t *sample; /* ns */
	size_t samples;
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Of all threads, the grace periods' included: what others take of a shared machine does not count. */
static double processor_seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void add(struct worker *worker, uint64_t ns)
{
	if (worker->samples < SAMPLES)
		worker->sample[worker->samples++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static void *work(void *argument)
{
	const struct cleave_ops *ops = domain.domain.ops;
	struct worker *worker = argument;
	CLEAVE_SECTION_THREAD *record = aligned_alloc(64, (sizeof(*record) + 63) & ~(size_t)63);
	uint64_t cookie = 0, since = 0;

	cleave_section_register(record, &domain);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		ops->enter(&domain.domain, &record->thread);
		for (int spin = 0; spin < 40; spin++)
			__asm__ volatile("" : : : "memory");
		ops->leave(&domain.domain, &record->thread);
		for (int spin = 0; spin < 40; spin++)
			__asm__ volatile("" : : : "memory");
		worker->operations++;
		if (worker->operations % 16 == 0)
			cleave_section_quiescent(record);
		if (!take)
			continue;
		if (since)
			ops->advance(&domain.domain, &record->thread, cookie);
		if (since && ops->done(&domain.domain, &record->thread, cookie)) {
			add(worker, now() - since);
			since = 0;
		}
		if (!since) {
			since = now();
			cookie = ops->cookie(&domain.domain, &record->thread);
		}
	}
	cleave_section_unregister(record, &domain);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print(const char *row, struct worker *worker, double rate, double baseline)
{
	size_t n = worker->samples;

	qsort(worker->sample, n, sizeof(*worker->sample), compare);
	printf("%-5s %-5s %10zu", FLAVOUR, row, n);
	if (n)
		printf(" %9.1f %9.1f %9.1f", worker->sample[n / 2] / 1e3, worker->sample[n * 99 / 100] / 1e3,
		       worker->sample[n - 1] / 1e3);
	if (baseline > 0)
		printf(" %9.1f %9.1f", rate / 1e6, baseline / 1e6);
	printf("\n");
}

static void alone(double seconds, bool poll, struct worker *all)
{
	const struct cleave_ops *ops = domain.domain.ops;
	CLEAVE_SECTION_THREAD *record = aligned_alloc(64, (sizeof(*record) + 63) & ~(size_t)63);
	uint64_t end = now() + (uint64_t)(seconds * 1e9);

	cleave_section_register(record, &domain);
	all->samples = 0;
	while (now() < end) {
		uint64_t since = now(), cookie = ops->cookie(&domain.domain, &record->thread);

		if (poll)
			while (ops->advance(&domain.domain, &record->thread, cookie),
			       !ops->done(&domain.domain, &record->thread, cookie))
				cleave_section_quiescent(record);
		else
			ops->wait(&domain.domain, &record->thread, cookie);
		add(all, now() - since);
		usleep(100);
		cleave_section_quiescent(record);
	}
	cleave_section_unregister(record, &domain);
	print(poll ? "poll" : "wait", all, 0, 0);
}

static double run(int threads, double seconds, bool cookies, struct worker *all)
{
	struct worker worker[3] = { 0 };
	double since = processor_seconds();
	uint64_t operations = 0;

	stop = false;
	take = cookies;
	for (int i = 0; i < threads; i++) {
		worker[i].sample = malloc(SAMPLES * sizeof(*worker[i].sample));
		pthread_create(&worker[i].thread, NULL, work, &worker[i]);
	}
	usleep((useconds_t)(seconds * 1e6));
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	all->samples = 0;
	for (int i = 0; i < threads; i++) {
		pthread_join(worker[i].thread, NULL);
		operations += worker[i].operations;
		for (size_t n = 0; n < worker[i].samples; n++)
			add(all, worker[i].sample[n]);
		free(worker[i].sample);
	}
	return (double)operations / (processor_seconds() - since);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1;
	int only = argc > 2 ? atoi(argv[2]) : -1;
	struct worker all = { .sample = malloc(SAMPLES * sizeof(*all.sample)) };

	if (cleave_section_start(&domain, NULL, 0))
		return 1;
	printf("%-5s %-5s %10s %9s %9s %9s %9s %9s\n", "", "busy", "cookies", "p50 us", "p99 us", "max us", "Mop/s",
	       "without");
	if (only < 1) {
		alone(seconds, false, &all);
		alone(seconds, true, &all);
	}
	for (int threads = 1; threads <= 3; threads++) {
		if (only >= 0 && threads != only)
			continue;

		double baseline = run(threads, seconds, false, &all), rate = run(threads, seconds, true, &all);
		char row[2] = { (char)('0' + threads), 0 };

		print(row, &all, rate, baseline);
	}
	cleave_section_stop(&domain);
	free(all.sample);
	return 0;
}
