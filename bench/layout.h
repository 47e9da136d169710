/* SPDX-License-Identifier: ISC */
/*
 * What the indexes hold: disjoint page-aligned ranges in 47 bits, in clusters as real processes have them.  All of it
 * follows from a seed.
 */
#ifndef BENCH_LAYOUT_H
#define BENCH_LAYOUT_H

#include <cleave/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LAYOUT_PAGE 4096
#define LAYOUT_TOP ((uint64_t)1 << 47) /* the first address above all entries */

struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* Sorted, disjoint.  An entry's value is its own address in this array. */
struct layout {
	size_t n;
	struct cleave_entry *entries;
};

void layout_make(struct layout *layout, size_t n, uint64_t seed);
void layout_free(struct layout *layout);

/* `count` random addresses inside entries [from, to); *sum (may be NULL): of the values of the entries they hit. */
uint64_t *layout_addresses(const struct layout *layout, size_t from, size_t to, size_t count, uint64_t seed,
			   uint64_t *sum);

/* `count` random first addresses. */
uint64_t *layout_firsts(const struct layout *layout, size_t count, uint64_t seed, uint64_t *sum);

/* The entries in random order. */
struct cleave_entry *layout_shuffled(const struct layout *layout, uint64_t seed);

/* `count` random ones of the entries [from, to): none twice within LAYOUT_APART. */
#define LAYOUT_APART 64
struct cleave_entry *layout_drawn(const struct layout *layout, size_t from, size_t to, size_t count, uint64_t seed);

/* The middles of such entries. */
uint64_t *layout_middles(const struct layout *layout, size_t from, size_t to, size_t count, uint64_t seed);

/* Memory or exit. */
void *need(void *memory);

#ifdef __cplusplus
}
#endif
#endif
