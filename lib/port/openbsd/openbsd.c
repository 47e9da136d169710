/* SPDX-License-Identifier: ISC */
/*
 * The OpenBSD kernel: the run-time half of the port contract, on smr_call(9), mutex(9), tsleep(9), pool(9).
 *
 * Grace periods
 *	smr_call() promises a callback after the sections that are open now, and nothing can be polled.  So a domain has
 *	one entry, and so one callback under way at most; it is numbered when it is handed over (../kernel/grace.h):
 *
 *		advance(5)		the smr thread, in process context, without locks
 *		----------		-------------------------------------------------
 *		wanted = 5
 *		none is running:
 *		  running = begin(): 5
 *		  smr_call()
 *		unlink; cookie(): 6
 *		advance(6): wanted = 6
 *		  one is running
 *					ended(): done = 5; 6 is wanted: running = begin(): 6, smr_call()
 *		done(6): no
 *					ended(): done = 6; nothing is wanted: running = 0
 *
 *	A cookie that is taken while a callback is pending is for the next one: the callback waits for sections that
 *	were open at its smr_call(), and readers who came later may have found what was unlinked after that.  The chain
 *	ends by itself where nobody waits.
 *
 *	smr(9) delays its work, 100 ms each time, to do it for many at once.  So cells and nodes become clean late: a
 *	leaf that is changed more often meanwhile than it has clean cells is copied.  garbage_limit bounds the nodes.
 *	Who sleeps for a grace period calls smr_flush(), which is at once, and numbers it for all.
 *
 * Sections
 *	Until a processor switches from the process that runs on it, smr(9) waits for it: a section is whatever does
 *	not sleep.  What precedes smr_call() is seen by each section that its callback does not wait for, because the
 *	entry passes a mutex to the smr thread, and that has itself scheduled on each processor, or sees that it has
 *	switched.  begin() is followed by a fence.  What was done in the others precedes the callback, and the return of
 *	smr_flush(), for whoever sleeps there is woken by that thread.
 */
#include "../kernel/grace.h"

#include "cleave_section.h"

#include <sys/malloc.h>

static struct cleave_openbsd *openbsd_of(struct cleave_domain *domain)
{
	return cleave__container(domain, struct cleave_openbsd, domain);
}

static struct cleave_grace *grace_of(struct cleave_domain *domain)
{
	return &openbsd_of(domain)->grace;
}

#include "../kernel/ops.h"

/* ---- Grace periods ---- */

static void ended(void *);

/*
 * smr_init(): smr_call() wants a fresh entry each time.  The fence: begin() was a read-modify-write, and a mutex(9) is
 * an acquire and a release, which need not show it to all others at once (powerpc64):
 *	1. here: started = 5, on its way to the writer's processor; smr_call(), which the smr thread sees
 *	2. reader: enters behind that thread's turn on its processor; finds the node
 *	3. writer: unlinks it; cookie_stored(): started is 4 still, so 5 will do
 *	4. ended(): done = 5; the writer reuses the node under the reader.
 */
static void call(struct cleave_openbsd *openbsd)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	smr_init(&openbsd->entry);
	smr_call(&openbsd->entry, ended, openbsd);
}

static void ended(void *argument)
{
	struct cleave_openbsd *openbsd = argument;
	bool more;

	mtx_enter(&openbsd->lock);
	cleave__grace_end(&openbsd->grace, openbsd->running);
	more = cleave__grace_more(&openbsd->grace);
	openbsd->running = more ? cleave__grace_begin(&openbsd->grace) : 0;
	if (!more && openbsd->stopping)
		wakeup(&openbsd->running);
	mtx_leave(&openbsd->lock);
	/* Without more, the domain is gone as soon as this has returned. */
	if (more)
		call(openbsd);
}

static void advance(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_openbsd *openbsd = openbsd_of(domain);
	bool idle;

	self->quiet = CLEAVE__QUIET;
	if (cleave__grace_done(&openbsd->grace, cookie) || cleave__grace_asked(&openbsd->grace, cookie))
		return;
	mtx_enter(&openbsd->lock);
	cleave__grace_ask(&openbsd->grace, cookie);
	idle = openbsd->running == 0 && cleave__grace_more(&openbsd->grace);
	if (idle)
		openbsd->running = cleave__grace_begin(&openbsd->grace);
	mtx_leave(&openbsd->lock);
	if (idle)
		call(openbsd);
}

static void wait(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_openbsd *openbsd = openbsd_of(domain);
	uint64_t number;

	(void)self;
	if (cleave__grace_done(&openbsd->grace, cookie))
		return;
	number = cleave__grace_begin(&openbsd->grace);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* as in call() */
	smr_flush();
	cleave__grace_end(&openbsd->grace, number);
}

/* ---- Sections ---- */

static void enter(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	(void)self;
	smr_read_enter();
}

static void leave(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	(void)self;
	smr_read_leave();
}

/* ---- Parking ---- */

/*
 * wake() comes from sections, too, where nobody may sleep: a mutex(9) spins.  The count was bumped before; so either
 * the look here sees that, or wake() waits for the mutex until this process sleeps.
 */
static void park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *count, uint32_t seen)
{
	struct cleave_openbsd *openbsd = openbsd_of(domain);

	(void)self;
	mtx_enter(&openbsd->parking);
	if (PORT_LOAD(count, PORT_RELAXED) == seen)
		msleep_nsec(count, &openbsd->parking, PVM | PNORELOCK, "cleave", INFSLP);
	else
		mtx_leave(&openbsd->parking);
}

static void wake(struct cleave_domain *domain, struct cleave_word32 *count)
{
	struct cleave_openbsd *openbsd = openbsd_of(domain);

	mtx_enter(&openbsd->parking);
	wakeup(count);
	mtx_leave(&openbsd->parking);
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
 * there are pools, of multiples of 64; what is larger (arrays, a context: seldom) is aligned by hand.
 */
#define LEAST 64u
#define NODE_ALIGN 64u
#define MOST (CLEAVE_OPENBSD_POOLS * 64u)

static struct pool *pool_of(const struct cleave_openbsd_memory *memory, size_t size)
{
	return (struct pool *)&memory->pools[(size - 1) / 64];
}

static const struct cleave_openbsd_memory *memory_of(const struct cleave_memory *memory)
{
	return (const struct cleave_openbsd_memory *)(const void *)((const char *)memory -
								    offsetof(struct cleave_openbsd_memory, memory));
}

static void *alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	const struct cleave_openbsd_memory *own = memory_of(memory);
	int flags = own->wait ? M_WAITOK : M_NOWAIT;
	char *base, *node;

	PORT_ASSERT(align <= NODE_ALIGN && (size >= LEAST || align <= 2 * sizeof(void *)),
		    "memory is aligned to a line, or is small and aligned to two words");
	if (size < LEAST)
		return malloc(size, M_TEMP, flags);
	if (size <= MOST)
		return pool_get(pool_of(own, size), own->wait ? PR_WAITOK : PR_NOWAIT);
	base = malloc(size + NODE_ALIGN, M_TEMP, flags);
	if (base == NULL)
		return NULL;
	/* Before it is room for a pointer, for what malloc(9) returns is aligned to one. */
	node = base + NODE_ALIGN - ((uintptr_t)base & (NODE_ALIGN - 1));
	((char **)(void *)node)[-1] = base;
	return node;
}

static void release(const struct cleave_memory *memory, void *node, size_t size)
{
	if (size < LEAST)
		free(node, M_TEMP, size);
	else if (size <= MOST)
		pool_put(pool_of(memory_of(memory), size), node);
	else
		free(((char **)node)[-1], M_TEMP, size + NODE_ALIGN);
}

/* IPL_MPFLOOR: holders of the pools' mutexes are not interrupted by who takes the kernel lock. */
void cleave_openbsd_memory_init(struct cleave_openbsd_memory *memory, bool wait)
{
	unsigned int i;

	memory->memory.alloc = alloc;
	memory->memory.free = release;
	memory->wait = wait;
	for (i = 0; i < CLEAVE_OPENBSD_POOLS; i++)
		pool_init(&memory->pools[i], (i + 1) * 64, NODE_ALIGN, IPL_MPFLOOR, 0, "cleave", NULL);
}

void cleave_openbsd_memory_destroy(struct cleave_openbsd_memory *memory)
{
	unsigned int i;

	for (i = 0; i < CLEAVE_OPENBSD_POOLS; i++)
		pool_destroy(&memory->pools[i]);
}

/* ---- Domains, threads ---- */

/* IPL_MPFLOOR: the smr thread and who holds the kernel lock both take these. */
void cleave_openbsd_start(struct cleave_openbsd *openbsd, const struct cleave_memory *memory, uint64_t garbage_limit)
{
	memset(openbsd, 0, sizeof(*openbsd));
	mtx_init(&openbsd->parking, IPL_MPFLOOR);
	mtx_init(&openbsd->lock, IPL_MPFLOOR);
	domain_init(&openbsd->domain, &ops, memory, garbage_limit);
}

/*
 * That none is running is not enough: mtx_leave() reads the mutex after another one may have entered it.
 *	1. ended(): running = 0, mtx_leave(): the mutex has no owner any more
 *	2. stop(): enters, none is running, returns; the domain's memory is somebody else's
 *	3. ended(): the rest of mtx_leave(): reads mtx_wantipl
 * smr_barrier()'s callback comes from the same thread, and so after ended() has returned.  Alone it is not enough,
 * either: it may overtake what was handed over on another processor.
 */
void cleave_openbsd_stop(struct cleave_openbsd *openbsd)
{
	mtx_enter(&openbsd->lock);
	openbsd->stopping = true;
	while (openbsd->running)
		msleep_nsec(&openbsd->running, &openbsd->lock, PVM, "cleavestop", INFSLP);
	mtx_leave(&openbsd->lock);
	smr_barrier();
	cleave_domain_exit(&openbsd->domain);
}

void cleave_openbsd_register(struct cleave_openbsd_thread *record, struct cleave_openbsd *openbsd)
{
	cleave_thread_init(&record->thread, &openbsd->domain);
}

void cleave_openbsd_unregister(struct cleave_openbsd_thread *record, struct cleave_openbsd *openbsd)
{
	(void)openbsd;
	cleave_thread_exit(&record->thread);
}
