/* SPDX-License-Identifier: ISC */
/*
 * OpenBSD's functions, as their manual pages have them: smr_call(9), mutex(9), tsleep(9), pool_init(9), malloc(9).
 *
 * smr(9) is one thread that collects entries for some time, waits for sections, and calls them back, itself outside of
 * sections and without locks.  It waits for no more than it has to: for those that were open at the entry's smr_call().
 */
#include "host.h"
#include "mock.h"

#include <sys/param.h>
#include <sys/malloc.h>
#include <sys/mutex.h>
#include <sys/pool.h>
#include <sys/smr.h>
#include <sys/systm.h>

#define PAUSE 500u /* microseconds: 100 ms there */

const bool mock_sections_nest = true;

static struct mutex smr_mutex; /* around what follows */
static struct smr_entry *first, **last = &first;
static bool expedite, hold, quit;
static unsigned long calls;
static void *smr_thread;

void smr_read_enter(void)
{
	host_section_enter();
}

void smr_read_leave(void)
{
	host_section_leave();
}

void smr_init(struct smr_entry *entry)
{
	entry->function = NULL;
	entry->argument = NULL;
}

static void queue(struct smr_entry *entry, void (*function)(void *), void *argument, bool soon)
{
	if (entry->function)
		host_fail("smr_call() of an entry that was not initialized anew");
	entry->function = function;
	entry->argument = argument;
	entry->next = NULL;
	entry->mark = host_section_mark();
	mtx_enter(&smr_mutex);
	*last = entry;
	last = &entry->next;
	expedite |= soon;
	mtx_leave(&smr_mutex);
}

void smr_call(struct smr_entry *entry, void (*function)(void *), void *argument)
{
	__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
	queue(entry, function, argument, false);
}

static void passed(void *argument)
{
	__atomic_store_n((bool *)argument, true, __ATOMIC_RELEASE);
}

static void barrier(bool soon)
{
	struct smr_entry entry;
	bool over = false;

	host_may_sleep("smr_barrier() or smr_flush()");
	smr_init(&entry);
	queue(&entry, passed, &over, soon);
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		host_nap(20);
}

void smr_barrier(void)
{
	barrier(false);
}

void smr_flush(void)
{
	barrier(true);
}

static void work(void *argument)
{
	struct smr_entry *entries, *entry;
	bool held;

	(void)argument;
	while (!__atomic_load_n(&quit, __ATOMIC_RELAXED)) {
		for (unsigned int i = 0; i < 10 && !__atomic_load_n(&expedite, __ATOMIC_RELAXED); i++)
			host_nap(PAUSE / 10);
		mtx_enter(&smr_mutex);
		held = hold;
		entries = held ? NULL : first;
		if (!held) {
			first = NULL;
			last = &first;
			expedite = false;
		}
		mtx_leave(&smr_mutex);
		while ((entry = entries)) {
			while (!host_section_past(entry->mark))
				host_nap(20);
			entries = entry->next;
			entry->function(entry->argument);
		}
	}
}

void mock_start(void)
{
	mtx_init(&smr_mutex, IPL_MPFLOOR);
	quit = false;
	smr_thread = host_thread(work, NULL);
}

void mock_stop(void)
{
	__atomic_store_n(&quit, true, __ATOMIC_RELAXED);
	host_join(smr_thread);
	if (first)
		host_fail("callbacks are left");
}

/* What is on its way when it holds is seen to end; so a test holds while nothing is. */
void mock_hold(bool on)
{
	mtx_enter(&smr_mutex);
	hold = on;
	mtx_leave(&smr_mutex);
}

unsigned long mock_started(void)
{
	return __atomic_load_n(&calls, __ATOMIC_RELAXED);
}

/* ---- mutex(9), tsleep(9) ---- */

void mtx_init(struct mutex *mutex, int level)
{
	if (level != IPL_MPFLOOR)
		host_fail("a mutex that who takes the kernel lock may interrupt");
	host_mutex_init(mutex);
	mutex->level = level;
}

void mtx_enter(struct mutex *mutex)
{
	host_mutex_lock(mutex);
}

/* The kernel's, too, reads the level after others may enter. */
void mtx_leave(struct mutex *mutex)
{
	host_mutex_unlock(mutex);
	if (host_random() % 4 == 0)
		host_nap(200);
	if (mutex->level != IPL_MPFLOOR)
		host_fail("mtx_leave() of a mutex whose memory is somebody else's");
}

int msleep_nsec(void *channel, struct mutex *mutex, int priority, const char *message, uint64_t nsecs)
{
	(void)message;
	if (nsecs != INFSLP)
		host_fail("a timeout");
	if (host_random() % 4 == 0)
		host_nap(20); /* who wakes without the mutex, wakes nobody now */
	host_channels_lock();
	host_mutex_unlock(mutex);
	host_channel_sleep(channel);
	if (!(priority & PNORELOCK))
		mtx_enter(mutex);
	return 0;
}

void wakeup(void *channel)
{
	host_channel_wake(channel);
}

/* ---- pool_init(9), malloc(9) ---- */

void pool_init(struct pool *pool, size_t size, u_int align, int level, int flags, const char *message,
	       struct pool_allocator *allocator)
{
	(void)message;
	if (level != IPL_MPFLOOR || flags || allocator)
		host_fail("pool_init()");
	pool->size = size;
	pool->align = align;
}

void pool_destroy(struct pool *pool)
{
	pool->size = 0;
}

void *pool_get(struct pool *pool, int flags)
{
	if (flags & PR_WAITOK)
		host_may_sleep("pool_get()");
	return host_alloc(pool->size, pool->align);
}

void pool_put(struct pool *pool, void *item)
{
	(void)pool;
	host_free(item);
}

/* What it returns is aligned as needed for any type, no more. */
void *malloc(size_t size, int type, int flags)
{
	char *memory;

	(void)type;
	if (flags & M_WAITOK)
		host_may_sleep("malloc()");
	memory = host_alloc(size + 32, 64);
	return memory ? memory + 16 : NULL;
}

void free(void *memory, int type, size_t size)
{
	(void)type;
	(void)size;
	host_free((char *)memory - 16);
}

void panic(const char *format, ...)
{
	host_fail("panic: %s", format);
}
