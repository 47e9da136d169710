/* SPDX-License-Identifier: ISC */
#include "handgap.h"

struct hand {
	struct cleave *index;
	struct cleave_thread *self;
	struct cleave__node *left; /* A */
	struct cleave__node *right; /* B, the caller's */
	struct cleave__branch *parent; /* P */
	unsigned int i;		       /* B among P's children */
	struct cleave__branch *above;  /* G; NULL: the root's lock */
};

/* The right leaf without its cells up to `last`, and without a gap behind them.  False: nothing is left of it. */
static bool copy_right(const struct hand *hand, struct cleave__leaf *copy, uint64_t order, unsigned int count,
		       uint64_t last)
{
	struct cleave__leaf *leaf = cleave__leaf(hand->right);
	unsigned int r = cleave__leaf_rank(leaf, order, count, 0, last);
	struct cleave_entry entry;

	cleave__leaf_entry(leaf, order, count, r, &entry);
	if (entry.last == last || !entry.value) {
		if (++r == count)
			return false;
		cleave__leaf_entry(leaf, order, count, r, &entry);
		if (!entry.value) {
			if (++r == count)
				return false;
			cleave__leaf_entry(leaf, order, count, r, &entry);
		}
	} else {
		entry.first = last + 1;
	}
	cleave__leaf_init_private(copy, entry.first, leaf->node.last);
	cleave__leaf_append_private(copy, entry.first, entry.value);
	while (++r < count) {
		unsigned int cell = cleave__cell(order, r);

		cleave__leaf_append_private(copy, PORT_CELL_READ(leaf->start[cell]), PORT_CELL_READ(leaf->value[cell]));
	}
	return true;
}

/* The left leaf with a gap up to before `end` behind its cells.  False: no room.  *gap: the gap's size. */
static bool copy_left(const struct hand *hand, struct cleave__leaf *copy, uint64_t end, uint64_t *gap)
{
	struct cleave__leaf *leaf = cleave__leaf(hand->left);
	uint64_t order = cleave__order_locked(leaf);
	unsigned int count = cleave__count12(cleave__live(order));
	struct cleave__edit edit;
	struct cleave_entry entry;

	cleave__leaf_entry(leaf, order, count, count - 1, &entry);
	if (entry.value && count == CLEAVE__CELLS)
		return false;
	cleave__leaf_edit_init_copy(&edit, copy, leaf, order, count);
	cleave__leaf_edit_store_private(&edit);
	copy->node.last = end - 1;
	if (entry.value)
		cleave__leaf_append_private(copy, entry.last + 1, NULL);
	*gap = end - (entry.value ? entry.last + 1 : entry.first);
	return true;
}

static void copy_parent(const struct hand *hand, struct cleave__branch *copy, struct cleave__node *left,
			struct cleave__node *right, uint64_t gap)
{
	const struct cleave__branch *parent = hand->parent;

	cleave__branch_init_private(copy, parent->node.level, parent->node.first);
	for (unsigned int c = 0; c < parent->node.count; c++) {
		uint64_t bound = cleave__branch_gap(parent, c);

		if (c == hand->i - 1)
			cleave__branch_append_private(copy, left, left->last, bound > gap ? bound : gap);
		else if (c == hand->i)
			cleave__branch_append_private(copy, right, right->last, bound);
		else
			cleave__branch_append_private(copy, cleave__link_read_locked(&parent->child[c]),
						      parent->pivot[c], bound);
	}
	cleave__branch_seal_private(copy);
}

/* Try to lock A, P and what is above P.  All are live then, and hang together. */
static bool lock_all(struct hand *hand)
{
	struct cleave *index = hand->index;

	hand->left = cleave__link_read_rcu(&hand->parent->child[hand->i - 1]);
	if (!cleave__trylock(&hand->left->lock))
		return false;
	if (cleave__dead_locked(hand->left) || !cleave__trylock(&hand->parent->node.lock))
		goto unlock_left;
	/* The parent is live, so the leaf on the left, which its child pointer named, is its child: it is not dead. */
	if (!cleave__dead_locked(&hand->parent->node) &&
	    cleave__lock_above(index, hand->self, hand->parent->node.level, hand->right->first, true, &hand->above))
		return true;
	cleave__unlock(index->domain, &hand->parent->node.lock, !cleave__dead_locked(&hand->parent->node));
unlock_left:
	cleave__unlock(index->domain, &hand->left->lock, !cleave__dead_locked(hand->left));
	return false;
}

static void unlock_above(struct hand *hand)
{
	cleave__unlock(hand->index->domain, hand->above ? &hand->above->node.lock : &hand->index->root_lock, true);
}

/* Build the three nodes under the locks, and publish them. */
static bool replace(struct hand *hand, struct cleave__node *fresh[3], uint64_t order, unsigned int count, uint64_t last)
{
	unsigned int at = hand->above ? cleave__branch_index(hand->above, hand->right->first) : 0;
	uint64_t gap;

	if (!copy_right(hand, cleave__leaf(fresh[1]), order, count, last) ||
	    !copy_left(hand, cleave__leaf(fresh[0]), fresh[1]->first, &gap) ||
	    (hand->above && cleave__branch_gap(hand->above, at) < gap))
		return false;
	copy_parent(hand, cleave__branch(fresh[2]), fresh[0], fresh[1], gap);
	PORT_YIELD();
	cleave__mark_dead_locked(hand->left);
	cleave__mark_dead_locked(hand->right);
	cleave__mark_dead_locked(&hand->parent->node);
	if (hand->above)
		cleave__link_publish_locked(&hand->above->child[at], fresh[2]);
	else
		cleave__root_publish_locked(hand->index, fresh[2]);
	return true;
}

bool cleave__hand_gap_left(struct cleave *index, struct cleave_thread *self, const struct cleave__position *position,
			   uint64_t order, unsigned int count, uint64_t last, struct cleave__node **others)
{
	struct hand hand = { .index = index, .self = self, .right = position->node, .parent = position->parent,
			     .i = position->index };
	struct cleave__node *fresh[3];
	bool done;

	if (!hand.parent || hand.i == 0 || self->nfree[CLEAVE__LEAF] < self->reserved[CLEAVE__LEAF] + 2 ||
	    self->nfree[CLEAVE__BRANCH] < self->reserved[CLEAVE__BRANCH] + 1 || !lock_all(&hand))
		return false;
	fresh[0] = cleave__pool_take(self, CLEAVE__LEAF);
	fresh[1] = cleave__pool_take(self, CLEAVE__LEAF);
	fresh[2] = cleave__pool_take(self, CLEAVE__BRANCH);
	done = replace(&hand, fresh, order, count, last);
	unlock_above(&hand);
	cleave__unlock(index->domain, &hand.parent->node.lock, !done);
	cleave__unlock(index->domain, &hand.left->lock, !done);
	if (!done) {
		for (unsigned int k = 0; k < 3; k++)
			cleave__pool_give(self, fresh[k]);
		return false;
	}
	hand.left->link = &hand.parent->node;
	hand.parent->node.link = NULL;
	*others = hand.left;
	PORT_COUNT(self->counters.restructures);
	return true;
}
