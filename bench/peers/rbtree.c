/* SPDX-License-Identifier: ISC */
/*
 * BSD's sys/tree.h red-black tree under a rwlock, as OpenBSD keeps its map entries: one node an entry, augmented with
 * the free space behind it, so that free space is found in O(log n).  An entry that a change needs is allocated before
 * the lock is taken, one that it frees is freed after.
 */
#include "peers.h"

#include <pthread.h>
#include <stdlib.h>

struct entry;
static inline void augment(struct entry *entry);
#define RB_AUGMENT(entry) augment(entry)
#include <bsd/sys/tree.h>

struct entry {
	RB_ENTRY(entry) link;
	uint64_t first;
	uint64_t last;
	void *value;
	uint64_t gap;	  /* free addresses between this entry and the next one */
	uint64_t largest; /* of the gaps in its subtree */
};

RB_HEAD(tree, entry);

struct rbtree {
	_Alignas(64) pthread_rwlock_t lock;
	_Alignas(64) struct tree tree;
	struct entry *lowest; /* an entry of one address, 0: free space below all others stands behind it */
};

static inline uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline void augment(struct entry *entry)
{
	struct entry *left = RB_LEFT(entry, link), *right = RB_RIGHT(entry, link);
	uint64_t largest = entry->gap;

	if (left)
		largest = larger(largest, left->largest);
	if (right)
		largest = larger(largest, right->largest);
	entry->largest = largest;
}

static inline void augment_up(struct entry *entry)
{
	for (; entry; entry = RB_PARENT(entry, link))
		augment(entry);
}

static inline int compare(const struct entry *a, const struct entry *b)
{
	return (a->first > b->first) - (a->first < b->first);
}

RB_GENERATE_INTERNAL(tree, entry, link, compare, __attribute__((unused)) static)

/* ---- One change, under the lock ---- */

/* The entry that holds the address, or NULL. */
static inline struct entry *entry_at(const struct rbtree *index, uint64_t addr)
{
	struct entry *entry = RB_ROOT(&index->tree);

	while (entry) {
		if (addr < entry->first)
			entry = RB_LEFT(entry, link);
		else if (addr > entry->last)
			entry = RB_RIGHT(entry, link);
		else
			break;
	}
	return entry;
}

/* The entry with the greatest first address <= addr; there is always one. */
static inline struct entry *floor_of(const struct rbtree *index, uint64_t addr)
{
	struct entry *entry = RB_ROOT(&index->tree), *found = NULL;

	while (entry) {
		if (addr < entry->first) {
			entry = RB_LEFT(entry, link);
		} else {
			found = entry;
			entry = RB_RIGHT(entry, link);
		}
	}
	return found;
}

/* Put a new entry behind `before`, into its gap or where its end was cut off. */
static void add(struct rbtree *index, struct entry *before, struct entry *entry)
{
	uint64_t end = before->last + before->gap; /* the last free address, as far as it was free */

	before->gap = entry->first - before->last - 1;
	entry->gap = end - entry->last;
	RB_INSERT(tree, &index->tree, entry);
	/* The one before was above the new entry, or a rotation has just brought it up to date. */
	augment_up(entry);
}

/* Its range goes to the entry before if that is adjacent and shall grow, else to that one's gap. */
static void take_out(struct rbtree *index, struct entry *before, struct entry *entry, bool join)
{
	/* Without a left child it stands below the one before, whose path its parent's is part of. */
	struct entry *from = RB_LEFT(entry, link) ? before : RB_PARENT(entry, link);
	uint64_t end = entry->last + entry->gap;

	if (join)
		before->last = entry->last;
	before->gap = end - before->last;
	RB_REMOVE(tree, &index->tree, entry);
	augment_up(from);
}

static bool clip_locked(struct rbtree *index, uint64_t addr, struct entry **spare)
{
	struct entry *lower = entry_at(index, addr), *upper = *spare;

	if (!lower || !lower->value)
		return false;
	if (lower->first == addr)
		return true;
	*spare = NULL;
	upper->first = addr;
	upper->last = lower->last;
	upper->value = lower->value;
	lower->last = addr - 1;
	lower->gap += upper->last - lower->last;
	add(index, lower, upper);
	return true;
}

static bool unclip_locked(struct rbtree *index, uint64_t addr, struct entry **spare)
{
	struct entry *upper = entry_at(index, addr), *lower;

	if (!upper || upper->first != addr || !(lower = RB_PREV(tree, &index->tree, upper)) ||
	    lower->value != upper->value || lower->last + 1 != addr)
		return false;
	take_out(index, lower, upper, true);
	*spare = upper;
	return true;
}

static bool insert_locked(struct rbtree *index, const struct cleave_entry *wanted, struct entry **spare)
{
	struct entry *before = floor_of(index, wanted->first), *entry = *spare;

	if (before->last >= wanted->first || before->gap < wanted->last - before->last)
		return false;
	*spare = NULL;
	entry->first = wanted->first;
	entry->last = wanted->last;
	entry->value = wanted->value;
	add(index, before, entry);
	return true;
}

/* Make [first, last] free: clip both ends, take out what is between.  Entries taken out are chained by `value`. */
static void erase_locked(struct rbtree *index, uint64_t first, uint64_t last, struct entry *spare[2],
			 struct entry **gone)
{
	struct entry *before, *entry, *next;

	clip_locked(index, first, &spare[0]);
	if (last != UINT64_MAX)
		clip_locked(index, last + 1, &spare[1]);
	before = floor_of(index, first - 1);
	for (entry = RB_NEXT(tree, &index->tree, before); entry && entry->first <= last; entry = next) {
		next = RB_NEXT(tree, &index->tree, entry);
		take_out(index, before, entry, false);
		entry->value = *gone;
		*gone = entry;
	}
}

/* ---- Free space ---- */

#define NOWHERE UINT64_MAX

static inline bool fits(const struct entry *entry, const struct cleave_request *request, uint64_t *first,
			uint64_t *last)
{
	uint64_t mask = request->align - 1;

	if (entry->gap < request->size)
		return false;
	*first = (larger(entry->last + 1, request->min) + mask) & ~mask;
	*last = entry->last + entry->gap < request->max ? entry->last + entry->gap : request->max;
	return *first <= *last && *last - *first >= request->size - 1;
}

static uint64_t lowest(const struct entry *entry, const struct cleave_request *request)
{
	uint64_t first, last, found = NOWHERE;

	if (!entry || entry->largest < request->size)
		return NOWHERE;
	if (entry->first > request->min)
		found = lowest(RB_LEFT(entry, link), request);
	if (found != NOWHERE)
		return found;
	if (fits(entry, request, &first, &last))
		return first;
	return entry->last < request->max ? lowest(RB_RIGHT(entry, link), request) : NOWHERE;
}

static uint64_t highest(const struct entry *entry, const struct cleave_request *request)
{
	uint64_t first, last, found = NOWHERE;

	if (!entry || entry->largest < request->size)
		return NOWHERE;
	if (entry->last < request->max)
		found = highest(RB_RIGHT(entry, link), request);
	if (found != NOWHERE)
		return found;
	if (fits(entry, request, &first, &last)) {
		found = (last - request->size + 1) & ~(request->align - 1);
		if (found >= first)
			return found;
	}
	return entry->first > request->min ? highest(RB_LEFT(entry, link), request) : NOWHERE;
}

static uint64_t find_locked(const struct rbtree *index, const struct cleave_request *request)
{
	if (request->order == CLEAVE_LOWEST)
		return lowest(RB_ROOT(&index->tree), request);
	return highest(RB_ROOT(&index->tree), request);
}

/* ---- The implementation ---- */

static inline void *search(const struct rbtree *index, uint64_t addr)
{
	const struct entry *entry = entry_at(index, addr);

	return entry ? entry->value : NULL;
}

static struct entry *new (void)
{
	return need(malloc(sizeof(struct entry)));
}

#define PEER struct rbtree
#include "entries.h"
#include "batches.h"

static void *make(const struct bench_impl *impl, const struct layout *layout, const struct cleave_entry *order)
{
	struct rbtree *index = need(aligned_alloc(64, sizeof(*index)));

	(void)impl;
	pthread_rwlock_init(&index->lock, NULL);
	RB_INIT(&index->tree);
	index->lowest = new ();
	*index->lowest = (struct entry){ .gap = UINT64_MAX };
	RB_INSERT(tree, &index->tree, index->lowest);
	augment(index->lowest);
	if (insert(index, order ? order : layout->entries, layout->n))
		abort();
	return index;
}

static void destroy(void *self)
{
	struct rbtree *index = self;
	struct entry *entry;

	while ((entry = RB_ROOT(&index->tree)) != NULL) {
		RB_REMOVE(tree, &index->tree, entry);
		free(entry);
	}
	pthread_rwlock_destroy(&index->lock);
	free(index);
}

static size_t find(void *self, const struct cleave_request *requests, size_t n)
{
	struct rbtree *index = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		pthread_rwlock_rdlock(&index->lock);
		failed += find_locked(index, &requests[i]) == NOWHERE;
		pthread_rwlock_unlock(&index->lock);
	}
	return failed;
}

static size_t alloc(void *self, const struct cleave_request *requests, struct cleave_entry *made, size_t n)
{
	struct rbtree *index = self;
	size_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		struct entry *spare = new ();

		pthread_rwlock_wrlock(&index->lock);
		made[i].first = find_locked(index, &requests[i]);
		made[i].last = made[i].first + requests[i].size - 1;
		made[i].value = index;
		failed += made[i].first == NOWHERE || !insert_locked(index, &made[i], &spare);
		pthread_rwlock_unlock(&index->lock);
		free(spare);
	}
	return failed;
}

static size_t iterate(void *self, uint64_t *sum)
{
	struct rbtree *index = self;
	struct entry *entry;
	size_t entries = 0;

	pthread_rwlock_rdlock(&index->lock);
	RB_FOREACH(entry, tree, &index->tree) {
		if (!entry->value)
			continue;
		entries++;
		*sum += bench_sum(entry->first, entry->last, entry->value);
	}
	pthread_rwlock_unlock(&index->lock);
	return entries;
}

static void size(void *self, size_t *entries, size_t *bytes)
{
	uint64_t sum = 0;

	*entries = iterate(self, &sum);
	*bytes = (*entries + 1) * peers_malloc_size(sizeof(struct entry));
}

const struct bench_impl peer_rbtree = {
	.name = "rbtree rwlock",
	.notes = "sys/tree.h, one pthread_rwlock, free space augmented",
	PEER_BATCHES,
	.make = make,
	.destroy = destroy,
	.find = find,
	.alloc = alloc,
	.iterate = iterate,
	.size = size,
};
