/* SPDX-License-Identifier: ISC */
/*
 * The lock word of a node (and of the root, and of a domain), and how a thread waits for it.
 *
 *	0		   free
 *	LOCKED		   held
 *	LOCKED | WAITERS   somebody parks on the word's bucket
 *	  ... | ASKED	   a waiter that lost too often wants it handed over
 *	LOCKED | GRANTED   handed over: whoever asked takes it by clearing the mark; all others see it locked
 *
 * Lock order: by level, leaves first and the root's lock last; within a level by address.  Only a try may break it.
 *
 * Nobody parks inside a read section: a holder whose own work waits for a grace period would wait for ever.  Inside:
 * try, spin a little, read the bucket's count, set WAITERS on a locked word.  Outside: park while the count is what it
 * was, then walk again.  The count is read before the mark is set:
 *	1. waiter: sets WAITERS		    2. holder: unlocks, bumps the count 0 -> 1, wakes nobody
 *	3. waiter: reads the count: 1	    4. waiter: parks while it is 1: for ever
 *
 * A waiter that asked comes back to the same word while the node lives, because a node's range is fixed and it walks
 * by address.  So it must not wait for a lower lock first: who asks holds on to what it has.
 */
#ifndef CLEAVE_NODELOCK_H
#define CLEAVE_NODELOCK_H

#include "walk.h"

#define CLEAVE__LOCKED 1u
#define CLEAVE__WAITERS 2u
#define CLEAVE__ASKED 4u
#define CLEAVE__GRANTED 8u

#define CLEAVE__PATIENCE PORT_PATIENCE /* failed wakes before a waiter asks */

static inline struct cleave_bucket *cleave__bucket(struct cleave_domain *domain, const struct cleave_word32 *lock)
{
	return &domain->bucket[((uintptr_t)lock >> 6 ^ (uintptr_t)lock >> 12) & (CLEAVE_BUCKETS - 1)];
}

/* [M3-acq] what the last holder wrote; pairs with [M3-rel] cleave__unlock(). */
static inline bool cleave__trylock(struct cleave_word32 *lock) PORT_TRYLOCKS(*lock)
{
	uint32_t seen = 0;

	return PORT_CAS(lock, &seen, CLEAVE__LOCKED, PORT_ACQUIRE, PORT_RELAXED);
}

/* The slow half of cleave__unlock(). */
void cleave__unlock_waiters(struct cleave_domain *domain, struct cleave_word32 *lock, bool live) PORT_UNLOCKS(*lock);

/*
 * Unlock.  `live`: the node stays, so that its lock may be handed over; a dead one's is not: its memory is reused, and
 * the receiver would own a stranger.
 * [M3-rel] what the holder wrote; pairs with [M3-acq] cleave__trylock() and the claim in nodelock.c.
 */
static inline void cleave__unlock(struct cleave_domain *domain, struct cleave_word32 *lock, bool live)
	PORT_UNLOCKS(*lock) PORT_UNCHECKED
{
	uint32_t seen = CLEAVE__LOCKED;

	PORT_YIELD();
	if (PORT_UNLIKELY(!PORT_CAS(lock, &seen, 0, PORT_RELEASE, PORT_RELAXED)))
		cleave__unlock_waiters(domain, lock, live);
}

/* Inside a read section: lock the node, if it is free and live. */
static inline bool cleave__trylock_live(const struct cleave *index, struct cleave__node *node) PORT_INSIDE
	PORT_TRYLOCKS(node->lock) PORT_UNCHECKED
{
	if (!cleave__trylock(&node->lock))
		return false;
	if (PORT_LIKELY(!cleave__dead_locked(node)))
		return true;
	cleave__unlock(index->domain, &node->lock, false);
	return false;
}

/* One thread's wait for one node. */
struct cleave__wait {
	struct cleave_word32 *lock; /* where the mark was set; NULL: nowhere */
	uint32_t seen;		    /* the bucket's count before that */
	struct cleave_word32 *asked; /* the lock that it asked for */
	unsigned int wakes;	     /* how often it woke in vain */
	bool hold_on;		     /* may ask */
};

/*
 * Inside a read section (or for a word that outlives everybody): try, spin, else mark the word.
 * True: locked.  False: leave the section and cleave__park().
 */
bool cleave__lock_or_mark(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *lock,
			  struct cleave__wait *wait) PORT_TRYLOCKS(*lock);

/* Outside of read sections: sleep until the lock may be free. */
void cleave__park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave__wait *wait) PORT_OUTSIDE;

/* Lock a word that outlives everybody.  Outside of read sections. */
void cleave__lock_word(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *lock)
	PORT_LOCKS(*lock) PORT_OUTSIDE;

static inline void cleave__enter(const struct cleave *index, struct cleave_thread *self) PORT_ENTERS PORT_UNCHECKED
{
	index->domain->ops->enter(index->domain, self);
}

static inline void cleave__leave(const struct cleave *index, struct cleave_thread *self) PORT_LEAVES PORT_UNCHECKED
{
	index->domain->ops->leave(index->domain, self);
}

/* cleave__lock_found_leaf() after its first try failed. */
void cleave__lock_leaf_slowly(struct cleave *index, struct cleave_thread *self, uint64_t addr,
			      struct cleave__position *position) PORT_INSIDE PORT_LOCKS(position->node->lock);

/*
 * Lock the leaf of `addr`, live, that was found in the caller's section, which stays open, or ends and is opened again;
 * `position` may be of another leaf then.
 */
static PORT_ALWAYS_INLINE void cleave__lock_found_leaf(struct cleave *index, struct cleave_thread *self, uint64_t addr,
						       struct cleave__position *position) PORT_INSIDE
	PORT_LOCKS(position->node->lock) PORT_UNCHECKED
{
	if (PORT_LIKELY(cleave__trylock(&position->node->lock))) {
		if (PORT_LIKELY(!cleave__dead_locked(position->node)))
			return;
		cleave__unlock(index->domain, &position->node->lock, false);
	}
	cleave__lock_leaf_slowly(index, self, addr, position);
}

/* Find that leaf first, in a read section that stays open, so that what the walk saw (parent, rank) can be used. */
static PORT_ALWAYS_INLINE void cleave__lock_leaf_enter(struct cleave *index, struct cleave_thread *self, uint64_t addr,
						       struct cleave__position *position) PORT_ENTERS
	PORT_LOCKS(position->node->lock) PORT_UNCHECKED
{
	cleave__enter(index, self);
	index->search->seek_rcu(index, addr, position);
	cleave__lock_found_leaf(index, self, addr, position);
}

/* The same in the caller's section, without waiting. */
bool cleave__trylock_leaf_rcu(struct cleave *index, uint64_t addr, struct cleave__position *position)
	PORT_INSIDE PORT_TRYLOCKS(position->node->lock);

/*
 * Lock the live node of `level` that holds `addr`.  NULL: the tree is not that high (*lower), or `try_only` and it is
 * locked.  Blocks outside of read sections; with `try_only` it is called inside one.
 */
struct cleave__node *cleave__lock_node(struct cleave *index, struct cleave_thread *self, unsigned int level,
				       uint64_t addr, bool try_only, bool *lower);

/*
 * Lock what stands above the node of `level` that holds `addr`: its parent branch, into *parent, or the root's lock
 * (*parent is NULL).  The child is locked and live, so it stays the one.  False: `try_only`, and it is locked.
 */
bool cleave__lock_above(struct cleave *index, struct cleave_thread *self, unsigned int level, uint64_t addr,
			bool try_only, struct cleave__branch **parent);

static inline void cleave__unlock_node(const struct cleave *index, struct cleave__node *node) PORT_UNLOCKS(node->lock)
{
	cleave__unlock(index->domain, &node->lock, true);
}

static inline void cleave__unlock_dead(struct cleave *index, struct cleave__node *node) PORT_UNLOCKS(node->lock)
{
	cleave__unlock(index->domain, &node->lock, false);
}

#endif
