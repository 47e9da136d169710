/* SPDX-License-Identifier: ISC */
/* The simple changes, for the rest of the core.  The public functions are in cleave.h. */
#ifndef CLEAVE_UPDATE_H
#define CLEAVE_UPDATE_H

#include "border.h"
#include "txn.h"

/* Copies and divisions take a few nodes; a change that finds none may still go without. */
static inline void cleave__prepare(struct cleave_thread *self)
{
	if (PORT_UNLIKELY(self->nfree[CLEAVE__LEAF] < self->reserved[CLEAVE__LEAF] + 3 ||
			  self->nfree[CLEAVE__BRANCH] == self->reserved[CLEAVE__BRANCH]))
		(void)cleave__pool_fill(self, CLEAVE__SIMPLE_LEAVES, 4, true);
}

/* Before a change, outside of read sections: have a few nodes at hand. */
static inline void cleave__prepare_change(struct cleave *index, struct cleave_thread *self) PORT_OUTSIDE PORT_UNCHECKED
{
	cleave__check_writer(index, self, false);
	cleave__prepare(self);
}

/*
 * As cleave_insert(), after cleave__prepare_change(), inside the read section in which a search found `position`: the leaf
 * of `first`, which it did not lock, and the cell there.  Leaves the section.
 */
int cleave__insert_leave(struct cleave *index, struct cleave_thread *self, struct cleave__position *position,
			 uint64_t first, uint64_t last, void *value) PORT_LEAVES;

#endif
