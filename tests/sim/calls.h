/* SPDX-License-Identifier: ISC */
/* Calls of the library inside an execution, with what they answered. */
#ifndef CLEAVE_SIM_CALLS_H
#define CLEAVE_SIM_CALLS_H

#include "sim.h"

#include "model.h"

#define MAX_CALLS 6u /* of one thread */

/* All that the library shares between threads, but the nodes; lies in the arena. */
struct world {
	struct cleave_domain domain;
	struct cleave index;
	struct cleave copies[SIM_THREADS]; /* one thread's each, for the length of a call */
	struct cleave_thread threads[SIM_THREADS + 1]; /* the last one prepares */
};

/* An execution's calls. */
struct record {
	struct call call;
	struct answer answer;
	uint32_t began; /* calls that had returned by then */
	uint32_t returned;
	uint32_t clock; /* what it released */
	uint32_t seen;	/* in stale memory: mask of the records that happened before */
};

extern struct world *world;

/* Make a call; if `record` is NULL outside of an execution, for preparation. */
void make_call(unsigned int thread, const struct call *call, struct answer *answer);

const char *call_text(const struct call *call, char *text, size_t size);

/* All entries of an index, gaps too. */
void read_all(const struct cleave *index, struct answer *answer);

#endif
