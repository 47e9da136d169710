/* SPDX-License-Identifier: ISC */
/* One run of the benchmark: what was asked for, and what came out. */
#ifndef BENCH_SUITE_H
#define BENCH_SUITE_H

#include "bench.h"
#include "report.h"

#define SUITE_PATTERNS 16
#define SUITE_IMPLS 16
#define SUITE_SIZE 6849 /* entries of one browser process: where most is judged */

struct suite {
	bool quick;
	bool smoke; /* quick, and no longer than it takes to see that it works */
	uint64_t seed;
	const char *only[SUITE_PATTERNS];
	unsigned int nonly;
	/* All that can be changed: the library's flavours first, then the peers. */
	const struct bench_impl *impls[SUITE_IMPLS];
	size_t nimpls;
	int processor[2]; /* [1] < 0: no second one */
	bool apart;	  /* each has a core of its own: two threads can be at full pace */
	unsigned int repetitions;
	double seconds;	     /* a repetition of one thread */
	double pair_seconds; /* of two */
	double patience;     /* seconds for each part (pace.h) */
	double budget;	     /* and for all of them: a third of what is left for each, so that the last ones get some */
	struct report report;
};

bool suite_wants(const struct suite *suite, const char *workload, const char *impl);

/* Make an index while threads may still run anywhere, so that what it starts is not pinned beside the benchmark. */
void *suite_make(const struct suite *suite, const struct bench_impl *impl, const struct layout *layout, bool dense);
/*
 * For several threads that write: the library's nodes come from its default memory, malloc(), whose headers lie between
 * them.  Where they lie side by side a processor fetches, beside the last line of one, the first of the next one, in
 * which another thread has its lock.
 */
void *suite_make_apart(const struct suite *suite, const struct bench_impl *impl, const struct layout *layout);

/* Is this size worth its time?  Large indexes of many peers take a quick run too long. */
bool suite_size_wanted(const struct suite *suite, const struct bench_impl *impl, size_t n);

/* Fill in the ratio to a row that was reported before, if there is one, and report this one. */
void suite_report(struct suite *suite, struct row *row, const struct row *base);

/* The same for a peer, which is judged by the library in its default flavour (memb) at the same work. */
void suite_report_peer(struct suite *suite, struct row *row);

/* `of`: what was measured in the same rounds. */
void suite_report_distance(struct suite *suite, const char *workload, const char *of, const struct samples *samples);

void suite_sections(struct suite *suite);
void suite_lookups(struct suite *suite);
void suite_sizes(struct suite *suite);
void suite_changes(struct suite *suite);
void suite_spaces(struct suite *suite);
void suite_maps_parts(struct suite *suite);
void suite_maps_barrier(struct suite *suite);
void suite_mixes(struct suite *suite);
void suite_touches(struct suite *suite);
void suite_paths(struct suite *suite);
void suite_replays(struct suite *suite);

/* The speed-up of two threads of private work, which two-thread figures are judged against. */
void pair_start(struct suite *suite);
void pair_speedup(struct suite *suite);
void pair_workloads(struct suite *suite);
void pair_stop(void);

#endif
