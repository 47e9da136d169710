/* SPDX-License-Identifier: ISC */
#include "report.h"
#include "layout.h"

#include "../tools/program.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_distance(const struct row *row)
{
	return !strcmp(row->workload, REPORT_DISTANCE) || !strcmp(row->workload, REPORT_DISTANCE_AGAIN);
}

void report_header(void)
{
	printf("%-22s %-15s %8s %3s %9s %-3s %18s %8s %8s  %-24s %s\n", "workload", "implementation", "n", "thr",
	       "median", "", "quartiles", "x limit", "ratio", "to", "target");
}

static bool reached(const struct row *row)
{
	double judged = row->base ? row->ratio : row->figure.median;

	return row->at_least ? judged >= row->target : judged <= row->target;
}

static void print_row(const struct row *row)
{
	printf("%-22s %-15s %8zu %3u %9.2f %-3s [%7.2f %8.2f]", row->workload, row->impl, row->n, row->threads,
	       row->figure.median, row->unit, row->figure.q1, row->figure.q3);
	if (row->limit > 0)
		printf(" %8.2f", row->limit);
	else
		printf(" %8s", "");
	if (row->base)
		printf(" %8.2f  %-24s", row->ratio, row->base);
	else
		printf(" %8s  %-24s", "", "");
	if (row->target > 0)
		printf(" %s %-5g %s", row->at_least ? ">=" : "<=", row->target, reached(row) ? "reached" : "MISSED");
	printf("\n");
	fflush(stdout);
}

void report_add(struct report *report, struct row *row)
{
	row->figure = samples_figure(&row->samples);
	if (report->n == report->capacity) {
		report->capacity = report->capacity ? 2 * report->capacity : 64;
		report->rows = need(realloc(report->rows, report->capacity * sizeof(*row)));
	}
	report->rows[report->n++] = *row;
	if (row->target > 0) {
		if (reached(row))
			report->reached++;
		else
			report->missed++;
	}
	print_row(row);
}

const struct row *report_find(const struct report *report, const char *workload, const char *impl, size_t n)
{
	for (size_t i = 0; i < report->n; i++) {
		const struct row *row = &report->rows[i];

		if (row->n == n && !strcmp(row->workload, workload) && !strcmp(row->impl, impl))
			return row;
	}
	return NULL;
}

const struct row *report_find_threads(const struct report *report, const char *workload, const char *impl, size_t n,
				      unsigned int threads)
{
	for (size_t i = 0; i < report->n; i++) {
		const struct row *row = &report->rows[i];

		if (row->n == n && row->threads == threads && !strcmp(row->workload, workload) &&
		    !strcmp(row->impl, impl))
			return row;
	}
	return NULL;
}

void report_pace(const struct report *report, double spent)
{
	double least = 0, most = 0;
	unsigned int full = 0, all = 0;

	for (size_t i = 0; i < report->n; i++) {
		const struct row *row = &report->rows[i];
		const struct samples *samples = &row->samples;

		full += samples->paced ? samples_full(samples) : 0;
		all += samples->paced ? samples->n : 0;
		for (unsigned int j = 0; j < samples->n && is_distance(row); j++) {
			double ns = samples->value[j];

			least = least == 0 || ns < least ? ns : least;
			most = ns > most ? ns : most;
		}
	}
	if (most > 0)
		printf("a cache line took %.0f to %.0f ns from one processor to the other\n", least, most);
	printf("%.0f %% of the samples at full pace; %.0f seconds waited for that, or spent in vain\n",
	       all ? 100.0 * full / all : 100.0, spent);
}

static void print_value(const struct row *row)
{
	if (!row)
		printf(" %13s", "-");
	else
		printf(" %13.*f", row->figure.median < 100 ? 1 : 0, row->figure.median);
}

static bool same_line(const struct row *a, const struct row *b)
{
	return a->n == b->n && a->threads == b->threads && !strcmp(a->workload, b->workload);
}

void report_matrix(const struct report *report, const char *const *impl, size_t n)
{
	printf("\n%-20s %7s %3s %-3s", "medians", "n", "thr", "");
	for (size_t j = 0; j < n; j++)
		printf(" %13.13s", impl[j]);
	printf("\n");
	for (size_t i = 0; i < report->n; i++) {
		const struct row *row = &report->rows[i], *found[REPORT_COLUMNS];
		size_t columns = 0, at = 0;

		while (!same_line(&report->rows[at], row))
			at++;
		for (size_t j = 0; j < n; j++) {
			found[j] = report_find_threads(report, row->workload, impl[j], row->n, row->threads);
			columns += found[j] != NULL;
		}
		/* Once, and where there is something to compare. */
		if (at < i || columns < 2)
			continue;
		printf("%-20s %7zu %3u %-3s", row->workload, row->n, row->threads, row->unit);
		for (size_t j = 0; j < n; j++)
			print_value(found[j]);
		printf("\n");
	}
}

void report_summary(const struct report *report)
{
	printf("\n%zu targets reached, %zu missed\n", report->reached, report->missed);
	for (size_t i = 0; i < report->n; i++)
		if (report->rows[i].target > 0 && !reached(&report->rows[i]))
			print_row(&report->rows[i]);
}

/* JSON has no word for what was divided by no time at all (--smoke). */
static void json_number(FILE *file, const char *name, double number)
{
	if (isfinite(number))
		fprintf(file, ", \"%s\": %.4f", name, number);
	else
		fprintf(file, ", \"%s\": null", name);
}

/* Names are the program's own: no character in them needs an escape. */
bool report_json(const struct report *report, const char *path, const char *facts)
{
	FILE *file = program_open(path);

	if (!file)
		return false;
	fprintf(file, "{\n%s\t\"rows\": [", facts);
	for (size_t i = 0; i < report->n; i++) {
		const struct row *row = &report->rows[i];

		fprintf(file, "%s\n\t\t{ \"impl\": \"%s\", \"workload\": \"%s\", \"n\": %zu, \"threads\": %u",
			i ? "," : "", row->impl, row->workload, row->n, row->threads);
		if (strcmp(row->unit, "ns"))
			fprintf(file, ", \"unit\": \"%s\"", row->unit);
		json_number(file, strcmp(row->unit, "ns") ? "value" : "ns", row->figure.median);
		json_number(file, "q1", row->figure.q1);
		json_number(file, "q3", row->figure.q3);
		if (row->samples.paced)
			fprintf(file, ", \"full_pace\": %.2f", (double)samples_full(&row->samples) / row->samples.n);
		if (row->limit > 0 && isfinite(row->limit))
			fprintf(file, ", \"limit_ratio\": %.4f", row->limit);
		if (row->base && isfinite(row->ratio))
			fprintf(file, ", \"ratio\": %.4f, \"base\": \"%s\"", row->ratio, row->base);
		if (row->target > 0)
			fprintf(file, ", \"target\": %g, \"target_is\": \"%s\", \"reached\": %s", row->target,
				row->at_least ? "at least" : "at most", reached(row) ? "true" : "false");
		fprintf(file, " }");
	}
	fprintf(file, "\n\t]\n}\n");
	return program_close(file, path);
}
