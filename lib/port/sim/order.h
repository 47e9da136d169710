/* SPDX-License-Identifier: ISC */
/*
 * The single order of sequentially consistent accesses, as far as C11 fixes it.
 *
 * One access comes before another if it happens before it, or if they are of one word and the second one read what the
 * first had stored, overwrote it, or overwrote what the first had read.  Everything else is open: a load may return
 * less than the newest such store, and then comes before the store that it missed, although that was made earlier here.
 * It may do so unless that store already comes before it.  What comes before is the high half of the vector clocks, so
 * that happens-before carries it along; only what a load that missed a store knew must be looked up.
 *
 * A fence is known by the loads behind it, of any order: it comes before what overwrites, or has overwritten, what they
 * return; so they see what comes before it.
 */
#ifndef CLEAVE_SIM_ORDER_H
#define CLEAVE_SIM_ORDER_H

#include "internal.h"

void sim_order_reset(void);

/* What is known of the order becomes complete. */
void sim_order_close(clock_vector *known);

/* A sequentially consistent access of the running thread, which comes after all these.  Its number. */
uint32_t sim_order_event(const clock_vector *after);

/* What comes before an access or a fence of the running thread, and that itself, comes before one made earlier. */
void sim_order_missed(const clock_vector *load, unsigned int thread, uint32_t event);

/* Does what knows this much come after that access?  After sim_order_close(). */
static inline bool sim_order_after(const clock_vector *known, unsigned int thread, uint32_t event)
{
	return (*known)[SIM_THREADS + thread] >= event;
}

#endif
