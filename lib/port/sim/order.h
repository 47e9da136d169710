/* SPDX-License-Identifier: ISC */
/*
 * The single order of sequentially consistent accesses, as far as C11 fixes it.
 *
 * One access comes before another if it happens before it, or if they are of one word and the second one read what the
 * first had stored, overwrote it, or overwrote what the first had read.  Everything else is open: a load may return
 * less than the newest such store, and then comes before the store that it missed, although that was made earlier here.
 * It may do so unless that store already comes before it.  What comes before is the high half of the vector clocks, so
 * that happens-before carries it along; only what a load that missed a store knew must be looked up.
 */
#ifndef CLEAVE_SIM_ORDER_H
#define CLEAVE_SIM_ORDER_H

#include "internal.h"

void sim_order_reset(void);

/* What the running thread knows of the order becomes complete. */
void sim_order_close(void);

/* A sequentially consistent access of the running thread, which comes after all these.  Its number. */
uint32_t sim_order_event(const clock_vector *after);

/* The last access of the running thread comes before one that was made earlier. */
void sim_order_missed(unsigned int thread, uint32_t event);

/* Does the running thread's next access come after this one?  After sim_order_close(). */
static inline bool sim_order_after(unsigned int thread, uint32_t event)
{
	return self()->seen[SIM_THREADS + thread] >= event;
}

#endif
