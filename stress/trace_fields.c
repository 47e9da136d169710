/* SPDX-License-Identifier: ISC */
#include "trace_fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define PROCESSES_MAX		(1U << 20)
#define RANGES_MAX		(1U << 20)		/* of one snapshot */
#define TEXT_MAX		(UINT64_C(1) << 32)	/* bytes unpacked */
#define ERRNO_MAX		4095

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

int
trace_fail(struct trace *trace, int error, const char *format, ...)
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
				return trace_fail(trace, -EIO, "cannot read the file");
		}
		if (trace->frame_ended) {
			if (trace->in.size != trace->in.pos)
				return trace_fail(trace, -EBADMSG, "something follows the zstd frame");
			return 0;
		}
		left = ZSTD_decompressStream(trace->zstd, &out, &trace->in);
		if (ZSTD_isError(left))
			return trace_fail(trace, -EBADMSG, "zstd: %s", ZSTD_getErrorName(left));
		trace->frame_ended = left == 0;
		if (left && out.pos == 0 && trace->in.size == 0)
			return trace_fail(trace, -EBADMSG, "the file is cut off");
	}
	trace->text_at = 0;
	trace->text_count = out.pos;
	trace->text_total += out.pos;
	if (trace->text_total > TEXT_MAX)
		return trace_fail(trace, -EFBIG, "more than %" PRIu64 " bytes of text", TEXT_MAX);
	return 1;
}

int
trace_line(struct trace *trace)
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
				return trace_fail(trace, -EBADMSG, "a line without an end");
			if (more == 0)
				return 0;
		}
		byte = trace->text[trace->text_at++];
		if (byte == '\n')
			break;
		if (length == sizeof(trace->line) - 1)
			return trace_fail(trace, -EBADMSG, "a line which is too long");
		if (byte < ' ' || byte > '~')
			return trace_fail(trace, -EBADMSG, "a byte which is no text");
		trace->line[length++] = byte;
	}
	trace->line[length] = '\0';
	return 1;
}

/* ---- Fields ---- */

size_t
trace_word(struct trace *trace, const char **word)
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
		return trace_fail(trace, -EBADMSG, "a field is missing");
	if (length > 16)
		return trace_fail(trace, -EBADMSG, "a number which is too long");
	for (size_t i = 0; i < length; i++) {
		int digit = digit_value(word[i]);

		if (digit >= base)
			return trace_fail(trace, -EBADMSG, "\"%.*s\" is no number", (int)length, word);
		*value = *value * (unsigned)base + (unsigned)digit;
	}
	if (*value > limit)
		return trace_fail(trace, -EBADMSG, "%.*s is out of bounds", (int)length, word);
	return 0;
}

int
trace_number(struct trace *trace, int base, uint64_t limit, uint64_t *value)
{
	const char *word;
	size_t length = trace_word(trace, &word);

	return parse_number(trace, word, length, base, limit, value);
}

static int
field_number32(struct trace *trace, int base, uint32_t limit, uint32_t *value)
{
	uint64_t wide;
	int error = trace_number(trace, base, limit, &wide);

	*value = (uint32_t)wide;
	return error;
}

/* Page number to address. */
static int
field_pages(struct trace *trace, uint64_t *bytes)
{
	int error = trace_number(trace, 16, trace->pages_max, bytes);

	*bytes *= trace->page_size;
	return error;
}

static int
field_error(struct trace *trace, int32_t *result)
{
	const char *word;
	size_t length = trace_word(trace, &word);
	bool failed = length && *word == '-';
	uint64_t value;
	int error = parse_number(trace, word + failed, length - failed, 10, ERRNO_MAX, &value);

	*result = -(int32_t)value;
	if (!error && failed != (value != 0))
		return trace_fail(trace, -EBADMSG, "a result which is neither 0 nor an error");
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
	size_t length = trace_word(trace, &word);

	if (length == 0)
		return trace_fail(trace, -EBADMSG, "a field is missing");
	for (size_t i = 0; i < length; i++) {
		const struct letter *letter = letters;

		while (letter->letter && letter->letter != word[i])
			letter++;
		if (!letter->letter)
			return trace_fail(trace, -EBADMSG, "flag '%c' is unknown", word[i]);
		*flags |= letter->flag;
	}
	return 0;
}

static int
field_advice(struct trace *trace, enum trace_advice *advice)
{
	const char *word;
	size_t length = trace_word(trace, &word);

	for (int i = 0; i < TRACE_ADVICES; i++)
		if (strlen(advice_names[i]) == length && !memcmp(advice_names[i], word, length)) {
			*advice = (enum trace_advice)i;
			return 0;
		}
	return trace_fail(trace, -EBADMSG, "advice \"%.*s\" is unknown", (int)length, word);
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
		return trace_fail(trace, -EBADMSG, "there is no process %" PRIu32, *process);
	return error;
}

static int
field_new_process(struct trace *trace, uint32_t *process)
{
	int error = field_number32(trace, 10, PROCESSES_MAX, process);

	if (!error && *process != trace->processes + 1)
		return trace_fail(trace, -EBADMSG, "process %" PRIu32 " instead of %" PRIu32, *process,
			    trace->processes + 1);
	return error;
}

int
trace_field(struct trace *trace, char letter, struct trace_event *event)
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
		error = trace_number(trace, 10, RANGES_MAX, &count);
		event->count = (size_t)count;
		return error;
	default:
		return trace_fail(trace, -EINVAL, "field '%c'", letter);
	}
}

int
trace_line_end(struct trace *trace)
{
	return *trace->cursor ? trace_fail(trace, -EBADMSG, "too many fields") : 0;
}
