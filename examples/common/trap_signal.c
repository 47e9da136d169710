/* SPDX-License-Identifier: ISC */
/*
 * SIGSYS must reach the agent: a process that blocks it, or takes it over, is told that it did, and does not.  The
 * handler runs with all signals blocked; what a call does to the mask is done to the mask that the thread gets back.
 */
#include "trap.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>

#define SIGSYS_BIT (UINT64_C(1) << (SIGSYS - 1))

/* As the kernel has it. */
struct kernel_action {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

static struct kernel_action pretended; /* the process's own for SIGSYS; a race of two is theirs */

/* From and to the process's memory, which may not be there. */
static bool copy_in(void *to, uint64_t from, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)(uintptr_t)from, size };

	return sys6(SYS_process_vm_readv, (uint64_t)sys3(SYS_getpid, 0, 0, 0), (uint64_t)(uintptr_t)&here, 1,
		    (uint64_t)(uintptr_t)&there, 1, 0) == (long)size;
}

static bool copy_out(uint64_t to, void *from, size_t size)
{
	struct iovec here = { from, size }, there = { (void *)(uintptr_t)to, size };

	return sys6(SYS_process_vm_writev, (uint64_t)sys3(SYS_getpid, 0, 0, 0), (uint64_t)(uintptr_t)&here, 1,
		    (uint64_t)(uintptr_t)&there, 1, 0) == (long)size;
}

/* The mask that the thread goes on with: the kernel's 64 bits, at the beginning of glibc's. */
static uint64_t *saved_mask(void *context)
{
	return (uint64_t *)(void *)&((ucontext_t *)context)->uc_sigmask;
}

static long call_sigaction(const struct call *call)
{
	struct kernel_action action, old = pretended;
	struct call here = *call;

	if (call->argument[3] != sizeof(uint64_t) || !call->argument[1])
		return do_call(call);
	if (!copy_in(&action, call->argument[1], sizeof(action)))
		return -EFAULT;
	if (call->argument[0] == SIGSYS) {
		pretended = action;
		return call->argument[2] && !copy_out(call->argument[2], &old, sizeof(old)) ? -EFAULT : 0;
	}
	action.mask &= ~SIGSYS_BIT;
	here.argument[1] = (uint64_t)(uintptr_t)&action;
	return do_call(&here);
}

static long call_sigprocmask(const struct call *call, void *context)
{
	uint64_t *mask = saved_mask(context), set, old = *mask, new;

	if (call->argument[3] != sizeof(set))
		return -EINVAL;
	if (!copy_in(&set, call->argument[1], sizeof(set)))
		return -EFAULT;
	switch ((int)call->argument[0]) {
	case SIG_BLOCK:
		new = old | set;
		break;
	case SIG_UNBLOCK:
		new = old & ~set;
		break;
	case SIG_SETMASK:
		new = set;
		break;
	default:
		return -EINVAL;
	}
	if (call->argument[2] && !copy_out(call->argument[2], &old, sizeof(old)))
		return -EFAULT;
	*mask = new & ~(SIGSYS_BIT | UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1));
	return 0;
}

/* Calls that wait with another mask: handlers run inside of them, and make calls of their own. */
static long call_with_mask(const struct call *call)
{
	struct call here = *call;
	uint64_t set, pair[2];
	unsigned int at;

	switch (call->number) {
	case SYS_rt_sigsuspend:
		at = 0;
		break;
	case SYS_ppoll:
		at = 3;
		break;
	case SYS_pselect6:
		if (!copy_in(pair, call->argument[5], sizeof(pair)))
			return -EFAULT;
		if (!pair[0])
			return do_call(call);
		if (!copy_in(&set, pair[0], sizeof(set)))
			return -EFAULT;
		set &= ~SIGSYS_BIT;
		pair[0] = (uint64_t)(uintptr_t)&set;
		here.argument[5] = (uint64_t)(uintptr_t)pair;
		return do_call(&here);
	default: /* epoll_pwait, epoll_pwait2 */
		at = 4;
	}
	if (!copy_in(&set, call->argument[at], sizeof(set)))
		return -EFAULT;
	set &= ~SIGSYS_BIT;
	here.argument[at] = (uint64_t)(uintptr_t)&set;
	return do_call(&here);
}

bool is_signal_call(long number)
{
	switch (number) {
	case SYS_rt_sigaction:
	case SYS_rt_sigprocmask:
	case SYS_rt_sigsuspend:
	case SYS_ppoll:
	case SYS_pselect6:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
		return true;
	default:
		return false;
	}
}

long call_signal(const struct call *call, void *context)
{
	switch (call->number) {
	case SYS_rt_sigaction:
		return call_sigaction(call);
	case SYS_rt_sigprocmask:
		return call_sigprocmask(call, context);
	default:
		return call_with_mask(call);
	}
}
