/* SPDX-License-Identifier: ISC */
/* fork() while other threads write, clone, wipe and change windows: the child's stores are whole, and it goes on. */
#include "child.h"

#include "anon_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#define BEYOND UINT64_C(1000000000) /* no writer has counted so far */
#define PAIRS 64
#define FAR 100000

static struct anon_fixture it;

struct forks {
	struct cleave_anon *store; /* slots i and FAR + i are written one after the other, with one number */
	struct cleave_anon *other; /* windows and wipes */
	struct cleave_word32 stop;
};

static bool stopped(struct forks *forks)
{
	return __atomic_load_n(&forks->stop.word, __ATOMIC_ACQUIRE) != 0;
}

static struct cleave_anon_context *open_context(struct worker *worker)
{
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));

	CHECK(context != NULL, "context");
	return context;
}

static void write_pairs(struct worker *worker)
{
	struct cleave_anon_context *context = open_context(worker);
	struct forks *forks = worker->context;

	for (uint64_t n = 1; !stopped(forks); n++)
		for (uint64_t i = worker->number; i < PAIRS; i += 2) {
			slot_write(&it, context, forks->store, i, n);
			slot_write(&it, context, forks->store, FAR + i, n);
			cleave_section_quiescent(&worker->record);
		}
	cleave_anon_context_close(context);
}

static void clone_again(struct cleave_anon_context *context, struct cleave_anon *store, struct cleave_anon **clone)
{
	CHECK(cleave_anon_clone_begin(context, &store, clone, 1) == 0, "clone");
	cleave_anon_clone_end(context, &store, clone, 1);
	cleave_anon_clone_done(context, &store, 1);
}

static void come_and_go(struct worker *worker)
{
	struct cleave_anon_context *context = open_context(worker);
	struct forks *forks = worker->context;

	while (!stopped(forks)) {
		struct cleave_anon *store, *clone;

		CHECK(cleave_anon_create(context, 1000, &store) == 0, "create");
		slot_write(&it, context, store, 7, 1);
		clone_again(context, rng_one_in(&worker->rng, 2) ? store : forks->store, &clone);
		slot_write(&it, context, clone, 8, 1);
		cleave_anon_unref(context, store);
		cleave_anon_unref(context, clone);
		cleave_section_quiescent(&worker->record);
	}
	cleave_anon_context_close(context);
}

static int change_windows(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first, uint64_t last,
			  int delta)
{
	struct cleave_anon_change change;
	int result;

	CHECK(cleave_anon_windows_begin(&change, context, store, first, last) == 0, "begin");
	result = cleave_anon_windows_put(&change, first, last, delta);
	if (!result)
		result = cleave_anon_windows_prepare(&change);
	if (result) {
		CHECK(result == -EBUSY, "windows: %d", result);
		cleave_anon_windows_abort(&change);
		return result;
	}
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
	return 0;
}

static void map_and_unmap(struct worker *worker)
{
	struct cleave_anon_context *context = open_context(worker);
	struct forks *forks = worker->context;

	while (!stopped(forks)) {
		uint64_t first = rng_below(&worker->rng, 3000), last = first + rng_below(&worker->rng, 500);

		CHECK(change_windows(context, forks->other, first, last, 1) == 0, "put");
		for (uint64_t slot = first; slot <= last; slot += 20)
			slot_write(&it, context, forks->other, slot, 1);
		if (rng_one_in(&worker->rng, 2))
			CHECK(cleave_anon_wipe(context, forks->other, first, last) == 0, "wipe");
		CHECK(change_windows(context, forks->other, first, last, -1) == 0, "put");
		cleave_section_quiescent(&worker->record);
	}
	cleave_anon_context_close(context);
}

static _Noreturn void child(struct forks *forks)
{
	struct cleave_anon_context *context = it.context;
	struct cleave_anon *clone;
	uint64_t stores = it.domain.stores;

	check_context("seed %#llx, in the child", (unsigned long long)it.fixture.seed);
	check_index(&forks->store->windows);
	check_index(&forks->other->windows);
	for (uint64_t i = 0; i < PAIRS; i++) {
		uint64_t near = slot_read(&it, &it.fixture.main, forks->store, i);
		uint64_t far = slot_read(&it, &it.fixture.main, forks->store, FAR + i);

		CHECK(near == far || near == far + 1,
		      "slot %llu is %llu, the later one %llu", LL(i), LL(near), LL(far));
	}
	/* Everything still works, on every slot: no mark, lock, guard or clone of another thread is left. */
	for (unsigned int round = 0; round < 3; round++) {
		clone_again(context, forks->store, &clone);
		for (uint64_t i = 0; i < PAIRS; i++) {
			slot_write(&it, context, forks->store, i, BEYOND + round);
			CHECK(slot_read(&it, &it.fixture.main, clone, i) != BEYOND + round, "a clone changes");
			cleave_section_quiescent(&it.fixture.main);
		}
		CHECK(cleave_anon_wipe(context, clone, 0, UINT64_MAX) == 0, "wipe");
		cleave_anon_unref(context, clone);
		/* Where another thread owes a wipe no window comes, for ever; elsewhere one does. */
		(void)change_windows(context, forks->other, 0, 3500, 1);
		CHECK(change_windows(context, forks->other, 5000, 6000, 1) == 0, "window");
		slot_write(&it, context, forks->other, 5500, 1);
		CHECK(change_windows(context, forks->other, 5000, 6000, -1) == 0, "window");
		CHECK(slot_read(&it, &it.fixture.main, forks->other, 5500) == 0, "a slot without a window is left");
		CHECK(cleave_anon_wipe(context, forks->other, 0, UINT64_MAX) == 0, "wipe");
	}
	cleave_anon_flush(context);
	CHECK(it.domain.stores == stores, "a store of the child's own is left");
	child_exit(0);
}

static void the_child_finds_its_stores_whole_and_goes_on(void **state)
{
	static void (*const bodies[])(struct worker *) = { write_pairs, write_pairs, come_and_go, map_and_unmap };
	struct worker workers[4];
	struct forks forks = { .stop = { 0 } };

	(void)state;
	anon_fixture_start(&it);
	CHECK(cleave_anon_create(it.context, UINT64_C(1) << 20, &forks.store) == 0, "create");
	CHECK(cleave_anon_create(it.context, UINT64_C(1) << 20, &forks.other) == 0, "create");
	for (unsigned int i = 0; i < 4; i++)
		worker_start(&workers[i], &it.fixture, i, bodies[i], &forks);
	for (uint64_t n = test_scaled(12); n; n--) {
		struct cleave_anon_fork fork_;
		pid_t pid;
		int status;

		for (uint64_t i = rng_below(&(struct rng){ .state = it.fixture.seed + n }, 100); i; i--) {
			slot_write(&it, it.context, forks.store, 10 * FAR, i);
			cleave_section_quiescent(&it.fixture.main);
		}
		fflush(NULL);
		CHECK(cleave_anon_prefork(&fork_, it.context) == 0, "prefork");
		cleave_section_prefork(&it.fixture.domain, &it.fixture.main.thread);
		pid = fork();
		CHECK(pid >= 0, "fork");
		if (pid == 0) {
			alarm(60); /* a child that hangs is a failure, not a hang of the test */
			cleave_anon_postfork_child(&fork_);
			CHECK(cleave_section_postfork_child(&it.fixture.domain, &it.fixture.main.thread) == 0,
			      "postfork_child");
			child(&forks);
		}
		cleave_anon_postfork_parent(&fork_);
		cleave_section_postfork_parent(&it.fixture.domain, &it.fixture.main.thread);
#ifdef CLEAVE_SECTION_QSBR
		rcu_thread_offline();
#endif
		CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
#ifdef CLEAVE_SECTION_QSBR
		rcu_thread_online();
#endif
		CHECK(status == 0, "seed %#llx: the child failed: status %#x", (unsigned long long)it.fixture.seed,
		      (unsigned int)status);
	}
	__atomic_store_n(&forks.stop.word, 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < 4; i++)
		worker_join(&workers[i]);
	cleave_anon_unref(it.context, forks.store);
	cleave_anon_unref(it.context, forks.other);
	anon_fixture_stop(&it);
}

static void without_memory_nothing_is_stopped(void **state)
{
	struct cleave_anon_fork fork_;
	struct cleave_anon *store;

	(void)state;
	anon_fixture_start(&it);
	CHECK(cleave_anon_create(it.context, 1000, &store) == 0, "create");
	counting_memory_grant(&it.fixture.memory, 0);
	CHECK(cleave_anon_prefork(&fork_, it.context) == -ENOMEM, "prefork");
	counting_memory_grant(&it.fixture.memory, GRANT_ALL);
	slot_write(&it, it.context, store, 1, 1);
	CHECK(change_windows(it.context, store, 1, 1, 1) == 0, "window");
	CHECK(cleave_anon_prefork(&fork_, it.context) == 0, "prefork");
	cleave_anon_postfork_parent(&fork_);
	slot_write(&it, it.context, store, 2, 1);
	cleave_anon_unref(it.context, store);
	anon_fixture_stop(&it);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_child_finds_its_stores_whole_and_goes_on),
		cmocka_unit_test(without_memory_nothing_is_stopped),
	};

	return RUN_TESTS(tests, argc, argv);
}
