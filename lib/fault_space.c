/* SPDX-License-Identifier: ISC */
/* Spaces and their threads; what the maps ask of their embedder, answered by the stores and by page-level callbacks. */
#include "fault.h"

/* ---- References ---- */

static void object_ref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	const struct cleave_space_ops *embedder = cleave__space_of(ops)->ops;

	if (embedder->object_ref)
		embedder->object_ref(embedder, object, flags);
}

static void object_unref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	const struct cleave_space_ops *embedder = cleave__space_of(ops)->ops;

	if (embedder->object_unref)
		embedder->object_unref(embedder, object, flags);
}

static void store_ref(const struct cleave_map_ops *ops, void *store)
{
	(void)ops;
	cleave_anon_ref(store, false);
}

static void store_unref(const struct cleave_map_ops *ops, void *store)
{
	cleave_anon_unref(cleave__space_calling_thread(cleave__space_of(ops))->context, store);
}

static int store_new(const struct cleave_map_ops *ops, uint64_t n, void **store)
{
	struct cleave_anon *made;
	int error = cleave_anon_create(cleave__space_calling_thread(cleave__space_of(ops))->context, n, &made);

	if (!error)
		*store = made;
	return error == -EINVAL ? -ENOMEM : error; /* more pages than a store can have */
}

static uint64_t random_number(const struct cleave_map_ops *ops)
{
	const struct cleave_space_ops *embedder = cleave__space_of(ops)->ops;

	return embedder->random(embedder);
}

/* ---- Translations ---- */

static void wait_pages(struct cleave_space_thread *thread, const struct cleave_map *map, uint64_t start, uint64_t end)
{
	struct cleave_anon_context *context = thread->context;
	uint32_t shift = thread->space->page_shift;

	cleave__guards_wait_pages(&context->domain->guards, context->self, &context->guard, map, start >> shift,
				  (end - 1) >> shift);
}

static void lower(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		  unsigned int protection)
{
	if (protection != CLEAVE_PROT_NONE && ops->protect)
		ops->protect(ops, map, start, end, protection);
	else
		ops->remove(ops, map, start, end);
}

/* To what the entries say now.  Writing is always lost: the next write finds out. */
static void restrict_range(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t start, uint64_t end)
{
	const struct cleave_space_ops *ops = thread->space->ops;
	struct cleave_domain *domain = thread->space->domain;
	struct cleave_map_entry entry;

	for (uint64_t addr = start; addr < end; addr = entry.end) {
		bool mapped;

		domain->ops->enter(domain, thread->map.self);
		mapped = cleave_map_lookup_rcu(map, addr, &entry);
		domain->ops->leave(domain, thread->map.self);
		PORT_ASSERT(mapped && entry.end <= end, "what loses permissions ends where an entry does");
		lower(ops, map, addr, entry.end, entry.attributes.protection & ~CLEAVE_PROT_WRITE);
	}
}

/* The change is visible and its leaves are locked: nobody maps anything there before this returns. */
static void translate(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		      enum cleave_map_translations what)
{
	struct cleave_space_thread *thread = cleave__space_calling_thread(cleave__space_of(ops));
	const struct cleave_space_ops *embedder = thread->space->ops;

	wait_pages(thread, map, start, end);
	switch (what) {
	case CLEAVE_MAP_REMOVE:
		embedder->remove(embedder, map, start, end);
		break;
	case CLEAVE_MAP_RESTRICT:
		restrict_range(thread, map, start, end);
		break;
	case CLEAVE_MAP_WRITE_PROTECT:
		lower(embedder, map, start, end, CLEAVE_PROT_READ | CLEAVE_PROT_EXEC);
		break;
	case CLEAVE_MAP_UNWIRE:
		cleave__space_unwire(ops, map, start, end);
		break;
	default: /* CLEAVE_MAP_SETTLE: the wait is all */
		break;
	}
}

/* ---- Clones ---- */

void cleave__space_protect_page(const struct cleave_space_ops *ops, uint64_t page)
{
	if (ops->protect_page)
		ops->protect_page(ops, page);
	else
		ops->remove_page(ops, page);
}

/*
 * Other maps that show a part of the store may write its pages; the parent is protected by its own addresses.  CLONING
 * keeps everybody from entering a page writable again.  A page that is being swapped out has lost its translations, or
 * is waited for by its guards, of which none is set.
 */
static void protect_range(struct cleave_space_thread *thread, struct cleave_anon *store, uint64_t first, uint64_t last)
{
	struct cleave_domain *domain = thread->space->domain;
	struct cleave_anon_context *context = thread->context;
	struct cleave_anon_visit visit;
	uint64_t slot = first;

	for (;;) {
		uint64_t page = 0;
		bool found;

		/* The guard keeps the page: who swaps it out waits for that. */
		domain->ops->enter(domain, thread->map.self);
		found = cleave_anon_next_rcu(store, &slot, &visit, 1) && visit.slot <= last;
		if (found) {
			cleave__guard_set(&context->guard, NULL, store, visit.slot, visit.slot, visit.slot);
			if (!cleave_anon_in_transit_rcu(context, visit.anon))
				page = cleave_anon_page_content(visit.anon);
			if (page && !CLEAVE_ANON_IS_SWAPPED(page))
				cleave__space_protect_page(thread->space->ops, page);
			cleave__guard_clear(&context->domain->guards, &context->guard);
		}
		domain->ops->leave(domain, thread->map.self);
		if (!found)
			return;
	}
}

static void protect_shared(struct cleave_space_thread *thread, struct cleave_anon *store)
{
	struct cleave_domain *domain = thread->space->domain;
	struct cleave_cursor cursor;
	struct cleave_visit visit;
	bool found;

	cleave_cursor_init(&cursor, &store->windows, 0, false);
	do {
		uint64_t n = 0;

		domain->ops->enter(domain, thread->map.self);
		found = cleave_next_rcu(&cursor, &visit, 1);
		if (found)
			n = cleave_anon_windows_rcu(store, visit.first);
		domain->ops->leave(domain, thread->map.self);
		if (n > 1)
			protect_range(thread, store, visit.first, visit.last);
	} while (found);
}

static void *make_array(const struct cleave_space *space, size_t n)
{
	return space->domain->memory->alloc(space->domain->memory, n * sizeof(void *), 16);
}

static void free_array(const struct cleave_space *space, void *array, size_t n)
{
	if (array)
		space->domain->memory->free(space->domain->memory, array, n * sizeof(void *));
}

static int clone_stores(const struct cleave_map_ops *ops, struct cleave_map *parent, void *const *stores, void **clones,
			size_t n)
{
	struct cleave_space *space = cleave__space_of(ops);
	struct cleave_space_thread *thread = cleave__space_calling_thread(space);
	struct cleave_anon **from = make_array(space, n), **to = make_array(space, n);
	int error = from && to ? 0 : -ENOMEM;

	(void)parent;
	for (size_t i = 0; !error && i < n; i++)
		from[i] = stores[i];
	if (!error)
		error = cleave_anon_clone_begin(thread->context, from, to, n);
	if (!error) {
		cleave_anon_clone_end(thread->context, from, to, n);
		for (size_t i = 0; i < n; i++) {
			protect_shared(thread, from[i]);
			clones[i] = to[i];
		}
	}
	free_array(space, from, n);
	free_array(space, to, n);
	return error;
}

static void clone_done(const struct cleave_map_ops *ops, struct cleave_map *parent, void *const *stores,
		       void *const *clones, size_t n)
{
	struct cleave_space_thread *thread = cleave__space_calling_thread(cleave__space_of(ops));

	(void)parent;
	for (size_t i = 0; i < n; i++) {
		struct cleave_anon *store = stores[i];

		cleave_anon_clone_done(thread->context, &store, 1);
	}
	/* Pages that the child does not show.  If that lacks memory they stay, unseen, until the clone ends. */
	for (size_t i = 0; i < n; i++)
		(void)cleave_anon_wipe_outside(thread->context, clones[i]);
}

/* ---- Life ---- */

static void release(const struct cleave_anon_ops *ops, uint64_t content)
{
	const struct cleave_space *space =
		(const struct cleave_space *)(const void *)((const char *)ops -
							    offsetof(struct cleave_space, anon_ops));

	if (!CLEAVE_ANON_IS_SWAPPED(content))
		space->ops->page_free(space->ops, content);
	else
		space->ops->token_free(space->ops, content);
}

void cleave_space_init(struct cleave_space *space, struct cleave_domain *domain, const struct cleave_space_ops *ops,
		       uint32_t page_shift)
{
	memset(space, 0, sizeof(*space));
	space->map_ops = (struct cleave_map_ops){
		.object_ref = object_ref,
		.object_unref = object_unref,
		.store_ref = store_ref,
		.store_unref = store_unref,
		.store_new = store_new,
		.window_add = cleave__space_window_add,
		.window_undo = cleave__space_window_undo,
		.window_reserve = cleave__space_window_reserve,
		.window_cancel = cleave__space_window_cancel,
		.window_drop = cleave__space_window_drop,
		.translate = translate,
		.wire = cleave__space_wire,
		.unwire = cleave__space_unwire,
		.clone = clone_stores,
		.copy_wired = cleave__space_copy_wired,
		.clone_done = clone_done,
		.clean = cleave__space_clean,
		.clean_done = cleave__space_clean_done,
		.random = ops->random ? random_number : NULL,
	};
	space->anon_ops.release = release;
	space->ops = ops;
	space->domain = domain;
	space->page_shift = page_shift;
	cleave_maps_init(&space->maps, domain, &space->map_ops);
	cleave_anon_domain_init(&space->anons, domain, &space->anon_ops);
}

void cleave_space_exit(struct cleave_space *space)
{
	cleave_anon_domain_exit(&space->anons);
}

int cleave_space_thread_init(struct cleave_space_thread *thread, struct cleave_space *space, struct cleave_thread *self)
{
	memset(thread, 0, sizeof(*thread));
	thread->space = space;
	thread->context = cleave_anon_context_open(&space->anons, self);
	if (!thread->context)
		return -ENOMEM;
	cleave_map_thread_init(&thread->map, &space->maps, self);
	return 0;
}

void cleave_space_flush(struct cleave_space_thread *thread)
{
	cleave_map_thread_flush(&thread->map, true); /* drops stores */
	cleave__space_work_late(thread, false);
	cleave_anon_flush(thread->context);
}

void cleave_space_thread_exit(struct cleave_space_thread *thread)
{
	const struct cleave_memory *memory = thread->space->domain->memory;

	cleave_map_thread_exit(&thread->map);
	cleave__space_work_late(thread, false);
	cleave__space_work_late(thread, true);
	if (thread->spare)
		cleave_anon_page_drop(thread->context, thread->spare);
	cleave_anon_context_close(thread->context);
	if (thread->late)
		memory->free(memory, thread->late, thread->capacity * sizeof(*thread->late));
}
