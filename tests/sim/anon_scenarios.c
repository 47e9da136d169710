/* SPDX-License-Identifier: ISC */
#include "anon_scenarios.h"

#include <string.h>

#define LIMITED(n) C(LIMIT, 0, 0, n)

/* clang-format off */
const struct scenario anon_scenarios[] = {
	{ "fill_fill", EMPTY, { { C(FILL, 0, 0, 5), C(READ, 0, 1, 0) }, { C(FILL, 0, 0, 6), C(READ, 0, 0, 0) },
				{ C(FILL, 0, 1, 7) } } },
	{ "fill_remove_fill", ALONE, { { C(FILL, 0, 1, 5), C(READ, 0, 1, 0) }, { C(REMOVE, 0, 0, 0), C(FILL, 0, 0, 6) },
				       { C(FILL, 0, 1, 7), C(READ, 0, 1, 0) } } },
	{ "fill_seal", ALONE, { { C(FILL, 0, 1, 5), C(READ, 0, 1, 0) }, { C(REMOVE, 0, 0, 0) } } },
	{ "seal_seal", LONE, { { C(REMOVE, 0, 0, 0), C(READ, 0, 1, 0) }, { C(REMOVE, 0, 1, 0), C(FILL, 0, 2, 5) },
			       { C(FILL, 0, 0, 6) } } },
	{ "fill_wipe", ALONE, { { C(FILL, 0, 1, 5), C(FILL, 0, 3, 6), C(READ, 0, 1, 0) }, { { WIPE, 0, 0, 1, 0 } },
				{ { WIPE, 0, 1, 3, 0 } } } },
	{ "wipe_copy", CLONED,
	  { { C(WRITE, 0, 1, 5), C(READ, 0, 0, 0) }, { { WIPE, 0, 0, 0, 0 } }, { { WIPE, 1, 0, 3, 0 } } } },
	{ "clone_fill", ALONE, { { C(CLONE, 0, 0, 2), C(READ, 2, 1, 0), C(READ, 2, 1, 0), C(READ, 2, 3, 0) },
				 { C(FILL, 0, 1, 5), C(FILL, 0, 3, 6) } } },
	{ "clone_write", LONE, { { C(CLONE, 0, 0, 2), C(READ, 2, 0, 0), C(READ, 2, 0, 0), C(READ, 2, 1, 0) },
				 { C(WRITE, 0, 0, 5), C(WRITE, 0, 1, 6), C(READ, 0, 0, 0) } } },
	{ "clone_clone_write", LONE, { { C(CLONE, 0, 0, 2), C(READ, 2, 0, 0), C(READ, 2, 1, 0) },
				       { C(CLONE, 0, 0, 3), C(READ, 3, 1, 0), C(READ, 3, 0, 0) },
				       { C(WRITE, 0, 0, 5), C(POKE, 0, 1, 6), C(READ, 0, 0, 0) } } },
	{ "clone_poke", LONE, { { C(CLONE, 0, 0, 2), C(READ, 2, 1, 0), C(READ, 2, 0, 0) },
				{ C(WRITE, 0, 0, 5), C(POKE, 0, 1, 6) } } },
	{ "clone_wipe", LONE, { { C(CLONE, 0, 0, 2), C(READ, 2, 1, 0), C(WRITE, 2, 0, 7), C(READ, 2, 0, 0) },
				{ { WIPE, 0, 0, 1, 0 }, C(FILL, 0, 0, 5) } } },
	{ "read_copy_in_place", OWNED,
	  { { C(READ, 0, 1, 0), C(READ, 0, 1, 0) }, { C(WRITE, 0, 1, 5), C(WRITE, 1, 1, 6) } } },
	{ "read_remove_in_place", OWNED,
	  { { C(READ, 0, 1, 0), C(READ, 0, 1, 0) }, { C(REMOVE, 0, 1, 0), C(WRITE, 1, 1, 6) } } },
	{ "read_replace_in_place", OWNED,
	  { { C(READ, 0, 1, 0), C(READ, 0, 1, 0) }, { C(REPLACE, 0, 1, 5), C(WRITE, 1, 1, 6) } } },
	{ "read_wipe_in_place", OWNED,
	  { { C(READ, 0, 1, 0), C(READ, 0, 1, 0) }, { { WIPE, 0, 1, 1, 0 }, C(WRITE, 1, 1, 6) } } },
	{ "look_copy", CLONED,
	  { { C(LOOK, 0, 1, 0), C(LOOK, 0, 1, 0) }, { C(WRITE, 0, 1, 5) }, { C(WRITE, 0, 3, 6), C(LOOK, 0, 1, 0) } } },
	{ "copy_copy", CLONED, { { C(WRITE, 0, 0, 5), C(READ, 0, 1, 0) }, { C(WRITE, 0, 1, 6), C(READ, 0, 0, 0) },
				 { C(WRITE, 1, 0, 7), C(READ, 1, 0, 0) } } },
	{ "copy_both_sides", CLONED, { { C(WRITE, 0, 0, 5), C(FLUSH, 0, 0, 0), C(READ, 0, 0, 0) },
				       { C(WRITE, 1, 0, 6), C(FLUSH, 0, 0, 0), C(READ, 1, 0, 0) },
				       { C(READ, 0, 0, 0), C(READ, 1, 0, 0) } } },
	{ "drop_takeover", CLONED, { { C(WRITE, 0, 0, 5), C(FLUSH, 0, 0, 0) }, { C(WRITE, 1, 0, 6), C(FILL, 1, 0, 7) },
				     { C(READ, 0, 0, 0), C(READ, 0, 1, 0) } } },
	{ "takeover_copy", DISPLACED, { { C(FLUSH, 0, 0, 0) }, { C(WRITE, 1, 0, 6), C(READ, 1, 1, 0) },
					{ C(WRITE, 1, 1, 7), C(READ, 1, 0, 0) } } },
	{ "takeover_wipe", DISPLACED, { { C(FLUSH, 0, 0, 0) }, { C(WRITE, 1, 0, 6), C(READ, 1, 1, 0) },
					{ { WIPE, 1, 1, 2, 0 }, C(READ, 1, 0, 0) } } },
	{ "takeover_seal", DISPLACED, { { C(FLUSH, 0, 0, 0) }, { C(REMOVE, 1, 0, 0), C(REMOVE, 1, 1, 0) },
					{ C(WRITE, 1, 1, 7), C(READ, 1, 0, 0) } } },
	{ "walk_write", SWAPPED,
	  { { C(WALK, 0, 0, 0) }, { C(WRITE, 0, 0, 5), C(WRITE, 1, 2, 6) }, { C(READ, 1, 0, 0) } } },
	{ "walk_clone_wipe", SWAPPED,
	  { { C(WALK, 0, 0, 0) }, { C(CLONE, 1, 0, 3), { WIPE, 1, 0, 3, 0 }, C(READ, 3, 0, 0) } } },
	{ "walk_clone_gone", TOKENS,
	  { { C(WALK, 0, 0, 0) }, { C(CLONE, 0, 0, 3), { WIPE, 0, 0, 3, 0 }, C(READ, 3, 0, 0) } } },
	{ "unmap_map", WINDOWED, { { { UNMAP, 0, 2, 3, 0 } },
				   { { MAP, 0, 2, 2, 0 }, C(FILL, 0, 2, 5), C(READ, 0, 2, 0) } } },
	{ "unmap_map_write", WINDOWED,
	  { { { UNMAP, 0, 0, 3, 0 }, C(READ, 0, 1, 0) }, { { MAP, 0, 1, 2, 0 }, C(WRITE, 0, 1, 6) },
	    { C(CLONE, 0, 0, 4), C(READ, 4, 1, 0), C(READ, 4, 1, 0) } } },
	{ "unmap_unmap", WINDOWED,
	  { { { MAP, 0, 1, 2, 0 }, { UNMAP, 0, 0, 1, 0 } }, { { UNMAP, 0, 1, 3, 0 }, C(FILL, 0, 3, 7) } } },
	{ "child", WINDOWED,
	  { { { CHILD, 0, 1, 2, 2 }, C(READ, 2, 1, 0), C(READ, 2, 0, 0) },
	    { C(WRITE, 0, 1, 5), { UNMAP, 0, 0, 3, 0 } } } },
	{ "grow_remove", ALONE, { { C(REMOVE, 0, 0, 0), C(READ, 0, 3, 0) }, { C(FILL, 0, 3, 5), C(REMOVE, 0, 3, 0) },
				  { C(READ, 0, 0, 0), C(REMOVE, 0, 0, 0) } } },
	{ "remove_clone", LONE,
	  { { C(REMOVE, 0, 0, 0), C(REMOVE, 0, 1, 0) },
	    { C(CLONE, 0, 0, 3), C(REMOVE, 3, 0, 0), C(REMOVE, 3, 1, 0) },
	    { C(FILL, 0, 3, 5), C(REMOVE, 0, 3, 0) } } },
	{ "wipe_clone_no_memory", CLONED,
	  { { { WIPE, 0, 1, 2, 0 }, C(READ, 0, 0, 0) },
	    { C(CLONE, 0, 0, 3), C(DROUGHT, 0, 0, 0), C(READ, 3, 1, 0), C(READ, 3, 2, 0) },
	    { C(WRITE, 0, 1, 5), C(WRITE, 0, 2, 6) } } },
	{ "unmap_clone_no_memory", WINDOWED,
	  { { { UNMAP, 0, 1, 2, 0 }, C(READ, 0, 0, 0) },
	    { C(CLONE, 0, 0, 3), C(DROUGHT, 0, 0, 0), C(READ, 3, 1, 0), C(READ, 3, 2, 0) }, { C(WRITE, 0, 1, 5) } } },
	{ "truncate_clone", LONE, { { C(RESIZE, 0, 1, 0), C(READ, 0, 1, 0) },
				    { C(CLONE, 0, 0, 3), C(RESIZE, 3, 4, 0), C(READ, 3, 1, 0), C(READ, 3, 0, 0) } } },
	{ "truncate_fill", ALONE, { { C(RESIZE, 0, 1, 0), C(RESIZE, 0, 4, 0), C(READ, 0, 1, 0), C(READ, 0, 3, 0) },
				    { C(FILL, 0, 1, 5), C(FILL, 0, 3, 6) }, { C(WRITE, 0, 1, 7) } } },
	{ "copy_then_in_place", CLONED,
	  { { C(WRITE, 0, 0, 5), C(WRITE, 0, 1, 6) }, { C(READ, 1, 1, 0), C(READ, 1, 1, 0) } } },
	{ "both_write", CLONED, { { C(BOTH, 0, 0, 2), C(READ, 2, 0, 0), C(READ, 5, 0, 0), C(READ, 2, 0, 0) },
				  { C(WRITE, 0, 0, 5), C(WRITE, 1, 0, 6) }, { C(WRITE, 1, 0, 7), C(READ, 0, 0, 0) } } },
	{ "end_takeover", LONE,
	  { { C(CLONE, 0, 0, 2), C(WRITE, 2, 1, 5), C(END, 2, 0, 0), C(FLUSH, 0, 0, 0) },
	    { C(WRITE, 0, 0, 6), C(WRITE, 0, 1, 7), C(READ, 0, 0, 0) },
	    { C(CLONE, 0, 0, 4), C(READ, 4, 1, 0), C(END, 4, 0, 0) } } },
	{ "end_walk", TOKENS, { { C(CLONE, 0, 0, 2), C(END, 2, 0, 0), C(FLUSH, 0, 0, 0) }, { C(WALK, 0, 0, 0) },
				{ C(CLONE, 0, 0, 4), { WIPE, 0, 0, 3, 0 }, C(END, 4, 0, 0), C(REOPEN, 0, 0, 0) } } },
	{ "iterate_copy", CLONED,
	  { { { ITERATE, 0, 0, 3, 0 } }, { C(WRITE, 0, 0, 5), C(REMOVE, 0, 1, 0), C(FILL, 0, 1, 6) },
	    { C(WRITE, 1, 2, 7), C(FLUSH, 0, 0, 0) } } },
	{ "copy_now_write", OWNED, { { C(CLONE, 0, 0, 2), { COPY, 2, 0, 3, 0 }, C(READ, 2, 0, 0), C(READ, 2, 1, 0) },
				     { C(WRITE, 0, 0, 5), C(WRITE, 0, 1, 6) }, { C(WRITE, 1, 1, 7) } } },
	{ "stop_write", CLONED, { { C(STOP, 0, 0, 0), C(READ, 0, 0, 0) }, { C(WRITE, 0, 0, 5), C(REMOVE, 0, 1, 0) },
				  { { WIPE, 0, 1, 2, 0 }, C(CLONE, 0, 0, 4) } } },
	{ "reopen_reopen", CLONED,
	  { { C(WRITE, 0, 0, 5), C(REOPEN, 0, 0, 0), C(WRITE, 0, 1, 6) },
	    { C(WRITE, 1, 0, 7), C(REOPEN, 0, 0, 0), C(WRITE, 1, 2, 8) },
	    { C(CLONE, 0, 0, 4), C(READ, 4, 0, 0), C(READ, 4, 0, 0) } } },
	{ "wipe_yields", OWNED, { { { WIPE, 0, 0, 3, 0 } }, { C(CLONE, 0, 0, 3), C(READ, 3, 0, 0), C(READ, 3, 3, 0) },
				  { C(REMOVE, 0, 2, 0), C(REMOVE, 0, 3, 0) } } },
	{ "busy_wipe", OWNED,
	  { { C(WRITE, 0, 1, 5) }, { { WIPE, 0, 0, 3, 0 } }, { C(WRITE, 0, 1, 6), C(READ, 0, 1, 0) } } },
	/* One anon, two stores: what was read through one comes before what is written in place for the other. */
	{ "unlinked_takeover", CLONED,
	  { { { WIPE, 0, 0, 3, 0 }, C(FLUSH, 0, 0, 0) }, { C(READ, 0, 1, 0), C(WRITE, 1, 0, 5) },
	    { C(WRITE, 1, 1, 6) } } },
	{ "copied_in_place", OWNED,
	  { { C(READ, 0, 1, 0), C(READ, 0, 1, 0) }, { C(WRITE, 0, 1, 5) }, { C(WRITE, 1, 1, 6) } } },
	{ "lock_lock", CLONED,
	  { { C(LOCK, 0, 1, 0), C(LOCK, 0, 1, 0) }, { C(LOCK, 1, 1, 0) }, { C(LOCK, 1, 1, 0), C(READ, 1, 1, 0) } } },
	/* Between the two looks of a replacement its slot is emptied, sealed, or given another anon. */
	{ "replace_beside", LONE,
	  { { C(REPLACE, 0, 0, 5), C(READ, 0, 0, 0) },
	    { C(REMOVE, 0, 1, 0), C(REMOVE, 0, 0, 0), C(FILL, 0, 0, 6) },
	    { C(REPLACE, 0, 0, 7), C(REPLACE, 0, 0, 8) } } },
	/* Who sees that something is gone sees what was done before. */
	{ "remove_seen", ALONE,
	  { { C(FILL, 0, 3, 5), C(REMOVE, 0, 0, 0) }, { C(READ, 0, 0, 0), C(REMOVE, 0, 3, 0) } } },
	{ "wipe_seen", CLONED,
	  { { C(REMOVE, 0, 3, 0), C(FILL, 0, 3, 5), { WIPE, 0, 0, 1, 0 } },
	    { C(READ, 0, 0, 0), C(REMOVE, 0, 3, 0) } } },
	{ "truncate_seen", LONE,
	  { { C(RESIZE, 0, 1, 0), C(RESIZE, 0, 4, 0) }, { C(READ, 0, 1, 0), C(READ, 0, 1, 0) } } },
	/* The mark of slots that were dying cannot be taken away. */
	{ "unmap_map_no_memory", WINDOWED,
	  { { { UNMAP, 0, 1, 2, 0 } }, { C(DROUGHT, 0, 1, 0), { MAP, 0, 1, 2, 0 }, C(READ, 0, 1, 0) } } },
	{ "walk_walk", SWAPPED, { { C(WALK, 0, 0, 0) }, { C(WALK, 0, 0, 0) }, { { WIPE, 0, 0, 3, 0 } } } },
	/* A store that is on its way out is not stopped: what was done in it is over, and seen. */
	{ "stop_gone", CLONED,
	  { { C(STOP, 0, 0, 0), C(STOP, 0, 0, 0) }, { C(CLONE, 0, 0, 2), C(WRITE, 2, 0, 5), C(END, 2, 0, 0) } } },
	/* Who waits because of the limit has nothing that others wait for. */
	{ "limit_write", OWNED,
	  { { LIMITED(0), C(WRITE, 0, 0, 5), C(WRITE, 0, 0, 6), C(WRITE, 0, 0, 7) },
	    { C(READ, 0, 0, 0), C(WRITE, 0, 0, 8) }, { C(CLONE, 0, 0, 4), C(READ, 4, 0, 0) } } },
	{ "limit_replace", LONE,
	  { { LIMITED(0), C(REPLACE, 0, 0, 5), C(REPLACE, 0, 0, 6), C(REPLACE, 0, 0, 7) },
	    { C(REPLACE, 0, 0, 8), C(READ, 0, 0, 0) } } },
	{ "limit_remove", LONE,
	  { { LIMITED(1), C(REMOVE, 0, 0, 0), C(REMOVE, 0, 1, 0), C(FILL, 0, 1, 5) },
	    { C(CLONE, 0, 0, 3), C(READ, 3, 1, 0) }, { C(FILL, 0, 0, 6), C(REMOVE, 0, 0, 0) } } },
	{ "limit_wipe", CLONED,
	  { { LIMITED(0), { WIPE, 0, 0, 3, 0 }, C(FILL, 0, 0, 5) }, { { WIPE, 1, 0, 1, 0 } },
	    { C(CLONE, 0, 0, 4), C(READ, 4, 1, 0) } } },
	{ "limit_unmap", WINDOWED,
	  { { LIMITED(1), { UNMAP, 0, 0, 3, 0 }, { MAP, 0, 0, 1, 0 } }, { { MAP, 0, 2, 3, 0 }, C(FILL, 0, 2, 5) },
	    { C(WRITE, 0, 1, 6), C(READ, 0, 1, 0) } } },
	{ "limit_end", LONE,
	  { { LIMITED(1), C(CLONE, 0, 0, 2), C(WRITE, 2, 1, 5), C(END, 2, 0, 0) },
	    { C(WRITE, 0, 0, 6), C(WRITE, 0, 1, 7) }, { C(STOP, 0, 0, 0), C(READ, 0, 0, 0) } } },
};
/* clang-format on */

const unsigned int anon_nscenarios = sizeof(anon_scenarios) / sizeof(anon_scenarios[0]);

const char *const anon_kind_names[] = { "nothing", "read",  "look",    "fill", "write", "poke",	  "remove",  "wipe",
					"clone",   "flush", "walk",    "map",  "unmap", "child",  "resize",  "drought",
					"both",	   "end",   "iterate", "copy", "stop",	"reopen", "replace", "lock",
					"limit" };

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

void anon_random_program(unsigned int number, struct scenario *scenario)
{
	uint64_t random = mix(number + 1);
	unsigned int threads = 2 + number % 2, poke = random >> 40 & 1;

	memset(scenario, 0, sizeof(*scenario));
	scenario->name = threads == 2 ? "pairs" : "triples";
	scenario->shape = (enum shape)(random % SHAPES);
	for (unsigned int t = 0; t < threads; t++) {
		bool cloned = false, had = false;

		for (unsigned int i = 0; i < 2u + (threads == 2); i++) {
			struct call *call = &scenario->calls[t][i];

			random = mix(random + t + 7 * i);
			call->kind = (enum kind)(READ + (random >> 8) % (LIMIT - READ));
			if (poke && (call->kind == REMOVE || call->kind == REPLACE || call->kind == WIPE ||
				     call->kind == UNMAP))
				call->kind = POKE; /* they leave translations to their callers */
			if (!poke && call->kind == POKE)
				call->kind = WRITE;
			if ((call->kind == CLONE || call->kind == CHILD) && had)
				call->kind = READ;
			call->store = (uint8_t)(scenario->shape >= CLONED ? random >> 16 & 1 : 0);
			if (cloned && ((random >> 17 & 1) || call->kind == END || call->kind == COPY))
				call->store = (uint8_t)(2 + t);
			call->slot = (uint8_t)((random >> 20) % 3);
			call->last = call->slot;
			if (call->kind == WIPE || (call->kind >= MAP && call->kind <= CHILD) || call->kind == ITERATE ||
			    call->kind == COPY)
				call->last = (uint8_t)(call->slot + (random >> 24) % (SLOTS - call->slot));
			/* One thread changes sizes; memory seldom ends. */
			if ((call->kind == RESIZE && (t > 0 || poke)) || (call->kind == DROUGHT && (random >> 28) % 4))
				call->kind = FILL;
			/* Only of its own clones a thread knows that nobody else uses them. */
			if (((call->kind == END || call->kind == COPY) && !cloned) ||
			    (call->kind == BOTH && (had || scenario->shape < CLONED)))
				call->kind = LOOK;
			if (call->kind == RESIZE)
				call->slot = (uint8_t)(1 + (random >> 20) % SLOTS);
			call->value = (uint8_t)(10 + 10 * t + i);
			cloned &= call->kind != END;
			if (call->kind == CLONE || call->kind == CHILD || call->kind == BOTH) {
				call->store = (uint8_t)(scenario->shape >= CLONED ? random >> 16 & 1 : 0);
				call->value = (uint8_t)(2 + t);
				cloned = had = true;
			}
		}
	}
	if (mix(number + 7) % 4 == 0) {
		for (unsigned int i = MOST_CALLS - 1; i > 0; i--)
			scenario->calls[0][i] = scenario->calls[0][i - 1];
		scenario->calls[0][0] = (struct call)LIMITED(mix(number + 8) % 2);
	}
}
