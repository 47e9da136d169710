/* SPDX-License-Identifier: ISC */
/* The port contract around fork(), and the worker: test_port.c has the rest.  One executable a flavour. */
#define _GNU_SOURCE
#include "port_one.h"

/* ---- Fork ---- */

static void child(void)
{
	struct reader reader = { .state = OUTSIDE };
	uint64_t cookie;

	alarm(20);
	if (cleave_section_postfork_child(&domain, &own->thread))
		_exit(2);
	/* The parent's reader, inside at the fork, is gone. */
	for (int i = 0; i < 20; i++) {
		cookie = take_cookie(own);
		wait_cookie(own, cookie);
		if (!done(own, cookie))
			_exit(3);
	}
	/* A new thread, on the lost one's stack as like as not. */
	if (pthread_create(&reader.thread, NULL, stay_inside, &reader))
		_exit(4);
	set_state(&reader, ENTER, INSIDE);
	cookie = take_cookie(own);
	for (int i = 0; i < 50; i++) {
		if (done(own, cookie))
			_exit(5);
		cleave_section_quiescent(own);
		usleep(100);
	}
	set_state(&reader, LEAVE, OUTSIDE);
	wait_cookie(own, cookie);
	STORE(&reader.state, END);
	pthread_join(reader.thread, NULL);
	cleave_section_unregister(own, &domain);
	cleave_section_stop(&domain);
	child_exit(0);
}

static void test_fork(void **state)
{
	struct reader reader = { .state = OUTSIDE };
	int status = -1;
	pid_t pid;

	(void)state;
	pthread_create(&reader.thread, NULL, stay_inside, &reader);
	for (int i = 0; i < 10; i++) {
		/* In every other round with a cookie outstanding. */
		if (i % 2)
			(void)take_cookie(own);
		else
			set_state(&reader, ENTER, INSIDE);
		fflush(NULL);
		cleave_section_prefork(&domain, &own->thread);
		pid = fork();
		if (!pid)
			child();
		cleave_section_postfork_parent(&domain, &own->thread);
		assert_true(pid > 0);
		if (i % 2 == 0)
			set_state(&reader, LEAVE, OUTSIDE);
		wait_cookie(own, take_cookie(own));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	STORE(&reader.state, END);
	pthread_join(reader.thread, NULL);
}

/* One fork of two domains: what their flavour does for it is done once. */
static void test_fork_of_two_domains(void **state)
{
	CLEAVE_SECTION_DOMAIN *second = aligned_alloc(64, (sizeof(*second) + 63) & ~(size_t)63);
	CLEAVE_SECTION_THREAD *record = new_record();
	int status = -1;
	pid_t pid;

	(void)state;
	assert_int_equal(cleave_section_start(second, NULL, 0), 0);
	cleave_section_register(record, second);
	fflush(NULL);
	cleave_section_prefork(&domain, &own->thread);
	cleave_section_prefork(second, &record->thread);
	pid = fork();
	if (!pid) {
		alarm(20);
		if (cleave_section_postfork_child(second, &record->thread) ||
		    cleave_section_postfork_child(&domain, &own->thread))
			_exit(2);
		for (int i = 0; i < 20; i++) {
			wait_cookie(own, take_cookie(own));
			wait_cookie(record, take_cookie(record));
		}
		child_exit(0);
	}
	cleave_section_postfork_parent(second, &record->thread);
	cleave_section_postfork_parent(&domain, &own->thread);
	assert_true(pid > 0);
	wait_cookie(own, take_cookie(own));
	wait_cookie(record, take_cookie(record));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	cleave_section_unregister(record, second);
	cleave_section_stop(second);
	free(second);
	free(record);
}

/* ---- The worker ---- */

#if !defined(CLEAVE_SECTION_CK) && !defined(CLEAVE_SECTION_TSAN)

static bool no_threads;

/* The system has no thread left. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (no_threads)
		return EAGAIN;
	*(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
	return create(thread, attributes, run, argument);
}

/* Where there is no worker, who waits runs the grace period; all else goes on: fork() too. */
static void test_no_worker(void **state)
{
	CLEAVE_SECTION_DOMAIN *second = aligned_alloc(64, (sizeof(*second) + 63) & ~(size_t)63);
	int status = -1;
	pid_t pid;

	(void)state;
	no_threads = true;
	assert_int_equal(cleave_section_start(second, NULL, 0), -EAGAIN);
	no_threads = false;
	free(second);
	fflush(NULL);
	cleave_section_prefork(&domain, &own->thread);
	pid = fork();
	if (!pid) {
		uint64_t cookie;

		alarm(20);
		no_threads = true;
		if (cleave_section_postfork_child(&domain, &own->thread) != -EAGAIN)
			_exit(2);
		cookie = take_cookie(own);
		if (ops->done(&domain.domain, &own->thread, cookie))
			_exit(3);
		cleave_section_prefork(&domain, &own->thread);
		cleave_section_postfork_parent(&domain, &own->thread);
		if (ops->done(&domain.domain, &own->thread, cookie))
			_exit(4);
		wait_cookie(own, cookie);
		if (!done(own, cookie))
			_exit(5);
		cleave_section_unregister(own, &domain);
		cleave_section_stop(&domain);
		child_exit(0);
	}
	cleave_section_postfork_parent(&domain, &own->thread);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#else

static void test_no_worker(void **state)
{
	(void)state;
	skip();
}

#endif

/* Who is offline already stays so. */
static void test_offline_caller(void **state)
{
	(void)state;
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_offline();
	assert_int_equal(ops->inside(&domain.domain, &own->thread), 0);
	ops->wait(&domain.domain, &own->thread, ops->cookie(&domain.domain, &own->thread));
	assert_int_equal(ops->inside(&domain.domain, &own->thread), 0);
	cleave_section_prefork(&domain, &own->thread);
	cleave_section_postfork_parent(&domain, &own->thread);
	assert_int_equal(ops->inside(&domain.domain, &own->thread), 0);
	rcu_thread_online();
#else
	skip();
#endif
}

/* Signals that are meant for the program's threads never run on the worker. */
static void test_worker_blocks_signals(void **state)
{
#ifdef CLEAVE_SECTION_CK
	(void)state;
	skip();
#else
	DIR *tasks = opendir("/proc/self/task");
	unsigned int workers = 0;

	(void)state;
	if (!tasks)
		skip();
	for (struct dirent *task; (task = readdir(tasks));) {
		char path[400], line[200];
		bool worker = false;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", task->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		while (fgets(line, sizeof(line), file)) {
			unsigned long long blocked;

			if (!strcmp(line, "Name:\tcleave-grace\n"))
				worker = true;
			if (worker && sscanf(line, "SigBlk: %llx", &blocked) == 1) {
				workers++;
				assert_true(blocked & 1ull << (SIGUSR1 - 1));
				assert_true(blocked & 1ull << (SIGTERM - 1));
			}
		}
		fclose(file);
	}
	closedir(tasks);
	assert_int_equal(workers, 1);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fork_of_two_domains), cmocka_unit_test(test_no_worker),
		cmocka_unit_test(test_offline_caller),	    cmocka_unit_test(test_worker_blocks_signals),
		cmocka_unit_test(test_fork),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
