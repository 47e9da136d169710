/* SPDX-License-Identifier: ISC */
/*
 * Does this thread have its processor to itself?
 *
 * A virtual machine's processor is often one of two threads of a core, and what runs on the other one nobody here is
 * told.  It takes from what both share: on one such machine a loop of additions takes 1.7 times as long then, a lookup
 * 1.8, a change 1.3 to 1.5, for tens of milliseconds or for seconds.  Ratios are to be those of an idle machine.  So
 * before and after each sample the loop is timed, which asks the processor alone, not what is measured; it is at full
 * pace if it takes what its fastest run took.  A sample that was not is taken again, as long as there is patience.
 */
#ifndef BENCH_PACE_H
#define BENCH_PACE_H

#include <stdbool.h>

struct pace {
	double began;
	bool full; /* so far */
};

/* Find the full pace of the processor that this thread is on. */
void pace_start(void);

/* So many seconds may be spent from now on, on waiting and on samples in vain. */
void pace_grant(double seconds);

/*
 *	do {
 *		pace_begin(&pace);	wait for full pace
 *		...			what makes ready
 *		pace_mark(&pace);
 *		...			what is measured
 *	} while (!pace_end(&pace));	false: not at full pace, and there is patience for another try
 */
void pace_begin(struct pace *pace);
void pace_mark(struct pace *pace);
bool pace_end(struct pace *pace);

/* The seconds spent. */
double pace_spent(void);

#endif
