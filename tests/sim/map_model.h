/* SPDX-License-Identifier: ISC */
/* A map as an array of pages, and whether some order of the calls explains what they answered. */
#ifndef CLEAVE_SIM_MAP_MODEL_H
#define CLEAVE_SIM_MAP_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define PAGES 8u
#define THREADS 3u
#define MOST_CALLS 3u /* of one thread */

enum kind {
	NOTHING,
	LOOKUP,	  /* page `first` */
	CHECK,	  /* is all of it mapped with this protection? */
	SNAPSHOT, /* everything, at one instant */
	PROTECT,
	INHERIT, /* `value` */
	REPLACE, /* map over whatever is there */
	MAP,	 /* map where nothing is */
	UNMAP,	 /* as the system call */
	MOVE,	 /* one transaction: unmap the range, map page `value` */
	CLIP,
	COALESCE,
	WIRE,
	UNWIRE,
	MISWIRE, /* the embedder cannot wire the last page */
	FORK,	 /* what the child has */
	EXTRACT, /* what the other map has */
	BUSY,	 /* keep others out, and look twice */
	KINDS
};

extern const char *const kind_names[KINDS];

#define MISWIRED (-125) /* what the embedder answers then */

struct call {
	enum kind kind;
	uint8_t first; /* pages [first, end) */
	uint8_t end;
	uint8_t value; /* protection, inheritance, a page */
};

/* What a page is: 0, or MAPPED | protection << 1 | inheritance << 4 | WIRED. */
#define MAPPED 1u
#define WIRED 64u
#define PASSING 128u /* the model's: by a wiring that fails later */
#define PAGE_CODE(protection, inheritance) ((uint8_t)(MAPPED | (protection) << 1 | (inheritance) << 4))

struct state {
	uint8_t page[PAGES];
};

struct record {
	struct call call;
	int error;
	struct state state; /* what it has read */
	uint8_t mask;	    /* of each page; BUSY */
	uint32_t began;	    /* calls that had returned by then */
	uint32_t returned;  /* 0: not yet */
	uint32_t clock;
	uint32_t seen; /* in stale memory: mask of the calls that happened before */
};

/* What must be explained: records[thread][i], and the state at the end. */
bool map_explained(const struct state *start, const struct state *end, struct record records[THREADS][MOST_CALLS],
		   const unsigned int *ncalls, bool weak);

#endif
