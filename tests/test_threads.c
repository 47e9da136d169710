/* SPDX-License-Identifier: ISC */
/*
 * Writers on stripes of their own, each checked by a model, beside readers that know what a stripe may hold.  Built for
 * each flavour of read sections.
 */
#include "fixture.h"
#include "model.h"

#include <sched.h>

#define WRITERS 3
#define READERS 2
#define STRIPE UINT64_C(32)
#define STRIPES 64 /* of each writer; those of all writers take turns, so that they share leaves and gaps */
#define TOP (STRIPE * STRIPES * WRITERS)

struct town {
	struct cleave_word32 writing; /* writers still at work */
	struct cleave_word answers;
	struct cleave_word covered;
};

static uint64_t stripe_of(uint64_t addr)
{
	return addr / STRIPE;
}

/* A value tells its stripe. */
static void *value_for(uint64_t addr, struct rng *rng)
{
	return (void *)(uintptr_t)(1 + (stripe_of(addr) << 8) + rng_below(rng, 3));
}

static bool value_belongs(void *value, uint64_t addr)
{
	return ((uintptr_t)value >> 8) == stripe_of(addr);
}

static int write_randomly(struct worker *worker, struct model *model, uint64_t first, uint64_t last)
{
	struct cleave *index = &worker->fixture->index;
	struct cleave_thread *self = worker_self(worker);
	void *value = value_for(first, &worker->rng);
	struct cleave_entry got = *model_at(model, first), want = got;
	struct displaced displaced, want_displaced;
	struct cleave_txn txn;
	int result, expected;

	displaced_init(&displaced);
	displaced_init(&want_displaced);
	switch (rng_below(&worker->rng, 9)) {
	case 0:
		result = cleave_insert(index, self, first, last, value, &got);
		expected = model_insert(model, first, last, value, &want);
		CHECK(result != -EEXIST || (got.first == want.first && got.last == want.last), "conflict");
		break;
	case 1:
	case 2:
		result = cleave_store(index, self, first, last, value, &displaced.sink);
		expected = model_store(model, first, last, value, &want_displaced);
		break;
	case 3:
		result = cleave_erase(index, self, first, last, &displaced.sink);
		expected = model_store(model, first, last, NULL, &want_displaced);
		break;
	case 4:
		result = cleave_clip(index, self, first);
		expected = model_clip(model, first);
		break;
	case 5:
		result = cleave_unclip(index, self, first);
		expected = model_unclip(model, first);
		break;
	case 6:
		if (!got.value)
			return 0;
		result = cleave_replace_if(index, self, &got, value);
		expected = model_replace_if(model, &want, value);
		break;
	case 7:
		cleave_section_enter(&worker->record);
		result = cleave_try_store_rcu(index, self, first, last, value);
		cleave_section_leave(&worker->record);
		expected = result == -EAGAIN ? -EAGAIN : model_store(model, first, last, value, NULL);
		break;
	default:
		expected = 0;
		result = cleave_begin(&txn, index, self, first, last);
		CHECK(result == 0, "begin: %d", result);
		CHECK(cleave_put(&txn, first, last, NULL) == 0, "put");
		CHECK(cleave_put(&txn, last, last, value) == 0, "put");
		if (rng_one_in(&worker->rng, 4)) {
			cleave_abort(&txn);
			break;
		}
		cleave_commit(&txn, NULL);
		model_store(model, first, last, NULL, NULL);
		model_store(model, last, last, value, NULL);
		break;
	}
	CHECK(result == expected, "returned %d, should be %d", result, expected);
	CHECK(displaced.count == want_displaced.count, "%zu displaced, should be %zu", displaced.count,
	      want_displaced.count);
	for (size_t i = 0; i < displaced.count; i++)
		CHECK(displaced.entry[i].first == want_displaced.entry[i].first &&
			      displaced.entry[i].last == want_displaced.entry[i].last &&
			      displaced.entry[i].value == want_displaced.entry[i].value,
		      "displaced entry %zu", i);
	displaced_free(&displaced);
	displaced_free(&want_displaced);
	return result;
}

/* Entries agree exactly; gaps as far as the stripe reaches. */
static void compare_stripe(struct worker *worker, const struct model *model, uint64_t stripe)
{
	uint64_t first = stripe * STRIPE, last = first + (STRIPE - 1);

	cleave_section_enter(&worker->record);
	for (uint64_t addr = first; addr <= last;) {
		const struct cleave_entry *want = model_at(model, addr);
		struct cleave_entry entry;

		cleave_lookup_rcu(&worker->fixture->index, addr, &entry);
		CHECK(entry.value == want->value, "value at %llu: %p, should be %p", (unsigned long long)addr,
		      entry.value, want->value);
		if (want->value)
			CHECK(entry.first == want->first && entry.last == want->last,
			      "at %llu: [%llu, %llu], should be [%llu, %llu]", (unsigned long long)addr,
			      (unsigned long long)entry.first, (unsigned long long)entry.last,
			      (unsigned long long)want->first, (unsigned long long)want->last);
		else
			CHECK((entry.first > first ? entry.first : first) ==
					      (want->first > first ? want->first : first) &&
				      (entry.last < last ? entry.last : last) ==
					      (want->last < last ? want->last : last),
			      "gap at %llu: [%llu, %llu]", (unsigned long long)addr, (unsigned long long)entry.first,
			      (unsigned long long)entry.last);
		if (want->last >= last)
			break;
		addr = want->last + 1;
	}
	cleave_section_leave(&worker->record);
}

static void writer(struct worker *worker)
{
	struct town *town = worker->context;
	struct model model;

	model_init(&model);
	for (uint64_t n = test_scaled(40000); n; n--) {
		uint64_t stripe = rng_below(&worker->rng, STRIPES) * WRITERS + worker->number;
		uint64_t first = stripe * STRIPE + rng_below(&worker->rng, STRIPE);
		uint64_t last = rng_between(&worker->rng, first, stripe * STRIPE + (STRIPE - 1));

		check_context("seed %#llx, writer %u, %llu left, [%llu, %llu]",
			      (unsigned long long)worker->fixture->seed, worker->number, (unsigned long long)n,
			      (unsigned long long)first, (unsigned long long)last);
		write_randomly(worker, &model, first, last);
		compare_stripe(worker, &model, stripe);
		cleave_section_quiescent(&worker->record);
	}
	for (uint64_t i = 0; i < STRIPES; i++)
		compare_stripe(worker, &model, i * WRITERS + worker->number);
	model_free(&model);
	__atomic_fetch_sub(&town->writing.word, 1, __ATOMIC_RELEASE);
}

static bool belongs(void *context, const struct cleave_entry *entry)
{
	(void)context;
	return !entry->value || (value_belongs(entry->value, entry->first) && value_belongs(entry->value, entry->last));
}

/* A lookup's whole answer is of one instant, and a valid ticket says that it still holds. */
static void reader(struct worker *worker)
{
	struct cleave *index = &worker->fixture->index;
	struct town *town = worker->context;
	uint64_t answers = 0, covered = 0;

	check_context("seed %#llx, reader", (unsigned long long)worker->fixture->seed);
	do {
		uint64_t addr = rng_below(&worker->rng, TOP), last;
		struct cleave_entry entry, again;
		struct cleave_ticket ticket, scratch[64];

		cleave_section_enter(&worker->record);
		cleave_lookup_ticket_rcu(index, addr, &entry, &ticket);
		CHECK(entry.first <= addr && addr <= entry.last, "[%llu, %llu] does not hold %llu",
		      (unsigned long long)entry.first, (unsigned long long)entry.last, (unsigned long long)addr);
		CHECK(belongs(NULL, &entry), "%p in [%llu, %llu]", entry.value, (unsigned long long)entry.first,
		      (unsigned long long)entry.last);
		cleave_lookup_rcu(index, addr, &again);
		if (cleave_ticket_valid_rcu(&ticket))
			CHECK(entry.first == again.first && entry.last == again.last && entry.value == again.value,
			      "the ticket is valid, the entry is another");
		answers++;

		last = rng_between(&worker->rng, addr, addr + 200);
		switch (cleave_covers_rcu(index, addr, last, belongs, NULL, &entry, scratch, 64)) {
		case 0:
			CHECK(false, "%p in [%llu, %llu]", entry.value, (unsigned long long)entry.first,
			      (unsigned long long)entry.last);
			break;
		case 1:
			covered++;
			break;
		}
		cleave_section_leave(&worker->record);
		cleave_section_quiescent(&worker->record);
	} while (__atomic_load_n(&town->writing.word, __ATOMIC_ACQUIRE));
	__atomic_fetch_add(&town->answers.word, answers, __ATOMIC_RELAXED);
	__atomic_fetch_add(&town->covered.word, covered, __ATOMIC_RELAXED);
}

static void writers_agree_with_their_models_beside_readers(void **state)
{
	struct worker workers[WRITERS + READERS];
	struct fixture fixture;
	struct town town = { .writing = { WRITERS } };

	(void)state;
	/* A small limit: some updates wait for grace periods. */
	fixture_start(&fixture, 2000);
	for (unsigned int i = 0; i < WRITERS + READERS; i++)
		worker_start(&workers[i], &fixture, i, i < WRITERS ? writer : reader, &town);
	for (unsigned int i = 0; i < WRITERS + READERS; i++)
		worker_join(&workers[i]);
	printf("%llu lookups, %llu answers of covers\n", (unsigned long long)town.answers.word,
	       (unsigned long long)town.covered.word);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

/* Threads come and go; what they leave behind is used by others, and freed in the end. */
static void short_lived(struct worker *worker)
{
	for (int i = 0; i < 50; i++) {
		uint64_t first = rng_below(&worker->rng, 5000);

		CHECK(cleave_store(&worker->fixture->index, worker_self(worker), first,
				   first + rng_below(&worker->rng, 10), rng_one_in(&worker->rng, 3) ? NULL : worker,
				   NULL) == 0,
		      "store");
		cleave_section_quiescent(&worker->record);
	}
}

static void threads_come_and_go(void **state)
{
	static struct worker workers[200]; /* records of ck stay where they are until the end */
	struct fixture fixture;

	(void)state;
	fixture_start(&fixture, 500);
	for (unsigned int n = 0; n < 200; n += 4)
		workers_run(&fixture, &workers[n], 4, short_lived, NULL);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

/* replace_if by several threads: every increment counts once. */
static void increment(struct worker *worker)
{
	struct cleave *index = &worker->fixture->index;

	for (uint64_t n = test_scaled(20000); n; n--) {
		struct cleave_entry entry;
		int result;

		cleave_section_enter(&worker->record);
		cleave_lookup_rcu(index, 10, &entry);
		cleave_section_leave(&worker->record);
		do {
			result = cleave_replace_if(index, worker_self(worker), &entry,
						   (void *)((uintptr_t)entry.value + 1));
			CHECK(result == 0 || result == -ENOENT, "%d", result);
		} while (result);
		cleave_section_quiescent(&worker->record);
	}
}

static void every_replace_if_counts_once(void **state)
{
	struct worker workers[3];
	struct fixture fixture;
	struct cleave_entry entry;

	(void)state;
	fixture_start(&fixture, 0);
	assert_int_equal(cleave_store(&fixture.index, &fixture.main.thread, 5, 15, (void *)1, NULL), 0);
	workers_run(&fixture, workers, 3, increment, NULL);
	cleave_section_enter(&fixture.main);
	assert_int_equal((uintptr_t)cleave_lookup_rcu(&fixture.index, 7, &entry), 1 + 3 * test_scaled(20000));
	cleave_section_leave(&fixture.main);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

/* Of several inserts into one gap one wins. */

#define CLAIMS 4000

static void claim(struct worker *worker)
{
	struct cleave_word *won = worker->context;

	for (uint64_t i = 0; i < CLAIMS; i++) {
		int result =
			cleave_insert(&worker->fixture->index, worker_self(worker), 8 * i, 8 * i + 5, worker, NULL);

		CHECK(result == 0 || result == -EEXIST, "%d", result);
		if (result == 0)
			__atomic_fetch_add(&won->word, 1, __ATOMIC_RELAXED);
		cleave_section_quiescent(&worker->record);
	}
}

static void one_of_several_inserts_wins(void **state)
{
	struct worker workers[3];
	struct fixture fixture;
	struct cleave_word won = { 0 };

	(void)state;
	fixture_start(&fixture, 0);
	workers_run(&fixture, workers, 3, claim, &won);
	assert_int_equal(won.word, CLAIMS);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

/*
 * Clip and undo rewrite no cell that a reader may see, and restore the same live cells: the order word must differ all
 * the same, or a reader that collects words over several leaves accepts a state that never was (leaf.h, invariant 3).
 */
struct handshake {
	struct cleave_word32 turn; /* 0 the reader looks, 1 the writer changes, 2 the reader validates */
	uint64_t rounds;
};

static void await(struct handshake *handshake, uint32_t turn)
{
	while (__atomic_load_n(&handshake->turn.word, __ATOMIC_ACQUIRE) != turn)
		sched_yield();
}

static void pass(struct handshake *handshake, uint32_t turn)
{
	__atomic_store_n(&handshake->turn.word, turn, __ATOMIC_RELEASE);
}

static void hold_a_ticket(struct worker *worker)
{
	struct handshake *handshake = worker->context;

	for (uint64_t round = 0; round < handshake->rounds; round++) {
		struct cleave_entry entry;
		struct cleave_ticket ticket;

		cleave_section_enter(&worker->record);
		cleave_lookup_ticket_rcu(&worker->fixture->index, 50, &entry, &ticket);
		CHECK(cleave_ticket_valid_rcu(&ticket), "nothing has changed");
		pass(handshake, 1);
		await(handshake, 2);
		CHECK(!cleave_ticket_valid_rcu(&ticket), "round %llu: a clip and its undoing went unnoticed",
		      (unsigned long long)round);
		cleave_section_leave(&worker->record);
		cleave_section_quiescent(&worker->record);
		pass(handshake, 0);
	}
}

static void a_clip_and_its_undoing_end_a_ticket(void **state)
{
	struct handshake handshake = { .rounds = 200 };
	struct worker worker;
	struct fixture fixture;

	(void)state;
	fixture_start(&fixture, 0);
	CHECK(cleave_store(&fixture.index, &fixture.main.thread, 0, 99, &fixture, NULL) == 0, "store");
	worker_start(&worker, &fixture, 0, hold_a_ticket, &handshake);
	for (uint64_t round = 0; round < handshake.rounds; round++) {
		await(&handshake, 1);
		for (uint64_t n = 0; n <= round % 20; n++) {
			CHECK(cleave_clip(&fixture.index, &fixture.main.thread, 40 + n) == 0, "clip");
			CHECK(cleave_unclip(&fixture.index, &fixture.main.thread, 40 + n) == 0, "unclip");
		}
		pass(&handshake, 2);
		if (round + 1 < handshake.rounds)
			cleave_section_quiescent(&fixture.main);
	}
	worker_join(&worker);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clip_and_its_undoing_end_a_ticket),
		cmocka_unit_test(one_of_several_inserts_wins),
		cmocka_unit_test(every_replace_if_counts_once),
		cmocka_unit_test(threads_come_and_go),
		cmocka_unit_test(writers_agree_with_their_models_beside_readers),
	};

	return RUN_TESTS(tests, argc, argv);
}
