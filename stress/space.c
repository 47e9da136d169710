/* SPDX-License-Identifier: ISC */
#include "space.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

struct process {
	uint64_t brk;		/* the end of the heap, rounded up to a page */
	bool started;		/* its first state is known */
};

struct space {
	const struct space_ops *ops;
	void *context;
	struct process *process;	/* process p is process[p - 1] */
	uint32_t processes;
	struct space_range *piece;	/* of the mapping which mremap moves */
	size_t pieces;
	size_t piece_room;
};

int
space_create(struct space **out, const struct space_ops *ops, void *context)
{
	struct space *space = calloc(1, sizeof(*space));

	*out = space;
	if (!space)
		return -ENOMEM;
	space->ops = ops;
	space->context = context;
	return 0;
}

void
space_destroy(struct space *space)
{
	if (!space)
		return;
	free(space->process);
	free(space->piece);
	free(space);
}

/* ---- Effects ---- */

static int
effect_range(struct space *space, uint32_t process, enum space_kind kind,
	     const struct space_range *range)
{
	struct space_effect effect = { .kind = kind, .process = process, .range = *range };

	return range->start < range->end ? space->ops->effect(space->context, &effect) : 0;
}

static int
effect_unmap(struct space *space, uint32_t process, uint64_t start, uint64_t end)
{
	struct space_range range = { .start = start, .end = end };

	return effect_range(space, process, SPACE_UNMAP, &range);
}

static int
effect_process(struct space *space, enum space_kind kind, const struct trace_event *event)
{
	struct space_effect effect = { .kind = kind, .process = event->process,
				       .other = event->other };

	return space->ops->effect(space->context, &effect);
}

/* The range of an event, with its attributes. */
static struct space_range
event_range(const struct trace_event *event)
{
	return (struct space_range){
		.start = event->address,
		.end = event->address + event->length,
		.offset = event->object ? event->offset : 0,
		.object = event->object,
		.attributes = event->attributes,
	};
}

/* ---- Processes ---- */

static int
begin(struct space *space, const struct trace_event *event)
{
	struct process *grown;
	bool forked = event->kind == TRACE_FORK;
	uint32_t count = event->process;

	if (count > space->processes) {
		grown = realloc(space->process, count * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		for (uint32_t i = space->processes; i < count; i++)
			grown[i] = (struct process){ 0 };
		space->process = grown;
		space->processes = count;
	}
	space->process[count - 1] = (struct process){ .brk = event->address };
	if (forked)
		space->process[count - 1] = space->process[event->other - 1];
	return effect_process(space, forked ? SPACE_FORK : SPACE_EXEC, event);
}

/* The first snapshot after an exec is what the process starts from, all others are checks. */
static int
snapshot(struct space *space, const struct trace_event *event)
{
	struct process *process = &space->process[event->process - 1];
	struct space_effect effect = { .kind = SPACE_SNAPSHOT, .process = event->process,
				       .ranges = event->ranges, .count = event->count };
	int error = 0;

	if (process->started)
		return space->ops->effect(space->context, &effect);
	process->started = true;
	for (size_t i = 0; !error && i < event->count; i++) {
		const struct trace_range *from = &event->ranges[i];
		struct space_range range = { from->start, from->end, from->offset, from->object,
					     from->attributes };

		error = effect_range(space, event->process, SPACE_MAP, &range);
	}
	return error;
}

/* ---- Calls ---- */

static int
map(struct space *space, const struct trace_event *event)
{
	struct space_range range = event_range(event);

	range.start = event->placed;
	range.end = event->placed + event->length;
	if (event->flags & TRACE_MAP_SHARED)
		range.attributes |= TRACE_SHARED;
	if (event->flags & TRACE_MAP_GROWS_DOWN)
		range.attributes |= TRACE_GROWS_DOWN;
	return effect_range(space, event->process, SPACE_MAP, &range);
}

static int
set_brk(struct space *space, const struct trace_event *event)
{
	uint64_t old = space->process[event->process - 1].brk;
	struct space_range heap = { .start = old, .end = event->address,
				    .attributes = PROT_READ | PROT_WRITE };

	space->process[event->process - 1].brk = event->address;
	if (event->address < old)
		return effect_unmap(space, event->process, event->address, old);
	return effect_range(space, event->process, SPACE_MAP, &heap);
}

static int
advise(struct space *space, const struct trace_event *event)
{
	struct space_range range = event_range(event);

	if (event->advice != TRACE_ADVICE_NO_FORK && event->advice != TRACE_ADVICE_DO_FORK)
		return 0;
	/* Over a hole the call fails in the end, but does its work to the left and right of it. */
	if (event->result && event->result != -ENOMEM)
		return 0;
	range.attributes = event->advice == TRACE_ADVICE_NO_FORK ? SPACE_NO_FORK : 0;
	return effect_range(space, event->process, SPACE_ADVISE, &range);
}

/* ---- mremap ---- */

static int
add_piece(struct space *space, const struct space_range *piece)
{
	if (space->pieces == space->piece_room) {
		size_t room = space->piece_room ? 2 * space->piece_room : 16;
		struct space_range *grown = realloc(space->piece, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		space->piece = grown;
		space->piece_room = room;
	}
	space->piece[space->pieces++] = *piece;
	return 0;
}

static void
cut(struct space_range *range, uint64_t start, uint64_t end)
{
	if (range->start < start) {
		if (range->object)
			range->offset += start - range->start;
		range->start = start;
	}
	if (range->end > end)
		range->end = end;
}

/* Collect what is mapped in [start, end). */
static int
find_pieces(struct space *space, uint32_t process, uint64_t start, uint64_t end)
{
	struct space_range range;
	int error = 0;

	space->pieces = 0;
	while (!error && start < end &&
	       space->ops->next(space->context, process, start, &range) && range.start < end) {
		cut(&range, start, end);
		error = add_piece(space, &range);
		start = range.end;
	}
	return error;
}

/*
 * Any of: shrink or grow where it is, move, move and shrink or grow, move and leave the old
 * range mapped, and (old length 0) map a shared object a second time. Since Linux 6.17 what is
 * moved may be several mappings with holes between them, which stay holes.
 */
static int
remap(struct space *space, const struct trace_event *event)
{
	uint32_t process = event->process;
	uint64_t start = event->address, end = start + event->length;
	uint64_t placed = event->placed, new_end = placed + event->new_length;
	bool moved = placed != start || event->length == 0;
	uint64_t kept = event->length < event->new_length ? event->length : event->new_length;
	struct space_range tail;
	int error = find_pieces(space, process, start, start + (kept ? kept : 1));

	if (error || !space->pieces)
		return error;
	tail = space->piece[space->pieces - 1];
	if (!moved && new_end < end)
		return effect_unmap(space, process, new_end, end);
	if (moved && event->length && !(event->flags & TRACE_REMAP_KEEP))
		error = effect_unmap(space, process, start, end);
	for (size_t i = 0; moved && event->length && !error && i < space->pieces; i++) {
		struct space_range piece = space->piece[i];

		piece.start = piece.start - start + placed;
		piece.end = piece.end - start + placed;
		error = effect_range(space, process, SPACE_MAP, &piece);
	}
	if (error)
		return error;
	/* What it has gained at its end is like its end. */
	if (tail.object)
		tail.offset += end - tail.start;
	tail.start = placed + event->length;
	tail.end = new_end;
	return effect_range(space, process, SPACE_MAP, &tail);
}

/* ---- All events ---- */

int
space_apply(struct space *space, const struct trace_event *event)
{
	struct space_range range = event_range(event);
	uint32_t process = event->process;

	if (event->kind == TRACE_ADVISE)
		return advise(space, event);
	if (event->result)
		return 0;
	switch (event->kind) {
	case TRACE_EXEC:
	case TRACE_FORK:
		return begin(space, event);
	case TRACE_EXIT:
		return effect_process(space, SPACE_EXIT, event);
	case TRACE_SNAPSHOT:
		return snapshot(space, event);
	case TRACE_MAP:
		return map(space, event);
	case TRACE_UNMAP:
	case TRACE_LOST:
		return effect_range(space, process, SPACE_UNMAP, &range);
	case TRACE_PROTECT:
	case TRACE_CHANGED:
		return effect_range(space, process, SPACE_PROTECT, &range);
	case TRACE_FOUND:
		return effect_range(space, process, SPACE_MAP, &range);
	case TRACE_GROW:
		return effect_range(space, process, SPACE_GROW, &range);
	case TRACE_REMAP:
		return remap(space, event);
	case TRACE_BRK:
		return set_brk(space, event);
	default:
		return 0;	/* told by TRACE_FOUND and TRACE_LOST, or no effect */
	}
}
