/* SPDX-License-Identifier: ISC */
/* M1: a node's contents, then the child (or the root) that names it. */
#include "walk.h"

#include "litmus.h"

#define ROUNDS 500u

static struct cleave__leaf leaf[ROUNDS];
static struct cleave__link child[ROUNDS];
static struct cleave index_of[ROUNDS];

static void *write_nodes(void *argument)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		cleave__leaf_init_private(&leaf[i], i, i + 9);
		cleave__leaf_append_private(&leaf[i], i, NULL);
		if (i % 2)
			cleave__link_publish_locked(&child[i], &leaf[i].node);
		else
			cleave__root_publish_locked(&index_of[i], &leaf[i].node);
	}
	return argument;
}

static void *read_nodes(void *argument)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct cleave__node *node;
		struct cleave_entry entry;

		while (!(node = i % 2 ? cleave__link_read_rcu(&child[i]) :
					cleave__root_node(cleave__root_rcu(&index_of[i]))))
			sched_yield();
		cleave__leaf_entry(cleave__leaf(node), cleave__order_rcu(cleave__leaf(node)), 1, 0, &entry);
		must(node->first == i && entry.first == i && entry.last == i + 9, "the node is there before its name");
	}
	return argument;
}

int main(void)
{
	return litmus((void *(*const[])(void *)){ write_nodes, read_nodes }, 2);
}
