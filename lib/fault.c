/* SPDX-License-Identifier: ISC */
/*
 * One fault.
 *
 *	outside	  a spare page and anon, nodes: all that may be needed
 *	section	  look up the entry: store, slot, permission
 *	guard	  set it; check that the lookup still holds
 *	resolve	  change the slot, enter the page
 *	clear, leave
 *
 * Nothing waits between guard and clear.  What stands in the way is waited for outside, and then everything begins
 * again; no pointer crosses a sleep, but the pin of an anon that is being read in.
 *
 * Guard and check close every race with changes of the map:
 *	1. fault: guard (sc)			1'. unmap: publishes (sc)
 *	2. fault: the ticket is valid (sc)	2'. unmap: scans guards (sc), waits
 *	3. fault: enters			3'. unmap: removes
 * If 2 misses 1', then 2' sees 1, and 3' comes after 3.
 */
#include "fault.h"

#define RESTARTS 8u /* after which the page's range is locked */
#define CONFIRMS 4u /* lookups under a guard, while the leaf changes */

/* ---- Look ---- */

/* The pages that a read enters besides: some below, some above, inside the entry. */
static void window(struct cleave__fault *fault, const struct cleave_entry *entry)
{
	uint32_t shift = fault->thread->space->page_shift;
	uint64_t below = 3, above = 4;

	fault->low = fault->high = fault->addr;
	if (cleave__fault_writes(fault) || (fault->flags & CLEAVE__FAULT_WIRE) ||
	    fault->attributes.advice == CLEAVE_ADVICE_RANDOM)
		return;
	if (fault->attributes.advice == CLEAVE_ADVICE_SEQUENTIAL) {
		below = 8;
		above = 7;
	}
	below <<= shift;
	above <<= shift;
	fault->low = fault->addr - entry->first > below ? fault->addr - below : entry->first;
	fault->high =
		entry->last - fault->addr > above ? fault->addr + above : entry->last & ~((UINT64_C(1) << shift) - 1);
}

/* Must this access have a store? */
static bool needs_store(const struct cleave__fault *fault)
{
	PORT_ASSERT(fault->attributes.object || !(fault->flags & CLEAVE__FAULT_WIRE), "a wiring makes the store first");
	return cleave__fault_writes(fault) || (!fault->attributes.object && !cleave__fault_ops(fault)->zero_page);
}

static int look(struct cleave__fault *fault)
{
	const struct cleave__map_object *object;
	struct cleave_entry entry;

	object = cleave_lookup_ticket_rcu(&fault->map->index, fault->addr, &entry, &fault->ticket);
	if (PORT_UNLIKELY(!cleave__map_is_mapped(object)))
		return -EFAULT;
	/*
	 * A mapping that replaces another is seen before the other's faults have been waited for:
	 *	1. R: guard, the old entry holds
	 *	2. M: publishes the new entry; waits for R
	 *	3. W: writes through the new entry
	 *	4. R: enters the old page over it, and W reads that, or writes to it.
	 * [P5-acq] it is 0 again after M has removed what R has entered; pairs with [P5-rel] cleave_map_publish()
	 */
	if (PORT_UNLIKELY(PORT_LOAD(&fault->map->replacing, PORT_ACQUIRE)) && !fault->locked)
		return CLEAVE__NEXT_LOCK;
	fault->attributes = object->attributes;
	if (fault->attributes.flags & (CLEAVE_MAP_NOFAULT | CLEAVE_MAP_SUBMAP))
		return -EFAULT;
	if (fault->access & ~(unsigned int)fault->attributes.protection)
		return -EACCES;
	window(fault, &entry);
	fault->store = fault->attributes.store;
	if (PORT_LIKELY(fault->store != NULL)) {
		fault->slot = cleave__fault_page(fault, fault->addr + fault->attributes.store_delta);
		return 0;
	}
	fault->slot = 0;
	if (fault->attributes.flags & CLEAVE_MAP_NEEDS_COPY) {
		if (needs_store(fault)) {
			fault->version = object->version;
			return CLEAVE__NEXT_STORE;
		}
		return 0;
	}
	return fault->attributes.object ? 0 : -EFAULT;
}

/*
 * The guard is set: does the entry still hold?  Other changes in its leaf make the ticket invalid, too; then it is
 * looked up again, under the guard, which must cover what is found.
 */
static int confirm(struct cleave__fault *fault)
{
	for (unsigned int i = 0; i < CONFIRMS; i++) {
		const struct cleave_anon *store = fault->store;
		uint64_t slot = fault->slot, low = fault->low, high = fault->high;
		int result;

		if (PORT_LIKELY(cleave_ticket_valid_rcu(&fault->ticket)))
			return 0;
		result = look(fault);
		if (result)
			return result;
		if (fault->store != store || fault->slot != slot || fault->low < low || fault->high > high)
			return CLEAVE__NEXT_AGAIN;
	}
	return CLEAVE__NEXT_AGAIN;
}

static int attempt(struct cleave__fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon_context *context = thread->context;
	struct cleave_domain *domain = thread->space->domain;
	int result;

	domain->ops->enter(domain, thread->map.self);
	result = look(fault);
	if (PORT_LIKELY(!result)) {
		uint64_t below = cleave__fault_page(fault, fault->addr) - cleave__fault_page(fault, fault->low);

		cleave__guard_set(&context->guard, fault->map, fault->store, cleave__fault_page(fault, fault->low),
				  cleave__fault_page(fault, fault->high), fault->slot - below);
		result = confirm(fault);
		if (PORT_LIKELY(!result))
			result = cleave__fault_resolve(fault);
		domain->ops->leave(domain, thread->map.self);
		cleave__guard_clear(&context->domain->guards, &context->guard);
	} else {
		domain->ops->leave(domain, thread->map.self);
	}
	return result;
}

/* ---- Outside the guard ---- */

/* A spare page and its anon.  Without one, faults that need none still succeed. */
static int make_spare(struct cleave_space_thread *thread)
{
	const struct cleave_space_ops *ops = thread->space->ops;
	uint64_t page = ops->page_get(ops);

	if (!page)
		return -ENOMEM;
	thread->spare = cleave_anon_page_make(thread->context, page);
	if (thread->spare)
		return 0;
	ops->page_free(ops, page);
	return -ENOMEM;
}

/*
 * A store for the entry.  Whoever comes second finds the first one's.  It has slots for the whole map, which cost
 * nothing: the entry may have been joined with a neighbour since it was looked up.
 */
static int make_store(struct cleave__fault *fault)
{
	const struct cleave_map_config *config = &fault->map->config;
	uint64_t slots = cleave__fault_page(fault, config->max - config->min);
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon *store;
	int error = cleave_anon_create(thread->context, slots < CLEAVE_ANON_SLOTS ? slots : CLEAVE_ANON_SLOTS, &store);

	if (error)
		return error;
	error = cleave_map_set_store(fault->map, &thread->map, fault->addr, fault->version, store);
	if (!error) {
		PORT_COUNT(thread->counters.stores);
		return 0;
	}
	cleave_anon_unref(thread->context, store);
	PORT_ASSERT(error != -EEXIST, "an object is never written: of this version it has no store");
	return error == -ENOENT || error == -EAGAIN ? 0 : error;
}

static int swap_in(struct cleave__fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	const struct cleave_space_ops *ops = cleave__fault_ops(fault);
	uint64_t token = cleave_anon_page_content(fault->anon), page = ops->page_get(ops);
	int error = page ? ops->page_in(ops, token, page) : -ENOMEM;

	if (error && page)
		ops->page_free(ops, page);
	cleave_anon_transit_end(thread->context, fault->anon, error ? token : page);
	if (!error)
		PORT_COUNT(thread->counters.swap_ins);
	return error;
}

static int fetch(struct cleave__fault *fault)
{
	const struct cleave_space_ops *ops = cleave__fault_ops(fault);
	bool write = cleave__fault_writes(fault) && !fault->store;

	PORT_COUNT(fault->thread->counters.fetches);
	return ops->object_fetch(ops, fault->attributes.object, fault->addr + fault->attributes.delta, write);
}

/* 0: try again; else the fault's result. */
static int prepare(struct cleave__fault *fault, enum cleave__fault_next next)
{
	struct cleave_space_thread *thread = fault->thread;

	switch (next) {
	case CLEAVE__NEXT_WAIT:
		PORT_COUNT(thread->counters.waits);
		cleave_anon_wait(thread->context);
		return 0;
	case CLEAVE__NEXT_NODES:
		return cleave__anon_prepare(thread->context, fault->nodes);
	case CLEAVE__NEXT_PAGE:
		return make_spare(thread);
	case CLEAVE__NEXT_STORE:
		return make_store(fault);
	case CLEAVE__NEXT_SWAP_IN:
		return swap_in(fault);
	case CLEAVE__NEXT_FETCH:
		return fetch(fault);
	default:
		return 0;
	}
}

/* The page's leaves are locked: nobody changes the entry.  All that is waited for is waited for without the lock. */
static int attempt_locked(struct cleave__fault *fault)
{
	struct cleave_txn txn;
	int result;

	PORT_COUNT(fault->thread->counters.locked);
	(void)cleave_begin(&txn, &fault->map->index, fault->thread->map.self, fault->addr, fault->addr);
	result = attempt(fault);
	cleave_abort(&txn);
	return result;
}

int cleave__fault(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr, unsigned int access,
		  unsigned int flags)
{
	struct cleave__fault fault;
	bool lock = false, reclaimed = false;
	int result;

	fault.thread = thread;
	fault.map = map;
	fault.addr = addr & ~((UINT64_C(1) << thread->space->page_shift) - 1);
	fault.access = access;
	fault.flags = flags;
	if (PORT_UNLIKELY(!thread->spare))
		(void)make_spare(thread);
	for (unsigned int restarts = 0;; restarts++) {
		fault.anon = NULL;
		fault.locked = lock;
		result = PORT_LIKELY(!lock) ? attempt(&fault) : attempt_locked(&fault);
		if (PORT_LIKELY(result <= 0))
			break;
		PORT_COUNT(thread->counters.restarts);
		lock = restarts >= RESTARTS - 1 || result == CLEAVE__NEXT_LOCK;
		result = prepare(&fault, (enum cleave__fault_next)result);
		/* What this thread has dropped may be all that is missing.  Once: others take pages, too. */
		if (PORT_UNLIKELY(result == -ENOMEM) && !reclaimed) {
			reclaimed = true;
			if (cleave__anon_reclaim(thread->context))
				continue;
		}
		if (result) {
			fault.anon = NULL;
			break;
		}
	}
	if (fault.anon)
		cleave_anon_page_drop(thread->context, fault.anon);
	cleave__anon_finish(thread->context);
	return result;
}

int cleave_fault(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr, unsigned int access)
{
	return cleave__fault(thread, map, addr, access, 0);
}
