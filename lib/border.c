/* SPDX-License-Identifier: ISC */
#include "border.h"

enum { LEFT, RIGHT };

static struct cleave__node *neighbour(struct cleave *index, const struct cleave__position *position, unsigned int side)
	PORT_INSIDE
{
	const struct cleave__branch *parent = position->parent;
	struct cleave__position there;

	PORT_ASSERT(parent, "a lone leaf holds all addresses");
	if (side == LEFT && position->index > 0)
		return cleave__link_read_rcu(&parent->child[position->index - 1]);
	if (side == RIGHT && position->index + 1 < parent->node.count)
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
		/* Live leaves tile the addresses, and a range is fixed for life: a live one is the neighbour. */
		if (!cleave__trylock_live(index, beside))
			goto busy;
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

bool cleave__border_move(struct cleave *index, struct cleave_thread *self, const struct cleave__position *position,
			 uint64_t first, uint64_t last, struct cleave__border *border, struct cleave__node **others)
	PORT_UNCHECKED
{
	unsigned int side = border->joins[LEFT] ? LEFT : RIGHT;
	const struct cleave__branch *parent = position->parent;

	if ((border->joins[LEFT] && border->joins[RIGHT]) ||
	    (side == LEFT ? position->index == 0 : position->index + 1 == parent->node.count))
		return false;
	if (!cleave__move_border(index, self, position, border->joins[side], first, last, others))
		return false;
	border->joins[side] = NULL;
	return true;
}
