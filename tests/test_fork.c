/* SPDX-License-Identifier: ISC */
/* fork() while other threads write: the child's copy is consistent, and the child can go on with it. */
#include "child.h"
#include "fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#define WRITERS 3
#define PAIRS 100
#define FAR 100000

struct forks {
	struct cleave_word32 stop;
};

/* Addresses i and FAR + i always hold the same value: each change is one transaction. */
static void change_pairs(struct worker *worker)
{
	struct forks *forks = worker->context;

	while (!__atomic_load_n(&forks->stop.word, __ATOMIC_ACQUIRE)) {
		struct cleave_txn txn;
		uint64_t i = 10 * rng_below(&worker->rng, PAIRS);
		void *value =
			rng_one_in(&worker->rng, 3) ? NULL : (void *)(uintptr_t)(1 + rng_below(&worker->rng, 100));

		CHECK(cleave_begin(&txn, &worker->fixture->index, worker_self(worker), i, FAR + i + 3) == 0, "begin");
		CHECK(cleave_put(&txn, i, i + 3, value) == 0, "put");
		CHECK(cleave_put(&txn, FAR + i, FAR + i + 3, value) == 0, "put");
		cleave_commit(&txn, NULL);
		cleave_section_quiescent(&worker->record);
	}
}

static _Noreturn void child(struct fixture *fixture)
{
	struct cleave *index = &fixture->index;
	struct cleave_entry low, high;

	check_context("seed %#llx, in the child", (unsigned long long)fixture->seed);
	check_index(index);
	for (uint64_t i = 0; i < 10 * PAIRS; i += 10) {
		cleave_section_enter(&fixture->main);
		cleave_lookup_rcu(index, i, &low);
		cleave_lookup_rcu(index, FAR + i, &high);
		cleave_section_leave(&fixture->main);
		CHECK(low.value == high.value, "half a transaction came through the fork at %llu",
		      (unsigned long long)i);
	}
	/* Write on, long enough to need reused nodes and grace periods. */
	for (uint64_t n = 0; n < 3000; n++) {
		uint64_t addr = 7 * (n % 400);

		CHECK(cleave_store(index, &fixture->main.thread, addr, addr + n % 9, n % 3 ? fixture : NULL, NULL) == 0,
		      "store");
		cleave_section_quiescent(&fixture->main);
	}
	check_index(index);
	child_exit(0);
}

static void the_child_validates_and_writes_on(void **state)
{
	struct worker workers[WRITERS];
	struct fixture fixture;
	struct forks forks = { 0 };

	(void)state;
	fixture_start(&fixture, 1000);
	for (unsigned int i = 0; i < WRITERS; i++)
		worker_start(&workers[i], &fixture, i, change_pairs, &forks);
	for (uint64_t n = test_scaled(12); n; n--) {
		struct cleave_txn txn;
		pid_t pid;
		int status;

		for (uint64_t i = rng_below(&(struct rng){ .state = fixture.seed + n }, 200); i; i--) {
			CHECK(cleave_store(&fixture.index, &fixture.main.thread, 50000 + i, 50000 + i,
					   i & 1 ? &fixture : NULL, NULL) == 0,
			      "store");
			cleave_section_quiescent(&fixture.main);
		}
		fflush(NULL);
		cleave_prefork(&txn, &fixture.index, &fixture.main.thread);
		cleave_section_prefork(&fixture.domain, &fixture.main.thread);
		pid = fork();
		CHECK(pid >= 0, "fork");
		if (pid == 0) {
			alarm(60); /* a child that hangs is a failure, not a hang of the test */
			cleave_postfork_child(&txn);
			CHECK(cleave_section_postfork_child(&fixture.domain, &fixture.main.thread) == 0,
			      "postfork_child");
			child(&fixture);
		}
		cleave_postfork_parent(&txn);
		cleave_section_postfork_parent(&fixture.domain, &fixture.main.thread);
#ifdef CLEAVE_SECTION_QSBR
		rcu_thread_offline();
#endif
		CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
#ifdef CLEAVE_SECTION_QSBR
		rcu_thread_online();
#endif
		CHECK(status == 0, "seed %#llx: the child failed: status %#x", (unsigned long long)fixture.seed,
		      (unsigned int)status);
	}
	__atomic_store_n(&forks.stop.word, 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < WRITERS; i++)
		worker_join(&workers[i]);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

static void a_fork_without_other_threads(void **state)
{
	struct fixture fixture;
	struct cleave_txn txn;
	pid_t pid;
	int status;

	(void)state;
	fixture_start(&fixture, 1000);
	for (uint64_t i = 0; i < 300; i++)
		CHECK(cleave_store(&fixture.index, &fixture.main.thread, 10 * i, 10 * i + 3, &fixture, NULL) == 0,
		      "store");
	CHECK(cleave_erase(&fixture.index, &fixture.main.thread, 0, CLEAVE_LAST, NULL) == 0, "erase");
	fflush(NULL);
	cleave_prefork(&txn, &fixture.index, &fixture.main.thread);
	cleave_section_prefork(&fixture.domain, &fixture.main.thread);
	pid = fork();
	CHECK(pid >= 0, "fork");
	if (pid == 0) {
		alarm(60);
		cleave_postfork_child(&txn);
		CHECK(cleave_section_postfork_child(&fixture.domain, &fixture.main.thread) == 0, "postfork_child");
		child(&fixture);
	}
	cleave_postfork_parent(&txn);
	cleave_section_postfork_parent(&fixture.domain, &fixture.main.thread);
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
	CHECK(status == 0, "the child failed: status %#x", (unsigned int)status);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fork_without_other_threads),
		cmocka_unit_test(the_child_validates_and_writes_on),
	};

	return RUN_TESTS(tests, argc, argv);
}
