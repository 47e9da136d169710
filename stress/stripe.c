/* SPDX-License-Identifier: ISC */
#include "stripe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"

size_t tiles_find(const struct tiles *tiles, uint64_t addr)
{
	size_t low = 0, high = tiles->n;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (tiles->tile[middle].first <= addr)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Put `n` tiles of `with` in the place of tiles [from, to). */
static void splice(struct tiles *tiles, size_t from, size_t to, const struct tile *with, size_t n)
{
	size_t wanted = tiles->n - (to - from) + n;

	if (wanted > tiles->room) {
		tiles->room = 2 * wanted;
		tiles->tile = realloc(tiles->tile, tiles->room * sizeof(*tiles->tile));
		if (!tiles->tile) {
			perror("cleave-stress");
			abort();
		}
	}
	if (tiles->n > to)
		memmove(tiles->tile + from + n, tiles->tile + to, (tiles->n - to) * sizeof(*tiles->tile));
	if (n)
		memcpy(tiles->tile + from, with, n * sizeof(*with));
	tiles->n = wanted;
}

/* ---- Life ---- */

static int add_fence(struct stripe *stripe, struct worker *main, uint64_t addr)
{
	struct object *fence = object_new(main, OBJECT_FENCE, addr, addr);
	struct tile tile = { addr, addr, fence, oracle_begin(&stripe->oracle, fence, addr, addr, 0) };

	fence->tiles = 1;
	splice(&stripe->tiles, stripe->tiles.n, stripe->tiles.n, &tile, 1);
	return cleave_insert(main->index, main->self, addr, addr, fence, NULL);
}

int stripe_init(struct stripe *stripe, struct worker *main)
{
	struct tile gap;
	int error = stripe->narrow ? oracle_init(&stripe->oracle, 128, 64, 4096)
				   : oracle_init(&stripe->oracle, 8192, 16, 16384);

	stripe->low = stripe->first;
	stripe->high = stripe->last;
	if (!error && stripe->first > 0)
		error = add_fence(stripe, main, stripe->low++);
	if (error)
		return error;
	if (stripe->last < UINT64_MAX)
		stripe->high--;
	gap = (struct tile){ stripe->low, stripe->high, NULL,
			     oracle_begin(&stripe->oracle, NULL, stripe->low, stripe->high, 0) };
	splice(&stripe->tiles, stripe->tiles.n, stripe->tiles.n, &gap, 1);
	if (stripe->last < UINT64_MAX)
		error = add_fence(stripe, main, stripe->last);
	return error;
}

void stripe_exit(struct stripe *stripe)
{
	oracle_exit(&stripe->oracle);
	free(stripe->tiles.tile);
	free(stripe->plan.tile);
}

/* ---- Changes ---- */

void stripe_plan(struct stripe *stripe, uint64_t first, uint64_t last)
{
	stripe->from = tiles_find(&stripe->tiles, first > stripe->first ? first - 1 : first);
	stripe->to = tiles_find(&stripe->tiles, last < stripe->last ? last + 1 : last) + 1;
	splice(&stripe->plan, 0, stripe->plan.n, stripe->tiles.tile + stripe->from, stripe->to - stripe->from);
}

void stripe_plan_put(struct stripe *stripe, uint64_t first, uint64_t last, struct object *object)
{
	struct tiles *plan = &stripe->plan;
	size_t p = tiles_find(plan, first), q = tiles_find(plan, last), n = 0;
	struct tile with[3], left = plan->tile[p], right = plan->tile[q];

	/* A gap takes its neighbours in. */
	if (!object && left.first == first && p > 0 && !plan->tile[p - 1].object)
		left = plan->tile[--p];
	if (!object && right.last == last && q + 1 < plan->n && !plan->tile[q + 1].object)
		right = plan->tile[++q];
	if (left.first < first) {
		if (!object && !left.object) {
			first = left.first;
		} else {
			left.last = first - 1;
			with[n++] = left;
		}
	}
	if (right.last > last && !object && !right.object)
		last = right.last;
	with[n++] = (struct tile){ first, last, object, NULL };
	if (right.last > last) {
		right.first = last + 1;
		with[n++] = right;
	}
	splice(plan, p, q + 1, with, n);
}

void stripe_plan_join(struct stripe *stripe, uint64_t addr)
{
	struct tiles *plan = &stripe->plan;
	size_t p = tiles_find(plan, addr);
	struct tile both = { plan->tile[p - 1].first, plan->tile[p].last, plan->tile[p].object, NULL };

	splice(plan, p - 1, p + 1, &both, 1);
}

void stripe_announce(struct stripe *stripe)
{
	struct tile *old = stripe->tiles.tile + stripe->from, *new = stripe->plan.tile;
	size_t nold = stripe->to - stripe->from, nnew = stripe->plan.n;
	uint64_t state = oracle_next(&stripe->oracle);

	for (size_t i = 0, j = 0; i < nold || j < nnew;) {
		bool end = j == nnew || (i < nold && old[i].first <= new[j].first);
		bool begin = i == nold || (j < nnew && new[j].first <= old[i].first);

		if (end && begin && old[i].last == new[j].last &&old[i].object == new[j].object) {
			new[j++].life = old[i++].life;
			continue;
		}
		if (end)
			oracle_end(&stripe->oracle, old[i++].life, state);
		if (begin) {
			new[j].life = oracle_begin(&stripe->oracle, new[j].object, new[j].first, new[j].last, state);
			atomic_store_explicit(&stripe->oracle.hot[(state + j) % ORACLE_HOT], new[j].first,
					      memory_order_relaxed);
			j++;
		}
	}
	oracle_announce(&stripe->oracle);
}

void stripe_settle(struct stripe *stripe, struct worker *worker)
{
	struct tile *old = stripe->tiles.tile + stripe->from, *new = stripe->plan.tile;

	oracle_settle(&stripe->oracle);
	for (size_t i = 0; i < stripe->plan.n; i++)
		if (new[i].object)
			new[i].object->tiles++;
	for (size_t i = 0; i < stripe->to - stripe->from; i++)
		if (old[i].object && --old[i].object->tiles == 0)
			object_retire(worker, old[i].object);
	splice(&stripe->tiles, stripe->from, stripe->to, new, stripe->plan.n);
}

/* ---- Free space ---- */

bool stripe_is_free(const struct stripe *stripe, uint64_t first, uint64_t last)
{
	const struct tile *tile = &stripe->tiles.tile[tiles_find(&stripe->tiles, first)];

	return !tile->object && tile->last >= last;
}

bool place_in_gap(const struct cleave_request *request, uint64_t first, uint64_t last, uint64_t *addr)
{
	uint64_t align = request->align ? request->align : 1, min = request->min, low, high;

	if (request->order == CLEAVE_NEXT && request->hint > min)
		min = request->hint;
	first = first < min ? min : first;
	last = last > request->max ? request->max : last;
	if (first > last || last - first < request->size - 1)
		return false;
	high = last - (request->size - 1);
	low = first + ((request->phase - first) & (align - 1));
	if (low < first || low > high)
		return false;
	high -= (high - request->phase) & (align - 1);
	*addr = low;
	if (request->order == CLEAVE_HIGHEST || (request->order == CLEAVE_NEAREST && request->hint >= high))
		*addr = high;
	else if (request->order == CLEAVE_NEAREST && request->hint > low) {
		uint64_t below = request->hint - ((request->hint - request->phase) & (align - 1));

		*addr = request->hint - below <= align - (request->hint - below) ? below : below + align;
	}
	return true;
}

static uint64_t distance(const struct cleave_request *request, uint64_t addr)
{
	return addr > request->hint ? addr - request->hint : request->hint - addr;
}

bool place_is_better(const struct cleave_request *request, uint64_t x, uint64_t y)
{
	switch (request->order) {
	case CLEAVE_HIGHEST:
		return x > y;
	case CLEAVE_NEAREST:
		return distance(request, x) < distance(request, y) ||
		       (distance(request, x) == distance(request, y) && x < y);
	case CLEAVE_RANDOM:
		return false;
	default:
		return x < y;
	}
}

bool stripe_place(const struct stripe *stripe, const struct cleave_request *request, uint64_t *addr)
{
	size_t from = tiles_find(&stripe->tiles, request->min), to = tiles_find(&stripe->tiles, request->max);
	bool found = false;

	for (size_t i = from; i <= to; i++) {
		const struct tile *tile = &stripe->tiles.tile[i];
		uint64_t candidate;

		if (!tile->object && place_in_gap(request, tile->first, tile->last, &candidate) &&
		    (!found || place_is_better(request, candidate, *addr))) {
			found = true;
			*addr = candidate;
		}
	}
	return found;
}
