/* SPDX-License-Identifier: ISC */
/* Searching with AVX-512: two comparisons a node. */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#include <immintrin.h>

#define SEARCH_NAME avx512
#define search_entry cleave__leaf_entry_any
#define search_entry_many entry_by_arithmetic
#define search_count(live) ((unsigned int)__builtin_popcount(live))

_Static_assert(CLEAVE__FANOUT == CLEAVE__CHILD_ROOM, "this search looks at every pivot that a branch has room for");

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

/* ---- A cursor's visits, a whole leaf's at once ---- */

#define SEARCH_VISIT 5u /* words */

_Static_assert(sizeof(struct cleave_visit) == 8 * SEARCH_VISIT && offsetof(struct cleave_visit, entry.first) == 0 &&
		       offsetof(struct cleave_visit, entry.last) == 8 &&
		       offsetof(struct cleave_visit, entry.value) == 16 && offsetof(struct cleave_visit, first) == 24 &&
		       offsetof(struct cleave_visit, last) == 32,
	       "a visit is first, last, value, first, last");

/* For each word of eight visits: whose it is, and 8 if it comes from the ends. */
#define SEARCH_WORD(i) ((i) / 5 + ((i) % 5 == 1 || (i) % 5 == 4 ? 8 : 0))
#define SEARCH_LINE(i)                                                                                                \
	{ SEARCH_WORD(i),     SEARCH_WORD(i + 1), SEARCH_WORD(i + 2), SEARCH_WORD(i + 3),                              \
	  SEARCH_WORD(i + 4), SEARCH_WORD(i + 5), SEARCH_WORD(i + 6), SEARCH_WORD(i + 7) }
static const uint64_t search_lines[5][8] __attribute__((aligned(64))) = {
	SEARCH_LINE(0), SEARCH_LINE(8), SEARCH_LINE(16), SEARCH_LINE(24), SEARCH_LINE(32),
};

/* The k-th line of eight visits with these starts, ends and values. */
static PORT_ALWAYS_INLINE __m512i search_line(unsigned int k, __m512i first, __m512i last, __m512i value)
{
	static const __mmask8 values[5] = { 0x84, 0x10, 0x42, 0x08, 0x21 }; /* words that are values */
	__m512i from = _mm512_load_si512(search_lines[k]);

	return _mm512_mask_permutexvar_epi64(_mm512_permutex2var_epi64(first, from, last), values[k], from, value);
}

/* Write so many of these lines: all of each, or what the mask has. */
static PORT_ALWAYS_INLINE void search_write(uint64_t *words, unsigned int lines, bool all, uint64_t mask, __m512i first,
					    __m512i last, __m512i value)
{
#pragma GCC unroll 5
	for (unsigned int k = 0; k < lines; k++) {
		__m512i line = search_line(k, first, last, value);

		if (PORT_LIKELY(all))
			_mm512_storeu_si512(words + 8 * k, line);
		else
			_mm512_mask_storeu_epi64(words + 8 * k, (__mmask8)(mask >> (8 * k)), line);
	}
}

/* The first, or last, eight numbers of a word, for a permutation, which takes the lowest four bits of each. */
static PORT_ALWAYS_INLINE __m512i search_numbers(__m512i word, unsigned int half)
{
	const __m512i ranks = _mm512_set_epi64(28, 24, 20, 16, 12, 8, 4, 0);

	return _mm512_srlv_epi64(word, _mm512_add_epi64(ranks, _mm512_set1_epi64(half ? 32 : 0)));
}

/*
 * As cleave__leaf_visit().  The numbers of the cells that are wanted, and of those behind them, are drawn together; the
 * cells are permuted by these, and the columns of starts, ends and values into rows.  Eight visits are written even
 * where there are fewer, while there is room; then under a mask, which takes longer.
 */
static PORT_ALWAYS_INLINE unsigned int search_visits(const struct cleave__leaf *leaf, uint64_t order,
						     unsigned int count, unsigned int r, size_t room, bool gaps,
						     struct cleave_visit *visits)
{
	unsigned int n = room < count - r ? (unsigned int)room : count - r;
	unsigned int ranks = ((1u << n) - 1) << r & (gaps ? ~0u : ~search_free(leaf, order, count));
	unsigned int found = search_count(ranks);
	unsigned int ends = (ranks >> (count - 1) & 1) << found >> 1; /* the visit that ends with the leaf */
	uint64_t numbers = _pdep_u64(ranks, 0x111111111111) * 15;
	__m512i wanted = _mm512_set1_epi64((long long)_pext_u64(order, numbers));
	__m512i behind = _mm512_set1_epi64((long long)_pext_u64(order >> 4, numbers));
	__m512i low = _mm512_load_si512(&leaf->start[0]), middle = _mm512_load_si512(&leaf->start[8]);
	__m512i high = _mm512_load_si512(&leaf->value[4]);
	__m512i leaf_last = _mm512_set1_epi64((long long)leaf->node.last);
	uint64_t *words = (uint64_t *)(void *)visits;
	uint64_t mask = _bzhi_u64(UINT64_MAX, SEARCH_VISIT * found);

#pragma GCC unroll 2
	for (unsigned int half = 0; half < 2; half++) {
		__m512i cell = search_numbers(wanted, half), next = search_numbers(behind, half);
		__m512i first = _mm512_permutex2var_epi64(low, cell, middle);
		__m512i end = _mm512_permutex2var_epi64(low, next, middle);
		__m512i value = _mm512_permutex2var_epi64(middle, _mm512_add_epi64(cell, _mm512_set1_epi64(4)), high);
		__m512i last = _mm512_mask_mov_epi64(_mm512_sub_epi64(end, _mm512_set1_epi64(1)),
						     (__mmask8)(ends >> (8 * half)), leaf_last);

		search_write(words, half ? 3 : 5, room > 12, mask, first, last, value); /* 12 visits are 7.5 lines */
		if (PORT_LIKELY(found <= 8))
			break;
		words += 40;
		mask >>= 40;
	}
	return found;
}

#endif
