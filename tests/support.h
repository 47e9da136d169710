/* SPDX-License-Identifier: ISC */
/*
 * What all tests share: seeds, checks that say what was going on, memory that counts and fails, and a domain without
 * threads whose grace periods end when the test says so.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cleave/cleave.h>

/* ---- Checks ---- */

/* What the thread is doing, for the message of a failed check. */
void check_context(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void check_failed(const char *file, int line, const char *condition, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Works in any thread; cmocka's assertions only in the test's own. */
#define CHECK(condition, ...) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__))

/* Does the index agree with its own invariants?  Prints the violations. */
void check_index(struct cleave *index);

/*
 * cmocka catches what a crash raises and jumps back to the frame of the test's own thread, also from another thread:
 * then the test hangs, and nothing is said.  Here a crash ends the program.
 */
void run_uncaught(void **test);
#undef cmocka_unit_test
#define cmocka_unit_test(test) cmocka_unit_test_setup_teardown(test, NULL, NULL)
#undef cmocka_unit_test_setup_teardown
#define cmocka_unit_test_setup_teardown(test, setup, teardown) \
	{ #test, run_uncaught, setup, teardown, (void *)(uintptr_t)(test) }

/* All tests, or those whose names match the pattern (* and ?) in argv[1]. */
#define RUN_TESTS(tests, argc, argv) \
	(cmocka_set_test_filter((argc) > 1 ? (argv)[1] : NULL), cmocka_run_group_tests(tests, NULL, NULL))

/* ---- Seeds ---- */

/* Numbers from a seed; or from an input, as few of its bytes as will do, and 0 behind its end. */
struct rng {
	uint64_t state;
	const uint8_t *input; /* NULL: none */
	const uint8_t *end;
};

uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n);
uint64_t rng_between(struct rng *rng, uint64_t first, uint64_t last);
/* True once in n. */
bool rng_one_in(struct rng *rng, uint64_t n);

/* CLEAVE_TEST_SEED, or a new one each time; printed. */
uint64_t test_seed(void);
/* n times CLEAVE_TEST_SCALE: slower builds do less. */
uint64_t test_scaled(uint64_t n);
/* `stated` with CLEAVE_TEST_STATED=1: the size that a scenario names, for minutes; else `quick`. */
uint64_t test_stated(uint64_t quick, uint64_t stated);

/* ---- Memory ---- */

/* Counts nodes; fills them with rubbish before and after; can be told to fail. */
struct counting_memory {
	struct cleave_memory memory;
	struct cleave_word live;      /* nodes given out */
	struct cleave_word bytes;     /* of them */
	struct cleave_word allocated; /* calls */
	struct cleave_word failed;    /* calls that were made to fail */
	struct cleave_word grant;     /* calls left that succeed */
	const bool *forbidden;	      /* may be NULL: no call while it is true */
};

#define GRANT_ALL UINT64_MAX

void counting_memory_init(struct counting_memory *memory);
/* The next `n` allocations succeed, all later ones fail. */
void counting_memory_grant(struct counting_memory *memory, uint64_t n);
uint64_t counting_memory_live(struct counting_memory *memory);
uint64_t counting_memory_failed(struct counting_memory *memory);

/* ---- A domain for one thread ---- */

enum grace {
	GRACE_AT_ONCE,	/* a grace period takes no time: cells and nodes are reused at once */
	GRACE_LATE,	/* the test's random generator ends them */
	GRACE_ON_DEMAND /* only a wait ends them: every other change copies a leaf */
};

struct manual_domain {
	struct cleave_domain domain;
	struct counting_memory memory;
	struct cleave_thread self;
	struct rng rng;
	enum grace grace;
	uint64_t begun;
	uint64_t ended;
	bool inside;
};

/* search: the walk's name, or NULL for the default. */
void manual_start(struct manual_domain *manual, enum grace grace, const char *search, uint64_t garbage_limit);
/* Checks that no node is left. */
void manual_stop(struct manual_domain *manual);
void manual_enter(struct manual_domain *manual);
void manual_leave(struct manual_domain *manual);

#endif
