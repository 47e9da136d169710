/* SPDX-License-Identifier: ISC */
/*
 * Where pictures come from.  Each fills in an empty picture; on failure `error` says what is wrong with the input, in
 * words for people, and what the picture holds is to be freed all the same.
 * Return: 0 or negative errno.
 */
#ifndef TOOLS_SOURCE_H
#define TOOLS_SOURCE_H

#include "picture.h"

#define SOURCE_ERROR 512

/* The mappings of a living process. */
int source_process(struct picture *picture, uint64_t pid, char error[SOURCE_ERROR]);
/* A copy of /proc/PID/maps; "-" is standard input. */
int source_maps(struct picture *picture, const char *path, char error[SOURCE_ERROR]);

/* What cleave_dump_rcu() printed, with nodes or without; "-" is standard input. */
int source_dump(struct picture *picture, const char *path, char error[SOURCE_ERROR]);

/* A point of a recording. */
struct source_point {
	uint64_t event;	  /* after so many events */
	bool peak;	  /* instead: where there are most mappings */
	uint32_t process; /* 0: that of the last event; with peak: any */
};

int source_trace(struct picture *picture, const char *path, const struct source_point *point, char error[SOURCE_ERROR]);

#endif
