/* SPDX-License-Identifier: ISC */
#include "scale.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define USER_END	(UINT64_C(1) << 47)
#define CLUSTER_GAP	(UINT64_C(1) << 20)	/* a wider one separates clusters */
#define CLUSTER_MAX	(UINT64_C(1) << 36)	/* cages of script engines are not repeated */
#define SPACING_PAGES	1024			/* at most, between copies */

struct cluster {
	size_t first;
	size_t count;
	uint64_t start;
	uint64_t length;
};

struct clusters {
	struct cluster *cluster;
	size_t count;
};

/* splitmix64 */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static const struct trace_event *
fullest_snapshot(const struct trace_log *log)
{
	const struct trace_event *best = NULL;

	for (size_t i = 0; i < log->count; i++)
		if (log->event[i].kind == TRACE_SNAPSHOT && log->event[i].count &&
		    (!best || log->event[i].count > best->count))
			best = &log->event[i];
	return best;
}

/* Ranges which lie close together, like the segments of a library, stay together. */
static int
find_clusters(struct clusters *clusters, const struct trace_event *snapshot)
{
	const struct trace_range *range = snapshot->ranges;
	size_t first = 0;

	clusters->cluster = calloc(snapshot->count, sizeof(*clusters->cluster));
	clusters->count = 0;
	if (!clusters->cluster)
		return -ENOMEM;
	for (size_t i = 1; i <= snapshot->count; i++) {
		uint64_t length;

		if (i < snapshot->count && range[i].start - range[i - 1].end <= CLUSTER_GAP)
			continue;
		length = range[i - 1].end - range[first].start;
		if (range[i - 1].end <= USER_END && length <= CLUSTER_MAX)
			clusters->cluster[clusters->count++] = (struct cluster){
				first, i - first, range[first].start, length };
		first = i;
	}
	return clusters->count ? 0 : -EINVAL;
}

/* The widest hole: where it starts and ends, and the index of the range above it. */
static size_t
widest_hole(const struct trace_event *snapshot, uint64_t page, uint64_t *start, uint64_t *end)
{
	uint64_t below = page;
	size_t index = 0;

	*start = *end = 0;
	for (size_t i = 0; i <= snapshot->count && below < USER_END; i++) {
		uint64_t above = i < snapshot->count ? snapshot->ranges[i].start : USER_END;

		above = above < USER_END ? above : USER_END;
		if (above > below && above - below > *end - *start) {
			*start = below;
			*end = above;
			index = i;
		}
		if (i < snapshot->count)
			below = snapshot->ranges[i].end;
	}
	return index;
}

/* Fill @into with @count ranges: copies of clusters, from @start upwards. */
static int
repeat(struct trace_range *into, size_t count, const struct clusters *clusters,
       const struct trace_event *snapshot, uint64_t start, uint64_t end, uint64_t page,
       uint64_t seed)
{
	uint64_t at = start;
	size_t done = 0;

	while (done < count) {
		const struct cluster *cluster =
			&clusters->cluster[next_random(&seed) % clusters->count];

		at += page * (1 + next_random(&seed) % SPACING_PAGES);
		if (at + cluster->length + page > end)
			return -ENOSPC;
		for (size_t i = 0; i < cluster->count && done < count; i++) {
			into[done] = snapshot->ranges[cluster->first + i];
			into[done].start = into[done].start - cluster->start + at;
			into[done].end = into[done].end - cluster->start + at;
			done++;
		}
		at += cluster->length;
	}
	return 0;
}

int
scale_peak(struct scale **out, const struct trace_log *log, size_t count, uint64_t seed)
{
	const struct trace_event *snapshot = fullest_snapshot(log);
	struct clusters clusters = { 0 };
	struct scale *scale;
	uint64_t start, end;
	size_t added, below;
	int error = 0;

	*out = NULL;
	if (!snapshot)
		return -ENODATA;
	added = count > snapshot->count ? count - snapshot->count : 0;
	scale = calloc(1, sizeof(*scale));
	if (!scale)
		return -ENOMEM;
	scale->process = snapshot->process;
	scale->recorded = snapshot->count;
	scale->count = snapshot->count + added;
	scale->range = calloc(scale->count, sizeof(*scale->range));
	if (!scale->range) {
		scale_free(scale);
		return -ENOMEM;
	}
	below = widest_hole(snapshot, log->page_size, &start, &end);
	memcpy(scale->range, snapshot->ranges, below * sizeof(*scale->range));
	memcpy(scale->range + below + added, snapshot->ranges + below,
	       (snapshot->count - below) * sizeof(*scale->range));
	if (added)
		error = find_clusters(&clusters, snapshot);
	if (added && !error)
		error = repeat(scale->range + below, added, &clusters, snapshot, start, end,
			       log->page_size, seed);
	free(clusters.cluster);
	if (error) {
		scale_free(scale);
		return error;
	}
	*out = scale;
	return added > 0;
}

void
scale_free(struct scale *scale)
{
	if (!scale)
		return;
	free(scale->range);
	free(scale);
}
