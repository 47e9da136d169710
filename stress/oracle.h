/* SPDX-License-Identifier: ISC */
/*
 * The history of one stripe of addresses, written by the stripe's only writer, its owner, and read by everybody who
 * wants to know whether an answer of the index was right.
 *
 * The owner's changes are numbered from 1; state k is what the stripe looks like after change k.  A life says that the
 * entry (first, last, value) exists in the states [from, to); a gap is an entry without value.  Around each change:
 *
 *	owner						reader
 *	-----						------
 *	lives that change k begins or ends		a = clock / 2		[O2-acq]
 *	clock = 2k - 1		[O1-rel]		asks the index
 *	changes the index				b = (clock + 1) / 2	[O1-acq]
 *	clock = 2k		[O2-rel]		looks for the life
 *
 * The call's instant lies in one of the states a..b: a change that ended before the call began is not undone in it, and
 * one that had not begun when the call returned is not in it.  So an answer is right if and only if a life of exactly
 * this entry meets [a, b], as far as anybody can tell from outside.
 *
 * A thread's calls are ordered: who has seen a life that began in state k will not be shown an older state.  Readers
 * raise their a to that.
 *
 * Lives stand in buckets by hash of `first`, and the one that ended longest ago makes room for a new one.  `lost` of a
 * bucket is the latest end of those: if no life fits and lost > a, the answer cannot be judged.  Everything is a word
 * with acquire and release, so that nothing here is a data race.
 */
#ifndef STRESS_ORACLE_H
#define STRESS_ORACLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORACLE_OPEN UINT64_MAX /* a life's end that has not come yet */
#define ORACLE_SPANS 16	       /* lives of one entry in one window, at most */
#define ORACLE_HOT 64

struct life {
	_Atomic uint64_t version; /* odd: being written */
	_Atomic uint64_t first;
	_Atomic uint64_t last;
	_Atomic uint64_t value;
	_Atomic uint64_t from;
	_Atomic uint64_t to;
};

struct oracle {
	_Atomic uint64_t clock;
	uint64_t pad[7];
	_Atomic uint64_t hot[ORACLE_HOT]; /* where something changed lately */
	_Atomic uint64_t *lost;		  /* for each bucket */
	struct life *life;		  /* ways for each bucket */
	size_t buckets;			  /* a power of two */
	unsigned int ways;
	struct life *death;    /* gaps in the order of their ends, a ring; version: 2 * number */
	size_t deaths;	       /* its size, a power of two */
	_Atomic uint64_t died; /* so many were logged */
};

/* States [from, to). */
struct span {
	uint64_t from;
	uint64_t to;
};

struct spans {
	unsigned int n;
	struct span span[ORACLE_SPANS];
};

/* The states that a call may have seen, both inclusive. */
struct window {
	uint64_t a;
	uint64_t b;
};

enum verdict {
	RIGHT,
	WRONG,
	UNDECIDED, /* the history does not reach back so far */
};

int oracle_init(struct oracle *oracle, size_t buckets, unsigned int ways, size_t deaths);
void oracle_exit(struct oracle *oracle);

/* ---- The owner ---- */

/* The state that the next change makes. */
uint64_t oracle_next(const struct oracle *oracle);
/* Before the change: an entry that begins to exist.  NULL: no room; then the bucket decides nothing any more. */
struct life *oracle_begin(struct oracle *oracle, const void *value, uint64_t first, uint64_t last, uint64_t state);
/* Before the change: it ends. */
void oracle_end(struct oracle *oracle, struct life *life, uint64_t state);
void oracle_announce(struct oracle *oracle); /* the last thing before the change */
void oracle_settle(struct oracle *oracle);   /* the first thing after it */

/* ---- Readers ---- */

static inline uint64_t oracle_before(const struct oracle *oracle)
{
	/* [O2-acq] a change whose end is seen is in what is read next; pairs with [O2-rel] oracle_settle() */
	return atomic_load_explicit(&oracle->clock, memory_order_acquire) >> 1;
}

static inline uint64_t oracle_after(const struct oracle *oracle)
{
	/* [O1-acq] a change that the index showed has been announced; pairs with [O1-rel] oracle_announce() */
	return (atomic_load_explicit(&oracle->clock, memory_order_acquire) + 1) >> 1;
}

/* The lives of exactly this entry that meet the window.  UNDECIDED: there may have been more (some may be found). */
enum verdict oracle_lives(const struct oracle *oracle, const void *value, uint64_t first, uint64_t last,
			  struct window window, struct spans *spans);

/* Was [first, last] inside one gap in a state of the window?  Asked after the gaps that are open were looked at. */
enum verdict oracle_was_gap(const struct oracle *oracle, uint64_t first, uint64_t last, struct window window);

/* Keep of `spans` what also meets one of `with`. */
void spans_intersect(struct spans *spans, const struct spans *with);

#endif
