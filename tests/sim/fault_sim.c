/* SPDX-License-Identifier: ISC */
/*
 * Runs faults on maps under chosen schedules, beside everything that changes what they enter.  Nodes of stores have two
 * slots; a map has four pages.
 */
#include "fault_calls.h"
#include "runner.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What is there when the threads begin. */
enum shape {
	FRESH,	  /* map 0: four pages, nothing touched, no store */
	CLIPPED,  /* FRESH, in two entries */
	TOUCHED,  /* pages 0 and 1 were written: 1, 2; both can be written */
	OWNED,	  /* forked into map 1, then each wrote page 0 (5, 6) and is alone with it; page 1 is shared by both,
		     and only map 1 shows it */
	FORKED,	  /* TOUCHED, and forked into map 1: everything is shared */
	SHARED,	  /* TOUCHED, and map 1 shows the same pages (INHERIT_SHARE) */
	SWAPPED,  /* FORKED, and both pages are swapped out */
	BACKED,	  /* of an object; page 0 was read */
	SHARED_BACKED, /* the same, and map 1 shows the same pages (INHERIT_SHARE) */
	WIRED,	  /* BACKED; pages 0 and 1 were wired when they could not be written; now they can */
	PROMOTED, /* of an object; page 0 was written: 1 */
	HELD,	  /* TOUCHED; pages 0 and 1 are wired */
	ZEROS,	  /* with a zero page, which page 0 shows */
	AHEAD,	  /* TOUCHED, all four pages, nothing is entered, advice SEQUENTIAL */
	SHAPES,
	/* Not for random programs: */
	SHARING = SHAPES, /* BACKED, INHERIT_SHARE */
	REMOVED,	  /* PROMOTED, and nothing is entered */
	BARE,		  /* FORKED, and nothing is entered in map 0 */
	FAR,		  /* of an object; page 2 was written: the store has no leaf for page 0 */
};

struct scenario {
	const char *name;
	enum shape shape;
	struct call calls[THREADS][MOST_CALLS];
};

/* clang-format off */
#define C(k, m, p) { k, m, p, p, 0 }
#define W(m, p, v) { WRITE, m, p, p, v }
#define R(k, m, first, last) { k, m, first, last, 0 }
#define F(m, child) { FORK, m, 0, 0, child }

static const struct scenario scenarios[] = {
	{ "fault_fault", FRESH, { { W(0, 0, 11), C(READ, 0, 0) }, { W(0, 0, 21), C(READ, 0, 0) }, { C(READ, 0, 1) } } },
	{ "fault_fault_store", FRESH, { { C(READ, 0, 0), W(0, 1, 11) }, { W(0, 2, 21), C(READ, 0, 1) } } },
	{ "fault_clip", FRESH,
	  { { W(0, 1, 11), C(READ, 0, 1) }, { C(CLIP, 0, 1), R(READ_ONLY, 0, 2, 3) },
	    { W(0, 2, 31), C(READ, 0, 2) } } },
	{ "fault_join", CLIPPED,
	  { { W(0, 3, 11), C(READ, 0, 3) }, { R(JOIN, 0, 0, 3), C(READ, 0, 3) }, { W(0, 0, 31) } } },
	{ "fault_unmap", TOUCHED, { { W(0, 0, 11), C(READ, 0, 1), W(0, 2, 12) }, { R(UNMAP, 0, 0, 2) } } },
	{ "fault_unmap_map", TOUCHED,
	  { { W(0, 0, 11), C(READ, 0, 0) }, { R(UNMAP, 0, 0, 1), R(MAP, 0, 0, 1), C(READ, 0, 0) },
	    { C(TOUCH, 0, 1), C(READ, 0, 1) } } },
	{ "fault_replace", TOUCHED,
	  { { W(0, 1, 11), C(READ, 0, 1) }, { R(MAP, 0, 0, 1), C(READ, 0, 1), W(0, 0, 21) }, { C(READ, 0, 0) } } },
	{ "fault_protect", TOUCHED,
	  { { W(0, 0, 11), C(READ, 0, 0) }, { R(READ_ONLY, 0, 0, 1), C(READ, 0, 0), R(WRITABLE, 0, 0, 0) },
	    { C(TOUCH, 0, 1) } } },
	{ "fault_fork", TOUCHED,
	  { { W(0, 0, 11), W(0, 1, 12), W(0, 0, 13) }, { F(0, 2), C(READ, 2, 0), C(READ, 2, 0) } } },
	{ "fault_fork_child", TOUCHED,
	  { { W(0, 0, 11), C(READ, 0, 0) }, { F(0, 2), W(2, 0, 21), C(READ, 2, 0) }, { W(0, 1, 31) } } },
	{ "fork_fork", TOUCHED,
	  { { F(0, 2), C(READ, 2, 0), C(READ, 2, 0) }, { F(0, 3), W(3, 0, 21), C(READ, 3, 1) },
	    { W(0, 0, 31), W(0, 1, 32) } } },
	{ "fault_wipe", TOUCHED,
	  { { W(0, 0, 11), C(READ, 0, 0) }, { R(FREE, 0, 0, 3), C(READ, 0, 1) }, { W(0, 2, 31), C(READ, 0, 2) } } },
	{ "fault_wipe_forked", FORKED,
	  { { W(0, 0, 11), C(READ, 0, 0) }, { R(FREE, 0, 0, 1) }, { C(READ, 1, 0), W(1, 1, 31) } } },
	{ "fault_swap_out", TOUCHED,
	  { { W(0, 0, 11), C(READ, 0, 0) }, { C(SWAP, 0, 0), C(SWAP, 0, 1) }, { C(READ, 0, 0), W(0, 1, 31) } } },
	{ "swap_in_swap_in", SWAPPED,
	  { { C(READ, 0, 0), W(0, 0, 11) }, { C(READ, 1, 0), C(READ, 1, 1) }, { R(UNMAP, 1, 1, 1) } } },
	{ "swap_out_unmap", FORKED,
	  { { C(SWAP, 0, 0), C(READ, 0, 0) }, { R(UNMAP, 0, 0, 1) }, { W(1, 0, 31), C(READ, 1, 0) } } },
	{ "fault_wire", TOUCHED,
	  { { W(0, 0, 11), C(READ, 0, 2) }, { R(WIRE, 0, 0, 2), R(UNWIRE, 0, 0, 2) },
	    { C(SWAP, 0, 0), R(READ_ONLY, 0, 1, 2) } } },
	{ "wire_swap", TOUCHED,
	  { { R(WIRE, 0, 0, 1), C(READ, 0, 0) }, { C(SWAP, 0, 0), C(SWAP, 0, 0) }, { W(0, 0, 31) } } },
	{ "wire_again", WIRED, { { W(0, 0, 11), W(0, 1, 12) }, { R(WIRE, 0, 0, 3) }, { R(WIRE, 0, 0, 3) } } },
	{ "wire_promote", WIRED,
	  { { W(0, 0, 11), C(READ, 0, 0) }, { R(UNWIRE, 0, 0, 1) }, { C(TOUCH, 0, 1), C(READ, 0, 0) } } },
	{ "fork_order", TOUCHED, { { W(0, 2, 11), W(0, 1, 12) }, { F(0, 2), C(READ, 2, 1), C(READ, 2, 2) } } },
	{ "read_copy_in_place", OWNED, { { C(READ, 0, 1), C(READ, 0, 1) }, { W(0, 1, 21), W(1, 1, 22) } } },
	{ "copy_beside_in_place", OWNED,
	  { { C(READ, 1, 1), C(READ, 1, 1), C(READ, 1, 1) }, { W(1, 1, 21) }, { W(0, 1, 31), W(0, 1, 32) } } },
	{ "read_copy_same_store", FORKED,
	  { { C(READ, 0, 0), C(READ, 0, 0) }, { W(0, 0, 21), C(READ, 0, 0) }, { W(1, 0, 31), W(1, 0, 32) } } },
	{ "copy_path_read", BARE, { { C(READ, 0, 0) }, { W(0, 0, 21), C(READ, 0, 0) } } },
	{ "copy_copy", FORKED,
	  { { W(0, 0, 11), C(READ, 0, 0) }, { W(1, 0, 21), C(READ, 1, 0) }, { C(FLUSH, 0, 0), W(0, 0, 31) } } },
	{ "fork_copy_sharer", OWNED,
	  { { F(0, 2), C(READ, 2, 1), C(READ, 2, 1) }, { W(1, 1, 21), C(READ, 1, 1) }, { W(0, 1, 31) } } },
	{ "shared_fill", SHARED,
	  { { W(0, 2, 11), C(READ, 0, 2) }, { W(1, 2, 21), C(READ, 1, 2) }, { C(READ, 0, 2) } } },
	{ "shared_fork", SHARED,
	  { { F(0, 2), C(READ, 2, 0), C(READ, 2, 0) }, { W(1, 0, 21), W(1, 0, 22) }, { W(0, 1, 31) } } },
	{ "shared_unmap", SHARED, { { R(UNMAP, 0, 0, 3) }, { W(1, 0, 21), C(READ, 1, 0) }, { R(UNMAP, 1, 0, 1) } } },
	{ "shared_copy", SHARED,
	  { { F(0, 2), W(0, 0, 11), C(READ, 0, 0) }, { C(READ, 1, 0), C(READ, 1, 0) },
	    { C(READ, 2, 0), C(READ, 1, 0) } } },
	{ "shared_promote", SHARED_BACKED,
	  { { W(1, 0, 11), C(READ, 0, 0) }, { C(READ, 0, 0), C(READ, 0, 0) }, { C(READ, 1, 0) } } },
	{ "wire_fork", HELD, { { F(0, 2), C(READ, 2, 0), C(READ, 2, 1) }, { W(0, 0, 21), W(0, 1, 22), W(0, 0, 23) } } },
	{ "promote_read", BACKED,
	  { { C(READ, 0, 0), C(READ, 0, 0) }, { W(0, 0, 21), C(READ, 0, 0) }, { C(EVICT, 0, 0) } } },
	{ "promote_grow", PROMOTED, { { C(READ, 0, 2) }, { W(0, 2, 21), C(READ, 0, 2) } } },
	{ "promote_link", FAR, { { C(READ, 0, 0) }, { W(0, 0, 21), C(READ, 0, 0) } } },
	{ "promote_store", BACKED, { { C(READ, 0, 1), C(READ, 0, 1) }, { W(0, 1, 22), C(READ, 0, 1) } } },
	{ "promote_sharing", SHARING, { { C(READ, 0, 1), C(READ, 0, 1) }, { F(0, 2), W(2, 1, 21), C(READ, 0, 1) } } },
	{ "promote_new_store", BACKED,
	  { { C(READ, 0, 1), C(READ, 0, 1) }, { W(0, 2, 21) }, { W(0, 1, 31), C(READ, 0, 1) } } },
	{ "replace_seen_early", REMOVED,
	  { { C(READ, 0, 0) }, { C(MAP_OBJECT, 0, 0) }, { W(0, 0, 31), C(READ, 0, 0) } } },
	{ "promote_fork", PROMOTED, { { W(0, 1, 11), W(0, 0, 12) }, { F(0, 2), C(READ, 2, 1), C(READ, 2, 1) } } },
	{ "zero_write", ZEROS,
	  { { C(READ, 0, 0), C(READ, 0, 0) }, { W(0, 0, 21), C(READ, 0, 0) }, { R(UNMAP, 0, 0, 0) } } },
	{ "zero_store", ZEROS, { { C(READ, 0, 1), C(READ, 0, 1) }, { W(0, 2, 21), W(0, 1, 22), C(READ, 0, 1) } } },
	{ "ahead_join", AHEAD,
	  { { C(READ, 0, 1), C(READ, 0, 2) }, { C(CLIP, 0, 2), R(JOIN, 0, 0, 3), C(CLIP, 0, 2) } } },
	{ "ahead_protect", AHEAD,
	  { { C(READ, 0, 1), C(READ, 0, 2) }, { R(UNMAP, 0, 2, 3), R(MAP, 0, 2, 2), W(0, 2, 21) } } },
	{ "ahead_fill", AHEAD,
	  { { R(FREE, 0, 1, 1), R(FREE, 0, 1, 1), R(FREE, 0, 1, 1) },
	    { C(READ, 0, 1), C(READ, 0, 1), C(READ, 0, 1) }, { W(0, 1, 31), W(0, 1, 32) } } },
	{ "ahead_copy", AHEAD,
	  { { C(READ, 0, 0), C(READ, 0, 1) }, { W(0, 1, 21), C(READ, 0, 1) }, { F(0, 2), W(2, 1, 31) } } },
	{ "ahead_free", AHEAD,
	  { { R(FREE, 0, 1, 1), C(READ, 0, 1) }, { C(READ, 0, 1), C(READ, 0, 1) },
	    { R(FREE, 0, 1, 1), R(FREE, 0, 1, 1) } } },
	{ "ahead_swap", AHEAD,
	  { { C(READ, 0, 0), C(READ, 0, 1) }, { C(SWAP, 0, 1), C(SWAP, 0, 0) }, { R(FREE, 0, 1, 2) } } },
};
/* clang-format on */

static const char *const kind_names[] = { "nothing",	"read",	     "write",	 "touch", "unmap", "map",
					  "map_object", "read_only", "writable", "free",  "fork",  "swap",
					  "wire",	"unwire",    "clip",	 "join",  "evict", "flush" };

#define RANDOM_PROGRAMS 4000u

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* What random programs are made of: faults mostly. */
static const uint8_t kinds[] = { READ, READ, READ, WRITE, WRITE, WRITE, WRITE, TOUCH, UNMAP, MAP, READ_ONLY,
				 WRITABLE, FREE, FREE, FORK, FORK, SWAP, SWAP, WIRE, UNWIRE, CLIP, JOIN, EVICT, FLUSH };

/* Pairs and triples of every kind, in every shape: by number. */
static void random_program(unsigned int number, struct scenario *scenario)
{
	uint64_t random = mix(number + 1);
	unsigned int threads = 2 + number % 2;

	memset(scenario, 0, sizeof(*scenario));
	scenario->name = threads == 2 ? "pairs" : "triples";
	scenario->shape = (enum shape)(random % SHAPES);
	for (unsigned int t = 0; t < threads; t++) {
		bool forked = false;

		for (unsigned int i = 0; i < 2u + (threads == 2); i++) {
			struct call *call = &scenario->calls[t][i];
			bool two = (scenario->shape >= OWNED && scenario->shape <= SWAPPED) ||
				   scenario->shape == SHARED_BACKED;

			random = mix(random + t + 7 * i);
			call->kind = kinds[(random >> 8) % COUNT(kinds)];
			if (call->kind == FORK && (forked || t > 1))
				call->kind = WRITE;
			/* Two maps have one history then: only what does the same to both. */
			if ((scenario->shape == SHARED || scenario->shape == SHARED_BACKED) &&
			    (call->kind == UNMAP || call->kind == MAP || call->kind == FREE))
				call->kind = READ;
			if (call->kind == EVICT && scenario->shape != BACKED && scenario->shape != PROMOTED &&
			    scenario->shape != SHARED_BACKED)
				call->kind = SWAP;
			call->map = (uint8_t)(two ? random >> 16 & 1 : 0);
			if (forked && (random >> 17 & 1))
				call->map = (uint8_t)(2 + t);
			call->page = (uint8_t)((random >> 20) % 3);
			call->last = call->kind >= UNMAP && call->kind != FORK
					     ? (uint8_t)(call->page + (random >> 24) % (SLOTS - call->page))
					     : call->page;
			call->value = (uint8_t)(10 * (t + 1) + i + 1);
			if (call->kind == FORK) {
				call->map = (uint8_t)(two ? random >> 16 & 1 : 0);
				call->value = (uint8_t)(2 + t);
				forked = true;
			}
		}
	}
}

/* ---- One variant ---- */

static struct scenario now_running;
static unsigned int ncalls[THREADS], nthreads;

static void must(const struct call call)
{
	fault_call(THREADS, &call);
}

static void advise(unsigned int advice)
{
	(void)cleave_map_advise(&world->maps[0], &world->records[THREADS].map, SIM_BASE, SIM_BASE + SLOTS * SIM_PAGE,
				advice);
}

static void shape_world(enum shape shape)
{
	struct cleave_map_thread *thread = &world->records[THREADS].map;

	if (shape == CLIPPED)
		must((struct call)C(CLIP, 0, 2));
	if (shape == BACKED || shape == SHARED_BACKED || shape == SHARING || shape == ZEROS)
		must((struct call)C(READ, 0, 0));
	if (shape == WIRED) {
		must((struct call)R(READ_ONLY, 0, 0, 1));
		must((struct call)R(WIRE, 0, 0, 1));
		must((struct call)R(WRITABLE, 0, 0, 1));
	}
	if (shape == PROMOTED || shape == REMOVED)
		must((struct call)W(0, 0, 1));
	if (shape == FAR)
		must((struct call)W(0, 2, 1));
	if ((shape >= TOUCHED && shape <= SWAPPED) || shape == AHEAD || shape == HELD || shape == BARE) {
		must((struct call)W(0, 0, 1));
		must((struct call)W(0, 1, 2));
	}
	if (shape == HELD)
		must((struct call)R(WIRE, 0, 0, 1));
	world->shares = shape == SHARING;
	if (shape == SHARED || shape == SHARED_BACKED || shape == SHARING)
		(void)cleave_map_inherit(&world->maps[0], thread, SIM_BASE, SIM_BASE + SLOTS * SIM_PAGE,
					 CLEAVE_INHERIT_SHARE);
	if ((shape >= OWNED && shape <= SWAPPED) || shape == SHARED_BACKED || shape == BARE)
		must((struct call)F(0, 1));
	if (shape == SHARED || shape == SHARED_BACKED) {
		for (unsigned int map = 0; map < 2; map++)
			(void)cleave_map_inherit(&world->maps[map], thread, SIM_BASE, SIM_BASE + SLOTS * SIM_PAGE,
						 CLEAVE_INHERIT_COPY);
		fault_share_histories(0, 1);
	}
	if (shape == OWNED) {
		must((struct call)W(0, 0, 5));
		must((struct call)C(FLUSH, 0, 0));
		must((struct call)W(1, 0, 6));
		world->ops.remove(&world->ops, &world->maps[0], SIM_BASE + SIM_PAGE, SIM_BASE + 2 * SIM_PAGE);
		must((struct call)C(READ, 1, 1));
	}
	if (shape == REMOVED || shape == BARE)
		world->ops.remove(&world->ops, &world->maps[0], SIM_BASE, SIM_BASE + SLOTS * SIM_PAGE);
	if (shape == SWAPPED) {
		must((struct call)C(SWAP, 0, 0));
		must((struct call)C(SWAP, 0, 1));
	}
	if (shape == AHEAD) {
		must((struct call)W(0, 2, 3));
		must((struct call)W(0, 3, 4));
		advise(CLEAVE_ADVICE_SEQUENTIAL);
		world->ops.remove(&world->ops, &world->maps[0], SIM_BASE, SIM_BASE + SLOTS * SIM_PAGE);
	}
}

static bool has(const struct scenario *scenario, enum kind one, enum kind other)
{
	for (unsigned int i = 0; i < THREADS * MOST_CALLS; i++) {
		enum kind kind = (enum kind)scenario->calls[i / MOST_CALLS][i % MOST_CALLS].kind;

		if (kind == one || kind == other)
			return true;
	}
	return false;
}

static void prepare(const struct scenario *scenario)
{
	sim_snapshot_free(&runner_snapshot);
	now_running = *scenario;
	fault_world_make(scenario->shape == ZEROS,
			 (scenario->shape >= BACKED && scenario->shape <= PROMOTED) || scenario->shape == SHARING ||
				 scenario->shape == REMOVED || scenario->shape == FAR);
	shape_world(scenario->shape);
	cleave_space_flush(&world->records[THREADS]);
	for (unsigned int t = 0; t < THREADS; t++)
		fault_stock(t);
	nthreads = 0;
	for (unsigned int t = 0; t < THREADS; t++) {
		for (ncalls[t] = 0; ncalls[t] < MOST_CALLS && scenario->calls[t][ncalls[t]].kind; ncalls[t]++)
			;
		if (ncalls[t])
			nthreads = t + 1;
	}
	world->may_refuse = has(scenario, UNMAP, READ_ONLY);
	world->replaces = scenario->shape == REMOVED;
	world->wires = scenario->shape == WIRED || scenario->shape == HELD || has(scenario, WIRE, WIRE);
	sim_snapshot_take(&runner_snapshot);
}

static void body(unsigned int thread)
{
	for (unsigned int i = 0; i < ncalls[thread]; i++) {
		sim_call(kind_names[now_running.calls[thread][i].kind]);
		fault_call(thread, &now_running.calls[thread][i]);
		sim_return();
	}
}

static void print_calls(void)
{
	for (unsigned int t = 0; t < nthreads; t++)
		for (unsigned int i = 0; i < ncalls[t]; i++) {
			const struct call *call = &now_running.calls[t][i];

			printf("  T%u %s map %u page %u-%u %u\n", t, kind_names[call->kind], call->map, call->page,
			       call->last, call->value);
		}
}

static enum sim_result execute(uint64_t i, struct sim_execution *execution, bool print)
{
	enum sim_result result;
	const char *left;

	sim_snapshot_restore(&runner_snapshot);
	world->running = true;
	runner_failure[0] = '\0';
	result = sim_execute(nthreads, body, i, execution);
	world->running = false;
	if (result == SIM_PRUNED)
		return result;
	if (result == SIM_FAILED) {
		snprintf(runner_failure, sizeof(runner_failure), "%s", sim_failure());
	} else if ((left = fault_world_end()) != NULL) {
		snprintf(runner_failure, sizeof(runner_failure), "%s", left);
		result = SIM_FAILED;
	}
	if (print && result == SIM_FAILED)
		print_calls();
	return result;
}

static const char *name(unsigned int number)
{
	return scenarios[number].name;
}

static const char *choose(unsigned int number)
{
	static struct scenario scenario;

	if (number < COUNT(scenarios))
		scenario = scenarios[number];
	else
		random_program(number - (unsigned int)COUNT(scenarios), &scenario);
	prepare(&scenario);
	return scenario.name;
}

int main(int argc, char **argv)
{
	static const struct runner runner = {
		.program = "cleave-sim-fault",
		.subject = "faults and what changes maps",
		.named = (unsigned int)COUNT(scenarios),
		.random = RANDOM_PROGRAMS,
		.name = name,
		.choose = choose,
		.execute = execute,
	};

	return runner_main(&runner, argc, argv);
}
