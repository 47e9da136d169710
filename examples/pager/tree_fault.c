/* SPDX-License-Identifier: ISC */
/* The peers' faults, DONTNEED, forks and eviction. */
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cleave/anon.h>
#include <cleave/map.h>

#include "tree.h"

#define CHUNK ((uint64_t)CHUNK_SLOTS << PAGE_SHIFT)
#define RESTART 1

static uint64_t slot_of(const struct tree_entry *entry, uint64_t addr)
{
	return entry->first + ((addr - entry->start) >> PAGE_SHIFT);
}

/* ---- Faults ---- */

/* Cut the chunk of addr out of the entry, and give it an amap. */
static struct tree_entry *make_chunk(struct engine_space *space, struct tree_entry *entry, uint64_t addr)
{
	uint64_t start = addr & ~(CHUNK - 1), end = start + CHUNK;

	if (start < entry->start)
		start = entry->start;
	if (end > entry->end)
		end = entry->end;
	for (unsigned int i = 0; i < 2; i++) {
		struct tree_entry *fresh = counted_alloc(sizeof(*fresh));

		if (!fresh)
			return NULL;
		if (!tree_clip(space, i ? end : start, fresh))
			counted_free(fresh, sizeof(*fresh));
	}
	entry = tree_floor(space, addr);
	entry->amap = amap_make((end - start) >> PAGE_SHIFT, CHUNK_SLOTS);
	entry->first = 0;
	return entry->amap ? entry : NULL;
}

static int fill(struct process *process, const struct tree_entry *entry, uint64_t addr, struct tree_anon **place)
{
	uint64_t page = page_get();
	struct tree_anon *anon = page ? anon_make(page) : NULL;
	int error;

	if (!anon) {
		if (page)
			page_free(page);
		return -ENOMEM;
	}
	error = page_enter(process, addr, page, entry->protection & CLEAVE_PROT_WRITE);
	if (error) {
		anon_drop(anon);
		return error;
	}
	*place = anon;
	self->kind = FAULT_FILL;
	return 0;
}

static int copy(struct process *process, uint64_t addr, struct tree_anon **place)
{
	struct tree_anon *old = *place, *anon;
	uint64_t page = page_get();
	int error;

	anon = page ? anon_make(page) : NULL;
	if (!anon) {
		if (page)
			page_free(page);
		return -ENOMEM;
	}
	page_copy(old->content, page);
	error = page_enter(process, addr, page, true);
	if (error) {
		anon_drop(anon);
		return error;
	}
	*place = anon;
	anon_drop(old);
	self->kind = FAULT_COPY;
	return 0;
}

/* Read the page in without the lock.  The anon is ours, busy, with a reference. */
static int read_in(struct engine_space *space, struct tree_anon *anon)
{
	uint64_t token = anon->content, page;
	int error;

	pthread_mutex_unlock(&space->lock);
	page = page_get();
	error = page ? page_in(token, page) : -ENOMEM;
	pthread_mutex_lock(&space->lock);
	if (error) {
		if (page)
			page_free(page);
	} else {
		anon->content = page;
		self->kind = FAULT_REFAULT;
	}
	atomic_store(&anon->busy, 0);
	anon_drop(anon);
	return error ? error : RESTART;
}

static int fault_locked(struct engine_space *space, uint64_t addr, bool write)
{
	struct tree_entry *entry = tree_floor(space, addr);
	struct tree_anon **place, *anon;
	enum fault_kind kind = self->kind;

	if (!entry || entry->end <= addr || !entry->paged)
		return -EFAULT;
	if (!(entry->protection & (write ? CLEAVE_PROT_WRITE : CLEAVE_PROT_READ)))
		return -EACCES;
	if (!entry->amap)
		entry = make_chunk(space, entry, addr);
	place = entry ? amap_slot(entry->amap, slot_of(entry, addr), true) : NULL;
	if (!place)
		return -ENOMEM;
	anon = *place;
	if (!anon)
		return fill(space->process, entry, addr, place);
	if (CLEAVE_ANON_IS_SWAPPED(anon->content) || anon->busy) {
		if (atomic_exchange(&anon->busy, 1)) {
			pthread_mutex_unlock(&space->lock);
			sched_yield();
			pthread_mutex_lock(&space->lock);
			return RESTART;
		}
		atomic_fetch_add(&anon->refs, 1);
		if (CLEAVE_ANON_IS_SWAPPED(anon->content))
			return read_in(space, anon);
		atomic_store(&anon->busy, 0);
		anon_drop(anon);
		return RESTART;
	}
	if (write && anon->refs > 1)
		return copy(space->process, addr, place);
	self->kind = kind == FAULT_REFAULT ? kind : write ? FAULT_UPGRADE : FAULT_READ;
	return page_enter(space->process, addr, anon->content, write);
}

int tree_fault(struct process *process, uint64_t addr, bool write)
{
	struct engine_space *space = process->space;
	int result;

	pthread_mutex_lock(&space->lock);
	do {
		result = fault_locked(space, addr, write);
	} while (result == RESTART);
	pthread_mutex_unlock(&space->lock);
	return result;
}

/* ---- DONTNEED ---- */

int tree_discard(struct process *process, uint64_t start, uint64_t end)
{
	struct engine_space *space = process->space;

	pthread_mutex_lock(&space->lock);
	for (struct tree_entry *entry = tree_floor(space, start); entry && entry->start < end;
	     entry = tree_next(entry)) {
		uint64_t from = entry->start > start ? entry->start : start, to = entry->end < end ? entry->end : end;

		if (!entry->amap || from >= to)
			continue;
		(void)target_call(process, self->slot, SYS_madvise, from, to - from, MADV_DONTNEED, 0, 0, 0);
		amap_wipe(entry->amap, slot_of(entry, from), (to - from) >> PAGE_SHIFT);
	}
	pthread_mutex_unlock(&space->lock);
	return 0;
}

/* ---- Fork ---- */

static int copy_entry(struct process *child, const struct tree_entry *entry)
{
	struct tree_entry *fresh;

	if (entry->start == entry->end || entry->inheritance == CLEAVE_INHERIT_NONE)
		return 0;
	fresh = counted_alloc(sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	*fresh = (struct tree_entry){
		.start = entry->start,
		.end = entry->end,
		.paged = entry->paged,
		.protection = entry->protection,
		.inheritance = entry->inheritance,
	};
	if (entry->amap) {
		uint64_t n = (entry->end - entry->start) >> PAGE_SHIFT;

		fresh->amap = entry->inheritance == CLEAVE_INHERIT_ZERO ? amap_make(n, entry->amap->leaf_slots)
									: amap_copy(entry->amap, entry->first, n);
		if (!fresh->amap) {
			counted_free(fresh, sizeof(*fresh));
			return -ENOMEM;
		}
	}
	tree_insert(child->space, fresh);
	return 0;
}

static void write_protect(struct process *process, const struct tree_entry *entry)
{
	int error;

	if (!entry->amap)
		return;
	while ((error = uffd_protect(process, entry->start, entry->end, true)) == -EAGAIN)
		sched_yield();
	if (error && error != -ESRCH)
		violation("write protection for a fork: error %d", -error);
}

int tree_fork(struct process *parent, struct process *child)
{
	struct engine_space *space = parent->space;
	struct tree_entry *entry;
	int error = tree_space_make(child, space->chunked);

	if (error)
		return error;
	pthread_mutex_lock(&space->lock);
	for (entry = tree_floor(space, MAP_MIN); entry && !error; entry = tree_next(entry))
		error = copy_entry(child, entry);
	for (entry = tree_floor(space, MAP_MIN); entry && !error; entry = tree_next(entry))
		write_protect(parent, entry);
	if (!error)
		(void)self->forks(self);
	pthread_mutex_unlock(&space->lock);
	if (error)
		tree_space_free(child);
	return error;
}

/* ---- Eviction ---- */

struct batch {
	struct tree_anon *anons[PAGER_LIST];
	size_t n;
	size_t most;
};

/* Return: where to go on. */
static uint64_t collect(struct process *process, const struct tree_entry *entry, uint64_t from, struct batch *batch)
{
	uint64_t end = slot_of(entry, entry->end), slot = slot_of(entry, from);

	while (slot < end && batch->n < batch->most) {
		struct tree_anon **place = amap_slot(entry->amap, slot, false), *anon;
		uint64_t addr = entry->start + ((slot - entry->first) << PAGE_SHIFT);

		if (!place) {
			slot = (slot / entry->amap->leaf_slots + 1) * entry->amap->leaf_slots;
			continue;
		}
		anon = *place;
		if (anon && anon->refs == 1 && !anon->busy && !CLEAVE_ANON_IS_SWAPPED(anon->content) &&
		    page_may_leave(process, addr, anon->content))
			batch->anons[batch->n++] = anon;
		slot++;
	}
	return slot < end ? entry->start + ((slot - entry->first) << PAGE_SHIFT) : entry->end;
}

static size_t write_out(struct batch *batch)
{
	size_t written = 0;

	for (size_t i = 0; i < batch->n; i++)
		page_remove(batch->anons[i]->content);
	for (size_t i = 0; i < batch->n; i++) {
		uint64_t page = batch->anons[i]->content, token;

		if (page_out(page, &token))
			continue;
		batch->anons[i]->content = token;
		page_free(page);
		written++;
	}
	return written;
}

size_t tree_evict(struct process *process, size_t n)
{
	struct engine_space *space = process->space;
	struct batch batch = { .most = n };
	unsigned int wraps = 0;
	size_t written;

	pthread_mutex_lock(&space->lock);
	while (batch.n < batch.most && wraps < 2) {
		struct tree_entry *entry = tree_floor(space, process->cursor < MAP_MIN ? MAP_MIN : process->cursor);

		if (entry->end <= process->cursor || entry->end == entry->start)
			entry = tree_next(entry);
		if (!entry) {
			process->cursor = MAP_MIN;
			wraps += batch.n ? 2 : 1; /* a batch is in order of address */
		} else if (entry->amap) {
			process->cursor =
				collect(process, entry, process->cursor > entry->start ? process->cursor : entry->start,
					&batch);
		} else {
			process->cursor = entry->end;
		}
	}
	written = write_out(&batch);
	pthread_mutex_unlock(&space->lock);
	return written;
}
