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
	double value[SAMPLES_MAX];
};

void samples_add(struct samples *samples, double value);
struct figure samples_figure(const struct samples *samples);

/* Two processors for the threads, on different cores where there are; second < 0: there is one only. */
void measure_processors(int *first, int *second);
void measure_pin(int processor);
void measure_unpin(void); /* as the program was started; threads made now may run anywhere */

#endif
