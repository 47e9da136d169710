/* SPDX-License-Identifier: ISC */
/*
 * Single steps for an index of entries from malloc(): what a step may need is allocated before the lock is taken, and
 * what it leaves or takes out is freed after.  Included by such a peer, behind PEER (batches.h) and
 *
 *	new()		an entry; entries taken out are chained by their `value`
 *	clip_locked(), unclip_locked(), insert_locked(), erase_locked()
 */
#ifndef BENCH_PEERS_ENTRIES_H
#define BENCH_PEERS_ENTRIES_H

static bool clip_one(PEER *index, uint64_t addr)
{
	struct entry *spare = new ();
	bool good;

	pthread_rwlock_wrlock(&index->lock);
	good = clip_locked(index, addr, &spare);
	pthread_rwlock_unlock(&index->lock);
	free(spare);
	return good;
}

static bool unclip_one(PEER *index, uint64_t addr)
{
	struct entry *spare = NULL;
	bool good;

	pthread_rwlock_wrlock(&index->lock);
	good = unclip_locked(index, addr, &spare);
	pthread_rwlock_unlock(&index->lock);
	free(spare);
	return good;
}

static bool insert_one(PEER *index, const struct cleave_entry *entry)
{
	struct entry *spare = new ();
	bool good;

	pthread_rwlock_wrlock(&index->lock);
	good = insert_locked(index, entry, &spare);
	pthread_rwlock_unlock(&index->lock);
	free(spare);
	return good;
}

/* Two entries to split with, and one to put in. */
static inline bool replace(PEER *index, const struct cleave_entry *entry, bool put)
{
	struct entry *spare[3] = { new (), new (), put ? new () : NULL }, *gone = NULL, *next;
	bool good = true;

	pthread_rwlock_wrlock(&index->lock);
	erase_locked(index, entry->first, entry->last, spare, &gone);
	if (put)
		good = insert_locked(index, entry, &spare[2]);
	pthread_rwlock_unlock(&index->lock);
	for (; gone; gone = next) {
		next = gone->value;
		free(gone);
	}
	for (int i = 0; i < 3; i++)
		free(spare[i]);
	return good;
}

static bool erase_one(PEER *index, const struct cleave_entry *entry)
{
	return replace(index, entry, false);
}

static bool store_one(PEER *index, const struct cleave_entry *entry)
{
	return replace(index, entry, true);
}

#endif
