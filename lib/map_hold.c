/* SPDX-License-Identifier: ISC */
/*
 * Other attributes for a part of one entry, without a transaction: the entry is held, checked and changed by one store.
 * Only what concerns nothing beside the entry, its object and the accounts is done here; all the rest, and whatever must
 * wait, is left to the transaction, from scratch.
 */
#include "map.h"

/* Versions of one thread are in the order in which they were given out. */
static bool own_version(const struct cleave_map_thread *thread, uint64_t version)
{
	return (version ^ thread->version) >> CLEAVE__VERSION_BITS == 0;
}

/*
 * An entry beside the held one may have these attributes already, by this thread's doing: then its object serves here,
 * too.  It stays, because the entry is locked with this one.  But no version comes again at any address, so the object
 * must have been made after the one that it displaces, and by the same thread:
 *	1. this thread gave the address the object v5
 *	2. another one replaced it by its own, v7 of a thread with a lower number
 *	3. this thread would put v5 there again, for it is no older than v7 in any order that both know
 * Where all objects of this thread that an address gets are new, or newer than the one of this thread that is displaced,
 * they are in ascending order.
 *
 * `recent` are only compared: they may be gone.  An object of the leaf that has the same address is alive.
 */
static struct cleave__map_object *object_beside(const struct cleave_map_thread *thread, const struct cleave_hold *hold,
						const struct cleave_map_attributes *attributes)
{
	static const int steps[] = { -1, -2, 1 };
	const struct cleave__map_object *old = hold->entry.value;

	if (!own_version(thread, old->version))
		return NULL;
	for (unsigned int i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct cleave__map_object *object = cleave_hold_beside(hold, steps[i]);

		if (object && (object == thread->recent[0] || object == thread->recent[1]) &&
		    own_version(thread, object->version) && object->version > old->version &&
		    cleave__map_equal(&object->attributes, attributes))
			return object;
	}
	return NULL;
}

/* An object for so many pages, counted; NULL: no memory. */
static struct cleave__map_object *object_for(struct cleave_map_thread *thread, const struct cleave_hold *hold,
					     const struct cleave_map_attributes *attributes, uint64_t pages)
{
	struct cleave__map_object *object = object_beside(thread, hold, attributes);

	if (!object) {
		object = cleave__map_object_new(thread, attributes);
		if (!object)
			return NULL;
		cleave__map_object_ref(thread, object);
		thread->recent[1] = thread->recent[0];
		thread->recent[0] = object;
		PORT_STORE(&object->pages, pages, PORT_RELAXED); /* nobody knows it yet */
		return object;
	}
	cleave__map_pages_add(object, pages);
	return object;
}

/* May the held entry be changed here?  As for a transaction, `busy` is read after the leaf was locked. */
static bool simple(const struct cleave_hold *hold, const struct cleave_map *map, const struct cleave_map_thread *thread,
		   uint64_t end)
{
	const struct cleave__map_object *object = hold->entry.value;
	uint64_t busy = PORT_LOAD(&map->busy, PORT_RELAXED);

	return hold->entry.last >= end - 1 && cleave__map_is_mapped(object) && !object->attributes.wired &&
	       !(object->attributes.flags & CLEAVE_MAP_IN_TRANSITION) &&
	       (!busy || busy == (uint64_t)(uintptr_t)thread) && !PORT_LOAD(&map->wire_future, PORT_RELAXED);
}

/* What is left to do when the entry is released. */
struct effect {
	struct cleave__map_object *displaced; /* NULL: nothing */
	uint64_t pages;
	struct cleave__map_bytes grown; /* one of the two is 0 */
	struct cleave__map_bytes shrunk;
};

/* Give [start, end) of the held entry these attributes. */
static int put_attributes(struct cleave_hold *hold, struct cleave_map *map, struct cleave_map_thread *thread,
			  uint64_t start, uint64_t end, const struct cleave_map_attributes *attributes,
			  struct effect *effect)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	struct cleave__map_change change = { .start = start, .end = end, .old = hold->entry.value };
	int error;

	effect->pages = (end - start) >> map->config.page_shift;
	change.new = object_for(thread, hold, attributes, effect->pages);
	if (!change.new)
		return -ENOMEM;
	/* What is anonymous is data if it can be accessed. */
	if (!attributes->protection && change.old->attributes.protection)
		effect->shrunk.data = cleave__map_data(map, change.old, start, end);
	else if (attributes->protection && !change.old->attributes.protection)
		effect->grown.data = cleave__map_data(map, change.new, start, end);
	error = cleave__map_charge(map, &effect->grown);
	if (!error) {
		error = cleave_hold_put(hold, start, end - 1, change.new);
		if (error)
			cleave__map_uncharge(map, &effect->grown);
	}
	if (error) {
		cleave__map_pages_drop(thread, change.new, effect->pages);
		return error;
	}
	effect->displaced = change.old;
	if (ops->translate && (cleave__map_actions(&change) & CLEAVE__ACT_RESTRICT))
		ops->translate(ops, map, start, end, CLEAVE_MAP_RESTRICT);
	return 0;
}

/* Under the lock. */
static int apply(struct cleave_hold *hold, struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
		 uint64_t end, const struct cleave__map_rule *rule, struct effect *effect)
{
	struct cleave__map_object *old = hold->entry.value;
	struct cleave_map_attributes attributes;
	int result;

	if (PORT_UNLIKELY(!simple(hold, map, thread, end)))
		return CLEAVE__NOT_SIMPLE;
	attributes = old->attributes;
	result = rule->check(rule, &attributes);
	if (result)
		return result;
	if (rule->set(rule, &attributes)) {
		if (PORT_UNLIKELY((attributes.flags ^ old->attributes.flags) & CLEAVE_MAP_STACK))
			return CLEAVE__NOT_SIMPLE; /* others are told of it */
		return put_attributes(hold, map, thread, start, end, &attributes, effect);
	}
	if (rule->clips && (start > hold->entry.first || end - 1 < hold->entry.last))
		return cleave_hold_put(hold, start, end - 1, old);
	return 0;
}

int cleave__map_change_held(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			    const struct cleave__map_rule *rule)
{
	struct effect effect = { .displaced = NULL };
	struct cleave_hold hold;
	int result;

	if (map->config.flags & (CLEAVE_MAP_COALESCE | CLEAVE_MAP_NO_SLEEP))
		return CLEAVE__NOT_SIMPLE;
	cleave_hold_begin(&hold, &map->index, thread->self, start);
	result = apply(&hold, map, thread, start, end, rule, &effect);
	cleave_hold_end(&hold);
	if (effect.displaced) {
		cleave__map_pages_drop(thread, effect.displaced, effect.pages);
		cleave__map_uncharge(map, &effect.shrunk);
		cleave__map_credit(map, thread, 0, effect.grown.data - effect.shrunk.data);
	}
	if (result != CLEAVE__NOT_SIMPLE)
		cleave__map_tidy(thread, true);
	return result;
}
