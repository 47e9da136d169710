/* SPDX-License-Identifier: ISC */
/*
 * The guard of a fault context: what it is about to enter into a page table, or to change in a store.  A mark on a slot
 * would not be enough: object pages, zero pages and neighbouring pages have no slot, and a fork cannot visit slots.
 *
 *	set	fields (release), then the word, odd (sequentially consistent)
 *	clear	the word, even (release); wakes who has marked it
 *	scan	the word; if it is odd, the fields; if they overlap, wait until the word's count *changes* (it may be
 *		set again at once, for ever)
 *
 * The guard is set before its holder looks, and whoever takes something away does that before it scans: both sides are
 * sequentially consistent, so that at least one sees the other.  A holder never waits, so a scan ends.
 *
 * Waiting, here and for all of the store: read the bucket's count, mark the word, sleep while the count is the same.
 * Who clears a marked word bumps the count first and wakes afterwards.
 */
#ifndef CLEAVE_LIB_GUARD_H
#define CLEAVE_LIB_GUARD_H

#include "port/port.h"

#include <cleave/anon.h>

#define CLEAVE__GUARD_WAITED (UINT64_C(1) << 63)

void cleave__guards_init(struct cleave_guards *guards, struct cleave_domain *domain);

/* Push a guard on the list, for ever. */
void cleave__guards_add(struct cleave_guards *guards, struct cleave_guard *guard);

struct cleave_guard *cleave__guards_first(const struct cleave_guards *guards);

static inline struct cleave_word32 *cleave__guards_count(struct cleave_guards *guards, const void *at)
{
	return &guards->bucket[((uintptr_t)at >> 3 ^ (uintptr_t)at >> 9) & (CLEAVE_BUCKETS - 1)].count;
}

/* Bump the count of what was marked, and wake. */
void cleave__guards_wake(struct cleave_guards *guards, const void *at);

/*
 * [A5-sc] the word before all that its holder looks at; pairs with the scan.  It covers the fields too: a later set
 * must not show its fields beside the word of an earlier one (release, after that one's clear).
 */
static PORT_ALWAYS_INLINE void cleave__guard_set(struct cleave_guard *guard, const void *map, const void *store,
						 uint64_t first, uint64_t last, uint64_t slot)
{
	uint64_t word = PORT_LOAD(&guard->word, PORT_RELAXED);

	PORT_ASSERT((word & 1) == 0, "a guard is set once at a time");
	PORT_STORE(&guard->map, (uint64_t)(uintptr_t)map, PORT_RELEASE);
	PORT_STORE(&guard->store, (uint64_t)(uintptr_t)store, PORT_RELEASE);
	PORT_STORE(&guard->first, first, PORT_RELEASE);
	PORT_STORE(&guard->last, last, PORT_RELEASE);
	PORT_STORE(&guard->slot, slot, PORT_RELEASE);
	PORT_STORE(&guard->word, word + 1, PORT_SEQ_CST); /* [A5-sc] */
}

/* [A6-rel] what was done under the guard; pairs with [A6-acq] cleave__guard_wait(). */
static PORT_ALWAYS_INLINE void cleave__guard_clear(struct cleave_guards *guards, struct cleave_guard *guard)
{
	uint64_t word = PORT_LOAD(&guard->word, PORT_RELAXED) & ~CLEAVE__GUARD_WAITED, seen = word;

	PORT_ASSERT((word & 1) != 0, "a guard is cleared once");
	if (PORT_UNLIKELY(!PORT_CAS(&guard->word, &seen, (word + 1) & ~CLEAVE__GUARD_WAITED, PORT_RELEASE,
				    PORT_RELAXED))) {
		PORT_STORE(&guard->word, (word + 1) & ~CLEAVE__GUARD_WAITED, PORT_RELEASE);
		cleave__guards_wake(guards, guard);
	}
}

static inline bool cleave__guard_is_set(const struct cleave_guard *guard)
{
	return (PORT_LOAD(&guard->word, PORT_RELAXED) & 1) != 0;
}

/* The caller's own: no slots but these. */
static inline bool cleave__guard_is_within(const struct cleave_guard *guard, const void *store, uint64_t first,
					   uint64_t last)
{
	uint64_t slot = PORT_LOAD(&guard->slot, PORT_RELAXED);

	return PORT_LOAD(&guard->store, PORT_RELAXED) == (uintptr_t)store && slot >= first &&
	       slot + (PORT_LOAD(&guard->last, PORT_RELAXED) - PORT_LOAD(&guard->first, PORT_RELAXED)) <= last;
}

/* Wait until a guard that was seen set with `word` is cleared. */
void cleave__guard_wait(struct cleave_guards *guards, struct cleave_thread *self, struct cleave_guard *guard,
			uint64_t word);

/* Wait for all guards of others that were set before on a store's slots, on a map's pages, on whatever. */
void cleave__guards_wait_slots(struct cleave_guards *guards, struct cleave_thread *self,
			       const struct cleave_guard *except, const void *store, uint64_t first, uint64_t last);
void cleave__guards_wait_pages(struct cleave_guards *guards, struct cleave_thread *self,
			       const struct cleave_guard *except, const void *map, uint64_t first, uint64_t last);
/* ... on a map's pages, without a store. */
void cleave__guards_wait_storeless(struct cleave_guards *guards, struct cleave_thread *self,
				   const struct cleave_guard *except, const void *map, uint64_t first, uint64_t last);
void cleave__guards_wait_all(struct cleave_guards *guards, struct cleave_thread *self,
			     const struct cleave_guard *except);

#endif
