/* SPDX-License-Identifier: ISC */
#include "map_world.h"

static struct embedder *embedder_of(const struct cleave_map_ops *ops)
{
	return (struct embedder *)(uintptr_t)ops;
}

/* ---- Things ---- */

struct thing *thing_new(struct embedder *embedder)
{
	struct thing *thing = calloc(1, sizeof(*thing));

	CHECK(thing != NULL, "memory");
	thing->refs.word = 1;
	__atomic_fetch_add(&embedder->live.word, 1, __ATOMIC_RELAXED);
	return thing;
}

void thing_ref(struct thing *thing)
{
	CHECK(__atomic_fetch_add(&thing->refs.word, 1, __ATOMIC_RELAXED) > 0, "a reference to what is dead");
}

void thing_unref(struct embedder *embedder, struct thing *thing)
{
	uint64_t was = __atomic_fetch_sub(&thing->refs.word, 1, __ATOMIC_ACQ_REL);

	CHECK(was > 0, "more references dropped than taken");
	if (was > 1)
		return;
	CHECK(__atomic_fetch_sub(&embedder->live.word, 1, __ATOMIC_RELAXED) > 0, "more ends than beginnings");
	for (uint64_t i = 0; thing->windows && i < thing->pages; i++)
		CHECK(thing->windows[i] == 0, "a store ends with a window on page %llu", (unsigned long long)i);
	/* Single-threaded tests keep dead stores, so that a use after the end is seen; the others free at once. */
	if (!embedder->counted) {
		free(thing->windows);
		free(thing);
	} else if (!thing->pages) {
		free(thing);
	}
}

uint64_t thing_refs(const struct thing *thing)
{
	return __atomic_load_n(&thing->refs.word, __ATOMIC_RELAXED);
}

static bool fails(struct embedder *embedder)
{
	if (embedder->fail_after == GRANT_ALL)
		return false;
	if (embedder->fail_after == 0) {
		embedder->failures++;
		return true;
	}
	embedder->fail_after--;
	return false;
}

static struct thing *new_store(struct embedder *embedder, uint64_t pages)
{
	struct thing *store = thing_new(embedder);

	store->pages = pages;
	if (embedder->counted) {
		store->windows = calloc(pages, sizeof(*store->windows));
		CHECK(store->windows != NULL, "memory");
		store->next = embedder->stores;
		embedder->stores = store;
	}
	return store;
}

/* ---- Operations ---- */

static void object_ref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)flags;
	thing_ref(object);
}

static void object_unref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)flags;
	thing_unref(embedder_of(ops), object);
}

static void store_ref(const struct cleave_map_ops *ops, void *store)
{
	(void)ops;
	thing_ref(store);
}

static void store_unref(const struct cleave_map_ops *ops, void *store)
{
	thing_unref(embedder_of(ops), store);
}

static int store_new(const struct cleave_map_ops *ops, uint64_t n, void **store)
{
	CHECK(n > 0, "an empty store");
	if (fails(embedder_of(ops)))
		return -ENOMEM;
	*store = new_store(embedder_of(ops), n);
	return 0;
}

static void check_window(const struct thing *store, uint64_t first, uint64_t n)
{
	CHECK(thing_refs(store) > 0, "a window on a store that is gone");
	CHECK(n > 0 && first < store->pages && n <= store->pages - first, "window %llu + %llu of %llu pages",
	      (unsigned long long)first, (unsigned long long)n, (unsigned long long)store->pages);
}

static int window_add(const struct cleave_map_ops *ops, void *argument, uint64_t first, uint64_t n)
{
	struct thing *store = argument;

	check_window(store, first, n);
	if (fails(embedder_of(ops)))
		return -ENOMEM;
	for (uint64_t i = first; store->windows && i < first + n; i++)
		store->windows[i]++;
	return 0;
}

static void window_take(struct thing *store, uint64_t first, uint64_t n)
{
	check_window(store, first, n);
	for (uint64_t i = first; store->windows && i < first + n; i++)
		CHECK(store->windows[i]-- > 0, "no window on page %llu", (unsigned long long)i);
}

static void window_undo(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n)
{
	(void)ops;
	window_take(store, first, n);
}

static int window_reserve(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n)
{
	struct embedder *embedder = embedder_of(ops);

	check_window(store, first, n);
	if (fails(embedder))
		return -ENOMEM;
	__atomic_fetch_add(&embedder->promised, n, __ATOMIC_RELAXED);
	return 0;
}

static void window_cancel(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n)
{
	check_window(store, first, n);
	CHECK(__atomic_fetch_sub(&embedder_of(ops)->promised, n, __ATOMIC_RELAXED) >= n, "no promise to cancel");
}

static void window_drop(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n)
{
	struct embedder *embedder = embedder_of(ops);

	window_take(store, first, n);
	if (!embedder->destroying)
		CHECK(__atomic_fetch_sub(&embedder->promised, n, __ATOMIC_RELAXED) >= n, "a drop without a promise");
}

static void translate(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		      enum cleave_map_translations what)
{
	struct embedder *embedder = embedder_of(ops);
	struct watched *watched = embedder_watched(embedder, map);

	CHECK(start < end, "an empty range");
	if (what == CLEAVE_MAP_SETTLE || what == CLEAVE_MAP_UNWIRE)
		return;
	__atomic_fetch_add(what == CLEAVE_MAP_REMOVE	 ? &embedder->removals
			   : what == CLEAVE_MAP_RESTRICT ? &embedder->restrictions
							 : &embedder->write_protections,
			   1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; watched && i < EMBEDDER_PAGES; i++) {
		uint64_t addr = watched->base + i * PAGE;

		if (addr < start || addr >= end)
			continue;
		if (what == CLEAVE_MAP_WRITE_PROTECT)
			watched->translations[i].protection &= (uint8_t)~CLEAVE_PROT_WRITE;
		else
			watched->translations[i].present = false;
	}
}

static int wire(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		unsigned int protection)
{
	struct embedder *embedder = embedder_of(ops);
	struct watched *watched = embedder_watched(embedder, map);

	CHECK(protection != 0, "wiring what is not accessible");
	if (embedder->bad_page >= start && embedder->bad_page < end)
		return -EIO;
	for (unsigned int i = 0; watched && i < EMBEDDER_PAGES; i++) {
		uint64_t addr = watched->base + i * PAGE;

		if (addr < start || addr >= end)
			continue;
		CHECK(!watched->wired[i], "page %u is wired already", i);
		watched->wired[i] = true;
	}
	return 0;
}

static void unwire(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	struct watched *watched = embedder_watched(embedder_of(ops), map);

	for (unsigned int i = 0; watched && i < EMBEDDER_PAGES; i++) {
		uint64_t addr = watched->base + i * PAGE;

		if (addr < start || addr >= end)
			continue;
		CHECK(watched->wired[i], "page %u is not wired", i);
		watched->wired[i] = false;
	}
}

static int clone_stores(const struct cleave_map_ops *ops, struct cleave_map *parent, void *const *stores, void **clones,
			size_t n)
{
	struct embedder *embedder = embedder_of(ops);

	(void)parent;
	if (fails(embedder))
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct thing *store = stores[i], *clone;

		CHECK(!embedder->counted || !store->cloning, "a store is cloned twice by one fork");
		clone = new_store(embedder, store->pages);
		if (embedder->counted) {
			store->cloning = true;
			clone->origin = store;
		}
		clones[i] = clone;
		__atomic_fetch_add(&embedder->clones, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

static int copy_wired(const struct cleave_map_ops *ops, void *clone, uint64_t first, uint64_t n)
{
	struct embedder *embedder = embedder_of(ops);

	check_window(clone, first, n);
	if (fails(embedder))
		return -ENOMEM;
	__atomic_fetch_add(&embedder->copied, n, __ATOMIC_RELAXED);
	return 0;
}

static void clone_done(const struct cleave_map_ops *ops, struct cleave_map *parent, void *const *stores,
		       void *const *clones, size_t n)
{
	(void)parent;
	(void)clones;
	for (size_t i = 0; embedder_of(ops)->counted && i < n; i++) {
		struct thing *store = stores[i];

		CHECK(store->cloning, "not being cloned");
		store->cloning = false;
	}
}

static int clean(const struct cleave_map_ops *ops, struct cleave_map *map, const struct cleave_map_entry *entry,
		 unsigned int flags)
{
	struct embedder *embedder = embedder_of(ops);

	(void)map;
	(void)flags;
	if (embedder->bad_page >= entry->start && embedder->bad_page < entry->end)
		return -EIO;
	embedder->cleaned += (entry->end - entry->start) / PAGE;
	return 0;
}

static uint64_t random_number(const struct cleave_map_ops *ops)
{
	return ++embedder_of(ops)->random * UINT64_C(0x9e3779b97f4a7c15) >> 20;
}

void embedder_init(struct embedder *embedder)
{
	*embedder = (struct embedder){
		.ops = { .object_ref = object_ref,
			 .object_unref = object_unref,
			 .store_ref = store_ref,
			 .store_unref = store_unref,
			 .store_new = store_new,
			 .window_add = window_add,
			 .window_undo = window_undo,
			 .window_reserve = window_reserve,
			 .window_cancel = window_cancel,
			 .window_drop = window_drop,
			 .translate = translate,
			 .wire = wire,
			 .unwire = unwire,
			 .clone = clone_stores,
			 .copy_wired = copy_wired,
			 .clone_done = clone_done,
			 .clean = clean,
			 .random = random_number },
		.counted = true,
		.fail_after = GRANT_ALL,
	};
}

void embedder_stop(struct embedder *embedder)
{
	struct thing *store;

	CHECK(embedder->live.word == 0, "%llu objects or stores are still referred to",
	      (unsigned long long)embedder->live.word);
	CHECK(embedder->promised == 0, "promises are left over");
	while ((store = embedder->stores) != NULL) {
		embedder->stores = store->next;
		free(store->windows);
		free(store);
	}
}

void embedder_watch(struct embedder *embedder, struct cleave_map *map, uint64_t base)
{
	struct watched *watched = embedder_watched(embedder, NULL);

	CHECK(watched != NULL, "too many maps");
	memset(watched, 0, sizeof(*watched));
	watched->map = map;
	watched->base = base;
}

void embedder_forget(struct embedder *embedder, const struct cleave_map *map)
{
	struct watched *watched = embedder_watched(embedder, map);

	if (watched)
		watched->map = NULL;
}

struct watched *embedder_watched(struct embedder *embedder, const struct cleave_map *map)
{
	for (unsigned int i = 0; i < EMBEDDER_MAPS; i++)
		if (embedder->watched[i].map == map)
			return &embedder->watched[i];
	return NULL;
}

/* ---- One map, one thread ---- */

struct cleave_map_config solo_config(void)
{
	return (struct cleave_map_config){ .min = SOLO_BASE, .max = AT(SOLO_PAGES), .page_shift = 12 };
}

void solo_start(struct solo *solo, const struct cleave_map_config *config)
{
	struct cleave_map_config plain = solo_config();

	memset(solo, 0, sizeof(*solo));
	manual_start(&solo->domain, GRACE_LATE, NULL, UINT64_C(1) << 40);
	embedder_init(&solo->embedder);
	cleave_maps_init(&solo->maps, &solo->domain.domain, &solo->embedder.ops);
	cleave_map_thread_init(&solo->thread, &solo->maps, &solo->domain.self);
	CHECK(cleave_map_init(&solo->map, &solo->thread, config ? config : &plain) == 0, "map");
	embedder_watch(&solo->embedder, &solo->map, SOLO_BASE);
}

void solo_stop(struct solo *solo)
{
	solo_check(solo);
	solo_destroy(solo, &solo->map);
	cleave_map_thread_exit(&solo->thread);
	embedder_stop(&solo->embedder);
	manual_stop(&solo->domain);
}

void solo_destroy(struct solo *solo, struct cleave_map *map)
{
	solo->embedder.destroying = true;
	cleave_map_destroy(map, &solo->thread);
	solo->embedder.destroying = false;
}

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	fprintf(stderr, "\t%s\n", text);
}

void solo_check(struct solo *solo)
{
	struct cleave_lines lines = { print_line };
	size_t violations = cleave_map_verify(&solo->map, &solo->thread, &lines);

	CHECK(violations == 0, "%zu violations", violations);
}

struct cleave_map_request request_fixed(unsigned int from, unsigned int to)
{
	return (struct cleave_map_request){ .addr = AT(from),
					    .size = AT(to) - AT(from),
					    .flags = CLEAVE_MAP_FIXED,
					    .entry_flags = CLEAVE_MAP_COW,
					    .protection = RW,
					    .max_protection = CLEAVE_PROT_ALL,
					    .inheritance = CLEAVE_INHERIT_COPY };
}

int solo_map(struct solo *solo, unsigned int from, unsigned int to)
{
	struct cleave_map_request request = request_fixed(from, to);

	return cleave_map_map(&solo->map, &solo->thread, &request);
}

bool solo_lookup_in(struct solo *solo, struct cleave_map *map, uint64_t addr, struct cleave_map_entry *entry)
{
	bool mapped;

	manual_enter(&solo->domain);
	mapped = cleave_map_lookup_rcu(map, addr, entry);
	manual_leave(&solo->domain);
	return mapped;
}

bool solo_lookup(struct solo *solo, unsigned int n, struct cleave_map_entry *entry)
{
	return solo_lookup_in(solo, &solo->map, AT(n), entry);
}

uint64_t map_entries(struct cleave_map *map, struct cleave_map_thread *thread)
{
	struct cleave_map_accounts accounts;

	cleave_map_account(map, thread, &accounts);
	return accounts.entries;
}

uint64_t solo_entries(struct solo *solo)
{
	return map_entries(&solo->map, &solo->thread);
}

const char *solo_text(struct solo *solo)
{
	static char text[4096];
	struct cleave_map_entry entries[SOLO_PAGES + 8];
	uint64_t from = 0;
	size_t n = SOLO_PAGES + 8, length = 0;

	CHECK(cleave_map_snapshot(&solo->map, &solo->thread, &from, entries, &n) == 0, "snapshot");
	text[0] = 0;
	for (size_t i = 0; i < n; i++) {
		const struct cleave_map_attributes *attributes = &entries[i].attributes;

		if (entries[i].start == entries[i].end)
			continue;
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%llu-%llu:%s%s%s%s%s%s",
					   length ? " " : "", (unsigned long long)(entries[i].start - SOLO_BASE) / PAGE,
					   (unsigned long long)(entries[i].end - SOLO_BASE) / PAGE,
					   attributes->protection & CLEAVE_PROT_READ ? "r" : "-",
					   attributes->protection & CLEAVE_PROT_WRITE ? "w" : "-",
					   attributes->protection & CLEAVE_PROT_EXEC ? "x" : "-",
					   attributes->wired ? "W" : "",
					   attributes->flags & CLEAVE_MAP_IMMUTABLE ? "I" : "",
					   attributes->flags & CLEAVE_MAP_HOLE ? "H" : "");
	}
	return text;
}

/* ---- Pictures ---- */

void picture_take(struct picture *picture, struct cleave_map *map, struct cleave_map_thread *thread)
{
	uint64_t from = 0;
	size_t room = 1024;

	for (;;) {
		picture->entries = malloc(room * sizeof(*picture->entries));
		picture->n = room;
		CHECK(picture->entries != NULL, "memory");
		from = 0;
		if (cleave_map_snapshot(map, thread, &from, picture->entries, &picture->n) == 0)
			break;
		free(picture->entries);
		room *= 4;
	}
	cleave_map_account(map, thread, &picture->accounts);
}

static bool same_attributes(const struct cleave_map_attributes *one, const struct cleave_map_attributes *other)
{
	return one->object == other->object && one->delta == other->delta && one->store == other->store &&
	       one->store_delta == other->store_delta && one->flags == other->flags && one->wired == other->wired &&
	       one->protection == other->protection && one->max_protection == other->max_protection &&
	       one->inheritance == other->inheritance && one->advice == other->advice;
}

bool picture_equal(const struct picture *one, const struct picture *other)
{
	if (one->n != other->n || memcmp(&one->accounts, &other->accounts, sizeof(one->accounts)) != 0)
		return false;
	for (size_t i = 0; i < one->n; i++) {
		const struct cleave_map_entry *a = &one->entries[i], *b = &other->entries[i];

		if (a->start != b->start || a->end != b->end || a->guard != b->guard || a->fspace != b->fspace ||
		    a->version != b->version || !same_attributes(&a->attributes, &b->attributes))
			return false;
	}
	return true;
}

void picture_free(struct picture *picture)
{
	free(picture->entries);
}
