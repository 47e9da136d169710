/* SPDX-License-Identifier: ISC */
#include "anon_model.h"

#include <stdlib.h>
#include <string.h>

#define MOST_ITEMS 24u

/* A call, or its part on one slot: a wipe takes effect slot by slot. */
struct item {
	const struct record *record;
	uint8_t slot;
	uint32_t before; /* items that must come first */
};

static struct item items[MOST_ITEMS];
static unsigned int nitems;
static const struct state *wanted;

static bool by_slot(enum kind kind)
{
	return kind == WIPE || kind == MAP || kind == UNMAP || kind == ITERATE;
}

static void copy_store(struct state *state, unsigned int from, unsigned int to)
{
	for (unsigned int i = 0; i < SLOTS; i++) {
		state->value[to][i] = state->value[from][i];
		state->windows[to][i] = 0;
	}
	state->size[to] = state->size[from];
}

/* False: it would have answered otherwise. */
static bool apply(struct state *state, const struct item *item)
{
	const struct call *call = &item->record->call;
	uint8_t *value = &state->value[call->store][item->slot];

	if (item->slot >= state->size[call->store] &&
	    (call->kind == READ || call->kind == FILL || call->kind == WRITE || call->kind == REMOVE ||
	     call->kind == REPLACE))
		return item->record->answer == NO_SLOT;
	switch (call->kind) {
	case READ:
		return *value == item->record->answer;
	case LOOK:
		return (*value != 0) == item->record->answer || item->slot >= state->size[call->store];
	case FILL:
		if (*value != item->record->answer)
			return false;
		if (!*value)
			*value = call->value;
		return true;
	case WRITE:
		if (*value != item->record->answer)
			return false;
		*value = call->value;
		return true;
	case POKE:
		*value = call->value;
		return true;
	case REPLACE:
		if (*value != item->record->answer)
			return false;
		if (*value)
			*value = call->value;
		return true;
	case REMOVE:
		if (*value != item->record->answer)
			return false;
		*value = 0;
		return true;
	case WIPE:
		*value = 0;
		return true;
	case ITERATE:
		return (*value != 0) == (item->record->answer >> item->slot & 1) ||
		       item->slot >= state->size[call->store]; /* what is truncated goes slot by slot */
	case BOTH:
		copy_store(state, 0, call->value);
		copy_store(state, 1, call->value + SECOND);
		return true;
	case END:
		memset(state->value[call->store], 0, SLOTS);
		memset(state->windows[call->store], 0, SLOTS);
		state->size[call->store] = 0;
		return true;
	case CLONE:
	case CHILD:
		copy_store(state, call->store, call->value);
		for (unsigned int i = 0; i < SLOTS && call->kind == CHILD; i++) {
			state->windows[call->value][i] = i >= call->slot && i <= call->last;
			if (!state->windows[call->value][i])
				state->value[call->value][i] = 0;
		}
		return true;
	case RESIZE:
		if (state->size[call->store] != item->record->answer)
			return false;
		for (unsigned int i = call->slot; i < SLOTS; i++)
			state->value[call->store][i] = 0;
		state->size[call->store] = call->slot;
		return true;
	case MAP:
		state->windows[call->store][item->slot]++;
		return true;
	case UNMAP:
		if (--state->windows[call->store][item->slot] == 0)
			*value = 0;
		return true;
	default:
		return true;
	}
}

static bool changes_nothing(enum kind kind)
{
	return kind == FLUSH || kind == WALK || kind == DROUGHT || kind == COPY || kind == STOP || kind == REOPEN ||
	       kind == LOCK || kind == LIMIT || kind == NOTHING;
}

static bool search(const struct state *state, uint32_t done)
{
	if (done == (UINT32_C(1) << nitems) - 1) {
		for (unsigned int s = 0; s < STORES; s++)
			for (unsigned int i = 0; i < SLOTS; i++)
				if (state->value[s][i] != wanted->value[s][i] ||
				    state->windows[s][i] != wanted->windows[s][i] ||
				    state->size[s] != wanted->size[s])
					return false;
		return true;
	}
	for (unsigned int k = 0; k < nitems; k++) {
		struct state next = *state;

		if ((done >> k & 1) || (items[k].before & ~done) || !apply(&next, &items[k]))
			continue;
		if (search(&next, done | UINT32_C(1) << k))
			return true;
	}
	return false;
}

/*
 * Lookups are acquire, not sequentially consistent: what a thread reads after it has changed or read another slot may
 * be older, where loads may be stale.  A clone that is its own is no such slot.
 */
static bool may_be_older(const struct record *records, unsigned int i)
{
	const struct call *call = &records[i].call;

	if ((call->kind != READ && call->kind != LOOK && call->kind != ITERATE) || call->store >= 2)
		return false;
	while (i-- > 0)
		if (call->kind == ITERATE || records[i].call.store != call->store || records[i].call.slot != call->slot)
			return true;
	return false;
}

bool anon_explained(const struct state *start, const struct state *end, struct record records[THREADS][MOST_CALLS],
		    const unsigned int *ncalls, bool weak)
{
	uint32_t of[THREADS][MOST_CALLS] = { { 0 } };

	nitems = 0;
	wanted = end;
	for (unsigned int t = 0; t < THREADS; t++)
		for (unsigned int i = 0; i < ncalls[t]; i++) {
			struct record *record = &records[t][i];
			const struct call *call = &record->call;

			if (weak && may_be_older(records[t], i))
				continue;
			if (record->failed || changes_nothing(call->kind))
				continue;
			for (unsigned int slot = call->slot; slot <= (by_slot(call->kind) ? call->last : call->slot);
			     slot++) {
				if (nitems == MOST_ITEMS)
					abort();
				of[t][i] |= UINT32_C(1) << nitems;
				items[nitems++] = (struct item){ record, (uint8_t)slot, 0 };
			}
		}
	for (unsigned int t = 0; t < THREADS; t++)
		for (unsigned int i = 0; i < ncalls[t]; i++)
			for (unsigned int k = 0; k < nitems; k++) {
				if (!(of[t][i] >> k & 1))
					continue;
				for (unsigned int u = 0; u < THREADS; u++)
					for (unsigned int j = 0; j < ncalls[u]; j++) {
						bool first = records[u][j].returned <= records[t][i].began;

						if (u == t)
							first = j < i;
						else if (weak)
							first = records[t][i].seen >> (u * MOST_CALLS + j) & 1;
						if (first)
							items[k].before |= of[u][j];
					}
			}
	return search(start, 0);
}
