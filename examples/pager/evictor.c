/* SPDX-License-Identifier: ISC */
/*
 * Keeping the number of pages below the limit.  The evictor takes the processes by turns, and in each the pages in
 * order of address, round and round: userfaultfd does not say which pages are used.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "pager.h"

#define SLACK 64u	    /* handlers wait only when it is over the limit by more */
#define MOMENT_NS 20000000L /* between looks, if nobody asks */
#define SAMPLE_NS 300000000u

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	pthread_cond_t done;
	uint64_t rounds;    /* [lock] */
	_Atomic bool stuck; /* nothing can be evicted now: nobody waits */
	uint32_t turn;
} evictor = { .lock = PTHREAD_MUTEX_INITIALIZER, .wanted = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER };

static bool over_limit(uint64_t limit)
{
	return pager.options.limit && get(&pager.resident) > limit;
}

static uint64_t low_mark(void)
{
	uint64_t limit = pager.options.limit, below = limit / 16 < 256 ? limit / 16 : 256;

	return limit - below;
}

bool lacks_room(void)
{
	return over_limit(low_mark());
}

static void moment_from_now(struct timespec *until)
{
	clock_gettime(CLOCK_REALTIME, until);
	until->tv_nsec += MOMENT_NS;
	until->tv_sec += until->tv_nsec / 1000000000;
	until->tv_nsec %= 1000000000;
}

void evictor_kick(void)
{
	pthread_cond_signal(&evictor.wanted);
}

void wait_for_room(void)
{
	uint64_t limit = pager.options.limit;
	struct timespec until;

	if (!over_limit(limit))
		return;
	evictor_kick();
	if (!over_limit(limit + SLACK))
		return;
	count(&pager.throttled);
	pthread_mutex_lock(&evictor.lock);
	while (over_limit(limit) && !evictor.stuck && !pager.ending) {
		moment_from_now(&until);
		pthread_cond_timedwait(&evictor.done, &evictor.lock, &until);
	}
	pthread_mutex_unlock(&evictor.lock);
}

/* A batch of each process.  Return: how many pages. */
static size_t evict_round(void)
{
	uint32_t n = pager.nprocesses;
	size_t evicted = 0;

	for (uint32_t i = 0; i < n && over_limit(low_mark()); i++) {
		struct process *process = process_at(evictor.turn++ % n);

		if (!process)
			continue;
		self->process = process;
		if (process->state == PROCESS_READY && process->helper)
			evicted += pager.engine->evict(process, PAGER_LIST);
		process_leave(process);
	}
	return evicted;
}

/* How many entries the maps have, now and then. */
static void sample_entries(void)
{
	static uint64_t sampled_at;
	uint64_t n = 0, now = clock_ns();

	if (now - sampled_at < SAMPLE_NS)
		return;
	sampled_at = now;
	for (uint32_t i = 0; i < pager.nprocesses; i++) {
		struct process *process = process_at(i);

		if (!process)
			continue;
		if (process->state == PROCESS_READY)
			n += pager.engine->entries(process);
		process_leave(process);
	}
	if (n > pager.entries_peak)
		pager.entries_peak = n;
}

static void *evict(void *nothing)
{
	struct worker *worker = aligned_alloc(64, (sizeof(*worker) + 63) & ~(size_t)63);
	unsigned int fruitless = 0;
	struct timespec until;

	(void)nothing;
	if (!worker)
		supervisor_fail(&pager.supervisor, "the evictor", ENOMEM);
	worker_start(worker);
	while (!pager.ending) {
		processes_bury();
		sample_entries();
		if (over_limit(low_mark())) {
			fruitless = evict_round() ? 0 : fruitless + 1;
			evictor.stuck = fruitless > 2;
			pthread_cond_broadcast(&evictor.done);
			if (!evictor.stuck)
				continue;
		}
		pthread_mutex_lock(&evictor.lock);
		moment_from_now(&until);
		pthread_cond_timedwait(&evictor.wanted, &evictor.lock, &until);
		pthread_mutex_unlock(&evictor.lock);
	}
	evictor.stuck = true;
	pthread_cond_broadcast(&evictor.done);
	worker_stop(worker);
	return NULL;
}

void evictor_start(void)
{
	thread_spawn(evict);
}
