/* SPDX-License-Identifier: ISC */
/*
 * Of one address space at most one call is let into the kernel at a time: the others wait at their
 * entry until it has left. So the order of lines is the order of effects, and whenever a call has
 * just left, the mappings in /proc/PID/maps are exactly those which the lines so far lead to (but
 * for stacks, which grow by page faults: see space_growth()).
 *
 * A task is in one of these states:
 *
 *	new ---> running <---> held ---> calling ---> running
 *	                                         ---> gone
 *
 *	new	seen by waitpid() before the event which tells whose child it is
 *	running	not stopped, or stopped for a reason which does not matter here
 *	held	stopped at the entry of a call, another one is calling in its space
 *	calling	inside a call, until its exit stop (or fork or exec event)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* After sys/ptrace.h, which has enums of the same names. */
#include <linux/ptrace.h>

#include "record_calls.h"
#include "record_tasks.h"

enum task_state { TASK_NEW, TASK_RUNNING, TASK_HELD, TASK_CALLING };

struct task {
	pid_t tid;
	pid_t group;			/* tgid */
	enum task_state state;
	bool stopped;			/* a new task which waits to be let go */
	bool ending;			/* its group exits: it makes no further call */
	bool leaving;			/* past its exit event: no longer a user of the space */
	uint64_t clone_flags;		/* of the last fork, vfork or clone */
	struct call call;
	struct space *space;
	struct task *next_held;
	struct task *next_in_bucket;
};

void
record_fail(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "cleave-record: ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	exit(EXIT_FAILURE);
}

/* ---- Tasks and address spaces ---- */

static struct task **
task_link(struct recorder *recorder, pid_t tid)
{
	struct task **link = &recorder->bucket[(unsigned)tid % TASK_BUCKETS];

	while (*link && (*link)->tid != tid)
		link = &(*link)->next_in_bucket;
	return link;
}

static struct task *
task_find(struct recorder *recorder, pid_t tid)
{
	return *task_link(recorder, tid);
}

static struct task *
task_get(struct recorder *recorder, pid_t tid)
{
	struct task **link = task_link(recorder, tid);

	if (!*link) {
		*link = calloc(1, sizeof(**link));
		if (!*link)
			record_fail("out of memory");
		(*link)->tid = tid;
		(*link)->group = tid;
		(*link)->state = TASK_NEW;
	}
	return *link;
}

static struct space *
space_new(struct recorder *recorder)
{
	struct space *space = calloc(1, sizeof(*space));

	if (!space)
		record_fail("out of memory");
	space->number = ++recorder->spaces;
	return space;
}

static void
space_join(struct space *space, struct task *task)
{
	task->space = space;
	space->users++;
}

/* A task may have been killed at any time: that it is gone is told by waitpid() later. */
static void
resume(const struct task *task, enum __ptrace_request how, int signal_number)
{
	if (ptrace(how, task->tid, NULL, (void *)(intptr_t)signal_number) && errno != ESRCH)
		record_fail("ptrace: %s", strerror(errno));
}

static void
task_unhold(struct task *task)
{
	for (struct task **link = &task->space->held; *link; link = &(*link)->next_held) {
		if (*link == task) {
			*link = task->next_held;
			break;
		}
	}
	task->next_held = NULL;
}

static void enter(struct recorder *recorder, struct task *task);

/* The call of @space is over; let the next in. */
static void
space_next(struct recorder *recorder, struct space *space)
{
	struct task *task;

	space->calling = NULL;
	while (!space->calling && (task = space->held)) {
		space->held = task->next_held;
		task->next_held = NULL;
		enter(recorder, task);
	}
}

/* @task no longer uses its space: it ended or went on with another program. */
static void
space_leave(struct recorder *recorder, struct task *task)
{
	struct space *space = task->space;

	if (!space)
		return;
	task_unhold(task);
	task->space = NULL;
	if (--space->users == 0) {
		trace_writer_line(recorder->writer, "exit %u", space->number);
		map_lines_free(&space->growing);
		free(space);
		return;
	}
	if (space->calling == task)
		space_next(recorder, space);
}

static void
task_gone(struct recorder *recorder, struct task *task)
{
	struct task **link = task_link(recorder, task->tid);

	/* Killed inside a call: nobody can tell how much of it was done. */
	if (task->space && task->space->calling == task && !task->space->unsure) {
		task->space->unsure = true;
		trace_writer_line(recorder->writer, "unsure %u", task->space->number);
	}
	space_leave(recorder, task);
	*link = task->next_in_bucket;
	map_lines_free(&task->call.before);
	free(task);
}

/* ---- Calls ---- */

static bool
is_exec(long number)
{
	return number == SYS_execve || number == SYS_execveat;
}

static bool
is_fork(long number)
{
	switch (number) {
	case SYS_clone:
	case SYS_clone3:
#ifdef SYS_fork
	case SYS_fork:
	case SYS_vfork:
#endif
		return true;
	default:
		return false;
	}
}

static uint64_t
clone_flags(const struct task *task)
{
	const struct call *call = &task->call;

	switch (call->number) {
	case SYS_clone:
		return call->argument[0];
	case SYS_clone3:	/* the flags are the first word of struct clone_args */
		return (uint64_t)ptrace(PTRACE_PEEKDATA, task->tid,
					(void *)(uintptr_t)call->argument[0], NULL);
#ifdef SYS_vfork
	case SYS_vfork:
		return CLONE_VM | CLONE_VFORK;
#endif
	default:
		return 0;
	}
}

/* No other task of the group will make a call any more, and those held will never be let in. */
static void
group_ends(struct recorder *recorder, pid_t group)
{
	for (unsigned i = 0; i < TASK_BUCKETS; i++)
		for (struct task *task = recorder->bucket[i]; task; task = task->next_in_bucket)
			if (task->group == group) {
				task->ending = true;
				if (task->space)
					task_unhold(task);
			}
}

/* Let @task into its call; no other one of the space is inside. */
static void
enter(struct recorder *recorder, struct task *task)
{
	struct space *space = task->space;

	if (task->call.number == SYS_exit_group) {
		group_ends(recorder, task->group);
		task->state = TASK_RUNNING;
		resume(task, PTRACE_CONT, 0);
		return;
	}
	space->calling = task;
	task->state = TASK_CALLING;
	if (is_fork(task->call.number))
		space_growth(recorder->writer, space, task->tid);
	else if (is_exec(task->call.number) && space->calls)
		space_snapshot(recorder->writer, space, task->tid);
	else
		call_enter(recorder->writer, space, &task->call, task->tid);
	resume(task, PTRACE_SYSCALL, 0);
}

static void
on_entry(struct recorder *recorder, struct task *task)
{
	struct ptrace_syscall_info info;
	struct space *space = task->space;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, (void *)sizeof(info), &info) <= 0)
		return;
	if (!space) {		/* the first exec */
		resume(task, PTRACE_CONT, 0);
		return;
	}
	if (task->ending)
		return;
	task->call.number = (long)info.seccomp.nr;
	for (int i = 0; i < 6; i++)
		task->call.argument[i] = info.seccomp.args[i];
	if (is_fork(task->call.number)) {
		task->clone_flags = clone_flags(task);
		if (task->clone_flags & CLONE_VM) {
			resume(task, PTRACE_CONT, 0);
			return;
		}
	}
	if (space->calling) {
		struct task **link = &space->held;

		while (*link)
			link = &(*link)->next_held;
		*link = task;
		task->state = TASK_HELD;
		return;
	}
	enter(recorder, task);
}

static void
on_leave(struct recorder *recorder, struct task *task)
{
	struct ptrace_syscall_info info;
	struct space *space = task->space;

	if (!space || space->calling != task) {
		resume(task, PTRACE_CONT, 0);
		return;
	}
	if (ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, (void *)sizeof(info), &info) <= 0)
		return;		/* killed; task_gone() will see it as calling */
	if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		call_leave(recorder->writer, space, &task->call, task->tid, info.exit.rval);
	if (space->calls >= recorder->snapshot_every)
		space_snapshot(recorder->writer, space, task->tid);
	task->state = TASK_RUNNING;
	resume(task, PTRACE_CONT, 0);
	space_next(recorder, space);
}

/* ---- Events of processes ---- */

static void
on_fork(struct recorder *recorder, struct task *parent)
{
	struct space *space = parent->space;
	unsigned long message = 0;
	struct task *child;

	if (ptrace(PTRACE_GETEVENTMSG, parent->tid, NULL, &message) || !space)
		return;
	child = task_get(recorder, (pid_t)message);
	child->group = parent->clone_flags & CLONE_THREAD ? parent->group : child->tid;
	child->ending = parent->clone_flags & CLONE_THREAD ? parent->ending : false;
	if (parent->clone_flags & CLONE_VM) {
		space_join(space, child);
		trace_writer_line(recorder->writer, "share %u", space->number);
	} else {
		space_join(space_new(recorder), child);
		trace_writer_line(recorder->writer, "fork %u %u", child->space->number,
				  space->number);
		child->space->unsure = space->unsure;
		if (map_lines_copy(&child->space->growing, &space->growing))
			record_fail("out of memory");
		space_snapshot(recorder->writer, child->space, child->tid);
	}
	child->state = TASK_RUNNING;
	if (child->stopped)
		resume(child, PTRACE_CONT, 0);
	child->stopped = false;
	parent->state = TASK_RUNNING;
	resume(parent, PTRACE_CONT, 0);
	if (space->calling == parent)
		space_next(recorder, space);
}

/* Where the heap will start: a field of /proc/PID/stat, whose second one may hold spaces. */
static uint64_t
initial_brk(pid_t process)
{
	enum { FIELDS_BEFORE = 44 };	/* from the third field to "start_brk" */
	char path[64], text[2048], *at;
	size_t size;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
	file = fopen(path, "re");
	if (!file)
		return 0;
	size = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[size] = '\0';
	at = strrchr(text, ')');
	for (int i = 0; at && i <= FIELDS_BEFORE; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static void
on_exec(struct recorder *recorder, pid_t tid)
{
	struct task *task = task_find(recorder, tid), *leader;
	struct space *old;
	unsigned long former = 0;

	/* When a thread which is not the first one execs, it takes the first one's number. */
	if (!ptrace(PTRACE_GETEVENTMSG, tid, NULL, &former) && (pid_t)former != tid &&
	    (leader = task_find(recorder, (pid_t)former))) {
		struct task **link;

		if (task)
			task_gone(recorder, task);
		link = task_link(recorder, (pid_t)former);
		task = *link;
		*link = task->next_in_bucket;
		task->tid = tid;
		task->next_in_bucket = NULL;
		*task_link(recorder, tid) = task;
	}
	if (!task)
		return;
	old = task->space;
	trace_writer_line(recorder->writer, "exec %u %u %" PRIx64, recorder->spaces + 1,
			  old ? old->number : 0, trace_writer_pages(initial_brk(tid)));
	space_leave(recorder, task);
	space_join(space_new(recorder), task);
	task->state = TASK_RUNNING;
	task->leaving = false;
	task->ending = false;
	space_find_growing(task->space, tid);
	space_snapshot(recorder->writer, task->space, tid);
	resume(task, PTRACE_CONT, 0);
}

static void
on_exit_event(struct recorder *recorder, struct task *task)
{
	struct space *space = task->space;

	if (space && space->calling == task) {
		if (!space->unsure)
			trace_writer_line(recorder->writer, "unsure %u", space->number);
		space->unsure = true;
	}
	if (space && space->users == 1)
		space_snapshot(recorder->writer, space, task->tid);
	space_leave(recorder, task);
	task->leaving = true;
	resume(task, PTRACE_CONT, 0);
}

static void
on_event_stop(struct recorder *recorder, struct task *task, int signal_number)
{
	(void)recorder;
	if (task->state == TASK_NEW)
		task->stopped = true;
	else if (signal_number == SIGTRAP)
		resume(task, PTRACE_CONT, 0);
	else
		resume(task, PTRACE_LISTEN, 0);
}

void
record_stop(struct recorder *recorder, pid_t tid, int status)
{
	struct task *task = task_get(recorder, tid);
	int signal_number = WSTOPSIG(status);

	switch (status >> 16) {
	case PTRACE_EVENT_SECCOMP:
		on_entry(recorder, task);
		break;
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		on_fork(recorder, task);
		break;
	case PTRACE_EVENT_EXEC:
		on_exec(recorder, tid);
		break;
	case PTRACE_EVENT_EXIT:
		on_exit_event(recorder, task);
		break;
	case PTRACE_EVENT_STOP:
		on_event_stop(recorder, task, signal_number);
		break;
	default:
		if (signal_number == (SIGTRAP | 0x80))
			on_leave(recorder, task);
		else
			resume(task, PTRACE_CONT, signal_number);
		break;
	}
}

/* ---- From outside ---- */

void
record_begin(struct recorder *recorder, pid_t tid)
{
	task_get(recorder, tid)->state = TASK_RUNNING;
}

void
record_gone(struct recorder *recorder, pid_t tid)
{
	struct task *task = task_find(recorder, tid);

	if (task)
		task_gone(recorder, task);
}

void
record_signal(struct recorder *recorder, int signal_number)
{
	for (unsigned i = 0; i < TASK_BUCKETS; i++)
		for (struct task *task = recorder->bucket[i]; task; task = task->next_in_bucket)
			if (task->tid == task->group)
				kill(task->tid, signal_number);
}
