/* SPDX-License-Identifier: ISC */
/* Time, processors, and what to make of many repetitions. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The time a thread has used and the time it has slept of its own will, but not the time that the scheduler gave its
 * processor to others: a benchmark shares the machine.
 */
struct stopwatch {
	double wall;
	double cpu;
	long sleeps;
};

double measure_wall(void);
/* What it costs to read it is taken off: of a system call each, 1.3 us on some virtual machines. */
void stopwatch_start(struct stopwatch *watch);
double stopwatch_seconds(const struct stopwatch *watch);
double stopwatch_cpu(const struct stopwatch *watch); /* without the sleep */

struct figure {
	double median;
	double q1;
	double q3;
};

#define SAMPLES_MAX 64

struct samples {
	unsigned int n;
	unsigned int rounds; /* which ones: what is measured by turns has the same number; 0: nothing else is */
	bool paced;	     /* it is known which ones are at full pace */
	bool slow[SAMPLES_MAX]; /* not at full pace (pace.h) */
	double value[SAMPLES_MAX];
};

void samples_add(struct samples *samples, double value);
void samples_add_paced(struct samples *samples, double value, bool full);

/* Of those at full pace, if they are SAMPLES_FEW at least; else of all. */
#define SAMPLES_FEW 3
struct figure samples_figure(const struct samples *samples);
unsigned int samples_full(const struct samples *samples); /* how many are */

/* A number for samples::rounds. */
unsigned int samples_rounds(void);

/*
 * How many times b a is, which were measured by turns: the median of the rounds' own ratios, for a machine that others
 * share changes its speed from one round to the next.  Of the rounds in which both were at full pace, as above.
 */
double samples_ratio_by_turns(const struct samples *a, const struct samples *b);

/* The same where the rounds have one number; elsewhere one median over the other. */
double samples_ratio(const struct samples *a, const struct samples *b);

/*
 * Whatever a thread writes as it is timed lies so far from what another one uses: a line, and the one beside it, which
 * processors fetch with it.  Else two threads of private work lose to each other what only the benchmark makes them.
 */
#define MEASURE_APART 128

/*
 * What is measured by turns finds the caches as others left them, and page tables of the hypervisor's that others made
 * it forget.  So the same work is done untimed before, until a pass is no faster than those before it.
 *
 *	struct steady steady = { .passes = 0 };
 *
 *	while (steady_pass(&steady, seconds of a pass))		true: another one is wanted
 *		;
 */
#define STEADY_FASTER 0.95 /* of the fastest one before: faster */
#define STEADY_PASSES 8	   /* at the most */

struct steady {
	double fastest;
	unsigned int passes;
};

bool steady_pass(struct steady *steady, double seconds);

/*
 * Two processors for the threads, on different cores where there are; second < 0: there is one only.  Return: they are
 * on different cores.
 */
bool measure_processors(int *first, int *second);
void measure_pin(int processor);
void measure_unpin(void); /* as the program was started; threads made now may run anywhere */

#endif
