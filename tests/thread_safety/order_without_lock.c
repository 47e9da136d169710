/* SPDX-License-Identifier: ISC */
/* An order word is stored under its leaf's lock, of which a failed try gives nothing. */
#include "nodelock.h"

bool set_order(struct cleave *index, struct cleave__leaf *leaf, uint64_t order);

bool set_order(struct cleave *index, struct cleave__leaf *leaf, uint64_t order)
{
	bool locked = cleave__trylock(&leaf->node.lock);

#ifdef MISUSE
	cleave__order_publish_locked(leaf, order);
#endif
	if (!locked)
		return false;
	cleave__order_publish_locked(leaf, order);
	cleave__unlock_node(index, &leaf->node);
	return true;
}
