/* SPDX-License-Identifier: ISC */
/*
 * cleave-sim-KERNEL: grace periods of that kernel's port (lib/port/kernel and lib/port/KERNEL), its own sources,
 * under chosen schedules with stale reads.  Nothing is reused under a reader; every cookie that somebody asked for is
 * done at last, where grace periods call back by themselves; nothing touches a domain that has stopped.
 */
#include "kernel.h"

#include <cleave_section.h>

#include "orders_run.h"

#include "pool.h"

/* The kernel's own thread, where it has one, returns at once elsewhere. */
enum { READER, WRITER, OTHER, KERNEL, THREADS };

static struct shared {
	CLEAVE_SECTION_DOMAIN domain, second;
	CLEAVE_SECTION_THREAD records[THREADS];
	struct cleave index;
	struct cleave_word pointer; /* to the object below: 1 or 0 */
	struct cleave_word elsewhere;
	struct cleave_word32 finished, unregistered;
	uint64_t object;	 /* plain: reused after a grace period */
	uint64_t asked[THREADS]; /* the greatest cookie that each has asked for */
} * shared;

static struct cleave_grace *grace_of(void)
{
	return &shared->domain.grace;
}

static struct cleave_thread *record_of(unsigned int thread)
{
	return &shared->records[thread].thread;
}

static void prepare(void)
{
	sim_arena_clear();
	kernel_prepare();
	shared = sim_arena_alloc(sizeof(*shared));
	cleave_section_start(&shared->domain, &sim_memory, UINT64_MAX / 2);
	for (unsigned int t = 0; t < THREADS; t++)
		cleave_section_register(&shared->records[t], &shared->domain);
	PORT_STORE(&shared->pointer, 1, PORT_RELAXED);
}

/* The last one ends the kernel's thread. */
static void finish(void)
{
	if (PORT_FETCH_ADD(&shared->finished, 1, PORT_ACQ_REL) + 1 == KERNEL)
		kernel_end();
}

/* ---- As the core calls a port: by its functions, or by the words that the domain names ---- */

enum { WAITS = 1, BARRIERS = 2, STORED = 2, LOOKS_AGAIN = 4, OTHER_WAITS = 8, BY_THE_CORE = 16, GRACES = 32 };

static uint64_t take(struct cleave_thread *self)
{
	return self->domain->ops->cookie(self->domain, self);
}

static uint64_t take_stored(struct cleave_thread *self)
{
	if (variant_now & BY_THE_CORE)
		return cleave__pool_cookie_stored(self);
	return self->domain->ops->cookie_stored(self->domain, self);
}

static bool is_done(struct cleave_thread *self, uint64_t cookie)
{
	if (variant_now & BY_THE_CORE)
		return cleave__pool_done(self, cookie);
	return self->domain->ops->done(self->domain, self, cookie);
}

/* 0: not known. */
static uint64_t begun(struct cleave_thread *self)
{
	if (variant_now & BY_THE_CORE)
		return cleave__pool_begun(self);
	return self->domain->ops->begun ? self->domain->ops->begun(self->domain, self) : 0;
}

static void ask(struct cleave_thread *self, uint64_t cookie)
{
	self->domain->ops->advance(self->domain, self, cookie);
	if (cookie > shared->asked[sim_self()])
		shared->asked[sim_self()] = cookie;
}

static void wait_for(struct cleave_thread *self, uint64_t cookie)
{
	self->domain->ops->wait(self->domain, self, cookie);
	if (!is_done(self, cookie))
		sim_fail("a cookie that was waited for is not done");
}

static void enter(struct cleave_thread *self)
{
	self->domain->ops->enter(self->domain, self);
}

static void leave(struct cleave_thread *self)
{
	self->domain->ops->leave(self->domain, self);
}

/* ---- U1, U2: unlink, cookie, grace period, reuse; beside somebody who wants others ---- */

static void prepare_grace(unsigned int variant)
{
	(void)variant;
	prepare();
}

/* Between a pointer and what it leads to others may run. */
static void use_object(void)
{
	(void)PORT_LOAD(&shared->elsewhere, PORT_RELAXED);
	(void)PORT_CELL_READ(shared->object);
}

static void read_object(struct cleave_thread *self, int order)
{
	enter(self);
	if (PORT_LOAD(&shared->pointer, order))
		use_object();
	leave(self);
}

/* Which grace periods have begun: asked before the pointer is followed; it may be again while that is the same. */
static void look_again(struct cleave_thread *self, int order)
{
	uint64_t before;
	bool found;

	enter(self);
	before = begun(self);
	found = PORT_LOAD(&shared->pointer, order);
	leave(self);
	enter(self);
	if (found && before && begun(self) == before)
		use_object();
	leave(self);
}

static void reuse_when_done(struct cleave_thread *self, uint64_t cookie)
{
	for (unsigned int i = 0; i < 3; i++) {
		if (is_done(self, cookie)) {
			PORT_CELL_WRITE(shared->object, 1);
			return;
		}
		ask(self, cookie);
	}
}

/* What is seen of `done` only grows, and no cookie up to it is given out any more. */
static void ask_for_others(struct cleave_thread *self, bool waits)
{
	uint64_t done = PORT_LOAD(&grace_of()->done, PORT_ACQUIRE), cookie = take_stored(self);

	if (cookie <= done)
		sim_fail("a cookie is done as it is taken");
	if (waits)
		wait_for(self, cookie);
	else
		ask(self, cookie);
	if (PORT_LOAD(&grace_of()->done, PORT_ACQUIRE) < done)
		sim_fail("fewer grace periods are done than before");
}

static void grace(unsigned int thread)
{
	struct cleave_thread *self = record_of(thread);
	bool stored = variant_now & STORED;
	/* begun() counts on stores that are shown to all others at once, which the simulator's are not. */
	int order = stored && variant_now & LOOKS_AGAIN ? PORT_SEQ_CST : PORT_ACQUIRE;
	uint64_t cookie;

	switch (thread) {
	case READER:
		if (variant_now & LOOKS_AGAIN)
			look_again(self, order);
		for (unsigned int i = 0; i < 2; i++)
			read_object(self, order);
		break;
	case WRITER:
		PORT_STORE(&shared->pointer, 0, stored ? PORT_SEQ_CST : PORT_RELEASE);
		/* To enter a section is no barrier. */
		enter(self);
		leave(self);
		cookie = stored ? take_stored(self) : take(self);
		if (variant_now & WAITS)
			wait_for(self, cookie);
		reuse_when_done(self, cookie);
		break;
	case OTHER:
		ask_for_others(self, false);
		ask_for_others(self, variant_now & OTHER_WAITS); /* beside what it has asked for */
		break;
	default:
		kernel_thread();
		return;
	}
	finish();
}

/* Where they call back, and nobody has begun one to wait for it. */
static const char *judge_called_back(const struct cleave_grace *grace, bool waited)
{
	if (grace->done.word != grace->started.word)
		return "a grace period has begun, and never ends";
	if (!waited && grace->started.word > grace->wanted.word)
		return "a grace period has begun that nobody wants";
	return NULL;
}

/* Where they are polled, who asks alone has any cookie done soon: by the one under way, and another one. */
static const char *judge_grace(void)
{
	for (unsigned int t = 0; t < THREADS; t++) {
		struct cleave_thread *self = record_of(t);
		uint64_t cookie = shared->asked[t];

		for (unsigned int i = 0; i < 3 && !kernel_calls_back; i++)
			self->domain->ops->advance(self->domain, self, cookie);
		if (!self->domain->ops->done(self->domain, self, cookie))
			return "a cookie is never done";
	}
	return kernel_calls_back ? judge_called_back(grace_of(), variant_now & (WAITS | OTHER_WAITS)) : NULL;
}

/* ---- The same where each read-modify-write is a full barrier, and a cookie is a load behind one: x86 ---- */

uint64_t kernel_cookie_behind_barrier(struct cleave_grace *grace, struct cleave_word *elsewhere);

/* A processor on which a grace period has begun, has had a barrier since. */
static void behind_barrier(unsigned int thread)
{
	struct cleave_thread *self = record_of(thread);
	uint64_t cookie;

	switch (thread) {
	case READER:
		enter(self);
		PORT_FETCH_ADD(&shared->elsewhere, 0, PORT_RELAXED);
		if (PORT_LOAD(&shared->pointer, PORT_ACQUIRE))
			use_object();
		leave(self);
		break;
	case WRITER:
		PORT_STORE(&shared->pointer, 0, PORT_RELEASE);
		cookie = kernel_cookie_behind_barrier(grace_of(), &shared->elsewhere);
		if (variant_now & WAITS)
			wait_for(self, cookie);
		reuse_when_done(self, cookie);
		break;
	case OTHER:
		ask(self, take(self));
		break;
	default:
		kernel_thread();
		return;
	}
	finish();
}

/* ---- Who stops a domain, while what was asked for is under way ---- */

enum { TWICE = 1, SECOND = 2, STOPS = 4 };

static void prepare_stop(unsigned int variant)
{
	(void)variant;
	prepare();
	cleave_section_start(&shared->second, &sim_memory, UINT64_MAX / 2);
	cleave_section_unregister(&shared->records[KERNEL], &shared->domain);
	cleave_section_unregister(&shared->records[READER], &shared->domain);
	cleave_section_register(&shared->records[READER], &shared->second);
}

/* All that the port has beside the core's domain is somebody else's. */
static void reuse_domain(void)
{
	uint64_t *word = (uint64_t *)(void *)(&shared->domain.domain + 1), *end = (void *)(&shared->domain + 1);

	for (; word < end; word++)
		PORT_CELL_WRITE(*word, KERNEL_GARBAGE);
}

/* Two ask, and the last of them stops the domain; a third one asks for grace periods of another one. */
static void stop(unsigned int thread)
{
	struct cleave_thread *self = record_of(thread);

	switch (thread) {
	case READER:
		if (variant_now & SECOND)
			ask(self, take(self));
		break;
	case WRITER:
	case OTHER:
		for (unsigned int i = 0; i <= (variant_now & TWICE); i++)
			self->domain->ops->advance(self->domain, self, take(self));
		cleave_section_unregister(&shared->records[thread], &shared->domain);
		if (PORT_FETCH_ADD(&shared->unregistered, 1, PORT_ACQ_REL) == 1) {
			cleave_section_stop(&shared->domain);
			reuse_domain();
		}
		break;
	default:
		kernel_thread();
		return;
	}
	finish();
}

static const char *judge_stop(void)
{
	return kernel_calls_back ? judge_called_back(&shared->second.grace, false) : NULL;
}

/* ---- An index: its cells and nodes against its readers ---- */

#define VALUE(n) ((void *)(uintptr_t)((n)*16))

enum { EDITS, STORES, INDEXES };

static void must(int error)
{
	if (error)
		sim_fail("an error %d", error);
}

static void prepare_index(unsigned int variant)
{
	struct cleave_thread *self;

	(void)variant;
	prepare();
	self = record_of(KERNEL);
	must(cleave_init(&shared->index, self));
	for (uint64_t at = 4; at < 20; at += 4)
		must(cleave_insert(&shared->index, self, at, at + 3, VALUE(at), NULL));
	for (unsigned int t = 0; t < THREADS; t++)
		must(cleave__pool_fill(record_of(t), 8, 4, false));
}

static void change_and_read(unsigned int thread)
{
	struct cleave *index = &shared->index;
	struct cleave_thread *self = record_of(thread);
	struct cleave_entry entry;

	switch (thread) {
	case READER:
		for (unsigned int i = 0; i < 3; i++) {
			enter(self);
			if (cleave_lookup_rcu(index, 9, &entry) && entry.first > 9)
				sim_fail("another entry than that of the address");
			leave(self);
		}
		break;
	case WRITER:
		for (unsigned int i = 0; i < 4; i++) {
			self->quiet = 0; /* each change may ask for its grace period */
			if (variant_now == STORES) {
				must(cleave_store(index, self, 7, 10 + i, VALUE(2 + i), NULL));
			} else {
				must(cleave_erase(index, self, 8, 11, NULL));
				must(cleave_insert(index, self, 8, 11, VALUE(2 + i), NULL));
			}
		}
		break;
	case OTHER:
		ask(self, take(self));
		break;
	default:
		kernel_thread();
		return;
	}
	finish();
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "grace", THREADS, GRACES, prepare_grace, grace, judge_grace, FALSE_DONE },
		{ "barrier", THREADS, BARRIERS, prepare_grace, behind_barrier, judge_grace, FALSE_DONE | LOCKED },
		{ "stop", THREADS, STOPS, prepare_stop, stop, judge_stop, 0 },
		{ "index", THREADS, INDEXES, prepare_index, change_and_read, judge_grace, FALSE_DONE },
		{ NULL, 0, 0, NULL, NULL, NULL, 0 },
	};
	static const struct scenario *const lists[] = { scenarios };

	return orders_main(argc, argv, lists, 1, 3000);
}
