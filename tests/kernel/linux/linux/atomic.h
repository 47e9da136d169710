/* SPDX-License-Identifier: ISC */
/* Stands for <linux/atomic.h>: atomic_t.txt, memory-barriers.txt; with no more order than these promise. */
#ifndef STUB_LINUX_ATOMIC_H
#define STUB_LINUX_ATOMIC_H

#include <linux/compiler.h>
#include <linux/types.h>

#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_acquire__after_ctrl_dep() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, value) __atomic_store_n(p, value, __ATOMIC_RELEASE)

#define xchg(p, value) __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST)
#define xchg_relaxed(p, value) __atomic_exchange_n(p, value, __ATOMIC_RELAXED)
#define xchg_acquire(p, value) __atomic_exchange_n(p, value, __ATOMIC_ACQUIRE)
#define xchg_release(p, value) __atomic_exchange_n(p, value, __ATOMIC_RELEASE)

#define STUB_TRY(p, old, value, order) __atomic_compare_exchange_n(p, old, value, 0, order, __ATOMIC_RELAXED)
#define try_cmpxchg(p, old, value) STUB_TRY(p, old, value, __ATOMIC_SEQ_CST)
#define try_cmpxchg_relaxed(p, old, value) STUB_TRY(p, old, value, __ATOMIC_RELAXED)
#define try_cmpxchg_acquire(p, old, value) STUB_TRY(p, old, value, __ATOMIC_ACQUIRE)
#define try_cmpxchg_release(p, old, value) STUB_TRY(p, old, value, __ATOMIC_RELEASE)

#define STUB_FETCH_ADD(suffix, order)                                          \
	static inline int atomic_fetch_add##suffix(int value, atomic_t *v)     \
	{                                                                      \
		return __atomic_fetch_add(&v->counter, value, order);          \
	}                                                                      \
	static inline s64 atomic64_fetch_add##suffix(s64 value, atomic64_t *v) \
	{                                                                      \
		return __atomic_fetch_add(&v->counter, value, order);          \
	}
STUB_FETCH_ADD(, __ATOMIC_SEQ_CST)
STUB_FETCH_ADD(_relaxed, __ATOMIC_RELAXED)
STUB_FETCH_ADD(_acquire, __ATOMIC_ACQUIRE)
STUB_FETCH_ADD(_release, __ATOMIC_RELEASE)

#endif
