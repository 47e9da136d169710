/* SPDX-License-Identifier: ISC */
/*
 * Batches of single steps, for an index under one rwlock.  Included by such a peer, behind
 *
 *	PEER		its struct, whose `lock` is the rwlock
 *	search()	the value at an address; called with the lock held
 *	clip_one(), unclip_one(), insert_one(), erase_one(), store_one()	each takes the lock; false: it failed
 *
 * PEER_BATCHES are these functions' places in the table.
 */
#ifndef BENCH_PEERS_BATCHES_H
#define BENCH_PEERS_BATCHES_H

static void *attach(void *index)
{
	return index;
}

static uint64_t lookup(void *self, const uint64_t *addrs, size_t n)
{
	PEER *index = self;
	uint64_t sum = 0;

	pthread_rwlock_rdlock(&index->lock);
	for (size_t i = 0; i < n; i++)
		sum += (uintptr_t)search(index, addrs[i]);
	pthread_rwlock_unlock(&index->lock);
	return sum;
}

static uint64_t lookup_each(void *self, const uint64_t *addrs, size_t n)
{
	PEER *index = self;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		pthread_rwlock_rdlock(&index->lock);
		sum += (uintptr_t)search(index, addrs[i]);
		pthread_rwlock_unlock(&index->lock);
	}
	return sum;
}

static uint64_t chase(void *self, const uint64_t *addrs, size_t n, uint64_t zero)
{
	PEER *index = self;
	uint64_t value = 0;

	pthread_rwlock_rdlock(&index->lock);
	for (size_t i = 0; i < n; i++)
		value = (uintptr_t)search(index, addrs[i] + (value & zero));
	pthread_rwlock_unlock(&index->lock);
	return value;
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

static size_t insert(void *self, const struct cleave_entry *entries, size_t n)
{
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += !insert_one(self, &entries[i]);
	return failed;
}

static size_t erase(void *self, const struct cleave_entry *entries, size_t n)
{
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += !erase_one(self, &entries[i]);
	return failed;
}

static size_t store(void *self, const struct cleave_entry *entries, size_t n)
{
	size_t failed = 0;

	for (size_t i = 0; i < n; i++)
		failed += !store_one(self, &entries[i]);
	return failed;
}

#define PEER_BATCHES                                                                                               \
	.peer = true, .concurrent = true, .attach = attach, .lookup = lookup, .lookup_each = lookup_each,         \
	.chase = chase, .clip = clip, .unclip = unclip, .clip_unclip = clip_unclip, .insert = insert,             \
	.erase = erase, .store = store

#endif
