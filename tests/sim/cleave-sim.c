/* SPDX-License-Identifier: ISC */
/* Runs scenarios of the index under chosen schedules: strategies, reports, options. */
#include "execution.h"

#include "options.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DRAWN_SPACES 200u /* so many are explored by dfs */

struct settings {
	double seconds;
	uint64_t executions;
	const char *scenario;
	const char *json;
	const char *replay;
	struct sim_options sim;
	bool first; /* stop at the first failure */
	int memory; /* 0: newest values only, 1: stale ones too, -1: both */
};

struct report {
	char name[96];
	uint64_t executions, pruned, steps;
	uint64_t distinct, classes;
	unsigned int finished, spaces; /* of the variants and memories, how many were explored to the end */
	unsigned int longest;
	double seconds;
	bool failed;
};

/* What is running, for a crash. */
static struct {
	const char *name;
	unsigned int number;
	const struct sim_options *options;
	uint64_t i;
	struct sim_execution execution;
	uint64_t before; /* executions of scenarios before */
	const struct report *report;
} at;

/* ---- Sets of hashes ---- */

struct set {
	uint64_t *slots;
	size_t size, n;
};

#define SET_MOST ((size_t)1 << 25)

static void set_add(struct set *set, uint64_t hash)
{
	size_t i;

	hash |= !hash;
	if (set->n * 2 >= set->size && set->size < SET_MOST) {
		struct set bigger = { calloc(set->size ? set->size * 2 : 1024, 8), set->size ? set->size * 2 : 1024,
				      0 };

		if (!bigger.slots)
			abort();
		for (i = 0; i < set->size; i++)
			if (set->slots[i])
				set_add(&bigger, set->slots[i]);
		free(set->slots);
		*set = bigger;
	}
	if (set->n * 2 >= set->size)
		return; /* full: the count is a lower bound */
	for (i = hash & (set->size - 1); set->slots[i]; i = (i + 1) & (set->size - 1))
		if (set->slots[i] == hash)
			return;
	set->slots[i] = hash;
	set->n++;
}

/* ---- Scenarios ---- */

static clockid_t which_clock = CLOCK_MONOTONIC;

static double now(void)
{
	struct timespec time;

	clock_gettime(which_clock, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}


static void report_failure(const char *name, unsigned int number, const struct sim_options *options, uint64_t i,
			   const struct sim_execution *execution)
{
	program_progress_over(stderr);
	printf("FAILED: %s (%s): %s\n", name, variant.shape->name, failure);
	execution_print();
	printf("  to repeat: --scenario %s --replay %u:%d:%s:%u:%u:%llu:%llu:%u:%s\n", name, number, options->stale,
	       strategy_names[options->strategy], options->bound, options->deviations,
	       (unsigned long long)options->seed, (unsigned long long)i, execution->length,
	       options->strategy == SIM_DFS ? sim_choices() : "");
	fflush(stdout);
}

/* A planted bug, or a real one, may follow a bad pointer: say how to repeat that.  Nothing can go on. */
static void crashed(int number)
{
	(void)number;
	snprintf(failure, sizeof(failure), "crashed");
	if (at.options) {
		report_failure(at.name, at.number, at.options, at.i, &at.execution);
		printf("%-32s %10llu %10llu\n", "total", (unsigned long long)(at.before + at.report->executions),
		       (unsigned long long)at.report->pruned);
	} else {
		printf("FAILED: %s\n", failure);
	}
	fflush(stdout);
	_Exit(1);
}

static void catch_crashes(void)
{
	static char stack[64 * 1024];
	stack_t alternative = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_handler = crashed, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND };

	sigaltstack(&alternative, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGABRT, &action, NULL);
	sigaction(SIGFPE, &action, NULL);
}

static void set_options(struct sim_options *options, bool stale)
{
	options->stale = stale && !variant.ordered_only;
	options->fail_alloc = variant.fail_alloc;
	options->false_done = true;
	options->spurious = options->strategy != SIM_DFS;
}

static bool limit(const struct settings *settings, double until, uint64_t n, uint64_t most)
{
	if (n % 1024 == 0 && program_progress_due(stderr))
		program_progress(stderr, "%s: %llu executions", at.name, (unsigned long long)n);
	if (program_stopped)
		return true;
	if (settings->executions)
		return n >= most;
	return n > 0 && n % 16 == 0 && now() >= until;
}

/* The k-th that is run. */
static unsigned int pick(const struct settings *settings, unsigned int nvariants, uint64_t k)
{
	return (unsigned int)((nvariants == DRAWN ? sim_hash(sim_hash(0, settings->sim.seed), k) : k) % nvariants);
}

/* Random strategies take the variants in turns, in bursts because a variant must be prepared. */
static void run_random(const struct settings *settings, unsigned int scenario, double seconds, struct report *report,
		       struct set *schedules, struct set *classes)
{
	unsigned int nvariants = scenario_variants(scenario);
	double until = now() + seconds;
	uint64_t turn = 0, i = 0, burst;

	while (!report->failed) {
		struct sim_options options = settings->sim;
		unsigned int number = pick(settings, nvariants, turn++);

		execution_prepare(scenario, number);
		set_options(&options, settings->memory != 0);
		sim_explore(&options);
		at.number = number;
		at.options = &options;
		burst = settings->executions && settings->executions < 4096 ? settings->executions / nvariants + 1
									    : nvariants == DRAWN ? 32 : 256;
		for (uint64_t k = 0; k < burst; k++, i++) {
			struct sim_execution execution;

			if (limit(settings, until, report->executions, settings->executions))
				return;
			at.i = i;
			if (execution_run(i, &execution) == SIM_FAILED) {
				report_failure(report->name, number, &options, i, &execution);
				report->failed = true;
				report->executions++;
				break;
			}
			report->executions++;
			report->steps += execution.steps;
			if (execution.steps > report->longest)
				report->longest = execution.steps;
			set_add(schedules, sim_hash(number, execution.schedule));
			set_add(classes, sim_hash(number, execution.trace));
		}
	}
}

static void run_dfs(const struct settings *settings, unsigned int scenario, double seconds, struct report *report,
		    struct set *schedules, struct set *classes)
{
	unsigned int nvariants = scenario_variants(scenario);
	unsigned int memories = settings->memory < 0 ? 2 : 1;
	unsigned int spaces = (nvariants == DRAWN ? DRAWN_SPACES : nvariants) * memories;
	double begin = now();
	uint64_t most = 0;

	report->spaces = 0;
	for (unsigned int space = 0; space < spaces && !report->failed; space++) {
		struct sim_options options = settings->sim;
		bool stale = settings->memory < 0 ? space % 2 == 1 : settings->memory == 1, more = true;
		double until = begin + seconds * (space + 1) / spaces;
		unsigned int number = pick(settings, nvariants, space / memories);

		/* What threads share is known from the first memory, so that the second begins anew less often. */
		if (space % memories == 0)
			execution_prepare(scenario, number);
		if (stale && variant.ordered_only)
			continue;
		report->spaces++;
		set_options(&options, stale);
		sim_explore(&options);
		most += settings->executions / spaces + 1;
		do {
			struct sim_execution execution;
			enum sim_result result;

			if (limit(settings, until, report->executions + report->pruned, most))
				break;
			at.number = number;
			at.options = &options;
			result = execution_run(0, &execution);
			report->steps += execution.steps;
			if (execution.steps > report->longest)
				report->longest = execution.steps;
			if (result == SIM_PRUNED) {
				report->pruned++;
			} else {
				report->executions++;
				set_add(schedules, sim_hash(space, execution.schedule));
				set_add(classes, sim_hash(space, execution.trace));
			}
			if (result == SIM_FAILED) {
				report_failure(report->name, number, &options, 0, &execution);
				report->failed = true;
				break;
			}
			more = sim_next();
			report->finished += !more;
		} while (more);
	}
}

static void run_scenario(const struct settings *settings, unsigned int scenario, double seconds, struct report *report)
{
	struct set schedules = { 0 }, classes = { 0 };
	double begin = now();

	memset(report, 0, sizeof(*report));
	snprintf(report->name, sizeof(report->name), "%s", scenario_name(scenario));
	at.name = report->name;
	at.report = report;
	at.options = NULL;
	if (settings->sim.strategy == SIM_DFS)
		run_dfs(settings, scenario, seconds, report, &schedules, &classes);
	else
		run_random(settings, scenario, seconds, report, &schedules, &classes);
	report->seconds = now() - begin;
	report->distinct = schedules.n;
	report->classes = classes.n;
	free(schedules.slots);
	free(classes.slots);
}

/* ---- The program ---- */

static bool matches(const char *pattern, const char *name)
{
	size_t n = strlen(pattern);

	if (strcmp(pattern, "named") == 0)
		return !strchr(name, '/') && strcmp(name, "drawn") != 0;
	if (n > 0 && pattern[n - 1] == '*')
		return strncmp(pattern, name, n - 1) == 0;
	return strcmp(pattern, name) == 0;
}

static int replay(const struct settings *settings, unsigned int scenario)
{
	struct sim_options options = settings->sim;
	struct sim_execution execution;
	char strategy[16] = "", choices[4096] = "";
	unsigned int number, stale;
	unsigned long long seed, i;
	enum sim_result result;

	if (sscanf(settings->replay, "%u:%u:%15[a-z]:%u:%u:%llu:%llu:%u:%4095s", &number, &stale, strategy,
		   &options.bound, &options.deviations, &seed, &i, &options.length, choices) < 8 ||
	    number >= scenario_variants(scenario))
		program_wrong("not what a failure printed: %s", settings->replay);
	options.strategy = strategy[0] == 'r' ? SIM_RANDOM : strategy[0] == 'p' ? SIM_PCT : SIM_DFS;
	options.seed = seed;
	options.choices = options.strategy == SIM_DFS ? choices : NULL;
	options.trace = true;
	execution_prepare(scenario, number);
	set_options(&options, stale);
	sim_explore(&options);
	result = execution_run(i, &execution);
	if (result == SIM_FAILED)
		printf("FAILED: %s\n", failure);
	execution_print();
	return result == SIM_FAILED;
}

static void print_report(const struct report *r, const struct settings *settings)
{
	program_progress_over(stderr);
	printf("%-32s %10llu %10llu %10llu %10llu %6u %7.1f %9.0f", r->name, (unsigned long long)r->executions,
	       (unsigned long long)r->pruned, (unsigned long long)r->distinct, (unsigned long long)r->classes,
	       r->longest, r->seconds, (double)(r->executions + r->pruned) / (r->seconds > 0 ? r->seconds : 1));
	if (settings->sim.strategy == SIM_DFS)
		printf("  %u of %u%s", r->finished, r->spaces, r->finished == r->spaces ? "" : " (not finished)");
	printf("%s\n", r->failed ? "  FAILED" : "");
	fflush(stdout);
}

static void print_json(FILE *file, const struct report *r, const struct settings *settings, bool *first)
{
	fprintf(file,
		"%s\n  {\"scenario\": \"%s\", \"strategy\": \"%s\", \"bound\": %u, \"deviations\": %u, "
		"\"executions\": %llu, \"pruned\": %llu, \"distinct\": %llu, \"classes\": %llu, \"steps\": %llu, "
		"\"seconds\": %.3f, \"spaces\": %u, \"finished\": %u, \"failed\": %s}",
		*first ? "" : ",", r->name, strategy_names[settings->sim.strategy], settings->sim.bound,
		settings->sim.deviations, (unsigned long long)r->executions, (unsigned long long)r->pruned,
		(unsigned long long)r->distinct, (unsigned long long)r->classes, (unsigned long long)r->steps,
		r->seconds, r->spaces, r->finished, r->failed ? "true" : "false");
	*first = false;
}

static const char help[] =
	"usage: cleave-sim [options]\n"
	"\n"
	"Run the index under chosen schedules and judge every execution.\n"
	"\n"
	"  --seconds N        for all scenarios together (default 60)\n"
	"  --processor        seconds of the processor's time: a busy machine explores as much\n"
	"  --executions N     instead: of each scenario\n"
	"  --scenario NAME    only this one, NAME*: all that begin so (--list names them),\n"
	"                     named: no pairs and triples\n"
	"  --strategy S       random (default), pct, or dfs: all schedules within the bound\n"
	"  --preemptions N    dfs: the bound (default 2); pct: change points (default 3)\n"
	"  --deviations N     stale loads, grace periods seen late, failed allocations of one execution\n"
	"                     (default 4; dfs: 1)\n"
	"  --whole            dfs: enter again what was explored; the same classes must be found\n"
	"  --memory M         sc: loads return the newest value; weak: also older ones; both (default)\n"
	"  --seed N           (default 1)\n"
	"  --replay WHAT      with --scenario: repeat what a failure printed, and print the interleaving\n"
	"  --first            stop at the first failure\n"
	"  --json FILE        write the report there too\n"
	"  --list             the names of scenarios\n"
	"  --help             this text\n"
	"\n"
	"Examples:\n"
	"  cleave-sim --seconds 20\n"
	"  cleave-sim --scenario 'pair/*' --strategy dfs --seconds 600 --json pairs.json\n"
	"\n"
	"Exit status: 0 all passed, 1 a failure was found, 2 wrong usage or no output, 130 interrupted.\n";

static void add(struct report *total, const struct report *report)
{
	total->executions += report->executions;
	total->pruned += report->pruned;
	total->distinct += report->distinct;
	total->classes += report->classes;
	total->finished += report->finished;
	total->spaces += report->spaces;
	total->longest = report->longest > total->longest ? report->longest : total->longest;
	at.before = total->executions;
}

static int run_all(const struct settings *settings, unsigned int *chosen, unsigned int n)
{
	FILE *json = settings->json ? program_open(settings->json) : NULL;
	struct report report, total = { .name = "total" };
	/* What does not finish soon shares the time that is left. */
	unsigned int passes = settings->sim.strategy == SIM_DFS && !settings->executions ? 2 : 1, failures = 0;
	double begin = now();
	bool first = true;

	if (settings->json && !json)
		return PROGRAM_WRONG;
	printf("strategy %s, bound %u, deviations %u, seed %llu\n", strategy_names[settings->sim.strategy],
	       settings->sim.bound, settings->sim.deviations, (unsigned long long)settings->sim.seed);
	printf("%-32s %10s %10s %10s %10s %6s %7s %9s%s\n", "scenario", "executions", "pruned", "distinct", "classes",
	       "steps", "seconds", "/ second", settings->sim.strategy == SIM_DFS ? "  finished" : "");
	if (json)
		fputc('[', json);
	for (unsigned int pass = passes; pass > 0 && !(failures && settings->first) && !program_stopped; pass--) {
		double until = pass > 1 ? begin + settings->seconds / 8 : begin + settings->seconds;
		unsigned int unfinished = 0;

		for (unsigned int i = 0; i < n && !program_stopped; i++) {
			run_scenario(settings, chosen[i], (until - now()) / (n - i), &report);
			if (pass > 1 && report.finished < report.spaces && !report.failed) {
				chosen[unfinished++] = chosen[i];
				continue;
			}
			print_report(&report, settings);
			if (json)
				print_json(json, &report, settings, &first);
			add(&total, &report);
			failures += report.failed;
			if (failures > 0 && settings->first)
				break;
		}
		n = unfinished;
	}
	total.seconds = now() - begin;
	print_report(&total, settings);
	execution_print_reached();
	if (json) {
		fputs("\n]\n", json);
		if (!program_close(json, settings->json) && !failures)
			return PROGRAM_WRONG;
	}
	return failures > 0;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seconds", 1, NULL, 's' },	 { "executions", 1, NULL, 'e' },
		{ "scenario", 1, NULL, 'c' },	 { "strategy", 1, NULL, 'y' },
		{ "preemptions", 1, NULL, 'p' }, { "deviations", 1, NULL, 'd' },
		{ "memory", 1, NULL, 'm' },	 { "seed", 1, NULL, 'r' },
		{ "replay", 1, NULL, 'R' },	 { "json", 1, NULL, 'j' },
		{ "first", 0, NULL, 'f' },	 { "list", 0, NULL, 'l' },
		{ "processor", 0, NULL, 'P' },	 { "whole", 0, NULL, 'w' },
		{ "help", 0, NULL, 'h' },	 { NULL, 0, NULL, 0 },
	};
	static const char *const memory_names[] = { "both", "sc", "weak" };
	struct settings settings = { .seconds = 60,
				     .memory = -1,
				     .sim = { .seed = 1, .bound = UINT32_MAX, .deviations = UINT32_MAX } };
	unsigned int *chosen = calloc(scenario_count(), sizeof(*chosen)), n = 0;
	int option;

	program_begin(argv);
	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (option) {
		case 's':
			settings.seconds = option_seconds(optarg);
			break;
		case 'w':
			settings.sim.whole = true;
			break;
		case 'P':
			which_clock = CLOCK_PROCESS_CPUTIME_ID;
			break;
		case 'e':
			settings.executions = program_number("executions", optarg, 1, UINT64_MAX);
			break;
		case 'c':
			settings.scenario = optarg;
			break;
		case 'y':
			settings.sim.strategy = option_strategy(optarg);
			break;
		case 'p':
			settings.sim.bound = option_small("preemptions", optarg, 8);
			break;
		case 'd':
			settings.sim.deviations = option_small("deviations", optarg, 15);
			break;
		case 'm':
			settings.memory = (int)option_word("memory", optarg, memory_names, 3) - 1;
			break;
		case 'r':
			settings.sim.seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'R':
			settings.replay = optarg;
			break;
		case 'j':
			settings.json = program_output(optarg);
			break;
		case 'f':
			settings.first = true;
			break;
		case 'l':
			for (unsigned int i = 0; i < scenario_count(); i++)
				puts(scenario_name(i));
			return program_end(0);
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (settings.sim.bound == UINT32_MAX)
		settings.sim.bound = settings.sim.strategy == SIM_PCT ? 3 : 2;
	if (settings.sim.deviations == UINT32_MAX)
		settings.sim.deviations = settings.sim.strategy == SIM_DFS ? 1 : 4;
	for (unsigned int i = 0; chosen && i < scenario_count(); i++)
		if (!settings.scenario || matches(settings.scenario, scenario_name(i)))
			chosen[n++] = i;
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
	if (n == 0)
		program_wrong("there is no scenario %s (--list)", settings.scenario);
	if (settings.replay && n != 1)
		program_wrong("--replay of which --scenario?");
	catch_crashes();
	program_ends_early();
	option = settings.replay ? replay(&settings, chosen[0]) : run_all(&settings, chosen, n);
	execution_forget();
	free(chosen);
	return program_end(option);
}
