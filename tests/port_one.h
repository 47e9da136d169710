/* SPDX-License-Identifier: ISC */
/* What tests of a port share: one domain, the main thread's record, and a reader that does what it is told. */
#ifndef PORT_ONE_H
#define PORT_ONE_H

#include <cleave/section.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"

#define LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE(p, value) __atomic_store_n(p, value, __ATOMIC_RELEASE)

static CLEAVE_SECTION_DOMAIN domain;
static const struct cleave_ops *ops;
static CLEAVE_SECTION_THREAD *own;

/* Records of CK stay until the domain stops, so none is freed before the end. */
static inline CLEAVE_SECTION_THREAD *new_record(void)
{
	CLEAVE_SECTION_THREAD *record = aligned_alloc(64, (sizeof(*record) + 63) & ~(size_t)63);

	assert_non_null(record);
	memset(record, 0xa5, sizeof(*record));
	return record;
}

static inline void free_record(CLEAVE_SECTION_THREAD *record)
{
#ifndef CLEAVE_SECTION_CK
	memset(record, 0x5a, sizeof(*record));
	free(record);
#else
	(void)record; /* leaks, on purpose */
#endif
}

static inline double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static inline uint64_t take_cookie(CLEAVE_SECTION_THREAD *record)
{
	return cleave_grace_cookie(&record->thread);
}

static inline bool done(CLEAVE_SECTION_THREAD *record, uint64_t cookie)
{
	return cleave_grace_done(&record->thread, cookie);
}

static inline void wait_cookie(CLEAVE_SECTION_THREAD *record, uint64_t cookie)
{
	cleave_grace_wait(&record->thread, cookie);
}

/* ---- A reader that stays inside ---- */

enum { OUTSIDE, ENTER, INSIDE, LEAVE, END };

struct reader {
	pthread_t thread;
	int state;
};

static inline void *stay_inside(void *argument)
{
	struct reader *reader = argument;
	CLEAVE_SECTION_THREAD *record = new_record();

	cleave_section_register(record, &domain);
	for (int state; (state = LOAD(&reader->state)) != END;) {
		if (state == ENTER) {
			cleave_section_enter(record);
			STORE(&reader->state, INSIDE);
		} else if (state == LEAVE) {
			cleave_section_leave(record);
			cleave_section_quiescent(record);
			STORE(&reader->state, OUTSIDE);
		} else if (state == OUTSIDE) {
			cleave_section_quiescent(record);
		}
		usleep(100);
	}
	cleave_section_unregister(record, &domain);
	free_record(record);
	return NULL;
}

static inline void set_state(struct reader *reader, int ask, int reached)
{
	STORE(&reader->state, ask);
	while (LOAD(&reader->state) != reached) {
		cleave_section_quiescent(own);
		usleep(100);
	}
}

/* ---- Setup and teardown ---- */

static inline int set_up(void **state)
{
	(void)state;
	if (cleave_section_start(&domain, NULL, 0))
		return -1;
	ops = domain.domain.ops;
	own = new_record();
	cleave_section_register(own, &domain);
	/* The worker names itself. */
	wait_cookie(own, take_cookie(own));
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	cleave_section_unregister(own, &domain);
	cleave_section_stop(&domain);
	free(own);
	return 0;
}

#endif
