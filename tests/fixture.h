/* SPDX-License-Identifier: ISC */
/*
 * Tests with threads, on a real domain.  The flavour is chosen as a user chooses it, by a macro before section.h.
 */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#if !defined(CLEAVE_SECTION_MEMB) && !defined(CLEAVE_SECTION_QSBR) && !defined(CLEAVE_SECTION_BP) && \
	!defined(CLEAVE_SECTION_CK)
#define CLEAVE_SECTION_MEMB
#endif

#include "support.h"

#include <cleave/section.h>
#include <pthread.h>

struct fixture {
	CLEAVE_SECTION_DOMAIN domain;
	CLEAVE_SECTION_THREAD main;
	struct counting_memory memory;
	struct cleave index;
	uint64_t seed;
};

#define FIXTURE_THREADS 8

/* A thread of a test, with its record. */
struct worker {
	CLEAVE_SECTION_THREAD record;
	struct fixture *fixture;
	struct rng rng;
	unsigned int number;
	void (*run)(struct worker *worker);
	void *context;
	pthread_t thread;
};

static inline struct cleave_thread *worker_self(struct worker *worker)
{
	return &worker->record.thread;
}

static inline void fixture_start(struct fixture *fixture, uint64_t garbage_limit)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture->seed = test_seed();
	counting_memory_init(&fixture->memory);
	CHECK(cleave_section_start(&fixture->domain, &fixture->memory.memory, garbage_limit) == 0, "domain");
	cleave_section_register(&fixture->main, &fixture->domain);
	CHECK(cleave_init(&fixture->index, &fixture->main.thread) == 0, "index");
}

static inline void fixture_stop(struct fixture *fixture)
{
	uint64_t live;

	cleave_destroy(&fixture->index, &fixture->main.thread);
	cleave_section_unregister(&fixture->main, &fixture->domain);
	cleave_section_stop(&fixture->domain);
	live = counting_memory_live(&fixture->memory);
	CHECK(live == 0, "%llu nodes leaked", (unsigned long long)live);
}

static inline void *worker_main(void *argument)
{
	struct worker *worker = argument;

	cleave_section_register(&worker->record, &worker->fixture->domain);
	worker->run(worker);
	cleave_section_unregister(&worker->record, &worker->fixture->domain);
	return NULL;
}

static inline void worker_start(struct worker *worker, struct fixture *fixture, unsigned int number,
				void (*run)(struct worker *worker), void *context)
{
	memset(worker, 0, sizeof(*worker));
	worker->fixture = fixture;
	worker->rng.state = fixture->seed * 31 + number;
	worker->number = number;
	worker->run = run;
	worker->context = context;
	CHECK(pthread_create(&worker->thread, NULL, worker_main, worker) == 0, "thread");
}

/* Wait for a thread; a registered qsbr thread that sleeps would stop all grace periods. */
static inline void worker_join(struct worker *worker)
{
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_offline();
#endif
	pthread_join(worker->thread, NULL);
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_online();
#endif
}

/* `n` workers from start to end. */
static inline void workers_run(struct fixture *fixture, struct worker *workers, unsigned int n,
			       void (*run)(struct worker *worker), void *context)
{
	for (unsigned int i = 0; i < n; i++)
		worker_start(&workers[i], fixture, i, run, context);
	for (unsigned int i = 0; i < n; i++)
		worker_join(&workers[i]);
}

#endif
