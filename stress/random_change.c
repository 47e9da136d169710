/* SPDX-License-Identifier: ISC */
#include "random_change.h"

#include "change.h"

#define SCRATCH 0x80000000U /* attribute: not of the recording */

static uint64_t unit(const struct stripe *stripe)
{
	return stripe->narrow ? 1 : 4096;
}

static const struct tile *random_tile(struct worker *worker, const struct stripe *stripe)
{
	return &stripe->tiles.tile[rng_below(&worker->rng, stripe->tiles.n)];
}

static uint64_t random_addr(struct worker *worker, const struct stripe *stripe, const struct tile *tile)
{
	uint64_t addr = tile->first + rng_below(&worker->rng, tile->last - tile->first + 1);

	if (!one_in(&worker->rng, 8))
		addr &= ~(unit(stripe) - 1);
	return addr < stripe->low ? stripe->low : addr > stripe->high ? stripe->high : addr;
}

/* At a tile or inside it, or over some. */
static void random_range(struct worker *worker, const struct stripe *stripe, struct put *put)
{
	const struct tile *tile = random_tile(worker, stripe), *end = stripe->tiles.tile + stripe->tiles.n;
	uint64_t size = unit(stripe) * (1 + rng_below(&worker->rng, stripe->narrow ? 6 : 64));
	uint64_t dice = rng_below(&worker->rng, 8);

	put->first = one_in(&worker->rng, 2) ? tile->first : random_addr(worker, stripe, tile);
	if (put->first < stripe->low)
		put->first = stripe->low;
	if (put->first > stripe->high)
		put->first = stripe->high;
	put->last = stripe->high - put->first < size - 1 ? stripe->high : put->first + (size - 1);
	if (dice < 3 && tile->object && tile->last >= put->first)
		put->last = tile->last;
	else if (dice == 7)
		for (size_t n = rng_below(&worker->rng, 6); n > 0 && tile < end && tile->object; n--, tile++)
			if (tile->last >= put->first)
				put->last = tile->last;
	if (put->last > stripe->high)
		put->last = stripe->high;
}

static struct object *random_object(struct worker *worker, const struct put *put)
{
	struct object *object = object_new(worker, OBJECT_OWNED, put->first, put->last);

	object->attributes = (uint32_t)rng_below(&worker->rng, TRACE_PROT + 1);
	return object;
}

static struct object *copy_object(struct worker *worker, const struct tile *tile)
{
	struct object *object = object_new(worker, OBJECT_OWNED, tile->first, tile->last);

	object->attributes = tile->object->attributes;
	return object;
}

/* ---- Changes that keep the mappings ---- */

/* New objects for a run of tiles, with gaps put as gaps; sometimes all of it twice, so that puts cover puts. */
static void rewrite(struct writer *writer, struct stripe *stripe)
{
	struct worker *worker = writer->worker;
	size_t run = one_in(&worker->rng, 50) ? 400 : 1 + rng_below(&worker->rng, 24), n = 0;
	size_t from = rng_below(&worker->rng, stripe->tiles.n), rounds = one_in(&worker->rng, 4) ? 2 : 1;
	const struct tile *tile = stripe->tiles.tile;
	size_t to = from + run < stripe->tiles.n ? from + run : stripe->tiles.n;

	while (from < to && tile[from].first < stripe->low)
		from++;
	while (from < to && tile[to - 1].last > stripe->high)
		to--;
	if (from == to)
		return;
	writer_room(writer, rounds * (to - from));
	for (; rounds > 0; rounds--)
		for (size_t i = from; i < to; i++)
			if (tile[i].object || one_in(&worker->rng, 4))
				writer->puts[n++] =
					(struct put){ tile[i].first, tile[i].last,
						      tile[i].object ? copy_object(worker, &tile[i]) : NULL };
	change_txn(worker, stripe, tile[from].first, tile[to - 1].last, writer->puts, n, one_in(&worker->rng, 8),
		   (enum ending)rng_below(&worker->rng, 3));
}

void random_request(struct rng *rng, bool narrow, uint64_t min, uint64_t max, struct cleave_request *request)
{
	static const enum cleave_order orders[] = { CLEAVE_LOWEST, CLEAVE_HIGHEST, CLEAVE_NEAREST, CLEAVE_NEXT };
	uint64_t span = max - min;

	request->order = orders[rng_below(rng, 4)];
	request->size = narrow ? 1 + rng_below(rng, 8) : 4096 * (1 + rng_below(rng, 64));
	if (one_in(rng, 16))
		request->size = 1 + rng_below(rng, span + 1);
	request->align = one_in(rng, 4) ? 0 : UINT64_C(1) << (narrow ? rng_below(rng, 4) : 12 + rng_below(rng, 10));
	request->phase = request->align && one_in(rng, 4) ? rng_below(rng, request->align) : 0;
	request->min = min;
	request->max = max;
	request->hint = one_in(rng, 8) ? rng_next(rng) : min + rng_below(rng, span + 1);
}

static void allocate(struct worker *worker, struct stripe *stripe)
{
	const struct tile *end = stripe->tiles.tile + stripe->tiles.n - 1;
	const struct tile *from = random_tile(worker, stripe), *to = from;
	uint64_t min = stripe->low, max = stripe->high, addr;
	struct cleave_request request;
	struct object *object;

	for (uint64_t n = rng_below(&worker->rng, 40); n > 0 && to < end; n--)
		to++;
	if (!one_in(&worker->rng, 16)) {
		min = from->first < min ? min : from->first;
		max = to->last > max ? max : to->last;
	}
	if (min > max)
		return;
	random_request(&worker->rng, stripe->narrow, min, max, &request);
	object = object_new(worker, OBJECT_OWNED, 0, 0);
	object->attributes = SCRATCH | (uint32_t)rng_below(&worker->rng, TRACE_PROT + 1);
	change_alloc(worker, stripe, &request, object, &addr);
}

void random_forget(struct writer *writer, struct stripe *stripe)
{
	for (size_t i = 0; i < stripe->tiles.n; i++) {
		const struct tile tile = stripe->tiles.tile[i];

		if (tile.object && tile.object->attributes & SCRATCH) {
			change_put(writer->worker, stripe, tile.first, tile.last, NULL, BY_STORE);
			i = tiles_find(&stripe->tiles, tile.first);
		}
	}
}

static void conflict(struct worker *worker, struct stripe *stripe)
{
	const struct tile *tile = random_tile(worker, stripe);
	struct put put;

	random_range(worker, stripe, &put);
	if (tile->object && tile->object->kind == OBJECT_OWNED) {
		if (put.first > tile->first)
			put.first = tile->first;
		if (put.last < tile->first)
			put.last = tile->first;
	}
	if (stripe_is_free(stripe, put.first, put.last))
		return;
	change_insert(worker, stripe, put.first, put.last, random_object(worker, &put));
}

static void replace(struct worker *worker, struct stripe *stripe, bool wrong)
{
	const struct tile *tile = random_tile(worker, stripe);
	struct cleave_entry expected = { tile->first, tile->last, tile->object };

	if (!tile->object || tile->object->kind != OBJECT_OWNED)
		return;
	if (wrong) {
		if (one_in(&worker->rng, 2) && expected.first < expected.last)
			expected.first += 1 + rng_below(&worker->rng, expected.last - expected.first);
		else if (one_in(&worker->rng, 2))
			expected.last--;
		else
			expected.value = stripe;
		if (expected.last < expected.first)
			return;
	}
	change_replace(worker, stripe, &expected, copy_object(worker, tile), one_in(&worker->rng, 4));
}

static bool keep(struct writer *writer, struct stripe *stripe)
{
	struct worker *worker = writer->worker;
	const struct tile *tile = random_tile(worker, stripe);
	uint64_t dice = rng_below(&worker->rng, 64);

	if (dice < 16) {
		change_clip(worker, stripe, random_addr(worker, stripe, tile), one_in(&worker->rng, 4));
	} else if (dice < 30) {
		/* Look for one that can be undone. */
		for (unsigned int n = 0; n < 16; n++, tile = random_tile(worker, stripe))
			if (tile != stripe->tiles.tile && tile->object && tile[-1].object == tile->object)
				break;
		change_unclip(worker, stripe, tile->first);
	} else if (dice < 36) {
		conflict(worker, stripe);
	} else if (dice < 42) {
		replace(worker, stripe, false);
	} else if (dice < 46) {
		replace(worker, stripe, true);
	} else if (dice < 54) {
		rewrite(writer, stripe);
	} else if (dice < 60) {
		allocate(worker, stripe);
	} else if (dice == 60 && one_in(&worker->rng, 8)) {
		change_invalid(worker, stripe);
	} else if (dice == 61 && one_in(&worker->rng, stripe->narrow ? 4 : 64)) {
		change_compare(worker, stripe, NULL);
	} else if (dice == 62 && tile->object && tile->object->attributes & SCRATCH) {
		change_put(worker, stripe, tile->first, tile->last, NULL, BY_STORE);
	} else {
		return false;
	}
	return true;
}

/* ---- Others ---- */

static void several(struct writer *writer, struct stripe *stripe)
{
	struct worker *worker = writer->worker;
	size_t n = 1 + rng_below(&worker->rng, 6);
	uint64_t first = UINT64_MAX, last = 0;

	writer_room(writer, n);
	for (size_t i = 0; i < n; i++) {
		struct put *put = &writer->puts[i];

		/* Near each other, most of them. */
		random_range(worker, stripe, put);
		if (i > 0 && !stripe->narrow && !one_in(&worker->rng, 20)) {
			uint64_t skip = 4096 * rng_below(&worker->rng, 16);

			put->first = writer->puts[i - 1].last;
			put->first += stripe->high - put->first < skip + 1 ? 0 : skip + 1;
			put->last = stripe->high - put->first < 8191 ? stripe->high : put->first + 8191;
		}
		put->object = one_in(&worker->rng, 3) ? NULL : random_object(worker, put);
		first = put->first < first ? put->first : first;
		last = put->last > last ? put->last : last;
	}
	change_txn(worker, stripe, first, last, writer->puts, n, one_in(&worker->rng, 8),
		   (enum ending)rng_below(&worker->rng, 3));
}

void random_change(struct writer *writer, struct stripe *stripe, bool free)
{
	static const enum how hows[] = { BY_STORE, BY_STORE, BY_TRY, BY_TXN };
	struct worker *worker = writer->worker;
	struct put put;

	if (!free || one_in(&worker->rng, 2)) {
		if (keep(writer, stripe) || !free)
			return;
	}
	if (one_in(&worker->rng, 6)) {
		several(writer, stripe);
		return;
	}
	random_range(worker, stripe, &put);
	if (one_in(&worker->rng, 2))
		change_put(worker, stripe, put.first, put.last, NULL, hows[rng_below(&worker->rng, 4)]);
	else if (stripe_is_free(stripe, put.first, put.last))
		change_put(worker, stripe, put.first, put.last, random_object(worker, &put),
			   (enum how)rng_below(&worker->rng, HOWS));
	else
		change_put(worker, stripe, put.first, put.last, random_object(worker, &put),
			   hows[rng_below(&worker->rng, 4)]);
}
