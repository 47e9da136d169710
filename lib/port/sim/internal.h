/* SPDX-License-Identifier: ISC */
/* What the two halves of the simulator share: sim.c decides who runs, memory.c what a load returns. */
#ifndef CLEAVE_SIM_INTERNAL_H
#define CLEAVE_SIM_INTERNAL_H

#include "../../branch.h"
#include "../../leaf.h"

#include "sim.h"

#define ARENA_SIZE (1u << 20)
#define ARENA_NODES 4096u

/* A vector clock: of each thread, the accesses that happened before.  A thread's own runs on with each release. */
typedef uint32_t clock_vector __attribute__((vector_size(4 * SIM_THREADS)));

static inline void clock_join(clock_vector *a, clock_vector b)
{
	clock_vector above = (clock_vector)(b > *a);

	*a = (b & above) | (*a & ~above);
}

struct thread {
	void *stack;
	void *sp;
	bool finished;
	const void *parked; /* the word it sleeps on */
	uint64_t awaited;   /* the cookie that it waits for */
	clock_vector seen;
	uint64_t chain; /* hash of all that it did and learned */
	int64_t priority;
	const char *call;
	uint64_t returns;
	/* its read sections, numbered from 1 */
	bool inside;
	uint32_t section;
};

struct sim {
	bool running;
	bool trace;
	unsigned int cur;
	unsigned int nthreads;
	struct thread threads[SIM_THREADS];
	struct sim_options options;
	uint64_t random;
	uint64_t schedule;
	unsigned int steps;
	unsigned int preemptions;
	unsigned int deviations;
	bool weak; /* loads may be stale */
};

extern struct sim sim;

static inline struct thread *self(void)
{
	return &sim.threads[sim.cur];
}

static inline uint64_t sim_mix(uint64_t hash, uint64_t x)
{
	hash ^= x + UINT64_C(0x9e3779b97f4a7c15);
	hash *= UINT64_C(0xff51afd7ed558ccd);
	return hash ^ hash >> 32;
}

static inline void learn(uint64_t x)
{
	self()->chain = sim_mix(self()->chain, x);
}

static inline uint32_t own_clock(void)
{
	return self()->seen[sim.cur];
}

/* A point where another thread may go on. */
void sim_point(void);

/* Choose among n outcomes of which the first is the plain one. */
unsigned int sim_deviate(unsigned int n);

/* Forget the stores of the last execution. */
void sim_memory_reset(void);

/* The newest value of a word. */
uint64_t sim_newest(const void *word, unsigned int size);

/* A node is given back: nobody may use it, now or later. */
void sim_node_freed(void *node);

/* Where an address is, for people. */
const char *sim_name(const void *word);

#endif
