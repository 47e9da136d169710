/* SPDX-License-Identifier: ISC */
/*
 * A context's spare nodes and anons, and what it has retired:
 *
 *	unlinked nodes, displaced nodes, anons, stores -> young --one cookie--> old --done--> counts drop -> freed
 *
 * Counts drop and nodes are freed outside guards, in bounded steps.
 *
 * What waits is limited, for each context by itself: its thread alone can free it.  Above the limit a call that may
 * sleep ends with a wait:
 *	- outside its guard and its sections, which are what the grace period waits for;
 *	- with nothing in its hands that others might want: no busy slot, no lock of a node, no wipe under way; and not
 *	  at all if its thread holds a transaction, but for a fork that copies wired pages.
 * Above twice the limit what puts something in the place of an anon is refused under a guard, and then outside where
 * the thread may not wait: -ENOMEM.  What only gives back (wipes, free by advice) is never refused.
 */
#ifndef CLEAVE_ANON_CONTEXT_H
#define CLEAVE_ANON_CONTEXT_H

#include "anon_node.h"

#define CLEAVE__ANON_STEPS 512u /* slots of dead nodes that one call looks at */
#define CLEAVE__ANON_KEEP 64u	/* spare nodes, and spare anons, that a context keeps */
#define CLEAVE__ANON_BATCH (PORT_BATCH > 1 ? 64u : 1u) /* spare anons that it takes at a time; schedules want few */

/*
 * Have at least so many spare nodes, and room for so many displaced ones.  May sleep.  0, -ENOMEM.
 */
int cleave__anon_stock(struct cleave_anon_context *context, unsigned int nodes, unsigned int displaced);

/* A spare node for the caller to publish.  NULL: there is none, or no room in the ring. */
struct cleave__anon_node *cleave__anon_take(struct cleave_anon_context *context, unsigned int level,
					    uint64_t generation);
/* Put back a node that nobody has seen. */
void cleave__anon_give(struct cleave_anon_context *context, struct cleave__anon_node *node);

static inline bool cleave__anon_ring_has_room(const struct cleave_anon_context *context)
{
	return context->old.displaced + context->young.displaced < CLEAVE_ANON_RING;
}

/* A node that was published over, or unlinked, and may have other counts: it loses one, a grace period later. */
void cleave__anon_displace(struct cleave_anon_context *context, struct cleave__anon_node *node);

/* An unlinked node of this store's own. */
void cleave__anon_retire(struct cleave_anon_context *context, struct cleave__anon_node *node);

/* A store without references. */
void cleave__anon_retire_store(struct cleave_anon_context *context, struct cleave_anon *store);

/* In the child of a fork: the other contexts' threads do not exist, and what they had retired is lost. */
void cleave__anon_forget_contexts(struct cleave_anon_domain *domain, const struct cleave_anon_context *except);

/* Does more than the limit wait, or so many times as much? */
static inline bool cleave__anon_over_limit(const struct cleave_anon_context *context, unsigned int times)
{
	uint64_t limit = context->domain->guards.domain->garbage_limit;
	uint64_t count = (uint64_t)context->young.count + context->old.count;
	uint64_t stores = (uint64_t)context->young.nstores + context->old.nstores;

	/* What is in a store that goes is not known. */
	return limit <= UINT32_MAX && count + stores * (limit / CLEAVE_ANON_GONE) > times * limit;
}

/* Outside guards and sections: go on with what waits, if it is worth it. */
void cleave__anon_tidy_slowly(struct cleave_anon_context *context, bool may_wait);

static inline void cleave__anon_tidy(struct cleave_anon_context *context)
{
	if (PORT_UNLIKELY(context->dead || context->young.count | context->old.count))
		cleave__anon_tidy_slowly(context, false);
}

/* The same at the end of a call that may sleep, which keeps to the limit. */
static inline void cleave__anon_finish(struct cleave_anon_context *context)
{
	if (PORT_UNLIKELY(context->dead || context->young.count | context->old.count))
		cleave__anon_tidy_slowly(context, true);
}

/*
 * The same where stores or subtrees are given back, of any size: who does only that takes apart what he gave back
 * before, lest it become more and more.  Not with a transaction open, while others wait for its locks.
 */
void cleave__anon_finish_giving(struct cleave_anon_context *context);

/* Have what a change under a guard may need, and keep to the limit.  May sleep.  0, -ENOMEM. */
int cleave__anon_prepare(struct cleave_anon_context *context, unsigned int nodes);

/*
 * For who lacks memory: wait for all that waits, and free it.  False: there is nothing, or the thread may not wait,
 * because it has a transaction open.
 */
bool cleave__anon_reclaim(struct cleave_anon_context *context);

/* ---- Waiting ---- */

/*
 * Inside a guard: remember where to sleep until a lock may be free, a slot no longer busy, an anon no longer marked, a
 * clone over.
 */
void cleave__anon_await_lock(struct cleave_anon_context *context, struct cleave_word32 *lock);
void cleave__anon_await_mark(struct cleave_anon_context *context, struct cleave_word *word, uint64_t mark,
			     uint64_t waited);
void cleave__anon_await_clone(struct cleave_anon_context *context, struct cleave_anon *store);

/* Walk again at once. */
static inline int cleave__anon_again(struct cleave_anon_context *context)
{
	context->count = NULL;
	return -EAGAIN;
}

/* Outside guards: lock a word that outlives everybody. */
void cleave__anon_lock_word(struct cleave_anon_context *context, struct cleave_word32 *lock);

#endif
