/* SPDX-License-Identifier: ISC */
/* What the urcu and ck ports share: parking on a futex, a lock for rare paths, and what Thread Sanitizer needs. */
#ifndef CLEAVE_USER_H
#define CLEAVE_USER_H

#include "../port.h"

#include <cleave/section.h>

#define CLEAVE__GARBAGE_LIMIT 16384 /* nodes; the default of a domain: 4 MiB of leaves */

#define cleave__container(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Sleep while *word == seen; may return early.  Without a timeout. */
void cleave__user_park(struct cleave_word32 *word, uint32_t seen);
/* The same, for some microseconds at the most.  False: it slept all of them. */
bool cleave__user_park_for(struct cleave_word32 *word, uint32_t seen, uint32_t microseconds);
/* Wake everybody who sleeps on the word. */
void cleave__user_wake(struct cleave_word32 *word);

/* A sleeping lock for paths that are not worth more: 0 free, 1 taken, 2 taken and somebody sleeps. */
void cleave__user_lock(struct cleave_word32 *lock);
bool cleave__user_trylock(struct cleave_word32 *lock);
void cleave__user_unlock(struct cleave_word32 *lock);

/*
 * Thread Sanitizer sees neither liburcu nor ConcurrencyKit at work.  What their grace periods order is told with
 * CLEAVE__TSAN_RELEASE at a section's end and CLEAVE__TSAN_ACQUIRE after the grace period; what their inner locks and
 * ours order by accident is hidden between CLEAVE__TSAN_HIDE and CLEAVE__TSAN_SHOW, because it would hide a lock that
 * is missing elsewhere.  Between those two an acquire or a release is ignored as well, and so are plain accesses.
 */
#ifdef CLEAVE_SECTION_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define CLEAVE__TSAN 1
#define CLEAVE__TSAN_ACQUIRE(address) __tsan_acquire(address)
#define CLEAVE__TSAN_RELEASE(address) __tsan_release(address)
#define CLEAVE__TSAN_HIDE()                              \
	(AnnotateIgnoreSyncBegin(__FILE__, __LINE__),    \
	 AnnotateIgnoreReadsBegin(__FILE__, __LINE__),   \
	 AnnotateIgnoreWritesBegin(__FILE__, __LINE__))
#define CLEAVE__TSAN_SHOW()                              \
	(AnnotateIgnoreWritesEnd(__FILE__, __LINE__),    \
	 AnnotateIgnoreReadsEnd(__FILE__, __LINE__),     \
	 AnnotateIgnoreSyncEnd(__FILE__, __LINE__))
#else
#define CLEAVE__TSAN 0
#define CLEAVE__TSAN_ACQUIRE(address) ((void)(address))
#define CLEAVE__TSAN_RELEASE(address) ((void)(address))
#define CLEAVE__TSAN_HIDE() ((void)0)
#define CLEAVE__TSAN_SHOW() ((void)0)
#endif

/*
 * Load a word that another thread counts up, behind a full barrier: for a cookie, a read-modify-write of that word
 * would do as well, but would take the line away from all others who need it.
 */
static inline uint64_t cleave__load_behind_barrier(struct cleave_word *word)
{
#if defined(__x86_64__) && !CLEAVE__TSAN
	struct cleave_word32 own = { 0 };

	/* [U1-rel] any locked instruction is a full barrier; mfence costs four times as much */
	PORT_EXCHANGE(&own, 1, PORT_SEQ_CST);
	return PORT_LOAD(word, PORT_SEQ_CST);
#else
	return PORT_FETCH_ADD(word, 0, PORT_RELEASE); /* [U1-rel] */
#endif
}

#endif
