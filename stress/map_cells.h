/* SPDX-License-Identifier: ISC */
/*
 * A browser's address space for map_firefox.c: recorded mappings, scaled, some of them in pieces of 64 KiB, and each
 * divided into up to 64 cells.
 */
#ifndef STRESS_MAP_CELLS_H
#define STRESS_MAP_CELLS_H

#include "trace.h"

#include <cleave/map.h>

#include <stdbool.h>

#define ENTRIES 6849
#define PIECES 457
#define CELLS 64 /* of a mapping, at most */

struct mapping {
	uint64_t start;
	uint64_t end;
	uint64_t unit; /* bytes of a cell; the last one may have more */
	size_t cell;   /* its first */
	size_t cells;
	struct trace_range recorded; /* of which a piece is a part */
};

struct cells {
	uint64_t page;
	struct mapping *mapping;
	size_t mappings;
	size_t pieces;	    /* anonymous mappings of 64 KiB */
	size_t *mapping_of; /* the mapping of each cell */
	size_t n;
};

/* Exit with a message if that fails. */
void *need(void *memory);
void must(int error, const char *what);

/* ENTRIES mappings, PIECES of them pieces; ends the program if that cannot be. */
void cells_load(struct cells *cells, const char *recording);
void cells_free(struct cells *cells);

uint64_t cell_start(const struct cells *cells, size_t cell);
uint64_t cell_end(const struct cells *cells, size_t cell);
/* Does the cell begin where the one below ends? */
bool cell_touches(const struct cells *cells, size_t cell);

/* What a recorded range maps; any address will do. */
void *cells_object(const struct trace_range *range);

/* Map all of it. */
void cells_map(const struct cells *cells, struct cleave_map *map, struct cleave_map_thread *thread);

uint64_t cells_entries(struct cleave_map *map, struct cleave_map_thread *thread);
/* Map it, join what differs in nothing, tell how many entries there were before and after.  Return: as expected? */
bool cells_join(const struct cells *cells, struct cleave_map *map, struct cleave_map_thread *thread);

#endif
