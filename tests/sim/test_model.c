/* SPDX-License-Identifier: ISC */
/* The judge of the simulator's executions: it refuses what no order explains, and nothing else. */
#include "model.h"

#include "../support.h"

#define MOST_CALLS 10u

/* Calls of threads that know nothing of each other, and the index at the end. */
struct history {
	struct model start;
	struct call calls[MOST_CALLS];
	struct answer answers[MOST_CALLS];
	struct answer end;
	struct item items[MOST_CALLS + 1];
	unsigned int n;
};

static void begin(struct history *history)
{
	memset(history, 0, sizeof(*history));
	model_init(&history->start);
}

static void add(struct history *history, enum kind kind, unsigned int first, unsigned int last, unsigned int value)
{
	history->calls[history->n] =
		(struct call){ .kind = kind, .first = (uint8_t)first, .last = (uint8_t)last, .value = (uint8_t)value };
	history->items[history->n] =
		(struct item){ &history->calls[history->n], &history->answers[history->n], 0, 0, 0 };
	history->n++;
}

/* What a lookup finds in `model`. */
static void add_lookup(struct history *history, const struct model *model, unsigned int unit)
{
	add(history, LOOKUP, unit, unit, 0);
	model_entry(model, unit, &history->answers[history->n - 1].entries[0]);
}

/* Call k comes after call j. */
static void order(struct history *history, unsigned int j, unsigned int k)
{
	history->items[k].before |= UINT32_C(1) << j;
}

static bool explained(struct history *history, const struct model *end)
{
	uint64_t at = 0;

	do {
		struct cleave_entry *entry = &history->end.entries[history->end.n++];

		model_entry(end, at >= UNITS - 1 ? UNITS - 1 : (unsigned int)at, entry);
		at = entry->last + 1;
	} while (at != 0);
	history->items[history->n] =
		(struct item){ NULL, &history->end, 0, (uint32_t)((UINT64_C(1) << history->n) - 1), 0 };
	return linearizable(&history->start, history->items, history->n + 1);
}

/*
 * The first of two stores is the later one.  Found only after the other order failed, whose states must not be taken
 * for those of this one: the values of the lowest units may differ by as much as the numbers of the calls.
 */
static void two_stores_in_the_other_order(void **state)
{
	(void)state;
	for (unsigned int unit = 0; unit < 4; unit++)
		for (unsigned int a = 1; a < 64; a++)
			for (unsigned int b = 1; b < 64; b++) {
				struct history history;
				struct model end;

				begin(&history);
				add(&history, TRY_STORE, unit, unit, a);
				add(&history, TRY_STORE, unit, unit, b);
				end = history.start;
				model_put(&end, unit, unit, a);
				CHECK(explained(&history, &end), "unit %u, values %u and %u", unit, a, b);
			}
}

/* What was made by calls one after the other has that order. */
static void any_sequence_is_explained(void **state)
{
	struct rng rng = { .state = test_seed() };

	(void)state;
	for (uint64_t n = test_scaled(20000); n; n--) {
		struct history history;
		struct model models[MOST_CALLS + 1];
		unsigned int calls = 2 + (unsigned int)rng_below(&rng, 6), sequence[MOST_CALLS];

		begin(&history);
		for (unsigned int i = 0; i < calls; i++)
			sequence[i] = i;
		for (unsigned int i = calls; i > 1; i--) {
			unsigned int k = (unsigned int)rng_below(&rng, i), swapped = sequence[k];

			sequence[k] = sequence[i - 1];
			sequence[i - 1] = swapped;
		}
		for (unsigned int i = 0; i < calls; i++) {
			unsigned int first = (unsigned int)rng_below(&rng, 6);

			add(&history, TRY_STORE, first, first + (unsigned int)rng_below(&rng, 3),
			    1 + (unsigned int)rng_below(&rng, 40));
		}
		models[0] = history.start;
		for (unsigned int i = 0; i < calls; i++) {
			const struct call *call = &history.calls[sequence[i]];

			models[i + 1] = models[i];
			model_put(&models[i + 1], call->first, call->last, call->value);
		}
		for (unsigned int i = 0; i < 3; i++)
			add_lookup(&history, &models[rng_below(&rng, calls + 1)], (unsigned int)rng_below(&rng, 8));
		CHECK(explained(&history, &models[calls]), "%llu sequences were left", (unsigned long long)n);
	}
}

static void what_no_order_explains(void **state)
{
	struct history history;
	struct model middle, end;

	(void)state;
	begin(&history);
	middle = history.start;
	model_put(&middle, 8, 9, 5);
	end = middle;
	model_put(&end, 9, 9, 6);

	/* A store that is lost. */
	add(&history, TRY_STORE, 8, 9, 5);
	add(&history, TRY_STORE, 9, 9, 6);
	order(&history, 0, 1);
	assert_false(explained(&history, &middle));

	/* The same, and a lookup of what was before, by who has seen the second store. */
	begin(&history);
	add(&history, TRY_STORE, 8, 9, 5);
	add(&history, TRY_STORE, 9, 9, 6);
	add_lookup(&history, &middle, 9);
	order(&history, 0, 1);
	assert_true(explained(&history, &end));
	history.end.n = 0;
	order(&history, 1, 2);
	assert_false(explained(&history, &end));

	/* Two lookups that see two stores in different orders. */
	begin(&history);
	add(&history, TRY_STORE, 8, 8, 5);
	add(&history, TRY_STORE, 9, 9, 6);
	middle = end = history.start;
	model_put(&middle, 8, 8, 5);
	add_lookup(&history, &middle, 8);
	add_lookup(&history, &middle, 9);
	order(&history, 2, 3);
	model_put(&end, 9, 9, 6);
	add_lookup(&history, &end, 9);
	add_lookup(&history, &end, 8);
	order(&history, 4, 5);
	model_put(&end, 8, 8, 5);
	assert_false(explained(&history, &end));
}

/* "No room" means that there was none for the whole call: what is free at its end only is not enough. */
static void room_for_the_whole_call(void **state)
{
	(void)state;
	for (unsigned int filled_first = 0; filled_first < 2; filled_first++) {
		struct history history;
		struct model end;

		begin(&history);
		model_put(&history.start, 0, 7, 1);
		model_put(&history.start, 12, 63, 1);
		add(&history, FIND, 0, 62, 0);
		add(&history, FIND, 0, 62, 0);
		add(&history, FIND, 0, 62, 0);
		for (unsigned int part = 0; part < 3; part++) {
			history.calls[part].n = 4;
			history.answers[part].error = -ENOSPC;
			history.items[part].part = part;
			if (part > 0)
				order(&history, part - 1, part);
		}
		add(&history, TRY_STORE, 8, 11, 2);
		order(&history, filled_first ? 3 : 2, filled_first ? 0 : 3);
		end = history.start;
		model_put(&end, 8, 11, 2);
		assert_int_equal(explained(&history, &end), filled_first);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_stores_in_the_other_order),
		cmocka_unit_test(any_sequence_is_explained),
		cmocka_unit_test(what_no_order_explains),
		cmocka_unit_test(room_for_the_whole_call),
	};

	return RUN_TESTS(tests, argc, argv);
}
