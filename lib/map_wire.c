/* SPDX-License-Identifier: ISC */
/*
 * Wiring, and the busy state.
 *
 * Pages are wired without locks, so it takes three steps:
 *	1. one transaction checks the range and gives it objects that say IN_TRANSITION; others who want to change such
 *	   entries wait until they are settled.  All that step 3 needs is made here.
 *	2. the embedder wires, entry by entry.
 *	3. small transactions put what was made in step 1: entries that are wired, or as they were.  They cannot fail.
 */
#include "map.h"

#define SETTLED 3u   /* entries that one transaction settles: as many puts as need no list */
#define RESERVED 16u /* puts kept in hand for that */

/* ---- Busy ---- */

void cleave_map_busy(struct cleave_map *map, struct cleave_map_thread *thread)
{
	uint64_t self = (uint64_t)(uintptr_t)thread;
	struct cleave_txn txn;

	for (;;) {
		uint32_t seen = cleave__map_wakeups(map);
		uint64_t owner = 0;

		if (PORT_CAS(&map->busy, &owner, self, PORT_RELAXED, PORT_RELAXED))
			break;
		if (owner == self) {
			PORT_FETCH_ADD(&map->nbusy, 1, PORT_RELAXED);
			return;
		}
		cleave__map_wait(map, thread, seen);
	}
	PORT_STORE(&map->nbusy, 1, PORT_RELAXED);
	/* Writers that locked before this have not looked at `busy`; they have ended when it returns. */
	(void)cleave_begin(&txn, &map->index, thread->self, map->config.min, map->config.max - 1);
	cleave_abort(&txn);
}

void cleave_map_unbusy(struct cleave_map *map, struct cleave_map_thread *thread)
{
	PORT_ASSERT(PORT_LOAD(&map->busy, PORT_RELAXED) == (uint64_t)(uintptr_t)thread,
		    "only the owner ends the busy state of a map");
	(void)thread;
	if (PORT_FETCH_ADD(&map->nbusy, (uint32_t)-1, PORT_RELAXED) > 1)
		return;
	PORT_STORE(&map->busy, 0, PORT_RELAXED);
	cleave__map_wake(map);
}

/* ---- Wire ---- */

static bool needs_store(const struct cleave_map_attributes *attributes)
{
	return (attributes->flags & CLEAVE_MAP_NEEDS_COPY) && !attributes->store &&
	       ((attributes->protection & CLEAVE_PROT_WRITE) || !attributes->object);
}

static bool is_wirable(const struct cleave__map_object *object)
{
	return cleave__map_is_mapped(object) && object->attributes.protection != CLEAVE_PROT_NONE;
}

/* The rules for holes: -EFAULT if the first page is not mapped, -EINVAL if a later one is not. */
static int check_mapped(struct cleave_map_txn *txn, uint64_t start, uint64_t end)
{
	struct cleave__map_view view;

	for (uint64_t addr = start; addr < end; addr = view.end) {
		cleave__map_view(txn, addr, &view);
		if (!cleave__map_is_mapped(view.object))
			return addr == start ? -EFAULT : -EINVAL;
	}
	return 0;
}

/* Put [start, end) in transition, with what will settle it. */
static int stage_transition(struct cleave_map_txn *txn, uint64_t start, uint64_t end,
			    const struct cleave__map_object *old)
{
	const struct cleave_map_ops *ops = cleave__map_ops(txn->map);
	struct cleave_map_attributes attributes = old->attributes;
	struct cleave__map_object *moving, *settled;
	int error = 0;

	if (needs_store(&attributes) && ops->store_new) {
		error = ops->store_new(ops, (end - start) >> txn->map->config.page_shift, &attributes.store);
		if (error) {
			txn->error = error;
			return error;
		}
		attributes.store_delta = (uint64_t)0 - start;
		attributes.flags &= ~CLEAVE_MAP_NEEDS_COPY;
	}
	attributes.wired++;
	settled = cleave__map_object_new(txn->thread, &attributes);
	attributes.flags |= CLEAVE_MAP_IN_TRANSITION;
	moving = settled ? cleave__map_object_new(txn->thread, &attributes) : NULL;
	if (moving) {
		cleave__map_object_ref(txn->thread, settled);
		cleave__map_object_ref(txn->thread, moving);
		moving->owner = txn->thread;
		moving->settled = settled;
		error = cleave__map_stage(txn, start, end, moving);
		if (error) {
			cleave__map_object_discard(txn->thread, settled);
			cleave__map_object_discard(txn->thread, moving);
		} else {
			cleave__map_pages_add(settled, 1); /* held until it is in the map */
		}
	} else {
		if (settled)
			cleave__map_object_free(txn->thread, settled);
		txn->error = error = -ENOMEM;
	}
	/* A new store came with a reference of its own. */
	if (attributes.store != old->attributes.store && ops->store_unref)
		ops->store_unref(ops, attributes.store);
	return error;
}

/* After a failure: what would have settled entries goes with them.  Those that were passed over have nothing. */
static void discard_settled(struct cleave_map_txn *txn)
{
	for (uint32_t i = 0; i < txn->npieces; i++)
		if (txn->pieces[i].object->settled)
			cleave__map_pages_drop(txn->thread, txn->pieces[i].object->settled, 1);
}

struct wiring {
	uint64_t start;
	uint64_t end;
	bool all;	/* pass over gaps, and do not clip */
	uint64_t limit; /* bytes wired, with `all` */
};

static int check_limit(struct cleave_map_txn *txn, const struct wiring *wiring)
{
	struct cleave__map_view view;
	uint64_t size = 0;

	if (wiring->limit == CLEAVE_MAP_UNLIMITED)
		return 0;
	for (uint64_t addr = wiring->start; addr < wiring->end; addr = view.end) {
		cleave__map_view(txn, addr, &view);
		if (is_wirable(view.object))
			size += view.end - view.start;
	}
	return size > wiring->limit ? -ENOMEM : 0;
}

/* Step 1.  1: the first entry begins below what is locked. */
static int wire_begin(struct cleave_map_txn *txn, struct wiring *wiring)
{
	uint64_t start = wiring->start, end = wiring->end;
	struct cleave__map_view view;
	int error;

	error = wiring->all ? check_limit(txn, wiring) : check_mapped(txn, start, end);
	if (error)
		return error;
	if (!wiring->all) {
		/* What is wired already is not clipped; the last one is not even counted. */
		cleave__map_view(txn, end - 1, &view);
		if (view.object->attributes.wired)
			end = view.start;
		cleave__map_view(txn, start, &view);
		if (view.object->attributes.wired && view.start < end) {
			if (view.start < txn->txn.first)
				return 1;
			start = view.start;
		}
	}
	for (uint64_t addr = start; !error && addr < end; addr = view.end) {
		bool cut;

		cleave__map_view(txn, addr, &view);
		cut = view.start < addr || view.end > end;
		if (view.end > end)
			view.end = end;
		if (is_wirable(view.object))
			error = stage_transition(txn, addr, view.end, view.object);
		else if (cut)
			error = cleave__map_stage(txn, addr, view.end, view.object); /* passed over, but clipped */
	}
	wiring->start = start;
	wiring->end = end;
	return error;
}

/* One entry that this thread has in transition, at or above *addr. */
static bool next_transition(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t *addr, uint64_t end,
			    struct cleave_entry *entry)
{
	struct cleave_domain *domain = map->maps->domain;
	const struct cleave__map_object *object;
	struct cleave_visit visit;
	struct cleave_cursor cursor;
	bool found;

	do {
		domain->ops->enter(domain, thread->self);
		cleave_cursor_init(&cursor, &map->index, *addr, false);
		found = cleave_next_rcu(&cursor, &visit, 1) && visit.entry.first < end;
		if (found) {
			*entry = visit.entry;
			*addr = entry->last + 1;
			object = entry->value;
			/* Nobody else replaces it while it is in transition: it stays valid outside of the section. */
			if (!(object->attributes.flags & CLEAVE_MAP_IN_TRANSITION) || object->owner != thread)
				entry->value = NULL;
		}
		domain->ops->leave(domain, thread->self);
	} while (found && !entry->value);
	return found;
}

/* Step 2.  *done: up to where it was wired. */
static int wire_pages(struct cleave_map *map, struct cleave_map_thread *thread, const struct wiring *wiring,
		      uint64_t *done)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	uint64_t addr = wiring->start;
	struct cleave_entry entry;
	int error = 0;

	*done = wiring->start;
	while (ops->wire && next_transition(map, thread, &addr, wiring->end, &entry)) {
		const struct cleave__map_object *object = entry.value;

		if (object->attributes.wired == 1)
			error = ops->wire(ops, map, entry.first, entry.last + 1, object->attributes.protection);
		if (error)
			return error;
		*done = entry.last + 1;
	}
	return 0;
}

/* Put what settles n entries.  -ENOMEM: nothing was put. */
static int settle(struct cleave_map *map, struct cleave_map_thread *thread, const struct cleave_entry *entries,
		  unsigned int n)
{
	struct cleave_map_txn txn;
	int error = 0;

	(void)cleave__map_begin(&txn, map, thread, entries[0].first, entries[n - 1].last + 1, CLEAVE__BEGIN_ANYWAY);
	txn.plain = true;
	for (unsigned int i = 0; i < n && !error; i++) {
		const struct cleave__map_object *moving = entries[i].value;

		error = cleave__map_stage(&txn, entries[i].first, entries[i].last + 1, moving->settled);
	}
	return cleave__map_finish(&txn, error);
}

/*
 * Step 3.  It needs no object and no list; nodes only as many as it retires, since the number of entries stays as it
 * is.  So after a grace period there are always enough for one small transaction.
 */
static void wire_end(struct cleave_map *map, struct cleave_map_thread *thread, const struct wiring *wiring, bool failed,
		     uint64_t done)
{
	const struct cleave_map_ops *ops = cleave__map_ops(map);
	struct cleave_domain *domain = map->maps->domain;
	struct cleave__map_object *settled[SETTLED];
	struct cleave_entry entries[SETTLED];
	uint64_t addr = wiring->start;
	unsigned int n;

	do {
		for (n = 0; n < SETTLED && next_transition(map, thread, &addr, wiring->end, &entries[n]); n++) {
			const struct cleave__map_object *moving = entries[n].value;

			settled[n] = moving->settled;
			if (!failed)
				continue;
			settled[n]->attributes.wired = moving->attributes.wired - 1; /* nobody has seen it yet */
			if (moving->attributes.wired == 1 && entries[n].first < done && ops->unwire)
				ops->unwire(ops, map, entries[n].first, entries[n].last + 1);
		}
		while (n && settle(map, thread, entries, n))
			domain->ops->wait(domain, thread->self, domain->ops->cookie(domain, thread->self));
		for (unsigned int i = 0; i < n; i++)
			cleave__map_pages_drop(thread, settled[i], 1);
	} while (n == SETTLED);
}

static int wire(struct cleave_map *map, struct cleave_map_thread *thread, struct wiring *wiring)
{
	uint64_t first = wiring->start, start = wiring->start, end = wiring->end, done;
	struct cleave_map_txn txn;
	int error;

	do {
		uint32_t seen = cleave__map_wakeups(map);

		if (!wiring->all && PORT_LOAD(&map->hold_wirings, PORT_RELAXED)) {
			cleave__map_wait(map, thread, seen);
			error = 1;
			continue;
		}
		wiring->start = start;
		wiring->end = end;
		/* Counted before the objects are published, so that who meets them looks closer. */
		PORT_FETCH_ADD(&map->wirings, 1, PORT_RELAXED);
		error = cleave_reserve(thread->self, RESERVED);
		if (!error)
			error = cleave__map_begin(&txn, map, thread, first, end, 0);
		if (!error) {
			error = wire_begin(&txn, wiring);
			txn.apart = true;
			if (!error)
				error = cleave_map_prepare(&txn);
			if (error == 1) {
				struct cleave__map_view view;

				cleave__map_view(&txn, start, &view);
				first = view.start;
			}
			if (error) {
				discard_settled(&txn);
				cleave_map_abort(&txn);
			} else {
				error = cleave__map_finish(&txn, 0);
			}
		}
		if (error) {
			PORT_FETCH_ADD(&map->wirings, (uint32_t)-1, PORT_RELAXED);
			cleave__map_wake(map);
		}
	} while (error == 1);
	if (error)
		return error;
	error = wire_pages(map, thread, wiring, &done);
	wire_end(map, thread, wiring, error != 0, done);
	PORT_FETCH_ADD(&map->wirings, (uint32_t)-1, PORT_RELAXED);
	cleave__map_wake(map);
	return error;
}

/* Rounding and the rules for ranges of wire and unwire.  1: nothing to do. */
static int round_range(const struct cleave_map *map, uint64_t *start, uint64_t *end)
{
	uint64_t mask = cleave__map_page(map) - 1;

	*start &= ~mask;
	*end = (*end + mask) & ~mask;
	if (*start > *end)
		return -EINVAL;
	if (*start == *end)
		return 1;
	if (*start < map->config.min)
		return -EFAULT;
	return *end > map->config.max ? -EINVAL : 0;
}

int cleave_map_wire(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end)
{
	int error = round_range(map, &start, &end);
	struct wiring wiring = { .start = start, .end = end };

	if (error)
		return error < 0 ? error : 0;
	return wire(map, thread, &wiring);
}

/* ---- Unwire ---- */

static int stage_unwired(struct cleave_map_txn *txn, uint64_t start, uint64_t end)
{
	struct cleave__map_object *last = NULL;
	struct cleave__map_view view;
	int error = 0;

	for (uint64_t addr = start; !error && addr < end; addr = view.end) {
		struct cleave_map_attributes attributes;

		cleave__map_view(txn, addr, &view);
		if (view.end > end)
			view.end = end;
		if (!cleave__map_is_mapped(view.object) || !view.object->attributes.wired)
			continue;
		attributes = view.object->attributes;
		attributes.wired = 0;
		error = cleave__map_stage_like(txn, addr, view.end, &attributes, &last);
	}
	return error;
}

int cleave_map_unwire(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end)
{
	struct cleave_map_txn txn;
	int error = round_range(map, &start, &end);

	if (error)
		return error < 0 ? error : 0;
	error = cleave__map_begin(&txn, map, thread, start, end, 0);
	if (error)
		return error;
	error = check_mapped(&txn, start, end);
	if (!error)
		error = stage_unwired(&txn, start, end);
	return cleave__map_finish(&txn, error);
}

int cleave_map_wire_all(struct cleave_map *map, struct cleave_map_thread *thread, unsigned int flags, uint64_t limit)
{
	struct wiring wiring = { .start = map->config.min, .end = map->config.max, .all = true, .limit = limit };
	struct cleave_map_txn txn;
	int error;

	if (flags & ~(CLEAVE_WIRE_CURRENT | CLEAVE_WIRE_FUTURE))
		return -EINVAL;
	if (flags & CLEAVE_WIRE_CURRENT) {
		/* Wirings of parts would keep the whole from ever being free. */
		PORT_FETCH_ADD(&map->hold_wirings, 1, PORT_RELAXED);
		error = wire(map, thread, &wiring);
		PORT_FETCH_ADD(&map->hold_wirings, (uint32_t)-1, PORT_RELAXED);
		cleave__map_wake(map);
		if (error)
			return error;
	}
	if (!flags) {
		error = cleave__map_begin(&txn, map, thread, wiring.start, wiring.end, 0);
		if (error)
			return error;
		error = cleave__map_finish(&txn, stage_unwired(&txn, wiring.start, wiring.end));
		if (error)
			return error;
	}
	PORT_STORE(&map->wire_future, (flags & CLEAVE_WIRE_FUTURE) != 0, PORT_RELAXED);
	return 0;
}
