/* SPDX-License-Identifier: ISC */
/*
 * A sorted array under a rwlock: a branch-free binary search over first addresses, the rest of an entry beside them;
 * a change moves all that lies behind.
 */
#include "peers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct rest {
	uint64_t last;
	void *value;
};

struct array {
	_Alignas(64) pthread_rwlock_t lock;
	_Alignas(64) uint64_t *first; /* [0] is 0, with no value: something always lies below */
	struct rest *rest;
	size_t n;
	size_t capacity;
};

/* The place of the greatest first address <= addr. */
static inline size_t floor_of(const struct array *array, uint64_t addr)
{
	const uint64_t *base = array->first;
	size_t n = array->n;

	while (n > 1) {
		size_t half = n / 2;

		/* No conditional expression: gcc would make a branch of it. */
		base += half & -(size_t)(base[half] <= addr);
		n -= half;
	}
	return (size_t)(base - array->first);
}

static inline void *search(const struct array *array, uint64_t addr)
{
	const struct rest *rest = &array->rest[floor_of(array, addr)];

	return addr <= rest->last ? rest->value : NULL;
}

/* Make places [at, at + new) out of places [at, at + old). */
static void make_room(struct array *array, size_t at, size_t old, size_t new)
{
	size_t behind = array->n - at - old;

	if (array->n - old + new > array->capacity) {
		array->capacity = 2 * (array->n + new);
		array->first = need(realloc(array->first, array->capacity * sizeof(*array->first)));
		array->rest = need(realloc(array->rest, array->capacity * sizeof(*array->rest)));
	}
	memmove(array->first + at + new, array->first + at + old, behind * sizeof(*array->first));
	memmove(array->rest + at + new, array->rest + at + old, behind * sizeof(*array->rest));
	array->n = array->n - old + new;
}

static void set(struct array *array, size_t at, uint64_t first, uint64_t last, void *value)
{
	array->first[at] = first;
	array->rest[at] = (struct rest){ last, value };
}

static bool clip_one(struct array *array, uint64_t addr)
{
	size_t at;
	bool good;

	pthread_rwlock_wrlock(&array->lock);
	at = floor_of(array, addr);
	good = addr <= array->rest[at].last && array->rest[at].value;
	if (good && array->first[at] != addr) {
		make_room(array, at + 1, 0, 1);
		set(array, at + 1, addr, array->rest[at].last, array->rest[at].value);
		array->rest[at].last = addr - 1;
	}
	pthread_rwlock_unlock(&array->lock);
	return good;
}

static bool unclip_one(struct array *array, uint64_t addr)
{
	size_t at;
	bool good;

	pthread_rwlock_wrlock(&array->lock);
	at = floor_of(array, addr);
	good = array->first[at] == addr && at > 0 && array->rest[at].value == array->rest[at - 1].value &&
	       array->rest[at - 1].last + 1 == addr;
	if (good) {
		array->rest[at - 1].last = array->rest[at].last;
		make_room(array, at, 1, 0);
	}
	pthread_rwlock_unlock(&array->lock);
	return good;
}

/* Make [first, last] one entry, or free. */
static void replace(struct array *array, uint64_t first, uint64_t last, void *value)
{
	struct cleave_entry piece[3];
	size_t from, to, pieces = 0;

	pthread_rwlock_wrlock(&array->lock);
	from = floor_of(array, first - 1);
	to = floor_of(array, last);
	if (array->rest[from].last < first)
		from++; /* it stays as it is */
	else
		piece[pieces++] = (struct cleave_entry){ array->first[from], first - 1, array->rest[from].value };
	if (value)
		piece[pieces++] = (struct cleave_entry){ first, last, value };
	if (to >= from && array->rest[to].last > last)
		piece[pieces++] = (struct cleave_entry){ last + 1, array->rest[to].last, array->rest[to].value };
	make_room(array, from, to + 1 - from, pieces);
	for (size_t i = 0; i < pieces; i++)
		set(array, from + i, piece[i].first, piece[i].last, piece[i].value);
	pthread_rwlock_unlock(&array->lock);
}

static bool insert_one(struct array *array, const struct cleave_entry *entry)
{
	size_t at;
	bool good;

	pthread_rwlock_wrlock(&array->lock);
	at = floor_of(array, entry->last);
	good = array->rest[at].last < entry->first;
	if (good) {
		make_room(array, at + 1, 0, 1);
		set(array, at + 1, entry->first, entry->last, entry->value);
	}
	pthread_rwlock_unlock(&array->lock);
	return good;
}

static bool erase_one(struct array *array, const struct cleave_entry *entry)
{
	replace(array, entry->first, entry->last, NULL);
	return true;
}

static bool store_one(struct array *array, const struct cleave_entry *entry)
{
	replace(array, entry->first, entry->last, entry->value);
	return true;
}

/* ---- The implementation ---- */

#define PEER struct array
#include "batches.h"

static void *make(const struct bench_impl *impl, const struct layout *layout, const struct cleave_entry *order)
{
	struct array *array = need(aligned_alloc(64, sizeof(*array)));

	(void)impl;
	(void)order; /* the same array whatever the order */
	*array = (struct array){ .n = layout->n + 1, .capacity = layout->n + layout->n / 2 + 64 };
	pthread_rwlock_init(&array->lock, NULL);
	array->first = need(malloc(array->capacity * sizeof(*array->first)));
	array->rest = need(malloc(array->capacity * sizeof(*array->rest)));
	set(array, 0, 0, 0, NULL);
	for (size_t i = 0; i < layout->n; i++)
		set(array, i + 1, layout->entries[i].first, layout->entries[i].last, layout->entries[i].value);
	return array;
}

static void destroy(void *self)
{
	struct array *array = self;

	pthread_rwlock_destroy(&array->lock);
	free(array->first);
	free(array->rest);
	free(array);
}

static size_t iterate(void *self, uint64_t *sum)
{
	struct array *array = self;
	size_t entries = 0;

	pthread_rwlock_rdlock(&array->lock);
	for (size_t i = 0; i < array->n; i++) {
		if (!array->rest[i].value)
			continue;
		entries++;
		*sum += bench_sum(array->first[i], array->rest[i].last, array->rest[i].value);
	}
	pthread_rwlock_unlock(&array->lock);
	return entries;
}

static void size(void *self, size_t *entries, size_t *bytes)
{
	struct array *array = self;
	uint64_t sum = 0;

	*entries = iterate(self, &sum);
	*bytes = array->n * (sizeof(*array->first) + sizeof(*array->rest));
}

const struct bench_impl peer_array = {
	.name = "sorted array",
	.notes = "one pthread_rwlock; a change moves what lies behind; no search for free space",
	.largest = 100000,
	PEER_BATCHES,
	.make = make,
	.destroy = destroy,
	.iterate = iterate,
	.size = size,
};
