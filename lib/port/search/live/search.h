/* SPDX-License-Identifier: ISC */
/*
 * Searching live cells only, through the port's hooks: for race detectors and schedulers, which see every access.
 * A cell that was reused before its grace period is a reported race here; the other searches load such cells and mask
 * them out.
 */
#ifndef CLEAVE_SEARCH_H
#define CLEAVE_SEARCH_H

#define SEARCH_NAME live
#define search_entry(leaf, order, more, r, entry) cleave__leaf_entry(leaf, order, (r) + 1 + (more), r, entry)
#define search_count(live) cleave__count12(live)

static PORT_ALWAYS_INLINE unsigned int search_branch(const struct cleave__branch *branch, uint64_t addr)
{
	return cleave__branch_index(branch, addr);
}

static PORT_ALWAYS_INLINE unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
{
	unsigned int below = 0;

	for (unsigned int r = cleave__leaf_rank(leaf, order, cleave__count12(cleave__live(order)), 0, addr) + 1; r-- > 0;)
		below |= 1u << cleave__cell(order, r);
	return below;
}

#endif
