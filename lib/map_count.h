/* SPDX-License-Identifier: ISC */
/*
 * Counts of pages that a thread keeps to itself, for who changes one page after the other, and mostly those of the same
 * few objects.  The commonest cases, as inlines of map_hold.c: a call for each is 4 % of a protect.
 */
#ifndef CLEAVE_LIB_MAP_COUNT_H
#define CLEAVE_LIB_MAP_COUNT_H

#include "map.h"

#define CLEAVE__MAP_FAR (UINT64_C(1) << 40) /* more pages than that are not kept to oneself */

/* Write down what was counted of an object made here, or left here. */
void cleave__map_settle_made(struct cleave_map_thread *thread, struct cleave__map_tab *tab);
void cleave__map_settle_left(struct cleave_map_thread *thread, struct cleave__map_tab *tab);

/* Count pages, modulo 2^64, of an object that the thread counts itself. */
static PORT_ALWAYS_INLINE void cleave__map_count_made(struct cleave_map_thread *thread, struct cleave__map_tab *tab,
						      uint64_t pages)
{
	tab->pages += pages;
	if (PORT_UNLIKELY(tab->pages + CLEAVE__MAP_FAR > 2 * CLEAVE__MAP_FAR))
		cleave__map_settle_made(thread, tab);
}

static PORT_ALWAYS_INLINE bool cleave__map_comes_from(const struct cleave__map_tab *tab, uint64_t version,
						      uint64_t rule)
{
	return (tab->from[0].version == version && tab->from[0].rule == rule) ||
	       (tab->from[1].version == version && tab->from[1].rule == rule);
}

/*
 * cleave__map_object_made() if its object is known without a look at attributes: the rule with this key has made one,
 * which the thread still counts itself, of the held object before.  That is never written, and no other ever has its
 * version.  NULL: not known.
 */
static PORT_ALWAYS_INLINE struct cleave__map_object *cleave__map_object_again(struct cleave_map_thread *thread,
									      const struct cleave_hold *hold,
									      uint64_t rule, uint64_t pages)
{
	uint64_t version = ((const struct cleave__map_object *)hold->entry.value)->version;
	struct cleave__map_tab *tab = thread->made;
	struct cleave__map_object *object;

	if (!cleave__map_comes_from(tab, version, rule) && !cleave__map_comes_from(++tab, version, rule))
		return NULL;
	PORT_ASSERT(tab->object, "what is counted no more has no origin"); /* and no entry the version 0 */
	if (tab->index != hold->txn.index || tab->uses >= CLEAVE__MAP_USES)
		return NULL;
	object = tab->object;
	tab->uses++;
	cleave__map_count_made(thread, tab, pages);
	return object;
}

/* cleave__map_pages_left() of an object that none was taken from lately. */
void cleave__map_pages_left_first(struct cleave_map_thread *thread, struct cleave__map_object *object, uint64_t pages);

/*
 * cleave__map_pages_drop(), counted by the thread.  The shared counter may be too high then, never too low.
 * True: an object may have been retired.
 */
static PORT_ALWAYS_INLINE bool cleave__map_pages_left(struct cleave_map_thread *thread,
						      struct cleave__map_object *object, uint64_t pages)
{
	struct cleave__map_tab *tab = thread->left;

	if (tab->object != object && (++tab)->object != object) {
		cleave__map_pages_left_first(thread, object, pages);
		return true;
	}
	tab->pages += pages;
	if (PORT_LIKELY(PORT_LOAD(&object->pages, PORT_RELAXED) != tab->pages))
		return false;
	cleave__map_settle_left(thread, tab); /* all are gone: the object need not wait for other changes */
	return true;
}

#endif
