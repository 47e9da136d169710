/* SPDX-License-Identifier: ISC */
/*
 * What the tests of the anonymous store share: pages that are counted and must not be released twice, and a store's
 * world for one thread.
 */
#ifndef TESTS_ANON_SUPPORT_H
#define TESTS_ANON_SUPPORT_H

#include "support.h"

#include <cleave/anon.h>

#define LL(x) ((unsigned long long)(x))

/* ---- Pages ---- */

#define PAGES_MOST (UINT32_C(1) << 21)

/* A page's number is its content / 2; a swap token's is the same, odd. */
struct pages {
	struct cleave_anon_ops ops;
	struct cleave_word next;
	struct cleave_word live;
	struct cleave_word released;
	unsigned char state[PAGES_MOST]; /* 1: live */
};

static inline void pages_release(const struct cleave_anon_ops *ops, uint64_t content)
{
	struct pages *pages = (struct pages *)ops;
	uint64_t number = content / 2;

	CHECK(number > 0 && number < PAGES_MOST, "content %#llx was never made", LL(content));
	CHECK(__atomic_exchange_n(&pages->state[number], 0, __ATOMIC_RELAXED) == 1, "page %llu is released twice",
	      LL(number));
	__atomic_fetch_sub(&pages->live.word, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&pages->released.word, 1, __ATOMIC_RELAXED);
}

static inline struct pages *pages_make(void)
{
	struct pages *pages = calloc(1, sizeof(*pages));

	CHECK(pages != NULL, "memory");
	pages->ops.release = pages_release;
	return pages;
}

/* A new page, or token. */
static inline uint64_t pages_take(struct pages *pages, bool swapped)
{
	uint32_t tries = 0;
	uint64_t number;

	do {
		CHECK(tries++ < PAGES_MOST, "all pages are taken, %llu live", LL(pages->live.word));
		number = __atomic_add_fetch(&pages->next.word, 1, __ATOMIC_RELAXED) % (PAGES_MOST - 1) + 1;
	} while (__atomic_exchange_n(&pages->state[number], 1, __ATOMIC_RELAXED));
	__atomic_fetch_add(&pages->live.word, 1, __ATOMIC_RELAXED);
	return 2 * number + swapped;
}

static inline uint64_t pages_live(struct pages *pages)
{
	return __atomic_load_n(&pages->live.word, __ATOMIC_RELAXED);
}

static inline struct cleave_anon_page *page_make(struct cleave_anon_context *context, struct pages *pages)
{
	uint64_t content = pages_take(pages, false);
	struct cleave_anon_page *anon = cleave_anon_page_make(context, content);

	if (!anon)
		pages_release(&pages->ops, content);
	return anon;
}

/* ---- A world for one thread ---- */

struct anon_world {
	struct manual_domain manual;
	struct cleave_anon_domain domain;
	struct cleave_anon_context *context;
	struct pages *pages;
	struct rng rng;
};

static inline void anon_world_start(struct anon_world *world, enum grace grace)
{
	manual_start(&world->manual, grace, NULL, 1000);
	world->pages = pages_make();
	cleave_anon_domain_init(&world->domain, &world->manual.domain, &world->pages->ops);
	world->context = cleave_anon_context_open(&world->domain, &world->manual.self);
	CHECK(world->context != NULL, "context");
}

/* Checks that nothing is left. */
static inline void anon_world_stop(struct anon_world *world)
{
	cleave_anon_context_close(world->context);
	CHECK(world->domain.stores == 0, "%llu stores are left", LL(world->domain.stores));
	CHECK(world->domain.nodes.word == 0, "%llu nodes are left", LL(world->domain.nodes.word));
	CHECK(world->domain.anons.word == 0, "%llu anons are left", LL(world->domain.anons.word));
	CHECK(pages_live(world->pages) == 0, "%llu pages are left", LL(pages_live(world->pages)));
	cleave_anon_domain_exit(&world->domain);
	manual_stop(&world->manual);
	free(world->pages);
}

static inline struct cleave_anon *store_make(struct anon_world *world, uint64_t nslots)
{
	struct cleave_anon *store = NULL;

	CHECK(cleave_anon_create(world->context, nslots, &store) == 0, "create");
	return store;
}

/* Fill an empty slot; returns the anon. */
static inline struct cleave_anon_page *store_fill(struct anon_world *world, struct cleave_anon *store, uint64_t slot)
{
	struct cleave_anon_page *anon = page_make(world->context, world->pages);

	CHECK(cleave_anon_fill(world->context, store, slot, anon, NULL) == 0, "slot %llu is not filled", LL(slot));
	return anon;
}

static inline struct cleave_anon_page *store_lookup(struct anon_world *world, struct cleave_anon *store, uint64_t slot)
{
	struct cleave_anon_page *anon;

	manual_enter(&world->manual);
	anon = cleave_anon_lookup_rcu(store, slot);
	manual_leave(&world->manual);
	return anon;
}

static inline uint64_t store_count(struct anon_world *world, struct cleave_anon *store)
{
	uint64_t n;

	manual_enter(&world->manual);
	n = cleave_anon_count_rcu(store);
	manual_leave(&world->manual);
	return n;
}

static inline struct cleave_anon_statistics store_statistics(struct anon_world *world, struct cleave_anon *store)
{
	struct cleave_anon_statistics statistics;

	manual_enter(&world->manual);
	cleave_anon_statistics_rcu(store, &statistics);
	manual_leave(&world->manual);
	return statistics;
}

/* The whole of a clone, with nothing to write-protect. */
static inline struct cleave_anon *store_clone(struct anon_world *world, struct cleave_anon *store)
{
	struct cleave_anon *clone = NULL;

	CHECK(cleave_anon_clone_begin(world->context, &store, &clone, 1) == 0, "clone");
	cleave_anon_clone_end(world->context, &store, &clone, 1);
	cleave_anon_clone_done(world->context, &store, 1);
	return clone;
}

/* Write a page's slot: copy on write, unless it may be written in place.  Returns the anon to write. */
static inline struct cleave_anon_page *store_write(struct anon_world *world, struct cleave_anon *store, uint64_t slot)
{
	struct cleave_anon_page *fresh = page_make(world->context, world->pages), *old, *written;
	struct cleave_anon_busy busy;
	int result;

	CHECK(cleave_anon_prepare(world->context, store) == 0, "prepare");
	CHECK(cleave_anon_guard(world->context, store, slot, slot) == 0, "guard");
	result = cleave_anon_try_busy(world->context, store, slot, &busy);
	CHECK(result == 0, "busy: %d", result);
	old = busy.anon;
	written = old && cleave_anon_page_shares(old) == 1 ? old : fresh;
	cleave_anon_release(world->context, &busy, written);
	cleave_anon_unguard(world->context);
	if (written == fresh && old)
		cleave_anon_page_drop(world->context, old);
	if (written != fresh)
		cleave_anon_page_drop(world->context, fresh);
	return written;
}

/* One more or fewer window, through all steps. */
static inline int store_window(struct anon_world *world, struct cleave_anon *store, uint64_t first, uint64_t last,
			       int delta)
{
	struct cleave_anon_change change;
	int result = cleave_anon_windows_begin(&change, world->context, store, first, last);

	CHECK(result == 0, "begin: %d", result);
	result = cleave_anon_windows_put(&change, first, last, delta);
	if (!result)
		result = cleave_anon_windows_prepare(&change);
	if (result) {
		cleave_anon_windows_abort(&change);
		return result;
	}
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
	return 0;
}

static inline uint64_t store_windows(struct anon_world *world, struct cleave_anon *store, uint64_t slot)
{
	uint64_t n;

	manual_enter(&world->manual);
	n = cleave_anon_windows_rcu(store, slot);
	manual_leave(&world->manual);
	return n;
}

#endif
