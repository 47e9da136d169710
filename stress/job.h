/* SPDX-License-Identifier: ISC */
/* The job: options, the one index, its stripes and its threads. */
#ifndef STRESS_JOB_H
#define STRESS_JOB_H

#include "script.h"
#include "stripe.h"
#include "worker.h"

enum plant {
	PLANT_NOTHING,
	PLANT_TORN,	   /* a reader mixes two answers */
	PLANT_STALE,	   /* a reader gives an old answer */
	PLANT_EARLY_FREE,  /* objects are used again without waiting for a grace period */
	PLANT_EARLY_REUSE, /* the library is told that grace periods take no time */
	PLANT_SPLIT_PAIR,  /* a pair is changed by two changes */
	PLANT_LOST_CHANGE, /* a writer believes in a clip that it did not make */
	PLANTS
};

extern const char *const plant_names[PLANTS];

struct options {
	uint64_t seconds;
	unsigned int writers;
	unsigned int faulters;
	uint64_t seed;
	const char *json;
	const char *traces;
	const struct flavour *flavour;
	uint64_t scale;
	const char *search;
	enum plant plant;
};

/* Objects of all are counted by main while everybody stands still. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	_Atomic bool wanted;
	unsigned int standing;
	unsigned int running;
};

/* What was seen at the ends of pauses. */
struct peaks {
	uint64_t garbage;
	uint64_t leaves;
	uint64_t branches;
	uint64_t bytes;
	uint64_t entries;
	uint64_t height;
};

struct job {
	struct options options;
	void *domain;
	struct cleave_domain *core;
	const struct cleave_ops *ops; /* the flavour's own */
	struct cleave_ops early_ops;  /* PLANT_EARLY_REUSE: what the library gets instead */
	struct cleave index;
	struct scripts scripts;
	struct stripe *stripes;
	unsigned int nstripes;
	struct worker *workers; /* main, then the writers, then the fault threads */
	unsigned int nworkers;
	struct gate gate;
	pthread_t shaker;
	_Atomic bool shaken; /* enough */
	_Atomic bool stop;
	_Atomic bool storm; /* now all work where they meet each other */
	_Atomic unsigned int violations;
	_Atomic unsigned int next_script;
	_Atomic uint64_t *heap_holder; /* for each address of the shared heap: a worker's number + 1, or 0 */
	_Atomic uint64_t pair_versions;
	struct peaks peaks;
	uint64_t exact_ns; /* phase 1 */
	uint64_t exact_effects;
	uint64_t exact_snapshots;
	uint64_t exact_lines;
	uint64_t job_ns;
	uint64_t pauses;
	struct cleave_counters counters;
};

uint64_t now_ns(void);

/* Say what is wrong, what the thread did before and what the index shows near `addr`; the job stops. */
void violation(struct worker *worker, uint64_t addr, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- The parts of the job ---- */

/* Phase 1.  Return: 0, 1 after a violation, or negative errno. */
int exact_replay(struct job *job);

int stripes_start(struct job *job);
void stripes_stop(struct job *job);

/* While the workers exist: interrupt them anywhere.  Return: 0 or negative errno. */
int shake_start(struct job *job);
void shake_stop(struct job *job);

void writer_run(struct worker *worker);
void reader_run(struct worker *worker);
/* One read section of queries. */
void reader_section(struct worker *worker);

#endif
