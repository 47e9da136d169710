/* SPDX-License-Identifier: ISC */
#ifndef CLEAVE_SIM_SHAPES_H
#define CLEAVE_SIM_SHAPES_H

#include "calls.h"

#define MAX_PREPARE 8u

/* A prepared index, and the places in it that are of interest. */
struct shape {
	const char *name;
	struct call entries[32];	  /* first, last and value only; until value is 0 */
	struct call prepare[MAX_PREPARE]; /* until last is 0 */
	uint8_t a, b, v;		  /* an entry and its value */
	uint8_t c, d, w;		  /* its right neighbour */
	uint8_t g, h;			  /* a gap */
};

/* In the order of shapes[]. */
enum { LONE, FULL, BOUNDARY, GAP_BOUNDARY, ONE_CELL, ROOMY, HIGH_BOUND, RECURRING, SIX, EMPTY, DEEP };

extern const struct shape shapes[];
extern const unsigned int nshapes;

#endif
