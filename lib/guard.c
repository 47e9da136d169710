/* SPDX-License-Identifier: ISC */
#include "guard.h"

void cleave__guards_init(struct cleave_guards *guards, struct cleave_domain *domain)
{
	memset(guards, 0, sizeof(*guards));
	guards->domain = domain;
}

/* [A11-sc] a guard is on the list before it is set for the first time; pairs with the load of the head. */
void cleave__guards_add(struct cleave_guards *guards, struct cleave_guard *guard)
{
	uint64_t head = PORT_LOAD(&guards->head, PORT_RELAXED);

	do {
		guard->next = (struct cleave_guard *)(uintptr_t)head;
	} while (!PORT_CAS(&guards->head, &head, (uint64_t)(uintptr_t)guard, PORT_SEQ_CST, PORT_RELAXED));
}

struct cleave_guard *cleave__guards_first(const struct cleave_guards *guards)
{
	return (struct cleave_guard *)(uintptr_t)PORT_LOAD(&guards->head, PORT_SEQ_CST); /* [A11-sc] */
}

/* [A4-rel] the cleared word before the count; pairs with [A4-acq] where the count is read. */
void cleave__guards_wake(struct cleave_guards *guards, const void *at)
{
	struct cleave_word32 *count = cleave__guards_count(guards, at);

	PORT_FETCH_ADD(count, 1, PORT_RELEASE);
	guards->domain->ops->wake(guards->domain, count);
}

void cleave__guard_wait(struct cleave_guards *guards, struct cleave_thread *self, struct cleave_guard *guard,
			uint64_t word)
{
	struct cleave_word32 *count = cleave__guards_count(guards, guard);
	uint64_t now = word;

	word &= ~CLEAVE__GUARD_WAITED;
	/* [A6-acq] what the holder did before it cleared; pairs with [A6-rel] cleave__guard_clear(). */
	for (unsigned int i = 1; i < PORT_SPINS; i++) {
		PORT_PAUSE();
		if ((PORT_LOAD(&guard->word, PORT_ACQUIRE) & ~CLEAVE__GUARD_WAITED) != word)
			return;
	}
	for (;;) {
		/* [A4-acq] before the mark: a bump that comes later is one that we must not sleep through */
		uint32_t seen = PORT_LOAD(count, PORT_ACQUIRE);

		now = PORT_LOAD(&guard->word, PORT_ACQUIRE); /* [A6-acq] */
		if ((now & ~CLEAVE__GUARD_WAITED) != word)
			return;
		if (!(now & CLEAVE__GUARD_WAITED) &&
		    !PORT_CAS(&guard->word, &now, word | CLEAVE__GUARD_WAITED, PORT_RELAXED, PORT_RELAXED))
			continue;
		guards->domain->ops->park(guards->domain, self, count, seen);
	}
}

/* The fields of a guard belong to the word if the word is the same after them: else it was cleared, which is enough. */
struct seen {
	uint64_t map, store, first, last, slot;
};

static bool read_set(struct cleave_guard *guard, uint64_t *word, struct seen *seen)
{
	*word = PORT_LOAD(&guard->word, PORT_SEQ_CST); /* [A5-sc] */
	if (!(*word & 1))
		return false;
	/* [A5-sc] released by the set that we saw, or by a later one, which is after the clear that we want */
	seen->map = PORT_LOAD(&guard->map, PORT_ACQUIRE);
	seen->store = PORT_LOAD(&guard->store, PORT_ACQUIRE);
	seen->first = PORT_LOAD(&guard->first, PORT_ACQUIRE);
	seen->last = PORT_LOAD(&guard->last, PORT_ACQUIRE);
	seen->slot = PORT_LOAD(&guard->slot, PORT_ACQUIRE);
	return true;
}

void cleave__guards_wait_slots(struct cleave_guards *guards, struct cleave_thread *self,
			       const struct cleave_guard *except, const void *store, uint64_t first, uint64_t last)
{
	for (struct cleave_guard *guard = cleave__guards_first(guards); guard; guard = guard->next) {
		struct seen seen;
		uint64_t word;

		if (guard != except && read_set(guard, &word, &seen) && seen.store == (uintptr_t)store &&
		    seen.slot <= last && seen.slot + (seen.last - seen.first) >= first)
			cleave__guard_wait(guards, self, guard, word);
	}
}

void cleave__guards_wait_pages(struct cleave_guards *guards, struct cleave_thread *self,
			       const struct cleave_guard *except, const void *map, uint64_t first, uint64_t last)
{
	for (struct cleave_guard *guard = cleave__guards_first(guards); guard; guard = guard->next) {
		struct seen seen;
		uint64_t word;

		if (guard != except && read_set(guard, &word, &seen) && seen.map == (uintptr_t)map &&
		    seen.first <= last && seen.last >= first)
			cleave__guard_wait(guards, self, guard, word);
	}
}

void cleave__guards_wait_storeless(struct cleave_guards *guards, struct cleave_thread *self,
				   const struct cleave_guard *except, const void *map, uint64_t first, uint64_t last)
{
	for (struct cleave_guard *guard = cleave__guards_first(guards); guard; guard = guard->next) {
		struct seen seen;
		uint64_t word;

		if (guard != except && read_set(guard, &word, &seen) && seen.map == (uintptr_t)map && !seen.store &&
		    seen.first <= last && seen.last >= first)
			cleave__guard_wait(guards, self, guard, word);
	}
}

void cleave__guards_wait_all(struct cleave_guards *guards, struct cleave_thread *self,
			     const struct cleave_guard *except)
{
	for (struct cleave_guard *guard = cleave__guards_first(guards); guard; guard = guard->next) {
		struct seen seen;
		uint64_t word;

		if (guard != except && read_set(guard, &word, &seen))
			cleave__guard_wait(guards, self, guard, word);
	}
}
