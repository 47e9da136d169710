/* SPDX-License-Identifier: ISC */
/* How many times faster than a peer the library wants to be. */
#ifndef BENCH_TARGETS_H
#define BENCH_TARGETS_H

#include <stddef.h>

#define TARGETS_MAPLE "maple tree"

/* The peer's figure over the library's is to be at least that; 0: nothing is said. */
double targets_of(const char *workload, const char *peer, size_t n);

#endif
