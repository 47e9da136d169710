/* SPDX-License-Identifier: ISC */
/* Searching with AVX-512: two comparisons a node. */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#include <immintrin.h>

#define SEARCH_NAME avx512
#define search_twos 1u
#define search_entry cleave__leaf_entry_any
#define search_entry_many entry_by_arithmetic
#define search_count(live) ((unsigned int)__builtin_popcount(live))

_Static_assert(CLEAVE__FANOUT == CLEAVE__CHILD_ROOM, "this search looks at every pivot that a branch has room for");

/*
 * The vector stands second, so that it is compared where it lies, and both masks are counted at once: the fewer
 * instructions wait for a node, the more lookups overlap.
 */
static PORT_ALWAYS_INLINE size_t search_pivots(const struct cleave__branch *branch, uint64_t addr)
{
	__m512i key = _mm512_set1_epi64((long long)addr);
	__mmask8 low = _mm512_cmpgt_epu64_mask(key, _mm512_load_si512(&branch->pivot[0]));
	__mmask8 high = _mm512_cmpgt_epu64_mask(key, _mm512_load_si512(&branch->pivot[8]));

	return (size_t)_mm_popcnt_u64(_mm512_kunpackb(high, low));
}

static PORT_ALWAYS_INLINE size_t search_branch(const struct cleave__branch *branch, uint64_t addr)
{
	cleave__branch_prefetch(branch);
	return search_pivots(branch, addr);
}

static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	__m512i key = _mm512_set1_epi64((long long)addr);
	__m256i rest = _mm256_load_si256((const __m256i *)(const void *)&leaf->start[8]);
	__mmask8 low = _mm512_cmpge_epu64_mask(key, _mm512_load_si512(&leaf->start[0]));
	__mmask8 high = _mm256_cmpge_epu64_mask(_mm512_castsi512_si256(key), rest);

	return _mm512_kunpackb(high, low) & cleave__live(order);
}

static PORT_ALWAYS_INLINE unsigned int search_gaps(const struct cleave__branch *branch, uint64_t size)
{
	__m512i wanted = _mm512_set1_epi64((long long)size);
	__mmask8 low = _mm512_cmpge_epu64_mask(_mm512_load_si512(&branch->gap[0]), wanted);
	__mmask8 high = _mm512_cmpge_epu64_mask(_mm512_load_si512(&branch->gap[8]), wanted);

	return _mm512_kunpackb(high, low);
}

/* The ranks of some cells: each number of the order word, as a byte, looks up whether its cell is one of them. */
static PORT_ALWAYS_INLINE unsigned int search_ranks(uint64_t order, unsigned int count, unsigned int cells)
{
	const __m128i number = _mm_set1_epi8(15);
	__m128i even = _mm_cvtsi64_si128((long long)order), odd = _mm_srli_epi16(even, 4);
	__m128i numbers = _mm_unpacklo_epi8(_mm_and_si128(even, number), _mm_and_si128(odd, number));
	__m128i table = _mm_movm_epi8((__mmask16)cells);

	return (unsigned int)_mm_movemask_epi8(_mm_shuffle_epi8(table, numbers)) & ((1u << count) - 1);
}

static PORT_ALWAYS_INLINE unsigned int search_free(const struct cleave__leaf *leaf, uint64_t order)
{
	__m256i low = _mm256_load_si256((const __m256i *)(const void *)&leaf->value[0]);
	__m512i high = _mm512_load_si512(&leaf->value[4]);

	return (_mm256_testn_epi64_mask(low, low) | (unsigned int)_mm512_testn_epi64_mask(high, high) << 4) &
	       cleave__live(order);
}

/* ---- Visits and entries, a whole leaf's at once ---- */

_Static_assert(sizeof(struct cleave_entry) == 24 && offsetof(struct cleave_entry, first) == 0 &&
		       offsetof(struct cleave_entry, last) == 8 && offsetof(struct cleave_entry, value) == 16,
	       "an entry is first, last, value");
_Static_assert(sizeof(struct cleave_visit) == 40 && offsetof(struct cleave_visit, entry) == 0 &&
		       offsetof(struct cleave_visit, first) == 24 && offsetof(struct cleave_visit, last) == 32,
	       "a visit is an entry, first, last");

#define SEARCH_END 12u /* as a cell's number: the end of the leaf, as if another entry started there */

/*
 * They are written in fours, whose starts and ends make one vector: each line of theirs is one permutation of that and
 * of their values.  For each word of two fours, of `size` words each: which of four starts, four ends and eight values
 * it is.
 */
#define SEARCH_WORD(size, i)                                                                                          \
	((i) % (size) == 2 ? 8 + (i) / (size)                                                                         \
			   : (i) / (size) % 4 + ((i) % (size) == 1 || (i) % (size) == 4 ? 4 : 0))
#define SEARCH_LINE(size, i)                                                                                          \
	{ SEARCH_WORD(size, i),     SEARCH_WORD(size, i + 1), SEARCH_WORD(size, i + 2), SEARCH_WORD(size, i + 3),     \
	  SEARCH_WORD(size, i + 4), SEARCH_WORD(size, i + 5), SEARCH_WORD(size, i + 6), SEARCH_WORD(size, i + 7) }
static const uint64_t search_visits[2][3][8] __attribute__((aligned(64))) = {
	{ SEARCH_LINE(5, 0), SEARCH_LINE(5, 8), SEARCH_LINE(5, 16) },
	{ SEARCH_LINE(5, 20), SEARCH_LINE(5, 28), SEARCH_LINE(5, 36) },
};
static const uint64_t search_entries[2][2][8] __attribute__((aligned(64))) = {
	{ SEARCH_LINE(3, 0), SEARCH_LINE(3, 8) },
	{ SEARCH_LINE(3, 12), SEARCH_LINE(3, 20) },
};

static PORT_ALWAYS_INLINE __m512i search_permute(const uint64_t *line, __m512i ends, __m512i values)
{
	return _mm512_permutex2var_epi64(ends, _mm512_load_si512(line), values);
}

/* The first four, or the other four, of eight: two lines and a half of visits, or one and a half of entries. */
static PORT_ALWAYS_INLINE void search_write(enum cleave__form form, void *to, unsigned int half, __m512i ends,
					    __m512i values)
{
	const uint64_t(*line)[8] = form == CLEAVE__VISITS ? search_visits[half] : search_entries[half];
	char *at = cleave__form_at(form, to, 4 * half);

	_mm512_storeu_si512(at, search_permute(line[0], ends, values));
	if (form == CLEAVE__VISITS) {
		at += 64, line++;
		_mm512_storeu_si512(at, search_permute(line[0], ends, values));
	}
	_mm256_storeu_si256((__m256i *)(void *)(at + 64),
			    _mm512_castsi512_si256(search_permute(line[1], ends, values)));
}

/* Eight numbers of a word from the lowest bits on, for a permutation, which takes the lowest four bits of each. */
static PORT_ALWAYS_INLINE __m512i search_numbers(uint64_t word, unsigned int from)
{
	const __m512i ranks = _mm512_set_epi64(28, 24, 20, 16, 12, 8, 4, 0);

	return _mm512_srlv_epi64(_mm512_set1_epi64((long long)word),
				 from ? _mm512_add_epi64(ranks, _mm512_set1_epi64(from)) : ranks);
}

/*
 * As cleave__leaf_cells() from one rank to the last one, but up to 12 are written even where there are fewer.  The
 * numbers of the cells that are wanted, and of those behind them, are drawn together: these permute the cells.
 */
static PORT_ALWAYS_INLINE unsigned int search_cells_all(const struct cleave__leaf *leaf, uint64_t order,
							unsigned int count, unsigned int ranks, bool gaps,
							enum cleave__form form, void *to)
{
	/* An entry ends below what starts behind it. */
	const __m512i below = _mm512_set_epi64(-1, -1, -1, -1, 0, 0, 0, 0);
	__m512i starts = _mm512_load_si512(&leaf->start[0]), values = _mm512_loadu_si512(&leaf->value[0]);
	__m512i end = _mm512_add_epi64(_mm512_set1_epi64((long long)leaf->node.last), _mm512_set1_epi64(1));
	__m512i more_starts =
		_mm512_inserti64x4(end, _mm256_load_si256((const __m256i *)(const void *)&leaf->start[8]), 0);
	__m512i more_values =
		_mm512_castsi256_si512(_mm256_load_si256((const __m256i *)(const void *)&leaf->value[8]));
	uint64_t numbers, wanted, behind, both;
	__m512i ends, eight;
	unsigned int found;

	ranks &= gaps ? ~0u : ~search_ranks(order, count, search_free(leaf, order));
	found = search_count(ranks);
	numbers = _pdep_u64(ranks, 0x111111111111) * 15;
	wanted = _pext_u64(order, numbers);
	behind = _pext_u64((_bzhi_u64(order, 4 * count) | (uint64_t)SEARCH_END << (4 * count)) >> 4, numbers);
	both = _pdep_u64(wanted, 0x0000ffff0000ffff) | _pdep_u64(behind, 0xffff0000ffff0000);
	eight = _mm512_permutex2var_epi64(values, search_numbers(wanted, 0), more_values);
#pragma GCC unroll 2
	for (unsigned int half = 0; half < 2; half++) {
		ends = _mm512_permutex2var_epi64(starts, search_numbers(both, 32 * half), more_starts);
		search_write(form, to, half, _mm512_add_epi64(ends, below), eight);
	}
	if (PORT_UNLIKELY(found > 8)) {
		both = wanted >> 32 | behind >> 32 << 16;
		eight = _mm512_permutex2var_epi64(values, search_numbers(wanted, 32), more_values);
		ends = _mm512_permutex2var_epi64(starts, search_numbers(both, 0), more_starts);
		search_write(form, cleave__form_at(form, to, 8), 0, _mm512_add_epi64(ends, below), eight);
	}
	return found;
}

/* The same, where there is less room. */
static __attribute__((noinline)) unsigned int search_cells_some(const struct cleave__leaf *leaf, uint64_t order,
								unsigned int count, unsigned int ranks, bool gaps,
								enum cleave__form form, void *to)
{
	struct cleave_visit all[CLEAVE__CELL_ROOM];
	unsigned int found;

	if (form == CLEAVE__VISITS)
		found = search_cells_all(leaf, order, count, ranks, gaps, CLEAVE__VISITS, all);
	else
		found = search_cells_all(leaf, order, count, ranks, gaps, CLEAVE__ENTRIES, all);
	memcpy(to, all, (size_t)((char *)cleave__form_at(form, all, found) - (char *)all));
	return found;
}

/* As cleave__leaf_cells(). */
static PORT_ALWAYS_INLINE unsigned int search_cells(const struct cleave__leaf *leaf, uint64_t order,
						    unsigned int count, unsigned int r, size_t room, bool gaps,
						    enum cleave__form form, void *to)
{
	unsigned int ranks = (1u << count) - (1u << r);

	if (PORT_LIKELY(room >= CLEAVE__CELL_ROOM))
		return search_cells_all(leaf, order, count, ranks, gaps, form, to);
	if (room < count - r)
		ranks = ((1u << room) - 1) << r;
	return search_cells_some(leaf, order, count, ranks, gaps, form, to);
}

#endif
