/* SPDX-License-Identifier: ISC */
#include "gapbound.h"

uint64_t cleave__node_gap(struct cleave__node *node)
{
	if (node->level)
		return cleave__branch_largest_gap(cleave__branch(node));
	return cleave__leaf_gap(cleave__leaf(node), cleave__order_locked(cleave__leaf(node)));
}

/*
 * Is the bound in the parent high enough, without locking it?  The parent must not be dead, checked after the child was
 * locked: a dead one's bounds are no longer the ones that count, while a live one's bound for this child can neither be
 * lowered nor be lost in a copy, because both need the child's lock or take the bound along.
 */
static bool high_enough(struct cleave *index, struct cleave_thread *self, unsigned int level, uint64_t addr,
			uint64_t gap, bool in_section) PORT_UNCHECKED
{
	struct cleave__position position;
	bool enough;

	if (!in_section)
		cleave__enter(index, self);
	if (index->search->climb_rcu(index, level + 1, addr, &position)) {
		const struct cleave__branch *parent = cleave__branch_const(position.node);

		enough = cleave__branch_gap(parent, cleave__branch_index(parent, addr)) >= gap &&
			 !cleave__dead_locked(&parent->node);
	} else {
		enough = true; /* the node is the root, and stays it while it is locked */
	}
	if (!in_section)
		cleave__leave(index, self);
	return enough;
}

/*
 * A gap that grows is likely to go on growing: entries beside each other are taken out one after the other.  So that
 * not each of them raises the bounds, these go as far again.
 */
static uint64_t with_room(uint64_t gap)
{
	return gap + gap < gap ? UINT64_MAX : gap + gap;
}

static struct cleave__branch *lock_branch(struct cleave *index, struct cleave_thread *self, unsigned int level,
					  uint64_t addr, struct cleave__branch *known, bool try_only) PORT_UNCHECKED
{
	struct cleave__node *node;
	bool lower;

	if (known)
		return cleave__trylock_live(index, &known->node) ? known : NULL;
	node = cleave__lock_node(index, self, level, addr, try_only, &lower);
	return node ? cleave__branch(node) : NULL;
}

bool cleave__raise(struct cleave *index, struct cleave_thread *self, unsigned int level, uint64_t addr, uint64_t gap,
		   struct cleave__branch *parent, bool try_only) PORT_UNCHECKED
{
	/* All stay locked to the end: a bound above may be too low only while the branch below is locked. */
	struct cleave__branch *held[CLEAVE__LEVELS];
	uint64_t before[CLEAVE__LEVELS];
	unsigned int n = 0;
	bool ok = true;

	for (; parent || !high_enough(index, self, level, addr, gap, try_only); parent = NULL) {
		struct cleave__branch *branch = lock_branch(index, self, ++level, addr, parent, try_only);
		unsigned int i;

		if (n == 0)
			gap = with_room(gap);
		ok = branch != NULL;
		if (!ok)
			break;
		i = cleave__branch_index(branch, addr);
		held[n] = branch;
		before[n] = cleave__branch_gap(branch, i);
		if (before[n] < gap) {
			cleave__branch_set_gap_locked(branch, i, gap);
			PORT_COUNT(self->counters.raises);
		}
		n++;
	}
	while (n > 0) {
		n--;
		if (!ok)
			cleave__branch_set_gap_locked(held[n], cleave__branch_index(held[n], addr), before[n]);
		cleave__unlock_node(index, &held[n]->node);
	}
	return ok;
}

void cleave__lower_rcu(const struct cleave *index, struct cleave_thread *self, struct cleave__branch *parent,
		       unsigned int i, struct cleave__node *child, uint64_t order, uint64_t gap) PORT_UNCHECKED
{
	if (!cleave__trylock_live(index, child))
		return;
	if (cleave__trylock_live(index, &parent->node)) {
		if (child->level || cleave__order_locked(cleave__leaf_const(child)) != order)
			gap = cleave__node_gap(child);
		if (gap < cleave__branch_gap(parent, i)) {
			cleave__branch_set_gap_locked(parent, i, gap);
			PORT_COUNT(self->counters.lowers);
		}
		cleave__unlock_node(index, &parent->node);
	}
	cleave__unlock_node(index, child);
}
