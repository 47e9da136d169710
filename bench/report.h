/* SPDX-License-Identifier: ISC */
/* Rows of results: printed as they come, kept for ratios, written as JSON at the end. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "measure.h"

struct row {
	const char *workload;
	const char *impl;
	size_t n;
	unsigned int threads;
	const char *unit; /* "ns" per operation, "%", "B" per entry, "x" times */
	struct samples samples;
	struct figure figure; /* of these: report_add() makes it */
	double limit;	      /* times the limit's independent lookup at the same n; 0: no such figure */

	/* Judged is `ratio`, samples_ratio() to `base`; where there is no base, the median itself. */
	const char *base;
	double ratio;
	double target; /* 0: none */
	bool at_least; /* the target is a lower bound */
};

#define REPORT_COLUMNS 20

struct report {
	struct row *rows;
	size_t n;
	size_t capacity;
	size_t reached;
	size_t missed;
};

void report_header(void);
void report_add(struct report *report, struct row *row);
/* NULL if that was not measured. */
const struct row *report_find(const struct report *report, const char *workload, const char *impl, size_t n);
const struct row *report_find_threads(const struct report *report, const char *workload, const char *impl, size_t n,
				      unsigned int threads);
void report_summary(const struct report *report);

/* The rows that say at which distance two threads were measured (distance.h): beside "S", and in later rounds. */
#define REPORT_DISTANCE "distance"
#define REPORT_DISTANCE_AGAIN "distance-again"

/*
 * How far the processors were from each other, in all rounds in which that was measured; and how many samples were at
 * full pace, of those of which that is known.
 */
void report_pace(const struct report *report, double spent);

/* What these implementations did, side by side: a line a workload. */
void report_matrix(const struct report *report, const char *const *impl, size_t n);

/*
 * `facts`: the members before the rows, as JSON, each with a comma behind it.
 * Return: false: it could not be written, and this was said.
 */
bool report_json(const struct report *report, const char *path, const char *facts);

#endif
