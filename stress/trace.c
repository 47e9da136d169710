/* SPDX-License-Identifier: ISC */
#include "trace_fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The fields of each kind of line, in their order: trace_fields.h says what the letters mean. */
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

const char *
trace_kind_name(enum trace_kind kind)
{
	return (unsigned)kind < TRACE_KINDS ? grammars[kind].word : "?";
}

/* ---- Events ---- */

/* That [start, start + length) does not reach past the last address. */
static int
check_range(struct trace *trace, uint64_t start, uint64_t length, bool may_be_empty)
{
	uint64_t limit = trace->pages_max * trace->page_size;

	if (!length && !may_be_empty)
		return trace_fail(trace, -EBADMSG, "an empty range");
	if (length > limit || start > limit - length)
		return trace_fail(trace, -EBADMSG, "a range which ends past the last address");
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
		return trace_fail(trace, -EBADMSG, "a fork without a parent");
	if (trace->processes == trace->process_room) {
		uint32_t room = trace->process_room ? 2 * trace->process_room : 64;
		uint8_t *grown = realloc(trace->alive, room);

		if (!grown)
			return trace_fail(trace, -ENOMEM, "out of memory");
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
			return trace_fail(trace, -ENOMEM, "out of memory");
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
	int got = trace_line(trace), error = 0;

	if (got < 0)
		return got;
	if (got == 0)
		return trace_fail(trace, -EBADMSG, "cut off inside a snapshot");
	if (trace_word(trace, &word) != 1 || *word != '-')
		return trace_fail(trace, -EBADMSG, "a snapshot with too few lines");
	for (const char *letter = "albof"; !error && *letter; letter++)
		error = trace_field(trace, *letter, &event);
	if (!error)
		error = trace_line_end(trace);
	if (!error)
		error = check_range(trace, event.address, event.length, false);
	if (error)
		return error;
	range = (struct trace_range){ event.address, event.address + event.length, event.offset,
				      event.object, event.attributes };
	if (i && trace->range[i - 1].end > range.start)
		return trace_fail(trace, -EBADMSG, "a snapshot which is not in order");
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
	int error = trace_number(trace, 10, UINT64_MAX, &events);

	if (!error)
		error = trace_number(trace, 10, UINT64_MAX, &snapshots);
	if (!error)
		error = trace_line_end(trace);
	if (error)
		return error;
	if (events != trace->events || snapshots != trace->snapshots)
		return trace_fail(trace, -EBADMSG, "the trailer counts %" PRIu64 " events and %" PRIu64
			    " snapshots instead of %" PRIu64 " and %" PRIu64, events, snapshots,
			    trace->events, trace->snapshots);
	error = trace_line(trace);
	if (error > 0)
		return trace_fail(trace, -EBADMSG, "something follows the trailer");
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
	got = trace_line(trace);
	if (got < 0)
		return got;
	if (got == 0)
		return trace_fail(trace, -EBADMSG, "no trailer");
	length = trace_word(trace, &word);
	if (length == 3 && !memcmp(word, "end", 3))
		return read_trailer(trace);
	for (kind = 0; kind < TRACE_KINDS; kind++)
		if (strlen(grammars[kind].word) == length &&
		    !memcmp(grammars[kind].word, word, length))
			break;
	if (kind == TRACE_KINDS)
		return trace_fail(trace, -EBADMSG, "event \"%.*s\" is unknown", (int)length, word);
	event->kind = (enum trace_kind)kind;
	for (const char *letter = grammars[kind].fields; !error && *letter; letter++)
		error = trace_field(trace, *letter, event);
	if (!error)
		error = trace_line_end(trace);
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
	int got = trace_line(trace), error;
	size_t length;

	if (got < 0)
		return got;
	length = trace_word(trace, &word);
	if (got == 0 || length != 12 || memcmp(word, "cleave-trace", 12))
		return trace_fail(trace, -EBADMSG, "this is no recording of cleave-record");
	error = trace_number(trace, 10, UINT64_MAX, &version);
	if (!error && version != 1)
		error = trace_fail(trace, -EBADMSG, "version %" PRIu64 " is unknown", version);
	if (!error)
		error = trace_number(trace, 10, 1 << 16, &size);
	if (!error)
		error = trace_line_end(trace);
	if (error)
		return error;
	if (size < 4096 || (size & (size - 1)))
		return trace_fail(trace, -EBADMSG, "a page size of %" PRIu64, size);
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
		result = trace_fail(trace, -ENOMEM, "out of memory");
	} else if (!(trace->file = fopen(path, "rbe"))) {
		result = -errno;
		trace_fail(trace, result, "%s", strerror(-result));
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
