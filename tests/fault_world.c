/* SPDX-License-Identifier: ISC */
#include "fault_world.h"

#define LOCK (UINT64_C(1) << 63)
#define HELD UINT64_C(8) /* beside the protection */

_Thread_local struct cleave_space_thread *fault_self;

static struct fault_world *world_of(const struct cleave_space_ops *ops)
{
	return (struct fault_world *)(uintptr_t)ops;
}

static struct cleave_space_thread *current(const struct cleave_space_ops *ops)
{
	(void)ops;
	CHECK(fault_self != NULL, "a thread without a record");
	return fault_self;
}

static bool fails(struct fault_world *world)
{
	uint64_t left = __atomic_load_n(&world->fail_after.word, __ATOMIC_RELAXED);

	if (left == GRANT_ALL)
		return false;
	do {
		if (left == 0) {
			__atomic_fetch_add(&world->failures.word, 1, __ATOMIC_RELAXED);
			return true;
		}
	} while (!__atomic_compare_exchange_n(&world->fail_after.word, &left, left - 1, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return false;
}

static void check_guarded(void)
{
	CHECK(__atomic_load_n(&fault_self->context->guard.word.word, __ATOMIC_RELAXED) & 1, "called without a guard");
}

static void check_unguarded(void)
{
	CHECK(!(__atomic_load_n(&fault_self->context->guard.word.word, __ATOMIC_RELAXED) & 1), "called under a guard");
}

/* ---- Pages ---- */

static struct sim_page *page_at(struct fault_world *world, uint64_t page)
{
	CHECK((page & 1) == 0 && page >= 2 && page / 2 < world->npages, "page %llu was never made", LL(page));
	return &world->pages[page / 2];
}

static uint64_t load(struct cleave_word *word)
{
	return __atomic_load_n(&word->word, __ATOMIC_ACQUIRE);
}

static void store(struct cleave_word *word, uint64_t value)
{
	__atomic_store_n(&word->word, value, __ATOMIC_RELEASE);
}

static void add(struct cleave_word *word, uint64_t value)
{
	__atomic_fetch_add(&word->word, value, __ATOMIC_ACQ_REL);
}

static uint64_t take(struct fault_world *world, enum sim_state state, uint64_t value)
{
	uint32_t number;

	pthread_mutex_lock(&world->lock);
	number = world->free;
	if (number)
		world->free = world->pages[number].next;
	pthread_mutex_unlock(&world->lock);
	if (!number)
		return 0;
	CHECK(load(&world->pages[number].state) == SIM_FREE, "a page is given out twice");
	store(&world->pages[number].value, value);
	store(&world->pages[number].active, 1);
	store(&world->pages[number].state, state);
	add(&world->live, 1);
	if (load(&world->live) > load(&world->peak))
		store(&world->peak, load(&world->live));
	return 2 * (uint64_t)number;
}

static void give(struct fault_world *world, uint64_t page, enum sim_state state)
{
	struct sim_page *at = page_at(world, page);

	CHECK(load(&at->state) == state, "page %llu is freed in state %llu", LL(page), LL(load(&at->state)));
	CHECK(load(&at->mapped) == 0, "page %llu is freed while %llu addresses show it", LL(page),
	      LL(load(&at->mapped)));
	CHECK(load(&at->wired) == 0, "page %llu is freed while it is wired", LL(page));
	pthread_mutex_lock(&at->lock);
	at->anon = NULL;
	pthread_mutex_unlock(&at->lock);
	store(&at->value, SIM_POISON);
	store(&at->state, SIM_FREE);
	add(&world->live, UINT64_MAX);
	pthread_mutex_lock(&world->lock);
	at->next = world->free;
	world->free = (uint32_t)(page / 2);
	pthread_mutex_unlock(&world->lock);
}

static uint64_t page_get(const struct cleave_space_ops *ops)
{
	check_unguarded();
	return fails(world_of(ops)) ? 0 : take(world_of(ops), SIM_LIVE, 0);
}

static void page_free(const struct cleave_space_ops *ops, uint64_t page)
{
	check_unguarded();
	give(world_of(ops), page, SIM_LIVE);
}

static void page_copy(const struct cleave_space_ops *ops, uint64_t from, uint64_t to)
{
	struct fault_world *world = world_of(ops);
	uint64_t value = load(&page_at(world, from)->value);

	CHECK(value != SIM_POISON, "a page that was freed is copied");
	CHECK(load(&page_at(world, from)->state) != SIM_FREE, "a free page is copied");
	store(&page_at(world, to)->value, value);
	add(&world->copied, 1);
}

/* ---- Page tables ---- */

static struct sim_table *table_of(struct fault_world *world, const struct cleave_map *map)
{
	for (unsigned int i = 0; i < SIM_TABLES; i++)
		if (__atomic_load_n(&world->tables[i].map, __ATOMIC_ACQUIRE) == map)
			return &world->tables[i];
	check_failed(__FILE__, __LINE__, "table", "a map without a page table");
}

static struct cleave_word *entry_of(struct sim_table *table, uint64_t addr)
{
	uint64_t number = (addr - table->base) / PAGE;

	CHECK(addr >= table->base && number < table->n, "address %#llx is outside of its page table", LL(addr));
	return &table->entries[number];
}

static uint64_t lock_entry(struct cleave_word *entry)
{
	uint64_t seen;

	for (;;) {
		seen = __atomic_load_n(&entry->word, __ATOMIC_RELAXED) & ~LOCK;
		if (__atomic_compare_exchange_n(&entry->word, &seen, seen | LOCK, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return seen;
	}
}

static void unlock_entry(struct cleave_word *entry, uint64_t value)
{
	__atomic_store_n(&entry->word, value, __ATOMIC_RELEASE);
}

/* What a translation shows; after a removal of all of them. */
static uint64_t shown(uint64_t entry)
{
	return entry >> 4;
}

/* A translation goes. */
static void let_go(struct fault_world *world, uint64_t old)
{
	if (!shown(old))
		return;
	if (old & HELD)
		add(&world->pages[shown(old)].wired, UINT64_MAX);
	add(&world->pages[shown(old)].mapped, UINT64_MAX);
}

static int enter(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t addr, uint64_t page,
		 struct cleave_anon_page *anon, unsigned int protection, unsigned int flags)
{
	struct fault_world *world = world_of(ops);
	struct sim_table *table = table_of(world, map);
	struct cleave_word *entry = entry_of(table, addr);
	struct sim_page *at = page_at(world, page);
	uint64_t old, state, held = 0;

	check_guarded();
	CHECK(protection != 0 && protection < 8, "protection %u", protection);
	if (fails(world))
		return -EAGAIN;
	state = load(&at->state);
	CHECK(state == SIM_LIVE || ((state == SIM_OBJECT || state == SIM_ZERO) && !anon),
	      "page %llu, state %llu, is entered", LL(page), LL(state));
	CHECK(state != SIM_ZERO || !(protection & CLEAVE_PROT_WRITE), "the zero page is entered writable");
	if (anon) {
		pthread_mutex_lock(&at->lock);
		at->anon = anon;
		pthread_mutex_unlock(&at->lock);
	}
	old = lock_entry(entry);
	if (table->may_enter)
		CHECK(table->may_enter(table->context, (addr - table->base) / PAGE, protection),
		      "address %#llx may not show a page as %u", LL(addr), protection);
	if (shown(old) && (flags & CLEAVE_ENTER_AHEAD)) {
		unlock_entry(entry, old);
		return 0;
	}
	if ((flags & CLEAVE_ENTER_WIRED) || ((old & HELD) && shown(old) == page / 2))
		held = HELD;
	if (held)
		add(&at->wired, 1);
	let_go(world, old);
	add(&at->mapped, 1);
	CHECK(load(&at->state) == state, "a page changes while it is entered");
	unlock_entry(entry, page / 2 << 4 | held | protection);
	add(&world->enters, 1);
	return 0;
}

static void remove_entry(struct fault_world *world, struct cleave_word *entry)
{
	uint64_t old;

	if (!(__atomic_load_n(&entry->word, __ATOMIC_ACQUIRE)))
		return;
	old = lock_entry(entry);
	let_go(world, old);
	unlock_entry(entry, 0);
}

static void remove_range(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	struct fault_world *world = world_of(ops);
	struct sim_table *table = table_of(world, map);
	uint64_t low = start > table->base ? (start - table->base) / PAGE : 0;
	uint64_t high = end > table->base ? (end - table->base) / PAGE : 0;

	CHECK(start < end, "an empty range");
	add(&world->removes, 1);
	for (uint64_t i = low; i < high && i < table->n; i++)
		remove_entry(world, &table->entries[i]);
}

static void protect_entry(struct cleave_word *entry, unsigned int protection)
{
	uint64_t old = lock_entry(entry);

	unlock_entry(entry, old & (~UINT64_C(15) | HELD | protection));
}

static void protect_range(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
			  unsigned int protection)
{
	struct sim_table *table = table_of(world_of(ops), map);
	uint64_t low = start > table->base ? (start - table->base) / PAGE : 0;
	uint64_t high = end > table->base ? (end - table->base) / PAGE : 0;

	CHECK(start < end && protection != 0, "nothing to protect");
	for (uint64_t i = low; i < high && i < table->n; i++)
		protect_entry(&table->entries[i], protection);
}

/* All addresses that show a page; a kernel would keep a list. */
static void each_of(struct fault_world *world, uint64_t page, bool remove)
{
	if (load(&page_at(world, page)->mapped) == 0)
		return;
	pthread_mutex_lock(&world->table_lock);
	for (unsigned int i = 0; i < SIM_TABLES; i++) {
		struct sim_table *table = &world->tables[i];

		for (uint64_t at = 0; table->map && at < table->n; at++) {
			uint64_t seen = __atomic_load_n(&table->entries[at].word, __ATOMIC_ACQUIRE) & ~LOCK, old;

			if (shown(seen) != page / 2)
				continue;
			old = lock_entry(&table->entries[at]);
			if (shown(old) != page / 2) {
				unlock_entry(&table->entries[at], old);
			} else if (remove) {
				let_go(world, old);
				unlock_entry(&table->entries[at], 0);
			} else {
				unlock_entry(&table->entries[at], old & ~(uint64_t)CLEAVE_PROT_WRITE);
			}
		}
	}
	pthread_mutex_unlock(&world->table_lock);
}

static void remove_page(const struct cleave_space_ops *ops, uint64_t page)
{
	each_of(world_of(ops), page, true);
}

static void protect_page(const struct cleave_space_ops *ops, uint64_t page)
{
	each_of(world_of(ops), page, false);
}

struct sim_table *fault_table_add(struct fault_world *world, struct cleave_map *map, uint64_t base, uint64_t n)
{
	struct sim_table *table = NULL;

	pthread_mutex_lock(&world->table_lock);
	for (unsigned int i = 0; !table && i < SIM_TABLES; i++)
		if (!world->tables[i].map)
			table = &world->tables[i];
	CHECK(table != NULL, "too many page tables");
	*table = (struct sim_table){ .base = base, .n = n, .entries = calloc(n, sizeof(*table->entries)) };
	CHECK(table->entries != NULL, "memory");
	__atomic_store_n(&table->map, map, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&world->table_lock);
	return table;
}

void fault_table_drop(struct fault_world *world, struct cleave_map *map)
{
	struct sim_table *table = table_of(world, map);

	/* Who looks for a page in all tables locks an entry for a moment, and may find that it has gone. */
	pthread_mutex_lock(&world->table_lock);
	for (uint64_t i = 0; i < table->n; i++)
		CHECK(shown(table->entries[i].word) == 0, "page %llu is still shown by a map that is gone", LL(i));
	free(table->entries);
	__atomic_store_n(&table->map, NULL, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&world->table_lock);
}

uint64_t fault_shows(struct fault_world *world, struct cleave_map *map, uint64_t addr, unsigned int *protection)
{
	uint64_t entry = __atomic_load_n(&entry_of(table_of(world, map), addr)->word, __ATOMIC_ACQUIRE) & ~LOCK;

	if (protection)
		*protection = entry & 7;
	return shown(entry);
}

bool fault_load(struct fault_world *world, struct cleave_map *map, uint64_t addr, uint64_t *value)
{
	struct cleave_word *entry = entry_of(table_of(world, map), addr);
	uint64_t now = lock_entry(entry);
	bool may = (now & CLEAVE_PROT_READ) != 0;

	if (may) {
		*value = load(&world->pages[shown(now)].value);
		CHECK(*value != SIM_POISON, "address %#llx shows a page that was freed", LL(addr));
	}
	unlock_entry(entry, now);
	return may;
}

bool fault_store(struct fault_world *world, struct cleave_map *map, uint64_t addr, uint64_t value)
{
	struct cleave_word *entry = entry_of(table_of(world, map), addr);
	uint64_t now = lock_entry(entry);
	bool may = (now & CLEAVE_PROT_WRITE) != 0;

	if (may)
		store(&world->pages[shown(now)].value, value);
	unlock_entry(entry, now);
	return may;
}

int fault_read(struct fault_world *world, struct cleave_map *map, uint64_t addr, uint64_t *value)
{
	while (!fault_load(world, map, addr, value)) {
		int result = cleave_fault(fault_self, map, addr, CLEAVE_PROT_READ);

		if (result)
			return result;
	}
	return 0;
}

int fault_write(struct fault_world *world, struct cleave_map *map, uint64_t addr, uint64_t value)
{
	while (!fault_store(world, map, addr, value)) {
		int result = cleave_fault(fault_self, map, addr, CLEAVE_PROT_WRITE);

		if (result)
			return result;
	}
	return 0;
}

/* ---- Objects ---- */

static uint64_t object_page(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write)
{
	struct sim_object *it = object;

	(void)ops;
	(void)write;
	CHECK(load(&it->refs) > 0, "a page of an object that is gone");
	CHECK(offset % PAGE == 0 && offset / PAGE < it->n, "offset %#llx", LL(offset));
	return 2 * load(&it->pages[offset / PAGE]);
}

static int object_fetch(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write)
{
	struct fault_world *world = world_of(ops);
	struct sim_object *it = object;
	uint64_t page = 1;

	(void)write;
	check_unguarded();
	if (fails(world))
		return -EIO;
	pthread_mutex_lock(&it->lock);
	if (!load(&it->pages[offset / PAGE])) {
		page = take(world, SIM_OBJECT, load(&it->values[offset / PAGE]));
		store(&it->pages[offset / PAGE], page / 2);
	}
	pthread_mutex_unlock(&it->lock);
	add(&it->fetched, 1);
	return page ? 0 : -ENOMEM;
}

static void object_ref(const struct cleave_space_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)flags;
	add(&((struct sim_object *)object)->refs, 1);
}

static void object_unref(const struct cleave_space_ops *ops, void *object, uint32_t flags)
{
	(void)flags;
	fault_object_put(world_of(ops), object);
}

struct sim_object *fault_object(struct fault_world *world, uint64_t tag, uint64_t n, bool late)
{
	struct sim_object *object = calloc(1, sizeof(*object));

	CHECK(object != NULL, "memory");
	*object = (struct sim_object){ .tag = tag, .n = n, .late = late };
	pthread_mutex_init(&object->lock, NULL);
	object->pages = calloc(n, sizeof(*object->pages));
	object->values = calloc(n, sizeof(*object->values));
	CHECK(object->pages && object->values, "memory");
	store(&object->refs, 1);
	add(&world->objects, 1);
	for (uint64_t i = 0; i < n; i++) {
		store(&object->values[i], tag + i * PAGE);
		if (!late)
			store(&object->pages[i], take(world, SIM_OBJECT, tag + i * PAGE) / 2);
	}
	return object;
}

void fault_object_put(struct fault_world *world, struct sim_object *object)
{
	if (__atomic_fetch_sub(&object->refs.word, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	for (uint64_t i = 0; i < object->n; i++)
		if (object->pages[i].word)
			give(world, 2 * object->pages[i].word, SIM_OBJECT);
	pthread_mutex_destroy(&object->lock);
	free(object->pages);
	free(object->values);
	free(object);
	add(&world->objects, UINT64_MAX);
}

void fault_object_evict(struct fault_world *world, struct sim_object *object, uint64_t offset)
{
	struct cleave_word *resident = &object->pages[offset / PAGE];
	uint64_t page;

	/* Nobody fetches it meanwhile. */
	pthread_mutex_lock(&object->lock);
	page = 2 * __atomic_exchange_n(&resident->word, 0, __ATOMIC_SEQ_CST);
	if (page) {
		cleave_space_settle(fault_self);
		if (load(&page_at(world, page)->wired)) {
			store(resident, page / 2);
		} else {
			remove_page(&world->ops, page);
			store(&object->values[offset / PAGE], load(&page_at(world, page)->value));
			give(world, page, SIM_OBJECT);
		}
	}
	pthread_mutex_unlock(&object->lock);
}

/* ---- Swap ---- */

static int page_out(const struct cleave_space_ops *ops, uint64_t page, uint64_t *token)
{
	struct fault_world *world = world_of(ops);
	struct sim_page *at = page_at(world, page);
	uint32_t i;

	check_unguarded();
	CHECK(load(&at->mapped) == 0, "page %llu is written out while %llu addresses show it", LL(page),
	      LL(load(&at->mapped)));
	if (fails(world))
		return -EIO;
	pthread_mutex_lock(&world->lock);
	for (i = 0; i < world->npages && world->used[i]; i++)
		;
	if (i == world->npages) {
		pthread_mutex_unlock(&world->lock);
		return -ENOSPC;
	}
	world->used[i] = 1;
	store(&world->swapped[i], load(&at->value));
	pthread_mutex_unlock(&world->lock);
	add(&world->tokens, 1);
	*token = 2 * (uint64_t)i + 1;
	return 0;
}

static void token_free(const struct cleave_space_ops *ops, uint64_t token)
{
	struct fault_world *world = world_of(ops);

	pthread_mutex_lock(&world->lock);
	CHECK(world->used[token / 2], "token %llu is freed twice", LL(token));
	world->used[token / 2] = 0;
	store(&world->swapped[token / 2], SIM_POISON);
	pthread_mutex_unlock(&world->lock);
	add(&world->tokens, UINT64_MAX);
}

static int page_in(const struct cleave_space_ops *ops, uint64_t token, uint64_t page)
{
	struct fault_world *world = world_of(ops);

	check_unguarded();
	CHECK(world->used[token / 2], "token %llu is read after its end", LL(token));
	if (fails(world))
		return -EIO;
	store(&page_at(world, page)->value, load(&world->swapped[token / 2]));
	token_free(ops, token);
	return 0;
}

static bool may_evict(const struct cleave_space_ops *ops, uint64_t page)
{
	return load(&page_at(world_of(ops), page)->wired) == 0;
}

size_t fault_evict(struct fault_world *world, const uint32_t *numbers, size_t n)
{
	struct cleave_anon_page *anons[CLEAVE_SWAP_BATCH];
	size_t found = 0;

	for (size_t i = 0; i < n && found < CLEAVE_SWAP_BATCH; i++) {
		struct sim_page *page = &world->pages[numbers[i]];

		pthread_mutex_lock(&page->lock);
		if (page->anon && cleave_anon_page_pin_rcu(page->anon))
			anons[found++] = page->anon;
		pthread_mutex_unlock(&page->lock);
	}
	return found ? cleave_swap_out(fault_self, anons, found) : 0;
}

/* ---- Wiring ---- */

static void unwire(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	struct fault_world *world = world_of(ops);
	struct sim_table *table = table_of(world, map);
	uint64_t low = start > table->base ? (start - table->base) / PAGE : 0;
	uint64_t high = end > table->base ? (end - table->base) / PAGE : 0;

	for (uint64_t i = low; i < high && i < table->n; i++) {
		uint64_t old = lock_entry(&table->entries[i]);

		if (old & HELD)
			add(&world->pages[shown(old)].wired, UINT64_MAX);
		unlock_entry(&table->entries[i], old & ~HELD);
	}
}

static void deactivate(const struct cleave_space_ops *ops, uint64_t page)
{
	store(&page_at(world_of(ops), page)->active, 0);
}

/* ---- Life ---- */

void fault_world_start(struct fault_world *world, struct cleave_domain *domain, uint32_t npages, bool zero)
{
	memset(world, 0, sizeof(*world));
	world->ops = (struct cleave_space_ops){
		.current = current,
		.page_get = page_get,
		.page_free = page_free,
		.page_copy = page_copy,
		.object_page = object_page,
		.object_fetch = object_fetch,
		.object_ref = object_ref,
		.object_unref = object_unref,
		.enter = enter,
		.remove = remove_range,
		.protect = protect_range,
		.remove_page = remove_page,
		.protect_page = protect_page,
		.page_out = page_out,
		.page_in = page_in,
		.token_free = token_free,
		.may_evict = may_evict,
		.unwire = unwire,
		.deactivate = deactivate,
	};
	pthread_mutex_init(&world->lock, NULL);
	pthread_mutex_init(&world->table_lock, NULL);
	world->npages = npages + 1;
	world->pages = calloc(world->npages, sizeof(*world->pages));
	world->swapped = calloc(world->npages, sizeof(*world->swapped));
	world->used = calloc(world->npages, 1);
	CHECK(world->pages && world->swapped && world->used, "memory");
	for (uint32_t i = npages; i; i--) {
		pthread_mutex_init(&world->pages[i].lock, NULL);
		world->pages[i].next = world->free;
		world->free = i;
	}
	world->fail_after.word = GRANT_ALL;
	if (zero)
		world->ops.zero_page = take(world, SIM_ZERO, 0);
	cleave_space_init(&world->space, domain, &world->ops, 12);
}

void fault_world_stop(struct fault_world *world)
{
	if (world->ops.zero_page)
		give(world, world->ops.zero_page, SIM_ZERO);
	CHECK(world->space.anons.stores == 0, "%llu stores are left", LL(world->space.anons.stores));
	CHECK(world->space.anons.nodes.word == 0, "%llu nodes are left", LL(world->space.anons.nodes.word));
	CHECK(world->space.anons.anons.word == 0, "%llu anons are left", LL(world->space.anons.anons.word));
	CHECK(world->live.word == 0, "%llu pages are left", LL(world->live.word));
	CHECK(world->tokens.word == 0, "%llu tokens are left", LL(world->tokens.word));
	CHECK(world->objects.word == 0, "%llu objects are left", LL(world->objects.word));
	cleave_space_exit(&world->space);
	for (uint32_t i = 1; i < world->npages; i++)
		pthread_mutex_destroy(&world->pages[i].lock);
	pthread_mutex_destroy(&world->lock);
	pthread_mutex_destroy(&world->table_lock);
	free(world->pages);
	free(world->swapped);
	free(world->used);
}

void fault_thread_start(struct fault_world *world, struct cleave_space_thread *thread, struct cleave_thread *self)
{
	CHECK(cleave_space_thread_init(thread, &world->space, self) == 0, "thread");
	fault_self = thread;
}

void fault_thread_stop(struct cleave_space_thread *thread)
{
	cleave_space_thread_exit(thread);
	fault_self = NULL;
}

struct cleave_map_request fault_request(uint64_t start, uint64_t pages, unsigned int protection)
{
	return (struct cleave_map_request){
		.addr = start,
		.size = pages * PAGE,
		.flags = CLEAVE_MAP_FIXED,
		.entry_flags = CLEAVE_MAP_COW,
		.protection = (uint8_t)protection,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
		.advice = CLEAVE_ADVICE_RANDOM,
	};
}
