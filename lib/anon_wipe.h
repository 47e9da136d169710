/* SPDX-License-Identifier: ISC */
#ifndef CLEAVE_ANON_WIPE_H
#define CLEAVE_ANON_WIPE_H

#include "anon_store.h"

/* Nodes that a wipe of one range may copy: the boundaries', on each level. */
unsigned int cleave__anon_wipe_needs(const struct cleave_anon *store);

/*
 * Empty [first, last] with the spare nodes that the context has.  Waits for whoever is in the way, and goes on where it
 * was: what it has copied, it owns.  Cannot fail: only if the store was cloned meanwhile does it need more nodes than
 * cleave__anon_wipe_needs(), and then it waits for memory.
 */
void cleave__anon_wipe_stocked(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first,
			       uint64_t last);

#endif
