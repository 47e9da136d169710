/* SPDX-License-Identifier: ISC */
/* The agent's beginning, and its handler. */
#include "agent.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define SA_RESTORER 0x04000000u /* from the kernel's headers, which do not go with libc's */
#define SECCOMP_TRAP 1

/* ---- The handler ---- */

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

static long dispatch(const struct call *call, void *context)
{
	switch (call->number) {
	case SYS_rt_sigaction:
		return call_sigaction(call);
	case SYS_rt_sigprocmask:
		return call_sigprocmask(call, context);
	case SYS_rt_sigsuspend:
	case SYS_ppoll:
	case SYS_pselect6:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
		return call_with_mask(call, context);
	case SYS_exit:
	case SYS_exit_group:
		call_exit(record_get(), call);
		return 0;
	default:
		return mirrored(record_get(), call, context);
	}
}

static void handle(int number, siginfo_t *information, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	const struct call call = {
		.number = information->si_syscall,
		.argument = { (uint64_t)registers[REG_RDI], (uint64_t)registers[REG_RSI], (uint64_t)registers[REG_RDX],
			      (uint64_t)registers[REG_R10], (uint64_t)registers[REG_R8], (uint64_t)registers[REG_R9] },
	};

	(void)number;
	if (information->si_code == SECCOMP_TRAP)
		registers[REG_RAX] = dispatch(&call, context);
}

/* ---- The beginning ---- */

__asm__(".text\n"
	".type restorer, @function\n"
	"restorer:\n\t"
	"mov $15, %eax\n\t" /* rt_sigreturn */
	"syscall\n");
void restorer(void);

static int handler_install(void)
{
	const struct {
		void (*handler)(int, siginfo_t *, void *);
		uint64_t flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = { handle, SA_SIGINFO | SA_RESTORER, restorer, UINT64_MAX };

	return (int)sys4(SYS_rt_sigaction, SIGSYS, &action, 0, sizeof(action.mask));
}

static int start(uint64_t flags)
{
	struct record *record;

	agent.shared = (struct mirror_shared *)(uintptr_t)MIRROR_SHARED_AT;
	process_open();
	if (arena_open() || records_open())
		return __LINE__;
	if (cleave_ck_start(&agent.ck, &arena, 0))
		return __LINE__;
	cleave_maps_init(&agent.maps, &agent.ck.domain, &map_ops);
	record = record_get();
	if (space_open(record))
		return __LINE__;
	if (handler_install())
		return __LINE__;
	if ((flags & MIRROR_BOOT_FILTER) && filter_install())
		return __LINE__;
	if (checker_start())
		return __LINE__;
	return 0;
}

/* Called by the entry; what it returns is for the supervisor. */
uint64_t agent_start(uint64_t flags);

uint64_t agent_start(uint64_t flags)
{
	uint64_t all = UINT64_MAX, old;
	int line;

	sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));
	line = start(flags);
	old &= ~(UINT64_C(1) << (SIGSYS - 1));
	sys4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof(old));
	return (uint64_t)line;
}

/* rdi: flags.  The supervisor has stopped the thread before its first instruction, and restores its registers. */
__asm__(".text\n"
	".globl _start\n"
	".type _start, @function\n"
	"_start:\n\t"
	"lea boot_stack+65536(%rip), %rsp\n\t"
	"xor %ebp, %ebp\n\t"
	"call agent_start\n\t"
	"int3\n\t"
	"hlt\n\t"
	".local boot_stack\n\t"
	".comm boot_stack, 65536, 16\n");
