/* SPDX-License-Identifier: GPL-2.0+ */
/*
 * The Linux maple tree, from Debian's package linux-source, as an implementation.  This file and what it includes make
 * a module of their own, under the kernel's licence, which the benchmark loads if it was built: it is never linked to
 * the library or to the benchmark, and never installed.
 *
 * The tree is as the kernel's address spaces use it: with RCU and with gaps tracked; the lock is its own
 * (kernel/linux/spinlock.h).  Nodes come from malloc through a list per thread, as a kernel's slab keeps them per
 * processor; those that readers may still see wait for a grace period in batches (grace.h), not one call_rcu() each.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>
#include <urcu.h>

#include "grace.h"

static void maple_call_rcu(struct rcu_head *head, void (*free)(struct rcu_head *head));
#undef call_rcu
#undef synchronize_rcu
#define call_rcu(head, free) maple_call_rcu(head, free)

/* What tools/ says of the kernel's headers is no warning of ours. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wcomment"
#define lockdep_is_held(lock) 1
#ifndef fallthrough
#define fallthrough __attribute__((__fallthrough__))
#endif
#define module_init(x)
#define module_exit(x)
#define MODULE_AUTHOR(x)
#define MODULE_LICENSE(x)
#include "lib/maple_tree.c"
#pragma GCC diagnostic pop

#include "../bench.h"

#define NODE_SIZE sizeof(struct maple_node)
#define SLAB 64 /* nodes that malloc gives at a time */

struct maple_index {
	struct maple_tree tree;
	struct grace *grace;
	struct maple_thread *threads;
};

struct maple_thread {
	struct grace_thread grace; /* first */
	struct maple_index *index;
	struct maple_thread *next;
	void *free;	/* nodes */
	int64_t in_use; /* nodes taken from this thread's list, less those put back */
};

static const struct grace_calls *calls;
static __thread struct maple_thread *me; /* whose nodes the tree takes and gives */

int preempt_count;
int test_verbose;
int kmalloc_verbose;

/* ---- What the kernel supplies ---- */

struct kmem_cache {
	int unused;
};

static struct kmem_cache only_cache;
static void *slabs; /* all memory of nodes, chained; never given back while the program runs */
static pthread_mutex_t slabs_lock = PTHREAD_MUTEX_INITIALIZER;

static void refill(void)
{
	char *slab = aligned_alloc(NODE_SIZE, (SLAB + 1) * NODE_SIZE);

	if (!slab)
		abort();
	pthread_mutex_lock(&slabs_lock);
	*(void **)slab = slabs;
	slabs = slab;
	pthread_mutex_unlock(&slabs_lock);
	for (int i = SLAB; i > 0; i--) {
		*(void **)(slab + i * NODE_SIZE) = me->free;
		me->free = slab + i * NODE_SIZE;
	}
}

static inline void *take(gfp_t gfp)
{
	void *node;

	if (!me->free)
		refill();
	node = me->free;
	me->free = *(void **)node;
	me->in_use++;
	if (gfp & __GFP_ZERO)
		memset(node, 0, NODE_SIZE);
	return node;
}

static inline void put(void *node)
{
	*(void **)node = me->free;
	me->free = node;
}

void *kmem_cache_alloc_lru(struct kmem_cache *cache, struct list_lru *lru, int gfp)
{
	(void)cache;
	(void)lru;
	return take((gfp_t)gfp);
}

int kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t n, void **nodes)
{
	(void)cache;
	for (size_t i = 0; i < n; i++)
		nodes[i] = take(gfp);
	return (int)n;
}

void kmem_cache_free(struct kmem_cache *cache, void *node)
{
	(void)cache;
	me->in_use--;
	put(node);
}

void kmem_cache_free_bulk(struct kmem_cache *cache, size_t n, void **nodes)
{
	(void)cache;
	me->in_use -= (int64_t)n;
	for (size_t i = 0; i < n; i++)
		put(nodes[i]);
}

struct kmem_cache *kmem_cache_create(const char *name, unsigned int size, unsigned int align, unsigned int flags,
				     void (*ctor)(void *))
{
	(void)name;
	(void)size;
	(void)align;
	(void)flags;
	(void)ctor;
	return &only_cache;
}

/* Of a retired node the members of rcu_head are free: one for the chain, one for what frees it. */
struct retired {
	struct grace_link link;
	void (*free)(struct rcu_head *head);
};

_Static_assert(sizeof(struct retired) <= sizeof(struct rcu_head), "it fits");

static void maple_call_rcu(struct rcu_head *head, void (*free)(struct rcu_head *head))
{
	struct retired *retired = (struct retired *)head;

	retired->free = free;
	grace_retire(&me->grace, &retired->link);
}

static void release(struct grace_thread *thread, struct grace_link *link)
{
	struct retired *retired = (struct retired *)link;

	(void)thread;
	retired->free((struct rcu_head *)retired);
}

/* ---- The implementation ---- */

static void *attach(void *index)
{
	struct maple_thread *thread = aligned_alloc(64, (sizeof(*thread) + 63) & ~(size_t)63);

	if (!thread)
		abort();
	*thread = (struct maple_thread){ .grace = { .release = release }, .index = index };
	calls->attach(&thread->grace, thread->index->grace);
	thread->next = thread->index->threads;
	thread->index->threads = thread;
	return thread;
}

/* Its record stays, so that nodes can be counted. */
static void detach(void *self)
{
	struct maple_thread *thread = self;

	me = thread;
	calls->detach(&thread->grace);
}

static inline void settle(void)
{
	grace_settle(calls, &me->grace);
}

static size_t insert(void *self, const struct cleave_entry *entries, size_t n)
{
	size_t failed = 0;

	me = self;
	for (size_t i = 0; i < n; i++) {
		failed += mtree_insert_range(&me->index->tree, entries[i].first, entries[i].last, entries[i].value,
					     GFP_KERNEL) != 0;
		settle();
	}
	return failed;
}

static void *make(const struct bench_impl *impl, const struct layout *layout, const struct cleave_entry *order)
{
	struct maple_index *index = aligned_alloc(64, (sizeof(*index) + 63) & ~(size_t)63);
	struct maple_thread *thread;

	(void)impl;
	if (!index)
		abort();
	memset(index, 0, sizeof(*index));
	mt_init_flags(&index->tree, MT_FLAGS_ALLOC_RANGE | MT_FLAGS_USE_RCU);
	index->grace = calls->start();
	thread = attach(index);
	if (insert(thread, order ? order : layout->entries, layout->n))
		abort();
	detach(thread);
	return index;
}

static void destroy(void *self)
{
	struct maple_index *index = self;

	me = attach(index);
	mtree_destroy(&index->tree);
	detach(me);
	calls->stop(index->grace);
	for (struct maple_thread *thread = index->threads, *next; thread; thread = next) {
		next = thread->next;
		free(thread);
	}
	free(index);
}

static uint64_t lookup(void *self, const uint64_t *addrs, size_t n)
{
	struct maple_thread *thread = self;
	uint64_t sum = 0;

	rcu_read_lock();
	for (size_t i = 0; i < n; i++) {
		MA_STATE(mas, &thread->index->tree, addrs[i], addrs[i]);

		sum += (uintptr_t)mas_walk(&mas);
	}
	rcu_read_unlock();
	return sum;
}

static uint64_t lookup_each(void *self, const uint64_t *addrs, size_t n)
{
	struct maple_thread *thread = self;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		MA_STATE(mas, &thread->index->tree, addrs[i], addrs[i]);

		rcu_read_lock();
		sum += (uintptr_t)mas_walk(&mas);
		rcu_read_unlock();
	}
	return sum;
}

static uint64_t chase(void *self, const uint64_t *addrs, size_t n, uint64_t zero)
{
	struct maple_thread *thread = self;
	uint64_t value = 0;

	rcu_read_lock();
	for (size_t i = 0; i < n; i++) {
		uint64_t addr = addrs[i] + (value & zero);
		MA_STATE(mas, &thread->index->tree, addr, addr);

		value = (uintptr_t)mas_walk(&mas);
	}
	rcu_read_unlock();
	return value;
}

/* As the kernel's split of a mapping: find it, and store the upper half over it. */
static inline bool clip_one(struct maple_tree *tree, uint64_t addr)
{
	MA_STATE(mas, tree, addr, addr);
	bool good;
	void *value;

	mtree_lock(tree);
	value = mas_walk(&mas);
	good = value != NULL;
	if (good && mas.index != addr) {
		mas.index = addr;
		good = !mas_store_gfp(&mas, value, GFP_KERNEL);
	}
	mtree_unlock(tree);
	settle();
	return good;
}

static inline bool unclip_one(struct maple_tree *tree, uint64_t addr)
{
	MA_STATE(mas, tree, addr, addr);
	bool good = false;
	void *value;

	mtree_lock(tree);
	value = mas_walk(&mas);
	if (value && mas.index == addr) {
		uint64_t last = mas.last;

		if (mas_prev(&mas, 0) == value && mas.last + 1 == addr) {
			mas.last = last;
			good = !mas_store_gfp(&mas, value, GFP_KERNEL);
		}
	}
	mtree_unlock(tree);
	settle();
	return good;
}

static size_t clip(void *self, const uint64_t *addrs, size_t n)
{
	size_t failed = 0;

	me = self;
	for (size_t i = 0; i < n; i++)
		failed += !clip_one(&me->index->tree, addrs[i]);
	return failed;
}

static size_t unclip(void *self, const uint64_t *addrs, size_t n)
{
	size_t failed = 0;

	me = self;
	for (size_t i = 0; i < n; i++)
		failed += !unclip_one(&me->index->tree, addrs[i]);
	return failed;
}

static size_t clip_unclip(void *self, const uint64_t *addrs, size_t n)
{
	size_t failed = 0;

	me = self;
	for (size_t i = 0; i < n; i++) {
		failed += !clip_one(&me->index->tree, addrs[i]);
		failed += !unclip_one(&me->index->tree, addrs[i]);
	}
	return failed;
}

static bool store_one(struct maple_tree *tree, uint64_t first, uint64_t last, void *value)
{
	MA_STATE(mas, tree, first, last);
	bool good;

	mtree_lock(tree);
	good = !mas_store_gfp(&mas, value, GFP_KERNEL);
	mtree_unlock(tree);
	settle();
	return good;
}

static size_t erase(void *self, const struct cleave_entry *entries, size_t n)
{
	size_t failed = 0;

	me = self;
	for (size_t i = 0; i < n; i++)
		failed += !store_one(&me->index->tree, entries[i].first, entries[i].last, NULL);
	return failed;
}

static size_t store(void *self, const struct cleave_entry *entries, size_t n)
{
	size_t failed = 0;

	me = self;
	for (size_t i = 0; i < n; i++)
		failed += !store_one(&me->index->tree, entries[i].first, entries[i].last, entries[i].value);
	return failed;
}

/* The maple tree knows no alignment: all that is in it is aligned here, so that the window is enough. */
static inline int search(struct ma_state *mas, const struct cleave_request *request)
{
	uint64_t mask = request->align - 1;
	uint64_t min = (request->min + mask) & ~mask;
	uint64_t max = request->max == UINT64_MAX ? request->max : ((request->max + 1) & ~mask) - 1;

	if (request->order == CLEAVE_LOWEST)
		return mas_empty_area(mas, min, max, request->size);
	return mas_empty_area_rev(mas, min, max, request->size);
}

static inline uint64_t place(const struct ma_state *mas, const struct cleave_request *request)
{
	return request->order == CLEAVE_LOWEST ? mas->index : mas->last - request->size + 1;
}

static size_t find(void *self, const struct cleave_request *requests, size_t n)
{
	struct maple_thread *thread = self;
	size_t failed = 0;

	rcu_read_lock();
	for (size_t i = 0; i < n; i++) {
		MA_STATE(mas, &thread->index->tree, 0, 0);

		failed += search(&mas, &requests[i]) != 0;
	}
	rcu_read_unlock();
	return failed;
}

static size_t alloc(void *self, const struct cleave_request *requests, struct cleave_entry *made, size_t n)
{
	size_t failed = 0;

	me = self;
	for (size_t i = 0; i < n; i++) {
		struct maple_tree *tree = &me->index->tree;
		MA_STATE(mas, tree, 0, 0);

		mtree_lock(tree);
		if (search(&mas, &requests[i])) {
			failed++;
		} else {
			made[i].first = place(&mas, &requests[i]);
			made[i].last = made[i].first + requests[i].size - 1;
			mas_set_range(&mas, made[i].first, made[i].last);
			failed += mas_store_gfp(&mas, me, GFP_KERNEL) != 0;
		}
		mtree_unlock(tree);
		settle();
	}
	return failed;
}

static size_t iterate(void *self, uint64_t *sum)
{
	struct maple_thread *thread = self;
	MA_STATE(mas, &thread->index->tree, 0, 0);
	size_t entries = 0;
	void *entry;

	rcu_read_lock();
	mas_for_each(&mas, entry, ULONG_MAX) {
		entries++;
		*sum += bench_sum(mas.index, mas.last, entry);
	}
	rcu_read_unlock();
	return entries;
}

/* One thread changes it, so that all that was retired can be waited for; a link may stand for a whole subtree. */
static void size(void *self, size_t *entries, size_t *bytes)
{
	int64_t nodes = 0;
	uint64_t sum = 0;

	me = self;
	calls->drain(&me->grace);
	*entries = iterate(self, &sum);
	for (struct maple_thread *thread = me->index->threads; thread; thread = thread->next)
		nodes += thread->in_use;
	*bytes = (size_t)nodes * NODE_SIZE;
}

static const struct bench_impl maple = {
	.name = "maple tree",
	.notes = "Linux 6.1, one lock for writers; no search with an alignment",
	.peer = true,
	.concurrent = true,
	.make = make,
	.destroy = destroy,
	.attach = attach,
	.detach = detach,
	.lookup = lookup,
	.lookup_each = lookup_each,
	.chase = chase,
	.clip = clip,
	.unclip = unclip,
	.clip_unclip = clip_unclip,
	.erase = erase,
	.insert = insert,
	.store = store,
	.find = find,
	.alloc = alloc,
	.iterate = iterate,
	.size = size,
};

__attribute__((visibility("default"))) const struct bench_impl *bench_module(const struct grace_calls *grace);

const struct bench_impl *bench_module(const struct grace_calls *grace)
{
	calls = grace;
	return &maple;
}
