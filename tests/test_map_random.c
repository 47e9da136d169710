/* SPDX-License-Identifier: ISC */
/*
 * Random calls to maps and to their plain models, compared after each (map_twins.h).  Then the same with every
 * allocation failing in turn.
 */
#include "map_twins.h"

/* CLEAVE_TEST_SCALE=1000 for a night. */
static void random_calls_agree_with_the_model(void **state)
{
	uint64_t seed = test_seed();
	static struct universe universe;

	(void)state;
	for (unsigned int kind = 0; kind < UNIVERSE_KINDS; kind++) {
		universe_start(&universe, kind, seed + kind);
		for (uint64_t step = 0; step < test_scaled(6000); step++)
			universe_step(&universe);
		printf("%s: %llu succeeded, EPERM %llu, EACCES %llu, EINVAL %llu, ENOMEM %llu, EFAULT %llu, EIO %llu, "
		       "ENOENT %llu, EEXIST %llu\n",
		       universe.kind, (unsigned long long)universe.results[0],
		       (unsigned long long)universe.results[EPERM], (unsigned long long)universe.results[EACCES],
		       (unsigned long long)universe.results[EINVAL], (unsigned long long)universe.results[ENOMEM],
		       (unsigned long long)universe.results[EFAULT], (unsigned long long)universe.results[EIO],
		       (unsigned long long)universe.results[ENOENT], (unsigned long long)universe.results[EEXIST]);
		universe_stop(&universe);
	}
}

static void calls_that_fail_change_nothing(void **state)
{
	uint64_t seed = test_seed(), failures = 0;
	static struct universe universe;

	(void)state;
	for (unsigned int kind = 0; kind < UNIVERSE_KINDS; kind++) {
		universe_start(&universe, kind, seed + kind);
		universe.inject = true;
		universe.domain.grace = GRACE_ON_DEMAND; /* nothing is reused, so that most changes allocate */
		for (uint64_t step = 0; step < test_scaled(400); step++)
			universe_step(&universe);
		failures += universe.failures;
		universe_stop(&universe);
	}
	printf("%llu failures\n", (unsigned long long)failures);
	assert_true(failures > 1000 || test_scaled(1000) < 1000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_calls_agree_with_the_model),
		cmocka_unit_test(calls_that_fail_change_nothing),
	};

	return RUN_TESTS(tests, argc, argv);
}
