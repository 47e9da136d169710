/* SPDX-License-Identifier: ISC */
/* The agent's beginning, and the calls that reach it. */
#include "agent.h"

#include <linux/futex.h>
#include <sys/syscall.h>

/* ---- The calls ---- */

static enum mirror_kind kind_of(long number)
{
	switch (number) {
	case SYS_mmap:
		return MIRROR_MMAP;
	case SYS_munmap:
		return MIRROR_MUNMAP;
	case SYS_mprotect:
		return MIRROR_MPROTECT;
	case SYS_pkey_mprotect:
		return MIRROR_PKEY_MPROTECT;
	case SYS_mremap:
		return MIRROR_MREMAP;
	case SYS_brk:
		return MIRROR_BRK;
	case SYS_shmat:
		return MIRROR_SHMAT;
	case SYS_shmdt:
		return MIRROR_SHMDT;
	case SYS_madvise:
		return MIRROR_MADVISE;
	case SYS_fork:
	case SYS_clone:
		return MIRROR_FORK;
	case SYS_execve:
	case SYS_execveat:
		return MIRROR_EXEC;
	default:
		return MIRROR_OTHER;
	}
}

/* With the naive order: the checker wants to know when no call is under way. */
static bool begin_naive(enum mirror_kind kind)
{
	if (!agent.shared->naive || kind == MIRROR_FORK || kind == MIRROR_EXEC)
		return false;
	for (;;) {
		__atomic_fetch_add(&agent.under_way, 1, __ATOMIC_SEQ_CST);
		if (!__atomic_load_n(&agent.halt, __ATOMIC_SEQ_CST))
			return true;
		__atomic_fetch_sub(&agent.under_way, 1, __ATOMIC_SEQ_CST);
		sys4(SYS_futex, &agent.halt, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, 0);
	}
}

static long mirrored(struct record *record, const struct call *call, void *context)
{
	enum mirror_kind kind = kind_of(call->number);
	struct mirror_process *process = agent.process;
	bool naive = begin_naive(kind);
	long result;

	COUNT(process->calls[kind]);
	switch (kind) {
	case MIRROR_MMAP:
		result = call_mmap(record, call);
		break;
	case MIRROR_MUNMAP:
		result = call_munmap(record, call);
		break;
	case MIRROR_MPROTECT:
	case MIRROR_PKEY_MPROTECT:
		result = call_mprotect(record, call);
		break;
	case MIRROR_MREMAP:
		result = call_mremap(record, call);
		break;
	case MIRROR_BRK:
		result = call_brk(record, call);
		break;
	case MIRROR_SHMAT:
		result = call_shmat(record, call);
		break;
	case MIRROR_SHMDT:
		result = call_shmdt(record, call);
		break;
	case MIRROR_MADVISE:
		result = call_madvise(record, call);
		break;
	case MIRROR_FORK:
		result = call_fork(record, call, context);
		break;
	case MIRROR_EXEC:
		record_put(record);
		result = call_exec(call);
		break;
	default:
		result = call_other(record, call);
	}
	if (naive)
		__atomic_fetch_sub(&agent.under_way, 1, __ATOMIC_SEQ_CST);
	if (is_error(result))
		COUNT(process->failures[kind]);
	return result;
}

long agent_call(const struct call *call, void *context)
{
	if (is_signal_call(call->number))
		return call_signal(call, context);
	switch (call->number) {
	case SYS_exit:
	case SYS_exit_group:
		call_exit(record_get(), call);
		return 0;
	default:
		return mirrored(record_get(), call, context);
	}
}

/* ---- The beginning ---- */

int agent_begin(uint64_t flags)
{
	struct record *record;

	(void)flags;
	agent.shared = (struct mirror_shared *)(uintptr_t)TRAP_SHARED_AT;
	process_open();
	if (arena_open() || records_open())
		return __LINE__;
	if (cleave_ck_start(&agent.ck, &arena, 0))
		return __LINE__;
	cleave_maps_init(&agent.maps, &agent.ck.domain, &map_ops);
	record = record_get();
	if (space_open(record))
		return __LINE__;
	return 0;
}

int agent_begun(void)
{
	return checker_start() ? __LINE__ : 0;
}
