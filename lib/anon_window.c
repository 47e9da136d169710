/* SPDX-License-Identifier: ISC */
/*
 * How many windows cover a slot: an index of the store's own, from ranges of slots to a number, or to the mark of slots
 * whose last window went and whose wipe has not ended.
 *
 *	a gap		     no window
 *	2 * n + 1	     n windows
 *	generation * 2 (even) dying of one change
 *
 *	1. unmap: the number becomes 0; publishes; waits for guards; removes translations
 *	2. map: a window over the same slots; fault: finds the old anon
 *	3. unmap: wipes the slots of 2's window
 *
 * So a number does not become 0 but DYING, and no window is put over that.  Clearing the mark may fail for lack of
 * memory: then it stays, and `wiping` (0: no wipe is under way) says that it no longer means anything.
 */
#include "anon_wipe.h"

static void *number_value(uint64_t n)
{
	return n ? (void *)(uintptr_t)(2 * n + 1) : NULL;
}

static bool is_dying(const void *value)
{
	return value && ((uintptr_t)value & 1) == 0;
}

static uint64_t number_of(const void *value)
{
	return is_dying(value) ? 0 : (uintptr_t)value / 2;
}

uint64_t cleave_anon_windows_rcu(const struct cleave_anon *store, uint64_t slot)
{
	return number_of(cleave_value_rcu(&store->windows, slot));
}

/* ---- Begin ---- */

/* The entry that holds a slot, at this moment. */
static void entry_at(struct cleave_anon_context *context, const struct cleave_anon *store, uint64_t slot,
		     struct cleave_entry *entry)
{
	struct cleave_domain *rcu = context->domain->guards.domain;

	rcu->ops->enter(rcu, context->self);
	cleave_lookup_rcu(&store->windows, slot, entry);
	rcu->ops->leave(rcu, context->self);
}

int cleave_anon_windows_begin(struct cleave_anon_change *change, struct cleave_anon_context *context,
			      struct cleave_anon *store, uint64_t first, uint64_t last)
{
	struct cleave_entry left, right;

	if (first > last || last >= CLEAVE_ANON_SLOTS)
		return -EINVAL;
	memset(change, 0, offsetof(struct cleave_anon_change, txn));
	change->context = context;
	change->store = store;
	change->hull_first = first;
	change->hull_last = last;
	change->ranges = change->inline_ranges;
	change->capacity = CLEAVE_ANON_RANGES;
	/* Neighbours are locked too, as they are now, so that equal ones can be joined. */
	entry_at(context, store, first ? first - 1 : 0, &left);
	entry_at(context, store, last + 1, &right);
	change->first = left.value ? left.first : first ? first - 1 : 0;
	change->last = right.value ? right.last : last + 1;
	return cleave_begin(&change->txn, &store->windows, context->self, change->first, change->last);
}

/* ---- Put ---- */

/* What a slot has in the index, and where that ends; a mark whose wipe has ended is no mark. */
static void *before(struct cleave_anon_change *change, uint64_t slot, uint64_t *first, uint64_t *last)
{
	struct cleave_entry entry;
	void *value = cleave_txn_lookup(&change->txn, slot, &entry);

	*first = entry.first;
	*last = entry.last;
	/*
	 * Relaxed, and yet after the wipe: the leaf that holds the mark is locked, and was by who wiped, when it tried
	 * to erase the mark; it lowers `wiping` after that.
	 */
	if (is_dying(value) && !PORT_LOAD(&change->store->wiping, PORT_RELAXED))
		return NULL;
	return value;
}

/* The first staged range that ends at or above `slot`. */
static uint32_t range_at(const struct cleave_anon_change *change, uint64_t slot)
{
	uint32_t low = 0, high = change->nranges;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (change->ranges[middle].last < slot)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int64_t delta_at(const struct cleave_anon_change *change, uint64_t slot, uint64_t *last)
{
	uint32_t i = range_at(change, slot);

	if (i == change->nranges)
		return 0;
	if (change->ranges[i].first > slot) {
		if (*last >= change->ranges[i].first)
			*last = change->ranges[i].first - 1;
		return 0;
	}
	if (*last > change->ranges[i].last)
		*last = change->ranges[i].last;
	return change->ranges[i].delta;
}

/* May `delta` more windows be put there? */
static int check_put(struct cleave_anon_change *change, uint64_t first, uint64_t last, int delta)
{
	uint64_t slot = first, from, to;

	for (;; slot = to + 1) {
		void *value = before(change, slot, &from, &to);
		int64_t sum;

		if (to > last)
			to = last;
		sum = delta + delta_at(change, slot, &to);
		if (is_dying(value))
			return -EBUSY;
		if ((int64_t)number_of(value) + sum < 0)
			return -EINVAL;
		if (to == last)
			return 0;
	}
}

static void insert_range(struct cleave_anon_change *change, uint32_t at, uint64_t first, uint64_t last, int64_t delta)
{
	for (uint32_t i = change->nranges++; i > at; i--)
		change->ranges[i] = change->ranges[i - 1];
	change->ranges[at] = (struct cleave__anon_range){ first, last, delta };
}

/* A range begins at `slot`, if one holds it. */
static void split_range(struct cleave_anon_change *change, uint64_t slot)
{
	uint32_t i = range_at(change, slot);

	if (i < change->nranges && change->ranges[i].first < slot) {
		insert_range(change, i + 1, slot, change->ranges[i].last, change->ranges[i].delta);
		change->ranges[i].last = slot - 1;
	}
}

static int more_ranges(struct cleave_anon_change *change, uint32_t wanted)
{
	const struct cleave_memory *memory = change->context->domain->guards.domain->memory;
	uint32_t capacity = 2 * change->capacity;
	struct cleave__anon_range *ranges;

	if (wanted <= change->capacity)
		return 0;
	/* A put adds one range more than there are at the most, and there was room for twice as many and four. */
	PORT_ASSERT(wanted <= capacity, "twice the room is enough");
	ranges = memory->alloc(memory, capacity * sizeof(*ranges), sizeof(uint64_t));
	if (!ranges)
		return -ENOMEM;
	for (uint32_t i = 0; i < change->nranges; i++)
		ranges[i] = change->ranges[i];
	if (change->ranges != change->inline_ranges)
		memory->free(memory, change->ranges, change->capacity * sizeof(*ranges));
	change->ranges = ranges;
	change->capacity = capacity;
	return 0;
}

int cleave_anon_windows_put(struct cleave_anon_change *change, uint64_t first, uint64_t last, int delta)
{
	uint64_t slot = first;
	uint32_t i;
	int result;

	if (first > last || first < change->hull_first || last > change->hull_last)
		return -EINVAL;
	result = check_put(change, first, last, delta);
	if (!result) /* two splits, and a piece in each space between ranges */
		result = more_ranges(change, 2 * change->nranges + 4);
	if (result)
		return result;
	split_range(change, first);
	split_range(change, last + 1);
	for (i = range_at(change, first); slot <= last; i++) {
		if (i == change->nranges || change->ranges[i].first > slot) {
			uint64_t end = i < change->nranges && change->ranges[i].first <= last
					       ? change->ranges[i].first - 1
					       : last;

			insert_range(change, i, slot, end, delta);
		} else {
			change->ranges[i].delta += delta;
		}
		slot = change->ranges[i].last + 1;
	}
	return 0;
}

/* ---- Prepare ---- */

/* One run of equal values, as the index will have it. */
struct run {
	uint64_t first;
	uint64_t last;
	void *value;
	bool changed;
};

static int put_run(struct cleave_anon_change *change, const struct run *run)
{
	return run->changed ? cleave_put(&change->txn, run->first, run->last, run->value) : 0;
}

/* Walk the locked range as it will be; put each run of equal values that something changes in. */
static int put_all(struct cleave_anon_change *change, bool again)
{
	struct run run = { 0, 0, NULL, false };
	uint64_t slot = change->first, from, to;

	for (;; slot = to + 1) {
		struct cleave_entry entry;
		void *old = cleave_txn_lookup(&change->txn, slot, &entry), *value = before(change, slot, &from, &to);
		int64_t delta;
		int result;

		to = to < change->last ? to : change->last;
		delta = delta_at(change, slot, &to);
		if (delta) {
			value = number_value((uint64_t)((int64_t)number_of(value) + delta));
			if (!value)
				value = change->dying;
		}
		if (slot != change->first && run.value == value) {
			run.last = to;
			run.changed |= value != old || value; /* two entries that were apart */
		} else {
			result = slot == change->first ? 0 : put_run(change, &run);
			if (result)
				return result;
			run = (struct run){ slot, to, value, value != old || again };
			change->ndying += value == change->dying;
		}
		if (to == change->last)
			return put_run(change, &run);
	}
}

/* Spare nodes for the wipe, out of reach for whatever else the context does. */
static int keep_nodes(struct cleave_anon_change *change, uint32_t wanted)
{
	struct cleave_anon_context *context = change->context;

	while (change->nnodes < wanted) {
		if (cleave__anon_stock(context, 1, 0)) /* does not wait: leaves are locked */
			return -ENOMEM;
		cleave__anon_push(&change->nodes, cleave__anon_pop(&context->nodes));
		context->nnodes--;
		change->nnodes++;
	}
	return 0;
}

static void give_nodes(struct cleave_anon_change *change, uint32_t n)
{
	for (; n > 0 && change->nnodes; n--, change->nnodes--)
		cleave__anon_give(change->context, cleave__anon_pop(&change->nodes));
}

int cleave_anon_windows_prepare(struct cleave_anon_change *change)
{
	bool again = change->dying != NULL; /* what was staged before may no longer be so */
	int result;

	if (!again)
		change->dying = (void *)(uintptr_t)(cleave__anon_generation(change->context->domain) * 2);
	change->ndying = 0;
	result = put_all(change, again);
	if (!result && !change->unused)
		result = keep_nodes(change, change->ndying * cleave__anon_wipe_needs(change->store));
	return result;
}

/* ---- End ---- */

static void free_ranges(struct cleave_anon_change *change)
{
	const struct cleave_memory *memory = change->context->domain->guards.domain->memory;

	if (change->ranges != change->inline_ranges)
		memory->free(memory, change->ranges, change->capacity * sizeof(*change->ranges));
	change->ranges = change->inline_ranges;
	change->nranges = 0;
	change->capacity = CLEAVE_ANON_RANGES;
}

void cleave_anon_windows_commit(struct cleave_anon_change *change)
{
	if (change->ndying)
		PORT_FETCH_ADD(&change->store->wiping, 1, PORT_RELAXED); /* before the marks are published */
	cleave_commit(&change->txn, NULL);
	free_ranges(change);
}

void cleave_anon_windows_abort(struct cleave_anon_change *change)
{
	cleave_abort(&change->txn);
	free_ranges(change);
	give_nodes(change, UINT32_MAX);
}

/* The next range at or above `slot` that dies of this change. */
static bool next_dying(struct cleave_anon_change *change, uint64_t slot, struct cleave_entry *entry)
{
	struct cleave_domain *rcu = change->context->domain->guards.domain;
	struct cleave_cursor cursor;
	struct cleave_visit visit;
	bool found = false;

	if (slot > change->hull_last)
		return false;
	cleave_cursor_init(&cursor, &change->store->windows, slot, false);
	rcu->ops->enter(rcu, change->context->self);
	while (!found && cleave_next_rcu(&cursor, &visit, 1) == 1 && visit.first <= change->hull_last)
		found = visit.entry.value == change->dying;
	rcu->ops->leave(rcu, change->context->self);
	if (found)
		*entry = (struct cleave_entry){ visit.first, visit.last, visit.entry.value };
	return found;
}

void cleave_anon_windows_wipe(struct cleave_anon_change *change)
{
	struct cleave_anon_context *context = change->context;
	struct cleave_anon *store = change->store;
	struct cleave_entry entry;
	bool dying = change->ndying != 0;

	for (uint64_t slot = change->hull_first; dying && next_dying(change, slot, &entry); slot = entry.last + 1) {
		if (!change->unused) {
			give_nodes(change, cleave__anon_wipe_needs(store));
			cleave__anon_stock(context, 0, cleave__anon_wipe_needs(store));
			cleave__anon_wipe_begin(context, store);
			cleave__anon_wipe_stocked(context, store, entry.first, entry.last, true);
			cleave__anon_wipe_end(context, store);
		}
		/* Should that lack memory, the mark stays until somebody else puts something there (before()). */
		cleave_erase(&store->windows, context->self, entry.first, entry.last, NULL);
	}
	if (dying)
		PORT_FETCH_ADD(&store->wiping, UINT64_MAX, PORT_RELAXED);
	give_nodes(change, UINT32_MAX);
	change->ndying = 0;
	cleave__anon_finish_giving(context);
}

/* What holds nothing is left alone: a wipe would copy the shared nodes at its boundaries. */
static int wipe_gap(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first, uint64_t last)
{
	struct cleave_domain *rcu = context->domain->guards.domain;
	struct cleave_anon_visit visit;
	uint64_t slot = first;
	bool empty;

	rcu->ops->enter(rcu, context->self);
	empty = cleave_anon_next_rcu(store, &slot, &visit, 1) == 0 || visit.slot > last;
	rcu->ops->leave(rcu, context->self);
	return empty ? 0 : cleave_anon_wipe(context, store, first, last);
}

int cleave_anon_wipe_outside(struct cleave_anon_context *context, struct cleave_anon *store)
{
	uint64_t slot = 0, end = cleave_anon_slots(store) - 1;
	struct cleave_entry entry;
	int result = 0;

	while (!result) {
		entry_at(context, store, slot, &entry);
		if (!number_of(entry.value))
			result = wipe_gap(context, store, slot, entry.last);
		if (entry.last >= end)
			break;
		slot = entry.last + 1;
	}
	return result;
}
