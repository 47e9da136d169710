/* SPDX-License-Identifier: ISC */
/* Searching without SIMD: for every processor, and for kernels.  Branch-free: a count of comparisons. */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#define SEARCH_NAME scalar
#define search_count(live) cleave__count12(live)

/* Every 4th pivot, then the three of the group: 6 comparisons in place of 15. */
static PORT_ALWAYS_INLINE unsigned int search_branch(const struct cleave__branch *branch, uint64_t addr)
{
	const uint64_t *pivot = branch->pivot;
	unsigned int i;

	i = (unsigned int)(pivot[3] < addr) + (unsigned int)(pivot[7] < addr) + (unsigned int)(pivot[11] < addr);
	pivot += 4 * i;
	return 4 * i + (unsigned int)(pivot[0] < addr) + (unsigned int)(pivot[1] < addr) +
	       (unsigned int)(pivot[2] < addr);
}

/* Does the r-th cell exist and start at or below addr?  What an unused number leads to is read, and not used. */
static PORT_ALWAYS_INLINE unsigned int search_starts(const struct cleave__leaf *leaf, uint64_t order,
						     unsigned int count, unsigned int r, uint64_t addr)
{
	const uint64_t *start = (const uint64_t *)(const void *)leaf + offsetof(struct cleave__leaf, start) / 8;

	return (unsigned int)(r < count) & (unsigned int)(start[cleave__cell(order, r)] <= addr);
}

/* The 4th and the 8th cell in address order, then the three of the group: 5 comparisons in place of 12. */
static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	unsigned int count = cleave__count12(cleave__live(order));
	unsigned int r = 4 * (search_starts(leaf, order, count, 4, addr) + search_starts(leaf, order, count, 8, addr));

	return r + 1 + search_starts(leaf, order, count, r + 1, addr) + search_starts(leaf, order, count, r + 2, addr) +
	       search_starts(leaf, order, count, r + 3, addr);
}

#endif
