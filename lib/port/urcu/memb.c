/* SPDX-License-Identifier: ISC */
/*
 * liburcu with sys_membarrier.
 *
 * _LGPL_SOURCE: every write opens read sections, so liburcu's inlines are worth having: 0.7 ns a section against 10
 * called.  liburcu allows it for code under a licence that is compatible with the LGPL, which ISC is.  They also give
 * access to the reader's node, which `forget` needs.  Thread Sanitizer sees plain accesses in them: hidden.
 */
#ifndef _LGPL_SOURCE
#define _LGPL_SOURCE
#endif
#define _GNU_SOURCE
#define RCU_MEMBARRIER
#include <urcu.h>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "urcu.h"

/*
 * A call of the library has entered a section inside one of the program's: if it makes a change, which no call should
 * there, the program's section is not over when that counts (here.c, Among writers).
 */
static void uncount(struct cleave_urcu_thread *thread)
{
	__atomic_store_n(&thread->thread.unlocks, thread->thread.unlocks - 1, __ATOMIC_RELAXED);
}

/*
 * rcu_read_lock() and rcu_read_unlock() as liburcu's inlines have them, but of the calling thread's record where we
 * know it: the inlines ask for it as a thread-local variable, which in a shared library is a call, three a section.
 */
static inline void lock_section(struct cleave_urcu_thread *thread)
{
	struct urcu_reader *reader = thread->reader;
	unsigned long was;

	PORT_ASSERT(reader == &URCU_TLS(rcu_reader), "a thread uses its own record");
	cmm_barrier();
	was = reader->ctr;
	if (PORT_UNLIKELY(was & URCU_GP_CTR_NEST_MASK)) {
		uncount(thread);
		_CMM_STORE_SHARED(reader->ctr, was + URCU_GP_COUNT);
		return;
	}
	_CMM_STORE_SHARED(reader->ctr, _CMM_LOAD_SHARED(urcu_memb_gp.ctr));
	urcu_memb_smp_mb_slave();
}

static inline void unlock_section(const struct cleave_urcu_thread *thread)
{
	struct urcu_reader *reader = thread->reader;
	unsigned long was = reader->ctr;

	if (PORT_UNLIKELY((was & URCU_GP_CTR_NEST_MASK) != URCU_GP_COUNT)) {
		cmm_barrier();
		_CMM_STORE_SHARED(reader->ctr, was - URCU_GP_COUNT);
		return;
	}
	urcu_memb_smp_mb_slave();
	_CMM_STORE_SHARED(reader->ctr, was - URCU_GP_COUNT);
	urcu_memb_smp_mb_slave();
	urcu_common_wake_up_gp(&urcu_memb_gp);
}

#include "moment.h"
#include "registered.h"

/* [U7-rel] liburcu leaves a section by a plain store. */
#if defined(__x86_64__) || defined(__i386__)
#define LEAVE_RELEASES true
#else
#define LEAVE_RELEASES false
#endif

/* [U7-acq] what was read in the sections before */
static bool outside(const void *reader)
{
	return !(__atomic_load_n(&((const struct urcu_reader *)reader)->ctr, __ATOMIC_ACQUIRE) & URCU_GP_CTR_NEST_MASK);
}

/*
 * [U8-acq] what the thread did before; on x86, which stores in order, all of that.  To unlock takes a locked
 * instruction, and only who tries may be in a section already, which does not count.
 */
#if defined(__x86_64__)
static uint64_t changes(const struct cleave_thread *thread)
{
	return __atomic_load_n(&thread->unlocks, __ATOMIC_ACQUIRE);
}
#define CHANGES changes
#else
#define CHANGES NULL
#endif

/* Where the kernel has it, liburcu has told it at the start that the process will ask. */
static bool barrier(void)
{
	int saved = errno;
	bool done = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) == 0;

	errno = saved;
	return done;
}

static const struct cleave__urcu_flavour memb = {
	.ops = { CLEAVE__URCU_OPS, .enter = enter, .leave = leave, .inside = inside },
	.synchronize = synchronize,
	CLEAVE__URCU_REGISTERED,
	.outside = outside,
	.leave_releases = LEAVE_RELEASES,
	.barrier = barrier,
	.changes = CHANGES,
};

int cleave_urcu_memb_start(struct cleave_urcu *urcu, const struct cleave_memory *memory, uint64_t garbage_limit)
{
	return cleave__urcu_start(urcu, &memb, memory, garbage_limit);
}
