/* SPDX-License-Identifier: ISC */
/* Threads on stores: a context each, pages whose bytes are one number, and a table of stores that come and go. */
#ifndef TESTS_ANON_FIXTURE_H
#define TESTS_ANON_FIXTURE_H

#include "anon_support.h"
#include "fixture.h"

struct anon_fixture {
	struct fixture fixture;
	struct cleave_anon_domain domain;
	struct cleave_anon_context *context; /* the main thread's */
	struct pages *pages;
	struct cleave_word *bytes; /* of each page or token */
};

static inline void anon_fixture_start_with(struct anon_fixture *it, uint64_t garbage_limit)
{
	fixture_start(&it->fixture, garbage_limit);
	it->pages = pages_make();
	it->bytes = calloc(PAGES_MOST, sizeof(*it->bytes));
	CHECK(it->bytes != NULL, "memory");
	cleave_anon_domain_init(&it->domain, &it->fixture.domain.domain, &it->pages->ops);
	it->context = cleave_anon_context_open(&it->domain, &it->fixture.main.thread);
	CHECK(it->context != NULL, "context");
}

static inline void anon_fixture_start(struct anon_fixture *it)
{
	anon_fixture_start_with(it, 0);
}

/* Checks that nothing is left. */
static inline void anon_fixture_stop(struct anon_fixture *it)
{
	cleave_anon_context_close(it->context);
	CHECK(it->domain.stores == 0, "%llu stores are left", LL(it->domain.stores));
	CHECK(it->domain.nodes.word == 0, "%llu nodes are left", LL(it->domain.nodes.word));
	CHECK(it->domain.anons.word == 0, "%llu anons are left", LL(it->domain.anons.word));
	CHECK(pages_live(it->pages) == 0, "%llu pages are left", LL(pages_live(it->pages)));
	cleave_anon_domain_exit(&it->domain);
	fixture_stop(&it->fixture);
	free(it->pages);
	free(it->bytes);
}

static inline uint64_t bytes_load(struct anon_fixture *it, uint64_t content)
{
	return __atomic_load_n(&it->bytes[content / 2].word, __ATOMIC_RELAXED);
}

static inline void bytes_store(struct anon_fixture *it, uint64_t content, uint64_t value)
{
	__atomic_store_n(&it->bytes[content / 2].word, value, __ATOMIC_RELAXED);
}

/* What the slot's page says; 0: there is none. */
static inline uint64_t slot_read(struct anon_fixture *it, CLEAVE_SECTION_THREAD *record, struct cleave_anon *store,
				 uint64_t slot)
{
	struct cleave_anon_page *anon;
	uint64_t value;

	cleave_section_enter(record);
	anon = cleave_anon_lookup_rcu(store, slot);
	value = anon ? bytes_load(it, cleave_anon_page_content(anon)) : 0;
	cleave_section_leave(record);
	return value;
}

/* A write fault: in place if that is allowed, else a copy, under the slot's mark. */
static inline void slot_write(struct anon_fixture *it, struct cleave_anon_context *context, struct cleave_anon *store,
			      uint64_t slot, uint64_t value)
{
	struct cleave_anon_page *fresh = page_make(context, it->pages), *old;
	struct cleave_anon_busy busy;
	bool in_place;
	int result;

	bytes_store(it, cleave_anon_page_content(fresh), value);
	for (;;) {
		result = cleave_anon_guard(context, store, slot, slot);
		if (!result) {
			result = cleave_anon_try_busy(context, store, slot, &busy);
			if (!result)
				break;
			cleave_anon_unguard(context);
		}
		CHECK(result == -EAGAIN || result == -ENOMEM, "%d", result);
		if (result == -ENOMEM)
			CHECK(cleave_anon_prepare(context, store) == 0, "prepare");
		else
			cleave_anon_wait(context);
	}
	old = busy.anon;
	in_place = old && cleave_anon_page_shares(old) == 1;
	if (in_place)
		bytes_store(it, cleave_anon_page_content(old), value);
	else /* a kernel would wait for readers' guards and remove translations here */
		cleave_anon_wait_guards(context, store, slot, slot);
	cleave_anon_release(context, &busy, in_place ? old : fresh);
	cleave_anon_unguard(context);
	if (in_place)
		cleave_anon_page_drop(context, fresh);
	else if (old)
		cleave_anon_page_drop(context, old);
}

/* ---- A table of stores ---- */

struct store_table {
	pthread_mutex_t *lock;
	struct cleave_anon **store;
	unsigned int n;
};

static inline void table_make(struct store_table *table, unsigned int n)
{
	table->n = n;
	table->lock = calloc(n, sizeof(*table->lock));
	table->store = calloc(n, sizeof(*table->store));
	CHECK(table->lock && table->store, "memory");
	for (unsigned int i = 0; i < n; i++)
		pthread_mutex_init(&table->lock[i], NULL);
}

static inline void table_free(struct store_table *table)
{
	for (unsigned int i = 0; i < table->n; i++)
		pthread_mutex_destroy(&table->lock[i]);
	free(table->lock);
	free(table->store);
}

/* With a reference; NULL: nothing there. */
static inline struct cleave_anon *table_get(struct store_table *table, unsigned int i)
{
	struct cleave_anon *store;

	pthread_mutex_lock(&table->lock[i]);
	store = table->store[i];
	if (store)
		cleave_anon_ref(store, false);
	pthread_mutex_unlock(&table->lock[i]);
	return store;
}

/* Returns what was there, with its reference. */
static inline struct cleave_anon *table_swap(struct store_table *table, unsigned int i, struct cleave_anon *fresh)
{
	struct cleave_anon *store;

	pthread_mutex_lock(&table->lock[i]);
	store = table->store[i];
	table->store[i] = fresh;
	pthread_mutex_unlock(&table->lock[i]);
	return store;
}

#endif
