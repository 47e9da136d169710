/* SPDX-License-Identifier: ISC */
/*
 * cleave-mirror-cases: one thing after another that a mirror can get wrong.  Each case checks that the program sees
 * what it sees without a mirror, and leaves its mappings to be compared when the program exits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../tools/program.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define PAGE 4096u
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
#define WRITABLE (PROT_READ | PROT_WRITE)

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "cleave-mirror-cases: line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static char **self;

static unsigned char *pages(size_t n)
{
	unsigned char *at = mmap(NULL, n * PAGE, WRITABLE, ANONYMOUS, -1, 0);

	CHECK(at != MAP_FAILED);
	return at;
}

static bool mapped(const void *at)
{
	unsigned char vector;

	return mincore((void *)(uintptr_t)at, PAGE, &vector) == 0;
}

static int file_of(size_t n)
{
	int fd = memfd_create("cases", MFD_CLOEXEC);

	CHECK(fd >= 0 && ftruncate(fd, (off_t)(n * PAGE)) == 0);
	return fd;
}

/* ---- Mappings ---- */

static void fixed_and_hints(void)
{
	unsigned char *at = pages(16), *got;

	CHECK(munmap(at + 4 * PAGE, 4 * PAGE) == 0);
	CHECK(mmap(at + 5 * PAGE, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at + 5 * PAGE);
	got = mmap(at + 5 * PAGE, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(got == MAP_FAILED && errno == EEXIST);
	CHECK(mmap(at + 6 * PAGE, PAGE, PROT_READ, ANONYMOUS, -1, 0) == at + 6 * PAGE); /* a hint that is free */
	got = mmap(at + 6 * PAGE, PAGE, PROT_READ, ANONYMOUS, -1, 0);			/* one that is not */
	CHECK(got != MAP_FAILED && got != at + 6 * PAGE);
	CHECK(mmap(at + 1, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, 0, PROT_READ, ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
	CHECK(mmap(NULL, (size_t)1 << 48, PROT_READ, ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
	CHECK(munmap(at + 1, PAGE) == -1 && errno == EINVAL);
	CHECK(munmap(at, 0) == -1 && errno == EINVAL);
	got = mmap(NULL, PAGE, WRITABLE, ANONYMOUS | MAP_32BIT, -1, 0);
	CHECK(got != MAP_FAILED && (uintptr_t)got < UINT64_C(1) << 31);
}

static void files(void)
{
	int fd = file_of(8), zero = open("/dev/zero", O_RDWR), only = open("/proc/self/exe", O_RDONLY);
	unsigned char *shared = mmap(NULL, 8 * PAGE, WRITABLE, MAP_SHARED, fd, 0), *private, *at;

	CHECK(shared != MAP_FAILED && zero >= 0 && only >= 0);
	private = mmap(NULL, 2 * PAGE, WRITABLE, MAP_PRIVATE, fd, 2 * PAGE);
	CHECK(private != MAP_FAILED);
	CHECK(munmap(shared + 3 * PAGE, PAGE) == 0);
	CHECK(mmap(NULL, PAGE, WRITABLE, MAP_PRIVATE, zero, 0) != MAP_FAILED);
	CHECK(mmap(NULL, PAGE, WRITABLE, MAP_SHARED, zero, 0) != MAP_FAILED);
	CHECK(mmap(NULL, 3 * PAGE, WRITABLE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	/* A range that mprotect changes up to the second mapping, which may not be written. */
	at = pages(4);
	CHECK(mprotect(at, PAGE, PROT_READ) == 0);
	CHECK(mmap(at + 2 * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, only, 0) == at + 2 * PAGE);
	CHECK(mprotect(at, 4 * PAGE, WRITABLE) == -1 && errno == EACCES);
	at[0] = 1;
	CHECK(mmap(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 1 << 20, 0) == MAP_FAILED && errno == EBADF);
	at[0] = 2;
	CHECK(close(fd) == 0 && close(zero) == 0 && close(only) == 0);
}

static void protections(void)
{
	unsigned char *at = pages(16);

	CHECK(munmap(at + 8 * PAGE, PAGE) == 0);
	/* Linux changes what lies before the hole, and fails. */
	CHECK(mprotect(at + 4 * PAGE, 8 * PAGE, PROT_READ) == -1 && errno == ENOMEM);
	CHECK(mprotect(at + 8 * PAGE, 2 * PAGE, PROT_READ) == -1 && errno == ENOMEM);
	CHECK(mprotect(at, 2 * PAGE, PROT_EXEC) == 0);
	CHECK(mprotect(at, 0, PROT_READ) == 0);
	CHECK(mprotect(at + 1, PAGE, PROT_READ) == -1 && errno == EINVAL);
	CHECK(mprotect(at, PAGE, 0x80) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_pkey_mprotect, at, PAGE, PROT_NONE, -1) == 0);
}

static void moves(void)
{
	unsigned char *at = pages(16), *got;
	int fd = file_of(8);

	at[3 * PAGE] = 3;
	CHECK(mremap(at, 16 * PAGE, 12 * PAGE, 0) == at); /* shrink */
	CHECK(mremap(at, 12 * PAGE, 14 * PAGE, 0) == at); /* grow back, there is room */
	CHECK(mmap(at + 14 * PAGE, PAGE, PROT_NONE, ANONYMOUS | MAP_FIXED, -1, 0) == at + 14 * PAGE);
	CHECK(mremap(at, 14 * PAGE, 20 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
	got = mremap(at, 14 * PAGE, 20 * PAGE, MREMAP_MAYMOVE);
	CHECK(got != MAP_FAILED && got != at && got[3 * PAGE] == 3 && !mapped(at));
	at = pages(32);
	CHECK(mremap(got, 20 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at + 8 * PAGE) == at + 8 * PAGE);
	CHECK(at[11 * PAGE] == 3 && !mapped(got));
	got = mremap(at, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	CHECK(got != MAP_FAILED && got != at && mapped(at));
	CHECK(mremap(at + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mremap(at, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at + PAGE) == MAP_FAILED &&
	      errno == EINVAL);
	/* A file keeps its offsets; a size of 0 makes another mapping of the same. */
	at = mmap(NULL, 6 * PAGE, WRITABLE, MAP_SHARED, fd, 2 * PAGE);
	CHECK(at != MAP_FAILED);
	at[5 * PAGE] = 5;
	got = mremap(at + 2 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, pages(4));
	CHECK(got != MAP_FAILED && got[3 * PAGE] == 5);
	got = mremap(at, 0, 2 * PAGE, MREMAP_MAYMOVE);
	CHECK(got != MAP_FAILED && got != at && mapped(at));
	CHECK(close(fd) == 0);
}

static void segments(void)
{
	int number = shmget(IPC_PRIVATE, 5 * PAGE, IPC_CREAT | 0600);
	unsigned char *one = shmat(number, NULL, 0), *two = shmat(number, NULL, SHM_RDONLY), *three = pages(8);

	CHECK(number >= 0 && one != (void *)-1 && two != (void *)-1 && one != two);
	CHECK(shmat(number, three, 0) == (void *)-1 && errno == EINVAL);
	CHECK(shmat(number, three + PAGE, SHM_REMAP) == three + PAGE);
	one[4 * PAGE] = 4;
	CHECK(two[4 * PAGE] == 4 && three[5 * PAGE] == 4);
	CHECK(mmap(one + 2 * PAGE, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0) == one + 2 * PAGE);
	CHECK(shmdt(one) == 0 && !mapped(one) && mapped(one + 2 * PAGE));
	CHECK(shmdt(one) == -1 && errno == EINVAL);
	CHECK(shmctl(number, IPC_RMID, NULL) == 0);
}

static void program_break(void)
{
	unsigned char *at = sbrk(0);

	CHECK(sbrk(5 * PAGE + 100) == at);
	at[5 * PAGE] = 1;
	CHECK(sbrk(-3 * (intptr_t)PAGE) == at + 5 * PAGE + 100);
	CHECK(syscall(SYS_brk, 1) == (long)(uintptr_t)(at + 2 * PAGE + 100));
	CHECK(sbrk(0) == at + 2 * PAGE + 100);
}

static void odd_ones(void)
{
	aio_context_t context = 0;
	unsigned char *at;
	int fd = file_of(4);

	/* These map and unmap inside of the kernel. */
	if (syscall(SYS_io_setup, 8, &context) == 0) {
		CHECK(syscall(SYS_io_destroy, context) == 0);
		context = 0;
		CHECK(syscall(SYS_io_setup, 8, &context) == 0);
	}
	at = mmap(NULL, 4 * PAGE, WRITABLE, MAP_SHARED, fd, 0);
	CHECK(at != MAP_FAILED);
	(void)syscall(SYS_remap_file_pages, at, PAGE, 0, 2, 0);
	CHECK(close(fd) == 0);
}

/* ---- Stacks ---- */

static unsigned int deep(unsigned int levels)
{
	volatile char frame[PAGE];

	frame[0] = 1;
	frame[PAGE - 1] = (char)levels;
	return levels ? deep(levels - 1) + (unsigned int)frame[0] : 0;
}

static void stacks(void)
{
	unsigned char *reserved = pages(64), *at;

	volatile unsigned char here = 0;
	void *page = (void *)((uintptr_t)&here & ~(uintptr_t)(PAGE - 1));

	CHECK(deep(700) == 700);
	/* From the beginning of the stack to here, as the dynamic linker does. */
	CHECK(mprotect(page, PAGE, WRITABLE | PROT_EXEC | PROT_GROWSDOWN) == 0);
	CHECK(mprotect(page, PAGE, WRITABLE | PROT_GROWSDOWN) == 0);
	CHECK(mprotect(page, PAGE, WRITABLE | PROT_GROWSUP) == -1 && errno == EINVAL);
	/* One that grows down, into free space. */
	CHECK(munmap(reserved, 64 * PAGE) == 0);
	at = mmap(reserved + 60 * PAGE, 2 * PAGE, WRITABLE, ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	CHECK(at == reserved + 60 * PAGE);
	*(volatile unsigned char *)(at - 1) = 1;
}

/* ---- Forks ---- */

static void wait_for(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void forks(void)
{
	unsigned char *kept = pages(4), *gone = pages(4), *wiped = pages(1), *shared;
	pid_t child;

	shared = mmap(NULL, PAGE, WRITABLE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	kept[0] = wiped[0] = 7;
	CHECK(madvise(gone + PAGE, 2 * PAGE, MADV_DONTFORK) == 0);
	CHECK(madvise(wiped, PAGE, MADV_WIPEONFORK) == 0);
	child = fork();
	if (child == 0) {
		CHECK(kept[0] == 7 && wiped[0] == 0 && mapped(gone) && !mapped(gone + PAGE) && mapped(gone + 3 * PAGE));
		kept[0] = 8;
		shared[0] = 9;
		CHECK(mmap(gone + PAGE, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == gone + PAGE);
		child = fork(); /* and a child of the child */
		if (child == 0) {
			CHECK(mapped(gone + PAGE) && munmap(kept, PAGE) == 0);
			exit(0);
		}
		wait_for(child);
		exit(0);
	}
	wait_for(child);
	CHECK(kept[0] == 7 && shared[0] == 9);
	CHECK(madvise(gone + PAGE, 2 * PAGE, MADV_DOFORK) == 0);
}

static int with_stack(void *argument)
{
	_exit(argument && pages(1) ? 0 : 1);
}

static void other_forks(void)
{
	unsigned char *stack = pages(16);
	char *arguments[] = { self[0], (char[]){ "--exit" }, NULL };
	pid_t child;

	wait_for(clone(with_stack, stack + 16 * PAGE, SIGCHLD, stack)); /* a fork onto another stack */
	for (unsigned int i = 0; i < 50; i++) {
		child = vfork();
		if (child == 0)
			_exit(0);
		wait_for(child);
	}
	CHECK(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0);
	wait_for(child);
	CHECK(posix_spawn(&child, "/no/such/program", NULL, NULL, arguments, environ) == ENOENT);
}

/* ---- Signals ---- */

static volatile sig_atomic_t handled;

static void on_signal(int number)
{
	(void)number;
	handled += mmap(NULL, PAGE, WRITABLE, ANONYMOUS, -1, 0) != MAP_FAILED;
}

static sigjmp_buf back;

static void on_fault(int number)
{
	(void)number;
	siglongjmp(back, 1);
}

static void signals(void)
{
	struct sigaction action = { .sa_handler = on_signal }, old;
	const struct timespec soon = { 5, 0 };
	volatile unsigned char *at = pages(1);
	sigset_t all, before, none;

	/* Everything blocked, and calls all the same: as libc does when it makes and ends threads. */
	sigfillset(&all);
	CHECK(sigprocmask(SIG_BLOCK, &all, &before) == 0);
	(void)pages(3);
	sigfillset(&action.sa_mask);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(kill(getpid(), SIGUSR1) == 0 && !handled);
	sigfillset(&none);
	sigdelset(&none, SIGUSR1);
	CHECK(sigsuspend(&none) == -1 && errno == EINTR && handled == 1);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	CHECK(ppoll(NULL, 0, &soon, &none) == -1 && errno == EINTR && handled == 2);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	CHECK(pselect(0, NULL, NULL, NULL, &soon, &none) == -1 && errno == EINTR && handled == 3);
	CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
	CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, PAGE, NULL, 8) == -1 && errno == EFAULT);
	/* A handler that a program has, it has. */
	action.sa_handler = on_fault;
	CHECK(sigaction(SIGSEGV, &action, &old) == 0 && old.sa_handler == SIG_DFL);
	CHECK(mprotect((void *)(uintptr_t)at, PAGE, PROT_NONE) == 0);
	if (sigsetjmp(back, 1) == 0) {
		*at = 1;
		fprintf(stderr, "cleave-mirror-cases: a page without access was written\n");
		exit(1);
	}
	CHECK(sigaction(SIGSEGV, &old, NULL) == 0);
	CHECK(sigaction(SIGSYS, &action, &old) == 0 && old.sa_handler == SIG_DFL);
	CHECK(sigaction(SIGSYS, &old, &action) == 0 && action.sa_handler == on_fault);
}

/* ---- Threads ---- */

static void *small_thread(void *argument)
{
	unsigned char *at = pages(2);

	CHECK(mprotect(at, PAGE, PROT_NONE) == 0);
	return argument;
}

static void threads(void)
{
	pthread_attr_t attributes;
	pthread_t some[16];

	CHECK(pthread_attr_init(&attributes) == 0);
	CHECK(pthread_attr_setstacksize(&attributes, 32768) == 0);
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 16; i++)
			CHECK(pthread_create(&some[i], &attributes, small_thread, NULL) == 0);
		for (unsigned int i = 0; i < 16; i++)
			CHECK(pthread_join(some[i], NULL) == 0);
	}
}

static void *exec_thread(void *argument)
{
	char *arguments[] = { self[0], (char[]){ "--exit" }, NULL };

	CHECK(execv("/no/such/program", arguments) == -1 && errno == ENOENT);
	execv("/proc/self/exe", arguments);
	return argument;
}

static void *waiting_thread(void *argument)
{
	pause();
	return argument;
}

/* The thread that execs is not the first one; others are still there. */
static void exec_from_thread(void)
{
	pid_t child = fork();
	pthread_t thread, other;

	if (child == 0) {
		CHECK(pthread_create(&other, NULL, waiting_thread, NULL) == 0);
		CHECK(pthread_create(&thread, NULL, exec_thread, NULL) == 0);
		pthread_join(thread, NULL);
		exit(1);
	}
	wait_for(child);
}

static void *last_thread(void *argument)
{
	usleep(50000);
	(void)pages(1);
	return argument;
}

/* The first thread ends before the others: so does the process when they have. */
static void leader_leaves(void)
{
	pid_t child = fork();
	pthread_t thread;

	if (child == 0) {
		CHECK(pthread_create(&thread, NULL, last_thread, NULL) == 0);
		syscall(SYS_exit, 0);
	}
	wait_for(child);
	child = fork();
	if (child == 0)
		syscall(SYS_exit, 0);
	wait_for(child);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "fixed and hints", fixed_and_hints },
	{ "files", files },
	{ "protections", protections },
	{ "moves", moves },
	{ "segments", segments },
	{ "break", program_break },
	{ "odd ones", odd_ones },
	{ "stacks", stacks },
	{ "forks", forks },
	{ "other forks", other_forks },
	{ "signals", signals },
	{ "threads", threads },
	{ "exec from a thread", exec_from_thread },
	{ "the first thread leaves", leader_leaves },
};

int main(int argc, char **argv)
{
	self = argv;
	if (argc == 2 && strcmp(argv[1], "--exit") == 0)
		return 0;
	program_begin((char *[]){ argv[0], NULL }); /* it execs itself: argv stays */
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		program_help("usage: cleave-mirror-cases\n"
			     "\n"
			     "One thing after another that a mirror can get wrong.  For cleave-mirror.\n"
			     "\n"
			     "Example:\n"
			     "  cleave-mirror cleave-mirror-cases\n"
			     "\n"
			     "Exit status: 0; 1: a call failed that must not; 2: wrong usage.\n");
	if (argc > 1)
		program_wrong("what is %s?", argv[1]);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cases[i].run();
		usleep(20000); /* some passes of the checker */
	}
	printf("%zu cases\n", sizeof(cases) / sizeof(cases[0]));
	return program_end(0);
}
