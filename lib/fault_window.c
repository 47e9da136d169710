/* SPDX-License-Identifier: ISC */
/*
 * Windows of stores, as the maps add and drop them.
 *
 * The numbers of a store are changed by short transactions of their own: no lock of them is held across a transaction
 * of the map.  That is safe because a number is raised before a range shows the store, and lowered after nothing shows
 * it any more: it is never lower than what can be seen.  The memory that the lowering needs is reserved before, in the
 * thread's caches: nodes for a few changes, however many windows end, because what a change displaces comes back after
 * a grace period, for which one that lacks nodes waits.  Three things can make it need more: another thread changes the
 * numbers meanwhile, the store is cloned, or many windows end and leave more ranges of numbers than there were.  Then
 * the window ends late: with a later call of this thread.
 */
#include "fault.h"

#define PUTS 3u	   /* of one change of a number, mostly */
#define CHANGES 2u /* between two grace periods, without allocating */

/* Keep what one more change needs, beside those that are promised. */
static int reserve_change(struct cleave_space_thread *thread)
{
	uint32_t changes = thread->promised < CHANGES ? thread->promised + 1 : CHANGES;

	return cleave_reserve(thread->map.self, PUTS * changes);
}

/* One more or fewer window.  0; -ENOMEM, -EBUSY: as before. */
static int change_windows(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first, uint64_t n,
			  int delta, bool unused)
{
	struct cleave_anon_change change;
	int error = cleave_anon_windows_begin(&change, context, store, first, first + n - 1);

	if (error)
		return error;
	change.unused = unused;
	error = cleave_anon_windows_put(&change, first, first + n - 1, delta);
	if (!error)
		error = cleave_anon_windows_prepare(&change);
	if (error) {
		cleave_anon_windows_abort(&change);
		return error;
	}
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
	return 0;
}

int cleave__space_window_add(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n)
{
	struct cleave_space_thread *thread = cleave__space_calling_thread(cleave__space_of(ops));
	int error = reserve_change(thread);

	return error ? error : change_windows(thread->context, store, first, n, 1, false);
}

/*
 * Nobody has seen the window yet.  What adding it has retired is as much as this needs, a grace period later.
 */
void cleave__space_window_undo(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n)
{
	struct cleave_space_thread *thread = cleave__space_calling_thread(cleave__space_of(ops));
	struct cleave_domain *domain = thread->space->domain;

	while (change_windows(thread->context, store, first, n, -1, true))
		domain->ops->wait(domain, thread->map.self, domain->ops->cookie(domain, thread->map.self));
}

/* Ranges that may lose their last window, at this moment. */
static uint32_t count_ranges(struct cleave_space_thread *thread, const struct cleave_anon *store, uint64_t first,
			     uint64_t n)
{
	struct cleave_domain *domain = thread->space->domain;
	struct cleave_visit visit;
	struct cleave_cursor cursor;
	uint32_t ranges = 0;

	domain->ops->enter(domain, thread->map.self);
	cleave_cursor_init(&cursor, &store->windows, first, false);
	while (cleave_next_rcu(&cursor, &visit, 1) && visit.first < first + n)
		ranges++;
	domain->ops->leave(domain, thread->map.self);
	return ranges;
}

static int make_room(struct cleave_space_thread *thread)
{
	const struct cleave_memory *memory = thread->space->domain->memory;
	uint32_t wanted = thread->nlate + thread->promised + 1, capacity = 2 * wanted;
	struct cleave__space_late *late;

	if (wanted <= thread->capacity)
		return 0;
	late = memory->alloc(memory, capacity * sizeof(*late), sizeof(uint64_t));
	if (!late)
		return -ENOMEM;
	for (uint32_t i = 0; i < thread->nlate; i++)
		late[i] = thread->late[i];
	if (thread->late)
		memory->free(memory, thread->late, thread->capacity * sizeof(*late));
	thread->late = late;
	thread->capacity = capacity;
	return 0;
}

int cleave__space_window_reserve(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n)
{
	struct cleave_space_thread *thread = cleave__space_calling_thread(cleave__space_of(ops));
	uint32_t nodes = count_ranges(thread, store, first, n) * cleave__anon_wipe_needs(store);
	int error = make_room(thread);

	if (!error)
		error = reserve_change(thread);
	if (!error)
		error = cleave__anon_stock(thread->context, thread->nodes + nodes, 0);
	if (error)
		return error;
	thread->promised++;
	thread->nodes += nodes;
	return 0;
}

static void forget_promise(struct cleave_space_thread *thread)
{
	if (thread->promised && --thread->promised == 0)
		thread->nodes = 0;
}

void cleave__space_window_cancel(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n)
{
	(void)store;
	(void)first;
	(void)n;
	forget_promise(cleave__space_calling_thread(cleave__space_of(ops)));
}

void cleave__space_work_late(struct cleave_space_thread *thread, bool last)
{
	uint32_t n = thread->nlate, kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct cleave__space_late late = thread->late[i];

		if (!last && change_windows(thread->context, late.store, late.first, late.n, -1, false)) {
			thread->late[kept++] = late;
			continue;
		}
		cleave_anon_unref(thread->context, late.store);
	}
	thread->nlate = kept;
}

void cleave__space_window_drop(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n)
{
	struct cleave_space_thread *thread = cleave__space_calling_thread(cleave__space_of(ops));
	struct cleave_domain *domain = thread->space->domain;
	unsigned int tries = 2;
	int error;

	while ((error = change_windows(thread->context, store, first, n, -1, false)) && --tries)
		domain->ops->wait(domain, thread->map.self, domain->ops->cookie(domain, thread->map.self));
	if (error && (thread->nlate < thread->capacity || !make_room(thread))) {
		cleave_anon_ref(store, false);
		thread->late[thread->nlate++] = (struct cleave__space_late){ store, first, n };
	} else if (thread->nlate) {
		cleave__space_work_late(thread, false);
	}
	forget_promise(thread);
}
