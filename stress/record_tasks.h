/* SPDX-License-Identifier: ISC */
/*
 * The tasks of a recorded program: which of them may go on, and when. record_calls.c writes what
 * their calls do.
 */
#ifndef STRESS_RECORD_TASKS_H
#define STRESS_RECORD_TASKS_H

#include <stdbool.h>
#include <sys/types.h>

#include "record_write.h"

#define TASK_BUCKETS	1024U

struct task;

struct recorder {
	struct trace_writer *writer;
	struct task *bucket[TASK_BUCKETS];
	unsigned spaces;		/* numbers given so far */
	unsigned snapshot_every;
};

/* Say why, and end. */
void record_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* A task which is traced, and runs. */
void record_begin(struct recorder *recorder, pid_t tid);

/* What waitpid() said of a task: it has stopped, or is gone. */
void record_stop(struct recorder *recorder, pid_t tid, int status);
void record_gone(struct recorder *recorder, pid_t tid);

/* To all processes. */
void record_signal(struct recorder *recorder, int signal_number);

#endif
