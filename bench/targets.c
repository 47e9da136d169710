/* SPDX-License-Identifier: ISC */
#include "targets.h"
#include "suite.h"

#include <string.h>

struct target {
	const char *workload;
	size_t n; /* 0: any */
	double factor;
};

/* Beside every other peer: not slower. */
#define OTHERS 1

/* Beside the maple tree, which is the best of what is in use. */
static const struct target targets[] = {
	{ "lookup", 1000, 5 },
	{ "lookup", SUITE_SIZE, 5 },
	{ "lookup", 100000, 4 },
	{ "lookup-dep", 1000, 1.5 },
	{ "lookup-dep", SUITE_SIZE, 1.5 },
	{ "lookup-dep", 100000, 1.5 },
	{ "clip", SUITE_SIZE, 5 },
	{ "clip", 100000, 3 },
	{ "map", 0, 3 },
	{ "unmap", 0, 3 },
	{ "alloc-lowest", 0, 2.5 },
	{ "alloc-highest", 0, 2.5 },
	{ "iterate", SUITE_SIZE, 2 },
	{ "writers", 0, 6 },
	{ "reader+writer", 0, 4 },
	{ "fault-path", 0, OTHERS },
	{ "remap-path", 0, OTHERS },
	/* Memory: at most 1.3 times as much. */
	{ "bytes", SUITE_SIZE, 1 / 1.3 },
	{ "cut-bytes", 0, 1 / 1.3 },
};

double targets_of(const char *workload, const char *peer, size_t n)
{
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		if (!strcmp(targets[i].workload, workload) && (!targets[i].n || targets[i].n == n))
			return strcmp(peer, TARGETS_MAPLE) ? OTHERS : targets[i].factor;
	return 0;
}
