/* SPDX-License-Identifier: ISC */
/*
 * What whoever runs a grace period does, the worker (urcu.c) or who wants one (here.c): it takes a number, says when
 * that is over, and makes a pause.  The protocol stands in urcu.c, Cookies.
 */
#ifndef CLEAVE_URCU_PERIOD_H
#define CLEAVE_URCU_PERIOD_H

#include "urcu.h"

#include <time.h>

/*
 * The pause after a grace period: so many times as long as that took; ns at least, for a system call costs more than it
 * takes (5,000: a map and unmap takes 108 ns, 20,000: 102, 80,000: 105 and more copies); and at most, for the worker
 * may have waited.
 */
#define CLEAVE__PAUSE_TIMES 8u
#define CLEAVE__PAUSE_LEAST 20000u
#define CLEAVE__PAUSE_MOST 200000u

#define CLEAVE__URCU_LOOKS 40u /* at a thread, until it counts as one that does not run: some 2 us */

/* [U1-acq] [U1-sc] What was unlinked before a cookie precedes the grace period it is for. */
static inline uint64_t cleave__urcu_begin(struct cleave_urcu *urcu)
{
	return PORT_FETCH_ADD(&urcu->started, 1, PORT_SEQ_CST) + 1;
}

static inline void cleave__urcu_end(struct cleave_urcu *urcu, uint64_t number)
{
	uint64_t done = PORT_LOAD(&urcu->done, PORT_RELAXED);

	/* [U2-rel] Readers' last accesses before the reuse.  Sequentially consistent against `waiters` in wait(). */
	while (done < number)
		if (PORT_CAS(&urcu->done, &done, number, PORT_SEQ_CST, PORT_RELAXED))
			break;
	if (PORT_LOAD(&urcu->waiters, PORT_SEQ_CST)) {
		PORT_FETCH_ADD(&urcu->ended, 1, PORT_RELEASE); /* [U4-rel] `done` before the count */
		cleave__user_wake(&urcu->ended);
	}
}

static inline uint64_t cleave__urcu_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* None begins for some time, unless somebody waits. */
static inline void cleave__urcu_pause_after(struct cleave_urcu *urcu, uint64_t began)
{
	uint64_t now = cleave__urcu_now(), pause = (now - began) * CLEAVE__PAUSE_TIMES;

	if (pause < CLEAVE__PAUSE_LEAST)
		pause = CLEAVE__PAUSE_LEAST;
	if (pause > CLEAVE__PAUSE_MOST)
		pause = CLEAVE__PAUSE_MOST;
	PORT_STORE(&urcu->resume, now + pause, PORT_RELAXED);
}

/* A pause that is longer than any is another clock's: of before a fork into another time namespace. */
static inline bool cleave__urcu_pauses(const struct cleave_urcu *urcu)
{
	uint64_t resume = PORT_LOAD(&urcu->resume, PORT_RELAXED); /* 0: there is none */

	return resume && resume - cleave__urcu_now() - 1 < CLEAVE__PAUSE_MOST;
}

#endif
