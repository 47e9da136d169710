/* SPDX-License-Identifier: ISC */
/*
 * Addresses that all writers change.  Nobody knows what must be there, but:
 *	zones	an object is only ever seen inside the range where it was put; how many addresses are mapped under it is
 *		counted (added before publication, taken off by what changes displace), never below 0, and right when
 *		all stand still
 *	pairs	two entries far apart or near are always changed by one transaction: their versions are equal at each
 *		instant
 *	heap	what cleave_alloc() gives belongs to one thread until it erases it
 */
#ifndef STRESS_SHARED_H
#define STRESS_SHARED_H

#include <cleave/cleave.h>

struct job;
struct object;
struct worker;

#define SHARED_HELD 96

struct held {
	uint64_t first;
	uint64_t last;
	struct object *object;
};

struct shared {
	struct worker *worker;
	struct held held[SHARED_HELD];
	unsigned int nheld;
};

/* Fill the zones and pairs; by main.  Return: 0 or negative errno. */
int shared_init(struct worker *main);

void shared_start(struct shared *shared, struct worker *worker);
void shared_change(struct shared *shared);
void shared_stop(struct shared *shared);

void shared_query(struct worker *worker);
/* Outside of a read section. */
void shared_query_locked(struct worker *worker);

/* While everybody stands still. */
void shared_census(struct worker *main);

/* ---- Layout ---- */

#define SHARED_FIRST (UINT64_C(0x4000) << 48)
#define SHARED_LAST (SHARED_FIRST + 0x1fffff)
#define PAIRS 16 /* the first half near, the second far */
#define PAIR_SIZE 8
#define HEAP_FIRST (SHARED_FIRST + 0x100000)
#define HEAP_SIZE 0x8000
#define ZONES (PAIRS / 2 + 1)

struct zone {
	uint64_t first;
	uint64_t last;
};

/* Zone 0 is the large one; the others lie between the halves of the near pairs. */
struct zone shared_zone(unsigned int number);
/* Where a pair's half (0 or 1) begins. */
uint64_t shared_pair(unsigned int pair, unsigned int half);

#endif
