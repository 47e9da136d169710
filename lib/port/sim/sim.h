/* SPDX-License-Identifier: ISC */
/*
 * The simulator: the core's real sources run by a few coroutines, one at a time.  Before each access to a shared word a
 * strategy decides who goes on, so that an execution is a function of its choices and can be repeated.
 *
 * Memory: C11; of fences only that of a grace period (sim_grace_fence()).  Each word keeps all its stores, in
 * the order in which they were made, with the clock that each one releases.  A load may return any store that is not
 * older than one that its thread must have seen (its own, one that happens before it, one that a load which happens
 * before it returned; for seq_cst loads, and behind a fence, also the newest seq_cst store that comes before them in
 * the single order, see order.h).  A read-modify-write takes the newest; it can be a full barrier as well, as on x86
 * (sim_options.locked).  Not modelled: a load that returns a store which is made later, and an order of stores that no
 * interleaving of them has.
 *
 * Races: plain accesses to cells, and each use of a node against its reuse or release, are checked by happens-before.
 * Grace periods are exact, and order no more than the contract says (grace.c): one begins somewhere between a cookie
 * and who asks whether that is done, and it is the sections entered after that which see what was before the cookie.
 *
 * All that is shared lies in the arena, which is put back before each execution.
 */
#ifndef CLEAVE_SIM_H
#define CLEAVE_SIM_H

#include <cleave/cleave.h>

#define SIM_THREADS 4

enum sim_strategy {
	SIM_RANDOM, /* any thread at each point, with a probability to stay that the seed decides */
	SIM_PCT,    /* random priorities, lowered at `bound` random points (Burckhardt et al., ASPLOS 2010) */
	SIM_DFS,    /* everything within `bound` preemptions and `deviations` */
};

/*
 * A deviation is a choice that is not the plain one: a load returns an older store, a grace period begins late, a
 * cookie is not done although it could be, an allocation fails, a parked thread wakes for nothing.
 */
struct sim_options {
	enum sim_strategy strategy;
	unsigned int bound;
	unsigned int deviations; /* of one execution, at most */
	bool stale;		 /* loads may return older stores */
	bool locked;		 /* each read-modify-write is a full barrier */
	bool false_done;
	bool fail_alloc;
	bool spurious;
	uint64_t seed;
	unsigned int length; /* PCT: the number of steps to place the points in; 0: learn it */
	const char *choices; /* a DFS execution to repeat, as sim_choices() wrote it; NULL: none */
	bool whole;	     /* DFS: states that were explored are entered again */
	bool trace;	     /* print each access */
};

enum sim_result {
	SIM_PASSED,
	SIM_FAILED,
	SIM_PRUNED, /* DFS: came into a state that was explored before */
};

/* Statistics of one execution. */
struct sim_execution {
	uint64_t schedule; /* hash of all choices */
	uint64_t trace;	   /* hash of the equivalence class: what each load returned, who waited for whom */
	unsigned int steps;
	unsigned int preemptions;
	unsigned int deviations;
	unsigned int length; /* as it was assumed */
};

extern const struct cleave_ops sim_ops;
extern const struct cleave_memory sim_memory;
/* What a domain may have as its `done` and `started`: in the place of asking sim_ops. */
extern const struct cleave_word sim_done, sim_started;

/* ---- The arena ---- */

struct sim_snapshot {
	void *bytes;
	size_t used;
	unsigned int nnodes;
	void *nodes;
};

void sim_arena_clear(void);
void *sim_arena_alloc(size_t size);
void sim_snapshot_take(struct sim_snapshot *snapshot);
void sim_snapshot_restore(const struct sim_snapshot *snapshot);
void sim_snapshot_free(struct sim_snapshot *snapshot);

/* What traces call `root` and `bucket`. */
extern const struct cleave *sim_index;
extern const struct cleave_domain *sim_domain;

/* ---- Executions ---- */

/* Begin to explore anew. */
void sim_explore(const struct sim_options *options);

/*
 * One execution: `body(thread)` for each thread.  The snapshot must have been restored.  Execution number `i` is the
 * seed's i-th; DFS goes on to the next choice.
 */
enum sim_result sim_execute(unsigned int nthreads, void (*body)(unsigned int thread), uint64_t i,
			    struct sim_execution *execution);

/* DFS: move to the next execution.  False: all were run. */
bool sim_next(void);

const char *sim_failure(void);
/* The choices of the last execution, for `choices`. */
const char *sim_choices(void);

uint64_t sim_hash(uint64_t hash, uint64_t x);

/* ---- Inside an execution ---- */

unsigned int sim_self(void);
/* A call begins: the number of calls that have returned.  It returns: the same, with this one. */
uint32_t sim_call(const char *name);
bool sim_traced(void); /* does anybody read that name? */
uint32_t sim_return(void);
/* May loads be stale in this execution?  If so, only happens-before orders the calls of different threads. */
bool sim_weak(void);
/* What the thread has released so far, and whether the calling thread has acquired that. */
uint32_t sim_clock(void);
bool sim_saw(unsigned int thread, uint32_t clock);
/*
 * The full barrier that each grace period which has begun had on the caller's processor: what was known when it began,
 * the caller's loads see from now on, whatever their order is.  Its own stores gain nothing by that: where no grace
 * period has begun, an entry is no barrier.
 */
void sim_grace_fence(void);
/* As sys_membarrier: a full barrier between the caller and each other thread, but not between two others. */
void sim_barrier(void);

_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Print a line of a trace. */
void sim_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
