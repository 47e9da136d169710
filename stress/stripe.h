/* SPDX-License-Identifier: ISC */
/*
 * A stripe of addresses that only one thread changes, and that thread's plain model of it: an array of tiles, gaps
 * among them, which cover the stripe.  Every change is planned on a copy of the tiles around it, announced to the
 * readers' oracle, made in the index, and settled.
 */
#ifndef STRESS_STRIPE_H
#define STRESS_STRIPE_H

#include <cleave/cleave.h>

#include "oracle.h"

struct object;
struct script;
struct worker;

struct tile {
	uint64_t first;
	uint64_t last;
	struct object *object; /* NULL: a gap */
	struct life *life;
};

struct tiles {
	struct tile *tile;
	size_t n;
	size_t room;
};

struct stripe {
	struct oracle oracle;
	unsigned int number;
	unsigned int owner; /* a worker's number */
	bool narrow;	    /* a few addresses between those of others, in the same leaves */
	uint64_t base;	    /* address 0 of a recording */
	uint64_t first;	    /* all of it */
	uint64_t last;
	uint64_t low; /* without the fences */
	uint64_t high;
	struct tiles tiles;
	struct tiles plan; /* will replace tiles [from, to) */
	size_t from;
	size_t to;
	const struct script *script; /* what is being replayed */
	size_t at;		     /* its next effect */
	uint64_t churn;		     /* a scaled one: changes left */
};

/* A put of a change. */
struct put {
	uint64_t first;
	uint64_t last;
	struct object *object;
};

#define STRIPE_BITS 48 /* of the addresses of a recording */

/* Where an address of the recording lies; those of the kernel's half are moved into the stripe too. */
static inline uint64_t stripe_fold(const struct stripe *stripe, uint64_t addr)
{
	return stripe->base + (addr & ((UINT64_C(1) << STRIPE_BITS) - 1));
}

size_t tiles_find(const struct tiles *tiles, uint64_t addr);

/* One gap, but for fences. */
int stripe_init(struct stripe *stripe, struct worker *main);
void stripe_exit(struct stripe *stripe);

/* ---- A change, step by step ---- */

/* Plan for a change inside [first, last]. */
void stripe_plan(struct stripe *stripe, uint64_t first, uint64_t last);
void stripe_plan_put(struct stripe *stripe, uint64_t first, uint64_t last, struct object *object);
/* Join the entries that meet at addr. */
void stripe_plan_join(struct stripe *stripe, uint64_t addr);
/* Tell the oracle; the index must be changed next. */
void stripe_announce(struct stripe *stripe);
/* The index was changed. */
void stripe_settle(struct stripe *stripe, struct worker *worker);

/* Is all of [first, last] in one gap? */
bool stripe_is_free(const struct stripe *stripe, uint64_t first, uint64_t last);

/* The best place for the request in the gap [first, last].  False: none. */
bool place_in_gap(const struct cleave_request *request, uint64_t first, uint64_t last, uint64_t *addr);
/* Is `x` a better answer than `y`?  Not for CLEAVE_RANDOM. */
bool place_is_better(const struct cleave_request *request, uint64_t x, uint64_t y);
/* What the index must answer.  False: no room. */
bool stripe_place(const struct stripe *stripe, const struct cleave_request *request, uint64_t *addr);

#endif
