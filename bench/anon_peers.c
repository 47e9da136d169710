/* SPDX-License-Identifier: ISC */
/*
 * What other systems keep their anonymous pages in, each built with the same care (malloc(), one kind of lock that is
 * one compare-and-swap when free, no allocation that could be saved):
 *
 *	table	a top array of chunks of 512 slots, made on demand, and 128 locks that slots are hashed to (illumos)
 *	amap	chunks of 16 slots with a map of those in use, in buckets, under one lock (OpenBSD)
 *	array	one word a slot
 */
#include "anon.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer_anon {
	uint32_t shares;
	uint32_t pad;
	uint64_t content;
	void *link;
};

static void *need_memory(void *at)
{
	if (!at) {
		fprintf(stderr, "cleave-bench-anon: no memory\n");
		exit(1);
	}
	return at;
}

/* ---- A lock ---- */

struct lock {
	uint32_t word;
};

static void lock(struct lock *at)
{
	for (unsigned int spins = 1; __atomic_exchange_n(&at->word, 1, __ATOMIC_ACQUIRE); spins++)
		while (__atomic_load_n(&at->word, __ATOMIC_RELAXED))
			if (spins++ % 256 == 0)
				sched_yield();
}

static void unlock(struct lock *at)
{
	__atomic_store_n(&at->word, 0, __ATOMIC_RELEASE);
}

/* ---- What all three share ---- */

static void *attach(void)
{
	return need_memory(malloc(1));
}

static void detach(void *thread)
{
	free(thread);
}

static void nothing(void *thread)
{
	(void)thread;
}

static void *anon(void *thread)
{
	struct peer_anon *made = need_memory(calloc(1, sizeof(*made)));

	(void)thread;
	made->shares = 1;
	return made;
}

static void anon_free(void *thread, void *at)
{
	(void)thread;
	if (__atomic_fetch_sub(&((struct peer_anon *)at)->shares, 1, __ATOMIC_ACQ_REL) == 1)
		free(at);
}

static void share(void *at)
{
	__atomic_fetch_add(&((struct peer_anon *)at)->shares, 1, __ATOMIC_RELAXED);
}

static bool shared(const void *at)
{
	return __atomic_load_n(&((const struct peer_anon *)at)->shares, __ATOMIC_ACQUIRE) > 1;
}

static void no_reservation(void *thread, void *store, uint64_t first, uint64_t last)
{
	(void)thread;
	(void)store;
	(void)first;
	(void)last;
}

/* ---- Table ---- */

#define CHUNK 512
#define LOCKS 128

struct table {
	uint64_t nchunks;
	size_t bytes;
	struct lock serial;
	struct {
		struct lock lock;
		char pad[60];
	} locks[LOCKS];
	void ***chunks;
};

static void *table_make(uint64_t nslots)
{
	struct table *table = need_memory(calloc(1, sizeof(*table)));

	table->nchunks = (nslots + CHUNK - 1) / CHUNK;
	table->chunks = need_memory(calloc(table->nchunks, sizeof(*table->chunks)));
	table->bytes = sizeof(*table) + table->nchunks * sizeof(*table->chunks);
	return table;
}

static void table_destroy(void *store)
{
	struct table *table = store;

	for (uint64_t i = 0; i < table->nchunks; i++)
		free(table->chunks[i]);
	free(table->chunks);
	free(table);
}

static void **table_chunk(struct table *table, uint64_t i)
{
	void **chunk = __atomic_load_n(&table->chunks[i], __ATOMIC_ACQUIRE);

	if (chunk)
		return chunk;
	lock(&table->serial);
	chunk = table->chunks[i];
	if (!chunk) {
		chunk = need_memory(calloc(CHUNK, sizeof(*chunk)));
		table->bytes += CHUNK * sizeof(*chunk);
		__atomic_store_n(&table->chunks[i], chunk, __ATOMIC_RELEASE);
	}
	unlock(&table->serial);
	return chunk;
}

static size_t table_fill(void *thread, void *store, const uint64_t *slots, void *const *anons, size_t n)
{
	struct table *table = store;
	size_t failed = 0;

	(void)thread;
	for (size_t i = 0; i < n; i++) {
		struct lock *at = &table->locks[slots[i] / 8 % LOCKS].lock;
		void **slot = &table_chunk(table, slots[i] / CHUNK)[slots[i] % CHUNK];

		lock(at);
		failed += *slot != NULL;
		if (!*slot)
			__atomic_store_n(slot, anons[i], __ATOMIC_RELEASE);
		unlock(at);
	}
	return failed;
}

static uint64_t table_walk(void *thread, void *store)
{
	struct table *table = store;
	uint64_t count = 0;

	(void)thread;
	for (uint64_t i = 0; i < table->nchunks; i++)
		for (unsigned int k = 0; table->chunks[i] && k < CHUNK; k++)
			count += table->chunks[i][k] != NULL;
	return count;
}

static void lock_all(struct table *table, bool on)
{
	for (unsigned int i = 0; i < LOCKS; i++)
		(on ? lock : unlock)(&table->locks[i].lock);
}

/* Eagerly, populated slots only. */
static void *table_clone(void *thread, void *store)
{
	struct table *table = store, *clone = table_make(table->nchunks * CHUNK);

	(void)thread;
	lock_all(table, true);
	for (uint64_t i = 0; i < table->nchunks; i++) {
		if (!table->chunks[i])
			continue;
		clone->chunks[i] = need_memory(malloc(CHUNK * sizeof(void *)));
		clone->bytes += CHUNK * sizeof(void *);
		for (unsigned int k = 0; k < CHUNK; k++) {
			clone->chunks[i][k] = table->chunks[i][k];
			if (clone->chunks[i][k])
				share(clone->chunks[i][k]);
		}
	}
	lock_all(table, false);
	return clone;
}

static void table_drop(void *thread, void *store)
{
	struct table *table = store;

	for (uint64_t i = 0; i < table->nchunks; i++)
		for (unsigned int k = 0; table->chunks[i] && k < CHUNK; k++)
			if (table->chunks[i][k])
				anon_free(thread, table->chunks[i][k]);
	table_destroy(table);
}

static bool table_write(void *thread, void *store, uint64_t slot, void *fresh)
{
	struct table *table = store;
	struct lock *at = &table->locks[slot / 8 % LOCKS].lock;
	void **word = &table->chunks[slot / CHUNK][slot % CHUNK], *old;
	bool copied;

	lock(at);
	old = *word;
	copied = shared(old);
	if (copied)
		*word = fresh;
	unlock(at);
	if (copied)
		anon_free(thread, old);
	return copied;
}

static size_t table_bytes(void *store)
{
	return ((struct table *)store)->bytes;
}

/* ---- Amap ---- */

struct amap_chunk {
	struct amap_chunk *next;
	uint64_t base;
	uint16_t used;
	void *anon[16];
};

struct amap {
	struct lock lock;
	uint64_t nbuckets;
	uint64_t per_bucket; /* chunks */
	size_t bytes;
	struct amap_chunk **buckets;
};

static void *amap_make(uint64_t nslots)
{
	struct amap *amap = need_memory(calloc(1, sizeof(*amap)));
	uint64_t chunks = (nslots + 15) / 16, log = 0;

	while (chunks >> (log + 1))
		log++;
	/* the least power of two that is at least the logarithm of the number of chunks */
	for (amap->per_bucket = 1; amap->per_bucket < log; amap->per_bucket *= 2)
		;
	amap->nbuckets = (chunks + amap->per_bucket - 1) / amap->per_bucket;
	amap->buckets = need_memory(calloc(amap->nbuckets, sizeof(*amap->buckets)));
	amap->bytes = sizeof(*amap) + amap->nbuckets * sizeof(*amap->buckets);
	return amap;
}

static void amap_destroy(void *store)
{
	struct amap *amap = store;
	struct amap_chunk *next;

	for (uint64_t i = 0; i < amap->nbuckets; i++)
		for (struct amap_chunk *chunk = amap->buckets[i]; chunk; chunk = next) {
			next = chunk->next;
			free(chunk);
		}
	free(amap->buckets);
	free(amap);
}

static struct amap_chunk *amap_chunk(struct amap *amap, uint64_t slot, bool make)
{
	struct amap_chunk **bucket = &amap->buckets[slot / 16 / amap->per_bucket], *chunk;

	for (chunk = *bucket; chunk; chunk = chunk->next)
		if (chunk->base == slot / 16)
			return chunk;
	if (!make)
		return NULL;
	chunk = need_memory(calloc(1, sizeof(*chunk)));
	chunk->base = slot / 16;
	chunk->next = *bucket;
	*bucket = chunk;
	amap->bytes += sizeof(*chunk);
	return chunk;
}

static size_t amap_fill(void *thread, void *store, const uint64_t *slots, void *const *anons, size_t n)
{
	struct amap *amap = store;
	size_t failed = 0;

	(void)thread;
	for (size_t i = 0; i < n; i++) {
		struct amap_chunk *chunk;

		lock(&amap->lock);
		chunk = amap_chunk(amap, slots[i], true);
		failed += chunk->used >> slots[i] % 16 & 1;
		if (!(chunk->used >> slots[i] % 16 & 1)) {
			chunk->anon[slots[i] % 16] = anons[i];
			chunk->used = (uint16_t)(chunk->used | 1u << slots[i] % 16);
		}
		unlock(&amap->lock);
	}
	return failed;
}

static uint64_t amap_walk(void *thread, void *store)
{
	struct amap *amap = store;
	uint64_t count = 0;

	(void)thread;
	for (uint64_t i = 0; i < amap->nbuckets; i++)
		for (struct amap_chunk *chunk = amap->buckets[i]; chunk; chunk = chunk->next)
			for (unsigned int used = chunk->used; used; used &= used - 1)
				count += chunk->anon[__builtin_ctz(used)] != NULL;
	return count;
}

static void *amap_clone(void *thread, void *store)
{
	struct amap *amap = store, *clone = amap_make(amap->nbuckets * amap->per_bucket * 16);

	(void)thread;
	lock(&amap->lock);
	for (uint64_t i = 0; i < amap->nbuckets; i++)
		for (struct amap_chunk *chunk = amap->buckets[i]; chunk; chunk = chunk->next) {
			struct amap_chunk *copy = amap_chunk(clone, chunk->base * 16, true);

			copy->used = chunk->used;
			memcpy(copy->anon, chunk->anon, sizeof(copy->anon));
			for (unsigned int used = chunk->used; used; used &= used - 1)
				share(copy->anon[__builtin_ctz(used)]);
		}
	unlock(&amap->lock);
	return clone;
}

static void amap_drop(void *thread, void *store)
{
	struct amap *amap = store;

	for (uint64_t i = 0; i < amap->nbuckets; i++)
		for (struct amap_chunk *chunk = amap->buckets[i]; chunk; chunk = chunk->next)
			for (unsigned int used = chunk->used; used; used &= used - 1)
				anon_free(thread, chunk->anon[__builtin_ctz(used)]);
	amap_destroy(amap);
}

static bool amap_write(void *thread, void *store, uint64_t slot, void *fresh)
{
	struct amap *amap = store;
	struct amap_chunk *chunk;
	bool copied;
	void *old;

	lock(&amap->lock);
	chunk = amap_chunk(amap, slot, false);
	old = chunk->anon[slot % 16];
	copied = shared(old);
	if (copied)
		chunk->anon[slot % 16] = fresh;
	unlock(&amap->lock);
	if (copied)
		anon_free(thread, old);
	return copied;
}

static size_t amap_bytes(void *store)
{
	return ((struct amap *)store)->bytes;
}

/* ---- Array ---- */

struct array {
	uint64_t n;
	void **slots;
};

static void *array_make(uint64_t nslots)
{
	struct array *array = need_memory(calloc(1, sizeof(*array)));

	array->n = nslots;
	array->slots = need_memory(calloc(nslots, sizeof(*array->slots)));
	return array;
}

static void array_destroy(void *store)
{
	free(((struct array *)store)->slots);
	free(store);
}

static size_t array_fill(void *thread, void *store, const uint64_t *slots, void *const *anons, size_t n)
{
	struct array *array = store;
	size_t failed = 0;

	(void)thread;
	for (size_t i = 0; i < n; i++) {
		void *seen = NULL;

		failed += !__atomic_compare_exchange_n(&array->slots[slots[i]], &seen, anons[i], false,
						       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	return failed;
}

static uint64_t array_walk(void *thread, void *store)
{
	struct array *array = store;
	uint64_t count = 0;

	(void)thread;
	for (uint64_t i = 0; i < array->n; i++)
		count += array->slots[i] != NULL;
	return count;
}

static void *array_clone(void *thread, void *store)
{
	struct array *array = store, *clone = array_make(array->n);

	(void)thread;
	for (uint64_t i = 0; i < array->n; i++) {
		clone->slots[i] = __atomic_load_n(&array->slots[i], __ATOMIC_ACQUIRE);
		if (clone->slots[i])
			share(clone->slots[i]);
	}
	return clone;
}

static void array_drop(void *thread, void *store)
{
	struct array *array = store;

	for (uint64_t i = 0; i < array->n; i++)
		if (array->slots[i])
			anon_free(thread, array->slots[i]);
	array_destroy(array);
}

static bool array_write(void *thread, void *store, uint64_t slot, void *fresh)
{
	void **word = &((struct array *)store)->slots[slot], *old = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	if (!shared(old))
		return false;
	if (!__atomic_compare_exchange_n(word, &old, fresh, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return false;
	anon_free(thread, old);
	return true;
}

static size_t array_bytes(void *store)
{
	return sizeof(struct array) + ((struct array *)store)->n * sizeof(void *);
}

#define COMMON(kind)                                                                                                  \
	.make = kind##_make, .destroy = kind##_destroy, .attach = attach, .detach = detach, .online = nothing,        \
	.offline = nothing, .anon = anon, .anon_free = anon_free, .fill = kind##_fill, .walk = kind##_walk,           \
	.clone = kind##_clone, .drop = kind##_drop, .write = kind##_write, .reserve = no_reservation,                 \
	.bytes = kind##_bytes

const struct anon_impl anon_table = { .name = "table", COMMON(table) };
const struct anon_impl anon_amap = { .name = "amap", COMMON(amap) };
const struct anon_impl anon_array = { .name = "array", COMMON(array) };
