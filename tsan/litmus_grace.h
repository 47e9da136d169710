/* SPDX-License-Identifier: ISC */
/*
 * Readers, then the end of their grace period, then done(), then reuse.  A third thread pushes the grace periods on, so
 * that the writer learns of their end from done() alone.  Include it with a flavour chosen.
 */
#ifndef CLEAVE_LITMUS_GRACE_H
#define CLEAVE_LITMUS_GRACE_H

#include <cleave/section.h>

#include "litmus.h"

#define ROUNDS 300u

static CLEAVE_SECTION_DOMAIN domain;
static const struct cleave_ops *ops;
static uint64_t object[2][2]; /* plain */
static uint64_t *published = object[0];
static uint64_t wanted; /* the cookie that the writer asks for; UINT64_MAX: the end */

static CLEAVE_SECTION_THREAD *new_record(void)
{
	CLEAVE_SECTION_THREAD *record = aligned_alloc(64, (sizeof(*record) + 63) & ~(size_t)63);

	must(record != NULL, "memory");
	cleave_section_register(record, &domain);
	return record;
}

static void *reuse(void *argument)
{
	CLEAVE_SECTION_THREAD *record = new_record();

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		uint64_t *fresh = object[i % 2], cookie;

		fresh[0] = i;
		fresh[1] = i;
		__atomic_store_n(&published, fresh, __ATOMIC_RELEASE);
		cookie = ops->cookie(&domain.domain, &record->thread);
		__atomic_store_n(&wanted, cookie, __ATOMIC_RELAXED);
		while (!ops->done(&domain.domain, &record->thread, cookie))
			sched_yield();
	}
	__atomic_store_n(&wanted, UINT64_MAX, __ATOMIC_RELAXED);
	cleave_section_unregister(record, &domain);
	return argument;
}

static void *push(void *argument)
{
	CLEAVE_SECTION_THREAD *record = new_record();
	uint64_t cookie;

	while ((cookie = __atomic_load_n(&wanted, __ATOMIC_RELAXED)) != UINT64_MAX) {
		ops->advance(&domain.domain, &record->thread, cookie);
		sched_yield();
	}
	cleave_section_unregister(record, &domain);
	return argument;
}

static void *read_object(void *argument)
{
	CLEAVE_SECTION_THREAD *record = new_record();

	while (__atomic_load_n(&wanted, __ATOMIC_RELAXED) != UINT64_MAX) {
		const uint64_t *found;

		cleave_section_enter(record);
		found = __atomic_load_n(&published, __ATOMIC_ACQUIRE);
		must(found[0] == found[1], "an object is not rewritten under a reader");
		cleave_section_leave(record);
		sched_yield(); /* Thread Sanitizer reports no read that has left the reader's history */
	}
	cleave_section_unregister(record, &domain);
	return argument;
}

int main(void)
{
	must(cleave_section_start(&domain, NULL, 0) == 0, "start");
	ops = domain.domain.ops;
	/* The records stay: ConcurrencyKit keeps those that were registered on its list. */
	litmus((void *(*const[])(void *)){ reuse, push, read_object }, 3);
	cleave_section_stop(&domain);
	return 0;
}

#endif
