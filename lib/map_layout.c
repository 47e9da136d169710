/* SPDX-License-Identifier: ISC */
/* What depends on the neighbours: guard pages, and entries that can be joined. */
#include "map.h"

/* ---- Guard pages ---- */

/* Space without an entry below it has no guard, nor has what lies behind one. */
static int unguard_run(struct cleave_map_txn *txn, uint64_t start, uint64_t end)
{
	struct cleave__map_view view;
	int error = 0;

	for (uint64_t addr = start; !error && addr < end; addr = view.end) {
		cleave__map_view(txn, addr, &view);
		if (view.end > end)
			view.end = end;
		if (view.object)
			error = cleave__map_stage(txn, addr, view.end, NULL);
	}
	return error;
}

/*
 * Where the guard of a run of unmapped space [start, end) belongs: one page, or both of exactly two, after the entry
 * below; the rest is free.
 */
static int guard_run(struct cleave_map_txn *txn, uint64_t start, uint64_t end)
{
	uint64_t page = cleave__map_page(txn->map), size = end - start == 2 * page ? 2 * page : page;
	struct cleave__map_view view;
	int error = 0;

	cleave__map_view(txn, start, &view);
	PORT_ASSERT(!cleave__map_is_guard(view.object) || view.start == start, "a guard begins behind an entry");
	if (!cleave__map_is_guard(view.object) || view.end != start + size)
		error = cleave__map_stage(txn, start, start + size, cleave__map_guard_value());
	return error ? error : unguard_run(txn, start + size, end);
}

/*
 * Guards depend on the layout alone, and a gap's guard on whether it has one, two or more pages: what lies more than
 * three pages from a change stays as it is.
 */
int cleave__map_place_guards(struct cleave_map_txn *txn)
{
	const struct cleave_map_config *config = &txn->map->config;
	uint64_t reach = 3 * cleave__map_page(txn->map), low = txn->pieces[0].start;
	uint64_t high = txn->pieces[txn->npieces - 1].end, changed = high, addr, run, keep;
	struct cleave__map_view view;
	int error = 0;

	/* `keep`: above the guard of a run that begins below sight. */
	low = low - config->min > reach ? low - reach : config->min;
	high = config->max - high > reach ? high + reach : config->max;
	for (addr = low; !error && addr < high; addr = view.end) {
		cleave__map_view(txn, addr, &view);
		if (cleave__map_is_entry(view.object))
			continue;
		keep = addr != config->min && cleave__map_is_guard(view.object) ? view.end : addr;
		for (run = addr; view.end < high; addr = view.end) {
			struct cleave__map_view next;

			cleave__map_view(txn, view.end, &next);
			if (cleave__map_is_entry(next.object))
				break;
			view.end = next.end;
		}
		if (view.end > high)
			view.end = high;
		if (view.end == high && high != config->max && run > changed)
			break; /* far from the change, and not all of it is in sight */
		/* What begins below sight, or at its edge, has the guard that it had; what is above that goes. */
		if (run == low)
			error = unguard_run(txn, keep, view.end);
		else
			error = guard_run(txn, run, view.end);
	}
	return error;
}

/* ---- Joining neighbours ---- */

static bool joinable(const struct cleave__map_object *low, const struct cleave__map_object *high)
{
	if (!cleave__map_is_entry(low) || !cleave__map_is_entry(high) || low->attributes.wired ||
	    (low->attributes.flags & (CLEAVE_MAP_SUBMAP | CLEAVE_MAP_IN_TRANSITION)))
		return false;
	return low == high || cleave__map_equal(&low->attributes, &high->attributes);
}

int cleave__map_join_runs(struct cleave_map_txn *txn, uint64_t low, uint64_t high)
{
	struct cleave__map_view view, next;
	uint64_t run;
	int error = 0;

	for (uint64_t addr = low; !error && addr < high; addr = view.end) {
		uint32_t n = 1;

		cleave__map_view(txn, addr, &view);
		run = view.start;
		while (run >= low && view.end < high) {
			cleave__map_view(txn, view.end, &next);
			if (!joinable(view.object, next.object) || next.end > high)
				break;
			view.end = next.end;
			/* Rather one that is known already than one made for the change. */
			if (!next.staged)
				view.object = next.object;
			n++;
		}
		if (n > 1)
			error = cleave__map_stage(txn, run, view.end, view.object);
	}
	return error;
}

/* Join from the neighbour below the first piece to the one above the last. */
int cleave__map_join_pieces(struct cleave_map_txn *txn)
{
	uint64_t low = txn->pieces[0].start, high = txn->pieces[txn->npieces - 1].end;
	struct cleave__map_view view;

	if (low > txn->txn.first) {
		cleave__map_view(txn, low - 1, &view);
		if (view.start >= txn->txn.first)
			low = view.start;
	}
	if (high <= txn->txn.last) {
		cleave__map_view(txn, high, &view);
		if (view.end - 1 <= txn->txn.last)
			high = view.end;
	}
	return cleave__map_join_runs(txn, low, high);
}
