/* SPDX-License-Identifier: ISC */
/* What is done to single entries: clip, join, store, submap, stack, clean; and attributes as a mirror puts them. */
#include "map.h"

static bool contains(const struct cleave_map *map, uint64_t addr)
{
	return addr >= map->config.min && addr < map->config.max;
}

/*
 * Begin on the whole entry that holds `addr`.
 * Return: 0; -ENOENT: it is in no entry.
 */
static int begin_entry(struct cleave_map_txn *txn, struct cleave_map *map, struct cleave_map_thread *thread,
		       uint64_t addr, struct cleave__map_view *view)
{
	struct cleave_domain *domain = map->maps->domain;
	struct cleave_entry entry;

	if (!contains(map, addr))
		return -ENOENT;
	for (;;) {
		const struct cleave__map_object *object;
		int error;

		domain->ops->enter(domain, thread->self);
		object = cleave_lookup_rcu(&map->index, addr, &entry);
		domain->ops->leave(domain, thread->self);
		if (!cleave__map_is_entry(object))
			return -ENOENT;
		error = cleave__map_begin(txn, map, thread, entry.first, entry.last + 1, 0);
		if (error)
			return error;
		cleave__map_view(txn, addr, view);
		if (!cleave__map_is_entry(view->object)) {
			cleave_map_abort(txn);
			return -ENOENT;
		}
		if (view->start >= entry.first && view->end - 1 <= entry.last)
			return 0;
		cleave_map_abort(txn); /* it grew */
	}
}

/* ---- Clip ---- */

static int clip(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr, bool upper,
		struct cleave_map_entry *entry)
{
	uint64_t border = addr;
	struct cleave__map_view view;
	struct cleave_map_txn txn;
	int error;

	if (!cleave__map_aligned(map, addr))
		return -EINVAL;
	if (!upper && addr == 0)
		return -ENOENT;
	if (!upper)
		addr--; /* in the lower part */
	error = begin_entry(&txn, map, thread, addr, &view);
	if (error)
		return error;
	txn.apart = true;
	if (entry)
		cleave__map_describe(entry, upper ? border : view.start, upper ? view.end : border, view.object);
	if (border > view.start && border < view.end)
		error = cleave__map_stage(&txn, border, view.end, view.object);
	return cleave__map_finish(&txn, error);
}

int cleave_map_clip_start(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr,
			  struct cleave_map_entry *entry)
{
	return clip(map, thread, addr, true, entry);
}

int cleave_map_clip_end(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr,
			struct cleave_map_entry *entry)
{
	return clip(map, thread, addr, false, entry);
}

int cleave_map_coalesce(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end)
{
	struct cleave_map_txn txn;
	int error = cleave__map_clamp(map, &start, &end);

	if (error)
		return error < 0 ? error : 0;
	error = cleave__map_begin(&txn, map, thread, start, end, 0);
	if (error)
		return error;
	return cleave__map_finish(&txn, cleave__map_join_runs(&txn, start, end));
}

/* ---- Store, submap, stack ---- */

int cleave_map_set_store(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr, uint64_t version,
			 void *store)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	struct cleave_map_attributes attributes;
	struct cleave__map_object *fresh = NULL;
	struct cleave__map_view view;
	struct cleave_map_txn txn;
	int error = begin_entry(&txn, map, thread, addr, &view);

	if (error)
		return error;
	attributes = view.object->attributes;
	if (view.object->version != version)
		error = -ENOENT;
	else if (!(attributes.flags & CLEAVE_MAP_NEEDS_COPY) || attributes.store ||
		 (attributes.flags & CLEAVE_MAP_IN_TRANSITION))
		error = -EEXIST;
	if (!error) {
		attributes.flags &= ~CLEAVE_MAP_NEEDS_COPY;
		attributes.store = store;
		attributes.store_delta = (uint64_t)0 - view.start;
		fresh = cleave__map_object_new(thread, &attributes);
		if (!fresh)
			error = -ENOMEM;
	}
	if (fresh) {
		/* Until it succeeds the store's reference is the caller's. */
		if (attributes.object && ops->object_ref)
			ops->object_ref(ops, attributes.object, attributes.flags);
		error = cleave__map_stage(&txn, view.start, view.end, fresh);
		if (error) {
			fresh->attributes.store = NULL;
			cleave__map_object_discard(thread, fresh);
		} else {
			error = cleave_map_prepare(&txn);
			if (error)
				fresh->attributes.store = NULL;
		}
	}
	return cleave__map_finish(&txn, error);
}

int cleave_map_submap(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		      void *submap)
{
	struct cleave__map_object *last = NULL;
	struct cleave_map_attributes attributes;
	struct cleave__map_view view;
	struct cleave_map_txn txn;
	int error;

	if (!submap || start >= end || start < map->config.min || end > map->config.max ||
	    !cleave__map_aligned(map, start) || !cleave__map_aligned(map, end))
		return -EINVAL;
	error = begin_entry(&txn, map, thread, start, &view);
	if (error)
		return error == -ENOENT ? -EINVAL : error;
	attributes = view.object->attributes;
	if (view.end < end || attributes.object || attributes.store ||
	    (attributes.flags & (CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY | CLEAVE_MAP_HOLE | CLEAVE_MAP_SUBMAP)))
		return cleave__map_finish(&txn, -EINVAL);
	attributes.flags |= CLEAVE_MAP_SUBMAP;
	attributes.object = submap;
	attributes.delta = (uint64_t)0 - start;
	return cleave__map_finish(&txn, cleave__map_stage_like(&txn, start, end, &attributes, &last));
}

int cleave_map_remap_as_stack(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr, uint64_t size)
{
	uint64_t page = cleave__map_page(map), end;
	struct cleave_map_request request = {
		.flags = CLEAVE_MAP_FIXED | CLEAVE_MAP_REPLACE | CLEAVE_MAP_SIGALTSTACK,
		.entry_flags = CLEAVE_MAP_COW | CLEAVE_MAP_STACK,
		.protection = CLEAVE_PROT_READ | CLEAVE_PROT_WRITE,
		.max_protection = CLEAVE_PROT_READ | CLEAVE_PROT_WRITE,
		.inheritance = CLEAVE_INHERIT_COPY,
		.advice = CLEAVE_ADVICE_NORMAL,
	};
	struct cleave__map_view view;
	struct cleave_map_txn txn;
	int error;

	if (size > UINT64_MAX - addr || addr > UINT64_MAX - page)
		return -EINVAL;
	end = (addr + size) & ~(page - 1);
	request.addr = (addr & ~(page - 1)) + page;
	if (request.addr < map->config.min || end > map->config.max || request.addr > end)
		return -EINVAL;
	if (request.addr == end)
		return 0;
	request.size = end - request.addr;
	error = cleave__map_begin(&txn, map, thread, request.addr, end, 0);
	if (error)
		return error;
	for (uint64_t at = request.addr; !error && at < end; at = view.end) {
		cleave__map_view(&txn, at, &view);
		if (!cleave__map_is_mapped(view.object) || view.object->attributes.protection != request.protection)
			error = -EINVAL;
	}
	if (!error)
		error = cleave_map_txn_map(&txn, &request);
	return cleave__map_finish(&txn, error);
}

/* ---- Clean ---- */

static int check_clean(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int flags)
{
	struct cleave__map_view view;

	for (uint64_t addr = start; addr < end; addr = view.end) {
		cleave__map_view(txn, addr, &view);
		if (!cleave__map_is_mapped(view.object))
			return -EFAULT;
		if (view.object->attributes.flags & CLEAVE_MAP_SUBMAP)
			return -EINVAL;
		if ((flags & (CLEAVE_CLEAN_DEACTIVATE | CLEAVE_CLEAN_FREE)) && view.object->attributes.store &&
		    (view.object->attributes.flags & CLEAVE_MAP_IMMUTABLE))
			return -EPERM;
	}
	return 0;
}

int cleave_map_clean(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		     unsigned int flags)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	struct cleave__map_view view;
	struct cleave_map_entry entry;
	struct cleave_map_txn txn;
	int error;

	if (start > end || start < map->config.min || end > map->config.max || !cleave__map_aligned(map, start) ||
	    !cleave__map_aligned(map, end) || (flags & ~15u))
		return -EINVAL;
	if (start == end)
		return 0;
	error = cleave__map_begin(&txn, map, thread, start, end, 0);
	if (error)
		return error;
	error = check_clean(&txn, start, end, flags);
	for (uint64_t addr = start; !error && ops->clean && addr < end; addr = view.end) {
		cleave__map_view(&txn, addr, &view);
		cleave__map_describe(&entry, addr, view.end < end ? view.end : end, view.object);
		error = ops->clean(ops, map, &entry, flags);
	}
	cleave_map_abort(&txn); /* nothing was staged */
	if (ops->clean_done)
		ops->clean_done(ops, map);
	return error;
}

/* ---- What a mirror needs ---- */

bool cleave_map_txn_lookup(struct cleave_map_txn *txn, uint64_t addr, struct cleave_map_entry *entry)
{
	struct cleave__map_view view;

	if (addr < txn->start || addr >= txn->end) {
		cleave__map_describe(entry, 0, 0, NULL);
		return false;
	}
	cleave__map_view(txn, addr, &view);
	if (view.start < txn->start)
		view.start = txn->start;
	if (view.end > txn->end)
		view.end = txn->end;
	if (cleave__map_is_entry(view.object)) {
		cleave__map_describe(entry, view.start, view.end, view.object);
	} else {
		cleave__map_describe(entry, view.start, view.start, NULL);
		entry->guard = view.object ? view.end - view.start : 0;
		entry->fspace = view.object ? 0 : view.end - view.start;
	}
	return cleave__map_is_mapped(view.object);
}

int cleave_map_put(struct cleave_map_txn *txn, uint64_t start, uint64_t end,
		   const struct cleave_map_attributes *attributes)
{
	struct cleave_map_attributes normal = *attributes;
	struct cleave__map_object *last = NULL;

	if (start >= end || start < txn->start || end > txn->end || !cleave__map_aligned(txn->map, start | end) ||
	    txn->prepared || normal.protection > CLEAVE_PROT_ALL || normal.max_protection > CLEAVE_PROT_ALL ||
	    normal.inheritance > CLEAVE_INHERIT_ZERO || normal.advice > CLEAVE_ADVICE_SEQUENTIAL ||
	    (normal.flags & (CLEAVE_MAP_IN_TRANSITION | ~0xfffu)))
		return -EINVAL;
	if (txn->error)
		return txn->error;
	if (!normal.object)
		normal.delta = 0;
	if (!normal.store)
		normal.store_delta = 0;
	txn->layout = true;
	return cleave__map_stage_like(txn, start, end, &normal, &last);
}
