/* SPDX-License-Identifier: ISC */
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define LINE_MAX_BYTES		256
#define ERROR_MAX_BYTES		256
#define PROCESSES_MAX		(1U << 20)
#define RANGES_MAX		(1U << 20)		/* of one snapshot */
#define TEXT_MAX		(UINT64_C(1) << 32)	/* bytes unpacked */
#define ERRNO_MAX		4095

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

/*
 * The fields of each kind of line, in their order:
 *
 *	N  number of a new process	P  number of a living one	O  that, or 0
 *	a  address			l  length			b  attributes
 *	n  new length			t  new address			m  flags of map
 *	r  flags of remap		v  advice			o  object
 *	f  offset			R  address or error		e  0 or error
 *	c  count of ranges
 */
struct grammar {
	const char *word;
	const char *fields;
};

static const struct grammar grammars[TRACE_KINDS] = {
	[TRACE_EXEC] = { "exec", "NOa" },
	[TRACE_FORK] = { "fork", "NO" },
	[TRACE_SHARE] = { "share", "P" },
	[TRACE_EXIT] = { "exit", "P" },
	[TRACE_MAP] = { "map", "PalbmofR" },
	[TRACE_UNMAP] = { "unmap", "Pale" },
	[TRACE_PROTECT] = { "protect", "Palbe" },
	[TRACE_REMAP] = { "remap", "PalnrtR" },
	[TRACE_BRK] = { "brk", "Pae" },
	[TRACE_ADVISE] = { "advise", "Palve" },
	[TRACE_ATTACH] = { "attach", "PaR" },
	[TRACE_DETACH] = { "detach", "Pae" },
	[TRACE_PAGES] = { "pages", "Palfe" },
	[TRACE_OTHER] = { "other", "Pe" },
	[TRACE_GROW] = { "grow", "Palb" },
	[TRACE_FOUND] = { "found", "Palbof" },
	[TRACE_LOST] = { "lost", "Pal" },
	[TRACE_CHANGED] = { "changed", "Palb" },
	[TRACE_UNSURE] = { "unsure", "P" },
	[TRACE_SNAPSHOT] = { "snapshot", "Pc" },
};

static const char *const advice_names[TRACE_ADVICES] = {
	"normal", "random", "sequential", "remove", "nofork", "dofork", "mergeable",
	"unmergeable", "hugepage", "nohugepage", "nodump", "dodump", "wipeonfork", "keeponfork",
};

struct letter {
	char letter;
	uint32_t flag;
};

static const struct letter map_letters[] = {
	{ 'p', 0 },
	{ 's', TRACE_MAP_SHARED },
	{ 'a', TRACE_MAP_ANONYMOUS },
	{ 'f', TRACE_MAP_FIXED },
	{ 'e', TRACE_MAP_EMPTY },
	{ 'g', TRACE_MAP_GROWS_DOWN },
	{ 'h', TRACE_MAP_HUGE },
	{ 'l', TRACE_MAP_LOCKED },
	{ 'n', TRACE_MAP_NO_RESERVE },
	{ 'o', TRACE_MAP_POPULATE },
	{ 'k', TRACE_MAP_STACK },
	{ 0, 0 },
};

static const struct letter remap_letters[] = {
	{ '-', 0 },
	{ 'm', TRACE_REMAP_MAY_MOVE },
	{ 'f', TRACE_REMAP_FIXED },
	{ 'd', TRACE_REMAP_KEEP },
	{ 0, 0 },
};

const char *
trace_kind_name(enum trace_kind kind)
{
	return (unsigned)kind < TRACE_KINDS ? grammars[kind].word : "?";
}

static int __attribute__((format(printf, 3, 4)))
fail(struct trace *trace, int error, const char *format, ...)
{
	va_list arguments;
	int length = 0;

	if (trace->line_number)
		length = snprintf(trace->error, sizeof(trace->error), "line %" PRIu64 ": ",
				  trace->line_number);
	va_start(arguments, format);
	vsnprintf(trace->error + length, sizeof(trace->error) - (size_t)length, format, arguments);
	va_end(arguments);
	return error;
}

/* ---- Unpacking and lines ---- */

/* Unpack some more text. Return 1, or 0 at the end of the file, or negative errno. */
static int
unpack(struct trace *trace)
{
	ZSTD_outBuffer out = { trace->text, trace->text_room, 0 };

	while (out.pos == 0) {
		size_t left;

		if (trace->in.pos == trace->in.size) {
			trace->in.size = fread(trace->packed, 1, trace->packed_room, trace->file);
			trace->in.src = trace->packed;
			trace->in.pos = 0;
			if (ferror(trace->file))
				return fail(trace, -EIO, "cannot read the file");
		}
		if (trace->frame_ended) {
			if (trace->in.size != trace->in.pos)
				return fail(trace, -EBADMSG, "something follows the zstd frame");
			return 0;
		}
		left = ZSTD_decompressStream(trace->zstd, &out, &trace->in);
		if (ZSTD_isError(left))
			return fail(trace, -EBADMSG, "zstd: %s", ZSTD_getErrorName(left));
		trace->frame_ended = left == 0;
		if (left && out.pos == 0 && trace->in.size == 0)
			return fail(trace, -EBADMSG, "the file is cut off");
	}
	trace->text_at = 0;
	trace->text_count = out.pos;
	trace->text_total += out.pos;
	if (trace->text_total > TEXT_MAX)
		return fail(trace, -EFBIG, "more than %" PRIu64 " bytes of text", TEXT_MAX);
	return 1;
}

/* Read one line into trace->line. Return 1, or 0 at the end of the file, or negative errno. */
static int
next_line(struct trace *trace)
{
	size_t length = 0;

	trace->line_number++;
	trace->cursor = trace->line;
	for (;;) {
		char byte;

		if (trace->text_at == trace->text_count) {
			int more = unpack(trace);

			if (more < 0)
				return more;
			if (more == 0 && length)
				return fail(trace, -EBADMSG, "a line without an end");
			if (more == 0)
				return 0;
		}
		byte = trace->text[trace->text_at++];
		if (byte == '\n')
			break;
		if (length == sizeof(trace->line) - 1)
			return fail(trace, -EBADMSG, "a line which is too long");
		if (byte < ' ' || byte > '~')
			return fail(trace, -EBADMSG, "a byte which is no text");
		trace->line[length++] = byte;
	}
	trace->line[length] = '\0';
	return 1;
}

/* ---- Fields ---- */

/* The next word of the line, at @word; its length, 0 if there is none. */
static size_t
next_word(struct trace *trace, const char **word)
{
	size_t length;

	if (trace->cursor != trace->line && *trace->cursor == ' ')
		trace->cursor++;
	length = strcspn(trace->cursor, " ");
	*word = trace->cursor;
	trace->cursor += length;
	return length;
}

static int
digit_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return 99;
}

/* Only digits, at most 16 of them, and not above @limit. */
static int
parse_number(struct trace *trace, const char *word, size_t length, int base, uint64_t limit,
	     uint64_t *value)
{
	*value = 0;
	if (length == 0)
		return fail(trace, -EBADMSG, "a field is missing");
	if (length > 16)
		return fail(trace, -EBADMSG, "a number which is too long");
	for (size_t i = 0; i < length; i++) {
		int digit = digit_value(word[i]);

		if (digit >= base)
			return fail(trace, -EBADMSG, "\"%.*s\" is no number", (int)length, word);
		*value = *value * (unsigned)base + (unsigned)digit;
	}
	if (*value > limit)
		return fail(trace, -EBADMSG, "%.*s is out of bounds", (int)length, word);
	return 0;
}

static int
field_number(struct trace *trace, int base, uint64_t limit, uint64_t *value)
{
	const char *word;
	size_t length = next_word(trace, &word);

	return parse_number(trace, word, length, base, limit, value);
}

static int
field_number32(struct trace *trace, int base, uint32_t limit, uint32_t *value)
{
	uint64_t wide;
	int error = field_number(trace, base, limit, &wide);

	*value = (uint32_t)wide;
	return error;
}

/* Page number to address. */
static int
field_pages(struct trace *trace, uint64_t *bytes)
{
	int error = field_number(trace, 16, trace->pages_max, bytes);

	*bytes *= trace->page_size;
	return error;
}

static int
field_error(struct trace *trace, int32_t *result)
{
	const char *word;
	size_t length = next_word(trace, &word);
	bool failed = length && *word == '-';
	uint64_t value;
	int error = parse_number(trace, word + failed, length - failed, 10, ERRNO_MAX, &value);

	*result = -(int32_t)value;
	if (!error && failed != (value != 0))
		return fail(trace, -EBADMSG, "a result which is neither 0 nor an error");
	return error;
}

static int
field_placed(struct trace *trace, struct trace_event *event)
{
	if (trace->cursor[0] == ' ' && trace->cursor[1] == '-')
		return field_error(trace, &event->result);
	return field_pages(trace, &event->placed);
}

static int
field_letters(struct trace *trace, const struct letter *letters, uint32_t *flags)
{
	const char *word;
	size_t length = next_word(trace, &word);

	if (length == 0)
		return fail(trace, -EBADMSG, "a field is missing");
	for (size_t i = 0; i < length; i++) {
		const struct letter *letter = letters;

		while (letter->letter && letter->letter != word[i])
			letter++;
		if (!letter->letter)
			return fail(trace, -EBADMSG, "flag '%c' is unknown", word[i]);
		*flags |= letter->flag;
	}
	return 0;
}

static int
field_advice(struct trace *trace, enum trace_advice *advice)
{
	const char *word;
	size_t length = next_word(trace, &word);

	for (int i = 0; i < TRACE_ADVICES; i++)
		if (strlen(advice_names[i]) == length && !memcmp(advice_names[i], word, length)) {
			*advice = (enum trace_advice)i;
			return 0;
		}
	return fail(trace, -EBADMSG, "advice \"%.*s\" is unknown", (int)length, word);
}

static bool
is_alive(const struct trace *trace, uint32_t process)
{
	return process >= 1 && process <= trace->processes && trace->alive[process - 1];
}

static int
field_process(struct trace *trace, bool may_be_zero, uint32_t *process)
{
	int error = field_number32(trace, 10, PROCESSES_MAX, process);

	if (!error && !(may_be_zero && *process == 0) && !is_alive(trace, *process))
		return fail(trace, -EBADMSG, "there is no process %" PRIu32, *process);
	return error;
}

static int
field_new_process(struct trace *trace, uint32_t *process)
{
	int error = field_number32(trace, 10, PROCESSES_MAX, process);

	if (!error && *process != trace->processes + 1)
		return fail(trace, -EBADMSG, "process %" PRIu32 " instead of %" PRIu32, *process,
			    trace->processes + 1);
	return error;
}

static int
field(struct trace *trace, char letter, struct trace_event *event)
{
	uint64_t count;
	int error;

	switch (letter) {
	case 'N':
		return field_new_process(trace, &event->process);
	case 'P':
		return field_process(trace, false, &event->process);
	case 'O':
		return field_process(trace, true, &event->other);
	case 'a':
		return field_pages(trace, &event->address);
	case 'l':
		return field_pages(trace, &event->length);
	case 'n':
		return field_pages(trace, &event->new_length);
	case 't':
		return field_pages(trace, &event->new_address);
	case 'f':
		return field_pages(trace, &event->offset);
	case 'b':
		return field_number32(trace, 16, TRACE_PROT | TRACE_SHARED | TRACE_GROWS_DOWN,
				      &event->attributes);
	case 'm':
		return field_letters(trace, map_letters, &event->flags);
	case 'r':
		return field_letters(trace, remap_letters, &event->flags);
	case 'v':
		return field_advice(trace, &event->advice);
	case 'o':
		return field_number32(trace, 10, UINT32_MAX - 1, &event->object);
	case 'e':
		return field_error(trace, &event->result);
	case 'R':
		return field_placed(trace, event);
	case 'c':
		error = field_number(trace, 10, RANGES_MAX, &count);
		event->count = (size_t)count;
		return error;
	default:
		return fail(trace, -EINVAL, "field '%c'", letter);
	}
}

static int
line_end(struct trace *trace)
{
	return *trace->cursor ? fail(trace, -EBADMSG, "too many fields") : 0;
}

/* ---- Events ---- */

/* That [start, start + length) does not reach past the last address. */
static int
check_range(struct trace *trace, uint64_t start, uint64_t length, bool may_be_empty)
{
	uint64_t limit = trace->pages_max * trace->page_size;

	if (!length && !may_be_empty)
		return fail(trace, -EBADMSG, "an empty range");
	if (length > limit || start > limit - length)
		return fail(trace, -EBADMSG, "a range which ends past the last address");
	return 0;
}

static int
check_ranges(struct trace *trace, const struct trace_event *event)
{
	int error;

	if (event->result < 0)
		return 0;	/* it changed nothing, its arguments may be anything */
	switch (event->kind) {
	case TRACE_MAP:
		return check_range(trace, event->placed, event->length, false);
	case TRACE_REMAP:
		error = check_range(trace, event->address, event->length, true);
		if (error)
			return error;
		return check_range(trace, event->placed, event->new_length, false);
	case TRACE_UNMAP:
	case TRACE_GROW:
	case TRACE_FOUND:
	case TRACE_LOST:
	case TRACE_CHANGED:
	case TRACE_PAGES:
		return check_range(trace, event->address, event->length, false);
	case TRACE_PROTECT:
	case TRACE_ADVISE:
		return check_range(trace, event->address, event->length, true);
	default:
		return 0;
	}
}

static int
begin_process(struct trace *trace, const struct trace_event *event)
{
	if (event->kind == TRACE_FORK && event->other == 0)
		return fail(trace, -EBADMSG, "a fork without a parent");
	if (trace->processes == trace->process_room) {
		uint32_t room = trace->process_room ? 2 * trace->process_room : 64;
		uint8_t *grown = realloc(trace->alive, room);

		if (!grown)
			return fail(trace, -ENOMEM, "out of memory");
		trace->alive = grown;
		trace->process_room = room;
	}
	trace->alive[trace->processes++] = 1;
	return 0;
}

/* The room follows the lines which are there, not the count which the file claims. */
static int
append_range(struct trace *trace, size_t i, const struct trace_range *range)
{
	if (i == trace->range_room) {
		size_t room = trace->range_room ? 2 * trace->range_room : 256;
		struct trace_range *grown = realloc(trace->range, room * sizeof(*grown));

		if (!grown)
			return fail(trace, -ENOMEM, "out of memory");
		trace->range = grown;
		trace->range_room = room;
	}
	trace->range[i] = *range;
	return 0;
}

static int
read_range(struct trace *trace, size_t i)
{
	struct trace_event event = { 0 };
	struct trace_range range;
	const char *word;
	int got = next_line(trace), error = 0;

	if (got < 0)
		return got;
	if (got == 0)
		return fail(trace, -EBADMSG, "cut off inside a snapshot");
	if (next_word(trace, &word) != 1 || *word != '-')
		return fail(trace, -EBADMSG, "a snapshot with too few lines");
	for (const char *letter = "albof"; !error && *letter; letter++)
		error = field(trace, *letter, &event);
	if (!error)
		error = line_end(trace);
	if (!error)
		error = check_range(trace, event.address, event.length, false);
	if (error)
		return error;
	range = (struct trace_range){ event.address, event.address + event.length, event.offset,
				      event.object, event.attributes };
	if (i && trace->range[i - 1].end > range.start)
		return fail(trace, -EBADMSG, "a snapshot which is not in order");
	return append_range(trace, i, &range);
}

static int
read_snapshot(struct trace *trace, struct trace_event *event)
{
	int error = 0;

	trace->snapshots++;
	for (size_t i = 0; !error && i < event->count; i++)
		error = read_range(trace, i);
	event->ranges = trace->range;
	return error;
}

/* The trailer has been met: its counts must be right and nothing may follow. */
static int
read_trailer(struct trace *trace)
{
	uint64_t events, snapshots;
	int error = field_number(trace, 10, UINT64_MAX, &events);

	if (!error)
		error = field_number(trace, 10, UINT64_MAX, &snapshots);
	if (!error)
		error = line_end(trace);
	if (error)
		return error;
	if (events != trace->events || snapshots != trace->snapshots)
		return fail(trace, -EBADMSG, "the trailer counts %" PRIu64 " events and %" PRIu64
			    " snapshots instead of %" PRIu64 " and %" PRIu64, events, snapshots,
			    trace->events, trace->snapshots);
	error = next_line(trace);
	if (error > 0)
		return fail(trace, -EBADMSG, "something follows the trailer");
	trace->ended = error == 0;
	return error;
}

int
trace_next(struct trace *trace, struct trace_event *event)
{
	const char *word;
	size_t length;
	int kind, got, error = 0;

	*event = (struct trace_event){ 0 };
	if (trace->ended)
		return 0;
	got = next_line(trace);
	if (got < 0)
		return got;
	if (got == 0)
		return fail(trace, -EBADMSG, "no trailer");
	length = next_word(trace, &word);
	if (length == 3 && !memcmp(word, "end", 3))
		return read_trailer(trace);
	for (kind = 0; kind < TRACE_KINDS; kind++)
		if (strlen(grammars[kind].word) == length &&
		    !memcmp(grammars[kind].word, word, length))
			break;
	if (kind == TRACE_KINDS)
		return fail(trace, -EBADMSG, "event \"%.*s\" is unknown", (int)length, word);
	event->kind = (enum trace_kind)kind;
	for (const char *letter = grammars[kind].fields; !error && *letter; letter++)
		error = field(trace, *letter, event);
	if (!error)
		error = line_end(trace);
	if (!error)
		error = check_ranges(trace, event);
	if (!error && (kind == TRACE_EXEC || kind == TRACE_FORK))
		error = begin_process(trace, event);
	if (!error && kind == TRACE_SNAPSHOT)
		error = read_snapshot(trace, event);
	if (error)
		return error;
	if (kind == TRACE_EXIT)
		trace->alive[event->process - 1] = 0;
	trace->events++;
	return 1;
}

/* ---- Open and close ---- */

static int
read_header(struct trace *trace)
{
	const char *word;
	uint64_t version, size;
	int got = next_line(trace), error;
	size_t length;

	if (got < 0)
		return got;
	length = next_word(trace, &word);
	if (got == 0 || length != 12 || memcmp(word, "cleave-trace", 12))
		return fail(trace, -EBADMSG, "this is no recording of cleave-record");
	error = field_number(trace, 10, UINT64_MAX, &version);
	if (!error && version != 1)
		error = fail(trace, -EBADMSG, "version %" PRIu64 " is unknown", version);
	if (!error)
		error = field_number(trace, 10, 1 << 16, &size);
	if (!error)
		error = line_end(trace);
	if (error)
		return error;
	if (size < 4096 || (size & (size - 1)))
		return fail(trace, -EBADMSG, "a page size of %" PRIu64, size);
	trace->page_size = size;
	trace->pages_max = UINT64_MAX / size;
	return 0;
}

int
trace_open(struct trace **out, const char *path, char *error, size_t size)
{
	struct trace *trace = calloc(1, sizeof(*trace));
	int result;

	*out = NULL;
	if (!trace) {
		snprintf(error, size, "out of memory");
		return -ENOMEM;
	}
	trace->packed_room = ZSTD_DStreamInSize();
	trace->packed = malloc(trace->packed_room);
	trace->text_room = ZSTD_DStreamOutSize();
	trace->text = malloc(trace->text_room);
	trace->zstd = ZSTD_createDCtx();
	if (!trace->packed || !trace->text || !trace->zstd) {
		result = fail(trace, -ENOMEM, "out of memory");
	} else if (!(trace->file = fopen(path, "rbe"))) {
		result = -errno;
		fail(trace, result, "%s", strerror(-result));
	} else {
		result = read_header(trace);
	}
	if (result) {
		snprintf(error, size, "%s", trace->error);
		trace_close(trace);
		return result;
	}
	*out = trace;
	return 0;
}

const char *
trace_error(const struct trace *trace)
{
	return trace->error;
}

uint64_t
trace_page_size(const struct trace *trace)
{
	return trace->page_size;
}

void
trace_close(struct trace *trace)
{
	if (!trace)
		return;
	if (trace->file)
		fclose(trace->file);
	ZSTD_freeDCtx(trace->zstd);
	free(trace->packed);
	free(trace->text);
	free(trace->range);
	free(trace->alive);
	free(trace);
}
