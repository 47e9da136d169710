/* SPDX-License-Identifier: ISC */
/*
 * The port contract: all that the core needs from a platform.  Two parts:
 *
 * At run time: struct cleave_ops and struct cleave_memory (include/cleave/types.h), given at init, so that one build
 * serves every RCU flavour and allocator.  A sleeping kernel lock replaces nodelock.h's park and wake.
 *
 * At compile time: "platform.h" from the platform's folder, found by the include path:
 *
 *   PORT_LOAD(p, order)		      p points to a struct cleave_word or cleave_word32, or (loads, stores) to
 *   PORT_STORE(p, value, order)	      one whose `word` is a pointer (rcu.h).  order is a constant: PORT_RELAXED,
 *					      PORT_ACQUIRE, PORT_RELEASE, PORT_ACQ_REL or PORT_SEQ_CST, as in C11.
 *   PORT_EXCHANGE(p, value, order)	      Need: single-copy atomic for 32 and 64 bits.
 *   PORT_CAS(p, &expected, value, ok, fail)  Strong; *expected becomes what was seen.  A failure orders what
 *					      `fail` says, be that more than `ok`.
 *   PORT_FETCH_ADD(p, value, order)
 *   PORT_COPY(to, from)		      what a word holds, which nobody may store meanwhile, to one that nobody
 *					      else can reach: relaxed, or plain
 *   PORT_CELL_READ(x), PORT_CELL_WRITE(x, v) plain access to a leaf's cell: ordered by the order word, never atomic.
 *					      A place for a race detector's hook.
 *   PORT_PAUSE()			      inside a spin; Need: does not sleep.
 *   PORT_SPINS				      tries before a lock's waiter parks; 1 where spinning cannot help
 *   PORT_CELLS, PORT_FANOUT, PORT_LEVELS  cells of a leaf (2 to 12), children of a branch (16; 3 to 16 where all
 *					      searches are of search/live/), the greatest height
 *   PORT_BATCH, PORT_PATIENCE, PORT_RELEASES, PORT_COVER_TRIES  retired nodes that share a cookie; failed wakes,
 *					      released begins and tries of covers before the next means is taken
 *   PORT_RESTLESS			      edits for which a thread remembers that it divided a leaf
 *   PORT_YIELD()			      a point where stress builds delay the thread; else nothing.
 *   PORT_ASSERT(condition, rule)	      programming errors; off in release builds.  Need: prints the rule, stops.
 *   PORT_DEBUG				      1 if PORT_ASSERT is on, else 0
 *   PORT_COUNT(counter)		      counter++ by the only writer, racy readers allowed
 *   PORT_COUNT_RELEASE(counter)	      the same; what came before is released
 *   PORT_BITS(word, from, count)	      `count` bits of 64, from bit `from` on; both are constants
 *   PORT_PREFETCH(address)
 *   PORT_LIKELY(x), PORT_UNLIKELY(x)
 *   PORT_ALWAYS_INLINE, PORT_NO_INLINE
 *   EINVAL ENOMEM EEXIST ENOENT ENOSPC EAGAIN positive error numbers
 *   memcpy, memmove, memset		      the compiler may call them even in freestanding code
 *
 * and "search.h": how a node is searched, chosen at compile time a file (lib/search.c and lib/edit*.c are compiled once
 * for each):
 *
 *   size_t search_branch(const struct cleave__branch *branch, uint64_t addr)
 *		the number of pivots < addr, times search_twos (1u or 2u); may bring in the children
 *   size_t search_pivots(const struct cleave__branch *branch, uint64_t addr)
 *		the same, and does not
 *   unsigned int search_leaf(const struct cleave__leaf *leaf, uint64_t order, uint64_t addr)
 *		live cells with start <= addr
 *   unsigned int search_gaps(const struct cleave__branch *branch, uint64_t size)
 *		children with gap >= size
 *   unsigned int search_free(const struct cleave__leaf *leaf, uint64_t order)
 *		live cells that are gaps
 *   unsigned int search_ranks(uint64_t order, unsigned int count, unsigned int cells)
 *		the ranks of some live cells
 *   unsigned int search_cells(const struct cleave__leaf *leaf, uint64_t order, unsigned int count, unsigned int r,
 *			       size_t room, bool gaps, enum cleave__form form, void *to)
 *		cleave__leaf_cells()
 *
 * lib/port/search/scalar serves everywhere, avx2 and avx512 x86-64.  They also load cells that a writer may be filling,
 * and mask them out, and gap bounds that one may be raising (Need: of a vector's 64-bit words each is loaded whole):
 * the one place where a plain access may race.  lib/port/search/live reads live cells only, for race detectors.
 */
#ifndef CLEAVE_PORT_H
#define CLEAVE_PORT_H

#include "thread_safety.h"

#include <cleave/cleave.h>

#include "platform.h"

#endif
