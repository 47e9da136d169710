/* SPDX-License-Identifier: ISC */
/* The frame of the workloads of one thread: an index, what is done to it, and what came out. */
#ifndef BENCH_TASK_H
#define BENCH_TASK_H

#include "suite.h"

#define TASK_READS 256 /* lookups in one read section */
#define TASK_WRITES 32 /* changes of one kind in a row */
#define TASK_ADDRESSES ((size_t)1 << 18)
#define TASK_OUTPUTS 4

/* An implementation's index and this thread's handle to it. */
struct subject {
	const struct bench_impl *impl;
	void *index;
	void *thread;
};

/* One workload on one subject.  A run may have several results: ns and shares. */
struct task {
	const char *workload[TASK_OUTPUTS];
	const struct subject *subject;
	const char *base; /* the lookups beside it that it is judged by; NULL: those of the lookups' own rounds */
	double (*run)(struct task *task, size_t ops, double *out); /* seconds */
	const uint64_t *addrs;
	const struct cleave_entry *entries;
	const struct cleave_request *requests;
	size_t n;     /* of what these point to */
	size_t at;    /* where the next operation takes its arguments */
	size_t size;  /* of the index */
	size_t fixed; /* operations of a repetition; 0: by time */
	size_t ops;
	bool timed;   /* not an untimed pass */
	double share; /* of a pair of operations the first one's, of its time: of the last untimed pass */
	size_t failed;
	struct samples samples[TASK_OUTPUTS];
};

extern const size_t task_sizes[4];

struct subject subject_open(const struct suite *suite, const struct bench_impl *impl, const struct layout *layout,
			    bool dense);
void subject_close(struct subject *subject);

/* The next `count` arguments, or what is left before they begin again. */
size_t task_take(struct task *task, size_t *count);

/* The leaves that this thread copied so far. */
uint64_t task_copies(const struct task *task);

/* Lookups in sections of TASK_READS. */
double task_lookup(struct task *task, size_t ops, double *out);

/*
 * A machine that others share has times of one speed and times of another, and a lookup and a change are not slowed by
 * as much.  So what is judged by the library's lookup has one beside it, on the same index in the same rounds.
 */
void tasks_add_lookup(struct task *tasks, size_t *n, const struct task *judged, const uint64_t *addrs);

/* Find how many operations fill a repetition, then go round all tasks; before each sample until it is steady. */
void tasks_run(const struct suite *suite, struct task *tasks, size_t n);

struct row task_row(const struct task *task, unsigned int output, const char *unit);

/*
 * Report one output of all tasks, so that like stands by like; ns are judged by the implementation's own lookup, by the
 * one beside it if there is one.
 */
void tasks_report(struct suite *suite, const struct task *tasks, size_t ntasks, unsigned int output, const char *unit,
		  double target);

/* Is one of the workloads (NULL: left out) wanted? */
bool tasks_wanted(const struct suite *suite, const char *const *workloads, unsigned int n, const char *impl);

/* Add the task if any of its outputs is wanted. */
void tasks_add(const struct suite *suite, struct task *tasks, size_t *n, const struct task *task);

#endif
