/* SPDX-License-Identifier: ISC */
#include "change.h"

#include <inttypes.h>

#define BATCH 64

void change_compare(struct worker *worker, struct stripe *stripe, const struct space_effect *snapshot)
{
	struct cleave_visit visits[BATCH];
	struct cleave_cursor cursor;
	size_t i = 0;

	cleave_cursor_init(&cursor, worker->index, stripe->first, true);
	while (i < stripe->tiles.n) {
		size_t n;

		worker_enter(worker);
		n = cleave_next_rcu(&cursor, visits, BATCH);
		worker_leave(worker);
		for (size_t v = 0; v < n && i < stripe->tiles.n; v++, i++) {
			const struct cleave_entry *entry = &visits[v].entry;
			const struct tile *tile = &stripe->tiles.tile[i];

			if (entry->first != tile->first || entry->last != tile->last || entry->value != tile->object) {
				violation(worker, tile->first,
					  "whole stripe: %" PRIx64 "-%" PRIx64 " %p should be %" PRIx64 "-%" PRIx64
					  " %p",
					  entry->first, entry->last, entry->value, tile->first, tile->last,
					  (void *)tile->object);
				return;
			}
		}
		if (n < BATCH && i < stripe->tiles.n) {
			violation(worker, stripe->tiles.tile[i].first, "the cursor ended before the stripe did");
			return;
		}
	}
	count(worker, COUNT_CHECKED_STRIPES, 1);
	if (!snapshot)
		return;

	/* From boundary to boundary of either side: how they are split does not matter. */
	uint64_t at = stripe->low;

	i = tiles_find(&stripe->tiles, at);
	for (size_t r = 0; at <= stripe->high;) {
		const struct tile *tile = &stripe->tiles.tile[i];
		const struct trace_range *range = r < snapshot->count ? &snapshot->ranges[r] : NULL;
		uint64_t start = range ? stripe_fold(stripe, range->start) : 0;
		uint64_t end = range ? start + (range->end - range->start - 1) : 0, last = tile->last;
		bool mapped = range && start <= at;

		if (mapped && end < last)
			last = end;
		else if (range && !mapped && start - 1 < last)
			last = start - 1;
		if (mapped != (tile->object != NULL) ||
		    (mapped && ((tile->object->attributes ^ range->attributes) & TRACE_PROT))) {
			violation(worker, at,
				  "%s: process %" PRIu32 ": %" PRIx64 "-%" PRIx64
				  " has attributes %d, the recorded snapshot %d (-1: not mapped)",
				  stripe->script->recording->name, stripe->script->process, at - stripe->base,
				  last - stripe->base, tile->object ? (int)tile->object->attributes : -1,
				  mapped ? (int)range->attributes : -1);
			return;
		}
		if (tile->last == last)
			i++;
		if (mapped && end == last)
			r++;
		if (last == stripe->high)
			break;
		at = last + 1;
	}
	count(worker, COUNT_CHECKED_SNAPSHOTS, 1);
}
