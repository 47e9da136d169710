/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "crowd.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static atomic_bool begun, over;
static atomic_uint ready;
static pthread_mutex_t attaching = PTHREAD_MUTEX_INITIALIZER;

bool crowd_over(void)
{
	return atomic_load_explicit(&over, memory_order_relaxed);
}

uint64_t crowd_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static unsigned int class_of(uint64_t ns)
{
	unsigned int power;

	if (ns < 16)
		return (unsigned int)ns;
	power = 63 - (unsigned int)__builtin_clzll(ns);
	if (power > 41)
		return CROWD_CLASSES - 1;
	return (power - 3) * 16 + (unsigned int)(ns >> (power - 4) & 15);
}

static double class_value(unsigned int class)
{
	if (class < 16)
		return class;
	return (double)((UINT64_C(16) + class % 16) << (class / 16 - 1));
}

void crowd_time_add(struct crowd_times *times, uint64_t ns)
{
	times->count[class_of(ns)]++;
	times->total++;
	if (ns > times->worst)
		times->worst = ns;
}

void crowd_times_join(struct crowd_times *to, const struct crowd_times *from)
{
	for (unsigned int i = 0; i < CROWD_CLASSES; i++)
		to->count[i] += from->count[i];
	to->total += from->total;
	if (from->worst > to->worst)
		to->worst = from->worst;
}

double crowd_time_at(const struct crowd_times *times, double fraction)
{
	uint64_t below = 0, wanted = (uint64_t)(fraction * (double)times->total);

	for (unsigned int i = 0; i < CROWD_CLASSES; i++) {
		below += times->count[i];
		if (below > wanted)
			return class_value(i);
	}
	return (double)times->worst;
}

static void *main_of(void *argument)
{
	struct crowd_member *member = argument;
	const struct bench_impl *impl = member->impl;
	double start;

	if (member->processor >= 0)
		measure_pin(member->processor);
	pthread_mutex_lock(&attaching);
	member->thread = impl->attach(member->index);
	pthread_mutex_unlock(&attaching);
	atomic_fetch_add(&ready, 1);
	if (impl->offline)
		impl->offline(member->thread);
	while (!atomic_load(&begun))
		sched_yield();
	if (impl->online)
		impl->online(member->thread);
	start = measure_wall();
	member->body(member);
	member->seconds = measure_wall() - start;
	/* Those that still run do not wait for this one. */
	if (impl->offline)
		impl->offline(member->thread);
	atomic_fetch_sub(&ready, 1);
	while (atomic_load(&ready))
		sched_yield();
	/* Who waits for this lock holds up no grace period. */
	pthread_mutex_lock(&attaching);
	if (impl->online)
		impl->online(member->thread);
	if (impl->detach)
		impl->detach(member->thread);
	pthread_mutex_unlock(&attaching);
	return NULL;
}

void crowd_run(struct crowd_member *members, unsigned int n, double seconds)
{
	struct timespec time = { .tv_sec = (time_t)seconds };

	time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
	atomic_store(&begun, false);
	atomic_store(&over, false);
	atomic_store(&ready, 0);
	measure_unpin();
	for (unsigned int i = 0; i < n; i++) {
		members[i].number = i;
		members[i].ops = 0;
		if (pthread_create(&members[i].id, NULL, main_of, &members[i])) {
			perror("cleave-bench: a thread");
			exit(1);
		}
	}
	while (atomic_load(&ready) < n)
		sched_yield();
	atomic_store(&begun, true);
	nanosleep(&time, NULL);
	atomic_store(&over, true);
	for (unsigned int i = 0; i < n; i++)
		pthread_join(members[i].id, NULL);
}
