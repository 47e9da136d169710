/* SPDX-License-Identifier: ISC */
/* Nobody parks inside a read section: the holder may wait for the end of that section. */
#include "nodelock.h"

void wait_for(struct cleave *index, struct cleave_thread *self);

void wait_for(struct cleave *index, struct cleave_thread *self)
{
	struct cleave__wait wait = { .hold_on = true };
	struct cleave__node *root;

	cleave__enter(index, self);
	root = cleave__root_node(cleave__root_rcu(index));
	if (cleave__lock_or_mark(index->domain, self, &root->lock, &wait)) {
		cleave__unlock_node(index, root);
		cleave__leave(index, self);
		return;
	}
#ifdef MISUSE
	cleave__park(index->domain, self, &wait);
	cleave__leave(index, self);
#else
	cleave__leave(index, self);
	cleave__park(index->domain, self, &wait);
#endif
}
