/* SPDX-License-Identifier: ISC */
/*
 * cleave-mirror-stress: threads that map, unmap and protect overlapping ranges as fast as they can, an ordinary program
 * that knows nothing of the mirror.  Each thread also uses memory at addresses that the kernel chooses, and checks what
 * it wrote there; now and then one grows and moves a mapping, forks, attaches shared memory, starts a thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../tools/program.h"

#define PAGE 4096u
/* Where nothing is put unasked, so that nobody's memory is overwritten. */
#define ARENA UINT64_C(0x100000000000)
#define ARENA_PAGES 4096u
#define THREADS_MOST 256

struct worker {
	pthread_t thread;
	uint64_t random;
	uint64_t calls;
	uint64_t refused;
};

static struct {
	unsigned int threads;
	unsigned int seconds;
	uint64_t seed;
} options = { 8, 5, 1 };

static atomic_bool stop;
static atomic_uint broken;
static int file; /* of some pages, mapped here and there */

static uint64_t next(struct worker *worker, uint64_t below)
{
	uint64_t x = worker->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, Steele, Lea and Flood 2014 */

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) % below;
}

static void complain(const char *what)
{
	if (atomic_fetch_add(&broken, 1) == 0)
		fprintf(stderr, "cleave-mirror-stress: %s\n", what);
}

static int random_protection(struct worker *worker)
{
	static const int protections[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC };

	return protections[next(worker, 4)];
}

/* ---- Overlapping ranges, all threads in the same pages ---- */

static void random_range(struct worker *worker, void **addr, size_t *size)
{
	uint64_t first = next(worker, ARENA_PAGES), n = 1 + next(worker, next(worker, 16) ? 16 : 512);

	if (n > ARENA_PAGES - first)
		n = ARENA_PAGES - first;
	*addr = (void *)(uintptr_t)(ARENA + first * PAGE);
	*size = n * PAGE;
}

static void overlap(struct worker *worker)
{
	int protection = random_protection(worker), failed;
	void *addr, *got;
	size_t size;

	random_range(worker, &addr, &size);
	switch (next(worker, 8)) {
	case 0:
	case 1:
		got = mmap(addr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		failed = got == MAP_FAILED;
		if (!failed && got != addr)
			complain("a fixed mapping is elsewhere");
		break;
	case 2:
		got = mmap(addr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		failed = got == MAP_FAILED;
		break;
	case 3:
		got = mmap(addr, size, PROT_READ, MAP_SHARED | MAP_FIXED, file, (off_t)(next(worker, 16) * PAGE));
		failed = got == MAP_FAILED;
		break;
	case 4:
	case 5:
		failed = munmap(addr, size);
		break;
	default:
		failed = mprotect(addr, size, protection);
	}
	worker->calls++;
	worker->refused += failed != 0;
}

/* ---- The thread's own ---- */

static void own_mapping(struct worker *worker)
{
	size_t size = (1 + next(worker, 64)) * PAGE, more = size + (1 + next(worker, 64)) * PAGE;
	uint64_t mark = worker->random;
	unsigned char *at, *moved;

	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	worker->calls++;
	if (at == MAP_FAILED) {
		worker->refused++;
		return;
	}
	memcpy(at + size - PAGE, &mark, sizeof(mark));
	if (next(worker, 4) == 0) {
		moved = mremap(at, size, more, MREMAP_MAYMOVE);
		worker->calls++;
		if (moved != MAP_FAILED) {
			at = moved;
			memset(at + size, 1, more - size);
			if (memcmp(at + size - PAGE, &mark, sizeof(mark)))
				complain("a moved mapping has other contents");
			size = more;
		}
	} else if (memcmp(at + size - PAGE, &mark, sizeof(mark))) {
		complain("a mapping has other contents");
	}
	if (next(worker, 8) == 0) {
		(void)madvise(at, PAGE, MADV_DONTFORK);
		worker->calls++;
	}
	if (munmap(at, size))
		complain("munmap failed");
	worker->calls++;
}

/* All threads in one heap, which brk moves up and down (sbrk itself is not for threads). */
static void heap(struct worker *worker)
{
	void *blocks[8];

	for (unsigned int i = 0; i < 8; i++) {
		size_t size = 1000 + next(worker, 60000);

		blocks[i] = malloc(size);
		if (blocks[i])
			memset(blocks[i], (int)i, size);
	}
	for (unsigned int i = 0; i < 8; i++)
		free(blocks[i]);
}

static void segment(struct worker *worker)
{
	int number = shmget(IPC_PRIVATE, 3 * PAGE, IPC_CREAT | 0600);
	unsigned char *at;

	if (number < 0)
		return;
	at = shmat(number, NULL, 0);
	shmctl(number, IPC_RMID, NULL);
	worker->calls++;
	if (at == (void *)-1)
		return;
	at[PAGE] = 1;
	if (shmdt(at))
		complain("shmdt failed");
	worker->calls++;
}

static void *short_life(void *argument)
{
	volatile char page[16384];

	page[0] = page[sizeof(page) - 1] = 1;
	return argument;
}

static void another_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, short_life, NULL) == 0)
		pthread_join(thread, NULL);
}

/* The child uses only what is allowed after a fork of a threaded program. */
static void fork_once(struct worker *worker)
{
	pid_t child = fork();
	int status;

	worker->calls++;
	if (child < 0)
		return;
	if (child == 0) {
		void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		_exit(at == MAP_FAILED || munmap(at, PAGE));
	}
	if (waitpid(child, &status, 0) != child || status)
		complain("a child failed");
}

static void deep(unsigned int levels)
{
	volatile char frame[8192];

	frame[0] = 1;
	if (levels)
		deep(levels - 1);
	frame[sizeof(frame) - 1] = 1;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint64_t dice = next(worker, 2000);

		if (dice < 2)
			fork_once(worker);
		else if (dice < 6)
			segment(worker);
		else if (dice < 16)
			another_thread();
		else if (dice < 100)
			heap(worker);
		else if (dice < 500)
			own_mapping(worker);
		else
			overlap(worker);
	}
	return NULL;
}

static const char help[] = "usage: cleave-mirror-stress [options]\n"
			   "\n"
			   "Threads that map, unmap and protect overlapping ranges.  For cleave-mirror.\n"
			   "\n"
			   "  --threads N    at once (8)\n"
			   "  --seconds N    how long (5)\n"
			   "  --seed N       of all random choices (1)\n"
			   "  --help         this text\n"
			   "\n"
			   "Example:\n"
			   "  cleave-mirror cleave-mirror-stress --threads 8 --seconds 5\n"
			   "\n"
			   "Exit status: 0; 1: memory was not what a thread had made of it; 2: wrong usage.\n";

static void parse(int argc, char **argv)
{
	static const struct option known[] = {
		{ "threads", required_argument, NULL, 't' },
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (option) {
		case 't':
			options.threads = (unsigned int)program_number("threads", optarg, 1, THREADS_MOST);
			break;
		case 's':
			options.seconds = (unsigned int)program_number("seconds", optarg, 0, 1000000);
			break;
		case 'e':
			options.seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
}

static double seconds_since(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin->tv_sec) + 1e-9 * (double)(now.tv_nsec - begin->tv_nsec);
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS_MOST];
	struct timespec begin;
	uint64_t calls = 0, refused = 0;
	unsigned int started = 0;
	double seconds;

	program_begin(argv);
	parse(argc, argv);
	file = memfd_create("stress", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, 1024 * PAGE)) {
		perror("cleave-mirror-stress: memfd");
		return 1;
	}
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 1 << 16);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (; started < options.threads; started++) {
		workers[started].random = options.seed * 1000003 + started;
		if (pthread_create(&workers[started].thread, NULL, work, &workers[started]))
			break;
	}
	deep(64); /* the main stack grows beside them */
	for (unsigned int i = 1; seconds_since(&begin) < options.seconds && !atomic_load(&broken); i++) {
		usleep(100000);
		deep(64 + i % 256);
	}
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < started; i++) {
		pthread_join(workers[i].thread, NULL);
		calls += workers[i].calls;
		refused += workers[i].refused;
	}
	seconds = seconds_since(&begin);
	printf("%u threads, seed %" PRIu64 ", %.1f s: %" PRIu64 " calls (%.0f a second), %" PRIu64 " refused\n",
	       started, options.seed, seconds, calls, (double)calls / seconds, refused);
	return program_end(atomic_load(&broken) || started < options.threads);
}
