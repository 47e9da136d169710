/* SPDX-License-Identifier: ISC */
/* Each processor gets a walk that it can run, whatever this one is. */
#include "port/user/variants.h"

#include "support.h"

#define FEATURES 0x80u

static bool is(const char *name, unsigned int features, const char *variant)
{
	const struct cleave__search *search = cleave__search_for(name, features);

	return search ? variant && strcmp(search->name, variant) == 0 : !variant;
}

static void a_variant_needs_all_of_its_instructions(void **state)
{
	const bool live = cleave__search_for("live", 0) != NULL;
	const char *plain = live ? "live" : "scalar";
	bool avx2 = cleave__search_for("avx2", FEATURES - 1) != NULL;
	bool avx512 = cleave__search_for("avx512", FEATURES - 1) != NULL;

	(void)state;
	for (unsigned int features = 0; features < FEATURES; features++) {
		bool runs2 = avx2 && (features & CLEAVE__FOR_AVX2) == CLEAVE__FOR_AVX2;
		bool runs512 = avx512 && (features & CLEAVE__FOR_AVX512) == CLEAVE__FOR_AVX512;

		assert_true(is("avx512", features, runs512 ? "avx512" : NULL));
		assert_true(is("avx2", features, runs2 ? "avx2" : NULL));
		assert_true(is(plain, features, plain));
		assert_true(is(live ? "scalar" : "live", features, NULL));
		assert_true(is(NULL, features, runs512 ? "avx512" : runs2 ? "avx2" : plain));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_variant_needs_all_of_its_instructions),
	};

	return RUN_TESTS(tests, argc, argv);
}
