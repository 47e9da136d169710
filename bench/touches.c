/* SPDX-License-Identifier: ISC */
/*
 * What the library was made for: threads that touch the pages of one large anonymous segment in order, while others map
 * and unmap elsewhere.  Each touch looks up the entry that holds its address.
 *
 * fault-chunked: as kernels with a table of pages per entry do: the first touch of each 64 KiB clips them out of the
 *	segment, and makes their table; then the page's place in the table is filled.
 * fault-sparse: the segment stays one entry, and the page's slot of a sparse store is filled (cleave_anon, whatever
 *	the index is).
 *
 * A page is a piece of memory from malloc() in both.  The figures are the time of a touch, and of a pair of unmap and
 * map beside it.
 */
#include "crowd.h"
#include "distance.h"
#include "pace.h"

#include <cleave/anon.h>
#include <cleave/section.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_START LAYOUT_TOP /* above all others */
#define PAGES ((uint64_t)1 << 16) /* a thread's: of several, each must last longer than a time slice */
#define SMOKE_PAGES ((uint64_t)1 << 11)
#define CHUNK_PAGES 16
#define PLACES 4096

struct table {
	void *page[CHUNK_PAGES];
};

struct segment {
	bool sparse;
	uint64_t pages;
	unsigned int faulters;
	struct table **table; /* chunks */
	struct cleave_anon *store;
	unsigned int finished; /* [a] faulters */
};

struct churn {
	struct segment *segment;
	struct cleave_entry *entries;
};

/* ---- The store's surroundings ---- */

static CLEAVE_SECTION_DOMAIN urcu;
static struct cleave_anon_domain anons;

static void release(const struct cleave_anon_ops *ops, uint64_t content)
{
	(void)ops;
	(void)content;
}

static const struct cleave_anon_ops anon_ops = { release };

/* ---- The threads ---- */

static bool touch_chunk(struct crowd_member *member, struct segment *segment, uint64_t page)
{
	uint64_t chunk = page / CHUNK_PAGES;
	uint64_t ends[2] = { SEGMENT_START + chunk * CHUNK_PAGES * LAYOUT_PAGE,
			     SEGMENT_START + (chunk + 1) * CHUNK_PAGES * LAYOUT_PAGE };

	if (!segment->table[chunk]) {
		/* Its neighbours may have been clipped before; the segment's end needs none. */
		if (member->impl->clip(member->thread, ends, chunk + 1 < segment->pages / CHUNK_PAGES ? 2 : 1))
			return false;
		segment->table[chunk] = need(calloc(1, sizeof(struct table)));
	}
	segment->table[chunk]->page[page % CHUNK_PAGES] = need(malloc(sizeof(struct cleave_anon_page)));
	return true;
}

/* Have malloc() keep as much as the touches take, so that the kernel has no part in what is timed. */
static void stock(uint64_t pages)
{
	void **blocks = need(calloc(pages, sizeof(*blocks)));

	for (uint64_t i = 0; i < pages; i++)
		blocks[i] = need(calloc(1, 2 * sizeof(struct cleave_anon_page)));
	for (uint64_t i = 0; i < pages; i++)
		free(blocks[i]);
	free(blocks);
}

static void *fault(struct crowd_member *member)
{
	struct segment *segment = member->context;
	uint64_t share = segment->pages / segment->faulters, first = share * member->number;
	struct cleave_anon_context *context = NULL;
	CLEAVE_SECTION_THREAD *record = NULL;
	double start;

	if (segment->sparse) {
		record = need(aligned_alloc(64, (sizeof(*record) + 63) & ~(size_t)63));
		cleave_section_register(record, &urcu);
		context = need(cleave_anon_context_open(&anons, &record->thread));
	}
	stock(share);
	start = measure_wall();
	for (uint64_t page = first; page < first + share; page++) {
		uint64_t addr = SEGMENT_START + page * LAYOUT_PAGE;
		bool good = member->impl->lookup_each(member->thread, &addr, 1) != 0;

		if (good && segment->sparse) {
			struct cleave_anon_page *anon = need(cleave_anon_page_make(context, 2 * page));

			good = !cleave_anon_fill(context, segment->store, page, anon, NULL);
		} else if (good) {
			good = touch_chunk(member, segment, page);
		}
		if (!good) {
			fprintf(stderr, "cleave-bench: %s: a fault failed\n", member->impl->name);
			exit(1);
		}
	}
	member->ops = share;
	/* Without the registration: crowd_run() measures the whole body. */
	member->times->worst = (uint64_t)((measure_wall() - start) * 1e9);
	__atomic_fetch_add(&segment->finished, 1, __ATOMIC_RELEASE);
	if (segment->sparse) {
		cleave_anon_context_close(context);
		cleave_section_unregister(record, &urcu);
		free(record);
	}
	return NULL;
}

static void *churn(struct crowd_member *member)
{
	const struct churn *churn = member->context;
	uint64_t start = crowd_now();
	size_t at = 0;

	while (__atomic_load_n(&churn->segment->finished, __ATOMIC_ACQUIRE) < churn->segment->faulters) {
		member->impl->erase(member->thread, &churn->entries[at], 1);
		member->impl->insert(member->thread, &churn->entries[at], 1);
		at = (at + 1) % PLACES;
		member->ops++;
	}
	member->times->worst = crowd_now() - start;
	return NULL;
}

/* ---- One run ---- */

struct outcome {
	struct samples touch;
	struct samples pair;
	struct samples entries;
};

static void free_tables(struct segment *segment)
{
	for (uint64_t i = 0; i < segment->pages / CHUNK_PAGES; i++) {
		for (unsigned int j = 0; segment->table[i] && j < CHUNK_PAGES; j++)
			free(segment->table[i]->page[j]);
		free(segment->table[i]);
	}
	free(segment->table);
}

static double ns_each(const struct crowd_member *members, unsigned int n)
{
	double ns = 0;
	uint64_t ops = 0;

	for (unsigned int i = 0; i < n; i++) {
		ns += (double)members[i].times->worst;
		ops += members[i].ops;
	}
	return ns / (double)(ops ? ops : 1);
}

struct run {
	double touch;
	double pair;
	double entries;
	bool full; /* at full pace */
};

static struct run one_run(struct suite *suite, const struct bench_impl *impl, const struct layout *layout, bool sparse,
			  unsigned int faulters)
{
	struct run run;
	struct segment segment = { .sparse = sparse,
				   .pages = (suite->smoke ? SMOKE_PAGES : PAGES) * faulters,
				   .faulters = faulters };
	struct cleave_entry whole = { SEGMENT_START, SEGMENT_START + segment.pages * LAYOUT_PAGE - 1,
				      &layout->entries[0] };
	struct crowd_member members[CROWD_MOST];
	struct crowd_times *times = need(calloc(2 * faulters, sizeof(*times)));
	struct churn churns[CROWD_MOST];
	CLEAVE_SECTION_THREAD *record = NULL;
	struct cleave_anon_context *context = NULL;
	void *index = suite_make(suite, impl, layout, false);
	size_t entries, bytes;
	void *thread;

	measure_unpin();
	segment.table = need(calloc(segment.pages / CHUNK_PAGES, sizeof(*segment.table)));
	if (sparse) {
		record = need(aligned_alloc(64, (sizeof(*record) + 63) & ~(size_t)63));
		cleave_section_start(&urcu, NULL, 0);
		cleave_anon_domain_init(&anons, &urcu.domain, &anon_ops);
		cleave_section_register(record, &urcu);
		context = need(cleave_anon_context_open(&anons, &record->thread));
		if (cleave_anon_create(context, segment.pages, &segment.store))
			exit(1);
	}
	thread = impl->attach(index);
	impl->insert(thread, &whole, 1);
	if (impl->offline)
		impl->offline(thread);
	for (unsigned int i = 0; i < 2 * faulters; i++) {
		members[i] = (struct crowd_member){
			.impl = impl,
			.index = index,
			.processor = faulters == 1 ? suite->processor[i] : -1,
			.body = i < faulters ? fault : churn,
			.context = &segment,
			.times = &times[i],
		};
		if (i < faulters)
			continue;

		size_t from = layout->n * (i - faulters) / faulters, to = layout->n * (i - faulters + 1) / faulters;

		churns[i] = (struct churn){ &segment, layout_drawn(layout, from, to, PLACES, suite->seed + i) };
		members[i].context = &churns[i];
	}
	run.full = crowd_run(members, 2 * faulters, 0, 0);
	run.touch = ns_each(members, faulters);
	run.pair = ns_each(members + faulters, faulters);
	if (impl->online)
		impl->online(thread);
	impl->size(thread, &entries, &bytes);
	run.entries = (double)(entries - layout->n);
	if (impl->detach)
		impl->detach(thread);
	impl->destroy(index);
	if (sparse) {
		cleave_anon_unref(context, segment.store);
		cleave_anon_flush(context);
		cleave_anon_context_close(context);
		cleave_section_unregister(record, &urcu);
		cleave_anon_domain_exit(&anons);
		cleave_section_stop(&urcu);
		free(record);
	}
	for (unsigned int i = faulters; i < 2 * faulters; i++)
		free(churns[i].entries);
	free_tables(&segment);
	free(times);
	return run;
}

static void add(struct samples *samples, double ns, bool paced, bool full)
{
	if (paced)
		samples_add_paced(samples, ns, full);
	else
		samples_add(samples, ns);
}

/* Two threads are measured at full pace, if there is patience; more have no processor of their own. */
static void one_sample(struct suite *suite, const struct bench_impl *impl, const struct layout *layout, bool sparse,
		       unsigned int faulters, struct outcome *outcome)
{
	bool pinned = faulters == 1;
	struct run run;
	double began;

	do {
		began = measure_wall();
		run = one_run(suite, impl, layout, sparse, faulters);
	} while (pinned && suite->apart && pace_again(run.full, began));
	add(&outcome->touch, run.touch, pinned, run.full);
	add(&outcome->pair, run.pair, pinned, run.full);
	samples_add(&outcome->entries, run.entries);
}

/* ---- All of them ---- */

static void report(struct suite *suite, const char *workload, const struct bench_impl *impl, unsigned int threads,
		   const char *unit, const struct samples *samples)
{
	struct row row = {
		.workload = workload,
		.impl = impl->name,
		.n = SUITE_SIZE,
		.threads = threads,
		.unit = unit,
		.samples = *samples,
	};

	if (impl->peer && !strcmp(unit, "ns"))
		suite_report_peer(suite, &row);
	else
		suite_report(suite, &row, NULL);
}

static void faults_of(struct suite *suite, const struct layout *layout, bool sparse, unsigned int faulters)
{
	const char *const names[] = { sparse ? "fault-sparse" : "fault-chunked",
				      sparse ? "remap-sparse" : "remap-chunked",
				      sparse ? "entries-sparse" : "entries-chunked" };
	static struct outcome outcomes[SUITE_IMPLS];
	struct samples distance = { .n = 0 };
	bool any = false;

	memset(outcomes, 0, sizeof(outcomes));
	for (unsigned int round = 0; round < (suite->smoke ? 1 : suite->quick ? 2 : 7); round++) {
		for (size_t j = 0; j < suite->nimpls; j++) {
			const struct bench_impl *impl = suite->impls[j];

			if (!impl->concurrent || !impl->clip || !impl->size ||
			    !suite_wants(suite, names[0], impl->name))
				continue;
			one_sample(suite, impl, layout, sparse, faulters, &outcomes[j]);
			any = true;
		}
		if (any && faulters == 1)
			samples_add(&distance, distance_between(suite->processor[0], suite->processor[1]));
	}
	suite_report_distance(suite, REPORT_DISTANCE_AGAIN, names[0], &distance);
	for (unsigned int i = 0; i < 3; i++)
		for (size_t j = 0; j < suite->nimpls; j++)
			if (outcomes[j].touch.n)
				report(suite, names[i], suite->impls[j], 2 * faulters, i == 2 ? "entries" : "ns",
				       i == 0	? &outcomes[j].touch
				       : i == 1 ? &outcomes[j].pair
						: &outcomes[j].entries);
}

void suite_touches(struct suite *suite)
{
	struct layout layout;

	layout_make(&layout, SUITE_SIZE, suite->seed);
	for (unsigned int sparse = 0; sparse < 2; sparse++) {
		if (suite->processor[1] >= 0)
			faults_of(suite, &layout, sparse, 1);
		faults_of(suite, &layout, sparse, 4);
	}
	measure_pin(suite->processor[0]);
	layout_free(&layout);
}
