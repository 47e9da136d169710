/* SPDX-License-Identifier: ISC */
/* Only the holder of a node's lock marks the node dead. */
#include "nodelock.h"

void kill_leaf(struct cleave *index, struct cleave_thread *self, uint64_t addr);

void kill_leaf(struct cleave *index, struct cleave_thread *self, uint64_t addr)
{
	struct cleave__position position;

	cleave__lock_leaf_enter(index, self, addr, &position);
#ifdef MISUSE
	cleave__unlock_dead(index, position.node);
	cleave__mark_dead_locked(position.node);
#else
	cleave__mark_dead_locked(position.node);
	cleave__unlock_dead(index, position.node);
#endif
	cleave__leave(index, self);
}
