/* SPDX-License-Identifier: ISC */
/* What people and programs are told. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../tools/program.h"
#include "pager.h"

static const char *const kind_names[FAULT_KINDS] = FAULT_KIND_NAMES;

static double mib(uint64_t pages)
{
	return (double)pages / 256;
}

void summarize(struct summary *summary)
{
	memset(summary, 0, sizeof(*summary));
	summary->seconds = (double)(clock_ns() - pager.begun) / 1e9;
	pthread_mutex_lock(&pager.workers_lock);
	for (const struct worker *worker = pager.workers; worker; worker = worker->next) {
		const struct counters *counters = &worker->counters;

		for (unsigned int i = 0; i < FAULT_KINDS; i++) {
			summary->by_kind[i] += get(&counters->faults[i]);
			summary->faults += get(&counters->faults[i]);
		}
		summary->retries += get(&counters->retries);
		summary->stale += get(&counters->stale);
		summary->lost += get(&counters->lost);
		summary->evicted += get(&counters->evicted);
		summary->clean += get(&counters->clean);
		summary->nanoseconds += get(&counters->nanoseconds);
	}
	pthread_mutex_unlock(&pager.workers_lock);
	summary->total = get(&pager.total);
	for (uint32_t i = 0; i < pager.nprocesses; i++)
		if (pager.processes[i].state == PROCESS_READY)
			summary->total += get(&pager.processes[i].total);
	if (summary->total < summary->faults) /* of processes that were killed the last count is unknown */
		summary->total = summary->faults;
	summary->share = summary->faults ? (double)summary->faults / (double)summary->total : 0;
	summary->engine = pager.engine->name;
	summary->peak = get(&pager.peak);
	summary->metadata = get(&pager.metadata_peak);
	summary->entries = get(&pager.entries_peak);
	summary->calls = get(&pager.calls);
	summary->violations = get(&pager.violations);
}

void report_progress(void)
{
	static uint64_t shown_at, shown_faults;
	uint64_t now = clock_ns();
	struct summary summary;

	if (!program_progress_due(stderr))
		return;
	summarize(&summary);
	program_progress(
		stderr,
		"%7.1f s  %9llu faults  %7.0f /s  %8.1f MiB resident  %9llu refaults  %9llu evicted  %6llu calls",
		summary.seconds, (unsigned long long)summary.faults,
		shown_at ? (double)(summary.faults - shown_faults) * 1e9 / (double)(now - shown_at) : 0.0,
		mib(get(&pager.resident)), (unsigned long long)summary.by_kind[FAULT_REFAULT],
		(unsigned long long)(summary.evicted + summary.clean), (unsigned long long)summary.calls);
	shown_at = now;
	shown_faults = summary.faults;
}

void report_table(const struct summary *summary)
{
	FILE *out = stderr;

	program_progress_over(out);
	fprintf(out, "%-22s %s, %u handlers\n", "engine", summary->engine, pager.options.handlers);
	fprintf(out, "%-22s %llu in %.1f s: %.0f a second, %.1f us each in the handler\n", "faults served",
		(unsigned long long)summary->faults, summary->seconds, (double)summary->faults / summary->seconds,
		summary->faults ? (double)summary->nanoseconds / 1e3 / (double)summary->faults : 0.0);
	for (unsigned int i = 0; i < FAULT_KINDS; i++)
		fprintf(out, "  %-20s %llu\n", kind_names[i], (unsigned long long)summary->by_kind[i]);
	fprintf(out, "%-22s %llu of all kinds (files, the main stack, ...): the pager served %.1f %%\n",
		"faults counted", (unsigned long long)summary->total, 100 * summary->share);
	fprintf(out, "%-22s %llu tried again, %llu of what had gone, %llu lost to the program's own DONTNEED\n",
		"races", (unsigned long long)summary->retries, (unsigned long long)summary->stale,
		(unsigned long long)summary->lost);
	fprintf(out, "%-22s %llu written, %llu as they were in the file\n", "evicted",
		(unsigned long long)summary->evicted, (unsigned long long)summary->clean);
	fprintf(out, "%-22s %.1f MiB at most", "resident", mib(summary->peak));
	if (pager.options.limit)
		fprintf(out, ", limit %.1f MiB, %llu faults waited for room", mib(pager.options.limit),
			(unsigned long long)get(&pager.throttled));
	fprintf(out, "\n%-22s %llu bytes at most, %.1f a page; %llu entries at most\n", "metadata",
		(unsigned long long)summary->metadata,
		summary->peak ? (double)summary->metadata / (double)summary->peak : 0.0,
		(unsigned long long)summary->entries);
	fprintf(out, "%-22s %llu in %llu images and %llu forks\n", "address-space calls",
		(unsigned long long)summary->calls, (unsigned long long)get(&pager.images),
		(unsigned long long)get(&pager.forked));
	fprintf(out, "%-22s %llu, %llu of them without a transaction\n", "the kernel's events",
		(unsigned long long)get(&pager.events), (unsigned long long)get(&pager.events_unexpected));
	if (summary->violations)
		fprintf(out, "%-22s %llu; the first: %s\n", "VIOLATIONS", (unsigned long long)summary->violations,
			pager.violation);
}

bool report_json(const struct summary *summary, const char *path)
{
	FILE *file = program_open(path);

	if (!file)
		return false;
	fprintf(file, "{\n  \"engine\": \"%s\",\n  \"seconds\": %.3f,\n  \"faults\": %llu,\n  \"kinds\": {",
		summary->engine, summary->seconds, (unsigned long long)summary->faults);
	for (unsigned int i = 0; i < FAULT_KINDS; i++)
		fprintf(file, "%s\"%s\": %llu", i ? ", " : "", kind_names[i], (unsigned long long)summary->by_kind[i]);
#define NUMBER(name, value) fprintf(file, ",\n  \"" name "\": %llu", (unsigned long long)(value))
	fprintf(file, "},\n  \"share\": %.4f", summary->share);
	NUMBER("faults_counted", summary->total);
	NUMBER("retries", summary->retries);
	NUMBER("stale", summary->stale);
	NUMBER("lost", summary->lost);
	NUMBER("evicted", summary->evicted);
	NUMBER("evicted_clean", summary->clean);
	NUMBER("handler_ns", summary->nanoseconds);
	NUMBER("resident_peak", summary->peak);
	NUMBER("limit", pager.options.limit);
	NUMBER("throttled", get(&pager.throttled));
	NUMBER("metadata_bytes", summary->metadata);
	NUMBER("entries_peak", summary->entries);
	NUMBER("calls", summary->calls);
	NUMBER("images", get(&pager.images));
	NUMBER("forks", get(&pager.forked));
	NUMBER("events", get(&pager.events));
	NUMBER("events_unexpected", get(&pager.events_unexpected));
	NUMBER("violations", summary->violations);
	fputs(",\n  \"violation\": ", file);
	program_json_string(file, pager.violation);
	NUMBER("status", summary->status);
	fputs("\n}\n", file);
	return program_close(file, path);
}

void report_comparison(const struct summary *summaries, size_t n)
{
	fprintf(stderr, "\n%-12s %10s %9s %10s %10s %10s %10s %12s %8s %6s\n", "engine", "seconds", "faults",
		"faults/s", "us each", "refaults", "evicted", "metadata", "entries", "share");
	for (size_t i = 0; i < n; i++) {
		const struct summary *summary = &summaries[i];

		if (!summary->engine)
			continue;
		fprintf(stderr, "%-12s %10.2f %9llu %10.0f %10.2f %10llu %10llu %12llu %8llu %5.1f%%%s\n",
			summary->engine, summary->seconds, (unsigned long long)summary->faults,
			(double)summary->faults / summary->seconds,
			summary->faults ? (double)summary->nanoseconds / 1e3 / (double)summary->faults : 0.0,
			(unsigned long long)summary->by_kind[FAULT_REFAULT],
			(unsigned long long)(summary->evicted + summary->clean), (unsigned long long)summary->metadata,
			(unsigned long long)summary->entries, 100 * summary->share,
			summary->violations || summary->status ? "  FAILED" : "");
	}
}
