/* SPDX-License-Identifier: ISC */
/* References: what a lookup finds is kept beyond its read section, beside writers that take it out of the index. */
#include "fixture.h"

#define SLOTS 4u
#define SIZE UINT64_C(10) /* of an entry */
#define ALIVE UINT64_C(0x616c697665)

struct object {
	struct cleave_word references;
	uint64_t state;
	uint64_t cookie; /* once nobody has a reference */
	struct object *next;
};

static struct cleave_word made, freed;

static struct object *object_new(void)
{
	struct object *object = calloc(1, sizeof(*object));

	CHECK(object, "memory");
	object->references.word = 1;
	object->state = ALIVE;
	__atomic_fetch_add(&made.word, 1, __ATOMIC_RELAXED);
	return object;
}

static bool tryref(void *value)
{
	struct object *object = value;
	uint64_t seen = __atomic_load_n(&object->references.word, __ATOMIC_ACQUIRE);

	CHECK(object->state == ALIVE, "found when it was freed");
	while (seen && !__atomic_compare_exchange_n(&object->references.word, &seen, seen + 1, true, __ATOMIC_ACQUIRE,
						    __ATOMIC_ACQUIRE))
		;
	return seen != 0;
}

/* ---- Who drops the last reference frees the object a grace period later ---- */

struct dropper {
	struct cleave_sink sink; /* first */
	struct cleave_thread *self;
	struct object *dead; /* the newest first */
};

static void drop(struct dropper *dropper, struct object *object)
{
	if (__atomic_fetch_sub(&object->references.word, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	object->cookie = cleave_grace_cookie(dropper->self);
	object->next = dropper->dead;
	dropper->dead = object;
}

static void drop_displaced(struct cleave_sink *sink, const struct cleave_entry *displaced)
{
	drop((struct dropper *)sink, displaced->value);
}

static void free_dead(struct dropper *dropper, bool wait)
{
	struct object **at = &dropper->dead, *object;

	if (wait && *at)
		cleave_grace_wait(dropper->self, (*at)->cookie);
	/* Of those behind one that is done all are. */
	while (*at && !cleave_grace_done(dropper->self, (*at)->cookie))
		at = &(*at)->next;
	while ((object = *at)) {
		*at = object->next;
		object->state = 0;
		free(object);
		__atomic_fetch_add(&freed.word, 1, __ATOMIC_RELAXED);
	}
}

/* ---- Threads ---- */

static void replace_and_keep(struct worker *worker)
{
	struct cleave *index = &worker->fixture->index;
	struct dropper dropper = { { drop_displaced }, worker_self(worker), NULL };
	struct object *kept = NULL, *object;
	struct cleave_entry entry;

	for (uint64_t n = test_scaled(40000); n; n--) {
		uint64_t first = SIZE * rng_below(&worker->rng, SLOTS);

		if (rng_one_in(&worker->rng, 3)) {
			object = rng_one_in(&worker->rng, 4) ? NULL : object_new();
			CHECK(cleave_store(index, worker_self(worker), first, first + SIZE - 1, object,
					   &dropper.sink) == 0,
			      "store");
		} else {
			object = cleave_lookup_ref(index, worker_self(worker), first + SIZE / 2, tryref, &entry);
			CHECK(!object || (entry.value == object && entry.first == first), "another entry");
			if (kept) {
				CHECK(kept->state == ALIVE, "freed while there was a reference");
				drop(&dropper, kept);
			}
			kept = object;
		}
		if (n % 16 == 0)
			free_dead(&dropper, false);
		cleave_section_quiescent(&worker->record);
	}
	if (kept)
		drop(&dropper, kept);
	free_dead(&dropper, true);
}

static void what_has_a_reference_is_not_freed(void **state)
{
	struct worker workers[3];
	struct fixture fixture;
	struct dropper dropper = { { drop_displaced }, &fixture.main.thread, NULL };

	(void)state;
	made.word = freed.word = 0;
	fixture_start(&fixture, 0);
	workers_run(&fixture, workers, 3, replace_and_keep, NULL);
	assert_int_equal(cleave_erase(&fixture.index, dropper.self, 0, CLEAVE_LAST, &dropper.sink), 0);
	free_dead(&dropper, true);
	assert_int_equal(freed.word, made.word);
	fixture_stop(&fixture);
}

/* ---- One thread ---- */

static struct cleave *changing; /* to another value when the first try is refused */
static struct cleave_thread *changer;
static char one, other;
static unsigned int tries, refusals;

static bool refuse_first(void *value)
{
	CHECK(value == (changing && tries ? &other : &one), "another value");
	if (tries == 0 && changing)
		CHECK(cleave_try_store_rcu(changing, changer, 0, 9, &other) == 0, "store");
	return ++tries > refusals;
}

static void what_is_refused_is_looked_up_again(void **state)
{
	struct cleave_entry entry;
	struct fixture fixture;

	(void)state;
	fixture_start(&fixture, 0);
	changer = &fixture.main.thread;
	assert_null(cleave_lookup_ref(&fixture.index, changer, 5, refuse_first, &entry));
	assert_int_equal(tries, 0); /* a gap */
	assert_true(entry.first == 0 && entry.last == CLEAVE_LAST && !entry.value);
	assert_int_equal(cleave_insert(&fixture.index, changer, 0, 9, &one, NULL), 0);
	assert_ptr_equal(cleave_lookup_ref(&fixture.index, changer, 5, refuse_first, NULL), &one);
	assert_int_equal(tries, 1);

	/* Twice the same: nothing is left of it. */
	tries = 0;
	refusals = 4;
	assert_null(cleave_lookup_ref(&fixture.index, changer, 5, refuse_first, &entry));
	assert_int_equal(tries, 2);
	assert_ptr_equal(entry.value, &one);

	tries = 0;
	refusals = 1;
	changing = &fixture.index;
	assert_ptr_equal(cleave_lookup_ref(&fixture.index, changer, 5, refuse_first, &entry), &other);
	assert_int_equal(tries, 2);
	assert_ptr_equal(entry.value, &other);
	fixture_stop(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_refused_is_looked_up_again),
		cmocka_unit_test(what_has_a_reference_is_not_freed),
	};

	return RUN_TESTS(tests, argc, argv);
}
