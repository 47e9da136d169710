/* SPDX-License-Identifier: ISC */
/*
 * Do all that are measured do the same work?  The same random changes are made to each, and to a sorted array; after
 * each, the result, what the addresses around it hold and (now and then) the number of entries must be the array's.
 */
#include "peers/peers.h"

#include "../tools/program.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ENTRIES 300
#define COUNT_EVERY 64
#define EVERY 16 /* where free space is searched for, one of so many changes */

struct side {
	const struct bench_impl *impl;
	void *index;
	void *thread;
};

static uint64_t seed;
static size_t step;

static void fail(const struct side *side, const char *what, uint64_t addr)
{
	printf("FAILED: %s, %s at %llx; seed %llu, change %zu\n", side->impl->name, what, (unsigned long long)addr,
	       (unsigned long long)seed, step);
	exit(1);
}

static struct side side_open(const struct bench_impl *impl, const struct layout *layout)
{
	struct side side = { .impl = impl, .index = impl->make(impl, layout, layout->entries) };

	side.thread = impl->attach(side.index);
	return side;
}

static void side_close(struct side *side)
{
	if (side->impl->detach)
		side->impl->detach(side->thread);
	side->impl->destroy(side->index);
}

static void compare_at(const struct side *side, const struct side *model, uint64_t addr)
{
	if (side->impl->lookup &&
	    side->impl->lookup(side->thread, &addr, 1) != model->impl->lookup(model->thread, &addr, 1))
		fail(side, "another value", addr);
	if (side->impl->lookup_each &&
	    side->impl->lookup_each(side->thread, &addr, 1) != model->impl->lookup_each(model->thread, &addr, 1))
		fail(side, "another value of one", addr);
	if (side->impl->chase &&
	    side->impl->chase(side->thread, &addr, 1, 0) != model->impl->lookup(model->thread, &addr, 1))
		fail(side, "another value of a chain", addr);
	if (side->impl->lookup_value &&
	    side->impl->lookup_value(side->thread, &addr, 1) != model->impl->lookup(model->thread, &addr, 1))
		fail(side, "another value alone", addr);
	if (side->impl->chase_value &&
	    side->impl->chase_value(side->thread, &addr, 1, 0) != model->impl->lookup(model->thread, &addr, 1))
		fail(side, "another value alone, of a chain", addr);
}

static void compare_around(const struct side *side, const struct side *model, const struct cleave_entry *entry)
{
	compare_at(side, model, entry->first - 1);
	compare_at(side, model, entry->first);
	compare_at(side, model, entry->first + (entry->last - entry->first) / 2);
	compare_at(side, model, entry->last);
	compare_at(side, model, entry->last + 1);
}

/* Free space is where the lowest or highest fitting place is: every entry of the model must leave it alone. */
static void one_alloc(const struct side *side, const struct side *model, const struct layout *layout, struct rng *rng)
{
	struct cleave_request request = {
		.order = rng_below(rng, 2) ? CLEAVE_LOWEST : CLEAVE_HIGHEST,
		.size = LAYOUT_PAGE * (1 + rng_below(rng, 8)),
		.align = LAYOUT_PAGE,
		.min = layout->entries[0].first,
		.max = layout->entries[layout->n - 1].last,
	};
	struct cleave_entry made = { .first = 0 };
	uint64_t best = UINT64_MAX;

	if (side->impl->alloc(side->thread, &request, &made, 1))
		fail(side, "no free space", request.size);
	/* The model tries page by page from the right end. */
	for (uint64_t at = request.order == CLEAVE_LOWEST ? request.min : request.max + 1 - request.size;;
	     at += request.order == CLEAVE_LOWEST ? LAYOUT_PAGE : -(uint64_t)LAYOUT_PAGE) {
		struct cleave_entry wanted = { at, at + request.size - 1, layout->entries };

		if (model->impl->insert(model->thread, &wanted, 1) == 0) {
			best = at;
			model->impl->erase(model->thread, &wanted, 1);
			break;
		}
	}
	if (made.first != best)
		fail(side, "free space", made.first);
	made.last = made.first + request.size - 1;
	if (side->impl->erase(side->thread, &made, 1))
		fail(side, "not erased", made.first);
	compare_around(side, model, &made);
}

static void one_change(const struct side *side, const struct side *model, const struct layout *layout, struct rng *rng)
{
	const struct cleave_entry *chosen = &layout->entries[rng_below(rng, layout->n)];
	uint64_t pages = (chosen->last - chosen->first + 1) / LAYOUT_PAGE;
	uint64_t addr = chosen->first + rng_below(rng, pages) * LAYOUT_PAGE;
	struct cleave_entry range = { addr, addr + (1 + rng_below(rng, 2 * pages)) * LAYOUT_PAGE - 1,
				      &layout->entries[rng_below(rng, layout->n)] };
	bool whole = !side->impl->clip; /* it knows entries by their first addresses alone */
	size_t (*const clips[2])(void *, const uint64_t *, size_t) = { side->impl->clip, side->impl->unclip };
	size_t (*const model_clips[2])(void *, const uint64_t *, size_t) = { model->impl->clip, model->impl->unclip };
	unsigned int kind = (unsigned int)rng_below(rng, whole ? 2 : 6);

	if (whole)
		range = *chosen;
	switch (kind) {
	case 0:
		if (side->impl->insert(side->thread, &range, 1) != model->impl->insert(model->thread, &range, 1))
			fail(side, "insert", addr);
		break;
	case 1:
		if (side->impl->erase(side->thread, &range, 1) != model->impl->erase(model->thread, &range, 1) &&
		    !whole)
			fail(side, "erase", addr);
		break;
	case 2:
		if (side->impl->store(side->thread, &range, 1) != model->impl->store(model->thread, &range, 1))
			fail(side, "store", addr);
		break;
	default:
		if (clips[kind & 1](side->thread, &addr, 1) != model_clips[kind & 1](model->thread, &addr, 1))
			fail(side, kind & 1 ? "unclip" : "clip", addr);
	}
	if (whole && side->impl->lookup_first(side->thread, &range.first, 1) !=
			     model->impl->lookup(model->thread, &range.first, 1))
		fail(side, "another value", range.first);
	compare_around(side, model, &range);
}

static void compare_all(struct side *side, struct side *model)
{
	uint64_t sum = 0, model_sum = 0;

	if (side->impl->iterate(side->thread, &sum) != peer_array.iterate(model->thread, &model_sum))
		fail(side, "another number of entries", 0);
	if (sum != model_sum)
		fail(side, "other entries", 0);
}

static void check(const struct bench_impl *impl, size_t changes)
{
	struct layout layout;
	struct rng rng = { seed };

	/* Dense: ranges of changes meet several entries. */
	layout_make(&layout, ENTRIES, seed);

	struct side side = side_open(impl, &layout), model = side_open(&peer_array, &layout);

	for (step = 0; step < changes; step++) {
		one_change(&side, &model, &layout, &rng);
		if (impl->alloc && step % EVERY == 0)
			one_alloc(&side, &model, &layout, &rng);
		if (impl->iterate && step % COUNT_EVERY == 0)
			compare_all(&side, &model);
	}
	side_close(&side);
	side_close(&model);
	layout_free(&layout);
	printf("%-15s %zu changes\n", impl->name, changes);
}

static const char help[] =
	"usage: cleave-bench-check [options]\n"
	"\n"
	"Make the same random changes to each index that is measured, and to a sorted array, and compare the two.\n"
	"\n"
	"  --seed N       of all random choices (from the clock)\n"
	"  --changes N    to each (20000)\n"
	"  --help         this text\n"
	"\n"
	"Example:\n"
	"  cleave-bench-check --changes 1000000\n"
	"\n"
	"Exit status: 0 all do the same, 1 one does not, 2 wrong usage or no output.\n";

/* Return: how many changes. */
static size_t parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "changes", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	size_t changes = 20000;
	int option;

	seed = (uint64_t)time(NULL);
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 's':
			seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'c':
			changes = program_number("changes", optarg, 1, SIZE_MAX);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
	return changes;
}

int main(int argc, char **argv)
{
	static const struct bench_impl *const flavours[] = { &bench_memb, &bench_memb_scalar, &bench_qsbr, &bench_ck };
	size_t changes;

	program_begin(argv);
	changes = parse(argc, argv);
	printf("seed %llu\n", (unsigned long long)seed);
	for (size_t i = 0; i < sizeof(flavours) / sizeof(flavours[0]); i++)
		check(flavours[i], changes);
	for (const struct bench_impl *const *peer = peers_all(); *peer; peer++)
		if (*peer != &peer_array)
			check(*peer, changes);
	peers_missing();
	return program_end(0);
}
