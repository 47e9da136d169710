/* SPDX-License-Identifier: ISC */
#include "report.h"

#include "../tools/program.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VIOLATIONS_SHOWN 4

static uint64_t sum(const struct job *job, enum count what)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < job->nworkers; i++)
		total += atomic_load_explicit(&job->workers[i].counts[what], memory_order_relaxed);
	return total;
}

static uint64_t sum_ages(const struct job *job, unsigned int age)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < job->nworkers; i++)
		total += atomic_load_explicit(&job->workers[i].ages[age], memory_order_relaxed);
	return total;
}

static uint64_t sum_of(const struct job *job, enum count from, enum count to)
{
	uint64_t total = 0;

	for (unsigned int what = from; what <= to; what++)
		total += sum(job, (enum count)what);
	return total;
}

static uint64_t changes(const struct job *job)
{
	return sum_of(job, COUNT_STORES, COUNT_TXNS) - sum(job, COUNT_MISMATCHES) + sum(job, COUNT_TRIES) -
	       sum(job, COUNT_TRIES_AGAIN);
}

static uint64_t queries(const struct job *job)
{
	return sum(job, COUNT_LOOKUPS) + sum(job, COUNT_TICKETS) + sum(job, COUNT_COVERS) +
	       sum(job, COUNT_COVERS_LOCKED) + sum(job, COUNT_VISITS_UP) + sum(job, COUNT_VISITS_DOWN) +
	       sum(job, COUNT_FINDS);
}

/* ---- While it runs ---- */

void report_begin(const struct job *job)
{
	const struct options *options = &job->options;

	printf("seed %" PRIu64 ", %" PRIu64 " s, %u writers, %u fault threads, flavour %s, walk %s%s%s\n",
	       options->seed, options->seconds, options->writers, options->faulters, options->flavour->name,
	       options->search ? options->search : "default", options->plant ? ", planted: " : "",
	       options->plant ? plant_names[options->plant] : "");
	printf("%zu recordings of %zu processes", job->scripts.recordings, job->scripts.count);
	for (size_t i = 0; i < job->scripts.count; i++)
		if (job->scripts.script[i].scale)
			printf("; %s:%" PRIu32 " scaled from %zu to %zu ranges", job->scripts.script[i].recording->name,
			       job->scripts.script[i].process, job->scripts.script[i].scale->recorded,
			       job->scripts.script[i].scale->count);
	printf("\n");
	fflush(stdout);
}

void report_exact(const struct job *job)
{
	printf("replay: %" PRIu64 " effects, %" PRIu64 " snapshots of %" PRIu64 " lines equal, in %.1f s\n",
	       job->exact_effects, job->exact_snapshots, job->exact_lines, (double)job->exact_ns / 1e9);
	fflush(stdout);
}

void report_progress(const struct job *job, uint64_t elapsed_ns)
{
	uint64_t checked = sum(job, COUNT_CHECKED);

	if (!program_progress_due(stdout))
		return;
	program_progress(
		stdout,
		"%5.0f s  violations %u  %.1f M changes  %.1f M queries  %.1f M answers checked  %.3f %% undecided"
		"  garbage %" PRIu64,
		(double)elapsed_ns / 1e9, atomic_load(&job->violations), (double)changes(job) / 1e6,
		(double)queries(job) / 1e6, (double)checked / 1e6,
		checked ? 100.0 * (double)sum(job, COUNT_UNDECIDED_ANSWERS) / (double)checked : 0.0,
		__atomic_load_n(&job->core->garbage.word, __ATOMIC_RELAXED));
}

/* ---- A violation ---- */

struct near {
	struct cleave_lines lines;
	uint64_t addr;
	bool shown; /* the leaf whose entries follow */
};

/* The nodes above the address, and all of its leaf and of those that touch it. */
static void show_near(struct cleave_lines *lines, const char *text)
{
	struct near *near = (struct near *)lines;
	const char *at = text + strspn(text, " ");
	bool leaf = !strncmp(at, "leaf ", 5), branch = !strncmp(at, "branch ", 7);
	uint64_t first, last;
	char *end;

	first = strtoull(leaf ? at + 5 : branch ? at + 7 : at, &end, 16);
	last = strtoull(end + 1, NULL, 16);
	if (leaf)
		near->shown =
			(first ? first - 1 : 0) <= near->addr && near->addr <= (last < UINT64_MAX ? last + 1 : last);
	if (branch ? first <= near->addr && near->addr <= last : near->shown)
		printf("    %s\n", text);
}

/* Those that changed something in the stripe (may be NULL) are marked. */
static void show_history(const struct worker *worker, const struct stripe *stripe)
{
	uint64_t n = worker->steps < HISTORY ? worker->steps : HISTORY;

	printf("  the last %" PRIu64 " changes of thread %u, oldest first:\n", n, worker->number);
	for (uint64_t i = worker->steps - n; i < worker->steps; i++) {
		const struct step *step = &worker->history[i % HISTORY];

		printf("  %c %-18s %016" PRIx64 "-%016" PRIx64 " object %" PRIx64 " state %" PRIu64 " result %d\n",
		       stripe && step->first <= stripe->last && step->last >= stripe->first ? '*' : ' ',
		       step->what ? step->what : "?", step->first, step->last, step->serial, step->state, step->result);
	}
}

static const struct stripe *find_stripe(const struct job *job, uint64_t addr)
{
	for (unsigned int i = 0; i < job->nstripes; i++)
		if (addr >= job->stripes[i].first && addr <= job->stripes[i].last)
			return &job->stripes[i];
	return NULL;
}

void violation(struct worker *worker, uint64_t addr, const char *format, ...)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct job *job = worker->job;
	struct near near = { { show_near }, addr, false };
	bool inside = worker->inside;
	const struct stripe *stripe;
	unsigned int number;
	va_list arguments;

	atomic_store(&job->stop, true);
	alarm(30); /* a broken index may not let its threads go */
	number = atomic_fetch_add(&job->violations, 1);
	if (number >= VIOLATIONS_SHOWN)
		return;
	if (!inside)
		worker->flavour->enter(worker->record);
	pthread_mutex_lock(&lock);
	program_progress_over(stdout);
	printf("VIOLATION (seed %" PRIu64 ", flavour %s, thread %u): ", job->options.seed, job->options.flavour->name,
	       worker->number);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n  the index around %" PRIx64 " (a moment later):\n", addr);
	cleave_dump_rcu(worker->index, &near.lines, true);
	stripe = find_stripe(job, addr);
	show_history(worker, stripe);
	if (stripe && stripe->owner != worker->number)
		show_history(&job->workers[stripe->owner], stripe);
	fflush(stdout);
	pthread_mutex_unlock(&lock);
	if (!inside)
		worker->flavour->leave(worker->record);
}

/* ---- The end ---- */

static void row(const char *name, uint64_t value, double seconds)
{
	if (value && seconds > 0)
		printf("  %-38s %14" PRIu64 " %12.0f /s\n", name, value, (double)value / seconds);
	else if (value)
		printf("  %-38s %14" PRIu64 "\n", name, value);
}

struct figure {
	const char *name;
	uint64_t value;
};

#define INDEX_FIGURES 17
#define INDEX_RATES 15 /* the first ones; the others are peaks */

static void index_figures(const struct job *job, struct figure *figures)
{
	const struct cleave_counters *counters = &job->counters;
	const struct figure all[INDEX_FIGURES] = {
		{ "edits", counters->edits },
		{ "restructures", counters->restructures },
		{ "copies", counters->copies },
		{ "splits", counters->splits },
		{ "merges", counters->merges },
		{ "lock waits", counters->lock_waits },
		{ "hand-overs", counters->handovers },
		{ "restarts", counters->restarts },
		{ "gap bounds raised", counters->raises },
		{ "gap bounds lowered", counters->lowers },
		{ "grace cookies", counters->cookies },
		{ "waits for a grace period", counters->gp_waits },
		{ "nodes allocated", counters->allocs },
		{ "nodes reused", counters->reuses },
		{ "nodes retired", counters->retired },
		{ "garbage, high water", job->peaks.garbage },
		{ "entries, high water", job->peaks.entries },
	};

	memcpy(figures, all, sizeof(all));
}

void report_end(const struct job *job)
{
	double seconds = (double)job->job_ns / 1e9;
	struct figure figures[INDEX_FIGURES];
	uint64_t checked = sum(job, COUNT_CHECKED), undecided = sum(job, COUNT_UNDECIDED_ANSWERS);

	program_progress_over(stdout);
	printf("\nthe concurrent job, %.1f s:\n", seconds);
	row("changes", changes(job), seconds);
	row("queries", queries(job), seconds);
	printf("by kind:\n");
	for (unsigned int what = 0; what < COUNTS; what++)
		row(count_names[what], sum(job, (enum count)what), seconds);
	printf("undecided: %.4f %% of the answers\n", checked ? 100.0 * (double)undecided / (double)checked : 0.0);
	printf("the index:\n");
	index_figures(job, figures);
	for (unsigned int i = 0; i < INDEX_FIGURES; i++)
		row(figures[i].name, figures[i].value, i < INDEX_RATES ? seconds : 0);
	printf("  at most %" PRIu64 " leaves, %" PRIu64 " branches, %.1f MiB, height %" PRIu64 "; %" PRIu64 " pauses\n",
	       job->peaks.leaves, job->peaks.branches, (double)job->peaks.bytes / 1048576.0, job->peaks.height,
	       job->pauses);
	printf("ages of what readers saw, in grace periods since it was displaced (2 and more are violations):\n ");
	for (unsigned int age = 0; age < AGES; age++)
		printf(" %s%" PRIu64, age == 0 ? "live " : age == 1 ? "0: " : "  ", sum_ages(job, age));
	printf("\nrecordings:\n");
	for (size_t i = 0; i < job->scripts.recordings; i++) {
		const struct recording *recording = &job->scripts.recording[i];

		printf("  %-12s %4" PRIu32 " processes, %6" PRIu64 " replays, %9" PRIu64 " effects, %7" PRIu64
		       " snapshots compared\n",
		       recording->name, recording->processes, atomic_load(&recording->replays),
		       atomic_load(&recording->effects), atomic_load(&recording->snapshots));
	}
	printf("%s: %u violations (seed %" PRIu64 ", %s)\n", atomic_load(&job->violations) ? "FAILED" : "passed",
	       atomic_load(&job->violations), job->options.seed, job->options.flavour->name);
	fflush(stdout);
}

bool report_json(const struct job *job, const char *path)
{
	const struct options *options = &job->options;
	FILE *file = program_open(path);
	struct figure figures[INDEX_FIGURES];

	if (!file)
		return false;
	fprintf(file, "{\n  \"seed\": %" PRIu64 ",\n  \"seconds\": %.3f,\n  \"writers\": %u,\n  \"faulters\": %u,\n",
		options->seed, (double)job->job_ns / 1e9, options->writers, options->faulters);
	fprintf(file, "  \"flavour\": \"%s\",\n  \"search\": \"%s\",\n  \"plant\": \"%s\",\n  \"violations\": %u,\n",
		options->flavour->name, options->search ? options->search : "default", plant_names[options->plant],
		atomic_load(&job->violations));
	fprintf(file,
		"  \"replay\": { \"effects\": %" PRIu64 ", \"snapshots\": %" PRIu64 ", \"lines\": %" PRIu64
		" },\n  \"changes\": %" PRIu64 ",\n  \"queries\": %" PRIu64 ",\n  \"counts\": {\n",
		job->exact_effects, job->exact_snapshots, job->exact_lines, changes(job), queries(job));
	for (unsigned int what = 0; what < COUNTS; what++)
		fprintf(file, "    \"%s\": %" PRIu64 "%s\n", count_names[what], sum(job, (enum count)what),
			what + 1 < COUNTS ? "," : "");
	fprintf(file, "  },\n  \"index\": {\n");
	index_figures(job, figures);
	for (unsigned int i = 0; i < INDEX_FIGURES; i++)
		fprintf(file, "    \"%s\": %" PRIu64 ",\n", figures[i].name, figures[i].value);
	fprintf(file,
		"    \"leaves\": %" PRIu64 ",\n    \"branches\": %" PRIu64 ",\n    \"bytes\": %" PRIu64
		",\n    \"height\": %" PRIu64 "\n  },\n  \"ages\": [",
		job->peaks.leaves, job->peaks.branches, job->peaks.bytes, job->peaks.height);
	for (unsigned int age = 0; age < AGES; age++)
		fprintf(file, "%s%" PRIu64, age ? ", " : "", sum_ages(job, age));
	fprintf(file, "],\n  \"recordings\": [\n");
	for (size_t i = 0; i < job->scripts.recordings; i++) {
		const struct recording *recording = &job->scripts.recording[i];

		fprintf(file,
			"    { \"name\": \"%s\", \"processes\": %" PRIu32 ", \"replays\": %" PRIu64
			", \"effects\": %" PRIu64 ", \"snapshots\": %" PRIu64 " }%s\n",
			recording->name, recording->processes, atomic_load(&recording->replays),
			atomic_load(&recording->effects), atomic_load(&recording->snapshots),
			i + 1 < job->scripts.recordings ? "," : "");
	}
	fprintf(file, "  ]\n}\n");
	return program_close(file, path);
}
