/* SPDX-License-Identifier: ISC */
/* The simple changes, for the rest of the core.  The public functions are in cleave.h. */
#ifndef CLEAVE_UPDATE_H
#define CLEAVE_UPDATE_H

#include "border.h"
#include "txn.h"

enum cleave__verb { CLEAVE__CLIP, CLEAVE__UNCLIP, CLEAVE__INSERT, CLEAVE__STORE, CLEAVE__REPLACE };

struct cleave__change {
	enum cleave__verb verb;
	uint64_t first; /* the range to be put; CLIP, UNCLIP: both are the address */
	uint64_t last;
	void *value;
	struct cleave_entry *entry; /* INSERT: the conflict; REPLACE: what is expected */
	struct cleave_sink *sink;
	bool try_only;
	bool spread; /* out: the leaf ran out of clean cells once too often */
	bool copy;   /* copy it nevertheless: there are no nodes to divide it */
};

#define CLEAVE__RESTART 2 /* one leaf cannot hold it */

/* The first address's leaf is locked and live, inside a section: make the change, unlock, leave the section. */
int cleave__change_leave(struct cleave *index, struct cleave_thread *self, struct cleave__change *change,
			 const struct cleave__position *position) PORT_LEAVES PORT_UNLOCKS(position->node->lock);

/*
 * Copies and divisions take a few nodes; a change that finds none may still go without.  No more than these: several in
 * a row wait for an allocator that keeps its list in what is free, one after the other.
 */
static inline void cleave__prepare(struct cleave_thread *self)
{
	if (PORT_UNLIKELY(self->nfree[CLEAVE__LEAF] < self->reserved[CLEAVE__LEAF] + 3 ||
			  self->nfree[CLEAVE__BRANCH] < self->reserved[CLEAVE__BRANCH] + 3))
		(void)cleave__pool_fill(self, 3, 3, true);
}

/* The cells that are to be filled for an exchange. */
struct cleave__filling {
	uint64_t start[2];
	void *value[2];
};

/*
 * An edit in one place of a locked leaf that has too few clean cells for it: a copy takes the leaf's place.  As after
 * an edit, the leaf is unlocked then, and the section left.  Bounds are high enough.  `exchange` without `fresh` and
 * `added`.  False: this cannot be done at once, or the leaf is better divided; nothing has changed.
 */
bool cleave__copy_exchange_leave(struct cleave *index, struct cleave_thread *self,
				 const struct cleave__position *position, struct cleave__exchange exchange,
				 const struct cleave__filling *filling) PORT_UNCHECKED;

/* Before a change, outside of read sections: have a few nodes at hand. */
static inline void cleave__prepare_change(struct cleave *index, struct cleave_thread *self) PORT_OUTSIDE PORT_UNCHECKED
{
	cleave__check_writer(index, self, false);
	cleave__prepare(self);
}

/* Undo a clip in a locked leaf: one cell is listed less, none is written.  0, -ENOENT or CLEAVE__RESTART. */
static PORT_ALWAYS_INLINE int cleave__unclip_leaf(struct cleave_thread *self, struct cleave__leaf *leaf, uint64_t order,
						  unsigned int r, uint64_t addr)
	PORT_LOCKED(leaf->node.lock)
{
	unsigned int at = cleave__cell(order, r);
	void *value = PORT_CELL_READ(leaf->value[at]);

	if (!value || PORT_CELL_READ(leaf->start[at]) != addr || addr == 0)
		return -ENOENT;
	if (r == 0)
		return CLEAVE__RESTART;
	if (PORT_CELL_READ(leaf->value[cleave__cell(order, r - 1)]) != value)
		return -ENOENT;
	cleave__leaf_exchange(leaf, order,
			      &(struct cleave__exchange){
				      .at = r, .drop = 1, .dropped = 1u << at, .displaces = true });
	cleave__pool_drop_displaced(self, leaf, 1u << at);
	PORT_COUNT(self->counters.edits);
	return 0;
}

#endif
