/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "crowd.h"
#include "pace.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* What all look at all the time: apart from what anybody writes. */
static struct {
	_Alignas(MEASURE_APART) atomic_bool begun;
	atomic_bool timed;
	atomic_bool over;
	_Alignas(MEASURE_APART) atomic_uint ready;
} common;
static pthread_mutex_t attaching = PTHREAD_MUTEX_INITIALIZER;

bool crowd_over(void)
{
	return atomic_load_explicit(&common.over, memory_order_relaxed);
}

bool crowd_timed(void)
{
	return atomic_load_explicit(&common.timed, memory_order_relaxed);
}

void crowd_begin(struct crowd_member *member)
{
	member->full = member->processor >= 0 && pace_full();
	member->start = measure_wall();
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

	if (member->processor >= 0) {
		measure_pin(member->processor);
		pace_on(member->number);
	}
	pthread_mutex_lock(&attaching);
	member->thread = impl->attach(member->index);
	pthread_mutex_unlock(&attaching);
	if (impl->offline)
		impl->offline(member->thread);
	if (member->processor >= 0)
		member->waited = pace_wait(member->waited);
	atomic_fetch_add(&common.ready, 1);
	while (!atomic_load(&common.begun))
		sched_yield();
	if (impl->online)
		impl->online(member->thread);
	crowd_begin(member);
	member->body(member);
	member->seconds = measure_wall() - member->start;
	member->full = member->full && pace_full();
	/* Those that still run do not wait for this one. */
	if (impl->offline)
		impl->offline(member->thread);
	atomic_fetch_sub(&common.ready, 1);
	while (atomic_load(&common.ready))
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

static void rest(double seconds)
{
	struct timespec time = { .tv_sec = (time_t)seconds };

	time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
	nanosleep(&time, NULL);
}

bool crowd_run(struct crowd_member *members, unsigned int n, double untimed, double seconds)
{
	double waited = 0;
	bool full = true;

	atomic_store(&common.begun, false);
	atomic_store(&common.timed, untimed == 0);
	atomic_store(&common.over, false);
	atomic_store(&common.ready, 0);
	measure_unpin();
	for (unsigned int i = 0; i < n; i++) {
		members[i].number = i;
		members[i].ops = 0;
		members[i].waited = pace_patience();
		if (pthread_create(&members[i].id, NULL, main_of, &members[i])) {
			perror("cleave-bench: a thread");
			exit(1);
		}
	}
	/* Asleep: who waits for full pace is not to be disturbed. */
	while (atomic_load(&common.ready) < n)
		rest(0.0001);
	atomic_store(&common.begun, true);
	if (untimed > 0)
		rest(untimed);
	atomic_store(&common.timed, true);
	rest(seconds);
	atomic_store(&common.over, true);
	for (unsigned int i = 0; i < n; i++) {
		pthread_join(members[i].id, NULL);
		full = full && members[i].full;
		if (members[i].processor >= 0 && members[i].waited > waited)
			waited = members[i].waited;
	}
	pace_waited(waited);
	return full;
}
