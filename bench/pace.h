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

/*
 * Which of the two processors this thread is on, 0 (as without this call) or 1: each has a full pace of its own.  One
 * thread at a time asks each.
 */
void pace_on(unsigned int number);

/* Find the full pace of the processor that this thread is on. */
void pace_start(void);

/* Of both processors, where there are two and `wanted`; this thread is on the first one then. */
void pace_start_both(const int processor[2], bool wanted);

/* So many seconds may be spent from now on, on waiting and on samples in vain. */
void pace_grant(double seconds);

/* ---- One thread ---- */

struct pace {
	double began;
	bool full; /* so far */
};

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

/* ---- Several threads, each of which asks its own processor while the one that conducts them sleeps ---- */

/* At full pace now? */
bool pace_full(void);

/* Wait for that, at most for so long.  Return: the seconds waited. */
double pace_wait(double seconds);

/* The conductor's: how long may be waited; so much was; was a run that began then in vain, and is there patience? */
double pace_patience(void);
void pace_waited(double seconds);
bool pace_again(bool full, double began);

/* The seconds spent. */
double pace_spent(void);

#endif
