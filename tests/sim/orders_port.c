/* SPDX-License-Identifier: ISC */
/*
 * Memory orders of the liburcu port under chosen schedules: its own sources, its worker as a coroutine, the simulator's
 * grace periods.  Protocols U1 to U8 of doc/memory-order.md, and who parks (M4).
 */
/* As for Thread Sanitizer: read-modify-writes, where x86 has a barrier of its own; but without what it is told. */
#define CLEAVE_SECTION_TSAN 1
#include "port/user/user.h"
#undef CLEAVE__TSAN
#define CLEAVE__TSAN 0

#include "port/urcu/urcu.c"
#include "port/urcu/here.c"

#include "orders.h"

#include "pool.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>

#define THREADS 3u

/* All that the threads share. */
static struct shared {
	struct cleave_urcu urcu;
	struct cleave_urcu_thread records[SIM_THREADS];
	struct cleave_word pointer; /* to the object below: 1 or 0 */
	struct cleave_word elsewhere;
	struct cleave_word finished;
	uint64_t object;       /* plain: reused after a grace period */
	uint64_t grace_list;   /* plain: what synchronize_rcu() takes apart */
	uint64_t readers_list; /* plain: what a registration changes */
	struct cleave_word inside[SIM_THREADS]; /* a section, as others see it */
	struct cleave_word changes[SIM_THREADS];
} *shared;

/* ---- What the port calls ---- */

long sim_syscall(long number, uint32_t *word, int operation, uint32_t value, void *timeout, void *word2,
		 uint32_t value3);

/* The futexes of lib/port/user/user.c. */
long sim_syscall(long number, uint32_t *word, int operation, uint32_t value, void *timeout, void *word2,
		 uint32_t value3)
{
	(void)timeout;
	(void)word2;
	(void)value3;
	if (number != SYS_futex)
		abort();
	if ((operation & FUTEX_CMD_MASK) == FUTEX_WAIT)
		sim_ops.park(NULL, NULL, (struct cleave_word32 *)(void *)word, value);
	else
		sim_ops.wake(NULL, (struct cleave_word32 *)(void *)word);
	return 0;
}

int sim_clock_gettime(clockid_t clock, struct timespec *time);

/* A second passes from one look at the clock to the next: all pauses are over. */
int sim_clock_gettime(clockid_t clock, struct timespec *time)
{
	static time_t seconds;

	(void)clock;
	*time = (struct timespec){ .tv_sec = ++seconds };
	return 0;
}

/* The simulator judges happens-before by itself. */
void __tsan_acquire(void *address)
{
	(void)address;
}

void __tsan_release(void *address)
{
	(void)address;
}

void AnnotateIgnoreSyncBegin(const char *file, int line)
{
	(void)file;
	(void)line;
}

void AnnotateIgnoreSyncEnd(const char *file, int line) __attribute__((alias("AnnotateIgnoreSyncBegin")));
void AnnotateIgnoreReadsBegin(const char *file, int line) __attribute__((alias("AnnotateIgnoreSyncBegin")));
void AnnotateIgnoreReadsEnd(const char *file, int line) __attribute__((alias("AnnotateIgnoreSyncBegin")));
void AnnotateIgnoreWritesBegin(const char *file, int line) __attribute__((alias("AnnotateIgnoreSyncBegin")));
void AnnotateIgnoreWritesEnd(const char *file, int line) __attribute__((alias("AnnotateIgnoreSyncBegin")));

static void synchronize(void)
{
	PORT_CELL_WRITE(shared->grace_list, shared->grace_list + 1);
	sim_ops.wait(NULL, NULL, sim_ops.cookie(NULL, NULL));
}

static bool register_thread(void)
{
	PORT_CELL_WRITE(shared->readers_list, shared->readers_list + 1);
	return true;
}

static void unregister_thread(void)
{
	PORT_CELL_WRITE(shared->readers_list, shared->readers_list - 1);
}

static const struct cleave__urcu_flavour flavour = {
	.synchronize = synchronize,
	.register_thread = register_thread,
	.unregister_thread = unregister_thread,
};

static void prepare(void)
{
	sim_arena_clear();
	shared = sim_arena_alloc(sizeof(*shared));
	cleave_domain_init(&shared->urcu.domain, &sim_ops, &sim_memory, NULL, UINT64_MAX / 2);
	shared->urcu.flavour = &flavour;
	shared->urcu.worker = 1;
	for (unsigned int t = 0; t < SIM_THREADS; t++)
		cleave_thread_init(&shared->records[t].thread, &shared->urcu.domain);
}

/* The last of `n` threads to finish ends the worker. */
static void finish(uint64_t n)
{
	if (PORT_FETCH_ADD(&shared->finished, 1, PORT_ACQ_REL) + 1 == n)
		command_worker(&shared->urcu, QUIT);
}

/* ---- U1, U2: unlink, cookie, grace period, reuse ---- */

static void prepare_grace(unsigned int variant)
{
	(void)variant;
	prepare();
	for (unsigned int t = 0; t < THREADS; t++)
		shared->records[t].thread.started = &shared->urcu.started;
	PORT_STORE(&shared->pointer, 1, PORT_RELAXED);
}

enum { LOOKS_AGAIN = 1, STORED = 2, BY_THE_CORE = 4, GRACES = 8 };

/* As the core asks, by the port's function or itself (pool.h). */
static uint64_t begun_now(struct cleave_domain *domain, struct cleave_thread *self)
{
	return variant_now & BY_THE_CORE ? cleave__pool_begun(self) : cleave__urcu_begun(domain, self);
}

static uint64_t cookie_stored(struct cleave_domain *domain, struct cleave_thread *self)
{
	return variant_now & BY_THE_CORE ? cleave__pool_cookie_stored(self) : cleave__urcu_cookie_stored(domain, self);
}

/* Which grace periods have begun: asked before the pointer is followed; it may be again while that is the same. */
static void look_again(struct cleave_domain *domain, struct cleave_thread *self, int order)
{
	uint64_t begun;
	bool found;

	sim_ops.enter(domain, self);
	begun = begun_now(domain, self);
	found = PORT_LOAD(&shared->pointer, order);
	sim_ops.leave(domain, self);
	sim_ops.enter(domain, self);
	if (found && begun_now(domain, self) == begun)
		(void)PORT_CELL_READ(shared->object);
	sim_ops.leave(domain, self);
}

/* STORED: unlinked by a sequentially consistent store; LOOKS_AGAIN: the reader does.  0: a wait. */
static void grace(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_thread *self = &shared->records[thread].thread;
	bool stored = variant_now & STORED;
	/* The simulator's grace periods lack the barriers of synchronize_rcu(), its stores one moment for all. */
	int order = stored ? PORT_SEQ_CST : PORT_ACQUIRE;
	uint64_t cookie;

	switch (thread) {
	case 0:
		work(&shared->urcu);
		break;
	case 1:
		if (variant_now & LOOKS_AGAIN)
			look_again(domain, self, order);
		for (unsigned int i = 0; i < 2; i++) {
			sim_ops.enter(domain, self);
			if (PORT_LOAD(&shared->pointer, order))
				(void)PORT_CELL_READ(shared->object);
			sim_ops.leave(domain, self);
		}
		finish(2);
		break;
	case 2:
		PORT_STORE(&shared->pointer, 0, stored ? PORT_SEQ_CST : PORT_RELEASE);
		cookie = stored ? cookie_stored(domain, self) : cleave__urcu_cookie(domain, self);
		if (variant_now == 0)
			cleave__urcu_wait(domain, self, cookie);
		for (unsigned int i = 0; i < 3; i++) {
			if (cleave__urcu_done(domain, self, cookie)) {
				PORT_CELL_WRITE(shared->object, 1);
				break;
			}
			cleave__urcu_advance(domain, self, cookie);
		}
		finish(2);
		break;
	}
}

/* ---- The same without a worker, or beside it ---- */

enum { BESIDE_WORKER = 1, LEAVE_RELAXED = 2, LOOK_AGAIN = 4, HERE = 8 };

static bool leave_releases(void)
{
	return !(variant_now & LEAVE_RELAXED);
}

static bool outside(const void *reader)
{
	return !PORT_LOAD((const struct cleave_word *)reader, leave_releases() ? PORT_ACQUIRE : PORT_RELAXED);
}

static void *registered(void)
{
	return &shared->inside[3];
}

static bool barrier(void)
{
	(void)PORT_CELL_READ(shared->readers_list); /* between two looks at it */
	sim_barrier();
	return true;
}

static uint64_t changes(const struct cleave_thread *thread)
{
	const struct cleave_urcu_thread *record = cleave__container(thread, struct cleave_urcu_thread, thread);

	return PORT_LOAD(&shared->changes[record - shared->records], PORT_SEQ_CST);
}

static struct cleave__urcu_flavour here;

static void prepare_here(unsigned int variant)
{
	prepare_grace(variant);
	here = flavour;
	here.reader = registered;
	here.outside = outside;
	here.barrier = barrier;
	here.leave_releases = leave_releases();
	shared->urcu.flavour = &here;
	for (unsigned int t = 0; t < THREADS; t++) {
		shared->records[t].reader = &shared->inside[t];
		shared->records[t].next = shared->urcu.threads;
		shared->urcu.threads = &shared->records[t];
	}
}

/* liburcu's sections are plain stores; the worker's grace periods are the simulator's. */
static void enter_both(struct cleave_word *inside)
{
	sim_ops.enter(NULL, NULL);
	PORT_STORE(inside, 1, PORT_RELAXED);
}

static void leave_both(struct cleave_word *inside)
{
	PORT_STORE(inside, 0, leave_releases() ? PORT_RELEASE : PORT_RELAXED);
	sim_ops.leave(NULL, NULL);
}

/* Between a pointer and what it leads to others may run, and barriers come. */
static void use_object(void)
{
	(void)PORT_LOAD(&shared->elsewhere, PORT_RELAXED);
	(void)PORT_CELL_READ(shared->object);
}

static void read_here(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word *inside)
{
	uint64_t begun;
	bool found;

	enter_both(inside);
	begun = cleave__urcu_begun(domain, self);
	found = PORT_LOAD(&shared->pointer, PORT_ACQUIRE);
	if (found)
		use_object();
	leave_both(inside);
	enter_both(inside);
	if (variant_now & LOOK_AGAIN)
		found = found && cleave__urcu_begun(domain, self) == begun;
	else
		found = PORT_LOAD(&shared->pointer, PORT_ACQUIRE);
	if (found)
		use_object();
	leave_both(inside);
}

/* Ask for a grace period.  `done` only grows: what was seen of it, and is seen now. */
static void ask(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	uint64_t done = PORT_LOAD(&shared->urcu.done, PORT_ACQUIRE);

	cleave__urcu_advance(domain, self, cookie);
	if (PORT_LOAD(&shared->urcu.done, PORT_ACQUIRE) < done)
		sim_fail("fewer grace periods are done than before");
}

static void grace_here(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_thread *self = &shared->records[thread].thread;
	uint64_t cookie;

	switch (thread) {
	case 0:
		if (variant_now & BESIDE_WORKER) {
			work(&shared->urcu);
			return;
		}
		for (unsigned int i = 0; i < 2; i++)
			ask(domain, self, cleave__urcu_cookie(domain, self));
		break;
	case 1:
		read_here(domain, self, &shared->inside[1]);
		break;
	case 2:
		PORT_STORE(&shared->pointer, 0, PORT_RELEASE);
		cookie = cleave__urcu_cookie(domain, self);
		for (unsigned int i = 0; i < 3; i++) {
			if (cleave__urcu_done(domain, self, cookie)) {
				PORT_CELL_WRITE(shared->object, 1);
				break;
			}
			ask(domain, self, cookie);
		}
		break;
	}
	if (variant_now & BESIDE_WORKER)
		finish(2);
}

enum { WRITTEN = 1, WRITERS = 2 };

/* WRITTEN: all have, since somebody was last here.  So the first who is, needs no barrier either, which hides much. */
static void prepare_writers(unsigned int variant)
{
	prepare_here(0);
	here.changes = changes;
	for (unsigned int t = 0; t < THREADS && variant & WRITTEN; t++)
		shared->records[t].changes = UINT64_C(0) - 3;
}

/*
 * A change: a full barrier and the count as one step, for the simulator has no stores that wait behind others
 * (tests/test_urcu_changes.c has).
 */
static void change(unsigned int thread)
{
	PORT_FETCH_ADD(&shared->changes[thread], 1, PORT_SEQ_CST);
}

static void ask_among_writers(unsigned int thread, uint64_t cookie)
{
	for (unsigned int i = 0; i < 3; i++)
		change(thread);
	ask(&shared->urcu.domain, &shared->records[thread].thread, cookie);
}

/*
 * All write, so that nobody needs a barrier on all threads: one asks; one makes a change in each of its sections; one
 * unlinks and asks.
 */
static void writers(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_thread *self = &shared->records[thread].thread;
	uint64_t cookie;
	bool found;

	switch (thread) {
	case 0:
		for (unsigned int i = 0; i < 2; i++)
			ask_among_writers(thread, cleave__urcu_cookie(domain, self));
		break;
	case 1:
		for (unsigned int i = 0; i < 3; i++) {
			enter_both(&shared->inside[1]);
			found = PORT_LOAD(&shared->pointer, PORT_SEQ_CST);
			change(thread);
			if (found)
				use_object();
			leave_both(&shared->inside[1]);
		}
		break;
	case 2:
		PORT_STORE(&shared->pointer, 0, PORT_SEQ_CST);
		cookie = cleave__urcu_cookie(domain, self);
		for (unsigned int i = 0; i < 4; i++) {
			if (cleave__urcu_done(domain, self, cookie)) {
				PORT_CELL_WRITE(shared->object, 1);
				break;
			}
			ask_among_writers(thread, cookie);
		}
		break;
	}
}

/* Who waits is woken, whoever ends the grace period. */
static void wait_here(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_thread *self = &shared->records[thread].thread;

	switch (thread) {
	case 0:
		work(&shared->urcu);
		return;
	case 1:
		cleave__urcu_wait(domain, self, cleave__urcu_cookie(domain, self));
		break;
	case 2:
		for (unsigned int i = 0; i < 2; i++)
			ask(domain, self, cleave__urcu_cookie(domain, self));
		break;
	}
	finish(2);
}

/* The only reader asks; others come.  Whether they change anything is known where a section's end is a release. */
static void prepare_alone(unsigned int variant)
{
	prepare_here(variant);
	here.changes = leave_releases() ? changes : NULL;
	shared->urcu.threads = &shared->records[0];
	shared->records[0].next = NULL;
}

enum { THEY_UNLINK = 1, ALONES = 4 }; /* and LEAVE_RELAXED */

static void reuse_if_done(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	if (cleave__urcu_done(domain, self, cookie))
		PORT_CELL_WRITE(shared->object, 1);
}

/*
 * Thread 0 is alone, until thread 1 registers.  One of the two unlinks the object and reuses it when it may, the other
 * one reads it; 0 asks for grace periods.  Who unlinks as the second one has left the domain when it looks.
 */
static void alone_here(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_urcu_thread *record = &shared->records[thread];
	struct cleave_thread *self = &record->thread;
	uint64_t cookie = 0;
	bool found;

	if (thread == 0 && variant_now & THEY_UNLINK) {
		read_here(domain, self, &shared->inside[0]);
		ask(domain, self, cleave__urcu_cookie(domain, self));
		enter_both(&shared->inside[0]);
		found = PORT_LOAD(&shared->pointer, PORT_ACQUIRE);
		ask(domain, self, cleave__urcu_cookie(domain, self)); /* in vain */
		if (found)
			use_object();
		leave_both(&shared->inside[0]);
	} else if (thread == 0) {
		PORT_STORE(&shared->pointer, 0, PORT_RELEASE);
		cookie = cleave__urcu_cookie(domain, self);
		for (unsigned int i = 0; i < 2; i++)
			ask(domain, self, cookie);
		reuse_if_done(domain, self, cookie);
	} else {
		cleave_urcu_register(record, &shared->urcu);
		if (variant_now & THEY_UNLINK) {
			PORT_STORE(&shared->pointer, 0, PORT_RELEASE);
			cookie = cleave__urcu_cookie(domain, self);
		} else {
			read_here(domain, self, &shared->inside[3]);
		}
		cleave_urcu_unregister(record, &shared->urcu);
		if (variant_now & THEY_UNLINK)
			reuse_if_done(domain, self, cookie);
	}
}

/* One who comes reads, another one unlinks; the only reader there was does no more than ask. */
static void alone_three(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_urcu_thread *record = &shared->records[thread];
	struct cleave_thread *self = &record->thread;
	uint64_t cookie;

	if (thread == 0) {
		for (unsigned int i = 0; i < 2; i++)
			ask(domain, self, cleave__urcu_cookie(domain, self));
		return;
	}
	cleave_urcu_register(record, &shared->urcu);
	if (thread == 1) {
		read_here(domain, self, &shared->inside[3]);
	} else {
		PORT_STORE(&shared->pointer, 0, PORT_RELEASE);
		cookie = cleave__urcu_cookie(domain, self);
		for (unsigned int i = 0; i < 3; i++)
			PORT_STORE(&shared->changes[thread], i + 1, PORT_SEQ_CST);
		reuse_if_done(domain, self, cookie);
	}
	cleave_urcu_unregister(record, &shared->urcu);
}

/* The same where the only reader reads from one quiescent state to the next; who comes unlinks and reuses. */
static void prepare_quiescent(unsigned int variant)
{
	prepare_alone(variant);
	here.outside = NULL;
	here.quiescent = true;
}

static void quiescent(struct cleave_urcu_thread *record)
{
	sim_ops.leave(NULL, NULL);
	record->quiets++;
	sim_ops.enter(NULL, NULL);
}

static void alone_quiescent(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_urcu_thread *record = &shared->records[thread];
	struct cleave_thread *self = &record->thread;
	uint64_t cookie;
	bool found;

	if (thread == 0) {
		sim_ops.enter(domain, self);
		for (unsigned int i = 0; i < 3; i++) {
			found = PORT_LOAD(&shared->pointer, PORT_ACQUIRE);
			for (unsigned int j = 0; j < 2; j++)
				ask(domain, self, cleave__urcu_cookie(domain, self));
			if (found)
				use_object();
			quiescent(record);
		}
		sim_ops.leave(domain, self);
		return;
	}
	cleave_urcu_register(record, &shared->urcu);
	PORT_STORE(&shared->pointer, 0, PORT_RELEASE);
	cookie = cleave__urcu_cookie(domain, self);
	cleave_urcu_unregister(record, &shared->urcu);
	reuse_if_done(domain, self, cookie);
}

static void register_here(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_thread *self = &shared->records[thread].thread;

	if (thread == 1) {
		cleave_urcu_register(&shared->records[3], &shared->urcu);
		cleave_urcu_unregister(&shared->records[3], &shared->urcu);
		return;
	}
	ask(domain, self, cleave__urcu_cookie(domain, self));
}

/* ---- U3, U4: nobody sleeps through what it waits for ---- */

static void prepare_wait(unsigned int variant)
{
	(void)variant;
	prepare();
}

static void wait_twice(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_thread *self = &shared->records[thread].thread;

	if (thread == 0) {
		work(&shared->urcu);
		return;
	}
	for (unsigned int i = 0; i < 1 + (variant_now & (thread == 1)); i++)
		cleave__urcu_wait(domain, self, cleave__urcu_cookie(domain, self));
	finish(2);
}

/* ---- U5, U6: fork, registration ---- */

static void fork_or_register(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_thread *self = &shared->records[thread].thread;

	switch (thread) {
	case 0:
		work(&shared->urcu);
		break;
	case 1:
		cleave_urcu_prefork(&shared->urcu, self);
		(void)PORT_CELL_READ(shared->grace_list); /* the child's copy */
		(void)PORT_CELL_READ(shared->readers_list);
		cleave_urcu_postfork_parent(&shared->urcu, self);
		finish(2);
		break;
	case 2:
		if (variant_now & 1)
			cleave__urcu_wait(domain, self, cleave__urcu_cookie(domain, self));
		cleave_urcu_register(&shared->records[3], &shared->urcu);
		cleave_urcu_unregister(&shared->records[3], &shared->urcu);
		if (variant_now & 2)
			cleave__urcu_wait(domain, self, cleave__urcu_cookie(domain, self));
		finish(2);
		break;
	}
}

static void register_together(unsigned int thread)
{
	cleave_urcu_register(&shared->records[thread], &shared->urcu);
	cleave_urcu_unregister(&shared->records[thread], &shared->urcu);
}

/* ---- M4 in the port: who parks ---- */

static void park_and_wake(unsigned int thread)
{
	struct cleave_domain *domain = &shared->urcu.domain;
	struct cleave_thread *self = &shared->records[thread].thread;
	struct cleave_word32 *count = &domain->bucket[0].count, *lock = &domain->lock;
	uint32_t seen;

	/* As nodelock.c waits: the count, then the word, then the nap. */
	if (thread == 0) {
		PORT_CELL_WRITE(shared->object, 1);
		PORT_STORE(lock, 1, PORT_RELEASE);
		PORT_FETCH_ADD(count, 1, PORT_RELEASE);
		cleave__urcu_wake(domain, count);
		return;
	}
	for (;;) {
		seen = PORT_LOAD(count, PORT_ACQUIRE);
		if (PORT_LOAD(lock, PORT_ACQUIRE))
			break;
		cleave__urcu_park(domain, self, count, seen);
	}
	(void)PORT_CELL_READ(shared->object);
}

const struct scenario orders_port[] = {
	{ "grace", 3, GRACES, prepare_grace, grace, NULL, 0 },
	{ "here", 3, HERE, prepare_here, grace_here, NULL, 0 },
	{ "writers", 3, WRITERS, prepare_writers, writers, NULL, 0 },
	{ "wait-here", 3, 1, prepare_here, wait_here, NULL, 0 },
	{ "register-here", 3, 1, prepare_here, register_here, NULL, 0 },
	{ "alone-here", 2, ALONES, prepare_alone, alone_here, NULL, 0 },
	{ "alone-three", 3, ALONES, prepare_alone, alone_three, NULL, 0 },
	{ "alone-quiescent", 2, 1, prepare_quiescent, alone_quiescent, NULL, 0 },
	{ "wait", 3, 2, prepare_wait, wait_twice, NULL, 0 },
	{ "fork", 3, 4, prepare_wait, fork_or_register, NULL, 0 },
	{ "register", 3, 1, prepare_wait, register_together, NULL, 0 },
	{ "park", 2, 1, prepare_wait, park_and_wake, NULL, 0 },
	{ NULL, 0, 0, NULL, NULL, NULL, 0 },
};
