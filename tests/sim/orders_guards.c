/* SPDX-License-Identifier: ISC */
/* Guards against who waits for them, one field at a time (A4, A5, A6, A11 of doc/anon.md), under chosen schedules. */
#include "orders.h"

#include "guard.h"

static struct shared {
	struct cleave_domain domain;
	struct cleave_thread threads[2];
	struct cleave_word pointer; /* to the object below: 1 or 0 */
	struct cleave_guards guards;
	struct cleave_guard holder;
	uint64_t object; /* plain: what was taken away is reused */
} *shared;

struct set {
	uintptr_t map, store;
	uint64_t first, last, slot;
};

/*
 * The holder sets its guard for what the waiter waits for, and then for something else, which differs in the one field
 * that tells.  A waiter that sees the first set's word beside that field must not go on before the first set's clear.
 */
static const struct guarded {
	enum { SLOTS, PAGES, STORELESS, WHATEVER } wait;
	struct set set[2];
	bool late; /* the guard comes on the list only then */
} guarded[] = {
	{ SLOTS, { { 1, 1, 4, 5, 14 }, { 1, 2, 4, 5, 14 } }, false },
	{ SLOTS, { { 1, 1, 4, 5, 14 }, { 1, 1, 5, 5, 14 } }, false },
	{ SLOTS, { { 1, 1, 4, 5, 14 }, { 1, 1, 4, 4, 14 } }, false },
	{ SLOTS, { { 1, 1, 4, 5, 14 }, { 1, 1, 4, 5, 16 } }, false },
	{ PAGES, { { 1, 1, 4, 5, 14 }, { 2, 1, 4, 5, 14 } }, false },
	{ PAGES, { { 1, 1, 4, 5, 14 }, { 1, 1, 6, 7, 14 } }, false },
	{ PAGES, { { 1, 1, 4, 5, 14 }, { 1, 1, 4, 4, 14 } }, false },
	{ STORELESS, { { 1, 0, 4, 5, 0 }, { 2, 0, 4, 5, 0 } }, false },
	{ STORELESS, { { 1, 0, 4, 5, 0 }, { 1, 1, 4, 5, 0 } }, false },
	{ STORELESS, { { 1, 0, 4, 5, 0 }, { 1, 0, 6, 7, 0 } }, false },
	{ STORELESS, { { 1, 0, 4, 5, 0 }, { 1, 0, 4, 4, 0 } }, false },
	{ WHATEVER, { { 1, 1, 4, 5, 14 }, { 2, 2, 6, 7, 16 } }, false },
	{ WHATEVER, { { 1, 1, 4, 5, 14 }, { 2, 2, 6, 7, 16 } }, true },
};

#define GUARDED ((unsigned int)(sizeof(guarded) / sizeof(guarded[0])))

static void prepare_guarded(unsigned int variant)
{
	sim_arena_clear();
	shared = sim_arena_alloc(sizeof(*shared));
	cleave_domain_init(&shared->domain, &sim_ops, &sim_memory, NULL, UINT64_MAX / 2);
	for (unsigned int t = 0; t < 2; t++)
		cleave_thread_init(&shared->threads[t], &shared->domain);
	PORT_STORE(&shared->pointer, 1, PORT_RELAXED);
	cleave__guards_init(&shared->guards, &shared->domain);
	if (!guarded[variant].late)
		cleave__guards_add(&shared->guards, &shared->holder);
}

static void guard_or_wait(unsigned int thread)
{
	const struct guarded *now = &guarded[variant_now];
	struct cleave_thread *self = &shared->threads[thread];
	struct cleave_guards *guards = &shared->guards;
	const void *one = (const void *)(uintptr_t)1;

	if (thread == 0) {
		if (now->late)
			cleave__guards_add(guards, &shared->holder);
		for (const struct set *set = now->set; set < now->set + 2; set++) {
			cleave__guard_set(&shared->holder, (const void *)set->map, (const void *)set->store, set->first,
					  set->last, set->slot);
			if (set == now->set && PORT_LOAD(&shared->pointer, PORT_SEQ_CST))
				(void)PORT_CELL_READ(shared->object);
			cleave__guard_clear(guards, &shared->holder);
		}
		return;
	}
	PORT_STORE(&shared->pointer, 0, PORT_SEQ_CST);
	switch (now->wait) {
	case SLOTS:
		cleave__guards_wait_slots(guards, self, NULL, one, 15, 15);
		break;
	case PAGES:
		cleave__guards_wait_pages(guards, self, NULL, one, 5, 5);
		break;
	case STORELESS:
		cleave__guards_wait_storeless(guards, self, NULL, one, 5, 5);
		break;
	case WHATEVER:
		cleave__guards_wait_all(guards, self, NULL);
		break;
	}
	PORT_CELL_WRITE(shared->object, 1);
}

const struct scenario orders_guards[] = {
	{ "guards", 2, GUARDED, prepare_guarded, guard_or_wait, NULL, 0 },
	{ NULL, 0, 0, NULL, NULL, NULL, 0 },
};
