/* SPDX-License-Identifier: ISC */
/* Searching without SIMD: for every processor, and for kernels.  Branch-free: a count of comparisons. */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#define SEARCH_NAME scalar
#define search_entry cleave__leaf_entry_any
#define search_cells cleave__leaf_cells
#define search_entry_many entry_by_arithmetic

_Static_assert(CLEAVE__FANOUT == CLEAVE__CHILD_ROOM, "this search looks at every pivot that a branch has room for");

/* Bits among six: one line of memory, and quicker than to add up bits in a register. */
static const unsigned char search_counts[64] __attribute__((aligned(64))) = {
	0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 1, 2, 2, 3, 2, 3, 3, 4, 2, 3, 3, 4, 3, 4, 4, 5,
	1, 2, 2, 3, 2, 3, 3, 4, 2, 3, 3, 4, 3, 4, 4, 5, 2, 3, 3, 4, 3, 4, 4, 5, 3, 4, 4, 5, 4, 5, 5, 6,
};

static PORT_ALWAYS_INLINE unsigned int search_count(unsigned int live)
{
	return (unsigned int)search_counts[live & 63] + search_counts[live >> 6];
}

/* Every 4th pivot, then the three of the group: 6 comparisons in place of 15. */
static PORT_ALWAYS_INLINE size_t search_pivots(const struct cleave__branch *branch, uint64_t addr)
{
	const uint64_t *pivot = branch->pivot;
	unsigned int i;

	i = (unsigned int)(pivot[3] < addr) + (unsigned int)(pivot[7] < addr) + (unsigned int)(pivot[11] < addr);
	pivot += 4 * i;
	return 4 * i + (unsigned int)(pivot[0] < addr) + (unsigned int)(pivot[1] < addr) +
	       (unsigned int)(pivot[2] < addr);
}

static PORT_ALWAYS_INLINE size_t search_branch(const struct cleave__branch *branch, uint64_t addr)
{
	cleave__branch_prefetch(branch);
	return search_pivots(branch, addr);
}

/*
 * Which live cells start at or below `addr`.  Two chains of compare and add with carry, two instructions a cell;
 * without the empty asm gcc makes setcc and lea of them, which fill the scheduler so that lookups do not overlap.
 */
static PORT_ALWAYS_INLINE unsigned int search_above(unsigned int mask, uint64_t addr, uint64_t start)
{
	unsigned int same = mask;

	__asm__("" : "+r"(same));
	return mask + same + (addr < start);
}

static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	unsigned int low = 0, high = 0;

#pragma GCC unroll 6
	for (unsigned int cell = 6; cell-- > 0;) {
		low = search_above(low, addr, leaf->start[cell]);
		high = search_above(high, addr, leaf->start[cell + 6]);
	}
	return ~(low | high << 6) & cleave__live(order);
}

static PORT_ALWAYS_INLINE unsigned int search_gaps(const struct cleave__branch *branch, uint64_t size)
{
	unsigned int small = 0;

#pragma GCC unroll 16
	for (unsigned int i = 16; i-- > 0;)
		small = search_above(small, cleave__branch_gap(branch, i), size);
	return ~small & 0xffff;
}

static PORT_ALWAYS_INLINE unsigned int search_free(const struct cleave__leaf *leaf, uint64_t order)
{
	unsigned int free = 0;

#pragma GCC unroll 12
	for (unsigned int cell = 12; cell-- > 0;)
		free = free << 1 | (leaf->value[cell] == NULL);
	return free & cleave__live(order);
}

static PORT_ALWAYS_INLINE unsigned int search_ranks(uint64_t order, unsigned int count, unsigned int cells)
{
	unsigned int ranks = 0;

	for (unsigned int r = 0; r < count; r++)
		ranks |= (cells >> cleave__cell(order, r) & 1) << r;
	return ranks;
}

#endif
