/* SPDX-License-Identifier: ISC */
/*
 * A thread of the job: its record in the domain, its random numbers, its counters, the objects that it hands out and
 * takes back, and the ring of what it did last.
 */
#ifndef STRESS_WORKER_H
#define STRESS_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include <cleave/cleave.h>

#include "flavour.h"

/* ---- Counters ---- */

/* Name, what the table calls it. */
#define STRESS_COUNTS(X)                                    \
	X(STORES, "store")                                  \
	X(ERASES, "erase")                                  \
	X(INSERTS, "insert")                                \
	X(CONFLICTS, "insert, conflict")                    \
	X(CLIPS, "clip")                                    \
	X(UNCLIPS, "unclip")                                \
	X(REPLACES, "replace_if")                           \
	X(MISMATCHES, "replace_if, mismatch")               \
	X(ALLOCS, "alloc")                                  \
	X(ALLOCS_FULL, "alloc, no room")                    \
	X(TXNS, "transaction")                              \
	X(PUTS, "transaction, puts")                        \
	X(PUBLISHES, "transaction, publish and end")        \
	X(ABORTS, "transaction, abort")                     \
	X(TRIES, "try form")                                \
	X(TRIES_AGAIN, "try form, EAGAIN")                  \
	X(INVALIDS, "invalid arguments")                    \
	X(LOOKUPS, "lookup")                                \
	X(TICKETS, "lookup with ticket")                    \
	X(TICKETS_VALID, "ticket valid")                    \
	X(COVERS, "covers")                                 \
	X(COVERS_AGAIN, "covers, EAGAIN")                   \
	X(COVERS_LOCKED, "covers, outside of a section")    \
	X(VISITS_UP, "cursor, visits upward")               \
	X(VISITS_DOWN, "cursor, visits downward")           \
	X(FINDS, "find_gap")                                \
	X(FINDS_FULL, "find_gap, no room")                  \
	X(CHECKED, "answers checked (value, first, last)")  \
	X(UNDECIDED_ANSWERS, "answers undecided")           \
	X(CHECKED_GAPS, "places checked")                   \
	X(UNDECIDED_GAPS, "places undecided")               \
	X(CHECKED_CHANGES, "changes checked around")        \
	X(CHECKED_DISPLACED, "displaced entries checked")   \
	X(CHECKED_STRIPES, "whole stripes compared")        \
	X(CHECKED_SNAPSHOTS, "recorded snapshots compared") \
	X(CHECKED_PAIRS, "pairs checked")                   \
	X(CHECKED_HULLS, "shared answers checked")          \
	X(CHECKED_ALLOCS, "allocs checked")                 \
	X(CHECKED_INDEX, "cleave_check()")                  \
	X(EFFECTS, "recorded effects")                      \
	X(DELAYS, "delays")

enum count {
#define X(name, text) COUNT_##name,
	STRESS_COUNTS(X)
#undef X
		COUNTS
};

extern const char *const count_names[COUNTS];

/* ---- Random numbers ---- */

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng) /* splitmix64, Steele, Lea and Flood 2014 */
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return rng_next(rng) % n;
}

static inline bool one_in(struct rng *rng, uint64_t n)
{
	return rng_below(rng, n) == 0;
}

/* ---- Objects ---- */

#define AGES 6	   /* of the histogram */
#define AGE_FREE 4 /* objects are used again at this age */

enum object_kind {
	OBJECT_OWNED,  /* in a stripe with an owner */
	OBJECT_FENCE,  /* at the edges of stripes */
	OBJECT_COMMON, /* where everybody changes everything */
	OBJECT_PAIR,
	OBJECT_HEAP,
};

/*
 * What a value points to.  Its memory stays an object's for the whole job, so that a reader who sees one too late can
 * tell.  Fields but `age` and `mapped` are written before it is published, or at age AGE_FREE.
 */
struct object {
	_Atomic uint32_t age; /* 0; 1: displaced; and 1 more for each grace period since */
	enum object_kind kind;
	uint32_t attributes;	/* of a mapping: trace.h, space.h */
	uint32_t tiles;		/* owned: in so many tiles of the model */
	_Atomic int64_t mapped; /* common: addresses under it */
	int64_t census;		/* the same, counted while all stand still */
	uint64_t first;		/* it was put here, and is never seen elsewhere */
	uint64_t last;
	uint64_t tag;	 /* pair: the version; heap: the holder */
	uint64_t serial; /* never used again */
	struct object *next;
};

struct object_list {
	struct object *head;
	struct object *tail;
	size_t count;
};

struct object_slab;

struct objects {
	struct object_slab *slabs;
	struct object_list free;
	struct object_list limbo[AGE_FREE]; /* [0]: no cookie yet; the others wait for `cookie` at this age */
	uint64_t cookie;
	bool waiting;
	size_t made;
	size_t waiting_count;
	uint64_t serials;
};

/* ---- History ---- */

#define HISTORY 64

struct step {
	const char *what;
	uint64_t first;
	uint64_t last;
	uint64_t serial;
	uint64_t state;
	int result;
};

/* ---- Workers ---- */

#define SEEN 64

struct job;

struct worker {
	struct job *job;
	const struct flavour *flavour;
	void *record;
	struct cleave_thread *self;
	struct cleave *index;
	unsigned int number;
	bool inside;
	struct rng rng;
	_Atomic uint64_t counts[COUNTS]; /* written by this thread */
	_Atomic uint64_t ages[AGES];
	uint64_t *floor;	   /* for each stripe: the newest state seen */
	struct object *seen[SEEN]; /* in this section */
	unsigned int nseen;
	struct objects objects;
	struct step history[HISTORY];
	uint64_t steps;
	int64_t balance; /* common addresses that it mapped, less those that it displaced */
	pthread_t thread;
};

static inline void count(struct worker *worker, enum count what, uint64_t n)
{
	atomic_store_explicit(&worker->counts[what],
			      atomic_load_explicit(&worker->counts[what], memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* Return: 0 or -ENOMEM. */
int worker_init(struct worker *worker, struct job *job, unsigned int number);
/* Register the calling thread. */
void worker_start(struct worker *worker);
void worker_stop(struct worker *worker);
/* After everybody has stopped. */
void worker_free(struct worker *worker);

void worker_enter(struct worker *worker);
/* Checks the ages of what was seen. */
void worker_leave(struct worker *worker);
void worker_saw(struct worker *worker, const void *value);

/* Now and then nothing, a yield, a spin or a nap: so that schedules vary. */
void worker_delay(struct worker *worker);

/* Between two operations: stand still if that is wanted.  Return false when the job is over. */
bool worker_goes_on(struct worker *worker);

void worker_did(struct worker *worker, const char *what, uint64_t first, uint64_t last, const struct object *object,
		uint64_t state, int result);

struct object *object_new(struct worker *worker, enum object_kind kind, uint64_t first, uint64_t last);
/* It is in the index no more. */
void object_retire(struct worker *worker, struct object *object);
/* It never was. */
void object_drop(struct worker *worker, struct object *object);

#endif
