/* SPDX-License-Identifier: ISC */
/*
 * Runs operations of a map under chosen schedules: every pair of kinds, on the same pages, on overlapping ones, on
 * neighbours, in every shape of the map; and random triples.  Each execution must end, without a broken rule, a leak or
 * attributes that change under a reader, with answers that some sequential order explains, and a map that adds up.
 */
#include "map_calls.h"
#include "runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)

/* ---- Programs ---- */

/* What is there when the threads begin: pages 1 to 6, with a backing object in every other shape. */
enum shape {
	LONE,	 /* one entry */
	PIECES,	 /* of one page each, with one object */
	MIXED,	 /* every other page is read-only */
	SINGLE,	 /* pages 2 and 3 are read-only: an object that is soon gone */
	HOLED,	 /* page 4 is not mapped */
	HELD,	 /* pages 2 and 3 are wired */
	GUARDED, /* page 4 is not mapped, and there are guard pages */
	JOINING, /* as MIXED, in a map that joins neighbours */
	SHAPES
};

static const char *const shape_names[SHAPES] = { "lone",  "pieces", "mixed",   "single",
						 "holed", "held",   "guarded", "joining" };

/* Where the two threads work. */
enum place { SAME, OVER, BESIDE, NEXT, REST, PLACES };

static const char *const place_names[PLACES] = { "same", "over", "beside", "next", "rest" };
static const uint8_t place_ranges[PLACES][2][2] = {
	{ { 2, 4 }, { 2, 4 } },
	{ { 2, 4 }, { 3, 6 } },
	{ { 2, 4 }, { 4, 6 } },
	{ { 2, 3 }, { 3, 4 } },
	{ { 6, 7 }, { 1, 6 } },
};

struct program {
	enum shape shape;
	struct call calls[THREADS][MOST_CALLS];
};

#define FIRST LOOKUP
#define NKINDS (KINDS - FIRST)
#define PAIRS (NKINDS * (NKINDS + 1) / 2)
#define NAMED (PAIRS * SHAPES * PLACES)
#define RANDOM_PROGRAMS 6000u

static struct call call_of(enum kind kind, unsigned int first, unsigned int end, unsigned int thread)
{
	struct call call = { kind, (uint8_t)first, (uint8_t)end, 0 };

	switch (kind) {
	case MISWIRE: /* what failed is taken back by small transactions: by one, that is */
		if (end > first + 3)
			call.end = (uint8_t)(first + 3);
		break;
	case CHECK:
		call.value = CLEAVE_PROT_READ;
		break;
	case PROTECT:
		call.value = (uint8_t)(thread & 1 ? CLEAVE_PROT_NONE : CLEAVE_PROT_READ);
		break;
	case INHERIT:
		call.value = thread & 1 ? CLEAVE_INHERIT_NONE : CLEAVE_INHERIT_SHARE;
		break;
	case MOVE:
		call.value = thread & 1 ? 7 : 0;
		break;
	default:
		break;
	}
	return call;
}

static void pair_of(unsigned int number, enum kind kinds[2])
{
	unsigned int first = 0;

	while (number >= NKINDS - first)
		number -= NKINDS - first++;
	kinds[0] = (enum kind)(FIRST + first);
	kinds[1] = (enum kind)(FIRST + first + number);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static const char *name_of(unsigned int number)
{
	static char name[64];
	enum kind kinds[2];

	if (number >= NAMED)
		return number % 2 ? "triples" : "pairs";
	pair_of(number / SHAPES / PLACES, kinds);
	snprintf(name, sizeof(name), "%s/%s (%s, %s)", kind_names[kinds[0]], kind_names[kinds[1]],
		 shape_names[number / PLACES % SHAPES], place_names[number % PLACES]);
	return name;
}

static void program_of(unsigned int number, struct program *program)
{
	uint64_t random = mix(number + 1);
	enum kind kinds[2];

	memset(program, 0, sizeof(*program));
	if (number < NAMED) {
		const uint8_t(*range)[2] = place_ranges[number % PLACES];

		pair_of(number / SHAPES / PLACES, kinds);
		program->shape = (enum shape)(number / PLACES % SHAPES);
		program->calls[0][0] = call_of(kinds[0], range[0][0], range[0][1], 0);
		program->calls[1][0] = call_of(kinds[1], range[1][0], range[1][1], 1);
		/* There is one place to map at. */
		for (unsigned int t = 0; t < 2; t++)
			if (kinds[t] == MAP && (program->shape == HOLED || program->shape == GUARDED))
				program->calls[t][0] = call_of(MAP, 4, 5, t);
		return;
	}
	program->shape = (enum shape)(random % SHAPES);
	for (unsigned int t = 0; t < 2 + number % 2; t++)
		for (unsigned int i = 0; i < MOST_CALLS - number % 2; i++) {
			unsigned int first, end;
			enum kind kind;

			random = mix(random + t + 7 * i);
			first = (unsigned int)(random >> 20) % PAGES;
			end = first + 1 + (unsigned int)(random >> 30) % (PAGES - first);
			kind = (enum kind)(FIRST + (random >> 8) % NKINDS);
			if ((kind == WIRE || kind == MISWIRE) && t == 2)
				kind = UNWIRE; /* the arena holds the nodes of two who wire */
			program->calls[t][i] = call_of(kind, first, end, (unsigned int)(random >> 40));
		}
}

/* ---- One variant ---- */

static struct program running;
static unsigned int ncalls[THREADS], nthreads;
static struct record records[THREADS][MOST_CALLS];
static struct state start_state;

static void must(int error)
{
	if (error)
		abort();
}

/* By the first thread, so that it has made the objects. */
static void make_shape(enum shape shape)
{
	struct cleave_map_thread *thread = &world->thread[0];

	must(map_range(0, 1, 7, 0));
	for (unsigned int i = 1; i < 7; i++) {
		if (shape == PIECES)
			must(cleave_map_clip_start(&world->map, thread, AT(i), NULL));
		if ((shape == MIXED || shape == JOINING) && i % 2)
			must(cleave_map_protect(&world->map, thread, AT(i), AT(i + 1), CLEAVE_PROT_READ, 0, 0));
	}
	if (shape == SINGLE)
		must(cleave_map_protect(&world->map, thread, AT(2), AT(4), CLEAVE_PROT_READ, 0, 0));
	if (shape == HOLED || shape == GUARDED)
		must(cleave_map_munmap(&world->map, thread, AT(4), PAGE));
	if (shape == HELD)
		must(cleave_map_wire(&world->map, thread, AT(2), AT(4)));
}

static const char *choose(unsigned int number)
{
	struct cleave_map_config config = { .min = PAGE, .max = UINT64_C(1) << 30, .page_shift = 12 };

	program_of(number, &running);
	sim_snapshot_free(&runner_snapshot);
	sim_arena_clear();
	world = sim_arena_alloc(sizeof(*world));
	memset(world, 0, sizeof(*world));
	world->references.word = 1;
	world->backed = running.shape % 2;
	sim_domain = &world->domain;
	sim_index = &world->map.index;
	cleave_domain_init(&world->domain, &sim_ops, &map_memory, NULL, UINT64_MAX / 2);
	cleave_maps_init(&world->maps, &world->domain, &map_ops);
	for (unsigned int t = 0; t <= THREADS; t++) {
		cleave_thread_init(&world->self[t], &world->domain);
		cleave_map_thread_init(&world->thread[t], &world->maps, &world->self[t]);
		world->thread[t].stock = 0; /* what is released is gone: who still reads it sees that */
	}
	must(cleave_map_init(&world->other, &world->thread[THREADS], &config));
	config.flags = running.shape == GUARDED	  ? CLEAVE_MAP_GUARD_PAGES
		       : running.shape == JOINING ? CLEAVE_MAP_COALESCE
						  : 0;
	must(cleave_map_init(&world->map, &world->thread[THREADS], &config));
	make_shape(running.shape);
	/* In two shapes it still knows what it made, and may give it to other pages; in one it counts to itself. */
	if (running.shape != MIXED && running.shape != SINGLE)
		cleave_map_thread_flush(&world->thread[0], true);
	nthreads = 0;
	for (unsigned int t = 0; t < THREADS; t++) {
		for (ncalls[t] = 0; ncalls[t] < MOST_CALLS && running.calls[t][ncalls[t]].kind; ncalls[t]++)
			;
		if (ncalls[t])
			nthreads = t + 1;
		/* The nodes that a wiring keeps in hand take more steps than all the rest: they are made before. */
		for (unsigned int i = 0; i < ncalls[t]; i++)
			if (running.calls[t][i].kind == WIRE || running.calls[t][i].kind == MISWIRE)
				must(cleave_map_reserve(&world->thread[t], 6));
	}
	map_state(&start_state);
	sim_snapshot_take(&runner_snapshot);
	return name_of(number);
}

static void body(unsigned int thread)
{
	for (unsigned int i = 0; i < ncalls[thread]; i++) {
		struct record *record = &records[thread][i];

		record->began = sim_call(kind_names[record->call.kind]);
		record->seen = 0;
		for (unsigned int t = 0; t < nthreads; t++)
			for (unsigned int k = 0; k < ncalls[t]; k++)
				if (t != thread && records[t][k].returned && sim_saw(t, records[t][k].clock))
					record->seen |= UINT32_C(1) << (t * MOST_CALLS + k);
		map_call(thread, record);
		record->clock = sim_clock();
		record->returned = sim_return();
	}
}

static void print_pages(const char *what, const struct state *state)
{
	printf("  %s:", what);
	for (unsigned int i = 0; i < PAGES; i++)
		printf(" %02x", state->page[i]);
	printf("\n");
}

static void print_history(const struct state *end)
{
	print_pages("start", &start_state);
	for (unsigned int t = 0; t < nthreads; t++)
		for (unsigned int i = 0; i < ncalls[t]; i++) {
			const struct record *record = &records[t][i];

			printf("  T%u %s [%u, %u) %u: %d   (began after %u returns, return %u)\n", t,
			       kind_names[record->call.kind], record->call.first, record->call.end, record->call.value,
			       record->error, record->began, record->returned);
			print_pages("    read", &record->state);
		}
	print_pages("end", end);
}

static enum sim_result execute(uint64_t i, struct sim_execution *execution, bool print)
{
	struct state end = { { 0 } };
	enum sim_result result;
	const char *wrong = NULL;

	sim_snapshot_restore(&runner_snapshot);
	for (unsigned int t = 0; t < THREADS; t++)
		for (unsigned int k = 0; k < MOST_CALLS; k++)
			records[t][k] = (struct record){ .call = running.calls[t][k] };
	runner_failure[0] = '\0';
	result = sim_execute(nthreads, body, i, execution);
	if (result == SIM_PRUNED)
		return result;
	/* -ENOMEM may say that the range is occupied, or that there was no memory. */
	for (unsigned int t = 0; t < nthreads && world->lacked; t++)
		for (unsigned int k = 0; k < ncalls[t]; k++)
			if (records[t][k].call.kind == MAP && records[t][k].error == -ENOMEM)
				records[t][k].call.kind = NOTHING;
	if (result == SIM_FAILED) {
		wrong = sim_failure();
	} else {
		map_state(&end);
		if (!map_explained(&start_state, &end, records, ncalls, sim_weak()))
			wrong = "no order of the calls explains their answers";
		else
			wrong = map_end();
	}
	if (wrong) {
		snprintf(runner_failure, sizeof(runner_failure), "%s", wrong);
		result = SIM_FAILED;
	}
	if (print && wrong)
		print_history(&end);
	return result;
}

int main(int argc, char **argv)
{
	static const struct runner map_runner = {
		.program = "cleave-sim-map",
		.subject = "operations of maps",
		.named = NAMED,
		.random = RANDOM_PROGRAMS,
		.name = name_of,
		.choose = choose,
		.execute = execute,
	};

	return runner_main(&map_runner, argc, argv);
}
