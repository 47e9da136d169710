/* SPDX-License-Identifier: ISC */
/*
 * lib/port/linux/linux.c in the simulator, and Linux's functions for it (as in tests/kernel/mock_linux.c).  States of
 * grace periods may be any number, 0 too.
 */
#include "kernel.h"

#include <linux/atomic.h>

#include "port/linux/linux.c"

const bool kernel_calls_back = false;

#define FIRST (0ul - 2) /* of the states */

static struct cleave_word32 *wakeups;
static uint32_t sleeps[SIM_THREADS];

void kernel_prepare(void)
{
	wakeups = sim_arena_alloc(sizeof(*wakeups));
}

void kernel_thread(void)
{
}

void kernel_end(void)
{
}

/* ---- RCU ---- */

void rcu_read_lock(void)
{
	kernel_enter();
}

void rcu_read_unlock(void)
{
	sim_ops.leave(NULL, NULL);
}

void synchronize_rcu(void)
{
	sim_ops.wait(NULL, NULL, sim_ops.cookie(NULL, NULL));
}

unsigned long start_poll_synchronize_rcu(void)
{
	return FIRST + sim_ops.cookie(NULL, NULL);
}

bool poll_state_synchronize_rcu(unsigned long state)
{
	return sim_ops.done(NULL, NULL, state - FIRST);
}

/* ---- Spinlocks, wait queues ---- */

void spin_lock_init(spinlock_t *lock)
{
	(void)lock;
}

int spin_trylock(spinlock_t *lock)
{
	return kernel_trylock(lock->words);
}

void spin_unlock(spinlock_t *lock)
{
	kernel_unlock(lock->words);
}

void stub_wait_begin(void)
{
	sleeps[sim_self()] = kernel_sleep_begins(wakeups);
}

void stub_wait_sleep(void *variable)
{
	(void)variable;
	kernel_sleep(wakeups, sleeps[sim_self()]);
}

void stub_wait_end(void)
{
}

void wake_up_var(void *variable)
{
	(void)variable;
	kernel_wakeup(wakeups);
}
