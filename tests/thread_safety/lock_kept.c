/* SPDX-License-Identifier: ISC */
/* Every way out of a function gives the lock back. */
#include "nodelock.h"

bool lone_cell(struct cleave *index, struct cleave_thread *self, uint64_t addr);

bool lone_cell(struct cleave *index, struct cleave_thread *self, uint64_t addr)
{
	struct cleave__position position;
	bool lone = false;

	cleave__lock_leaf_enter(index, self, addr, &position);
	if (position.count == 1) {
#ifdef MISUSE
		cleave__leave(index, self);
		return true;
#else
		lone = true;
#endif
	}
	cleave__unlock_node(index, position.node);
	cleave__leave(index, self);
	return lone;
}
