/* SPDX-License-Identifier: ISC */
/* Stands for <machine/atomic.h> of FreeBSD: atomic(9), with no more order than that page promises. */
#ifndef STUB_MACHINE_ATOMIC_H
#define STUB_MACHINE_ATOMIC_H

#include <sys/types.h>

#define atomic_thread_fence_acq() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define atomic_thread_fence_rel() __atomic_thread_fence(__ATOMIC_RELEASE)
#define atomic_thread_fence_acq_rel() __atomic_thread_fence(__ATOMIC_ACQ_REL)
#define atomic_thread_fence_seq_cst() __atomic_thread_fence(__ATOMIC_SEQ_CST)

#define STUB_ATOMICS(bits)                                                                                         \
	static inline uint##bits##_t atomic_load_##bits(volatile uint##bits##_t *p)                                \
	{                                                                                                          \
		return __atomic_load_n(p, __ATOMIC_RELAXED);                                                       \
	}                                                                                                          \
	static inline uint##bits##_t atomic_load_acq_##bits(volatile uint##bits##_t *p)                            \
	{                                                                                                          \
		return __atomic_load_n(p, __ATOMIC_ACQUIRE);                                                       \
	}                                                                                                          \
	static inline void atomic_store_##bits(volatile uint##bits##_t *p, uint##bits##_t v)                       \
	{                                                                                                          \
		__atomic_store_n(p, v, __ATOMIC_RELAXED);                                                          \
	}                                                                                                          \
	static inline void atomic_store_rel_##bits(volatile uint##bits##_t *p, uint##bits##_t v)                   \
	{                                                                                                          \
		__atomic_store_n(p, v, __ATOMIC_RELEASE);                                                          \
	}                                                                                                          \
	static inline uint##bits##_t atomic_swap_##bits(volatile uint##bits##_t *p, uint##bits##_t v)              \
	{                                                                                                          \
		return __atomic_exchange_n(p, v, __ATOMIC_RELAXED);                                                \
	}                                                                                                          \
	static inline uint##bits##_t atomic_fetchadd_##bits(volatile uint##bits##_t *p, uint##bits##_t v)          \
	{                                                                                                          \
		return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);                                                 \
	}                                                                                                          \
	static inline int atomic_fcmpset_##bits(volatile uint##bits##_t *p, uint##bits##_t *old, uint##bits##_t v) \
	{                                                                                                          \
		return __atomic_compare_exchange_n(p, old, v, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED);              \
	}
STUB_ATOMICS(32)
STUB_ATOMICS(64)

#endif
