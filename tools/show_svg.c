/* SPDX-License-Identifier: ISC */
/*
 * The map as a drawing.  Rows of boxes, in address order, wrapped like text.  A box is as wide as the logarithm of its
 * size, so that a page can be seen beside a terabyte, and what is free is drawn narrower still.  Text is made to fit
 * its box, however small that makes it: whoever zooms in can read it, and it hides nothing.  Where there are scripts
 * the drawing can be moved, zoomed and filtered; without them it is still a drawing with tooltips.
 */
#include "show.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN 12.0
#define LEGEND 96.0   /* height of what stands above the rows */
#define ADDRESS 118.0 /* width of the row's first address */
#define BOX 40.0      /* height */
#define ROW 54.0      /* from row to row */
#define BAND 6.0      /* height of the kind's band in a box */
#define FONT 9.0      /* the largest */
#define LETTER 0.61   /* width of a letter over its height, of a fixed font */
#define SHAPE 1.7     /* width over height of the whole */
#define NARROWEST 1000.0
#define HEAD 1150.0 /* width for which the legend is made; it grows with the drawing */

static const char *const protection_colours[PICTURE_PROTECTIONS] = {
	"#d0d0d0", "#9cc4e4", "#f2d16b", "#f0a860", "#b9a3d8", "#7fbf8e", "#e06070", "#e06070", "#c3d3e0",
};

static const char *const kind_colours[PICTURE_KINDS] = {
	[PICTURE_ANONYMOUS] = "#3b6ea5", [PICTURE_HEAP] = "#c0392b",   [PICTURE_STACK] = "#8e44ad",
	[PICTURE_FILE] = "#2e8b57",	 [PICTURE_SHARED] = "#d68910", [PICTURE_RESERVED] = "#7f8c8d",
	[PICTURE_SPECIAL] = "#1c2833",	 [PICTURE_VALUE] = "#3b6ea5",
};

static const char script[] =
	"(function () {\n"
	"  const svg = document.currentScript.ownerSVGElement || document.documentElement;\n"
	"  const all = svg.getAttribute('viewBox').split(' ').map(Number);\n"
	"  let view = all.slice(), held = null, moved = false;\n"
	"  function show() { svg.setAttribute('viewBox', view.join(' ')); }\n"
	"  function place(event) {\n"
	"    return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());\n"
	"  }\n"
	"  function zoom(at, factor) {\n"
	"    const width = Math.min(2 * all[2], Math.max(all[2] / 10000, view[2] * factor));\n"
	"    factor = width / view[2];\n"
	"    view = [at.x - (at.x - view[0]) * factor, at.y - (at.y - view[1]) * factor, width, view[3] * factor];\n"
	"    show();\n"
	"  }\n"
	"  function middle() { return { x: view[0] + view[2] / 2, y: view[1] + view[3] / 2 }; }\n"
	"  function reset() { view = all.slice(); show(); }\n"
	"  svg.addEventListener('wheel', event => {\n"
	"    event.preventDefault();\n"
	"    zoom(place(event), Math.pow(1.0015, event.deltaMode ? 40 * event.deltaY : event.deltaY));\n"
	"  }, { passive: false });\n"
	"  svg.addEventListener('pointerdown', event => { held = place(event); moved = false; });\n"
	"  svg.addEventListener('pointermove', event => {\n"
	"    if (!held || !event.buttons) { held = null; return; }\n"
	"    const at = place(event);\n"
	"    view[0] += held.x - at.x;\n"
	"    view[1] += held.y - at.y;\n"
	"    moved = true;\n"
	"    show();\n"
	"  });\n"
	"  svg.addEventListener('pointerup', () => { held = null; });\n"
	"  svg.addEventListener('dblclick', reset);\n"
	"  document.addEventListener('keydown', event => {\n"
	"    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];\n"
	"    if (event.key === '+') zoom(middle(), 0.8);\n"
	"    else if (event.key === '-') zoom(middle(), 1.25);\n"
	"    else if (event.key === '0') reset();\n"
	"    else if (step) { view[0] += step[0] * view[2] / 8; view[1] += step[1] * view[3] / 8; show(); }\n"
	"    else return;\n"
	"    event.preventDefault();\n"
	"  });\n"
	"  let chosen = null;\n"
	"  svg.querySelectorAll('.legend').forEach(item => item.addEventListener('click', () => {\n"
	"    if (moved) return;\n"
	"    chosen = chosen === item.dataset.of ? null : item.dataset.of;\n"
	"    svg.querySelectorAll('.piece').forEach(piece => {\n"
	"      piece.classList.toggle('dim', chosen !== null && !piece.classList.contains(chosen));\n"
	"    });\n"
	"  }));\n"
	"})();\n";

struct drawing {
	const struct picture *picture;
	FILE *file;
	uint64_t unit; /* the size of which the narrowest box is */
	double width;  /* of a row of boxes */
	double scale;  /* of the legend */
	double x;
	unsigned int row;
	bool draw; /* else only find out where everything goes */
};

/* ---- Text ---- */

static void put_text(FILE *file, const char *text)
{
	const char *from = text;
	uint32_t code;

	while ((code = show_character(&text)) != 0) {
		if (code == '<' || code == '&' || code == '>' || code == '"')
			fprintf(file, "&#%" PRIu32 ";", code);
		else if (code == 0xfffd)
			fputs("&#65533;", file);
		else
			fwrite(from, 1, (size_t)(text - from), file);
		from = text;
	}
}

static unsigned int characters(const char *text)
{
	unsigned int n = 0;

	while (show_character(&text))
		n++;
	return n;
}

/* One line in a box: as large as fits. */
static void put_label(const struct drawing *drawing, double x, double y, double width, const char *text)
{
	double font = (width - 2) / (LETTER * characters(text));

	fprintf(drawing->file, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.2f\">", x + 1, y, font < FONT ? font : FONT);
	put_text(drawing->file, text);
	fputs("</text>", drawing->file);
}

/* ---- Boxes ---- */

static double width_of(const struct drawing *drawing, uint64_t bytes, double least, double step)
{
	double units = (double)bytes / (double)drawing->unit;

	return least + step * log2(units > 1 ? units : 1);
}

/* Where a box of that width goes: in this row, or in the next one. */
static double place(struct drawing *drawing, double width)
{
	double x = drawing->x;

	if (x > 0 && x + width > drawing->width) {
		drawing->row++;
		x = 0;
	}
	drawing->x = x + width;
	return x + MARGIN + ADDRESS;
}

static double row_y(const struct drawing *drawing, unsigned int row)
{
	return drawing->scale * (MARGIN + LEGEND) + row * ROW;
}

static void begin_row(const struct drawing *drawing, double x, uint64_t address)
{
	if (x <= MARGIN + ADDRESS && drawing->draw)
		fprintf(drawing->file,
			"<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.1f\" class=\"address\">%016" PRIx64 "</text>\n",
			MARGIN, row_y(drawing, drawing->row) + BOX / 2 + 3, FONT, address);
}

static void draw_gap(struct drawing *drawing, uint64_t first, uint64_t last)
{
	uint64_t bytes = picture_bytes(first, last);
	double width = width_of(drawing, bytes, 6, 1.5), x = place(drawing, width), y;
	char size[16];

	begin_row(drawing, x, first);
	if (!drawing->draw)
		return;
	y = row_y(drawing, drawing->row);
	picture_size(bytes, size);
	fprintf(drawing->file,
		"<g class=\"gap\"><title>free\n%016" PRIx64 "-%016" PRIx64 "\n%s</title><rect x=\"%.1f\" y=\"%.1f\" "
		"width=\"%.1f\" height=\"%.0f\"/><path d=\"M%.1f %.1fh%.1f\"/>",
		first, last, size, x, y, width, BOX, x + 1, y + BOX / 2, width - 2);
	put_label(drawing, x, y + BOX / 2 - 2, width, size);
	fputs("</g>\n", drawing->file);
}

static void put_tooltip(const struct drawing *drawing, const struct picture_piece *piece, const char *size)
{
	char protection[5];

	fputs("<title>", drawing->file);
	if (piece->name) {
		put_text(drawing->file, piece->name);
		fputc('\n', drawing->file);
	}
	fprintf(drawing->file, "%016" PRIx64 "-%016" PRIx64 "\n%s, %s", piece->first, piece->last, size,
		picture_kind_names[piece->kind]);
	if (!(piece->protection & PICTURE_UNKNOWN))
		fprintf(drawing->file, ", %s, offset %" PRIx64, picture_protection(piece, protection), piece->offset);
	if (piece->leaf)
		fprintf(drawing->file, "\nleaf %" PRIu64, piece->leaf);
	fputs("</title>", drawing->file);
}

static void draw_piece(struct drawing *drawing, const struct picture_piece *piece)
{
	uint64_t bytes = picture_bytes(piece->first, piece->last);
	double width = width_of(drawing, bytes, 22, 7), x = place(drawing, width), y;
	char size[16], text[32], protection[5];
	const char *name = piece->name;

	begin_row(drawing, x, piece->first);
	if (!drawing->draw)
		return;
	y = row_y(drawing, drawing->row);
	picture_size(bytes, size);
	if (!name)
		name = picture_kind_names[piece->kind];
	if (strrchr(name, '/') && strrchr(name, '/')[1])
		name = strrchr(name, '/') + 1;
	snprintf(text, sizeof(text), "%s %s", picture_protection(piece, protection), size);
	fprintf(drawing->file, "<g class=\"piece p%u k%u\">", piece->protection, (unsigned int)piece->kind);
	put_tooltip(drawing, piece, size);
	fprintf(drawing->file,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\"/><rect class=\"band\" x=\"%.1f\" "
		"y=\"%.1f\" "
		"width=\"%.1f\" height=\"%.0f\"/>",
		x, y, width, BOX, x, y + BOX - BAND, width, BAND);
	if (piece->leaf)
		fprintf(drawing->file,
			"<rect class=\"leaf%" PRIu64 "\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"3\"/>",
			piece->leaf % 2, x, y + BOX + 1, width);
	put_label(drawing, x, y + 10, width, name);
	put_label(drawing, x, y + 20, width, text);
	snprintf(text, sizeof(text), "%" PRIx64, piece->first);
	put_label(drawing, x, y + 30, width, text);
	fputs("</g>\n", drawing->file);
}

static void walk(struct drawing *drawing)
{
	const struct picture *picture = drawing->picture;

	drawing->x = 0;
	drawing->row = 0;
	for (size_t i = 0; i < picture->count; i++) {
		uint64_t next = i ? picture->piece[i - 1].last + 1 : 0;

		if (picture->piece[i].first > next)
			draw_gap(drawing, next, picture->piece[i].first - 1);
		draw_piece(drawing, &picture->piece[i]);
	}
	if (!picture->count || picture->piece[picture->count - 1].last < UINT64_MAX)
		draw_gap(drawing, picture->count ? picture->piece[picture->count - 1].last + 1 : 0, UINT64_MAX);
}

/* As wide as makes the whole of a pleasant shape: first all in one row, then that is cut. */
static void choose_width(struct drawing *drawing)
{
	uint64_t least = UINT64_MAX;
	double length, width;

	for (size_t i = 0; i < drawing->picture->count; i++) {
		uint64_t bytes = picture_bytes(drawing->picture->piece[i].first, drawing->picture->piece[i].last);

		least = bytes < least ? bytes : least;
	}
	drawing->unit = least;
	drawing->width = INFINITY;
	walk(drawing);
	length = drawing->x;
	width = sqrt(length * ROW * SHAPE);
	drawing->width = width > NARROWEST ? width : NARROWEST;
	walk(drawing);
}

/* ---- Legend ---- */

static void put_legend(FILE *file, double *x, double y, char class, unsigned int of, const char *name,
		       const char *colour, const struct picture_sum *sum)
{
	char size[16], text[80];

	if (!sum->pieces)
		return;
	snprintf(text, sizeof(text), "%s: %" PRIu64 ", %s", name, sum->pieces, picture_size(sum->bytes, size));
	fprintf(file,
		"<g class=\"legend\" data-of=\"%c%u\"><rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"10\" "
		"fill=\"%s\"/>"
		"<text x=\"%.1f\" y=\"%.1f\" font-size=\"10\">%s</text></g>\n",
		class, of, *x, y - 9, colour, *x + 18, y, text);
	*x += 18 + 10 * LETTER * (double)strlen(text) + 16;
}

static void put_head(const struct drawing *drawing)
{
	struct picture_sums sums;
	double x = MARGIN;
	char size[16], text[5];

	picture_sum(drawing->picture, &sums);
	fprintf(drawing->file, "<g transform=\"scale(%.3f)\">\n<text x=\"%.1f\" y=\"%.1f\" font-size=\"15\">",
		drawing->scale, MARGIN, MARGIN + 13);
	put_text(drawing->file, drawing->picture->title);
	fprintf(drawing->file, ": %" PRIu64 " entries, %s</text>\n", sums.all.pieces,
		picture_size(sums.all.bytes, size));
	for (unsigned int i = 0; i < PICTURE_PROTECTIONS; i++)
		put_legend(drawing->file, &x, MARGIN + 36, 'p', i,
			   i == PICTURE_UNKNOWN ? "entries" : picture_protection_name(i, text), protection_colours[i],
			   &sums.protection[i]);
	x = MARGIN;
	for (unsigned int i = 0; i < PICTURE_KINDS; i++)
		put_legend(drawing->file, &x, MARGIN + 54, 'k', i, picture_kind_names[i], kind_colours[i],
			   &sums.kind[i]);
	fprintf(drawing->file,
		"<text x=\"%.1f\" y=\"%.1f\" font-size=\"9\" class=\"address\">wheel, + and -: zoom; drag, arrows: "
		"move; double "
		"click, 0: all; rest the pointer: details; click in the legend: only these. Box: protection, band: "
		"kind; "
		"width: logarithm of the size; lines: free</text>\n</g>\n",
		MARGIN, MARGIN + 74);
}

static void put_style(const struct drawing *drawing)
{
	fputs("<style>\n"
	      "text { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; fill: #111; pointer-events: none; }\n"
	      ".address { fill: #555; }\n"
	      ".piece rect { stroke: #fff; stroke-width: 0.5; }\n"
	      ".piece:hover rect { stroke: #000; }\n"
	      ".dim { opacity: 0.12; }\n"
	      ".gap rect { fill: #fff; } .gap path { stroke: #bbb; stroke-dasharray: 1.5 1.5; } .gap text { fill: "
	      "#777; }\n"
	      ".legend { cursor: pointer; } .legend text { pointer-events: auto; }\n"
	      ".piece rect.leaf0 { fill: #bbb; } .piece rect.leaf1 { fill: #555; }\n",
	      drawing->file);
	for (unsigned int i = 0; i < PICTURE_PROTECTIONS; i++)
		fprintf(drawing->file, ".p%u rect { fill: %s; }\n", i, protection_colours[i]);
	for (unsigned int i = 0; i < PICTURE_KINDS; i++)
		fprintf(drawing->file, ".k%u rect.band { fill: %s; }\n", i, kind_colours[i]);
	fputs("</style>\n", drawing->file);
}

void show_svg(const struct picture *picture, FILE *file)
{
	struct drawing drawing = { .picture = picture, .file = file };
	double width, height;

	choose_width(&drawing);
	width = 2 * MARGIN + ADDRESS + drawing.width;
	drawing.scale = width > HEAD ? width / HEAD : 1;
	height = row_y(&drawing, drawing.row + 1) + MARGIN;
	fprintf(file,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100%%\" "
		"height=\"100%%\" viewBox=\"0 0 %.0f %.0f\" preserveAspectRatio=\"xMidYMin\">\n",
		width, height);
	put_style(&drawing);
	fprintf(file, "<rect width=\"%.0f\" height=\"%.0f\" fill=\"#fff\"/>\n", width, height);
	put_head(&drawing);
	drawing.draw = true;
	walk(&drawing);
	fprintf(file, "<script><![CDATA[\n%s]]></script>\n</svg>\n", script);
}
