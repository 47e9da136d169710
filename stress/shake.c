/* SPDX-License-Identifier: ISC */
/*
 * Delays where no code asks for one: a thread sends signals to the others, whose handler naps.  So a reader is stopped
 * between two loads of one lookup, and a writer with a lock held, far more often than the scheduler would do it.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "job.h"

#define PERIOD_NS 250000

static void nap(int number)
{
	static _Thread_local uint32_t state;
	struct timespec time = { 0 };
	int saved = errno;

	(void)number;
	if (!state)
		state = (uint32_t)(uintptr_t)&state | 1;
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	time.tv_nsec = 1000 * (long)(state % (state >> 28 ? 64 : 2048));
	nanosleep(&time, NULL);
	errno = saved;
}

static void *shake(void *argument)
{
	struct job *job = argument;
	struct rng rng = { job->options.seed };

	while (!atomic_load_explicit(&job->shaken, memory_order_relaxed)) {
		struct timespec pause = { .tv_nsec = (long)rng_below(&rng, 2 * PERIOD_NS) };

		nanosleep(&pause, NULL);
		pthread_kill(job->workers[1 + rng_below(&rng, job->nworkers - 1)].thread, SIGUSR2);
	}
	return NULL;
}

int shake_start(struct job *job)
{
	struct sigaction action = { .sa_handler = nap, .sa_flags = SA_RESTART };

	sigaction(SIGUSR2, &action, NULL);
	return -pthread_create(&job->shaker, NULL, shake, job);
}

void shake_stop(struct job *job)
{
	atomic_store(&job->shaken, true);
	pthread_join(job->shaker, NULL);
}
