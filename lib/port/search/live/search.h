/* SPDX-License-Identifier: ISC */
/*
 * Searching live cells only, through the port's hooks: for race detectors and schedulers, which see every access.
 * A cell that was reused before its grace period is a reported race here; the other searches load such cells and mask
 * them out.
 */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#define SEARCH_NAME live
#define search_twos 1u
#define search_entry(leaf, order, more, r, entry) cleave__leaf_entry(leaf, order, (r) + 1 + (more), r, entry)
#define search_cells cleave__leaf_cells
#define search_entry_many search_entry
#define search_count(live) cleave__count12(live)
#define search_pivots search_branch

static PORT_ALWAYS_INLINE size_t search_branch(const struct cleave__branch *branch, uint64_t addr)
{
	return cleave__branch_index(branch, addr);
}

static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	unsigned int below = 0;

	for (unsigned int r = cleave__leaf_rank(leaf, order, cleave__count12(cleave__live(order)), 0, addr) + 1;
	     r-- > 0;)
		below |= 1u << cleave__cell(order, r);
	return below;
}

static PORT_ALWAYS_INLINE unsigned int search_gaps(const struct cleave__branch *branch, uint64_t size)
{
	unsigned int children = 0;

	for (unsigned int i = 0; i < branch->node.count; i++)
		children |= (unsigned int)(cleave__branch_gap(branch, i) >= size) << i;
	return children;
}

static PORT_ALWAYS_INLINE unsigned int search_free(const struct cleave__leaf *leaf, uint64_t order)
{
	unsigned int free = 0;

	for (unsigned int cell = 0; cell < CLEAVE__CELLS; cell++)
		if (cleave__live(order) >> cell & 1)
			free |= (unsigned int)(PORT_CELL_READ(leaf->value[cell]) == NULL) << cell;
	return free;
}

static PORT_ALWAYS_INLINE unsigned int search_ranks(uint64_t order, unsigned int count, unsigned int cells)
{
	unsigned int ranks = 0;

	for (unsigned int r = 0; r < count; r++)
		ranks |= (cells >> cleave__cell(order, r) & 1) << r;
	return ranks;
}

#endif
