/* SPDX-License-Identifier: ISC */
/* What the agent and the library need of a libc, without one. */
#include "trap.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>

/* ---- Called by the library and by what the compiler makes of loops ---- */

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int byte, size_t n);
void *memmove(void *to, const void *from, size_t n);
int memcmp(const void *one, const void *other, size_t n);
int strcmp(const char *one, const char *other);
long syscall(long number, ...);
int *__errno_location(void);
void *aligned_alloc(size_t align, size_t size);
void free(void *memory);
_Noreturn void abort(void);
_Noreturn void __stack_chk_fail(void);
FILE *stderr;

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	unsigned char *at = (unsigned char *)to + n;
	const unsigned char *source = (const unsigned char *)from + n;

	if ((uintptr_t)to <= (uintptr_t)from)
		return memcpy(to, from, n);
	while (n--) {
		*--at = *--source;
		__asm__ volatile("" : : : "memory"); /* or this becomes a call of memmove() */
	}
	return to;
}

int memcmp(const void *one, const void *other, size_t n)
{
	const unsigned char *a = one, *b = other;

	for (; n; n--, a++, b++) {
		if (*a != *b)
			return *a - *b;
		__asm__ volatile("" : : : "memory");
	}
	return 0;
}

int strcmp(const char *one, const char *other)
{
	for (; *one && *one == *other; one++, other++)
		__asm__ volatile("" : : : "memory");
	return (unsigned char)*one - (unsigned char)*other;
}

/* The library calls it for futexes only, and looks at no result. */
long syscall(long number, ...)
{
	uint64_t argument[6];
	va_list list;

	va_start(list, number);
	for (unsigned int i = 0; i < 6; i++)
		argument[i] = va_arg(list, uint64_t);
	va_end(list);
	return sys6(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}

/* Saved and restored by the library, used by nobody. */
int *__errno_location(void)
{
	static int number;

	return &number;
}

int sched_yield(void)
{
	return (int)sys3(SYS_sched_yield, 0, 0, 0);
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
	return (int)sys3(SYS_nanosleep, time, left, 0);
}

/* The library's default memory, which is not used here. */
void *aligned_alloc(size_t align, size_t size)
{
	(void)align;
	(void)size;
	return NULL;
}

void free(void *memory)
{
	(void)memory;
}

void abort(void)
{
	for (;;) {
		sys3(SYS_kill, sys3(SYS_getpid, 0, 0, 0), SIGKILL, 0);
	}
}

/* Assertions of debug builds: the first three strings. */
int fprintf(FILE *stream, const char *format, ...)
{
	struct text text = { (char[TRAP_TEXT]){ 0 }, 0 };
	va_list list;

	(void)stream;
	(void)format;
	va_start(list, format);
	text_string(&text, "agent: ");
	for (unsigned int i = 0; i < 3; i++) {
		text_string(&text, va_arg(list, const char *));
		text_string(&text, i < 2 ? ", " : "\n");
	}
	va_end(list);
	return (int)sys3(SYS_write, 2, text.to, text.n);
}

void __stack_chk_fail(void)
{
	abort();
}

/* ---- Locks, time, threads ---- */

void lock(uint32_t *word)
{
	uint32_t seen = 0;

	if (__atomic_compare_exchange_n(word, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE))
		sys4(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 2, 0);
}

void unlock(uint32_t *word)
{
	if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) == 2)
		sys4(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, 0);
}

uint64_t now(void)
{
	struct timespec time = { 0 };

	sys3(SYS_clock_gettime, CLOCK_MONOTONIC, &time, 0);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void nap(uint64_t microseconds)
{
	struct timespec time = { (time_t)(microseconds / 1000000), (long)(microseconds % 1000000) * 1000 };

	if (microseconds)
		sys3(SYS_nanosleep, &time, 0, 0);
}

uint32_t thread_number(void)
{
	return (uint32_t)sys3(SYS_gettid, 0, 0, 0);
}

long spawn(void (*f)(void), void *stack_top)
{
	long flags = CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	register uint64_t r10 __asm__("r10") = 0;
	register uint64_t r8 __asm__("r8") = 0;
	long result;

	/* The child has nothing on its stack: it takes f from a register. */
	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "call *%[f]\n\t"
			 "ud2\n"
			 "1:"
			 : "=a"(result)
			 : "a"(SYS_clone), "D"(flags), "S"(stack_top), "d"(0), "r"(r10), "r"(r8), [f] "b"(f)
			 : "rcx", "r11", "memory");
	return result;
}

/* ---- Text ---- */

void text_string(struct text *text, const char *string)
{
	while (*string && text->n < TRAP_TEXT - 1)
		text->to[text->n++] = *string++;
	text->to[text->n] = '\0';
}

static void text_base(struct text *text, uint64_t value, unsigned int base)
{
	char digits[24];
	unsigned int at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	text_string(text, digits + at);
}

void text_hex(struct text *text, uint64_t value)
{
	text_base(text, value, 16);
}

void text_number(struct text *text, uint64_t value)
{
	text_base(text, value, 10);
}
