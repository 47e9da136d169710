/* SPDX-License-Identifier: ISC */
/* Lookups, and changes of one slot. */
#include "anon_wipe.h"

/* ---- Lookups ---- */

/* The leaf of a slot, or NULL. */
static PORT_ALWAYS_INLINE const struct cleave__anon_node *leaf_rcu(const struct cleave_anon *store, uint64_t slot)
{
	uint64_t root = cleave__anon_slot_rcu(&store->root);
	const struct cleave__anon_node *node = cleave__anon_node_of(root);
	unsigned int level = cleave__anon_level_of(root);

	if (!node || slot > cleave__anon_top(level))
		return NULL;
	for (; level > 0 && node; level--)
		node = cleave__anon_child(cleave__anon_slot_rcu(&node->slot[cleave__anon_index(slot, level)]));
	return node;
}

struct cleave_anon_page *cleave_anon_lookup_rcu(const struct cleave_anon *store, uint64_t slot)
{
	const struct cleave__anon_node *leaf = leaf_rcu(store, slot);

	return leaf ? cleave__anon_page(cleave__anon_slot_rcu(&leaf->slot[cleave__anon_index(slot, 0)])) : NULL;
}

void cleave_anon_lookups_rcu(const struct cleave_anon *store, uint64_t first, size_t n, struct cleave_anon_page **anons)
{
	const struct cleave__anon_node *leaf = NULL;

	for (size_t i = 0; i < n; i++) {
		unsigned int at = cleave__anon_index(first + i, 0);

		if (i == 0 || at == 0)
			leaf = leaf_rcu(store, first + i);
		anons[i] = leaf ? cleave__anon_page(cleave__anon_slot_rcu(&leaf->slot[at])) : NULL;
	}
}

/* ---- Changes under a guard ---- */

/*
 * Why a compare-and-swap of a slot failed, if not for the anon in it: busy, or the leaf is being removed.
 */
static int slot_taken(struct cleave_anon_context *context, struct cleave_anon *store,
		      const struct cleave__anon_path *path, struct cleave_word *slot, uint64_t word)
{
	if (word == CLEAVE__ANON_SEALED)
		cleave__anon_await_lock(context, path->level ? &path->node[1]->lock : &store->root_lock);
	else
		cleave__anon_await_mark(context, slot, CLEAVE__ANON_BUSY, CLEAVE__ANON_WAITED);
	return -EAGAIN;
}

static PORT_ALWAYS_INLINE bool no_slot(const struct cleave_anon *store, uint64_t slot)
{
	/* [A15-sc] pairs with truncate, which stores the number and then waits for guards */
	return slot >= PORT_LOAD(&store->nslots, PORT_SEQ_CST);
}

/*
 * A busy slot must not be looked through:
 *	1. A: marks the slot busy, waits for guards: none
 *	2. B: sets its guard, finds anon X in the busy slot
 *	3. A: gives the slot another anon, drops its share of X
 *	4. the other sharer: has the only share of X, writes its page in place
 *	5. B: enters the page, or reads it.
 */
int cleave_anon_try_lookup(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
			   struct cleave_anon_page **anon)
{
	uint64_t word = cleave__anon_slot_visit(&store->root);
	struct cleave__anon_node *node = cleave__anon_node_of(word);
	unsigned int level = cleave__anon_level_of(word);

	PORT_ASSERT(cleave__guard_is_set(&context->guard), "a page is read or entered under a guard");
	*anon = NULL;
	if (no_slot(store, slot))
		return -EINVAL;
	if (!node || slot > cleave__anon_top(level))
		return 0;
	for (;; level--) {
		struct cleave_word *at = &node->slot[cleave__anon_index(slot, level)];

		word = cleave__anon_slot_visit(at);
		if (level == 0 && (word & CLEAVE__ANON_BUSY)) {
			cleave__anon_await_mark(context, at, CLEAVE__ANON_BUSY, CLEAVE__ANON_WAITED);
			return -EAGAIN;
		}
		if (level == 0)
			*anon = cleave__anon_page(word);
		node = cleave__anon_child(word);
		if (level == 0 || !node)
			return 0;
	}
}

int cleave_anon_try_fill(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
			 struct cleave_anon_page *anon, struct cleave_anon_page **winner)
{
	struct cleave__anon_path path;
	struct cleave_word *word;
	uint64_t seen = 0;
	int result;

	if (PORT_UNLIKELY(no_slot(store, slot)))
		return -EINVAL;
	result = cleave__anon_path(context, store, slot, true, &path);
	if (PORT_UNLIKELY(result))
		return result;
	word = &path.leaf->slot[cleave__anon_index(slot, 0)];
	/*
	 * [A2-rel] the anon before the pointer to it; [A2-acq] where it fails: the winner before what it holds.  Nobody
	 * fills a slot and then looks whether a guard was set on it while it was empty: who cares (a zero page) marks
	 * it busy first.
	 */
	if (PORT_LIKELY(PORT_CAS(word, &seen, (uintptr_t)anon, PORT_RELEASE, PORT_ACQUIRE)))
		return 0;
	if (seen & CLEAVE__ANON_MARKS)
		return slot_taken(context, store, &path, word, seen);
	if (winner)
		*winner = cleave__anon_page(seen);
	return -EEXIST;
}

int cleave_anon_try_replace(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
			    struct cleave_anon_page *old, struct cleave_anon_page *anon)
{
	uint64_t seen = (uintptr_t)old;
	struct cleave__anon_path path;
	struct cleave_word *word;
	int result;
	struct cleave_anon_page *there = cleave_anon_lookup_rcu(store, slot);

	if (no_slot(store, slot))
		return -EINVAL;
	if (there != old) /* nothing to copy a path for */
		return there ? -EEXIST : -ENOENT;
	if (PORT_UNLIKELY(cleave__anon_over_limit(context, 2)))
		return -ENOMEM;
	result = cleave__anon_path(context, store, slot, false, &path);
	if (result)
		return result;
	word = &path.leaf->slot[cleave__anon_index(slot, 0)];
	/* [A2-sc] before whoever drops what was there scans guards */
	if (PORT_CAS(word, &seen, (uintptr_t)anon, PORT_SEQ_CST, PORT_RELAXED))
		return 0;
	if (!seen || seen == CLEAVE__ANON_SEALED)
		return -ENOENT;
	if (seen & CLEAVE__ANON_MARKS)
		return slot_taken(context, store, &path, word, seen);
	return -EEXIST;
}

/* Empties the slot; the path is the caller's for pruning. */
static int try_remove(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
		      struct cleave_anon_page **anon, struct cleave__anon_path *path)
{
	struct cleave_word *word;
	uint64_t seen;
	int result;

	if (no_slot(store, slot))
		return -EINVAL;
	if (!cleave_anon_lookup_rcu(store, slot)) /* nothing to copy a path for */
		return -ENOENT;
	if (PORT_UNLIKELY(cleave__anon_over_limit(context, 2)))
		return -ENOMEM;
	result = cleave__anon_path(context, store, slot, false, path);
	if (result)
		return result;
	word = &path->leaf->slot[cleave__anon_index(slot, 0)];
	seen = cleave__anon_slot_visit(word);
	do {
		if (!seen || seen == CLEAVE__ANON_SEALED)
			return -ENOENT;
		if (seen & CLEAVE__ANON_MARKS)
			return slot_taken(context, store, path, word, seen);
		/* [A2-sc] before whoever drops what was there scans guards */
	} while (!PORT_CAS(word, &seen, 0, PORT_SEQ_CST, PORT_RELAXED));
	*anon = cleave__anon_page(seen);
	return 0;
}

int cleave__anon_try_busy(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
			  struct cleave_anon_busy *busy)
{
	struct cleave__anon_path path;
	struct cleave_word *word;
	uint64_t seen;
	int result;

	if (no_slot(store, slot))
		return -EINVAL;
	result = cleave__anon_path(context, store, slot, true, &path);
	if (result)
		return result;
	word = &path.leaf->slot[cleave__anon_index(slot, 0)];
	seen = cleave__anon_slot_visit(word);
	do {
		if (seen & CLEAVE__ANON_MARKS)
			return slot_taken(context, store, &path, word, seen);
		/* [A2-sc] the mark, before what its holder reads */
	} while (!PORT_CAS(word, &seen, seen | CLEAVE__ANON_BUSY, PORT_SEQ_CST, PORT_RELAXED));
	*busy = (struct cleave_anon_busy){ word, cleave__anon_page(seen) };
	return 0;
}

int cleave_anon_try_busy(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
			 struct cleave_anon_busy *busy)
{
	if (PORT_UNLIKELY(cleave__anon_over_limit(context, 2)))
		return -ENOMEM;
	return cleave__anon_try_busy(context, store, slot, busy);
}

void cleave_anon_install(struct cleave_anon_context *context, struct cleave_anon_busy *busy,
			 struct cleave_anon_page *anon)
{
	uint64_t seen = (uintptr_t)busy->anon | CLEAVE__ANON_BUSY;

	(void)context;
	/*
	 * The mark's release goes on in this: the anon was made before it, since nothing is allocated under a guard;
	 * and guards are scanned after it.  Only a waiter's mark may come beside.
	 */
	while (!PORT_CAS(busy->slot, &seen, (uintptr_t)anon | (seen & CLEAVE__ANON_MARKS), PORT_RELAXED, PORT_RELAXED))
		;
	busy->anon = anon;
}

void cleave_anon_release(struct cleave_anon_context *context, struct cleave_anon_busy *busy,
			 struct cleave_anon_page *anon)
{
	uint64_t seen = (uintptr_t)busy->anon | CLEAVE__ANON_BUSY;

	PORT_ASSERT(cleave__guard_is_set(&context->guard), "a slot is busy only under a guard");
	/* [A2-rel] what was done while it was busy */
	if (!PORT_CAS(busy->slot, &seen, (uintptr_t)anon, PORT_RELEASE, PORT_RELAXED)) {
		PORT_ASSERT(seen & CLEAVE__ANON_BUSY, "a busy slot is released once");
		PORT_STORE(busy->slot, (uintptr_t)anon, PORT_RELEASE); /* [A2-rel] */
		cleave__guards_wake(&context->domain->guards, busy->slot);
	}
	busy->slot = NULL;
}

int cleave_anon_guard(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first, uint64_t last)
{
	return cleave__anon_open(context, store, first, last);
}

void cleave_anon_unguard(struct cleave_anon_context *context)
{
	cleave__anon_close(context);
}

/* Nobody parks inside a read section.  What the caller has marked busy stays: no leaf goes that has a busy slot. */
void cleave_anon_wait_guards(struct cleave_anon_context *context, const struct cleave_anon *store, uint64_t first,
			     uint64_t last)
{
	struct cleave_domain *rcu = context->domain->guards.domain;
	bool inside = cleave__guard_is_set(&context->guard);

	PORT_ASSERT(!inside || cleave__guard_is_within(&context->guard, store, first, last),
		    "who waits under a guard has all of its slots busy");
	if (inside)
		rcu->ops->leave(rcu, context->self);
	cleave__guards_wait_slots(&context->domain->guards, context->self, &context->guard, store, first, last);
	if (inside)
		rcu->ops->enter(rcu, context->self);
}

/* ---- The same, with sleep ---- */

int cleave_anon_prepare(struct cleave_anon_context *context, const struct cleave_anon *store)
{
	return cleave__anon_prepare(context, cleave__anon_needs(store));
}

/* What a guarded try could not do, so that it is made again: 0 to go on, or an error for the caller. */
static int recover(struct cleave_anon_context *context, const struct cleave_anon *store, int result)
{
	if (result == -EAGAIN) {
		cleave_anon_wait(context);
		return 0;
	}
	PORT_ASSERT(result == -ENOMEM, "what nobody can mend is handed on");
	return cleave_anon_prepare(context, store);
}

int cleave_anon_fill(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
		     struct cleave_anon_page *anon, struct cleave_anon_page **winner)
{
	struct cleave_anon_page *there = NULL;
	int result;

	for (;;) {
		result = cleave__anon_open(context, store, slot, slot);
		if (PORT_LIKELY(!result)) {
			result = cleave_anon_try_fill(context, store, slot, anon, &there);
			/* The winner may be dropped as soon as the section ends. */
			if (PORT_UNLIKELY(result == -EEXIST) && winner && !cleave_anon_page_pin_rcu(there))
				result = cleave__anon_again(context);
			cleave__anon_close(context);
		}
		if (PORT_LIKELY(!result) || result == -EEXIST || result == -EINVAL)
			break;
		result = recover(context, store, result);
		if (result)
			break;
	}
	if (result == -EEXIST && winner)
		*winner = there;
	cleave__anon_finish(context);
	return result;
}

int cleave_anon_replace(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
			struct cleave_anon_page *old, struct cleave_anon_page *anon)
{
	int result;

	do {
		result = cleave__anon_open(context, store, slot, slot);
		if (!result) {
			result = cleave_anon_try_replace(context, store, slot, old, anon);
			cleave__anon_close(context);
		}
		if (result != -EAGAIN && result != -ENOMEM)
			break;
		result = recover(context, store, result);
	} while (!result);
	cleave__anon_finish(context);
	return result;
}

int cleave_anon_remove(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
		       struct cleave_anon_page **anon)
{
	struct cleave__anon_path path;
	bool pruned = true;
	int result;

	do {
		result = cleave__anon_open(context, store, slot, slot);
		if (!result) {
			result = try_remove(context, store, slot, anon, &path);
			/* Empty nodes are removed by whoever empties them last, so it must not be given up. */
			pruned = result || !cleave__anon_prune(context, store, slot, &path);
			if (!pruned) /* no clone gets one: it would stay there */
				cleave__anon_wipe_join(store);
			cleave__anon_close(context);
		}
		if (result != -EAGAIN && result != -ENOMEM)
			break;
		result = recover(context, store, result);
	} while (!result);
	if (!pruned) {
		cleave_anon_wait(context);
		cleave__anon_wipe_empty(context, store, slot);
		cleave__anon_wipe_end(context, store);
	}
	cleave__anon_finish(context);
	return result;
}
