/* SPDX-License-Identifier: ISC */
/*
 * Runs stores under chosen schedules.  Each execution must end, without a broken rule, a use of what was freed, a leak
 * or a second visit, with answers that some sequential order explains.
 */
#include "anon_calls.h"
#include "anon_scenarios.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- One variant ---- */

static struct scenario now_running;
static unsigned int ncalls[THREADS], nthreads;
static struct record records[THREADS][MOST_CALLS];
static struct sim_snapshot snapshot;
static struct state start_state;
static char failure[1024];

static void put(unsigned int store, unsigned int slot, uint8_t number, bool swapped)
{
	struct cleave_anon_page *anon = cleave_anon_page_make(world->contexts[THREADS], page_take(number, swapped));

	if (!anon || cleave_anon_fill(world->contexts[THREADS], world->stores[store], slot, anon, NULL))
		abort();
}

static void prepare(const struct scenario *scenario)
{
	enum shape shape = scenario->shape;

	sim_snapshot_free(&snapshot);
	now_running = *scenario;
	sim_arena_clear();
	world = sim_arena_alloc(sizeof(*world));
	memset(world, 0, sizeof(*world));
	sim_domain = &world->domain;
	cleave_domain_init(&world->domain, &sim_ops, &anon_memory, NULL, UINT64_MAX / 2);
	cleave_anon_domain_init(&world->anons, &world->domain, &anon_ops);
	for (unsigned int t = 0; t <= THREADS; t++) {
		cleave_thread_init(&world->threads[t], &world->domain);
		world->contexts[t] = cleave_anon_context_open(&world->anons, &world->threads[t]);
		if (!world->contexts[t] || cleave_reserve(&world->threads[t], 4))
			abort();
	}
	if (cleave_anon_create(world->contexts[THREADS], SLOTS, &world->stores[0]))
		abort();
	if (shape != EMPTY)
		put(0, 0, 1, shape == SWAPPED || shape == TOKENS);
	if (shape == LONE || shape == TOKENS || shape >= CLONED)
		put(0, 1, 2, shape == TOKENS);
	if (shape >= CLONED) {
		put(0, 2, 3, shape == SWAPPED);
		put(0, 3, 4, false);
	}
	if (shape == LONE) {
		anon_map(0, 0);
		anon_map(0, 1);
	}
	if (shape >= CLONED) {
		cleave_anon_clone_begin(world->contexts[THREADS], &world->stores[0], &world->stores[1], 1);
		cleave_anon_clone_end(world->contexts[THREADS], &world->stores[0], &world->stores[1], 1);
		cleave_anon_clone_done(world->contexts[THREADS], &world->stores[0], 1);
	}
	if (shape == OWNED)
		for (uint8_t store = 0; store < 2; store++)
			for (uint8_t slot = 0; slot < 4; slot += 2) {
				struct record record = { .call = C(WRITE, store, slot, (uint8_t)(9 + store)) };

				anon_call(THREADS, &record);
			}
	if (shape == WINDOWED) {
		struct record record = { .call = { MAP, 0, 0, SLOTS - 1, 0 } };

		anon_call(THREADS, &record);
	}
	for (unsigned int t = 0; t < THREADS; t++)
		if (cleave_anon_prepare(world->contexts[t], world->stores[0]))
			abort();
	if (shape == DISPLACED) {
		struct record record = { .call = C(WRITE, 0, 0, 9) };

		anon_call(0, &record);
	}
	cleave_anon_flush(world->contexts[THREADS]);
	nthreads = 0;
	for (unsigned int t = 0; t < THREADS; t++) {
		for (ncalls[t] = 0; ncalls[t] < MOST_CALLS && scenario->calls[t][ncalls[t]].kind; ncalls[t]++)
			;
		if (ncalls[t])
			nthreads = t + 1;
	}
	anon_state(&start_state);
	sim_snapshot_take(&snapshot);
}

static void body(unsigned int thread)
{
	for (unsigned int i = 0; i < ncalls[thread]; i++) {
		struct record *record = &records[thread][i];

		record->began = sim_call(anon_kind_names[record->call.kind]);
		record->seen = 0;
		for (unsigned int t = 0; t < nthreads; t++)
			for (unsigned int k = 0; k < ncalls[t]; k++)
				if (t != thread && records[t][k].returned && sim_saw(t, records[t][k].clock))
					record->seen |= UINT32_C(1) << (t * MOST_CALLS + k);
		anon_call(thread, record);
		record->clock = sim_clock();
		record->returned = sim_return();
	}
}

static void print_history(const struct state *end)
{
	for (unsigned int t = 0; t < nthreads; t++)
		for (unsigned int i = 0; i < ncalls[t]; i++) {
			const struct record *record = &records[t][i];
			const struct call *call = &record->call;

			printf("  T%u %s store %u slot %u", t, anon_kind_names[call->kind], call->store, call->slot);
			if (call->last > call->slot)
				printf("-%u", call->last);
			if (call->value)
				printf(" %u", call->value);
			printf(": %s%u   (began after %u returns, return %u)\n", record->failed ? "failed " : "", record->answer,
			       record->began, record->returned);
		}
	for (unsigned int s = 0; s < STORES; s++)
		if (world->stores[s])
			printf("  store %u: began %u %u %u %u, ends %u %u %u %u\n", s, start_state.value[s][0],
			       start_state.value[s][1], start_state.value[s][2], start_state.value[s][3], end->value[s][0],
			       end->value[s][1], end->value[s][2], end->value[s][3]);
}

static bool walked(void)
{
	for (unsigned int t = 0; t < nthreads; t++)
		for (unsigned int i = 0; i < ncalls[t]; i++)
			if (records[t][i].call.kind == WALK && !records[t][i].failed)
				return true;
	return false;
}

static bool token_left(void)
{
	for (unsigned int s = 0; s < STORES; s++)
		for (unsigned int slot = 0; world->stores[s] && slot < SLOTS; slot++) {
			struct cleave_anon_page *anon = cleave_anon_lookup_rcu(world->stores[s], slot);

			if (anon && CLEAVE_ANON_IS_SWAPPED(cleave_anon_page_content(anon)))
				return true;
		}
	return false;
}

static enum sim_result execute(uint64_t i, struct sim_execution *execution, bool print)
{
	struct state end;
	enum sim_result result;
	const char *left;

	sim_snapshot_restore(&snapshot);
	for (unsigned int t = 0; t < THREADS; t++)
		for (unsigned int k = 0; k < MOST_CALLS; k++)
			records[t][k] = (struct record){ .call = now_running.calls[t][k] };
	failure[0] = '\0';
	result = sim_execute(nthreads, body, i, execution);
	if (result == SIM_PRUNED)
		return result;
	if (result == SIM_FAILED) {
		snprintf(failure, sizeof(failure), "%s", sim_failure());
	} else {
		anon_state(&end);
		if (!anon_explained(&start_state, &end, records, ncalls, sim_weak())) {
			snprintf(failure, sizeof(failure), "no order of the calls explains their answers");
			result = SIM_FAILED;
		} else if (walked() && token_left()) {
			snprintf(failure, sizeof(failure), "a token was missed");
			result = SIM_FAILED;
		} else if ((left = anon_empty()) != NULL) {
			snprintf(failure, sizeof(failure), "%s", left);
			result = SIM_FAILED;
		} else if ((left = anon_end()) != NULL) {
			snprintf(failure, sizeof(failure), "%s", left);
			result = SIM_FAILED;
		}
	}
	if (print && result == SIM_FAILED)
		print_history(&end);
	return result;
}

/* ---- The program ---- */

struct totals {
	uint64_t executions, pruned, steps;
	unsigned int failures, finished, variants;
};

/* What is running, for a crash. */
static struct totals *running;

static void crashed(int signal)
{
	static char stack_text[256];
	int n = snprintf(stack_text, sizeof(stack_text), "FAILED: %s: crash, signal %d\ntotal %llu executions, 1 failures\n",
			 now_running.name, signal, (unsigned long long)(running ? running->executions : 0));

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

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void variant(unsigned int number, struct scenario *scenario)
{
	if (number < anon_nscenarios)
		*scenario = anon_scenarios[number];
	else
		anon_random_program(number - anon_nscenarios, scenario);
}

/* Run one variant; returns false if it failed. */
static bool run(unsigned int number, struct sim_options *options, uint64_t executions, double until,
		struct totals *totals)
{
	struct sim_execution execution;
	enum sim_result result;
	struct scenario scenario;
	uint64_t i;

	variant(number, &scenario);
	prepare(&scenario);
	sim_explore(options);
	totals->variants++;
	for (i = 0; i < executions && ((i & 63) || seconds() < until); i++) {
		result = execute(i, &execution, false);
		totals->executions += result != SIM_PRUNED;
		totals->pruned += result == SIM_PRUNED;
		totals->steps += execution.steps;
		if (result == SIM_FAILED) {
			totals->failures++;
			printf("FAILED: %s: %s\n", scenario.name, failure);
			printf("  --variant %u --strategy %s --seed %llu --stale %d --fail %d --replay ", number,
			       options->strategy == SIM_DFS ? "dfs" : options->strategy == SIM_PCT ? "pct" : "random",
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

static void usage(FILE *file)
{
	fputs("Usage: cleave-sim-anon [options]\n"
	      "Run the anonymous store under chosen schedules and judge every execution.\n"
	      "  --seconds N        for all together (default 60)\n"
	      "  --executions N     instead: of each variant\n"
	      "  --variant N        only this one (--list names the first; above are random pairs and triples)\n"
	      "  --scenario NAME    only this one\n"
	      "  --strategy S       random (default), pct, or dfs: all schedules within the bound, of the named ones\n"
	      "  --preemptions N    dfs: the bound (default 2); pct: change points (default 3)\n"
	      "  --deviations N     stale loads and grace periods seen late, of one execution (default 4; dfs: 1)\n"
	      "  --stale 0|1        loads may return older values (default 1)\n"
	      "  --fail 0|1         allocations may fail, in a part of the executions (default 1; dfs: 0)\n"
	      "  --seed N           (default 1)\n"
	      "  --replay WHAT      with --variant: repeat what a failure printed, and print the interleaving\n"
	      "  --first            stop at the first failure\n"
	      "  --json FILE        write the totals there too\n"
	      "  --list, --help\n"
	      "Examples:\n"
	      "  cleave-sim-anon --seconds 20\n"
	      "  cleave-sim-anon --variant 6 --strategy dfs --seconds 30\n"
	      "Exit: 0 all passed, 1 a failure was found, 2 an error.\n",
	      file);
}

static int replay(unsigned int number, struct sim_options *options, const char *what)
{
	struct sim_execution execution;
	struct scenario scenario;
	uint64_t i = 0;
	char *end;

	variant(number, &scenario);
	prepare(&scenario);
	options->trace = true;
	if (options->strategy == SIM_DFS) {
		options->choices = what;
	} else {
		i = strtoull(what, &end, 0);
		options->length = *end == ':' ? (unsigned int)strtoul(end + 1, NULL, 0) : 0;
	}
	sim_explore(options);
	if (execute(i, &execution, true) != SIM_FAILED)
		return 0;
	printf("FAILED: %s: %s\n", scenario.name, failure);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seconds", 1, NULL, 's' },	 { "executions", 1, NULL, 'e' }, { "variant", 1, NULL, 'v' },
		{ "strategy", 1, NULL, 'y' },	 { "preemptions", 1, NULL, 'p' }, { "deviations", 1, NULL, 'd' },
		{ "stale", 1, NULL, 'w' },	 { "fail", 1, NULL, 'a' }, { "scenario", 1, NULL, 'n' },	 { "seed", 1, NULL, 'r' },	  { "replay", 1, NULL, 'R' },
		{ "first", 0, NULL, 'f' },	 { "json", 1, NULL, 'j' },	  { "list", 0, NULL, 'l' },
		{ "help", 0, NULL, 'h' },	 { NULL, 0, NULL, 0 },
	};
	struct sim_options options = { .seed = 1, .bound = UINT32_MAX, .deviations = UINT32_MAX, .stale = true,
				       .false_done = true, .spurious = true };
	const char *what = NULL, *json = NULL;
	unsigned int first = 0, last, only = UINT32_MAX;
	uint64_t executions = 0;
	struct totals totals = { 0 };
	double budget = 60, end;
	bool stop = false;
	int option, fail = -1;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (option) {
		case 's':
			budget = strtod(optarg, NULL);
			break;
		case 'e':
			executions = strtoull(optarg, NULL, 0);
			break;
		case 'v':
			only = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'y':
			options.strategy = strcmp(optarg, "dfs") == 0 ? SIM_DFS : strcmp(optarg, "pct") == 0 ? SIM_PCT : SIM_RANDOM;
			break;
		case 'p':
			options.bound = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'd':
			options.deviations = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'w':
			options.stale = strtoul(optarg, NULL, 0) != 0;
			break;
		case 'n':
			for (only = 0; only < anon_nscenarios && strcmp(anon_scenarios[only].name, optarg); only++)
				;
			if (only == anon_nscenarios) {
				usage(stderr);
				return 2;
			}
			break;
		case 'a':
			fail = (int)strtoul(optarg, NULL, 0);
			break;
		case 'r':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 'R':
			what = optarg;
			break;
		case 'f':
			stop = true;
			break;
		case 'j':
			json = optarg;
			break;
		case 'l':
			for (unsigned int i = 0; i < anon_nscenarios; i++)
				printf("%u %s\n", i, anon_scenarios[i].name);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (options.bound == UINT32_MAX)
		options.bound = options.strategy == SIM_PCT ? 3 : 2;
	if (fail < 0)
		fail = options.strategy != SIM_DFS;
	options.fail_alloc = fail != 0;
	if (options.deviations == UINT32_MAX)
		options.deviations = options.strategy == SIM_DFS ? 1 : 4;
	last = options.strategy == SIM_DFS ? anon_nscenarios : anon_nscenarios + RANDOM_PROGRAMS;
	if (only != UINT32_MAX) {
		first = only;
		last = only + 1;
	}
	if (optind < argc || options.bound > 8 || options.deviations > 15 || (what && only == UINT32_MAX) ||
	    (only != UINT32_MAX && only >= anon_nscenarios + RANDOM_PROGRAMS)) {
		usage(stderr);
		return 2;
	}
	running = &totals;
	catch_crashes();
	if (what)
		return replay(only, &options, what);
	end = seconds() + (executions ? 1e9 : budget);
	/* The named ones get half of the time. */
	for (unsigned int i = first; i < last && !(stop && totals.failures); i++) {
		bool named = i < anon_nscenarios;
		double left = end - seconds(), until;
		uint64_t before = totals.executions;

		until = executions ? end
			: named	   ? seconds() + left / (double)(anon_nscenarios - i + (last > anon_nscenarios ? anon_nscenarios : 0))
				   : seconds() + left / (double)(last - i);
		/* Where memory may fail much else does not happen: a quarter of the executions is like that. */
		for (unsigned int part = 0; part < 2 && !(stop && totals.failures); part++) {
			uint64_t most = named ? executions / (part ? 4 : 1) : executions / 20;
			double now = seconds();

			if (!named && part != (i % 4 == 3))
				continue;
			if (part && !fail)
				continue;
			options.fail_alloc = part == 1;
			run(i, &options, executions ? most + 1 : UINT64_MAX,
			    part || !fail || !named ? until : now + (until - now) * 3 / 4, &totals);
		}
		if (named)
			printf("%-20s %10llu\n", anon_scenarios[i].name, (unsigned long long)(totals.executions - before));
	}
	sim_snapshot_free(&snapshot);
	printf("total %llu executions, %llu pruned, %llu steps, %u variants, %u finished, %u failures\n",
	       (unsigned long long)totals.executions, (unsigned long long)totals.pruned, (unsigned long long)totals.steps,
	       totals.variants, totals.finished, totals.failures);
	if (json) {
		FILE *file = fopen(json, "w");

		if (!file) {
			perror(json);
			return 2;
		}
		fprintf(file, "{\"executions\": %llu, \"pruned\": %llu, \"steps\": %llu, \"variants\": %u, \"finished\": %u, "
			"\"failures\": %u}\n",
			(unsigned long long)totals.executions, (unsigned long long)totals.pruned,
			(unsigned long long)totals.steps, totals.variants, totals.finished, totals.failures);
		fclose(file);
	}
	return totals.failures ? 1 : 0;
}
