/* SPDX-License-Identifier: ISC */
#include "fault_world_parts.h"

_Thread_local struct cleave_space_thread *fault_self;

static struct cleave_space_thread *calling_thread(const struct cleave_space_ops *ops)
{
	(void)ops;
	CHECK(fault_self != NULL, "a thread without a record");
	return fault_self;
}

bool fault_fails(struct fault_world *world)
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

/* ---- Pages ---- */

uint64_t fault_page_take(struct fault_world *world, enum sim_state state, uint64_t value)
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

void fault_page_give(struct fault_world *world, uint64_t page, enum sim_state state)
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
	return fault_fails(world_of(ops)) ? 0 : fault_page_take(world_of(ops), SIM_LIVE, 0);
}

static void page_free(const struct cleave_space_ops *ops, uint64_t page)
{
	check_unguarded();
	fault_page_give(world_of(ops), page, SIM_LIVE);
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

static void deactivate(const struct cleave_space_ops *ops, uint64_t page)
{
	store(&page_at(world_of(ops), page)->active, 0);
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

/* ---- Life ---- */

void fault_world_start(struct fault_world *world, struct cleave_domain *domain, uint32_t npages, bool zero)
{
	memset(world, 0, sizeof(*world));
	world->ops = (struct cleave_space_ops){
		.calling_thread = calling_thread,
		.page_get = page_get,
		.page_free = page_free,
		.page_copy = page_copy,
		.deactivate = deactivate,
	};
	fault_tables_embed(&world->ops);
	fault_backing_embed(&world->ops);
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
		world->ops.zero_page = fault_page_take(world, SIM_ZERO, 0);
	cleave_space_init(&world->space, domain, &world->ops, 12);
}

void fault_world_stop(struct fault_world *world)
{
	if (world->ops.zero_page)
		fault_page_give(world, world->ops.zero_page, SIM_ZERO);
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
