/* SPDX-License-Identifier: ISC */
/* Transactions of a map: what carries a system call, and what mirrors one. */
#include "map_world.h"

#define MAP (&solo.map)
#define THREAD (&solo.thread)

static void a_transaction_carries_a_system_call(void **state)
{
	struct cleave_map_request request = request_fixed(14, 16);
	struct cleave_map_entry entry;
	struct cleave_map_txn txn;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 10, 20), 0);
	/* mremap, say: two changes that appear at once, or not at all */
	for (int fails = 1; fails >= 0; fails--) {
		assert_int_equal(cleave_map_begin(&txn, MAP, THREAD, AT(8), AT(40)), 0);
		assert_int_equal(cleave_map_txn_munmap(&txn, AT(8), AT(12)), -EINVAL); /* a check changes nothing */
		assert_int_equal(cleave_map_txn_munmap(&txn, AT(10), AT(15)), 0);
		assert_false(cleave_map_txn_lookup(&txn, AT(14), &entry));
		assert_int_equal(cleave_map_txn_map(&txn, &request), -ENOMEM); /* 15 is still taken */
		request.addr = AT(30);
		assert_int_equal(cleave_map_txn_map(&txn, &request), 0);
		assert_int_equal(cleave_map_txn_protect(&txn, AT(31), AT(32), CLEAVE_PROT_READ, 0, 0), 0);
		assert_int_equal(cleave_map_txn_advise(&txn, AT(30), AT(31), CLEAVE_ADVICE_RANDOM), 0);
		assert_true(cleave_map_txn_lookup(&txn, AT(31), &entry));
		assert_true(entry.start == AT(31) && entry.attributes.protection == CLEAVE_PROT_READ);
		assert_int_equal(cleave_map_txn_protect(&txn, AT(31), AT(41), 0, 0, 0), -EINVAL);
		assert_int_equal(cleave_map_prepare(&txn), 0);
		assert_int_equal(cleave_map_txn_unmap(&txn, AT(30), AT(31), 0), -EINVAL); /* too late */
		assert_true(solo_lookup(&solo, 10, &entry)); /* readers see nothing of it */
		assert_false(solo_lookup(&solo, 30, &entry));
		if (fails) {
			cleave_map_abort(&txn);
			assert_string_equal(solo_text(&solo), "10-20:rw-");
		} else {
			assert_int_equal(cleave_map_publish(&txn), 0);
			assert_true(solo_lookup(&solo, 30, &entry));
			cleave_map_end(&txn);
		}
		request.addr = AT(14);
		solo_check(&solo);
	}
	assert_string_equal(solo_text(&solo), "15-20:rw- 30-31:rw- 31-32:r--");
	assert_int_equal(cleave_map_begin(&txn, MAP, THREAD, AT(8), AT(8)), -EINVAL);
	assert_int_equal(cleave_map_begin(&txn, MAP, THREAD, AT(120), AT(129)), -EINVAL);
	solo_stop(&solo);
}

static void a_mirror_puts_what_its_kernel_says(void **state)
{
	struct cleave_map_attributes attributes = { .protection = CLEAVE_PROT_READ, .max_protection = CLEAVE_PROT_ALL };
	struct thing *object;
	struct cleave_map_txn txn;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	object = thing_new(&solo.embedder);
	attributes.object = object;
	attributes.delta = (uint64_t)0 - AT(10);
	assert_int_equal(cleave_map_begin(&txn, MAP, THREAD, AT(0), AT(128)), 0);
	for (unsigned int n = 10; n < 60; n += 2)
		assert_int_equal(cleave_map_put(&txn, AT(n), AT(n + 1), &attributes), 0);
	attributes.protection = 8;
	assert_int_equal(cleave_map_put(&txn, AT(0), AT(1), &attributes), -EINVAL);
	assert_int_equal(cleave_map_txn_unmap(&txn, AT(20), AT(50), 0), 0);
	assert_int_equal(cleave_map_commit(&txn), 0);
	assert_int_equal(solo_entries(&solo), 10);
	assert_int_equal(cleave_map_unmap(MAP, THREAD, AT(0), AT(128), 0), 0);
	cleave_map_thread_flush(THREAD, true);
	assert_int_equal(thing_refs(object), 1);
	thing_unref(&solo.embedder, object);
	solo_stop(&solo);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_transaction_carries_a_system_call),
		cmocka_unit_test(a_mirror_puts_what_its_kernel_says),
	};

	return RUN_TESTS(tests, argc, argv);
}
