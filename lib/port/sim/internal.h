/* SPDX-License-Identifier: ISC */
/*
 * What the parts of the simulator share: sim.c decides who runs, memory.c what a load returns, grace.c what the core
 * asks of its RCU flavour.
 */
#ifndef CLEAVE_SIM_INTERNAL_H
#define CLEAVE_SIM_INTERNAL_H

#include "../../branch.h"
#include "../../leaf.h"

#include "sim.h"

#ifndef ARENA_SIZE
#define ARENA_SIZE (1u << 20)
#endif
#define ARENA_NODES 4096u

/*
 * A vector clock.  The low half: of each thread, the accesses that happened before; a thread's own runs on with each
 * release.  The high half: the sequentially consistent accesses that come before in their single order (order.h).
 */
typedef uint32_t clock_vector __attribute__((vector_size(4 * 2 * SIM_THREADS)));

static inline void clock_join(clock_vector *a, const clock_vector *b)
{
	clock_vector above = (clock_vector)(*b > *a);

	*a = (*b & above) | (*a & ~above);
}

struct thread {
	void *stack;
	void *sp;
	bool finished;
	const void *parked; /* the word it sleeps on */
	uint64_t awaited;   /* the cookie that it waits for */
	clock_vector seen;
	clock_vector visible; /* what full barriers add to that: stores that are seen, and do not happen before */
	clock_vector stored;  /* as it was at the last sequentially consistent store */
	clock_vector fenced;  /* what came before the last fence */
	bool has_fence;	      /* there was one */
	bool updated;	      /* by a read-modify-write, something, since it last counted that */
	bool counted;	      /* in the section that it is in */
	uint64_t chain;	      /* hash of all that it did and learned */
	int64_t priority;
	const char *call;
	uint64_t returns;
	/* its read sections, numbered from 1 */
	bool inside;
	uint32_t section;
	uint64_t entered; /* the last cookie that had its grace period then */
	uint64_t done;	  /* what it has read of sim_done */
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

/*
 * The same before an access to what `users` stands for: threads that read it, and in the high half those that write it,
 * in any execution so far.  DFS has no point there as long as no other thread's access conflicts: such a step is local,
 * it commutes with what others do, so a preemption before it and one before the next shared step are equivalent.  Where
 * a conflict comes to light DFS begins anew, so at its end no step that it took for local was none.
 */
void sim_point_at(uint8_t *users, bool write);

/* The running thread cannot go on. */
void sim_block(void);

/* Choose among n outcomes of which the first is the plain one. */
unsigned int sim_deviate(unsigned int n);

/* Forget the stores, the cookies and the sections of the last execution. */
void sim_memory_reset(void);
void sim_grace_reset(void);

/* Of a word; of cookies and sections: who enters and leaves reads them, who asks for a grace period writes them. */
uint8_t *sim_users_of(const void *word);
extern uint8_t sim_grace_users;

/* Loads of sim_done, of sim_started. */
uint64_t sim_grace_done(int order);
uint64_t sim_grace_started(int order);

/* The newest value of a word. */
uint64_t sim_newest(const void *word, unsigned int size);

/* A node is given back: nobody may use it, now or later. */
void sim_node_freed(void *node);

/* In which node an address is, and where in it; 0: in none. */
unsigned int sim_node_number(const void *p, uint32_t *field, uint32_t *size);

/* Where an address is, and what its value means, for people. */
const char *sim_name(const void *word);
const char *sim_node_name(unsigned int number, uint32_t size);
const char *sim_value_name(const void *word, unsigned int size, uint64_t value);
void sim_trace(const char *what, const void *word, unsigned int size, int order, uint64_t value, const char *more,
	       const struct sim_site *site);

#endif
