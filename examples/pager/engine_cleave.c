/* SPDX-License-Identifier: ISC */
/*
 * The library: a cleave_map for each process, a cleave_anon for each segment, and cleave_fault() between them.  Faults
 * take no lock of the map, and calls only those under their range.
 *
 * What is not paged is an entry with an object, which nobody asks for pages.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_cleave.h"

static char unpaged; /* the object of all that is not paged */

/* ---- Life ---- */

static int start(void)
{
	cleave_engine_open();
	return 0;
}

static void stop(void)
{
	cleave_space_exit(&cleave_engine_space);
}

static int worker_start_here(struct worker *worker)
{
	struct record *made = aligned_alloc(64, (sizeof(*made) + 63) & ~(size_t)63);

	if (!made)
		return -ENOMEM;
	memset(made, 0, sizeof(*made));
	worker->engine = made;
	return cleave_space_thread_init(&made->thread, &cleave_engine_space, &worker->section.thread);
}

static void worker_stop_here(struct worker *worker)
{
	cleave_space_thread_exit(&record()->thread);
	free(worker->engine);
}

static struct engine_space *make_space(struct process *process)
{
	struct engine_space *made = aligned_alloc(64, (sizeof(*made) + 63) & ~(size_t)63);

	if (!made)
		return NULL;
	memset(made, 0, sizeof(*made));
	made->process = process;
	atomic_fetch_add(&pager.metadata, sizeof(*made));
	return made;
}

static void free_space(struct engine_space *made)
{
	atomic_fetch_sub(&pager.metadata, sizeof(*made));
	free(made);
}

static int space_make(struct process *process)
{
	const struct cleave_map_config config = {
		.min = MAP_MIN,
		.max = MAP_MAX,
		.page_shift = PAGE_SHIFT,
		.flags = CLEAVE_MAP_COALESCE,
		.nselectors = 1,
		/* As Linux: downward from where the program's interpreter was put. */
		.selectors = { { UINT64_C(0x10000), process->top, CLEAVE_SELECT_HIGHEST, CLEAVE_SELECT_ANY } },
	};
	struct engine_space *made = make_space(process);
	int error = made ? cleave_map_init(&made->map, &record()->thread.map, &config) : -ENOMEM;

	if (error && made)
		free_space(made);
	process->space = error ? NULL : made;
	return error;
}

static void space_free(struct process *process)
{
	cleave_map_destroy(&process->space->map, &record()->thread.map);
	cleave_space_flush(&record()->thread);
	free_space(process->space);
	process->space = NULL;
}

/* ---- Changes ---- */

static void begin(struct process *process, uint64_t start, uint64_t end)
{
	/* The range was checked; the map sleeps for locks. */
	(void)cleave_map_begin(&record()->txn, &process->space->map, &record()->thread.map, start, end);
}

static void describe(const struct cleave_map_entry *entry, bool mapped, uint64_t addr, struct mapping *mapping)
{
	*mapping = (struct mapping){
		.start = entry->start,
		.end = mapped ? entry->end : entry->end + entry->guard + entry->fspace,
		.mapped = mapped,
		.paged = mapped && !entry->attributes.object,
		.protection = entry->attributes.protection,
		.inheritance = entry->attributes.inheritance,
	};
	if (mapping->end <= addr) /* something was mapped there meanwhile */
		mapping->end = addr + PAGE;
}

static bool lookup(uint64_t addr, struct mapping *mapping)
{
	struct cleave_map_entry entry;
	bool mapped = cleave_map_txn_lookup(&record()->txn, addr, &entry);

	describe(&entry, mapped, addr, mapping);
	return mapped;
}

/* What ends at the mapping's start shows the end of a store: that gets more slots.  NULL: it does not. */
static struct cleave_anon *grown_store(const struct mapping *mapping, uint64_t *delta)
{
	struct cleave_map_entry entry;
	struct cleave_anon *store;
	uint64_t slot;

	if (!mapping->grows || mapping->start <= record()->txn.start ||
	    !cleave_map_txn_lookup(&record()->txn, mapping->start - 1, &entry) || !entry.attributes.store)
		return NULL;
	store = cleave_space_store(&entry.attributes);
	slot = cleave_space_slot(&cleave_engine_space, &entry.attributes, mapping->start);
	if (slot != cleave_anon_slots(store) ||
	    cleave_anon_extend(store, slot + ((mapping->end - mapping->start) >> PAGE_SHIFT)))
		return NULL;
	*delta = entry.attributes.store_delta;
	cleave_anon_ref(store, false);
	return store;
}

/*
 * A mapping gets its store at once, for it costs nothing: so it keeps to one however it is cut by mprotect, and pieces
 * that are alike again are joined.
 */
static int map(const struct mapping *mapping)
{
	struct cleave_map_attributes attributes = {
		.protection = mapping->protection,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = mapping->paged ? mapping->inheritance : CLEAVE_INHERIT_SHARE,
	};
	struct cleave_anon *store = NULL;
	uint64_t delta = (uint64_t)0 - mapping->start;
	int error = 0;

	if (mapping->paged) {
		attributes.flags = CLEAVE_MAP_COW;
		store = grown_store(mapping, &delta);
		if (!store)
			error = cleave_anon_create(record()->thread.context,
						   (mapping->end - mapping->start) >> PAGE_SHIFT, &store);
		if (error)
			return error;
		attributes.store = store;
		attributes.store_delta = delta;
	} else {
		attributes.object = &unpaged;
	}
	error = cleave_map_put(&record()->txn, mapping->start, mapping->end, &attributes);
	if (store)
		cleave_anon_unref(record()->thread.context, store);
	return error;
}

static int unmap(uint64_t start, uint64_t end)
{
	return cleave_map_txn_unmap(&record()->txn, start, end, 0);
}

static int protect_range(uint64_t start, uint64_t end, unsigned int protection)
{
	return cleave_map_txn_protect(&record()->txn, start, end, protection, 0, 0);
}

static int inherit(uint64_t start, uint64_t end, unsigned int inheritance)
{
	return cleave_map_txn_inherit(&record()->txn, start, end, inheritance);
}

static int move(uint64_t from, uint64_t size, uint64_t to)
{
	struct cleave_map_entry entry;
	int error = 0;

	for (uint64_t at = from, end; !error && at < from + size; at = end) {
		struct mapping mapping;
		bool mapped = cleave_map_txn_lookup(&record()->txn, at, &entry);

		describe(&entry, mapped, at, &mapping);
		end = mapping.end < from + size ? mapping.end : from + size;
		if (!mapped)
			continue;
		if (entry.attributes.store)
			entry.attributes.store_delta += from - to;
		error = cleave_map_put(&record()->txn, at - from + to, end - from + to, &entry.attributes);
	}
	return error;
}

static int prepare(void)
{
	return cleave_map_prepare(&record()->txn);
}

static void publish(void)
{
	(void)cleave_map_publish(&record()->txn);
}

static void end(void)
{
	cleave_map_end(&record()->txn);
}

static void abort_change(void)
{
	cleave_map_abort(&record()->txn);
}

/* ---- The rest ---- */

static uint64_t find(struct process *process, uint64_t size, uint64_t align, bool below_2g)
{
	struct cleave_map *space_map = &process->space->map;
	struct cleave_map_request request = { .size = size, .align = align, .max_protection = CLEAVE_PROT_ALL };
	struct cleave_request low = {
		.order = CLEAVE_HIGHEST,
		.size = size,
		.align = align,
		.min = UINT64_C(0x40000000),
		.max = UINT64_C(0x7fffffff),
	};
	uint64_t addr;
	int error;

	if (!below_2g)
		return cleave_map_find_space(space_map, &record()->thread.map, &request, &addr) ? 0 : addr;
	cleave_section_enter(&self->section);
	error = cleave_find_gap_rcu(&space_map->index, &low, &addr);
	cleave_section_leave(&self->section);
	return error ? 0 : addr;
}

/* Entry by entry, for there may be holes. */
static int discard(struct process *process, uint64_t start, uint64_t end)
{
	struct cleave_map *space_map = &process->space->map;
	struct cleave_map_entry entry;
	struct mapping mapping;
	int error = 0;

	for (uint64_t at = start, to; !error && at < end; at = to) {
		bool mapped;

		cleave_section_enter(&self->section);
		mapped = cleave_map_lookup_rcu(space_map, at, &entry);
		cleave_section_leave(&self->section);
		describe(&entry, mapped, at, &mapping);
		to = mapping.end < end ? mapping.end : end;
		if (mapping.paged)
			error = cleave_map_clean(space_map, &record()->thread.map, at, to, CLEAVE_CLEAN_FREE);
		if (error == -EFAULT) /* unmapped meanwhile */
			error = 0;
	}
	return error;
}

static int fork_space(struct process *parent, struct process *child)
{
	struct engine_space *made = make_space(child);
	int error;

	if (!made)
		return -ENOMEM;
	record()->child = child;
	record()->protects = record()->forked = false;
	child->space = made;
	error = cleave_map_fork(&parent->space->map, &record()->thread.map, &made->map);
	if (!error)
		cleave_engine_fork(); /* nothing was writable */
	record()->child = NULL;
	if (error) {
		child->space = NULL;
		free_space(made);
	}
	return error;
}

static enum fault_kind kind_of(const struct cleave_fault_counters *before, const struct cleave_fault_counters *after)
{
	if (after->swap_ins != before->swap_ins)
		return FAULT_REFAULT;
	if (after->fills != before->fills)
		return FAULT_FILL;
	if (after->copies != before->copies)
		return FAULT_COPY;
	return after->in_place != before->in_place ? FAULT_UPGRADE : FAULT_READ;
}

static int fault(struct process *process, uint64_t addr, bool write)
{
	struct cleave_space_thread *thread = &record()->thread;
	struct cleave_fault_counters before = thread->counters;
	int error = cleave_fault(thread, &process->space->map, addr, write ? CLEAVE_PROT_WRITE : CLEAVE_PROT_READ);

	self->kind = kind_of(&before, &thread->counters);
	return error;
}

#define WINDOW (UINT64_C(1024) << PAGE_SHIFT) /* how much is held for a batch, at most */

struct batch {
	struct cleave_anon_page *anons[CLEAVE_SWAP_BATCH];
	size_t n;
	size_t most;
};

/* In a change: pages of [at, end) that may leave, pinned.  Return: where to go on. */
static uint64_t collect(struct process *process, const struct cleave_map_attributes *attributes, uint64_t at,
			uint64_t end, struct batch *batch)
{
	struct cleave_anon *store = cleave_space_store(attributes);
	uint64_t slot = cleave_space_slot(&cleave_engine_space, attributes, at);
	struct cleave_anon_visit visit;

	cleave_section_enter(&self->section);
	while (batch->n < batch->most && cleave_anon_next_rcu(store, &slot, &visit, 1)) {
		uint64_t addr = (visit.slot << PAGE_SHIFT) - attributes->store_delta;
		uint64_t page = cleave_anon_page_content(visit.anon);

		if (addr < at || addr >= end)
			break;
		if (!page || CLEAVE_ANON_IS_SWAPPED(page) || !cleave_anon_page_pin_rcu(visit.anon))
			continue;
		if (page == cleave_anon_page_content(visit.anon) && page_may_leave(process, addr, page))
			batch->anons[batch->n++] = visit.anon;
		else
			cleave_anon_page_unpin(record()->thread.context, visit.anon);
		if (batch->n == batch->most)
			end = addr + PAGE;
	}
	cleave_section_leave(&self->section);
	return end;
}

/* The next entry with a store at or above `addr`; where its part from there on begins.  False: there is none. */
static bool next_store(struct process *process, uint64_t addr, uint64_t *start)
{
	struct cleave_map_entry entry;
	struct mapping mapping;

	for (uint64_t at = addr < MAP_MIN ? MAP_MIN : addr; at < MAP_MAX; at = mapping.end) {
		bool mapped;

		cleave_section_enter(&self->section);
		mapped = cleave_map_lookup_rcu(&process->space->map, at, &entry);
		cleave_section_leave(&self->section);
		describe(&entry, mapped, at, &mapping);
		*start = at;
		if (mapped && entry.attributes.store)
			return true;
	}
	return false;
}

/* In a change on [start, end). */
static uint64_t collect_entries(struct process *process, uint64_t start, uint64_t end, struct batch *batch)
{
	struct cleave_map_entry entry;
	struct mapping mapping;
	uint64_t at = start;

	while (at < end && batch->n < batch->most) {
		bool mapped = cleave_map_txn_lookup(&record()->txn, at, &entry);
		uint64_t to;

		describe(&entry, mapped, at, &mapping);
		to = mapping.end < end ? mapping.end : end;
		at = mapped && entry.attributes.store ? collect(process, &entry.attributes, at, to, batch) : to;
	}
	return at;
}

static size_t evict(struct process *process, size_t n)
{
	struct batch batch = { .most = n };
	size_t evicted = 0;
	uint64_t start;

	for (unsigned int wraps = 0; !batch.n && wraps < 2;) {
		if (!next_store(process, process->cursor, &start)) {
			process->cursor = MAP_MIN;
			wraps++;
			continue;
		}
		begin(process, start, start + WINDOW < MAP_MAX ? start + WINDOW : MAP_MAX);
		process->cursor = collect_entries(process, start, record()->txn.end, &batch);
		self->evicts = true;
		if (batch.n)
			evicted = cleave_swap_out(&record()->thread, batch.anons, batch.n);
		self->evicts = false;
		abort_change();
	}
	return evicted;
}

/* Pages that calls have freed wait for a grace period. */
static void flush(void)
{
	cleave_space_flush(&record()->thread);
}

static uint64_t entries(struct process *process)
{
	struct cleave_map_accounts accounts;

	cleave_map_account(&process->space->map, &record()->thread.map, &accounts);
	return accounts.entries;
}

static void violated(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	fprintf(stderr, "cleave-pager: %s\n", text);
}

static size_t verify(struct process *process)
{
	struct cleave_lines lines = { violated };

	return cleave_map_verify(&process->space->map, &record()->thread.map, &lines);
}

const struct engine engine_cleave = {
	.name = "cleave",
	.start = start,
	.stop = stop,
	.worker_start = worker_start_here,
	.worker_stop = worker_stop_here,
	.space_make = space_make,
	.space_free = space_free,
	.begin = begin,
	.lookup = lookup,
	.map = map,
	.unmap = unmap,
	.protect = protect_range,
	.inherit = inherit,
	.move = move,
	.prepare = prepare,
	.publish = publish,
	.end = end,
	.abort = abort_change,
	.find = find,
	.discard = discard,
	.fork = fork_space,
	.fault = fault,
	.evict = evict,
	.entries = entries,
	.verify = verify,
	.flush = flush,
};
