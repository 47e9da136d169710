/* SPDX-License-Identifier: ISC */
/*
 * A heat map of faults: time from left to right, addresses from below to above, less what nobody touched.  Each column
 * is a slice of time, each row a block of neighbouring pages; the colour says how many faults, refaults apart.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../tools/program.h"
#include "pager.h"

#define SAMPLES (UINT64_C(1) << 24)
#define COLUMNS 160u
#define ROWS 96u
#define CELL 6u
#define LEFT 150u
#define TOP 46u
#define LEGEND 60u

struct sample {
	uint64_t page; /* bit 63: a refault */
	uint32_t millisecond;
	uint32_t pad;
};

#define REFAULT (UINT64_C(1) << 63)

static struct sample *samples;
static _Atomic uint64_t nsamples;

void heat_start(void)
{
	void *memory = mmap(NULL, SAMPLES * sizeof(*samples), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	samples = memory == MAP_FAILED ? NULL : memory;
}

void heat_add(uint64_t addr, enum fault_kind kind)
{
	uint64_t at;

	if (!samples)
		return;
	at = atomic_fetch_add_explicit(&nsamples, 1, memory_order_relaxed);
	if (at < SAMPLES)
		samples[at] = (struct sample){ addr >> PAGE_SHIFT | (kind == FAULT_REFAULT ? REFAULT : 0),
					       (uint32_t)((clock_ns() - pager.begun) / 1000000), 0 };
}

/* ---- Drawing ---- */

struct picture {
	uint64_t *blocks; /* sorted: page numbers >> shift, each once */
	size_t nblocks;
	unsigned int shift;
	uint32_t end; /* milliseconds */
	uint32_t first[ROWS][COLUMNS];
	uint32_t again[ROWS][COLUMNS];
};

static int compare(const void *one, const void *other)
{
	uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

	return (a > b) - (a < b);
}

/* All touched blocks; so coarse that there are not many more than rows. */
static bool find_blocks(struct picture *picture, size_t n)
{
	picture->blocks = malloc((n + 1) * sizeof(*picture->blocks));
	if (!picture->blocks)
		return false;
	for (size_t i = 0; i < n; i++)
		picture->blocks[i] = samples[i].page & ~REFAULT;
	qsort(picture->blocks, n, sizeof(*picture->blocks), compare);
	picture->nblocks = n;
	for (;;) {
		size_t kept = 0;

		for (size_t i = 0; i < picture->nblocks; i++) {
			uint64_t block = picture->blocks[i];

			if (!kept || picture->blocks[kept - 1] != block)
				picture->blocks[kept++] = block;
		}
		picture->nblocks = kept;
		if (kept <= ROWS || picture->shift == 40)
			return true;
		for (size_t i = 0; i < kept; i++)
			picture->blocks[i] >>= 1;
		picture->shift++;
	}
}

static size_t row_of(const struct picture *picture, uint64_t block)
{
	const uint64_t *found = bsearch(&block, picture->blocks, picture->nblocks, sizeof(block), compare);

	return found ? (size_t)(found - picture->blocks) : 0;
}

static void fill(struct picture *picture, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (samples[i].millisecond >= picture->end)
			picture->end = samples[i].millisecond + 1;
	for (size_t i = 0; i < n; i++) {
		size_t row = row_of(picture, (samples[i].page & ~REFAULT) >> picture->shift);
		uint64_t column = (uint64_t)samples[i].millisecond * COLUMNS / picture->end;

		if (samples[i].page & REFAULT)
			picture->again[row][column]++;
		else
			picture->first[row][column]++;
	}
}

/* 0 to 4, each four times as many. */
static unsigned int level(uint32_t n)
{
	unsigned int level = 0;

	while (n > 4 && level < 4) {
		n /= 4;
		level++;
	}
	return level;
}

static const char *const first_colours[] = { "#c6dbef", "#9ecae1", "#6baed6", "#3182bd", "#08519c" };
static const char *const again_colours[] = { "#fdd0a2", "#fdae6b", "#fd8d3c", "#e6550d", "#a63603" };

static void draw_cells(FILE *file, const struct picture *picture, uint32_t cells[ROWS][COLUMNS],
		       const char *const colours[], unsigned int part)
{
	unsigned int half = CELL / 2;

	for (size_t row = 0; row < picture->nblocks && row < ROWS; row++) {
		size_t y = TOP + (picture->nblocks - 1 - row) * CELL + part * half;

		for (unsigned int column = 0, run; column < COLUMNS; column += run) {
			run = 1;
			if (!cells[row][column])
				continue;
			while (column + run < COLUMNS && cells[row][column + run] &&
			       level(cells[row][column + run]) == level(cells[row][column]))
				run++;
			fprintf(file, "<rect x=\"%u\" y=\"%zu\" width=\"%u\" height=\"%u\" fill=\"%s\"/>\n",
				LEFT + column * CELL, y, run * CELL, half, colours[level(cells[row][column])]);
		}
	}
}

/* Where addresses jump there is a line, and the address of what begins above it. */
static void draw_axes(FILE *file, const struct picture *picture)
{
	size_t bottom = TOP + picture->nblocks * CELL;
	size_t labelled = bottom + CELL * 3;

	for (size_t row = 0; row < picture->nblocks; row++) {
		size_t y = bottom - row * CELL;
		bool jump = row == 0 || picture->blocks[row] != picture->blocks[row - 1] + 1;

		if (!jump)
			continue;
		if (row)
			fprintf(file, "<line x1=\"%u\" x2=\"%u\" y1=\"%zu\" y2=\"%zu\" stroke=\"#bbb\"/>\n", LEFT,
				LEFT + COLUMNS * CELL, y, y);
		if (y + 11 > labelled)
			continue;
		labelled = y;
		fprintf(file, "<text x=\"%u\" y=\"%zu\" text-anchor=\"end\">%llx</text>\n", LEFT - 6, y,
			(unsigned long long)picture->blocks[row] << (picture->shift + PAGE_SHIFT));
	}
	for (unsigned int i = 0; i <= 8; i++)
		fprintf(file, "<text x=\"%u\" y=\"%zu\" text-anchor=\"middle\">%.1f s</text>\n",
			LEFT + i * COLUMNS * CELL / 8, bottom + 16, picture->end * (double)i / 8 / 1000);
}

static void draw_legend(FILE *file, const struct picture *picture, size_t n)
{
	size_t y = TOP + picture->nblocks * CELL + 34;
	unsigned long row_kib = 4ul << picture->shift;

	fprintf(file, "<text x=\"%u\" y=\"20\" font-size=\"15\">%zu faults of ", LEFT, n);
	for (const char *c = pager.options.command[0]; *c; c++)
		fputc(strchr("<>&\"", *c) ? '?' : *c, file);
	fprintf(file, ", served by %s", pager.engine->name);
	if (pager.options.limit)
		fprintf(file, ", at most %llu MiB in memory",
			(unsigned long long)(pager.options.limit >> (20 - PAGE_SHIFT)));
	fprintf(file,
		"</text>\n<text x=\"%u\" y=\"36\">a row: %lu KiB; a column: %.0f ms; lines: addresses jump</text>\n",
		LEFT, row_kib, (double)picture->end / COLUMNS);
	for (unsigned int i = 0; i < 5; i++) {
		fprintf(file, "<rect x=\"%u\" y=\"%zu\" width=\"14\" height=\"10\" fill=\"%s\"/>\n",
			LEFT + 120 + i * 60, y - 9, first_colours[i]);
		fprintf(file, "<rect x=\"%u\" y=\"%zu\" width=\"14\" height=\"10\" fill=\"%s\"/>\n",
			LEFT + 560 + i * 60, y - 9, again_colours[i]);
		fprintf(file, "<text x=\"%u\" y=\"%zu\">%s%u</text><text x=\"%u\" y=\"%zu\">%s%u</text>\n",
			LEFT + 137 + i * 60, y, i < 4 ? "&#8804; " : "&gt; ", i < 4 ? 4u << (2 * i) : 256,
			LEFT + 577 + i * 60, y, i < 4 ? "&#8804; " : "&gt; ", i < 4 ? 4u << (2 * i) : 256);
	}
	fprintf(file,
		"<text x=\"%u\" y=\"%zu\">first touches, writes</text><text x=\"%u\" y=\"%zu\">from the file "
		"again</text>\n",
		LEFT, y, LEFT + 446, y);
}

bool heat_draw(const char *path)
{
	struct picture *picture = calloc(1, sizeof(*picture));
	size_t n = nsamples < SAMPLES ? nsamples : SAMPLES;
	FILE *file = program_open(path);
	bool done = false;

	if (picture && file && samples && find_blocks(picture, n)) {
		fill(picture, n);
		fprintf(file,
			"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%zu\" "
			"font-family=\"sans-serif\" "
			"font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
			LEFT + COLUMNS * CELL + 40, TOP + picture->nblocks * CELL + LEGEND);
		draw_cells(file, picture, picture->first, first_colours, 0);
		draw_cells(file, picture, picture->again, again_colours, 1);
		draw_axes(file, picture);
		draw_legend(file, picture, n);
		fputs("</svg>\n", file);
		done = true;
	}
	if (file)
		done = program_close(file, path) && done;
	if (picture)
		free(picture->blocks);
	free(picture);
	return done;
}
