/* SPDX-License-Identifier: ISC */
/*
 * Changes of an index under chosen schedules, stale reads included: against the guard of a validating lookup (M5 of
 * doc/memory-order.md), and against who wants a reference to what it finds.
 */
#include "orders.h"

#include "txn.h"

#include <stdlib.h>

#define THREADS 3u

/* What a value stands for. */
struct object {
	struct cleave_word references;
	uint64_t state; /* plain: of who frees it a grace period after the last reference */
};

static struct shared {
	struct cleave_domain domain;
	struct cleave_thread threads[THREADS + 1]; /* the last one prepares */
	struct cleave index;
	struct cleave_word guard;
	struct object objects[THREADS];
	uint64_t saw_guard, was_valid;
	void *found;
} *shared;

static void must(int error)
{
	if (error)
		abort();
}

static void prepare(void)
{
	sim_arena_clear();
	shared = sim_arena_alloc(sizeof(*shared));
	cleave_domain_init(&shared->domain, &sim_ops, &sim_memory, NULL, UINT64_MAX / 2);
	for (unsigned int t = 0; t <= THREADS; t++)
		cleave_thread_init(&shared->threads[t], &shared->domain);
	must(cleave_init(&shared->index, &shared->threads[THREADS]));
}

/* No call allocates. */
static void reserve(void)
{
	for (unsigned int t = 0; t < THREADS; t++)
		must(cleave__pool_fill(&shared->threads[t], 16, 16, false));
}

/* ---- M5: what takes a value away, against the guard of a lookup ---- */

#define VALUE(n) ((void *)(uintptr_t)((n) * 16))

enum { EDIT, COPY, LONE_COPY, BORDER, TRANSACTION, DISPLACES };

static void put_entries(unsigned int first, unsigned int last, unsigned int step)
{
	for (unsigned int at = first; at <= last; at += step)
		must(cleave_insert(&shared->index, &shared->threads[THREADS], at, at + step - 1, VALUE(1 + at % 3),
				   NULL));
}

static void prepare_displace(unsigned int variant)
{
	prepare();
	if (variant == EDIT)
		put_entries(8, 8, 4);
	else if (variant == LONE_COPY)
		put_entries(8, 15, 4);
	else
		put_entries(4, 47, 4);
	reserve();
}

static void displace(unsigned int thread)
{
	struct cleave *index = &shared->index;
	struct cleave_thread *self = &shared->threads[thread];
	struct cleave_ticket ticket;
	struct cleave_entry entry;
	void *value;

	if (thread == 0) {
		PORT_STORE(&shared->guard, 1, PORT_SEQ_CST);
		cleave__enter(index, self);
		value = cleave_lookup_ticket_rcu(index, 9, &entry, &ticket);
		shared->was_valid = value && cleave_ticket_valid_rcu(&ticket);
		cleave__leave(index, self);
		return;
	}
	switch (variant_now) {
	case TRANSACTION:
		cleave_store(index, self, 6, 17, NULL, NULL);
		break;
	case COPY:
	case LONE_COPY:
		cleave_store(index, self, 9, 10, NULL, NULL);
		break;
	default:
		cleave_erase(index, self, 8, 11, NULL);
		break;
	}
	shared->saw_guard = PORT_LOAD(&shared->guard, PORT_SEQ_CST);
}

static const char *judge_displace(void)
{
	return shared->was_valid && !shared->saw_guard ? "a valid lookup's guard was not seen by who displaced" : NULL;
}

/* ---- cleave_lookup_ref(): what it yields is kept, and what was always there is found ---- */

enum {
	REPLACED,	/* by another object */
	REPLACED_TWICE, /* the second time by a third thread */
	ERASED,
	ERASED_AND_PUT, /* by a third thread */
	REFERENCES
};

static bool tryref(void *value)
{
	struct object *object = value;
	uint64_t seen = PORT_LOAD(&object->references, PORT_ACQUIRE);

	(void)PORT_CELL_READ(object->state);
	while (seen && !PORT_CAS(&object->references, &seen, seen + 1, PORT_ACQUIRE, PORT_ACQUIRE))
		;
	return seen != 0;
}

static void drop(struct object *object)
{
	struct cleave_thread *self = &shared->threads[sim_self()];

	if (PORT_FETCH_ADD(&object->references, (uint64_t)-1, PORT_ACQ_REL) != 1)
		return;
	cleave_grace_wait(self, cleave_grace_cookie(self));
	PORT_CELL_WRITE(object->state, 1);
}

static void drop_displaced(struct cleave_sink *sink, const struct cleave_entry *displaced)
{
	(void)sink;
	drop(displaced->value);
}

static void prepare_reference(unsigned int variant)
{
	(void)variant;
	prepare();
	for (unsigned int i = 0; i < THREADS; i++)
		PORT_STORE(&shared->objects[i].references, 1, PORT_RELAXED);
	must(cleave_insert(&shared->index, &shared->threads[THREADS], 8, 11, &shared->objects[0], NULL));
	reserve();
}

static void refer(unsigned int thread)
{
	struct cleave_thread *self = &shared->threads[thread];
	struct cleave_sink sink = { drop_displaced };
	struct cleave_entry entry;

	if (thread == 0) {
		shared->found = cleave_lookup_ref(&shared->index, self, 9, tryref, &entry);
		if (shared->found != entry.value && shared->found)
			sim_fail("the entry has another value");
		if (shared->found) {
			(void)PORT_CELL_READ(((struct object *)shared->found)->state);
			drop(shared->found);
		}
	} else if (thread == 1 && variant_now >= ERASED) {
		must(cleave_erase(&shared->index, self, 8, 11, &sink));
	} else if (thread == 1 || variant_now % 2) {
		must(cleave_store(&shared->index, self, 8, 11, &shared->objects[thread], &sink));
	}
}

static const char *judge_reference(void)
{
	return shared->found || variant_now >= ERASED ? NULL : "nothing is found where something always was";
}

const struct scenario orders_index[] = {
	{ "displace", 2, DISPLACES, prepare_displace, displace, judge_displace, 0 },
	{ "reference", THREADS, REFERENCES, prepare_reference, refer, judge_reference, FALSE_DONE },
	{ NULL, 0, 0, NULL, NULL, NULL, 0 },
};
