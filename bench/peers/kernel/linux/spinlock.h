/* SPDX-License-Identifier: ISC */
/*
 * In place of the kernel's: the kind of lock that the library's own nodes have, which spins a little before it sleeps.
 * (The kernel's tools take a pthread_mutex_t here, with which two writers take 2 us an operation.)
 */
#ifndef BENCH_SPINLOCK_H
#define BENCH_SPINLOCK_H

#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINLOCK_SPINS 64

/* 0: free; 1: held; 2: held, and somebody sleeps. */
typedef struct {
	uint32_t word;
} spinlock_t;

#define DEFINE_SPINLOCK(x) spinlock_t x = { 0 }
#define __SPIN_LOCK_UNLOCKED(x) ((spinlock_t){ 0 })

static inline void spin_lock_init(spinlock_t *lock)
{
	lock->word = 0;
}

static inline bool spin_trylock(spinlock_t *lock, uint32_t to)
{
	uint32_t free = 0;

	return __atomic_load_n(&lock->word, __ATOMIC_RELAXED) == 0 &&
	       __atomic_compare_exchange_n(&lock->word, &free, to, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void spin_lock(spinlock_t *lock)
{
	for (int i = 0; i < SPINLOCK_SPINS; i++) {
		if (spin_trylock(lock, 1))
			return;
		__asm__ volatile("" : : : "memory");
#ifdef __x86_64__
		__builtin_ia32_pause();
#endif
	}
	while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0)
		syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static inline void spin_unlock(spinlock_t *lock)
{
	if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
		syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#define spin_lock_bh spin_lock
#define spin_unlock_bh spin_unlock
#define spin_lock_irq spin_lock
#define spin_unlock_irq spin_unlock
#define spin_lock_irqsave(lock, flags) ((void)(flags), spin_lock(lock))
#define spin_unlock_irqrestore(lock, flags) ((void)(flags), spin_unlock(lock))

#endif
