/* SPDX-License-Identifier: ISC */
/* What the benchmark makes of its samples. */
#include "measure.h"
#include "pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Full pace: 1, 2, 3, ...; the others: 100. */
static struct samples some(unsigned int full, unsigned int slow)
{
	struct samples samples = { .n = 0 };

	for (unsigned int i = 0; i < full; i++) {
		samples_add_paced(&samples, i + 1, true);
		if (i < slow)
			samples_add_paced(&samples, 100, false);
	}
	return samples;
}

static void a_figure_is_of_the_samples_at_full_pace(void **state)
{
	struct samples samples = some(SAMPLES_FEW, SAMPLES_FEW);
	struct figure figure = samples_figure(&samples);

	(void)state;
	assert_int_equal(samples_full(&samples), SAMPLES_FEW);
	assert_true(figure.median == 2 && figure.q1 == 1.5 && figure.q3 == 2.5);
}

static void of_all_where_few_are(void **state)
{
	struct samples samples = some(2, 2); /* 1, 100, 2, 100 */

	(void)state;
	assert_true(samples_figure(&samples).median == 51);
}

static void a_ratio_is_of_rounds_at_full_pace_on_both_sides(void **state)
{
	struct samples a = { .rounds = 1 }, b = { .rounds = 1 };

	(void)state;
	for (unsigned int i = 0; i < 9; i++) {
		samples_add_paced(&a, 6, i % 3 != 1);
		samples_add_paced(&b, i % 3 ? 600 : 2, i % 3 != 2);
	}
	assert_true(samples_ratio(&a, &b) == 3);
}

static void without_patience_a_sample_is_taken_once(void **state)
{
	struct pace pace = { .full = true };

	(void)state;
	pace_grant(0);
	pace_begin(&pace);
	pace_mark(&pace);
	pace.full = false;
	assert_true(pace_end(&pace));
	assert_false(pace.full);
}

static void with_patience_it_is_taken_again_until_that_is_spent(void **state)
{
	struct pace pace;
	double before = pace_spent(), start = measure_wall();
	bool over;

	(void)state;
	pace_grant(0.01);
	do {
		pace_begin(&pace);
		pace_mark(&pace);
		pace.full = false;
		over = pace_end(&pace);
	} while (!over);
	assert_true(pace_spent() - before >= 0.01 && pace_spent() - before <= measure_wall() - start);
}

static void passes_go_on_while_they_get_faster(void **state)
{
	struct steady steady = { .passes = 0 };

	(void)state;
	assert_true(steady_pass(&steady, 100));
	assert_true(steady_pass(&steady, 50));
	assert_true(steady_pass(&steady, 47));
	assert_false(steady_pass(&steady, 46)); /* of 47, the fastest */
	assert_true(steady.fastest == 46);
}

static void a_slow_pass_ends_them_and_is_not_the_fastest(void **state)
{
	struct steady steady = { .passes = 0 };

	(void)state;
	assert_true(steady_pass(&steady, 50));
	assert_false(steady_pass(&steady, 80));
	assert_true(steady.fastest == 50);
}

static void passes_are_few(void **state)
{
	struct steady steady = { .passes = 0 };
	double seconds = 1;

	(void)state;
	while (steady_pass(&steady, seconds))
		seconds /= 2;
	assert_int_equal(steady.passes, STEADY_PASSES);
	assert_true(steady.fastest == seconds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_figure_is_of_the_samples_at_full_pace),
		cmocka_unit_test(of_all_where_few_are),
		cmocka_unit_test(a_ratio_is_of_rounds_at_full_pace_on_both_sides),
		cmocka_unit_test(passes_go_on_while_they_get_faster),
		cmocka_unit_test(a_slow_pass_ends_them_and_is_not_the_fastest),
		cmocka_unit_test(passes_are_few),
		cmocka_unit_test(without_patience_a_sample_is_taken_once),
		cmocka_unit_test(with_patience_it_is_taken_again_until_that_is_spent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
