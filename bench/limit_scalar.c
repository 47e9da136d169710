/* SPDX-License-Identifier: ISC */
/*
 * The limit where vector registers are out of bounds, as in a kernel.  Compiled without automatic vectorization.
 */
#include "limit.h"

#ifndef SCALAR_KEYS
#define SCALAR_KEYS 32
#endif

/*
 * Every fourth key first, then the three between.  Where all of a node's keys are <= addr, the three are the next
 * node's first ones, which are greater, or padding.  A comparison's result is added, never branched on.
 */
static inline __attribute__((always_inline)) unsigned int count_scalar(const uint64_t *keys, uint64_t addr)
{
	unsigned int fours = 0;

#pragma GCC unroll 16
	for (unsigned int i = 3; i < SCALAR_KEYS; i += 4)
		fours += keys[i] <= addr;

	const uint64_t *rest = keys + 4 * (uint64_t)fours;

	return 4 * fours + (rest[0] <= addr) + (rest[1] <= addr) + (rest[2] <= addr);
}

static uint64_t lookup(void *limit, const uint64_t *addrs, size_t n)
{
	return limit_lookup(limit, addrs, n, SCALAR_KEYS, count_scalar);
}

static uint64_t many(void *limit, const uint64_t *addrs, size_t n)
{
	return limit_many(limit, addrs, n, SCALAR_KEYS, count_scalar);
}

static uint64_t chase(void *limit, const uint64_t *addrs, size_t n, uint64_t zero)
{
	return limit_chase(limit, addrs, n, zero, SCALAR_KEYS, count_scalar);
}

static void *make(const struct bench_impl *impl, const struct layout *layout, const struct cleave_entry *order)
{
	(void)impl;
	(void)order;
	return limit_make(layout, SCALAR_KEYS);
}

static void *attach(void *index)
{
	return index;
}

const struct bench_impl limit_scalar = {
	.name = "limit scalar",
	.make = make,
	.destroy = limit_destroy,
	.attach = attach,
	.lookup = lookup,
	.lookup_many = many,
	.chase = chase,
};
