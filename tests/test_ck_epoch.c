/* SPDX-License-Identifier: ISC */
/*
 * The epoch of lib/port/ck where its 32 bits are not enough.  The embedder advances it, too (ck_epoch_poll(),
 * ck_epoch_synchronize()): here by stores, while nobody is inside.
 */
#include "port_one.h"

static CLEAVE_SECTION_THREAD *other;

static void embedder_advances(unsigned int steps)
{
	ck_pr_add_uint(&domain.epoch.epoch, steps);
}

static void advance(uint64_t cookie)
{
	own->thread.quiet = 0;
	ops->advance(&domain.domain, &own->thread, cookie);
}

/* However far it has come since the last writer looked: a cookie is not done before its readers have left. */
static void far_ahead(void **state)
{
	static const unsigned int steps[] = { 1, INT32_MAX, (unsigned int)INT32_MAX + 1, UINT32_MAX - 99 };

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t cookie;

		embedder_advances(steps[i]);
		cleave_section_enter(other);
		cookie = take_cookie(own);
		for (int times = 0; times < 4; times++) {
			assert_false(done(own, cookie));
			advance(cookie);
		}
		cleave_section_leave(other);
		wait_cookie(own, cookie);
		assert_true(done(own, cookie));
		assert_in_range(take_cookie(own), cookie, cookie + 16);
	}
}

/* What begun() says in a section stays the same while the epoch goes on, and no cookie from there on is below. */
static void begun_stays(void **state)
{
	uint64_t begun, cookie;

	(void)state;
	if (!ops->begun)
		skip();
	embedder_advances((unsigned int)INT32_MAX + 1);
	cleave_section_enter(own);
	begun = ops->begun(&domain.domain, &own->thread);
	cookie = take_cookie(own);
	assert_in_range(begun, 1, cookie);
	advance(cookie);
	assert_false(done(own, begun));
	assert_int_equal(ops->begun(&domain.domain, &own->thread), begun);
	cleave_section_leave(own);
	wait_cookie(own, cookie);
	cleave_section_enter(own);
	assert_true(ops->begun(&domain.domain, &own->thread) > begun);
	cleave_section_leave(own);
}

/*
 * A thread that has announced itself, but whose first epoch is not recorded yet, or not visible: it may be interrupted
 * there by a signal handler, in which it reads.  What its record holds until then must not let the epoch pass.
 */
static void new_record_when_it_wraps(void **state)
{
	CLEAVE_SECTION_THREAD *reader = new_record();
	uint64_t cookie;

	(void)state;
	embedder_advances(UINT32_MAX - domain.epoch.epoch);
	cleave_section_register(reader, &domain);
	ck_pr_store_uint(&reader->record.active, 1);
	cookie = take_cookie(own);
	embedder_advances(1); /* who saw the reader outside before */
	assert_int_equal(domain.epoch.epoch, 0);
	for (int times = 0; times < 4; times++) {
		advance(cookie);
		assert_false(done(own, cookie));
	}
	ck_pr_store_uint(&reader->record.active, 0);
	wait_cookie(own, cookie);
	cleave_section_unregister(reader, &domain);
}

static int start(void **state)
{
	int error = set_up(state);

	if (!error) {
		other = new_record();
		cleave_section_register(other, &domain);
	}
	return error;
}

static int stop(void **state)
{
	cleave_section_unregister(other, &domain);
	return tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(far_ahead),
		cmocka_unit_test(begun_stays),
		cmocka_unit_test(new_record_when_it_wraps),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, start, stop);
}
