/* SPDX-License-Identifier: ISC */
/*
 * Lookups and changes mixed, on two threads, and on more threads than there are processors; there with the latencies of
 * lookups while writers work.
 *
 * A lookup has a read section, or a lock, of its own.  Every change is a clip, and the next one merges it back; each
 * thread makes its own in a stripe of the entries, so that none fails, and lookups go to all entries.
 */
#include "crowd.h"
#include "distance.h"
#include "pace.h"

#include <stdlib.h>
#include <string.h>

#define PLACES ((size_t)1 << 14)
#define PATTERN 1000
#define EVERY 16      /* one lookup of so many has its own time taken, which takes longer than it */
#define UNTIMED 0.003 /* seconds: threads are made anew for each run */

struct plan {
	uint64_t *reads;
	uint64_t *clips;
	unsigned int percent; /* of lookups */
	bool kinds[PATTERN];  /* true: a lookup */
};

static void plan_make(struct plan *plan, const struct layout *layout, uint64_t seed, unsigned int number,
		      unsigned int threads, unsigned int percent)
{
	size_t from = layout->n * number / threads, to = layout->n * (number + 1) / threads;
	struct rng rng = { seed + number };

	plan->percent = percent;
	plan->reads = layout_addresses(layout, 0, layout->n, PLACES, seed + number, NULL);
	plan->clips = layout_middles(layout, from, to, PLACES, seed + number);
	for (unsigned int i = 0; i < PATTERN; i++)
		plan->kinds[i] = rng_below(&rng, 100) < percent;
}

static void plan_free(struct plan *plan)
{
	free(plan->reads);
	free(plan->clips);
}

/* Ends merged, so that the index is as it was. */
static void *mix(struct crowd_member *member)
{
	const struct bench_impl *impl = member->impl;
	const struct plan *plan = member->context;
	size_t reads = 0, clips = 0;
	uint64_t ops = 0, before = 0, sum = 0, lookups = 0;
	bool cut = false, timed = crowd_timed();

	while (!crowd_over()) {
		if (!timed && crowd_timed()) {
			timed = true;
			ops = 0;
			crowd_begin(member);
		}
		for (unsigned int i = 0; i < PATTERN && !crowd_over(); i++) {
			if (!plan->kinds[i]) {
				if (!cut)
					impl->clip(member->thread, &plan->clips[clips], 1);
				else
					impl->unclip(member->thread, &plan->clips[clips], 1);
				clips = (clips + cut) % PLACES;
				cut = !cut;
			} else {
				bool clocks = member->times && timed && lookups++ % EVERY == 0;

				if (clocks)
					before = crowd_now();
				sum += impl->lookup_each(member->thread, &plan->reads[reads], 1);
				if (clocks)
					crowd_time_add(member->times, crowd_now() - before);
				reads = (reads + 1) % PLACES;
			}
			ops++;
		}
	}
	if (cut)
		impl->unclip(member->thread, &plan->clips[clips], 1);
	member->ops = ops;
	member->sum = sum;
	return NULL;
}

static void report_ns(struct suite *suite, const char *workload, const struct bench_impl *impl, unsigned int threads,
		      const struct samples *samples)
{
	struct row row = {
		.workload = workload,
		.impl = impl->name,
		.n = SUITE_SIZE,
		.threads = threads,
		.unit = "ns",
		.samples = *samples,
	};

	if (!suite_wants(suite, workload, impl->name))
		return;
	if (impl->peer)
		suite_report_peer(suite, &row);
	else
		suite_report(suite, &row, NULL);
}

static bool can_mix(const struct bench_impl *impl)
{
	return impl->concurrent && impl->clip && impl->unclip && impl->lookup_each;
}

/* The time of all threads over the operations of all threads. */
static double ns_each(const struct crowd_member *members, unsigned int n)
{
	double seconds = 0;
	uint64_t ops = 0;

	for (unsigned int i = 0; i < n; i++) {
		seconds += members[i].seconds;
		ops += members[i].ops;
	}
	return seconds / (double)(ops ? ops : 1) * 1e9;
}

static void set_up(struct crowd_member *members, struct plan *plans, unsigned int n, const struct bench_impl *impl,
		   void *index)
{
	for (unsigned int i = 0; i < n; i++)
		members[i] = (struct crowd_member){
			.impl = impl, .index = index, .processor = -1, .body = mix, .context = &plans[i]
		};
}

static void mixes_of(struct suite *suite, const struct layout *layout, const char *workload, unsigned int percent)
{
	static struct samples samples[SUITE_IMPLS];
	const unsigned int rounds = samples_rounds();
	struct samples distance = { .n = 0 };
	void *index[SUITE_IMPLS] = { NULL };
	struct plan plans[2];
	bool any = false;

	memset(samples, 0, sizeof(samples));
	for (size_t j = 0; j < suite->nimpls; j++)
		samples[j].rounds = rounds;
	for (unsigned int i = 0; i < 2; i++)
		plan_make(&plans[i], layout, suite->seed + 200, i, 2, percent);
	for (size_t j = 0; j < suite->nimpls; j++)
		if (can_mix(suite->impls[j]) && suite_wants(suite, workload, suite->impls[j]->name))
			index[j] = suite_make_apart(suite, suite->impls[j], layout);
	for (unsigned int round = 0; round < suite->repetitions; round++) {
		for (size_t j = 0; j < suite->nimpls; j++) {
			struct crowd_member members[2];
			double began;
			bool full;

			if (!index[j])
				continue;
			set_up(members, plans, 2, suite->impls[j], index[j]);
			for (int i = 0; i < 2; i++)
				members[i].processor = suite->processor[i];
			do {
				began = measure_wall();
				full = crowd_run(members, 2, UNTIMED, suite->pair_seconds);
			} while (suite->apart && pace_again(full, began));
			samples_add_paced(&samples[j], ns_each(members, 2), full);
			any = true;
		}
		if (any)
			samples_add(&distance, distance_between(suite->processor[0], suite->processor[1]));
	}
	suite_report_distance(suite, REPORT_DISTANCE_AGAIN, workload, &distance);
	for (size_t j = 0; j < suite->nimpls; j++) {
		if (!index[j])
			continue;
		report_ns(suite, workload, suite->impls[j], 2, &samples[j]);
		suite->impls[j]->destroy(index[j]);
	}
	for (unsigned int i = 0; i < 2; i++)
		plan_free(&plans[i]);
}

/* ---- More threads than processors ---- */

static const char *const crowd_names[] = { "crowd-lookup", "crowd-clip",  "crowd-p50",
					   "crowd-p99",	   "crowd-p99.9", "crowd-worst" };

enum { LOOKUPS, CLIPS, P50, P99, P999, WORST, CROWD_NAMES };

static void one_crowd(const struct suite *suite, const struct bench_impl *impl, void *index, struct plan *plans,
		      unsigned int threads, struct samples *samples)
{
	struct crowd_member members[CROWD_MOST];
	struct crowd_times *times = need(calloc(threads, sizeof(*times)));

	/* Readers are even, writers odd. */
	set_up(members, plans, threads, impl, index);
	for (unsigned int i = 0; i < threads; i += 2)
		members[i].times = &times[i];
	crowd_run(members, threads, 0, 8 * suite->pair_seconds);
	for (unsigned int i = 2; i < threads; i += 2)
		crowd_times_join(&times[0], &times[i]);

	double seconds[2] = { 0, 0 };
	uint64_t ops[2] = { 0, 0 };

	for (unsigned int i = 0; i < threads; i++) {
		seconds[i % 2] += members[i].seconds;
		ops[i % 2] += members[i].ops;
	}
	/* What a kind of operation costs the machine: all its processors, over what was done. */
	for (unsigned int kind = 0; kind < 2; kind++)
		samples_add(&samples[kind ? CLIPS : LOOKUPS],
			    seconds[kind] / (threads / 2) / (double)(ops[kind] ? ops[kind] : 1) * 1e9);
	samples_add(&samples[P50], crowd_time_at(&times[0], 0.5));
	samples_add(&samples[P99], crowd_time_at(&times[0], 0.99));
	samples_add(&samples[P999], crowd_time_at(&times[0], 0.999));
	samples_add(&samples[WORST], (double)times[0].worst);
	free(times);
}

static void crowds_of(struct suite *suite, const struct layout *layout, unsigned int threads)
{
	static struct samples samples[SUITE_IMPLS][CROWD_NAMES];
	void *index[SUITE_IMPLS] = { NULL };
	struct plan plans[CROWD_MOST];

	memset(samples, 0, sizeof(samples));
	for (unsigned int i = 0; i < threads; i++)
		plan_make(&plans[i], layout, suite->seed + 300, i, threads, i % 2 ? 0 : 100);
	for (size_t j = 0; j < suite->nimpls; j++) {
		bool wanted = false;

		for (unsigned int k = 0; k < CROWD_NAMES; k++)
			wanted = wanted || suite_wants(suite, crowd_names[k], suite->impls[j]->name);
		if (wanted && can_mix(suite->impls[j]))
			index[j] = suite_make_apart(suite, suite->impls[j], layout);
	}
	for (unsigned int round = 0; round < (suite->smoke ? 1 : suite->quick ? 2 : 5); round++)
		for (size_t j = 0; j < suite->nimpls; j++)
			if (index[j])
				one_crowd(suite, suite->impls[j], index[j], plans, threads, samples[j]);
	for (unsigned int k = 0; k < CROWD_NAMES; k++)
		for (size_t j = 0; j < suite->nimpls; j++)
			if (index[j])
				report_ns(suite, crowd_names[k], suite->impls[j], threads, &samples[j][k]);
	for (size_t j = 0; j < suite->nimpls; j++)
		if (index[j])
			suite->impls[j]->destroy(index[j]);
	for (unsigned int i = 0; i < threads; i++)
		plan_free(&plans[i]);
}

void suite_mixes(struct suite *suite)
{
	static const struct {
		const char *workload;
		unsigned int percent;
	} mixes[] = { { "mix-90/10", 90 }, { "mix-50/50", 50 }, { "mix-10/90", 10 } };
	static const unsigned int crowds[] = { 8, 16, 32 };
	struct layout layout;

	layout_make(&layout, SUITE_SIZE, suite->seed);
	for (size_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]) && suite->processor[1] >= 0; i++)
		mixes_of(suite, &layout, mixes[i].workload, mixes[i].percent);
	for (size_t i = 0; i < sizeof(crowds) / sizeof(crowds[0]); i++)
		if (!suite->quick || crowds[i] == 16 || (!suite->smoke && crowds[i] == 32))
			crowds_of(suite, &layout, crowds[i]);
	measure_pin(suite->processor[0]);
	layout_free(&layout);
}
