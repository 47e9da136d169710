/* SPDX-License-Identifier: ISC */
/* Reading /proc/PID/maps, with and without a libc. */
#ifndef COMMON_MAPS_H
#define COMMON_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct line {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	uint64_t device;
	uint64_t inode;
	uint8_t protection; /* PROT_READ, PROT_WRITE, PROT_EXEC */
	bool shared;
	bool stack; /* named [stack] */
	bool heap;  /* named [heap] */
	bool named; /* at all */
};

#define MAPS_BUFFER 16384

struct maps_file {
	int fd;
	size_t at;
	size_t have;
	char buffer[MAPS_BUFFER];
};

/* Return: 0, or a negative errno value. */
int maps_open(struct maps_file *file, const char *path);
void maps_close(struct maps_file *file);
void maps_rewind(struct maps_file *file);
bool maps_next(struct maps_file *file, struct line *line);

#endif
