/* SPDX-License-Identifier: ISC */
/* What the tests rest on: a crash, in whichever thread, ends a test program at once. */
#include "support.h"

#include <pthread.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void *crash(void *argument)
{
	(void)argument;
	raise(SIGSEGV);
	return NULL;
}

static void a_thread_of_it_crashes(void **state)
{
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, crash, NULL);
	pthread_join(thread, NULL);
}

static void a_crash_of_a_thread_ends_the_program(void **state)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_thread_of_it_crashes) };
	const struct rlimit no_core = { 0, 0 };
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0, "fork");
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		alarm(60); /* instead of a hang */
		_exit(cmocka_run_group_tests(tests, NULL, NULL));
	}
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "status %#x", (unsigned int)status);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_crash_of_a_thread_ends_the_program) };

	return RUN_TESTS(tests, argc, argv);
}
