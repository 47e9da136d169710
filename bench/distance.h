/* SPDX-License-Identifier: ISC */
/*
 * How far is one processor from the other?  What two threads lose to each other is mostly the time in which a cache
 * line that one of them wrote comes to the other one, and a virtual machine's processors are moved: on one such machine
 * that takes 54 ns at one time and 235 at another.  So whoever measures two threads says at which distance.
 */
#ifndef BENCH_DISTANCE_H
#define BENCH_DISTANCE_H

/* ns for a line to come from one processor to the other: to a thread on each, which are made for it. */
double distance_between(int first, int second);

#endif
