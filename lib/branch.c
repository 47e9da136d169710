/* SPDX-License-Identifier: ISC */
#include "branch.h"

void cleave__branch_init_private(struct cleave__branch *branch, unsigned int level, uint64_t first)
{
	cleave__node_init_private(&branch->node, level, first, first);
}

void cleave__branch_append_private(struct cleave__branch *branch, struct cleave__node *child, uint64_t last,
				   uint64_t gap)
{
	unsigned int i = branch->node.count++;

	branch->pivot[i] = last;
	cleave__link_init_private(&branch->child[i], child);
	PORT_STORE(&branch->gap[i], gap, PORT_RELAXED);
	branch->node.last = last;
}

void cleave__branch_append_copies_private(struct cleave__branch *branch, const struct cleave__branch *from,
					  unsigned int c, unsigned int end)
{
	unsigned int i = branch->node.count;

	PORT_ASSERT(c < end, "a branch has a last child");
	branch->node.count = (uint8_t)(i + (end - c));
	branch->node.last = from->pivot[end - 1];
	for (; c < end; c++, i++) {
		branch->pivot[i] = from->pivot[c];
		cleave__link_init_private(&branch->child[i], cleave__link_read_locked(&from->child[c]));
		PORT_STORE(&branch->gap[i], cleave__branch_gap(from, c), PORT_RELAXED);
	}
}

void cleave__branch_copy_private(struct cleave__branch *restrict copy, const struct cleave__branch *restrict from,
				 unsigned int at, unsigned int drop, unsigned int n)
{
	unsigned int count = from->node.count;

	cleave__node_init_private(&copy->node, from->node.level, from->node.first, from->node.last);
	copy->node.count = (uint8_t)(count + n - drop);
	/* All of it, where it is: how many children there are is as good as random. */
	for (unsigned int i = 0; i < CLEAVE__FANOUT; i++)
		copy->pivot[i] = from->pivot[i];
	for (unsigned int i = 0; i < CLEAVE__FANOUT; i++)
		cleave__link_copy_private(&copy->child[i], &from->child[i]);
	for (unsigned int i = 0; i < CLEAVE__FANOUT; i++)
		PORT_COPY(&copy->gap[i], &from->gap[i]);
	if (n == drop)
		return;
	for (unsigned int i = at + drop; i < count; i++) {
		copy->pivot[i + n - drop] = from->pivot[i];
		cleave__link_copy_private(&copy->child[i + n - drop], &from->child[i]);
		PORT_COPY(&copy->gap[i + n - drop], &from->gap[i]);
	}
	if (n < drop)
		cleave__branch_seal_private(copy);
}

void cleave__branch_seal_private(struct cleave__branch *branch)
{
	/* Unused pivots are never below an address of this branch, so that a search needs no count. */
	for (unsigned int i = branch->node.count; i < CLEAVE__FANOUT; i++) {
		branch->pivot[i] = branch->node.last;
		cleave__link_init_private(&branch->child[i], NULL);
		PORT_STORE(&branch->gap[i], 0, PORT_RELAXED);
	}
}
