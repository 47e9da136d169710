/* SPDX-License-Identifier: ISC */
/* The store itself, on liburcu with sys_membarrier. */
#define CLEAVE_SECTION_MEMB
#include "anon.h"

#include <cleave/anon.h>
#include <cleave/section.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cleave_urcu urcu;
static struct cleave_anon_domain domain;
static bool started;
static uint64_t allocated; /* bytes, by one thread where that is asked for */

/* malloc(), counted. */
static void *count_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	void *at = cleave_memory_libc.alloc(&cleave_memory_libc, size, align);

	(void)memory;
	if (at)
		__atomic_fetch_add(&allocated, size, __ATOMIC_RELAXED);
	return at;
}

static void count_free(const struct cleave_memory *memory, void *at, size_t size)
{
	(void)memory;
	__atomic_fetch_sub(&allocated, size, __ATOMIC_RELAXED);
	cleave_memory_libc.free(&cleave_memory_libc, at, size);
}

static const struct cleave_memory memory = { count_alloc, count_free };

static void release(const struct cleave_anon_ops *ops, uint64_t content)
{
	(void)ops;
	(void)content;
}

static const struct cleave_anon_ops ops = { release };

struct handle {
	struct cleave_urcu_thread record;
	struct cleave_anon_context *context;
};

struct store {
	struct cleave_anon *store;
	size_t before;
};

static void need_ok(bool ok)
{
	if (!ok) {
		fprintf(stderr, "cleave-bench-anon: no memory\n");
		exit(1);
	}
}

static void *attach(void)
{
	struct handle *handle = calloc(1, sizeof(*handle));

	need_ok(handle);
	if (!started) {
		need_ok(!cleave_urcu_memb_start(&urcu, &memory, 0));
		cleave_anon_domain_init(&domain, &urcu.domain, &ops);
		started = true;
	}
	cleave_section_register(&handle->record, &urcu);
	handle->context = cleave_anon_context_open(&domain, &handle->record.thread);
	need_ok(handle->context);
	return handle;
}

static void detach(void *thread)
{
	struct handle *handle = thread;

	cleave_anon_context_close(handle->context);
	cleave_section_unregister(&handle->record, &urcu);
	free(handle);
}

static void nothing(void *thread)
{
	(void)thread;
}

/* One handle for the calls that have none. */
static struct handle *main_handle(void)
{
	static struct handle *handle;

	if (!handle)
		handle = attach();
	return handle;
}

static void *make(uint64_t nslots)
{
	struct store *store = malloc(sizeof(*store));
	struct handle *handle = main_handle();

	need_ok(store);
	cleave_anon_flush(handle->context);
	store->before = __atomic_load_n(&allocated, __ATOMIC_RELAXED);
	need_ok(!cleave_anon_create(handle->context, nslots, &store->store));
	return store;
}

static void destroy(void *at)
{
	struct store *store = at;

	cleave_anon_unref(main_handle()->context, store->store);
	cleave_anon_flush(main_handle()->context);
	free(store);
}

static void *anon(void *thread)
{
	return cleave_anon_page_make(((struct handle *)thread)->context, 0);
}

static void anon_free(void *thread, void *page)
{
	cleave_anon_page_drop(((struct handle *)thread)->context, page);
}

static size_t fill(void *thread, void *at, const uint64_t *slots, void *const *anons, size_t n)
{
	struct cleave_anon_context *context = ((struct handle *)thread)->context;
	struct cleave_anon *store = ((struct store *)at)->store;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += cleave_anon_fill(context, store, slots[i], anons[i], NULL) != 0;
	return failed;
}

static uint64_t walk(void *thread, void *at)
{
	struct handle *handle = thread;
	struct cleave_anon_visit visits[256];
	uint64_t slot = 0, count = 0;
	size_t n;

	do {
		cleave_section_enter(&handle->record);
		n = cleave_anon_next_rcu(((struct store *)at)->store, &slot, visits, 256);
		cleave_section_leave(&handle->record);
		for (size_t i = 0; i < n; i++)
			count += visits[i].anon != NULL;
	} while (n == 256);
	return count;
}

static void *clone_store(void *thread, void *at)
{
	struct cleave_anon_context *context = ((struct handle *)thread)->context;
	struct cleave_anon *store = ((struct store *)at)->store, *clone;

	need_ok(!cleave_anon_clone_begin(context, &store, &clone, 1));
	cleave_anon_clone_end(context, &store, &clone, 1);
	cleave_anon_clone_done(context, &store, 1);
	return clone;
}

static void drop(void *thread, void *clone)
{
	cleave_anon_unref(((struct handle *)thread)->context, clone);
}

static bool write_slot(void *thread, void *at, uint64_t slot, void *page)
{
	struct cleave_anon_context *context = ((struct handle *)thread)->context;
	struct cleave_anon *store = ((struct store *)at)->store;
	struct cleave_anon_busy busy;
	struct cleave_anon_page *old;
	int result;

	for (;;) {
		result = cleave_anon_guard(context, store, slot, slot);
		if (!result) {
			result = cleave_anon_try_busy(context, store, slot, &busy);
			if (!result)
				break;
			cleave_anon_unguard(context);
		}
		if (result == -12)
			need_ok(!cleave_anon_prepare(context, store));
		else
			cleave_anon_wait(context);
	}
	old = busy.anon;
	if (cleave_anon_page_shares(old) == 1) {
		cleave_anon_release(context, &busy, old);
		cleave_anon_unguard(context);
		return false;
	}
	cleave_anon_wait_guards(context, store, slot, slot);
	cleave_anon_release(context, &busy, page);
	cleave_anon_unguard(context);
	cleave_anon_page_drop(context, old);
	return true;
}

static void reserve(void *thread, void *at, uint64_t first, uint64_t last)
{
	struct cleave_anon_context *context = ((struct handle *)thread)->context;
	struct cleave_anon_change change;

	need_ok(!cleave_anon_windows_begin(&change, context, ((struct store *)at)->store, first, last) &&
		!cleave_anon_windows_put(&change, first, last, 1) && !cleave_anon_windows_prepare(&change));
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
}

static size_t bytes(void *at)
{
	/* Anons are allocated before or counted apart: see the caller. */
	return __atomic_load_n(&allocated, __ATOMIC_RELAXED) - ((struct store *)at)->before;
}

uint64_t anon_cleave_copies(const void *thread)
{
	return ((const struct handle *)thread)->context->copies;
}

const struct anon_impl anon_cleave = {
	.name = "cleave",
	.make = make,
	.destroy = destroy,
	.attach = attach,
	.detach = detach,
	.online = nothing,
	.offline = nothing,
	.anon = anon,
	.anon_free = anon_free,
	.fill = fill,
	.walk = walk,
	.clone = clone_store,
	.drop = drop,
	.write = write_slot,
	.reserve = reserve,
	.bytes = bytes,
};
