/* SPDX-License-Identifier: ISC */
/*
 * What a thread meets when another one has locked a node, or has changed it meanwhile: brought about here by hand,
 * without threads.  Locks are let go when the call parks for them.
 */
#include "gapbound.h"

#include "world.h"

#include <limits.h>

#define MOST_LOCKS 3u

static struct manual_domain manual;
static struct cleave_ops ops; /* the domain's, but for what a test replaces */

static int setup(void **state)
{
	(void)state;
	manual_start(&manual, GRACE_LATE, NULL, 1000);
	ops = *manual.domain.ops;
	manual.domain.ops = &ops;
	return 0;
}

/* Checks that nothing leaked. */
static int teardown(void **state)
{
	(void)state;
	manual_stop(&manual);
	return 0;
}

/* ---- Locks of others, drawn ---- */

static struct {
	struct cleave *index;
	struct cleave_word32 *lock[MOST_LOCKS];
	unsigned int n;
	uint64_t parks;
} others;

static void let_go(void)
{
	while (others.n > 0)
		cleave__unlock(&manual.domain, others.lock[--others.n], true);
}

static void parks(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *word, uint32_t seen)
{
	(void)domain;
	(void)self;
	(void)word;
	(void)seen;
	CHECK(others.n > 0, "the only thread parks: it waits for itself");
	others.parks++;
	let_go();
}

/* Lock the node of some level that holds an address, or the root. */
static void lock_one(struct world *world, uint64_t addr)
{
	unsigned int top = cleave__root_level(world->index.root.word);
	unsigned int level = (unsigned int)rng_below(&world->rng, top + 2);
	struct cleave_word32 *lock = &world->index.root_lock;
	struct cleave__position position;

	if (level <= top) {
		manual_enter(&manual);
		if (level > 0)
			world->index.search->climb_rcu(&world->index, level, addr, &position);
		else
			world->index.search->seek_rcu(&world->index, addr, &position);
		lock = &position.node->lock;
		manual_leave(&manual);
	}
	if (cleave__trylock(lock)) /* not if it is locked already */
		others.lock[others.n++] = lock;
}

static void lock_some(struct world *world, const struct operation *operation)
{
	uint64_t around[] = { operation->first, operation->last, operation->first - 1, operation->last + 1,
			      keyspace_addr(world->space, &world->rng) };

	for (unsigned int n = 1 + (unsigned int)rng_below(&world->rng, MOST_LOCKS); n > 0; n--)
		lock_one(world, around[rng_below(&world->rng, sizeof(around) / sizeof(around[0]))]);
}

/*
 * Each call finds nodes locked.  A try gives up, and has changed nothing, or has found another way; the other calls
 * wait, and what they only try to lock they do without.
 */
static void calls_meet_locks(const struct keyspace *space, enum grace grace, uint64_t seed)
{
	struct operation operation;
	struct outcome outcome;
	struct world world;
	char text[400];

	manual.grace = grace;
	ops.park = parks;
	memset(&others, 0, sizeof(others));
	world_start(&world, &manual.domain, &manual.self, space, seed);
	for (uint64_t n = test_scaled(3000); n; n--)
		world_step(&world);
	for (uint64_t n = test_scaled(60000); n; n--) {
		operation_random(&world, &operation);
		operation_print(&operation, text, sizeof(text));
		check_context("seed %#llx, %s: %s", (unsigned long long)seed, space->name, text);
		lock_some(&world, &operation);
		world_call(&world, &operation, &outcome);
		let_go();
		world_follow(&world, &operation, &outcome);
		displaced_free(&outcome.displaced);
		if (rng_one_in(&world.rng, 1 + 2 * world.model.count))
			world_compare(&world);
	}
	world_compare(&world);
	CHECK(others.parks > 0 && world.refused > 0, "nothing was in the way: %llu parked, %llu tries refused",
	      (unsigned long long)others.parks, (unsigned long long)world.refused);
	world_stop(&world);
}

static void calls_agree_with_the_model_where_nodes_are_locked(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (size_t i = 0; i < nkeyspaces; i++)
		calls_meet_locks(&keyspaces[i], (enum grace)(i % 3), seed + i);
}

/* ---- Bounds of gaps ---- */

/* Entries side by side over all addresses, in a tree of three levels; no gaps. */
static void plant(struct cleave *index)
{
	enum { ENTRIES = 30 * CLEAVE__CELLS };
	static struct cleave_entry entry[ENTRIES];

	for (unsigned int i = 0; i < ENTRIES; i++)
		entry[i] = (struct cleave_entry){ i * 10, i * 10 + 9, &entry[i] };
	entry[ENTRIES - 1].last = UINT64_MAX;
	assert_int_equal(cleave_init(index, &manual.self), 0);
	assert_int_equal(cleave_build(index, &manual.self, entry, ENTRIES), 0);
	assert_int_equal(cleave__root_level(index->root.word), 2);
}

/* The parent of the leaf that holds the address: nobody else is there. */
static struct cleave__branch *parent_of(struct cleave *index, uint64_t addr, unsigned int *i)
{
	struct cleave__position position;

	index->search->seek_rcu(index, addr, &position);
	*i = position.index;
	return position.parent;
}

static bool raise(struct cleave *index, uint64_t gap, struct cleave__branch *parent)
{
	bool raised;

	manual_enter(&manual);
	raised = cleave__raise(index, &manual.self, 0, 500, gap, parent, true);
	manual_leave(&manual);
	return raised;
}

static void a_bound_is_raised_whole_or_not_at_all(void **state)
{
	struct cleave__branch *parent, *root;
	struct cleave index;
	unsigned int i;

	(void)state;
	plant(&index);
	parent = parent_of(&index, 500, &i);
	root = cleave__branch(cleave__root_node(index.root.word));

	/* The one above the parent is locked: so the parent's is taken back. */
	assert_true(cleave__trylock(&root->node.lock));
	assert_false(raise(&index, 20, NULL));
	assert_false(raise(&index, 20, parent));
	cleave__unlock_node(&index, &root->node);
	assert_true(cleave__branch_gap(parent, i) == 0);

	assert_int_equal(cleave_reserve(&manual.self, 2), 0);
	manual_enter(&manual);
	assert_true(cleave__trylock(&root->node.lock));
	assert_int_equal(cleave_try_store_rcu(&index, &manual.self, 500, 509, NULL), -EAGAIN);
	cleave__unlock_node(&index, &root->node);
	manual_leave(&manual);
	assert_true(cleave__branch_gap(parent, i) == 0);

	/* Then the parent. */
	assert_true(cleave__trylock(&parent->node.lock));
	assert_false(raise(&index, 20, NULL));
	assert_false(raise(&index, 20, parent));
	cleave__unlock_node(&index, &parent->node);

	/* Somebody raised it after the caller had looked. */
	assert_true(raise(&index, 20, parent));
	assert_true(cleave__branch_gap(parent, i) == 40);
	assert_true(raise(&index, 20, parent));
	assert_true(cleave__branch_gap(parent, i) == 40);
	cleave_destroy(&index, &manual.self);
}

static void a_bound_is_lowered_once(void **state)
{
	struct cleave__branch *parent;
	struct cleave index;
	unsigned int i;

	(void)state;
	plant(&index);
	parent = parent_of(&index, 500, &i);
	assert_true(raise(&index, 20, NULL));
	for (unsigned int turn = 0; turn < 2; turn++) {
		struct cleave__node *child;

		manual_enter(&manual);
		child = cleave__link_read_rcu(&parent->child[i]);
		/* What a search has seen there, before the leaf had another order word, does not count. */
		cleave__lower_rcu(&index, &manual.self, parent, i, child, 0, 7);
		manual_leave(&manual);
		assert_true(cleave__branch_gap(parent, i) == 0);
		assert_int_equal(manual.self.counters.lowers, 1);
	}
	cleave_destroy(&index, &manual.self);
}

/* ---- A lock that is handed over ---- */

static void who_asked_waits_until_it_is_granted(void **state)
{
	struct cleave__wait wait = { .hold_on = true, .wakes = CLEAVE__PATIENCE };
	struct cleave_word32 lock = { 0 };

	(void)state;
	assert_true(cleave__trylock(&lock));
	assert_false(cleave__lock_or_mark(&manual.domain, &manual.self, &lock, &wait));
	assert_ptr_equal(wait.asked, &lock);
	/* Others take it no more, nor does who asked, before the holder lets go. */
	assert_false(cleave__lock_or_mark(&manual.domain, &manual.self, &lock, &wait));
	cleave__unlock(&manual.domain, &lock, true);
	assert_false(cleave__trylock(&lock));
	assert_true(cleave__lock_or_mark(&manual.domain, &manual.self, &lock, &wait));
	assert_int_equal(manual.self.counters.handovers, 1);
	cleave__unlock(&manual.domain, &lock, false);
}

/* What a thread has left behind is taken over, unless another one has the domain's lock. */
static void nobody_waits_to_take_nodes_over(void **state)
{
	struct cleave_thread other;
	struct cleave index;
	uint64_t reuses;

	(void)state;
	manual.grace = GRACE_ON_DEMAND;
	plant(&index);
	cleave_thread_init(&other, &manual.domain);
	for (unsigned int n = 0; n < 2 * CLEAVE__CELLS; n++) /* no cell comes back: copies */
		assert_int_equal(cleave_store(&index, &other, 500, 509, &index + n % 2, NULL), 0);
	cleave_thread_exit(&other);
	manual.grace = GRACE_AT_ONCE;
	assert_true(manual.domain.orphaned.word > 0);
	reuses = manual.self.counters.reuses;
	assert_true(cleave__trylock(&manual.domain.lock));
	assert_int_equal(cleave__pool_fill(&manual.self, manual.self.nfree[CLEAVE__LEAF] + 1, 0, false), 0);
	assert_int_equal(manual.self.counters.reuses, reuses);
	cleave__unlock(&manual.domain, &manual.domain.lock, true);
	assert_int_equal(cleave__pool_fill(&manual.self, manual.self.nfree[CLEAVE__LEAF] + 1, 0, false), 0);
	assert_int_equal(manual.self.counters.reuses, reuses + 1);
	cleave_destroy(&index, &manual.self);
}

/* ---- What a walk finds too late ---- */

static void a_try_lets_a_dead_leaf_be(void **state)
{
	struct cleave__position position;
	struct cleave__leaf *leaf;
	struct cleave index;
	uint64_t order;

	(void)state;
	plant(&index);
	assert_int_equal(cleave_reserve(&manual.self, 1), 0);
	manual_enter(&manual);
	index.search->seek_rcu(&index, 500, &position);
	leaf = cleave__leaf(position.node);
	order = cleave__order_locked(leaf);
	cleave__mark_dead_locked(&leaf->node);
	assert_int_equal(cleave_try_clip_rcu(&index, &manual.self, 505), -EAGAIN);
	assert_int_equal(cleave_try_store_rcu(&index, &manual.self, 500, 509, &index), -EAGAIN);
	PORT_STORE(&leaf->node.order, order, PORT_RELAXED);
	assert_int_equal(cleave_try_clip_rcu(&index, &manual.self, 505), 0);
	manual_leave(&manual);
	cleave_destroy(&index, &manual.self);
}

/* ---- A grace period that ends between two looks ---- */

static unsigned int questions; /* that are answered by no, yet */

static bool done_later(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	(void)domain;
	(void)self;
	(void)cookie;
	if (questions == 0)
		return true;
	questions--;
	return false;
}

/*
 * A try finds no clean cell in the leaf, and its parent locked; it looks once more, as a transaction, finds some, and
 * then the bound too low for its gap.
 */
static void a_try_finds_cells_when_it_has_locked_again(void **state)
{
	struct cleave_entry entry;
	struct cleave__branch *parent;
	struct cleave index;
	unsigned int i;

	(void)state;
	ops.done = done_later;
	for (unsigned int changes = 0; changes < 12; changes++) {
		for (unsigned int later = 0; later < 4; later++) {
			plant(&index);
			questions = UINT_MAX;
			assert_int_equal(cleave_store(&index, &manual.self, 500, 539, &index, NULL), 0);
			for (unsigned int n = 0; n < changes; n++)
				assert_int_equal(cleave_store(&index, &manual.self, 540, 549, &entry + n % 2, NULL), 0);
			assert_int_equal(cleave_reserve(&manual.self, 1), 0);
			parent = parent_of(&index, 545, &i);
			assert_true(cleave__trylock(&parent->node.lock));
			questions = later;
			manual_enter(&manual);
			assert_int_equal(cleave_try_store_rcu(&index, &manual.self, 540, 549, NULL), -EAGAIN);
			assert_non_null(cleave_lookup_rcu(&index, 545, &entry));
			manual_leave(&manual);
			cleave__unlock_node(&index, &parent->node);
			assert_true(cleave__branch_gap(parent, i) == 0);
			questions = 0;
			cleave_destroy(&index, &manual.self);
		}
	}
}

/* ---- A range that changes while it is looked at ---- */

struct restless {
	struct cleave *index;
	struct cleave_thread *other;
	uint64_t first;
	unsigned int changes; /* so many are made */
	bool answer;	      /* then */
};

/* Each round of answers is out of date by the time that it ends. */
static bool changes_it(void *context, const struct cleave_entry *entry)
{
	struct restless *restless = context;

	if (restless->changes == 0)
		return restless->answer;
	if (entry->first != restless->first)
		return true;
	assert_int_equal(cleave_try_clip_rcu(restless->index, restless->other, restless->first + restless->changes), 0);
	restless->changes--;
	return true;
}

static void who_covers_a_range_locks_it_if_it_does_not_hold_still(void **state)
{
	struct cleave_entry bad = { 0 };
	struct restless restless;
	struct cleave_thread other;
	struct cleave index;

	(void)state;
	plant(&index);
	cleave_thread_init(&other, &manual.domain);
	assert_int_equal(cleave_reserve(&other, 3 * PORT_COVER_TRIES + 1), 0);
	restless = (struct restless){ &index, &other, 500, PORT_COVER_TRIES, true };
	manual_enter(&manual);
	assert_int_equal(cleave_covers_rcu(&index, 500, 509, changes_it, &restless, NULL, NULL, 0), -EAGAIN);
	manual_leave(&manual);
	restless = (struct restless){ &index, &other, 510, PORT_COVER_TRIES, true };
	assert_int_equal(cleave_covers(&index, &manual.self, 510, 519, changes_it, &restless, NULL), 1);
	restless = (struct restless){ &index, &other, 520, 1, true };
	assert_int_equal(cleave_covers(&index, &manual.self, 520, 529, changes_it, &restless, NULL), 1);
	restless = (struct restless){ &index, &other, 530, PORT_COVER_TRIES, false };
	assert_int_equal(cleave_covers(&index, &manual.self, 530, 539, changes_it, &restless, &bad), 0);
	assert_true(bad.first == 530);
	cleave_thread_exit(&other);
	cleave_destroy(&index, &manual.self);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_agree_with_the_model_where_nodes_are_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bound_is_raised_whole_or_not_at_all, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bound_is_lowered_once, setup, teardown),
		cmocka_unit_test_setup_teardown(who_asked_waits_until_it_is_granted, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_waits_to_take_nodes_over, setup, teardown),
		cmocka_unit_test_setup_teardown(a_try_lets_a_dead_leaf_be, setup, teardown),
		cmocka_unit_test_setup_teardown(a_try_finds_cells_when_it_has_locked_again, setup, teardown),
		cmocka_unit_test_setup_teardown(who_covers_a_range_locks_it_if_it_does_not_hold_still, setup, teardown),
	};

	return RUN_TESTS(tests, argc, argv);
}
