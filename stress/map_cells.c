/* SPDX-License-Identifier: ISC */
#include "map_cells.h"
#include "scale.h"

#include "../tools/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PIECE (UINT64_C(64) << 10)

void *need(void *memory)
{
	if (!memory) {
		fprintf(stderr, "%s: out of memory\n", program_name);
		exit(PROGRAM_WRONG);
	}
	return memory;
}

void must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "%s: %s: %s\n", program_name, what, strerror(-error));
		exit(1);
	}
}

/* ---- From a recording ---- */

static bool is_anonymous(const struct trace_range *range)
{
	return !range->object && !(range->attributes & (TRACE_SHARED | TRACE_GROWS_DOWN)) &&
	       (range->attributes & TRACE_PROT) == (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE);
}

static void add_mapping(struct cells *cells, const struct trace_range *recorded, uint64_t start, uint64_t end)
{
	uint64_t pages = (end - start) / cells->page, n = pages < CELLS ? pages : CELLS;

	cells->mapping[cells->mappings++] = (struct mapping){
		.start = start,
		.end = end,
		.unit = pages / n * cells->page,
		.cell = cells->n,
		.cells = n,
		.recorded = *recorded,
	};
	cells->n += n;
}

/* Large anonymous mappings fall into pieces, until there are enough of them. */
static void make_mappings(struct cells *cells, const struct scale *scale)
{
	cells->mapping = need(calloc(scale->count + PIECES, sizeof(*cells->mapping)));
	cells->mappings = cells->n = cells->pieces = 0;
	for (size_t i = 0; i < scale->count; i++)
		cells->pieces += is_anonymous(&scale->range[i]) && scale->range[i].end - scale->range[i].start == PIECE;
	for (size_t i = 0; i < scale->count; i++) {
		const struct trace_range *range = &scale->range[i];
		uint64_t start = range->start;

		while (is_anonymous(range) && range->end - range->start >= 16 * PIECE && range->end - start > PIECE &&
		       cells->pieces < PIECES) {
			uint64_t end = (start + PIECE) & ~(PIECE - 1);

			add_mapping(cells, range, start, end);
			cells->pieces += end - start == PIECE;
			start = end;
		}
		add_mapping(cells, range, start, range->end);
	}
}

static void number_cells(struct cells *cells)
{
	cells->mapping_of = need(calloc(cells->n, sizeof(*cells->mapping_of)));
	for (size_t i = 0; i < cells->mappings; i++)
		for (size_t j = 0; j < cells->mapping[i].cells; j++)
			cells->mapping_of[cells->mapping[i].cell + j] = i;
}

/* As many recorded ranges as make ENTRIES with the pieces. */
void cells_load(struct cells *cells, const char *recording)
{
	struct trace_log *log;
	struct scale *scale;
	char message[256];
	size_t wanted = ENTRIES;

	*cells = (struct cells){ .page = 0 };
	if (trace_load(&log, recording, message, sizeof(message)))
		program_wrong("%s: %s", recording, message);
	cells->page = log->page_size;
	for (unsigned int tries = 0; tries < 16 && cells->mappings != ENTRIES; tries++) {
		free(cells->mapping);
		if (scale_peak(&scale, log, wanted, 1) < 0)
			program_wrong("%s cannot be scaled", recording);
		make_mappings(cells, scale);
		if (tries == 0)
			printf("%zu mappings recorded\n", scale->recorded);
		scale_free(scale);
		wanted += ENTRIES - cells->mappings; /* may be negative: modulo 2^64 */
	}
	trace_unload(log);
	if (cells->mappings != ENTRIES || cells->pieces != PIECES)
		program_wrong("%s: %zu entries, %zu pieces", recording, cells->mappings, cells->pieces);
	number_cells(cells);
}

void cells_free(struct cells *cells)
{
	free(cells->mapping);
	free(cells->mapping_of);
}

/* ---- Places ---- */

uint64_t cell_start(const struct cells *cells, size_t cell)
{
	const struct mapping *mapping = &cells->mapping[cells->mapping_of[cell]];

	return mapping->start + (cell - mapping->cell) * mapping->unit;
}

uint64_t cell_end(const struct cells *cells, size_t cell)
{
	const struct mapping *mapping = &cells->mapping[cells->mapping_of[cell]];

	return cell - mapping->cell + 1 == mapping->cells ? mapping->end : cell_start(cells, cell) + mapping->unit;
}

bool cell_touches(const struct cells *cells, size_t cell)
{
	return cell > 0 && cell < cells->n && cell_end(cells, cell - 1) == cell_start(cells, cell);
}

/* ---- The map ---- */

void *cells_object(const struct trace_range *range)
{
	return range->object ? (void *)(uintptr_t)(range->object * UINT64_C(64)) : NULL;
}

/* What was recorded whole is mapped whole, and then clipped into its pieces. */
void cells_map(const struct cells *cells, struct cleave_map *map, struct cleave_map_thread *thread)
{
	struct cleave_map_config config = {
		.min = cells->page,
		.max = UINT64_MAX / cells->page * cells->page,
	};
	uint64_t mapped = 0;

	while (UINT64_C(1) << config.page_shift < cells->page)
		config.page_shift++;
	must(cleave_map_init(map, thread, &config), "init");
	for (size_t i = 0; i < cells->mappings; i++) {
		const struct trace_range *recorded = &cells->mapping[i].recorded;
		bool shared = recorded->attributes & TRACE_SHARED;
		struct cleave_map_request request = {
			.addr = recorded->start,
			.size = recorded->end - recorded->start,
			.object = cells_object(recorded),
			.offset = recorded->offset,
			.flags = CLEAVE_MAP_FIXED,
			.entry_flags = shared ? 0 : CLEAVE_MAP_COW,
			.protection = (uint8_t)(recorded->attributes & TRACE_PROT),
			.max_protection = CLEAVE_PROT_ALL,
			.inheritance = shared ? CLEAVE_INHERIT_SHARE : CLEAVE_INHERIT_COPY,
		};

		if (recorded->end > mapped)
			must(cleave_map_map(map, thread, &request), "map");
		mapped = recorded->end;
		must(cleave_map_clip_start(map, thread, cells->mapping[i].start, NULL), "clip");
	}
}

uint64_t cells_entries(struct cleave_map *map, struct cleave_map_thread *thread)
{
	struct cleave_map_accounts accounts;

	cleave_map_account(map, thread, &accounts);
	return accounts.entries;
}

static bool joinable(const struct mapping *low, const struct mapping *high)
{
	const struct trace_range *a = &low->recorded, *b = &high->recorded;

	return low->end == high->start && a->object == b->object &&
	       ((a->attributes ^ b->attributes) & (TRACE_PROT | TRACE_SHARED)) == 0 &&
	       (!a->object || a->offset - a->start == b->offset - b->start);
}

bool cells_join(const struct cells *cells, struct cleave_map *map, struct cleave_map_thread *thread)
{
	uint64_t before, after, expected = cells->mappings;
	struct timespec from, to;

	for (size_t i = 1; i < cells->mappings; i++)
		expected -= joinable(&cells->mapping[i - 1], &cells->mapping[i]);
	cells_map(cells, map, thread);
	before = cells_entries(map, thread);
	clock_gettime(CLOCK_MONOTONIC, &from);
	must(cleave_map_coalesce(map, thread, map->config.min, map->config.max), "coalesce");
	clock_gettime(CLOCK_MONOTONIC, &to);
	after = cells_entries(map, thread);
	printf("%" PRIu64 " entries, %zu of them anonymous pieces of 64 KiB; joined: %" PRIu64 " entries, in %.2f ms\n",
	       before, cells->pieces, after,
	       1e3 * (double)(to.tv_sec - from.tv_sec) + 1e-6 * (double)(to.tv_nsec - from.tv_nsec));
	cleave_map_destroy(map, thread);
	if (before == ENTRIES && after == expected)
		return true;
	printf("FAILED: %d entries and, joined, %" PRIu64 " were expected\n", ENTRIES, expected);
	return false;
}
