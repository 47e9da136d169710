/* SPDX-License-Identifier: ISC */
/* M3: what a holder wrote, then its unlock; by try, by waiting, and handed over. */
#include "nodelock.h"

#include "litmus.h"
#include "port/user/user.h"

#define ROUNDS 2000u

static struct cleave_domain domain;
static struct cleave_word32 lock;
static uint64_t guarded; /* plain */

static void park(struct cleave_domain *of, struct cleave_thread *self, struct cleave_word32 *count, uint32_t seen)
{
	(void)of;
	(void)self;
	cleave__user_park(count, seen);
}

static void wake(struct cleave_domain *of, struct cleave_word32 *count)
{
	(void)of;
	cleave__user_wake(count);
}

static void *change(void *argument)
{
	struct cleave_thread self;

	cleave_thread_init(&self, &domain);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (i % 4)
			cleave__lock_word(&domain, &self, &lock);
		else
			while (!cleave__trylock(&lock))
				sched_yield();
		guarded++;
		if (i % 8 == 1)
			sched_yield();
		cleave__unlock(&domain, &lock, true);
	}
	return argument;
}

int main(void)
{
	static const struct cleave_ops ops = { .park = park, .wake = wake };

	cleave_domain_init(&domain, &ops, &cleave_memory_libc, NULL, 1);
	litmus((void *(*const[])(void *)){ change, change, change }, 3);
	must(guarded == 3 * ROUNDS, "no change is lost");
	return 0;
}
