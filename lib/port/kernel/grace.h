/* SPDX-License-Identifier: ISC */
/*
 * Grace periods by number, for the kernels: these run them, and say when one has ended, but give no tokens that are
 * taken without starting one, that can be compared, and that never wrap.
 *
 *	cookie(), after unlinking		who starts a grace period
 *	-------------------------		-------------------------
 *	c = RMW(started) + 1 [U1-rel]		s = RMW(started) + 1 [U1-acq]
 *						the kernel's grace period, begun now, ends
 *	done when done >= c [U2-acq]		done = max(done, s) [U2-rel]
 *
 * This is lib/port/urcu/urcu.c's protocol, argued for there and in doc/memory-order.md.  Of two read-modify-writes of
 * one word one is first.  If cookie()'s is, the starter's sees the unlinking, and so does every reader for whom the
 * kernel does not wait.  If the starter's is, the cookie is for the next grace period.  What a platform needs for it:
 *
 *	Need: what precedes the start of a grace period in its thread is seen by each section that it does not wait for:
 *	      a full barrier after begin(), the kernel's or the port's.
 *	Need: what is done in a section that it waits for precedes what its end is followed by: a callback, a wait's
 *	      return, or a poll that says yes.
 *
 * Any number may be under way; one that is never seen to end is of no consequence, as long as a later one is.
 *
 * Where the end comes by itself, as a callback, `wanted` and the question whether one is under way are looked at under
 * one lock, so that no wish is lost:
 *	1. callback of 4: nobody wants 5			2. writer: wants 5; one is under way: returns
 *	3. callback: none is under way any more: 5 is never begun
 * Where it is polled, who is not served asks again.
 */
#ifndef CLEAVE_KERNEL_GRACE_H
#define CLEAVE_KERNEL_GRACE_H

#include "../port.h"

#include "grace_types.h"

#define CLEAVE__QUIET 64u /* changes from one push of a thread to the next */

#define cleave__container(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/*
 * For what was unlinked by any store.  CLEAVE__FULL_BARRIER is for processors on which a barrier and a load do for the
 * read-modify-write, and leave the line shared among all writers: x86.
 */
static inline uint64_t cleave__grace_cookie(struct cleave_grace *grace)
{
#ifdef CLEAVE__FULL_BARRIER
	CLEAVE__FULL_BARRIER();
	return PORT_LOAD(&grace->started, PORT_SEQ_CST) + 1; /* [U1-sc] */
#else
	return PORT_FETCH_ADD(&grace->started, 0, PORT_RELEASE) + 1; /* [U1-rel] */
#endif
}

/* For what was unlinked by sequentially consistent stores: in one order with this load and begin() [U1-sc]. */
static inline uint64_t cleave__grace_cookie_stored(const struct cleave_grace *grace)
{
	return PORT_LOAD(&grace->started, PORT_SEQ_CST) + 1; /* [U1-sc] */
}

static inline bool cleave__grace_done(const struct cleave_grace *grace, uint64_t cookie)
{
	return PORT_LOAD(&grace->done, PORT_ACQUIRE) >= cookie; /* [U2-acq] */
}

/*
 * In a section.  One that this load does not see to have begun, begins after it, and waits for the section.  [U1-acq]
 * What was unlinked before the cookies of those that it sees, is seen to be: on a machine that shows a store to all
 * others at once (doc/memory-order.md, U1).
 */
static inline uint64_t cleave__grace_begun(const struct cleave_grace *grace)
{
	return PORT_LOAD(&grace->started, PORT_ACQUIRE) + 1;
}

#if defined(__x86_64__) || defined(__aarch64__)
#define CLEAVE__GRACE_BEGUN(function) (function)
#define CLEAVE__GRACE_STARTED(grace) (&(grace)->started)
#else
#define CLEAVE__GRACE_BEGUN(function) NULL
#define CLEAVE__GRACE_STARTED(grace) NULL
#endif

/* Just before the kernel is told to start one, with a full barrier in between.  Return: its number. */
static inline uint64_t cleave__grace_begin(struct cleave_grace *grace)
{
	/* [U1-acq] [U1-sc] What was unlinked before a cookie precedes the grace period it is for. */
	return PORT_FETCH_ADD(&grace->started, 1, PORT_SEQ_CST) + 1;
}

/* One of that number has ended. */
static inline void cleave__grace_end(struct cleave_grace *grace, uint64_t number)
{
	uint64_t done = PORT_LOAD(&grace->done, PORT_RELAXED);

	/* [U2-rel] Readers' last accesses before the reuse.  Of two that end together the greater counts. */
	while (done < number)
		if (PORT_CAS(&grace->done, &done, number, PORT_RELEASE, PORT_RELAXED))
			break;
}

/* For callbacks.  Has somebody asked for this one, so that it comes without asking again? */
static inline bool cleave__grace_asked(const struct cleave_grace *grace, uint64_t cookie)
{
	return PORT_LOAD(&grace->wanted, PORT_RELAXED) >= cookie;
}

/* Under the port's lock. */
static inline void cleave__grace_ask(struct cleave_grace *grace, uint64_t cookie)
{
	if (PORT_LOAD(&grace->wanted, PORT_RELAXED) < cookie)
		PORT_STORE(&grace->wanted, cookie, PORT_RELAXED);
}

/* Under the port's lock: is another one to be started? */
static inline bool cleave__grace_more(const struct cleave_grace *grace)
{
	return PORT_LOAD(&grace->wanted, PORT_RELAXED) > PORT_LOAD(&grace->done, PORT_RELAXED);
}

#endif
