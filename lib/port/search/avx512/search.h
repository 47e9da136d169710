/* SPDX-License-Identifier: ISC */
/* Searching with AVX-512: two comparisons a node. */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#include <immintrin.h>

#define SEARCH_NAME avx512
#define search_entry cleave__leaf_entry_any
#define search_count(live) ((unsigned int)__builtin_popcount(live))

static PORT_ALWAYS_INLINE unsigned int search_branch(const struct cleave__branch *branch, uint64_t addr)
{
	__m512i key = _mm512_set1_epi64((long long)addr);
	__mmask8 low = _mm512_cmplt_epu64_mask(_mm512_load_si512(&branch->pivot[0]), key);
	__mmask8 high = _mm512_cmplt_epu64_mask(_mm512_load_si512(&branch->pivot[8]), key);

	PORT_PREFETCH(&branch->child[0]);
	PORT_PREFETCH(&branch->child[8]);
	/* Two counts: an instruction more than one of both masks together, but the shorter path. */
	return (unsigned int)(__builtin_popcount(low) + __builtin_popcount(high));
}

static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	__m512i key = _mm512_set1_epi64((long long)addr);
	__mmask8 low = _mm512_cmple_epu64_mask(_mm512_load_si512(&leaf->start[0]), key);
	__mmask8 high = _mm512_cmple_epu64_mask(_mm512_load_si512(&leaf->start[8]), key); /* 8..11; values behind */

	return _mm512_kunpackb(high, low) & cleave__live(order);
}

#endif
