/* SPDX-License-Identifier: ISC */
/*
 * Grace periods of lib/port/urcu/memb.c without liburcu's function, under chosen schedules: its own sources, on a
 * stand-in for liburcu's header (urcu.h), and calls of the core that are counted (U7, U8 of doc/memory-order.md).  Each
 * read-modify-write is a full barrier, as on x86, where alone the counts are read.
 */
#include <errno.h>
#include <unistd.h>

static long sim_membarrier(long number, int command, int flags);
#undef syscall
#define syscall sim_membarrier
#include "port/urcu/memb.c"

#include "orders.h"

#include "pool.h"

#define READER 1u
#define PREPARES 3u
#define TIMES 4u /* of the reader */

static struct shared {
	struct cleave_urcu urcu;
	struct cleave_urcu_thread records[SIM_THREADS];
	struct urcu_reader readers[SIM_THREADS];
	struct cleave index[TIMES];
	struct cleave_word pointer; /* to the object below: 1 or 0 */
	struct cleave_word elsewhere;
	uint64_t object; /* plain: reused after a grace period */
} *shared;

const struct urcu_gp urcu_memb_gp = { .ctr = URCU_GP_COUNT };
static bool preparing, has_barrier;

struct urcu_reader *sim_urcu_reader(void)
{
	return &shared->readers[preparing ? PREPARES : sim_self()];
}

static long sim_membarrier(long number, int command, int flags)
{
	(void)number;
	(void)command;
	(void)flags;
	if (has_barrier)
		sim_barrier();
	return has_barrier ? 0 : -1;
}

static void must(int error)
{
	if (error)
		abort();
}

/* ---- What is counted, and where ---- */

enum {
	EDIT,	   /* finish() in lib/edit.c */
	COPY,	   /* cleave__copy_exchange_leave() in lib/update.c */
	RETURN,	   /* cleave__change_leave() there */
	HOLD,	   /* cleave_hold_end() */
	HOLD_SLOW, /* end_slowly() in lib/hold.c */
	TXN,	   /* cleave__finish() in lib/txn.c */
	COUNTED
};

#define VALUE(n) ((void *)(uintptr_t)((n) * 16))

/* COPY, RETURN: of the leaf at 8, which is not the root, no cell is clean. */
static void fill_index(struct cleave *index, struct cleave_thread *self, unsigned int variant)
{
	must(cleave_init(index, self));
	must(cleave_insert(index, self, 8, 11, VALUE(1), NULL));
	if (variant != COPY && variant != RETURN)
		return;
	for (uint64_t at = 16; at < 48; at += 4)
		must(cleave_insert(index, self, at, at + 3, VALUE(1 + at / 4 % 2), NULL));
	must(cleave_store(index, self, 8, 11, VALUE(2), NULL));
}

static void prepare(void)
{
	struct cleave_urcu *urcu;

	sim_arena_clear();
	shared = sim_arena_alloc(sizeof(*shared));
	urcu = &shared->urcu;
	cleave_domain_init(&urcu->domain, &memb.ops, &sim_memory, NULL, UINT64_MAX / 2);
	urcu->domain.done = &urcu->done;
	urcu->domain.started = CLEAVE__URCU_STARTED(urcu);
	urcu->flavour = &memb;
	urcu->worker = 1;
	PORT_STORE(&shared->pointer, 1, PORT_RELAXED);
	for (unsigned int t = 0; t < SIM_THREADS; t++) {
		cleave_thread_init(&shared->records[t].thread, &urcu->domain);
		shared->records[t].reader = &shared->readers[t];
	}
	for (unsigned int t = 0; t <= READER; t++) {
		shared->records[t].next = urcu->threads;
		urcu->threads = &shared->records[t];
	}
}

/*
 * There is no barrier on all threads, which would hide what the counts order.  Whoever asks first has seen changes, to
 * need none, and ends nothing.
 */
static void prepare_counted(unsigned int variant)
{
	struct cleave_urcu_thread *reader;

	preparing = true;
	has_barrier = false;
	prepare();
	reader = &shared->records[READER];
	for (unsigned int i = 0; i < TIMES; i++)
		fill_index(&shared->index[i], &shared->records[PREPARES].thread, variant);
	must(cleave__pool_fill(&reader->thread, 16, 16, false));
	reader->thread.quiet = UINT32_MAX; /* it does not ask itself */
	reader->changes = UINT64_C(0) - 8;
	preparing = false;
}

static void change(struct cleave_thread *self, unsigned int i, struct cleave_hold *holds)
{
	struct cleave *index = &shared->index[i];
	struct cleave_txn txn;

	switch (variant_now) {
	case EDIT:
		must(cleave_clip(index, self, 10));
		break;
	case COPY:
		must(cleave_insert(index, self, 0, 7, VALUE(3), NULL));
		break;
	case RETURN:
		must(cleave_store(index, self, 8, 11, VALUE(3), NULL));
		break;
	case HOLD:
		cleave_hold_begin(&holds[0], index, self, 9);
		cleave_hold_end(&holds[0]);
		break;
	case HOLD_SLOW: /* it is not the last one that was begun */
		cleave_hold_begin(&holds[i], index, self, 9);
		if (i > 0)
			cleave_hold_end(&holds[i - 1]);
		break;
	default:
		cleave_begin(&txn, index, self, 9, 20);
		cleave_abort(&txn);
		break;
	}
}

static void read_once(struct cleave_thread *self)
{
	enter(NULL, self);
	if (PORT_LOAD(&shared->pointer, PORT_ACQUIRE)) {
		(void)PORT_LOAD(&shared->elsewhere, PORT_RELAXED); /* others may run in between */
		(void)PORT_CELL_READ(shared->object);
	}
	leave(NULL, self);
}

static void unlink_and_ask(struct cleave_thread *self, unsigned int times)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	uint64_t cookie;

	PORT_STORE(&shared->pointer, 0, PORT_RELEASE);
	cookie = cleave__urcu_cookie(domain, self);
	for (unsigned int i = 0; i < times; i++) {
		cleave__urcu_advance(domain, self, cookie);
		if (cleave__urcu_done(domain, self, cookie)) {
			PORT_CELL_WRITE(shared->object, 1);
			break;
		}
	}
}

/* One unlinks and asks; the other one reads, and changes something after each of its sections. */
static void counted(unsigned int thread)
{
	struct cleave_thread *self = &shared->records[thread].thread;
	struct cleave_hold holds[TIMES];

	if (thread != READER) {
		unlink_and_ask(self, 3);
		return;
	}
	for (unsigned int i = 0; i < TIMES; i++) {
		read_once(self);
		change(self, i, holds);
	}
}

/* The same with a barrier on all threads, and without changes. */
static void prepare_barrier(unsigned int variant)
{
	(void)variant;
	prepare();
	has_barrier = true;
}

static void barrier_on_all(unsigned int thread)
{
	struct cleave_thread *self = &shared->records[thread].thread;

	if (thread != READER) {
		unlink_and_ask(self, 2);
		return;
	}
	for (unsigned int i = 0; i < 2; i++)
		read_once(self);
}

const struct scenario orders_memb[] = {
	{ "counted", 2, COUNTED, prepare_counted, counted, NULL, LOCKED },
	{ "barrier", 2, 1, prepare_barrier, barrier_on_all, NULL, LOCKED },
	{ NULL, 0, 0, NULL, NULL, NULL, 0 },
};
