/* SPDX-License-Identifier: ISC */
/* Iteration: populated slots of a store; all stores of a domain; copies of all that is shared. */
#include "anon_store.h"

#define BATCH 32u

/* The leaf that holds the next populated slot from *slot on, that slot, and the leaf's parent; NULL: none. */
static const struct cleave__anon_node *seek(const struct cleave_anon *store, uint64_t *slot,
					    const struct cleave__anon_node **parent)
{
	for (;;) {
		uint64_t root = cleave__anon_slot_rcu(&store->root); /* [A1-acq] */
		const struct cleave__anon_node *node = cleave__anon_node_of(root);
		unsigned int level = cleave__anon_level_of(root), i;

		*parent = NULL;
		if (!node || *slot > cleave__anon_top(level))
			return NULL;
		for (;; level--) {
			for (i = cleave__anon_index(*slot, level); i < CLEAVE__ANON_FANOUT; i++) {
				uint64_t word = cleave__anon_slot_rcu(&node->slot[i]); /* [A1-acq] */

				if (!(word & ~CLEAVE__ANON_MARKS))
					continue;
				if (i != cleave__anon_index(*slot, level)) { /* the beginning of that child */
					unsigned int shift = cleave__anon_shift(level);
					uint64_t node_slots = *slot >> shift & ~(uint64_t)(CLEAVE__ANON_FANOUT - 1);

					*slot = (node_slots | i) << shift;
				}
				if (level == 0)
					return node;
				*parent = node;
				node = cleave__anon_child(word);
				break;
			}
			if (i == CLEAVE__ANON_FANOUT)
				break;
		}
		/* Nothing more in this node: from the top, behind it. */
		*slot = (*slot | ((UINT64_C(1) << cleave__anon_shift(level + 1)) - 1)) + 1;
	}
}

/* The leaf on the right of the one that ends before `slot`, and a hint for the one after that.  NULL: seek. */
static const struct cleave__anon_node *next_leaf(const struct cleave__anon_node *parent, uint64_t slot)
{
	unsigned int i = cleave__anon_index(slot, 1);

	if (!parent || i == 0)
		return NULL;
	if (i + 2 < CLEAVE__ANON_FANOUT) {
		uint64_t word = PORT_LOAD(&parent->slot[i + 2], PORT_RELAXED);
		uintptr_t ahead = (uintptr_t)cleave__anon_child(word); /* or 0 */

		for (unsigned int line = 0; line < sizeof(*parent); line += 64)
			PORT_PREFETCH((const void *)(ahead + line));
	}
	return cleave__anon_child(cleave__anon_slot_rcu(&parent->slot[i])); /* [A1-acq] */
}

size_t cleave_anon_next_rcu(const struct cleave_anon *store, uint64_t *slot, struct cleave_anon_visit *visits, size_t n)
{
	const struct cleave__anon_node *leaf, *parent = NULL;
	size_t found = 0;

	while (found < n && (leaf = seek(store, slot, &parent))) {
		do {
			uint64_t base = *slot & ~(uint64_t)(CLEAVE__ANON_FANOUT - 1);
			unsigned int i = cleave__anon_index(*slot, 0);

			for (; i < CLEAVE__ANON_FANOUT && found < n; i++) {
				struct cleave_anon_page *anon =
					cleave__anon_page(cleave__anon_slot_rcu(&leaf->slot[i]));

				visits[found] = (struct cleave_anon_visit){ base + i, anon };
				found += anon != NULL;
			}
			*slot = base + i;
		} while (found < n && (leaf = next_leaf(parent, *slot)));
	}
	return found;
}

uint64_t cleave_anon_count_rcu(const struct cleave_anon *store)
{
	struct cleave_anon_visit visits[BATCH];
	uint64_t slot = 0, count = 0;
	size_t n;

	do {
		n = cleave_anon_next_rcu(store, &slot, visits, BATCH);
		count += n;
	} while (n == BATCH);
	return count;
}

static void count_node(const struct cleave__anon_node *node, unsigned int level,
		       struct cleave_anon_statistics *statistics)
{
	if (level)
		statistics->branches++;
	else
		statistics->leaves++;
	statistics->shared += (PORT_LOAD(&node->refs, PORT_RELAXED) & CLEAVE__ANON_REFS) > 1;
	for (unsigned int i = 0; i < CLEAVE__ANON_FANOUT; i++) {
		uint64_t word = cleave__anon_slot_rcu(&node->slot[i]);

		if (level && cleave__anon_child(word))
			count_node(cleave__anon_child(word), level - 1, statistics);
		else if (!level)
			statistics->populated += cleave__anon_page(word) != NULL;
	}
}

void cleave_anon_statistics_rcu(const struct cleave_anon *store, struct cleave_anon_statistics *statistics)
{
	uint64_t root = cleave__anon_slot_rcu(&store->root); /* [A1-acq] */

	memset(statistics, 0, sizeof(*statistics));
	if (!root)
		return;
	statistics->levels = cleave__anon_level_of(root) + 1;
	count_node(cleave__anon_node_of(root), cleave__anon_level_of(root), statistics);
	statistics->bytes = (statistics->leaves + statistics->branches) * sizeof(struct cleave__anon_node);
}

/* ---- Copy now ---- */

/*
 * If the slot's anon has other shares: pin it into *anon.  The path is made the store's own first: in a shared leaf
 * an anon has one share for all who see it.
 */
static int find_shared(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
		       struct cleave_anon_page **anon)
{
	struct cleave__anon_path path;
	int result;

	*anon = NULL;
	for (;;) {
		result = cleave__anon_open(context, store, slot, slot);
		if (!result) {
			result = cleave__anon_path(context, store, slot, false, &path);
			if (!result)
				*anon = cleave__anon_page(
					cleave__anon_slot_visit(&path.leaf->slot[cleave__anon_index(slot, 0)]));
			if (*anon && (cleave_anon_page_shares(*anon) < 2 || !cleave_anon_page_pin_rcu(*anon)))
				*anon = NULL;
			cleave__anon_close(context);
		}
		if (result == -EAGAIN)
			cleave_anon_wait(context);
		else if (result != -ENOMEM)
			return 0;
		else if (cleave_anon_prepare(context, store))
			return -ENOMEM;
	}
}

/* The copier's work; the anon is in transit meanwhile, so that nobody swaps it out or in, and frees what is copied. */
static int copy_content(struct cleave_anon_context *context, struct cleave_anon_page *anon,
			struct cleave_anon_copier *copier, uint64_t *copied)
{
	uint64_t content;
	int result;

	do {
		content = cleave_anon_page_content(anon);
		result = cleave_anon_transit_begin_rcu(context, anon, content); /* the store's own share stays */
		if (result == -EAGAIN)
			cleave_anon_wait(context);
	} while (result);
	*copied = 0;
	result = copier->copy(copier, content, copied);
	cleave_anon_transit_end(context, anon, content);
	return result;
}

static int copy_now(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
		    struct cleave_anon_copier *copier)
{
	struct cleave_anon_page *old, *fresh;
	uint64_t copied;
	int result;

	for (;;) {
		result = find_shared(context, store, slot, &old);
		if (result || !old)
			return result;
		fresh = cleave_anon_page_make(context, 0);
		result = fresh ? copy_content(context, old, copier, &copied) : -ENOMEM;
		if (!result && !copied) { /* it stays shared */
			cleave_anon_page_unpin(context, old);
			cleave_anon_page_drop(context, fresh);
			return 0;
		}
		if (!result) {
			PORT_STORE(&fresh->content, copied, PORT_RELAXED);
			result = cleave_anon_replace(context, store, slot, old, fresh);
		}
		cleave_anon_page_unpin(context, old);
		if (!result) {
			cleave_anon_page_drop(context, old);
			return 0;
		}
		if (result == -EEXIST || result == -ENOENT || (fresh && PORT_LOAD(&fresh->content, PORT_RELAXED))) {
			copier->undo(copier, copied);
			PORT_STORE(&fresh->content, 0, PORT_RELAXED);
		}
		if (fresh)
			cleave_anon_page_drop(context, fresh);
		if (result != -EEXIST && result != -ENOENT)
			return result;
	}
}

int cleave_anon_cow_now(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first, uint64_t last,
			struct cleave_anon_copier *copier, uint64_t *slot)
{
	struct cleave_domain *rcu = context->domain->guards.domain;
	struct cleave_anon_visit visit;
	int result = 0;
	size_t n;

	if (first > last)
		return -EINVAL;
	while (!result && first <= last) {
		rcu->ops->enter(rcu, context->self);
		n = cleave_anon_next_rcu(store, &first, &visit, 1);
		rcu->ops->leave(rcu, context->self);
		if (n == 0 || visit.slot > last) {
			first = last + 1;
			break;
		}
		result = copy_now(context, store, visit.slot, copier);
		first = result ? visit.slot : visit.slot + 1;
	}
	if (slot)
		*slot = first;
	cleave__anon_finish(context);
	return result;
}

/* ---- All stores ---- */

/* Visit one anon, pinned: wait until nobody else has it in transit; it may have stopped matching by then. */
static int visit_anon(struct cleave_anon_context *context, struct cleave_anon_walker *walker,
		      struct cleave_anon_page *anon)
{
	uint64_t content, fresh;
	int result;

	for (;;) {
		content = cleave_anon_page_content(anon);
		if (!content || !walker->match(walker, content))
			return 0;
		result = cleave_anon_transit_begin_rcu(context, anon, content);
		if (!result)
			break;
		if (result == -EAGAIN)
			cleave_anon_wait(context);
		else if (!cleave_anon_page_shares(anon))
			return 0;
	}
	fresh = content;
	result = walker->visit(walker, content, &fresh);
	PORT_ASSERT(result || !walker->match(walker, fresh), "what was visited does not match any more");
	walker->visited += !result;
	cleave_anon_transit_end(context, anon, result ? content : fresh);
	return result;
}

static int walk_store(struct cleave_anon_context *context, struct cleave_anon_walker *walker,
		      struct cleave_anon *store)
{
	struct cleave_domain *rcu = context->domain->guards.domain;
	struct cleave_anon_visit visits[BATCH];
	uint64_t slot = 0;
	size_t n, kept;
	int result = 0;

	do {
		kept = 0;
		/* Only anons change, which are pinned: no slot does, so no guard is needed. */
		rcu->ops->enter(rcu, context->self);
		n = cleave_anon_next_rcu(store, &slot, visits, BATCH);
		for (size_t i = 0; i < n; i++) {
			uint64_t content = cleave_anon_page_content(visits[i].anon);

			if (content && walker->match(walker, content) && cleave_anon_page_pin_rcu(visits[i].anon))
				visits[kept++] = visits[i];
		}
		rcu->ops->leave(rcu, context->self);
		for (size_t i = 0; i < kept; i++) {
			if (!result)
				result = visit_anon(context, walker, visits[i].anon);
			cleave_anon_page_unpin(context, visits[i].anon);
		}
		cleave__anon_finish(context);
	} while (!result && n == BATCH);
	return result;
}

int cleave_anon_walk(struct cleave_anon_context *context, struct cleave_anon_walker *walker)
{
	struct cleave_anon *store = NULL;
	int result = 0;

	while (!result && (store = cleave__anon_next_store(context, store))) {
		walker->stores++;
		result = walk_store(context, walker, store);
	}
	if (store)
		cleave__anon_put(context, store, CLEAVE__ANON_PIN);
	cleave__anon_finish(context);
	return result;
}
