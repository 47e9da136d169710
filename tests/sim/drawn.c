/* SPDX-License-Identifier: ISC */
/*
 * Scenarios that nobody thought of: a number draws a small index, and what two or three threads do around one place.
 */
#include "drawn.h"

#include <string.h>

#define LAST_UNIT 62u /* the last that stands for one address */
#define MOST_DRAWN_ITEMS 14u
#define MOST_DRAWN_SEARCHES 4u

struct draw {
	uint64_t state;
	uint8_t focus;
	unsigned int items, searches;
};

static struct shape shape;

/* splitmix64 */
static unsigned int below(struct draw *draw, unsigned int n)
{
	uint64_t x = draw->state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (unsigned int)((x ^ x >> 31) >> 32) % n;
}

static bool once_in(struct draw *draw, unsigned int n)
{
	return below(draw, n) == 0;
}

static uint8_t clamp(int unit)
{
	return (uint8_t)(unit < 1 ? 1 : unit > (int)LAST_UNIT ? (int)LAST_UNIT : unit);
}

static uint8_t near(struct draw *draw, unsigned int far)
{
	return clamp(draw->focus + (int)below(draw, 2 * far + 1) - (int)far);
}

/* ---- The index ---- */

static unsigned int draw_entries(struct draw *draw)
{
	unsigned int wanted = below(draw, 22), n = 0, at = below(draw, 6);

	memset(&shape, 0, sizeof(shape));
	shape.name = "drawn";
	while (n < wanted && at + 4 < LAST_UNIT) {
		struct call *entry = &shape.entries[n++];

		entry->first = (uint8_t)at;
		at += below(draw, 4);
		entry->last = (uint8_t)at++;
		entry->value = (uint8_t)(1 + below(draw, 3));
		at += once_in(draw, 3) ? 1 + below(draw, 3) : 0;
	}
	return n;
}

/* What leaves bounds that are too high, cells that are retired, leaves that are nearly full or nearly empty. */
static void draw_preparation(struct draw *draw)
{
	static const enum kind kinds[] = { CLIP, UNCLIP, STORE, ERASE };
	unsigned int n = below(draw, MAX_PREPARE);

	for (unsigned int i = 0; i < n; i++) {
		struct call *call = &shape.prepare[i];

		call->kind = kinds[below(draw, 4)];
		call->first = near(draw, 12);
		call->last = clamp(call->first + (int)below(draw, 6));
		call->value = (uint8_t)(1 + below(draw, 3));
	}
}

/* ---- Calls ---- */

/* Without a lock: the answer is of an instant that no other thread knows of. */
static bool looks(enum kind kind)
{
	return (kind <= FIND && kind != FREEZE && kind != DUPLICATE) || kind == ALLOC;
}

/* How many instants has the call's answer? */
static unsigned int items_of(const struct call *call)
{
	switch (call->kind) {
	case FIND:
	case ALLOC:
		return 3;
	case TICKET:
		return 2;
	case MANY:
	case NEXT:
	case PREVIOUS:
	case NEXT_ENTRY:
	case PREVIOUS_ENTRY:
	case LOOK_RANGE:
		return call->n;
	default:
		return 1;
	}
}

/* An entry of the beginning, or two neighbours, or any range. */
static void draw_range(struct draw *draw, unsigned int nentries, struct call *call)
{
	if (nentries > 0 && once_in(draw, 2)) {
		const struct call *entry;
		unsigned int i = 0;

		while (i + 1 < nentries && shape.entries[i].last < draw->focus)
			i++;
		i = i > 0 && once_in(draw, 3) ? i - 1 : i;
		entry = &shape.entries[i];
		call->first = entry->first;
		call->last = i + 1 < nentries && once_in(draw, 4) ? entry[1].last : entry->last;
		call->value = entry->value;
	} else {
		call->first = near(draw, 4);
		call->last = clamp(call->first + (int)below(draw, 6));
		if (once_in(draw, 20))
			call->last = UNITS - 1;
	}
}

static bool is_transaction(enum kind kind)
{
	return kind == COMMIT || kind == ABORT || kind == PUBLISH || kind == TRY_COMMIT;
}

static struct call draw_call(struct draw *draw, unsigned int nentries, bool may_look)
{
	struct call call = { .kind = KINDS };

	while (call.kind == KINDS || (looks(call.kind) && (!may_look || once_in(draw, 3))))
		call.kind = (enum kind)below(draw, KINDS);
	draw_range(draw, nentries, &call);
	if (call.kind == REPLACE || call.kind == TRY_REPLACE) {
		call.value = call.value ? call.value : 1;
		call.value2 = (uint8_t)(4 + below(draw, 3));
		return call;
	}
	call.value = (uint8_t)(4 + below(draw, 8));
	call.n = (uint8_t)(2 + below(draw, 3));
	if (call.kind == FIND || call.kind == ALLOC) {
		bool all = once_in(draw, 2);

		call.order = (enum cleave_order)below(draw, CLEAVE_BEST + 1);
		call.hint = near(draw, 6);
		call.n = (uint8_t)(1 + below(draw, 5));
		call.first = all ? 0 : clamp(draw->focus - 8);
		call.last = all ? LAST_UNIT : clamp(draw->focus + 8);
	} else if (is_transaction(call.kind)) {
		call.value = once_in(draw, 3) ? 0 : call.value;
		if (call.last < LAST_UNIT && once_in(draw, 2)) {
			call.first2 = clamp(call.last + 1 + (int)below(draw, 5));
			call.last2 = clamp(call.first2 + (int)below(draw, 4));
			call.value2 = once_in(draw, 2) ? 0 : (uint8_t)(12 + below(draw, 3));
		}
	} else if (call.kind == HOLD || call.kind == TRY_STORE) {
		call.value = once_in(draw, 3) ? 0 : call.value;
	} else if (call.kind == BUILD) { /* of two different addresses */
		call.first = clamp(draw->focus - 2);
		call.last = (uint8_t)(call.first + 1 + once_in(draw, 2));
	} else if ((call.kind == CLIP || call.kind == TRY_CLIP) && once_in(draw, 2)) {
		call.first = call.last = near(draw, 3); /* inside, not at a border */
	}
	return call;
}

static unsigned int draw_thread(struct draw *draw, unsigned int nentries, bool may_look, struct call *calls)
{
	unsigned int wanted = 1 + below(draw, 3), n = 0;

	for (unsigned int i = 0; i < wanted; i++) {
		struct call call = draw_call(draw, nentries, may_look);
		bool searches = call.kind == FIND || call.kind == ALLOC;

		if (draw->items + items_of(&call) > MOST_DRAWN_ITEMS ||
		    (searches && draw->searches == MOST_DRAWN_SEARCHES))
			continue;
		draw->items += items_of(&call);
		draw->searches += searches;
		calls[n++] = call;
	}
	return n;
}

/*
 * Threads that change one place and then look, without a lock, at another may each miss the other's change, where
 * memory is weak.  So either loads return the newest value, or one thread alone looks.
 */
void drawn_variant(uint32_t number, struct variant *variant)
{
	struct draw draw = { .state = number };
	unsigned int nentries = draw_entries(&draw);

	memset(variant, 0, sizeof(*variant));
	variant->shape = &shape;
	draw.focus = clamp((int)below(&draw, LAST_UNIT));
	if (nentries > 0 && once_in(&draw, 2))
		draw.focus = clamp(shape.entries[below(&draw, nentries)].first);
	draw_preparation(&draw);
	variant->ordered_only = once_in(&draw, 2);
	variant->cold = once_in(&draw, 3);
	variant->fail_alloc = variant->cold && once_in(&draw, 3);
	variant->garbage_limit = variant->cold && once_in(&draw, 3);
	variant->nthreads = 2 + once_in(&draw, 3);
	for (unsigned int t = 0; t < variant->nthreads; t++)
		variant->ncalls[t] = draw_thread(&draw, nentries, variant->ordered_only || t == 0, variant->calls[t]);
	variant->asks = once_in(&draw, 2);
}
