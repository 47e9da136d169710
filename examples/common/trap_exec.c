/* SPDX-License-Identifier: ISC */
/* An exec makes a new image, which needs an agent before its first call: the supervisor has to be told. */
#include "trap.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

static void tell(struct trap_exec *exec, uint32_t state)
{
	__atomic_store_n(&exec->state, state, __ATOMIC_RELEASE);
	sys3(SYS_kill, trap_shared()->supervisor, SIGUSR1, 0);
}

/* If the supervisor is gone, nobody answers: the state stays. */
static uint32_t hear(struct trap_exec *exec, uint32_t while_state)
{
	const struct timespec second = { 1, 0 };
	uint32_t state;

	while ((state = __atomic_load_n(&exec->state, __ATOMIC_ACQUIRE)) == while_state)
		if (sys4(SYS_futex, &exec->state, FUTEX_WAIT, while_state, &second) == -ETIMEDOUT &&
		    sys3(SYS_kill, trap_shared()->supervisor, 0, 0) == -ESRCH)
			break;
	return state;
}

static struct trap_exec *claim_exec(void)
{
	for (unsigned int i = 0;; i = (i + 1) % TRAP_EXECS) {
		struct trap_exec *exec = &trap_shared()->execs[i];
		uint32_t state = TRAP_EXEC_FREE;

		if (__atomic_compare_exchange_n(&exec->state, &state, TRAP_EXEC_CLAIMED, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return exec;
		if (i == TRAP_EXECS - 1)
			nap(1000);
	}
}

/* The caller has put its records back: if the call succeeds, nobody else does. */
long call_exec(const struct call *call)
{
	struct trap_exec *exec = claim_exec();
	long result;

	exec->tid = thread_number();
	tell(exec, TRAP_EXEC_WANTED);
	if (hear(exec, TRAP_EXEC_WANTED) != TRAP_EXEC_GO) {
		tell(exec, TRAP_EXEC_FREE);
		return -EPERM;
	}
	result = do_call(call);
	tell(exec, TRAP_EXEC_FAILED);
	(void)hear(exec, TRAP_EXEC_FAILED);
	return result;
}
