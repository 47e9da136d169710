/* SPDX-License-Identifier: ISC */
/*
 * lib/port/freebsd/freebsd.c in the simulator, and FreeBSD's functions for it (as in tests/kernel/mock_freebsd.c).
 * Sequence numbers are odd and wrap; a goal that is ahead of what a poll sees counts as one that has wrapped.
 */
#include "kernel.h"

#include <sys/param.h>
#include <sys/systm.h>

#include <machine/atomic.h>

#include "port/freebsd/freebsd.c"

const bool kernel_calls_back = false;

#define FIRST 0xfffffffdu /* of the sequence numbers */
#define SEQUENCES 64u

struct smr {
	struct cleave_word32 advances;
	uint64_t marks[SEQUENCES]; /* of what each goal stands for */
};

static struct cleave_word32 *wakeups;

void kernel_prepare(void)
{
	wakeups = sim_arena_alloc(sizeof(*wakeups));
}

void kernel_thread(void)
{
}

void kernel_end(void)
{
}

/* ---- smr(9) ---- */

smr_t smr_create(const char *name, int limit, int flags)
{
	(void)name;
	(void)limit;
	(void)flags;
	return sim_arena_alloc(sizeof(struct smr));
}

void smr_destroy(smr_t smr)
{
	smr_synchronize(smr);
}

void smr_enter(smr_t smr)
{
	(void)smr;
	kernel_enter();
}

void smr_exit(smr_t smr)
{
	(void)smr;
	sim_ops.leave(NULL, NULL);
}

smr_seq_t smr_advance(smr_t smr)
{
	uint64_t mark = sim_ops.cookie(NULL, NULL);
	uint32_t n = PORT_FETCH_ADD(&smr->advances, 1, PORT_RELAXED) + 1;

	if (n == SEQUENCES)
		sim_fail("too many sequence numbers");
	smr->marks[n] = mark;
	return FIRST + 2 * n;
}

bool smr_poll(smr_t smr, smr_seq_t goal, bool wait)
{
	uint32_t n = (goal - FIRST) / 2;

	if (n > PORT_LOAD(&smr->advances, PORT_RELAXED))
		return true;
	if (wait)
		sim_ops.wait(NULL, NULL, smr->marks[n]);
	return sim_ops.done(NULL, NULL, smr->marks[n]);
}

void smr_synchronize(smr_t smr)
{
	(void)smr_poll(smr, smr_advance(smr), true);
}

/* ---- mutex(9) ---- */

void mtx_init(struct mtx *mutex, const char *name, const char *type, int options)
{
	(void)mutex;
	(void)name;
	(void)type;
	(void)options;
}

void mtx_destroy(struct mtx *mutex)
{
	kernel_lock(mutex->words);
}

int mtx_trylock(struct mtx *mutex)
{
	return kernel_trylock(mutex->words);
}

void mtx_unlock(struct mtx *mutex)
{
	kernel_unlock(mutex->words);
}

/* ---- sleepqueue(9), sleep(9) ---- */

static uint32_t sleeps[SIM_THREADS];

void sleepq_lock(const void *channel)
{
	(void)channel;
	sleeps[sim_self()] = kernel_sleep_begins(wakeups);
}

void sleepq_release(const void *channel)
{
	(void)channel;
}

void sleepq_add(const void *channel, struct lock_object *lock, const char *message, int flags, int queue)
{
	(void)channel;
	(void)lock;
	(void)message;
	(void)flags;
	(void)queue;
}

void sleepq_wait(const void *channel, int priority)
{
	(void)channel;
	(void)priority;
	kernel_sleep(wakeups, sleeps[sim_self()]);
}

void wakeup(const void *channel)
{
	(void)channel;
	kernel_wakeup(wakeups);
}
