/* SPDX-License-Identifier: ISC */
/*
 * What a store's calls meet that another thread does meanwhile: brought about by what they call (callbacks, the
 * allocator, the domain), without threads.  What another thread holds is let go when the call parks for it.
 */
#include "anon_one.h"

static struct cleave_ops ops; /* the domain's, but for what a test replaces */
static struct cleave_thread other_self;
static struct cleave_anon_context *other; /* the other thread's */
static struct cleave_anon *store;

static int start_two(void **state)
{
	start(state);
	ops = *world.manual.domain.ops;
	world.manual.domain.ops = &ops;
	cleave_thread_init(&other_self, &world.manual.domain);
	other = cleave_anon_context_open(&world.domain, &other_self);
	store = store_make(&world, 1000);
	return other ? 0 : -1;
}

static int stop_two(void **state)
{
	cleave_anon_unref(world.context, store);
	cleave_anon_context_close(other);
	cleave_thread_exit(&other_self);
	return stop(state);
}

/* ---- A page is copied, and its slot has changed meanwhile ---- */

enum change { REPLACE, REMOVE };

struct copier {
	struct cleave_anon_copier copier;
	enum change change;
	unsigned int copies;
	unsigned int undone;
};

/* The other thread is as quick once. */
static int copy_late(struct cleave_anon_copier *copier, uint64_t from, uint64_t *content)
{
	struct copier *self = (struct copier *)copier;
	struct cleave_anon_page *old = store_lookup(&world, store, 10);

	(void)from;
	if (self->copies++ == 0) {
		if (self->change == REPLACE)
			assert_int_equal(cleave_anon_replace(other, store, 10, old, page_make(other, world.pages)), 0);
		else
			assert_int_equal(cleave_anon_remove(other, store, 10, &old), 0);
		cleave_anon_page_drop(other, old);
	}
	*content = pages_take(world.pages, false);
	return 0;
}

static void undo_late(struct cleave_anon_copier *copier, uint64_t content)
{
	((struct copier *)copier)->undone++;
	pages_release(&world.pages->ops, content);
}

static void a_copy_of_what_is_there_no_more_is_undone(void **state)
{
	(void)state;
	for (enum change change = REPLACE; change <= REMOVE; change++) {
		struct copier copier = { { copy_late, undo_late }, change, 0, 0 };
		struct cleave_anon *clone;
		uint64_t slot;

		store_fill(&world, store, 10);
		store_fill(&world, store, 11);
		clone = store_clone(&world, store);
		assert_int_equal(cleave_anon_cow_now(world.context, store, 10, 11, &copier.copier, &slot), 0);
		assert_true(slot == 12);
		assert_int_equal(copier.copies, 2);
		assert_int_equal(copier.undone, 1);
		assert_true((store_lookup(&world, store, 10) != NULL) == (change == REPLACE));
		assert_ptr_not_equal(store_lookup(&world, store, 11), store_lookup(&world, clone, 11));
		cleave_anon_unref(world.context, clone);
		assert_int_equal(cleave_anon_wipe(world.context, store, 0, 999), 0);
	}
}

/* ---- All stores are walked ---- */

enum fate { STAYS, EMPTIED, DROPPED };

struct walker {
	struct cleave_anon_walker walker;
	struct cleave_anon_page *anon;
	enum fate fate;
	unsigned int matches;
};

/* What matched once is looked at again, when it is pinned: meanwhile it has lost its content, or its last share. */
static bool match_then_change(struct cleave_anon_walker *walker, uint64_t content)
{
	struct walker *self = (struct walker *)walker;

	self->matches++;
	if (self->matches == 1 && self->fate == EMPTIED) {
		assert_int_equal(cleave_anon_transit_begin_rcu(other, self->anon, content), 0);
		pages_release(&world.pages->ops, content);
		cleave_anon_transit_end(other, self->anon, 0);
	} else if (self->matches == 2 && self->fate == DROPPED) {
		assert_int_equal(cleave_anon_remove(other, store, 10, &self->anon), 0);
		cleave_anon_page_drop(other, self->anon);
	}
	return true;
}

static int visit_once(struct cleave_anon_walker *walker, uint64_t content, uint64_t *fresh)
{
	((struct walker *)walker)->matches = 0;
	(void)content;
	(void)fresh;
	return -EIO; /* so that nobody asks whether it matches still */
}

static void a_walk_passes_over_what_has_gone(void **state)
{
	struct cleave_anon_page *empty = cleave_anon_page_make(world.context, 0);

	(void)state;
	assert_int_equal(cleave_anon_fill(world.context, store, 5, empty, NULL), 0); /* nothing is in it yet */
	for (enum fate fate = STAYS; fate <= DROPPED; fate++) {
		struct walker walker = { { .match = match_then_change, .visit = visit_once }, NULL, fate, 0 };

		walker.anon = store_fill(&world, store, 10);
		assert_int_equal(cleave_anon_walk(world.context, &walker.walker), fate == STAYS ? -EIO : 0);
		assert_int_equal(walker.walker.visited, 0);
		assert_int_equal(cleave_anon_wipe(world.context, store, 10, 10), 0);
	}
}

/* ---- A clone is under way ---- */

static struct cleave_anon *cloned, *clone_of;

/* Whoever waits for it lets it end. */
static void clone_ends(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *word,
		       uint32_t seen)
{
	(void)domain;
	(void)self;
	(void)word;
	(void)seen;
	CHECK(cloned != NULL, "the only thread parks: it waits for itself");
	cleave_anon_clone_end(other, &cloned, &clone_of, 1);
	cleave_anon_clone_done(other, &cloned, 1);
	cloned = NULL;
}

static void clone_begins(void)
{
	cloned = store;
	assert_int_equal(cleave_anon_clone_begin(other, &cloned, &clone_of, 1), 0);
}

static void changes_wait_for_a_clone(void **state)
{
	struct copier copier = { { copy_late, undo_late }, REPLACE, 1, 0 };
	struct cleave_anon_page *old = store_fill(&world, store, 10), *fresh;

	(void)state;
	ops.park = clone_ends;
	clone_begins();
	fresh = page_make(world.context, world.pages);
	assert_int_equal(cleave_anon_replace(world.context, store, 10, old, fresh), 0);
	cleave_anon_page_drop(world.context, old);
	assert_ptr_equal(store_lookup(&world, clone_of, 10), old);
	cleave_anon_unref(world.context, clone_of);

	clone_begins();
	assert_int_equal(cleave_anon_remove(world.context, store, 10, &fresh), 0);
	cleave_anon_page_drop(world.context, fresh);
	cleave_anon_unref(world.context, clone_of);

	store_fill(&world, store, 10);
	clone_begins();
	assert_int_equal(cleave_anon_cow_now(world.context, store, 0, 999, &copier.copier, NULL), 0);
	assert_int_equal(copier.copies, 2); /* the clone's, which is complete by then, was shared */
	assert_ptr_not_equal(store_lookup(&world, clone_of, 10), store_lookup(&world, store, 10));
	cleave_anon_unref(world.context, clone_of);
	assert_null(cloned);
}

/* ---- A wipe displaces more than it has room for ---- */

static void a_wipe_of_many_shared_leaves_makes_room(void **state)
{
	struct cleave_anon *large = store_make(&world, CLEAVE_ANON_SLOTS), *clone;
	const unsigned int leaves = 2 * CLEAVE_ANON_RING;

	(void)state;
	for (uint64_t leaf = 0; leaf < leaves; leaf++)
		if (leaf % 32 != 31)
			store_fill(&world, large, 32 * leaf);
	clone = store_clone(&world, large);
	/* The branches are the store's own again, and the leaves under them are not. */
	for (uint64_t leaf = 31; leaf < leaves; leaf += 32)
		store_fill(&world, large, 32 * leaf);
	assert_int_equal(cleave_anon_wipe(world.context, large, 0, UINT64_MAX), 0);
	assert_int_equal(store_count(&world, large), 0);
	assert_int_equal(store_count(&world, clone), leaves - leaves / 32);
	cleave_anon_unref(world.context, clone);
	cleave_anon_unref(world.context, large);
}

/* ---- fork() finds stores that have come ---- */

static const struct cleave_memory *const memory = &world.manual.memory.memory; /* which checks the sizes */
static unsigned int allocations, sections;
static struct cleave_anon *late[40];
static unsigned int nlate;

static void make_late(unsigned int n)
{
	while (n-- > 0)
		assert_int_equal(cleave_anon_create(other, 100, &late[nlate++]), 0);
}

/* There are more stores than there was room for by the time that there is. */
static void *alloc_late(const struct cleave_memory *self, size_t size, size_t align)
{
	(void)self;
	if (++allocations == 1)
		make_late(20);
	return memory->alloc(memory, size, align);
}

static void free_late(const struct cleave_memory *self, void *at, size_t size)
{
	(void)self;
	memory->free(memory, at, size);
}

/* One comes while the windows of the others are stopped. */
static void enter_late(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	if (self == &world.manual.self && ++sections == 1)
		make_late(1);
	world.manual.inside = true;
}

static void fork_finds_stores_that_came_meanwhile(void **state)
{
	struct cleave_memory slow = { .alloc = alloc_late, .free = free_late };
	struct cleave_anon *clone = NULL, *younger;
	struct cleave_anon_fork fork;

	(void)state;
	/* A clone is on the list when it is complete: younger stores may come before it. */
	assert_int_equal(cleave_anon_clone_begin(world.context, &store, &clone, 1), 0);
	younger = store_make(&world, 100);
	cleave_anon_clone_end(world.context, &store, &clone, 1);
	cleave_anon_clone_done(world.context, &store, 1);

	allocations = sections = nlate = 0;
	world.manual.domain.memory = &slow;
	ops.enter = enter_late;
	assert_int_equal(cleave_anon_prefork(&fork, world.context), 0);
	assert_int_equal(fork.n, 3 + 21);
	cleave_anon_postfork_parent(&fork);
	world.manual.domain.memory = memory;
	for (unsigned int i = 0; i < nlate; i++)
		cleave_anon_unref(world.context, late[i]);
	cleave_anon_unref(world.context, younger);
	cleave_anon_unref(world.context, clone);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_copy_of_what_is_there_no_more_is_undone, start_two, stop_two),
		cmocka_unit_test_setup_teardown(a_walk_passes_over_what_has_gone, start_two, stop_two),
		cmocka_unit_test_setup_teardown(changes_wait_for_a_clone, start_two, stop_two),
		cmocka_unit_test_setup_teardown(a_wipe_of_many_shared_leaves_makes_room, start_two, stop_two),
		cmocka_unit_test_setup_teardown(fork_finds_stores_that_came_meanwhile, start_two, stop_two),
	};

	return RUN_TESTS(tests, argc, argv);
}
