/* SPDX-License-Identifier: ISC */
/* The half of the port contract that all userspace ports share. */
#define _GNU_SOURCE
#include "user.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- Parking ---- */

/* Callers are library calls that must not change errno. */
static bool futex_call(struct cleave_word32 *word, int operation, uint32_t value, const struct timespec *limit)
{
	int saved = errno;
	bool in_time;

	in_time = syscall(SYS_futex, &word->word, operation | FUTEX_PRIVATE_FLAG, value, limit, NULL, 0) >= 0 ||
		  errno != ETIMEDOUT;
	errno = saved;
	return in_time;
}

void cleave__user_park(struct cleave_word32 *word, uint32_t seen)
{
	futex_call(word, FUTEX_WAIT, seen, NULL);
}

bool cleave__user_park_for(struct cleave_word32 *word, uint32_t seen, uint32_t microseconds)
{
	struct timespec limit = { .tv_nsec = 1000 * (long)microseconds };

	return futex_call(word, FUTEX_WAIT, seen, &limit);
}

void cleave__user_wake(struct cleave_word32 *word)
{
	futex_call(word, FUTEX_WAKE, INT_MAX, NULL);
}

bool cleave__user_trylock(struct cleave_word32 *lock)
{
	uint32_t seen = 0;

	return PORT_CAS(lock, &seen, 1, PORT_ACQUIRE, PORT_RELAXED); /* [U6-acq] what the last holder did */
}

void cleave__user_lock(struct cleave_word32 *lock)
{
	if (cleave__user_trylock(lock))
		return;
	while (PORT_EXCHANGE(lock, 2, PORT_ACQUIRE))
		cleave__user_park(lock, 2);
}

void cleave__user_unlock(struct cleave_word32 *lock)
{
	/* [U6-rel] */
	if (PORT_EXCHANGE(lock, 0, PORT_RELEASE) == 2)
		futex_call(lock, FUTEX_WAKE, 1, NULL);
}

/* ---- Memory ---- */

static void *libc_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	(void)memory;
	/* C11 wants a multiple of the alignment. */
	return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

static void libc_free(const struct cleave_memory *memory, void *node, size_t size)
{
	(void)memory;
	(void)size;
	free(node);
}

const struct cleave_memory cleave_memory_libc = {
	.alloc = libc_alloc,
	.free = libc_free,
};

/* ---- Programming errors ---- */

#ifndef NDEBUG
void cleave__port_broken(const char *rule, const char *condition, const char *file, int line)
{
	fprintf(stderr, "cleave: %s (%s) at %s:%d\n", rule, condition, file, line);
	abort();
}
#endif

/* ---- Delays, where a test wants them ---- */

#if defined(CLEAVE_STRESS_YIELD) || CLEAVE__TSAN

/* One time in `odds`: give up the processor, spin, or sleep.  Where the time goes matters, its quality does not. */
static void delay(uint32_t odds)
{
	static _Thread_local uint32_t state;
	struct timespec nap = { .tv_sec = 0 };
	int saved = errno;
	uint32_t spins;

	if (!state)
		state = (uint32_t)(uintptr_t)&state | 1;
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	if (state % odds)
		return;
	switch (state >> 30) {
	case 0:
		sched_yield();
		break;
	case 1:
		nap.tv_nsec = 1000 * (long)(1 + (state >> 20) % 64);
		nanosleep(&nap, NULL);
		break;
	default:
		for (spins = (state >> 16) % 2048; spins; spins--)
			PORT_PAUSE();
	}
	errno = saved;
}

#endif

#ifdef CLEAVE_STRESS_YIELD
void cleave__port_yield(void)
{
	delay(16);
}
#endif

#if CLEAVE__TSAN
/*
 * The delay comes first: a read races with early reuse only while the release has not yet been acquired by a grace
 * period, so this widens the window in which a fault is seen.
 */
void cleave_section_tsan_leave(struct cleave_thread *self)
{
	delay(16);
	CLEAVE__TSAN_RELEASE(self);
}
#endif
