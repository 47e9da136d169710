/* SPDX-License-Identifier: ISC */
/*
 * The FreeBSD kernel: the compile-time half of the port contract (../port.h), on atomic(9).
 *
 * atomic(9) has acquire loads, release stores and compare-and-sets of both kinds; what it lacks is made of its fences,
 * which are C11's.  Sequentially consistent accesses have a fence before and after each store and update, and before
 * each load, but on amd64, where a load needs none: stores are exchanges.
 */
#ifndef CLEAVE_PLATFORM_H
#define CLEAVE_PLATFORM_H

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/errno.h>

#include <machine/atomic.h>
#include <machine/cpu.h>

/* Constants: the choice is the compiler's. */
#define PORT_RELAXED 0
#define PORT_ACQUIRE 1
#define PORT_RELEASE 2
#define PORT_ACQ_REL 3
#define PORT_SEQ_CST 4

#define CLEAVE__PLATFORM_INLINE static inline __attribute__((always_inline))

/* On amd64 each update is a locked instruction, and so a fence on both sides; these are for the compiler. */
#ifdef __amd64__
#define CLEAVE__STRONG_FENCE atomic_thread_fence_acq_rel
#define CLEAVE__LOAD_FENCE() ((void)0)
#else
#define CLEAVE__STRONG_FENCE atomic_thread_fence_seq_cst
#define CLEAVE__LOAD_FENCE() atomic_thread_fence_seq_cst()
#endif

CLEAVE__PLATFORM_INLINE void cleave__before_update(int order)
{
	if (order == PORT_SEQ_CST)
		CLEAVE__STRONG_FENCE();
	else if (order == PORT_RELEASE || order == PORT_ACQ_REL)
		atomic_thread_fence_rel();
}

CLEAVE__PLATFORM_INLINE void cleave__after_update(int order)
{
	if (order == PORT_SEQ_CST)
		CLEAVE__STRONG_FENCE();
	else if (order == PORT_ACQUIRE || order == PORT_ACQ_REL)
		atomic_thread_fence_acq();
}

/* Of words that hold 32 bits, 64 bits, or a pointer (rcu.h). */
#define CLEAVE__PLATFORM_ACCESSES(bits)                                                                              \
	CLEAVE__PLATFORM_INLINE uint##bits##_t cleave__load##bits(const void *word, int order)                       \
	{                                                                                                            \
		volatile uint##bits##_t *from = __DECONST(volatile uint##bits##_t *, word);                          \
                                                                                                                     \
		if (order == PORT_RELAXED)                                                                           \
			return atomic_load_##bits(from);                                                             \
		if (order == PORT_SEQ_CST)                                                                           \
			CLEAVE__LOAD_FENCE();                                                                        \
		return atomic_load_acq_##bits(from);                                                                 \
	}                                                                                                            \
	CLEAVE__PLATFORM_INLINE uint##bits##_t cleave__exchange##bits(void *word, uint64_t value, int order)         \
	{                                                                                                            \
		uint##bits##_t before;                                                                               \
                                                                                                                     \
		cleave__before_update(order);                                                                        \
		before = atomic_swap_##bits(word, (uint##bits##_t)value);                                            \
		cleave__after_update(order);                                                                         \
		return before;                                                                                       \
	}                                                                                                            \
	CLEAVE__PLATFORM_INLINE void cleave__store##bits(void *word, uint64_t value, int order)                      \
	{                                                                                                            \
		volatile uint##bits##_t *to = word;                                                                  \
                                                                                                                     \
		if (order == PORT_SEQ_CST)                                                                           \
			(void)cleave__exchange##bits(word, value, order);                                            \
		else if (order == PORT_RELEASE)                                                                      \
			atomic_store_rel_##bits(to, (uint##bits##_t)value);                                          \
		else                                                                                                 \
			atomic_store_##bits(to, (uint##bits##_t)value);                                              \
	}                                                                                                            \
	CLEAVE__PLATFORM_INLINE uint##bits##_t cleave__fetch_add##bits(void *word, uint64_t value, int order)        \
	{                                                                                                            \
		uint##bits##_t before;                                                                               \
                                                                                                                     \
		cleave__before_update(order);                                                                        \
		before = atomic_fetchadd_##bits(word, (uint##bits##_t)value);                                        \
		cleave__after_update(order);                                                                         \
		return before;                                                                                       \
	}                                                                                                            \
	/* Strong: atomic_fcmpset may fail for nothing, but says by what it saw. */                                  \
	CLEAVE__PLATFORM_INLINE bool cleave__cas##bits(void *word, void *expected, uint64_t value, int ok, int fail) \
	{                                                                                                            \
		uint##bits##_t *seen = expected, wanted = *seen;                                                     \
		bool is_set;                                                                                         \
                                                                                                                     \
		cleave__before_update(ok);                                                                           \
		do                                                                                                   \
			is_set = atomic_fcmpset_##bits(word, seen, (uint##bits##_t)value) != 0;                      \
		while (!is_set && *seen == wanted);                                                                  \
		cleave__after_update(is_set ? ok : fail);                                                            \
		return is_set;                                                                                       \
	}
CLEAVE__PLATFORM_ACCESSES(32)
CLEAVE__PLATFORM_ACCESSES(64)

#define CLEAVE__TYPE(p) __typeof__((p)->word)
#define CLEAVE__OF(p, name) __builtin_choose_expr(sizeof((p)->word) == 4, cleave__##name##32, cleave__##name##64)
#define CLEAVE__BITS(value) ((uint64_t)(uintptr_t)(value))

#define PORT_LOAD(p, order) ((CLEAVE__TYPE(p))CLEAVE__OF(p, load)(&(p)->word, order))
#define PORT_STORE(p, value, order) CLEAVE__OF(p, store)(&(p)->word, CLEAVE__BITS(value), order)
#define PORT_EXCHANGE(p, value, order) \
	((CLEAVE__TYPE(p))CLEAVE__OF(p, exchange)(&(p)->word, CLEAVE__BITS(value), order))
#define PORT_CAS(p, expected, value, ok, fail) CLEAVE__OF(p, cas)(&(p)->word, expected, CLEAVE__BITS(value), ok, fail)
#define PORT_FETCH_ADD(p, value, order) \
	((CLEAVE__TYPE(p))CLEAVE__OF(p, fetch_add)(&(p)->word, CLEAVE__BITS(value), order))

#define PORT_COPY(to, from) ((to)->word = (from)->word)
#define PORT_CELL_READ(x) (x)
#define PORT_CELL_WRITE(x, v) ((x) = (v))

#define PORT_PAUSE() cpu_spinwait()
#define PORT_SPINS 64

#define PORT_CELLS 12u
#define PORT_FANOUT 16u
#define PORT_LEVELS 12
#define PORT_BATCH 16u
#define PORT_PATIENCE 6u
#define PORT_RELEASES 3u
#define PORT_COVER_TRIES 8u
#define PORT_RESTLESS 128u

#define PORT_YIELD() ((void)0)

#ifdef INVARIANTS
#define PORT_DEBUG 1
#define PORT_ASSERT(condition, rule) \
	((condition) ? (void)0 : panic("cleave: %s (%s) at %s:%d", rule, #condition, __FILE__, __LINE__))
#else
#define PORT_DEBUG 0
#define PORT_ASSERT(condition, rule) ((void)sizeof(condition))
#endif

/* Counters are of 64 bits. */
#define PORT_COUNT(counter) cleave__store64(&(counter), cleave__load64(&(counter), PORT_RELAXED) + 1, PORT_RELAXED)
#define PORT_COUNT_RELEASE(counter) \
	cleave__store64(&(counter), cleave__load64(&(counter), PORT_RELAXED) + 1, PORT_RELEASE)

#define PORT_BITS(word, from, count) ((word) >> (from) & ((UINT64_C(1) << (count)) - 1))
#define PORT_PREFETCH(address) __builtin_prefetch(address)
#define PORT_LIKELY(x) __predict_true(!!(x))
#define PORT_UNLIKELY(x) __predict_false(!!(x))
#define PORT_ALWAYS_INLINE inline __attribute__((always_inline))
#define PORT_NO_INLINE __attribute__((noinline))

#ifdef __amd64__
#define CLEAVE__FULL_BARRIER() atomic_thread_fence_seq_cst()
#endif

#endif
