/* SPDX-License-Identifier: ISC */
/*
 * What the library is measured beside.  All allocate from malloc(), which keeps freed pieces per thread; what readers
 * without a lock may still see waits for a grace period in batches (grace.h).
 */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include "../bench.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Those that this build has. */
extern const struct bench_impl peer_rbtree, peer_judy, peer_absl, peer_tbb, peer_cds, peer_array;

/* What a piece of `size` bytes takes from glibc's malloc(). */
static inline size_t peers_malloc_size(size_t size)
{
	return size < 24 ? 32 : (size + 8 + 15) & ~(size_t)15;
}

/* All peers in the order of the tables, then NULL.  The first call looks for the module with the maple tree. */
const struct bench_impl *const *peers_all(void);

/* Those that are not there, and why. */
void peers_missing(void);

#ifdef __cplusplus
}
#endif
#endif
