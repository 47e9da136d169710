/* SPDX-License-Identifier: ISC */
/* Range transactions: against the model, and what readers and neighbours see of them. */
#include "fixture.h"
#include "world.h"

/* ---- One thread ---- */

/* Many puts in random order, within [first, last]; then the same on a copy of the model. */
static void stage(struct world *world, struct cleave_txn *txn, struct model *staged, uint64_t first, uint64_t last,
		  size_t puts)
{
	for (size_t i = 0; i < puts; i++) {
		uint64_t from = rng_between(&world->rng, first, last);
		uint64_t to = from + rng_below(&world->rng, 40);
		uintptr_t value = rng_one_in(&world->rng, 3) ? 0 : 1 + rng_below(&world->rng, 3);

		if (to > last || to < from)
			to = last;
		if (rng_one_in(&world->rng, 200))
			from = first;
		CHECK(cleave_put(txn, from, to, (void *)value) == 0, "put");
		model_store(staged, from, to, (void *)value, NULL);
	}
}

static bool changed(const struct model *before, const struct model *after, uint64_t addr)
{
	return model_at(before, addr)->value != model_at(after, addr)->value;
}

static void large_transactions_agree_with_the_model(void **state)
{
	static const uint64_t bases[] = { 0, CLEAVE_LAST - 9999, UINT64_C(1) << 40 };
	uint64_t seed = test_seed();

	(void)state;
	for (uint64_t round = test_scaled(400); round; round--) {
		struct manual_domain manual;
		struct world world;
		struct model staged = { 0 };
		uint64_t base = bases[round % 3];

		manual_start(&manual, (enum grace)(round % 3), NULL, 100);
		world_start(&world, &manual.domain, &manual.self, &keyspaces[0], seed + round);
		check_context("seed %#llx, round %llu", (unsigned long long)seed, (unsigned long long)round);
		for (int n = 0; n < 6; n++) {
			uint64_t first = rng_between(&world.rng, base, base + 9999);
			uint64_t last = rng_between(&world.rng, first, base + 9999);
			struct displaced displaced;
			struct cleave_txn txn;
			bool commit = !rng_one_in(&world.rng, 4);

			displaced_init(&displaced);
			if (rng_one_in(&world.rng, 4)) {
				first = base;
				last = base + 9999;
			}
			if (rng_one_in(&world.rng, 8)) {
				first = 0;
				last = CLEAVE_LAST;
			}
			model_copy(&staged, &world.model);
			CHECK(cleave_begin(&txn, &world.index, &manual.self, first, last) == 0, "begin");
			stage(&world, &txn, &staged, first > base ? first : base,
			      last < base + 9999 ? last : base + 9999, 1 + rng_below(&world.rng, 300));
			if (commit) {
				cleave_commit(&txn, &displaced.sink);
				for (size_t i = 0; i < displaced.count; i++) {
					const struct cleave_entry *entry = &displaced.entry[i];
					const struct cleave_entry *was = model_at(&world.model, entry->first);

					CHECK(entry->value && entry->value == was->value && was->last >= entry->last,
					      "displaced [%#llx, %#llx] %p was not there",
					      (unsigned long long)entry->first, (unsigned long long)entry->last,
					      entry->value);
					CHECK(i == 0 || displaced.entry[i - 1].last < entry->first,
					      "displaced entries out of order");
				}
				for (size_t i = 0; i < world.model.count; i++) {
					const struct cleave_entry *was = &world.model.cell[i];
					bool told = false;

					if (!was->value || !changed(&world.model, &staged, was->first))
						continue;
					for (size_t k = 0; k < displaced.count; k++)
						told |= displaced.entry[k].first <= was->first &&
							displaced.entry[k].last >= was->first;
					CHECK(told, "[%#llx, %#llx] was displaced silently",
					      (unsigned long long)was->first, (unsigned long long)was->last);
				}
				model_copy(&world.model, &staged);
			} else {
				cleave_abort(&txn);
			}
			world_compare(&world);
			displaced_free(&displaced);
		}
		model_free(&staged);
		world_stop(&world);
		manual_stop(&manual);
	}
}

static void an_abort_leaves_no_trace(void **state)
{
	struct manual_domain manual;
	struct world world;
	struct model staged;
	uint64_t seed = test_seed();
	struct cleave_statistics before, after;

	(void)state;
	manual_start(&manual, GRACE_AT_ONCE, NULL, 100);
	world_start(&world, &manual.domain, &manual.self, &keyspaces[2], seed);
	for (int n = 0; n < 1000; n++)
		world_step(&world);
	model_init(&staged);
	for (uint64_t round = test_scaled(300); round; round--) {
		struct cleave_txn txn;
		uint64_t first = rng_below(&world.rng, 4096), last = rng_between(&world.rng, first, 4095);

		manual_enter(&manual);
		cleave_statistics_rcu(&world.index, &before);
		manual_leave(&manual);
		CHECK(cleave_begin(&txn, &world.index, &manual.self, first, last) == 0, "begin");
		stage(&world, &txn, &staged, first, last, rng_below(&world.rng, 50));
		cleave_abort(&txn);
		world_compare(&world);
		manual_enter(&manual);
		cleave_statistics_rcu(&world.index, &after);
		manual_leave(&manual);
		CHECK(!memcmp(&before, &after, sizeof(before)), "the tree has another shape");
	}
	model_free(&staged);
	world_stop(&world);
	manual_stop(&manual);
}

static void lookups_see_the_base_until_the_publication(void **state)
{
	struct manual_domain manual;
	struct cleave index;
	struct cleave_txn txn;
	struct cleave_entry entry;
	struct displaced displaced;
	void *const old = (void *)1, *const new = (void *)2;

	(void)state;
	displaced_init(&displaced);
	manual_start(&manual, GRACE_LATE, NULL, 100);
	assert_int_equal(cleave_init(&index, &manual.self), 0);
	assert_int_equal(cleave_store(&index, &manual.self, 100, 199, old, NULL), 0);
	assert_int_equal(cleave_begin(&txn, &index, &manual.self, 50, 250), 0);
	assert_int_equal(cleave_put(&txn, 120, 129, new), 0);
	assert_int_equal(cleave_put(&txn, 180, 220, NULL), 0);

	assert_ptr_equal(cleave_txn_lookup(&txn, 125, &entry), old);
	assert_int_equal(entry.first, 100);
	assert_int_equal(entry.last, 199);
	manual_enter(&manual);
	assert_ptr_equal(cleave_lookup_rcu(&index, 125, &entry), old);
	assert_int_equal(entry.first, 100);
	manual_leave(&manual);

	cleave_publish(&txn);
	manual_enter(&manual);
	assert_ptr_equal(cleave_lookup_rcu(&index, 125, &entry), new);
	assert_int_equal(entry.first, 120);
	assert_int_equal(entry.last, 129);
	assert_null(cleave_lookup_rcu(&index, 190, &entry));
	assert_int_equal(entry.first, 180);
	manual_leave(&manual);
	assert_int_equal(displaced.count, 0);

	cleave_end(&txn, &displaced.sink);
	assert_int_equal(displaced.count, 2);
	assert_int_equal(displaced.entry[0].first, 120);
	assert_int_equal(displaced.entry[0].last, 129);
	assert_int_equal(displaced.entry[1].first, 180);
	assert_int_equal(displaced.entry[1].last, 199);
	check_index(&index);
	displaced_free(&displaced);
	cleave_destroy(&index, &manual.self);
	manual_stop(&manual);
}

static void one_thread_holds_transactions_on_two_indexes(void **state)
{
	struct manual_domain manual;
	struct cleave one, two;
	struct cleave_txn txn_one, txn_two;
	struct cleave_entry entry;

	(void)state;
	manual_start(&manual, GRACE_LATE, NULL, 100);
	assert_int_equal(cleave_init(&one, &manual.self), 0);
	assert_int_equal(cleave_init(&two, &manual.self), 0);
	for (uint64_t i = 0; i < 50; i++) {
		assert_int_equal(cleave_begin(&txn_one, &one, &manual.self, 0, 10 * i), 0);
		assert_int_equal(cleave_begin(&txn_two, &two, &manual.self, 0, CLEAVE_LAST), 0);
		assert_int_equal(cleave_put(&txn_one, 10 * i, 10 * i, &one), 0);
		assert_int_equal(cleave_put(&txn_two, 10 * i, 10 * i + 3, &two), 0);
		/* In either order. */
		if (i & 1)
			cleave_commit(&txn_one, NULL);
		cleave_commit(&txn_two, NULL);
		if (!(i & 1))
			cleave_commit(&txn_one, NULL);
		check_index(&one);
		check_index(&two);
	}
	manual_enter(&manual);
	assert_ptr_equal(cleave_lookup_rcu(&one, 490, &entry), &one);
	assert_ptr_equal(cleave_lookup_rcu(&two, 493, &entry), &two);
	manual_leave(&manual);
	cleave_destroy(&one, &manual.self);
	cleave_destroy(&two, &manual.self);
	manual_stop(&manual);
}

static void begin_one(struct cleave_hold *hold, struct cleave_txn *txn, struct cleave *index,
		      struct cleave_thread *self, uint64_t at, bool holds)
{
	if (holds)
		cleave_hold_begin(hold, index, self, at);
	else
		assert_int_equal(cleave_begin(txn, index, self, at, at), 0);
}

/*
 * Holds, transactions and both, of one thread on two indexes: each begun first, and each ended first.  What they put is
 * not counted until they unlock (U8 in doc/memory-order.md): there need be no barrier between two puts.
 */
static void holds_and_transactions_end_in_any_order(void **state)
{
	struct manual_domain manual;
	struct cleave index[2];
	struct cleave_hold hold[2];
	struct cleave_txn txn[2];
	struct cleave_entry entry;
	uint64_t unlocks;

	(void)state;
	manual_start(&manual, GRACE_LATE, NULL, 100);
	assert_int_equal(cleave_init(&index[0], &manual.self), 0);
	assert_int_equal(cleave_init(&index[1], &manual.self), 0);
	for (uint64_t i = 0; i < 128; i++) {
		for (unsigned int k = 0; k < 2; k++)
			begin_one(&hold[k], &txn[k], &index[k], &manual.self, i, i >> k & 1);
		unlocks = manual.self.unlocks;
		for (unsigned int k = 0; k < 2; k++)
			assert_int_equal(i >> k & 1 ? cleave_hold_put(&hold[k], i, i, &index[k]) :
						      cleave_put(&txn[k], i, i, &index[k]), 0);
		for (unsigned int n = 0; n < 2; n++) {
			unsigned int k = n ^ (i >> 2 & 1);

			assert_int_equal(manual.self.unlocks, unlocks + n);
			if (i >> k & 1)
				cleave_hold_end(&hold[k]);
			else
				cleave_commit(&txn[k], NULL);
		}
		assert_int_equal(manual.self.unlocks, unlocks + 2);
		assert_null(manual.self.txns);
	}
	manual_enter(&manual);
	for (uint64_t i = 0; i < 128; i++)
		for (unsigned int k = 0; k < 2; k++)
			assert_ptr_equal(cleave_lookup_rcu(&index[k], i, &entry), &index[k]);
	manual_leave(&manual);
	for (unsigned int k = 0; k < 2; k++) {
		check_index(&index[k]);
		cleave_destroy(&index[k], &manual.self);
	}
	manual_stop(&manual);
}

/* Try forms do not count: a program may make any number of them in one section of its own. */
static void tries_are_not_counted(void **state)
{
	struct manual_domain manual;
	struct cleave index;
	struct cleave_entry entry;
	uint64_t unlocks;
	char value;

	(void)state;
	manual_start(&manual, GRACE_LATE, NULL, 100);
	assert_int_equal(cleave_init(&index, &manual.self), 0);
	unlocks = manual.self.unlocks;
	assert_int_equal(cleave_store(&index, &manual.self, 0, 999, &index, NULL), 0);
	assert_int_equal(manual.self.unlocks, unlocks + 1);
	assert_int_equal(cleave_reserve(&manual.self, 20), 0);
	manual_enter(&manual);
	for (uint64_t i = 100; i < 130; i++) { /* with copies and divisions */
		assert_int_equal(cleave_try_clip_rcu(&index, &manual.self, 2 * i), 0);
		assert_int_equal(cleave_try_store_rcu(&index, &manual.self, 2 * i, 2 * i, &value), 0);
		cleave_lookup_rcu(&index, 2 * i, &entry);
		assert_int_equal(cleave_try_replace_if_rcu(&index, &manual.self, &entry, &manual), 0);
	}
	assert_int_equal(manual.self.unlocks, unlocks + 1);
	manual_leave(&manual);
	assert_int_equal(cleave_clip(&index, &manual.self, 500), 0);
	assert_int_equal(manual.self.unlocks, unlocks + 2);
	cleave_destroy(&index, &manual.self);
	manual_stop(&manual);
}

/* ---- Neighbours ---- */

#define STRIPE 64
#define STRIPES_PER_WORKER 32

/* Stripes of all workers take turns, so that leaves are shared and gaps cross the borders. */
static void stripe_range(struct worker *worker, unsigned int workers, uint64_t *first, uint64_t *last)
{
	uint64_t stripe = rng_below(&worker->rng, STRIPES_PER_WORKER) * workers + worker->number;

	*first = stripe * STRIPE + rng_below(&worker->rng, STRIPE);
	*last = rng_between(&worker->rng, *first, stripe * STRIPE + STRIPE - 1);
}

#define NEIGHBOURS 3

static void neighbour(struct worker *worker)
{
	struct cleave *index = &worker->fixture->index;
	struct model model;

	model_init(&model);
	for (uint64_t n = test_scaled(8000); n; n--) {
		uint64_t first, last;
		struct cleave_txn txn;
		bool commit = !rng_one_in(&worker->rng, 5);

		stripe_range(worker, NEIGHBOURS, &first, &last);
		check_context("seed %#llx, worker %u, [%llu, %llu]", (unsigned long long)worker->fixture->seed,
			      worker->number, (unsigned long long)first, (unsigned long long)last);
		CHECK(cleave_begin(&txn, index, worker_self(worker), first, last) == 0, "begin");
		for (uint64_t puts = rng_below(&worker->rng, 6); puts; puts--) {
			uint64_t from = rng_between(&worker->rng, first, last);
			uint64_t to = rng_between(&worker->rng, from, last);
			uintptr_t value = rng_one_in(&worker->rng, 2) ? 0 : worker->number + 1;

			CHECK(cleave_put(&txn, from, to, (void *)value) == 0, "put");
			if (commit)
				model_store(&model, from, to, (void *)value, NULL);
		}
		if (commit)
			cleave_commit(&txn, NULL);
		else
			cleave_abort(&txn);

		cleave_section_enter(&worker->record);
		for (uint64_t addr = first; addr <= last; addr += 1 + rng_below(&worker->rng, 8)) {
			struct cleave_entry entry;
			const struct cleave_entry *want = model_at(&model, addr);

			CHECK(cleave_lookup_rcu(index, addr, &entry) == want->value, "value at %llu",
			      (unsigned long long)addr);
			if (want->value)
				CHECK(entry.first == want->first && entry.last == want->last, "range at %llu",
				      (unsigned long long)addr);
		}
		cleave_section_leave(&worker->record);
		cleave_section_quiescent(&worker->record);
	}
	model_free(&model);
}

static void neighbours_do_not_disturb_each_other(void **state)
{
	struct worker workers[NEIGHBOURS];
	struct fixture fixture;

	(void)state;
	fixture_start(&fixture, 0);
	workers_run(&fixture, workers, NEIGHBOURS, neighbour, NULL);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

/* Overlapping ranges: a transaction excludes all others from its range. */

#define COUNTERS 40
#define COUNTER_STEP 100

static void add_one_to_a_range(struct worker *worker)
{
	struct cleave *index = &worker->fixture->index;
	uint64_t *added = worker->context;

	for (uint64_t n = test_scaled(3000); n; n--) {
		uint64_t from = rng_below(&worker->rng, COUNTERS), to = rng_between(&worker->rng, from, COUNTERS - 1);
		struct cleave_txn txn;

		CHECK(cleave_begin(&txn, index, worker_self(worker), from * COUNTER_STEP, to * COUNTER_STEP) == 0,
		      "begin");
		for (uint64_t i = from; i <= to; i++) {
			struct cleave_entry entry;
			uintptr_t value = (uintptr_t)cleave_txn_lookup(&txn, i * COUNTER_STEP, &entry);

			CHECK(cleave_put(&txn, i * COUNTER_STEP, i * COUNTER_STEP, (void *)(value + 1)) == 0, "put");
			__atomic_fetch_add(&added[i], 1, __ATOMIC_RELAXED);
		}
		cleave_commit(&txn, NULL);
		cleave_section_quiescent(&worker->record);
	}
}

static void transactions_exclude_each_other_where_they_overlap(void **state)
{
	struct worker workers[4];
	struct fixture fixture;
	uint64_t added[COUNTERS] = { 0 };
	struct cleave_entry entry;

	(void)state;
	fixture_start(&fixture, 0);
	workers_run(&fixture, workers, 4, add_one_to_a_range, added);
	check_index(&fixture.index);
	cleave_section_enter(&fixture.main);
	for (uint64_t i = 0; i < COUNTERS; i++) {
		uintptr_t value = (uintptr_t)cleave_lookup_rcu(&fixture.index, i * COUNTER_STEP, &entry);

		CHECK(value == added[i], "counter %llu: %llu, should be %llu", (unsigned long long)i,
		      (unsigned long long)value, (unsigned long long)added[i]);
	}
	cleave_section_leave(&fixture.main);
	fixture_stop(&fixture);
}

/* ---- Readers ---- */

#define PAIR_LOW UINT64_C(1000)
#define PAIR_HIGH UINT64_C(900000)

struct pair {
	struct cleave_word32 stop;
	struct cleave_word seen;
};

static bool stopped(struct pair *pair)
{
	return __atomic_load_n(&pair->stop.word, __ATOMIC_ACQUIRE);
}

/* The pair always changes together; the value only grows. */
static void pair_writer(struct worker *worker)
{
	struct pair *pair = worker->context;

	for (uint64_t n = test_scaled(6000), value = 2; n; n--, value++) {
		struct cleave_txn txn;

		CHECK(cleave_begin(&txn, &worker->fixture->index, worker_self(worker), PAIR_LOW, PAIR_HIGH + 9) == 0,
		      "begin");
		CHECK(cleave_put(&txn, PAIR_LOW, PAIR_LOW + 9, (void *)(uintptr_t)value) == 0, "put");
		CHECK(cleave_put(&txn, PAIR_HIGH, PAIR_HIGH + 9, (void *)(uintptr_t)value) == 0, "put");
		if (rng_one_in(&worker->rng, 10)) {
			cleave_abort(&txn);
		} else if (rng_one_in(&worker->rng, 2)) {
			cleave_publish(&txn);
			cleave_end(&txn, NULL);
		} else {
			cleave_commit(&txn, NULL);
		}
		cleave_section_quiescent(&worker->record);
	}
	__atomic_store_n(&pair->stop.word, 1, __ATOMIC_RELEASE);
}

/* Makes and removes entries between the two, so that leaves and branches come and go. */
static void pair_neighbour(struct worker *worker)
{
	struct pair *pair = worker->context;

	while (!stopped(pair)) {
		uint64_t addr = PAIR_LOW + 10 + 4 * rng_below(&worker->rng, 200);

		CHECK(cleave_store(&worker->fixture->index, worker_self(worker), addr, addr + 2,
				   rng_one_in(&worker->rng, 2) ? NULL : worker, NULL) == 0,
		      "store");
		cleave_section_quiescent(&worker->record);
	}
}

struct pair_seen {
	uintptr_t low;
	uintptr_t high;
};

static bool pair_predicate(void *context, const struct cleave_entry *entry)
{
	struct pair_seen *seen = context;

	if (entry->first == PAIR_LOW)
		seen->low = (uintptr_t)entry->value;
	if (entry->first == PAIR_HIGH)
		seen->high = (uintptr_t)entry->value;
	return true;
}

static uintptr_t pair_value(struct worker *worker, uint64_t addr, struct cleave_ticket *ticket)
{
	struct cleave_entry entry;

	cleave_lookup_ticket_rcu(&worker->fixture->index, addr + 5, &entry, ticket);
	CHECK(entry.first == addr && entry.last == addr + 9, "torn: [%llu, %llu]", (unsigned long long)entry.first,
	      (unsigned long long)entry.last);
	return (uintptr_t)entry.value;
}

static void pair_reader(struct worker *worker)
{
	static struct cleave_ticket all_scratch[FIXTURE_THREADS][2000];
	struct pair *pair = worker->context;

	check_context("seed %#llx, reader", (unsigned long long)worker->fixture->seed);
	do {
		struct cleave_ticket low_ticket, high_ticket;
		struct pair_seen seen = { 0 };
		uintptr_t low, high, low_again;

		cleave_section_enter(&worker->record);
		low = pair_value(worker, PAIR_LOW, &low_ticket);
		high = pair_value(worker, PAIR_HIGH, &high_ticket);
		if (cleave_ticket_valid_rcu(&high_ticket) && cleave_ticket_valid_rcu(&low_ticket))
			CHECK(low == high, "half a transaction: %llu and %llu, tickets valid", (unsigned long long)low,
			      (unsigned long long)high);
		low_again = pair_value(worker, PAIR_LOW, &low_ticket);
		CHECK(low <= high && high <= low_again, "half a transaction: %llu, %llu, %llu", (unsigned long long)low,
		      (unsigned long long)high, (unsigned long long)low_again);
		if (cleave_covers_rcu(&worker->fixture->index, PAIR_LOW, PAIR_HIGH, pair_predicate, &seen, NULL,
				      all_scratch[worker->number], 2000) == 1) {
			CHECK(seen.low == seen.high, "covers saw half a transaction: %llu and %llu",
			      (unsigned long long)seen.low, (unsigned long long)seen.high);
			__atomic_fetch_add(&pair->seen.word, 1, __ATOMIC_RELAXED);
		}
		cleave_section_leave(&worker->record);
		cleave_section_quiescent(&worker->record);
		if (rng_one_in(&worker->rng, 50)) {
			CHECK(cleave_covers(&worker->fixture->index, worker_self(worker), PAIR_LOW, PAIR_HIGH,
					    pair_predicate, &seen, NULL) == 1,
			      "covers");
			CHECK(seen.low == seen.high, "covers saw half a transaction: %llu and %llu",
			      (unsigned long long)seen.low, (unsigned long long)seen.high);
		}
	} while (!stopped(pair));
}

static void readers_never_see_half_a_transaction(void **state)
{
	struct worker workers[4];
	struct fixture fixture;
	struct pair pair = { 0 };

	(void)state;
	fixture_start(&fixture, 0);
	/* Enough between the two that they are in leaves far apart. */
	for (uint64_t addr = PAIR_LOW + 1000; addr < PAIR_HIGH; addr += 5000)
		assert_int_equal(cleave_store(&fixture.index, &fixture.main.thread, addr, addr + 10, &pair, NULL), 0);
	assert_int_equal(cleave_store(&fixture.index, &fixture.main.thread, PAIR_LOW, PAIR_LOW + 9, (void *)1, NULL),
			 0);
	assert_int_equal(cleave_store(&fixture.index, &fixture.main.thread, PAIR_HIGH, PAIR_HIGH + 9, (void *)1, NULL),
			 0);
	worker_start(&workers[0], &fixture, 0, pair_reader, &pair);
	worker_start(&workers[1], &fixture, 1, pair_reader, &pair);
	worker_start(&workers[2], &fixture, 2, pair_neighbour, &pair);
	worker_start(&workers[3], &fixture, 3, pair_writer, &pair);
	for (unsigned int i = 0; i < 4; i++)
		worker_join(&workers[i]);
	printf("%llu answers of covers\n", (unsigned long long)pair.seen.word);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

/* A begin that cannot have its range says so inside a read section, and waits outside. */
static void try_begin_refuses(struct worker *worker)
{
	struct cleave_txn txn;
	int result;

	for (int n = 0; n < 100; n++) {
		cleave_section_enter(&worker->record);
		result = cleave_try_begin_rcu(&txn, &worker->fixture->index, worker_self(worker), 10, 20);
		cleave_section_leave(&worker->record);
		CHECK(result == -EAGAIN, "%d", result);
		cleave_section_enter(&worker->record);
		result = cleave_try_store_rcu(&worker->fixture->index, worker_self(worker), 12, 13, worker);
		cleave_section_leave(&worker->record);
		CHECK(result == -EAGAIN, "%d", result);
		cleave_section_quiescent(&worker->record);
	}
}

static void try_forms_refuse_a_locked_range(void **state)
{
	struct worker worker;
	struct fixture fixture;
	struct cleave_txn txn;

	(void)state;
	fixture_start(&fixture, 0);
	assert_int_equal(cleave_begin(&txn, &fixture.index, &fixture.main.thread, 0, 100), 0);
	workers_run(&fixture, &worker, 1, try_begin_refuses, NULL);
	cleave_abort(&txn);
	fixture_stop(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lookups_see_the_base_until_the_publication),
		cmocka_unit_test(one_thread_holds_transactions_on_two_indexes),
		cmocka_unit_test(holds_and_transactions_end_in_any_order),
		cmocka_unit_test(tries_are_not_counted),
		cmocka_unit_test(large_transactions_agree_with_the_model),
		cmocka_unit_test(an_abort_leaves_no_trace),
		cmocka_unit_test(try_forms_refuse_a_locked_range),
		cmocka_unit_test(neighbours_do_not_disturb_each_other),
		cmocka_unit_test(transactions_exclude_each_other_where_they_overlap),
		cmocka_unit_test(readers_never_see_half_a_transaction),
	};

	return RUN_TESTS(tests, argc, argv);
}
