/* SPDX-License-Identifier: ISC */
/*
 * Address-space calls.  Each is carried inside a change on its range:
 *
 *	begin -> stage -> prepare -> the call, by the thread that made it -> publish -> register what is new -> end
 *
 * so that map and kernel change as one step for everybody who asks the map.  Faults are not stopped.  What one may
 * still enter while the kernel changes the range goes nowhere: memory that the call has mapped anew is registered only
 * after the publication, which waits for all faults that saw what was there before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <cleave/map.h>

#include "../common/maps.h"
#include "calls.h"

#define HUGE_SHIFT_DEFAULT 21u
#define HUGE_SHIFT_MASK 0x3fu
#define TRIES 64
#define REGISTER_TRIES 1000
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* ---- What all calls do ---- */

long make(const struct request *request)
{
	const uint64_t *a = request->argument;

	return target_call(request->process, request->slot, request->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

bool inside(uint64_t start, uint64_t length)
{
	return start >= MAP_MIN && start < MAP_MAX && length <= MAP_MAX - start;
}

bool touches_agent(uint64_t start, uint64_t end)
{
	return start < TRAP_BASE + TRAP_SIZE && end > TRAP_BASE;
}

void change_begin(const struct request *request, struct change *change, uint64_t start, uint64_t end)
{
	pager.engine->begin(request->process, start, end);
	change->process = request->process;
	change_open(request->process, &change->place, start, end - start);
}

void change_abort(struct change *change)
{
	change_close(change->process, change->place);
	pager.engine->abort();
}

void change_publish(struct change *change)
{
	change_close(change->process, change->place);
	pager.engine->publish();
}

void change_commit(struct change *change)
{
	change_publish(change);
	pager.engine->end();
}

void register_paged(struct process *process, uint64_t start, uint64_t end)
{
	const struct timespec moment = { 0, 1000000 };
	int error = start < end ? uffd_register(process, start, end) : 0;

	/* There is no memory, or no address space: then the process was killed, which is known soon. */
	for (unsigned int i = 0; i < REGISTER_TRIES && error == -ENOMEM && process->state != PROCESS_DEAD; i++) {
		nanosleep(&moment, NULL);
		error = uffd_register(process, start, end);
	}
	if (error && error != -ESRCH && process->state != PROCESS_DEAD)
		violation("process %d: %llx-%llx cannot be registered: error %d", (int)process->pid,
			  (unsigned long long)start, (unsigned long long)end, -error);
}

/* In a change: is nothing mapped there?  With `paged`: nothing that is paged? */
bool is_free(uint64_t start, uint64_t end, bool paged)
{
	struct mapping mapping;

	for (uint64_t at = start; at < end; at = mapping.end)
		if (pager.engine->lookup(at, &mapping) && (!paged || mapping.paged))
			return false;
	return true;
}

int stage_map(uint64_t start, uint64_t end, bool paged, unsigned int protection, unsigned int inheritance)
{
	const struct mapping mapping = {
		.start = start,
		.end = end,
		.mapped = true,
		.paged = paged,
		.protection = (uint8_t)(protection & CLEAVE_PROT_ALL),
		.inheritance = (uint8_t)inheritance,
	};
	int error = pager.engine->unmap(start, end);

	return error ? error : pager.engine->map(&mapping);
}

int stage_growth(uint64_t start, uint64_t end, const struct mapping *last)
{
	struct mapping mapping = *last;

	if (start >= end)
		return 0;
	mapping.start = start;
	mapping.end = end;
	mapping.grows = last->paged;
	return pager.engine->map(&mapping);
}

/*
 * The kernel knows better: after a call that failed half-way, and where it has put something without being told where.
 * Only protections, and what is not paged, can differ.
 */
void read_back(const struct request *request, uint64_t start, uint64_t end)
{
	struct maps_file file;
	struct mapping mapping;
	struct change change;
	struct line line;
	char path[64];
	int error = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)request->process->pid);
	change_begin(request, &change, start, end);
	if (maps_open(&file, path)) {
		change_abort(&change);
		return;
	}
	while (!error && maps_next(&file, &line) && line.start < end) {
		uint64_t to;

		for (uint64_t at = line.start > start ? line.start : start; !error && at < line.end && at < end;
		     at = to) {
			bool mapped = pager.engine->lookup(at, &mapping);

			to = mapping.end < line.end ? mapping.end : line.end;
			to = to < end ? to : end;
			if (!mapped)
				error = stage_map(at, to, false, line.protection, CLEAVE_INHERIT_SHARE);
			else if (mapping.paged)
				error = pager.engine->protect(at, to, line.protection);
		}
	}
	maps_close(&file);
	if (error || pager.engine->prepare())
		change_abort(&change);
	else
		change_commit(&change);
}

/* ---- mmap ---- */

struct wish {
	uint64_t addr;
	uint64_t size;
	uint64_t align;
	bool paged;
	bool replace;
	unsigned int protection;
	unsigned int inheritance;
};

static bool is_shared(uint64_t flags)
{
	return (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
}

static bool understand(struct request *request, struct wish *wish)
{
	uint64_t *a = request->argument, flags = a[3];
	unsigned int huge = (unsigned int)(flags >> MAP_HUGE_SHIFT) & HUGE_SHIFT_MASK;
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);

	if (!a[1] || a[1] > MAP_MAX)
		return false;
	*wish = (struct wish){
		.align = flags & MAP_HUGETLB ? UINT64_C(1) << (huge ? huge : HUGE_SHIFT_DEFAULT) : PAGE,
		.paged = (flags & MAP_ANONYMOUS) && !is_shared(flags) && !(flags & (MAP_HUGETLB | MAP_GROWSDOWN)),
		.replace = fixed && !(flags & MAP_FIXED_NOREPLACE),
		.protection = (unsigned int)a[2],
		.inheritance = is_shared(flags) ? CLEAVE_INHERIT_SHARE : CLEAVE_INHERIT_COPY,
	};
	wish->size = (a[1] + wish->align - 1) & ~(wish->align - 1);
	wish->addr = fixed ? a[0] : page_up(a[0]);
	/* The kernel would fill it before it is registered.  It will be filled by faults. */
	if (wish->paged)
		a[3] &= ~(uint64_t)(MAP_POPULATE | MAP_LOCKED);
	return !fixed || (!(a[0] & (PAGE - 1)) && inside(a[0], wish->size));
}

static int stage_wish(const struct wish *wish)
{
	int error = stage_map(wish->addr, wish->addr + wish->size, wish->paged, wish->protection, wish->inheritance);

	return error ? error : pager.engine->prepare();
}

static long finish_map(const struct request *request, struct change *change, const struct wish *wish, long result)
{
	if (result != (long)wish->addr) {
		change_abort(change);
		return result;
	}
	change_publish(change);
	if (wish->paged)
		register_paged(request->process, wish->addr, wish->addr + wish->size);
	pager.engine->end();
	return result;
}

static long map_fixed(const struct request *request, const struct wish *wish)
{
	struct change change;

	if (touches_agent(wish->addr, wish->addr + wish->size))
		return -ENOMEM;
	change_begin(request, &change, wish->addr, wish->addr + wish->size);
	if (!wish->replace && !is_free(wish->addr, wish->addr + wish->size, true)) {
		change_abort(&change);
		return -EEXIST;
	}
	if (stage_wish(wish)) {
		change_abort(&change);
		return -ENOMEM;
	}
	return finish_map(request, &change, wish, make(request));
}

static long map_anywhere(struct request *request, struct wish *wish)
{
	bool low = request->argument[3] & MAP_32BIT;
	bool hint = wish->addr && !(wish->addr & (wish->align - 1)) && inside(wish->addr, wish->size) &&
		    !touches_agent(wish->addr, wish->addr + wish->size) && !low;

	request->argument[3] = (request->argument[3] & ~(uint64_t)MAP_32BIT) | MAP_FIXED_NOREPLACE;
	for (unsigned int i = 0; i < TRIES; i++, hint = false) {
		struct change change;
		long result;

		if (!hint)
			wish->addr = pager.engine->find(request->process, wish->size, wish->align, low);
		if (!wish->addr)
			return -ENOMEM;
		change_begin(request, &change, wish->addr, wish->addr + wish->size);
		if (!is_free(wish->addr, wish->addr + wish->size, false)) {
			change_abort(&change); /* somebody was faster, or the hint is occupied */
			continue;
		}
		if (stage_wish(wish)) {
			change_abort(&change);
			return -ENOMEM;
		}
		request->argument[0] = wish->addr;
		result = finish_map(request, &change, wish, make(request));
		if (result != -EEXIST)
			return result;
		read_back(request, wish->addr, wish->addr + wish->size);
	}
	return -ENOMEM;
}

static long call_mmap(struct request *request)
{
	bool fixed = request->argument[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	struct wish wish;

	if (!understand(request, &wish))
		return make(request);
	return fixed ? map_fixed(request, &wish) : map_anywhere(request, &wish);
}

/* ---- Ranges ---- */

/* Of a call whose first arguments are an address and a length.  False: the kernel shall judge. */
static bool range_of(const struct request *request, uint64_t *start, uint64_t *end)
{
	uint64_t addr = request->argument[0], length = request->argument[1];

	if ((addr & (PAGE - 1)) || !length || length > MAP_MAX || !inside(addr, page_up(length)))
		return false;
	*start = addr;
	*end = addr + page_up(length);
	return true;
}

static long call_munmap(struct request *request)
{
	struct change change;
	uint64_t start, end;
	long result;

	if (!range_of(request, &start, &end))
		return make(request);
	if (touches_agent(start, end))
		return -EINVAL;
	change_begin(request, &change, start, end);
	if (pager.engine->unmap(start, end) || pager.engine->prepare()) {
		change_abort(&change);
		return -ENOMEM;
	}
	result = make(request);
	if (result)
		change_abort(&change);
	else
		change_commit(&change);
	return result;
}

/* Linux changes what comes before the first hole, and then fails. */
static long call_mprotect(struct request *request)
{
	unsigned int protection = (unsigned int)request->argument[2];
	struct mapping mapping;
	struct change change;
	uint64_t start, end, at;
	long result;

	if (!range_of(request, &start, &end) || (protection & (PROT_GROWSDOWN | PROT_GROWSUP)))
		return make(request);
	if (touches_agent(start, end))
		return -ENOMEM;
	change_begin(request, &change, start, end);
	for (at = start; at < end && pager.engine->lookup(at, &mapping);)
		at = mapping.end;
	at = at < end ? at : end;
	if ((at > start && pager.engine->protect(start, at, protection & CLEAVE_PROT_ALL)) || pager.engine->prepare()) {
		change_abort(&change);
		return -ENOMEM;
	}
	result = make(request);
	if (result == (at < end ? -ENOMEM : 0)) {
		change_commit(&change);
	} else {
		change_abort(&change);
		read_back(request, start, end);
	}
	return result;
}

/* ---- madvise ---- */

static bool all_paged(const struct request *request, uint64_t start, uint64_t end)
{
	struct mapping mapping;
	bool all = true;

	pager.engine->begin(request->process, start, end);
	for (uint64_t at = start; at < end && all; at = mapping.end)
		all = pager.engine->lookup(at, &mapping) && mapping.paged;
	pager.engine->abort();
	return all;
}

/* The pages go, by this thread, where the engine says so; then what it knows nothing of, by the call itself. */
static long drop_pages(struct request *request, uint64_t start, uint64_t end)
{
	unsigned int place;
	long result;
	int error;

	/* The kernel may free them at any time: now. */
	if (request->argument[2] == MADV_FREE && all_paged(request, start, end))
		request->argument[2] = MADV_DONTNEED;
	change_open(request->process, &place, start, end - start);
	self->discards = true;
	error = pager.engine->discard(request->process, start, end);
	self->discards = false;
	result = error ? error : make(request);
	change_close(request->process, place);
	return result;
}

static long inherit(struct request *request, uint64_t start, uint64_t end)
{
	static const struct {
		int advice;
		unsigned int inheritance;
	} known[] = { { MADV_DONTFORK, CLEAVE_INHERIT_NONE },
		      { MADV_WIPEONFORK, CLEAVE_INHERIT_ZERO },
		      { MADV_DOFORK, CLEAVE_INHERIT_COPY },
		      { MADV_KEEPONFORK, CLEAVE_INHERIT_COPY } };
	struct mapping mapping;
	struct change change;
	int error = 0;
	long result;

	change_begin(request, &change, start, end);
	for (uint64_t at = start; at < end; at = mapping.end)
		if (pager.engine->lookup(at, &mapping) && mapping.paged)
			for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
				if ((int)request->argument[2] == known[i].advice && !error)
					error = pager.engine->inherit(at, mapping.end < end ? mapping.end : end,
								      known[i].inheritance);
	if (error || pager.engine->prepare()) {
		change_abort(&change);
		return -ENOMEM;
	}
	result = make(request);
	if (result && result != -ENOMEM) /* Linux goes on over holes, and fails at the end */
		change_abort(&change);
	else
		change_commit(&change);
	return result;
}

static long call_madvise(struct request *request)
{
	uint64_t start, end;

	if (!range_of(request, &start, &end))
		return make(request);
	if (touches_agent(start, end))
		return -ENOMEM;
	switch ((int)request->argument[2]) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_FREE:
		return drop_pages(request, start, end);
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_WIPEONFORK:
	case MADV_KEEPONFORK:
		return inherit(request, start, end);
	default:
		return make(request);
	}
}

/* ---- Others ---- */

/* They map something that is not paged, where the kernel chooses. */
static long call_other(struct request *request)
{
	long result = make(request);

	if (request->number == SYS_shmat && !is_error(result))
		read_back(request, (uint64_t)result, (uint64_t)result + PAGE);
	return result;
}

long call_made(struct process *process, struct pager_slot *slot)
{
	struct request request = { .process = process, .slot = slot, .number = (long)slot->number };

	for (unsigned int i = 0; i < 6; i++)
		request.argument[i] = slot->argument[i];
	switch (request.number) {
	case SYS_mmap:
		return call_mmap(&request);
	case SYS_munmap:
		return call_munmap(&request);
	case SYS_mprotect:
	case SYS_pkey_mprotect:
		return call_mprotect(&request);
	case SYS_madvise:
		return call_madvise(&request);
	case SYS_mremap:
		return call_mremap(&request);
	case SYS_brk:
		return call_brk(&request);
	case SYS_fork:
	case SYS_clone:
		return process_fork(process, request.argument, request.number);
	default:
		return call_other(&request);
	}
}
