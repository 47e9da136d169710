/* SPDX-License-Identifier: ISC */
/* Programs that run scenarios of a few accesses, each in several variants, under chosen schedules with stale reads. */
#ifndef CLEAVE_SIM_ORDERS_RUN_H
#define CLEAVE_SIM_ORDERS_RUN_H

#include "port/sim/sim.h"

struct scenario {
	const char *name; /* NULL ends a list */
	unsigned int nthreads;
	unsigned int variants;
	void (*prepare)(unsigned int variant);
	void (*body)(unsigned int thread);
	const char *(*judge)(void); /* NULL: right */
	enum {
		FALSE_DONE = 1, /* cookies are seen done late, where chance decides */
		LOCKED = 2,	/* each read-modify-write is a full barrier */
	} how;
};

extern unsigned int variant_now;

/*
 * The program: so many executions of each variant by chance, unless its options say how many, and all schedules with 2
 * preemptions.
 */
int orders_main(int argc, char **argv, const struct scenario *const *lists, unsigned int nlists, uint64_t executions);

#endif
