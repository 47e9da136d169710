/* SPDX-License-Identifier: ISC */
/* A writer: replays recorded processes into its stripes, with other changes in between, and churns narrow stripes. */
#include <stdlib.h>

#include "change.h"
#include "random_change.h"
#include "shared.h"

#define CHURN 30000 /* changes of a scaled address space before it is cleared */

/* ---- Effects of a recording ---- */

static void map(struct writer *writer, struct stripe *stripe, const struct space_range *range, uint64_t first,
		uint64_t last)
{
	struct worker *worker = writer->worker;
	struct object *object = object_new(worker, OBJECT_OWNED, first, last);
	enum how how = (enum how)rng_below(&worker->rng, HOWS);
	bool is_free = stripe_is_free(stripe, first, last);

	object->attributes = range->attributes;
	if (!is_free && how == BY_INSERT) { /* as an unmap and a map */
		change_put(worker, stripe, first, last, NULL, BY_STORE);
		is_free = true;
	} else if (!is_free && how == BY_ALLOC) { /* as BSD does: cut at the edges, then replace what is between */
		change_clip(worker, stripe, first, one_in(&worker->rng, 2));
		if (last < stripe->high)
			change_clip(worker, stripe, last + 1, one_in(&worker->rng, 2));
	}
	if (!is_free && (how == BY_INSERT || how == BY_ALLOC))
		how = BY_STORE;
	change_put(worker, stripe, first, last, object, how);
}

static void change_clip_if_mapped(struct worker *worker, struct stripe *stripe, uint64_t addr)
{
	if (stripe->tiles.tile[tiles_find(&stripe->tiles, addr)].object)
		change_clip(worker, stripe, addr, one_in(&worker->rng, 4));
}

static void unmap(struct worker *worker, struct stripe *stripe, uint64_t first, uint64_t last)
{
	static const enum how hows[] = { BY_STORE, BY_STORE, BY_TRY, BY_TXN };

	if (one_in(&worker->rng, 4)) {
		change_clip_if_mapped(worker, stripe, first);
		if (last < stripe->high)
			change_clip_if_mapped(worker, stripe, last + 1);
	}
	change_put(worker, stripe, first, last, NULL, hows[rng_below(&worker->rng, 4)]);
}

/* New objects for what is mapped in the range, with the attributes in `mask` of `attributes`. */
static size_t collect(struct writer *writer, struct stripe *stripe, uint64_t first, uint64_t last, uint32_t mask,
		      uint32_t attributes)
{
	struct worker *worker = writer->worker;
	bool join = one_in(&worker->rng, 2);
	size_t n = 0;

	for (size_t i = tiles_find(&stripe->tiles, first); i < stripe->tiles.n && stripe->tiles.tile[i].first <= last;
	     i++) {
		const struct tile *tile = &stripe->tiles.tile[i];
		uint64_t from = tile->first < first ? first : tile->first, to = tile->last > last ? last : tile->last;
		uint32_t wanted = tile->object ? (tile->object->attributes & ~mask) | (attributes & mask) : 0;
		struct put *before = n ? &writer->puts[n - 1] : NULL;

		if (!tile->object)
			continue;
		if (join && before && before->last + 1 == from && before->object->attributes == wanted) {
			before->last = before->object->last = to;
			continue;
		}
		writer_room(writer, n + 1);
		writer->puts[n].first = from;
		writer->puts[n].last = to;
		writer->puts[n].object = object_new(worker, OBJECT_OWNED, from, to);
		writer->puts[n++].object->attributes = wanted;
	}
	return n;
}

static void protect(struct writer *writer, struct stripe *stripe, uint64_t first, uint64_t last, uint32_t mask,
		    uint32_t attributes)
{
	struct worker *worker = writer->worker;
	size_t n = collect(writer, stripe, first, last, mask, attributes);

	if (!one_in(&worker->rng, 3)) {
		change_txn(worker, stripe, first, last, writer->puts, n, one_in(&worker->rng, 8),
			   one_in(&worker->rng, 4) ? PUBLISH : COMMIT);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct put *put = &writer->puts[i];
		const struct tile *tile = &stripe->tiles.tile[tiles_find(&stripe->tiles, put->first)];

		if (tile->first == put->first && tile->last == put->last)
			change_replace(worker, stripe, &(struct cleave_entry){ tile->first, tile->last, tile->object },
				       put->object, one_in(&worker->rng, 4));
		else
			change_put(worker, stripe, put->first, put->last, put->object,
				   one_in(&worker->rng, 4) ? BY_TRY : BY_STORE);
	}
}

static void carry_out(struct writer *writer, struct stripe *stripe, const struct space_effect *effect)
{
	const struct space_range *range = &effect->range;
	uint64_t first = stripe_fold(stripe, range->start), last = first + (range->end - range->start - 1);

	if (effect->kind == SPACE_SNAPSHOT) {
		random_forget(writer, stripe);
		change_compare(writer->worker, stripe, effect);
		atomic_fetch_add_explicit(&stripe->script->recording->snapshots, 1, memory_order_relaxed);
		return;
	}
	if (first < stripe->low)
		first = stripe->low;
	if (last > stripe->high || last < first)
		last = stripe->high;
	if (effect->kind == SPACE_MAP || effect->kind == SPACE_GROW)
		map(writer, stripe, range, first, last);
	else if (effect->kind == SPACE_UNMAP)
		unmap(writer->worker, stripe, first, last);
	else if (effect->kind == SPACE_PROTECT)
		protect(writer, stripe, first, last, TRACE_PROT, range->attributes);
	else if (effect->kind == SPACE_ADVISE)
		protect(writer, stripe, first, last, SPACE_NO_FORK, range->attributes);
	count(writer->worker, COUNT_EFFECTS, 1);
	atomic_fetch_add_explicit(&stripe->script->recording->effects, 1, memory_order_relaxed);
}

/* ---- Scripts ---- */

static void begin(struct writer *writer, struct stripe *stripe)
{
	struct worker *worker = writer->worker;
	const struct scripts *scripts = &worker->job->scripts;
	size_t n = 0;

	stripe->script = &scripts->script[atomic_fetch_add(&worker->job->next_script, 1) % scripts->count];
	stripe->at = 0;
	stripe->churn = stripe->script->scale ? CHURN : 0;
	if (one_in(&worker->rng, 4) && !stripe->script->scale)
		return;
	/* All that is there from the start in one transaction. */
	writer_room(writer, stripe->script->initial);
	for (; n < stripe->script->initial; n++) {
		const struct space_range *range = &stripe->script->effect[n].range;
		struct put *put = &writer->puts[n];

		put->first = stripe_fold(stripe, range->start);
		put->last = put->first + (range->end - range->start - 1);
		put->object = object_new(worker, OBJECT_OWNED, put->first, put->last);
		put->object->attributes = range->attributes;
	}
	if (n > 0)
		change_txn(worker, stripe, stripe->low, stripe->high, writer->puts, n, false, COMMIT);
	count(worker, COUNT_EFFECTS, n);
	stripe->at = n;
}

static void end(struct writer *writer, struct stripe *stripe)
{
	struct worker *worker = writer->worker;

	atomic_fetch_add_explicit(&stripe->script->recording->replays, 1, memory_order_relaxed);
	change_put(worker, stripe, stripe->low, stripe->high, NULL, one_in(&worker->rng, 2) ? BY_STORE : BY_TXN);
	stripe->script = NULL;
}

static void step(struct writer *writer, struct stripe *stripe)
{
	struct worker *worker = writer->worker;

	if (!stripe->script) {
		begin(writer, stripe);
	} else if (stripe->at < stripe->script->count) {
		carry_out(writer, stripe, &stripe->script->effect[stripe->at++]);
		if (one_in(&worker->rng, 3))
			random_change(writer, stripe, false);
	} else if (stripe->churn > 0) {
		stripe->churn--;
		random_change(writer, stripe, true);
	} else {
		end(writer, stripe);
	}
}

/* ---- The thread ---- */

void writer_room(struct writer *writer, size_t n)
{
	if (n <= writer->room)
		return;
	writer->room = 2 * n;
	writer->puts = realloc(writer->puts, writer->room * sizeof(*writer->puts));
	if (!writer->puts)
		abort();
}

void writer_run(struct worker *worker)
{
	struct writer writer = { .worker = worker };
	struct stripe *wide[64], *narrow[64];
	unsigned int nwide = 0, nnarrow = 0;

	for (unsigned int i = 0; i < worker->job->nstripes; i++) {
		struct stripe *stripe = &worker->job->stripes[i];

		if (stripe->owner == worker->number && stripe->narrow && nnarrow < 64)
			narrow[nnarrow++] = stripe;
		else if (stripe->owner == worker->number && !stripe->narrow && nwide < 64)
			wide[nwide++] = stripe;
	}
	shared_start(&writer.shared, worker);
	while (worker_goes_on(worker)) {
		uint64_t dice = rng_below(&worker->rng, 16);

		if (atomic_load_explicit(&worker->job->storm, memory_order_relaxed) && dice < 9)
			dice = 9;
		if (dice < 9)
			step(&writer, wide[rng_below(&worker->rng, nwide)]);
		else if (dice < 13)
			random_change(&writer, narrow[rng_below(&worker->rng, nnarrow)], true);
		else if (dice < 15)
			shared_change(&writer.shared);
		else
			reader_section(worker);
	}
	shared_stop(&writer.shared);
	free(writer.puts);
}
