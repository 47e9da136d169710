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
	for (uint64_t i = trace >= 0 ? (uint64_t)trace : 0; more && ok && i < executions; i++) {
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
		if (failure) {
			ok = false;
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

int orders_main(int argc, char **argv, const struct scenario *const *lists, unsigned int nlists, uint64_t executions)
{
	static const struct option longs[] = { { "executions", 1, NULL, 'e' }, { "seed", 1, NULL, 's' },
					       { "scenario", 1, NULL, 'c' },   { "trace", 1, NULL, 't' },
					       { "help", 0, NULL, 'h' },       { NULL, 0, NULL, 0 } };
	uint64_t seed = 1;
	int64_t trace = -1;
	const char *only = NULL;
	unsigned int run = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (option) {
		case 'e':
			executions = option_number(optarg);
			break;
		case 's':
			seed = option_number(optarg);
			break;
		case 'c':
			only = optarg;
			break;
		case 't':
			trace = option_small(optarg);
			executions = UINT64_MAX;
			break;
		default:
			fprintf(option == 'h' ? stdout : stderr, "usage: %s [--executions N] [--seed N] "
				"[--scenario NAME] [--trace NUMBER]\n", argv[0]);
			return option == 'h' ? 0 : 2;
		}
	}
	for (unsigned int l = 0; l < nlists; l++) {
		for (const struct scenario *scenario = lists[l]; scenario->name; scenario++) {
			if (only && strcmp(only, scenario->name) != 0)
				continue;
			for (unsigned int v = 0; v < scenario->variants; v++, run++) {
				if (!explore(scenario, v, SIM_RANDOM, executions, seed, trace) ||
				    (trace < 0 && !explore(scenario, v, SIM_DFS, executions, seed, -1))) {
					printf("%llu executions\n", (unsigned long long)total);
					return 1;
				}
			}
		}
	}
	if (!run) {
		fprintf(stderr, "%s: no scenario %s\n", argv[0], only);
		return 2;
	}
	printf("%u variants, %llu executions\n", run, (unsigned long long)total);
	return 0;
}
