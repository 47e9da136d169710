/* SPDX-License-Identifier: ISC */
/* cleave_memory_packed and cleave_memory_huge: blocks, what goes back to the kernel, threads, fork(). */
#define _GNU_SOURCE
#include "support.h"

#include <cleave/section.h>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define PIECE 65536u
#define LEAF 256u
#define BRANCH 448u

static const struct cleave_memory *const memories[] = { &cleave_memory_packed, &cleave_memory_huge };

static void *take(const struct cleave_memory *memory, size_t size)
{
	void *block = memory->alloc(memory, size, 64);

	CHECK(block != NULL, "no memory for %zu bytes", size);
	CHECK((uintptr_t)block % 64 == 0, "%p of %zu bytes", block, size);
	CHECK(size > PAGE || (uintptr_t)block % PAGE + size <= PAGE, "%p of %zu bytes reaches over a page", block,
	      size);
	return block;
}

/* ---- Blocks of all sizes at once: nobody else writes into them ---- */

struct taken {
	unsigned char *block;
	size_t size;
	unsigned char mark;
};

static void take_and_give(const struct cleave_memory *memory, struct rng *rng, uint64_t steps)
{
	static const size_t sizes[] = { 0, 1, 64, 100, LEAF, BRANCH, 1024, 2000, PAGE - 1, PAGE, PAGE + 1, 100000 };
	static __thread struct taken taken[1000];

	for (; steps; steps--) {
		struct taken *one = &taken[rng_below(rng, steps < 1000 ? steps : 1000)];

		if (one->block) {
			for (size_t i = 0; i < one->size; i++)
				CHECK(one->block[i] == one->mark, "byte %zu of %zu was overwritten", i, one->size);
			memory->free(memory, one->block, one->size);
			one->block = NULL;
		} else if (steps > 1000) {
			one->size = sizes[rng_below(rng, sizeof(sizes) / sizeof(sizes[0]))];
			one->block = take(memory, one->size);
			one->mark = (unsigned char)rng_next(rng);
			memset(one->block, one->mark, one->size);
		}
	}
	for (size_t i = 0; i < 1000; i++)
		if (taken[i].block)
			memory->free(memory, taken[i].block, taken[i].size);
	memset(taken, 0, sizeof(taken));
}

static void blocks_are_apart_and_within_pages(void **state)
{
	struct rng rng = { .state = test_seed() };

	(void)state;
	for (size_t m = 0; m < 2; m++)
		take_and_give(memories[m], &rng, test_scaled(30000));
}

static void no_space_is_left_between_nodes(void **state)
{
	enum { N = 2550, PIECES = 12 }; /* 255 to a piece, and one that was begun before */
	uintptr_t pieces[PIECES] = { 0 };
	static void *block[N];

	(void)state;
	for (size_t i = 0; i < N; i++) {
		size_t k = 0;

		block[i] = take(&cleave_memory_packed, LEAF);
		while (k < PIECES && pieces[k] && pieces[k] != (uintptr_t)block[i] / PIECE)
			k++;
		assert_true(k < PIECES);
		pieces[k] = (uintptr_t)block[i] / PIECE;
	}
	for (size_t i = 0; i < N; i++)
		cleave_memory_packed.free(&cleave_memory_packed, block[i], LEAF);
}

/* ---- Memory that is no longer in use ---- */

#define MANY 20000u

static unsigned char *leaves[MANY];

static size_t pages_in_use(void)
{
	size_t n = 0;

	for (size_t i = 0; i < MANY; i++) {
		unsigned char resident;

		assert_int_equal(mincore((void *)((uintptr_t)leaves[i] & ~(uintptr_t)(PAGE - 1)), PAGE, &resident), 0);
		n += resident & 1;
	}
	return n;
}

static void memory_goes_back_and_serves_other_sizes(void **state)
{
	enum { BRANCHES = 5000 };
	static unsigned char *branches[BRANCHES];
	uintptr_t low = UINTPTR_MAX, high = 0;
	size_t inside = 0;

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		leaves[i] = take(&cleave_memory_packed, LEAF);
		memset(leaves[i], 1, LEAF);
		low = (uintptr_t)leaves[i] < low ? (uintptr_t)leaves[i] : low;
		high = (uintptr_t)leaves[i] > high ? (uintptr_t)leaves[i] : high;
	}
	assert_int_equal(pages_in_use(), MANY);
	for (size_t i = 0; i < MANY; i++)
		cleave_memory_packed.free(&cleave_memory_packed, leaves[i], LEAF);
	/* Headers' pages, and one piece, stay. */
	assert_true(pages_in_use() < MANY / 8);
	for (size_t i = 0; i < BRANCHES; i++) {
		branches[i] = take(&cleave_memory_packed, BRANCH);
		inside += (uintptr_t)branches[i] >= low && (uintptr_t)branches[i] <= high;
	}
	assert_true(inside > BRANCHES * 9 / 10);
	for (size_t i = 0; i < BRANCHES; i++)
		cleave_memory_packed.free(&cleave_memory_packed, branches[i], BRANCH);
}

/* ---- Threads ---- */

static void *take_beside_others(void *seed)
{
	struct rng rng = { .state = *(uint64_t *)seed };

	take_and_give(&cleave_memory_packed, &rng, test_scaled(20000));
	return NULL;
}

static void threads_take_and_give_at_once(void **state)
{
	pthread_t threads[4];
	uint64_t seeds[4], seed = test_seed();

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		seeds[i] = seed + i;
		assert_int_equal(pthread_create(&threads[i], NULL, take_beside_others, &seeds[i]), 0);
	}
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void *take_and_give_back(void *stop)
{
	while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED))
		for (size_t m = 0; m < 2; m++)
			memories[m]->free(memories[m], take(memories[m], LEAF), LEAF);
	return NULL;
}

/* Whoever held a heap's lock when the process was forked does not hold it in the child. */
static void a_child_takes_while_the_parent_does(void **state)
{
	bool stop = false;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, take_and_give_back, &stop), 0);
	for (uint64_t n = test_scaled(200); n; n--) {
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (child == 0) {
			alarm(30); /* SIGALRM ends it if it waits for ever */
			for (size_t i = 0; i < 100; i++)
				for (size_t m = 0; m < 2; m++)
					memset(take(memories[m], LEAF), 1, LEAF);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* The program's handlers, which were there before the memory was used; cleave_anon_prefork() takes memory, for one. */
static bool handlers_take;
static void *taken_by_handlers[2];

static void before_fork(void)
{
	for (size_t m = 0; handlers_take && m < 2; m++)
		taken_by_handlers[m] = take(memories[m], LEAF);
}

static void after_fork(void)
{
	for (size_t m = 0; handlers_take && m < 2; m++)
		memories[m]->free(memories[m], taken_by_handlers[m], LEAF);
}

static void handlers_of_the_program_take_memory(void **state)
{
	pid_t child;
	int status;

	(void)state;
	handlers_take = true;
	alarm(60); /* as above */
	child = fork();
	if (child == 0)
		_exit(0);
	alarm(0);
	handlers_take = false;
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- An index on it ---- */

/* ---- The kernel refuses ---- */

/* No more than a part of a region, which is left for what instruments this program. */
static void refuse_regions(const struct rlimit *limit)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long long pages;
	struct rlimit lower = *limit;

	CHECK(file && fscanf(file, "%llu", &pages) == 1, "the size of this process");
	fclose(file);
	lower.rlim_cur = pages * PAGE + 2097152;
	assert_int_equal(setrlimit(RLIMIT_AS, &lower), 0);
}

static void without_memory_nothing_is_taken(void **state)
{
	static void *block[2 * 2097152 / LEAF]; /* more than a region holds */
	const size_t most = sizeof(block) / sizeof(block[0]);

	(void)state;
	for (size_t m = 0; m < 2; m++) {
		const struct cleave_memory *memory = memories[m];
		struct rlimit limit;
		void *large;
		size_t n = 0;

		take(memory, LEAF); /* what is done once is done; kept to the end */
		assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
		refuse_regions(&limit);
		errno = 0;
		large = memory->alloc(memory, 4194304, 64);
		while (n < most && (block[n] = memory->alloc(memory, LEAF, 64)))
			n++;
		assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
		assert_null(large);
		assert_in_range(n, 0, most - 1);
		assert_int_equal(errno, 0);
		take(memory, LEAF);
		take(memory, PAGE + 1);
		while (n > 0)
			memory->free(memory, block[--n], LEAF);
	}
}

static void an_index_lives_on_each(void **state)
{
	struct rng rng = { .state = test_seed() };

	(void)state;
	for (size_t m = 0; m < 2; m++) {
		struct cleave_counted_memory counted;
		struct cleave_memory_usage usage;
		CLEAVE_SECTION_DOMAIN domain;
		CLEAVE_SECTION_THREAD self;
		struct cleave_entry entry;
		struct cleave index;

		cleave_counted_memory_init(&counted, memories[m]);
		assert_int_equal(cleave_section_start(&domain, &counted.memory, 0), 0);
		cleave_section_register(&self, &domain);
		assert_int_equal(cleave_init(&index, &self.thread), 0);
		for (uint64_t n = test_scaled(20000); n; n--) {
			uint64_t first = rng_below(&rng, 100000) * PAGE;

			assert_int_equal(cleave_store(&index, &self.thread, first, first + 3 * PAGE - 1,
						      rng_one_in(&rng, 3) ? NULL : (void *)(uintptr_t)(first + 1),
						      NULL),
					 0);
			cleave_section_enter(&self);
			cleave_lookup_rcu(&index, first + PAGE, &entry);
			assert_true(entry.first <= first && entry.last >= first + 3 * PAGE - 1);
			cleave_section_leave(&self);
		}
		check_index(&index);
		cleave_counted_memory_usage(&counted, &usage);
		assert_true(usage.blocks > 0 && usage.bytes >= LEAF * usage.blocks && usage.peak >= usage.bytes);
		cleave_destroy(&index, &self.thread);
		cleave_section_unregister(&self, &domain);
		cleave_section_stop(&domain);
		cleave_counted_memory_usage(&counted, &usage);
		assert_true(usage.blocks == 0 && usage.bytes == 0 && usage.peak >= LEAF && usage.failures == 0);
	}
}

static void what_is_in_use_is_counted_and_the_most_that_was(void **state)
{
	struct cleave_counted_memory counted;
	struct cleave_memory_usage usage;
	struct counting_memory below;
	void *one, *other;

	(void)state;
	counting_memory_init(&below);
	cleave_counted_memory_init(&counted, &below.memory);
	one = take(&counted.memory, LEAF);
	other = take(&counted.memory, BRANCH);
	counted.memory.free(&counted.memory, one, LEAF);
	counting_memory_grant(&below, 0);
	assert_null(counted.memory.alloc(&counted.memory, LEAF, 64));
	cleave_counted_memory_usage(&counted, &usage);
	assert_int_equal(usage.bytes, BRANCH);
	assert_int_equal(usage.peak, LEAF + BRANCH);
	assert_int_equal(usage.blocks, 1);
	assert_int_equal(usage.failures, 1);
	/* What fits below the most that was changes nothing of it. */
	counting_memory_grant(&below, GRANT_ALL);
	one = take(&counted.memory, LEAF);
	cleave_counted_memory_usage(&counted, &usage);
	assert_int_equal(usage.bytes, LEAF + BRANCH);
	assert_int_equal(usage.peak, LEAF + BRANCH);
	counted.memory.free(&counted.memory, one, LEAF);
	counted.memory.free(&counted.memory, other, BRANCH);
	assert_int_equal(counting_memory_live(&below), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_memory_nothing_is_taken), /* first: nothing was given back yet */
		cmocka_unit_test(blocks_are_apart_and_within_pages),
		cmocka_unit_test(no_space_is_left_between_nodes),
		cmocka_unit_test(memory_goes_back_and_serves_other_sizes),
		cmocka_unit_test(threads_take_and_give_at_once),
		cmocka_unit_test(a_child_takes_while_the_parent_does),
		cmocka_unit_test(handlers_of_the_program_take_memory),
		cmocka_unit_test(an_index_lives_on_each),
		cmocka_unit_test(what_is_in_use_is_counted_and_the_most_that_was),
	};

	CHECK(pthread_atfork(before_fork, after_fork, after_fork) == 0, "no memory");
	return RUN_TESTS(tests, argc, argv);
}
