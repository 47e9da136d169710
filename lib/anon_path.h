/* SPDX-License-Identifier: ISC */
/*
 * Visits of a store by who changes it: guard, flag, section; then the way to a leaf that the store owns.
 *
 *	1. writer: sets its guard		1'. clone: CLONING
 *	2. writer: reads CLONING: 0		2'. clone: waits for guards
 *	3. writer: reads the generation		3'. clone: new generations, one more count for the root
 *
 * Either 2 sees 1', or 2' waits for the writer.  So the generation does not change under a guard, and no shared leaf is
 * written.
 */
#ifndef CLEAVE_ANON_PATH_H
#define CLEAVE_ANON_PATH_H

#include "anon_context.h"

struct cleave__anon_path {
	unsigned int level;			 /* of the root */
	struct cleave__anon_node *leaf;
	struct cleave__anon_node *node[CLEAVE__ANON_MOST_LEVELS]; /* branches, by level */
};

/* Guard, flag and section.  0; -EAGAIN: nothing is set. */
static PORT_ALWAYS_INLINE int cleave__anon_open(struct cleave_anon_context *context, struct cleave_anon *store,
						uint64_t first, uint64_t last)
{
	struct cleave_domain *rcu = context->domain->guards.domain;

	cleave__guard_set(&context->guard, NULL, store, first, last, first);
	/* [A7-sc] after the guard; pairs with the increment, which comes before the clone's scan of guards */
	if (PORT_UNLIKELY(PORT_LOAD(&store->cloning, PORT_SEQ_CST))) {
		cleave__anon_await_clone(context, store);
		cleave__guard_clear(&context->domain->guards, &context->guard);
		return -EAGAIN;
	}
	rcu->ops->enter(rcu, context->self);
	return 0;
}

static PORT_ALWAYS_INLINE void cleave__anon_close(struct cleave_anon_context *context)
{
	struct cleave_domain *rcu = context->domain->guards.domain;

	rcu->ops->leave(rcu, context->self);
	cleave__guard_clear(&context->domain->guards, &context->guard);
}

/*
 * Under a guard: the owned leaf of `slot`, and the branches above it.  `make`: make what is missing.
 * 0; -ENOENT: no leaf, and not to be made; -EAGAIN; -ENOMEM: no spare nodes, and no empty one is linked.
 */
int cleave__anon_path_slowly(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot, bool make,
			     struct cleave__anon_path *path);

static PORT_ALWAYS_INLINE int cleave__anon_path(struct cleave_anon_context *context, struct cleave_anon *store,
						uint64_t slot, bool make, struct cleave__anon_path *path)
{
	uint64_t root = cleave__anon_slot_visit(&store->root);
	unsigned int level = cleave__anon_level_of(root);
	struct cleave__anon_node *node = cleave__anon_node_of(root);

	if (PORT_UNLIKELY(!node || slot > cleave__anon_top(level)))
		return cleave__anon_path_slowly(context, store, slot, make, path);
	path->level = level;
	for (; level > 0; level--) {
		path->node[level] = node;
		node = cleave__anon_child(cleave__anon_slot_visit(&node->slot[cleave__anon_index(slot, level)]));
		if (PORT_UNLIKELY(!node))
			return cleave__anon_path_slowly(context, store, slot, make, path);
	}
	path->leaf = node;
	/* Who owns the leaf owns the path. */
	if (PORT_LIKELY(cleave__anon_owned(node, PORT_LOAD(&store->generation, PORT_RELAXED))))
		return 0;
	return cleave__anon_path_slowly(context, store, slot, make, path);
}

/*
 * Make the node behind `link` the store's own, its parent being that: stamp or copy it.  A copy leaves out what stands
 * in [from, to] (from > to: nothing).  *node becomes the node to write; NULL: nothing was left, and it is unlinked.
 */
int cleave__anon_own(struct cleave_anon_context *context, struct cleave_anon *store, struct cleave_word *link,
		     struct cleave_word32 *lock, unsigned int level, bool root, unsigned int from, unsigned int to,
		     struct cleave__anon_node **node);

/* Unlink the owned node if it is empty.  1: unlinked; 0: not empty, or no longer there; -EAGAIN. */
int cleave__anon_unlink_empty(struct cleave_anon_context *context, struct cleave_word *link,
			      struct cleave_word32 *lock, bool root, struct cleave__anon_node *node);

/* Unlink the leaf, and then what that leaves empty, as far up as it goes.  0, -EAGAIN. */
int cleave__anon_prune(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
		       const struct cleave__anon_path *path);

/* cleave_anon_try_busy() whatever waits in the context: for who empties the slot, and puts nothing there. */
int cleave__anon_try_busy(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
			  struct cleave_anon_busy *busy);

/* The nodes of a path: the root may be taller than a truncated store needs. */
static inline unsigned int cleave__anon_levels(const struct cleave_anon *store)
{
	unsigned int root = cleave__anon_level_of(PORT_LOAD(&store->root, PORT_RELAXED));
	unsigned int level = cleave__anon_level_for(PORT_LOAD(&store->nslots, PORT_RELAXED) - 1);

	return (root > level ? root : level) + 1;
}

/* The nodes that a change of one slot may need: to copy a path, or to make the root taller and a path below it. */
static inline unsigned int cleave__anon_needs(const struct cleave_anon *store)
{
	return 2 * cleave__anon_levels(store);
}

#endif
