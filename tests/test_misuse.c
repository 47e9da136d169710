/* SPDX-License-Identifier: ISC */
/* Misuse that a build with assertions sees stops the program with the rule that was broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cleave/section.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static CLEAVE_SECTION_DOMAIN domain;
static CLEAVE_SECTION_THREAD self;
static struct cleave index_;
static int value;

static void lookup_outside(void)
{
	struct cleave_entry entry;

	cleave_lookup_rcu(&index_, 5, &entry);
}

static void cursor_outside(void)
{
	struct cleave_cursor cursor;
	struct cleave_visit visit;

	cleave_cursor_init(&cursor, &index_, 0, true);
	cleave_next_rcu(&cursor, &visit, 1);
}

static void write_inside(void)
{
	cleave_section_enter(&self);
	cleave_clip(&index_, &self.thread, 5);
}

static void begin_inside(void)
{
	struct cleave_txn txn;

	cleave_section_enter(&self);
	cleave_begin(&txn, &index_, &self.thread, 0, 5);
}

static void end_a_hold_inside(void)
{
	struct cleave_hold hold;

	cleave_hold_begin(&hold, &index_, &self.thread, 10);
	cleave_section_enter(&self);
	cleave_hold_end(&hold);
}

static void commit_inside(void)
{
	struct cleave_txn txn;

	cleave_begin(&txn, &index_, &self.thread, 0, 5);
	cleave_section_enter(&self);
	cleave_commit(&txn, NULL);
}

static void write_beside_a_transaction(void)
{
	struct cleave_txn txn;

	cleave_begin(&txn, &index_, &self.thread, 0, 5);
	cleave_clip(&index_, &self.thread, 1000);
}

static void two_transactions(void)
{
	struct cleave_txn one, two;

	cleave_begin(&one, &index_, &self.thread, 0, 5);
	cleave_begin(&two, &index_, &self.thread, 1000, 1005);
}

static void look_outside_of_the_range(void)
{
	struct cleave_entry entry;
	struct cleave_txn txn;

	cleave_begin(&txn, &index_, &self.thread, 10, 20);
	cleave_txn_lookup(&txn, 21, &entry);
}

static void publish_twice(void)
{
	struct cleave_txn txn;

	cleave_begin(&txn, &index_, &self.thread, 10, 20);
	cleave_publish(&txn);
	cleave_publish(&txn);
}

static void end_unpublished(void)
{
	struct cleave_txn txn;

	cleave_begin(&txn, &index_, &self.thread, 10, 20);
	cleave_end(&txn, NULL);
}

static void look_beside_after_the_put(void)
{
	struct cleave_hold hold;

	cleave_hold_begin(&hold, &index_, &self.thread, 10);
	cleave_hold_put(&hold, 10, 20, &hold);
	cleave_hold_beside(&hold, 1);
}

static void *clip_in_anothers_name(void *nothing)
{
	static CLEAVE_SECTION_THREAD own;

	cleave_section_register(&own, &domain);
	cleave_clip(&index_, &self.thread, 5);
	return nothing;
}

static void use_anothers_record(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, clip_in_anothers_name, NULL);
	pthread_join(thread, NULL);
}

static void exit_in_a_transaction(void)
{
	struct cleave_txn txn;

	cleave_begin(&txn, &index_, &self.thread, 10, 20);
	cleave_thread_exit(&self.thread);
}

/* In a child: it must abort, and say the rule. */
static void must_stop(void (*misuse)(void), const char *rule)
{
	char text[1024];
	size_t n = 0;
	ssize_t got;
	int pipes[2], status;
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(pipes[1], STDERR_FILENO);
		/* The child has no worker thread and needs none: it starts its own domain. */
		if (cleave_section_start(&domain, NULL, 0))
			_exit(3);
		cleave_section_register(&self, &domain);
		if (cleave_init(&index_, &self.thread) ||
		    cleave_insert(&index_, &self.thread, 0, 99, &value, NULL))
			_exit(3);
		misuse();
		_exit(0);
	}
	close(pipes[1]);
	while (n < sizeof(text) - 1 && (got = read(pipes[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	close(pipes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(text, rule))
		fail_msg("status %#x, said: %s", (unsigned int)status, text);
}

static void a_read_section_is_needed(void **state)
{
	(void)state;
	must_stop(lookup_outside, "inside a read section");
	must_stop(cursor_outside, "inside a read section");
}

static void nothing_sleeps_inside_a_read_section(void **state)
{
	(void)state;
	must_stop(write_inside, "outside of read sections");
	must_stop(begin_inside, "outside of read sections");
	must_stop(end_a_hold_inside, "end outside of read sections");
	must_stop(commit_inside, "end outside of read sections");
}

static void one_transaction_on_an_index(void **state)
{
	(void)state;
	must_stop(write_beside_a_transaction, "in which it holds a transaction");
	must_stop(two_transactions, "in which it holds a transaction");
	must_stop(exit_in_a_transaction, "holds no transaction");
}

static void a_record_is_one_threads(void **state)
{
	(void)state;
	must_stop(use_anothers_record, "its own record");
}

static void a_transaction_keeps_its_order(void **state)
{
	(void)state;
	must_stop(look_outside_of_the_range, "its own range");
	must_stop(publish_twice, "published once");
	must_stop(end_unpublished, "after it was published");
	must_stop(look_beside_after_the_put, "before the put");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_section_is_needed),
		cmocka_unit_test(nothing_sleeps_inside_a_read_section),
		cmocka_unit_test(one_transaction_on_an_index),
		cmocka_unit_test(a_record_is_one_threads),
		cmocka_unit_test(a_transaction_keeps_its_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
