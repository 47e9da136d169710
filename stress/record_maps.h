/* SPDX-License-Identifier: ISC */
/*
 * What the kernel says of a process' mappings, read from /proc.
 */
#ifndef STRESS_RECORD_MAPS_H
#define STRESS_RECORD_MAPS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bits of map_line.attributes; the low three are PROT_READ, PROT_WRITE and PROT_EXEC. */
#define MAP_LINE_PROT		0x07U
#define MAP_LINE_SHARED		0x08U
#define MAP_LINE_GROWS_DOWN	0x10U

/* One line of /proc/PID/maps: addresses in bytes, [start, end). */
struct map_line {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	uint64_t device;
	uint64_t inode;		/* 0: no file */
	unsigned attributes;
};

struct map_lines {
	struct map_line *line;
	size_t count;
	size_t room;
};

/* Both replace what @lines held. Return 0 or negative errno. */
int map_lines_read(struct map_lines *lines, pid_t process);
int map_lines_read_growing(struct map_lines *lines, pid_t process);

int map_lines_copy(struct map_lines *to, const struct map_lines *from);
void map_lines_free(struct map_lines *lines);

/* The line which contains @address, or else the first one above it; NULL at the end. */
const struct map_line *map_lines_find(const struct map_lines *lines, uint64_t address);

#endif
