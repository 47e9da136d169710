/* SPDX-License-Identifier: ISC */
/*
 * mremap.  Whoever lets the kernel move a mapping gets the new place from the mirror.  One transaction holds the old
 * and the new place, and so all between them: what a reader of the mirror sees has moved at one instant.
 */
#include "agent.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define TRIES 64

struct move {
	const struct call *call;
	uint64_t old;
	uint64_t old_size;
	uint64_t new;
	uint64_t new_size;
	bool keep; /* the old range stays mapped */
};

static void begin_both(struct record *record, const struct move *move)
{
	uint64_t old_end = move->old + (move->old_size ? move->old_size : PAGE), new_end = move->new + move->new_size;
	uint64_t start = move->old < move->new ? move->old : move->new, end = old_end > new_end ? old_end : new_end;

	widen_to_stack(&start, &end);
	change_begin(record, start, end);
	absorb_growth(record);
}

/* Stage the new range like the old one; what is longer continues the last entry. */
static int stage_copy(struct record *record, const struct move *move)
{
	uint64_t size = move->old_size ? move->old_size : PAGE, length = 0;
	struct cleave_map_entry entry;
	int error = 0;

	if (size > move->new_size)
		size = move->new_size;
	for (uint64_t at = 0; !error && at < size; at += length) {
		uint64_t end;
		bool mapped = cleave_map_txn_lookup(&record->txn, move->old + at, &entry);

		if (mapped)
			end = entry.end;
		else
			end = entry.attributes.flags & CLEAVE_MAP_HOLE ? entry.end : entry.start + entry.fspace;
		length = end - (move->old + at);
		if (length > size - at)
			length = size - at;
		if (!mapped)
			continue;
		if (at + length == size)
			length = move->new_size - at;
		if (entry.attributes.object)
			entry.attributes.delta += move->old - move->new;
		error = cleave_map_put(&record->txn, move->new + at, move->new + at + length, &entry.attributes);
	}
	return error;
}

static int stage_move(struct record *record, const struct move *move)
{
	int error = cleave_map_txn_unmap(&record->txn, move->new, move->new + move->new_size, CLEAVE_MAP_REMOVE_HOLES);

	if (!error)
		error = stage_copy(record, move);
	if (!error && move->old_size && !move->keep)
		error = cleave_map_txn_unmap(&record->txn, move->old, move->old + move->old_size, 0);
	return error;
}

static int stage_resize(struct record *record, const struct move *move)
{
	uint64_t old_end = move->old + move->old_size, new_end = move->old + move->new_size;
	struct cleave_map_entry entry;

	if (new_end < old_end)
		return cleave_map_txn_unmap(&record->txn, new_end, old_end, 0);
	if (new_end == old_end || !cleave_map_txn_lookup(&record->txn, old_end - PAGE, &entry))
		return 0;
	return cleave_map_put(&record->txn, old_end, new_end, &entry.attributes);
}

static bool room_behind(struct record *record, const struct move *move)
{
	struct cleave_map_request request = {
		.addr = move->old + move->old_size,
		.size = move->new_size - move->old_size,
		.flags = CLEAVE_MAP_FIXED | CLEAVE_MAP_QUERY,
		.max_protection = CLEAVE_PROT_ALL,
	};

	return cleave_map_txn_map(&record->txn, &request) == 0;
}

/* Resize where it is.  -ENOMEM: no room there. */
static long resize(struct record *record, const struct move *move)
{
	struct call call = *move->call;
	uint64_t size = move->old_size > move->new_size ? move->old_size : move->new_size;
	uint64_t start = move->old, end = move->old + size;
	long result;

	call.argument[3] = 0;
	widen_to_stack(&start, &end);
	change_begin(record, start, end);
	absorb_growth(record);
	if (move->new_size > move->old_size && !room_behind(record, move)) {
		change_abort(record);
		return -ENOMEM;
	}
	if (!change_prepare(record, stage_resize(record, move)))
		return -ENOMEM;
	result = do_call(&call);
	if (result == (long)move->old)
		change_commit(record);
	else
		change_abort(record);
	return result;
}

/* Return: -EEXIST: the new place is not free (any more). */
static long relocate(struct record *record, const struct move *move, bool fixed)
{
	const struct cleave_map_request query = {
		.addr = move->new,
		.size = move->new_size,
		.flags = CLEAVE_MAP_FIXED | CLEAVE_MAP_QUERY,
		.max_protection = CLEAVE_PROT_ALL,
	};
	struct call call = *move->call;
	long result;

	call.argument[3] |= MREMAP_MAYMOVE | MREMAP_FIXED;
	call.argument[4] = move->new;
	begin_both(record, move);
	if (!fixed && cleave_map_txn_map(&record->txn, &query)) {
		change_abort(record);
		return -EEXIST;
	}
	if (!change_prepare(record, stage_move(record, move)))
		return -ENOMEM;
	result = do_call(&call);
	if (result == (long)move->new)
		change_commit(record);
	else if (fixed && result != -EINVAL)
		settle(record, record->txn.start, record->txn.end);
	else
		change_abort(record);
	return result;
}

static long remap_naively(struct record *record, struct move *move)
{
	long result = do_call(move->call);

	if (is_error(result))
		return result;
	if ((uint64_t)result == move->old && move->old_size) {
		uint64_t size = move->old_size > move->new_size ? move->old_size : move->new_size;

		change_begin(record, move->old, move->old + size);
		(void)stage_resize(record, move);
	} else {
		move->new = (uint64_t)result;
		begin_both(record, move);
		(void)stage_move(record, move);
	}
	change_commit(record);
	return result;
}

static long remap_anywhere(struct record *record, struct move *move)
{
	const struct cleave_map_request anywhere = { .size = move->new_size, .max_protection = CLEAVE_PROT_ALL };
	long result;

	if (move->old_size && !move->keep) {
		result = resize(record, move);
		if (result != -ENOMEM || move->new_size <= move->old_size)
			return result;
	}
	for (unsigned int i = 0; i < TRIES; i++) {
		move->new = free_space(record, &anywhere, false);
		if (!move->new)
			return -ENOMEM;
		result = relocate(record, move, false);
		if (result != -EEXIST)
			return result;
	}
	return -ENOMEM;
}

long call_mremap(struct record *record, const struct call *call)
{
	uint64_t flags = call->argument[3];
	struct move move = {
		.call = call,
		.old = call->argument[0],
		.old_size = page_up(call->argument[1]),
		.new = call->argument[4],
		.new_size = page_up(call->argument[2]),
		.keep = flags &MREMAP_DONTUNMAP,
	};

	/* Nonsense goes to the kernel, for its error. */
	if ((move.old & (PAGE - 1)) || !call->argument[2] || call->argument[1] > MAP_MAX ||
	    call->argument[2] > MAP_MAX || !inside_map(move.old, move.old_size ? move.old_size : PAGE) ||
	    !inside_map(move.old, move.new_size) ||
	    (flags & ~(uint64_t)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) ||
	    ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE)) ||
	    (move.keep && move.old_size != move.new_size))
		return do_call(call);
	if (touches_agent(move.old, move.old + move.old_size) || touches_agent(move.old, move.old + move.new_size))
		return -EFAULT;
	if (flags & MREMAP_FIXED) {
		if ((move.new &(PAGE - 1)) || !inside_map(move.new, move.new_size) ||
		    (move.new < move.old + move.old_size &&move.old < move.new + move.new_size))
			return do_call(call);
		if (touches_agent(move.new, move.new + move.new_size))
			return -ENOMEM;
	}
	if (agent.shared->naive)
		return remap_naively(record, &move);
	if (flags & MREMAP_FIXED)
		return relocate(record, &move, true);
	if (flags & MREMAP_MAYMOVE)
		return remap_anywhere(record, &move);
	return resize(record, &move);
}
