/* SPDX-License-Identifier: ISC */
/* Stores as arrays, and whether some order of the calls explains what they answered. */
#ifndef CLEAVE_SIM_ANON_MODEL_H
#define CLEAVE_SIM_ANON_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define STORES 8u /* two prepared ones, and two clones of each thread */
#define SLOTS 4u
#define THREADS 3u
#define MOST_CALLS 4u /* of one thread */

enum kind {
	NOTHING,
	READ,	/* a read fault: what the page says */
	LOOK,	/* a lookup: is there anything? */
	FILL,	/* into an empty slot; answers what was there */
	WRITE,	/* a write fault: answers what was there */
	POKE,	/* a store by the program: through a translation, else a fault */
	REMOVE, /* answers what was there */
	WIPE,	/* [slot, last] */
	CLONE,	/* of the store; the clone is the thread's */
	FLUSH,	/* what this thread retired loses its counts */
	WALK,	/* all tokens are brought in */
	MAP,	/* one more window over [slot, last] */
	UNMAP,	/* one fewer; slots without a window are emptied */
	CHILD,	/* a clone that keeps only a window over [slot, last] */
	RESIZE,	/* the store has `slot` slots from now on; one thread does that; answers how many it had */
	DROUGHT, /* from now on there is no memory */
	BOTH,	/* clones of stores 0 and 1, of one instant: the thread's first and second */
	END,	/* the thread's clone goes */
	ITERATE, /* over [slot, last]; answers which are there, as bits */
	COPY,	/* slots [slot, last] of the thread's own clone, which nobody else knows, get anons of their own */
	STOP,	/* all changes stop, as for fork() */
	REOPEN,	/* the thread gets another context */
	REPLACE, /* what is there, without marking the slot; answers what that was; changes nothing if nothing was */
	LOCK,	/* and unlock the anon that is there */
	LIMIT,	/* the first call: from the beginning no more than `value` things wait in a context */
	KINDS
};

#define SECOND 3u /* from a thread's first clone to its second */

#define NO_SLOT 255u /* the answer beyond the end of a store */

struct call {
	enum kind kind;
	uint8_t store;
	uint8_t slot;
	uint8_t last;
	uint8_t value;
};

struct record {
	struct call call;
	uint8_t answer;
	bool failed;	   /* it has done nothing: no memory, or slots that are dying */
	uint32_t began;	   /* calls that had returned by then */
	uint32_t returned; /* 0: not yet */
	uint32_t clock;
	uint32_t seen; /* in stale memory: mask of the calls that happened before */
};

struct state {
	uint8_t value[STORES][SLOTS];
	uint8_t windows[STORES][SLOTS];
	uint8_t size[STORES];
};

/* What must be explained: records[thread][i], and the state at the end. */
bool anon_explained(const struct state *start, const struct state *end, struct record records[THREADS][MOST_CALLS],
		    const unsigned int *ncalls, bool weak);

#endif
