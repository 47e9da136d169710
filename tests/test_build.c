/* SPDX-License-Identifier: ISC */
/* Indexes as a whole: bulk build, duplicate, destroy. */
#include "world.h"

static struct manual_domain manual;

static int setup(void **state)
{
	(void)state;
	manual_start(&manual, GRACE_LATE, NULL, 1000);
	return 0;
}

/* Checks that nothing leaked. */
static int teardown(void **state)
{
	(void)state;
	manual_stop(&manual);
	return 0;
}

/* A world to fill otherwise than by steps. */
static void start_empty(struct world *world)
{
	static const struct keyspace any = { "all addresses", 0, 0, 1, 0 };

	world_start(world, &manual.domain, &manual.self, &any, 1);
}

static void build_and_compare(const struct cleave_entry *entries, size_t n)
{
	struct world world;

	check_context("%zu entries", n);
	start_empty(&world);
	assert_int_equal(cleave_build(&world.index, &manual.self, entries, n), 0);
	for (size_t i = 0; i < n; i++)
		model_store(&world.model, entries[i].first, entries[i].last, entries[i].value, NULL);
	world_compare(&world);

	/* It is an index like any other. */
	world.space = &keyspaces[2];
	world.rng.state = n;
	for (int step = 0; step < 20; step++)
		world_step(&world);
	world_compare(&world);
	world_stop(&world);
}

static void builds_of_every_small_size(void **state)
{
	struct rng rng = { .state = test_seed() };
	struct cleave_entry entry[700];

	(void)state;
	for (size_t n = 0; n <= 700; n += n < 40 ? 1 : 1 + rng_below(&rng, 60)) {
		for (uint64_t gaps = 0; gaps < 3; gaps++) {
			uint64_t at = gaps == 2 ? 5 : 0;

			for (size_t i = 0; i < n; i++) {
				entry[i].first = at + (gaps ? rng_below(&rng, 3) : 0);
				entry[i].last = entry[i].first + rng_below(&rng, 5);
				entry[i].value = (void *)(uintptr_t)(1 + rng_below(&rng, 3));
				at = entry[i].last + 1;
			}
			if (n && gaps == 1)
				entry[n - 1].last = CLEAVE_LAST;
			build_and_compare(entry, n);
		}
	}
}

static void a_build_fills_leaves_densely(void **state)
{
	const size_t n = 10000;
	struct cleave_entry *entry = malloc(n * sizeof(*entry));
	struct cleave_statistics built, inserted;
	struct cleave index, other;

	(void)state;
	assert_non_null(entry);
	for (size_t i = 0; i < n; i++)
		entry[i] = (struct cleave_entry){ 10 * i, 10 * i + 9, entry };
	assert_int_equal(cleave_init(&index, &manual.self), 0);
	assert_int_equal(cleave_init(&other, &manual.self), 0);
	assert_int_equal(cleave_build(&index, &manual.self, entry, n), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(cleave_insert(&other, &manual.self, entry[i].first, entry[i].last, entry, NULL), 0);
	check_index(&index);
	manual_enter(&manual);
	cleave_statistics_rcu(&index, &built);
	cleave_statistics_rcu(&other, &inserted);
	manual_leave(&manual);
	assert_int_equal(built.entries, n);
	assert_int_equal(inserted.entries, n);
	assert_true(built.leaves <= inserted.leaves);
	assert_true(built.bytes <= inserted.bytes);
	assert_true(built.leaves < n / 6);
	cleave_destroy(&index, &manual.self);
	cleave_destroy(&other, &manual.self);
	free(entry);
}

static void bad_builds_are_refused(void **state)
{
	static const struct cleave_entry good[] = { { 10, 19, &manual }, { 20, 29, &manual } };
	static const struct cleave_entry bad[][2] = {
		{ { 20, 29, &manual }, { 10, 19, &manual } }, { { 10, 20, &manual }, { 20, 29, &manual } },
		{ { 10, 19, &manual }, { 29, 20, &manual } }, { { 10, 19, &manual }, { 20, 29, NULL } },
		{ { 19, 10, &manual }, { 20, 29, &manual } }, { { 0, CLEAVE_LAST, &manual }, { 0, 0, &manual } },
		{ { 10, 19, &manual }, { 10, 19, &manual } },
	};
	struct world world;

	(void)state;
	start_empty(&world);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		check_context("bad build %zu", i);
		assert_int_equal(cleave_build(&world.index, &manual.self, bad[i], 2), -EINVAL);
		world_compare(&world);
	}
	assert_int_equal(cleave_build(&world.index, &manual.self, good, 2), 0);
	model_store(&world.model, 10, 19, &manual, NULL);
	model_store(&world.model, 20, 29, &manual, NULL);
	world_compare(&world);
	assert_int_equal(cleave_build(&world.index, &manual.self, good, 2), -EEXIST);
	world_compare(&world);
	world_stop(&world);
}

/* ---- Duplicates ---- */

struct counting_copier {
	struct cleave_copier copier;
	uint64_t copied;
	uint64_t undone;
	uint64_t fail_at; /* this copy fails */
	uint64_t skip;	  /* every so many become gaps */
	char *made;	  /* values: one byte each, so that each is undone once */
};

static int copy_value(struct cleave_copier *copier, const struct cleave_entry *entry, void **value)
{
	struct counting_copier *counting = (struct counting_copier *)copier;

	CHECK(entry->value != NULL, "a gap has no value to copy");
	if (counting->copied == counting->fail_at)
		return -EPERM;
	if (counting->skip && counting->copied % counting->skip == 0) {
		counting->made[counting->copied++] = 2;
		*value = NULL;
		return 0;
	}
	counting->made[counting->copied] = 1;
	*value = &counting->made[counting->copied++];
	return 0;
}

static void undo_value(struct cleave_copier *copier, const struct cleave_entry *made)
{
	struct counting_copier *counting = (struct counting_copier *)copier;
	char *value = made->value;

	CHECK(value >= counting->made && value < counting->made + counting->copied && *value == 1,
	      "undo of what was not made, or twice");
	*value = 0;
	counting->undone++;
}

static void fill(struct world *world, uint64_t seed, unsigned int steps)
{
	world_start(world, &manual.domain, &manual.self, &keyspaces[2], seed);
	while (steps--)
		world_step(world);
}

static void a_duplicate_shares_values_without_a_copier(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned int steps = 0; steps < 600; steps += 1 + steps / 2) {
		struct world from, to;

		fill(&from, seed, steps);
		start_empty(&to);
		assert_int_equal(cleave_duplicate(&to.index, &from.index, &manual.self, NULL), 0);
		model_copy(&to.model, &from.model);
		world_compare(&to);
		if (model_entries(&to.model))
			assert_int_equal(cleave_duplicate(&to.index, &from.index, &manual.self, NULL), -EEXIST);
		world_compare(&to);
		world_compare(&from);

		/* Each goes its own way. */
		to.space = from.space;
		world_step(&to);
		world_compare(&from);
		world_step(&from);
		world_compare(&to);
		world_stop(&from);
		world_stop(&to);
	}
}

static void a_failing_copier_undoes_what_it_made(void **state)
{
	static char made[4096];
	struct counting_copier copier = { .copier = { copy_value, undo_value }, .made = made };
	uint64_t seed = test_seed(), entries;
	struct world from, to;

	(void)state;
	fill(&from, seed, 200);
	while (model_entries(&from.model) <= 10)
		world_step(&from);
	entries = model_entries(&from.model);
	start_empty(&to);
	for (uint64_t k = 0; k < entries; k++) {
		copier.copied = copier.undone = 0;
		copier.skip = k % 4;
		copier.fail_at = k;
		assert_int_equal(cleave_duplicate(&to.index, &from.index, &manual.self, &copier.copier), -EPERM);
		for (uint64_t i = 0; i < k; i++)
			CHECK(made[i] != 1, "value %llu of %llu was not undone", (unsigned long long)i,
			      (unsigned long long)k);
		world_compare(&to);
	}
	world_compare(&from);

	/* And once without a failure; what the copier skips is a gap. */
	copier.copied = copier.undone = 0;
	copier.skip = 3;
	copier.fail_at = UINT64_MAX;
	assert_int_equal(cleave_duplicate(&to.index, &from.index, &manual.self, &copier.copier), 0);
	assert_int_equal(copier.copied, entries);
	assert_int_equal(copier.undone, 0);
	for (size_t i = 0, k = 0; i < from.model.count; i++) {
		const struct cleave_entry *cell = &from.model.cell[i];

		if (!cell->value)
			continue;
		if (k % 3)
			model_store(&to.model, cell->first, cell->last, &made[k], NULL);
		k++;
	}
	world_compare(&to);
	world_stop(&from);
	world_stop(&to);
}

static void destroy_frees_indexes_of_every_size(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned int steps = 0; steps < 2000; steps = 2 * steps + 1) {
		struct world world;

		fill(&world, seed + steps, steps);
		world_stop(&world);
	}
}

#define WITH_DOMAIN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* However little it has: a lone leaf that begins with a gap, or one entry over all addresses. */
static void an_index_with_one_entry_is_not_empty(void **state)
{
	const struct cleave_entry good[] = { { 10, 19, &manual } };
	const struct cleave_entry there[] = { { 5, 9, &manual }, { 0, 9, &manual }, { 0, CLEAVE_LAST, &manual } };

	(void)state;
	for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++) {
		struct world world;

		check_context("entry %zu", i);
		start_empty(&world);
		assert_int_equal(cleave_insert(&world.index, &manual.self, there[i].first, there[i].last,
					       there[i].value, NULL),
				 0);
		model_store(&world.model, there[i].first, there[i].last, there[i].value, NULL);
		assert_int_equal(cleave_build(&world.index, &manual.self, good, 1), -EEXIST);
		world_compare(&world);
		world_stop(&world);
	}
}

/* A published transaction only waits for its end. */
static void a_put_after_the_publication_is_refused(void **state)
{
	struct cleave_txn txn;
	struct world world;

	(void)state;
	start_empty(&world);
	assert_int_equal(cleave_begin(&txn, &world.index, &manual.self, 10, 29), 0);
	assert_int_equal(cleave_put(&txn, 10, 19, &manual), 0);
	cleave_publish(&txn);
	assert_int_equal(cleave_put(&txn, 20, 29, &manual), -EINVAL);
	cleave_end(&txn, NULL);
	model_store(&world.model, 10, 19, &manual, NULL);
	world_compare(&world);
	world_stop(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_DOMAIN(builds_of_every_small_size),
		WITH_DOMAIN(a_build_fills_leaves_densely),
		WITH_DOMAIN(bad_builds_are_refused),
		WITH_DOMAIN(an_index_with_one_entry_is_not_empty),
		WITH_DOMAIN(a_put_after_the_publication_is_refused),
		WITH_DOMAIN(a_duplicate_shares_values_without_a_copier),
		WITH_DOMAIN(a_failing_copier_undoes_what_it_made),
		WITH_DOMAIN(destroy_frees_indexes_of_every_size),
	};

	return RUN_TESTS(tests, argc, argv);
}
