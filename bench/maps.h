/* SPDX-License-Identifier: ISC */
/*
 * Map entries in a red-black tree under a rwlock, as BSD kernels keep them: what mprotect does there, to compare with.
 *
 * It does what uvm_map_protect() does, in its order: the lock with the busy state and the timestamp; the search, in a
 * tree that tiles the map with entries and the free space above each; the checks of all entries; clips of both ends,
 * each an allocation, an insertion and the upkeep of the largest free space below each node; the attributes; the
 * account of data; and what becomes of the translations, for which a callback may stand.  Less in one thing: one
 * comparison is inlined where a kernel calls a function.
 */
#ifndef BENCH_MAPS_H
#define BENCH_MAPS_H

#include <cleave/map.h>

struct tree_map;

enum tree_kind {
	TREE_PLAIN,	  /* nothing is kept of free space, no timestamp, no accounts: the least that could be done */
	TREE_UVM,	  /* as above */
	TREE_UVM_OBJECTS, /* and attributes in objects that are replaced, not written, for lookups without the lock */
};

/* Entries and objects come from `memory`, as the attribute objects of a cleave_map do, and are of their size. */
struct tree_map *tree_map_make(const struct cleave_memory *memory, enum tree_kind kind, uint64_t min, uint64_t max);
void tree_map_destroy(struct tree_map *map);

/* Put an entry where there is none, as the first one.  Return: 0, -ENOMEM. */
int tree_map_insert(struct tree_map *map, uint64_t start, uint64_t end, const struct cleave_map_attributes *attributes);
/* As cleave_map_protect() without flags.  Return: 0, -EPERM, -EINVAL, -EACCES, -ENOMEM. */
int tree_map_protect(struct tree_map *map, uint64_t start, uint64_t end, unsigned int protection);
/* Is `addr` mapped, and how?  Under the lock, for reading. */
bool tree_map_lookup(struct tree_map *map, uint64_t addr, struct cleave_map_attributes *attributes);
size_t tree_map_entries(struct tree_map *map);
/* The free space that the tree keeps is what there is. */
bool tree_map_verify(struct tree_map *map);

#endif
