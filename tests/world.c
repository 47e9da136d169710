/* SPDX-License-Identifier: ISC */
#include "world.h"

#define PRINT(entry) (unsigned long long)(entry).first, (unsigned long long)(entry).last, (entry).value
#define LL(x) ((unsigned long long)(x))

/* ---- Addresses ---- */

const struct keyspace keyspaces[] = {
	{ "64 addresses, everything touches", 0, 64, 1, 12 },
	{ "64 addresses at the top", CLEAVE_LAST - 63, 64, 1, 12 },
	{ "near 0", 0, 4096, 1, 8 },
	{ "near 2^64 - 1", CLEAVE_LAST - 4095, 4096, 1, 8 },
	{ "pages", UINT64_C(0x7f0000000000), 20000, 4096, 24 },
	{ "all addresses", 0, 0, 1, 0 },
};

const size_t nkeyspaces = sizeof(keyspaces) / sizeof(keyspaces[0]);

uint64_t keyspace_addr(const struct keyspace *space, struct rng *rng)
{
	if (rng_one_in(rng, 200))
		return rng_one_in(rng, 2) ? 0 : CLEAVE_LAST;
	if (!space->units) {
		uint64_t addr = rng_next(rng) >> rng_below(rng, 64);

		return rng_one_in(rng, 2) ? addr : ~addr;
	}
	return space->base + space->unit * rng_below(rng, space->units) +
	       (space->unit > 1 && rng_one_in(rng, 8) ? rng_below(rng, space->unit) : 0);
}

void keyspace_range(const struct keyspace *space, struct rng *rng, uint64_t *first, uint64_t *last)
{
	uint64_t size, end;

	if (rng_one_in(rng, 2000)) {
		*first = 0;
		*last = CLEAVE_LAST;
		return;
	}
	if (!space->units || rng_one_in(rng, 100)) {
		uint64_t other;

		*first = keyspace_addr(space, rng);
		other = space->units || rng_one_in(rng, 16) ? keyspace_addr(space, rng)
							    : *first + (rng_next(rng) >> (8 + rng_below(rng, 56)));
		*last = *first > other ? *first : other;
		*first = *first > other ? other : *first;
		return;
	}
	*first = space->base + space->unit * rng_below(rng, space->units);
	end = space->base + (space->unit * space->units - 1);
	size = space->unit * (1 + rng_below(rng, space->longest));
	if (rng_one_in(rng, 50)) /* now and then much more */
		size = space->unit * (1 + rng_below(rng, space->units));
	*last = end - *first < size - 1 ? end : *first + (size - 1);
}

/* Few values, so that neighbours often have the same one; all bits of a value matter. */
static void *value_random(struct rng *rng)
{
	static const uintptr_t values[] = { 1, 2, 0x1000, 0x7fff12345678, UINTPTR_MAX, UINTPTR_MAX - 1 };

	return (void *)values[rng_below(rng, sizeof(values) / sizeof(values[0]))];
}

static void *value_or_gap(struct rng *rng)
{
	return rng_one_in(rng, 3) ? NULL : value_random(rng);
}

/* ---- Life ---- */

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

/* ---- Operations ---- */

static void request_random(struct world *world, struct cleave_request *request)
{
	struct rng *rng = &world->rng;
	uint64_t unit = world->space->unit;

	*request = (struct cleave_request){
		.order = (enum cleave_order)rng_below(rng, 5),
		.size = unit * (1 + rng_below(rng, 16)),
		.max = CLEAVE_LAST,
		.hint = keyspace_addr(world->space, rng),
	};
	if (!world->space->units)
		request->size = 1 + (rng_next(rng) >> rng_below(rng, 64)) / 2;
	if (rng_one_in(rng, 20))
		request->size = 1 + rng_next(rng) / 2;
	if (rng_one_in(rng, 2)) {
		request->align = unit << rng_below(rng, 5);
		if (rng_one_in(rng, 2))
			request->phase = rng_below(rng, request->align);
	}
	if (rng_one_in(rng, 50)) {
		request->align = UINT64_C(1) << rng_below(rng, 64);
		request->phase = rng_below(rng, request->align);
	}
	if (!rng_one_in(rng, 4) || world->space->units)
		keyspace_range(world->space, rng, &request->min, &request->max);
	if (rng_one_in(rng, 3) && world->space->units) {
		request->min = world->space->base;
		request->max = world->space->base + (world->space->unit * world->space->units - 1);
	}
}

void operation_random(struct world *world, struct operation *operation)
{
	static const enum call often[] = {
		CALL_INSERT, CALL_INSERT, CALL_STORE,	   CALL_STORE, CALL_ERASE, CALL_ERASE, CALL_CLIP,
		CALL_CLIP,   CALL_UNCLIP, CALL_REPLACE_IF, CALL_ALLOC, CALL_TXN,   CALL_HOLD,
	};
	struct rng *rng = &world->rng;
	uint64_t first, last;

	memset(operation, 0, sizeof(*operation));
	operation->call = (enum call)rng_below(rng, CALLS);
	if (rng_one_in(rng, 2))
		operation->call = often[rng_below(rng, sizeof(often) / sizeof(often[0]))];
	keyspace_range(world->space, rng, &operation->first, &operation->last);
	operation->value = value_random(rng);

	switch (operation->call) {
	case CALL_STORE:
	case CALL_TRY_STORE:
		operation->value = value_or_gap(rng);
		break;
	case CALL_UNCLIP:
		/* Mostly where two entries meet. */
		if (!rng_one_in(rng, 4))
			operation->first = world->model.cell[rng_below(rng, world->model.count)].first;
		break;
	case CALL_REPLACE_IF:
	case CALL_TRY_REPLACE_IF:
		operation->expected = *model_at(&world->model, operation->first);
		if (rng_one_in(rng, 2))
			operation->expected = world->model.cell[rng_below(rng, world->model.count)];
		if (rng_one_in(rng, 8))
			operation->expected.value = value_random(rng);
		if (rng_one_in(rng, 8))
			operation->expected.first++;
		if (rng_one_in(rng, 8))
			operation->expected.last--;
		break;
	case CALL_ALLOC:
		request_random(world, &operation->request);
		break;
	case CALL_TXN:
	case CALL_TRY_TXN:
		if (rng_one_in(rng, 2)) {
			/* Twice as wide, so that puts have room. */
			keyspace_range(world->space, rng, &first, &last);
			if (first < operation->first)
				operation->first = first;
			if (last > operation->last)
				operation->last = last;
		}
		operation->puts = (unsigned int)rng_below(rng, OPERATION_PUTS + 1);
		for (unsigned int i = 0; i < operation->puts; i++) {
			struct cleave_entry *put = &operation->put[i];

			keyspace_range(world->space, rng, &put->first, &put->last);
			if (put->first < operation->first || put->first > operation->last)
				put->first = operation->first;
			if (put->last < put->first || put->last > operation->last)
				put->last = rng_one_in(rng, 2) ? operation->last : put->first;
			put->value = value_or_gap(rng);
		}
		operation->commit = !rng_one_in(rng, 5);
		operation->two_steps = rng_one_in(rng, 3);
		break;
	case CALL_HOLD:
		operation->commit = !rng_one_in(rng, 8);
		if (rng_one_in(rng, 2)) /* from its first address on */
			operation->first = model_at(&world->model, operation->first)->first;
		if (rng_one_in(rng, 4)) /* the same value: a clip */
			operation->value = model_at(&world->model, operation->first)->value;
		if (!operation->value)
			operation->value = value_random(rng);
		if (rng_one_in(rng, 3))
			operation->value = NULL;
		break;
	default:
		break;
	}
}

void operation_print(const struct operation *operation, char *text, size_t size)
{
	static const char *const names[] = { "insert",	   "store",	     "erase",  "clip", "unclip",
					     "replace_if", "alloc",	     "txn",    "hold", "try store",
					     "try clip",   "try replace_if", "try txn" };
	size_t n;

	switch (operation->call) {
	case CALL_CLIP:
	case CALL_TRY_CLIP:
	case CALL_UNCLIP:
		snprintf(text, size, "%s %#llx", names[operation->call], LL(operation->first));
		break;
	case CALL_REPLACE_IF:
	case CALL_TRY_REPLACE_IF:
		snprintf(text, size, "%s [%#llx, %#llx] %p by %p", names[operation->call], PRINT(operation->expected),
			 operation->value);
		break;
	case CALL_ALLOC:
		snprintf(text, size, "alloc order %d size %#llx align %#llx phase %#llx in [%#llx, %#llx] hint %#llx",
			 operation->request.order, LL(operation->request.size), LL(operation->request.align),
			 LL(operation->request.phase), LL(operation->request.min), LL(operation->request.max),
			 LL(operation->request.hint));
		break;
	case CALL_TXN:
	case CALL_TRY_TXN:
		n = (size_t)snprintf(text, size, "%s [%#llx, %#llx]", names[operation->call], LL(operation->first),
				     LL(operation->last));
		for (unsigned int i = 0; i < operation->puts && n < size; i++)
			n += (size_t)snprintf(text + n, size - n, ", put [%#llx, %#llx] %p", PRINT(operation->put[i]));
		if (n < size)
			snprintf(text + n, size - n, ", %s",
				 !operation->commit	? "abort"
				 : operation->two_steps ? "publish and end"
							: "commit");
		break;
	default:
		snprintf(text, size, "%s [%#llx, %#llx] %p", names[operation->call], LL(operation->first),
			 LL(operation->last), operation->value);
		break;
	}
}

static void enter(struct world *world)
{
	world->domain->ops->enter(world->domain, world->self);
}

static void leave(struct world *world)
{
	world->domain->ops->leave(world->domain, world->self);
}

static void same_entry(const char *what, uint64_t addr, const struct cleave_entry *got, const struct cleave_entry *want)
{
	CHECK(got->first == want->first && got->last == want->last && got->value == want->value,
	      "%s at %#llx: [%#llx, %#llx] %p, should be [%#llx, %#llx] %p", what, LL(addr), PRINT(*got), PRINT(*want));
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

/* ---- Questions ---- */

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

static void ask_around(struct world *world, uint64_t first, uint64_t last)
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
	void *value = value_or_gap(&world->rng);
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

	request_random(world, &request);
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
	ask_around(world, operation.first, operation.last);
	if (operation.call == CALL_ALLOC && !outcome.result)
		ask_around(world, outcome.addr, outcome.addr + (operation.request.size - 1));
	leave(world);
	world->step++;
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
	struct cleave_statistics statistics;

	check_index(&world->index);
	for (int i = 0; i < 4; i++)
		compare_cursor(world, i & 1, i & 2);
	enter(world);
	for (size_t i = 0; i < world->model.count; i++) {
		ask_lookup(world, world->model.cell[i].first);
		ask_lookup(world, world->model.cell[i].last);
	}
	cleave_statistics_rcu(&world->index, &statistics);
	leave(world);
	CHECK(statistics.entries == model_entries(&world->model), "%llu entries, should be %zu", LL(statistics.entries),
	      model_entries(&world->model));
	CHECK(statistics.entries + statistics.gaps == world->model.count, "%llu gaps", LL(statistics.gaps));
	CHECK(statistics.height >= 1 && statistics.leaves >= 1, "at least a leaf");
	CHECK((statistics.height == 1) == (statistics.branches == 0), "%llu branches", LL(statistics.branches));
}
