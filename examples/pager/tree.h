/* SPDX-License-Identifier: ISC */
/*
 * What the peers keep: a red-black tree of map entries under one mutex, with the free space of each subtree, and amaps:
 * tables of anons by slot.  An amap is shared by the entries that show parts of it; each slot is shown once.
 */
#ifndef PAGER_TREE_H
#define PAGER_TREE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tree_entry;
static inline void augment(struct tree_entry *entry);
#define RB_AUGMENT(entry) augment(entry)
#include <bsd/sys/tree.h>

#include "pager.h"

struct tree_anon {
	_Atomic uint32_t refs;	  /* processes that show it */
	_Atomic uint32_t busy;	  /* being read in */
	_Atomic uint64_t content; /* a page, or a token; written by its only user, or by who made it busy */
};

#define LEAF_SLOTS 512u
#define CHUNK_SLOTS 16u

struct amap {
	uint32_t refs;
	uint32_t leaf_slots; /* LEAF_SLOTS or CHUNK_SLOTS */
	uint64_t nslots;
	struct tree_anon ***leaves; /* NULL: empty */
};

/* It owns [start, end) and `fspace` bytes of free space above. */
struct tree_entry {
	RB_ENTRY(tree_entry) link;
	uint64_t start;
	uint64_t end;
	uint64_t fspace;
	uint64_t largest;	 /* free space in its subtree */
	struct amap *amap;	 /* NULL: none yet, or not paged */
	uint64_t first;		 /* the slot of `start` */
	struct tree_entry *next; /* on a list of those that are unused or dead */
	bool paged;
	uint8_t protection;
	uint8_t inheritance;
};

RB_HEAD(tree, tree_entry);

struct engine_space {
	pthread_mutex_t lock;
	struct tree tree; /* [lock] its first entry is [MAP_MIN, MAP_MIN) */
	struct process *process;
	uint64_t top;
	bool chunked;
};

static inline uint64_t largest_below(const struct tree_entry *entry)
{
	const struct tree_entry *left = RB_LEFT(entry, link), *right = RB_RIGHT(entry, link);
	uint64_t largest = entry->fspace;

	if (left && left->largest > largest)
		largest = left->largest;
	if (right && right->largest > largest)
		largest = right->largest;
	return largest;
}

/* Up to where nothing changes.  A rotation calls this for what it moves. */
static inline void augment(struct tree_entry *entry)
{
	for (; entry; entry = RB_PARENT(entry, link)) {
		uint64_t largest = largest_below(entry);

		if (entry->largest == largest)
			return;
		entry->largest = largest;
	}
}

/* ---- tree.c: entries; the lock is held ---- */

struct tree_entry *tree_floor(struct engine_space *space, uint64_t addr); /* the one that owns addr */
struct tree_entry *tree_next(struct tree_entry *entry);
struct tree_entry *tree_previous(struct tree_entry *entry);
void tree_insert(struct engine_space *space, struct tree_entry *entry);
void tree_remove(struct engine_space *space, struct tree_entry *entry);
/* An entry shall begin at addr, if one holds it.  `fresh` is used for that, if need be.  Return: used. */
bool tree_clip(struct engine_space *space, uint64_t addr, struct tree_entry *fresh);
/* Join the entry with the one above, if they differ in nothing.  Return: the one that goes, or NULL. */
struct tree_entry *tree_join(struct engine_space *space, struct tree_entry *entry);
uint64_t tree_highest_gap(struct engine_space *space, uint64_t size, uint64_t align, uint64_t min, uint64_t max);
size_t tree_verify(struct engine_space *space);

/* ---- amap.c ---- */

struct amap *amap_make(uint64_t nslots, uint32_t leaf_slots);
void amap_ref(struct amap *amap);
void amap_unref(struct amap *amap);
bool amap_extend(struct amap *amap, uint64_t nslots);
/* The slot's place; NULL: it has none, or with `make`: no memory. */
struct tree_anon **amap_slot(struct amap *amap, uint64_t slot, bool make);
struct tree_anon *anon_make(uint64_t content);
void anon_drop(struct tree_anon *anon);
/* Empty the slots of a window. */
void amap_wipe(struct amap *amap, uint64_t first, uint64_t n);
/* A copy of a window, which shares its anons.  NULL: no memory. */
struct amap *amap_copy(struct amap *amap, uint64_t first, uint64_t n);

/* ---- engine_tree.c, tree_fault.c ---- */

int tree_space_make(struct process *process, bool chunked);
void tree_space_free(struct process *process);
/* The entry is in no tree any more: its pages go, and it. */
void tree_bury(struct tree_entry *entry);
int tree_discard(struct process *process, uint64_t start, uint64_t end);
int tree_fork(struct process *parent, struct process *child);
int tree_fault(struct process *process, uint64_t addr, bool write);
size_t tree_evict(struct process *process, size_t n);

#endif
