/* SPDX-License-Identifier: ISC */
/*
 * Which cache lines of the simulator's arena each thread of an execution writes.
 *
 * Every store, read-modify-write (a failed one, too) and write of a cell goes through the port and is noted.  Plain
 * stores do not: so a call is also made alone, and the lines that differ after it are added.  Lines that the allocator
 * hands out during a call belong to one thread each.  Programs are linked with --wrap, see meson.build.
 */
#ifndef CLEAVE_SIM_LINES_H
#define CLEAVE_SIM_LINES_H

#include "../../lib/port/sim/internal.h"

#define THREADS 2
#define LINES (ARENA_SIZE / 64)

/* The arena's first byte; set by who prepares it. */
extern const char *arena;
/* By the last execution. */
extern bool written[THREADS][LINES];
/* An execution is going on. */
extern bool noting;

static inline size_t line_of(const void *p)
{
	return (size_t)((const char *)p - arena) / 64;
}

/* What is there, in words. */
static inline const char *line_name(size_t line)
{
	return sim_name(arena + 64 * line);
}

/* Execution `i` from the snapshot, noted. */
enum sim_result lines_run(const struct sim_snapshot *snapshot, unsigned int nthreads, void (*body)(unsigned int thread),
			  uint64_t i);
/* The same of thread 0 alone, with its plain stores. */
enum sim_result lines_run_alone(const struct sim_snapshot *snapshot, void (*body)(unsigned int thread));

/* The command line of these programs: it has no option but --help.  `what` they do, in a sentence. */
void lines_begin(int argc, char **argv, const char *what);
/* Its end.  Return: the exit status. */
int lines_end(bool good);

#endif
