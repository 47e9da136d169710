/* SPDX-License-Identifier: ISC */
/* Userspace with gcc or clang: the compile-time half of the port contract (../port.h) for the urcu and ck ports. */
#ifndef CLEAVE_PLATFORM_H
#define CLEAVE_PLATFORM_H

#include <errno.h>
#include <string.h>

#define PORT_RELAXED __ATOMIC_RELAXED
#define PORT_ACQUIRE __ATOMIC_ACQUIRE
#define PORT_RELEASE __ATOMIC_RELEASE
#define PORT_ACQ_REL __ATOMIC_ACQ_REL
#define PORT_SEQ_CST __ATOMIC_SEQ_CST

#define PORT_LOAD(p, order) __atomic_load_n(&(p)->word, order)
#define PORT_STORE(p, value, order) __atomic_store_n(&(p)->word, value, order)
#define PORT_EXCHANGE(p, value, order) __atomic_exchange_n(&(p)->word, value, order)
#define PORT_CAS(p, expected, value, ok, fail) \
	__atomic_compare_exchange_n(&(p)->word, expected, value, false, ok, fail)
#define PORT_FETCH_ADD(p, value, order) __atomic_fetch_add(&(p)->word, value, order)

#define PORT_COPY(to, from) ((to)->word = (from)->word)
#define PORT_CELL_READ(x) (x)
#define PORT_CELL_WRITE(x, v) ((x) = (v))

#if defined(__x86_64__) || defined(__i386__)
#define PORT_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PORT_PAUSE() __asm__ volatile("yield")
#else
#define PORT_PAUSE() ((void)0)
#endif
#define PORT_SPINS 64

/* Sizes and patience: a scheduler that tries everything needs small ones. */
#define PORT_CELLS 12u	   /* cells of a leaf */
#define PORT_FANOUT 16u	   /* children of a branch */
#define PORT_LEVELS 12	   /* the greatest height */
#define PORT_BATCH 16u	   /* retired nodes that share a cookie */
#define PORT_PATIENCE 6u   /* failed wakes before a waiter asks for the lock */
#define PORT_RELEASES 3u   /* times that begin lets go of its leaves before it holds on */
#define PORT_COVER_TRIES 8u /* before covers takes the locks */
#define PORT_RESTLESS 128u /* edits for which a division is remembered */

#ifdef CLEAVE_STRESS_YIELD
void cleave__port_yield(void);
#define PORT_YIELD() cleave__port_yield()
#else
#define PORT_YIELD() ((void)0)
#endif

#ifdef NDEBUG
#define PORT_DEBUG 0
#define PORT_ASSERT(condition, rule) ((void)sizeof(condition))
#else
#define PORT_DEBUG 1
#define PORT_ASSERT(condition, rule) ((condition) ? (void)0 : cleave__port_broken(rule, #condition, __FILE__, __LINE__))
_Noreturn void cleave__port_broken(const char *rule, const char *condition, const char *file, int line);
#endif

#define PORT_COUNT(counter) \
	__atomic_store_n(&(counter), __atomic_load_n(&(counter), __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED)
#define PORT_COUNT_RELEASE(counter) \
	__atomic_store_n(&(counter), __atomic_load_n(&(counter), __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE)

/* One instruction waits for the word; of the other form gcc makes two. */
#ifdef __BMI__
#define PORT_BITS(word, from, count) __builtin_ia32_bextr_u64(word, (from) | (count) << 8)
#else
#define PORT_BITS(word, from, count) ((word) >> (from) & ((UINT64_C(1) << (count)) - 1))
#endif
#define PORT_PREFETCH(address) __builtin_prefetch(address)
#define PORT_LIKELY(x) __builtin_expect(!!(x), 1)
#define PORT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PORT_ALWAYS_INLINE inline __attribute__((always_inline))
#define PORT_NO_INLINE __attribute__((noinline))

#endif
