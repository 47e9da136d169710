/* SPDX-License-Identifier: ISC */
#ifndef CLEAVE_ANON_WIPE_H
#define CLEAVE_ANON_WIPE_H

#include "anon_store.h"

/*
 * A wipe and a clone of one store exclude each other, so that what a wipe has copied stays its store's own until it
 * ends, and its nodes suffice:
 *	1. wipe: one more in `wipes`		1'. clone: CLONING
 *	2. wipe: reads CLONING			2'. clone: waits until `wipes` is 0
 * One that finds the other withdraws (the wipe) or waits (the clone).  A wipe waits for nobody who waits for a clone.
 */
void cleave__anon_wipe_begin(struct cleave_anon_context *context, struct cleave_anon *store);
void cleave__anon_wipe_end(struct cleave_anon_context *context, struct cleave_anon *store);

/*
 * Begin under a guard that was set before CLONING was read: a clone waits for it before it looks at `wipes`, and the
 * guard's clear (A6) orders the two.
 */
static inline void cleave__anon_wipe_join(struct cleave_anon *store)
{
	PORT_FETCH_ADD(&store->wipes, 1, PORT_RELAXED);
}

/* After CLONING was raised: wait for the wipes under way. */
void cleave__anon_wait_wipes(struct cleave_anon_context *context, struct cleave_anon *store);

/* Nodes that a wipe of one range may copy: the boundaries on each level, and what makes the root taller before. */
unsigned int cleave__anon_wipe_needs(const struct cleave_anon *store);

/*
 * Between begin and end: empty [first, last] with the spare nodes that the context has.  Cannot fail: waits for whoever
 * is in the way, and goes on where it was.  `yields`: between its sections it ends, lets a clone go first, and begins
 * again, if there is memory for that.
 */
void cleave__anon_wipe_stocked(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first,
			       uint64_t last, bool yields);
/* The same, of empty nodes alone, on the path of a slot. */
void cleave__anon_wipe_empty(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot);

#endif
