/* SPDX-License-Identifier: ISC */
/* Searching with AVX2, whose comparisons are signed: both sides are moved by 2^63. */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#include <immintrin.h>

#define SEARCH_NAME avx2
#define search_twos 2u
#define search_entry cleave__leaf_entry_any
#define search_cells cleave__leaf_cells
#define search_entry_many entry_by_arithmetic
#define search_count(live) ((unsigned int)__builtin_popcount(live))

_Static_assert(CLEAVE__FANOUT == CLEAVE__CHILD_ROOM, "this search looks at every pivot that a branch has room for");

/* Which of four are above the key. */
static PORT_ALWAYS_INLINE unsigned int search_four(const void *four, __m256i key, __m256i sign)
{
	__m256i x = _mm256_xor_si256(_mm256_load_si256((const __m256i *)four), sign);

	return (unsigned int)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(x, key)));
}

/* Which of four are below the key. */
static PORT_ALWAYS_INLINE __m256i search_below(const void *four, __m256i key, __m256i sign)
{
	return _mm256_cmpgt_epi64(key, _mm256_xor_si256(_mm256_load_si256((const __m256i *)four), sign));
}

/*
 * A count asks for no order, so the comparisons are packed, to two bytes each (saturation keeps 0 and -1), and these
 * are counted (search_twos).
 */
static PORT_ALWAYS_INLINE size_t search_pivots(const struct cleave__branch *branch, uint64_t addr)
{
	__m256i sign = _mm256_set1_epi64x(INT64_MIN);
	__m256i key = _mm256_xor_si256(_mm256_set1_epi64x((long long)addr), sign);
	__m256i low = _mm256_packs_epi32(search_below(&branch->pivot[0], key, sign),
					 search_below(&branch->pivot[4], key, sign));
	__m256i high = _mm256_packs_epi32(search_below(&branch->pivot[8], key, sign),
					  search_below(&branch->pivot[12], key, sign));
	unsigned int bytes = (unsigned int)_mm256_movemask_epi8(_mm256_packs_epi16(low, high));

	return (size_t)_mm_popcnt_u64(bytes);
}

static PORT_ALWAYS_INLINE size_t search_branch(const struct cleave__branch *branch, uint64_t addr)
{
	cleave__branch_prefetch(branch);
	return search_pivots(branch, addr);
}

static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	__m256i sign = _mm256_set1_epi64x(INT64_MIN);
	__m256i key = _mm256_xor_si256(_mm256_set1_epi64x((long long)addr), sign);
	unsigned int above = search_four(&leaf->start[0], key, sign) | search_four(&leaf->start[4], key, sign) << 4 |
			     search_four(&leaf->start[8], key, sign) << 8;

	return ~above & cleave__live(order);
}

/* Which of 16 are above the key. */
static PORT_ALWAYS_INLINE unsigned int search_sixteen(const void *sixteen, uint64_t key)
{
	const __m256i *four = (const __m256i *)sixteen;
	__m256i sign = _mm256_set1_epi64x(INT64_MIN);
	__m256i moved = _mm256_xor_si256(_mm256_set1_epi64x((long long)key), sign);

	return search_four(four, moved, sign) | search_four(four + 1, moved, sign) << 4 |
	       search_four(four + 2, moved, sign) << 8 | search_four(four + 3, moved, sign) << 12;
}

static PORT_ALWAYS_INLINE unsigned int search_gaps(const struct cleave__branch *branch, uint64_t size)
{
	return search_sixteen(branch->gap, size - 1);
}

/* The ranks of some cells: each number of the order word, as a byte, looks up whether its cell is one of them. */
static PORT_ALWAYS_INLINE unsigned int search_ranks(uint64_t order, unsigned int count, unsigned int cells)
{
	const __m128i number = _mm_set1_epi8(15);
	__m128i even = _mm_cvtsi64_si128((long long)order), odd = _mm_srli_epi16(even, 4);
	__m128i numbers = _mm_unpacklo_epi8(_mm_and_si128(even, number), _mm_and_si128(odd, number));
	const __m128i halves = _mm_set_epi64x(0x0101010101010101, 0),
		      bits = _mm_set1_epi64x((long long)0x8040201008040201);
	__m128i bytes = _mm_and_si128(_mm_shuffle_epi8(_mm_set1_epi16((short)cells), halves), bits);
	__m128i table = _mm_cmpeq_epi8(bytes, bits);

	return (unsigned int)_mm_movemask_epi8(_mm_shuffle_epi8(table, numbers)) & ((1u << count) - 1);
}

static PORT_ALWAYS_INLINE unsigned int search_free(const struct cleave__leaf *leaf, uint64_t order)
{
	unsigned int cells = 0;

	for (unsigned int cell = 0; cell < 12; cell += 4) {
		__m256i values = _mm256_load_si256((const __m256i *)(const void *)&leaf->value[cell]);
		__m256i null = _mm256_cmpeq_epi64(values, _mm256_setzero_si256());

		cells |= (unsigned int)_mm256_movemask_pd(_mm256_castsi256_pd(null)) << cell;
	}
	return cells & cleave__live(order);
}

#endif
