/* SPDX-License-Identifier: ISC */
/* Searching without SIMD: for every processor, and for kernels.  Branch-free: a count of comparisons. */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#define SEARCH_NAME scalar
#define search_twos 1u
#define search_entry cleave__leaf_entry_any
#define search_cells cleave__leaf_cells
#define search_entry_many entry_by_arithmetic

_Static_assert(CLEAVE__FANOUT == CLEAVE__CHILD_ROOM, "this search looks at every pivot that a branch has room for");

/* One load; two smaller tables are six instructions, at the end of what a lookup waits for. */
static PORT_ALWAYS_INLINE unsigned int search_count(unsigned int live)
{
	return cleave__counts[live];
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

/* The mask with one bit more: addr < start.  Without the empty asm gcc makes setcc and lea of compare and add. */
static PORT_ALWAYS_INLINE unsigned int search_above(unsigned int mask, uint64_t addr, uint64_t start)
{
	unsigned int same = mask;

	__asm__("" : "+r"(same));
	return mask + same + (addr < start);
}

/* The same in two instructions; of the above gcc makes three, one of which moves a register. */
static PORT_ALWAYS_INLINE unsigned int search_cell(unsigned int mask, uint64_t addr, const uint64_t *start)
{
#ifdef __x86_64__
	__asm__("cmp %2, %1\n\tadc %0, %0" : "+r"(mask) : "r"(addr), "m"(*start) : "cc");
	return mask;
#else
	return search_above(mask, addr, *start);
#endif
}

/* Which live cells start at or below `addr`. */
static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	unsigned int above = 0;

#pragma GCC unroll 12
	for (unsigned int cell = 12; cell-- > 0;)
		above = search_cell(above, addr, &leaf->start[cell]);
	return ~above & cleave__live(order);
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
