/* SPDX-License-Identifier: ISC */
#include <string.h>

#include <cleave/anon.h>

#include "tree.h"

static uint64_t nleaves(const struct amap *amap)
{
	return (amap->nslots + amap->leaf_slots - 1) / amap->leaf_slots;
}

static void *zeroed(size_t size)
{
	void *memory = counted_alloc(size);

	return memory ? memset(memory, 0, size) : NULL;
}

/* ---- Anons ---- */

struct tree_anon *anon_make(uint64_t content)
{
	struct tree_anon *anon = zeroed(sizeof(*anon));

	if (anon) {
		anon->refs = 1;
		anon->content = content;
	}
	return anon;
}

void anon_drop(struct tree_anon *anon)
{
	uint64_t content;

	if (atomic_fetch_sub(&anon->refs, 1) != 1)
		return;
	content = anon->content;
	if (CLEAVE_ANON_IS_SWAPPED(content))
		token_free(content);
	else
		page_free(content);
	counted_free(anon, sizeof(*anon));
}

/* ---- Tables ---- */

struct amap *amap_make(uint64_t nslots, uint32_t leaf_slots)
{
	struct amap *amap = zeroed(sizeof(*amap));

	if (!amap)
		return NULL;
	amap->refs = 1;
	amap->nslots = nslots;
	amap->leaf_slots = nslots < leaf_slots ? (uint32_t)nslots : leaf_slots;
	return amap;
}

void amap_ref(struct amap *amap)
{
	if (amap)
		amap->refs++;
}

/* Its slots are empty by then. */
void amap_unref(struct amap *amap)
{
	if (!amap || --amap->refs)
		return;
	for (uint64_t i = 0; amap->leaves && i < nleaves(amap); i++)
		if (amap->leaves[i])
			counted_free(amap->leaves[i], amap->leaf_slots * sizeof(void *));
	if (amap->leaves)
		counted_free(amap->leaves, nleaves(amap) * sizeof(void *));
	counted_free(amap, sizeof(*amap));
}

bool amap_extend(struct amap *amap, uint64_t nslots)
{
	struct amap old = *amap;

	amap->nslots = nslots;
	if (!old.leaves || nleaves(amap) == nleaves(&old))
		return true;
	amap->leaves = zeroed(nleaves(amap) * sizeof(void *));
	if (!amap->leaves) {
		*amap = old;
		return false;
	}
	memcpy(amap->leaves, old.leaves, nleaves(&old) * sizeof(void *));
	counted_free(old.leaves, nleaves(&old) * sizeof(void *));
	return true;
}

struct tree_anon **amap_slot(struct amap *amap, uint64_t slot, bool make)
{
	uint64_t leaf = slot / amap->leaf_slots;

	if (!amap->leaves && make)
		amap->leaves = zeroed(nleaves(amap) * sizeof(void *));
	if (!amap->leaves)
		return NULL;
	if (!amap->leaves[leaf] && make)
		amap->leaves[leaf] = zeroed(amap->leaf_slots * sizeof(void *));
	return amap->leaves[leaf] ? &amap->leaves[leaf][slot % amap->leaf_slots] : NULL;
}

/* ---- Windows ---- */

void amap_wipe(struct amap *amap, uint64_t first, uint64_t n)
{
	uint64_t end = first + n;

	if (!amap || !amap->leaves)
		return;
	for (uint64_t slot = first; slot < end;) {
		struct tree_anon **place = amap_slot(amap, slot, false);

		if (!place) {
			slot = (slot / amap->leaf_slots + 1) * amap->leaf_slots;
			continue;
		}
		if (*place)
			anon_drop(*place);
		*place = NULL;
		slot++;
	}
}

struct amap *amap_copy(struct amap *amap, uint64_t first, uint64_t n)
{
	struct amap *copy = amap_make(n, amap->leaf_slots);

	for (uint64_t slot = first; copy && amap->leaves && slot < first + n;) {
		struct tree_anon **from = amap_slot(amap, slot, false), **to;

		if (!from) {
			slot = (slot / amap->leaf_slots + 1) * amap->leaf_slots;
			continue;
		}
		if (*from) {
			to = amap_slot(copy, slot - first, true);
			if (!to) {
				amap_wipe(copy, 0, n);
				amap_unref(copy);
				return NULL;
			}
			atomic_fetch_add(&(*from)->refs, 1);
			*to = *from;
		}
		slot++;
	}
	return copy;
}
