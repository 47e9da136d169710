/* SPDX-License-Identifier: ISC */
/* Finding free space, and mapping. */
#include "map.h"

#define RANDOM_SPAN (UINT64_C(1) << 32) /* bytes within which a RANDOM selector starts */
#define ENTRY_FLAGS \
	(CLEAVE_MAP_COW | CLEAVE_MAP_HOLE | CLEAVE_MAP_NOFAULT | CLEAVE_MAP_STACK | CLEAVE_MAP_WC | CLEAVE_MAP_CONCEAL)
#define REQUEST_FLAGS                                                                                     \
	(CLEAVE_MAP_FIXED | CLEAVE_MAP_REPLACE | CLEAVE_MAP_QUERY | CLEAVE_MAP_TRY | CLEAVE_MAP_OVERLAY | \
	 CLEAVE_MAP_NO_MERGE | CLEAVE_MAP_SIGALTSTACK)

/* ---- Free space ---- */

static uint64_t random_number(struct cleave_map_thread *thread)
{
	const struct cleave_map_ops *ops = thread->maps->ops;
	uint64_t x;

	if (ops->random)
		return ops->random(ops);
	x = thread->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, Steele, Lea and Flood 2014 */
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* What a new entry takes: itself, and its guard. */
static uint64_t footprint(const struct cleave_map *map, uint64_t size)
{
	return map->config.flags & CLEAVE_MAP_GUARD_PAGES ? size + cleave__map_page(map) : size;
}

static int select_space(const struct cleave_map *map, struct cleave_map_thread *thread,
			const struct cleave_map_selector *selector, struct cleave_request *request, uint64_t *addr)
{
	struct cleave_domain *domain = map->maps->domain;
	uint64_t page = cleave__map_page(map), span;
	int error;

	/* Page 0 is given only to those who ask for it. */
	request->min = selector->start < page ? page : selector->start;
	if (request->min >= selector->end)
		return -ENOSPC;
	request->max = selector->end - 1;
	switch (selector->policy) {
	case CLEAVE_SELECT_LOWEST:
		request->order = CLEAVE_LOWEST;
		break;
	case CLEAVE_SELECT_HIGHEST:
		request->order = CLEAVE_HIGHEST;
		break;
	case CLEAVE_SELECT_RANDOM:
		span = selector->end - request->min;
		span = (span < RANDOM_SPAN ? span : RANDOM_SPAN) / page;
		request->order = CLEAVE_NEXT;
		request->hint = request->min + random_number(thread) % span * page;
		break;
	default: /* CLEAVE_SELECT_BEST_FIT */
		request->order = CLEAVE_BEST;
		break;
	}
	domain->ops->enter(domain, thread->self);
	error = cleave_find_gap_rcu(&map->index, request, addr);
	domain->ops->leave(domain, thread->self);
	return error;
}

/* The alignment of a request, and whether it makes sense. */
static int check_space(const struct cleave_map *map, const struct cleave_map_request *request,
		       struct cleave_request *space)
{
	uint64_t page = cleave__map_page(map);

	*space = (struct cleave_request){ .align = request->align > page ? request->align : page };
	if (request->size == 0 || !cleave__map_aligned(map, request->size) || (space->align & (space->align - 1)) ||
	    (request->align & (request->align - 1)) || request->phase >= space->align ||
	    !cleave__map_aligned(map, request->phase))
		return -EINVAL;
	space->phase = request->phase;
	if (request->size > map->config.max - map->config.min)
		return -ENOMEM;
	space->size = footprint(map, request->size);
	return 0;
}

int cleave_map_find_space(const struct cleave_map *map, struct cleave_map_thread *thread,
			  const struct cleave_map_request *request, uint64_t *addr)
{
	static const enum cleave_map_role roles[] = { CLEAVE_SELECT_EXEC, CLEAVE_SELECT_ANY, CLEAVE_SELECT_BRK_STACK };
	struct cleave_request space;
	int error = check_space(map, request, &space);

	if (error)
		return error;
	for (uint32_t r = request->protection & CLEAVE_PROT_EXEC ? 0 : 1; r < 3; r++)
		for (uint32_t i = 0; i < map->config.nselectors; i++)
			if (map->config.selectors[i].role == roles[r] &&
			    select_space(map, thread, &map->config.selectors[i], &space, addr) == 0)
				return 0;
	return -ENOMEM;
}

static bool no_entry(void *context, const struct cleave_entry *entry)
{
	(void)context;
	return !cleave__map_is_entry(entry->value);
}

/* Nothing is mapped there; a guard does not count. */
static bool available(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr, uint64_t size)
{
	return addr >= map->config.min && addr < map->config.max && size <= map->config.max - addr &&
	       cleave_covers(&map->index, thread->self, addr, addr + (size - 1), no_entry, NULL, NULL) == 1;
}

/* The lowest fitting address from `from` upward, outside of brk and stack ranges. */
static int query_space(struct cleave_map *map, struct cleave_map_thread *thread, struct cleave_request *space,
		       uint64_t from, uint64_t *addr)
{
	struct cleave_domain *domain = map->maps->domain;
	const struct cleave_map_config *config = &map->config;

	for (space->min = from; space->min < config->max;) {
		uint64_t end = config->max, next = config->max;

		for (uint32_t i = 0; i < config->nselectors; i++) {
			const struct cleave_map_selector *selector = &config->selectors[i];

			if (selector->role == CLEAVE_SELECT_BRK_STACK && selector->end > space->min &&
			    selector->start < end) {
				end = selector->start;
				next = selector->end;
			}
		}
		if (end > space->min) {
			int error;

			space->max = end - 1;
			domain->ops->enter(domain, thread->self);
			error = cleave_find_gap_rcu(&map->index, space, addr);
			domain->ops->leave(domain, thread->self);
			if (error != -ENOSPC)
				return error;
		}
		space->min = next;
	}
	return -ENOMEM;
}

int cleave_map_query(const struct cleave_map *map, struct cleave_map_thread *thread, struct cleave_map_request *request)
{
	uint64_t page = cleave__map_page(map), from = request->addr;
	struct cleave_request space;
	int error = check_space(map, request, &space);

	if (request->flags & CLEAVE_MAP_FIXED) {
		if (error || !cleave__map_aligned(map, from) ||
		    !available((struct cleave_map *)(uintptr_t)map, thread, from, request->size))
			return -EINVAL;
		return 0;
	}
	if (error)
		return error;
	from = from & ~(page - 1);
	if (from < page)
		from = page;
	if (from < map->config.min)
		from = map->config.min;
	space.order = CLEAVE_LOWEST;
	return query_space((struct cleave_map *)(uintptr_t)map, thread, &space, from, &request->addr);
}

/* ---- Mapping ---- */

static int check_request(const struct cleave_map *map, const struct cleave_map_request *request)
{
	bool fixed = request->flags & CLEAVE_MAP_FIXED;
	struct cleave_request space;
	int error;

	if ((request->flags & ~REQUEST_FLAGS) || (request->entry_flags & ~ENTRY_FLAGS) ||
	    request->protection > CLEAVE_PROT_ALL || request->max_protection > CLEAVE_PROT_ALL ||
	    request->inheritance > CLEAVE_INHERIT_ZERO || request->advice > CLEAVE_ADVICE_SEQUENTIAL ||
	    (fixed && !cleave__map_aligned(map, request->addr)) || (!fixed && (request->flags & CLEAVE_MAP_REPLACE)))
		return -EINVAL;
	if ((request->entry_flags & CLEAVE_MAP_HOLE) &&
	    (!fixed || request->object || (request->flags & CLEAVE_MAP_OVERLAY) ||
	     (request->entry_flags & CLEAVE_MAP_COW)))
		return -EINVAL;
	error = check_space(map, request, &space);
	if (error)
		return error;
	return request->protection & ~request->max_protection ? -EACCES : 0;
}

/* May the request have [addr, addr + size), which is locked? */
static int check_range(struct cleave_map_txn *txn, const struct cleave_map_request *request, uint64_t addr)
{
	bool replace = request->flags & CLEAVE_MAP_REPLACE, stack = request->entry_flags & CLEAVE_MAP_STACK;
	bool immutable = false, occupied = false, hole = false;
	struct cleave__map_view view;

	for (uint64_t at = addr; at - addr < request->size; at = view.end) {
		cleave__map_view(txn, at, &view);
		if (cleave__map_is_mapped(view.object)) {
			occupied |= !replace;
			immutable |= (view.object->attributes.flags & CLEAVE_MAP_IMMUTABLE) != 0;
		} else {
			hole = true;
			occupied |= cleave__map_is_entry(view.object); /* a HOLE survives */
		}
	}
	if (replace && stack && hole)
		return -EINVAL;
	if (replace && immutable && !(request->flags & CLEAVE_MAP_SIGALTSTACK))
		return -EPERM;
	return occupied ? -ENOMEM : 0;
}

struct cleave_map_attributes cleave__map_requested(const struct cleave_map_request *request, uint64_t addr)
{
	bool lazy = (request->entry_flags & CLEAVE_MAP_COW) && !(request->flags & CLEAVE_MAP_OVERLAY);

	return (struct cleave_map_attributes){
		.object = request->object,
		.delta = request->object ? request->offset - addr : 0,
		.flags = request->entry_flags | (lazy ? CLEAVE_MAP_NEEDS_COPY : 0),
		.protection = request->protection,
		.max_protection = request->max_protection,
		.inheritance = request->inheritance,
		.advice = request->advice,
	};
}

/* Stage the entry.  *fresh: its object, not yet published; the backing object's reference is still the caller's. */
static int stage_entry(struct cleave_map_txn *txn, const struct cleave_map_request *request, uint64_t addr,
		       struct cleave__map_object **fresh)
{
	const struct cleave_map_ops *ops = cleave__map_ops(txn->map);
	struct cleave_map_attributes attributes = cleave__map_requested(request, addr);
	bool overlay = request->flags & CLEAVE_MAP_OVERLAY;
	int error = 0;

	*fresh = cleave__map_object_new(txn->thread, &attributes);
	if (!*fresh) {
		txn->error = -ENOMEM;
		return -ENOMEM;
	}
	if (overlay && ops->store_new) {
		error = ops->store_new(ops, request->size >> txn->map->config.page_shift, &attributes.store);
		if (error)
			attributes.store = NULL;
		else
			attributes.store_delta = (uint64_t)0 - addr;
		(*fresh)->attributes = attributes;
	}
	if (!error)
		error = cleave__map_stage(txn, addr, addr + request->size, *fresh);
	if (error) {
		(*fresh)->attributes.object = NULL;
		cleave__map_object_discard(txn->thread, *fresh);
		*fresh = NULL;
		txn->error = error;
		return error;
	}
	txn->layout = true;
	txn->apart |= (request->flags & CLEAVE_MAP_NO_MERGE) != 0;
	txn->serial |= (request->entry_flags & CLEAVE_MAP_STACK) && (request->flags & CLEAVE_MAP_FIXED);
	return 0;
}

/* Nobody has seen the object: the caller keeps its reference to what stands behind. */
static int finish_entry(struct cleave_map_txn *txn, struct cleave__map_object *fresh, int error)
{
	if (!error)
		error = cleave_map_prepare(txn);
	if (error && fresh)
		fresh->attributes.object = NULL;
	return cleave__map_finish(txn, error);
}

static int lock_range(struct cleave_map_txn *txn, struct cleave_map *map, struct cleave_map_thread *thread,
		      const struct cleave_map_request *request, uint64_t addr)
{
	int error = cleave__map_begin(txn, map, thread, addr, addr + request->size,
				      request->flags & CLEAVE_MAP_TRY ? CLEAVE__BEGIN_TRY : 0);

	return error && (request->flags & CLEAVE_MAP_TRY) ? -EFAULT : error;
}

static int map_fixed(struct cleave_map *map, struct cleave_map_thread *thread, const struct cleave_map_request *request)
{
	struct cleave__map_object *fresh = NULL;
	struct cleave_map_txn txn;
	int error;

	if (request->addr < map->config.min || request->addr >= map->config.max ||
	    request->size > map->config.max - request->addr)
		return -ENOMEM;
	error = cleave__map_map_held(map, thread, request, request->addr);
	if (error != CLEAVE__NOT_SIMPLE)
		return error;
	error = lock_range(&txn, map, thread, request, request->addr);
	if (error)
		return error;
	error = check_range(&txn, request, request->addr);
	if (!error && !(request->flags & CLEAVE_MAP_QUERY))
		error = stage_entry(&txn, request, request->addr, &fresh);
	return finish_entry(&txn, fresh, error);
}

/* What a search has found may be taken by now; a guard may have come, too, or the room for ours may be gone. */
static bool still_free(struct cleave_map_txn *txn, uint64_t addr, uint64_t size)
{
	struct cleave__map_view view;

	cleave__map_view(txn, addr, &view);
	if (view.object || view.end - addr < size)
		return false;
	if (!(txn->map->config.flags & CLEAVE_MAP_GUARD_PAGES) || view.end - addr > size)
		return true;
	PORT_ASSERT(addr + size < txn->map->config.max, "what a search has found has room for a guard");
	cleave__map_view(txn, addr + size, &view);
	return !cleave__map_is_entry(view.object);
}

static int map_anywhere(struct cleave_map *map, struct cleave_map_thread *thread, struct cleave_map_request *request)
{
	uint64_t addr = request->addr, align = request->align ? request->align : 1;
	bool hint = addr && cleave__map_aligned(map, addr) && (addr & (align - 1)) == (request->phase & (align - 1));
	struct cleave__map_object *fresh = NULL;
	struct cleave_map_txn txn;
	int error;

	for (;;) {
		hint = hint && available(map, thread, addr, request->size);
		error = hint ? 0 : cleave_map_find_space(map, thread, request, &addr);
		if (error || (request->flags & CLEAVE_MAP_QUERY))
			break;
		error = cleave__map_map_held(map, thread, request, addr);
		if (error != CLEAVE__NOT_SIMPLE)
			break;
		error = lock_range(&txn, map, thread, request, addr);
		if (error)
			break;
		if (hint ? check_range(&txn, request, addr) == 0 : still_free(&txn, addr, request->size)) {
			error = stage_entry(&txn, request, addr, &fresh);
			error = finish_entry(&txn, fresh, error);
			break;
		}
		cleave_map_abort(&txn);
	}
	if (!error)
		request->addr = addr;
	return error;
}

int cleave_map_map(struct cleave_map *map, struct cleave_map_thread *thread, struct cleave_map_request *request)
{
	int error = check_request(map, request);

	if (error)
		return error;
	error = request->flags & CLEAVE_MAP_FIXED ? map_fixed(map, thread, request)
						  : map_anywhere(map, thread, request);
	if (error || (request->flags & CLEAVE_MAP_QUERY))
		return error;
	if (PORT_UNLIKELY(PORT_LOAD(&map->wire_future, PORT_RELAXED)) && request->protection &&
	    !(request->entry_flags & CLEAVE_MAP_HOLE)) {
		error = cleave_map_wire(map, thread, request->addr, request->addr + request->size);
		if (error) {
			/* The late failure: the caller has given its reference away, and takes it back. */
			const struct cleave_map_ops *ops = cleave__map_ops(map);

			if (request->object && ops->object_ref)
				ops->object_ref(ops, request->object, 0);
			(void)cleave_map_unmap(map, thread, request->addr, request->addr + request->size, 0);
			error = -ENOMEM;
		}
	}
	return error;
}

int cleave_map_txn_map(struct cleave_map_txn *txn, const struct cleave_map_request *request)
{
	struct cleave__map_object *fresh;
	int error = check_request(txn->map, request);

	if (!error && (!(request->flags & CLEAVE_MAP_FIXED) || request->addr < txn->start ||
		       request->addr >= txn->end || request->size > txn->end - request->addr || txn->prepared))
		error = -EINVAL;
	if (!error)
		error = check_range(txn, request, request->addr);
	if (!error && !(request->flags & CLEAVE_MAP_QUERY)) {
		error = stage_entry(txn, request, request->addr, &fresh);
		/* An abort drops what was staged, with a reference of its own. */
		if (!error && request->object && cleave__map_ops(txn->map)->object_ref)
			cleave__map_ops(txn->map)->object_ref(cleave__map_ops(txn->map), request->object, 0);
	}
	return error;
}
