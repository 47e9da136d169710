/* SPDX-License-Identifier: ISC */
/*
 * The text of cleave_dump_rcu(): entries and gaps, that is all addresses in order; with nodes, each leaf's entries
 * under its line.
 *
 *	branch 0000000000000000-ffffffffffffffff, children 2
 *	  leaf 0000000000000000-0000000000003fff, cells 2, gap bound 1000
 *	    0000000000000000-0000000000000fff  gap
 *	    0000000000001000-0000000000003fff  7f0000001234
 */
#include "input.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct dump {
	struct input input;
	struct picture *picture;
	uint64_t leaf;	 /* leaves so far */
	uint64_t next;	 /* the address that comes next */
	uint64_t broken; /* lines that did not go on where the one before ended */
	bool begun;
	bool complete; /* the highest address was there */
};

static bool read_range(const char **at, uint64_t *first, uint64_t *last)
{
	return input_hex(at, first) && *(*at)++ == '-' && input_hex(at, last) && *first <= *last;
}

static int read_node(struct dump *dump, const char *at, const char *count)
{
	uint64_t first, last;

	if (!read_range(&at, &first, &last) || strncmp(at, count, strlen(count)))
		return input_bad(&dump->input, "a node without its addresses");
	return 0;
}

/* A dump beside writers may overlap or leave out something between leaves: show the part that is above the last one. */
static int read_entry(struct dump *dump, const char *at)
{
	struct picture_piece piece = { .protection = PICTURE_UNKNOWN, .kind = PICTURE_VALUE, .leaf = dump->leaf };
	uint64_t value;
	const char *name;
	bool gap;

	if (!read_range(&at, &piece.first, &piece.last) || strncmp(at, "  ", 2))
		return input_bad(&dump->input, "neither a node nor an entry of a dump");
	at += 2;
	name = at;
	gap = !strcmp(at, "gap");
	if (!gap && (!input_hex(&at, &value) || *at))
		return input_bad(&dump->input, "an entry without a value");
	if (!dump->begun && piece.first)
		return input_bad(&dump->input, "the lowest addresses are missing: the dump is cut off");
	if (dump->begun && (dump->complete || piece.last < dump->next))
		return input_bad(&dump->input, "an entry below the end of the one before");
	dump->broken += piece.first != dump->next;
	if (piece.first < dump->next)
		piece.first = dump->next;
	dump->begun = true;
	dump->complete = piece.last == UINT64_MAX;
	dump->next = piece.last + 1;
	return gap ? 0 : picture_add(dump->picture, &piece, name);
}

static int read_line(struct dump *dump)
{
	const char *at = dump->input.line + strspn(dump->input.line, " ");

	if (!strncmp(at, "branch ", 7))
		return read_node(dump, at + 7, ", children ");
	if (!strncmp(at, "leaf ", 5)) {
		dump->leaf++;
		return read_node(dump, at + 5, ", cells ");
	}
	return read_entry(dump, at);
}

int source_dump(struct picture *picture, const char *path, char error[SOURCE_ERROR])
{
	struct dump dump = { .picture = picture };
	int got = input_open(&dump.input, path, error);

	while (!got) {
		got = input_line(&dump.input);
		if (got <= 0)
			break;
		got = read_line(&dump);
	}
	input_close(&dump.input);
	if (!got && !dump.complete) {
		snprintf(error, SOURCE_ERROR, "%.300s: the highest addresses are missing: %s", dump.input.path,
			 dump.begun ? "the dump is cut off" : "this is no dump");
		got = -EBADMSG;
	}
	if (got == -ENOMEM)
		snprintf(error, SOURCE_ERROR, "out of memory");
	snprintf(picture->title, sizeof(picture->title), "%.300s", dump.input.path);
	if (dump.leaf)
		snprintf(picture->title + strlen(picture->title), 64, ", %" PRIu64 " leaves", dump.leaf);
	if (dump.broken)
		snprintf(picture->title + strlen(picture->title), 96,
			 ", %" PRIu64 " places that do not fit together (dumped beside writers)", dump.broken);
	return got;
}
