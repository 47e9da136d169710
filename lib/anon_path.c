/* SPDX-License-Identifier: ISC */
#include "anon_path.h"

/* Where the link to the node of `level` on the path stands, and the lock that guards it. */
static struct cleave_word *link_above(struct cleave_anon *store, uint64_t slot, const struct cleave__anon_path *path,
				      unsigned int level, struct cleave_word32 **lock)
{
	if (level == path->level) {
		*lock = &store->root_lock;
		return &store->root;
	}
	*lock = &path->node[level + 1]->lock;
	return &path->node[level + 1]->slot[cleave__anon_index(slot, level + 1)];
}

/* What a node points to gains a count each; nobody else writes the node, because it is nobody's, or everybody's. */
static struct cleave__anon_node *copy(struct cleave_anon_context *context, struct cleave__anon_node *node,
				      unsigned int level, uint64_t generation, unsigned int from, unsigned int to,
				      bool *empty)
{
	struct cleave__anon_node *fresh = cleave__anon_take(context, level, generation);

	*empty = true;
	if (!fresh)
		return NULL;
	for (unsigned int i = 0; i < CLEAVE__ANON_FANOUT; i++) {
		/* [A2-acq] an anon before its state; pairs with the fill */
		uint64_t word = cleave__anon_slot_rcu(&node->slot[i]);

		PORT_ASSERT(!(word & CLEAVE__ANON_MARKS), "no mark stands in a shared node");
		if (!word || (i >= from && i <= to))
			continue;
		*empty = false;
		if (level == 0)
			PORT_FETCH_ADD(&cleave__anon_page(word)->state, 1, PORT_RELAXED);
		else
			cleave__anon_node_get(cleave__anon_child(word));
		PORT_STORE(&fresh->slot[i], word, PORT_RELAXED);
	}
	return fresh;
}

int cleave__anon_own(struct cleave_anon_context *context, struct cleave_anon *store, struct cleave_word *link,
		     struct cleave_word32 *lock, unsigned int level, bool root, unsigned int from, unsigned int to,
		     struct cleave__anon_node **node)
{
	uint64_t generation = PORT_LOAD(&store->generation, PORT_RELAXED), word;
	struct cleave__anon_node *old = *node, *fresh;
	bool empty;
	int result = 0;

	if (!cleave__anon_trylock(lock)) {
		cleave__anon_await_lock(context, lock);
		return -EAGAIN;
	}
	word = cleave__anon_slot_visit(link);
	if ((root ? cleave__anon_node_of(word) : cleave__anon_child(word)) != old) {
		result = cleave__anon_again(context);
	} else if (cleave__anon_owned(old, generation)) {
		;
	} else if (cleave__anon_node_alone(old)) {
		PORT_COUNT(context->takeovers);
		cleave__anon_stamp_locked(old, generation);
	} else {
		fresh = copy(context, old, level, generation, from, to, &empty);
		if (!fresh) {
			result = -ENOMEM;
		} else {
			if (empty) {
				cleave__anon_give(context, fresh);
				fresh = NULL;
			}
			PORT_COUNT(context->copies);
			/* [A1-sc] the copy's contents, and the counts raised for it, before the link */
			PORT_STORE(link, !fresh ? 0 : root ? cleave__anon_root_word(fresh, level) : (uintptr_t)fresh,
				   PORT_SEQ_CST);
			cleave__anon_displace(context, old);
			*node = fresh;
		}
	}
	cleave__anon_unlock(&context->domain->guards, lock);
	return result;
}

/* Empty nodes are linked only by who can link the whole path: a failure leaves none. */
static bool has_nodes(const struct cleave_anon_context *context, unsigned int wanted)
{
	return context->nnodes >= wanted;
}

/* Make the root reach `slot`. */
static int grow(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot)
{
	uint64_t generation = PORT_LOAD(&store->generation, PORT_RELAXED), root;
	struct cleave__anon_node *fresh;
	unsigned int level, top = cleave__anon_level_for(slot);
	int result = 0;

	if (!cleave__anon_trylock(&store->root_lock)) {
		cleave__anon_await_lock(context, &store->root_lock);
		return -EAGAIN;
	}
	for (;;) {
		root = cleave__anon_slot_visit(&store->root);
		if (root && slot <= cleave__anon_top(cleave__anon_level_of(root)))
			break;
		level = root ? cleave__anon_level_of(root) + 1 : top;
		/* The roots that are missing, and a path below the last. */
		fresh = NULL;
		if (has_nodes(context, top - level + 1 + top))
			fresh = cleave__anon_take(context, level, generation);
		if (!fresh) {
			result = -ENOMEM;
			break;
		}
		PORT_STORE(&fresh->slot[0], (uintptr_t)cleave__anon_node_of(root), PORT_RELAXED);
		/* [A1-sc] a new root */
		PORT_STORE(&store->root, cleave__anon_root_word(fresh, level), PORT_SEQ_CST);
	}
	cleave__anon_unlock(&context->domain->guards, &store->root_lock);
	return result;
}

/* Link a new node into the empty word.  0: there is one now, perhaps another's. */
static int link_new(struct cleave_anon_context *context, struct cleave_word *link, unsigned int level,
		    uint64_t generation)
{
	struct cleave__anon_node *fresh;
	uint64_t seen = 0;

	fresh = has_nodes(context, level + 1) ? cleave__anon_take(context, level, generation) : NULL;
	if (!fresh)
		return -ENOMEM;
	/* [A1-sc] an empty node; who loses takes the winner's */
	if (!PORT_CAS(link, &seen, (uintptr_t)fresh, PORT_SEQ_CST, PORT_RELAXED))
		cleave__anon_give(context, fresh);
	return 0;
}

int cleave__anon_path_slowly(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot, bool make,
			     struct cleave__anon_path *path)
{
	uint64_t generation = PORT_LOAD(&store->generation, PORT_RELAXED), word;
	unsigned int level;
	int result;

	for (;;) {
		word = cleave__anon_slot_visit(&store->root);
		if (word && slot <= cleave__anon_top(cleave__anon_level_of(word)))
			break;
		if (!make)
			return -ENOENT;
		result = grow(context, store, slot);
		if (result)
			return result;
	}
	path->level = level = cleave__anon_level_of(word);
	for (;; level--) {
		struct cleave_word32 *lock, *lock_above;
		struct cleave_word *link = link_above(store, slot, path, level, &lock);
		struct cleave__anon_node *node;

		while (!(node = level == path->level ? cleave__anon_node_of(word)
						     : cleave__anon_child(word = cleave__anon_slot_visit(link)))) {
			if (word == CLEAVE__ANON_SEALED) {
				/* Its node is being removed, or will be unsealed: by who locks what is above it. */
				link_above(store, slot, path, level + 1, &lock_above);
				cleave__anon_await_lock(context, lock_above);
				return -EAGAIN;
			}
			if (!make)
				return -ENOENT;
			result = link_new(context, link, level, generation);
			if (result)
				return result;
		}
		if (!cleave__anon_owned(node, generation)) {
			result = cleave__anon_own(context, store, link, lock, level, level == path->level, 1, 0, &node);
			if (result)
				return result;
			if (!node) /* an empty one, which is gone */
				return cleave__anon_again(context);
		}
		if (level == 0) {
			path->leaf = node;
			return 0;
		}
		path->node[level] = node;
	}
}

int cleave__anon_unlink_empty(struct cleave_anon_context *context, struct cleave_word *link,
			      struct cleave_word32 *lock, bool root, struct cleave__anon_node *node)
{
	bool there, sealed;

	if (!cleave__anon_node_empty(node))
		return 0;
	if (!cleave__anon_trylock(lock)) {
		cleave__anon_await_lock(context, lock);
		return -EAGAIN;
	}
	there = (cleave__anon_slot_visit(link) & ~(uint64_t)CLEAVE__ANON_LEVEL) == (uintptr_t)node;
	sealed = there && cleave__anon_seal_locked(node);
	/*
	 * [A1-rel] what was done before.  Who misses it meets SEALED, or slots that were emptied sequentially
	 * consistently.  Those who empty the node above do so one after the other, under this lock: the last one sees
	 * that it is empty.
	 */
	if (sealed)
		PORT_STORE(link, 0, PORT_RELEASE);
	cleave__anon_unlock(&context->domain->guards, lock);
	if (!there && root) /* another root was put above it, or it is gone */
		return cleave__anon_again(context);
	if (!sealed)
		return 0;
	PORT_COUNT(context->removed);
	cleave__anon_retire(context, node);
	return 1;
}

int cleave__anon_prune(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
		       const struct cleave__anon_path *path)
{
	int result = 1;

	for (unsigned int level = 0; level <= path->level && result > 0; level++) {
		struct cleave_word32 *lock;
		struct cleave_word *link = link_above(store, slot, path, level, &lock);

		result = cleave__anon_unlink_empty(context, link, lock, level == path->level,
						   level ? path->node[level] : path->leaf);
	}
	return result < 0 ? result : 0;
}
