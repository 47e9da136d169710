/* SPDX-License-Identifier: ISC */
/* What the threads of a variant do, on what: named ones, and random ones by number. */
#ifndef CLEAVE_SIM_ANON_SCENARIOS_H
#define CLEAVE_SIM_ANON_SCENARIOS_H

#include "anon_model.h"

/* What is there when the threads begin.  Nodes have two slots: leaves {0, 1} and {2, 3} below one branch. */
enum shape {
	EMPTY,	   /* store 0 is empty */
	LONE,	   /* store 0 has slots 0 and 1 */
	ALONE,	   /* store 0 has slot 0 */
	TOKENS,	   /* as LONE; both are tokens */
	CLONED,	   /* stores 0 and 1 share all slots */
	DISPLACED, /* then store 0 wrote slot 0; thread 0 has retired the old path, without a grace period */
	SWAPPED,   /* as CLONED; slots 0 and 2 are tokens */
	WINDOWED,  /* as CLONED; a window covers store 0 */
	OWNED,	   /* as CLONED; then both wrote slots 0 and 2: they own their paths, share the anons of 1 and 3 */
	SHAPES
};

struct scenario {
	const char *name;
	enum shape shape;
	struct call calls[THREADS][MOST_CALLS];
};

/* A call on one slot. */
#define C(k, s, slot_, v) { k, s, slot_, slot_, v }

extern const struct scenario anon_scenarios[];
extern const unsigned int anon_nscenarios;
extern const char *const anon_kind_names[];

/* Pairs and triples of every kind, in every shape: by number. */
#define RANDOM_PROGRAMS 4000u

void anon_random_program(unsigned int number, struct scenario *scenario);

#endif
