/* SPDX-License-Identifier: ISC */
/*
 * What waits in a context is limited: while a reader stays inside, whoever drops anons is stopped there, in whichever
 * way he does it, and goes on when the reader leaves.
 */
#include "anon_fixture.h"

#define LIMIT 64u
#define CHANGES (16 * LIMIT) /* each of them drops an anon at least */
#define AT_ONCE 32u	     /* that one change drops at most */

static struct anon_fixture it;

struct writer {
	void (*change)(struct writer *writer);
	struct cleave_anon_context *context;
	struct cleave_anon *store;
	struct cleave_word changes;
};

static struct cleave_word inside, leave;

static uint64_t load(const struct cleave_word *word)
{
	return __atomic_load_n(&word->word, __ATOMIC_ACQUIRE);
}

static void store_word(struct cleave_word *word, uint64_t value)
{
	__atomic_store_n(&word->word, value, __ATOMIC_RELEASE);
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static void stay_inside(struct worker *worker)
{
	cleave_section_enter(&worker->record);
	store_word(&inside, 1);
	while (!load(&leave))
		nap();
	cleave_section_leave(&worker->record);
}

/* ---- Changes ---- */

static void fill(struct writer *writer, struct cleave_anon *store, uint64_t slot)
{
	CHECK(cleave_anon_fill(writer->context, store, slot, page_make(writer->context, it.pages), NULL) == 0, "fill");
}

static void replace(struct writer *writer)
{
	struct cleave_anon_page *fresh = page_make(writer->context, it.pages), *old;

	if (cleave_anon_fill(writer->context, writer->store, 0, fresh, &old) == 0)
		return;
	CHECK(cleave_anon_replace(writer->context, writer->store, 0, old, fresh) == 0, "replace");
	cleave_anon_page_unpin(writer->context, old);
	cleave_anon_page_drop(writer->context, old);
}

static void fill_and_remove(struct writer *writer)
{
	struct cleave_anon_page *anon;

	fill(writer, writer->store, 1);
	CHECK(cleave_anon_remove(writer->context, writer->store, 1, &anon) == 0, "remove");
	cleave_anon_page_drop(writer->context, anon);
}

static void fill_and_wipe(struct writer *writer)
{
	for (uint64_t slot = 0; slot < AT_ONCE; slot++)
		fill(writer, writer->store, slot);
	CHECK(cleave_anon_wipe(writer->context, writer->store, 0, AT_ONCE - 1) == 0, "wipe");
}

static void fill_and_truncate(struct writer *writer)
{
	fill(writer, writer->store, 500);
	CHECK(cleave_anon_truncate(writer->context, writer->store, 500) == 0, "truncate");
	CHECK(cleave_anon_extend(writer->store, 1000) == 0, "extend");
}

static void put_window(struct writer *writer, uint64_t last, int delta)
{
	struct cleave_anon_change change;

	CHECK(cleave_anon_windows_begin(&change, writer->context, writer->store, 0, last) == 0, "begin");
	CHECK(cleave_anon_windows_put(&change, 0, last, delta) == 0, "put");
	CHECK(cleave_anon_windows_prepare(&change) == 0, "prepare");
	cleave_anon_windows_commit(&change);
	cleave_anon_windows_wipe(&change);
}

static void fill_in_a_window(struct writer *writer)
{
	put_window(writer, 9, 1);
	fill(writer, writer->store, 5);
	put_window(writer, 9, -1);
}

static void end_a_store(struct writer *writer)
{
	struct cleave_anon *store;

	CHECK(cleave_anon_create(writer->context, 10, &store) == 0, "create");
	fill(writer, store, 3);
	cleave_anon_unref(writer->context, store);
}

/* In steps alone: never a call that may sleep, but where one of them fails with -ENOMEM. */
static void write_in_place(struct writer *writer)
{
	slot_write(&it, writer->context, writer->store, 5, load(&writer->changes));
}

/* ---- A reader that stays ---- */

static void change_often(struct worker *worker)
{
	struct writer *writer = worker->context;

	for (uint64_t i = 0; i < CHANGES; i++) {
		writer->change(writer);
		store_word(&writer->changes, i + 1);
		cleave_section_quiescent(&worker->record);
	}
}

/* The main thread is the one that holds nothing up. */
static void go_offline(void)
{
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_offline();
#endif
}

static void go_online(void)
{
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_online();
#endif
}

static void open_context(struct worker *worker)
{
	struct writer *writer = worker->context;
	struct cleave_anon_context *context = cleave_anon_context_open(&it.domain, worker_self(worker));

	CHECK(context != NULL, "context");
	__atomic_store_n(&writer->context, context, __ATOMIC_RELEASE);
	change_often(worker);
	CHECK(context->most_waiting <= 2 * LIMIT + AT_ONCE + 1, "%llu waited", LL(context->most_waiting));
	cleave_anon_context_close(context);
}

static void stopped_while_a_reader_stays(void (*change)(struct writer *writer))
{
	struct writer writer = { .change = change };
	struct cleave_anon_context *context;
	struct worker workers[2];
	uint64_t changes;

	anon_fixture_start_with(&it, LIMIT);
	CHECK(cleave_anon_create(it.context, 1000, &writer.store) == 0, "create");
	store_word(&inside, 0);
	store_word(&leave, 0);
	go_offline();
	worker_start(&workers[0], &it.fixture, 0, stay_inside, NULL);
	while (!load(&inside))
		nap();
	worker_start(&workers[1], &it.fixture, 1, open_context, &writer);
	while (!(context = __atomic_load_n(&writer.context, __ATOMIC_ACQUIRE)))
		nap();
	while (!__atomic_load_n(&context->gp_waits, __ATOMIC_RELAXED)) {
		CHECK(load(&writer.changes) < CHANGES, "all is changed, and nobody was stopped");
		nap();
	}
	changes = load(&writer.changes);
	CHECK(pages_live(it.pages) <= 2 * LIMIT + 2 * AT_ONCE, "%llu pages wait", LL(pages_live(it.pages)));
	for (unsigned int i = 0; i < 20; i++)
		nap();
	CHECK(load(&writer.changes) == changes, "goes on although a reader is inside");
	store_word(&leave, 1);
	go_online();
	worker_join(&workers[0]);
	worker_join(&workers[1]);
	CHECK(load(&writer.changes) == CHANGES, "not all is changed");
	cleave_anon_unref(it.context, writer.store);
	anon_fixture_stop(&it);
}

/* ---- Who only gives back ---- */

#define PAGES 4096u /* of each store: many more nodes than one step takes apart */

/* The nodes are nobody's, as a clone leaves them, so that they are unlinked whole. */
static struct cleave_anon *make_store(struct cleave_anon_context *context)
{
	struct writer filler = { .context = context };
	struct cleave_anon *clone;

	CHECK(cleave_anon_create(context, PAGES, &filler.store) == 0, "create");
	for (uint64_t slot = 0; slot < PAGES; slot++)
		fill(&filler, filler.store, slot);
	CHECK(cleave_anon_clone_begin(context, &filler.store, &clone, 1) == 0, "clone");
	cleave_anon_clone_end(context, &filler.store, &clone, 1);
	cleave_anon_clone_done(context, &filler.store, 1);
	cleave_anon_unref(context, filler.store);
	cleave_anon_flush(context);
	return clone;
}

/*
 * One context makes stores, another only gives back what is in them.  What the last grace period left waits, and what
 * goes on towards the limit: `stores` of them; not what all of them had.
 */
static void keeps_few(void (*give)(struct writer *writer), uint64_t stores)
{
	struct cleave_anon_context *maker;

	anon_fixture_start_with(&it, LIMIT);
	maker = cleave_anon_context_open(&it.domain, it.context->self);
	CHECK(maker != NULL, "context");
	for (unsigned int n = 0; n < 3 * stores; n++) {
		struct writer writer = { .context = it.context, .store = make_store(maker) };

		give(&writer);
		if (writer.store)
			cleave_anon_unref(maker, writer.store);
		CHECK(pages_live(it.pages) <= stores * PAGES, "%llu pages wait", LL(pages_live(it.pages)));
	}
	cleave_anon_context_close(maker);
	anon_fixture_stop(&it);
}

static void end(struct writer *writer)
{
	cleave_anon_unref(writer->context, writer->store);
	writer->store = NULL;
}

static void wipe(struct writer *writer)
{
	CHECK(cleave_anon_wipe(writer->context, writer->store, 0, PAGES - 1) == 0, "wipe");
}

static void truncate_to_one(struct writer *writer)
{
	CHECK(cleave_anon_truncate(writer->context, writer->store, 1) == 0, "truncate");
}

static void end_window(struct writer *writer)
{
	put_window(writer, PAGES - 1, 1);
	put_window(writer, PAGES - 1, -1);
}

static void who_only_ends_stores_keeps_few(void **state)
{
	(void)state;
	keeps_few(end, CLEAVE_ANON_GONE + 16);
}

static void who_only_wipes_keeps_few(void **state)
{
	(void)state;
	keeps_few(wipe, 2 * LIMIT);
}

static void who_only_truncates_keeps_few(void **state)
{
	(void)state;
	keeps_few(truncate_to_one, LIMIT);
}

static void who_only_ends_windows_keeps_few(void **state)
{
	(void)state;
	keeps_few(end_window, 2 * LIMIT);
}

#define STOPPED(change) \
	static void change##_is_stopped(void **state) \
	{ \
		(void)state; \
		stopped_while_a_reader_stays(change); \
	}

STOPPED(replace)
STOPPED(fill_and_remove)
STOPPED(fill_and_wipe)
STOPPED(fill_and_truncate)
STOPPED(fill_in_a_window)
STOPPED(end_a_store)
STOPPED(write_in_place)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replace_is_stopped),
		cmocka_unit_test(fill_and_remove_is_stopped),
		cmocka_unit_test(fill_and_wipe_is_stopped),
		cmocka_unit_test(fill_and_truncate_is_stopped),
		cmocka_unit_test(fill_in_a_window_is_stopped),
		cmocka_unit_test(end_a_store_is_stopped),
		cmocka_unit_test(write_in_place_is_stopped),
		cmocka_unit_test(who_only_ends_stores_keeps_few),
		cmocka_unit_test(who_only_wipes_keeps_few),
		cmocka_unit_test(who_only_truncates_keeps_few),
		cmocka_unit_test(who_only_ends_windows_keeps_few),
	};

	return RUN_TESTS(tests, argc, argv);
}
