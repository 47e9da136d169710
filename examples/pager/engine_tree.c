/* SPDX-License-Identifier: ISC */
/*
 * The peers: one mutex for each process, and a red-black tree.
 *
 *	mutex-tree	a mapping has one amap, a table of two levels, however it is cut
 *	chunked		the first touch cuts a piece of 64 KiB out of the entry and gives it a dense amap of its own
 *
 * A fault holds the mutex while it looks, changes the slot and enters the page, but not while it reads the file; a call
 * holds it from its look to its end, the system call included.  So nothing has to be checked twice, and the kernel
 * never says that it is changing what a fault enters.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cleave/map.h>

#include "tree.h"

enum action { MAP, UNMAP, PROTECT, INHERIT, MOVE };

struct step {
	enum action action;
	uint64_t start;
	uint64_t end;
	uint64_t to; /* MOVE */
	unsigned int value;
	struct mapping mapping; /* MAP */
	struct amap *amap;
};

/* A thread's change. */
struct tree_change {
	struct engine_space *space;
	struct step *steps;
	size_t nsteps;
	size_t room;
	struct tree_entry *spare; /* for the steps */
	struct tree_entry *dead;  /* freed at the end */
};

static struct tree_change *change(void)
{
	return self->engine;
}

/* ---- Life ---- */

static int start(void)
{
	return 0;
}

static void stop(void)
{
}

static int worker_begin(struct worker *worker)
{
	worker->engine = calloc(1, sizeof(struct tree_change));
	return worker->engine ? 0 : -ENOMEM;
}

static void worker_end(struct worker *worker)
{
	free(change()->steps);
	free(worker->engine);
}

static struct tree_entry *entry_make(void)
{
	return counted_alloc(sizeof(struct tree_entry));
}

static void entry_free(struct tree_entry *entry)
{
	counted_free(entry, sizeof(*entry));
}

int tree_space_make(struct process *process, bool chunked)
{
	struct engine_space *space = counted_alloc(sizeof(*space));
	struct tree_entry *first = entry_make();

	if (!space || !first)
		return -ENOMEM;
	memset(space, 0, sizeof(*space));
	pthread_mutex_init(&space->lock, NULL);
	space->process = process;
	space->chunked = chunked;
	space->top = process->top;
	*first = (struct tree_entry){ .start = MAP_MIN, .end = MAP_MIN };
	tree_insert(space, first);
	process->space = space;
	return 0;
}

static int space_make(struct process *process)
{
	return tree_space_make(process, false);
}

static int space_make_chunked(struct process *process)
{
	return tree_space_make(process, true);
}

void tree_bury(struct tree_entry *entry)
{
	amap_wipe(entry->amap, entry->first, (entry->end - entry->start) >> PAGE_SHIFT);
	amap_unref(entry->amap);
	entry_free(entry);
}

void tree_space_free(struct process *process)
{
	struct engine_space *space = process->space;
	struct tree_entry *entry, *next;

	for (entry = tree_floor(space, MAP_MIN); (next = tree_next(entry));) {
		tree_remove(space, next);
		tree_bury(next);
	}
	entry_free(entry);
	counted_free(space, sizeof(*space));
	process->space = NULL;
}

/* ---- Staging ---- */

static void begin(struct process *process, uint64_t start_addr, uint64_t end_addr)
{
	(void)start_addr;
	(void)end_addr;
	change()->space = process->space;
	change()->nsteps = 0;
	pthread_mutex_lock(&process->space->lock);
}

static void describe(struct tree_entry *entry, uint64_t addr, struct mapping *mapping)
{
	bool mapped = entry->end > addr;

	*mapping = (struct mapping){
		.start = entry->start,
		.end = mapped ? entry->end : entry->end + entry->fspace,
		.mapped = mapped,
		.paged = mapped && entry->paged,
		.protection = entry->protection,
		.inheritance = entry->inheritance,
	};
}

static bool lookup(uint64_t addr, struct mapping *mapping)
{
	describe(tree_floor(change()->space, addr), addr, mapping);
	return mapping->mapped;
}

static int stage(const struct step *step)
{
	struct tree_change *here = change();

	if (here->nsteps == here->room) {
		size_t room = here->room ? 2 * here->room : 16;
		struct step *steps = realloc(here->steps, room * sizeof(*steps));

		if (!steps)
			return -ENOMEM;
		here->steps = steps;
		here->room = room;
	}
	here->steps[here->nsteps++] = *step;
	return 0;
}

static int map(const struct mapping *mapping)
{
	struct step step = { .action = MAP, .start = mapping->start, .end = mapping->end, .mapping = *mapping };
	int error;

	if (mapping->paged && !change()->space->chunked) {
		step.amap = amap_make((mapping->end - mapping->start) >> PAGE_SHIFT, LEAF_SLOTS);
		if (!step.amap)
			return -ENOMEM;
	}
	error = stage(&step);
	if (error)
		amap_unref(step.amap);
	return error;
}

static int unmap(uint64_t from, uint64_t to)
{
	return stage(&(struct step){ .action = UNMAP, .start = from, .end = to });
}

static int protect(uint64_t from, uint64_t to, unsigned int protection)
{
	return stage(&(struct step){ .action = PROTECT, .start = from, .end = to, .value = protection });
}

static int inherit(uint64_t from, uint64_t to, unsigned int inheritance)
{
	return stage(&(struct step){ .action = INHERIT, .start = from, .end = to, .value = inheritance });
}

static int move(uint64_t from, uint64_t size, uint64_t to)
{
	return stage(&(struct step){ .action = MOVE, .start = from, .end = from + size, .to = to });
}

#define ENTRIES_A_STEP 3u /* two clips and an entry */

static int prepare(void)
{
	struct tree_change *here = change();

	for (size_t n = here->nsteps * ENTRIES_A_STEP; n; n--) {
		struct tree_entry *entry = entry_make();

		if (!entry)
			return -ENOMEM;
		entry->next = here->spare;
		here->spare = entry;
	}
	return 0;
}

/* ---- Applying ---- */

static struct tree_entry *take_spare(void)
{
	struct tree_entry *entry = change()->spare;

	change()->spare = entry->next;
	return entry;
}

static void clip(uint64_t addr)
{
	struct tree_entry *fresh = take_spare();

	if (tree_clip(change()->space, addr, fresh))
		return;
	fresh->next = change()->spare;
	change()->spare = fresh;
}

static void die(struct tree_entry *entry)
{
	entry->next = change()->dead;
	change()->dead = entry;
}

/* The first entry that begins in [from, to), which is clipped. */
static struct tree_entry *first_in(uint64_t from, uint64_t to)
{
	struct tree_entry *entry;

	clip(from);
	clip(to);
	entry = tree_floor(change()->space, from);
	return entry->start == from && entry->end > from ? entry : tree_next(entry);
}

static void join_around(uint64_t from, uint64_t to)
{
	struct engine_space *space = change()->space;
	struct tree_entry *entry = tree_floor(space, from ? from - 1 : from), *gone;

	while (entry && entry->start <= to) {
		gone = tree_join(space, entry);
		if (gone)
			entry_free(gone);
		else
			entry = tree_next(entry);
	}
}

static void apply_unmap(const struct step *step)
{
	struct tree_entry *entry = first_in(step->start, step->end), *next;

	for (; entry && entry->start < step->end; entry = next) {
		next = tree_next(entry);
		tree_remove(change()->space, entry);
		die(entry);
	}
}

static void apply_attributes(const struct step *step)
{
	struct tree_entry *entry = first_in(step->start, step->end);

	for (; entry && entry->start < step->end; entry = tree_next(entry)) {
		if (step->action == PROTECT)
			entry->protection = (uint8_t)step->value;
		else
			entry->inheritance = (uint8_t)step->value;
	}
	join_around(step->start, step->end);
}

/* A mapping that grows: the amap of what ends at its start gets more slots, if that shows its end. */
static void grow_amap(struct tree_entry *entry)
{
	struct tree_entry *below = tree_floor(change()->space, entry->start - 1);
	uint64_t n = (entry->end - entry->start) >> PAGE_SHIFT, first;

	if (!below || below->end != entry->start || !below->amap || !entry->amap)
		return;
	first = below->first + ((below->end - below->start) >> PAGE_SHIFT);
	if (first != below->amap->nslots || !amap_extend(below->amap, first + n))
		return;
	amap_unref(entry->amap);
	amap_ref(below->amap);
	entry->amap = below->amap;
	entry->first = first;
}

static void apply_map(struct step *step)
{
	struct tree_entry *entry = take_spare();

	*entry = (struct tree_entry){
		.start = step->start,
		.end = step->end,
		.amap = step->amap,
		.paged = step->mapping.paged,
		.protection = step->mapping.protection,
		.inheritance = step->mapping.inheritance,
	};
	step->amap = NULL;
	if (step->mapping.grows)
		grow_amap(entry);
	tree_insert(change()->space, entry);
	join_around(step->start, step->end);
}

/* The entries move, and take their windows along. */
static void apply_move(const struct step *step)
{
	struct tree_entry *entry = first_in(step->start, step->end), *next;

	for (; entry && entry->start < step->end; entry = next) {
		next = tree_next(entry);
		tree_remove(change()->space, entry);
		entry->start = entry->start - step->start + step->to;
		entry->end = entry->end - step->start + step->to;
		tree_insert(change()->space, entry);
	}
	join_around(step->to, step->to + (step->end - step->start));
}

static void publish(void)
{
	struct tree_change *here = change();

	for (size_t i = 0; i < here->nsteps; i++) {
		struct step *step = &here->steps[i];

		switch (step->action) {
		case MAP:
			apply_map(step);
			break;
		case UNMAP:
			apply_unmap(step);
			break;
		case PROTECT:
		case INHERIT:
			apply_attributes(step);
			break;
		case MOVE:
			apply_move(step);
			break;
		}
	}
}

/* Also after an abort. */
static void end(void)
{
	struct tree_change *here = change();
	struct tree_entry *entry, *next;

	for (entry = here->dead; entry; entry = next) {
		next = entry->next;
		tree_bury(entry);
	}
	pthread_mutex_unlock(&here->space->lock);
	for (entry = here->spare; entry; entry = next) {
		next = entry->next;
		entry_free(entry);
	}
	here->dead = here->spare = NULL;
	for (size_t i = 0; i < here->nsteps; i++)
		if (here->steps[i].action == MAP)
			amap_unref(here->steps[i].amap);
	here->nsteps = 0;
}

static uint64_t find(struct process *process, uint64_t size, uint64_t align, bool below_2g)
{
	struct engine_space *space = process->space;
	uint64_t addr;

	pthread_mutex_lock(&space->lock);
	addr = tree_highest_gap(space, size, align, below_2g ? UINT64_C(0x40000000) : UINT64_C(0x10000),
				below_2g ? UINT64_C(0x80000000) : space->top);
	pthread_mutex_unlock(&space->lock);
	return addr;
}

/* Nothing waits for its end. */
static void flush(void)
{
}

static uint64_t entries(struct process *process)
{
	struct engine_space *space = process->space;
	uint64_t n = 0;

	pthread_mutex_lock(&space->lock);
	for (struct tree_entry *entry = tree_floor(space, MAP_MIN); (entry = tree_next(entry));)
		n++;
	pthread_mutex_unlock(&space->lock);
	return n;
}

static size_t verify(struct process *process)
{
	return tree_verify(process->space);
}

#define ENGINE(engine_name, make)                                                                                   \
	{                                                                                                           \
		.name = engine_name, .start = start, .stop = stop, .worker_start = worker_begin,                    \
		.worker_stop = worker_end, .space_make = make, .space_free = tree_space_free, .begin = begin,       \
		.lookup = lookup, .map = map, .unmap = unmap, .protect = protect, .inherit = inherit, .move = move, \
		.prepare = prepare, .publish = publish, .end = end, .abort = end, .find = find,                     \
		.discard = tree_discard, .fork = tree_fork, .fault = tree_fault, .evict = tree_evict,               \
		.entries = entries, .verify = verify, .flush = flush,                                               \
	}

const struct engine engine_mutex_tree = ENGINE("mutex-tree", space_make);
const struct engine engine_chunked = ENGINE("chunked", space_make_chunked);
