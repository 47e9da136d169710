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

static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	unsigned int live = cleave__live(order);
	unsigned int rank = 0;

	for (unsigned int cell = 0; cell < CLEAVE__CELLS; cell++)
		rank += (unsigned int)(leaf->start[cell] <= addr) & live >> cell;
	return rank;
}

#endif
