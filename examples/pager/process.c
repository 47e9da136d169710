/* SPDX-License-Identifier: ISC */
/* Processes of the program: how they come, with what is mapped in them, and go. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cleave/map.h>

#include "../common/maps.h"
#include "pager.h"

#define STACK_ROOM_LEAST (UINT64_C(8) << 20)
#define STACK_ROOM_MOST (UINT64_C(128) << 20)
#define STACK_GUARD (256 * PAGE) /* Linux keeps it free below a stack */

/* ---- The table ---- */

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

struct process *process_make(void)
{
	struct process *process = NULL;
	uint32_t number;

	pthread_mutex_lock(&table_lock);
	for (uint32_t i = 0; i < PROCESSES && !process; i++)
		if (pager.processes[i].state == PROCESS_FREE)
			process = &pager.processes[i];
	if (process) {
		/* Another one each time, for events and calls of a process that is gone may still be on their way. */
		number = (process->number & ~(PROCESSES - 1)) + PROCESSES + (uint32_t)(process - pager.processes);
		memset(process, 0, sizeof(*process));
		process->number = number & INT32_MAX;
		process->uffd = process->pidfd = process->pagemap = -1;
		pthread_mutex_init(&process->helper_lock, NULL);
		pthread_mutex_init(&process->changes_lock, NULL);
		process->state = PROCESS_OPENING;
		process->users = 2; /* the table's and the caller's */
		if (process->number % PROCESSES >= pager.nprocesses)
			pager.nprocesses = process->number % PROCESSES + 1;
	}
	pthread_mutex_unlock(&table_lock);
	return process;
}

struct process *process_at(uint32_t i)
{
	struct process *process = &pager.processes[i];
	uint32_t users = process->users;

	do {
		if (!users)
			return NULL;
	} while (!atomic_compare_exchange_weak(&process->users, &users, users + 1));
	if (process->state != PROCESS_DEAD)
		return process;
	process_leave(process);
	return NULL;
}

struct process *process_use(uint32_t number)
{
	struct process *process = process_at(number % PROCESSES);

	if (!process || process->number == number)
		return process;
	process_leave(process);
	return NULL;
}

void process_leave(struct process *process)
{
	atomic_fetch_sub(&process->users, 1);
}

void process_died(struct process *process)
{
	process->state = PROCESS_DEAD;
	evictor_kick(); /* it buries them */
}

/* Another image of the process takes its place. */
static void former_image_died(pid_t pid, const struct process *except)
{
	for (uint32_t i = 0; i < pager.nprocesses; i++) {
		struct process *process = process_at(i);

		if (!process)
			continue;
		if (process != except && process->pid == pid) {
			process->total = 0; /* the process goes on counting */
			process_died(process);
		}
		process_leave(process);
	}
}

/* Who is left alone shares no page. */
static void look_for_last(uint64_t family)
{
	struct process *last = NULL;
	uint64_t epoch = 0;
	unsigned int n = 0;

	for (uint32_t i = 0; i < pager.nprocesses; i++) {
		struct process *process = &pager.processes[i];

		if (process->state == PROCESS_FREE || process->family != family)
			continue;
		last = process;
		n++;
	}
	if (n != 1)
		return;
	/* A fork makes its child first, and its epoch then: it is seen in one of the two. */
	epoch = last->fork_epoch;
	for (uint32_t i = 0; i < pager.nprocesses; i++)
		n += &pager.processes[i] != last && pager.processes[i].state != PROCESS_FREE &&
		     pager.processes[i].family == family;
	if (n == 1)
		atomic_compare_exchange_strong(&last->fork_epoch, &epoch, 0);
}

static void bury(struct process *process)
{
	uint64_t family = process->family, entries;
	size_t violations = process->space ? pager.engine->verify(process) : 0;

	if (violations)
		violation("process %d: %zu violations of the engine's invariants", (int)process->pid, violations);
	atomic_fetch_add(&pager.total, process->total);
	if (process->space) {
		entries = pager.engine->entries(process);
		if (entries > pager.entries_peak)
			pager.entries_peak = entries;
		pager.engine->space_free(process);
	}
	if (process->uffd >= 0)
		close(process->uffd);
	if (process->pidfd >= 0)
		close(process->pidfd);
	if (process->pagemap >= 0)
		close(process->pagemap);
	if (process->helper)
		target_forget(process->helper);
	process->state = PROCESS_FREE;
	look_for_last(family);
}

void processes_bury(void)
{
	for (uint32_t i = 0; i < pager.nprocesses; i++) {
		uint32_t last = 1;

		if (pager.processes[i].state == PROCESS_DEAD &&
		    atomic_compare_exchange_strong(&pager.processes[i].users, &last, 0))
			bury(&pager.processes[i]);
	}
}

/* /proc/PID/stat: "pid (name) state ppid pgrp session tty tpgid flags minflt cminflt majflt ..." */
void process_read_faults(struct process *process)
{
	char path[64], text[1024], *at;
	unsigned long minor, major;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)process->pid);
	file = fopen(path, "re");
	if (!file)
		return;
	at = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
	fclose(file);
	if (at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %lu %*u %lu", &minor, &major) == 2)
		process->total = minor + major;
}

/* ---- What transactions hold while calls are made ---- */

void change_open(struct process *process, unsigned int *place, uint64_t start, uint64_t size)
{
	for (*place = CHANGES; *place == CHANGES;) {
		pthread_mutex_lock(&process->changes_lock);
		for (*place = 0; *place < CHANGES && process->changes[*place].size;)
			++*place;
		if (*place < CHANGES)
			process->changes[*place] = (struct slot_range){ start, size };
		pthread_mutex_unlock(&process->changes_lock);
	}
}

void change_close(struct process *process, unsigned int place)
{
	reader_settle();
	pthread_mutex_lock(&process->changes_lock);
	process->changes[place].size = 0;
	pthread_mutex_unlock(&process->changes_lock);
}

bool change_covers(struct process *process, uint64_t start, uint64_t end)
{
	bool covers = false;

	pthread_mutex_lock(&process->changes_lock);
	for (unsigned int i = 0; i < CHANGES && !covers; i++) {
		const struct slot_range *change = &process->changes[i];

		covers = change->size && start >= change->start && end <= change->start + change->size;
	}
	pthread_mutex_unlock(&process->changes_lock);
	return covers;
}

/* ---- A new image ---- */

/*
 * Paged is what is private and anonymous: the heap, what malloc maps, threads' stacks, the zeroed data behind a file's.
 * Not the main stack, which grows without a call; nor what the kernel names itself ([vdso], [vvar]).
 */
static bool is_paged(const struct line *line)
{
	return !line->shared && !line->device && !line->inode && (!line->named || line->heap);
}

static int map_range(uint64_t start, uint64_t end, bool paged, unsigned int protection)
{
	const struct mapping mapping = {
		.start = start,
		.end = end,
		.mapped = true,
		.paged = paged,
		.protection = (uint8_t)protection,
		.inheritance = CLEAVE_INHERIT_COPY,
	};
	int error = start < end ? pager.engine->unmap(start, end) : 0;

	return error || start >= end ? error : pager.engine->map(&mapping);
}

static uint64_t stack_room(pid_t pid)
{
	struct rlimit limit = { STACK_ROOM_LEAST, 0 };

	prlimit(pid, RLIMIT_STACK, NULL, &limit);
	if (limit.rlim_cur < STACK_ROOM_LEAST)
		limit.rlim_cur = STACK_ROOM_LEAST;
	return (limit.rlim_cur > STACK_ROOM_MOST ? STACK_ROOM_MOST : page_up(limit.rlim_cur)) + STACK_GUARD;
}

static int open_maps(const struct process *process, struct maps_file *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)process->pid);
	return maps_open(file, path);
}

/* Where the stack may grow to. */
static int find_stack(struct process *process)
{
	struct maps_file file;
	struct line line;
	uint64_t below = MAP_MIN;
	int error = open_maps(process, &file);

	if (error)
		return error;
	process->stack_low = process->stack_top = MAP_MAX;
	while (maps_next(&file, &line) && !line.stack)
		if (line.start < MAP_MAX && (line.end <= TRAP_BASE || line.start >= TRAP_BASE + TRAP_SIZE))
			below = line.end;
	if (line.stack) {
		process->stack_top = line.end;
		process->stack_low =
			line.start - below > stack_room(process->pid) ? line.start - stack_room(process->pid) : below;
	}
	process->top = below > MAP_MAX / 2 ? below : process->stack_low;
	maps_close(&file);
	return 0;
}

static int map_existing(struct process *process)
{
	struct maps_file file;
	struct line line;
	int error = open_maps(process, &file);

	if (error)
		return error;
	while (!error && maps_next(&file, &line)) {
		if (line.start >= MAP_MAX || line.stack || (line.end > TRAP_BASE && line.start < TRAP_BASE + TRAP_SIZE))
			continue;
		error = map_range(line.start, line.end, is_paged(&line), line.protection);
		if (!error && is_paged(&line))
			error = uffd_register(process, line.start, line.end);
	}
	maps_close(&file);
	if (!error)
		error = map_range(TRAP_BASE, TRAP_BASE + TRAP_SIZE, false, 0);
	if (!error)
		error = map_range(process->stack_low, process->stack_top, false, 0);
	return error;
}

static int fill(struct process *process)
{
	int error = find_stack(process);

	if (error)
		return error;
	error = pager.engine->space_make(process);
	if (error)
		return error;
	pager.engine->begin(process, MAP_MIN, MAP_MAX);
	error = map_existing(process);
	if (!error)
		error = pager.engine->prepare();
	if (error) {
		pager.engine->abort();
		return error;
	}
	pager.engine->publish();
	pager.engine->end();
	return 0;
}

static int open_files(struct process *process)
{
	char path[64];

	process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)process->pid);
	process->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (process->pidfd < 0 || process->pagemap < 0)
		return -errno;
	reader_watch_end(process);
	return 0;
}

long process_hello(struct pager_slot *slot)
{
	struct process *process = process_make();
	uint64_t its = slot->argument[0];
	long result;
	int fd;

	if (!process)
		return -EAGAIN;
	self->process = process;
	slot->space = process->number;
	process->pid = (pid_t)slot->pid;
	process->family = atomic_fetch_add(&pager.families, 1) + 1;
	former_image_died(process->pid, process);
	result = open_files(process);
	if (!result) {
		fd = (int)syscall(SYS_pidfd_getfd, process->pidfd, its, 0);
		result = fd < 0 ? -errno : uffd_begin(fd, pager.follows_forks);
		process->uffd = fd;
	}
	if (!result) {
		result = target_call(process, slot, SYS_brk, 0, 0, 0, 0, 0, 0);
		process->heap_end = (uint64_t)result;
		process->heap_start = page_up(process->heap_end);
		result = is_error(result) ? result : fill(process);
	}
	if (result) {
		violation("process %d cannot be paged: %s", (int)process->pid, strerror((int)-result));
		process_died(process);
	} else {
		count(&pager.images);
		process->state = PROCESS_READY;
		reader_watch(process);
	}
	process_leave(process);
	return result;
}

/* ---- Fork ---- */

/* In the middle of the engine's fork. */
static long make_fork(struct worker *worker)
{
	struct process *parent = worker->process, *child = worker->fork_child;
	struct pager_slot *slot = worker->slot;
	const uint64_t *argument = worker->fork_argument;

	child->fork_epoch = parent->fork_epoch = atomic_fetch_add(&pager.epoch, 1) + 1;
	slot->child = child->number;
	/* Not before: another thread's fork may have been under way. */
	parent->child = child;
	worker->fork_result = target_call(parent, slot, worker->fork_number, argument[0], argument[1], argument[2],
					  argument[3], argument[4], argument[5]);
	reader_settle(); /* the event has brought the child's userfaultfd */
	parent->child = NULL;
	return worker->fork_result;
}

long process_fork(struct process *process, const uint64_t *argument, long number)
{
	struct process *child = pager.follows_forks ? process_make() : NULL;
	int error;

	if (!pager.follows_forks)
		return -EPERM;
	if (!child)
		return -EAGAIN;
	child->family = process->family;
	child->heap_start = process->heap_start;
	child->heap_end = process->heap_end;
	child->stack_low = process->stack_low;
	child->stack_top = process->stack_top;
	child->top = process->top;
	self->fork_child = child;
	self->fork_argument = argument;
	self->fork_number = number;
	self->fork_result = -ENOMEM;
	self->forks = make_fork;
	error = pager.engine->fork(process, child);
	if (error || is_error(self->fork_result)) {
		process_died(child);
		process_leave(child);
		return error ? error : self->fork_result;
	}
	child->pid = (pid_t)self->fork_result;
	count(&pager.forked);
	if (open_files(child) || child->uffd < 0) {
		violation("the child %d of a fork cannot be paged", (int)child->pid);
		process_died(child);
	} else {
		child->state = PROCESS_READY;
	}
	process_leave(child);
	return self->fork_result;
}

void process_forked(struct pager_slot *slot)
{
	const struct timespec moment = { 0, 100000 };
	struct process *child = process_use(slot->space);
	long result = -EAGAIN;

	while (child && child->state == PROCESS_OPENING)
		nanosleep(&moment, NULL);
	if (child) {
		result = child->state == PROCESS_READY ? 0 : -EAGAIN;
		process_leave(child);
	}
	target_answer(slot, result);
}

/* ---- Helpers, ends ---- */

void process_helper(struct pager_slot *slot)
{
	struct process *process = process_use(slot->space);

	if (!process) {
		target_forget(slot);
		return;
	}
	pthread_mutex_lock(&process->helper_lock);
	process->helper = slot;
	pthread_mutex_unlock(&process->helper_lock);
	process_leave(process);
}

void process_exits(struct pager_slot *slot)
{
	struct process *process = process_use(slot->space);

	if (process) {
		process_read_faults(process);
		process_leave(process);
	}
	target_answer(slot, 0);
}
