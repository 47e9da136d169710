/* SPDX-License-Identifier: ISC */
/*
 * The first cache line of every node, leaf or branch.
 *
 *   byte  0	order	  leaf: the order word (leaf.h); branch: 0, or dead
 *	   8	first	  the range, fixed for life
 *	  16	last
 *	  24	lock	  nodelock.h
 *	  28	level	  0 is a leaf
 *	  29	count	  branch: children; leaf: times it was copied for want of a clean cell since one was recycled
 *	  30	replaced  what the transaction that holds the node does with it
 *	  32	cookie	  leaf: of the cells in `old`; retired node: its own
 *	  40	young	  leaf: cells that left the order word, no cookie yet
 *	  42	old	  leaf: cells that left it before `cookie` was taken
 *	  48	link	  next node on the list of whoever owns this one
 *	  56	chain	  all nodes that a restructure built, while they are private
 *
 * Life: private (being built) -> live -> dead (replaced; frozen for ever) -> retired (waits for its cookie) -> free.
 *
 * Field keys: I fixed while readers can reach the node; a atomic; n under the node's lock (or by whoever owns a private
 * or retired node); o ordered by the order word.
 */
#ifndef CLEAVE_NODE_H
#define CLEAVE_NODE_H

#include "rcu.h"

/* The greatest height.  A level more takes eight times the splits: 8^11 for one more than this. */
#define CLEAVE__LEVELS PORT_LEVELS

#define CLEAVE__DEAD (UINT64_C(15) << 60) /* with it an order word is above all others */

/* node->replaced */
#define CLEAVE__STAYS 0u
#define CLEAVE__REPLACED 1u /* by the transaction that holds the node */
#define CLEAVE__TOUCHED 2u  /* stays so far, but a put of that transaction has counted its cells */

struct cleave__node {
	struct cleave_word order;   /* [a] stored under n */
	uint64_t first;		    /* [I] */
	uint64_t last;		    /* [I] */
	struct cleave_word32 lock;  /* [a] */
	uint8_t level;		    /* [I] */
	uint8_t count;		    /* [I]; leaf [n] */
	uint8_t replaced;	    /* [n] */
	uint8_t pad;
	uint64_t cookie;	    /* [n] */
	uint16_t young;		    /* [n] */
	uint16_t old;		    /* [n] */
	struct cleave__node *link;  /* [n] */
	struct cleave__node *chain; /* [n] */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct cleave__node) == 64, "the header is one cache line");

enum cleave__kind { CLEAVE__LEAF, CLEAVE__BRANCH };

static inline enum cleave__kind cleave__kind(const struct cleave__node *node)
{
	return node->level ? CLEAVE__BRANCH : CLEAVE__LEAF;
}

/* Make a private node without contents. */
static inline void cleave__node_init_private(struct cleave__node *node, unsigned int level, uint64_t first,
					     uint64_t last)
{
	node->first = first;
	node->last = last;
	node->level = (uint8_t)level;
	node->count = 0;
	node->replaced = CLEAVE__STAYS;
	node->cookie = 0;
	node->young = 0;
	node->old = 0;
	node->link = NULL;
	node->chain = NULL;
	PORT_STORE(&node->order, 0, PORT_RELAXED);
	PORT_STORE(&node->lock, 0, PORT_RELAXED);
}

/* Was the node replaced?  Final once it is locked: only the holder of the lock marks it. */
static inline bool cleave__dead_locked(const struct cleave__node *node)
{
	return PORT_LOAD(&node->order, PORT_RELAXED) >= CLEAVE__DEAD;
}

/*
 * [M5-sc] sequentially consistent, against the guard of a validating lookup.  Nothing comes between the dead marks and
 * the publishing store.
 */
static inline void cleave__mark_dead_locked(struct cleave__node *node) PORT_LOCKED(node->lock)
{
	PORT_STORE(&node->order, PORT_LOAD(&node->order, PORT_RELAXED) | CLEAVE__DEAD, PORT_SEQ_CST);
}

#endif
