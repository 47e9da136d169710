/* SPDX-License-Identifier: ISC */
/*
 * Stores beside plain arrays: fills, writes, removals, wipes, windows, clones, truncations and walks, drawn from
 * it.world.rng, and everything compared.  A page's bytes are one number, so that writing in place what somebody else
 * still sees shows.
 */
#ifndef TESTS_ANON_TWINS_H
#define TESTS_ANON_TWINS_H

#include "anon_support.h"

#define STORES 6
#define PLACES 150 /* slots that the model knows; apart from each other by the stride */
#define STRIDES 5u

struct model_store {
	struct cleave_anon *store;
	uint64_t bytes[PLACES]; /* 0: empty */
	unsigned int windows[PLACES];
	unsigned int places; /* below the store's end */
};

struct anon_twins {
	struct anon_world world;
	struct model_store stores[STORES];
	uint64_t stride;
	uint64_t bytes; /* the last number written */
	uint64_t *page; /* what is in each page or token */
	uint64_t in_place;
	uint64_t copied;
	uint64_t walked;
};

extern struct anon_twins it;

/* stride: a number below STRIDES. */
void anon_twins_start(enum grace grace, unsigned int stride, uint64_t seed);
void anon_twins_stop(void);
void anon_twins_step(void);
void anon_twins_compare(void);

#endif
