/* SPDX-License-Identifier: ISC */
/* What a reader follows is valid inside a read section. */
#include "nodelock.h"

uint64_t first_order(const struct cleave *index, struct cleave_thread *self);

uint64_t first_order(const struct cleave *index, struct cleave_thread *self)
{
	struct cleave__node *root;
	uint64_t order = 0;

	cleave__enter(index, self);
	root = cleave__root_node(cleave__root_rcu(index));
#ifdef MISUSE
	cleave__leave(index, self);
	if (!root->level)
		order = cleave__order_rcu(cleave__leaf(root));
#else
	if (!root->level)
		order = cleave__order_rcu(cleave__leaf(root));
	cleave__leave(index, self);
#endif
	return order;
}
