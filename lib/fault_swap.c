/* SPDX-License-Identifier: ISC */
/* Pages that are taken away, held or copied: swapped out, freed by advice, wired. */
#include "fault.h"

#define RUN 32u /* slots that are freed under one guard */

static bool is_page(uint64_t content)
{
	return content && !CLEAVE_ANON_IS_SWAPPED(content);
}

/* ---- Swap ---- */

void cleave_space_settle(struct cleave_space_thread *thread)
{
	struct cleave_anon_context *context = thread->context;

	cleave__guards_wait_all(&context->domain->guards, context->self, &context->guard);
}

/*
 * Swap-out beside a fault on the same page:
 *	1. swap-out: marks the anon (sc)	1'. fault: sets its guard (sc)
 *	2. swap-out: waits for guards		2'. fault: looks at the mark (sc), enters
 *	3. swap-out: removes, writes, frees
 * Either 2' sees the mark and the fault waits, or 2 waits for the fault.
 */
size_t cleave_swap_out(struct cleave_space_thread *thread, struct cleave_anon_page **anons, size_t n)
{
	const struct cleave_space_ops *ops = thread->space->ops;
	struct cleave_anon_context *context = thread->context;
	uint64_t pages[CLEAVE_SWAP_BATCH], token;
	size_t marked = 0, done = 0;

	PORT_ASSERT(n <= CLEAVE_SWAP_BATCH, "a batch is swapped out at a time");
	for (size_t i = 0; i < n; i++) {
		uint64_t page = cleave_anon_page_content(anons[i]);

		if (is_page(page) && !cleave_anon_transit_begin_rcu(context, anons[i], page)) {
			cleave_anon_page_unpin(context, anons[i]); /* it has another one now */
			anons[marked] = anons[i];
			pages[marked++] = page;
		} else {
			cleave_anon_page_unpin(context, anons[i]);
		}
	}
	if (marked)
		cleave_space_settle(thread);
	for (size_t i = 0; i < marked; i++) {
		if (ops->may_evict && !ops->may_evict(ops, pages[i])) {
			cleave_anon_transit_end(context, anons[i], pages[i]);
			anons[i] = NULL;
			continue;
		}
		ops->remove_page(ops, pages[i]);
	}
	for (size_t i = 0; i < marked; i++) {
		if (!anons[i])
			continue;
		if (ops->page_out(ops, pages[i], &token)) {
			cleave_anon_transit_end(context, anons[i], pages[i]);
			continue;
		}
		/* Freed while the anon is still pinned: the embedder may pin it until page_free() has returned. */
		ops->page_free(ops, pages[i]);
		cleave_anon_transit_end(context, anons[i], token);
		done++;
	}
	thread->counters.swap_outs += done;
	cleave__anon_finish(context);
	return done;
}

/* ---- Clean ---- */

/*
 * Neighbouring slots from *slot on that hold something and that no other window shows, at most RUN; *n: how many.
 * *slot becomes their first.  False: there are none up to `last`.
 */
static bool find_run(struct cleave_space_thread *thread, const struct cleave_anon *store, uint64_t *slot, uint64_t last,
		     uint64_t *n, bool *shared)
{
	struct cleave_domain *domain = thread->space->domain;
	struct cleave_anon_visit visits[RUN];
	uint64_t next = *slot;
	size_t found;

	domain->ops->enter(domain, thread->map.self);
	found = cleave_anon_next_rcu(store, &next, visits, RUN);
	*n = 0;
	if (found && visits[0].slot <= last) {
		*slot = visits[0].slot;
		*shared = cleave_anon_windows_rcu(store, *slot) > 1;
		while (*n < found && visits[*n].slot == *slot + *n && visits[*n].slot <= last &&
		       (cleave_anon_windows_rcu(store, *slot + *n) > 1) == *shared)
			++*n;
	}
	domain->ops->leave(domain, thread->map.self);
	return *n > 0;
}

/* Unlink the nodes that were left empty. */
static void prune(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first, uint64_t n)
{
	cleave__anon_wipe_begin(context, store);
	for (uint64_t slot = first; slot < first + n; slot = (slot | (CLEAVE__ANON_FANOUT - 1)) + 1)
		cleave__anon_wipe_empty(context, store, slot);
	cleave__anon_wipe_end(context, store);
}

/*
 * Empty n neighbouring slots: all are marked busy, guards are waited for once, translations go, then the slots.  A
 * guard that is wider than what it has marked busy would deadlock with a fault that has marked one in between; so the
 * run ends at the first slot that is empty by now.
 * *n: how many it were; 0: the first one is empty.
 */
static int free_run(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr,
		    struct cleave_anon *store, uint64_t slot, uint64_t *n)
{
	struct cleave_anon_context *context = thread->context;
	struct cleave_anon_busy busy[RUN];
	struct cleave_anon_page *gone[RUN];
	uint64_t marked = 0;
	int result = cleave_anon_guard(context, store, slot, slot + *n - 1);

	if (result)
		return result;
	while (!result && marked < *n) {
		result = cleave__anon_try_busy(context, store, slot + marked, &busy[marked]);
		if (!result && !busy[marked].anon) {
			cleave_anon_release(context, &busy[marked], NULL);
			break;
		}
		marked += !result;
	}
	if (result || marked < *n) {
		for (uint64_t i = 0; i < marked; i++)
			cleave_anon_release(context, &busy[i], busy[i].anon);
		cleave_anon_unguard(context);
		*n = marked;
		return result ? result : marked ? -EAGAIN : 0;
	}
	cleave_anon_wait_guards(context, store, slot, slot + *n - 1);
	thread->space->ops->remove(thread->space->ops, map, addr, addr + (*n << thread->space->page_shift));
	for (uint64_t i = 0; i < *n; i++) {
		gone[i] = busy[i].anon;
		cleave_anon_release(context, &busy[i], NULL);
	}
	cleave_anon_unguard(context);
	for (uint64_t i = 0; i < *n; i++)
		cleave_anon_page_drop(context, gone[i]);
	return 0;
}

/* The pages of slots that stay are told to the embedder. */
static void deactivate_run(struct cleave_space_thread *thread, struct cleave_anon *store, uint64_t slot, uint64_t n)
{
	const struct cleave_space_ops *ops = thread->space->ops;
	struct cleave_anon_context *context = thread->context;
	struct cleave_anon_page *anon;

	for (uint64_t i = slot; ops->deactivate && i < slot + n; i++) {
		if (cleave_anon_guard(context, store, i, i))
			continue; /* being cloned: so it is used */
		if (!cleave_anon_try_lookup(context, store, i, &anon) && anon &&
		    !cleave_anon_in_transit_rcu(context, anon) && is_page(cleave_anon_page_content(anon)))
			ops->deactivate(ops, cleave_anon_page_content(anon));
		cleave_anon_unguard(context);
	}
}

static int clean_store(struct cleave_space_thread *thread, struct cleave_map *map, const struct cleave_map_entry *entry,
		       bool frees)
{
	struct cleave_anon *store = entry->attributes.store;
	uint64_t delta = entry->attributes.store_delta, n;
	uint32_t shift = thread->space->page_shift;
	uint64_t slot = (entry->start + delta) >> shift, last = (entry->end - 1 + delta) >> shift;
	bool shared;

	for (; slot <= last && find_run(thread, store, &slot, last, &n, &shared); slot += n) {
		if (!frees || shared) {
			deactivate_run(thread, store, slot, n);
			continue;
		}
		for (;;) {
			uint64_t wanted = n;
			int result = free_run(thread, map, (slot << shift) - delta, store, slot, &n);

			if (result == -ENOMEM) {
				unsigned int nodes = cleave__anon_needs(store);

				n = wanted;
				result = cleave__anon_stock(thread->context, nodes, nodes);
				if (result)
					return result;
			} else if (result == -EAGAIN) {
				cleave_anon_wait(thread->context);
				n = n ? n : wanted;
			} else {
				break;
			}
		}
		if (n)
			prune(thread->context, store, slot, n);
		n += n == 0; /* it was emptied meanwhile */
		cleave__anon_tidy(thread->context);
	}
	return 0;
}

/*
 * FREE empties the slots that this window alone shows: wired ones stay, and what other windows show is only
 * deactivated.
 */
int cleave__space_clean(const struct cleave_map_ops *ops, struct cleave_map *map, const struct cleave_map_entry *entry,
			unsigned int flags)
{
	struct cleave_space_thread *thread = cleave__space_calling_thread(cleave__space_of(ops));
	const struct cleave_space_ops *embedder = thread->space->ops;
	const struct cleave_map_attributes *attributes = &entry->attributes;
	int error = 0;

	if (attributes->store && !attributes->wired && (flags & (CLEAVE_CLEAN_FREE | CLEAVE_CLEAN_DEACTIVATE)))
		error = clean_store(thread, map, entry, (flags & CLEAVE_CLEAN_FREE) != 0);
	if (!error && attributes->object && embedder->object_clean &&
	    !((flags & CLEAVE_CLEAN_FREE) && (attributes->flags & CLEAVE_MAP_COW)))
		error = embedder->object_clean(embedder, attributes->object, cleave_map_offset(entry),
					       entry->end - entry->start, flags);
	return error;
}

/* The anons that were freed wait for a grace period: for which nobody waits with leaves locked. */
void cleave__space_clean_done(const struct cleave_map_ops *ops, struct cleave_map *map)
{
	(void)map;
	cleave__anon_finish_giving(cleave__space_calling_thread(cleave__space_of(ops))->context);
}

/* ---- Wiring ---- */

int cleave__space_wire(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		       unsigned int protection)
{
	struct cleave_space_thread *thread = cleave__space_calling_thread(cleave__space_of(ops));
	unsigned int access = protection & CLEAVE_PROT_WRITE ? CLEAVE_PROT_WRITE : protection;

	for (uint64_t addr = start; addr < end; addr += UINT64_C(1) << thread->space->page_shift) {
		int error = cleave__fault(thread, map, addr, access, CLEAVE__FAULT_WIRE);

		if (error) {
			cleave__space_unwire(ops, map, start, addr);
			return error;
		}
	}
	return 0;
}

void cleave__space_unwire(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	const struct cleave_space_ops *embedder = cleave__space_of(ops)->ops;

	if (start < end)
		embedder->unwire(embedder, map, start, end);
}

struct copier {
	struct cleave_anon_copier copier;
	const struct cleave_space_ops *ops;
};

/*
 * The parent may be writing the page: that ends first, and CLONING keeps it so.  Then what the child sees is of one
 * moment for each thread of the parent: whatever it wrote later, it wrote after the fork.
 */
static int copy_page(struct cleave_anon_copier *copier, uint64_t from, uint64_t *content)
{
	const struct cleave_space_ops *ops = ((struct copier *)(void *)copier)->ops;

	/* Nobody holds what another map has put in the place of a wired page, and it may be swapped. */
	if (!is_page(from))
		return 0;
	*content = ops->page_get(ops);
	if (!*content)
		return -ENOMEM;
	cleave__space_protect_page(ops, from);
	ops->page_copy(ops, from, *content);
	return 0;
}

static void free_copy(struct cleave_anon_copier *copier, uint64_t content)
{
	const struct cleave_space_ops *ops = ((struct copier *)(void *)copier)->ops;

	ops->page_free(ops, content);
}

int cleave__space_copy_wired(const struct cleave_map_ops *ops, void *clone, uint64_t first, uint64_t n)
{
	struct cleave_space_thread *thread = cleave__space_calling_thread(cleave__space_of(ops));
	struct copier copier = { { copy_page, free_copy }, thread->space->ops };
	int error;

	/*
	 * What the clone has displaced still counts for a grace period; a write of the parent meanwhile would copy its
	 * leaf, and then its wired pages.  So this waits, with the parent locked, and is never refused for what waits.
	 */
	thread->context->waits_holding = true;
	error = cleave_anon_cow_now(thread->context, clone, first, first + n - 1, &copier.copier, NULL);
	thread->context->waits_holding = false;
	if (!error)
		cleave_anon_flush(thread->context);
	return error;
}
