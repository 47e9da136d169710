/* SPDX-License-Identifier: ISC */
/* A recording that is read (trace.c), line by line and field by field (trace_fields.c). */
#ifndef STRESS_TRACE_FIELDS_H
#define STRESS_TRACE_FIELDS_H

#include "trace.h"

#include <stdbool.h>
#include <stdio.h>
#include <zstd.h>

#define LINE_MAX_BYTES		256
#define ERROR_MAX_BYTES		256

struct trace {
	FILE *file;
	ZSTD_DCtx *zstd;
	uint64_t page_size;
	uint64_t pages_max;	/* no address is above so many pages */

	uint8_t *packed;	/* as read from the file */
	size_t packed_room;
	ZSTD_inBuffer in;
	char *text;		/* unpacked: text[text_at..text_count) is not yet read */
	size_t text_room;
	size_t text_at;
	size_t text_count;
	uint64_t text_total;
	bool frame_ended;

	char line[LINE_MAX_BYTES];
	const char *cursor;	/* in line */
	uint64_t line_number;

	struct trace_range *range;	/* of the last snapshot */
	size_t range_room;
	uint8_t *alive;		/* alive[p - 1]: process p has begun and not ended */
	uint32_t processes;
	uint32_t process_room;
	uint64_t events;
	uint64_t snapshots;
	bool ended;
	char error[ERROR_MAX_BYTES];
};

/* Make the message. Return @error. */
int trace_fail(struct trace *trace, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Read one line into trace->line. Return 1, or 0 at the end of the file, or negative errno. */
int trace_line(struct trace *trace);

/* The next word of the line, at @word; its length, 0 if there is none. */
size_t trace_word(struct trace *trace, const char **word);

/* The next word is a number, not above @limit. */
int trace_number(struct trace *trace, int base, uint64_t limit, uint64_t *value);

/*
 * The next word is what @letter says, and goes into @event:
 *
 *	N  number of a new process	P  number of a living one	O  that, or 0
 *	a  address			l  length			b  attributes
 *	n  new length			t  new address			m  flags of map
 *	r  flags of remap		v  advice			o  object
 *	f  offset			R  address or error		e  0 or error
 *	c  count of ranges
 */
int trace_field(struct trace *trace, char letter, struct trace_event *event);

/* There is no more of the line. */
int trace_line_end(struct trace *trace);

#endif
