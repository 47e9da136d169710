/* SPDX-License-Identifier: ISC */
#include "execution.h"

#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct variant variant;
char failure[1024];
static struct record records[SIM_THREADS][MAX_CALLS];
static struct sim_snapshot snapshot;
static struct model start;

/* What the library did in all executions: shows that nothing was left out. */
static struct cleave_counters reached;

static void count_reached(void)
{
	uint64_t *sum = (uint64_t *)&reached;

	for (unsigned int t = 0; t < variant.nthreads; t++)
		for (size_t i = 0; i < sizeof(reached) / 8; i++)
			sum[i] += ((const uint64_t *)&world->threads[t].counters)[i];
}

void execution_print_reached(void)
{
#define REACHED(counter) printf(" " #counter " %llu", (unsigned long long)reached.counter)
	printf("reached:");
	REACHED(edits);
	REACHED(restructures);
	REACHED(copies);
	REACHED(splits);
	REACHED(merges);
	REACHED(lock_waits);
	REACHED(restarts);
	REACHED(handovers);
	REACHED(raises);
	REACHED(lowers);
	REACHED(cookies);
	REACHED(gp_waits);
	REACHED(allocs);
	REACHED(reuses);
	REACHED(retired);
	putchar('\n');
}

void execution_prepare(unsigned int scenario, unsigned int number)
{
	struct cleave_entry entries[32];
	struct cleave_thread *self;
	struct answer answer;
	size_t n = 0;

	sim_snapshot_free(&snapshot);
	scenario_variant(scenario, number, &variant);
	sim_arena_clear();
	world = sim_arena_alloc(sizeof(*world));
	sim_index = &world->index;
	sim_domain = &world->domain;
	self = &world->threads[SIM_THREADS];
	cleave_domain_init(&world->domain, &sim_ops, &sim_memory, NULL,
			   variant.garbage_limit ? variant.garbage_limit : UINT64_MAX / 2);
	world->domain.done = variant.asks ? NULL : &sim_done;
	world->domain.started = variant.asks ? NULL : &sim_started;
	for (unsigned int t = 0; t <= SIM_THREADS; t++)
		cleave_thread_init(&world->threads[t], &world->domain);
	for (const struct call *entry = variant.shape->entries; entry->value; entry++)
		entries[n++] = (struct cleave_entry){ entry->first, entry->last, VALUE(entry->value) };
	if (cleave_init(&world->index, self) || cleave_build(&world->index, self, entries, n))
		abort();
	for (const struct call *call = variant.shape->prepare; call->last; call++)
		make_call(SIM_THREADS, call, &answer);
	for (unsigned int t = 0; t < variant.nthreads && !variant.cold; t++)
		if (cleave__pool_fill(&world->threads[t], 16, 48, false))
			abort();
	for (unsigned int t = 0; t < variant.nthreads; t++)
		memset(&world->threads[t].counters, 0, sizeof(struct cleave_counters));
	read_all(&world->index, &answer);
	model_init(&start);
	for (unsigned int i = 0; i < answer.n; i++)
		model_put(&start, (unsigned int)answer.entries[i].first,
			  answer.entries[i].last > 62 ? 63 : (unsigned int)answer.entries[i].last,
			  (unsigned int)((uintptr_t)answer.entries[i].value / 16));
	sim_snapshot_take(&snapshot);
}

static uint32_t number_of(unsigned int thread, unsigned int call)
{
	return UINT32_C(1) << (thread * MAX_CALLS + call);
}

static void body(unsigned int thread)
{
	for (unsigned int i = 0; i < variant.ncalls[thread]; i++) {
		struct record *record = &records[thread][i];
		char text[64] = "";

		record->began = sim_call(sim_traced() ? call_text(&record->call, text, sizeof(text)) : text);
		record->seen = 0;
		for (unsigned int t = 0; t < variant.nthreads; t++)
			for (unsigned int k = 0; k < variant.ncalls[t]; k++)
				if (t != thread && records[t][k].returned && sim_saw(t, records[t][k].clock))
					record->seen |= number_of(t, k);
		make_call(thread, &record->call, &record->answer);
		record->clock = sim_clock();
		record->returned = sim_return();
	}
}

static void line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	if (strlen(failure) + strlen(text) + 3 < sizeof(failure)) {
		strcat(failure, strlen(failure) ? "; " : "");
		strcat(failure, text);
	}
}

static unsigned int add_item(struct item *items, unsigned int n, struct record *record, unsigned int part,
			     unsigned int search, uint32_t before)
{
	if (n == MAX_ITEMS)
		abort();
	items[n] = (struct item){ &record->call, &record->answer, part, before, search };
	return n + 1;
}

/* The calls as items, and which must come before which. */
static bool judge(bool weak)
{
	static struct answer everything;
	struct item items[MAX_ITEMS];
	uint32_t of[SIM_THREADS][MAX_CALLS] = { 0 };
	unsigned int n = 0, searches = 0;

	for (unsigned int t = 0; t < variant.nthreads; t++) {
		uint32_t before = 0;

		for (unsigned int i = 0; i < variant.ncalls[t]; i++) {
			struct record *record = &records[t][i];
			unsigned int parts = 1, from = n;

			if (record->call.kind == FIND || record->call.kind == ALLOC)
				parts = 3;
			else if (record->call.kind == TICKET)
				parts = record->answer.valid ? 2 : 1;
			else if (record->call.kind >= NEXT && record->call.kind <= LOOK_RANGE)
				parts = record->answer.n;
			else if (record->call.kind == MANY)
				parts = record->call.n;
			for (unsigned int part = 0; part < parts; part++) {
				n = add_item(items, n, record, part, searches % 4, before);
				if (record->call.kind != MANY) /* whose lookups have no order among themselves */
					before |= UINT32_C(1) << (n - 1);
			}
			searches += record->call.kind == FIND || record->call.kind == ALLOC;
			for (unsigned int k = from; k < n; k++)
				of[t][i] |= UINT32_C(1) << k;
			before |= of[t][i];
		}
	}
	for (unsigned int k = 0, t = 0; t < variant.nthreads; t++)
		for (unsigned int i = 0; i < variant.ncalls[t]; i++)
			for (; k < n && of[t][i] >> k & 1; k++)
				for (unsigned int u = 0; u < variant.nthreads; u++)
					for (unsigned int j = 0; j < variant.ncalls[u]; j++)
						if (u != t && (weak ? (records[t][i].seen & number_of(u, j)) != 0
								    : records[u][j].returned <= records[t][i].began))
							items[k].before |= of[u][j];
	read_all(&world->index, &everything);
	items[n] = (struct item){ NULL, &everything, 0, (uint32_t)((UINT64_C(1) << n) - 1), 0 };
	return linearizable(&start, items, n + 1);
}

static void print_entry(const struct cleave_entry *entry)
{
	if (entry->last == UINT64_MAX)
		printf(" [%llu-max]=%llu", (unsigned long long)entry->first,
		       (unsigned long long)((uintptr_t)entry->value / 16));
	else
		printf(" [%llu-%llu]=%llu", (unsigned long long)entry->first, (unsigned long long)entry->last,
		       (unsigned long long)((uintptr_t)entry->value / 16));
}

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	printf("	%s\n", text);
}

void execution_print(void)
{
	struct cleave_lines lines = { print_line };
	struct cleave_entry entry;

	printf("  before:");
	for (uint64_t unit = 0; unit < UNITS; unit = entry.last == UINT64_MAX ? UNITS : entry.last + 1) {
		model_entry(&start, (unsigned int)unit, &entry);
		print_entry(&entry);
	}
	putchar('\n');
	for (unsigned int t = 0; t < variant.nthreads; t++)
		for (unsigned int i = 0; i < variant.ncalls[t]; i++) {
			struct record *record = &records[t][i];
			char text[64];

			if (!record->returned)
				continue;
			printf("  T%u %s = %d", t, call_text(&record->call, text, sizeof(text)), record->answer.error);
			if (record->call.kind == ALLOC || record->call.kind == FIND)
				printf(" at %llu", (unsigned long long)record->answer.addr);
			if (record->call.kind == TICKET)
				printf(" %s", record->answer.valid ? "still so" : "changed");
			for (unsigned int k = 0; k < record->answer.n; k++)
				print_entry(&record->answer.entries[k]);
			if (record->call.kind == INSERT || record->call.kind == REPLACE ||
			    record->call.kind == TRY_REPLACE)
				print_entry(&record->answer.entries[0]);
			if (record->answer.ndisplaced)
				printf(" displaced");
			for (unsigned int k = 0; k < record->answer.ndisplaced; k++)
				print_entry(&record->answer.displaced[k]);
			printf("   (began after %u returns, return %u)\n", record->began, record->returned);
		}
	printf("  the index at the end:\n");
	cleave_dump_rcu(&world->index, &lines, true);
}

enum sim_result execution_run(uint64_t i, struct sim_execution *execution)
{
	struct cleave_lines lines = { line };
	enum sim_result result;

	sim_snapshot_restore(&snapshot);
	for (unsigned int t = 0; t < variant.nthreads; t++)
		for (unsigned int k = 0; k < variant.ncalls[t]; k++) {
			records[t][k].call = variant.calls[t][k];
			records[t][k].returned = 0;
		}
	failure[0] = '\0';
	result = sim_execute(variant.nthreads, body, i, execution);
	if (result != SIM_PRUNED)
		count_reached();
	if (result == SIM_FAILED) {
		snprintf(failure, sizeof(failure), "%s", sim_failure());
	} else if (result == SIM_PASSED) {
		if (cleave_check(&world->index, &lines))
			result = SIM_FAILED;
		else if (!judge(sim_weak())) {
			snprintf(failure, sizeof(failure), "no order of the calls explains their answers");
			result = SIM_FAILED;
		}
	}
	return result;
}

void execution_forget(void)
{
	sim_snapshot_free(&snapshot);
}
