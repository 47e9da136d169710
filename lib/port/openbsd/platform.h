/* SPDX-License-Identifier: ISC */
/*
 * The OpenBSD kernel: the compile-time half of the port contract (../port.h).
 *
 * The atomics are the compiler's, not those of atomic_cas_uint(9).  membar(9) has no barrier that is an acquire: what
 * orders a load before later loads and stores is membar_sync(), which would be an mfence for each pointer that a walk
 * follows on amd64; and there is no release store.  All 64-bit platforms whose base compiler is clang have these.
 */
#ifndef CLEAVE_PLATFORM_H
#define CLEAVE_PLATFORM_H

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/errno.h>

#include <machine/cpu.h>

#define PORT_RELAXED __ATOMIC_RELAXED
#define PORT_ACQUIRE __ATOMIC_ACQUIRE
#define PORT_RELEASE __ATOMIC_RELEASE
#define PORT_ACQ_REL __ATOMIC_ACQ_REL
#define PORT_SEQ_CST __ATOMIC_SEQ_CST

#define PORT_LOAD(p, order) __atomic_load_n(&(p)->word, order)
#define PORT_STORE(p, value, order) __atomic_store_n(&(p)->word, value, order)
#define PORT_EXCHANGE(p, value, order) __atomic_exchange_n(&(p)->word, value, order)
#define PORT_CAS(p, expected, value, ok, fail) __atomic_compare_exchange_n(&(p)->word, expected, value, false, ok, fail)
#define PORT_FETCH_ADD(p, value, order) __atomic_fetch_add(&(p)->word, value, order)

#define PORT_COPY(to, from) ((to)->word = (from)->word)
#define PORT_CELL_READ(x) (x)
#define PORT_CELL_WRITE(x, v) ((x) = (v))

#define PORT_PAUSE() CPU_BUSY_CYCLE()
#ifdef MULTIPROCESSOR
#define PORT_SPINS 64
#else
#define PORT_SPINS 1
#endif

#define PORT_CELLS 12u
#define PORT_FANOUT 16u
#define PORT_LEVELS 12
#define PORT_BATCH 16u
#define PORT_PATIENCE 6u
#define PORT_RELEASES 3u
#define PORT_COVER_TRIES 8u
#define PORT_RESTLESS 128u

#define PORT_YIELD() ((void)0)

#ifdef DIAGNOSTIC
#define PORT_DEBUG 1
#define PORT_ASSERT(condition, rule) \
	((condition) ? (void)0 : panic("cleave: %s (%s) at %s:%d", rule, #condition, __FILE__, __LINE__))
#else
#define PORT_DEBUG 0
#define PORT_ASSERT(condition, rule) ((void)sizeof(condition))
#endif

#define PORT_COUNT(counter) \
	__atomic_store_n(&(counter), __atomic_load_n(&(counter), __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED)
#define PORT_COUNT_RELEASE(counter) \
	__atomic_store_n(&(counter), __atomic_load_n(&(counter), __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE)

#define PORT_BITS(word, from, count) ((word) >> (from) & ((UINT64_C(1) << (count)) - 1))
#define PORT_PREFETCH(address) __builtin_prefetch(address)
#define PORT_LIKELY(x) __predict_true(x)
#define PORT_UNLIKELY(x) __predict_false(x)
#define PORT_ALWAYS_INLINE inline __attribute__((always_inline))
#define PORT_NO_INLINE __attribute__((noinline))

/* A locked instruction is one, and costs less than the mfence of membar_sync(). */
#ifdef __amd64__
#define CLEAVE__FULL_BARRIER() __asm__ volatile("lock; addq $0,-8(%%rsp)" ::: "cc", "memory")
#endif

#endif
