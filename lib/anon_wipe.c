/* SPDX-License-Identifier: ISC */
/*
 * Ranges: wipe, truncate, extend.
 *
 * A wipe of [first, last] goes from left to right:
 *
 *	      [ a b c d ]		a child that is covered and shared is unlinked whole, whatever is below it;
 *		| . . |			one that is the store's own is emptied itself, leaf by leaf, and removed as any
 *	  [ab] ..xxxxxx.. [cd]		empty node; a shared boundary child is copied first, without what is covered
 *
 * An owned leaf is never unlinked with a busy slot in it, and neither is what is above it:
 *	1. A: marks slot 5 busy in leaf L, waits for other guards on slot 5
 *	2. wipe: unlinks L's parent
 *	3. B: makes another leaf, marks slot 5 busy there, waits for other guards on slot 5: for A's, as A for B's.
 */
#include "anon_wipe.h"

#define LEAVES (CLEAVE__ANON_BITS > 2 ? 16u : 1u) /* that are emptied in one read section */

struct cut {
	struct cleave_anon_context *context;
	struct cleave_anon *store;
	uint64_t generation;
	uint64_t first;
	uint64_t last;
	uint64_t next; /* below it all is done: after a wait, what was filled meanwhile is not emptied again */
	bool pruning;  /* all is empty; only empty nodes are left to unlink */
	bool yields;   /* lets a clone go first between sections */
	bool left;     /* an empty node could not be unlinked: not now, a clone would keep it */
	unsigned int leaves; /* left for this section */
	unsigned int ngone;
	struct cleave_anon_page *gone[LEAVES * CLEAVE__ANON_FANOUT]; /* in this section; their shares are still held */
};

void cleave__anon_wipe_begin(struct cleave_anon_context *context, struct cleave_anon *store)
{
	for (;;) {
		/* [A17-sc] before the flag is read; pairs with the clone, which raises it and then reads this */
		PORT_FETCH_ADD(&store->wipes, 1, PORT_SEQ_CST);
		if (!PORT_LOAD(&store->cloning, PORT_SEQ_CST)) /* [A17-sc] */
			return;
		cleave__anon_wipe_end(context, store);
		cleave__anon_await_clone(context, store);
		cleave_anon_wait(context);
	}
}

void cleave__anon_wipe_end(struct cleave_anon_context *context, struct cleave_anon *store)
{
	PORT_FETCH_ADD(&store->wipes, UINT64_MAX, PORT_SEQ_CST); /* [A17-sc] what was wiped before its end */
	if (PORT_UNLIKELY(PORT_LOAD(&store->cloning, PORT_SEQ_CST))) /* [A17-sc] somebody may wait */
		cleave__guards_wake(&context->domain->guards, &store->wipes);
}

void cleave__anon_wait_wipes(struct cleave_anon_context *context, struct cleave_anon *store)
{
	struct cleave_domain *rcu = context->domain->guards.domain;
	struct cleave_word32 *count = cleave__guards_count(&context->domain->guards, &store->wipes);

	for (;;) {
		uint32_t seen = PORT_LOAD(count, PORT_ACQUIRE); /* [A4-acq] */

		if (!PORT_LOAD(&store->wipes, PORT_SEQ_CST)) /* [A17-sc] */
			return;
		PORT_COUNT(context->waits);
		rcu->ops->park(rcu, context->self, count, seen);
	}
}

static int clear_leaf(struct cut *cut, struct cleave__anon_node *leaf, uint64_t base, unsigned int from,
		      unsigned int to)
{
	for (unsigned int i = from; i <= to; i++, cut->next = base + i) {
		uint64_t seen = cleave__anon_slot_visit(&leaf->slot[i]);

		do {
			if (!seen || seen == CLEAVE__ANON_SEALED)
				break;
			if (seen & CLEAVE__ANON_MARKS) {
				cleave__anon_await_mark(cut->context, &leaf->slot[i], CLEAVE__ANON_BUSY,
							CLEAVE__ANON_WAITED);
				return -EAGAIN;
			}
			/* [A2-sc] as a removal */
		} while (!PORT_CAS(&leaf->slot[i], &seen, 0, PORT_SEQ_CST, PORT_RELAXED));
		if (cleave__anon_page(seen))
			cut->gone[cut->ngone++] = cleave__anon_page(seen);
	}
	return 0;
}

/* Unlink a shared child from an owned branch, or a shared root.  It may have become the store's own meanwhile. */
static int unlink_shared(struct cut *cut, struct cleave_word *link, struct cleave_word32 *lock,
			 struct cleave__anon_node *node)
{
	int result = 0;

	if (!cleave__anon_ring_has_room(cut->context))
		return -ENOMEM; /* outside, the ring is emptied */
	if (!cleave__anon_trylock(lock)) {
		cleave__anon_await_lock(cut->context, lock);
		return -EAGAIN;
	}
	if ((cleave__anon_slot_visit(link) & ~(uint64_t)CLEAVE__ANON_LEVEL) != (uintptr_t)node ||
	    cleave__anon_owned(node, cut->generation)) {
		result = cleave__anon_again(cut->context);
	} else {
		/*
		 * [A1-rel] what was done before.  No guards are scanned after it: who misses it looks at anons that
		 * keep their counts for a grace period, and who would change them looks again under the lock.
		 */
		PORT_STORE(link, 0, PORT_RELEASE);
		cleave__anon_displace(cut->context, node);
	}
	cleave__anon_unlock(&cut->context->domain->guards, lock);
	return result;
}

/* Cut what is below `link`; `node` is there and begins at slot `base`.  `next` says what is done. */
static int cut_node(struct cut *cut, struct cleave_word *link, struct cleave_word32 *lock,
		    struct cleave__anon_node *node, unsigned int level, bool root, uint64_t base)
{
	uint64_t span = UINT64_C(1) << cleave__anon_shift(level), end = base + (span << CLEAVE__ANON_BITS) - 1;
	uint64_t begin = cut->pruning ? cut->first : cut->next, first = begin > base ? begin : base;
	uint64_t last = cut->last < end ? cut->last : end;
	unsigned int low = (unsigned int)((first - base) / span), high = (unsigned int)((last - base) / span);
	int result = 0;

	if (!cleave__anon_owned(node, cut->generation)) {
		/* A copy leaves out what is covered, if nothing on its left must be done first. */
		bool leave_out = first == base + low * span && last >= first + (span - 1);
		unsigned int to = last == base + (high + 1) * span - 1 ? high : high - 1;
		struct cleave__anon_node *old = node;

		if (cut->pruning)
			return 0;
		if (leave_out && first == base && last == end) {
			result = unlink_shared(cut, link, lock, node);
			if (!result)
				cut->next = end + 1;
			return result;
		}
		result = cleave__anon_own(cut->context, cut->store, link, lock, level, root, leave_out ? low : 1,
					  leave_out ? to : 0, &node);
		if (result)
			return result;
		if (node != old && leave_out) {
			cut->next = base + (to + 1) * span;
			low = to + 1;
		}
		if (!node)
			return 0;
	}
	if (level == 0 && !cut->pruning && low <= high) {
		if (cut->leaves-- == 0)
			return cleave__anon_again(cut->context); /* a section is not long */
		result = clear_leaf(cut, node, base, low, high);
	}
	for (unsigned int i = low; level > 0 && i <= high && !result; i++) {
		uint64_t child_first = base + i * span;
		struct cleave__anon_node *child = cleave__anon_child(cleave__anon_slot_visit(&node->slot[i]));

		if (child)
			result = cut_node(cut, &node->slot[i], &node->lock, child, level - 1, false, child_first);
		if (!result && !cut->pruning)
			cut->next = child_first + span;
	}
	if (!result && cleave__anon_unlink_empty(cut->context, link, lock, root, node) < 0) {
		cut->left = true;
		result = cut->pruning ? -EAGAIN : 0;
	}
	return result;
}

static int cut_range(struct cut *cut)
{
	uint64_t root = cleave__anon_slot_visit(&cut->store->root);
	unsigned int level = cleave__anon_level_of(root);

	if (!root || (cut->pruning ? cut->first : cut->next) > cleave__anon_top(level) ||
	    (!cut->pruning && cut->next > cut->last))
		return 0;
	return cut_node(cut, &cut->store->root, &cut->store->root_lock, cleave__anon_node_of(root), level, true, 0);
}

unsigned int cleave__anon_wipe_needs(const struct cleave_anon *store)
{
	return cleave__anon_levels(store) + CLEAVE__ANON_MOST_LEVELS;
}

/* Whoever found one under a guard still reads it; once its share is dropped, another sharer may write it in place. */
static void drop_gone(struct cut *cut)
{
	struct cleave_anon_context *context = cut->context;

	if (cut->ngone)
		cleave__guards_wait_slots(&context->domain->guards, context->self, &context->guard, cut->store,
					  cut->first, cut->last);
	while (cut->ngone > 0)
		cleave_anon_page_drop(context, cut->gone[--cut->ngone]);
}

/*
 * A clone waits.  If there are nodes for the boundaries once more, it need not wait for the rest: what it takes away is
 * copied again.
 */
static void yield(struct cut *cut)
{
	struct cleave_anon_context *context = cut->context;

	/* A hint: a clone that is missed now is seen after the next section. */
	if (PORT_LIKELY(!PORT_LOAD(&cut->store->cloning, PORT_RELAXED)))
		return;
	if (!cut->yields || cut->left || cleave__anon_stock(context, cleave__anon_wipe_needs(cut->store), 0))
		return;
	cleave__anon_wipe_end(context, cut->store);
	cleave__anon_wipe_begin(context, cut->store);
	cut->generation = PORT_LOAD(&cut->store->generation, PORT_RELAXED);
}

static void run(struct cut *cut)
{
	struct cleave_anon_context *context = cut->context;
	struct cleave_domain *rcu = context->domain->guards.domain;
	int result;

	do {
		rcu->ops->enter(rcu, context->self);
		cut->leaves = LEAVES;
		result = cut->pruning ? 0 : cut_range(cut);
		if (!result) {
			cut->pruning = true;
			result = cut_range(cut);
		}
		rcu->ops->leave(rcu, context->self);
		drop_gone(cut);
		if (result == -EAGAIN) {
			cleave_anon_wait(context);
		} else if (result) {
			PORT_ASSERT(!cleave__anon_ring_has_room(context), "a wipe has the nodes that it needs");
			cleave__anon_stock(context, 0, CLEAVE_ANON_RING);
		}
		if (result)
			yield(cut);
	} while (result);
}

static void begin_cut(struct cut *cut, struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first,
		      uint64_t last)
{
	cut->context = context;
	cut->store = store;
	cut->generation = PORT_LOAD(&store->generation, PORT_RELAXED);
	cut->first = cut->next = first;
	cut->last = last;
	cut->pruning = cut->yields = cut->left = false;
	cut->ngone = 0;
}

void cleave__anon_wipe_stocked(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first,
			       uint64_t last, bool yields)
{
	struct cut cut;

	begin_cut(&cut, context, store, first, last);
	cut.yields = yields;
	run(&cut);
}

void cleave__anon_wipe_empty(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot)
{
	struct cut cut;

	begin_cut(&cut, context, store, slot, slot);
	cut.pruning = true;
	run(&cut);
}

int cleave_anon_wipe(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first, uint64_t last)
{
	unsigned int needs = cleave__anon_wipe_needs(store);
	int result;

	if (first > last)
		return -EINVAL;
	cleave__anon_tidy(context);
	result = cleave__anon_stock(context, needs, needs);
	if (!result) {
		cleave__anon_wipe_begin(context, store);
		cleave__anon_wipe_stocked(context, store, first, last, true);
		cleave__anon_wipe_end(context, store);
	}
	cleave__anon_finish_giving(context);
	return result;
}

int cleave_anon_discard(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first, uint64_t last,
			bool *freed)
{
	bool free = cleave_anon_refs(store) == 1;

	if (first > last)
		return -EINVAL;
	if (freed)
		*freed = free;
	return free ? cleave_anon_wipe(context, store, first, last) : 0;
}

/*
 * [A15-sc] 1. truncate: nslots			1'. fill: guard
 *	    2. truncate: waits for guards	2'. fill: nslots
 */
int cleave_anon_truncate(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t nslots)
{
	unsigned int needs = cleave__anon_wipe_needs(store);
	uint64_t old = cleave_anon_slots(store);
	int result;

	if (nslots == 0 || nslots >= old)
		return -EINVAL;
	cleave__anon_tidy(context);
	result = cleave__anon_stock(context, needs, needs);
	if (result)
		return result;
	/* No clone between: it would have slots beyond its end. */
	cleave__anon_wipe_begin(context, store);
	PORT_STORE(&store->nslots, nslots, PORT_SEQ_CST); /* [A15-sc] */
	cleave__guards_wait_slots(&context->domain->guards, context->self, &context->guard, store, nslots, UINT64_MAX);
	cleave__anon_wipe_stocked(context, store, nslots, UINT64_MAX, false);
	cleave__anon_wipe_end(context, store);
	cleave__anon_finish_giving(context);
	return 0;
}

int cleave_anon_extend(struct cleave_anon *store, uint64_t nslots)
{
	if (nslots <= cleave_anon_slots(store) || nslots > CLEAVE_ANON_SLOTS)
		return -EINVAL;
	/* [A15-rel] a truncation before; a fill that misses it fails, as it would have before */
	PORT_STORE(&store->nslots, nslots, PORT_RELEASE);
	return 0;
}
