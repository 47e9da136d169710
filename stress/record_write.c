/* SPDX-License-Identifier: ISC */
#include "record_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#define COMPRESSION_LEVEL	19
#define LINE_MAX_BYTES		256

struct object {
	uint64_t device;
	uint64_t inode;
};

struct trace_writer {
	FILE *file;
	ZSTD_CCtx *zstd;
	void *packed;		/* what zstd has just compressed */
	size_t packed_size;
	uint64_t events;
	uint64_t snapshots;
	struct object *object;	/* the number of object[i] is i + 1 */
	uint32_t objects;
	uint32_t object_room;
	int error;		/* the first one; nothing is written after it */
};

static uint64_t
page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t
trace_writer_page(uint64_t address)
{
	return address / page_size();
}

uint64_t
trace_writer_pages(uint64_t length)
{
	uint64_t count = length / page_size() + (length % page_size() != 0);
	uint64_t most = UINT64_MAX / page_size();

	return count < most ? count : most;
}

static void
keep_error(struct trace_writer *writer, int error)
{
	if (!writer->error)
		writer->error = error;
}

static void
compress(struct trace_writer *writer, const char *text, size_t size, ZSTD_EndDirective mode)
{
	ZSTD_inBuffer in = { text, size, 0 };
	size_t left;

	if (writer->error)
		return;
	do {
		ZSTD_outBuffer out = { writer->packed, writer->packed_size, 0 };

		left = ZSTD_compressStream2(writer->zstd, &out, &in, mode);
		if (ZSTD_isError(left)) {
			keep_error(writer, -EIO);
			return;
		}
		if (fwrite(writer->packed, 1, out.pos, writer->file) != out.pos) {
			keep_error(writer, -EIO);
			return;
		}
	} while (mode == ZSTD_e_end ? left != 0 : in.pos < in.size);
}

static void
write_line(struct trace_writer *writer, const char *format, va_list arguments)
{
	char line[LINE_MAX_BYTES];
	int length = vsnprintf(line, sizeof(line) - 1, format, arguments);

	if (length < 0 || (size_t)length >= sizeof(line) - 1) {
		keep_error(writer, -EMSGSIZE);
		return;
	}
	line[length++] = '\n';
	compress(writer, line, (size_t)length, ZSTD_e_continue);
}

/* A line which is no event: header, trailer, the inside of a snapshot. */
static void __attribute__((format(printf, 2, 3)))
write_other(struct trace_writer *writer, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_line(writer, format, arguments);
	va_end(arguments);
}

void
trace_writer_line(struct trace_writer *writer, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_line(writer, format, arguments);
	va_end(arguments);
	writer->events++;
}

void
trace_writer_snapshot(struct trace_writer *writer, unsigned number, const struct map_lines *lines)
{
	trace_writer_line(writer, "snapshot %u %zu", number, lines->count);
	writer->snapshots++;
	for (size_t i = 0; i < lines->count; i++) {
		const struct map_line *line = &lines->line[i];
		uint32_t object = trace_writer_object(writer, line->device, line->inode);

		write_other(writer, "- %" PRIx64 " %" PRIx64 " %x %" PRIu32 " %" PRIx64,
			    trace_writer_page(line->start),
			    trace_writer_pages(line->end - line->start), line->attributes,
			    object, object ? trace_writer_page(line->offset) : 0);
	}
}

uint32_t
trace_writer_object(struct trace_writer *writer, uint64_t device, uint64_t inode)
{
	if (!inode)
		return 0;
	for (uint32_t i = writer->objects; i-- > 0;)
		if (writer->object[i].device == device && writer->object[i].inode == inode)
			return i + 1;
	if (writer->objects == writer->object_room) {
		uint32_t room = writer->object_room ? 2 * writer->object_room : 256;
		struct object *grown = realloc(writer->object, room * sizeof(*grown));

		if (!grown) {
			keep_error(writer, -ENOMEM);
			return 0;
		}
		writer->object = grown;
		writer->object_room = room;
	}
	writer->object[writer->objects] = (struct object){ device, inode };
	return ++writer->objects;
}

static void
release(struct trace_writer *writer)
{
	if (writer->file)
		fclose(writer->file);
	ZSTD_freeCCtx(writer->zstd);
	free(writer->packed);
	free(writer->object);
	free(writer);
}

int
trace_writer_open(struct trace_writer **out, const char *path)
{
	struct trace_writer *writer = calloc(1, sizeof(*writer));
	int error;

	if (!writer)
		return -ENOMEM;
	writer->packed_size = ZSTD_CStreamOutSize();
	writer->packed = malloc(writer->packed_size);
	writer->zstd = ZSTD_createCCtx();
	if (!writer->packed || !writer->zstd) {
		release(writer);
		return -ENOMEM;
	}
	writer->file = fopen(path, "wbe");
	if (!writer->file) {
		error = -errno;
		release(writer);
		return error;
	}
	ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);
	ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_checksumFlag, 1);
	write_other(writer, "cleave-trace 1 %" PRIu64, page_size());
	*out = writer;
	return 0;
}

int trace_writer_close(struct trace_writer *writer, uint64_t *events)
{
	int error;

	write_other(writer, "end %" PRIu64 " %" PRIu64, writer->events, writer->snapshots);
	compress(writer, NULL, 0, ZSTD_e_end);
	if (fflush(writer->file))
		keep_error(writer, -errno);
	error = writer->error;
	*events = writer->events;
	release(writer);
	return error;
}
