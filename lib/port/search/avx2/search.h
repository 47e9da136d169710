/* SPDX-License-Identifier: ISC */
/* Searching with AVX2, whose comparisons are signed: both sides are moved by 2^63. */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#include <immintrin.h>

#define SEARCH_NAME avx2
#define search_entry cleave__leaf_entry_any
#define search_count(live) ((unsigned int)__builtin_popcount(live))

/* Which of four are above the key. */
static PORT_ALWAYS_INLINE unsigned int search_four(const void *four, __m256i key, __m256i sign)
{
	__m256i x = _mm256_xor_si256(_mm256_load_si256((const __m256i *)four), sign);

	return (unsigned int)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(x, key)));
}

static PORT_ALWAYS_INLINE unsigned int search_branch(const struct cleave__branch *branch, uint64_t addr)
{
	__m256i sign = _mm256_set1_epi64x(INT64_MIN);
	/* pivot >= addr is pivot > addr - 1; 0 is below every pivot */
	__m256i key = _mm256_xor_si256(_mm256_set1_epi64x((long long)(addr - (addr != 0))), sign);
	unsigned int above = search_four(&branch->pivot[0], key, sign) | search_four(&branch->pivot[4], key, sign) << 4 |
			     search_four(&branch->pivot[8], key, sign) << 8 |
			     search_four(&branch->pivot[12], key, sign) << 12;

	PORT_PREFETCH(&branch->child[0]);
	PORT_PREFETCH(&branch->child[8]);
	return (unsigned int)__builtin_ctz(above | (unsigned int)(addr == 0));
}

static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	__m256i sign = _mm256_set1_epi64x(INT64_MIN);
	__m256i key = _mm256_xor_si256(_mm256_set1_epi64x((long long)addr), sign);
	unsigned int above = search_four(&leaf->start[0], key, sign) | search_four(&leaf->start[4], key, sign) << 4 |
			     search_four(&leaf->start[8], key, sign) << 8;

	return ~above & cleave__live(order);
}

#endif
