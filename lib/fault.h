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

static inline struct cleave_space_thread *cleave__space_calling_thread(const struct cleave_space *space)
{
	return space->ops->calling_thread(space->ops);
}

/* ---- fault.c ---- */

/* What an attempt says: 0, an error for the caller, or what to do outside the guard before the next one. */
enum cleave__fault_next {
	CLEAVE__NEXT_AGAIN = 1, /* at once */
	CLEAVE__NEXT_WAIT,	/* for what the context has marked */
	CLEAVE__NEXT_NODES,	/* the context lacks nodes */
	CLEAVE__NEXT_PAGE,	/* the thread lacks a spare page */
	CLEAVE__NEXT_STORE,	/* the entry needs a store */
	CLEAVE__NEXT_SWAP_IN,	/* the anon is ours, in transit */
	CLEAVE__NEXT_FETCH,	/* the object's page is not resident */
	CLEAVE__NEXT_LOCK,	/* a mapping that replaces another: its range is locked until that is gone */
	CLEAVE__NEXT_FULL,	/* not for outside: the slot is not empty */
};

struct cleave__fault {
	struct cleave_space_thread *thread;
	struct cleave_map *map;
	uint64_t addr;
	unsigned int access;
	unsigned int flags;
	bool locked; /* the page's range */

	/* The entry, as looked up. */
	struct cleave_map_attributes attributes; /* a copy: the section may be left while a slot is busy */
	struct cleave_ticket ticket;
	uint64_t version;
	struct cleave_anon *store; /* NULL: none yet */
	uint64_t slot;
	uint64_t low; /* pages that the guard covers */
	uint64_t high;

	/* For the next step. */
	struct cleave_anon_page *anon; /* SWAP_IN: pinned; else its share goes when the guard is cleared */
	unsigned int nodes;	       /* NODES */
};

static inline const struct cleave_space_ops *cleave__fault_ops(const struct cleave__fault *fault)
{
	return fault->thread->space->ops;
}

static inline bool cleave__fault_writes(const struct cleave__fault *fault)
{
	return (fault->access & CLEAVE_PROT_WRITE) != 0;
}

static inline uint64_t cleave__fault_page(const struct cleave__fault *fault, uint64_t addr)
{
	return addr >> fault->thread->space->page_shift;
}

#define CLEAVE__FAULT_WIRE 1u /* hold the page afterwards */

int cleave__fault(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr, unsigned int access,
		  unsigned int flags);

/* ---- fault_resolve.c: under the guard ---- */

/* Change the slot, enter the page.  0, an error, or what to do outside. */
int cleave__fault_resolve(struct cleave__fault *fault);

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
void cleave__space_clean_done(const struct cleave_map_ops *ops, struct cleave_map *map);
void cleave__space_unwire(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end);
int cleave__space_copy_wired(const struct cleave_map_ops *ops, void *clone, uint64_t first, uint64_t n);

#endif
