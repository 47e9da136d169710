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

#define PEER struct judy
#include "entries.h"
#include "batches.h"

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

static size_t iterate(void *self, uint64_t *sum)
{
	struct judy *judy = self;
	Word_t first = 0;
	size_t entries = 0;
	PPvoid_t found;

	pthread_rwlock_rdlock(&judy->lock);
	for (found = JudyLFirst(judy->tree, &first, PJE0); found; found = JudyLNext(judy->tree, &first, PJE0)) {
		const struct entry *entry = *found;

		if (!entry->value)
			continue;
		entries++;
		*sum += bench_sum(first, entry->last, entry->value);
	}
	pthread_rwlock_unlock(&judy->lock);
	return entries;
}

static void size(void *self, size_t *entries, size_t *bytes)
{
	struct judy *judy = self;
	uint64_t sum = 0;

	*entries = iterate(self, &sum);
	*bytes = JudyLMemUsed(judy->tree) + *entries * peers_malloc_size(sizeof(struct entry));
}

const struct bench_impl peer_judy = {
	.name = "JudyL rwlock",
	.notes = "one pthread_rwlock; no search for free space",
	PEER_BATCHES,
	.make = make,
	.destroy = destroy,
	.iterate = iterate,
	.size = size,
};
