/* SPDX-License-Identifier: ISC */
/*
 * Map entries in a red-black tree under a rwlock, as BSD kernels keep them: what mprotect does there, to compare with.
 * Lookup, checks, clips of both ends, and the attributes set in the entry itself; no augmentation for free space, no
 * timestamp, so it does less than a kernel's.
 */
#ifndef BENCH_MAPS_H
#define BENCH_MAPS_H

#include <cleave/map.h>

struct tree_map;

/*
 * Entries come from `memory`, as the attribute objects of a cleave_map do, and are of their size.  objects: attributes
 * stand in objects of their own which are replaced, not written, as a cleave_map's are.
 */
struct tree_map *tree_map_make(const struct cleave_memory *memory, bool objects);
void tree_map_destroy(struct tree_map *map);

/* Put an entry where there is none.  Return: 0, -ENOMEM. */
int tree_map_insert(struct tree_map *map, uint64_t start, uint64_t end, const struct cleave_map_attributes *attributes);
/* As cleave_map_protect() without flags.  Return: 0, -EPERM, -EACCES, -ENOMEM. */
int tree_map_protect(struct tree_map *map, uint64_t start, uint64_t end, unsigned int protection);
size_t tree_map_entries(struct tree_map *map);

#endif
