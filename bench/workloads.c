/* SPDX-License-Identifier: ISC */
/*
 * cleave as an implementation.  Compiled once for each flavour of RCU: CLEAVE_SECTION_... chooses it, BENCH_FLAVOUR is
 * the table's symbol and BENCH_NAME its name.
 */
#include "bench.h"

#include <cleave/section.h>

#include <stdio.h>
#include <stdlib.h>

#define ITERATE_BATCH 256 /* in one read section, as of lookups */
#define MANY 8		  /* lookups at once */

struct bench_index {
	struct cleave index;
	CLEAVE_SECTION_DOMAIN domain;
	struct bench_thread *threads; /* every record ever used; some flavours keep them to the end */
};

struct bench_thread {
	CLEAVE_SECTION_THREAD record;
	struct cleave *index;
	struct bench_index *owner;
	struct bench_thread *next;
};

static void fail(const char *what)
{
	fprintf(stderr, "cleave-bench: %s: %s failed\n", BENCH_NAME, what);
	exit(1);
}

static void *attach(void *index)
{
	struct bench_index *owner = index;
	struct bench_thread *thread = need(aligned_alloc(64, (sizeof(*thread) + 63) & ~(size_t)63));

	*thread = (struct bench_thread){ .index = &owner->index, .owner = owner, .next = owner->threads };
	owner->threads = thread;
	cleave_section_register(&thread->record, &owner->domain);
	return thread;
}

static void detach(void *self)
{
	struct bench_thread *thread = self;

	cleave_section_unregister(&thread->record, &thread->owner->domain);
}

static void online(void *self)
{
	(void)self;
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_online();
#endif
}

static void offline(void *self)
{
	(void)self;
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_offline();
#endif
}

static size_t insert(void *self, const struct cleave_entry *entries, size_t n)
{
	struct bench_thread *thread = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += cleave_insert(thread->index, &thread->record.thread, entries[i].first, entries[i].last,
					entries[i].value, NULL) != 0;
	cleave_section_quiescent(&thread->record);
	return failed;
}

static const struct cleave_memory *const memories[] = {
	[BENCH_PACKED] = &cleave_memory_packed,
	[BENCH_APART] = &cleave_memory_libc,
	[BENCH_IN_HUGE_PAGES] = &cleave_memory_huge,
};

static void *make(const struct bench_impl *impl, const struct layout *layout, const struct cleave_entry *order)
{
	struct bench_index *owner = need(aligned_alloc(64, (sizeof(*owner) + 63) & ~(size_t)63));

	*owner = (struct bench_index){ .threads = NULL };
	if (cleave_section_start(&owner->domain, memories[impl->nodes], 0))
		fail("start");
	if (impl->search) {
		owner->domain.domain.search = cleave_search_named(impl->search);
		if (!owner->domain.domain.search)
			fail(impl->search);
	}

	struct bench_thread *thread = attach(owner);

	if (cleave_init(&owner->index, &thread->record.thread))
		fail("init");
	if (!order) {
		if (cleave_build(&owner->index, &thread->record.thread, layout->entries, layout->n))
			fail("build");
	} else {
		for (size_t i = 0; i < layout->n; i += 64)
			if (insert(thread, order + i, layout->n - i < 64 ? layout->n - i : 64))
				fail("insert");
	}
	detach(thread);
	return owner;
}

static void destroy(void *index)
{
	struct bench_index *owner = index;
	struct bench_thread *thread = attach(owner);

	cleave_destroy(&owner->index, &thread->record.thread);
	detach(thread);
	cleave_section_stop(&owner->domain);
	while (owner->threads) {
		thread = owner->threads;
		owner->threads = thread->next;
		free(thread);
	}
	free(owner);
}

static uint64_t lookup(void *self, const uint64_t *addrs, size_t n)
{
	struct bench_thread *thread = self;
	struct cleave_entry entry;
	uint64_t sum = 0;

	cleave_section_enter(&thread->record);
	for (size_t i = 0; i < n; i++)
		sum += (uintptr_t)cleave_lookup_rcu(thread->index, addrs[i], &entry);
	cleave_section_leave(&thread->record);
	cleave_section_quiescent(&thread->record);
	return sum;
}

static uint64_t lookup_value(void *self, const uint64_t *addrs, size_t n)
{
	struct bench_thread *thread = self;
	uint64_t sum = 0;

	cleave_section_enter(&thread->record);
	for (size_t i = 0; i < n; i++)
		sum += (uintptr_t)cleave_value_rcu(thread->index, addrs[i]);
	cleave_section_leave(&thread->record);
	cleave_section_quiescent(&thread->record);
	return sum;
}

static uint64_t lookup_many(void *self, const uint64_t *addrs, size_t n)
{
	struct bench_thread *thread = self;
	struct cleave_entry entries[MANY];
	uint64_t sum = 0;

	cleave_section_enter(&thread->record);
	for (size_t i = 0; i < n; i += MANY) {
		size_t count = n - i < MANY ? n - i : MANY;

		cleave_lookup_many_rcu(thread->index, addrs + i, count, entries);
		for (size_t j = 0; j < count; j++)
			sum += (uintptr_t)entries[j].value;
	}
	cleave_section_leave(&thread->record);
	cleave_section_quiescent(&thread->record);
	return sum;
}

static uint64_t lookup_each(void *self, const uint64_t *addrs, size_t n)
{
	struct bench_thread *thread = self;
	struct cleave_entry entry;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		cleave_section_enter(&thread->record);
		sum += (uintptr_t)cleave_lookup_rcu(thread->index, addrs[i], &entry);
		cleave_section_leave(&thread->record);
	}
	cleave_section_quiescent(&thread->record);
	return sum;
}

static uint64_t chase(void *self, const uint64_t *addrs, size_t n, uint64_t zero)
{
	struct bench_thread *thread = self;
	struct cleave_entry entry;
	uint64_t value = 0;

	cleave_section_enter(&thread->record);
	for (size_t i = 0; i < n; i++)
		value = (uintptr_t)cleave_lookup_rcu(thread->index, addrs[i] + (value & zero), &entry);
	cleave_section_leave(&thread->record);
	cleave_section_quiescent(&thread->record);
	return value;
}

static uint64_t chase_value(void *self, const uint64_t *addrs, size_t n, uint64_t zero)
{
	struct bench_thread *thread = self;
	uint64_t value = 0;

	cleave_section_enter(&thread->record);
	for (size_t i = 0; i < n; i++)
		value = (uintptr_t)cleave_value_rcu(thread->index, addrs[i] + (value & zero));
	cleave_section_leave(&thread->record);
	cleave_section_quiescent(&thread->record);
	return value;
}

static size_t clip(void *self, const uint64_t *addrs, size_t n)
{
	struct bench_thread *thread = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += cleave_clip(thread->index, &thread->record.thread, addrs[i]) != 0;
	cleave_section_quiescent(&thread->record);
	return failed;
}

static size_t unclip(void *self, const uint64_t *addrs, size_t n)
{
	struct bench_thread *thread = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += cleave_unclip(thread->index, &thread->record.thread, addrs[i]) != 0;
	cleave_section_quiescent(&thread->record);
	return failed;
}

static size_t clip_unclip(void *self, const uint64_t *addrs, size_t n)
{
	struct bench_thread *thread = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		failed += cleave_clip(thread->index, &thread->record.thread, addrs[i]) != 0;
		failed += cleave_unclip(thread->index, &thread->record.thread, addrs[i]) != 0;
	}
	cleave_section_quiescent(&thread->record);
	return failed;
}

static size_t erase(void *self, const struct cleave_entry *entries, size_t n)
{
	struct bench_thread *thread = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += cleave_erase(thread->index, &thread->record.thread, entries[i].first, entries[i].last,
				       NULL) != 0;
	cleave_section_quiescent(&thread->record);
	return failed;
}

static size_t store(void *self, const struct cleave_entry *entries, size_t n)
{
	struct bench_thread *thread = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += cleave_store(thread->index, &thread->record.thread, entries[i].first, entries[i].last,
				       entries[i].value, NULL) != 0;
	cleave_section_quiescent(&thread->record);
	return failed;
}

static size_t find(void *self, const struct cleave_request *requests, size_t n)
{
	struct bench_thread *thread = self;
	size_t failed = 0;
	uint64_t addr;

	cleave_section_enter(&thread->record);
	for (size_t i = 0; i < n; i++)
		failed += cleave_find_gap_rcu(thread->index, &requests[i], &addr) != 0;
	cleave_section_leave(&thread->record);
	cleave_section_quiescent(&thread->record);
	return failed;
}

static size_t alloc(void *self, const struct cleave_request *requests, struct cleave_entry *made, size_t n)
{
	struct bench_thread *thread = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		failed +=
			cleave_alloc(thread->index, &thread->record.thread, &requests[i], thread, &made[i].first) != 0;
		made[i].last = made[i].first + requests[i].size - 1;
	}
	cleave_section_quiescent(&thread->record);
	return failed;
}

static size_t iterate(void *self, uint64_t *sum)
{
	struct bench_thread *thread = self;
	struct cleave_entry entries[ITERATE_BATCH];
	uint64_t from = 0;
	size_t seen = 0;
	size_t got;

	do {
		cleave_section_enter(&thread->record);
		got = cleave_lookup_range_rcu(thread->index, from, CLEAVE_LAST, false, entries, ITERATE_BATCH);
		cleave_section_leave(&thread->record);
		seen += got;
		for (size_t i = 0; i < got; i++)
			*sum += bench_sum(entries[i].first, entries[i].last, entries[i].value);
		from = got ? entries[got - 1].last + 1 : 0;
	} while (got == ITERATE_BATCH && from);
	cleave_section_quiescent(&thread->record);
	return seen;
}

static void size(void *self, size_t *entries, size_t *bytes)
{
	struct bench_thread *thread = self;
	struct cleave_statistics statistics;

	cleave_section_enter(&thread->record);
	cleave_statistics_rcu(thread->index, &statistics);
	cleave_section_leave(&thread->record);
	*entries = statistics.entries;
	*bytes = statistics.bytes;
}

static void counters(void *self, struct bench_counters *result)
{
	const struct cleave_counters *counts = &((struct bench_thread *)self)->record.thread.counters;

	result->copies = counts->copies;
	result->splits = counts->splits;
	result->waits = counts->gp_waits;
}

#define FUNCTIONS                                                                                                   \
	.make = make, .destroy = destroy, .attach = attach, .detach = detach, .online = online, .offline = offline, \
	.lookup = lookup, .chase = chase, .lookup_value = lookup_value, .chase_value = chase_value,                 \
	.lookup_many = lookup_many, .lookup_each = lookup_each, .clip = clip, .unclip = unclip,                     \
	.clip_unclip = clip_unclip, .erase = erase, .insert = insert, .store = store, .find = find, .alloc = alloc, \
	.iterate = iterate, .size = size, .counters = counters

const struct bench_impl BENCH_FLAVOUR = { .name = BENCH_NAME, .concurrent = true, FUNCTIONS };

#ifdef BENCH_SCALAR
const struct bench_impl BENCH_SCALAR = {
	.name = BENCH_NAME " scalar", .search = "scalar", .concurrent = true, FUNCTIONS
};
#endif

#ifdef BENCH_HUGE
const struct bench_impl BENCH_HUGE = {
	.name = BENCH_NAME " huge",
	.nodes = BENCH_IN_HUGE_PAGES,
	.notes = "its nodes in huge pages, which nothing else has",
	FUNCTIONS
};
#endif
