/* SPDX-License-Identifier: ISC */
/* What the files of the fault path share. */
#ifndef CLEAVE_LIB_FAULT_H
#define CLEAVE_LIB_FAULT_H

#include "anon_wipe.h"
#include "map.h"

#include <cleave/fault.h>

static inline struct cleave_space *cleave__space_of(const struct cleave_map_ops *ops)
{
	return (struct cleave_space *)(uintptr_t)ops; /* its first member */
}

static inline struct cleave_space_thread *cleave__space_current(const struct cleave_space *space)
{
	return space->ops->current(space->ops);
}

/* ---- fault.c ---- */

#define CLEAVE__FAULT_WIRE 1u /* hold the page afterwards */

int cleave__fault(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr, unsigned int access,
		  unsigned int flags);

/*
 * Under the guard, which covers the slot alone, with the slot busy: no address shows any more what the slot shows,
 * which is `page`, or perhaps `other` (0: none).
 */
void cleave__fault_unmap_slot(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr,
			      const struct cleave_anon *store, uint64_t slot, uint64_t page, uint64_t other);

/* ---- fault_space.c ---- */

/* Nobody writes this page any more. */
void cleave__space_protect_page(const struct cleave_space_ops *ops, uint64_t page);

/* ---- fault_window.c: windows of stores, for the maps ---- */

int cleave__space_window_add(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);
void cleave__space_window_undo(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);
int cleave__space_window_reserve(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);
void cleave__space_window_cancel(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);
void cleave__space_window_drop(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);
/* Try again what lacked memory.  `last`: the thread ends; what lacks it even now stays until its store ends. */
void cleave__space_work_late(struct cleave_space_thread *thread, bool last);

/* ---- fault_swap.c: pages of stores, for the maps ---- */

int cleave__space_clean(const struct cleave_map_ops *ops, struct cleave_map *map, const struct cleave_map_entry *entry,
			unsigned int flags);
int cleave__space_wire(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		       unsigned int protection);
void cleave__space_unwire(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end);
int cleave__space_copy_wired(const struct cleave_map_ops *ops, void *clone, uint64_t first, uint64_t n);

#endif
