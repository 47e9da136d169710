/* SPDX-License-Identifier: ISC */
/* Stands for <linux/spinlock.h>: locktypes.rst. */
#ifndef STUB_LINUX_SPINLOCK_H
#define STUB_LINUX_SPINLOCK_H

typedef struct spinlock {
	void *words[8];
} spinlock_t;

void spin_lock_init(spinlock_t *);
int spin_trylock(spinlock_t *);
void spin_unlock(spinlock_t *);

#endif
