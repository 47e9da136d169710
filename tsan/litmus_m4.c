/* SPDX-License-Identifier: ISC */
/*
 * M4: an unlock, then the bump of the bucket's count.  Two locks share a bucket: who waits for the one, always held,
 * sees by the count that the other was unlocked, and then what its holder wrote.
 */
#include "nodelock.h"

#include "litmus.h"

#define ROUNDS 500u

static struct {
	struct cleave_word32 unlocked;
	struct cleave_word32 held;
} __attribute__((aligned(64))) lock;
static struct cleave_domain domain;
static uint64_t payload[ROUNDS]; /* plain */

static void wake(struct cleave_domain *of, struct cleave_word32 *count)
{
	(void)of;
	(void)count;
}

static void *unlock(void *argument)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		PORT_STORE(&lock.unlocked, CLEAVE__LOCKED | CLEAVE__WAITERS, PORT_RELAXED);
		payload[i] = i + 1;
		cleave__unlock(&domain, &lock.unlocked, true);
		if (i % 16 == 0)
			sched_yield();
	}
	return argument;
}

static void *wait(void *argument)
{
	struct cleave__wait seen = { 0 };
	struct cleave_thread self;
	uint32_t i = 0;

	cleave_thread_init(&self, &domain);
	while (i < ROUNDS) {
		must(!cleave__lock_or_mark(&domain, &self, &lock.held, &seen), "held by nobody who unlocks");
		for (; i < seen.seen; i++)
			must(payload[i] == i + 1, "who sees the count sees the unlock");
		sched_yield();
	}
	return argument;
}

int main(void)
{
	static const struct cleave_ops ops = { .wake = wake };

	cleave_domain_init(&domain, &ops, NULL, NULL, 1);
	must(cleave__bucket(&domain, &lock.unlocked) == cleave__bucket(&domain, &lock.held), "one bucket");
	PORT_STORE(&lock.held, CLEAVE__LOCKED, PORT_RELAXED);
	return litmus((void *(*const[])(void *)){ unlock, wait }, 2);
}
