/* SPDX-License-Identifier: ISC */
#include "show.h"

#include <inttypes.h>
#include <string.h>

#define REPLACEMENT 0xfffdu

uint32_t show_character(const char **at)
{
	const unsigned char *text = (const unsigned char *)*at;
	unsigned int more = text[0] < 0x80 ? 0 : text[0] < 0xc2 ? 4 : text[0] < 0xe0 ? 1 : text[0] < 0xf0 ? 2 : 3;
	uint32_t code = more ? text[0] & (0x3fu >> more) : text[0];

	if (!code && !more)
		return 0;
	(*at)++;
	if (more > 3 || text[0] > 0xf4)
		return REPLACEMENT;
	for (unsigned int i = 1; i <= more; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return REPLACEMENT;
		code = code << 6 | (text[i] & 0x3fu);
	}
	if ((more == 2 && code < 0x800) || (more == 3 && (code < 0x10000 || code > 0x10ffff)))
		return REPLACEMENT;
	*at += more;
	if (code < ' ' || (code >= 0x7f && code < 0xa0) || (code >= 0xd800 && code < 0xe000) ||
	    (code & 0xfffe) == 0xfffe)
		return REPLACEMENT;
	return code;
}

/* ---- Text ---- */

static void print_name(FILE *file, const char *name)
{
	const char *from = name;
	uint32_t code;

	while ((code = show_character(&name)) != 0) {
		if (code == REPLACEMENT)
			fputc('?', file);
		else
			fwrite(from, 1, (size_t)(name - from), file);
		from = name;
	}
}

static void print_gap(FILE *file, uint64_t first, uint64_t last)
{
	char size[16];

	fprintf(file, "%016" PRIx64 "-%016" PRIx64 " %7s  free\n", first, last,
		picture_size(picture_bytes(first, last), size));
}

static void print_sum(FILE *file, const char *name, const struct picture_sum *sum)
{
	char size[16];

	if (sum->pieces)
		fprintf(file, "%-12s %8" PRIu64 " %8s\n", name, sum->pieces, picture_size(sum->bytes, size));
}

static void print_sums(const struct picture *picture, FILE *file)
{
	struct picture_sums sums;
	char text[5];

	picture_sum(picture, &sums);
	fprintf(file, "\n%-12s %8s %8s\n", "", "entries", "size");
	for (unsigned int i = 0; i < PICTURE_KINDS; i++)
		print_sum(file, picture_kind_names[i], &sums.kind[i]);
	for (unsigned int i = 0; i < PICTURE_UNKNOWN; i++)
		print_sum(file, picture_protection_name(i, text), &sums.protection[i]);
	fprintf(file, "%-12s %8" PRIu64 " %8s\n", "total", sums.all.pieces,
		picture_size(sums.all.bytes, (char[16]){ 0 }));
}

void show_text(const struct picture *picture, FILE *file, bool gaps)
{
	uint64_t next = 0;
	char size[16], protection[5];
	bool top = false; /* the highest address is mapped */

	fprintf(file, "%s\n\n%-16s %-16s %8s  %-4s %-9s %12s  %s\n", picture->title, "first", "last", "size", "prot",
		"kind", "offset", "name");
	for (size_t i = 0; i < picture->count; i++) {
		const struct picture_piece *piece = &picture->piece[i];

		if (gaps && piece->first > next)
			print_gap(file, next, piece->first - 1);
		fprintf(file, "%016" PRIx64 "-%016" PRIx64 " %7s  %-4s %-9s %12" PRIx64, piece->first, piece->last,
			picture_size(picture_bytes(piece->first, piece->last), size),
			picture_protection(piece, protection), picture_kind_names[piece->kind], piece->offset);
		if (piece->name) {
			fputs("  ", file);
			print_name(file, piece->name);
		}
		fputc('\n', file);
		next = piece->last + 1;
		top = piece->last == UINT64_MAX;
	}
	if (gaps && !top)
		print_gap(file, next, UINT64_MAX);
	print_sums(picture, file);
}

/* ---- JSON ---- */

static void json_string(FILE *file, const char *text)
{
	const char *from = text;
	uint32_t code;

	fputc('"', file);
	while ((code = show_character(&text)) != 0) {
		if (code == REPLACEMENT)
			fputs("\\ufffd", file);
		else if (code == '"' || code == '\\')
			fprintf(file, "\\%c", (char)code);
		else
			fwrite(from, 1, (size_t)(text - from), file);
		from = text;
	}
	fputc('"', file);
}

/* Addresses are strings: many readers of JSON have no integers of 64 bits. */
void show_json(const struct picture *picture, FILE *file)
{
	struct picture_sums sums;
	char protection[5];

	picture_sum(picture, &sums);
	fprintf(file, "{\n  \"title\": ");
	json_string(file, picture->title);
	fprintf(file, ",\n  \"count\": %" PRIu64 ",\n  \"bytes\": %" PRIu64 ",\n  \"entries\": [", sums.all.pieces,
		sums.all.bytes);
	for (size_t i = 0; i < picture->count; i++) {
		const struct picture_piece *piece = &picture->piece[i];

		fprintf(file, "%s\n    { \"first\": \"%" PRIx64 "\", \"last\": \"%" PRIx64 "\", \"kind\": \"%s\"",
			i ? "," : "", piece->first, piece->last, picture_kind_names[piece->kind]);
		if (!(piece->protection & PICTURE_UNKNOWN))
			fprintf(file, ", \"protection\": \"%s\", \"offset\": \"%" PRIx64 "\"",
				picture_protection(piece, protection), piece->offset);
		if (piece->leaf)
			fprintf(file, ", \"leaf\": %" PRIu64, piece->leaf);
		if (piece->name) {
			fputs(", \"name\": ", file);
			json_string(file, piece->name);
		}
		fputs(" }", file);
	}
	fprintf(file, "\n  ]\n}\n");
}
