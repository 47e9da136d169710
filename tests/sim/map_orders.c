/* SPDX-License-Identifier: ISC */
/*
 * The map's own memory orders (P1 to P4, P6 of doc/memory-order.md) under chosen schedules, stale reads included.  The
 * index below orders much by its locks; so each scenario is one in which the map's word alone does.
 */
#include "orders_run.h"

#include "map.h"

#include "../../lib/port/sim/internal.h"

#include <stdlib.h>
#include <string.h>

#define THREADS 3u
#define PAGE UINT64_C(4096)
#define BASE (UINT64_C(1) << 32)
#define ENTRIES 12u /* of one page: leaves have 4 cells here, so the first and the last entry share none */
#define RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)
#define AT(entry) (BASE + (entry)*PAGE)

struct world {
	struct cleave_domain domain;
	struct cleave_maps maps;
	struct cleave_map map;
	struct cleave_thread self[THREADS + 1];
	struct cleave_map_thread thread[THREADS + 1]; /* the last one prepares */
	struct cleave_word told;
	bool first, second, heard;
};

static struct world *world;

static void must(int error)
{
	if (error)
		abort();
}

static void map_range(uint64_t start, uint64_t end, uint32_t flags)
{
	struct cleave_map_request request = {
		.addr = start,
		.size = end - start,
		.flags = CLEAVE_MAP_FIXED,
		.entry_flags = CLEAVE_MAP_COW | flags,
		.protection = RW,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};

	must(cleave_map_map(&world->map, &world->thread[THREADS], &request));
}

static void unmap(unsigned int thread, unsigned int entry)
{
	must(cleave_map_unmap(&world->map, &world->thread[thread], AT(entry), AT(entry + 1), 0));
}

static void prepare(void)
{
	static const struct cleave_map_ops ops = { .object_ref = NULL };
	struct cleave_map_config config = {
		.min = PAGE,
		.max = UINT64_C(1) << 47,
		.page_shift = 12,
		.size_limit = CLEAVE_MAP_UNLIMITED,
		.data_limit = CLEAVE_MAP_UNLIMITED,
	};

	sim_arena_clear();
	world = sim_arena_alloc(sizeof(*world));
	memset(world, 0, sizeof(*world));
	cleave_domain_init(&world->domain, &sim_ops, &sim_memory, NULL, UINT64_MAX / 2);
	cleave_maps_init(&world->maps, &world->domain, &ops);
	for (unsigned int t = 0; t <= THREADS; t++) {
		cleave_thread_init(&world->self[t], &world->domain);
		cleave_map_thread_init(&world->thread[t], &world->maps, &world->self[t]);
	}
	must(cleave_map_init(&world->map, &world->thread[THREADS], &config));
	sim_index = &world->map.index;
	sim_domain = &world->domain;
}

static void reserve(void)
{
	cleave_map_thread_flush(&world->thread[THREADS], true);
	for (unsigned int t = 0; t < THREADS; t++)
		must(cleave_map_reserve(&world->thread[t], 2));
}

/* ---- P1: an object whose pages two threads unmap, in different leaves ---- */

static void prepare_pages(unsigned int variant)
{
	(void)variant;
	prepare();
	map_range(AT(0), AT(ENTRIES), 0);
	for (unsigned int i = 1; i < ENTRIES; i++)
		must(cleave_map_clip_start(&world->map, &world->thread[THREADS], AT(i), NULL));
	for (unsigned int i = 1; i < ENTRIES - 1; i++)
		unmap(THREADS, i);
	/* The leaves between must not go. */
	for (unsigned int i = 1; i < ENTRIES - 1; i++)
		map_range(AT(i), AT(i + 1), 0);
	reserve();
}

static void unmap_pages(unsigned int thread)
{
	sim_call("unmap");
	unmap(thread, thread ? ENTRIES - 1 : 0);
	cleave_map_thread_exit(&world->thread[thread]);
	sim_return();
}

/* ---- P2: who waits for the end of the busy state ---- */

static void prepare_busy(unsigned int variant)
{
	(void)variant;
	prepare();
	map_range(AT(0), AT(2), 0);
	reserve();
}

static void busy_or_unmap(unsigned int thread)
{
	sim_call(thread ? "unmap" : "busy");
	if (thread) {
		unmap(thread, 0);
	} else {
		cleave_map_busy(&world->map, &world->thread[thread]);
		cleave_map_unbusy(&world->map, &world->thread[thread]);
	}
	sim_return();
}

/* ---- P3: a thread's memory of its stack ---- */

static void prepare_stack(unsigned int variant)
{
	(void)variant;
	prepare();
	map_range(AT(0), AT(1), CLEAVE_MAP_STACK);
	map_range(AT(2), AT(3), 0);
	reserve();
}

static bool on_stack(unsigned int thread, struct cleave_map_inentry *cache)
{
	bool is;

	sim_ops.enter(&world->domain, &world->self[thread]);
	is = cleave_map_inentry_rcu(&world->map, cache, AT(0), CLEAVE_MAP_STACK);
	sim_ops.leave(&world->domain, &world->self[thread]);
	return is;
}

static void ask_or_unmap(unsigned int thread)
{
	struct cleave_map_inentry cache = { 0, 0, 0 };

	if (!thread) {
		unmap(thread, 0);
		PORT_STORE(&world->told, 1, PORT_RELEASE);
		return;
	}
	world->first = on_stack(thread, &cache);
	world->heard = PORT_LOAD(&world->told, PORT_ACQUIRE);
	world->second = on_stack(thread, &cache);
}

static const char *judge_stack(void)
{
	return world->heard && world->second ? "a stack entry that is gone is trusted" : NULL;
}

/* ---- P4: two give their references back, each after a call ---- */

static void prepare_references(unsigned int variant)
{
	(void)variant;
	prepare();
	map_range(AT(0), AT(1), 0);
	map_range(AT(2), AT(3), 0);
	cleave_map_share(&world->map);
	reserve();
}

static void look_and_release(unsigned int thread)
{
	struct cleave_map_entry entry;

	sim_call("release");
	sim_ops.enter(&world->domain, &world->self[thread]);
	world->first |= cleave_map_lookup_rcu(&world->map, AT(0), &entry);
	sim_ops.leave(&world->domain, &world->self[thread]);
	if (cleave_map_release(&world->map, &world->thread[thread]))
		cleave_map_thread_flush(&world->thread[thread], true);
	sim_return();
}

/* ---- P6: a stripe of the accounts goes from one thread to the next ---- */

static void end_or_begin(unsigned int thread)
{
	struct cleave_map_thread next;

	sim_call("unmap");
	if (!thread) {
		unmap(thread, 0);
		cleave_map_thread_exit(&world->thread[thread]);
	} else {
		cleave_map_thread_init(&next, &world->maps, &world->self[thread]);
		must(cleave_map_unmap(&world->map, &next, AT(ENTRIES - 1), AT(ENTRIES), 0));
		cleave_map_thread_exit(&next);
	}
	sim_return();
}

static const char *judge_accounts(void)
{
	struct cleave_map_accounts accounts;

	cleave_map_account(&world->map, &world->thread[THREADS], &accounts);
	if (accounts.size != (ENTRIES - 2) * PAGE || accounts.data != accounts.size)
		return "the accounts are wrong";
	return NULL;
}

/* ---- The program ---- */

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "P1: the last pages of an object", 2, 1, prepare_pages, unmap_pages, NULL, true },
		{ "P2: the end of the busy state", 2, 1, prepare_busy, busy_or_unmap, NULL, true },
		{ "P3: a stack that is gone", 2, 1, prepare_stack, ask_or_unmap, judge_stack, true },
		{ "P4: the last reference", 2, 1, prepare_references, look_and_release, NULL, true },
		{ "P6: a stripe of one's own", 2, 1, prepare_pages, end_or_begin, judge_accounts, true },
		{ NULL, 0, 0, NULL, NULL, NULL, false },
	};
	static const struct scenario *const lists[] = { scenarios };

	return orders_main(argc, argv, lists, 1, 3000);
}
