/* SPDX-License-Identifier: ISC */
/*
 * Runs stores under chosen schedules.  Each execution must end, without a broken rule, a use of what was freed, a leak
 * or a second visit, with answers that some sequential order explains.
 */
#include "anon_calls.h"
#include "anon_scenarios.h"
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- One variant ---- */

static struct scenario now_running;
static unsigned int ncalls[THREADS], nthreads;
static struct record records[THREADS][MOST_CALLS];
static struct state start_state;

static void put(unsigned int store, unsigned int slot, uint8_t number, bool swapped)
{
	struct cleave_anon_page *anon = cleave_anon_page_make(world->contexts[THREADS], page_take(number, swapped));

	if (!anon || cleave_anon_fill(world->contexts[THREADS], world->stores[store], slot, anon, NULL))
		abort();
}

static void prepare(const struct scenario *scenario)
{
	enum shape shape = scenario->shape;

	sim_snapshot_free(&runner_snapshot);
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
	if (scenario->calls[0][0].kind == LIMIT)
		world->domain.garbage_limit = scenario->calls[0][0].value;
	sim_snapshot_take(&runner_snapshot);
}

/*
 * A call that may sleep keeps to the limit; a write, which is done in steps, to twice the limit, the anon that it drops
 * in the end, and what its path displaced.
 */
static void check_limit(unsigned int thread, const struct record *record)
{
	const struct cleave_anon_context *context = world->contexts[thread];
	uint64_t count = context->young.count + context->old.count, limit = world->domain.garbage_limit;
	uint64_t displaced = context->young.displaced + context->old.displaced;
	enum kind kind = record->call.kind;
	bool sleeps = kind == WIPE || kind == WALK || kind == UNMAP || kind == END;

	if (!record->failed && (sleeps ? count > limit : kind == WRITE && count - displaced > 2 * limit + 1))
		sim_fail("%u things wait after %s", (unsigned int)count, anon_kind_names[kind]);
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
		check_limit(thread, record);
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
			printf(": %s%u   (began after %u returns, return %u)\n", record->failed ? "failed " : "",
			       record->answer, record->began, record->returned);
		}
	for (unsigned int s = 0; s < STORES; s++)
		if (world->stores[s])
			printf("  store %u: began %u %u %u %u, ends %u %u %u %u\n", s, start_state.value[s][0],
			       start_state.value[s][1], start_state.value[s][2], start_state.value[s][3],
			       end->value[s][0], end->value[s][1], end->value[s][2], end->value[s][3]);
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

	sim_snapshot_restore(&runner_snapshot);
	for (unsigned int t = 0; t < THREADS; t++)
		for (unsigned int k = 0; k < MOST_CALLS; k++)
			records[t][k] = (struct record){ .call = now_running.calls[t][k] };
	runner_failure[0] = '\0';
	result = sim_execute(nthreads, body, i, execution);
	if (result == SIM_PRUNED)
		return result;
	if (result == SIM_FAILED) {
		snprintf(runner_failure, sizeof(runner_failure), "%s", sim_failure());
	} else {
		anon_state(&end);
		if (!anon_explained(&start_state, &end, records, ncalls, sim_weak())) {
			snprintf(runner_failure, sizeof(runner_failure),
				 "no order of the calls explains their answers");
			result = SIM_FAILED;
		} else if (walked() && token_left()) {
			snprintf(runner_failure, sizeof(runner_failure), "a token was missed");
			result = SIM_FAILED;
		} else if ((left = anon_empty()) != NULL) {
			snprintf(runner_failure, sizeof(runner_failure), "%s", left);
			result = SIM_FAILED;
		} else if ((left = anon_end()) != NULL) {
			snprintf(runner_failure, sizeof(runner_failure), "%s", left);
			result = SIM_FAILED;
		}
	}
	if (print && result == SIM_FAILED)
		print_history(&end);
	return result;
}

/* ---- The program ---- */

static const char *name_of(unsigned int number)
{
	return anon_scenarios[number].name;
}

static const char *choose(unsigned int number)
{
	struct scenario scenario;

	if (number < anon_nscenarios)
		scenario = anon_scenarios[number];
	else
		anon_random_program(number - anon_nscenarios, &scenario);
	prepare(&scenario);
	return now_running.name;
}

int main(int argc, char **argv)
{
	struct runner anon_runner = {
		.program = "cleave-sim-anon",
		.subject = "the anonymous store",
		.named = anon_nscenarios,
		.random = RANDOM_PROGRAMS,
		.quarter_fails = true,
		.name = name_of,
		.choose = choose,
		.execute = execute,
	};

	return runner_main(&anon_runner, argc, argv);
}
