/* SPDX-License-Identifier: ISC */
/* What a kernel's stand-ins in the simulator (kernel_....c) share with what runs on them (kernel_grace.c). */
#ifndef CLEAVE_SIM_KERNEL_H
#define CLEAVE_SIM_KERNEL_H

/* The simulator names searches itself. */
#define cleave_search_named kernel_search_named
#define cleave__search_scalar cleave__search_live

#include "port/sim/sim.h"

#include "port/port.h"

/* What is in memory that is somebody else's. */
#define KERNEL_GARBAGE UINT64_C(0x5a5a5a5a5a5a5a5a)

/* Does a grace period end by itself, and say so to who asked once?  Else it is polled. */
extern const bool kernel_calls_back;

/* After the arena is cleared. */
void kernel_prepare(void);
/* The kernel's own thread, until nothing is left to do after kernel_end(). */
void kernel_thread(void);
void kernel_end(void);

/* A grace period has a full barrier on each processor: what is entered after one has begun, comes after that. */
static inline void kernel_enter(void)
{
	sim_ops.enter(NULL, NULL);
	sim_grace_fence();
}

/* ---- Locks: an acquire and a release, and no more ---- */

static inline bool kernel_trylock(void *words)
{
	struct cleave_word32 *lock = words;
	uint32_t seen = 0;

	return PORT_CAS(lock, &seen, 1, PORT_ACQUIRE, PORT_RELAXED);
}

static inline void kernel_lock(void *words)
{
	while (!kernel_trylock(words))
		sim_ops.park(NULL, NULL, (struct cleave_word32 *)words, 1);
}

static inline void kernel_unlock(void *words)
{
	struct cleave_word32 *lock = words;

	PORT_STORE(lock, 0, PORT_RELEASE);
	sim_ops.wake(NULL, lock);
}

/* ---- Sleep: whoever wakes somebody wakes all, who look again ---- */

/* Who begins to sleep, with the lock of those who wake; and who sleeps then, without. */
static inline uint32_t kernel_sleep_begins(struct cleave_word32 *wakeups)
{
	return PORT_FETCH_ADD(wakeups, 0, PORT_ACQUIRE);
}

static inline void kernel_sleep(struct cleave_word32 *wakeups, uint32_t seen)
{
	sim_ops.park(NULL, NULL, wakeups, seen);
}

static inline void kernel_wakeup(struct cleave_word32 *wakeups)
{
	PORT_FETCH_ADD(wakeups, 1, PORT_RELEASE);
	sim_ops.wake(NULL, wakeups);
}

#endif
