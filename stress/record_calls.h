/* SPDX-License-Identifier: ISC */
/*
 * What an address-space call writes to the trace. Nothing here waits or resumes: record_tasks.c
 * does that, and calls these while exactly one call of the address space is under way.
 */
#ifndef STRESS_RECORD_CALLS_H
#define STRESS_RECORD_CALLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "record_maps.h"
#include "record_write.h"

/* One address space: threads and vfork children share it, exec and fork make a new one. */
struct space {
	unsigned number;		/* in the trace, from 1 */
	unsigned users;			/* tasks */
	unsigned calls;			/* since the last snapshot */
	bool unsure;			/* a call was killed half way: no more snapshots */
	struct map_lines growing;	/* mappings which grow down, as last seen */
	struct task *calling;		/* the one task inside a call, or NULL */
	struct task *held;		/* tasks which wait to enter theirs, first come first */
};

/* A system call as it was entered. */
struct call {
	long number;
	uint64_t argument[6];
	struct map_lines before;	/* the mappings at entry, for the few calls which need it */
};

/* Just before @call of @task is let into the kernel. */
void call_enter(struct trace_writer *writer, struct space *space, struct call *call, pid_t task);

/* Just after it returned @result (negative errno if it failed); @task is still stopped. */
void call_leave(struct trace_writer *writer, struct space *space, struct call *call, pid_t task,
		int64_t result);

/* Write the growth since the last look, then the mappings as they are. */
void space_snapshot(struct trace_writer *writer, struct space *space, pid_t task);

/* Write what mappings which grow down have gained since the last look. */
void space_growth(struct trace_writer *writer, struct space *space, pid_t task);

/* Learn anew from the kernel which mappings grow down. */
void space_find_growing(struct space *space, pid_t task);

#endif
