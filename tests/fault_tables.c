/* SPDX-License-Identifier: ISC */
/* The page tables of the fault tests' world. */
#include "fault_world_parts.h"

#define LOCK (UINT64_C(1) << 63)
#define HELD UINT64_C(8) /* beside the protection */

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

/* The number of the first page of the table that does not lie below the address. */
static uint64_t first_from(const struct sim_table *table, uint64_t addr)
{
	uint64_t number = addr > table->base ? (addr - table->base) / PAGE : 0;

	return number < table->n ? number : table->n;
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
	if (fault_fails(world))
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

	CHECK(start < end, "an empty range");
	add(&world->removes, 1);
	for (uint64_t i = first_from(table, start); i < first_from(table, end); i++)
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

	CHECK(start < end && protection != 0, "nothing to protect");
	for (uint64_t i = first_from(table, start); i < first_from(table, end); i++)
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

void fault_remove_page(const struct cleave_space_ops *ops, uint64_t page)
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

static void unwire(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	struct fault_world *world = world_of(ops);
	struct sim_table *table = table_of(world, map);

	for (uint64_t i = first_from(table, start); i < first_from(table, end); i++) {
		uint64_t old = lock_entry(&table->entries[i]);

		if (old & HELD)
			add(&world->pages[shown(old)].wired, UINT64_MAX);
		unlock_entry(&table->entries[i], old & ~HELD);
	}
}

void fault_tables_embed(struct cleave_space_ops *ops)
{
	ops->enter = enter;
	ops->remove = remove_range;
	ops->protect = protect_range;
	ops->remove_page = fault_remove_page;
	ops->protect_page = protect_page;
	ops->unwire = unwire;
}
