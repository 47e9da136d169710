/* SPDX-License-Identifier: ISC */
/* A lock word is no recursive lock. */
#include "nodelock.h"

void grow(struct cleave *index, struct cleave_thread *self, struct cleave__node *root);

void grow(struct cleave *index, struct cleave_thread *self, struct cleave__node *root)
{
	cleave__lock_word(index->domain, self, &index->root_lock);
#ifdef MISUSE
	cleave__lock_word(index->domain, self, &index->root_lock);
#endif
	cleave__root_publish_locked(index, root);
	cleave__unlock(index->domain, &index->root_lock, true);
}
