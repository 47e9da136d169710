/* SPDX-License-Identifier: ISC */
/*
 * Recordings of real programs (stress/traces): of each the process with the most changes.  What it did to its address
 * space is made to an index: a mapping is stored over what was there, an unmapping erased, a protection stored over
 * each piece that is mapped.  Two figures: a change alone, and a change with READS lookups in what is mapped at that
 * time, as faults would make them (recordings have none).
 *
 * It is made to the same index again and again, which is emptied before: untimed until it is steady, and then timed.
 * The first time in a new index would mostly be that of the kernel, which clears pages for it.
 */
#include "../stress/space_model.h"
#include "pace.h"
#include "task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READS 8 /* lookups for each change */

struct change {
	struct cleave_entry entry; /* without a value: erased */
	uint64_t reads[READS];
};

struct recording {
	struct change *change;
	size_t n;
	size_t capacity;
	struct space_model *model;
	uint32_t process;
	struct rng rng;
	size_t *counts; /* changes of each process, when they are counted only */
};

static volatile uint64_t sink;

/* ---- Reading ---- */

/* A value stands for what a range shows: never the same for neighbours that differ. */
static void *value_of(const struct space_range *range)
{
	uint64_t what = (uint64_t)range->object * 64 + range->attributes % 64;

	return (void *)(uintptr_t)(0x100000 + 64 * what);
}

static void draw_reads(struct recording *recording, struct change *change)
{
	const struct space_range *ranges;
	size_t n = space_model_ranges(recording->model, recording->process, &ranges);

	for (unsigned int i = 0; i < READS; i++) {
		const struct space_range *range = n ? &ranges[rng_below(&recording->rng, n)] : NULL;

		change->reads[i] = range ? range->start + rng_below(&recording->rng, range->end - range->start) : 0;
	}
}

static void add(struct recording *recording, uint64_t start, uint64_t end, void *value)
{
	if (start >= end)
		return;
	if (recording->n == recording->capacity) {
		recording->capacity = recording->capacity ? 2 * recording->capacity : 1024;
		recording->change = need(realloc(recording->change, recording->capacity * sizeof(*recording->change)));
	}
	recording->change[recording->n] = (struct change){ .entry = { start, end - 1, value } };
	draw_reads(recording, &recording->change[recording->n++]);
}

static void add_pieces(struct recording *recording, uint64_t from, uint64_t to)
{
	const struct space_range *ranges;
	size_t n = space_model_ranges(recording->model, recording->process, &ranges);

	for (size_t i = 0; i < n; i++) {
		uint64_t start = ranges[i].start > from ? ranges[i].start : from;
		uint64_t end = ranges[i].end < to ? ranges[i].end : to;

		add(recording, start, end, value_of(&ranges[i]));
	}
}

static int on_effect(void *context, const struct space_effect *effect)
{
	struct recording *recording = context;
	const struct space_range *range = &effect->range;
	int error;

	if (effect->kind == SPACE_SNAPSHOT)
		return 0;
	error = space_model_effect(recording->model, effect);
	if (recording->counts)
		recording->counts[effect->process]++;
	if (error || recording->counts || effect->process != recording->process)
		return error;
	switch (effect->kind) {
	case SPACE_FORK:
		add_pieces(recording, 0, UINT64_MAX);
		break;
	case SPACE_MAP:
	case SPACE_GROW:
		add(recording, range->start, range->end, value_of(range));
		break;
	case SPACE_UNMAP:
		add(recording, range->start, range->end, NULL);
		break;
	case SPACE_PROTECT:
		add_pieces(recording, range->start, range->end);
		break;
	default:
		break;
	}
	return 0;
}

static bool on_next(void *context, uint32_t process, uint64_t from, struct space_range *range)
{
	return space_model_next(((struct recording *)context)->model, process, from, range);
}

/* Return: false: the file cannot be read. */
static bool read_through(const char *path, struct recording *recording)
{
	static const struct space_ops ops = { on_effect, on_next };
	struct trace_event event;
	struct trace *trace;
	struct space *space;
	char message[256];
	bool good = true;

	if (trace_open(&trace, path, message, sizeof(message))) {
		printf("%s\n", message);
		return false;
	}
	if (space_model_create(&recording->model) || space_create(&space, &ops, recording))
		exit(1);
	while (good && trace_next(trace, &event) > 0) {
		if (recording->counts && event.process >= 65536)
			good = false;
		else
			good = !space_apply(space, &event);
	}
	space_destroy(space);
	space_model_destroy(recording->model);
	trace_close(trace);
	return good;
}

static bool recording_read(struct recording *recording, const char *path, uint64_t seed)
{
	bool good;

	*recording = (struct recording){ .rng = { seed }, .counts = need(calloc(65536, sizeof(size_t))) };
	good = read_through(path, recording);
	for (uint32_t i = 0; i < 65536; i++)
		if (recording->counts[i] > recording->counts[recording->process])
			recording->process = i;
	free(recording->counts);
	recording->counts = NULL;
	return good && read_through(path, recording) && recording->n;
}

/* ---- Replaying ---- */

#define LEAST 2000 /* changes of a sample: a short recording several times */

/* Return: seconds for a change. */
static double play(const struct bench_impl *impl, void *thread, const struct recording *recording, bool with_reads,
		   size_t *failed)
{
	static const struct cleave_entry all = { .first = 0, .last = LAYOUT_TOP - 1 };
	size_t times = LEAST / recording->n + 1;
	struct stopwatch watch;
	double seconds = 0;

	for (size_t time = 0; time < times; time++) {
		*failed += impl->erase(thread, &all, 1);
		stopwatch_start(&watch);
		for (size_t i = 0; i < recording->n; i++) {
			const struct change *change = &recording->change[i];

			*failed += (change->entry.value ? impl->store : impl->erase)(thread, &change->entry, 1);
			if (with_reads)
				sink += impl->lookup_each(thread, change->reads, READS);
		}
		seconds += stopwatch_seconds(&watch);
	}
	return seconds / (double)(times * recording->n);
}

static void replay(const struct suite *suite, const struct bench_impl *impl, const struct recording *recording,
		   bool with_reads, struct samples *samples)
{
	static const struct layout nothing;
	struct cleave_entry none;
	size_t failed = 0;
	void *index, *thread;
	struct pace pace;
	double seconds;

	measure_unpin();
	index = impl->make(impl, &nothing, &none);
	measure_pin(suite->processor[0]);
	thread = impl->attach(index);
	do {
		struct steady steady = { .passes = 0 };

		pace_begin(&pace);
		while (steady_pass(&steady, play(impl, thread, recording, with_reads, &failed)))
			;
		pace_mark(&pace);
		seconds = play(impl, thread, recording, with_reads, &failed);
	} while (!pace_end(&pace));
	samples_add_paced(samples, seconds * 1e9, pace.full);
	if (failed)
		printf("replay, %s: %zu changes failed\n", impl->name, failed);
	if (impl->detach)
		impl->detach(thread);
	impl->destroy(index);
}

static void report(struct suite *suite, const char *workload, const struct bench_impl *impl, size_t n,
		   const struct samples *samples)
{
	struct row row = {
		.workload = workload,
		.impl = impl->name,
		.n = n,
		.threads = 1,
		.unit = "ns",
		.samples = *samples,
	};

	if (impl->peer)
		suite_report_peer(suite, &row);
	else
		suite_report(suite, &row, NULL);
}

static void replays_of(struct suite *suite, const struct recording *recording, const char *name)
{
	static struct samples samples[2][SUITE_IMPLS];
	static char kept[16][2][64]; /* rows point to names */
	static unsigned int used;
	char(*names)[64] = kept[used < 15 ? used++ : 15];

	snprintf(names[0], 64, "replay-%s", name);
	snprintf(names[1], 64, "replay+reads-%s", name);
	memset(samples, 0, sizeof(samples));
	for (unsigned int round = 0; round < suite->repetitions / 2 + 1; round++)
		for (size_t j = 0; j < suite->nimpls; j++)
			for (unsigned int k = 0; k < 2; k++)
				if (suite->impls[j]->store && suite->impls[j]->lookup_each &&
				    suite_wants(suite, names[k], suite->impls[j]->name))
					replay(suite, suite->impls[j], recording, k, &samples[k][j]);
	for (unsigned int k = 0; k < 2; k++)
		for (size_t j = 0; j < suite->nimpls; j++)
			if (samples[k][j].n)
				report(suite, names[k], suite->impls[j], recording->n, &samples[k][j]);
}

void suite_replays(struct suite *suite)
{
	static const char *const names[] = { "gcc", "firefox", "chromium", "java", "javac", "node", "python" };

	for (size_t i = 0; i < (suite->smoke ? 1 : sizeof(names) / sizeof(names[0])); i++) {
		struct recording recording;
		char path[4096];

		snprintf(path, sizeof(path), BENCH_TRACES "/%s.trace.zst", names[i]);
		if (recording_read(&recording, path, suite->seed))
			replays_of(suite, &recording, names[i]);
		else
			printf("recordings: %s cannot be read\n", path);
		free(recording.change);
	}
}
