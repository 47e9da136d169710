/* SPDX-License-Identifier: ISC */
/*
 * Two other fault paths, each built with the same care.  Neither keeps accounts, nor an order of free space.
 *
 *	amap rwlock	as BSD kernels do it: entries in a red-black tree under a rwlock; a fault in memory without an
 *		amap takes the lock for writing, cuts the entry to 64 KiB and makes an amap of 16 slots; then the
 *		amap's lock, exclusive
 *	slots rwlock	the same tree and lock, never cut, and one array of slots for the entry, filled by
 *		compare-and-swap: all that is left of it is the lock of the map
 */
#include "faults.h"

#include <bsd/sys/tree.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK FAULTS_CHUNK

struct anon {
	uint64_t shares;
	uint64_t page;
};

struct amap {
	pthread_mutex_t lock;
	uint64_t shares;
	struct anon *anons[CHUNK];
};

struct entry {
	RB_ENTRY(entry) link;
	uint64_t start;
	uint64_t end;
	uint64_t offset;     /* pages, in the amap */
	struct amap *amap;   /* amap */
	struct anon **slots; /* tree */
	bool needs_copy;
};

RB_HEAD(entries, entry);

struct world {
	pthread_rwlock_t lock;
	uint64_t timestamp;
	struct entries entries;
	uint64_t n;
	uint64_t others;
	uint64_t pages;
	bool chunked;
};

struct thread {
	struct world *world;
};

static _Thread_local uint64_t next_page;

static int by_start(const struct entry *one, const struct entry *other)
{
	return one->start < other->start ? -1 : one->start > other->start;
}

RB_GENERATE_INTERNAL(entries, entry, link, by_start, __attribute__((unused)) static)

static struct entry *lookup(struct world *world, uint64_t addr)
{
	struct entry *entry = RB_ROOT(&world->entries), *found = NULL;

	while (entry) {
		if (addr < entry->start) {
			entry = RB_LEFT(entry, link);
		} else {
			found = entry;
			entry = RB_RIGHT(entry, link);
		}
	}
	return found && addr < found->end ? found : NULL;
}

static struct entry *add_entry(struct world *world, uint64_t start, uint64_t end)
{
	struct entry *entry = need(faults_alloc(sizeof(*entry)));

	*entry = (struct entry){ .start = start, .end = end, .needs_copy = true };
	RB_INSERT(entries, &world->entries, entry);
	world->n++;
	return entry;
}

static void *make(uint64_t pages, const struct layout *others, bool chunked)
{
	struct world *world = need(calloc(1, sizeof(*world)));
	struct entry *entry;

	pthread_rwlock_init(&world->lock, NULL);
	RB_INIT(&world->entries);
	world->chunked = chunked;
	world->pages = pages;
	world->others = others->n;
	entry = add_entry(world, FAULTS_BASE, FAULTS_BASE + pages * FAULTS_PAGE);
	if (!chunked) {
		entry->slots = need(calloc(pages, sizeof(*entry->slots)));
		memset(entry->slots, 0, pages * sizeof(*entry->slots));
		entry->needs_copy = false;
	}
	for (size_t i = 0; i < others->n; i++)
		add_entry(world, others->entries[i].first, others->entries[i].last + 1);
	return world;
}

static void *amap_make(uint64_t pages, const struct layout *others)
{
	return make(pages, others, true);
}

static void *tree_make(uint64_t pages, const struct layout *others)
{
	return make(pages, others, false);
}

static void anon_put(struct anon *anon)
{
	if (anon && __atomic_fetch_sub(&anon->shares, 1, __ATOMIC_ACQ_REL) == 1)
		faults_free(anon, sizeof(*anon));
}

static void amap_put(struct amap *amap)
{
	if (__atomic_fetch_sub(&amap->shares, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	for (unsigned int i = 0; i < CHUNK; i++)
		anon_put(amap->anons[i]);
	faults_free(amap, sizeof(*amap));
}

static void destroy(void *at)
{
	struct world *world = at;
	struct entry *entry, *next;

	RB_FOREACH_SAFE(entry, entries, &world->entries, next)
	{
		RB_REMOVE(entries, &world->entries, entry);
		if (entry->amap)
			amap_put(entry->amap);
		for (uint64_t i = 0; entry->slots && i < world->pages; i++)
			anon_put(entry->slots[i]);
		free(entry->slots);
		faults_free(entry, sizeof(*entry));
	}
	pthread_rwlock_destroy(&world->lock);
	free(world);
}

static void *attach(void *world)
{
	struct thread *thread = need(malloc(sizeof(*thread)));

	thread->world = world;
	return thread;
}

static void detach(void *thread)
{
	free(thread);
}

/* What it holds is freed after the lock was released. */
static size_t remap(void *at, const struct cleave_entry *wanted)
{
	struct world *world = ((struct thread *)at)->world;
	struct entry *entry, *fresh = need(faults_alloc(sizeof(*fresh)));
	size_t failed = 0;

	*fresh = (struct entry){ .start = wanted->first, .end = wanted->last + 1, .needs_copy = true };
	pthread_rwlock_wrlock(&world->lock);
	world->timestamp++;
	entry = lookup(world, wanted->first);
	if (entry && entry->start == wanted->first && entry->end == wanted->last + 1)
		RB_REMOVE(entries, &world->entries, entry);
	else
		entry = NULL;
	pthread_rwlock_unlock(&world->lock);
	if (entry)
		faults_free(entry, sizeof(*entry));
	failed += !entry;
	pthread_rwlock_wrlock(&world->lock);
	world->timestamp++;
	entry = lookup(world, wanted->last);
	if (!entry || entry->end <= wanted->first)
		RB_INSERT(entries, &world->entries, fresh);
	else
		failed++;
	pthread_rwlock_unlock(&world->lock);
	return failed;
}

static struct anon *make_anon(void)
{
	struct anon *anon = need(faults_alloc(sizeof(*anon)));

	*anon = (struct anon){ 1, next_page += 2 };
	return anon;
}

/* ---- amap ---- */

/* Under the lock, exclusive. */
static void clip(struct world *world, struct entry *entry, uint64_t addr)
{
	struct entry *lower;

	if (addr <= entry->start || addr >= entry->end)
		return;
	RB_REMOVE(entries, &world->entries, entry);
	lower = need(faults_alloc(sizeof(*lower)));
	*lower = *entry;
	lower->end = addr;
	entry->start = addr;
	world->n++;
	RB_INSERT(entries, &world->entries, lower);
	RB_INSERT(entries, &world->entries, entry);
}

static void copy_amap(struct world *world, uint64_t addr)
{
	struct entry *entry;
	struct amap *amap;

	pthread_rwlock_wrlock(&world->lock);
	world->timestamp++;
	entry = lookup(world, addr);
	if (entry && entry->needs_copy && !entry->amap) {
		uint64_t size = CHUNK * FAULTS_PAGE, low = addr & ~(size - 1);

		clip(world, entry, low);
		if (low + size < entry->end) {
			clip(world, entry, low + size);
			entry = lookup(world, addr);
		}
		amap = need(faults_alloc(sizeof(*amap)));
		memset(amap, 0, sizeof(*amap));
		pthread_mutex_init(&amap->lock, NULL);
		amap->shares = 1;
		entry->amap = amap;
		entry->needs_copy = false;
	} else if (entry && entry->needs_copy) {
		struct amap *old = entry->amap;

		if (old->shares > 1) {
			amap = need(faults_alloc(sizeof(*amap)));
			memset(amap, 0, sizeof(*amap));
			pthread_mutex_init(&amap->lock, NULL);
			amap->shares = 1;
			for (unsigned int i = 0; i < CHUNK; i++) {
				amap->anons[i] = old->anons[i];
				if (amap->anons[i])
					__atomic_fetch_add(&amap->anons[i]->shares, 1, __ATOMIC_RELAXED);
			}
			entry->amap = amap;
			amap_put(old);
		}
		entry->needs_copy = false;
	}
	pthread_rwlock_unlock(&world->lock);
}

static size_t amap_touch(void *at, const uint64_t *pages, size_t n)
{
	struct world *world = ((struct thread *)at)->world;

	for (size_t i = 0; i < n; i++) {
		uint64_t addr = FAULTS_BASE + pages[i] * FAULTS_PAGE;
		struct anon *old = NULL, **slot;
		struct entry *entry;

		for (;;) {
			pthread_rwlock_rdlock(&world->lock);
			entry = lookup(world, addr);
			if (!entry)
				return n;
			if (!entry->needs_copy)
				break;
			pthread_rwlock_unlock(&world->lock);
			copy_amap(world, addr);
		}
		pthread_mutex_lock(&entry->amap->lock);
		slot = &entry->amap->anons[(addr - entry->start) / FAULTS_PAGE];
		if (!*slot || (*slot)->shares > 1) {
			old = *slot;
			*slot = make_anon();
		}
		faults_enter(world, addr, (*slot)->page);
		pthread_mutex_unlock(&entry->amap->lock);
		pthread_rwlock_unlock(&world->lock);
		if (old)
			anon_put(old);
	}
	return 0;
}

static void *amap_fork(void *at)
{
	struct world *world = ((struct thread *)at)->world, *child = need(calloc(1, sizeof(*child)));
	struct entry *entry;

	pthread_rwlock_init(&child->lock, NULL);
	RB_INIT(&child->entries);
	child->chunked = true;
	pthread_rwlock_wrlock(&world->lock);
	world->timestamp++;
	RB_FOREACH(entry, entries, &world->entries)
	{
		struct entry *copy = need(faults_alloc(sizeof(*copy)));

		*copy = *entry;
		copy->needs_copy = entry->needs_copy = true;
		if (copy->amap)
			copy->amap->shares++;
		RB_INSERT(entries, &child->entries, copy);
		child->n++;
	}
	pthread_rwlock_unlock(&world->lock);
	return child;
}

/* ---- tree ---- */

static size_t tree_touch(void *at, const uint64_t *pages, size_t n)
{
	struct world *world = ((struct thread *)at)->world;

	for (size_t i = 0; i < n; i++) {
		uint64_t addr = FAULTS_BASE + pages[i] * FAULTS_PAGE;
		struct anon *none = NULL, *fresh, *there;
		struct entry *entry;
		struct anon **slot;

		pthread_rwlock_rdlock(&world->lock);
		entry = lookup(world, addr);
		if (!entry)
			return n;
		slot = &entry->slots[(addr - entry->start) / FAULTS_PAGE];
		there = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
		if (!there) {
			fresh = make_anon();
			there = fresh;
			if (!__atomic_compare_exchange_n(slot, &none, fresh, false, __ATOMIC_ACQ_REL,
							 __ATOMIC_ACQUIRE)) {
				anon_put(fresh);
				there = none;
			}
		}
		faults_enter(world, addr, there->page);
		pthread_rwlock_unlock(&world->lock);
	}
	return 0;
}

static void exit_world(void *thread, void *child)
{
	(void)thread;
	destroy(child);
}

static uint64_t count(void *at)
{
	const struct world *world = ((struct thread *)at)->world;

	return world->n - world->others;
}

const struct faults_impl faults_amap = {
	.name = "amap rwlock",
	.peer = true,
	.make = amap_make,
	.destroy = destroy,
	.attach = attach,
	.detach = detach,
	.touch = amap_touch,
	.remap = remap,
	.fork = amap_fork,
	.exit = exit_world,
	.entries = count,
};

const struct faults_impl faults_tree = {
	.name = "slots rwlock",
	.peer = true,
	.make = tree_make,
	.destroy = destroy,
	.attach = attach,
	.detach = detach,
	.touch = tree_touch,
	.remap = remap,
	.entries = count,
};
