/* SPDX-License-Identifier: ISC */
/*
 * Other attributes for a part of one entry, without a transaction: the entry is held, checked and changed by one store.
 * Only what concerns nothing beside the entry, its object and the accounts is done here; all the rest, and whatever must
 * wait, is left to the transaction, from scratch.
 */
#include "map.h"

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
	uint64_t grown; /* data; one of the two is 0 */
	uint64_t shrunk;
};

/* What is anonymous is data if it can be accessed. */
static int charge_data(struct cleave_map *map, const struct cleave__map_object *old,
		       const struct cleave__map_object *object, uint64_t start, uint64_t end, struct effect *effect)
{
	struct cleave__map_bytes bytes = { .size = 0 };

	if (object->attributes.protection)
		effect->grown = bytes.data = cleave__map_data(map, object, start, end);
	else
		effect->shrunk = cleave__map_data(map, old, start, end);
	return cleave__map_charge(map, &bytes);
}

static void settle_data(struct cleave_map *map, struct cleave_map_thread *thread, const struct effect *effect)
{
	struct cleave__map_bytes bytes = { .data = effect->shrunk };

	cleave__map_uncharge(map, &bytes);
	cleave__map_credit(map, thread, 0, effect->grown - effect->shrunk);
}

/* Give [start, end) of the held entry these attributes. */
static int put_attributes(struct cleave_hold *hold, struct cleave_map *map, struct cleave_map_thread *thread,
			  uint64_t start, uint64_t end, const struct cleave_map_attributes *attributes,
			  struct effect *effect)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	struct cleave__map_object *old = hold->entry.value, *object;
	uint64_t pages = (end - start) >> map->config.page_shift;
	int error = 0;

	object = cleave__map_object_made(thread, hold, attributes, pages);
	if (!object)
		return -ENOMEM;
	if (!object->attributes.protection != !old->attributes.protection)
		error = charge_data(map, old, object, start, end, effect);
	if (!error) {
		error = cleave_hold_put(hold, start, end - 1, object);
		if (PORT_UNLIKELY(error)) {
			struct cleave__map_bytes bytes = { .data = effect->grown };

			cleave__map_uncharge(map, &bytes);
		}
	}
	if (PORT_UNLIKELY(error)) {
		cleave__map_pages_left(thread, object, pages);
		return error;
	}
	effect->displaced = old;
	effect->pages = pages;
	if (ops->translate) {
		struct cleave__map_change change = { .start = start, .end = end, .old = old, .new = object };

		if (cleave__map_actions(&change) & CLEAVE__ACT_RESTRICT)
			ops->translate(ops, map, start, end, CLEAVE_MAP_RESTRICT);
	}
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
	uint64_t retired = thread->nyoung;
	struct cleave_hold hold;
	int result;

	if (map->config.flags & (CLEAVE_MAP_COALESCE | CLEAVE_MAP_NO_SLEEP))
		return CLEAVE__NOT_SIMPLE;
	cleave_hold_begin(&hold, &map->index, thread->self, start);
	result = apply(&hold, map, thread, start, end, rule, &effect);
	cleave_hold_end(&hold);
	if (effect.displaced) {
		cleave__map_pages_left(thread, effect.displaced, effect.pages);
		if (effect.grown | effect.shrunk)
			settle_data(map, thread, &effect);
	}
	if (thread->nyoung != retired && result != CLEAVE__NOT_SIMPLE)
		cleave__map_tidy(thread, true);
	return result;
}
