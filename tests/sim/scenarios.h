/* SPDX-License-Identifier: ISC */
/* What threads do at the same time, on which index. */
#ifndef CLEAVE_SIM_SCENARIOS_H
#define CLEAVE_SIM_SCENARIOS_H

#include "calls.h"

#define MAX_PREPARE 8u
#define DRAWN UINT32_MAX /* variants of the scenario that is drawn */

/* A prepared index, and the places in it that are of interest. */
struct shape {
	const char *name;
	struct call entries[32];	  /* first, last and value only; until value is 0 */
	struct call prepare[MAX_PREPARE]; /* until last is 0 */
	uint8_t a, b, v;		  /* an entry and its value */
	uint8_t c, d, w;		  /* its right neighbour */
	uint8_t g, h;			  /* a gap */
};

/* One way to run a scenario. */
struct variant {
	const struct shape *shape;
	unsigned int nthreads;
	unsigned int ncalls[SIM_THREADS];
	struct call calls[SIM_THREADS][MAX_CALLS];
	bool cold; /* empty caches: nodes are reused as soon as that is allowed */
	bool fail_alloc;
	bool asks; /* whether a cookie is done; else: reads that from a word */
	bool ordered_only; /* threads read and write: only judged where loads are never stale */
	uint64_t garbage_limit;
};

unsigned int scenario_count(void);
const char *scenario_name(unsigned int scenario);
unsigned int scenario_variants(unsigned int scenario);
void scenario_variant(unsigned int scenario, unsigned int number, struct variant *variant);

#endif
