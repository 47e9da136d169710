/* SPDX-License-Identifier: ISC */
#include "border.h"

enum { LEFT, RIGHT };

static struct cleave__node *neighbour(struct cleave *index, const struct cleave__position *position, unsigned int side)
	PORT_INSIDE
{
	const struct cleave__branch *parent = position->parent;
	struct cleave__position there;

	if (parent && side == LEFT && position->index > 0)
		return cleave__link_read_rcu(&parent->child[position->index - 1]);
	if (parent && side == RIGHT && position->index + 1 < parent->node.count)
		return cleave__link_read_rcu(&parent->child[position->index + 1]);
	index->search->seek_rcu(index, side == LEFT ? position->node->first - 1 : position->node->last + 1, &there);
	return there.node;
}

void cleave__border_release(struct cleave *index, struct cleave__border *border) PORT_UNCHECKED
{
	for (unsigned int side = LEFT; side <= RIGHT; side++)
		if (border->joins[side])
			cleave__unlock_node(index, border->joins[side]);
}

bool cleave__border_look(struct cleave *index, const struct cleave__position *position, uint64_t first, uint64_t last,
			 struct cleave__border *border) PORT_UNCHECKED
{
	const struct cleave__node *node = position->node;
	bool reaches[2] = { first == node->first && first != 0, last == node->last && last != UINT64_MAX };

	*border = (struct cleave__border){ 0 };
	for (unsigned int side = LEFT; side <= RIGHT; side++) {
		struct cleave__node *beside;

		/* Where there is a gap already, the neighbour has none, and gets none while this leaf is locked. */
		if (!reaches[side] || cleave__leaf_gap_at_end(cleave__leaf_const(node), side == RIGHT))
			continue;
		beside = neighbour(index, position, side);
		if (!cleave__trylock(&beside->lock))
			goto busy;
		/* Live leaves tile the addresses, and a range is fixed for life: a live one is the neighbour. */
		if (cleave__dead_locked(beside)) {
			cleave__unlock_dead(index, beside);
			goto busy;
		}
		if (cleave__leaf_gap_at_end(cleave__leaf(beside), side == LEFT))
			border->joins[side] = beside;
		else
			cleave__unlock_node(index, beside);
	}
	return true;
busy:
	cleave__border_release(index, border);
	return false;
}

/* ---- Moving a border ---- */

struct move {
	struct cleave *index;
	struct cleave_thread *self;
	struct cleave__node *old[2];   /* A and B */
	struct cleave__branch *parent; /* P */
	unsigned int i;		       /* A among P's children */
	struct cleave__branch *above;  /* G; NULL: the root's lock */
};

/* A copy of a locked leaf; with [first, last] erased, if it is the one that the caller changes. */
static bool copy_leaf(struct cleave__leaf *copy, struct cleave__node *node, bool changes, uint64_t first, uint64_t last)
{
	struct cleave__leaf *leaf = cleave__leaf(node);
	uint64_t order = cleave__order_locked(leaf);
	struct cleave__edit edit;

	cleave__leaf_edit_init_copy(&edit, copy, leaf, order, cleave__count12(cleave__live(order)));
	if (changes && !cleave__leaf_edit_put(&edit, 0, first, last, NULL))
		return false;
	cleave__leaf_edit_store_private(&edit);
	return true;
}

/* Give the gap that begins `right` to the one that ends `left`.  False: nothing would be left.  *gap: its size then. */
static bool shift(struct cleave__leaf *left, struct cleave__leaf *right, uint64_t *gap)
{
	uint64_t order = cleave__order_locked(right);
	unsigned int count = cleave__count12(cleave__live(order));
	struct cleave_entry entry;

	if (count == 1)
		return false;
	cleave__leaf_entry(right, order, count, 0, &entry);
	PORT_STORE(&right->node.order, cleave__order_remove(order, count, 0), PORT_RELAXED);
	right->node.first = entry.last + 1;
	left->node.last = entry.last;
	order = cleave__order_locked(left);
	count = cleave__count12(cleave__live(order));
	cleave__leaf_entry(left, order, count, count - 1, &entry);
	*gap = cleave__gap_size(entry.first, entry.last);
	return true;
}

static void copy_parent(const struct move *move, struct cleave__branch *copy, struct cleave__node *left,
			struct cleave__node *right, uint64_t gap)
{
	const struct cleave__branch *parent = move->parent;

	cleave__branch_init_private(copy, parent->node.level, parent->node.first);
	for (unsigned int c = 0; c < parent->node.count; c++) {
		uint64_t bound = cleave__branch_gap(parent, c);

		if (c == move->i)
			cleave__branch_append_private(copy, left, left->last, bound > gap ? bound : gap);
		else if (c == move->i + 1)
			cleave__branch_append_private(copy, right, right->last, bound);
		else
			cleave__branch_append_private(copy, cleave__link_read_locked(&parent->child[c]),
						      parent->pivot[c], bound);
	}
	cleave__branch_seal_private(copy);
}

/* Try to lock P and what is above it.  A and B are locked: if P lives, they hang there. */
static bool lock_above(struct move *move) PORT_UNCHECKED
{
	struct cleave__node *parent = &move->parent->node;
	bool live;

	if (!cleave__trylock(&parent->lock))
		return false;
	live = !cleave__dead_locked(parent);
	if (live &&
	    cleave__lock_above(move->index, move->self, parent->level, move->old[RIGHT]->first, true, &move->above))
		return true;
	cleave__unlock(move->index->domain, &parent->lock, live);
	return false;
}

/* Build the three nodes under the locks, and publish them. */
static bool replace(struct move *move, struct cleave__node *fresh[3], unsigned int own, uint64_t first, uint64_t last)
	PORT_UNCHECKED
{
	unsigned int at = move->above ? cleave__branch_index(move->above, move->old[RIGHT]->first) : 0;
	uint64_t gap;

	if (!copy_leaf(cleave__leaf(fresh[LEFT]), move->old[LEFT], own == LEFT, first, last) ||
	    !copy_leaf(cleave__leaf(fresh[RIGHT]), move->old[RIGHT], own == RIGHT, first, last) ||
	    !shift(cleave__leaf(fresh[LEFT]), cleave__leaf(fresh[RIGHT]), &gap) ||
	    (move->above && cleave__branch_gap(move->above, at) < gap))
		return false;
	copy_parent(move, cleave__branch(fresh[2]), fresh[LEFT], fresh[RIGHT], gap);
	PORT_YIELD();
	cleave__mark_dead_locked(move->old[LEFT]);
	cleave__mark_dead_locked(move->old[RIGHT]);
	cleave__mark_dead_locked(&move->parent->node);
	if (move->above)
		cleave__link_publish_locked(&move->above->child[at], fresh[2]);
	else
		cleave__root_publish_locked(move->index, fresh[2]);
	return true;
}

bool cleave__border_move(struct cleave *index, struct cleave_thread *self, const struct cleave__position *position,
			 uint64_t first, uint64_t last, struct cleave__border *border, struct cleave__node **others)
	PORT_UNCHECKED
{
	unsigned int side = border->joins[LEFT] ? LEFT : RIGHT, own = RIGHT - side;
	struct move move = { .index = index, .self = self, .parent = position->parent,
			     .i = position->index - (side == LEFT) };
	struct cleave__node *beside = border->joins[side], *fresh[3];
	bool done;

	if (border->joins[own] || !move.parent ||
	    (side == LEFT ? position->index == 0 : position->index + 1 == move.parent->node.count) ||
	    self->nfree[CLEAVE__LEAF] < self->reserved[CLEAVE__LEAF] + 2 ||
	    self->nfree[CLEAVE__BRANCH] < self->reserved[CLEAVE__BRANCH] + 1)
		return false;
	move.old[own] = position->node;
	move.old[side] = beside;
	if (!lock_above(&move))
		return false;
	fresh[LEFT] = cleave__pool_take(self, CLEAVE__LEAF);
	fresh[RIGHT] = cleave__pool_take(self, CLEAVE__LEAF);
	fresh[2] = cleave__pool_take(self, CLEAVE__BRANCH);
	done = replace(&move, fresh, own, first, last);
	cleave__unlock(index->domain, move.above ? &move.above->node.lock : &index->root_lock, true);
	cleave__unlock(index->domain, &move.parent->node.lock, !done);
	if (!done) {
		for (unsigned int k = 0; k < 3; k++)
			cleave__pool_give(self, fresh[k]);
		return false;
	}
	cleave__unlock_dead(index, beside);
	border->joins[side] = NULL;
	beside->link = &move.parent->node;
	move.parent->node.link = NULL;
	*others = beside;
	PORT_COUNT(self->counters.restructures);
	return true;
}
