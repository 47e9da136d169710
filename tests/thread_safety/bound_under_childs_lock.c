/* SPDX-License-Identifier: ISC */
/* A gap bound lies in the parent: the lock of the child is not enough to write it. */
#include "nodelock.h"

void set_bound(struct cleave *index, struct cleave_thread *self, uint64_t addr, uint64_t gap);

void set_bound(struct cleave *index, struct cleave_thread *self, uint64_t addr, uint64_t gap)
{
	struct cleave__position position;

	cleave__lock_leaf_enter(index, self, addr, &position);
	if (position.parent) {
#ifdef MISUSE
		cleave__branch_set_gap_locked(position.parent, position.index, gap);
#else
		if (cleave__trylock(&position.parent->node.lock)) {
			cleave__branch_set_gap_locked(position.parent, position.index, gap);
			cleave__unlock_node(index, &position.parent->node);
		}
#endif
	}
	cleave__unlock_node(index, position.node);
	cleave__leave(index, self);
}
