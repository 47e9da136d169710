/* SPDX-License-Identifier: ISC */
/*
 * An agent lives in every process of a program that knows nothing of it, without libc, in a region of its own
 * (trap_layout.h).  The process's address-space calls arrive as SIGSYS.  All signals are blocked in the handler, so
 * nothing of the process runs in a thread that is about a call.  An agent uses no thread-local storage, for threads may
 * have none yet, and little of the thread's stack.
 */
#ifndef COMMON_TRAP_H
#define COMMON_TRAP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trap_layout.h"

#define PAGE UINT64_C(4096)

/* ---- System calls, from here (trap_libc.c has those that a library makes) ---- */

static inline long sys6(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#define sys3(number, a, b, c) sys6(number, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), 0, 0, 0)
#define sys4(number, a, b, c, d) sys6(number, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), 0, 0)

static inline uint64_t page_down(uint64_t bytes)
{
	return bytes & ~(PAGE - 1);
}

static inline uint64_t page_up(uint64_t bytes)
{
	return (bytes + PAGE - 1) & ~(PAGE - 1);
}

#define COUNT(counter) __atomic_fetch_add(&(counter), 1, __ATOMIC_RELAXED)

/* ---- The calls ---- */

struct call {
	long number;
	uint64_t argument[6];
};

static inline long do_call(const struct call *call)
{
	return sys6(call->number, call->argument[0], call->argument[1], call->argument[2], call->argument[3],
		    call->argument[4], call->argument[5]);
}

static inline bool is_error(long result)
{
	return result < 0 && result >= -4095;
}

/* ---- What an agent supplies ---- */

/*
 * Begin in a new image; all signals are blocked.  `flags` is the supervisor's; the handler is installed afterwards, and
 * with TRAP_BOOT_FILTER the filter.  Return: 0, or the line of what failed, for the supervisor.
 */
int agent_begin(uint64_t flags);
/* The same, when calls are trapped. */
int agent_begun(void);
/* A trapped call.  context: the thread's saved registers and signal mask.  Return: the call's result. */
long agent_call(const struct call *call, void *context);

/* ---- trap_entry.c: the agent's first instructions, and the handler ---- */

static inline struct trap_shared *trap_shared(void)
{
	return (struct trap_shared *)(uintptr_t)TRAP_SHARED_AT;
}

/* ---- trap_libc.c ---- */

/* A sleeping lock: 0 free, 1 taken, 2 taken and somebody sleeps. */
void lock(uint32_t *word);
void unlock(uint32_t *word);
uint64_t now(void);
void nap(uint64_t microseconds);
uint32_t thread_number(void);
/* Run f(), which does not return, as a thread of this process with a file table of its own.  Return: its number. */
long spawn(void (*f)(void), void *stack_top);

/* Text, piece by piece, into a buffer of TRAP_TEXT bytes. */
struct text {
	char *to;
	size_t n;
};
void text_string(struct text *text, const char *string);
void text_hex(struct text *text, uint64_t value);
void text_number(struct text *text, uint64_t value);

/* ---- trap_filter.c ---- */

int filter_install(void);

/* ---- trap_exec.c ---- */

/*
 * The new image inherits the filter, and needs an agent before its first call.  Whoever comes from this call has
 * failed.  The child of a vfork, which shares this memory, may make it.
 */
long call_exec(const struct call *call);

/* ---- trap_signal.c: what could keep SIGSYS from the agent ---- */

bool is_signal_call(long number);
long call_signal(const struct call *call, void *context);

#endif
