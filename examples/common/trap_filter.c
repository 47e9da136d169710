/* SPDX-License-Identifier: ISC */
/*
 * The seccomp filter: which calls become SIGSYS.  It is inherited by threads, forks and execs, and asks where the call
 * comes from, so that the agent's own pass.
 */
#include "trap.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define LOW(field) ((uint32_t)offsetof(struct seccomp_data, field))
#define HIGH(field) (LOW(field) + 4)
#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define AT_LEAST(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, value, yes, no)
#define ANY_BIT(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, value, yes, no)
#define ALLOW RETURN(SECCOMP_RET_ALLOW)
#define TRAP RETURN(SECCOMP_RET_TRAP)
#define REFUSED RETURN(SECCOMP_RET_ERRNO | EPERM)
#define NO_SUCH_CALL RETURN(SECCOMP_RET_ERRNO | ENOSYS)

#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#define ARCH_MAP_VDSO_FIRST 0x2001 /* asm/prctl.h: _X32, _32, _64 */
#define ARCH_SHADOW_STACK 0x5001   /* ARCH_SHSTK_ENABLE */
#define X32_BIT 0x40000000u

/* A call that is always trapped. */
#define ALWAYS(number) EQUAL(number, 0, 1), TRAP
/* ... unless its first argument points into the agent's region. */
#define UNLESS_OWN(number) EQUAL(number, 0, 4), LOAD(HIGH(args[0])), EQUAL(TRAP_HIGH, 0, 1), ALLOW, TRAP
/* ... only if a pointer is given. */
#define IF_POINTER(number, i) \
	EQUAL(number, 0, 6), LOAD(HIGH(args[i])), EQUAL(0, 0, 2), LOAD(LOW(args[i])), EQUAL(0, 1, 0), TRAP, ALLOW
/* ... only with this advice. */
#define ADVICE(value) EQUAL(value, 0, 1), TRAP

/*
 * For agents of whoever serves page faults (TRAP_FAULTS): advice that drops pages; and no restartable sequences, for
 * which the kernel writes to the thread's memory whenever it comes back from a call, also in the middle of a
 * transaction.
 */
#ifdef TRAP_FAULTS
#define DISCARDS ADVICE(MADV_DONTNEED), ADVICE(MADV_FREE), ADVICE(MADV_DONTNEED_LOCKED),
#define NDISCARDS 6
#define NO_SEQUENCES EQUAL(SYS_rseq, 0, 1), NO_SUCH_CALL,
#else
#define DISCARDS
#define NDISCARDS 0
#define NO_SEQUENCES
#endif

static const struct sock_filter code[] = {
	LOAD(LOW(arch)),
	EQUAL(AUDIT_ARCH_X86_64, 1, 0),
	NO_SUCH_CALL, /* a 32-bit call: another table of numbers */
	LOAD(HIGH(instruction_pointer)),
	EQUAL(TRAP_HIGH, 0, 1),
	ALLOW,
	LOAD(LOW(nr)),
	AT_LEAST(X32_BIT, 0, 1),
	NO_SUCH_CALL,

	/* The order is that of their frequency, about. */
	EQUAL(SYS_madvise, 0, 20 + NDISCARDS),
	LOAD(LOW(args[2])),
	DISCARDS ADVICE(MADV_NORMAL),
	ADVICE(MADV_RANDOM),
	ADVICE(MADV_SEQUENTIAL),
	ADVICE(MADV_DONTFORK),
	ADVICE(MADV_DOFORK),
	ADVICE(MADV_WIPEONFORK),
	ADVICE(MADV_KEEPONFORK),
	ADVICE(MADV_DONTDUMP),
	ADVICE(MADV_DODUMP),
	ALLOW,
	UNLESS_OWN(SYS_mprotect),
	UNLESS_OWN(SYS_mmap),
	UNLESS_OWN(SYS_munmap),
	ALWAYS(SYS_brk),
	ALWAYS(SYS_mremap),
	ALWAYS(SYS_pkey_mprotect),
	ALWAYS(SYS_shmat),
	ALWAYS(SYS_shmdt),
	ALWAYS(SYS_remap_file_pages),
	ALWAYS(SYS_io_setup),
	ALWAYS(SYS_io_destroy),
	ALWAYS(SYS_map_shadow_stack),
	/* These would map behind everybody's back; no program but a debugger or a checkpointer needs them. */
	EQUAL(SYS_prctl, 0, 4),
	LOAD(LOW(args[0])),
	EQUAL(PR_SET_MM, 0, 1),
	REFUSED,
	ALLOW,
	EQUAL(SYS_arch_prctl, 0, 7),
	LOAD(LOW(args[0])),
	EQUAL(ARCH_SHADOW_STACK, 0, 1),
	REFUSED,
	AT_LEAST(ARCH_MAP_VDSO_FIRST, 0, 2),
	AT_LEAST(ARCH_MAP_VDSO_FIRST + 3, 1, 0),
	TRAP,
	ALLOW,

	/* Threads and vfork share the address space: nothing to mirror.  clone3 hides its flags from a filter. */
	EQUAL(SYS_clone, 0, 4),
	LOAD(LOW(args[0])),
	ANY_BIT(CLONE_VM, 0, 1),
	ALLOW,
	TRAP,
	EQUAL(SYS_clone3, 0, 1),
	NO_SUCH_CALL,
	NO_SEQUENCES ALWAYS(SYS_fork),
	ALWAYS(SYS_execve),
	ALWAYS(SYS_execveat),
	ALWAYS(SYS_exit),
	ALWAYS(SYS_exit_group),

	/* What could keep SIGSYS from the agent. */
	EQUAL(SYS_rt_sigprocmask, 0, 9),
	LOAD(LOW(args[0])),
	EQUAL(SIG_UNBLOCK, 0, 1),
	ALLOW,
	LOAD(HIGH(args[1])),
	EQUAL(0, 0, 2),
	LOAD(LOW(args[1])),
	EQUAL(0, 1, 0),
	TRAP,
	ALLOW,
	IF_POINTER(SYS_rt_sigaction, 1),
	ALWAYS(SYS_rt_sigsuspend),
	IF_POINTER(SYS_ppoll, 3),
	IF_POINTER(SYS_pselect6, 5),
	IF_POINTER(SYS_epoll_pwait, 4),
	IF_POINTER(SYS_epoll_pwait2, 4),
	ALLOW,
};

int filter_install(void)
{
	const struct sock_fprog program = {
		.len = sizeof(code) / sizeof(code[0]),
		.filter = (struct sock_filter *)(uintptr_t)code,
	};
	long error = sys6(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);

	if (!error)
		error = sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
	return (int)error;
}
