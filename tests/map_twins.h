/* SPDX-License-Identifier: ISC */
/*
 * Maps and their plain models: calls to both, compared after each: results, every page's attributes, entries, guards,
 * accounts, windows, wired pages, stale translations.  What is called is drawn from universe.rng.
 */
#ifndef TESTS_MAP_TWINS_H
#define TESTS_MAP_TWINS_H

#include "map_model.h"
#include "map_world.h"

#define MAPS 3
#define OBJECTS 3
#define SPACE 48 /* pages of a map */

struct twin {
	struct cleave_map map;
	struct map_model model;
	bool alive;
};

struct universe {
	struct manual_domain domain;
	struct embedder embedder;
	struct cleave_maps maps;
	struct cleave_map_thread thread;
	struct twin twins[MAPS];
	struct thing *objects[OBJECTS];
	uint64_t next_store;
	struct rng rng;
	struct rng noise; /* what is entered into page tables */
	const char *kind;
	uint64_t seed;
	uint64_t step;
	uint64_t failures; /* injected */
	bool inject;
	uint64_t results[200]; /* calls by negative result */
};

/* Kinds of maps: their configurations. */
#define UNIVERSE_KINDS 9u

void universe_start(struct universe *universe, unsigned int kind, uint64_t seed);
void universe_stop(struct universe *universe);

/* One call, if it makes sense; with universe->inject set, after every way in which it can fail. */
void universe_step(struct universe *universe);

/* Are the maps as their models say? */
void universe_compare(struct universe *universe);

#endif
