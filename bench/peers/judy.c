/* SPDX-License-Identifier: ISC */
/*
 * JudyL under a rwlock: first addresses to entries from malloc.  Judy allocates with malloc() by itself.  It has no
 * search for free space.
 */
#include "peers.h"

#include <Judy.h>
#include <pthread.h>
#include <stdlib.h>

struct entry {
	uint64_t last;
	void *value;
};

struct judy {
	_Alignas(64) pthread_rwlock_t lock;
	_Alignas(64) Pvoid_t tree;
};

static struct entry *new (void)
{
	return need(malloc(sizeof(struct entry)));
}

/* The entry with the greatest first address <= *first, which becomes *first. */
static inline struct entry *floor_of(const struct judy *judy, Word_t *first)
{
	PPvoid_t found = JudyLLast(judy->tree, first, PJE0);

	return found ? *found : NULL;
}

static inline void *search(const struct judy *judy, uint64_t addr)
{
	Word_t first = addr;
	const struct entry *entry = floor_of(judy, &first);

	return entry && addr <= entry->last ? entry->value : NULL;
}

static void put(struct judy *judy, Word_t first, struct entry *entry)
{
	PPvoid_t place = JudyLIns(&judy->tree, first, PJE0);

	if (!place || place == PPJERR)
		abort();
	*place = entry;
}

static bool clip_locked(struct judy *judy, uint64_t addr, struct entry **spare)
{
	Word_t first = addr;
	struct entry *lower = floor_of(judy, &first), *upper = *spare;

	if (!lower || addr > lower->last)
		return false;
	if (first == addr)
		return true;
	*spare = NULL;
	*upper = *lower;
	lower->last = addr - 1;
	put(judy, addr, upper);
	return true;
}

static bool unclip_locked(struct judy *judy, uint64_t addr, struct entry **spare)
{
	Word_t first = addr, below = addr - 1;
	struct entry *upper = floor_of(judy, &first), *lower = floor_of(judy, &below);

	if (!upper || first != addr || !lower || lower->value != upper->value || lower->last + 1 != addr)
		return false;
	lower->last = upper->last;
	JudyLDel(&judy->tree, addr, PJE0);
	*spare = upper;
	return true;
}

static bool insert_locked(struct judy *judy, const struct cleave_entry *wanted, struct entry **spare)
{
	Word_t first = wanted->last;
	struct entry *below = floor_of(judy, &first), *entry = *spare;

	if (below && below->last >= wanted->first)
		return false;
	*spare = NULL;
	*entry = (struct entry){ wanted->last, wanted->value };
	put(judy, wanted->first, entry);
	return true;
}

/* Entries taken out are chained by `value`. */
static void erase_locked(struct judy *judy, uint64_t from, uint64_t to, struct entry *spare[2], struct entry **gone)
{
	Word_t first = from;
	PPvoid_t found;

	clip_locked(judy, from, &spare[0]);
	if (to != UINT64_MAX)
		clip_locked(judy, to + 1, &spare[1]);
	while ((found = JudyLFirst(judy->tree, &first, PJE0)) != NULL && first <= to) {
		struct entry *entry = *found;

		JudyLDel(&judy->tree, first, PJE0);
		entry->value = *gone;
		*gone = entry;
	}
}

/* ---- The implementation ---- */

static void *attach(void *index)
{
	return index;
}

static size_t insert(void *self, const struct cleave_entry *entries, size_t n)
{
	struct judy *judy = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		struct entry *spare = new ();

		pthread_rwlock_wrlock(&judy->lock);
		failed += !insert_locked(judy, &entries[i], &spare);
		pthread_rwlock_unlock(&judy->lock);
		free(spare);
	}
	return failed;
}

static void *make(const struct bench_impl *impl, const struct layout *layout, const struct cleave_entry *order)
{
	struct judy *judy = need(aligned_alloc(64, sizeof(*judy)));

	(void)impl;
	pthread_rwlock_init(&judy->lock, NULL);
	judy->tree = NULL;
	if (insert(judy, order ? order : layout->entries, layout->n))
		abort();
	return judy;
}

static void destroy(void *self)
{
	struct judy *judy = self;
	Word_t first = 0;
	PPvoid_t found;

	for (found = JudyLFirst(judy->tree, &first, PJE0); found; found = JudyLNext(judy->tree, &first, PJE0))
		free(*found);
	JudyLFreeArray(&judy->tree, PJE0);
	pthread_rwlock_destroy(&judy->lock);
	free(judy);
}

static uint64_t lookup(void *self, const uint64_t *addrs, size_t n)
{
	struct judy *judy = self;
	uint64_t sum = 0;

	pthread_rwlock_rdlock(&judy->lock);
	for (size_t i = 0; i < n; i++)
		sum += (uintptr_t)search(judy, addrs[i]);
	pthread_rwlock_unlock(&judy->lock);
	return sum;
}

static uint64_t lookup_each(void *self, const uint64_t *addrs, size_t n)
{
	struct judy *judy = self;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		pthread_rwlock_rdlock(&judy->lock);
		sum += (uintptr_t)search(judy, addrs[i]);
		pthread_rwlock_unlock(&judy->lock);
	}
	return sum;
}

static uint64_t chase(void *self, const uint64_t *addrs, size_t n, uint64_t zero)
{
	struct judy *judy = self;
	uint64_t value = 0;

	pthread_rwlock_rdlock(&judy->lock);
	for (size_t i = 0; i < n; i++)
		value = (uintptr_t)search(judy, addrs[i] + (value & zero));
	pthread_rwlock_unlock(&judy->lock);
	return value;
}

static bool clip_one(struct judy *judy, uint64_t addr)
{
	struct entry *spare = new ();
	bool good;

	pthread_rwlock_wrlock(&judy->lock);
	good = clip_locked(judy, addr, &spare);
	pthread_rwlock_unlock(&judy->lock);
	free(spare);
	return good;
}

static bool unclip_one(struct judy *judy, uint64_t addr)
{
	struct entry *spare = NULL;
	bool good;

	pthread_rwlock_wrlock(&judy->lock);
	good = unclip_locked(judy, addr, &spare);
	pthread_rwlock_unlock(&judy->lock);
	free(spare);
	return good;
}

static size_t clip(void *self, const uint64_t *addrs, size_t n)
{
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += !clip_one(self, addrs[i]);
	return failed;
}

static size_t unclip(void *self, const uint64_t *addrs, size_t n)
{
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += !unclip_one(self, addrs[i]);
	return failed;
}

static size_t clip_unclip(void *self, const uint64_t *addrs, size_t n)
{
	size_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		failed += !clip_one(self, addrs[i]);
		failed += !unclip_one(self, addrs[i]);
	}
	return failed;
}

static bool replace(struct judy *judy, const struct cleave_entry *entry, bool store)
{
	struct entry *spare[3] = { new (), new (), store ? new () : NULL }, *gone = NULL, *next;
	bool good = true;

	pthread_rwlock_wrlock(&judy->lock);
	erase_locked(judy, entry->first, entry->last, spare, &gone);
	if (store)
		good = insert_locked(judy, entry, &spare[2]);
	pthread_rwlock_unlock(&judy->lock);
	for (; gone; gone = next) {
		next = gone->value;
		free(gone);
	}
	for (int i = 0; i < 3; i++)
		free(spare[i]);
	return good;
}

static size_t erase(void *self, const struct cleave_entry *entries, size_t n)
{
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += !replace(self, &entries[i], false);
	return failed;
}

static size_t store(void *self, const struct cleave_entry *entries, size_t n)
{
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += !replace(self, &entries[i], true);
	return failed;
}

static size_t iterate(void *self)
{
	struct judy *judy = self;
	Word_t first = 0;
	size_t entries = 0;
	PPvoid_t found;

	pthread_rwlock_rdlock(&judy->lock);
	for (found = JudyLFirst(judy->tree, &first, PJE0); found; found = JudyLNext(judy->tree, &first, PJE0))
		entries += ((const struct entry *)*found)->value != NULL;
	pthread_rwlock_unlock(&judy->lock);
	return entries;
}

static void size(void *self, size_t *entries, size_t *bytes)
{
	struct judy *judy = self;

	*entries = iterate(self);
	*bytes = JudyLMemUsed(judy->tree) + *entries * peers_malloc_size(sizeof(struct entry));
}

const struct bench_impl peer_judy = {
	.name = "JudyL rwlock",
	.notes = "one pthread_rwlock; no search for free space",
	.peer = true,
	.concurrent = true,
	.make = make,
	.destroy = destroy,
	.attach = attach,
	.lookup = lookup,
	.lookup_each = lookup_each,
	.chase = chase,
	.clip = clip,
	.unclip = unclip,
	.clip_unclip = clip_unclip,
	.erase = erase,
	.insert = insert,
	.store = store,
	.iterate = iterate,
	.size = size,
};
