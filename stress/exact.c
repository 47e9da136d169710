/* SPDX-License-Identifier: ISC */
/*
 * Phase 1: every recording through the library, one index a process, next to the plain model.  At each snapshot the
 * index has to look like the model in everything, and like the recorded /proc/PID/maps in ranges and protections.
 *
 * A value is the object of all attributes of a mapping.  Equal attributes are one object; an offset is kept relative to
 * the address, so that neighbours that a kernel would join have the same value.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "space_model.h"

#define TABLE 65536 /* attributes, at most */
#define BATCH 64

struct attributes {
	bool used;
	uint32_t attributes;
	uint32_t object;
	uint64_t delta; /* offset - address */
};

struct process {
	struct cleave index;
	bool alive;
};

struct replay {
	struct job *job;
	struct worker *main;
	struct recording *recording;
	struct space_model *model;
	struct attributes *table;
	struct process *process;
	size_t event;
	bool failed;
};

static void *value_of(struct replay *replay, const struct space_range *range)
{
	struct attributes wanted = { true, range->attributes, range->object,
				     range->object ? range->offset - range->start : 0 };
	uint64_t hash = (wanted.attributes * UINT64_C(31) + wanted.object) * UINT64_C(31) + (wanted.delta >> 12);

	for (size_t n = 0; n < TABLE; n++) {
		size_t i = ((hash * UINT64_C(0x9e3779b97f4a7c15) >> 40) + n) & (TABLE - 1);
		struct attributes *place = &replay->table[i];

		if (!place->used)
			*place = wanted;
		if (place->attributes == wanted.attributes && place->object == wanted.object &&
		    place->delta == wanted.delta)
			return place;
	}
	fprintf(stderr, "cleave-stress: too many different attributes\n");
	abort();
}

static struct space_range range_of(const struct cleave_entry *entry)
{
	const struct attributes *attributes = entry->value;
	struct space_range range = { entry->first, entry->last + 1, 0, attributes->object, attributes->attributes };

	if (range.object)
		range.offset = attributes->delta + range.start;
	return range;
}

static void fail(struct replay *replay, uint32_t process, uint64_t addr, const char *what)
{
	replay->failed = true;
	atomic_fetch_add(&replay->job->violations, 1);
	printf("VIOLATION: %s, process %" PRIu32 ", event %zu: at %" PRIx64 ": %s\n", replay->recording->name, process,
	       replay->event, addr, what);
}

/* ---- Effects ---- */

static int copy(struct cleave_copier *copier, const struct cleave_entry *entry, void **value)
{
	const struct attributes *attributes = entry->value;

	(void)copier;
	*value = attributes->attributes & SPACE_NO_FORK ? NULL : entry->value;
	return 0;
}

static void undo(struct cleave_copier *copier, const struct cleave_entry *made)
{
	(void)copier;
	(void)made;
}

static int begin(struct replay *replay, const struct space_effect *effect)
{
	struct process *process = &replay->process[effect->process];
	struct cleave_copier copier = { copy, undo };
	int error;

	if (process->alive)
		cleave_destroy(&process->index, replay->main->self);
	error = cleave_init(&process->index, replay->main->self);
	process->alive = !error;
	if (!error && effect->kind == SPACE_FORK)
		error = cleave_duplicate(&process->index, &replay->process[effect->other].index, replay->main->self,
					 &copier);
	return error;
}

/* As mprotect does it: look at what is there, then change all of it at once. */
static int change_attributes(struct replay *replay, struct cleave *index, const struct space_range *range,
			     uint32_t mask)
{
	uint64_t first = range->start, last = range->end - 1;
	struct cleave_entry entry;
	struct cleave_txn txn;
	int error = cleave_begin(&txn, index, replay->main->self, first, last);

	if (error)
		return error;
	for (uint64_t at = first; !error; at = entry.last + 1) {
		cleave_txn_lookup(&txn, at, &entry);
		if (entry.last > last)
			entry.last = last;
		if (entry.value) {
			struct space_range piece = range_of(&entry);

			if (piece.start < at) {
				piece.offset += piece.object ? at - piece.start : 0;
				piece.start = at;
			}
			piece.attributes = (piece.attributes & ~mask) | (range->attributes & mask);
			error = cleave_put(&txn, at, entry.last, value_of(replay, &piece));
		}
		if (entry.last == last)
			break;
	}
	if (error)
		cleave_abort(&txn);
	else
		cleave_commit(&txn, NULL);
	return error;
}

static int put(struct replay *replay, struct cleave *index, const struct space_range *range, void *value)
{
	struct cleave_thread *self = replay->main->self;
	uint64_t first = range->start, last = range->end - 1;
	struct cleave_txn txn;
	int error;

	if (!value && one_in(&replay->main->rng, 2))
		return cleave_erase(index, self, first, last, NULL);
	if (one_in(&replay->main->rng, 2))
		return cleave_store(index, self, first, last, value, NULL);
	error = cleave_begin(&txn, index, self, first, last);
	if (error)
		return error;
	error = cleave_put(&txn, first, last, value);
	if (error)
		cleave_abort(&txn);
	else
		cleave_commit(&txn, NULL);
	return error;
}

/* ---- Comparison ---- */

struct run {
	uint64_t start;
	uint64_t end;
	const void *value;
	uint32_t prot;
};

/* The index as runs of equal values.  Return how many; `runs` are the caller's to free. */
static size_t read_index(struct replay *replay, const struct cleave *index, struct run **runs)
{
	struct cleave_visit visits[BATCH];
	struct cleave_cursor cursor;
	size_t n = 0, room = 0, got;

	*runs = NULL;
	cleave_cursor_init(&cursor, index, 0, false);
	do {
		worker_enter(replay->main);
		got = cleave_next_rcu(&cursor, visits, BATCH);
		worker_leave(replay->main);
		for (size_t i = 0; i < got; i++) {
			const struct cleave_entry *entry = &visits[i].entry;
			const struct attributes *attributes = entry->value;

			if (n > 0 && (*runs)[n - 1].value == entry->value && (*runs)[n - 1].end == entry->first) {
				(*runs)[n - 1].end = entry->last + 1;
				continue;
			}
			if (n == room) {
				room = room ? 2 * room : 256;
				*runs = realloc(*runs, room * sizeof(**runs));
				if (!*runs)
					abort();
			}
			(*runs)[n++] = (struct run){ entry->first, entry->last + 1, entry->value,
						     attributes->attributes & TRACE_PROT };
		}
	} while (got == BATCH);
	return n;
}

static void compare_model(struct replay *replay, uint32_t process, const struct run *runs, size_t n)
{
	const struct space_range *ranges;
	size_t count = space_model_ranges(replay->model, process, &ranges);

	for (size_t i = 0; i < n || i < count; i++) {
		if (i < n && i < count && runs[i].start == ranges[i].start && runs[i].end == ranges[i].end &&
		    runs[i].value == value_of(replay, &ranges[i]))
			continue;
		fail(replay, process, i < n ? runs[i].start : ranges[i].start, "the index differs from the model");
		return;
	}
}

static void compare_snapshot(struct replay *replay, const struct space_effect *effect, const struct run *runs, size_t n)
{
	size_t i = 0, r = 0;

	while (i < n || r < effect->count) {
		uint64_t start, end;
		uint32_t prot;

		if (i == n || r == effect->count || runs[i].start != effect->ranges[r].start) {
			fail(replay, effect->process, i < n ? runs[i].start : effect->ranges[r].start,
			     "a range begins in the index or in the snapshot, not in both");
			return;
		}
		start = runs[i].start;
		prot = runs[i].prot;
		for (end = start; i < n && runs[i].start == end && runs[i].prot == prot; i++)
			end = runs[i].end;
		for (; r < effect->count && effect->ranges[r].start == start &&
		       (effect->ranges[r].attributes & TRACE_PROT) == prot;
		     r++)
			start = effect->ranges[r].end;
		if (start != end) {
			fail(replay, effect->process, start, "protections differ from the snapshot's");
			return;
		}
	}
	replay->job->exact_snapshots++;
	replay->job->exact_lines += effect->count;
	atomic_fetch_add(&replay->recording->snapshots, 1);
}

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	printf("  %s\n", text);
}

static void compare(struct replay *replay, const struct space_effect *effect)
{
	struct cleave *index = &replay->process[effect->process].index;
	struct cleave_lines lines = { print_line };
	struct run *runs;
	size_t n = read_index(replay, index, &runs);

	compare_model(replay, effect->process, runs, n);
	compare_snapshot(replay, effect, runs, n);
	free(runs);
	count(replay->main, COUNT_CHECKED_INDEX, 1);
	if (cleave_check(index, &lines))
		fail(replay, effect->process, 0, "cleave_check() finds faults");
}

/* ---- All ---- */

static int on_effect(void *context, const struct space_effect *effect)
{
	struct replay *replay = context;
	struct process *process = &replay->process[effect->process];
	const struct space_range *range = &effect->range;
	int error;

	if (effect->kind == SPACE_SNAPSHOT) {
		compare(replay, effect);
		return replay->failed ? -ECANCELED : 0;
	}
	error = space_model_effect(replay->model, effect);
	if (error)
		return error;
	replay->job->exact_effects++;
	switch (effect->kind) {
	case SPACE_EXEC:
	case SPACE_FORK:
		return begin(replay, effect);
	case SPACE_EXIT:
		cleave_destroy(&process->index, replay->main->self);
		process->alive = false;
		return 0;
	case SPACE_MAP:
	case SPACE_GROW:
		return put(replay, &process->index, range, value_of(replay, range));
	case SPACE_UNMAP:
		return put(replay, &process->index, range, NULL);
	case SPACE_PROTECT:
		return change_attributes(replay, &process->index, range, TRACE_PROT);
	case SPACE_ADVISE:
		return change_attributes(replay, &process->index, range, SPACE_NO_FORK);
	default:
		return 0;
	}
}

/* Not the model's answer: what moves is what the index holds. */
static bool on_next(void *context, uint32_t process, uint64_t from, struct space_range *range)
{
	struct replay *replay = context;
	struct cleave_cursor cursor;
	struct cleave_visit visit;
	size_t n;

	cleave_cursor_init(&cursor, &replay->process[process].index, from, false);
	worker_enter(replay->main);
	n = cleave_next_rcu(&cursor, &visit, 1);
	worker_leave(replay->main);
	if (n == 1)
		*range = range_of(&visit.entry);
	return n == 1;
}

static int replay_one(struct replay *replay)
{
	static const struct space_ops ops = { on_effect, on_next };
	const struct trace_log *log = replay->recording->log;
	size_t size = (log->processes + 1) * sizeof(*replay->process);
	struct space *space = NULL;
	int error;

	replay->process = aligned_alloc(64, (size + 63) & ~(size_t)63);
	replay->table = calloc(TABLE, sizeof(*replay->table));
	if (!replay->process || !replay->table)
		return -ENOMEM;
	memset(replay->process, 0, size);
	error = space_model_create(&replay->model);
	if (!error)
		error = space_create(&space, &ops, replay);
	for (replay->event = 0; replay->event < log->count && !error; replay->event++)
		error = space_apply(space, &log->event[replay->event]);
	for (uint32_t i = 0; i <= log->processes; i++)
		if (replay->process[i].alive)
			cleave_destroy(&replay->process[i].index, replay->main->self);
	space_destroy(space);
	space_model_destroy(replay->model);
	free(replay->process);
	free(replay->table);
	return error;
}

int exact_replay(struct job *job)
{
	uint64_t begun = now_ns();
	int error = 0;

	for (size_t i = 0; i < job->scripts.recordings && !error; i++) {
		struct replay replay = { .job = job,
					 .main = &job->workers[0],
					 .recording = &job->scripts.recording[i] };

		error = replay_one(&replay);
		if (replay.failed)
			return 1;
		if (error) {
			printf("VIOLATION: %s, event %zu: %s\n", replay.recording->name, replay.event,
			       strerror(-error));
			return 1;
		}
	}
	job->exact_ns = now_ns() - begun;
	return 0;
}
