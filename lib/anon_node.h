/* SPDX-License-Identifier: ISC */
/*
 * One node of a store: a leaf of slots or a branch of children.  No tree knowledge.
 *
 *	owner	   generation (odd) of the store that may write it.  Once it is unlinked and nobody's any more: the next
 *		   node of a limbo (even), which equals no generation.
 *	refs	   how many stores and nodes point here; the top bit says that it is a leaf
 *	lock	   of the children: copying, taking over and removing them, in the store that owns this node
 *	slot[]	   leaf: an anon and marks; branch: a child.  SEALED: empty, and the node is about to go.
 *
 * Rules (doc/anon.md has the interleaving that each one prevents):
 *   1. A node is written only by a store whose generation it bears.  Such a node's parents bear it too, and nobody else
 *	points to it: the owner of a leaf owns the path.
 *   2. Stamping (the parent is owned, refs is 1) and copying happen under the parent's lock.
 *   3. A copy raises the counts of what it points to before it is published; the displaced node loses its count a grace
 *	period later.
 *   4. Marks stand only in owned leaves, and only inside a guard.
 */
#ifndef CLEAVE_ANON_NODE_H
#define CLEAVE_ANON_NODE_H

#include "guard.h"

#ifndef CLEAVE__ANON_BITS /* schedules want small nodes */
#define CLEAVE__ANON_BITS 5
#endif
#define CLEAVE__ANON_FANOUT (1u << CLEAVE__ANON_BITS)
#ifndef CLEAVE__ANON_MOST_LEVELS
#define CLEAVE__ANON_MOST_LEVELS ((35 + CLEAVE__ANON_BITS - 1) / CLEAVE__ANON_BITS)
#endif

#define CLEAVE__ANON_BUSY UINT64_C(1)
#define CLEAVE__ANON_WAITED UINT64_C(2) /* beside BUSY */
#define CLEAVE__ANON_SEALED UINT64_C(4) /* alone */
#define CLEAVE__ANON_MARKS UINT64_C(7)

#define CLEAVE__ANON_IS_LEAF (UINT32_C(1) << 31)
#define CLEAVE__ANON_REFS (CLEAVE__ANON_IS_LEAF - 1) /* each one is a node's or a store's memory: no overflow */

struct cleave__anon_node {
	struct cleave_word owner;
	struct cleave_word32 refs;
	struct cleave_word32 lock;
	struct cleave_word slot[CLEAVE__ANON_FANOUT];
};

/* Root words carry the level in the low bits. */
#define CLEAVE__ANON_ALIGN (CLEAVE__ANON_MOST_LEVELS > 8 ? 64u : 8u)
#define CLEAVE__ANON_LEVEL (CLEAVE__ANON_ALIGN - 1u)

static inline struct cleave__anon_node *cleave__anon_node_of(uint64_t root)
{
	return (struct cleave__anon_node *)(uintptr_t)(root & ~(uint64_t)CLEAVE__ANON_LEVEL);
}

static inline unsigned int cleave__anon_level_of(uint64_t root)
{
	return (unsigned int)root & CLEAVE__ANON_LEVEL;
}

static inline uint64_t cleave__anon_root_word(const struct cleave__anon_node *node, unsigned int level)
{
	return (uint64_t)(uintptr_t)node | level;
}

/* The child or the anon in a slot's word; NULL for a sealed one. */
static inline struct cleave__anon_node *cleave__anon_child(uint64_t word)
{
	return (struct cleave__anon_node *)(uintptr_t)(word & ~CLEAVE__ANON_MARKS);
}

static inline struct cleave_anon_page *cleave__anon_page(uint64_t word)
{
	return (struct cleave_anon_page *)(uintptr_t)(word & ~CLEAVE__ANON_MARKS);
}

static inline unsigned int cleave__anon_shift(unsigned int level)
{
	return level * CLEAVE__ANON_BITS;
}

static inline unsigned int cleave__anon_index(uint64_t slot, unsigned int level)
{
	return (unsigned int)(slot >> cleave__anon_shift(level)) & (CLEAVE__ANON_FANOUT - 1);
}

_Static_assert(CLEAVE__ANON_MOST_LEVELS * CLEAVE__ANON_BITS < 64, "a number is wider than that of any slot");

/* The highest slot below a root of this level. */
static inline uint64_t cleave__anon_top(unsigned int level)
{
	return (UINT64_C(1) << cleave__anon_shift(level + 1)) - 1;
}

/* The level of the root that `slot` needs. */
static inline unsigned int cleave__anon_level_for(uint64_t slot)
{
	unsigned int level = 0;

	while (slot > cleave__anon_top(level))
		level++;
	return level;
}

/* Private until it is published.  The first word's store tells the simulator that the node is made anew. */
static inline void cleave__anon_node_init(struct cleave__anon_node *node, unsigned int level, uint64_t generation)
{
	PORT_STORE(&node->owner, 0, PORT_RELAXED);
	PORT_STORE(&node->owner, generation, PORT_RELAXED);
	PORT_STORE(&node->refs, (level == 0 ? CLEAVE__ANON_IS_LEAF : 0) | 1, PORT_RELAXED);
	PORT_STORE(&node->lock, 0, PORT_RELAXED);
	for (unsigned int i = 0; i < CLEAVE__ANON_FANOUT; i++)
		PORT_STORE(&node->slot[i], 0, PORT_RELAXED);
}

/*
 * Lists of nodes that are nobody's: linked by the owner's word, which is then even, and not 0, which would tell the
 * simulator that the node is made anew.
 */
#define CLEAVE__ANON_LINKED UINT64_C(2)

static inline void cleave__anon_push(struct cleave__anon_node **list, struct cleave__anon_node *node)
{
	PORT_STORE(&node->owner, (uint64_t)(uintptr_t)*list | CLEAVE__ANON_LINKED, PORT_RELAXED);
	*list = node;
}

static inline struct cleave__anon_node *cleave__anon_pop(struct cleave__anon_node **list)
{
	struct cleave__anon_node *node = *list;
	uint64_t next;

	if (node) {
		next = PORT_LOAD(&node->owner, PORT_RELAXED) & ~CLEAVE__ANON_LINKED;
		*list = (struct cleave__anon_node *)(uintptr_t)next;
	}
	return node;
}

static inline bool cleave__anon_is_leaf(const struct cleave__anon_node *node)
{
	return (PORT_LOAD(&node->refs, PORT_RELAXED) & CLEAVE__ANON_IS_LEAF) != 0;
}

/* Whoever raises a count has one, or holds what has. */
static inline void cleave__anon_node_get(struct cleave__anon_node *node)
{
	PORT_FETCH_ADD(&node->refs, 1, PORT_RELAXED);
}

/*
 * [A8-rel] what others read through this count comes before who sees the last one; [A8-acq] for that one.
 * True: it was the last.
 */
static inline bool cleave__anon_node_put(struct cleave__anon_node *node)
{
	return (PORT_FETCH_ADD(&node->refs, UINT32_MAX, PORT_ACQ_REL) & CLEAVE__ANON_REFS) == 1;
}

/* [A8-acq] the readers of who dropped the other counts come before our writes. */
static inline bool cleave__anon_node_alone(const struct cleave__anon_node *node)
{
	return (PORT_LOAD(&node->refs, PORT_ACQUIRE) & CLEAVE__ANON_REFS) == 1;
}

/* The owner changes under the parent's lock; who sees the stamp without it sees what the count 1 was seen with. */
static PORT_ALWAYS_INLINE bool cleave__anon_owned(const struct cleave__anon_node *node, uint64_t generation)
{
	return PORT_LOAD(&node->owner, PORT_ACQUIRE) == generation; /* [A12-acq] pairs with the stamp */
}

static inline void cleave__anon_stamp_locked(struct cleave__anon_node *node, uint64_t generation)
{
	PORT_STORE(&node->owner, generation, PORT_RELEASE); /* [A12-rel] after the count was seen to be 1 */
}

/*
 * A visit's load of a link or a slot, under a guard.  [A1-sc] against the store of a new node's link; [A2-sc] against
 * marks and fills of others.
 */
static PORT_ALWAYS_INLINE uint64_t cleave__anon_slot_visit(const struct cleave_word *slot)
{
	return PORT_LOAD(slot, PORT_SEQ_CST);
}

/* [A1-acq] [A2-acq] a lookup's: the node's or anon's contents after the pointer. */
static PORT_ALWAYS_INLINE uint64_t cleave__anon_slot_rcu(const struct cleave_word *slot)
{
	return PORT_LOAD(slot, PORT_ACQUIRE);
}

/* ---- Locks of nodes ---- */

#define CLEAVE__ANON_LOCKED 1u
#define CLEAVE__ANON_LOCK_WAITED 2u

/* [A3-acq] what the last holder did; pairs with [A3-rel] cleave__anon_unlock(). */
static inline bool cleave__anon_trylock(struct cleave_word32 *lock)
{
	uint32_t seen = 0;

	return PORT_CAS(lock, &seen, CLEAVE__ANON_LOCKED, PORT_ACQUIRE, PORT_RELAXED);
}

static inline void cleave__anon_unlock(struct cleave_guards *guards, struct cleave_word32 *lock)
{
	uint32_t seen = CLEAVE__ANON_LOCKED;

	PORT_YIELD();
	/* [A3-rel] pairs with [A3-acq] cleave__anon_trylock() */
	if (PORT_UNLIKELY(!PORT_CAS(lock, &seen, 0, PORT_RELEASE, PORT_RELAXED))) {
		PORT_STORE(lock, 0, PORT_RELEASE); /* [A3-rel] only the holder clears it */
		cleave__guards_wake(guards, lock);
	}
}

/*
 * Is every slot empty?  A glance: who acts on it seals.
 *	1. A: empties slot 0			1'. B: empties slot 1
 *	2. A: looks at slot 1: full		2'. B: looks at slot 0: full
 * would leave an empty node that nobody removes: so these loads are visits.
 */
static inline bool cleave__anon_node_empty(const struct cleave__anon_node *node)
{
	for (unsigned int i = 0; i < CLEAVE__ANON_FANOUT; i++)
		if (cleave__anon_slot_visit(&node->slot[i]) & ~CLEAVE__ANON_SEALED)
			return false;
	return true;
}

/* Seal all slots of an owned node, its parent locked.  False: one is not empty; none is sealed. */
bool cleave__anon_seal_locked(struct cleave__anon_node *node);

#endif
