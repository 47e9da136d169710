/* SPDX-License-Identifier: ISC */
/*
 * A fault under its guard: what the slot, or the lack of one, makes of it.
 *
 *	write	an empty slot gets the spare page, zeroed or with the object's; a page that nobody shares is entered as
 *		it is; a shared one is copied
 *	read	what is there is entered without write permission, and the neighbours that are there anyway
 *
 * Nothing here waits, but for guards on a slot that it has marked busy.
 */
#include "fault.h"

/*
 * While an entry is wired for the first time, only who wires asks for pages to be held: whoever else comes is forgotten
 * if the wiring fails.
 */
static bool holds(const struct cleave__fault *fault)
{
	uint32_t moving = (fault->attributes.flags & CLEAVE_MAP_IN_TRANSITION) != 0;

	return fault->attributes.wired > moving || (fault->flags & CLEAVE__FAULT_WIRE);
}

static int enter(struct cleave__fault *fault, uint64_t page, struct cleave_anon_page *anon, unsigned int protection)
{
	const struct cleave_space_ops *ops = cleave__fault_ops(fault);

	return ops->enter(ops, fault->map, fault->addr, page, anon, protection, holds(fault) ? CLEAVE_ENTER_WIRED : 0);
}

/* Marked what to wait for, or lacks nodes, or is beyond the end of the store. */
static int blocked(struct cleave__fault *fault, int result)
{
	if (result == -ENOMEM) {
		fault->nodes = cleave__anon_needs(fault->store);
		return CLEAVE__NEXT_NODES;
	}
	return result == -EINVAL ? -EFAULT : CLEAVE__NEXT_WAIT;
}

/* The page of an anon; CLEAVE__NEXT_WAIT, CLEAVE__NEXT_SWAP_IN: not now. */
static int page_of(struct cleave__fault *fault, struct cleave_anon_page *anon, uint64_t *page)
{
	struct cleave_anon_context *context = fault->thread->context;

	/* After the guard was set: whoever takes the page away marks the anon, then waits for guards. */
	if (PORT_UNLIKELY(cleave_anon_in_transit_rcu(context, anon)))
		return CLEAVE__NEXT_WAIT;
	*page = cleave_anon_page_content(anon);
	if (PORT_LIKELY(!CLEAVE_ANON_IS_SWAPPED(*page)))
		return 0;
	switch (cleave_anon_transit_begin_rcu(context, anon, *page)) {
	case 0:
		fault->anon = anon;
		return CLEAVE__NEXT_SWAP_IN;
	case -EAGAIN:
		return CLEAVE__NEXT_WAIT;
	default:
		return CLEAVE__NEXT_AGAIN;
	}
}

static uint64_t object_page(const struct cleave__fault *fault, uint64_t addr, bool write)
{
	const struct cleave_space_ops *ops = cleave__fault_ops(fault);

	return ops->object_page(ops, fault->attributes.object, addr + fault->attributes.delta, write);
}

/* A page of an object, or the zero page: where no slot, or an empty one, is read. */
static int enter_slotless(struct cleave__fault *fault)
{
	unsigned int protection = fault->attributes.protection;
	bool write = cleave__fault_writes(fault);
	uint64_t page = cleave__fault_ops(fault)->zero_page;
	int result;

	if (fault->attributes.object) {
		page = object_page(fault, fault->addr, write);
		if (!page)
			return CLEAVE__NEXT_FETCH;
	}
	if (!write)
		protection &= ~CLEAVE_PROT_WRITE;
	result = enter(fault, page, NULL, protection);
	if (!result)
		PORT_COUNT(fault->thread->counters.slotless);
	return result;
}

/* The spare anon goes into the slot. */
static struct cleave_anon_page *use_spare(struct cleave__fault *fault)
{
	struct cleave_anon_page *spare = fault->thread->spare;

	fault->thread->spare = NULL;
	return spare;
}

/* An empty slot that shows nothing at all gets a zeroed page.  CLEAVE__NEXT_FULL: it is not empty. */
static int fill(struct cleave__fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon_page *anon = thread->spare;
	int result = cleave_anon_try_fill(thread->context, fault->store, fault->slot, anon, NULL);

	if (PORT_UNLIKELY(result))
		return result == -EEXIST ? CLEAVE__NEXT_FULL : blocked(fault, result);
	thread->spare = NULL;
	PORT_COUNT(thread->counters.fills);
	return enter(fault, cleave_anon_page_content(anon), anon, fault->attributes.protection);
}

static void unmap_slot(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr,
		       const struct cleave_anon *store, uint64_t slot, uint64_t page, uint64_t other)
{
	const struct cleave_space_ops *ops = thread->space->ops;

	/*
	 * Read after the guards were waited for: if another map shows the slot and has entered it, it did so under one
	 * of those guards, after its window was counted.
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
 * Faults that looked before the range had its first store name none.  Who installed it waits for them, but others see
 * it before that:
 *	1. R: guard without a store; has found page p of the object
 *	2. I: publishes the store; has not waited yet
 *	3. W: writes p: the slot is busy, nobody's guard names it; enters its copy
 *	4. R: enters the object's page over it, and there it stays.
 * Other maps show the store only after I has waited.  Guards without a store wait for nobody.
 */
static void wait_storeless(const struct cleave__fault *fault)
{
	struct cleave_anon_context *context = fault->thread->context;
	struct cleave_domain *domain = fault->thread->space->domain;
	uint64_t page = cleave__fault_page(fault, fault->addr);

	domain->ops->leave(domain, fault->thread->map.self);
	cleave__guards_wait_storeless(&context->domain->guards, context->self, &context->guard, fault->map, page, page);
	domain->ops->enter(domain, fault->thread->map.self);
}

/*
 * What the slot shows changes: the spare page takes its place, zeroed or with what `from` says (0: zeroed).  The slot
 * is busy, the guard covers it alone.
 *	1. everybody who may be entering the old page has announced it: they are waited for, later ones see the mark
 *	2. the old page disappears from all page tables, so that nobody writes to it and nobody reads it later
 *	3. only now it is copied, and the copy installed and entered
 *	4. the old anon's share drops when the guard is cleared: from then on another sharer may write it in place
 */
static int replace(struct cleave__fault *fault, struct cleave_anon_busy *busy, uint64_t from)
{
	struct cleave_space_thread *thread = fault->thread;
	const struct cleave_space_ops *ops = cleave__fault_ops(fault);
	struct cleave_anon_page *old = busy->anon, *fresh = use_spare(fault);
	uint64_t page = cleave_anon_page_content(fresh);
	uint64_t slotless = old ? 0 : fault->attributes.object ? from : ops->zero_page;
	int result;

	cleave_anon_wait_guards(thread->context, fault->store, fault->slot, fault->slot);
	if (!old)
		wait_storeless(fault);
	unmap_slot(thread, fault->map, fault->addr, fault->store, fault->slot, old ? from : 0, slotless);
	if (from)
		ops->page_copy(ops, from, page);
	cleave_anon_install(thread->context, busy, fresh);
	result = enter(fault, page, fresh, fault->attributes.protection);
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
static int write_busy(struct cleave__fault *fault, struct cleave_anon_busy *busy)
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
		result = page ? 0 : CLEAVE__NEXT_FETCH;
	}
	if (!result && !thread->spare)
		result = CLEAVE__NEXT_PAGE;
	if (!result)
		return replace(fault, busy, page);
	cleave_anon_release(thread->context, busy, anon);
	return result;
}

/* Does every page that the store's windows show here come from a slot?  Then filling one changes nothing in sight. */
static bool shows_slots_only(const struct cleave__fault *fault)
{
	return !fault->attributes.object && !cleave__fault_ops(fault)->zero_page;
}

static int write_slot(struct cleave__fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	struct cleave_anon_busy busy;
	int result;

	/* [A7-sc] after the guard: a clone either sees the guard or is seen; pairs with cleave_anon_clone_begin() */
	if (PORT_UNLIKELY(PORT_LOAD(&fault->store->cloning, PORT_SEQ_CST))) {
		cleave__anon_await_clone(thread->context, fault->store);
		return CLEAVE__NEXT_WAIT;
	}
	if (PORT_LIKELY(thread->spare && shows_slots_only(fault))) {
		result = fill(fault);
		if (PORT_LIKELY(result != CLEAVE__NEXT_FULL))
			return result;
		/*
		 * From here on the slot stays full: who empties it waits for this guard.  So nothing is replaced, and
		 * no guards are waited for under that of a read, which covers neighbours.
		 */
	}
	result = cleave_anon_try_busy(thread->context, fault->store, fault->slot, &busy);
	return result ? blocked(fault, result) : write_busy(fault, &busy);
}

/* Neighbours that are there anyway.  Errors do not matter. */
static void enter_ahead(struct cleave__fault *fault)
{
	struct cleave_space_thread *thread = fault->thread;
	const struct cleave_space_ops *ops = cleave__fault_ops(fault);
	unsigned int protection = fault->attributes.protection & ~CLEAVE_PROT_WRITE;

	for (uint64_t addr = fault->low; addr <= fault->high; addr += UINT64_C(1) << thread->space->page_shift) {
		struct cleave_anon_page *anon = NULL;
		uint64_t page = 0;

		if (addr == fault->addr)
			continue;
		if (fault->store &&
		    cleave_anon_try_lookup(thread->context, fault->store,
					   cleave__fault_page(fault, addr + fault->attributes.store_delta), &anon))
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

static int read_slot(struct cleave__fault *fault)
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
	if (fault->attributes.object || (cleave__fault_ops(fault)->zero_page && !(fault->flags & CLEAVE__FAULT_WIRE)))
		return enter_slotless(fault);
	return thread->spare ? write_slot(fault) : CLEAVE__NEXT_PAGE;
}

int cleave__fault_resolve(struct cleave__fault *fault)
{
	int result;

	if (fault->store && cleave__fault_writes(fault))
		return write_slot(fault);
	result = fault->store ? read_slot(fault) : enter_slotless(fault);
	if (!result && fault->low != fault->high)
		enter_ahead(fault);
	return result;
}
