/* SPDX-License-Identifier: ISC */
/*
 * A map's world in the simulator's arena, and an embedder who counts: references to one backing object, wired pages,
 * attribute objects.  What it is told under the lock it looks up twice: nothing may change meanwhile.
 */
#ifndef CLEAVE_SIM_MAP_CALLS_H
#define CLEAVE_SIM_MAP_CALLS_H

#include "sim.h"

#include "map_model.h"

#include <cleave/map.h>

#define PAGE UINT64_C(4096)
#define BASE (UINT64_C(1) << 20)
#define AT(page) (BASE + (uint64_t)(page)*PAGE)

struct world {
	struct cleave_domain domain;
	struct cleave_maps maps;
	struct cleave_map map;
	struct cleave_map other; /* what is extracted goes here */
	struct cleave_map child[THREADS];
	struct cleave_thread self[THREADS + 1]; /* the last one prepares */
	struct cleave_map_thread thread[THREADS + 1];
	struct cleave_word references; /* to the backing object */
	struct cleave_word wired[PAGES];
	struct cleave_word told[THREADS + 1]; /* the simulator, of a thread's new objects */
	uint64_t objects;		      /* attribute objects that were allocated and not freed */
	unsigned int bad_page[THREADS + 1];   /* that a thread cannot wire; 0: none */
	bool lacked;			      /* some allocation failed */
	bool backed;			      /* mappings have a backing object */
};

extern struct world *world;
extern const struct cleave_map_ops map_ops;
extern const struct cleave_memory map_memory;

/* Map pages; the error. */
int map_range(unsigned int thread, unsigned int first, unsigned int end, uint32_t flags);

/* Make a call; the answer into the record. */
void map_call(unsigned int thread, struct record *record);

/* What the map holds, outside of an execution. */
void map_state(struct state *state);

/* After an execution: everything adds up, and nothing is left once it is taken down; NULL, or what is wrong. */
const char *map_end(void);

#endif
