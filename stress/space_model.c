/* SPDX-License-Identifier: ISC */
#include "space_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct process {
	struct space_range *range;
	size_t count;
	size_t room;
};

struct space_model {
	struct process *process;	/* process p is process[p - 1] */
	uint32_t processes;
};

const struct space_ops space_model_ops = { space_model_effect, space_model_next };

int
space_model_create(struct space_model **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void
space_model_destroy(struct space_model *model)
{
	if (!model)
		return;
	for (uint32_t i = 0; i < model->processes; i++)
		free(model->process[i].range);
	free(model->process);
	free(model);
}

static const struct process *
find_process(const struct space_model *model, uint32_t number)
{
	static const struct process nothing;

	return number >= 1 && number <= model->processes ? &model->process[number - 1] : &nothing;
}

/* The first range which ends above @from. */
static size_t
find_index(const struct process *process, uint64_t from)
{
	size_t low = 0, high = process->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (process->range[middle].end <= from)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool
space_model_next(void *context, uint32_t number, uint64_t from, struct space_range *range)
{
	const struct process *process = find_process(context, number);
	size_t i = find_index(process, from);

	if (i == process->count)
		return false;
	*range = process->range[i];
	return true;
}

size_t
space_model_ranges(const struct space_model *model, uint32_t number,
		   const struct space_range **ranges)
{
	const struct process *process = find_process(model, number);

	*ranges = process->range;
	return process->count;
}

/* ---- Changes ---- */

static bool
can_join(const struct space_range *left, const struct space_range *right)
{
	return left->end == right->start && left->attributes == right->attributes &&
	       left->object == right->object &&
	       (!left->object || left->offset + (left->end - left->start) == right->offset);
}

/* Put @count ranges of @with in the place of the ranges from @i until @j. */
static int
splice(struct process *process, size_t i, size_t j, const struct space_range *with, size_t count)
{
	size_t wanted = process->count - (j - i) + count;

	if (wanted > process->room) {
		struct space_range *grown;
		size_t room = 2 * wanted;

		grown = realloc(process->range, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		process->range = grown;
		process->room = room;
	}
	if (process->count > j)
		memmove(process->range + i + count, process->range + j,
			(process->count - j) * sizeof(*process->range));
	if (count)
		memcpy(process->range + i, with, count * sizeof(*with));
	process->count = wanted;
	return 0;
}

/* Join what can be joined among the ranges around those from @first until @last. */
static void
join(struct process *process, size_t first, size_t last)
{
	size_t i = first ? first - 1 : 0;

	while (i < last && i + 1 < process->count) {
		struct space_range *left = &process->range[i];

		if (!can_join(left, left + 1)) {
			i++;
			continue;
		}
		left->end = left[1].end;
		memmove(left + 1, left + 2, (process->count - i - 2) * sizeof(*left));
		process->count--;
		last--;
	}
}

/* Make [start, end) empty and put @range, which may be NULL, there. */
static int
replace(struct process *process, uint64_t start, uint64_t end, const struct space_range *range)
{
	struct space_range with[3];
	size_t count = 0, i = find_index(process, start), j = i;
	int error;

	while (j < process->count && process->range[j].start < end)
		j++;
	if (i < j && process->range[i].start < start) {
		with[count] = process->range[i];
		with[count++].end = start;
	}
	if (range)
		with[count++] = *range;
	if (i < j && process->range[j - 1].end > end) {
		with[count] = process->range[j - 1];
		if (with[count].object)
			with[count].offset += end - with[count].start;
		with[count++].start = end;
	}
	error = splice(process, i, j, with, count);
	if (!error)
		join(process, i, i + count);
	return error;
}

/* Of what is mapped in @range: the attributes in @mask become those of @range. */
static int
set_attributes(struct process *process, const struct space_range *range, uint32_t mask)
{
	uint64_t at = range->start;
	int error = 0;

	while (!error && at < range->end) {
		size_t i = find_index(process, at);
		struct space_range piece;

		if (i == process->count || process->range[i].start >= range->end)
			break;
		piece = process->range[i];
		if (piece.start < at) {
			if (piece.object)
				piece.offset += at - piece.start;
			piece.start = at;
		}
		if (piece.end > range->end)
			piece.end = range->end;
		at = piece.end;
		piece.attributes = (piece.attributes & ~mask) | (range->attributes & mask);
		error = replace(process, piece.start, piece.end, &piece);
	}
	return error;
}

static int
copy(struct process *to, const struct process *from)
{
	to->range = from->count ? calloc(from->count, sizeof(*to->range)) : NULL;
	if (from->count && !to->range)
		return -ENOMEM;
	to->room = from->count;
	to->count = 0;
	for (size_t i = 0; i < from->count; i++)
		if (!(from->range[i].attributes & SPACE_NO_FORK))
			to->range[to->count++] = from->range[i];
	return 0;
}

static int
begin(struct space_model *model, uint32_t number)
{
	struct process *grown;

	if (number <= model->processes) {
		model->process[number - 1].count = 0;
		return 0;
	}
	grown = realloc(model->process, number * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	for (uint32_t i = model->processes; i < number; i++)
		grown[i] = (struct process){ 0 };
	model->process = grown;
	model->processes = number;
	return 0;
}

static int
begin_copy(struct space_model *model, uint32_t number, uint32_t parent)
{
	int error = begin(model, number);

	if (error)
		return error;
	free(model->process[number - 1].range);
	model->process[number - 1] = (struct process){ 0 };
	return copy(&model->process[number - 1], find_process(model, parent));
}

int
space_model_effect(void *context, const struct space_effect *effect)
{
	struct space_model *model = context;
	const struct space_range *range = &effect->range;
	struct process *process;

	if (effect->kind == SPACE_EXEC)
		return begin(model, effect->process);
	if (effect->kind == SPACE_FORK)
		return begin_copy(model, effect->process, effect->other);
	if (effect->process < 1 || effect->process > model->processes)
		return -EINVAL;
	process = &model->process[effect->process - 1];
	switch (effect->kind) {
	case SPACE_EXIT:
		free(process->range);
		*process = (struct process){ 0 };
		return 0;
	case SPACE_MAP:
	case SPACE_GROW:
		return replace(process, range->start, range->end, range);
	case SPACE_UNMAP:
		return replace(process, range->start, range->end, NULL);
	case SPACE_PROTECT:
		return set_attributes(process, range, TRACE_PROT);
	case SPACE_ADVISE:
		return set_attributes(process, range, SPACE_NO_FORK);
	default:
		return 0;
	}
}

/* ---- Comparison ---- */

static bool
same(const struct space_difference *piece, enum space_compare what)
{
	const struct space_range *model = &piece->model;
	const struct trace_range *snapshot = &piece->snapshot;
	uint32_t mask = TRACE_PROT;

	if (!piece->has_model || !piece->has_snapshot)
		return piece->has_model == piece->has_snapshot;
	if (what == SPACE_COMPARE_ALL)
		mask |= TRACE_SHARED | TRACE_GROWS_DOWN;
	if ((model->attributes ^ snapshot->attributes) & mask)
		return false;
	if (what == SPACE_COMPARE_PROT)
		return true;
	return model->object == snapshot->object &&
	       (!model->object || model->offset + (piece->start - model->start) ==
					  snapshot->offset + (piece->start - snapshot->start));
}

/* Goes from boundary to boundary of either side: so it does not matter how they are split. */
bool
space_model_matches(const struct space_model *model, uint32_t number,
		    const struct trace_range *ranges, size_t count, enum space_compare what,
		    struct space_difference *difference)
{
	const struct process *process = find_process(model, number);
	struct space_difference piece = { 0 };
	size_t i = 0, j = 0;

	while (i < process->count || j < count) {
		piece.end = UINT64_MAX;
		piece.has_model = false;
		piece.has_snapshot = false;
		if (i < process->count) {
			piece.model = process->range[i];
			piece.has_model = piece.model.start <= piece.start;
			piece.end = piece.has_model ? piece.model.end : piece.model.start;
		}
		if (j < count) {
			uint64_t boundary;

			piece.snapshot = ranges[j];
			piece.has_snapshot = piece.snapshot.start <= piece.start;
			boundary = piece.has_snapshot ? piece.snapshot.end : piece.snapshot.start;
			if (boundary < piece.end)
				piece.end = boundary;
		}
		if (!same(&piece, what)) {
			*difference = piece;
			return false;
		}
		if (piece.has_model && piece.model.end == piece.end)
			i++;
		if (piece.has_snapshot && piece.snapshot.end == piece.end)
			j++;
		piece.start = piece.end;
	}
	return true;
}
