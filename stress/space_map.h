/* SPDX-License-Identifier: ISC */
/*
 * Address spaces in the library's maps: what a recording has done to one goes through the calls that a kernel would
 * make.  A private mapping is copied on write and by a fork, a shared one is inherited shared, what a fork leaves out
 * is inherited by nobody; a stack that grows is a stack entry.  Files are objects, whose references are counted.
 *
 * One thread, in a domain of its own in which each grace period is over as soon as the thread is in no read section:
 * what is used for too long is used after its end.
 */
#ifndef STRESS_SPACE_MAP_H
#define STRESS_SPACE_MAP_H

#include <cleave/map.h>

#include "space_model.h"

struct space_map;

/* join: neighbours that differ in nothing become one entry. */
int space_map_create(struct space_map **out, uint64_t page_size, bool join);
/* End all maps.  Return: the number of objects whose references do not add up. */
size_t space_map_destroy(struct space_map *map);

/* For space_create(). */
int space_map_effect(void *map, const struct space_effect *effect);
bool space_map_next(void *map, uint32_t process, uint64_t from, struct space_range *range);

/* As space_model_matches() in all attributes; "model" is the map there. */
bool space_map_matches(struct space_map *map, uint32_t process, const struct trace_range *ranges, size_t count,
		       struct space_difference *difference);
/* cleave_map_verify(). */
size_t space_map_verify(struct space_map *map, uint32_t process, struct cleave_lines *lines);

struct space_map_figures {
	uint64_t peak_entries; /* most entries of one map, at a snapshot */
	uint64_t forks;
	uint64_t objects; /* files */
};

void space_map_figures(const struct space_map *map, struct space_map_figures *figures);

#endif
