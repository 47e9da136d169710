/* SPDX-License-Identifier: ISC */
/* Any number of threads that run for a while, and how long single operations took. */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include "suite.h"

#include <pthread.h>
#include <stdatomic.h>

#define CROWD_MOST 64 /* threads */

/* Latencies in classes of a sixteenth of a power of two. */
#define CROWD_CLASSES (40 * 16)

struct crowd_times {
	uint64_t count[CROWD_CLASSES];
	uint64_t total;
	uint64_t worst; /* ns */
};

void crowd_time_add(struct crowd_times *times, uint64_t ns);
void crowd_times_join(struct crowd_times *to, const struct crowd_times *from);
double crowd_time_at(const struct crowd_times *times, double fraction);

struct crowd_member {
	_Alignas(MEASURE_APART) const struct bench_impl *impl;
	void *index;
	void *thread; /* the implementation's handle */
	unsigned int number;
	int processor;				    /* < 0: any */
	void *(*body)(struct crowd_member *member); /* runs until crowd_over() */
	void *context;
	struct crowd_times *times; /* NULL: not wanted */
	uint64_t ops;
	uint64_t sum; /* of what was found, lest the compiler look for nothing */
	double start;
	double seconds;
	double waited; /* for full pace; before that, for how long it may */
	bool full;     /* pinned, and at full pace (pace.h) */
	pthread_t id;
};

/*
 * Run all bodies at once, for so long, after they have run untimed; each gets a handle of its own.  Members that are
 * pinned begin at full pace if there is patience.  Return: they were so all the time.
 */
bool crowd_run(struct crowd_member *members, unsigned int n, double untimed, double seconds);

/* Does the timed part go on?  A body that ran untimed says that it begins with it. */
bool crowd_timed(void);
void crowd_begin(struct crowd_member *member);

/* Is it over? */
bool crowd_over(void);

uint64_t crowd_now(void); /* ns */

#endif
