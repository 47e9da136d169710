/* SPDX-License-Identifier: ISC */
/* Scenarios of a few accesses under chosen schedules: options, executions, what failed. */
#include "orders_run.h"

#include "options.h"

#include <getopt.h>

unsigned int variant_now;

static uint64_t total;

/* One variant under one strategy, so many executions.  False: one failed. */
static bool explore(const struct scenario *scenario, unsigned int variant, enum sim_strategy strategy,
		    uint64_t executions, uint64_t seed, int64_t trace)
{
	bool chance = strategy != SIM_DFS;
	struct sim_options options = {
		.strategy = strategy, .bound = 2, .deviations = chance ? 4 : 1, .stale = true,
		.locked = scenario->how & LOCKED, .false_done = chance && (scenario->how & FALSE_DONE),
		.spurious = chance, .seed = seed, .trace = trace >= 0,
	};
	struct sim_snapshot snapshot;
	bool more = true, ok = true;

	variant_now = variant;
	scenario->prepare(variant);
	sim_snapshot_take(&snapshot);
	sim_explore(&options);
	for (uint64_t i = trace >= 0 ? (uint64_t)trace : 0; more && ok && i < executions && !program_stopped; i++) {
		struct sim_execution execution;
		enum sim_result result;
		const char *failure = NULL;

		sim_snapshot_restore(&snapshot);
		result = sim_execute(scenario->nthreads, scenario->body, i, &execution);
		if (result == SIM_FAILED)
			failure = sim_failure();
		else if (result == SIM_PASSED && scenario->judge)
			failure = scenario->judge();
		total += result != SIM_PRUNED;
		if (i % 1024 == 0 && program_progress_due(stderr))
			program_progress(stderr, "%s, variant %u: %llu executions", scenario->name, variant,
					 (unsigned long long)total);
		if (failure) {
			ok = false;
			program_progress_over(stderr);
			printf("FAILED: %s, variant %u, %s, execution %llu: %s\n", scenario->name, variant,
			       chance ? "random" : "dfs", (unsigned long long)i, failure);
		}
		if (!chance)
			more = sim_next();
		if (trace >= 0)
			break;
	}
	sim_snapshot_free(&snapshot);
	return ok;
}

__attribute__((noreturn)) static void help(uint64_t executions)
{
	printf("usage: %s [options]\n"
	       "\n"
	       "Run scenarios of a few accesses, each in several variants, under chosen schedules with stale reads.\n"
	       "\n"
	       "  --executions N     of each variant, by chance; then as many of all schedules with 2 preemptions "
	       "(%llu)\n"
	       "  --seed N           (1)\n"
	       "  --scenario NAME    only this one\n"
	       "  --trace NUMBER     print that execution of each variant\n"
	       "  --json FILE        write the totals there too\n"
	       "  --list             the names of scenarios\n"
	       "  --help             this text\n"
	       "\n"
	       "Example:\n"
	       "  %s --executions 100000 --seed 7\n"
	       "\n"
	       "Exit status: 0 all passed, 1 an execution failed, 2 wrong usage or no output, 130 interrupted.\n",
	       program_name, (unsigned long long)executions, program_name);
	exit(program_end(0));
}

static bool write_json(const char *path, unsigned int variants, bool failed)
{
	FILE *file = program_open(path);

	if (!file)
		return false;
	fprintf(file, "{\"variants\": %u, \"executions\": %llu, \"failed\": %s}\n", variants, (unsigned long long)total,
		failed ? "true" : "false");
	return program_close(file, path);
}

int orders_main(int argc, char **argv, const struct scenario *const *lists, unsigned int nlists, uint64_t executions)
{
	static const struct option longs[] = {
		{ "executions", 1, NULL, 'e' }, { "seed", 1, NULL, 's' }, { "scenario", 1, NULL, 'c' },
		{ "trace", 1, NULL, 't' },	{ "json", 1, NULL, 'j' }, { "list", 0, NULL, 'l' },
		{ "help", 0, NULL, 'h' },	{ NULL, 0, NULL, 0 },
	};
	uint64_t seed = 1, ordinarily = executions;
	int64_t trace = -1;
	const char *only = NULL, *json = NULL;
	unsigned int run = 0;
	bool failed = false, list = false;
	int option, status;

	program_begin(argv);
	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (option) {
		case 'e':
			executions = program_number("executions", optarg, 1, UINT64_MAX);
			break;
		case 's':
			seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'c':
			only = optarg;
			break;
		case 't':
			trace = option_small("trace", optarg, UINT32_MAX);
			executions = UINT64_MAX;
			break;
		case 'j':
			json = program_output(optarg);
			break;
		case 'l':
			list = true;
			break;
		case 'h':
			help(ordinarily);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
	program_ends_early();
	for (unsigned int l = 0; l < nlists && !failed; l++) {
		for (const struct scenario *scenario = lists[l]; scenario->name && !failed; scenario++) {
			if (only && strcmp(only, scenario->name) != 0)
				continue;
			if (list)
				puts(scenario->name);
			for (unsigned int v = 0; v < scenario->variants && !list && !failed && !program_stopped;
			     v++, run++)
				failed = !explore(scenario, v, SIM_RANDOM, executions, seed, trace) ||
					 (trace < 0 && !explore(scenario, v, SIM_DFS, executions, seed, -1));
		}
	}
	if (list)
		return program_end(0);
	if (!run && only)
		program_wrong("there is no scenario %s (--list)", only);
	program_progress_over(stderr);
	printf("%u variants, %llu executions\n", run, (unsigned long long)total);
	status = failed ? 1 : 0;
	if (json && !write_json(json, run, failed) && !status)
		status = PROGRAM_WRONG;
	return program_end(status);
}
