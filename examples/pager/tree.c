/* SPDX-License-Identifier: ISC */
#include "tree.h"

static int compare(const struct tree_entry *a, const struct tree_entry *b)
{
	return (a->start > b->start) - (a->start < b->start);
}

RB_GENERATE_INTERNAL(tree, tree_entry, link, compare, __attribute__((unused)) static)

struct tree_entry *tree_next(struct tree_entry *entry)
{
	return tree_RB_NEXT(entry);
}

struct tree_entry *tree_previous(struct tree_entry *entry)
{
	return tree_RB_PREV(entry);
}

struct tree_entry *tree_floor(struct engine_space *space, uint64_t addr)
{
	struct tree_entry *entry = RB_ROOT(&space->tree), *floor = NULL;

	while (entry) {
		if (entry->start <= addr) {
			floor = entry;
			entry = RB_RIGHT(entry, link);
		} else {
			entry = RB_LEFT(entry, link);
		}
	}
	return floor;
}

static void set_space(struct tree_entry *entry, uint64_t next_start)
{
	entry->fspace = next_start - entry->end;
	augment(entry);
}

void tree_insert(struct engine_space *space, struct tree_entry *entry)
{
	struct tree_entry *before, *after;

	entry->fspace = entry->largest = 0;
	tree_RB_INSERT(&space->tree, entry);
	before = tree_previous(entry);
	after = tree_next(entry);
	set_space(entry, after ? after->start : MAP_MAX);
	/* Entries that are inserted lie in free space, and the first one stays. */
	if (before)
		set_space(before, entry->start);
}

void tree_remove(struct engine_space *space, struct tree_entry *entry)
{
	struct tree_entry *before = tree_previous(entry), *after = tree_next(entry);

	tree_RB_REMOVE(&space->tree, entry);
	set_space(before, after ? after->start : MAP_MAX);
}

bool tree_clip(struct engine_space *space, uint64_t addr, struct tree_entry *fresh)
{
	struct tree_entry *entry = tree_floor(space, addr);

	if (!entry || entry->start == addr || entry->end <= addr)
		return false;
	*fresh = (struct tree_entry){
		.start = addr,
		.end = entry->end,
		.amap = entry->amap,
		.first = entry->first + ((addr - entry->start) >> PAGE_SHIFT),
		.paged = entry->paged,
		.protection = entry->protection,
		.inheritance = entry->inheritance,
	};
	amap_ref(entry->amap);
	entry->end = addr;
	tree_insert(space, fresh);
	return true;
}

struct tree_entry *tree_join(struct engine_space *space, struct tree_entry *entry)
{
	struct tree_entry *above = tree_next(entry);

	if (!above || entry->start == entry->end || above->start != entry->end || above->paged != entry->paged ||
	    above->protection != entry->protection || above->inheritance != entry->inheritance ||
	    above->amap != entry->amap ||
	    (entry->amap && above->first != entry->first + ((entry->end - entry->start) >> PAGE_SHIFT)))
		return NULL;
	tree_remove(space, above);
	entry->end = above->end;
	set_space(entry, entry->end + above->fspace);
	amap_unref(above->amap);
	above->amap = NULL;
	return above;
}

/* ---- Free space ---- */

/* The highest place of [min, max) in the space above the entry; 0: none. */
static uint64_t fit(const struct tree_entry *entry, uint64_t size, uint64_t align, uint64_t min, uint64_t max)
{
	uint64_t low = entry->end > min ? entry->end : min, high = entry->end + entry->fspace, at;

	if (high > max)
		high = max;
	if (low >= high || high - low < size)
		return 0;
	at = (high - size) & ~(align - 1);
	return at >= low ? at : 0;
}

static uint64_t search(const struct tree_entry *entry, uint64_t size, uint64_t align, uint64_t min, uint64_t max)
{
	uint64_t found = 0;

	if (!entry || entry->largest < size)
		return 0;
	if (entry->start < max)
		found = search(RB_RIGHT(entry, link), size, align, min, max);
	if (!found)
		found = fit(entry, size, align, min, max);
	return found || entry->start < min ? found : search(RB_LEFT(entry, link), size, align, min, max);
}

uint64_t tree_highest_gap(struct engine_space *space, uint64_t size, uint64_t align, uint64_t min, uint64_t max)
{
	return search(RB_ROOT(&space->tree), size, align, min, max);
}

/* ---- Is it right? ---- */

size_t tree_verify(struct engine_space *space)
{
	struct tree_entry *entry, *next;
	size_t violations = 0;

	RB_FOREACH(entry, tree, &space->tree)
	{
		next = tree_next(entry);
		violations += entry->end < entry->start;
		violations += entry->end + entry->fspace != (next ? next->start : MAP_MAX);
		violations += entry->largest != largest_below(entry);
	}
	return violations;
}
