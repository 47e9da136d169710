/* SPDX-License-Identifier: ISC */
/*
 * The simple changes, as long as they are edits of one leaf that needs nothing else: walk, lock, fill clean cells,
 * store the order word, unlock (edit.c); and the same in two halves, for holds (edit_hold.c).
 * Both are compiled for each folder of port/search/, so that the walk and the search are part of them, and what these
 * find stays in registers.  What is more than that is left to update.c and hold.c, with the leaf locked.
 */
#ifndef CLEAVE_EDIT_H
#define CLEAVE_EDIT_H

#include "update.h"

typedef int cleave__hold_put(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value);

/* As the functions of cleave.h; insert: the range is valid and `value` not NULL; erase: the range is valid. */
struct cleave__edits {
	int (*clip)(struct cleave *index, struct cleave_thread *self, uint64_t addr);
	int (*unclip)(struct cleave *index, struct cleave_thread *self, uint64_t addr);
	int (*insert)(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last, void *value,
		      struct cleave_entry *conflict);
	/*
	 * As insert, after cleave__prepare_change(), inside the read section in which a search found `position`: the
	 * leaf of `first`, which it did not lock, and the cell there.  Leaves the section.
	 */
	int (*insert_found_leave)(struct cleave *index, struct cleave_thread *self, struct cleave__position *position,
				  uint64_t first, uint64_t last, void *value);
	int (*erase)(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
		     struct cleave_sink *sink);
	void (*hold_begin)(struct cleave_hold *hold, struct cleave *index, struct cleave_thread *self, uint64_t addr);
	/* As cleave_hold_put(), with checked arguments.  `elsewhere`: if the leaf has no clean cell for it. */
	int (*hold_put)(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value,
			cleave__hold_put *elsewhere);
};

#endif
