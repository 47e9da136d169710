/* SPDX-License-Identifier: ISC */
/* What edit.c and edit_hold.c share: a leaf is locked, then searched, with the search that was included (search.h). */
#ifndef CLEAVE_EDIT_LOCK_H
#define CLEAVE_EDIT_LOCK_H

#include "edit.h"

/* The edits of holds, for edit.c's table. */
#define HOLD_NAME_(name, search) cleave__##name##_##search
#define HOLD_NAME(name, search) HOLD_NAME_(name, search)
#define HOLD_BEGIN HOLD_NAME(hold_begin, SEARCH_NAME)
#define HOLD_PUT HOLD_NAME(hold_put, SEARCH_NAME)

void HOLD_BEGIN(struct cleave_hold *hold, struct cleave *index, struct cleave_thread *self, uint64_t addr);
int HOLD_PUT(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value, cleave__hold_put *elsewhere);

/* Search a locked leaf whose order word is known. */
static PORT_ALWAYS_INLINE void search_locked(uint64_t addr, struct cleave__position *position)
{
	const struct cleave__leaf *leaf = cleave__leaf_const(position->node);

	position->r = search_count(search_leaf(leaf, position->order, addr)) - 1;
	position->count = search_count(cleave__live(position->order));
}

/* Lock the leaf of a position, inside a read section.  False: it is locked, or dead, and not locked now. */
static PORT_ALWAYS_INLINE bool lock_at(struct cleave *index, const struct cleave__position *position, uint64_t *order)
	PORT_INSIDE PORT_TRYLOCKS(position->node->lock)
{
	struct cleave__leaf *leaf = cleave__leaf(position->node);

	if (PORT_UNLIKELY(!cleave__trylock(&leaf->node.lock)))
		return false;
	*order = cleave__order_locked(leaf);
	if (PORT_LIKELY(*order < CLEAVE__DEAD))
		return true;
	cleave__unlock_dead(index, &leaf->node);
	return false;
}

/* The same, and search it under the lock. */
static PORT_ALWAYS_INLINE bool lock_this(struct cleave *index, uint64_t addr, struct cleave__position *position)
	PORT_INSIDE PORT_TRYLOCKS(position->node->lock)
{
	if (PORT_UNLIKELY(!lock_at(index, position, &position->order)))
		return false;
	search_locked(addr, position);
	return true;
}

#endif
