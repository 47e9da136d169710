/* SPDX-License-Identifier: ISC */
/*
 * Fork and extract: what two maps have in common.
 *
 * Fork is one transaction on the whole parent.  Stores are cloned, once each; the child is built while nobody can reach
 * it; the parent changes only where memory that is to be shared has no store yet.
 */
#include "map.h"

/* ---- The table of stores ---- */

struct stores {
	const struct cleave_memory *memory;
	void **originals; /* in the order in which they were met */
	void **clones;
	uint32_t *table; /* hash of an original -> its index + 1; 0: free */
	size_t n;
	size_t room; /* a power of two */
	bool cloned;
};

static size_t place(const struct stores *stores, const void *store)
{
	size_t i = (size_t)(((uint64_t)(uintptr_t)store * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (2 * stores->room - 1);

	while (stores->table[i] && stores->originals[stores->table[i] - 1] != store)
		i = (i + 1) & (2 * stores->room - 1);
	return i;
}

static void free_stores(struct stores *stores)
{
	const struct cleave_memory *memory = stores->memory;

	if (stores->originals)
		memory->free(memory, stores->originals, stores->room * sizeof(void *));
	if (stores->clones)
		memory->free(memory, stores->clones, stores->room * sizeof(void *));
	if (stores->table)
		memory->free(memory, stores->table, 2 * stores->room * sizeof(uint32_t));
	stores->originals = stores->clones = NULL;
	stores->table = NULL;
}

static int make_stores(struct stores *stores, size_t most)
{
	const struct cleave_memory *memory = stores->memory;

	for (stores->room = 4; stores->room < most; stores->room *= 2)
		;
	stores->originals = memory->alloc(memory, stores->room * sizeof(void *), 16);
	stores->clones = memory->alloc(memory, stores->room * sizeof(void *), 16);
	stores->table = memory->alloc(memory, 2 * stores->room * sizeof(uint32_t), 16);
	if (!stores->originals || !stores->clones || !stores->table)
		return -ENOMEM; /* the caller frees */
	memset(stores->table, 0, 2 * stores->room * sizeof(uint32_t));
	return 0;
}

static void add_store(struct stores *stores, void *store)
{
	size_t i = place(stores, store);

	if (!stores->table[i]) {
		stores->originals[stores->n++] = store;
		stores->table[i] = (uint32_t)stores->n;
	}
}

static void *clone_of(const struct stores *stores, const void *store)
{
	return stores->clones[stores->table[place(stores, store)] - 1];
}

/* ---- Fork ---- */

struct fork {
	struct cleave_map_txn txn; /* on the parent */
	struct cleave_map *parent;
	struct cleave_map *child;
	struct cleave_map_thread *thread;
	const struct cleave_map_ops *ops;
	const struct cleave_memory *memory;
	struct stores stores;
	struct cleave_entry *entries; /* of the child */
	size_t n;
	size_t room;
	size_t nwindows; /* entries whose windows were added */
	struct cleave__map_object *last;
	struct cleave__map_bytes bytes;
};

/* Does the child get a clone of the store?  (A stackless, wired or shared parent makes no difference.) */
static bool is_cloned(const struct cleave__map_object *object)
{
	return cleave__map_is_entry(object) && object->attributes.store &&
	       object->attributes.inheritance == CLEAVE_INHERIT_COPY;
}

/* Memory to be shared must have its store before. */
static bool shares_nothing_yet(const struct cleave_map_ops *ops, const struct cleave__map_object *object)
{
	return object->attributes.inheritance == CLEAVE_INHERIT_SHARE &&
	       (object->attributes.flags & CLEAVE_MAP_NEEDS_COPY) && ops->store_new;
}

/* First look: the errors, how many entries, how many stores may be cloned. */
static int survey(struct fork *fork, size_t *nstores)
{
	const struct cleave_map_config *config = &fork->parent->config;
	struct cleave__map_view view;

	*nstores = 0;
	for (uint64_t addr = config->min; addr < config->max; addr = view.end) {
		uint32_t flags;

		cleave__map_view(&fork->txn, addr, &view);
		if (!view.object)
			continue;
		fork->room += 1;
		flags = view.object->attributes.flags;
		if ((flags & CLEAVE_MAP_SUBMAP) || ((flags & CLEAVE_MAP_NEEDS_COPY) && !(flags & CLEAVE_MAP_COW)))
			return -EINVAL;
		*nstores += is_cloned(view.object);
	}
	return 0;
}

/* Give a store to what the parent will share, and mark what it shares. */
static int prepare_parent(struct fork *fork)
{
	const struct cleave_map_config *config = &fork->parent->config;
	struct cleave__map_object *last = NULL;
	struct cleave__map_view view;
	int error = 0;

	for (uint64_t addr = config->min; !error && addr < config->max; addr = view.end) {
		struct cleave_map_attributes attributes;
		bool fresh = false;

		cleave__map_view(&fork->txn, addr, &view);
		if (!cleave__map_is_entry(view.object))
			continue;
		if (is_cloned(view.object))
			add_store(&fork->stores, view.object->attributes.store);
		attributes = view.object->attributes;
		if (shares_nothing_yet(fork->ops, view.object)) {
			error = fork->ops->store_new(fork->ops, (view.end - view.start) >> config->page_shift,
						     &attributes.store);
			if (error)
				break;
			attributes.store_delta = (uint64_t)0 - view.start;
			attributes.flags &= ~CLEAVE_MAP_NEEDS_COPY;
			fresh = true;
		}
		if (attributes.inheritance == CLEAVE_INHERIT_SHARE && attributes.store)
			attributes.flags |= CLEAVE_MAP_SHARED;
		if (!cleave__map_equal(&attributes, &view.object->attributes))
			error = cleave__map_stage_like(&fork->txn, view.start, view.end, &attributes, &last);
		if (fresh && fork->ops->store_unref) /* the object took its own */
			fork->ops->store_unref(fork->ops, attributes.store);
	}
	return error;
}

/* What the child's entry is like. */
static void inherit_attributes(const struct fork *fork, struct cleave_map_attributes *attributes)
{
	attributes->wired = 0;
	switch (attributes->inheritance) {
	case CLEAVE_INHERIT_COPY:
		attributes->flags &= ~CLEAVE_MAP_SHARED;
		if (attributes->store)
			attributes->store = clone_of(&fork->stores, attributes->store);
		else
			attributes->flags |= CLEAVE_MAP_NEEDS_COPY;
		attributes->flags |= CLEAVE_MAP_COW;
		break;
	case CLEAVE_INHERIT_ZERO:
		attributes->flags &= ~CLEAVE_MAP_SHARED;
		attributes->flags |= CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY;
		attributes->object = attributes->store = NULL;
		attributes->delta = attributes->store_delta = 0;
		break;
	default: /* SHARE: the same object and store */
		break;
	}
}

static int add_window(struct fork *fork, const struct cleave__map_view *view,
		      const struct cleave_map_attributes *attributes, bool wired)
{
	uint32_t shift = fork->parent->config.page_shift;
	uint64_t first = (view->start + attributes->store_delta) >> shift, n = (view->end - view->start) >> shift;
	int error;

	if (!attributes->store)
		return 0;
	error = fork->ops->window_add ? fork->ops->window_add(fork->ops, attributes->store, first, n) : 0;
	if (error)
		return error;
	/* Pages that are wired must not move to the child: it gets copies now. */
	if (wired && attributes->inheritance == CLEAVE_INHERIT_COPY && fork->ops->copy_wired) {
		error = fork->ops->copy_wired(fork->ops, attributes->store, first, n);
		if (error && fork->ops->window_undo)
			fork->ops->window_undo(fork->ops, attributes->store, first, n);
	}
	return error;
}

/* One entry of the child. */
static int copy_entry(struct fork *fork, const struct cleave__map_view *view)
{
	struct cleave_map_attributes attributes = view->object->attributes;
	struct cleave__map_object *object;
	uint64_t size = view->end - view->start;
	int error;

	if (attributes.inheritance == CLEAVE_INHERIT_NONE)
		return 0;
	inherit_attributes(fork, &attributes);
	object = cleave__map_object_like(fork->thread, &fork->last, &attributes);
	error = object ? add_window(fork, view, &attributes, view->object->attributes.wired != 0) : -ENOMEM;
	if (error) {
		if (object)
			cleave__map_object_discard(fork->thread, object);
		return error;
	}
	cleave__map_pages_add(object, size >> fork->parent->config.page_shift);
	fork->entries[fork->n++] = (struct cleave_entry){ view->start, view->end - 1, object };
	if (cleave__map_is_mapped(object))
		fork->bytes.size += size;
	fork->bytes.data += cleave__map_data(fork->parent, object, view->start, view->end);
	return 0;
}

/* Guards follow the layout of the child: NONE leaves gaps. */
static void copy_guards(struct fork *fork)
{
	const struct cleave_map_config *config = &fork->parent->config;
	uint64_t page = cleave__map_page(fork->parent);
	size_t n = fork->n, at = 2 * n;

	if (!(config->flags & CLEAVE_MAP_GUARD_PAGES))
		return;
	/* From the top, so that entries move only upward: there is room for a guard after each. */
	for (size_t i = n; i--;) {
		uint64_t end = fork->entries[i].last + 1, next = i + 1 < n ? fork->entries[at].first : config->max;
		uint64_t size = next == end ? 0 : next - end == 2 * page ? 2 * page : page;

		if (size)
			fork->entries[--at] = (struct cleave_entry){ end, end + size - 1, cleave__map_guard_value() };
		fork->entries[--at] = fork->entries[i];
	}
	fork->n = 2 * n - at;
	for (size_t i = 0; i < fork->n; i++)
		fork->entries[i] = fork->entries[at + i];
}

static int copy_entries(struct fork *fork)
{
	const struct cleave_map_config *config = &fork->parent->config;
	struct cleave__map_view view;
	int error = 0;

	for (uint64_t addr = config->min; !error && addr < config->max; addr = view.end) {
		cleave__map_view(&fork->txn, addr, &view);
		if (cleave__map_is_entry(view.object))
			error = copy_entry(fork, &view);
	}
	if (!error)
		copy_guards(fork);
	return error;
}

static int clone_stores(struct fork *fork)
{
	struct stores *stores = &fork->stores;
	int error = 0;

	if (!stores->n)
		return 0;
	if (fork->ops->clone)
		error = fork->ops->clone(fork->ops, fork->parent, stores->originals, stores->clones, stores->n);
	else
		for (size_t i = 0; i < stores->n; i++)
			stores->clones[i] = stores->originals[i]; /* stores of an embedder that does not fork them */
	stores->cloned = !error;
	return error;
}

/* Before `clone_done`: nobody may write in place what the child shows. */
static void protect_parent(struct fork *fork)
{
	const struct cleave_map_config *config = &fork->parent->config;
	struct cleave__map_view view;

	if (!fork->ops->translate)
		return;
	for (uint64_t addr = config->min; addr < config->max; addr = view.end) {
		cleave__map_view(&fork->txn, addr, &view);
		if (is_cloned(view.object) && (view.object->attributes.max_protection & CLEAVE_PROT_WRITE))
			fork->ops->translate(fork->ops, fork->parent, view.start, view.end, CLEAVE_MAP_WRITE_PROTECT);
	}
}

/* The clones' own references: each object of the child has one besides. */
static void release_clones(struct fork *fork)
{
	struct stores *stores = &fork->stores;

	if (fork->ops->clone_done)
		fork->ops->clone_done(fork->ops, fork->parent, stores->originals, stores->clones, stores->n);
	if (fork->ops->clone && fork->ops->store_unref)
		for (size_t i = 0; i < stores->n; i++)
			fork->ops->store_unref(fork->ops, stores->clones[i]);
}

static void undo_entries(struct fork *fork)
{
	uint32_t shift = fork->parent->config.page_shift;

	for (size_t i = 0; i < fork->n; i++) {
		const struct cleave_entry *entry = &fork->entries[i];
		struct cleave__map_object *object = entry->value;
		uint64_t n = (entry->last - entry->first + 1) >> shift;

		if (cleave__map_is_guard(object))
			continue;
		if (object->attributes.store && fork->ops->window_undo)
			fork->ops->window_undo(fork->ops, object->attributes.store,
					       (entry->first + object->attributes.store_delta) >> shift, n);
		cleave__map_pages_drop(fork->thread, object, n);
	}
}

static int fork_locked(struct fork *fork)
{
	size_t nstores;
	int error = survey(fork, &nstores);

	if (!error)
		error = make_stores(&fork->stores, nstores);
	if (error)
		return error;
	if (fork->parent->config.flags & CLEAVE_MAP_GUARD_PAGES)
		fork->room *= 2;
	fork->entries = fork->memory->alloc(fork->memory, (fork->room + 1) * sizeof(*fork->entries), 16);
	if (!fork->entries)
		return -ENOMEM;
	error = prepare_parent(fork);
	if (!error)
		error = cleave_map_prepare(&fork->txn);
	if (!error)
		error = clone_stores(fork);
	if (!error)
		error = copy_entries(fork);
	if (!error)
		error = cleave_build(&fork->child->index, fork->thread->self, fork->entries, fork->n);
	if (!error)
		protect_parent(fork);
	if (error)
		undo_entries(fork);
	if (fork->stores.cloned)
		release_clones(fork);
	return error;
}

int cleave_map_fork(struct cleave_map *parent, struct cleave_map_thread *thread, struct cleave_map *child)
{
	struct cleave_map_config config = parent->config;
	struct fork fork = { .parent = parent,
			     .child = child,
			     .thread = thread,
			     .ops = cleave__map_ops(parent),
			     .memory = parent->maps->domain->memory,
			     .stores = { .memory = parent->maps->domain->memory } };
	int error;

	config.size_limit = PORT_LOAD(&parent->size_limit, PORT_RELAXED);
	config.data_limit = PORT_LOAD(&parent->data_limit, PORT_RELAXED);
	error = cleave__map_setup(child, thread, &config);
	if (error)
		return error;
	child->cookie = parent->cookie;
	PORT_FETCH_ADD(&parent->hold_wirings, 1, PORT_RELAXED);
	error = cleave__map_begin(&fork.txn, parent, thread, config.min, config.max, 0);
	PORT_FETCH_ADD(&parent->hold_wirings, (uint32_t)-1, PORT_RELAXED);
	cleave__map_wake(parent);
	if (!error) {
		fork.txn.apart = true;
		error = fork_locked(&fork);
		if (!error) {
			PORT_STORE(&child->size, fork.bytes.size, PORT_RELAXED);
			PORT_STORE(&child->data, fork.bytes.data, PORT_RELAXED);
			cleave__map_credit(child, thread, fork.bytes.size, fork.bytes.data);
		}
		error = cleave__map_finish(&fork.txn, error);
	}
	if (fork.entries)
		fork.memory->free(fork.memory, fork.entries, (fork.room + 1) * sizeof(*fork.entries));
	free_stores(&fork.stores);
	if (error)
		cleave_destroy(&child->index, thread->self);
	return error;
}

/* ---- Extract ---- */

struct extract {
	struct cleave_map_txn from;
	struct cleave_map_txn to;
	uint64_t start;
	uint64_t end;
	uint64_t addr; /* in `to` */
	unsigned int flags;
};

/* Check the source, and give a store to what will be shared. */
static int extract_source(struct extract *extract)
{
	const struct cleave_map_ops *ops = cleave__map_ops(extract->from.map);
	struct cleave__map_object *last = NULL;
	struct cleave__map_view view;
	int error = 0;

	for (uint64_t addr = extract->start; addr < extract->end; addr = view.end) {
		cleave__map_view(&extract->from, addr, &view);
		if (!cleave__map_is_mapped(view.object) || (view.object->attributes.flags & CLEAVE_MAP_SUBMAP))
			return -EINVAL;
	}
	for (uint64_t addr = extract->start; !error && addr < extract->end; addr = view.end) {
		struct cleave_map_attributes attributes;
		bool fresh = false;

		cleave__map_view(&extract->from, addr, &view);
		if (view.end > extract->end)
			view.end = extract->end;
		attributes = view.object->attributes;
		if ((attributes.flags & CLEAVE_MAP_NEEDS_COPY) && ops->store_new) {
			error = ops->store_new(ops, (view.end - addr) >> extract->from.map->config.page_shift,
					       &attributes.store);
			if (error)
				return error;
			attributes.store_delta = (uint64_t)0 - addr;
			attributes.flags &= ~CLEAVE_MAP_NEEDS_COPY;
			fresh = true;
		}
		if (attributes.store)
			attributes.flags |= CLEAVE_MAP_SHARED;
		if (!cleave__map_equal(&attributes, &view.object->attributes))
			error = cleave__map_stage_like(&extract->from, addr, view.end, &attributes, &last);
		if (fresh && ops->store_unref)
			ops->store_unref(ops, attributes.store);
	}
	return error;
}

static int extract_entries(struct extract *extract)
{
	uint64_t shift = extract->addr - extract->start;
	struct cleave__map_object *last = NULL;
	struct cleave__map_view view;
	int error = 0;

	for (uint64_t addr = extract->start; !error && addr < extract->end; addr = view.end) {
		struct cleave_map_attributes attributes;

		cleave__map_view(&extract->from, addr, &view);
		if (view.end > extract->end)
			view.end = extract->end;
		attributes = view.object->attributes;
		attributes.wired = 0;
		if (attributes.object)
			attributes.delta -= shift;
		if (attributes.store)
			attributes.store_delta -= shift;
		if (extract->flags & CLEAVE_EXTRACT_FIXPROT)
			attributes.protection = attributes.max_protection;
		attributes.protection &= (uint8_t)~CLEAVE_PROT_EXEC;
		error = cleave__map_stage_like(&extract->to, addr + shift, view.end + shift, &attributes, &last);
	}
	extract->to.layout = true;
	return error;
}

/* Both maps in the order of their numbers. */
static int begin_both(struct extract *extract, struct cleave_map *from, struct cleave_map *to,
		      struct cleave_map_thread *thread)
{
	uint64_t size = extract->end - extract->start;
	bool source_first = from->number < to->number;
	struct cleave_map_txn *first = source_first ? &extract->from : &extract->to;
	int error = 0;

	for (int turn = 0; !error && turn < 2; turn++) {
		if ((turn == 0) == source_first)
			error = cleave__map_begin(&extract->from, from, thread, extract->start, extract->end, 0);
		else
			error = cleave__map_begin(&extract->to, to, thread, extract->addr, extract->addr + size, 0);
		if (error && turn == 1)
			cleave_map_abort(first);
	}
	return error;
}

int cleave_map_extract(struct cleave_map *from, struct cleave_map_thread *thread, uint64_t start, uint64_t len,
		       struct cleave_map *to, unsigned int flags, uint64_t *addr)
{
	struct cleave_map_request request = { .size = len };
	struct extract extract = { .start = start, .end = start + len, .flags = flags };
	struct cleave__map_view view;
	int error;

	if (from == to || from->maps != to->maps || from->config.page_shift != to->config.page_shift ||
	    len > UINT64_MAX - start || !cleave__map_aligned(from, start) || !cleave__map_aligned(from, len) ||
	    start < from->config.min || start + len > from->config.max || (flags & ~CLEAVE_EXTRACT_FIXPROT))
		return -EINVAL;
	if (len == 0)
		return 0;
	if (!cleave_map_check_protection(from, thread, start, start + len, CLEAVE_PROT_NONE))
		return -EINVAL;
	for (;;) {
		error = cleave_map_find_space(to, thread, &request, &extract.addr);
		if (!error)
			error = begin_both(&extract, from, to, thread);
		if (error)
			return error;
		cleave__map_view(&extract.to, extract.addr, &view);
		if (!view.object && view.end - extract.addr >= len)
			break;
		cleave_map_abort(&extract.to); /* taken meanwhile */
		cleave_map_abort(&extract.from);
	}
	error = extract_source(&extract);
	if (!error)
		error = cleave_map_prepare(&extract.from);
	if (!error)
		error = extract_entries(&extract);
	if (!error)
		error = cleave_map_prepare(&extract.to);
	if (error) {
		cleave_map_abort(&extract.to);
		cleave_map_abort(&extract.from);
		return error;
	}
	(void)cleave_map_commit(&extract.from);
	(void)cleave_map_commit(&extract.to);
	*addr = extract.addr;
	return 0;
}
