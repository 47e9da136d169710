/* SPDX-License-Identifier: ISC */
/* The validator of maps: it sees each thing that it looks for, in maps that were broken by hand. */
#include "map_world.h"

#include "map.h"

static struct cleave__map_object *object_at(struct solo *solo, unsigned int n)
{
	struct cleave_entry entry;
	void *object;

	manual_enter(&solo->domain);
	object = cleave_lookup_rcu(&solo->map.index, AT(n), &entry);
	manual_leave(&solo->domain);
	return object;
}

struct said {
	struct cleave_lines lines;
	char text[4096];
};

static void hear(struct cleave_lines *lines, const char *text)
{
	struct said *said = (struct said *)lines;

	if (strlen(said->text) + strlen(text) < sizeof(said->text) - 1)
		strcat(said->text, text);
}

/* How many things are wrong, this one among them. */
static uint64_t assert_said(struct solo *solo, const char *expected)
{
	struct said said = { { hear }, "" };
	uint64_t wrong = cleave_map_verify(&solo->map, &solo->thread, &said.lines);

	assert_true(wrong > 0);
	CHECK(strstr(said.text, expected), "not said: %s, but: %s", expected, said.text);
	return wrong;
}

static void the_validator_sees_wrong_objects(void **state)
{
	static const char contradict[] = "attributes contradict each other", wiring[] = "a wiring was left over";
	struct cleave__map_object *object, kept;
	struct solo solo;

	(void)state;
	solo_start(&solo, NULL);
	assert_int_equal(solo_map(&solo, 2, 10), 0);
	object = object_at(&solo, 2);
	kept = *object;
#define BROKEN(change, expected)              \
	do {                                  \
		change;                       \
		assert_said(&solo, expected); \
		*object = kept;               \
		solo_check(&solo);            \
	} while (0)
	BROKEN(object->pages.word++, "an object's page count");
	BROKEN(object->version = 0, contradict);
	BROKEN(object->attributes.max_protection = CLEAVE_PROT_READ, contradict);
	BROKEN(object->attributes.delta = PAGE, contradict);
	BROKEN(object->attributes.store_delta = PAGE, contradict);
	BROKEN(object->attributes.flags |= CLEAVE_MAP_IN_TRANSITION, wiring);
	BROKEN((object->attributes.wired = 1, object->attributes.protection = 0), wiring);
	solo_stop(&solo);
}

static void the_validator_sees_wrong_places(void **state)
{
	static const char where[] = "a guard is not where", follows[] = "a guard does not follow";
	struct cleave_map_config config = solo_config();
	struct cleave_thread *self;
	struct cleave_map_entry entry;
	struct cleave_map_txn txn;
	struct cleave *index;
	struct solo solo;
	void *object, *guard;

	(void)state;
	config.flags = CLEAVE_MAP_GUARD_PAGES;
	solo_start(&solo, &config);
	self = &solo.domain.self;
	index = &solo.map.index;
	assert_int_equal(solo_map(&solo, 2, 4), 0);
	assert_int_equal(solo_map(&solo, 6, 8), 0);
	object = object_at(&solo, 2);
	guard = object_at(&solo, 4);
	assert_non_null(guard);
	/* In a transaction a guard is no entry, and no free space. */
	assert_int_equal(cleave_map_begin(&txn, &solo.map, &solo.thread, AT(4), AT(6)), 0);
	assert_false(cleave_map_txn_lookup(&txn, AT(5), &entry));
	assert_true(entry.start == entry.end && entry.guard == 2 * PAGE && entry.fspace == 0);
	cleave_map_abort(&txn);
#define PLACED(first, last, value, expected)                                              \
	do {                                                                              \
		assert_int_equal(cleave_store(index, self, first, last, value, NULL), 0); \
		assert_said(&solo, expected);                                             \
		assert_int_equal(cleave_erase(index, self, first, last, NULL), 0);        \
	} while (0)
	PLACED(AT(0) - PAGE, AT(0) - 1, object, "outside of the map");
	PLACED(AT(SOLO_PAGES), AT(SOLO_PAGES) + PAGE - 1, object, "outside of the map");
	PLACED(AT(20), AT(21) - 2, object, "unaligned");
	PLACED(AT(20), AT(21) - 1, guard, follows);
	solo_check(&solo);
	/* A guard of two pages in two cells, of one page, none at all. */
	assert_int_equal(cleave_clip(index, self, AT(5)), 0);
	assert_said(&solo, follows);
	assert_int_equal(cleave_erase(index, self, AT(5), AT(6) - 1, NULL), 0);
	assert_said(&solo, where);
	assert_int_equal(cleave_erase(index, self, AT(4), AT(5) - 1, NULL), 0);
	assert_said(&solo, where);
	assert_int_equal(cleave_store(index, self, AT(4), AT(6) - 1, guard, NULL), 0);
	solo_check(&solo);
	solo_stop(&solo);
}

/* The limits' own counters, and the stripes' sums. */
static void the_validator_sees_wrong_accounts(void **state)
{
	struct cleave_map_config config = solo_config();
	struct solo solo;

	(void)state;
	config.flags = CLEAVE_MAP_LIMITS;
	config.size_limit = config.data_limit = CLEAVE_MAP_UNLIMITED;
	solo_start(&solo, &config);
	assert_int_equal(solo_map(&solo, 2, 10), 0);
#define SEEN(word, expected)                                                           \
	do {                                                                           \
		(word) += PAGE;                                                        \
		assert_int_equal(assert_said(&solo, expected), 1);                     \
		assert_int_equal(cleave_map_verify(&solo.map, &solo.thread, NULL), 1); \
		(word) -= PAGE;                                                        \
	} while (0)
	SEEN(solo.map.size.word, "the limits' counters");
	SEEN(solo.map.data.word, "the limits' counters");
	SEEN(solo.map.stripes[0].size.word, "the accounts");
	SEEN(solo.map.stripes[0].data.word, "the accounts");
	counting_memory_grant(&solo.domain.memory, 0);
	assert_int_equal(assert_said(&solo, "no memory to verify with"), 1);
	counting_memory_grant(&solo.domain.memory, GRANT_ALL);
	solo_stop(&solo);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_validator_sees_wrong_objects),
		cmocka_unit_test(the_validator_sees_wrong_places),
		cmocka_unit_test(the_validator_sees_wrong_accounts),
	};

	return RUN_TESTS(tests, argc, argv);
}
