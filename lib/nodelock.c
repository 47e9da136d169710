/* SPDX-License-Identifier: ISC */
#include "nodelock.h"

void cleave__unlock_waiters(struct cleave_domain *domain, struct cleave_word32 *lock, bool live) PORT_UNCHECKED
{
	struct cleave_bucket *bucket = cleave__bucket(domain, lock);
	uint32_t seen = PORT_LOAD(lock, PORT_RELAXED);
	uint32_t next;

	do {
		next = live && seen & CLEAVE__ASKED ? CLEAVE__LOCKED | CLEAVE__GRANTED : 0;
		/* [M3-rel] as in cleave__unlock() */
	} while (!PORT_CAS(lock, &seen, next, PORT_RELEASE, PORT_RELAXED));
	/* [M4-rel] the unlock before the count; pairs with [M4-acq] the waiter's load: who sees it tries again */
	PORT_FETCH_ADD(&bucket->count, 1, PORT_RELEASE);
	domain->ops->wake(domain, &bucket->count);
}

/* Take the lock if it is free, or was handed to one who asked. */
static bool try_or_claim(struct cleave_thread *self, struct cleave_word32 *lock, bool asked) PORT_TRYLOCKS(*lock)
{
	uint32_t seen = PORT_LOAD(lock, PORT_RELAXED);

	if (!seen)
		return cleave__trylock(lock);
	if (!asked || !(seen & CLEAVE__GRANTED))
		return false;
	/* [M3-acq] the claim of a lock that was handed over; pairs with [M3-rel] cleave__unlock() */
	if (!PORT_CAS(lock, &seen, CLEAVE__LOCKED | (seen & CLEAVE__WAITERS), PORT_ACQUIRE, PORT_RELAXED))
		return false;
	PORT_COUNT(self->counters.handovers);
	return true;
}

bool cleave__lock_or_mark(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *lock,
			  struct cleave__wait *wait)
{
	struct cleave_bucket *bucket = cleave__bucket(domain, lock);
	uint32_t seen;

	for (unsigned int spin = 0; spin < PORT_SPINS; spin++) {
		if (try_or_claim(self, lock, wait->asked == lock))
			return true;
		PORT_PAUSE();
	}
	/* [M4-acq] pairs with [M4-rel] cleave__unlock_waiters() */
	wait->seen = PORT_LOAD(&bucket->count, PORT_ACQUIRE);
	wait->lock = NULL;
	seen = PORT_LOAD(lock, PORT_RELAXED);
	while (seen) {
		uint32_t marks = CLEAVE__WAITERS;

		if (seen & CLEAVE__GRANTED) {
			if (try_or_claim(self, lock, wait->asked == lock))
				return true;
		} else if (wait->hold_on && wait->wakes >= CLEAVE__PATIENCE) {
			marks |= CLEAVE__ASKED;
		}
		if (PORT_CAS(lock, &seen, seen | marks, PORT_RELAXED, PORT_RELAXED)) {
			wait->lock = lock;
			if (marks & CLEAVE__ASKED)
				wait->asked = lock;
			break;
		}
	}
	return false;
}

void cleave__park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave__wait *wait)
{
	if (!wait->lock)
		return; /* it came free meanwhile */
	PORT_COUNT(self->counters.lock_waits);
	domain->ops->park(domain, self, &cleave__bucket(domain, wait->lock)->count, wait->seen);
	wait->wakes++;
}

void cleave__lock_word(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *lock)
{
	struct cleave__wait wait = { .hold_on = true };

	while (!cleave__lock_or_mark(domain, self, lock, &wait))
		cleave__park(domain, self, &wait);
}

void cleave__lock_leaf_slowly(struct cleave *index, struct cleave_thread *self, uint64_t addr,
			      struct cleave__position *position)
{
	struct cleave__wait wait = { .hold_on = true };

	for (;;) {
		if (!cleave__lock_or_mark(index->domain, self, &position->node->lock, &wait)) {
			cleave__leave(index, self);
			cleave__park(index->domain, self, &wait);
		} else if (cleave__dead_locked(position->node)) {
			cleave__unlock_dead(index, position->node);
			cleave__leave(index, self);
			PORT_COUNT(self->counters.restarts);
		} else {
			return;
		}
		cleave__enter(index, self);
		index->search->seek_rcu(index, addr, position);
	}
}

bool cleave__trylock_leaf_rcu(struct cleave *index, uint64_t addr, struct cleave__position *position)
{
	index->search->seek_rcu(index, addr, position);
	if (!cleave__trylock(&position->node->lock))
		return false;
	if (!cleave__dead_locked(position->node))
		return true;
	cleave__unlock_dead(index, position->node);
	return false;
}

/* Inside a read section: lock the node, if it is live.  A dead one is not ours to touch once the section ends. */
static bool lock_live_rcu(struct cleave *index, struct cleave_thread *self, struct cleave__node *node, bool try_only,
			  struct cleave__wait *wait) PORT_INSIDE PORT_TRYLOCKS(node->lock)
{
	if (try_only ? !cleave__trylock(&node->lock) : !cleave__lock_or_mark(index->domain, self, &node->lock, wait))
		return false;
	if (!cleave__dead_locked(node))
		return true;
	cleave__unlock_dead(index, node);
	wait->lock = NULL;
	PORT_COUNT(self->counters.restarts);
	return false;
}

struct cleave__node *cleave__lock_node(struct cleave *index, struct cleave_thread *self, unsigned int level,
				       uint64_t addr, bool try_only, bool *lower) PORT_UNCHECKED
{
	struct cleave__wait wait = { .hold_on = true };

	for (;;) {
		struct cleave__position position;
		bool locked;

		if (!try_only)
			cleave__enter(index, self);
		*lower = !index->search->climb_rcu(index, level, addr, &position);
		locked = !*lower && lock_live_rcu(index, self, position.node, try_only, &wait);
		if (!try_only)
			cleave__leave(index, self); /* a locked live node stays */
		if (locked)
			return position.node;
		if (*lower || try_only)
			return NULL;
		cleave__park(index->domain, self, &wait);
	}
}

bool cleave__lock_above(struct cleave *index, struct cleave_thread *self, unsigned int level, uint64_t addr,
			bool try_only, struct cleave__branch **parent) PORT_UNCHECKED
{
	bool lower;
	struct cleave__node *node = cleave__lock_node(index, self, level + 1, addr, try_only, &lower);

	*parent = node ? cleave__branch(node) : NULL;
	if (!lower)
		return node != NULL;
	if (!try_only)
		cleave__lock_word(index->domain, self, &index->root_lock);
	else if (!cleave__trylock(&index->root_lock))
		return false;
	PORT_ASSERT(cleave__root_level(PORT_LOAD(&index->root, PORT_RELAXED)) == level,
		    "the root stays the root while it is locked");
	return true;
}
