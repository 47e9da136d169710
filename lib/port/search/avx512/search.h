/* SPDX-License-Identifier: ISC */
/* Searching with AVX-512: two comparisons a node. */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#include <immintrin.h>

#define SEARCH_NAME avx512
#define search_entry cleave__leaf_entry_any
#define search_entry_many entry_by_arithmetic
#define search_count(live) ((unsigned int)__builtin_popcount(live))

static PORT_ALWAYS_INLINE size_t search_pivots(const struct cleave__branch *branch, uint64_t addr)
{
	__m512i key = _mm512_set1_epi64((long long)addr);
	__mmask8 low = _mm512_cmplt_epu64_mask(_mm512_load_si512(&branch->pivot[0]), key);
	__mmask8 high = _mm512_cmplt_epu64_mask(_mm512_load_si512(&branch->pivot[8]), key);

	/* Two counts: an instruction more than one of both masks together, but the shorter path. */
	return (size_t)_mm_popcnt_u64(low) + (size_t)_mm_popcnt_u64(high);
}

static PORT_ALWAYS_INLINE size_t search_branch(const struct cleave__branch *branch, uint64_t addr)
{
	PORT_PREFETCH(&branch->child[0]);
	PORT_PREFETCH(&branch->child[8]);
	return search_pivots(branch, addr);
}

static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	__m512i key = _mm512_set1_epi64((long long)addr);
	__mmask8 low = _mm512_cmple_epu64_mask(_mm512_load_si512(&leaf->start[0]), key);
	__mmask8 high = _mm512_cmple_epu64_mask(_mm512_load_si512(&leaf->start[8]), key); /* 8..11; values behind */

	return _mm512_kunpackb(high, low) & cleave__live(order);
}

static PORT_ALWAYS_INLINE unsigned int search_gaps(const struct cleave__branch *branch, uint64_t size, uint64_t min,
						   uint64_t max)
{
	__m512i wanted = _mm512_set1_epi64((long long)size);
	__m512i lowest = _mm512_set1_epi64((long long)min), highest = _mm512_set1_epi64((long long)max);
	unsigned int room = 0, reach = 0, below = 0;

	for (unsigned int i = 0; i < 16; i += 8) {
		__m512i pivots = _mm512_load_si512(&branch->pivot[i]);

		room |= (unsigned int)_mm512_cmpge_epu64_mask(_mm512_load_si512(&branch->gap[i]), wanted) << i;
		reach |= (unsigned int)_mm512_cmpge_epu64_mask(pivots, lowest) << i;
		below |= (unsigned int)_mm512_cmplt_epu64_mask(pivots, highest) << i;
	}
	return room & reach & (below << 1 | 1);
}

/* The ranks of some cells: each of the order word's numbers, taken as a byte, looks up whether its cell is one of them. */
static PORT_ALWAYS_INLINE unsigned int search_ranks(uint64_t order, unsigned int count, unsigned int cells)
{
	const __m128i number = _mm_set1_epi8(15);
	__m128i even = _mm_cvtsi64_si128((long long)order), odd = _mm_srli_epi16(even, 4);
	__m128i numbers = _mm_unpacklo_epi8(_mm_and_si128(even, number), _mm_and_si128(odd, number));
	__m128i table = _mm_movm_epi8((__mmask16)cells);

	return (unsigned int)_mm_movemask_epi8(_mm_shuffle_epi8(table, numbers)) & ((1u << count) - 1);
}

static PORT_ALWAYS_INLINE unsigned int search_free(const struct cleave__leaf *leaf, uint64_t order, unsigned int count)
{
	__m256i low = _mm256_load_si256((const __m256i *)(const void *)&leaf->value[0]);
	__m512i high = _mm512_load_si512(&leaf->value[4]);

	return search_ranks(order, count,
			    _mm256_testn_epi64_mask(low, low) | (unsigned int)_mm512_testn_epi64_mask(high, high) << 4);
}

#endif
