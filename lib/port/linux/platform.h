/* SPDX-License-Identifier: ISC */
/*
 * The Linux kernel: the compile-time half of the port contract (../port.h), in the terms of its memory model
 * (Documentation/memory-barriers.txt, atomic_t.txt).
 *
 * xchg(), try_cmpxchg() and atomic_fetch_add() without a suffix are full barriers on both sides.  A sequentially
 * consistent store is an xchg(); such a load has a barrier before it, but not on x86, where xchg() is enough.
 */
#ifndef CLEAVE_PLATFORM_H
#define CLEAVE_PLATFORM_H

#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/prefetch.h>
#include <linux/printk.h>
#include <linux/processor.h>
#include <linux/string.h>

#define PORT_RELAXED relaxed
#define PORT_ACQUIRE acquire
#define PORT_RELEASE release
#define PORT_ACQ_REL acq_rel
#define PORT_SEQ_CST seq_cst

/* The order is a name: each has its own macro. */
#define CLEAVE__PASTE(name, order) name##order
#define CLEAVE__BY(name, order) CLEAVE__PASTE(name, order)

#define PORT_LOAD(p, order) CLEAVE__BY(cleave__load_, order)(&(p)->word)
#define PORT_STORE(p, value, order) CLEAVE__BY(cleave__store_, order)(&(p)->word, value)
#define PORT_EXCHANGE(p, value, order) CLEAVE__BY(cleave__xchg_, order)(&(p)->word, value)
#define PORT_FETCH_ADD(p, value, order) CLEAVE__BY(cleave__add_, order)(p, value)
#define PORT_CAS(p, expected, value, ok, fail)                                         \
	({                                                                             \
		bool set_ = CLEAVE__BY(cleave__try_, ok)(&(p)->word, expected, value); \
                                                                                       \
		if (!set_)                                                             \
			CLEAVE__BY(cleave__failed_, fail)();                           \
		set_;                                                                  \
	})

#define cleave__load_relaxed(word) READ_ONCE(*(word))
#define cleave__load_acquire(word) smp_load_acquire(word)
#ifdef CONFIG_X86
#define cleave__load_seq_cst(word) smp_load_acquire(word)
#else
#define cleave__load_seq_cst(word)      \
	({                              \
		smp_mb();               \
		smp_load_acquire(word); \
	})
#endif

#define cleave__store_relaxed(word, value) WRITE_ONCE(*(word), value)
#define cleave__store_release(word, value) smp_store_release(word, value)
#define cleave__store_seq_cst(word, value) ((void)xchg(word, value))

#define cleave__xchg_relaxed(word, value) xchg_relaxed(word, value)
#define cleave__xchg_acquire(word, value) xchg_acquire(word, value)
#define cleave__xchg_release(word, value) xchg_release(word, value)
#define cleave__xchg_acq_rel(word, value) xchg(word, value)
#define cleave__xchg_seq_cst(word, value) xchg(word, value)

#define cleave__try_relaxed(word, expected, value) try_cmpxchg_relaxed(word, expected, value)
#define cleave__try_acquire(word, expected, value) try_cmpxchg_acquire(word, expected, value)
#define cleave__try_release(word, expected, value) try_cmpxchg_release(word, expected, value)
#define cleave__try_acq_rel(word, expected, value) try_cmpxchg(word, expected, value)
#define cleave__try_seq_cst(word, expected, value) try_cmpxchg(word, expected, value)

/* One that fails orders nothing by itself. */
#define cleave__failed_relaxed() ((void)0)
#define cleave__failed_acquire() smp_acquire__after_ctrl_dep()
#define cleave__failed_seq_cst() smp_mb()

/* The words are an atomic_t and an atomic64_t to whoever adds. */
#define CLEAVE__ADD(p, value, add, add64)                                                         \
	((__typeof__((p)->word))__builtin_choose_expr(sizeof((p)->word) == 4,                     \
						      add((int)(value), (atomic_t *)(void *)(p)), \
						      add64((s64)(value), (atomic64_t *)(void *)(p))))
#define cleave__add_relaxed(p, value) CLEAVE__ADD(p, value, atomic_fetch_add_relaxed, atomic64_fetch_add_relaxed)
#define cleave__add_acquire(p, value) CLEAVE__ADD(p, value, atomic_fetch_add_acquire, atomic64_fetch_add_acquire)
#define cleave__add_release(p, value) CLEAVE__ADD(p, value, atomic_fetch_add_release, atomic64_fetch_add_release)
#define cleave__add_acq_rel(p, value) CLEAVE__ADD(p, value, atomic_fetch_add, atomic64_fetch_add)
#define cleave__add_seq_cst(p, value) CLEAVE__ADD(p, value, atomic_fetch_add, atomic64_fetch_add)

#define PORT_COPY(to, from) ((to)->word = (from)->word)
#define PORT_CELL_READ(x) (x)
#define PORT_CELL_WRITE(x, v) ((x) = (v))

#define PORT_PAUSE() cpu_relax()
#ifdef CONFIG_SMP
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

#ifdef DEBUG
#define PORT_DEBUG 1
#define PORT_ASSERT(condition, rule)                                                          \
	((condition) ? (void)0 : ({                                                           \
		pr_emerg("cleave: %s (%s) at %s:%d\n", rule, #condition, __FILE__, __LINE__); \
		BUG();                                                                        \
	}))
#else
#define PORT_DEBUG 0
#define PORT_ASSERT(condition, rule) ((void)sizeof(condition))
#endif

#define PORT_COUNT(counter) WRITE_ONCE(counter, READ_ONCE(counter) + 1)
#define PORT_COUNT_RELEASE(counter) smp_store_release(&(counter), READ_ONCE(counter) + 1)

#define PORT_BITS(word, from, count) ((word) >> (from) & ((UINT64_C(1) << (count)) - 1))
#define PORT_PREFETCH(address) prefetch(address)
#define PORT_LIKELY(x) likely(x)
#define PORT_UNLIKELY(x) unlikely(x)
#define PORT_ALWAYS_INLINE inline __attribute__((always_inline))
#define PORT_NO_INLINE __attribute__((noinline))

#ifdef CONFIG_X86
#define CLEAVE__FULL_BARRIER() smp_mb()
#endif

#endif
