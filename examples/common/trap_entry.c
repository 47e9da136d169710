/* SPDX-License-Identifier: ISC */
/* The agent's first instructions, and the handler. */
#include "trap.h"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define SA_RESTORER 0x04000000u /* from the kernel's headers, which do not go with libc's */
#define SECCOMP_TRAP 1

/* ---- The handler ---- */

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
		registers[REG_RAX] = agent_call(&call, context);
}

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

/* ---- The beginning ---- */

static int begin(uint64_t flags)
{
	int line = agent_begin(flags);

	if (line)
		return line;
	if (handler_install())
		return __LINE__;
	if ((flags & TRAP_BOOT_FILTER) && filter_install())
		return __LINE__;
	return agent_begun();
}

/* Called by the entry; what it returns is for the supervisor. */
uint64_t agent_start(uint64_t flags);

uint64_t agent_start(uint64_t flags)
{
	uint64_t all = UINT64_MAX, old;
	int line;

	sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));
	line = begin(flags);
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
