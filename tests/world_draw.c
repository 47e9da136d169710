/* SPDX-License-Identifier: ISC */
/* What a world does is drawn: addresses, values, operations. */
#include "world_parts.h"

/* ---- Addresses ---- */

const struct keyspace keyspaces[] = {
	{ "64 addresses, everything touches", 0, 64, 1, 12 },
	{ "64 addresses at the top", CLEAVE_LAST - 63, 64, 1, 12 },
	{ "near 0", 0, 4096, 1, 8 },
	{ "near 2^64 - 1", CLEAVE_LAST - 4095, 4096, 1, 8 },
	{ "pages", UINT64_C(0x7f0000000000), 20000, 4096, 24 },
	{ "all addresses", 0, 0, 1, 0 },
};

const size_t nkeyspaces = sizeof(keyspaces) / sizeof(keyspaces[0]);

uint64_t keyspace_addr(const struct keyspace *space, struct rng *rng)
{
	if (rng_one_in(rng, 200))
		return rng_one_in(rng, 2) ? 0 : CLEAVE_LAST;
	if (!space->units) {
		uint64_t addr = rng_next(rng) >> rng_below(rng, 64);

		return rng_one_in(rng, 2) ? addr : ~addr;
	}
	return space->base + space->unit * rng_below(rng, space->units) +
	       (space->unit > 1 && rng_one_in(rng, 8) ? rng_below(rng, space->unit) : 0);
}

void keyspace_range(const struct keyspace *space, struct rng *rng, uint64_t *first, uint64_t *last)
{
	uint64_t size, end;

	if (rng_one_in(rng, 2000)) {
		*first = 0;
		*last = CLEAVE_LAST;
		return;
	}
	if (!space->units || rng_one_in(rng, 100)) {
		uint64_t other;

		*first = keyspace_addr(space, rng);
		other = space->units || rng_one_in(rng, 16) ? keyspace_addr(space, rng)
							    : *first + (rng_next(rng) >> (8 + rng_below(rng, 56)));
		*last = *first > other ? *first : other;
		*first = *first > other ? other : *first;
		return;
	}
	*first = space->base + space->unit * rng_below(rng, space->units);
	end = space->base + (space->unit * space->units - 1);
	size = space->unit * (1 + rng_below(rng, space->longest));
	if (rng_one_in(rng, 50)) /* now and then much more */
		size = space->unit * (1 + rng_below(rng, space->units));
	*last = end - *first < size - 1 ? end : *first + (size - 1);
}

/* Few values, so that neighbours often have the same one; all bits of a value matter. */
static void *value_random(struct rng *rng)
{
	static const uintptr_t values[] = { 1, 2, 0x1000, 0x7fff12345678, UINTPTR_MAX, UINTPTR_MAX - 1 };

	return (void *)values[rng_below(rng, sizeof(values) / sizeof(values[0]))];
}

void *world_value_or_gap(struct rng *rng)
{
	return rng_one_in(rng, 3) ? NULL : value_random(rng);
}

/* ---- Operations ---- */

void world_request_random(struct world *world, struct cleave_request *request)
{
	struct rng *rng = &world->rng;
	uint64_t unit = world->space->unit;

	*request = (struct cleave_request){
		.order = (enum cleave_order)rng_below(rng, CLEAVE_BEST + 1),
		.size = unit * (1 + rng_below(rng, 16)),
		.max = CLEAVE_LAST,
		.hint = keyspace_addr(world->space, rng),
	};
	if (!world->space->units)
		request->size = 1 + (rng_next(rng) >> rng_below(rng, 64)) / 2;
	if (rng_one_in(rng, 20))
		request->size = 1 + rng_next(rng) / 2;
	if (rng_one_in(rng, 2)) {
		request->align = unit << rng_below(rng, 5);
		if (rng_one_in(rng, 2))
			request->phase = rng_below(rng, request->align);
	}
	if (rng_one_in(rng, 50)) {
		request->align = UINT64_C(1) << rng_below(rng, 64);
		request->phase = rng_below(rng, request->align);
	}
	if (!rng_one_in(rng, 4) || world->space->units)
		keyspace_range(world->space, rng, &request->min, &request->max);
	if (rng_one_in(rng, 3) && world->space->units) {
		request->min = world->space->base;
		request->max = world->space->base + (world->space->unit * world->space->units - 1);
	}
}

void operation_random(struct world *world, struct operation *operation)
{
	static const enum call often[] = {
		CALL_INSERT, CALL_INSERT, CALL_STORE,	   CALL_STORE, CALL_ERASE, CALL_ERASE, CALL_CLIP,
		CALL_CLIP,   CALL_UNCLIP, CALL_REPLACE_IF, CALL_ALLOC, CALL_TXN,   CALL_HOLD,
	};
	struct rng *rng = &world->rng;
	uint64_t first, last;

	memset(operation, 0, sizeof(*operation));
	operation->call = (enum call)rng_below(rng, CALLS);
	if (rng_one_in(rng, 2))
		operation->call = often[rng_below(rng, sizeof(often) / sizeof(often[0]))];
	keyspace_range(world->space, rng, &operation->first, &operation->last);
	operation->value = value_random(rng);

	switch (operation->call) {
	case CALL_STORE:
	case CALL_TRY_STORE:
		operation->value = world_value_or_gap(rng);
		break;
	case CALL_UNCLIP:
		/* Mostly where two entries meet. */
		if (!rng_one_in(rng, 4))
			operation->first = world->model.cell[rng_below(rng, world->model.count)].first;
		break;
	case CALL_REPLACE_IF:
	case CALL_TRY_REPLACE_IF:
		operation->expected = *model_at(&world->model, operation->first);
		if (rng_one_in(rng, 2))
			operation->expected = world->model.cell[rng_below(rng, world->model.count)];
		if (rng_one_in(rng, 8))
			operation->expected.value = value_random(rng);
		if (rng_one_in(rng, 8))
			operation->expected.first++;
		if (rng_one_in(rng, 8))
			operation->expected.last--;
		break;
	case CALL_ALLOC:
		world_request_random(world, &operation->request);
		/* Mostly at the end of the same window again: that is where the thread's next search begins sooner. */
		if (world->request.size && !rng_one_in(rng, 4)) {
			operation->request.order = world->request.order;
			operation->request.min = world->request.min;
			operation->request.max = world->request.max;
		}
		world->request = operation->request;
		break;
	case CALL_TXN:
	case CALL_TRY_TXN:
		if (rng_one_in(rng, 2)) {
			/* Twice as wide, so that puts have room. */
			keyspace_range(world->space, rng, &first, &last);
			if (first < operation->first)
				operation->first = first;
			if (last > operation->last)
				operation->last = last;
		}
		operation->puts = (unsigned int)rng_below(rng, OPERATION_PUTS + 1);
		for (unsigned int i = 0; i < operation->puts; i++) {
			struct cleave_entry *put = &operation->put[i];

			keyspace_range(world->space, rng, &put->first, &put->last);
			if (put->first < operation->first || put->first > operation->last)
				put->first = operation->first;
			if (put->last < put->first || put->last > operation->last)
				put->last = rng_one_in(rng, 2) ? operation->last : put->first;
			put->value = world_value_or_gap(rng);
		}
		operation->commit = !rng_one_in(rng, 5);
		operation->two_steps = rng_one_in(rng, 3);
		break;
	case CALL_HOLD:
		operation->commit = !rng_one_in(rng, 8);
		if (rng_one_in(rng, 2)) /* from its first address on */
			operation->first = model_at(&world->model, operation->first)->first;
		if (rng_one_in(rng, 4)) /* the same value: a clip */
			operation->value = model_at(&world->model, operation->first)->value;
		if (!operation->value)
			operation->value = value_random(rng);
		if (rng_one_in(rng, 3))
			operation->value = NULL;
		break;
	default:
		break;
	}
}

void operation_print(const struct operation *operation, char *text, size_t size)
{
	static const char *const names[] = { "insert",	   "store",	     "erase",  "clip", "unclip",
					     "replace_if", "alloc",	     "txn",    "hold", "try store",
					     "try clip",   "try replace_if", "try txn" };
	size_t n;

	switch (operation->call) {
	case CALL_CLIP:
	case CALL_TRY_CLIP:
	case CALL_UNCLIP:
		snprintf(text, size, "%s %#llx", names[operation->call], LL(operation->first));
		break;
	case CALL_REPLACE_IF:
	case CALL_TRY_REPLACE_IF:
		snprintf(text, size, "%s [%#llx, %#llx] %p by %p", names[operation->call], PRINT(operation->expected),
			 operation->value);
		break;
	case CALL_ALLOC:
		snprintf(text, size, "alloc order %d size %#llx align %#llx phase %#llx in [%#llx, %#llx] hint %#llx",
			 operation->request.order, LL(operation->request.size), LL(operation->request.align),
			 LL(operation->request.phase), LL(operation->request.min), LL(operation->request.max),
			 LL(operation->request.hint));
		break;
	case CALL_TXN:
	case CALL_TRY_TXN:
		n = (size_t)snprintf(text, size, "%s [%#llx, %#llx]", names[operation->call], LL(operation->first),
				     LL(operation->last));
		for (unsigned int i = 0; i < operation->puts && n < size; i++)
			n += (size_t)snprintf(text + n, size - n, ", put [%#llx, %#llx] %p", PRINT(operation->put[i]));
		if (n < size)
			snprintf(text + n, size - n, ", %s",
				 !operation->commit	? "abort"
				 : operation->two_steps ? "publish and end"
							: "commit");
		break;
	default:
		snprintf(text, size, "%s [%#llx, %#llx] %p", names[operation->call], LL(operation->first),
			 LL(operation->last), operation->value);
		break;
	}
}
