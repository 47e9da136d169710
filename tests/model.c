/* SPDX-License-Identifier: ISC */
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void grow(struct cleave_entry **array, size_t *room, size_t need)
{
	if (need <= *room)
		return;
	while (*room < need)
		*room = *room ? 2 * *room : 16;
	*array = realloc(*array, *room * sizeof(**array));
	if (!*array)
		abort();
}

/* ---- Displaced entries ---- */

static void displaced_each(struct cleave_sink *sink, const struct cleave_entry *entry)
{
	displaced_add((struct displaced *)sink, entry);
}

void displaced_init(struct displaced *displaced)
{
	*displaced = (struct displaced){ .sink.each = displaced_each };
}

void displaced_free(struct displaced *displaced)
{
	free(displaced->entry);
	displaced_init(displaced);
}

void displaced_add(struct displaced *displaced, const struct cleave_entry *entry)
{
	grow(&displaced->entry, &displaced->room, displaced->count + 1);
	displaced->entry[displaced->count++] = *entry;
}

void displaced_join(struct displaced *displaced, const struct model *base)
{
	size_t n = 0;

	for (size_t i = 0; i < displaced->count; i++) {
		struct cleave_entry *entry = &displaced->entry[i];

		if (n) {
			struct cleave_entry *left = &displaced->entry[n - 1];

			if (left->last != CLEAVE_LAST && left->last + 1 == entry->first &&
			    left->value == entry->value &&
			    model_find(base, left->first) == model_find(base, entry->last)) {
				left->last = entry->last;
				continue;
			}
		}
		displaced->entry[n++] = *entry;
	}
	displaced->count = n;
}

/* ---- Cells ---- */

void model_init(struct model *model)
{
	*model = (struct model){ 0 };
	grow(&model->cell, &model->room, 1);
	model->cell[0] = (struct cleave_entry){ .first = 0, .last = CLEAVE_LAST };
	model->count = 1;
}

void model_free(struct model *model)
{
	free(model->cell);
	*model = (struct model){ 0 };
}

void model_copy(struct model *to, const struct model *from)
{
	grow(&to->cell, &to->room, from->count);
	memcpy(to->cell, from->cell, from->count * sizeof(*from->cell));
	to->count = from->count;
}

bool model_equal(const struct model *one, const struct model *other)
{
	if (one->count != other->count)
		return false;
	for (size_t i = 0; i < one->count; i++)
		if (one->cell[i].first != other->cell[i].first || one->cell[i].last != other->cell[i].last ||
		    one->cell[i].value != other->cell[i].value)
			return false;
	return true;
}

size_t model_find(const struct model *model, uint64_t addr)
{
	size_t low = 0, high = model->count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (model->cell[middle].first <= addr)
			low = middle;
		else
			high = middle;
	}
	return low;
}

const struct cleave_entry *model_at(const struct model *model, uint64_t addr)
{
	return &model->cell[model_find(model, addr)];
}

size_t model_entries(const struct model *model)
{
	size_t n = 0;

	for (size_t i = 0; i < model->count; i++)
		n += model->cell[i].value != NULL;
	return n;
}

/* Put `n` cells in the place of the cells from `from` up to and with `to`. */
static void splice(struct model *model, size_t from, size_t to, const struct cleave_entry *cells, size_t n)
{
	size_t behind = model->count - to - 1;

	grow(&model->cell, &model->room, from + n + behind);
	memmove(&model->cell[from + n], &model->cell[to + 1], behind * sizeof(*cells));
	memcpy(&model->cell[from], cells, n * sizeof(*cells));
	model->count = from + n + behind;
}

/* ---- Changes ---- */

int model_clip(struct model *model, uint64_t addr)
{
	size_t i = model_find(model, addr);
	struct cleave_entry halves[2] = { model->cell[i], model->cell[i] };

	if (!halves[0].value)
		return -ENOENT;
	if (halves[0].first == addr)
		return 0;
	halves[0].last = addr - 1;
	halves[1].first = addr;
	splice(model, i, i, halves, 2);
	return 0;
}

int model_unclip(struct model *model, uint64_t addr)
{
	size_t i = model_find(model, addr);
	struct cleave_entry joined = model->cell[i];

	if (!joined.value || joined.first != addr || i == 0 || model->cell[i - 1].value != joined.value)
		return -ENOENT;
	joined.first = model->cell[i - 1].first;
	splice(model, i - 1, i, &joined, 1);
	return 0;
}

int model_insert(struct model *model, uint64_t first, uint64_t last, void *value, struct cleave_entry *conflict)
{
	if (first > last || !value)
		return -EINVAL;
	for (size_t i = model_find(model, first); i < model->count && model->cell[i].first <= last; i++)
		if (model->cell[i].value) {
			if (conflict)
				*conflict = model->cell[i];
			return -EEXIST;
		}
	return model_store(model, first, last, value, NULL);
}

int model_store(struct model *model, uint64_t first, uint64_t last, void *value, struct displaced *displaced)
{
	struct cleave_entry cells[3], new = { first, last, value };
	size_t from, to, n = 0;

	if (first > last)
		return -EINVAL;
	from = model_find(model, first);
	to = model_find(model, last);
	for (size_t i = from; displaced && i <= to; i++) {
		struct cleave_entry part = model->cell[i];

		if (!part.value)
			continue;
		if (part.first < first)
			part.first = first;
		if (part.last > last)
			part.last = last;
		displaced_add(displaced, &part);
	}

	/* Only gaps join: widen to the cells that the new gap swallows. */
	if (!value && model->cell[from].first == first && from > 0 && !model->cell[from - 1].value)
		from--;
	if (!value && model->cell[to].last == last && to + 1 < model->count && !model->cell[to + 1].value)
		to++;
	if (model->cell[from].first < first) {
		if (!value && !model->cell[from].value) {
			new.first = model->cell[from].first;
		} else {
			cells[n] = model->cell[from];
			cells[n++].last = first - 1;
		}
	}
	if (model->cell[to].last > last && !value && !model->cell[to].value)
		new.last = model->cell[to].last;
	cells[n++] = new;
	if (model->cell[to].last > new.last) {
		cells[n] = model->cell[to];
		cells[n++].first = last + 1;
	}
	splice(model, from, to, cells, n);
	return 0;
}

int model_replace_if(struct model *model, struct cleave_entry *expected, void *value)
{
	struct cleave_entry *cell;

	if (expected->first > expected->last || !expected->value || !value)
		return -EINVAL;
	cell = &model->cell[model_find(model, expected->first)];
	if (cell->first != expected->first || cell->last != expected->last || cell->value != expected->value) {
		*expected = *cell;
		return -ENOENT;
	}
	cell->value = value;
	return 0;
}

/* ---- Free space ---- */

static uint64_t alignment(const struct cleave_request *request)
{
	return request->align ? request->align : 1;
}

/* The lowest address in [low, high] at which the request fits. */
static bool lowest(const struct cleave_request *request, uint64_t low, uint64_t high, uint64_t *addr)
{
	uint64_t skip = (request->phase - low) & (alignment(request) - 1);

	if (low > high || skip > high - low || high - low - skip < request->size - 1)
		return false;
	*addr = low + skip;
	return true;
}

static bool highest(const struct cleave_request *request, uint64_t low, uint64_t high, uint64_t *addr)
{
	uint64_t top, skip;

	if (low > high || high - low < request->size - 1)
		return false;
	top = high - (request->size - 1);
	skip = (top - request->phase) & (alignment(request) - 1);
	if (skip > top - low)
		return false;
	*addr = top - skip;
	return true;
}

static uint64_t distance(uint64_t one, uint64_t other)
{
	return one < other ? other - one : one - other;
}

static bool request_valid(const struct cleave_request *request)
{
	return request->size && !(request->align & (request->align - 1)) && request->phase < alignment(request) &&
	       request->min <= request->max;
}

bool model_gap_fits(const struct model *model, const struct cleave_request *request, uint64_t addr)
{
	const struct cleave_entry *gap = model_at(model, addr);

	return !gap->value && gap->last - addr >= request->size - 1 && addr >= request->min && addr <= request->max &&
	       request->max - addr >= request->size - 1 && (addr & (alignment(request) - 1)) == request->phase &&
	       (request->order != CLEAVE_NEXT || addr >= request->hint);
}

int model_find_gap(const struct model *model, const struct cleave_request *request, uint64_t *addr)
{
	bool found = false;
	uint64_t least = 0;

	if (!request_valid(request))
		return -EINVAL;
	for (size_t i = 0; i < model->count; i++) {
		uint64_t low = model->cell[i].first, high = model->cell[i].last, at;

		if (model->cell[i].value)
			continue;
		if (low < request->min)
			low = request->min;
		if (high > request->max)
			high = request->max;
		switch (request->order) {
		case CLEAVE_LOWEST:
		case CLEAVE_RANDOM:
			if (lowest(request, low, high, addr))
				return 0;
			break;
		case CLEAVE_BEST:
			if ((!found || high - low < least) && lowest(request, low, high, addr)) {
				least = high - low;
				found = true;
			}
			break;
		case CLEAVE_NEXT:
			if (lowest(request, low < request->hint ? request->hint : low, high, addr))
				return 0;
			break;
		case CLEAVE_HIGHEST:
			if (highest(request, low, high, addr))
				found = true;
			break;
		case CLEAVE_NEAREST:
			/* The best one at or above the hint, and the best one whose first address is at or below. */
			if (lowest(request, low < request->hint ? request->hint : low, high, &at) &&
			    (!found || distance(at, request->hint) < distance(*addr, request->hint))) {
				*addr = at;
				found = true;
			}
			if (request->hint >= low) {
				uint64_t top = request->hint;

				/* The range may reach above the hint, its first address may not. */
				top = CLEAVE_LAST - top < request->size - 1 ? CLEAVE_LAST : top + (request->size - 1);
				if (highest(request, low, high < top ? high : top, &at) &&
				    (!found || distance(at, request->hint) < distance(*addr, request->hint) ||
				     (distance(at, request->hint) == distance(*addr, request->hint) && at < *addr))) {
					*addr = at;
					found = true;
				}
			}
			break;
		}
	}
	return found ? 0 : -ENOSPC;
}

int model_covers(const struct model *model, uint64_t first, uint64_t last, cleave_predicate *predicate, void *context,
		 struct cleave_entry *bad)
{
	if (first > last)
		return -EINVAL;
	for (size_t i = model_find(model, first); i < model->count && model->cell[i].first <= last; i++)
		if (!predicate(context, &model->cell[i])) {
			if (bad)
				*bad = model->cell[i];
			return 0;
		}
	return 1;
}
