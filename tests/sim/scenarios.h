/* SPDX-License-Identifier: ISC */
/* What threads do at the same time, on which index. */
#ifndef CLEAVE_SIM_SCENARIOS_H
#define CLEAVE_SIM_SCENARIOS_H

#include "shapes.h"

#define DRAWN UINT32_MAX /* variants of the scenario that is drawn */

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
