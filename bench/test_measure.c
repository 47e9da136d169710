/* SPDX-License-Identifier: ISC */
/* What the benchmark makes of its samples. */
#include "distance.h"
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

static void of_samples_not_asked_for_nobody_says_that_they_are_at_full_pace(void **state)
{
	struct samples samples = { .n = 0 };

	(void)state;
	samples_add(&samples, 1);
	assert_false(samples.paced);
	samples_add_paced(&samples, 2, true);
	samples_add(&samples, 3);
	assert_true(samples.paced);
	assert_int_equal(samples_full(&samples), 3);
}

static void a_run_of_several_threads_is_repeated_while_there_is_patience(void **state)
{
	double before = pace_spent(), began = measure_wall();
	unsigned int runs = 0;

	(void)state;
	pace_grant(0.01);
	assert_false(pace_again(true, began));
	assert_true(pace_spent() == before);
	do {
		began = measure_wall();
		runs++;
		while (measure_wall() - began < 0.004)
			;
	} while (pace_again(false, began));
	assert_true(pace_patience() <= 0);
	assert_true(runs >= 1 && runs <= 4); /* three times 4 ms are over 10 */
	assert_true(pace_spent() - before >= 0.01);
	assert_false(pace_again(false, began));
}

static void who_may_not_wait_asks_once(void **state)
{
	(void)state;
	pace_grant(0);
	assert_true(pace_wait(0) >= 0);
	assert_true(pace_patience() == 0); /* whoever conducts says what was waited */
	pace_waited(1);
	assert_true(pace_patience() == -1);
	pace_grant(0);
}

/* The first thing that a thread on another processor finds out is the full pace there, whatever it is here. */
static void each_processor_has_a_pace_of_its_own(void **state)
{
	(void)state;
	pace_start();
	pace_on(1);
	assert_true(pace_full());
	pace_on(0);
}

static void a_line_comes_from_one_processor_to_the_other(void **state)
{
	int first, second;
	bool apart = measure_processors(&first, &second);

	(void)state;
	assert_true(!apart || second >= 0);
	assert_true(second < 0 || distance_between(first, second) > 0);
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
		cmocka_unit_test(of_samples_not_asked_for_nobody_says_that_they_are_at_full_pace),
		cmocka_unit_test(a_run_of_several_threads_is_repeated_while_there_is_patience),
		cmocka_unit_test(who_may_not_wait_asks_once),
		cmocka_unit_test(each_processor_has_a_pace_of_its_own),
		cmocka_unit_test(a_line_comes_from_one_processor_to_the_other),
		cmocka_unit_test(without_patience_a_sample_is_taken_once),
		cmocka_unit_test(with_patience_it_is_taken_again_until_that_is_spent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
