/* SPDX-License-Identifier: ISC */
/*
 * lib/port/openbsd/openbsd.c in the simulator, and OpenBSD's functions for it (as in tests/kernel/mock_openbsd.c): the
 * smr thread is a coroutine, which waits for the simulator's grace periods.  Of mutex(9) no more is promised than an
 * acquire and a release; the simulator knows no fences.
 */
#include "kernel.h"

#include <sys/param.h>
#include <sys/systm.h>

#include "port/openbsd/openbsd.c"

const bool kernel_calls_back = true;

static struct kernel {
	struct cleave_word32 lock; /* around what follows */
	struct smr_entry *first, **last;
	bool ends;
	struct cleave_word32 wakeups;
	/* of smr_barrier(), by thread */
	struct smr_entry entries[SIM_THREADS];
	struct cleave_word32 passed[SIM_THREADS];
} * kernel;

void kernel_prepare(void)
{
	kernel = sim_arena_alloc(sizeof(*kernel));
	kernel->last = &kernel->first;
}

/* ---- smr_call(9) ---- */

void smr_read_enter(void)
{
	kernel_enter();
}

void smr_read_leave(void)
{
	sim_ops.leave(NULL, NULL);
}

void smr_init(struct smr_entry *entry)
{
	PORT_CELL_WRITE(entry->function, NULL);
}

void smr_call(struct smr_entry *entry, void (*function)(void *), void *argument)
{
	if (PORT_CELL_READ(entry->function))
		sim_fail("smr_call() of an entry that was not initialized anew");
	PORT_CELL_WRITE(entry->function, function);
	entry->argument = argument;
	entry->next = NULL;
	entry->mark = sim_ops.cookie(NULL, NULL);
	kernel_lock(&kernel->lock);
	*kernel->last = entry;
	kernel->last = &entry->next;
	kernel_wakeup(&kernel->wakeups);
	kernel_unlock(&kernel->lock);
}

static void passed(void *argument)
{
	struct cleave_word32 *word = argument;

	PORT_STORE(word, 1, PORT_RELEASE);
	sim_ops.wake(NULL, word);
}

void smr_barrier(void)
{
	struct smr_entry *entry = &kernel->entries[sim_self()];
	struct cleave_word32 *word = &kernel->passed[sim_self()];

	PORT_STORE(word, 0, PORT_RELAXED);
	smr_init(entry);
	smr_call(entry, passed, word);
	while (!PORT_LOAD(word, PORT_ACQUIRE))
		sim_ops.park(NULL, NULL, word, 0);
}

void smr_flush(void)
{
	smr_barrier();
}

/* Behind a grace period.  Return: the next entry, for this one may be queued again. */
static struct smr_entry *call_back(struct smr_entry *entry)
{
	void (*function)(void *) = PORT_CELL_READ(entry->function);
	struct smr_entry *next = entry->next;

	if ((uintptr_t)function == KERNEL_GARBAGE)
		sim_fail("a callback's entry is in memory that is somebody else's");
	sim_ops.wait(NULL, NULL, entry->mark);
	function(entry->argument);
	return next;
}

void kernel_thread(void)
{
	struct smr_entry *entry;
	uint32_t seen;
	bool ends;

	for (;;) {
		kernel_lock(&kernel->lock);
		seen = kernel_sleep_begins(&kernel->wakeups);
		entry = kernel->first;
		kernel->first = NULL;
		kernel->last = &kernel->first;
		ends = kernel->ends;
		kernel_unlock(&kernel->lock);
		if (!entry && ends)
			return;
		if (!entry)
			kernel_sleep(&kernel->wakeups, seen);
		while (entry)
			entry = call_back(entry);
	}
}

void kernel_end(void)
{
	kernel_lock(&kernel->lock);
	kernel->ends = true;
	kernel_wakeup(&kernel->wakeups);
	kernel_unlock(&kernel->lock);
}

/* ---- mutex(9), tsleep(9) ---- */

void mtx_init(struct mutex *mutex, int level)
{
	mutex->level = level;
}

void mtx_enter(struct mutex *mutex)
{
	(void)PORT_CELL_READ(mutex->level);
	kernel_lock(mutex->words);
}

/* The kernel's, too, reads the level after others may enter. */
void mtx_leave(struct mutex *mutex)
{
	kernel_unlock(mutex->words);
	(void)PORT_CELL_READ(mutex->level);
}

int msleep_nsec(void *channel, struct mutex *mutex, int priority, const char *message, uint64_t nsecs)
{
	uint32_t seen = kernel_sleep_begins(&kernel->wakeups);

	(void)channel;
	(void)message;
	(void)nsecs;
	kernel_unlock(mutex->words);
	kernel_sleep(&kernel->wakeups, seen);
	if (!(priority & PNORELOCK))
		mtx_enter(mutex);
	return 0;
}

void wakeup(void *channel)
{
	(void)channel;
	kernel_wakeup(&kernel->wakeups);
}
