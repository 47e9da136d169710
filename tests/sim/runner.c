/* SPDX-License-Identifier: ISC */
#include "runner.h"

#include "options.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct totals {
	uint64_t executions, pruned, steps;
	unsigned int failures, finished, variants;
};

/* What is running, for a crash. */
static const struct runner *runner;
static struct totals *running;
static const char *now_running = "";

struct sim_snapshot runner_snapshot;
char runner_failure[1024];

static void crashed(int signal)
{
	static char stack_text[256];
	int n = snprintf(stack_text, sizeof(stack_text),
			 "FAILED: %s: crash, signal %d\ntotal %llu executions, 1 failures\n", now_running, signal,
			 (unsigned long long)(running ? running->executions : 0));

	fflush(stdout);
	if (write(STDOUT_FILENO, stack_text, (size_t)n) != n)
		_exit(2);
	_exit(1);
}

static void catch_crashes(void)
{
	static char stack[65536];
	stack_t alternative = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_handler = crashed, .sa_flags = SA_ONSTACK };

	sigaltstack(&alternative, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGABRT, &action, NULL);
}

static clockid_t which_clock = CLOCK_MONOTONIC;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(which_clock, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Run one variant; returns false if it failed. */
static bool run(unsigned int number, struct sim_options *options, uint64_t executions, double until,
		struct totals *totals)
{
	struct sim_execution execution;
	enum sim_result result;
	uint64_t i;

	now_running = runner->choose(number);
	sim_explore(options);
	totals->variants++;
	for (i = 0; i < executions && ((i & 63) || seconds() < until) && !program_stopped; i++) {
		if ((i & 1023) == 0 && program_progress_due(stderr))
			program_progress(stderr, "%s: %llu executions, %u failures", now_running,
					 (unsigned long long)totals->executions, totals->failures);
		result = runner->execute(i, &execution, false);
		totals->executions += result != SIM_PRUNED;
		totals->pruned += result == SIM_PRUNED;
		totals->steps += execution.steps;
		if (result == SIM_FAILED) {
			totals->failures++;
			program_progress_over(stderr);
			printf("FAILED: %s: %s\n", now_running, runner_failure);
			printf("  --variant %u --strategy %s --seed %llu --stale %d --fail %d --replay ", number,
			       options->strategy == SIM_DFS   ? "dfs"
			       : options->strategy == SIM_PCT ? "pct"
							      : "random",
			       (unsigned long long)options->seed, options->stale, options->fail_alloc);
			if (options->strategy == SIM_DFS)
				printf("%s\n", sim_choices());
			else
				printf("%llu:%u\n", (unsigned long long)i, execution.length);
			return false;
		}
		if (options->strategy == SIM_DFS && !sim_next()) {
			totals->finished++;
			break;
		}
	}
	return true;
}

/* Run one variant where memory may fail, but not everywhere: a quarter of a named one, every fourth of the others. */
static void run_quarter(unsigned int number, struct sim_options *options, uint64_t executions, double until, bool stop,
			struct totals *totals)
{
	bool named = number < runner->named;
	double now = seconds();

	options->fail_alloc = !named && number % 4 == 3;
	run(number, options, executions, named ? now + (until - now) * 3 / 4 : until, totals);
	if (named && !(stop && totals->failures)) {
		options->fail_alloc = true;
		run(number, options, executions / 4 + 1, until, totals);
	}
}

__attribute__((noreturn)) static void help(void)
{
	printf("usage: %s [options]\n\nRun %s under chosen schedules and judge every execution.\n\n", runner->program,
	       runner->subject);
	fputs("  --seconds N        for all together (default 60)\n"
	      "  --processor        seconds of the processor's time: a busy machine explores as much\n"
	      "  --executions N     instead: of each variant\n"
	      "  --variant N        only this one (--list names the first; above are random pairs and triples)\n"
	      "  --scenario NAME    only this one\n"
	      "  --named            only those that have a name\n"
	      "  --strategy S       random (default), pct, or dfs: all schedules within the bound, of the named ones\n"
	      "  --preemptions N    dfs: the bound (default 2); pct: change points (default 3)\n"
	      "  --deviations N     stale loads and grace periods seen late, of one execution (default 4; dfs: 1)\n"
	      "  --stale 0|1        loads may return older values (default 1)\n"
	      "  --fail 0|1         allocations may fail (default 1; dfs: 0)\n"
	      "  --seed N           (default 1)\n"
	      "  --replay WHAT      with --variant: repeat what a failure printed, and print the interleaving\n"
	      "  --first            stop at the first failure\n"
	      "  --json FILE        write the totals there too\n"
	      "  --list             the scenarios that have a name, with their numbers\n"
	      "  --help             this text\n",
	      stdout);
	printf("\nExamples:\n  %s --seconds 20\n  %s --variant 6 --strategy dfs --seconds 30\n"
	       "\nExit status: 0 all passed, 1 a failure was found, 2 wrong usage or no output, 130 interrupted.\n",
	       runner->program, runner->program);
	exit(program_end(0));
}

static bool write_json(const char *path, const struct totals *totals)
{
	FILE *file = program_open(path);

	if (!file)
		return false;
	fprintf(file,
		"{\"executions\": %llu, \"pruned\": %llu, \"steps\": %llu, \"variants\": %u, \"finished\": %u, "
		"\"failures\": %u}\n",
		(unsigned long long)totals->executions, (unsigned long long)totals->pruned,
		(unsigned long long)totals->steps, totals->variants, totals->finished, totals->failures);
	return program_close(file, path);
}

static int replay(unsigned int number, struct sim_options *options, const char *what)
{
	struct sim_execution execution;
	uint64_t i = 0;
	char *end;

	now_running = runner->choose(number);
	options->trace = true;
	if (options->strategy == SIM_DFS) {
		options->choices = what;
	} else {
		i = strtoull(what, &end, 0);
		options->length = *end == ':' ? (unsigned int)strtoul(end + 1, NULL, 0) : 0;
	}
	sim_explore(options);
	if (runner->execute(i, &execution, true) != SIM_FAILED)
		return 0;
	printf("FAILED: %s: %s\n", now_running, runner_failure);
	return 1;
}

int runner_main(const struct runner *it, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seconds", 1, NULL, 's' },   { "executions", 1, NULL, 'e' },	{ "variant", 1, NULL, 'v' },
		{ "strategy", 1, NULL, 'y' },  { "preemptions", 1, NULL, 'p' }, { "deviations", 1, NULL, 'd' },
		{ "stale", 1, NULL, 'w' },     { "fail", 1, NULL, 'a' },	{ "scenario", 1, NULL, 'n' },
		{ "seed", 1, NULL, 'r' },      { "replay", 1, NULL, 'R' },	{ "first", 0, NULL, 'f' },
		{ "named", 0, NULL, 'N' },     { "json", 1, NULL, 'j' },	{ "list", 0, NULL, 'l' },
		{ "processor", 0, NULL, 'P' }, { "help", 0, NULL, 'h' },	{ NULL, 0, NULL, 0 },
	};
	struct sim_options options = { .seed = 1,
				       .bound = UINT32_MAX,
				       .deviations = UINT32_MAX,
				       .stale = true,
				       .false_done = true,
				       .spurious = true };
	const char *what = NULL, *json = NULL;
	unsigned int first = 0, last, only = UINT32_MAX;
	uint64_t executions = 0;
	struct totals totals = { 0 };
	double budget = 60, begin, end;
	bool stop = false, named_only = false, fails;
	int option, fail = -1, status;

	program_begin(argv);
	runner = it;
	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (option) {
		case 's':
			budget = option_seconds(optarg);
			break;
		case 'P':
			which_clock = CLOCK_PROCESS_CPUTIME_ID;
			break;
		case 'e':
			executions = program_number("executions", optarg, 1, UINT64_MAX);
			break;
		case 'v':
			only = option_small("variant", optarg, runner->named + runner->random - 1);
			break;
		case 'y':
			options.strategy = option_strategy(optarg);
			break;
		case 'p':
			options.bound = option_small("preemptions", optarg, 8);
			break;
		case 'd':
			options.deviations = option_small("deviations", optarg, 15);
			break;
		case 'w':
			options.stale = option_small("stale", optarg, 1);
			break;
		case 'n':
			for (only = 0; only < runner->named && strcmp(runner->name(only), optarg); only++)
				;
			if (only == runner->named)
				program_wrong("there is no scenario %s (--list)", optarg);
			break;
		case 'a':
			fail = (int)option_small("fail", optarg, 1);
			break;
		case 'r':
			options.seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'R':
			what = optarg;
			break;
		case 'f':
			stop = true;
			break;
		case 'N':
			named_only = true;
			break;
		case 'j':
			json = program_output(optarg);
			break;
		case 'l':
			for (unsigned int i = 0; i < runner->named; i++)
				printf("%u %s\n", i, runner->name(i));
			return program_end(0);
		case 'h':
			help();
		default:
			program_wrong("%s", "");
		}
	}
	if (options.bound == UINT32_MAX)
		options.bound = options.strategy == SIM_PCT ? 3 : 2;
	fails = fail < 0 ? options.strategy != SIM_DFS : fail != 0;
	options.fail_alloc = fails;
	if (options.deviations == UINT32_MAX)
		options.deviations = options.strategy == SIM_DFS ? 1 : 4;
	last = runner->named + (options.strategy == SIM_DFS || named_only ? 0 : runner->random);
	if (only != UINT32_MAX) {
		first = only;
		last = only + 1;
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
	if (what && only == UINT32_MAX)
		program_wrong("--replay of which --variant or --scenario?");
	running = &totals;
	catch_crashes();
	if (what)
		return program_end(replay(only, &options, what));
	program_ends_early();
	begin = seconds();
	end = begin + (executions ? 1e9 : budget);
	/* The named ones get half of the time. */
	for (unsigned int i = first; i < last && !(stop && totals.failures) && !program_stopped; i++) {
		bool named = i < runner->named;
		double left = end - seconds(), until;
		uint64_t before = totals.executions;

		until = executions ? end
			: named	   ? seconds() + left / (double)(runner->named - i +
								 (last > runner->named ? runner->named : 0))
				   : seconds() + left / (double)(last - i);

		uint64_t most = !executions ? UINT64_MAX : named ? executions : executions / 20 + 1;

		if (fails && runner->quarter_fails)
			run_quarter(i, &options, most, until, stop, &totals);
		else
			run(i, &options, most, until, &totals);
		program_progress_over(stderr);
		if (named)
			printf("%-20s %10llu\n", runner->name(i), (unsigned long long)(totals.executions - before));
	}
	sim_snapshot_free(&runner_snapshot);
	printf("total %llu executions, %llu pruned, %llu steps, %u variants, %u finished, %u failures, %.1f seconds\n",
	       (unsigned long long)totals.executions, (unsigned long long)totals.pruned,
	       (unsigned long long)totals.steps, totals.variants, totals.finished, totals.failures, seconds() - begin);
	status = totals.failures ? 1 : 0;
	if (json && !write_json(json, &totals) && !status)
		status = PROGRAM_WRONG;
	return program_end(status);
}
