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

/* What an attempt says: 0, an error for the caller, or what to do outside the guard before the next one. */
enum next {
	NEXT_AGAIN = 1, /* at once */
	NEXT_WAIT,	/* for what the context has marked */
	NEXT_NODES,	/* the context lacks nodes */
	NEXT_PAGE,	/* the thread lacks a spare page */
	NEXT_STORE,	/* the entry needs a store */
	NEXT_SWAP_IN,	/* the anon is ours, in transit */
	NEXT_FETCH,	/* the object's page is not resident */
	NEXT_LOCK,	/* only with the page's range locked */
	FULL,		/* not for outside: the slot is not empty */
};

struct fault {
	struct cleave_space_thread *thread;
	struct cleave_map *map;
	uint64_t addr;
	unsigned int access;
	unsigned int flags;
	bool locked; /* this thread has the page's range transaction */

	/* The entry, as looked up. */
	struct cleave_map_attributes attributes; /* a copy: the section may be left while a slot is busy */
	struct cleave_ticket ticket;
	uint64_t version;
	uint64_t start;
	uint64_t size;
	struct cleave_anon *store; /* NULL: none yet */
	uint64_t slot;
	uint64_t low; /* pages that the guard covers */
	uint64_t high;

	/* For the next step. */
	struct cleave_anon_page *anon; /* SWAP_IN: pinned; else its share goes when the guard is cleared */
	unsigned int nodes;	       /* NODES */
};

static const struct cleave_space_ops *ops_of(const struct fault *fault)
{
	return fault->thread->space->ops;
}

static bool writes(const struct fault *fault)
{
	return (fault->access & CLEAVE_PROT_WRITE) != 0;
}

static uint64_t page_number(const struct fault *fault, uint64_t addr)
{
	return addr >> fault->thread->space->page_shift;
}

/* ---- Look ---- */

/* The pages that a read enters besides: some below, some above, inside the entry. */
static void window(struct fault *fault, const struct cleave_entry *entry)
{
	uint32_t shift = fault->thread->space->page_shift;
	uint64_t below = 3, above = 4;

	fault->low = fault->high = fault->addr;
	if (writes(fault) || (fault->flags & CLEAVE__FAULT_WIRE) || fault->attributes.advice == CLEAVE_ADVICE_RANDOM)
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
static bool needs_store(const struct fault *fault)
{
	return writes(fault) ||
	       (!fault->attributes.object && (!ops_of(fault)->zero_page || (fault->flags & CLEAVE__FAULT_WIRE)));
}

static int look(struct fault *fault)
{
	const struct cleave__map_object *object;
	struct cleave_entry entry;

	object = cleave_lookup_ticket_rcu(&fault->map->index, fault->addr, &entry, &fault->ticket);
	if (PORT_UNLIKELY(!cleave__map_is_mapped(object)))
		return -EFAULT;
	fault->attributes = object->attributes;
	if (fault->attributes.flags & (CLEAVE_MAP_NOFAULT | CLEAVE_MAP_SUBMAP))
		return -EFAULT;
	if (fault->access & ~(unsigned int)fault->attributes.protection)
		return -EACCES;
	window(fault, &entry);
	fault->store = fault->attributes.store;
	if (PORT_LIKELY(fault->store != NULL)) {
		fault->slot = page_number(fault, fault->addr + fault->attributes.store_delta);
		return 0;
	}
	fault->slot = 0;
	if (fault->attributes.flags & CLEAVE_MAP_NEEDS_COPY) {
		if (needs_store(fault)) {
			fault->version = object->version;
			fault->start = entry.first;
			fault->size = entry.last - entry.first + 1;
			return NEXT_STORE;
		}
		return 0;
	}
	return fault->attributes.object ? 0 : -EFAULT;
}

/*
 * The guard is set: does the entry still hold?  Other changes in its leaf make the ticket invalid, too; then it is looked
 * up again, under the guard, which must cover what is found.
 */
static int confirm(struct fault *fault)
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
			return NEXT_AGAIN;
	}
	return NEXT_AGAIN;
}

/* ---- Resolve: under the guard ---- */

static int enter(struct fault *fault, uint64_t page, struct cleave_anon_page *anon, unsigned int protection)
{
	const struct cleave_space_ops *ops = ops_of(fault);
	bool wires = (fault->flags & CLEAVE__FAULT_WIRE) != 0;
	int result = ops->enter(ops, fault->map, fault->addr, page, anon, protection, wires ? CLEAVE_ENTER_WIRED : 0);

	if (!result && wires && ops->wire)
		ops->wire(ops, page);
	return result;
}

/* Marked what to wait for, or lacks nodes, or is beyond the end of the store. */
static int blocked(struct fault *fault, int result)
{
	if (result == -ENOMEM) {
		fault->nodes = cleave__anon_needs(fault->store);
		return NEXT_NODES;
	}
	return result == -EINVAL ? -EFAULT : NEXT_WAIT;
}

/* The page of an anon; NEXT_WAIT, NEXT_SWAP_IN: not now. */
static int page_of(struct fault *fault, struct cleave_anon_page *anon, uint64_t *page)
{
	struct cleave_anon_context *context = fault->thread->context;

	/* After the guard was set: whoever takes the page away marks the anon, then waits for guards. */
	if (PORT_UNLIKELY(cleave_anon_in_transit_rcu(context, anon)))
		return NEXT_WAIT;
	*page = cleave_anon_page_content(anon);
	if (PORT_LIKELY(!CLEAVE_ANON_IS_SWAPPED(*page)))
		return 0;
	switch (cleave_anon_transit_begin_rcu(context, anon, *page)) {
	case 0:
		fault->anon = anon;
		return NEXT_SWAP_IN;
	case -EAGAIN:
		return NEXT_WAIT;
	default:
		return NEXT_AGAIN;
	}
}

static uint64_t object_page(const struct fault *fault, uint64_t addr, bool write)
{
	const struct cleave_space_ops *ops = ops_of(fault);

	return ops->object_page(ops, fault->attributes.object, addr + fault->attributes.delta, write);
}

/* A page of an object, or the zero page: where no slot, or an empty one, is read. */
static int enter_slotless(struct fault *fault)
{
	unsigned int protection = fault->attributes.protection;
	bool write = writes(fault);
	uint64_t page = ops_of(fault)->zero_page;
	int result;

	if (fault->attributes.object) {
		page = object_page(fault, fault->addr, write);
		if (!page)
			return NEXT_FETCH;
	}
	if (!write)
		protection &= ~CLEAVE_PROT_WRITE;
	result = enter(fault, page, NULL, protection);
	if (!result)
		PORT_COUNT(fault->thread->counters.slotless);
	return result;
}

/* The spare anon goes into the slot. */
static struct cleave_anon_page *use_spare(struct fault *fault)
{
	struct cleave_anon_page *spare = fault->thread->spare;

	fault->thread->spare = NULL;
	return spare;
}

/* An empty slot that shows nothing at all gets a zeroed page.  FULL: it is not empty. */
static int fill(struct fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon_page *anon = thread->spare;
	int result = cleave_anon_try_fill(thread->context, fault->store, fault->slot, anon, NULL);

	if (PORT_UNLIKELY(result))
		return result == -EEXIST ? FULL : blocked(fault, result);
	thread->spare = NULL;
	PORT_COUNT(thread->counters.fills);
	return enter(fault, cleave_anon_page_content(anon), anon, fault->attributes.protection);
}

void cleave__fault_unmap_slot(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr,
			      const struct cleave_anon *store, uint64_t slot, uint64_t page, uint64_t other)
{
	const struct cleave_space_ops *ops = thread->space->ops;

	/*
	 * Read after the guards were waited for: if another map shows the slot and has entered it, it did so under one of
	 * those guards, after its window was counted.
	 */
	if (cleave_anon_windows_rcu(store, slot) <= 1) {
		ops->remove(ops, map, addr, addr + (UINT64_C(1) << thread->space->page_shift));
		return;
	}
	if (page)
		ops->remove_page(ops, page);
	if (other)
		ops->remove_page(ops, other);
}

/*
 * Is the page that goes wired?  Whoever unwires has the range locked, so this fault must have it, too.  In an entry that
 * is being wired for the first time, what can be replaced is not wired yet: it is wired with the access that it permits.
 */
static bool moves_wiring(const struct fault *fault)
{
	const struct cleave_space_ops *ops = ops_of(fault);
	uint32_t moving = (fault->attributes.flags & CLEAVE_MAP_IN_TRANSITION) != 0;

	return fault->attributes.wired > moving && ops->wire && ops->unwire;
}

/*
 * What the slot shows changes: the spare page takes its place, zeroed or with what `from` says (0: zeroed).  The slot is
 * busy, the guard covers it alone.
 *	1. everybody who may be entering the old page has announced it: they are waited for, later ones see the mark
 *	2. the old page disappears from all page tables, so that nobody writes to it and nobody reads it later
 *	3. only now it is copied, and the copy installed and entered
 *	4. the old anon's share drops when the guard is cleared: from then on another sharer may write it in place
 */
static int replace(struct fault *fault, struct cleave_anon_busy *busy, uint64_t from)
{
	struct cleave_space_thread *thread = fault->thread;
	const struct cleave_space_ops *ops = ops_of(fault);
	struct cleave_anon_page *old = busy->anon, *fresh = use_spare(fault);
	uint64_t page = cleave_anon_page_content(fresh);
	uint64_t slotless = old ? 0 : fault->attributes.object ? from : ops->zero_page;
	int result;

	cleave_anon_wait_guards(thread->context, fault->store, fault->slot, fault->slot);
	cleave__fault_unmap_slot(thread, fault->map, fault->addr, fault->store, fault->slot, old ? from : 0, slotless);
	if (from)
		ops->page_copy(ops, from, page);
	cleave_anon_install(thread->context, busy, fresh);
	result = enter(fault, page, fresh, fault->attributes.protection);
	if (moves_wiring(fault)) {
		ops->wire(ops, page);
		if (from)
			ops->unwire(ops, from);
	}
	cleave_anon_release(thread->context, busy, fresh);
	fault->anon = old;
	if (old)
		PORT_COUNT(thread->counters.copies);
	else if (from)
		PORT_COUNT(thread->counters.promotions);
	else
		PORT_COUNT(thread->counters.fills);
	return result;
}

/* Write to a busy slot, if that can be done now; releases it. */
static int write_busy(struct fault *fault, struct cleave_anon_busy *busy)
{
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon_page *anon = busy->anon;
	uint64_t page = 0;
	int result = 0;

	if (anon) {
		result = page_of(fault, anon, &page);
		/* Busy, the leaf ours, the only share: nobody else can have the page, or get it. */
		if (!result && cleave_anon_page_shares(anon) == 1) {
			result = enter(fault, page, anon, fault->attributes.protection);
			cleave_anon_release(thread->context, busy, anon);
			PORT_COUNT(thread->counters.in_place);
			return result;
		}
	} else if (fault->attributes.object) {
		page = object_page(fault, fault->addr, false);
		result = page ? 0 : NEXT_FETCH;
	}
	if (!result && !thread->spare)
		result = NEXT_PAGE;
	if (!result && moves_wiring(fault) && !fault->locked)
		result = NEXT_LOCK;
	if (!result)
		return replace(fault, busy, page);
	cleave_anon_release(thread->context, busy, anon);
	return result;
}

/* Does every page that the store's windows show here come from a slot?  Then filling one changes nothing in sight. */
static bool shows_slots_only(const struct fault *fault)
{
	return !fault->attributes.object && !ops_of(fault)->zero_page;
}

static int write_slot(struct fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon_busy busy;
	int result;

	/* [A7-sc] after the guard: a clone either sees the guard or is seen; pairs with cleave_anon_clone_begin() */
	if (PORT_UNLIKELY(PORT_LOAD(&fault->store->cloning, PORT_SEQ_CST))) {
		cleave__anon_await_clone(thread->context, fault->store);
		return NEXT_WAIT;
	}
	if (PORT_LIKELY(thread->spare && shows_slots_only(fault))) {
		result = fill(fault);
		if (PORT_LIKELY(result != FULL))
			return result;
	}
	result = cleave_anon_try_busy(thread->context, fault->store, fault->slot, &busy);
	return result ? blocked(fault, result) : write_busy(fault, &busy);
}

/* Neighbours that are there anyway.  Errors do not matter. */
static void enter_ahead(struct fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	const struct cleave_space_ops *ops = ops_of(fault);
	unsigned int protection = fault->attributes.protection & ~CLEAVE_PROT_WRITE;

	for (uint64_t addr = fault->low; addr <= fault->high; addr += UINT64_C(1) << thread->space->page_shift) {
		struct cleave_anon_page *anon = NULL;
		uint64_t page = 0;

		if (addr == fault->addr)
			continue;
		if (fault->store &&
		    cleave_anon_try_lookup(thread->context, fault->store,
					   page_number(fault, addr + fault->attributes.store_delta), &anon))
			continue;
		if (anon) {
			page = cleave_anon_in_transit_rcu(thread->context, anon) ? 0 : cleave_anon_page_content(anon);
			if (CLEAVE_ANON_IS_SWAPPED(page))
				continue;
		} else if (fault->attributes.object) {
			page = object_page(fault, addr, false);
		}
		if (page && !ops->enter(ops, fault->map, addr, page, anon, protection, CLEAVE_ENTER_AHEAD))
			PORT_COUNT(thread->counters.ahead);
	}
}

static int read_slot(struct fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon_page *anon;
	uint64_t page;
	int result = cleave_anon_try_lookup(thread->context, fault->store, fault->slot, &anon);

	if (result)
		return blocked(fault, result);
	if (anon) {
		result = page_of(fault, anon, &page);
		if (!result)
			result = enter(fault, page, anon, fault->attributes.protection & ~CLEAVE_PROT_WRITE);
		if (!result)
			PORT_COUNT(thread->counters.reads);
		return result;
	}
	/* Wired anonymous memory gets pages of its own: it will not be asked again. */
	if (fault->attributes.object || (ops_of(fault)->zero_page && !(fault->flags & CLEAVE__FAULT_WIRE)))
		return enter_slotless(fault);
	return thread->spare ? write_slot(fault) : NEXT_PAGE;
}

static int resolve(struct fault *fault)
{
	int result;

	if (fault->store && writes(fault))
		return write_slot(fault);
	result = fault->store ? read_slot(fault) : enter_slotless(fault);
	if (!result && fault->low != fault->high)
		enter_ahead(fault);
	return result;
}

static int attempt(struct fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon_context *context = thread->context;
	struct cleave_domain *domain = thread->space->domain;
	int result;

	domain->ops->enter(domain, thread->map.self);
	result = look(fault);
	if (PORT_LIKELY(!result)) {
		uint64_t below = page_number(fault, fault->addr) - page_number(fault, fault->low);

		cleave__guard_set(&context->guard, fault->map, fault->store, page_number(fault, fault->low),
				  page_number(fault, fault->high), fault->slot - below);
		result = confirm(fault);
		if (PORT_LIKELY(!result))
			result = resolve(fault);
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

/* A store for the entry.  Whoever comes second finds the first one's. */
static int make_store(struct fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon *store;
	int error = cleave_anon_create(thread->context, fault->size >> thread->space->page_shift, &store);

	if (error)
		return error;
	error = cleave_map_set_store(fault->map, &thread->map, fault->addr, fault->version, store);
	if (!error) {
		PORT_COUNT(thread->counters.stores);
		return 0;
	}
	cleave_anon_unref(thread->context, store);
	return error == -ENOENT || error == -EEXIST || error == -EAGAIN ? 0 : error;
}

static int swap_in(struct fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	const struct cleave_space_ops *ops = ops_of(fault);
	uint64_t token = cleave_anon_page_content(fault->anon), page = ops->page_get(ops);
	int error = page ? ops->page_in(ops, token, page) : -ENOMEM;

	if (error && page)
		ops->page_free(ops, page);
	cleave_anon_transit_end(thread->context, fault->anon, error ? token : page);
	if (!error)
		PORT_COUNT(thread->counters.swap_ins);
	return error;
}

static int fetch(struct fault *fault)
{
	const struct cleave_space_ops *ops = ops_of(fault);
	bool write = writes(fault) && !fault->store;

	PORT_COUNT(fault->thread->counters.fetches);
	return ops->object_fetch(ops, fault->attributes.object, fault->addr + fault->attributes.delta, write);
}

/* 0: try again; else the fault's result. */
static int prepare(struct fault *fault, enum next next)
{
	struct cleave_space_thread *thread = fault->thread;

	switch (next) {
	case NEXT_WAIT:
		PORT_COUNT(thread->counters.waits);
		cleave_anon_wait(thread->context);
		return 0;
	case NEXT_NODES:
		return cleave__anon_stock(thread->context, fault->nodes, fault->nodes);
	case NEXT_PAGE:
		return make_spare(thread);
	case NEXT_STORE:
		return make_store(fault);
	case NEXT_SWAP_IN:
		return swap_in(fault);
	case NEXT_FETCH:
		return fetch(fault);
	default:
		return 0;
	}
}

/* The page's leaves are locked: nobody changes the entry.  All that is waited for is waited for without the lock. */
static int attempt_locked(struct fault *fault)
{
	struct cleave_txn txn;
	int result;

	PORT_COUNT(fault->thread->counters.locked);
	fault->locked = true;
	(void)cleave_begin(&txn, &fault->map->index, fault->thread->map.self, fault->addr, fault->addr);
	result = attempt(fault);
	cleave_abort(&txn);
	fault->locked = false;
	return result;
}

int cleave__fault(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr, unsigned int access,
		  unsigned int flags)
{
	struct fault fault;
	bool lock = false;
	int result;

	fault.thread = thread;
	fault.map = map;
	fault.addr = addr & ~((UINT64_C(1) << thread->space->page_shift) - 1);
	fault.access = access;
	fault.flags = flags;
	fault.locked = false;
	if (PORT_UNLIKELY(!thread->spare))
		(void)make_spare(thread);
	for (unsigned int restarts = 0;; restarts++) {
		fault.anon = NULL;
		result = PORT_LIKELY(!lock) ? attempt(&fault) : attempt_locked(&fault);
		if (PORT_LIKELY(result <= 0))
			break;
		PORT_COUNT(thread->counters.restarts);
		lock |= result == NEXT_LOCK || restarts >= RESTARTS - 1;
		result = prepare(&fault, (enum next)result);
		if (result) {
			fault.anon = NULL;
			break;
		}
	}
	if (fault.anon)
		cleave_anon_page_drop(thread->context, fault.anon);
	cleave__anon_tidy(thread->context);
	return result;
}

int cleave_fault(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr, unsigned int access)
{
	return cleave__fault(thread, map, addr, access, 0);
}
