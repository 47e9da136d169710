/* SPDX-License-Identifier: ISC */
/* Every way out of a function leaves the read section that it entered. */
#include "nodelock.h"

unsigned int height(const struct cleave *index, struct cleave_thread *self);

unsigned int height(const struct cleave *index, struct cleave_thread *self)
{
	unsigned int level;

	cleave__enter(index, self);
	level = cleave__root_level(cleave__root_rcu(index));
#ifdef MISUSE
	if (level == 0)
		return 1;
#endif
	cleave__leave(index, self);
	return level + 1;
}
