/* SPDX-License-Identifier: ISC */
#include "map_model.h"

#include <cleave/map.h>

#include <errno.h>
#include <string.h>

#define RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)

const char *const kind_names[KINDS] = { "nothing", "lookup", "check", "snapshot", "protect", "inherit",
					"replace", "map",    "unmap", "move",	  "clip",    "coalesce",
					"wire",	   "unwire", "miswire", "fork",	  "extract", "busy" };

static unsigned int protection_of(uint8_t page)
{
	return page >> 1 & 7u;
}

/* 0, or what is wrong with the first hole. */
static int holes(const struct state *state, const struct call *call, int at_first, int later)
{
	for (unsigned int i = call->first; i < call->end; i++)
		if (!state->page[i])
			return i == call->first ? at_first : later;
	return 0;
}

static void set_protection(uint8_t *page, unsigned int protection)
{
	*page = (uint8_t)((*page & ~(7u << 1)) | protection << 1);
	if (!protection)
		*page &= (uint8_t)~WIRED;
}

static void fill(struct state *state, unsigned int first, unsigned int end, uint8_t page)
{
	memset(&state->page[first], page, end - first);
}

/* As others see it. */
static struct state visible(const struct state *state)
{
	struct state seen;

	for (unsigned int i = 0; i < PAGES; i++)
		seen.page[i] = state->page[i] & (uint8_t)~PASSING;
	return seen;
}

/* What a child gets. */
static void child_of(const struct state *state, struct state *child)
{
	for (unsigned int i = 0; i < PAGES; i++)
		child->page[i] =
			(state->page[i] >> 4 & 3) == CLEAVE_INHERIT_NONE ? 0 : state->page[i] & (uint8_t)~WIRED;
}

static bool same(const struct state *one, const struct state *other)
{
	return memcmp(one, other, sizeof(*one)) == 0;
}

/* Do it; the error. */
static int change(struct state *state, const struct call *call)
{
	uint8_t fresh = PAGE_CODE(RW, CLEAVE_INHERIT_COPY);
	int error = 0;

	switch (call->kind) {
	case PROTECT:
		for (unsigned int i = call->first; i < call->end; i++)
			if (state->page[i])
				set_protection(&state->page[i], call->value);
		break;
	case INHERIT:
		for (unsigned int i = call->first; i < call->end; i++)
			if (state->page[i])
				state->page[i] =
					(uint8_t)((state->page[i] & ~(3u << 4)) | (unsigned int)call->value << 4);
		break;
	case MAP:
		for (unsigned int i = call->first; i < call->end; i++)
			if (state->page[i])
				return -ENOMEM;
		/* fall through */
	case REPLACE:
		fill(state, call->first, call->end, fresh);
		break;
	case UNMAP:
	case MOVE:
		error = holes(state, call, -EINVAL, -EINVAL);
		if (error)
			break;
		fill(state, call->first, call->end, 0);
		if (call->kind == MOVE)
			state->page[call->value] = fresh;
		break;
	case CLIP:
		return state->page[call->first] ? 0 : -ENOENT;
	case WIRE:
	case UNWIRE:
	case MISWIRE:
		error = holes(state, call, -EFAULT, -EINVAL);
		for (unsigned int i = call->first; !error && i < call->end; i++)
			if (call->kind == UNWIRE)
				state->page[i] &= (uint8_t)~WIRED;
			else if (protection_of(state->page[i]) && !(state->page[i] & WIRED))
				state->page[i] |= call->kind == MISWIRE ? WIRED | PASSING : WIRED;
		break;
	case EXTRACT:
		return holes(state, call, -EINVAL, -EINVAL);
	default:
		break;
	}
	return error;
}

/* A wiring that failed takes back what it had wired. */
static void take_back(struct state *state, const struct call *call)
{
	for (unsigned int i = call->first; i < call->end; i++)
		if (state->page[i] & PASSING)
			state->page[i] &= (uint8_t)~(WIRED | PASSING);
}

/* False: it would have answered otherwise. */
static bool apply(struct state *state, const struct record *record)
{
	const struct call *call = &record->call;
	struct state seen = visible(state), child;
	bool all = true;

	if (record->error == -ENOMEM && call->kind != MAP)
		return true; /* an allocation failed: it has done nothing */
	switch (call->kind) {
	case LOOKUP:
		return seen.page[call->first] == record->state.page[call->first];
	case CHECK:
		for (unsigned int i = call->first; i < call->end; i++)
			all = all && state->page[i] && !(call->value & ~protection_of(state->page[i]));
		return record->error == all;
	case BUSY:
		for (unsigned int i = 0; i < PAGES; i++)
			seen.page[i] &= record->mask;
		/* fall through */
	case SNAPSHOT:
		return same(&seen, &record->state);
	case FORK:
		child_of(&seen, &child);
		return same(&child, &record->state);
	case EXTRACT:
		if (record->error || change(state, call))
			return record->error == change(state, call);
		for (unsigned int i = call->first; i < call->end; i++)
			if (protection_of(record->state.page[i - call->first]) !=
			    (protection_of(state->page[i]) & ~CLEAVE_PROT_EXEC))
				return false;
		return true;
	case MISWIRE:
		if (record->error == MISWIRED)
			return change(state, call) == 0;
		/* Nothing was to be wired where it would have failed, or it was wired already. */
		if (change(state, call) != record->error)
			return false;
		*state = visible(state);
		return true;
	default:
		/* Who changes what a wiring passes over waits for it. */
		for (unsigned int i = call->first; i < call->end; i++)
			if (state->page[i] & PASSING)
				return false;
		return record->error == change(state, call);
	}
}

/* ---- The search ---- */

#define ITEMS (2 * THREADS * MOST_CALLS)

/* A call each; one that fails after it has wired is two. */
static const struct record *items[ITEMS];
static bool second[ITEMS];
static uint32_t before[ITEMS]; /* items that must come first */
static unsigned int nitems;
static const struct state *wanted;

static bool search(const struct state *state, uint32_t done)
{
	if (done == (UINT32_C(1) << nitems) - 1)
		return same(state, wanted);
	for (unsigned int k = 0; k < nitems; k++) {
		struct state next = *state;

		if ((done >> k & 1) || (before[k] & ~done))
			continue;
		if (second[k])
			take_back(&next, &items[k]->call);
		else if (!apply(&next, items[k]))
			continue;
		if (search(&next, done | UINT32_C(1) << k))
			return true;
	}
	return false;
}

/*
 * Lookups are acquire, not sequentially consistent: what a thread reads after it has done something else may be older,
 * where loads may be stale.
 */
static bool may_be_older(const struct call *call, unsigned int i)
{
	return (call->kind == LOOKUP || call->kind == CHECK) && i > 0;
}

bool map_explained(const struct state *start, const struct state *end, struct record records[THREADS][MOST_CALLS],
		   const unsigned int *ncalls, bool weak)
{
	uint32_t of[THREADS][MOST_CALLS] = { { 0 } };
	unsigned int thread[ITEMS], place[ITEMS];

	nitems = 0;
	wanted = end;
	for (unsigned int t = 0; t < THREADS; t++)
		for (unsigned int i = 0; i < ncalls[t]; i++) {
			if (weak && may_be_older(&records[t][i].call, i))
				continue;
			for (bool again = false;; again = true) {
				of[t][i] = UINT32_C(1) << nitems;
				thread[nitems] = t;
				place[nitems] = i;
				second[nitems] = again;
				items[nitems++] = &records[t][i];
				if (again || records[t][i].error != MISWIRED)
					break;
			}
		}
	for (unsigned int k = 0; k < nitems; k++) {
		before[k] = second[k] ? UINT32_C(1) << (k - 1) : 0;
		for (unsigned int u = 0; u < THREADS; u++)
			for (unsigned int j = 0; j < ncalls[u]; j++) {
				bool first = u == thread[k] ? j < place[k]
					     : weak	    ? (items[k]->seen >> (u * MOST_CALLS + j) & 1) != 0
							    : records[u][j].returned <= items[k]->began;

				if (first)
					before[k] |= of[u][j];
			}
	}
	return search(start, 0);
}
