/* SPDX-License-Identifier: ISC */
/*
 * Writes a trace: text lines (traces/FORMAT.md) inside one zstd frame with a checksum.
 */
#ifndef STRESS_RECORD_WRITE_H
#define STRESS_RECORD_WRITE_H

#include <stdint.h>
#include <sys/types.h>

#include "record_maps.h"

struct trace_writer;

/* Create @path and write the header. Return 0 or negative errno. */
int trace_writer_open(struct trace_writer **out, const char *path);

/* Write one event line; the new-line is added. An error is kept and told by the close. */
void trace_writer_line(struct trace_writer *writer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Write what process @number looks like. */
void trace_writer_snapshot(struct trace_writer *writer, unsigned number,
			   const struct map_lines *lines);

/* The number which stands for a file in this trace: from 1, or 0 if @inode is 0. */
uint32_t trace_writer_object(struct trace_writer *writer, uint64_t device, uint64_t inode);

/* Addresses are written as page numbers. */
uint64_t trace_writer_page(uint64_t address);

/* Pages of @length bytes, rounded up, and cut to the last page number there is. */
uint64_t trace_writer_pages(uint64_t length);

/* Write the trailer and close; @events says how many there are. Return 0 or the first negative errno since the open. */
int trace_writer_close(struct trace_writer *writer, uint64_t *events);

#endif
