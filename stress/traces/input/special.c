/* SPDX-License-Identifier: ISC */
/*
 * The calls and turns which ordinary programs seldom make, each at least once: see main().
 * What the kernel of the day does not know simply fails, and is recorded as failing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static size_t page;

static char *
map(size_t pages, int prot)
{
	char *area = mmap(NULL, pages * page, prot, ANONYMOUS, -1, 0);

	if (area == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return area;
}

/* A child which does nothing: its first snapshot shows what a fork has copied. */
static void
fork_and_wait(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
}

static int __attribute__((noinline))
deep(int depth)
{
	volatile char frame[16384];

	frame[0] = (char)depth;
	return depth ? deep(depth - 1) + frame[0] : 0;
}

static void
stacks(void)
{
	/* The area grows into the gap below it, which must be wide enough for the guard. */
	char *room = map(2048, PROT_NONE);
	char *area = room + 2000 * page;

	munmap(room, 2048 * page);
	area = mmap(area, 4 * page, RW, ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	for (size_t i = 1; i < 20; i++)
		area[-(ptrdiff_t)(i * page)] = 1;
	mprotect(area + page, page, RW | PROT_EXEC | PROT_GROWSDOWN);
	mprotect(area - 4 * (ptrdiff_t)page, page, PROT_READ);
	munmap(area - 12 * (ptrdiff_t)page, 2 * page);
	area[-19 * (ptrdiff_t)page] = 2;
	fork_and_wait();
	mremap(area, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, map(1, RW));
	munmap(area - 30 * (ptrdiff_t)page, 40 * page);
	deep(40);
	fork_and_wait();
	deep(200);
}

static void
heap(void)
{
	char *end = sbrk(0);

	brk(end + 40 * page + 5);
	brk(end + 17 * page + 1);
	mprotect((char *)((uintptr_t)(end + 3 * page) & ~(page - 1)), page, PROT_READ);
	brk(end + 30 * page);
	munmap((char *)((uintptr_t)(end + 20 * page) & ~(page - 1)), 2 * page);
	brk(end + 33 * page);
	brk(end);
	brk((void *)(UINTPTR_MAX - 5));
	brk((void *)page);
}

static void
moves(void)
{
	char *area = map(16, RW), *target = map(40, PROT_NONE), *other;

	mprotect(area + 4 * page, 2 * page, PROT_READ);
	mremap(area + 12 * page, 4 * page, 2 * page, 0);
	mremap(area + 10 * page, 4 * page, 6 * page, 0);
	mremap(area + 8 * page, 2 * page, 30 * page, 0);
	mremap(area + 8 * page, 2 * page, 30 * page, MREMAP_MAYMOVE);
	mremap(area, 2 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED, target + 5 * page);
	mremap(area + 2 * page, 2 * page, page, MREMAP_MAYMOVE | MREMAP_FIXED,
	       target + 10 * page);
	mremap(area + 4 * page, 2 * page, 8 * page, MREMAP_MAYMOVE | MREMAP_FIXED,
	       target + 20 * page);
	mremap(area + 6 * page, page, page, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
	mremap(area + 6 * page, page, page, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
	       target + 30 * page);
	/* Fails, but only after it has emptied the target. */
	mremap(area, 2 * page, 3 * page, MREMAP_MAYMOVE | MREMAP_FIXED, target + 34 * page);
	/* Fails: not one mapping. The tail goes first. */
	mremap(target, 40 * page, 22 * page, MREMAP_MAYMOVE | MREMAP_FIXED, map(22, PROT_READ));
	/* Several mappings and a hole at once: since Linux 6.17. */
	other = map(12, RW);
	mprotect(other + 3 * page, 2 * page, PROT_READ);
	munmap(other + 7 * page, 2 * page);
	mremap(other, 12 * page, 12 * page, MREMAP_MAYMOVE | MREMAP_FIXED, map(12, PROT_EXEC));
	/* Old length 0. */
	other = mmap(NULL, 4 * page, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mremap(other + page, 0, 3 * page, MREMAP_MAYMOVE);
	mremap(map(1, RW), 0, page, MREMAP_MAYMOVE);
}

static void
shared_memory(void)
{
	int segment = shmget(IPC_PRIVATE, 9 * page, IPC_CREAT | 0600);
	char *room = map(30, RW), *area = shmat(segment, NULL, 0);

	shmat(segment, room + 3 * page, SHM_REMAP | SHM_RDONLY);
	shmat(segment, room + 14 * page, 0);
	if ((intptr_t)area != -1) {
		mprotect(area + 2 * page, page, PROT_READ);
		munmap(area + 4 * page, page);
		fork_and_wait();
		shmdt(area);
	}
	shmdt(room + 3 * page);
	shmdt(room);
	shmctl(segment, IPC_RMID, NULL);
}

static void
files(void)
{
	int zero = open("/dev/zero", O_RDWR), memory = memfd_create("special", 0);
	char name[64], *area;
	int read_only;

	if (ftruncate(memory, (off_t)(16 * page)))
		return;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", memory);
	read_only = open(name, O_RDONLY);
	mmap(NULL, 3 * page, RW, MAP_PRIVATE, zero, 0);
	mmap(NULL, 3 * page, RW, MAP_SHARED, zero, 0);
	area = mmap(NULL, 10 * page, RW, MAP_SHARED, memory, (off_t)page);
	syscall(SYS_remap_file_pages, area + 2 * page, page, 0, 7, 0);
	syscall(SYS_remap_file_pages, area + 3 * page, 2 * page, 0, 1, 0);
	mprotect(area + 5 * page, 2 * page, PROT_READ);
	madvise(area, 10 * page, MADV_SEQUENTIAL);
	/* The first page may become writable, the second not. */
	area = map(8, PROT_READ);
	mmap(area + page, 3 * page, PROT_READ, MAP_SHARED | MAP_FIXED, read_only, 0);
	mprotect(area, 8 * page, RW);
	mmap(area, 8 * page, RW, MAP_SHARED | MAP_FIXED, read_only, 0);
	mmap(area, page + 1, PROT_WRITE, MAP_PRIVATE | MAP_FIXED, read_only, (off_t)page);
	mmap(area + 4 * page, 0, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0);
	mmap(area + 4 * page, SIZE_MAX, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0);
	mmap(area + 4 * page, 2 * page, PROT_READ, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	mmap(area + 1, page, PROT_READ, ANONYMOUS, -1, 0);
	mmap(NULL, page, RW, ANONYMOUS | MAP_HUGETLB, -1, 0);
}

static void
holes(void)
{
	char *area = map(32, RW);
	struct rlimit limit = { 0, 0 };

	munmap(area + 8 * page, 2 * page);
	munmap(area + 7 * page, 4 * page);
	mprotect(area + 4 * page, 20 * page, PROT_READ);
	mprotect(area + 8 * page, 20 * page, PROT_READ);
	mprotect(area + 12 * page, page, PROT_EXEC);
	mprotect(area + 13 * page, page, PROT_WRITE);
	mprotect(area + 14 * page, page, PROT_NONE);
	syscall(SYS_pkey_mprotect, area + 15 * page, page, PROT_READ, -1);
	syscall(SYS_mseal, area + 20 * page, 2 * page, 0);
	mprotect(area + 18 * page, 6 * page, PROT_READ);
	munmap(area + 18 * page, 6 * page);
	madvise(area, 20 * page, MADV_DONTFORK);
	fork_and_wait();
	madvise(area, page, MADV_DOFORK);
	madvise(area + 24 * page, page, MADV_WIPEONFORK);
	fork_and_wait();
	getrlimit(RLIMIT_AS, &limit);
	setrlimit(RLIMIT_AS, &(struct rlimit){ 1 << 20, limit.rlim_max });
	mmap(area, 16 * page, RW, ANONYMOUS | MAP_FIXED, -1, 0);
	mmap(NULL, page, RW, ANONYMOUS, -1, 0);
	setrlimit(RLIMIT_AS, &limit);
}

static void *
map_and_unmap(void *argument)
{
	unsigned seed = (unsigned)(uintptr_t)argument;
	char *shared = argument;

	for (int i = 0; i < 150; i++) {
		size_t first = rand_r(&seed) % 64, count = 1 + rand_r(&seed) % 16;
		int prot = (int)(rand_r(&seed) % 8);

		switch (rand_r(&seed) % 3) {
		case 0:
			munmap(shared + first * page, count * page);
			break;
		case 1:
			mprotect(shared + first * page, count * page, prot);
			break;
		default:
			mmap(shared + first * page, count * page, prot, ANONYMOUS | MAP_FIXED,
			     -1, 0);
			break;
		}
	}
	return NULL;
}

/* All threads at the same range: the recorder must give their calls one order. */
static void
threads(void)
{
	char *area = map(80, RW);
	pthread_t thread[8];

	for (int i = 0; i < 8; i++)
		pthread_create(&thread[i], NULL, map_and_unmap, area);
	fork_and_wait();
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
}

/* Killed in the midst of calls of several threads. */
static void
killed(void)
{
	pid_t child = fork();

	if (child == 0) {
		threads();
		for (;;)
			threads();
	}
	usleep(30000);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static int
share_memory(void *argument)
{
	munmap(argument, page);
	return 0;
}

/* Who shares an address space without being a thread. */
static void
sharing(void)
{
	char *area = map(4, RW), *stack = map(16, RW);
	pid_t child = clone(share_memory, stack + 16 * page, CLONE_VM | SIGCHLD, area);

	waitpid(child, NULL, 0);
	child = vfork();
	if (child == 0) {
		execl("/nowhere/to/be/found", "found", (char *)NULL);
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	waitpid(child, NULL, 0);
}

static void *
exec_self(void *argument)
{
	execl("/proc/self/exe", "special", "again", (char *)NULL);
	return argument;
}

/* A thread which is not the first one execs, while the others make calls. */
static void
exec_in_thread(void)
{
	char *area = map(80, RW);
	pthread_t thread;

	for (int i = 0; i < 3; i++)
		pthread_create(&thread, NULL, map_and_unmap, area);
	pthread_create(&thread, NULL, exec_self, NULL);
	pthread_join(thread, NULL);
}

int
main(int argc, char **argv)
{
	unsigned long ring = 0;

	(void)argv;
	page = (size_t)sysconf(_SC_PAGESIZE);
	if (argc > 1) {
		free(malloc(1 << 20));
		return 0;
	}
	stacks();
	heap();
	moves();
	shared_memory();
	files();
	holes();
	threads();
	killed();
	sharing();
	syscall(SYS_io_setup, 8, &ring);
	syscall(SYS_io_destroy, ring);
	exec_in_thread();
	return 1;
}
