/* SPDX-License-Identifier: ISC */
/*
 * cleave-bench: cleave beside its peers, and the limit of what its lookups could cost.  Repetitions go round all
 * implementations of a workload, so that the machine's noise hits all alike; figures are medians and quartiles.
 *
 * A benchmark is no test: the exit status is 0 whether the targets are reached or not.
 */
#include "suite.h"
#include "limit.h"
#include "pace.h"
#include "peers/peers.h"
#include "targets.h"

#include "../tools/program.h"

#include <fnmatch.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool suite_wants(const struct suite *suite, const char *workload, const char *impl)
{
	char name[128];

	snprintf(name, sizeof(name), "%s/%s", workload, impl);
	for (unsigned int i = 0; i < suite->nonly; i++) {
		char pattern[128];

		snprintf(pattern, sizeof(pattern), "*%s*", suite->only[i]);
		if (!fnmatch(pattern, name, 0))
			return true;
	}
	return !suite->nonly;
}

void *suite_make_apart(const struct suite *suite, const struct bench_impl *impl, const struct layout *layout)
{
	struct bench_impl apart = *impl;

	apart.nodes = BENCH_APART;
	return suite_make(suite, impl->peer || impl->nodes ? impl : &apart, layout, false);
}

void *suite_make(const struct suite *suite, const struct bench_impl *impl, const struct layout *layout, bool dense)
{
	struct cleave_entry *order = NULL;

	if (!dense)
		order = layout_shuffled(layout, suite->seed + 1);
	measure_unpin();

	void *index = impl->make(impl, layout, order);

	measure_pin(suite->processor[0]);
	free(order);
	return index;
}

void suite_report(struct suite *suite, struct row *row, const struct row *base)
{
	const struct row *limit = report_find(&suite->report, "lookup", limit_simd()->name, row->n);

	if (limit && !strcmp(row->unit, "ns"))
		row->limit = samples_ratio(&row->samples, &limit->samples);
	if (base) {
		row->ratio = samples_ratio(&row->samples, &base->samples);
	} else if (row->base) {
		/* Without what it is compared to, there is nothing to judge. */
		row->base = NULL;
		row->target = 0;
	}
	report_add(&suite->report, row);
}

void suite_report_peer(struct suite *suite, struct row *row)
{
	const struct row *ours =
		report_find_threads(&suite->report, row->workload, bench_memb.name, row->n, row->threads);

	row->base = bench_memb.name;
	row->at_least = true;
	row->target = targets_of(row->workload, row->impl, row->n);
	suite_report(suite, row, ours);
}

void suite_report_distance(struct suite *suite, const char *workload, const char *of, const struct samples *samples)
{
	struct row row = { .workload = workload, .impl = of, .threads = 2, .unit = "ns", .samples = *samples };

	/* Wanted or not: who wants what was measured beside it wants to know. */
	if (samples->n)
		report_add(&suite->report, &row);
}

bool suite_size_wanted(const struct suite *suite, const struct bench_impl *impl, size_t n)
{
	if (suite->smoke)
		return n <= SUITE_SIZE;
	if (!impl->peer || n < 1000000)
		return true;
	return !suite->quick || !strcmp(impl->name, TARGETS_MAPLE);
}

static void gather(struct suite *suite)
{
	static const struct bench_impl *const flavours[] = { &bench_memb, &bench_qsbr, &bench_ck, &bench_memb_huge };

	for (size_t i = 0; i < sizeof(flavours) / sizeof(flavours[0]); i++)
		suite->impls[suite->nimpls++] = flavours[i];
	for (const struct bench_impl *const *peer = peers_all(); *peer && suite->nimpls < SUITE_IMPLS; peer++)
		suite->impls[suite->nimpls++] = *peer;
	for (size_t i = 0; i < suite->nimpls; i++)
		if (suite->impls[i]->notes)
			printf("%-15s %s\n", suite->impls[i]->name, suite->impls[i]->notes);
	peers_missing();
}

static void print_matrix(const struct suite *suite)
{
	const char *names[REPORT_COLUMNS] = { limit_simd()->name, limit_scalar.name, bench_memb_scalar.name };
	size_t n = 3;

	for (size_t i = 0; i < suite->nimpls; i++)
		names[n++] = suite->impls[i]->name;
	report_matrix(&suite->report, names, n);
}

static const char help[] =
	"usage: cleave-bench [OPTION...]\n"
	"\n"
	"Measure cleave beside its peers, and beside the limit of what its lookups could cost.\n"
	"\n"
	"  -q, --quick          fewer and shorter repetitions\n"
	"      --smoke          none that says anything: only to see that all of it works\n"
	"  -j, --json FILE      write the rows to FILE as well\n"
	"  -s, --seed N         of the layout and of all random choices (default 42)\n"
	"  -o, --only PATTERN   rows whose WORKLOAD/IMPLEMENTATION contains it (*, ?, [] as in the shell);\n"
	"                       may be repeated; ratios need what they are taken to\n"
	"  -h, --help           this text\n"
	"\n"
	"Examples:\n"
	"  cleave-bench --quick\n"
	"  cleave-bench --quick --only 'clip/*' --only 'map+unmap/ck' --json some.json\n"
	"\n"
	"Exit status: 0; 2: wrong usage, no row is called so, or FILE cannot be written; 130: interrupted.\n";

static void parse(struct suite *suite, const char **json, int argc, char **argv)
{
	static const struct option options[] = {
		{ "smoke", no_argument, NULL, 'S' },
		{ "quick", no_argument, NULL, 'q' },
		{ "json", required_argument, NULL, 'j' },
		{ "seed", required_argument, NULL, 's' },
		{ "only", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "qj:s:o:h", options, NULL)) != -1) {
		switch (option) {
		case 'S':
			suite->smoke = true;
			suite->quick = true;
			break;
		case 'q':
			suite->quick = true;
			break;
		case 'j':
			*json = program_output(optarg);
			break;
		case 's':
			suite->seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'o':
			if (suite->nonly == SUITE_PATTERNS)
				program_wrong("too many patterns");
			suite->only[suite->nonly++] = optarg;
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
}

/* The rest of the first line of a file that starts with `key`, or its first line where that is NULL. */
static void first_line(char *text, size_t size, const char *path, const char *key)
{
	char line[256];
	FILE *file = fopen(path, "re");

	snprintf(text, size, "unknown");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		const char *start = line;

		if (key) {
			const char *colon = strchr(line, ':');

			if (strncmp(line, key, strlen(key)) || !colon)
				continue;
			start = colon + 1 + strspn(colon + 1, " ");
		}
		line[strcspn(line, "\n\"\\")] = '\0';
		snprintf(text, size, "%.100s", start);
		break;
	}
	fclose(file);
}

/* ---- The parts of a run ---- */

static void pair_start_and_speedup(struct suite *suite)
{
	pair_start(suite);
	pair_speedup(suite);
}

static void pairs(struct suite *suite)
{
	pair_workloads(suite);
	pair_stop();
}

static struct part {
	const char *name;
	void (*run)(struct suite *suite);
	double seconds;
} parts[] = {
	{ "speed-up", pair_start_and_speedup, 0 },
	{ "sections", suite_sections, 0 },
	{ "lookups", suite_lookups, 0 },
	{ "changes", suite_changes, 0 },
	{ "spaces", suite_spaces, 0 },
	{ "sizes", suite_sizes, 0 },
#ifdef BENCH_MAPS
	{ "map parts", suite_maps_parts, 0 },
	{ "map barrier", suite_maps_barrier, 0 },
#endif
	{ "pairs", pairs, 0 },
	{ "mixes", suite_mixes, 0 },
	{ "touches", suite_touches, 0 },
#ifdef BENCH_MAPS
	{ "fault paths", suite_paths, 0 },
#endif
#ifdef BENCH_TRACES
	{ "recordings", suite_replays, 0 },
#endif
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* A file is written after each part, so that a run that is cut short is not lost.  Return: false: it cannot. */
static bool run_parts(struct suite *suite, const char *json, const char *facts)
{
	for (size_t i = 0; i < PARTS; i++) {
		double start = measure_wall(), third = (suite->budget - pace_spent()) / 3;

		pace_grant(third < suite->patience ? third : suite->patience);
		parts[i].run(suite);
		parts[i].seconds = measure_wall() - start;
		if (json && (strcmp(json, "-") || i == PARTS - 1) && !report_json(&suite->report, json, facts))
			return false;
	}
	return true;
}

static void print_times(void)
{
	double seconds = 0;

	for (size_t i = 0; i < PARTS; i++) {
		printf("%s%s %.1f", i ? ", " : "\nseconds: ", parts[i].name, parts[i].seconds);
		seconds += parts[i].seconds;
	}
	printf("; together %.0f\n", seconds);
#ifndef BENCH_MAPS
	printf("maps: not measured, bsd/sys/tree.h was not there when this was built\n");
#endif
#ifndef BENCH_TRACES
	printf("recordings: not replayed, libzstd was not there when this was built\n");
#endif
}

int main(int argc, char **argv)
{
	struct suite suite = { .seed = 42 };
	const char *json = NULL;
	char cpu[128], pages[128], facts[512];

	program_begin(argv);
	parse(&suite, &json, argc, argv);
	suite.repetitions = suite.quick ? 7 : 15;
	suite.seconds = suite.quick ? 0.002 : 0.005;
	suite.pair_seconds = suite.quick ? 0.02 : 0.05;
	suite.patience = suite.quick ? 45 : 120;
	suite.budget = suite.quick ? 150 : 900;
	if (suite.smoke) {
		suite.repetitions = 1;
		suite.seconds = 0.0001;
		suite.pair_seconds = 0.001;
		suite.patience = 0;
	}
	/* malloc() keeps what it has: no kernel clears pages in what is timed, and no hypervisor forgets others. */
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	suite.apart = measure_processors(&suite.processor[0], &suite.processor[1]);

	first_line(cpu, sizeof(cpu), "/proc/cpuinfo", "model name");
	first_line(pages, sizeof(pages), "/sys/kernel/mm/transparent_hugepage/enabled", NULL);
	printf("cleave-bench: seed %llu, processors %d and %d (%s), huge pages %s, compiler %s\n",
	       (unsigned long long)suite.seed, suite.processor[0], suite.processor[1], cpu, pages, __VERSION__);
	gather(&suite);
	pace_start_both(suite.processor, suite.patience > 0);
	measure_unpin();
	report_header();

	snprintf(facts, sizeof(facts),
		 "\t\"seed\": %llu,\n\t\"quick\": %s,\n\t\"cpu\": \"%s\",\n\t\"huge_pages\": \"%s\",\n"
		 "\t\"compiler\": \"%s\",\n",
		 (unsigned long long)suite.seed, suite.quick ? "true" : "false", cpu, pages, __VERSION__);
	if (!run_parts(&suite, json, facts))
		return program_end(PROGRAM_WRONG);
	if (!suite.report.n)
		program_wrong("no row is called so");
	report_summary(&suite.report);
	print_matrix(&suite);
	print_times();
	report_pace(&suite.report, pace_spent());
	free(suite.report.rows);
	return program_end(0);
}
