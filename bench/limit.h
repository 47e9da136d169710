/* SPDX-License-Identifier: ISC */
/*
 * The lower bound of a lookup: an immutable B+ tree whose inner levels are implicit, so that a step down is a count and
 * a multiplication.  No writer, no read section, no call: the walk is inlined into the loop that is timed.
 *
 * Its memory is what malloc() gives; no huge pages, as for the library's nodes, unless the system gives them to
 * everybody.
 */
#ifndef BENCH_LIMIT_H
#define BENCH_LIMIT_H

#include "bench.h"

#define LIMIT_LEVELS 12

struct limit_entry {
	uint64_t last;
	void *value;
};

struct limit {
	unsigned int height;
	uint64_t *level[LIMIT_LEVELS]; /* [0]: the entries' first addresses */
	struct limit_entry *entries;   /* [-1] stands for what lies below all of them */
	struct limit_entry *memory;
};

/* `keys`: a node's, a multiple of 8. */
struct limit *limit_make(const struct layout *layout, unsigned int keys);
void limit_destroy(void *limit);

/* The best one for this processor (its name says which), and the one without SIMD. */
const struct bench_impl *limit_simd(void);
extern const struct bench_impl limit_scalar;

/* The number of a node's keys <= addr. */
typedef unsigned int limit_count(const uint64_t *keys, uint64_t addr);

/* Each caller is compiled for its own instruction set; `count` is a constant there. */
static inline __attribute__((always_inline)) void *limit_walk(const struct limit *limit, uint64_t addr,
							      unsigned int keys, limit_count *count)
{
	uint64_t node = 0;

#pragma GCC unroll 1
	for (unsigned int level = limit->height - 1; level > 0; level--)
		node = node * (keys + 1) + count(limit->level[level] + node * keys, addr);

	uint64_t found = node * keys + count(limit->level[0] + node * keys, addr);
	const struct limit_entry *entry = &limit->entries[(int64_t)found - 1];

	return addr <= entry->last ? entry->value : NULL;
}

static inline __attribute__((always_inline)) uint64_t limit_lookup(const struct limit *limit, const uint64_t *addrs,
								   size_t n, unsigned int keys, limit_count *count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uintptr_t)limit_walk(limit, addrs[i], keys, count);
	return sum;
}

#define LIMIT_MANY 8 /* lookups at once */

/* The same, a level at a time for a group of lookups.  n is a multiple of LIMIT_MANY. */
static inline __attribute__((always_inline)) uint64_t limit_many(const struct limit *limit, const uint64_t *addrs,
								 size_t n, unsigned int keys, limit_count *count)
{
	uint64_t sum = 0;

	for (size_t at = 0; at < n; at += LIMIT_MANY) {
		uint64_t node[LIMIT_MANY] = { 0 };

		for (unsigned int level = limit->height - 1; level > 0; level--) {
			for (unsigned int i = 0; i < LIMIT_MANY; i++) {
				node[i] = node[i] * (keys + 1) +
					  count(limit->level[level] + node[i] * keys, addrs[at + i]);
				__builtin_prefetch(limit->level[level - 1] + node[i] * keys);
				__builtin_prefetch(limit->level[level - 1] + node[i] * keys + 8);
			}
		}
		for (unsigned int i = 0; i < LIMIT_MANY; i++) {
			node[i] = node[i] * keys + count(limit->level[0] + node[i] * keys, addrs[at + i]);
			__builtin_prefetch(&limit->entries[(int64_t)node[i] - 1]);
		}
		for (unsigned int i = 0; i < LIMIT_MANY; i++) {
			const struct limit_entry *entry = &limit->entries[(int64_t)node[i] - 1];

			sum += addrs[at + i] <= entry->last ? (uintptr_t)entry->value : 0;
		}
	}
	return sum;
}

static inline __attribute__((always_inline)) uint64_t limit_chase(const struct limit *limit, const uint64_t *addrs,
								  size_t n, uint64_t zero, unsigned int keys,
								  limit_count *count)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = (uintptr_t)limit_walk(limit, addrs[i] + (value & zero), keys, count);
	return value;
}

#endif
