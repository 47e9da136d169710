/* SPDX-License-Identifier: ISC */
/* Random questions that index and model answer alike, and the comparison of all that is in them. */
#include "world_parts.h"

static void ask_lookup(struct world *world, uint64_t addr)
{
	struct cleave_ticket ticket;
	struct cleave_entry entry;
	void *value;

	value = cleave_lookup_rcu(&world->index, addr, &entry);
	same_entry("lookup", addr, &entry, model_at(&world->model, addr));
	CHECK(value == entry.value, "%p", value);
	CHECK(cleave_value_rcu(&world->index, addr) == value, "value at %#llx", LL(addr));
	value = cleave_lookup_ticket_rcu(&world->index, addr, &entry, &ticket);
	same_entry("lookup with a ticket", addr, &entry, model_at(&world->model, addr));
	CHECK(value == entry.value, "%p", value);
	CHECK(cleave_ticket_valid_rcu(&ticket), "nothing changed since");
}

void world_ask_around(struct world *world, uint64_t first, uint64_t last)
{
	ask_lookup(world, first);
	ask_lookup(world, last);
	if (first > 0)
		ask_lookup(world, first - 1);
	if (last < CLEAVE_LAST)
		ask_lookup(world, last + 1);
	ask_lookup(world, first + (last - first) / 2);
}

static bool not_this_value(void *context, const struct cleave_entry *entry)
{
	return entry->value != context;
}

static bool no_gap(void *context, const struct cleave_entry *entry)
{
	(void)context;
	return entry->value != NULL;
}

static void ask_covers(struct world *world)
{
	cleave_predicate *predicate = rng_one_in(&world->rng, 2) ? no_gap : not_this_value;
	void *value = world_value_or_gap(&world->rng);
	struct cleave_entry bad = { 0 }, want_bad = { 0 };
	struct cleave_ticket scratch[8];
	size_t nscratch = rng_below(&world->rng, 9);
	uint64_t first, last;
	int want, got;

	keyspace_range(world->space, &world->rng, &first, &last);
	want = model_covers(&world->model, first, last, predicate, value, &want_bad);
	enter(world);
	got = cleave_covers_rcu(&world->index, first, last, predicate, value, &bad, nscratch ? scratch : NULL,
				nscratch);
	leave(world);
	if (got != -EAGAIN) {
		CHECK(got == want, "covers_rcu [%#llx, %#llx]: %d, should be %d", LL(first), LL(last), got, want);
		if (!want)
			same_entry("covers_rcu: bad", first, &bad, &want_bad);
	}
	bad = (struct cleave_entry){ 0 };
	got = cleave_covers(&world->index, world->self, first, last, predicate, value, &bad);
	CHECK(got == want, "covers [%#llx, %#llx]: %d, should be %d", LL(first), LL(last), got, want);
	if (!want)
		same_entry("covers: bad", first, &bad, &want_bad);
	CHECK(cleave_covers(&world->index, world->self, first, last, predicate, value, NULL) == want, "without bad");
}

static void ask_gap(struct world *world)
{
	struct cleave_request request;
	uint64_t got_addr = 0, want_addr = 0;
	int got, want;

	world_request_random(world, &request);
	enter(world);
	got = cleave_find_gap_rcu(&world->index, &request, &got_addr);
	leave(world);
	want = model_find_gap(&world->model, &request, &want_addr);
	CHECK(got == want,
	      "find_gap order %d size %#llx align %#llx phase %#llx in [%#llx, %#llx] hint %#llx: %d, should be %d "
	      "(%#llx)",
	      request.order, LL(request.size), LL(request.align), LL(request.phase), LL(request.min), LL(request.max),
	      LL(request.hint), got, want, LL(want_addr));
	if (got)
		return;
	if (request.order == CLEAVE_RANDOM)
		CHECK(model_gap_fits(&world->model, &request, got_addr), "random gap %#llx does not fit", LL(got_addr));
	else
		CHECK(got_addr == want_addr,
		      "find_gap order %d size %#llx align %#llx phase %#llx in [%#llx, %#llx] hint %#llx: %#llx, "
		      "should be %#llx",
		      request.order, LL(request.size), LL(request.align), LL(request.phase), LL(request.min),
		      LL(request.max), LL(request.hint), LL(got_addr), LL(want_addr));
}

/* A few steps of a cursor from anywhere, in both directions. */
static void ask_cursor(struct world *world)
{
	const struct model *model = &world->model;
	uint64_t addr = keyspace_addr(world->space, &world->rng);
	bool gaps = rng_one_in(&world->rng, 2);
	struct cleave_cursor cursor;
	struct cleave_visit visit[4];
	size_t i = model_find(model, addr), n, k;

	/* The entry that holds addr, then what is above. */
	cleave_cursor_init(&cursor, &world->index, addr, gaps);
	enter(world);
	n = cleave_next_rcu(&cursor, visit, 1 + rng_below(&world->rng, 4));
	leave(world);
	for (k = 0; k < n; k++, i++) {
		while (!gaps && i < model->count && !model->cell[i].value)
			i++;
		CHECK(i < model->count, "visits past the end");
		same_entry("next", addr, &visit[k].entry, &model->cell[i]);
	}

	cleave_cursor_init(&cursor, &world->index, addr, gaps);
	enter(world);
	n = cleave_previous_rcu(&cursor, visit, 1 + rng_below(&world->rng, 4));
	leave(world);
	if (addr == 0) {
		CHECK(n == 0, "there is nothing below 0");
		return;
	}
	i = model_find(model, addr - 1);
	for (k = 0; k < n; k++, i--) {
		while (!gaps && i < model->count && !model->cell[i].value)
			i--;
		CHECK(i < model->count, "visits past the end");
		same_entry("previous", addr, &visit[k].entry, &model->cell[i]);
	}
}

void world_ask(struct world *world)
{
	switch (rng_below(&world->rng, 4)) {
	case 0:
		ask_covers(world);
		break;
	case 1:
		ask_gap(world);
		break;
	case 2:
		ask_cursor(world);
		break;
	default:
		enter(world);
		ask_lookup(world, keyspace_addr(world->space, &world->rng));
		leave(world);
		break;
	}
}

static void compare_cursor(struct world *world, bool upward, bool gaps)
{
	const struct model *model = &world->model;
	struct cleave_cursor cursor;
	struct cleave_visit visit[16];
	size_t seen = 0, n, want;

	if (upward)
		cleave_cursor_init(&cursor, &world->index, 0, gaps);
	else
		cleave_cursor_init_last(&cursor, &world->index, gaps);
	do {
		want = 1 + rng_below(&world->rng, 16);
		enter(world);
		n = upward ? cleave_next_rcu(&cursor, visit, want) : cleave_previous_rcu(&cursor, visit, want);
		leave(world);
		CHECK(n <= want, "%zu visits, asked for %zu", n, want);
		for (size_t k = 0; k < n; k++, seen++) {
			const struct cleave_entry *entry;

			while (!gaps && seen < model->count &&
			       !model->cell[upward ? seen : model->count - 1 - seen].value)
				seen++;
			CHECK(seen < model->count, "the cursor visits too much: [%#llx, %#llx] %p",
			      PRINT(visit[k].entry));
			entry = &model->cell[upward ? seen : model->count - 1 - seen];
			same_entry(upward ? "next" : "previous", entry->first, &visit[k].entry, entry);
			CHECK(visit[k].first == entry->first && visit[k].last == entry->last,
			      "[%#llx, %#llx] is not all of a new entry", LL(visit[k].first), LL(visit[k].last));
		}
	} while (n == want);
	while (!gaps && seen < model->count && !model->cell[upward ? seen : model->count - 1 - seen].value)
		seen++;
	CHECK(seen == model->count, "the cursor stopped after %zu of %zu", seen, model->count);
	enter(world);
	n = upward ? cleave_next_rcu(&cursor, visit, 1) : cleave_previous_rcu(&cursor, visit, 1);
	leave(world);
	CHECK(n == 0, "the end stays the end");
}

void world_compare(struct world *world)
{
	uint64_t mapped = 0, largest_gap = 0;
	struct cleave_statistics statistics;

	check_index(&world->index);
	for (int i = 0; i < 4; i++)
		compare_cursor(world, i & 1, i & 2);
	enter(world);
	for (size_t i = 0; i < world->model.count; i++) {
		const struct cleave_entry *cell = &world->model.cell[i];
		uint64_t less_one = cell->last - cell->first;

		ask_lookup(world, cell->first);
		ask_lookup(world, cell->last);
		if (cell->value)
			mapped += less_one + 1;
		else if (less_one >= largest_gap)
			largest_gap = less_one == CLEAVE_LAST ? CLEAVE_LAST : less_one + 1;
	}
	if (largest_gap == 0) /* 2^64 */
		mapped = CLEAVE_LAST;
	cleave_statistics_rcu(&world->index, &statistics);
	leave(world);
	CHECK(statistics.entries == model_entries(&world->model), "%llu entries, should be %zu", LL(statistics.entries),
	      model_entries(&world->model));
	CHECK(statistics.entries + statistics.gaps == world->model.count, "%llu gaps", LL(statistics.gaps));
	CHECK(statistics.mapped == mapped, "%llu mapped, should be %llu", LL(statistics.mapped), LL(mapped));
	CHECK(statistics.largest_gap == largest_gap, "the largest gap is of %llu, should be %llu",
	      LL(statistics.largest_gap), LL(largest_gap));
	CHECK(statistics.height >= 1 && statistics.leaves >= 1, "at least a leaf");
	CHECK((statistics.height == 1) == (statistics.branches == 0), "%llu branches", LL(statistics.branches));
}
