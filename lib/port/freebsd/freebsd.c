/* SPDX-License-Identifier: ISC */
/*
 * The FreeBSD kernel: the run-time half of the port contract, on smr(9), sleepqueue(9), uma(9).
 *
 * Grace periods
 *	smr_advance() begins one and returns its end, of 32 bits that wrap; smr_poll() says whether it has come.  The
 *	core's tokens start nothing, and do not wrap: so grace periods have numbers here (../kernel/grace.h), and one
 *	that is polled is under way at most, under `lock`:
 *
 *		advance(5): running = begin(): 5; goal = smr_advance()
 *		unlink; cookie(): 6
 *		advance(6): smr_poll(goal): done = 5; running = begin(): 6; goal = smr_advance()
 *		advance(6): smr_poll(goal): done = 6; running = 0
 *
 *	A poll looks at all processors, so a thread is quiet for some changes after it.  Who holds the lock may be
 *	preempted: nobody polls until it runs again.  Who waits does without the lock.
 *
 *	smr(9) promises no order among the accesses of who calls smr_advance() and smr_poll(): begin() is sequentially
 *	consistent, with fences on both sides of it, and a fence comes after a poll.  The lock makes sure that whoever
 *	polls has seen the smr_advance() of that goal: smr_poll() takes a goal that is ahead of what it sees for one
 *	that has wrapped, and so for over.
 *
 * Sections
 *	smr_enter() is a critical section: nobody sleeps, nor takes a mutex that blocks.  wake() may be called in one;
 *	wakeup(9) takes spin mutexes alone.
 */
#include "../kernel/grace.h"

#include "cleave_section.h"

#include <sys/kernel.h>
#include <sys/malloc.h>
#include <sys/sleepqueue.h>

static struct cleave_freebsd *freebsd_of(struct cleave_domain *domain)
{
	return cleave__container(domain, struct cleave_freebsd, domain);
}

static struct cleave_grace *grace_of(struct cleave_domain *domain)
{
	return &freebsd_of(domain)->grace;
}

#include "../kernel/ops.h"

/* ---- Grace periods ---- */

/* Under the lock: the one under way, is it over? */
static bool poll(struct cleave_freebsd *freebsd)
{
	if (!smr_poll(freebsd->smr, freebsd->goal, false))
		return false;
	atomic_thread_fence_seq_cst();
	cleave__grace_end(&freebsd->grace, freebsd->running);
	freebsd->running = 0;
	return true;
}

static void advance(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_freebsd *freebsd = freebsd_of(domain);

	self->quiet = CLEAVE__QUIET;
	if (cleave__grace_done(&freebsd->grace, cookie) || !mtx_trylock(&freebsd->lock))
		return; /* somebody else is at it */
	if (freebsd->running == 0 || poll(freebsd)) {
		if (!cleave__grace_done(&freebsd->grace, cookie)) {
			freebsd->running = cleave__grace_begin(&freebsd->grace);
			freebsd->goal = smr_advance(freebsd->smr);
			(void)poll(freebsd); /* mostly, nobody is inside */
		}
	}
	mtx_unlock(&freebsd->lock);
}

/* It spins, for sections are short. */
static void wait(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_freebsd *freebsd = freebsd_of(domain);
	uint64_t number;

	(void)self;
	if (cleave__grace_done(&freebsd->grace, cookie))
		return;
	number = cleave__grace_begin(&freebsd->grace);
	smr_synchronize(freebsd->smr);
	atomic_thread_fence_seq_cst();
	cleave__grace_end(&freebsd->grace, number);
}

/* ---- Sections ---- */

static void enter(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	smr_enter(freebsd_of(domain)->smr);
}

static void leave(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	smr_exit(freebsd_of(domain)->smr);
}

/* ---- Parking ---- */

/* The count was bumped before wake(): so either the look sees that, or wakeup() waits for the queue's spin mutex. */
static void park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *count, uint32_t seen)
{
	(void)domain;
	(void)self;
	sleepq_lock(count);
	if (PORT_LOAD(count, PORT_RELAXED) != seen) {
		sleepq_release(count);
		return;
	}
	sleepq_add(count, NULL, "cleave", SLEEPQ_SLEEP, 0);
	sleepq_wait(count, PVM);
}

static void wake(struct cleave_domain *domain, struct cleave_word32 *count)
{
	(void)domain;
	wakeup(count);
}

static const struct cleave_ops ops = {
	.cookie = cookie,
	.cookie_stored = cookie_stored,
	.done = done,
	.begun = CLEAVE__GRACE_BEGUN(begun),
	.advance = advance,
	.wait = wait,
	.enter = enter,
	.leave = leave,
	.inside = inside,
	.park = park,
	.wake = wake,
};

/* ---- Memory ---- */

/*
 * By size alone, for free() is told nothing else: what is smaller than 64 bytes is aligned as malloc(9) does it; to 512
 * there are zones, of multiples of 64; what is larger is seldom.
 */
#define LEAST 64u
#define NODE_ALIGN 64u
#define MOST (CLEAVE_FREEBSD_ZONES * 64u)

static MALLOC_DEFINE(M_CLEAVE, "cleave", "arrays of interval indexes");

static const struct cleave_freebsd_memory *memory_of(const struct cleave_memory *memory)
{
	return (const struct cleave_freebsd_memory *)(const void *)((const char *)memory -
								    offsetof(struct cleave_freebsd_memory, memory));
}

static void *alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	const struct cleave_freebsd_memory *own = memory_of(memory);
	int flags = own->wait ? M_WAITOK : M_NOWAIT;

	PORT_ASSERT(align <= NODE_ALIGN && (size >= LEAST || align <= 2 * sizeof(void *)),
		    "memory is aligned to a line, or is small and aligned to two words");
	if (size < LEAST)
		return malloc(size, M_CLEAVE, flags);
	if (size <= MOST)
		return uma_zalloc(own->zones[(size - 1) / 64], flags);
	return malloc_aligned(size, NODE_ALIGN, M_CLEAVE, flags);
}

static void release(const struct cleave_memory *memory, void *node, size_t size)
{
	if (size >= LEAST && size <= MOST)
		uma_zfree(memory_of(memory)->zones[(size - 1) / 64], node);
	else
		free(node, M_CLEAVE);
}

void cleave_freebsd_memory_init(struct cleave_freebsd_memory *memory, bool wait)
{
	static const char *const names[CLEAVE_FREEBSD_ZONES] = {
		"cleave 64", "cleave 128", "cleave 192", "cleave 256", "cleave 320", "cleave 384", "cleave 448",
		"cleave 512",
	};

	memory->memory.alloc = alloc;
	memory->memory.free = release;
	memory->wait = wait;
	for (unsigned int i = 0; i < CLEAVE_FREEBSD_ZONES; i++)
		memory->zones[i] = uma_zcreate(names[i], (i + 1) * 64, NULL, NULL, NULL, NULL, NODE_ALIGN - 1, 0);
}

void cleave_freebsd_memory_destroy(struct cleave_freebsd_memory *memory)
{
	for (unsigned int i = 0; i < CLEAVE_FREEBSD_ZONES; i++)
		uma_zdestroy(memory->zones[i]);
}

/* ---- Domains, threads ---- */

void cleave_freebsd_start(struct cleave_freebsd *freebsd, const struct cleave_memory *memory, uint64_t garbage_limit)
{
	memset(freebsd, 0, sizeof(*freebsd));
	freebsd->smr = smr_create("cleave", 0, 0);
	mtx_init(&freebsd->lock, "cleave grace", NULL, MTX_DEF);
	domain_init(&freebsd->domain, &ops, memory, garbage_limit);
}

void cleave_freebsd_stop(struct cleave_freebsd *freebsd)
{
	cleave_domain_exit(&freebsd->domain);
	mtx_destroy(&freebsd->lock);
	smr_destroy(freebsd->smr);
}

void cleave_freebsd_register(struct cleave_freebsd_thread *record, struct cleave_freebsd *freebsd)
{
	cleave_thread_init(&record->thread, &freebsd->domain);
	record->smr = freebsd->smr;
}

void cleave_freebsd_unregister(struct cleave_freebsd_thread *record, struct cleave_freebsd *freebsd)
{
	(void)freebsd;
	cleave_thread_exit(&record->thread);
}
