/* SPDX-License-Identifier: ISC */
/*
 * Read sections and domains, ready to use.  Define one of these before you include this header, the same in every
 * file that shares a domain:
 *
 *   CLEAVE_SECTION_MEMB   liburcu with sys_membarrier: the default in userspace
 *   CLEAVE_SECTION_QSBR   liburcu, quiescent states: no cost to enter; the caller announces quiescent states
 *   CLEAVE_SECTION_BP     liburcu "bulletproof": threads need no registration
 *   CLEAVE_SECTION_CK     ConcurrencyKit's epoch: no helper thread, no malloc, records owned by the caller.  (C only:
 *			   ConcurrencyKit's own headers, 0.7.1, are not valid C++.)
 *
 * `pkg-config --cflags --libs cleave-memb` (cleave-qsbr, cleave-bp, cleave-ck) defines it and names what to link.
 *
 *	CLEAVE_SECTION_THREAD	the type of a thread's record; its member `thread` is the struct cleave_thread
 *	cleave_section_register / unregister(&record, &domain)	 once a thread that reads or writes, before and after
 *								 its use, by itself; also where liburcu knows it
 *	cleave_section_enter / leave(&record)			 around lookups; not nested
 *	cleave_section_quiescent(&record)			 qsbr: now and then, outside of sections, for
 *								 each record; else nothing
 *
 * and the domain: struct cleave_urcu or struct cleave_ck, whose member `domain` is the struct cleave_domain.
 *
 * All of this is called outside of read sections, except leave, and enter in a signal handler.
 *
 * Signals: with memb, bp and ck a handler may enter a section with the record of the thread that it interrupts,
 * wherever that is between register and unregister: in a section, or in a call of the library.  (With bp the thread has
 * been in a section before.)  Not with qsbr: a call that sleeps takes its thread offline, and a handler would read
 * unprotected.
 */
#ifndef CLEAVE_SECTION_H
#define CLEAVE_SECTION_H

#include "cleave.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Thread Sanitizer cannot see through liburcu or ConcurrencyKit: tell it that a section's reads precede reuse.  (Do not
 * define _LGPL_SOURCE then: it would see plain accesses in liburcu's inlines and report them.)
 */
#if defined(__SANITIZE_THREAD__)
#define CLEAVE_SECTION_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CLEAVE_SECTION_TSAN 1
#endif
#endif
#ifdef CLEAVE_SECTION_TSAN
CLEAVE_API void cleave_section_tsan_leave(struct cleave_thread *self);
#else
static inline void cleave_section_tsan_leave(struct cleave_thread *self)
{
	(void)self;
}
#endif

/*
 * Memory for a domain.
 * libc	   aligned_alloc() and free(), which take 320 bytes for a leaf's 256
 * packed  straight from the kernel, nodes without space between them and none over the end of a page, so that less of
 *	   the address space has to be in the TLB.  Calls no malloc().  Goes back to the kernel 64 KiB at a time.
 *	   Nodes of several writers are neighbours then, and processors fetch a neighbour's line: doc/benchmark.md
 * huge	   the same, in huge pages where the system allows it (transparent_hugepage/enabled is madvise or always):
 *	   for indexes that are larger than the caches.  2 MiB at a time, which stay with the process.
 * The latter two belong to the process, whatever the number of domains, and may be used in a forked child, and in
 * handlers of pthread_atfork() that are registered after the library was loaded.
 */
CLEAVE_API extern const struct cleave_memory cleave_memory_libc;
CLEAVE_API extern const struct cleave_memory cleave_memory_packed;
CLEAVE_API extern const struct cleave_memory cleave_memory_huge;

/*
 * Any memory, counted: for a domain that is to be told &counted.memory.  All that its indexes, maps and stores allocate
 * goes through it, what threads keep for later included.  Two atomic additions an allocation, one line for all threads:
 * nodes that are used again count nothing.  Outlives the domain.
 */
struct cleave_counted_memory {
	struct cleave_memory memory;
	const struct cleave_memory *below; /* [I] */
	uint64_t pad[5];
	struct cleave_word bytes;    /* [a] */
	struct cleave_word peak;     /* [a] */
	struct cleave_word blocks;   /* [a] */
	struct cleave_word failures; /* [a] */
	uint64_t pad1[4];
};

struct cleave_memory_usage {
	uint64_t bytes; /* allocated and not freed, as asked for: without what the memory below adds */
	uint64_t peak;	/* the most that `bytes` ever was */
	uint64_t blocks;
	uint64_t failures; /* allocations that were refused */
};

/* Context: any; cannot fail.  Complexity: O(1).  below: kept, not copied. */
CLEAVE_API void cleave_counted_memory_init(struct cleave_counted_memory *counted, const struct cleave_memory *below);
/* Context: any, signal handlers too.  Complexity: O(1).  Linearizes at: a load for each member, by itself. */
CLEAVE_API void cleave_counted_memory_usage(const struct cleave_counted_memory *counted,
					    struct cleave_memory_usage *usage);

/* A domain on liburcu.  The members are the port's.  [l] under `lock`. */
struct cleave_urcu {
	struct cleave_domain domain;
	const struct cleave__urcu_flavour *flavour; /* [I] */
	uint64_t worker;			    /* [I] between start, fork and stop: the thread */
	struct cleave_urcu_thread *threads;	    /* [l] */
	struct cleave_word32 lock;		    /* around liburcu's registration */
	struct cleave_word32 command;		    /* [a] what the worker shall do */
	uint64_t begun;				    /* [l] by the last thread that tried to run a grace period */
	uint64_t hindered;			    /* [l] ns; since when somebody is in the way of that; 0: nobody */
	uint64_t pad[7];
	struct cleave_word started; /* [a] grace periods begun */
	struct cleave_word wanted;  /* [a] the newest cookie that was left to the worker */
	struct cleave_word32 sleeping; /* [a] the worker sleeps until somebody kicks it */
	uint32_t pad1[15];
	struct cleave_word done;      /* [a] the greatest number of one that ended */
	struct cleave_word resume;    /* [a] ns; none begins before that, unless somebody waits (urcu.c, Pauses) */
	struct cleave_word32 waiters; /* [a] threads in wait */
	struct cleave_word32 ended;   /* [a] they sleep on it; bumped when a grace period ends */
	struct cleave_word32 left;    /* [a] bumped by threads that were awaited; the worker sleeps on it */
};

struct cleave_urcu_thread {
	struct cleave_thread thread;
	struct cleave_urcu_thread *next; /* [l] */
	void *reader;			 /* [I] liburcu's record of the thread, or NULL */
	bool registered;		 /* [I] with liburcu, by us */
	struct cleave_word32 inside;	 /* [a] in a section that a call of the library has opened (memb, bp) */
	struct cleave_word32 awaited;	 /* [a] the worker wants to know when it leaves that */
	bool stays;			 /* [l] it was inside at each look */
	uint64_t changes;		 /* [l] that it had made when somebody last tried to run a grace period */
	/* qsbr: the thread's own. */
	uint64_t quiets;      /* quiescent states it has passed */
	uint64_t quiets_then; /* and had, when it began this one: */
	uint64_t begun;	      /* grace period, alone; 0: none */
	uint32_t vain;	      /* times that it has asked whether that is over */
};

/*
 * Start a domain on a liburcu flavour, with one worker thread that runs grace periods while somebody waits for them,
 * and does not run them itself.
 * memory: NULL for cleave_memory_libc.  garbage_limit: as for cleave_domain_init(); 0 for a default, 16384.
 * Context: any but a handler's; the start of a thread may call malloc().  Complexity: O(1).
 * Return: 0; -EAGAIN or -ENOMEM: the thread could not be made.
 */
CLEAVE_API int cleave_urcu_memb_start(struct cleave_urcu *urcu, const struct cleave_memory *memory,
				      uint64_t garbage_limit);
CLEAVE_API int cleave_urcu_qsbr_start(struct cleave_urcu *urcu, const struct cleave_memory *memory,
				      uint64_t garbage_limit);
CLEAVE_API int cleave_urcu_bp_start(struct cleave_urcu *urcu, const struct cleave_memory *memory,
				    uint64_t garbage_limit);
/* Sleep until the worker has ended, and free what the domain keeps.  No thread record, no index, no reader is left. */
CLEAVE_API void cleave_urcu_stop(struct cleave_urcu *urcu);

/*
 * Around fork(), after the indexes' own functions, for every domain of the process.  Nobody else runs grace periods of
 * the flavour meanwhile.  In the child the other threads' records are forgotten, and the worker is started again.
 * Context: outside read sections.  Return: 0; -EAGAIN: the child has no worker.  Grace periods are then run by who
 * waits for one (memb, qsbr: or wants one), and nothing is reused otherwise.
 */
CLEAVE_API void cleave_urcu_prefork(struct cleave_urcu *urcu, struct cleave_thread *self);
CLEAVE_API void cleave_urcu_postfork_parent(struct cleave_urcu *urcu, struct cleave_thread *self);
CLEAVE_API int cleave_urcu_postfork_child(struct cleave_urcu *urcu, struct cleave_thread *self);

/*
 * Register the calling thread, with liburcu too unless it already is.  Before it unregisters it leaves its sections and
 * ends its transactions and holds; its nodes go back to the domain.  A thread with records in several domains of one
 * flavour unregisters them in the reverse order.  With memb, and with qsbr if it is the only one, a grace period of
 * the domain waits for these threads only.  Context: outside read sections; liburcu may call malloc().
 */
CLEAVE_API void cleave_urcu_register(struct cleave_urcu_thread *record, struct cleave_urcu *urcu);
CLEAVE_API void cleave_urcu_unregister(struct cleave_urcu_thread *record, struct cleave_urcu *urcu);

#if defined(CLEAVE_SECTION_MEMB) || defined(CLEAVE_SECTION_QSBR) || defined(CLEAVE_SECTION_BP)

#if defined(CLEAVE_SECTION_MEMB)
#define RCU_MEMBARRIER
#include <urcu.h>
#define cleave_section_start cleave_urcu_memb_start
#elif defined(CLEAVE_SECTION_QSBR)
#include <urcu-qsbr.h>
#define cleave_section_start cleave_urcu_qsbr_start
#else
#include <urcu-bp.h>
#define cleave_section_start cleave_urcu_bp_start
#endif

#define CLEAVE_SECTION_DOMAIN struct cleave_urcu
#define CLEAVE_SECTION_THREAD struct cleave_urcu_thread
#define cleave_section_stop cleave_urcu_stop
#define cleave_section_register cleave_urcu_register
#define cleave_section_unregister cleave_urcu_unregister
#define cleave_section_prefork cleave_urcu_prefork
#define cleave_section_postfork_parent cleave_urcu_postfork_parent
#define cleave_section_postfork_child cleave_urcu_postfork_child

static inline void cleave_section_enter(CLEAVE_SECTION_THREAD *record)
{
	(void)record;
	rcu_read_lock();
}

static inline void cleave_section_leave(CLEAVE_SECTION_THREAD *record)
{
	cleave_section_tsan_leave(&record->thread);
	rcu_read_unlock();
}

static inline void cleave_section_quiescent(CLEAVE_SECTION_THREAD *record)
{
#ifdef CLEAVE_SECTION_QSBR
	record->quiets++;
	rcu_quiescent_state();
#else
	(void)record;
#endif
}

#elif defined(CLEAVE_SECTION_CK)

#include <ck_epoch.h>

/* A domain on ck_epoch.  The members are the port's. */
struct cleave_ck {
	struct cleave_domain domain;
	/* Who writes reads both at each change: one line, in which nothing else is written often. */
	struct cleave_word wide; /* [a] the epoch, extended to 64 bits */
	ck_epoch_t epoch;
	struct cleave_word32 lock;	 /* around changes of the list of records */
	struct cleave_word32 registered; /* [a] threads; decides nothing but how often one looks at the others */
	uint64_t pad[4];
};

struct cleave_ck_thread {
	struct cleave_thread thread;
	ck_epoch_record_t record; /* others look at its first line; nothing else is in that */
};

/* As with liburcu, but without a worker, and they do not fail: start and postfork_child return 0. */
CLEAVE_API int cleave_ck_start(struct cleave_ck *ck, const struct cleave_memory *memory, uint64_t garbage_limit);
CLEAVE_API void cleave_ck_stop(struct cleave_ck *ck);
/* A record that was registered once must stay at its address until cleave_ck_stop(). */
CLEAVE_API void cleave_ck_register(struct cleave_ck_thread *record, struct cleave_ck *ck);
CLEAVE_API void cleave_ck_unregister(struct cleave_ck_thread *record, struct cleave_ck *ck);

/* Around fork(), after the indexes' own functions. */
CLEAVE_API void cleave_ck_prefork(struct cleave_ck *ck, struct cleave_thread *self);
CLEAVE_API void cleave_ck_postfork_parent(struct cleave_ck *ck, struct cleave_thread *self);
CLEAVE_API int cleave_ck_postfork_child(struct cleave_ck *ck, struct cleave_thread *self);

#define CLEAVE_SECTION_DOMAIN struct cleave_ck
#define CLEAVE_SECTION_THREAD struct cleave_ck_thread
#define cleave_section_start cleave_ck_start
#define cleave_section_stop cleave_ck_stop
#define cleave_section_register cleave_ck_register
#define cleave_section_unregister cleave_ck_unregister
#define cleave_section_prefork cleave_ck_prefork
#define cleave_section_postfork_parent cleave_ck_postfork_parent
#define cleave_section_postfork_child cleave_ck_postfork_child

static inline void cleave_section_enter(CLEAVE_SECTION_THREAD *record)
{
	ck_epoch_begin(&record->record, NULL);
}

static inline void cleave_section_leave(CLEAVE_SECTION_THREAD *record)
{
	cleave_section_tsan_leave(&record->thread);
	ck_epoch_end(&record->record, NULL);
}

static inline void cleave_section_quiescent(CLEAVE_SECTION_THREAD *record)
{
	(void)record;
}

#endif

#ifdef __cplusplus
}
#endif
#endif
