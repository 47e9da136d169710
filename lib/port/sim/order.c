/* SPDX-License-Identifier: ISC */
#include "order.h"

#define MAX_MISSED 64u

/* Loads that missed a store. */
static struct {
	clock_vector load; /* what comes before it, and itself */
	uint32_t event;	   /* the store */
	unsigned int thread;
} missed[MAX_MISSED];
static unsigned int nmissed;

static void order_only(clock_vector *clock, const clock_vector *from)
{
	*clock = *from;
	for (unsigned int t = 0; t < SIM_THREADS; t++)
		(*clock)[t] = 0;
}

void sim_order_reset(void)
{
	nmissed = 0;
}

void sim_order_close(clock_vector *known)
{
	for (unsigned int i = 0; i < nmissed; i++) {
		clock_vector before = *known;

		if (!sim_order_after(known, missed[i].thread, missed[i].event))
			continue;
		clock_join(known, &missed[i].load);
		if (memcmp(&before, known, sizeof(before)) != 0)
			i = UINT32_MAX; /* from the first one again */
	}
}

uint32_t sim_order_event(const clock_vector *after)
{
	clock_vector order;

	order_only(&order, after);
	clock_join(&self()->seen, &order);
	return ++self()->seen[SIM_THREADS + sim.cur];
}

void sim_order_missed(const clock_vector *load, unsigned int thread, uint32_t event)
{
	if (nmissed == MAX_MISSED)
		sim_fail("too many loads that missed a store");
	order_only(&missed[nmissed].load, load);
	missed[nmissed].thread = thread;
	missed[nmissed++].event = event;
}
