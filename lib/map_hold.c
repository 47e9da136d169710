/* SPDX-License-Identifier: ISC */
/*
 * Other attributes for a part of one entry, its end, or an entry where nothing is, without a transaction: what is there
 * is held, checked and changed by one store.  Only what concerns nothing beside the entry, its object and the accounts
 * is done here; all the rest, and whatever must wait, is left to the transaction, from scratch.
 */
#include "map_count.h"

/* Maps in which an entry's neighbours are concerned, or whose callers do not wait. */
#define NOT_HELD (CLEAVE_MAP_GUARD_PAGES | CLEAVE_MAP_COALESCE | CLEAVE_MAP_NO_SLEEP)

/* May the map be changed now?  As for a transaction, `busy` is read after the leaf was locked. */
static bool undisturbed(const struct cleave_map *map, const struct cleave_map_thread *thread)
{
	uint64_t busy = PORT_LOAD(&map->busy, PORT_RELAXED);

	return (!busy || busy == (uint64_t)(uintptr_t)thread) && !PORT_LOAD(&map->wire_future, PORT_RELAXED);
}

/* May the held entry be changed here? */
static bool simple(const struct cleave_hold *hold, const struct cleave_map *map, const struct cleave_map_thread *thread,
		   uint64_t end)
{
	const struct cleave__map_object *object = hold->entry.value;

	return hold->entry.last >= end - 1 && cleave__map_is_mapped(object) && !object->attributes.wired &&
	       !(object->attributes.flags & CLEAVE_MAP_IN_TRANSITION) && undisturbed(map, thread);
}

/* What is left to do when the entry is released. */
struct effect {
	struct cleave__map_object *displaced; /* NULL: nothing */
	uint64_t grown; /* data; one of the two is 0 */
	uint64_t shrunk;
};

/* What is anonymous is data if it can be accessed. */
static PORT_ALWAYS_INLINE int charge_data(struct cleave_map *map, const struct cleave__map_object *old,
					  const struct cleave__map_object *object, uint64_t start, uint64_t end,
					  struct effect *effect)
{
	if (!object->attributes.protection) {
		effect->shrunk = cleave__map_data(map, old, start, end);
		return 0;
	}
	effect->grown = cleave__map_data(map, object, start, end);
	return cleave__map_charge(map, &(struct cleave__map_bytes){ .data = effect->grown });
}

static PORT_ALWAYS_INLINE void settle_data(struct cleave_map *map, struct cleave_map_thread *thread,
					   const struct effect *effect)
{
	if (effect->shrunk)
		cleave__map_uncharge(map, &(struct cleave__map_bytes){ .data = effect->shrunk });
	cleave__map_credit_data(map, thread, effect->grown - effect->shrunk);
}

/* It was counted, and is not put. */
static PORT_NO_INLINE void undo_object(struct cleave_map *map, struct cleave_map_thread *thread,
				       struct cleave__map_object *object, uint64_t pages, uint64_t grown)
{
	cleave__map_uncharge(map, &(struct cleave__map_bytes){ .data = grown });
	cleave__map_pages_left(thread, object, pages);
}

/* Where the old object allowed more, translations lose it. */
static PORT_NO_INLINE void translate(struct cleave_map *map, uint64_t start, uint64_t end,
				     struct cleave__map_object *old, struct cleave__map_object *object)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	struct cleave__map_change change = { .start = start, .end = end, .old = old, .new = object };

	if (cleave__map_actions(&change) & CLEAVE__ACT_RESTRICT)
		ops->translate(ops, map, start, end, CLEAVE_MAP_RESTRICT);
}

/* Give [start, end) of the held entry this object, which is counted. */
static PORT_ALWAYS_INLINE int put_object(struct cleave_hold *hold, struct cleave_map *map,
					 struct cleave_map_thread *thread, uint64_t start, uint64_t end,
					 struct cleave__map_object *object, struct effect *effect)
{
	struct cleave__map_object *old = hold->entry.value;
	int error = 0;

	if (!object->attributes.protection != !old->attributes.protection)
		error = charge_data(map, old, object, start, end, effect);
	if (PORT_LIKELY(!error)) {
		error = cleave_hold_put(hold, start, end - 1, object);
		if (PORT_LIKELY(!error)) {
			effect->displaced = old;
			if (cleave__map_ops(map)->translate)
				translate(map, start, end, old, object);
			return 0;
		}
	} else {
		effect->grown = 0;
	}
	undo_object(map, thread, object, (end - start) >> map->config.page_shift, effect->grown);
	return error;
}

/* Release it, and do what is left.  `retired`: an object may have been retired before. */
static PORT_ALWAYS_INLINE void end_change(struct cleave_hold *hold, struct cleave_map *map,
					  struct cleave_map_thread *thread, uint64_t pages, const struct effect *effect,
					  bool retired)
{
	cleave_hold_end(hold);
	if (PORT_LIKELY(effect->displaced)) {
		if (effect->grown | effect->shrunk)
			settle_data(map, thread, effect);
		retired |= cleave__map_pages_left(thread, effect->displaced, pages);
	}
	if (PORT_UNLIKELY(retired))
		cleave__map_tidy(thread, true);
}

/* What the rule makes of it is not known yet. */
static int apply_first(struct cleave_hold *hold, struct cleave_map *map, struct cleave_map_thread *thread,
		       uint64_t start, uint64_t end, const struct cleave__map_rule *rule, struct effect *effect)
{
	struct cleave__map_object *old = hold->entry.value, *object;
	uint64_t pages = (end - start) >> map->config.page_shift;
	struct cleave_map_attributes attributes;
	int result;

	if (!simple(hold, map, thread, end))
		return CLEAVE__NOT_SIMPLE;
	attributes = old->attributes;
	result = rule->ops->check(rule, &attributes);
	if (result)
		return result;
	if (!rule->ops->set(rule, &attributes)) {
		if (rule->ops->clips && (start > hold->entry.first || end - 1 < hold->entry.last))
			return cleave_hold_put(hold, start, end - 1, old);
		return 0;
	}
	if ((attributes.flags ^ old->attributes.flags) & CLEAVE_MAP_STACK)
		return CLEAVE__NOT_SIMPLE; /* others are told of it */
	object = cleave__map_object_made(thread, hold, &attributes, pages);
	if (!object)
		return -ENOMEM;
	result = put_object(hold, map, thread, start, end, object, effect);
	if (!result)
		cleave__map_object_remember(thread, object, old, cleave__map_rule_key(rule));
	return result;
}

/* All of it, with what the rule makes of the entry to be found out. */
static PORT_NO_INLINE int change_first(struct cleave_hold *hold, struct cleave_map *map,
				       struct cleave_map_thread *thread, uint64_t start, uint64_t end,
				       const struct cleave__map_rule_ops *ops, uint64_t key)
{
	struct cleave__map_rule rule = cleave__map_rule(ops, key);
	struct effect effect = { .displaced = NULL };
	int result = apply_first(hold, map, thread, start, end, &rule, &effect);

	end_change(hold, map, thread, (end - start) >> map->config.page_shift, &effect, true);
	return result == CLEAVE__NOT_SIMPLE ? ops->transact(map, thread, start, end, &rule) : result;
}

int cleave__map_change_held(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			    const struct cleave__map_rule_ops *ops, uint64_t key)
{
	struct effect effect = { .displaced = NULL };
	struct cleave__map_object *object = NULL;
	struct cleave_hold hold;
	uint64_t pages;
	int result;

	if (PORT_UNLIKELY(map->config.flags & (CLEAVE_MAP_COALESCE | CLEAVE_MAP_NO_SLEEP))) {
		struct cleave__map_rule rule = cleave__map_rule(ops, key);

		return ops->transact(map, thread, start, end, &rule);
	}
	cleave_hold_begin(&hold, &map->index, thread->self, start);
	pages = (end - start) >> map->config.page_shift;
	if (PORT_LIKELY(cleave__map_is_entry(hold.entry.value) && hold.entry.last >= end - 1 &&
			undisturbed(map, thread)))
		object = cleave__map_object_again(thread, &hold, key, pages);
	if (PORT_UNLIKELY(!object))
		return change_first(&hold, map, thread, start, end, ops, key);
	result = put_object(&hold, map, thread, start, end, object, &effect);
	end_change(&hold, map, thread, pages, &effect, result != 0);
	return result;
}

/* ---- Unmap ---- */

/* Under the lock: windows, the stacks' serial and submaps are a transaction's. */
static int unmap(struct cleave_hold *hold, struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
		 uint64_t end, bool keep)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	const struct cleave__map_object *old = hold->entry.value;

	if (!simple(hold, map, thread, end) || old->attributes.store ||
	    (old->attributes.flags & (CLEAVE_MAP_STACK | CLEAVE_MAP_SUBMAP)))
		return CLEAVE__NOT_SIMPLE;
	if (keep && (old->attributes.flags & CLEAVE_MAP_IMMUTABLE))
		return -EPERM;
	if (cleave_hold_erase(hold, start, end - 1))
		return CLEAVE__NOT_SIMPLE;
	if (ops->translate)
		ops->translate(ops, map, start, end, CLEAVE_MAP_REMOVE);
	return 0;
}

int cleave__map_unmap_held(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			   bool keep)
{
	struct cleave__map_object *old;
	struct cleave__map_bytes bytes;
	struct cleave_hold hold;
	bool retired;
	int error;

	if (map->config.flags & NOT_HELD)
		return CLEAVE__NOT_SIMPLE;
	cleave_hold_begin(&hold, &map->index, thread->self, start);
	old = hold.entry.value;
	error = unmap(&hold, map, thread, start, end, keep);
	cleave_hold_end(&hold);
	if (error)
		return error;
	bytes = (struct cleave__map_bytes){ end - start, cleave__map_data(map, old, start, end) };
	retired = cleave__map_pages_left(thread, old, bytes.size >> map->config.page_shift);
	cleave__map_uncharge(map, &bytes);
	cleave__map_credit(map, thread, (uint64_t)0 - bytes.size, (uint64_t)0 - bytes.data);
	if (retired)
		cleave__map_tidy(thread, true);
	return 0;
}

/* ---- Map ---- */

/* An object for so many pages, whose reference to what stands behind is the caller's until it succeeds. */
static struct cleave__map_object *object_for(struct cleave_map_thread *thread, const struct cleave_map_request *request,
					     uint64_t addr, uint64_t pages)
{
	struct cleave_map_attributes attributes = cleave__map_requested(request, addr);
	struct cleave__map_object *object = cleave__map_object_new(thread, &attributes);

	if (object)
		PORT_STORE(&object->pages, pages, PORT_RELAXED); /* nobody knows it yet */
	return object;
}

/* Put the object where nothing is. */
static int put_entry(struct cleave_map *map, struct cleave_map_thread *thread, struct cleave__map_object *object,
		     uint64_t start, uint64_t end, const struct cleave__map_bytes *bytes)
{
	struct cleave_hold hold;
	int error = CLEAVE__NOT_SIMPLE;

	cleave_hold_begin(&hold, &map->index, thread->self, start);
	if (!hold.entry.value && hold.entry.last >= end - 1 && undisturbed(map, thread)) {
		error = cleave__map_charge(map, bytes);
		if (!error) {
			error = cleave_hold_put(&hold, start, end - 1, object);
			if (error)
				cleave__map_uncharge(map, bytes);
		}
	}
	cleave_hold_end(&hold);
	return error;
}

int cleave__map_map_held(struct cleave_map *map, struct cleave_map_thread *thread,
			 const struct cleave_map_request *request, uint64_t addr)
{
	struct cleave__map_object *object;
	struct cleave__map_bytes bytes;
	int error;

	if ((map->config.flags & NOT_HELD) ||
	    (request->flags & (CLEAVE_MAP_QUERY | CLEAVE_MAP_TRY | CLEAVE_MAP_OVERLAY)) ||
	    (request->entry_flags & CLEAVE_MAP_HOLE) ||
	    ((request->entry_flags & CLEAVE_MAP_STACK) && (request->flags & CLEAVE_MAP_FIXED)))
		return CLEAVE__NOT_SIMPLE;
	object = object_for(thread, request, addr, request->size >> map->config.page_shift);
	if (!object)
		return -ENOMEM;
	bytes = (struct cleave__map_bytes){ request->size, cleave__map_data(map, object, addr, addr + request->size) };
	error = put_entry(map, thread, object, addr, addr + request->size, &bytes);
	if (error) {
		cleave__map_object_free(thread, object);
		return error;
	}
	cleave__map_credit(map, thread, bytes.size, bytes.data);
	cleave__map_tidy(thread, true);
	return 0;
}
