/* SPDX-License-Identifier: ISC */
#include "limit.h"

#include <stdlib.h>

#define PAD 8 /* keys behind a level's last node that the scalar search may read */

static uint64_t *make_level(size_t nodes, unsigned int keys)
{
	size_t n = nodes * keys + PAD;
	uint64_t *level = need(aligned_alloc(64, (n * sizeof(*level) + 63) & ~(size_t)63));

	for (size_t i = 0; i < n; i++)
		level[i] = INT64_MAX;
	return level;
}

struct limit *limit_make(const struct layout *layout, unsigned int keys)
{
	struct limit *limit = need(calloc(1, sizeof(*limit)));
	size_t nodes = (layout->n + keys - 1) / keys;
	size_t span = 1; /* bottom nodes below one of the level's */

	limit->level[0] = make_level(nodes, keys);
	limit->memory = need(aligned_alloc(64, ((layout->n + 4) * sizeof(*limit->memory) + 63) & ~(size_t)63));
	limit->entries = limit->memory + 4; /* four in a line: no entry spans two */
	limit->entries[-1] = (struct limit_entry){ 0, NULL };
	for (size_t i = 0; i < layout->n; i++) {
		limit->level[0][i] = layout->entries[i].first;
		limit->entries[i] = (struct limit_entry){ layout->entries[i].last, layout->entries[i].value };
	}
	for (limit->height = 1; nodes > 1; limit->height++) {
		size_t above = (nodes + keys) / (keys + 1);
		uint64_t *level = make_level(above, keys);

		/* A key is the first one below its child; the leftmost child needs none. */
		for (size_t child = 0; child < nodes; child++) {
			if (child % (keys + 1))
				level[child / (keys + 1) * keys + child % (keys + 1) - 1] =
					limit->level[0][child * span * keys];
		}
		limit->level[limit->height] = level;
		nodes = above;
		span *= keys + 1;
	}
	return limit;
}

void limit_destroy(void *index)
{
	struct limit *limit = index;

	for (unsigned int i = 0; i < limit->height; i++)
		free(limit->level[i]);
	free(limit->memory);
	free(limit);
}

#define SIMD_KEYS 16

#ifdef __x86_64__

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,popcnt,bmi,bmi2")))
#define AVX2 __attribute__((target("avx2,popcnt,bmi,bmi2")))
#define COUNT inline __attribute__((always_inline)) unsigned int

/* Fewest instructions: best where lookups overlap. */
static AVX512 COUNT count_avx512(const uint64_t *keys, uint64_t addr)
{
	__m512i wanted = _mm512_set1_epi64((long long)addr);
	__mmask8 low = _mm512_cmple_epu64_mask(_mm512_load_si512(keys), wanted);
	__mmask8 high = _mm512_cmple_epu64_mask(_mm512_load_si512(keys + 8), wanted);

	return (unsigned int)__builtin_popcount(_mm512_kunpackb(high, low));
}

/* Shortest path: best where one waits for the other. */
static AVX512 COUNT count_avx512_short(const uint64_t *keys, uint64_t addr)
{
	__m512i wanted = _mm512_set1_epi64((long long)addr);
	__mmask8 low = _mm512_cmple_epu64_mask(_mm512_load_si512(keys), wanted);
	__mmask8 high = _mm512_cmple_epu64_mask(_mm512_load_si512(keys + 8), wanted);

	return (unsigned int)(__builtin_popcount(low) + __builtin_popcount(high));
}

/* AVX2 compares signed, which does here: keys, padding and addresses are below 2^63. */
static AVX2 COUNT count_avx2(const uint64_t *keys, uint64_t addr)
{
	const __m256i *vector = (const __m256i *)keys;
	__m256i wanted = _mm256_set1_epi64x((long long)addr);
	unsigned int above = 0;

	for (int i = 0; i < SIMD_KEYS / 4; i++) {
		__m256i more = _mm256_cmpgt_epi64(_mm256_load_si256(vector + i), wanted);

		above |= (unsigned int)_mm256_movemask_pd(_mm256_castsi256_pd(more)) << (4 * i);
	}
	return SIMD_KEYS - (unsigned int)__builtin_popcount(above);
}

static AVX512 uint64_t lookup_avx512(void *limit, const uint64_t *addrs, size_t n)
{
	return limit_lookup(limit, addrs, n, SIMD_KEYS, count_avx512);
}

static AVX512 uint64_t many_avx512(void *limit, const uint64_t *addrs, size_t n)
{
	return limit_many(limit, addrs, n, SIMD_KEYS, count_avx512);
}

static AVX512 uint64_t chase_avx512(void *limit, const uint64_t *addrs, size_t n, uint64_t zero)
{
	return limit_chase(limit, addrs, n, zero, SIMD_KEYS, count_avx512_short);
}

static AVX2 uint64_t lookup_avx2(void *limit, const uint64_t *addrs, size_t n)
{
	return limit_lookup(limit, addrs, n, SIMD_KEYS, count_avx2);
}

static AVX2 uint64_t many_avx2(void *limit, const uint64_t *addrs, size_t n)
{
	return limit_many(limit, addrs, n, SIMD_KEYS, count_avx2);
}

static AVX2 uint64_t chase_avx2(void *limit, const uint64_t *addrs, size_t n, uint64_t zero)
{
	return limit_chase(limit, addrs, n, zero, SIMD_KEYS, count_avx2);
}

static void *make_simd(const struct bench_impl *impl, const struct layout *layout, const struct cleave_entry *order)
{
	(void)impl;
	(void)order;
	return limit_make(layout, SIMD_KEYS);
}

static void *attach(void *index)
{
	return index;
}

static const struct bench_impl limit_avx512 = {
	.name = "limit avx512",
	.make = make_simd,
	.destroy = limit_destroy,
	.attach = attach,
	.lookup = lookup_avx512,
	.lookup_many = many_avx512,
	.chase = chase_avx512,
};

static const struct bench_impl limit_avx2 = {
	.name = "limit avx2",
	.make = make_simd,
	.destroy = limit_destroy,
	.attach = attach,
	.lookup = lookup_avx2,
	.lookup_many = many_avx2,
	.chase = chase_avx2,
};

const struct bench_impl *limit_simd(void)
{
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512dq"))
		return &limit_avx512;
	if (__builtin_cpu_supports("avx2"))
		return &limit_avx2;
	return &limit_scalar;
}

#else

const struct bench_impl *limit_simd(void)
{
	return &limit_scalar;
}

#endif
