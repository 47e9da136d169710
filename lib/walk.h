/* SPDX-License-Identifier: ISC */
/*
 * The walk from the root, written once: cleave__walk().  search.c instantiates it for each way of searching a node;
 * the rest of the core calls those through index->search.
 */
#ifndef CLEAVE_WALK_H
#define CLEAVE_WALK_H

#include "branch.h"
#include "leaf.h"

#define CLEAVE__LEVEL_MASK ((uint64_t)63) /* nodes are 64-byte aligned: the root pointer's low bits hold its level */

/* Where a walk arrived.  Valid inside the read section of the walk. */
struct cleave__position {
	struct cleave__node *node;     /* at the level asked for */
	struct cleave__branch *parent; /* NULL: the node was the root */
	struct cleave__branch *above;  /* the parent's; NULL: that was the root */
	unsigned int index;	       /* of the node among its parent's children */
	unsigned int r;		       /* leaf: rank of the cell that holds the address */
	unsigned int count;	       /* leaf: live cells */
	uint64_t order;		       /* leaf: the order word */
};

/* ---- The search for free space (gapwalk.h) ---- */

#define CLEAVE__STALE 4u /* nodes that one search remembers */

struct cleave__gap_search {
	uint64_t size;
	uint64_t align;
	uint64_t phase;
	uint64_t min;
	uint64_t max;
	bool up; /* lowest first */
};

/* A place that fits, and the gap's cell as it was; and where the search was misled. */
struct cleave__gap_found {
	uint64_t addr;
	struct cleave__position position;
	/* Nodes wholly inside the window in which nothing fitted, leaves before the branches above them. */
	unsigned int nstale;
	struct cleave__gap_stale {
		struct cleave__branch *parent;
		unsigned int index;
		struct cleave__node *child;
		uint64_t order; /* leaf: with this order word ... */
		uint64_t gap;	/* ... its largest gap */
	} stale[CLEAVE__STALE];
};

struct cleave__search {
	const char *name;
	void *(*lookup_rcu)(const struct cleave *index, uint64_t addr, struct cleave_entry *entry);
	void *(*value_rcu)(const struct cleave *index, uint64_t addr);
	void *(*lookup_ticket_rcu)(const struct cleave *index, uint64_t addr, struct cleave_entry *entry,
				   struct cleave_ticket *ticket);
	void (*lookup_many_rcu)(const struct cleave *index, const uint64_t *addrs, size_t n,
				struct cleave_entry *entries);
	size_t (*lookup_range_rcu)(const struct cleave *index, uint64_t first, uint64_t last, bool gaps,
				   struct cleave_entry *entries, size_t n);
	/* Find the leaf, and the cell, of an address. */
	void (*seek_rcu)(const struct cleave *index, uint64_t addr, struct cleave__position *position);
	size_t (*next_rcu)(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n);
	/* Find the node of a level on the way to an address; false: the tree is not that high. */
	bool (*climb_rcu)(const struct cleave *index, unsigned int level, uint64_t addr,
			  struct cleave__position *position);
	/* Find free space. */
	bool (*gap_rcu)(const struct cleave *index, const struct cleave__gap_search *search,
			struct cleave__gap_found *found);
	/* The same where it is known where the search begins: only there, and under the branch above if that lives. */
	bool (*gap_from_rcu)(const struct cleave__gap_search *search, const struct cleave__edge *from,
			     struct cleave__gap_found *found);
	const struct cleave__edits *edits; /* edit.h */
};

static PORT_ALWAYS_INLINE unsigned int cleave__root_level(uint64_t root)
{
	return (unsigned int)(root & CLEAVE__LEVEL_MASK);
}

static PORT_ALWAYS_INLINE struct cleave__node *cleave__root_node(uint64_t root)
{
	return (struct cleave__node *)(uintptr_t)(root & ~CLEAVE__LEVEL_MASK);
}

static inline uint64_t cleave__root_make(struct cleave__node *node)
{
	return (uint64_t)(uintptr_t)node | node->level;
}

/* [M1-acq] as cleave__link_read_rcu(); pairs with [M1-rel] cleave__root_publish_locked(). */
static PORT_ALWAYS_INLINE uint64_t cleave__root_rcu(const struct cleave *index) PORT_INSIDE
{
	return PORT_LOAD(&index->root, PORT_ACQUIRE);
}

/* [M1-rel] pairs with [M1-acq] cleave__root_rcu().  As a swing. */
static inline void cleave__root_publish_locked(struct cleave *index, struct cleave__node *node)
	PORT_LOCKED(index->root_lock)
{
	PORT_STORE(&index->root, cleave__root_make(node), PORT_RELEASE);
}

/* Debug builds: is the caller inside a read section, as far as the port can tell? */
static inline void cleave__check_reader(const struct cleave *index) PORT_ASSUMES_INSIDE
{
	PORT_ASSERT(index->domain->ops->inside(index->domain, NULL) != 0,
		    "lookups, cursors and searches are made inside a read section");
	(void)index;
}

/*
 * A way of searching a node, inlined into every instance of the walk: the number of the child, times `twos`
 * (cleave__branch_child()).  The result is as wide as an address: to extend it is an instruction on the path to the
 * child, and 5 % of a lookup.
 */
typedef size_t cleave__search_branch(const struct cleave__branch *branch, uint64_t addr);

/*
 * Descend to `level`.  A child of a branch of level l has level l - 1, so only the root's pointer carries a level.
 * False: the root is below that level.
 */
static PORT_ALWAYS_INLINE bool cleave__walk(const struct cleave *index, unsigned int level, uint64_t addr,
					    cleave__search_branch *search, size_t twos,
					    struct cleave__position *position) PORT_INSIDE
{
	uint64_t root = cleave__root_rcu(index);
	struct cleave__node *node = cleave__root_node(root);
	unsigned int at = cleave__root_level(root);

	position->above = position->parent = NULL;
	position->index = 0;
	if (at < level)
		return false;
	while (at > level) {
		struct cleave__branch *branch = cleave__branch(node);
		size_t found = search(branch, addr);

		node = cleave__link_read_rcu(cleave__branch_child(branch, found, twos));
		position->above = position->parent;
		position->parent = branch;
		position->index = (unsigned int)(found / twos);
		at--;
	}
	position->node = node;
	return true;
}

#endif
