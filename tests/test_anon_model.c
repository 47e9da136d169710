/* SPDX-License-Identifier: ISC */
/* Random changes of stores and of plain arrays, compared again and again (anon_twins.h). */
#include "anon_twins.h"

static void stores_agree_with_arrays(void **state)
{
	uint64_t seed = test_seed();
	bool in_place = false, copied = false, walked = false;

	(void)state;
	for (unsigned int round = 0; round < 15; round++) {
		anon_twins_start((enum grace)(round % 3), round % STRIDES, seed + round);
		for (uint64_t i = test_scaled(6000); i > 0; i--) {
			check_context("seed %#llx, round %u, %llu steps to go", LL(seed), round, LL(i));
			anon_twins_step();
			if (i % 64 == 0)
				anon_twins_compare();
		}
		anon_twins_compare();
		in_place |= it.in_place != 0;
		copied |= it.copied != 0;
		walked |= it.walked != 0;
		anon_twins_stop();
	}
	CHECK(in_place && copied && walked, "nothing was reached");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(stores_agree_with_arrays) };

	return RUN_TESTS(tests, argc, argv);
}
