/* SPDX-License-Identifier: ISC */
/*
 * cleave-pager-stress: a threaded program that changes its address space all the time, and in which every page carries
 * a checksum.  It knows nothing of the pager; by itself it must find nothing wrong either.
 *
 * Each thread has a region of its own, and knows what every page of it holds: a version, from which the content
 * follows, or zeros.  One more region is shared by all, with a lock for each page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../tools/program.h"

#define PAGE ((size_t)4096)
#define WORDS (PAGE / sizeof(uint64_t))
#define RUN 48u /* pages that a call changes, at most */
#define FIRST_FORKS 4u
#define BOTH 16u /* pages that both sides of a fork write */

struct region {
	unsigned char *base;
	size_t pages;
	uint32_t *versions; /* 0: zeros */
	atomic_flag *locks; /* NULL: one thread's */
	uint64_t key;
};

struct thread {
	pthread_t thread;
	struct region own;
	uint64_t random;
	uint32_t version;
	unsigned long operations;
	unsigned long forks;
};

static struct {
	unsigned int threads;
	unsigned int seconds;
	size_t pages;
	uint64_t seed;
	bool forks;
} options = { .threads = 4, .seconds = 5, .pages = 4096, .forks = true };

static struct region shared;
static atomic_ulong mismatches;
static atomic_bool over;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static size_t below(struct thread *thread, size_t n)
{
	return (size_t)(next_random(&thread->random) >> 11) % n;
}

/* ---- Pages ---- */

static uint64_t *words_of(const struct region *region, size_t page)
{
	return (uint64_t *)(void *)(region->base + page * PAGE);
}

static uint64_t key_of(const struct region *region, size_t page)
{
	return (region->key + page) * UINT64_C(0x9e3779b97f4a7c15) ^ region->versions[page];
}

static void fill(const struct region *region, size_t page)
{
	uint64_t *words = words_of(region, page), state = key_of(region, page) | 1, sum = 0;

	for (size_t i = 0; i < WORDS - 1; i++) {
		words[i] = next_random(&state);
		sum = (sum << 1 | sum >> 63) ^ words[i];
	}
	words[WORDS - 1] = sum;
}

/* Which version is it?  0: none that the page had. */
static uint32_t version_of(const struct region *region, size_t page)
{
	uint64_t key = key_of(region, page) ^ region->versions[page];

	for (uint32_t version = region->versions[page]; version; version--) {
		uint64_t state = (key ^ version) | 1;

		if (next_random(&state) == words_of(region, page)[0])
			return version;
	}
	return 0;
}

static void wrong(const struct region *region, size_t page, const char *what)
{
	if (atomic_fetch_add(&mismatches, 1) < 8)
		fprintf(stderr, "stress: %d: page %zu of %p, version %u, content of version %u: %s (seed %llu)\n",
			(int)getpid(), page, (void *)region->base, region->versions[page], version_of(region, page),
			what, (unsigned long long)options.seed);
}

static void verify(const struct region *region, size_t page)
{
	const uint64_t *words = words_of(region, page);
	uint64_t state = key_of(region, page) | 1, sum = 0;

	for (size_t i = 0; i < WORDS - 1; i++)
		sum = region->versions[page] ? (sum << 1 | sum >> 63) ^ words[i] : sum | words[i];
	if (sum != words[WORDS - 1])
		wrong(region, page, region->versions[page] ? "the checksum differs" : "it is not zeros");
	else if (region->versions[page] ? words[0] != next_random(&state) : sum != 0)
		wrong(region, page, region->versions[page] ? "it is of another version" : "it is not zeros");
}

static void write_page(struct thread *thread, struct region *region, size_t page)
{
	region->versions[page] = ++thread->version;
	fill(region, page);
}

static void use_shared(struct thread *thread)
{
	size_t page = below(thread, shared.pages);

	if (atomic_flag_test_and_set_explicit(&shared.locks[page], memory_order_acquire))
		return;
	verify(&shared, page);
	if (next_random(&thread->random) & 1) {
		shared.versions[page]++;
		fill(&shared, page);
	}
	atomic_flag_clear_explicit(&shared.locks[page], memory_order_release);
}

/* ---- What changes the address space ---- */

struct run {
	size_t first;
	size_t n;
	unsigned char *at;
};

static struct run some_run(struct thread *thread)
{
	struct run run = { .n = 1 + below(thread, RUN) };

	run.first = below(thread, thread->own.pages - run.n);
	run.at = thread->own.base + run.first * PAGE;
	return run;
}

static void must(bool done, const char *what)
{
	if (done)
		return;
	fprintf(stderr, "stress: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void forget(struct thread *thread, const struct run *run)
{
	for (size_t i = 0; i < run->n; i++)
		thread->own.versions[run->first + i] = 0;
	verify(&thread->own, run->first + below(thread, run->n));
}

static void map_again(const struct run *run)
{
	must(mmap(run->at, run->n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		     run->at,
	     "mmap");
}

static void drop_run(struct thread *thread)
{
	struct run run = some_run(thread);

	must(madvise(run.at, run.n * PAGE, MADV_DONTNEED) == 0, "madvise");
	forget(thread, &run);
}

/* While one thread has a hole in its region, no other may ask for a free place. */
static pthread_mutex_t holes = PTHREAD_MUTEX_INITIALIZER;

static void unmap_run(struct thread *thread)
{
	struct run run = some_run(thread);

	if (next_random(&thread->random) & 1) {
		pthread_mutex_lock(&holes);
		must(munmap(run.at, run.n * PAGE) == 0, "munmap");
		map_again(&run);
		pthread_mutex_unlock(&holes);
	} else {
		map_again(&run);
	}
	forget(thread, &run);
}

static void protect_run(struct thread *thread)
{
	struct run run = some_run(thread);
	bool none = next_random(&thread->random) & 1;

	must(mprotect(run.at, run.n * PAGE, none ? PROT_NONE : PROT_READ) == 0, "mprotect");
	if (!none)
		verify(&thread->own, run.first);
	must(mprotect(run.at, run.n * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	verify(&thread->own, run.first + run.n - 1);
}

/* Away, and back into the hole. */
static void move_run(struct thread *thread)
{
	struct run run = some_run(thread);
	struct region there = thread->own;
	size_t room = run.n + below(thread, RUN);
	unsigned char *moved;

	pthread_mutex_lock(&holes);
	moved = mremap(run.at, run.n * PAGE, room * PAGE, MREMAP_MAYMOVE);
	must(moved != MAP_FAILED, "mremap");
	if (moved != run.at) {
		there.base = moved - run.first * PAGE;
		verify(&there, run.first + below(thread, run.n));
		if (room > run.n)
			must(moved[run.n * PAGE] == 0, "what mremap adds is zero");
		must(mremap(moved, room * PAGE, run.n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, run.at) == run.at,
		     "mremap back");
	}
	pthread_mutex_unlock(&holes);
	verify(&thread->own, run.first + below(thread, run.n));
}

static void check_in_child(struct thread *thread)
{
	size_t page;

	for (unsigned int i = 0; i < BOTH + 8; i++) {
		page = i < BOTH ? i : below(thread, thread->own.pages);
		verify(&thread->own, page);
		write_page(thread, &thread->own, page);
	}
	drop_run(thread);
	for (unsigned int i = 0; i < 24; i++)
		verify(&thread->own, below(thread, thread->own.pages));
	_exit(atomic_load(&mismatches) ? 1 : 0);
}

/* The child has this thread alone; both sides write to what they share. */
static void fork_once(struct thread *thread)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		check_in_child(thread);
	must(child > 0, "fork");
	for (unsigned int i = 0; i < BOTH + 8; i++) {
		size_t page = i < BOTH ? i : below(thread, thread->own.pages);

		verify(&thread->own, page);
		write_page(thread, &thread->own, page);
	}
	must(waitpid(child, &status, 0) == child, "waitpid");
	if (status)
		atomic_fetch_add(&mismatches, 1);
	thread->forks++;
}

/* ---- Threads ---- */

static void operate(struct thread *thread)
{
	size_t page = below(thread, thread->own.pages);
	size_t choice = below(thread, 1000);

	if (choice < 420) {
		write_page(thread, &thread->own, page);
	} else if (choice < 800) {
		verify(&thread->own, page);
	} else if (choice < 950) {
		use_shared(thread);
	} else if (choice < 965) {
		drop_run(thread);
	} else if (choice < 977) {
		unmap_run(thread);
	} else if (choice < 989) {
		protect_run(thread);
	} else if (choice < 999 || !options.forks) {
		move_run(thread);
	} else if (below(thread, 8) == 0) {
		fork_once(thread);
	}
	thread->operations++;
}

static void open_region(struct region *region, size_t pages, uint64_t key)
{
	region->pages = pages;
	region->key = key;
	region->base = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	region->versions = calloc(pages, sizeof(*region->versions));
	must(region->base != MAP_FAILED && region->versions, "memory");
}

static void *run_thread(void *argument)
{
	struct thread *thread = argument;

	for (unsigned int i = 0; i < RUN; i++)
		write_page(thread, &thread->own, i);
	/* At the same time as the others. */
	for (unsigned int i = 0; i < FIRST_FORKS && options.forks; i++)
		fork_once(thread);
	while (!atomic_load_explicit(&over, memory_order_relaxed))
		operate(thread);
	for (size_t page = 0; page < thread->own.pages; page++)
		verify(&thread->own, page);
	return NULL;
}

static const char help[] =
	"usage: cleave-pager-stress [options]\n"
	"\n"
	"Threads that touch, move, unmap and protect pages and fork, and check what they hold.  For cleave-pager.\n"
	"\n"
	"  --threads N    at once (4)\n"
	"  --seconds N    how long (5)\n"
	"  --pages N      of each thread (4096)\n"
	"  --no-forks     do not fork\n"
	"  --seed N       of all random choices (from the clock)\n"
	"  --help         this text\n"
	"\n"
	"Example:\n"
	"  cleave-pager --limit 8M cleave-pager-stress --pages 1024 --seconds 10\n"
	"\n"
	"Exit status: 0; 1: a page held something else; 2: wrong usage.\n";

static void parse(int argc, char **argv)
{
	static const struct option known[] = {
		{ "threads", required_argument, NULL, 't' },
		{ "seconds", required_argument, NULL, 's' },
		{ "pages", required_argument, NULL, 'p' },
		{ "seed", required_argument, NULL, 'r' },
		{ "no-forks", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	options.seed = (uint64_t)time(NULL);
	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (option) {
		case 't':
			options.threads = (unsigned int)program_number("threads", optarg, 1, 256);
			break;
		case 's':
			options.seconds = (unsigned int)program_number("seconds", optarg, 0, 1000000);
			break;
		case 'p':
			options.pages = program_number("pages", optarg, 2 * RUN, 1000000000);
			break;
		case 'r':
			options.seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'n':
			options.forks = false;
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

int main(int argc, char **argv)
{
	unsigned long operations = 0, forks = 0;
	struct thread *threads;

	program_begin(argv);
	parse(argc, argv);
	printf("stress: %u threads, %zu pages each, %u seconds, seed %llu\n", options.threads, options.pages,
	       options.seconds, (unsigned long long)options.seed);
	threads = calloc(options.threads, sizeof(*threads));
	must(threads != NULL, "memory");
	open_region(&shared, options.pages, UINT64_C(1) << 40);
	shared.locks = calloc(options.pages, sizeof(*shared.locks));
	must(shared.locks != NULL, "memory");
	for (unsigned int i = 0; i < options.threads; i++) {
		threads[i].random = (options.seed * UINT64_C(0x9e3779b97f4a7c15) + i) | 1;
		open_region(&threads[i].own, options.pages, (uint64_t)(i + 1) << 41);
		must(pthread_create(&threads[i].thread, NULL, run_thread, &threads[i]) == 0, "pthread_create");
	}
	sleep(options.seconds);
	atomic_store(&over, true);
	for (unsigned int i = 0; i < options.threads; i++) {
		pthread_join(threads[i].thread, NULL);
		operations += threads[i].operations;
		forks += threads[i].forks;
	}
	for (size_t page = 0; page < shared.pages; page++)
		verify(&shared, page);
	printf("stress: %lu operations, %lu forks, %lu mismatches\n", operations, forks, atomic_load(&mismatches));
	return program_end(atomic_load(&mismatches) ? 1 : 0);
}
