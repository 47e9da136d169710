/* SPDX-License-Identifier: ISC */
/*
 * Pages.  The pager has no pages of its own: a page lives in the process that uses it, and the pager knows where it
 * comes from.  What the engines call a page is the address of a frame:
 *
 *	source	ZERO	a fresh page, never written
 *		place	in the file; what is in the process, if anything, is a copy that cannot be written
 *		TARGET	in the process, perhaps written
 *
 * Entering it writable makes it TARGET, and gives the place back.  After a fork the processes share what is TARGET; the
 * kernel copied the page tables, with write protection, and copies the page at the first write that we let through.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pager.h"

#define ZERO 0u
#define TARGET UINT32_MAX
#define NOBODY 0u
#define MANY UINT32_MAX
#define PRESENT (UINT64_C(3) << 62) /* in /proc/PID/pagemap: there, or on its way (migration) */

struct frame {
	_Atomic uint32_t source;
	_Atomic uint32_t owner; /* a process's number + 1; NOBODY: not entered yet; MANY: it was, in several */
	_Atomic uint64_t epoch; /* forks before it was entered */
	uint64_t addr;		/* evictor: where it is */
	uint64_t number;	/* [I] never used twice, as its address may be */
};

_Static_assert(sizeof(struct frame) <= 32, "two in a cache line");

static _Atomic uint64_t numbers;

static const unsigned char zeros[PAGE];

static struct frame *frame_of(uint64_t page)
{
	return (struct frame *)(uintptr_t)page;
}

/* ---- Life ---- */

uint64_t page_get(void)
{
	struct frame *frame = counted_alloc(sizeof(*frame));

	if (!frame)
		return 0;
	memset(frame, 0, sizeof(*frame));
	frame->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1;
	return (uint64_t)(uintptr_t)frame;
}

static void set_source(struct frame *frame, uint32_t source)
{
	uint32_t old = atomic_exchange(&frame->source, source);

	if (old != TARGET)
		swap_unref(old);
}

void page_free(uint64_t page)
{
	struct frame *frame = frame_of(page);

	set_source(frame, TARGET);
	if (atomic_load(&frame->owner) != NOBODY)
		atomic_fetch_sub(&pager.resident, 1);
	counted_free(frame, sizeof(*frame));
}

/* `from` cannot be written: where it is in a process, the copy is there, too, until it is written. */
void page_copy(uint64_t from, uint64_t to)
{
	uint32_t source = atomic_load(&frame_of(from)->source);

	if (source != TARGET)
		swap_ref(source);
	atomic_store(&frame_of(to)->source, source);
}

void token_free(uint64_t token)
{
	swap_unref((uint32_t)(token >> 1));
}

/* The token's place becomes the page's. */
int page_in(uint64_t token, uint64_t page)
{
	struct frame *frame = frame_of(page);
	uint32_t place = (uint32_t)(token >> 1);

	/* Now, because later a guard is set. */
	self->buffered = 0;
	if (swap_read(place, self->buffer))
		return -EIO;
	self->buffered = frame->number;
	set_source(frame, place);
	return 0;
}

/* ---- Entering ---- */

static void entered_first(struct frame *frame, uint32_t owner)
{
	uint32_t nobody = NOBODY;
	uint64_t resident, peak;

	if (!atomic_compare_exchange_strong(&frame->owner, &nobody, owner))
		return;
	resident = atomic_fetch_add(&pager.resident, 1) + 1;
	peak = get(&pager.peak);
	while (resident > peak && !atomic_compare_exchange_weak(&pager.peak, &peak, resident))
		;
}

static void entered(struct process *process, struct frame *frame, bool write)
{
	uint32_t owner = process->number + 1;

	if (write) {
		set_source(frame, TARGET);
		entered_first(frame, owner);
		atomic_store(&frame->owner, owner);
		atomic_store(&frame->epoch, get(&pager.epoch));
	} else if (atomic_load(&frame->owner) == NOBODY) {
		atomic_store(&frame->epoch, get(&pager.epoch));
		entered_first(frame, owner);
	} else if (atomic_load(&frame->owner) != owner) {
		atomic_store(&frame->owner, MANY);
	}
}

/* NULL: the file cannot be read. */
static const void *content_of(struct frame *frame, uint32_t source)
{
	if (source == TARGET || source == ZERO)
		return zeros;
	/*
	 * By its number: between page_in() and here the fault may have begun again.
	 *	1. A reads the page into its buffer, for frame F, and waits
	 *	2. B enters F writable; the program writes; F is evicted and freed
	 *	3. B reads the page in again, into a new frame at F's address
	 *	4. A enters that one: its buffer has what was before the write
	 */
	if (self->buffered == frame->number)
		return self->buffer;
	self->buffered = 0;
	return swap_read(source, self->buffer) ? NULL : self->buffer;
}

int page_enter(struct process *process, uint64_t addr, uint64_t page, bool write)
{
	struct frame *frame = frame_of(page);
	uint32_t source = atomic_load(&frame->source);
	const void *content;
	int error;

	if (source == TARGET && !self->missing) {
		error = write ? uffd_protect(process, addr, addr + PAGE, false) : uffd_wake(process, addr);
	} else {
		content = content_of(frame, source);
		if (!content)
			return -EIO;
		error = uffd_copy(process, addr, content, !write);
		/* Gone from there by the program's own doing, while it was on its way: DONTNEED beside a fault. */
		if (!error && source == TARGET)
			count(&self->counters.lost);
		if (error == -EEXIST)
			error = write ? uffd_protect(process, addr, addr + PAGE, false) : uffd_wake(process, addr);
	}
	if (!error)
		entered(process, frame, write);
	return error;
}

/* ---- Leaving ---- */

static bool only_in(const struct process *process, const struct frame *frame)
{
	return atomic_load(&frame->owner) == process->number + 1 &&
	       atomic_load(&frame->epoch) >= get(&process->fork_epoch);
}

bool page_may_leave(const struct process *process, uint64_t addr, uint64_t page)
{
	struct frame *frame = frame_of(page);

	if (!only_in(process, frame))
		return false;
	frame->addr = addr;
	return true;
}

/* Asked when no fault is under way. */
bool page_may_go(uint64_t page)
{
	return only_in(self->process, frame_of(page));
}

uint64_t page_address(uint64_t page)
{
	return frame_of(page)->addr;
}

void page_remove(uint64_t page)
{
	self->batch[self->nbatch++] = frame_of(page);
}

static bool is_present(struct process *process, uint64_t addr)
{
	uint64_t entry = 0;

	return pread(process->pagemap, &entry, sizeof(entry), (off_t)(addr / PAGE * sizeof(entry))) ==
		       (ssize_t)sizeof(entry) &&
	       (entry & PRESENT);
}

/* Neighbours in one call each. */
static int protect_batch(struct process *process)
{
	for (unsigned int i = 0, j; i < self->nbatch; i = j) {
		uint64_t start = self->batch[i]->addr, end = start + PAGE;
		int error;

		for (j = i + 1; j < self->nbatch && self->batch[j]->addr == end; j++)
			end += PAGE;
		while ((error = uffd_protect(process, start, end, true)) == -EAGAIN)
			sched_yield();
		if (error)
			return error;
	}
	return 0;
}

static uint64_t write_one(struct process *process, struct frame *frame, void *buffer)
{
	struct iovec here = { buffer, PAGE }, there = { (void *)(uintptr_t)frame->addr, PAGE };
	uint32_t source = atomic_load(&frame->source), place;

	if (source != TARGET || !is_present(process, frame->addr)) {
		/* A copy of what is in the file; or zeros, read or dropped. */
		place = source == TARGET ? ZERO : source;
		swap_ref(place);
		count(&self->counters.clean);
		return (uint64_t)place << 1 | 1;
	}
	place = swap_get();
	if (!place)
		return 0;
	if (process_vm_readv(process->pid, &here, 1, &there, 1, 0) != (ssize_t)PAGE || swap_write(place, buffer)) {
		swap_unref(place);
		return 0;
	}
	count(&self->counters.evicted);
	return (uint64_t)place << 1 | 1;
}

/*
 * The batch's anons are in transit and no fault on them is under way; the range is locked, so that nothing is unmapped,
 * moved or forked.  The process goes on meanwhile:
 *	1. its pages are write-protected; who writes waits for the transit's end
 *	2. they are written to the file
 *	3. they are dropped; who touches them waits likewise
 */
static void write_batch(void)
{
	static unsigned char buffer[PAGE]; /* there is one evictor */
	struct process *process = self->process;
	struct slot_range list[PAGER_LIST];
	unsigned int n = 0, place = 0;
	uint64_t start = self->batch[0]->addr, end = self->batch[self->nbatch - 1]->addr + PAGE;
	bool gone = protect_batch(process) != 0;

	for (unsigned int i = 0; i < self->nbatch; i++) {
		uint64_t addr = self->batch[i]->addr, token = gone ? 0 : write_one(process, self->batch[i], buffer);

		self->batch_token[i] = token;
		if (!token)
			continue;
		if (n && list[n - 1].start + list[n - 1].size == addr)
			list[n - 1].size += PAGE;
		else
			list[n++] = (struct slot_range){ addr, PAGE };
	}
	if (!n)
		return;
	change_open(process, &place, start, end - start);
	gone = target_discard(process, list, n) != 0;
	change_close(process, place);
	for (unsigned int i = 0; gone && i < self->nbatch; i++) {
		if (self->batch_token[i])
			token_free(self->batch_token[i]);
		self->batch_token[i] = 0;
	}
}

int page_out(uint64_t page, uint64_t *token)
{
	(void)page; /* in the order of page_remove() */
	if (self->nwritten == 0)
		write_batch();
	*token = self->batch_token[self->nwritten++];
	if (self->nwritten == self->nbatch)
		self->nbatch = self->nwritten = 0;
	return *token ? 0 : -EIO;
}
