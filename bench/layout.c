/* SPDX-License-Identifier: ISC */
/*
 * A process's mappings come in clusters (a library's segments, a heap's chunks), a few dozen entries each and far from
 * each other.  Most entries of a cluster touch their neighbour; how many differs from cluster to cluster.
 */
#include "layout.h"

#include <stdio.h>
#include <stdlib.h>

#define CLUSTER_MEAN 64
#define CLUSTER_MAX 512

struct cluster {
	size_t begin;	/* its first entry */
	uint64_t pages; /* from its first page to its last */
	uint64_t place; /* pages of free space below it */
};

void *need(void *memory)
{
	if (!memory) {
		fprintf(stderr, "cleave-bench: out of memory\n");
		exit(1);
	}
	return memory;
}

/* splitmix64 */
uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
	__extension__ typedef unsigned __int128 wide;

	return (uint64_t)(((wide)rng_next(rng) * bound) >> 64);
}

static uint64_t entry_pages(struct rng *rng)
{
	uint64_t kind = rng_below(rng, 100);

	if (kind < 80)
		return 1 + rng_below(rng, 12);
	if (kind < 98)
		return 16 + rng_below(rng, 180);
	return 256 + rng_below(rng, 1024 - 256 + 1);
}

static size_t cluster_length(struct rng *rng)
{
	size_t length = 1;

	while (length < CLUSTER_MAX && rng_below(rng, CLUSTER_MEAN))
		length++;
	return length;
}

/* Fill the entries [begin, end) as one cluster that starts at page 0.  Return: its pages. */
static uint64_t fill_cluster(struct layout *layout, size_t begin, size_t end, struct rng *rng)
{
	uint64_t adjacent = 60 + rng_below(rng, 21); /* percent */
	uint64_t page = 0;

	for (size_t i = begin; i < end; i++) {
		struct cleave_entry *entry = &layout->entries[i];

		if (i > begin && rng_below(rng, 100) >= adjacent)
			page += 1 + rng_below(rng, 64);
		entry->first = page * LAYOUT_PAGE;
		page += entry_pages(rng);
		entry->last = page * LAYOUT_PAGE - 1;
		entry->value = entry;
	}
	return page;
}

static int by_place(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void layout_make(struct layout *layout, size_t n, uint64_t seed)
{
	struct rng rng = { seed };
	struct cluster *clusters = need(calloc(n + 1, sizeof(*clusters)));
	size_t nclusters = 0;
	uint64_t used = 0;

	layout->n = n;
	layout->entries = need(calloc(n, sizeof(*layout->entries)));
	for (size_t begin = 0; begin < n; nclusters++) {
		size_t length = cluster_length(&rng);
		size_t end = n - begin < length ? n : begin + length;

		clusters[nclusters].begin = begin;
		clusters[nclusters].pages = fill_cluster(layout, begin, end, &rng);
		used += clusters[nclusters].pages + 1; /* clusters never touch */
		begin = end;
	}
	clusters[nclusters].begin = n;

	/* Random cuts of the free space, sorted, keep the clusters apart without a retry. */
	uint64_t *places = need(calloc(nclusters + 1, sizeof(*places)));
	uint64_t spare = LAYOUT_TOP / LAYOUT_PAGE - used - 16;

	for (size_t i = 0; i < nclusters; i++)
		places[i] = rng_below(&rng, spare);
	qsort(places, nclusters, sizeof(*places), by_place);

	uint64_t below = 16; /* the lowest pages are never mapped */

	for (size_t i = 0; i < nclusters; i++) {
		uint64_t base = (below + places[i]) * LAYOUT_PAGE;

		for (size_t j = clusters[i].begin; j < clusters[i + 1].begin; j++) {
			layout->entries[j].first += base;
			layout->entries[j].last += base;
		}
		below += clusters[i].pages + 1;
	}
	free(places);
	free(clusters);
}

void layout_free(struct layout *layout)
{
	free(layout->entries);
	layout->entries = NULL;
}

uint64_t *layout_addresses(const struct layout *layout, size_t from, size_t to, size_t count, uint64_t seed,
			   uint64_t *sum)
{
	struct rng rng = { seed };
	uint64_t *addresses = need(calloc(count, sizeof(*addresses)));
	uint64_t values = 0;

	for (size_t i = 0; i < count; i++) {
		const struct cleave_entry *entry = &layout->entries[from + rng_below(&rng, to - from)];

		addresses[i] = entry->first + rng_below(&rng, entry->last - entry->first + 1);
		values += (uintptr_t)entry->value;
	}
	if (sum)
		*sum = values;
	return addresses;
}

uint64_t *layout_firsts(const struct layout *layout, size_t count, uint64_t seed, uint64_t *sum)
{
	struct rng rng = { seed };
	uint64_t *addresses = need(calloc(count, sizeof(*addresses)));

	*sum = 0;
	for (size_t i = 0; i < count; i++) {
		const struct cleave_entry *entry = &layout->entries[rng_below(&rng, layout->n)];

		addresses[i] = entry->first;
		*sum += (uintptr_t)entry->value;
	}
	return addresses;
}

struct cleave_entry *layout_shuffled(const struct layout *layout, uint64_t seed)
{
	struct rng rng = { seed };
	struct cleave_entry *entries = need(calloc(layout->n, sizeof(*entries)));

	for (size_t i = 0; i < layout->n; i++) {
		size_t j = rng_below(&rng, i + 1);

		entries[i] = entries[j];
		entries[j] = layout->entries[i];
	}
	return entries;
}

/* Is the entry among the LAYOUT_APART - 1 on either side of place i?  The array is gone through in a circle. */
static bool drawn_nearby(const struct cleave_entry *entries, size_t count, size_t i, const struct cleave_entry *entry)
{
	for (size_t apart = 1; apart < LAYOUT_APART; apart++) {
		size_t before = i >= apart ? i - apart : i + count - apart;
		size_t after = i + apart < count ? i + apart : i + apart - count;

		if (entries[before].value == entry->value)
			return true;
		if (after < i && entries[after].value == entry->value)
			return true;
	}
	return false;
}

struct cleave_entry *layout_drawn(const struct layout *layout, size_t from, size_t to, size_t count, uint64_t seed)
{
	struct rng rng = { seed };
	struct cleave_entry *entries = need(calloc(count, sizeof(*entries)));

	for (size_t i = 0; i < count; i++) {
		const struct cleave_entry *entry;

		do {
			entry = &layout->entries[from + rng_below(&rng, to - from)];
		} while (drawn_nearby(entries, count, i, entry));
		entries[i] = *entry;
	}
	return entries;
}

uint64_t *layout_middles(const struct layout *layout, size_t from, size_t to, size_t count, uint64_t seed)
{
	struct cleave_entry *entries = layout_drawn(layout, from, to, count, seed);
	uint64_t *middles = need(calloc(count, sizeof(*middles)));

	for (size_t i = 0; i < count; i++)
		middles[i] = entries[i].first + (entries[i].last - entries[i].first + 1) / 2;
	free(entries);
	return middles;
}
