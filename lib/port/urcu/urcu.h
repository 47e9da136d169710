/* SPDX-License-Identifier: ISC */
/* What the common part of the urcu port (urcu.c) needs from a liburcu flavour (memb.c, qsbr.c, bp.c). */
#ifndef CLEAVE_URCU_H
#define CLEAVE_URCU_H

#include "../user/user.h"

struct cleave__urcu_flavour {
	/*
	 * What the core calls.  enter, leave and inside are the flavour's own, so that liburcu's inlines cost one
	 * indirect call and no more; the rest is urcu.c's.
	 */
	struct cleave_ops ops;
	void (*synchronize)(void);
	/*
	 * Make the calling thread a reader.  False: somebody else had registered it, who then unregisters it as well.
	 */
	bool (*register_thread)(void);
	void (*unregister_thread)(void);
	/* liburcu's record of the calling, registered thread.  NULL: nobody needs it. */
	void *(*reader)(void);
	/*
	 * For grace periods without liburcu's function.  Is that thread outside of all read sections?  An acquire, if
	 * its leaving one is a release (`leave_releases`).  NULL: who can say?
	 */
	bool (*outside)(const void *reader);
	bool leave_releases;
	/* A registered thread reads from one quiescent state to the next, and counts them (`quiets`). */
	bool quiescent;
	/* A full barrier on all threads of the process that run.  False: there is none. */
	bool (*barrier)(void);
	/*
	 * How many changes a thread has made: an acquire.  It counts them itself, with releases, and between any two
	 * passes a full barrier and is outside of all sections.  NULL: who can say?
	 */
	uint64_t (*changes)(const struct cleave_thread *thread);
	/* A thread that sleeps must not hold up grace periods.  `offline` returns whether `online` is to follow. */
	bool (*offline)(void);
	void (*online)(void);
	/* Around fork(), while no worker runs.  NULL: nothing to do. */
	void (*prefork)(void);
	void (*postfork_parent)(void);
	void (*postfork_child)(void);
	/* In the child, for each thread of the parent that was lost and had been registered here. */
	void (*forget)(void *reader);
};

int cleave__urcu_start(struct cleave_urcu *urcu, const struct cleave__urcu_flavour *flavour,
		       const struct cleave_memory *memory, uint64_t garbage_limit);

uint64_t cleave__urcu_cookie(struct cleave_domain *domain, struct cleave_thread *self);
uint64_t cleave__urcu_cookie_stored(struct cleave_domain *domain, struct cleave_thread *self);
uint64_t cleave__urcu_begun(struct cleave_domain *domain, struct cleave_thread *self);
bool cleave__urcu_done(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie);
void cleave__urcu_advance(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie);
void cleave__urcu_wait(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie);
void cleave__urcu_park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *count,
		       uint32_t seen);
void cleave__urcu_wake(struct cleave_domain *domain, struct cleave_word32 *count);

/* Run a grace period for `own`, if nobody is in the way.  False: it is the worker's business. */
bool cleave__urcu_grace_here(struct cleave_urcu *urcu, struct cleave_urcu_thread *own);

/* An awaited thread has left its section: wake the worker, and let it run. */
void cleave__urcu_give_way(struct cleave_domain *domain, struct cleave_urcu_thread *thread);

/*
 * cleave__urcu_begun() where it is known to hold; there the core may read `started` itself.  Not with Thread Sanitizer,
 * which needs other orders.
 */
#if defined(__x86_64__) || defined(__aarch64__)
#define CLEAVE__URCU_BEGUN cleave__urcu_begun
#define CLEAVE__URCU_STARTED(urcu) (CLEAVE__TSAN ? NULL : &(urcu)->started)
#else
#define CLEAVE__URCU_BEGUN NULL
#define CLEAVE__URCU_STARTED(urcu) NULL
#endif

/* The members of `ops` that are the same for all flavours. */
#define CLEAVE__URCU_OPS                                                                              \
	.cookie = cleave__urcu_cookie, .cookie_stored = cleave__urcu_cookie_stored,                   \
	.done = cleave__urcu_done, .begun = CLEAVE__URCU_BEGUN,                                       \
	.advance = cleave__urcu_advance, .wait = cleave__urcu_wait,                                   \
	.park = cleave__urcu_park, .wake = cleave__urcu_wake

#endif
