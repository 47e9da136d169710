/* SPDX-License-Identifier: ISC */
/*
 * brk and mremap.  A mapping that moves takes its pages along: in the kernel, and in the engine, where the new range
 * gets windows on the same pages.  Both ranges are in one change.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cleave/map.h>

#include "calls.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define TRIES 64

/* ---- brk ---- */

static uint64_t heap_end(const struct process *process)
{
	return __atomic_load_n(&process->heap_end, __ATOMIC_RELAXED);
}

/* The heap's first page is in every change by a brk, so that one comes after the other. */
static void begin_heap(const struct request *request, struct change *change, uint64_t wanted)
{
	struct process *process = request->process;

	for (;;) {
		uint64_t end = heap_end(process);

		end = page_up(end > wanted ? end : wanted);
		if (end < process->heap_start + PAGE)
			end = process->heap_start + PAGE;
		change_begin(request, change, process->heap_start, end);
		if (page_up(heap_end(process)) <= end)
			return;
		change_abort(change);
	}
}

long call_brk(struct request *request)
{
	struct process *process = request->process;
	uint64_t wanted = request->argument[0], from, to;
	const struct mapping heap = {
		.mapped = true, .paged = true, .protection = PROT_READ | PROT_WRITE, .inheritance = CLEAVE_INHERIT_COPY
	};
	struct change change;
	int error = 0;
	long result;

	if (page_up(wanted) < process->heap_start || wanted > MAP_MAX ||
	    touches_agent(process->heap_start, page_up(wanted))) {
		request->argument[0] = 0; /* a question, or nonsense: the break as it is */
		return make(request);
	}
	begin_heap(request, &change, wanted);
	from = page_up(heap_end(process));
	to = page_up(wanted);
	if (to > from && !is_free(from, to, false))
		error = -ENOMEM;
	else if (to > from)
		error = stage_growth(from, to, &heap);
	else if (to < from)
		error = pager.engine->unmap(to, from);
	if (error || pager.engine->prepare()) {
		change_abort(&change);
		return (long)heap_end(process);
	}
	result = make(request);
	if (result != (long)wanted) {
		change_abort(&change); /* refused; the kernel keeps what was */
		return result;
	}
	__atomic_store_n(&process->heap_end, wanted, __ATOMIC_RELAXED);
	change_publish(&change);
	register_paged(process, from, to);
	pager.engine->end();
	return result;
}

/* ---- mremap ---- */

struct move {
	uint64_t old;
	uint64_t old_size;
	uint64_t new;
	uint64_t new_size;
	bool paged;
	struct mapping last; /* the last page's */
};

/* In a change: one mapping, or several that are alike in being paged. */
static bool survey(struct move *move)
{
	struct mapping mapping;

	for (uint64_t at = move->old; at < move->old + move->old_size; at = mapping.end) {
		if (!pager.engine->lookup(at, &mapping) || (at > move->old && mapping.paged != move->paged))
			return false;
		move->paged = mapping.paged;
		move->last = mapping;
	}
	return true;
}

/* Where it is.  -ENOMEM: no room there. */
static long resize(struct request *request, struct move *move)
{
	uint64_t size = move->old_size > move->new_size ? move->old_size : move->new_size;
	struct change change;
	int error = 0;
	long result;

	request->argument[3] = 0;
	change_begin(request, &change, move->old, move->old + size);
	if (!survey(move)) {
		change_abort(&change);
		return make(request); /* fails there, too */
	}
	if (move->new_size > move->old_size && !is_free(move->old + move->old_size, move->old + move->new_size, false))
		error = -ENOMEM;
	else if (move->new_size < move->old_size)
		error = pager.engine->unmap(move->old + move->new_size, move->old + move->old_size);
	else
		error = stage_growth(move->old + move->old_size, move->old + move->new_size, &move->last);
	if (error || pager.engine->prepare()) {
		change_abort(&change);
		return -ENOMEM;
	}
	result = make(request);
	if (result != (long)move->old) {
		change_abort(&change);
		return result;
	}
	change_publish(&change);
	if (move->paged && move->new_size > move->old_size)
		register_paged(request->process, move->old, move->old + move->new_size);
	pager.engine->end();
	return result;
}

/* Return: -EEXIST: the new place is not free (any more). */
static long relocate(struct request *request, struct move *move)
{
	uint64_t old_end = move->old + move->old_size, new_end = move->new + move->new_size;
	uint64_t start = move->old < move->new ? move->old : move->new, end = old_end > new_end ? old_end : new_end;
	uint64_t carried = move->old_size < move->new_size ? move->old_size : move->new_size;
	struct change change;
	int error;
	long result;

	request->argument[3] = MREMAP_MAYMOVE | MREMAP_FIXED;
	request->argument[4] = move->new;
	change_begin(request, &change, start, end);
	if (!is_free(move->new, new_end, false)) {
		change_abort(&change);
		return -EEXIST;
	}
	error = survey(move) ? 0 : -EFAULT;
	if (!error)
		error = pager.engine->move(move->old, carried, move->new);
	if (!error)
		error = pager.engine->unmap(move->old, old_end);
	if (!error)
		error = stage_growth(move->new + move->old_size, new_end, &move->last);
	if (!error)
		error = pager.engine->prepare();
	if (error) {
		change_abort(&change);
		return error;
	}
	result = make(request);
	if (result != (long)move->new) {
		change_abort(&change);
		return result;
	}
	change_publish(&change);
	if (move->paged)
		register_paged(request->process, move->new, new_end);
	pager.engine->end();
	return result;
}

/*
 * The program says where.  What is mapped there goes first, in a change of its own, so that no fault that saw it is
 * under way when the kernel moves pages there.
 */
static long relocate_fixed(struct request *request, struct move *move)
{
	struct request unmap = { request->process, request->slot, SYS_munmap, { move->new, move->new_size } };
	struct change change;
	long result = -EEXIST;

	for (unsigned int i = 0; i < TRIES && result == -EEXIST; i++) {
		change_begin(request, &change, move->new, move->new + move->new_size);
		if (pager.engine->unmap(move->new, move->new + move->new_size) || pager.engine->prepare() ||
		    make(&unmap)) {
			change_abort(&change);
			return -ENOMEM;
		}
		change_commit(&change);
		result = relocate(request, move);
	}
	return result;
}

static long relocate_anywhere(struct request *request, struct move *move)
{
	long result = resize(request, move);

	if (result != -ENOMEM || move->new_size <= move->old_size)
		return result;
	result = -EEXIST;
	for (unsigned int i = 0; i < TRIES && result == -EEXIST; i++) {
		move->new = pager.engine->find(request->process, move->new_size, PAGE, false);
		result = move->new ? relocate(request, move) : -ENOMEM;
	}
	return result;
}

long call_mremap(struct request *request)
{
	const uint64_t *a = request->argument;
	struct move move = { .old = a[0], .old_size = page_up(a[1]), .new = a[4], .new_size = page_up(a[2]) };
	uint64_t flags = a[3];

	if ((move.old & (PAGE - 1)) || !a[2] || a[1] > MAP_MAX || a[2] > MAP_MAX ||
	    (flags & ~(uint64_t)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) ||
	    !inside(move.old, move.old_size) || ((flags & MREMAP_FIXED) && !(flags & MREMAP_MAYMOVE)))
		return make(request);
	/* A second window on shared memory, or an old range that stays: not offered. */
	if (!move.old_size || (flags & MREMAP_DONTUNMAP))
		return -EINVAL;
	if (touches_agent(move.old, move.old + move.old_size) || !inside(move.old, move.new_size) ||
	    touches_agent(move.old, move.old + move.new_size))
		return -EFAULT;
	if (flags & MREMAP_FIXED) {
		if ((move.new &(PAGE - 1)) || !inside(move.new, move.new_size) ||
		    (move.new < move.old + move.old_size &&move.old < move.new + move.new_size))
			return make(request);
		return touches_agent(move.new, move.new + move.new_size) ? -ENOMEM : relocate_fixed(request, &move);
	}
	return flags & MREMAP_MAYMOVE ? relocate_anywhere(request, &move) : resize(request, &move);
}
