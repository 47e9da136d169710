/* SPDX-License-Identifier: ISC */
/* The life of a world; an operation done to the index, then to the model, and what both said compared. */
#include "world_parts.h"

void world_start(struct world *world, struct cleave_domain *domain, struct cleave_thread *self,
		 const struct keyspace *space, uint64_t seed)
{
	*world = (struct world){
		.domain = domain,
		.self = self,
		.rng = { seed },
		.space = space,
		.seed = seed,
	};
	model_init(&world->model);
	model_init(&world->base);
	CHECK(cleave_init(&world->index, self) == 0, "init");
}

void world_stop(struct world *world)
{
	cleave_destroy(&world->index, world->self);
	model_free(&world->model);
	model_free(&world->base);
}

/* Staged puts are not seen. */
static void txn_sees_base(struct world *world, struct cleave_txn *txn, const struct operation *operation)
{
	uint64_t addr = rng_between(&world->rng, operation->first, operation->last);
	struct cleave_entry entry;
	void *value = cleave_txn_lookup(txn, addr, &entry);

	same_entry("lookup in the transaction", addr, &entry, model_at(&world->model, addr));
	CHECK(value == entry.value, "%p", value);
}

static int call_txn(struct world *world, const struct operation *operation, struct outcome *outcome)
{
	struct cleave_txn txn;
	int result;

	if (operation->call == CALL_TRY_TXN) {
		enter(world);
		result = cleave_try_begin_rcu(&txn, &world->index, world->self, operation->first, operation->last);
		leave(world);
	} else {
		result = cleave_begin(&txn, &world->index, world->self, operation->first, operation->last);
	}
	if (result)
		return result;
	txn_sees_base(world, &txn, operation);
	for (unsigned int i = 0; i < operation->puts && !result; i++) {
		const struct cleave_entry *put = &operation->put[i];

		result = cleave_put(&txn, put->first, put->last, put->value);
		txn_sees_base(world, &txn, operation);
	}
	if (result || !operation->commit) {
		cleave_abort(&txn);
	} else if (operation->two_steps) {
		cleave_publish(&txn);
		cleave_end(&txn, &outcome->displaced.sink);
	} else {
		cleave_commit(&txn, &outcome->displaced.sink);
	}
	return result;
}

/*
 * Hold the entry at `first` and give its part there, up to `last` at most, the value; without `commit` only look.
 */
static int call_hold(struct world *world, const struct operation *operation, struct outcome *outcome)
{
	uint64_t first = operation->first, last = operation->last;
	const struct model *model = &world->model;
	size_t at = model_find(model, first);
	struct cleave_hold hold;
	int result = 0;

	cleave_hold_begin(&hold, &world->index, world->self, first);
	outcome->entry = hold.entry;
	for (int steps = -2; steps <= 2; steps++) {
		void *beside = cleave_hold_beside(&hold, steps);

		CHECK(!beside || (at + (size_t)steps < model->count && model->cell[at + (size_t)steps].value == beside),
		      "%d steps from the held entry: %p", steps, beside);
	}
	if (hold.entry.last < CLEAVE_LAST)
		CHECK(cleave_hold_put(&hold, first, hold.entry.last + 1, operation->value) == -EINVAL,
		      "beyond the entry");
	if (hold.entry.first > 0)
		CHECK(cleave_hold_put(&hold, hold.entry.first - 1, first, operation->value) == -EINVAL,
		      "below the entry");
	if (first > 0)
		CHECK(cleave_hold_put(&hold, first, first - 1, operation->value) == -EINVAL, "backwards");
	CHECK(cleave_hold_put(&hold, first, first, NULL) == -EINVAL, "a gap");
	if (last > hold.entry.last)
		last = hold.entry.last;
	if (operation->commit) {
		result = operation->value ? cleave_hold_put(&hold, first, last, operation->value)
					  : cleave_hold_erase(&hold, first, last);
		CHECK(result || cleave_hold_put(&hold, first, first, operation->value) == -EINVAL, "the second put");
	}
	cleave_hold_end(&hold);
	return result;
}

/* Does the thread remember a branch where the search begins? */
static bool begins_at_edge(const struct cleave_thread *self, const struct cleave_request *request)
{
	uint64_t addr = request->order == CLEAVE_LOWEST ? request->min : request->max;

	return (request->order == CLEAVE_LOWEST || request->order == CLEAVE_HIGHEST) && self->edge.parent &&
	       self->edge.addr == addr;
}

void world_call(struct world *world, const struct operation *operation, struct outcome *outcome)
{
	struct cleave *index = &world->index;
	struct cleave_thread *self = world->self;
	uint64_t first = operation->first, last = operation->last;
	void *value = operation->value;

	memset(outcome, 0, sizeof(*outcome));
	displaced_init(&outcome->displaced);
	outcome->entry = operation->expected;
	switch (operation->call) {
	case CALL_INSERT:
		outcome->result = cleave_insert(index, self, first, last, value, &outcome->entry);
		break;
	case CALL_STORE:
		outcome->result = cleave_store(index, self, first, last, value, &outcome->displaced.sink);
		break;
	case CALL_ERASE:
		outcome->result = cleave_erase(index, self, first, last, &outcome->displaced.sink);
		break;
	case CALL_CLIP:
		outcome->result = cleave_clip(index, self, first);
		break;
	case CALL_UNCLIP:
		outcome->result = cleave_unclip(index, self, first);
		break;
	case CALL_REPLACE_IF:
		outcome->result = cleave_replace_if(index, self, &outcome->entry, value);
		break;
	case CALL_ALLOC:
		world->edges += begins_at_edge(self, &operation->request);
		outcome->result = cleave_alloc(index, self, &operation->request, value, &outcome->addr);
		break;
	case CALL_TXN:
	case CALL_TRY_TXN:
		outcome->result = call_txn(world, operation, outcome);
		break;
	case CALL_HOLD:
		outcome->result = call_hold(world, operation, outcome);
		break;
	case CALL_TRY_STORE:
		enter(world);
		outcome->result = cleave_try_store_rcu(index, self, first, last, value);
		leave(world);
		break;
	case CALL_TRY_CLIP:
		enter(world);
		outcome->result = cleave_try_clip_rcu(index, self, first);
		leave(world);
		break;
	case CALL_TRY_REPLACE_IF:
		enter(world);
		outcome->result = cleave_try_replace_if_rcu(index, self, &outcome->entry, value);
		leave(world);
		break;
	case CALLS:
		abort();
	}
}

static void follow_alloc(struct world *world, const struct operation *operation, const struct outcome *outcome,
			 int *result)
{
	uint64_t addr = 0;

	*result = model_find_gap(&world->model, &operation->request, &addr);
	if (*result || outcome->result)
		return;
	CHECK(model_gap_fits(&world->model, &operation->request, outcome->addr), "%#llx does not fit",
	      LL(outcome->addr));
	if (operation->request.order != CLEAVE_RANDOM)
		CHECK(addr == outcome->addr, "%#llx, should be %#llx", LL(outcome->addr), LL(addr));
	model_store(&world->model, outcome->addr, outcome->addr + (operation->request.size - 1), operation->value,
		    NULL);
}

/* What the transaction displaced: all of the base under the puts' union, in address order. */
static void displaced_by_puts(const struct model *base, const struct operation *operation, struct displaced *displaced)
{
	struct model all;

	model_init(&all);
	for (unsigned int i = 0; i < operation->puts; i++)
		model_store(&all, operation->put[i].first, operation->put[i].last, &all, NULL);
	for (size_t i = 0; i < all.count; i++) {
		if (!all.cell[i].value)
			continue;
		for (size_t k = model_find(base, all.cell[i].first);
		     k < base->count && base->cell[k].first <= all.cell[i].last; k++) {
			struct cleave_entry part = base->cell[k];

			if (part.first < all.cell[i].first)
				part.first = all.cell[i].first;
			if (part.last > all.cell[i].last)
				part.last = all.cell[i].last;
			if (part.value)
				displaced_add(displaced, &part);
		}
	}
	model_free(&all);
}

void world_follow(struct world *world, const struct operation *operation, const struct outcome *outcome)
{
	struct cleave_entry entry = operation->expected;
	struct model *model = &world->model;
	struct displaced displaced;
	bool has_entry = false, joined = false;
	int result = 0;

	displaced_init(&displaced);
	if (operation->call >= CALL_TRY_STORE)
		world->tried++;
	if (operation->call >= CALL_TRY_STORE && outcome->result == -EAGAIN) {
		world->refused++;
		return;
	}
	switch (operation->call) {
	case CALL_INSERT:
		result = model_insert(model, operation->first, operation->last, operation->value, &entry);
		has_entry = result == -EEXIST;
		break;
	case CALL_STORE:
		result = model_store(model, operation->first, operation->last, operation->value, &displaced);
		break;
	case CALL_TRY_STORE:
		result = model_store(model, operation->first, operation->last, operation->value, NULL);
		break;
	case CALL_ERASE:
		result = model_store(model, operation->first, operation->last, NULL, &displaced);
		break;
	case CALL_CLIP:
	case CALL_TRY_CLIP:
		result = model_clip(model, operation->first);
		break;
	case CALL_UNCLIP:
		result = model_unclip(model, operation->first);
		break;
	case CALL_REPLACE_IF:
	case CALL_TRY_REPLACE_IF:
		result = model_replace_if(model, &entry, operation->value);
		has_entry = true;
		break;
	case CALL_HOLD:
		entry = *model_at(model, operation->first);
		has_entry = true;
		if (!operation->commit)
			break;
		if (!operation->value && !entry.value)
			result = -EINVAL;
		else if (!operation->value && outcome->result == -EAGAIN)
			result = -EAGAIN; /* it takes a transaction */
		else
			model_store(model, operation->first,
				    operation->last < entry.last ? operation->last : entry.last, operation->value,
				    NULL);
		break;
	case CALL_ALLOC:
		follow_alloc(world, operation, outcome, &result);
		break;
	case CALL_TXN:
	case CALL_TRY_TXN:
		/* A put waits for no grace period: beyond a small limit of garbage it may find no nodes. */
		if (outcome->result == -ENOMEM && world->domain->garbage_limit < 100)
			result = -ENOMEM;
		if (!operation->commit || result)
			break;
		model_copy(&world->base, model);
		displaced_by_puts(&world->base, operation, &displaced);
		for (unsigned int i = 0; i < operation->puts; i++)
			model_store(model, operation->put[i].first, operation->put[i].last, operation->put[i].value,
				    NULL);
		joined = true;
		break;
	case CALLS:
		abort();
	}

	CHECK(outcome->result == result, "returned %d, should be %d", outcome->result, result);
	if (has_entry)
		same_entry("entry handed back", entry.first, &outcome->entry, &entry);
	if (joined) {
		struct displaced copy = { .sink = displaced.sink };

		for (size_t i = 0; i < outcome->displaced.count; i++)
			displaced_add(&copy, &outcome->displaced.entry[i]);
		displaced_join(&copy, &world->base);
		displaced_join(&displaced, &world->base);
		CHECK(copy.count == displaced.count, "%zu entries displaced, should be %zu", copy.count,
		      displaced.count);
		for (size_t i = 0; i < copy.count; i++)
			same_entry("displaced", copy.entry[i].first, &copy.entry[i], &displaced.entry[i]);
		displaced_free(&copy);
	} else {
		CHECK(outcome->displaced.count == displaced.count, "%zu entries displaced, should be %zu",
		      outcome->displaced.count, displaced.count);
		for (size_t i = 0; i < displaced.count; i++)
			same_entry("displaced", displaced.entry[i].first, &outcome->displaced.entry[i],
				   &displaced.entry[i]);
	}
	displaced_free(&displaced);
}

void world_step(struct world *world)
{
	struct operation operation;
	struct outcome outcome;
	char text[400];
	static int trace = -1;

	if (trace < 0)
		trace = getenv("CLEAVE_TEST_TRACE") != NULL;
	operation_random(world, &operation);
	operation_print(&operation, text, sizeof(text));
	check_context("seed %#llx, %s, step %llu: %s", LL(world->seed), world->space->name, LL(world->step), text);
	if (trace)
		fprintf(stderr, "%llu: %s\n", LL(world->step), text);
	world_call(world, &operation, &outcome);
	world_follow(world, &operation, &outcome);
	displaced_free(&outcome.displaced);
	enter(world);
	world_ask_around(world, operation.first, operation.last);
	if (operation.call == CALL_ALLOC && !outcome.result)
		world_ask_around(world, outcome.addr, outcome.addr + (operation.request.size - 1));
	leave(world);
	world->step++;
}
