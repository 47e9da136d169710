/* SPDX-License-Identifier: ISC */
/*
 * The Linux kernel: the run-time half of the port contract, on RCU, wait queues, kmem_cache.
 *
 * Grace periods
 *	get_state_synchronize_rcu() would be a token that starts nothing; but it is opaque, may be 0, and is asked for
 *	and polled by calls with full barriers, where the core compares numbers.  So grace periods have numbers here
 *	(../kernel/grace.h), and one that is polled is under way at most, under `lock`:
 *
 *		advance(5): running = begin(): 5; state = start_poll_synchronize_rcu()
 *		unlink; cookie(): 6
 *		advance(6): poll_state_synchronize_rcu(state): done = 5; running = begin(): 6; state = start_poll...
 *		advance(6): poll_state_synchronize_rcu(state): done = 6; running = 0
 *
 *	Both calls are full barriers.  The system's own grace periods serve, too: it is asked whether one has passed.
 *
 * Sections
 *	May be preempted where the kernel is configured so.  wake() may be called in one: wake_up_var() does not sleep.
 */
#include "../kernel/grace.h"

#include "cleave_section.h"

#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/wait_bit.h>

static struct cleave_linux *linux_of(struct cleave_domain *domain)
{
	return cleave__container(domain, struct cleave_linux, domain);
}

static struct cleave_grace *grace_of(struct cleave_domain *domain)
{
	return &linux_of(domain)->grace;
}

#include "../kernel/ops.h"

/* ---- Grace periods ---- */

/* Under the lock: the one under way, is it over? */
static bool poll(struct cleave_linux *rcu)
{
	if (!poll_state_synchronize_rcu(rcu->state))
		return false;
	cleave__grace_end(&rcu->grace, rcu->running);
	rcu->running = 0;
	return true;
}

static void advance(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_linux *rcu = linux_of(domain);

	self->quiet = CLEAVE__QUIET;
	if (cleave__grace_done(&rcu->grace, cookie) || !spin_trylock(&rcu->lock))
		return; /* somebody else is at it */
	if ((rcu->running == 0 || poll(rcu)) && !cleave__grace_done(&rcu->grace, cookie)) {
		rcu->running = cleave__grace_begin(&rcu->grace);
		rcu->state = start_poll_synchronize_rcu();
	}
	spin_unlock(&rcu->lock);
}

static void wait(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_linux *rcu = linux_of(domain);
	uint64_t number;

	(void)self;
	if (cleave__grace_done(&rcu->grace, cookie))
		return;
	number = cleave__grace_begin(&rcu->grace);
	synchronize_rcu();
	cleave__grace_end(&rcu->grace, number);
}

/* ---- Sections ---- */

static void enter(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	(void)self;
	rcu_read_lock();
}

static void leave(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	(void)self;
	rcu_read_unlock();
}

/* ---- Parking ---- */

static void park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *count, uint32_t seen)
{
	(void)domain;
	(void)self;
	wait_var_event(count, PORT_LOAD(count, PORT_RELAXED) != seen);
}

/* The count was bumped before; the barrier, because wake_up_var() looks whether somebody waits before it locks. */
static void wake(struct cleave_domain *domain, struct cleave_word32 *count)
{
	(void)domain;
	smp_mb();
	wake_up_var(count);
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
 * By size alone, for free() is told nothing else: from 64 to 512 bytes there are caches, of multiples of 64.  What is
 * smaller, or larger and seldom, is a power of two, and so aligned to itself, or to a page.
 */
#define LEAST 64u
#define NODE_ALIGN 64u
#define MOST (CLEAVE_LINUX_CACHES * 64u)

static const struct cleave_linux_memory *memory_of(const struct cleave_memory *memory)
{
	return (const struct cleave_linux_memory *)(const void *)((const char *)memory -
								  offsetof(struct cleave_linux_memory, memory));
}

static void *alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	const struct cleave_linux_memory *own = memory_of(memory);

	PORT_ASSERT(align <= NODE_ALIGN && (size >= LEAST || align <= 2 * sizeof(void *)),
		    "memory is aligned to a line, or is small and aligned to two words");
	if (size >= LEAST && size <= MOST)
		return kmem_cache_alloc(own->caches[(size - 1) / 64], own->gfp);
	return kvmalloc(roundup_pow_of_two(size < 2 * sizeof(void *) ? 2 * sizeof(void *) : size), own->gfp);
}

static void release(const struct cleave_memory *memory, void *node, size_t size)
{
	if (size >= LEAST && size <= MOST)
		kmem_cache_free(memory_of(memory)->caches[(size - 1) / 64], node);
	else
		kvfree(node);
}

int cleave_linux_memory_init(struct cleave_linux_memory *memory, gfp_t gfp)
{
	static const char *const names[CLEAVE_LINUX_CACHES] = {
		"cleave-64",  "cleave-128", "cleave-192", "cleave-256",
		"cleave-320", "cleave-384", "cleave-448", "cleave-512",
	};

	memset(memory, 0, sizeof(*memory));
	memory->memory.alloc = alloc;
	memory->memory.free = release;
	memory->gfp = gfp;
	for (unsigned int i = 0; i < CLEAVE_LINUX_CACHES; i++) {
		memory->caches[i] = kmem_cache_create(names[i], (i + 1) * 64, NODE_ALIGN, 0, NULL);
		if (!memory->caches[i]) {
			cleave_linux_memory_destroy(memory);
			return -ENOMEM;
		}
	}
	return 0;
}

/* kmem_cache_destroy() takes NULL. */
void cleave_linux_memory_destroy(struct cleave_linux_memory *memory)
{
	for (unsigned int i = 0; i < CLEAVE_LINUX_CACHES; i++)
		kmem_cache_destroy(memory->caches[i]);
}

/* ---- Domains, threads ---- */

void cleave_linux_start(struct cleave_linux *rcu, const struct cleave_memory *memory, uint64_t garbage_limit)
{
	memset(rcu, 0, sizeof(*rcu));
	spin_lock_init(&rcu->lock);
	domain_init(&rcu->domain, &ops, memory, garbage_limit);
}

void cleave_linux_stop(struct cleave_linux *rcu)
{
	cleave_domain_exit(&rcu->domain);
}

void cleave_linux_register(struct cleave_linux_thread *record, struct cleave_linux *rcu)
{
	cleave_thread_init(&record->thread, &rcu->domain);
}

void cleave_linux_unregister(struct cleave_linux_thread *record, struct cleave_linux *rcu)
{
	(void)rcu;
	cleave_thread_exit(&record->thread);
}
