/* SPDX-License-Identifier: ISC */
/*
 * Leaves that are replaced without a transaction: what they become; what stands in the way, and changes nothing then.
 */
#include "siblings.h"

#include "world.h"

#define LENGTH 10 /* of an entry */

static struct manual_domain manual;
static struct world world;

/* What a change has in its hands. */
static struct {
	struct cleave__position position;
	struct cleave__node *others;
	unsigned int nfree[2]; /* private nodes before the call */
	uint64_t root;
} held;

static int setup(void **state)
{
	(void)state;
	manual_start(&manual, GRACE_LATE, NULL, 1000);
	return 0;
}

/* Checks that nothing leaked. */
static int teardown(void **state)
{
	(void)state;
	manual_stop(&manual);
	return 0;
}

/* ---- The tree, and one of its leaves ---- */

/* Entries side by side that fill the address space, and leaves that are packed full. */
static void plant(unsigned int leaves)
{
	static const struct keyspace any = { "all addresses", 0, 0, 1, 0 };
	struct cleave_entry entry[32 * CLEAVE__CELLS];
	unsigned int n = leaves * CLEAVE__CELLS;

	assert_true(leaves <= 32);
	for (unsigned int i = 0; i < n; i++)
		entry[i] = (struct cleave_entry){ i * LENGTH, i * LENGTH + LENGTH - 1, (void *)(uintptr_t)(i + 1) };
	entry[n - 1].last = UINT64_MAX;
	world_start(&world, &manual.domain, &manual.self, &any, 1);
	assert_int_equal(cleave_build(&world.index, &manual.self, entry, n), 0);
	for (unsigned int i = 0; i < n; i++)
		model_store(&world.model, entry[i].first, entry[i].last, entry[i].value, NULL);
	assert_int_equal(cleave__pool_fill(&manual.self, 8, 8, false), 0);
}

static uint64_t start_of(unsigned int leaf, unsigned int entry)
{
	return (leaf * CLEAVE__CELLS + entry) * LENGTH;
}

static void erase(unsigned int leaf, unsigned int entry, unsigned int n)
{
	uint64_t first = start_of(leaf, entry), last = first + n * LENGTH - 1;

	assert_int_equal(cleave_erase(&world.index, &manual.self, first, last, NULL), 0);
	model_store(&world.model, first, last, NULL, NULL);
}

/* As a change does: find the leaf, lock it, stay in the section. */
static void hold(uint64_t addr)
{
	memset(&held, 0, sizeof(held));
	manual_enter(&manual);
	world.index.search->seek_rcu(&world.index, addr, &held.position);
	assert_true(cleave__trylock(&held.position.node->lock));
	held.nfree[CLEAVE__LEAF] = manual.self.nfree[CLEAVE__LEAF];
	held.nfree[CLEAVE__BRANCH] = manual.self.nfree[CLEAVE__BRANCH];
	held.root = world.index.root.word;
}

static struct cleave__node *beside(int step)
{
	return cleave__link_read_locked(&held.position.parent->child[(int)held.position.index + step]);
}

/* The leaf has been replaced: what a change does then. */
static void let_go_replaced(void)
{
	assert_true(cleave__dead_locked(held.position.node));
	assert_true(cleave__dead_locked(&held.position.parent->node));
	cleave__unlock_dead(&world.index, held.position.node);
	manual_leave(&manual);
	cleave__pool_retire_with(&manual.self, held.position.node, held.others);
	world_compare(&world);
}

/* Nothing has changed, no lock was kept but the caller's, no node was lost. */
static void let_go_unchanged(void)
{
	assert_false(cleave__dead_locked(held.position.node));
	assert_null(held.others);
	assert_true(held.root == world.index.root.word);
	assert_int_equal(manual.self.nfree[CLEAVE__LEAF], held.nfree[CLEAVE__LEAF]);
	assert_int_equal(manual.self.nfree[CLEAVE__BRANCH], held.nfree[CLEAVE__BRANCH]);
	cleave__unlock_node(&world.index, held.position.node);
	manual_leave(&manual);
	world_compare(&world); /* the validator finds a lock that is held */
}

/* Nobody else is there: no section is needed. */
static struct cleave__branch *parent_of(uint64_t addr)
{
	struct cleave__position position;

	world.index.search->seek_rcu(&world.index, addr, &position);
	return position.parent;
}

static unsigned int cells_of(const struct cleave__branch *parent, unsigned int child)
{
	return cleave__count12(cleave__live(cleave__leaf_const(parent->child[child].word)->node.order.word));
}

/* ---- Division ---- */

/* Inside an entry of a full leaf: two cells more. */
static bool divide(unsigned int leaf, unsigned int entry, void *value, struct cleave__divided *locked)
{
	uint64_t first = start_of(leaf, entry) + 3;
	unsigned int share;

	hold(first);
	share = locked ? cleave__cut_share(cleave__leaf(held.position.node), first, first + 3, CLEAVE__CELLS + 2) : 0;
	if (!cleave__divide(&world.index, &manual.self, &held.position, first, first + 3, value, share, locked,
			    &held.others))
		return false;
	model_store(&world.model, first, first + 3, value, NULL);
	return true;
}

static void a_full_leaf_and_a_full_neighbour_become_three(void **state)
{
	struct cleave__node *right;

	(void)state;
	plant(5);
	assert_true(divide(2, 5, &world, NULL));
	right = beside(1);
	assert_ptr_equal(held.others, right);
	assert_ptr_equal(right->link, &held.position.parent->node);
	assert_null(held.position.parent->node.link);
	let_go_replaced();
	assert_int_equal(parent_of(0)->node.count, 6);
	for (unsigned int child = 2; child < 5; child++)
		assert_int_equal(cells_of(parent_of(0), child), child < 4 ? 9 : 8);
	assert_int_equal(manual.self.counters.splits, 1);
	world_stop(&world);
}

static void a_full_leaf_shares_its_neighbours_room(void **state)
{
	(void)state;
	for (unsigned int side = 1; side <= 3; side += 2) {
		uint64_t splits = manual.self.counters.splits;

		plant(5);
		erase(side, 3, 6); /* six entries and a gap */
		assert_true(divide(2, 5, &world, NULL));
		let_go_replaced();
		assert_int_equal(parent_of(0)->node.count, 5);
		assert_int_equal(cells_of(parent_of(0), side == 1 ? 1 : 2), 11);
		assert_int_equal(cells_of(parent_of(0), side == 1 ? 2 : 3), 10);
		assert_int_equal(manual.self.counters.splits, splits);
		world_stop(&world);
	}
}

static void a_leaf_beside_a_locked_one_is_divided_alone(void **state)
{
	struct cleave__node *right;

	(void)state;
	plant(5);
	erase(3, 3, 6);
	right = &cleave__leaf(parent_of(0)->child[3].word)->node;
	assert_true(cleave__trylock(&right->lock));
	assert_true(divide(2, 5, &world, NULL));
	assert_ptr_equal(held.others, &held.position.parent->node);
	cleave__unlock_node(&world.index, right);
	let_go_replaced();
	assert_int_equal(parent_of(0)->node.count, 6);
	assert_ptr_equal(parent_of(0)->child[4].word, right);
	world_stop(&world);
}

/* Ascending insertion leaves full leaves behind. */
static void a_put_at_the_end_leaves_a_full_leaf(void **state)
{
	(void)state;
	plant(5);
	assert_true(divide(2, CLEAVE__CELLS - 1, &world, NULL));
	let_go_replaced();
	assert_int_equal(parent_of(0)->node.count, 6);
	assert_int_equal(cells_of(parent_of(0), 2), CLEAVE__FULL);
	assert_int_equal(cells_of(parent_of(0), 3), 3);
	world_stop(&world);
}

/* Two branches in the place of one, under a copy of the branch above; the new leaves are beside each other. */
static void a_full_parent_is_divided_too(void **state)
{
	static const struct {
		unsigned int leaf;
		unsigned int entry;
		unsigned int first_half; /* children of the first branch */
	} cases[] = {
		{ 2, 5, 8 }, { 6, 5, 9 }, { 7, 5, 7 }, { 13, 5, 8 }, { 15, CLEAVE__CELLS - 1, 15 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cleave__node *above;

		plant(2 * CLEAVE__FANOUT);
		assert_true(divide(cases[i].leaf, cases[i].entry, &world, NULL));
		above = held.position.parent->node.link;
		assert_true(cleave__dead_locked(above));
		assert_ptr_equal(above, &held.position.above->node);
		let_go_replaced();
		assert_int_equal(parent_of(0)->node.count, cases[i].first_half);
		assert_int_equal(parent_of(start_of(CLEAVE__FANOUT, 0) - 1)->node.count,
				 CLEAVE__FANOUT + 1 - cases[i].first_half);
		world_stop(&world);
	}
}

/* From the top of a gap downward: the branch that is left behind is the one above. */
static void a_full_parent_keeps_what_is_above_a_descent(void **state)
{
	uint64_t first = start_of(0, 0) + LENGTH / 2, last = start_of(0, 1) - 1;

	(void)state;
	plant(2 * CLEAVE__FANOUT);
	erase(0, 0, 1);
	hold(first);
	assert_true(cleave__divide(&world.index, &manual.self, &held.position, first, last, &world, 0, NULL,
				   &held.others));
	model_store(&world.model, first, last, &world, NULL);
	let_go_replaced();
	assert_int_equal(parent_of(0)->node.count, 2);
	assert_int_equal(parent_of(start_of(CLEAVE__FANOUT, 0) - 1)->node.count, CLEAVE__FANOUT - 1);
	world_stop(&world);
}

/* Of a leaf that a hold cuts upward the rest is set apart, whether it is full or not, and the parts keep room. */
static void a_cut_at_the_end_leaves_room(void **state)
{
	struct cleave__divided locked;
	struct cleave__node *node;

	(void)state;
	for (unsigned int full = 0; full < 2; full++) {
		plant(5);
		if (!full)
			erase(2, 7, CLEAVE__CELLS - 7);
		assert_true(divide(2, full ? CLEAVE__CELLS - 1 : 6, &world, &locked));
		for (node = locked.leaves; node; node = node->link)
			cleave__unlock_node(&world.index, node);
		let_go_replaced();
		assert_int_equal(parent_of(0)->node.count, 6);
		assert_int_equal(cells_of(parent_of(0), 2), CLEAVE__CRAMPED);
		assert_int_equal(cells_of(parent_of(0), 3), full ? CLEAVE__CELLS + 2 - CLEAVE__CRAMPED : 2);
		world_stop(&world);
	}
}

/* One address after the other of an entry below others in its leaf: it is set apart once. */
static void a_cut_below_other_entries_copies_once(void **state)
{
	uint64_t first = start_of(2, 4), last = first + LENGTH - 2;
	struct cleave_hold hold;

	(void)state;
	plant(5);
	manual.grace = GRACE_ON_DEMAND;
	erase(2, 8, CLEAVE__CELLS - 8);
	for (uint64_t at = first; at <= last; at++) {
		cleave_hold_begin(&hold, &world.index, &manual.self, at);
		assert_int_equal(cleave_hold_put(&hold, at, at, &manual), 0);
		cleave_hold_end(&hold);
		model_store(&world.model, at, at, &manual, NULL);
	}
	assert_int_equal(manual.self.counters.copies, 1); /* at first: who cuts once need not go on */
	world_compare(&world);
	world_stop(&world);
}

/* Who has come back to a leaf cuts it upward; but not this one, whose hold is older. */
static void a_cut_in_an_older_hold_is_no_way_upward(void **state)
{
	uint64_t first = start_of(2, 4), last = first + 3;
	struct cleave_hold hold, later;
	struct cleave other;

	(void)state;
	plant(5);
	manual.grace = GRACE_ON_DEMAND;
	assert_int_equal(cleave_init(&other, &manual.self), 0);
	cleave_hold_begin(&hold, &world.index, &manual.self, first);
	for (unsigned int turn = 0; turn < 2; turn++) {
		cleave_hold_begin(&later, &other, &manual.self, 0);
		cleave_hold_end(&later);
	}
	assert_true(manual.self.last.again);
	assert_int_equal(cleave_hold_put(&hold, first, last, &manual), 0);
	cleave_hold_end(&hold);
	model_store(&world.model, first, last, &manual, NULL);
	world_compare(&world);
	/* It shares with its neighbour. */
	assert_int_equal(parent_of(0)->node.count, 6);
	assert_int_equal(cells_of(parent_of(0), 2), 9);
	cleave_destroy(&other, &manual.self);
	world_stop(&world);
}

/* To divide a leaf without clean cells is only a wish: it takes more nodes than a copy. */
static void a_cut_without_nodes_to_divide_copies(void **state)
{
	struct cleave_hold hold;
	int result;

	(void)state;
	plant(5);
	manual.grace = GRACE_ON_DEMAND;
	for (uint64_t at = start_of(2, CLEAVE__CELLS - 1), last = at + 4; at <= last; at++) {
		/* The first cut divides a full leaf: five cells are above; three cuts more: eight, three dropped. */
		if (at == last) {
			assert_int_equal(manual.self.counters.splits, 1);
			assert_int_equal(manual.self.counters.copies, 0);
			counting_memory_grant(&manual.memory, 0);
			manual.self.reserved[CLEAVE__BRANCH] = manual.self.nfree[CLEAVE__BRANCH];
		}
		cleave_hold_begin(&hold, &world.index, &manual.self, at);
		result = cleave_hold_put(&hold, at, at, &world);
		cleave_hold_end(&hold);
		assert_int_equal(result, 0);
		model_store(&world.model, at, at, &world, NULL);
	}
	manual.self.reserved[CLEAVE__BRANCH] = 0;
	counting_memory_grant(&manual.memory, GRANT_ALL);
	assert_int_equal(manual.self.counters.splits, 1);
	assert_int_equal(manual.self.counters.copies, 1);
	world_compare(&world);
	world_stop(&world);
}

static void new_leaves_are_published_locked_for_who_asks(void **state)
{
	struct cleave__divided locked;
	struct cleave__node *node;
	unsigned int n = 0;

	(void)state;
	plant(5);
	assert_true(divide(2, 5, &world, &locked));
	assert_ptr_equal(locked.parent, parent_of(0));
	assert_int_equal(locked.at, 2);
	for (node = locked.leaves; node; node = node->link, n++) {
		assert_false(cleave__trylock(&node->lock));
		assert_ptr_equal(node, parent_of(0)->child[2 + n].word);
		cleave__unlock_node(&world.index, node);
	}
	assert_int_equal(n, 3);
	let_go_replaced();
	world_stop(&world);
}

/* What was copied again and again for want of cells gets more room than it needs. */
static void a_cramped_leaf_is_spread(void **state)
{
	(void)state;
	plant(5);
	erase(2, 7, 3); /* nine entries and a gap */
	cleave__leaf(parent_of(0)->child[2].word)->node.count = CLEAVE__COPIES;
	assert_true(divide(2, 3, &world, NULL));
	let_go_replaced();
	assert_int_equal(parent_of(0)->node.count, 6);
	for (unsigned int child = 2; child < 5; child++)
		assert_true(cells_of(parent_of(0), child) <= CLEAVE__CRAMPED);
	world_stop(&world);
}

static void a_cramped_leaf_is_divided_alone_where_a_gap_is_filled(void **state)
{
	struct cleave__node *right;

	(void)state;
	plant(5);
	erase(2, 7, 3); /* nine entries and a gap */
	cleave__leaf(parent_of(0)->child[2].word)->node.count = CLEAVE__COPIES;
	right = parent_of(0)->child[3].word;
	assert_true(divide(2, 7, &world, NULL));
	let_go_replaced();
	assert_int_equal(parent_of(0)->node.count, 6);
	for (unsigned int child = 2; child < 4; child++)
		assert_int_equal(cells_of(parent_of(0), child), 6);
	assert_ptr_equal(parent_of(0)->child[4].word, right);
	world_stop(&world);
}

static void what_stands_in_the_way_of_a_division(void **state)
{
	struct cleave__node *parent;

	(void)state;
	plant(5);
	parent = &parent_of(0)->node;

	check_context("the parent is locked");
	assert_true(cleave__trylock(&parent->lock));
	assert_false(divide(2, 5, &world, NULL));
	cleave__unlock_node(&world.index, parent);
	let_go_unchanged();

	check_context("the root is locked");
	assert_true(cleave__trylock(&world.index.root_lock));
	assert_false(divide(2, 5, &world, NULL));
	cleave__unlock(&manual.domain, &world.index.root_lock, true);
	let_go_unchanged();

	check_context("a copy holds it");
	erase(2, 2, 3);
	assert_false(divide(2, 8, &world, NULL));
	let_go_unchanged();

	check_context("nodes are promised to others");
	manual.self.reserved[CLEAVE__LEAF] = manual.self.nfree[CLEAVE__LEAF] - 2;
	assert_false(divide(3, 5, &world, NULL));
	manual.self.reserved[CLEAVE__LEAF] = 0;
	let_go_unchanged();
	manual.self.reserved[CLEAVE__BRANCH] = manual.self.nfree[CLEAVE__BRANCH];
	assert_false(divide(3, 5, &world, NULL));
	manual.self.reserved[CLEAVE__BRANCH] = 0;
	let_go_unchanged();
	assert_true(divide(3, 5, &world, NULL));
	let_go_replaced();
	world_stop(&world);

	check_context("the parent is full");
	plant(CLEAVE__FANOUT);
	assert_int_equal(parent_of(0)->node.count, CLEAVE__FANOUT);
	assert_false(divide(2, 5, &world, NULL));
	let_go_unchanged();
	world_stop(&world);

	check_context("the parent is full, and shares with the branch behind it");
	plant(2 * CLEAVE__FANOUT);
	assert_true(divide(CLEAVE__FANOUT + 2, 5, &world, NULL));
	let_go_replaced();
	assert_int_equal(cleave__pool_fill(&manual.self, 8, 8, false), 0);
	assert_int_equal(parent_of(0)->node.count, CLEAVE__FANOUT);
	assert_false(divide(2, 5, &world, NULL));
	let_go_unchanged();
	world_stop(&world);

	check_context("the parent is full, and what is above the branch above is locked");
	plant(2 * CLEAVE__FANOUT);
	assert_true(cleave__trylock(&world.index.root_lock));
	assert_false(divide(2, 5, &world, NULL));
	cleave__unlock(&manual.domain, &world.index.root_lock, true);
	let_go_unchanged();
	assert_true(divide(2, 5, &world, NULL));
	let_go_replaced();
	world_stop(&world);

	check_context("a lone leaf has no parent");
	plant(1);
	assert_false(divide(0, 5, &world, NULL));
	let_go_unchanged();
	world_stop(&world);
}

/* A bound is raised before a gap is published, and not here. */
static void a_gap_above_the_bound_is_not_for_siblings(void **state)
{
	struct cleave__branch *parent;

	(void)state;
	plant(20);
	assert_int_equal(cleave__root_level(world.index.root.word), 2);
	assert_false(divide(2, 5, NULL, NULL));
	let_go_unchanged();

	/* With a gap of that size beneath the same parent it is. */
	parent = parent_of(0);
	erase(parent->node.count - 1, 4, 1);
	assert_true(divide(2, 5, NULL, NULL));
	let_go_replaced();
	world_stop(&world);
}

/* ---- Borders ---- */

/* Erase an entry at the border of `leaf`, beside a gap of the leaf at `step`. */
static bool move(unsigned int leaf, unsigned int entry, int step)
{
	uint64_t first = start_of(leaf, entry), last = first + LENGTH - 1;

	hold(first);
	assert_true(cleave__trylock(&beside(step)->lock));
	if (!cleave__move_border(&world.index, &manual.self, &held.position, beside(step), first, last,
				 &held.others))
		return false;
	model_store(&world.model, first, last, NULL, NULL);
	return true;
}

/*
 * Leaf 2 ends with a gap, and leaf 3 loses its first entry, or the other way round.  Before that `taken` entries in the
 * middle of the edited leaf become a gap, and one of the other leaf, if `between`.  Return: the leaves' border.
 */
static uint64_t border_after(bool right_edited, unsigned int taken, unsigned int between)
{
	unsigned int edited = right_edited ? 3 : 2, other = right_edited ? 2 : 3;
	struct cleave__branch *parent;
	uint64_t border;

	check_context("%s edited, %u taken, %u between", right_edited ? "right" : "left", taken, between);
	plant(5);
	if (taken)
		erase(edited, 4, taken);
	if (between)
		erase(other, between, 1);
	erase(other, right_edited ? CLEAVE__CELLS - 1 : 0, 1);
	assert_true(move(edited, right_edited ? 0 : CLEAVE__CELLS - 1, right_edited ? -1 : 1));
	let_go_replaced();
	parent = parent_of(0);
	assert_int_equal(parent->node.count, 5);
	border = parent->child[2].word->last + 1;
	world_stop(&world);
	return border;
}

static void a_joint_gap_goes_to_the_edited_leaf(void **state)
{
	(void)state;
	/* A full leaf gets nothing but the gap. */
	assert_true(border_after(true, 0, 0) == start_of(2, CLEAVE__CELLS - 1));
	assert_true(border_after(false, 0, 0) == start_of(3, 1));
	/* An entry more, so that the border lies between two. */
	assert_true(border_after(true, 3, 0) == start_of(2, CLEAVE__CELLS - 2));
	assert_true(border_after(false, 3, 0) == start_of(3, 2));
	/* There is another gap behind that entry. */
	assert_true(border_after(true, 5, CLEAVE__CELLS - 3) == start_of(2, CLEAVE__CELLS - 4));
	assert_true(border_after(false, 5, 2) == start_of(3, 4));
	/* That is too far for the room. */
	assert_true(border_after(true, 3, CLEAVE__CELLS - 3) == start_of(2, CLEAVE__CELLS - 1));
	assert_true(border_after(false, 3, 2) == start_of(3, 1));
}

static void what_stands_in_the_way_of_a_border(void **state)
{
	struct cleave__node *parent, *left;

	(void)state;
	plant(5);
	erase(2, CLEAVE__CELLS - 1, 1);
	parent = &parent_of(0)->node;
	assert_true(cleave__trylock(&parent->lock));
	assert_false(move(3, 0, -1));
	cleave__unlock_node(&world.index, parent);
	/* The neighbour is the caller's still. */
	left = beside(-1);
	assert_false(cleave__trylock(&left->lock));
	cleave__unlock_node(&world.index, left);
	let_go_unchanged();
	world_stop(&world);
}

/* ---- Joining ---- */

static enum cleave__joined join(unsigned int leaf)
{
	hold(start_of(leaf, 0));
	return cleave__join(&world.index, &manual.self, &held.position, &held.others);
}

static void a_leaf_is_joined_with_a_small_neighbour(void **state)
{
	(void)state;
	for (unsigned int side = 1; side <= 3; side += 2) {
		uint64_t merges = manual.self.counters.merges;

		plant(5);
		erase(2, 3, 8);
		erase(side, 3, 9);
		assert_int_equal(join(2), CLEAVE__JOINS);
		let_go_replaced();
		assert_int_equal(parent_of(0)->node.count, 4);
		assert_int_equal(cells_of(parent_of(0), side == 3 ? 2 : 1), 9);
		assert_int_equal(manual.self.counters.merges, merges + 1);
		world_stop(&world);
	}
}

static void what_stands_in_the_way_of_joining(void **state)
{
	struct cleave__node *parent, *right;

	(void)state;
	plant(5);
	erase(2, 3, 8);
	assert_int_equal(join(2), CLEAVE__NO_ROOM);
	let_go_unchanged();
	erase(0, 3, 8);
	assert_int_equal(join(0), CLEAVE__ELSEWHERE); /* there may be one under another parent */
	let_go_unchanged();
	erase(4, 3, 7);
	assert_int_equal(join(4), CLEAVE__ELSEWHERE);
	let_go_unchanged();

	/* The only small neighbour is locked, then the parent is. */
	erase(3, 3, 9);
	parent = &parent_of(0)->node;
	right = &cleave__leaf(parent_of(0)->child[3].word)->node;
	assert_true(cleave__trylock(&right->lock));
	assert_int_equal(join(2), CLEAVE__NO_ROOM);
	cleave__unlock_node(&world.index, right);
	let_go_unchanged();
	assert_true(cleave__trylock(&parent->lock));
	assert_int_equal(join(2), CLEAVE__ELSEWHERE);
	cleave__unlock_node(&world.index, parent);
	let_go_unchanged();
	world_stop(&world);

	/* A branch of few children is better merged itself. */
	plant(CLEAVE__SMALL + 1);
	erase(1, 3, 8);
	erase(2, 3, 8);
	assert_int_equal(join(1), CLEAVE__ELSEWHERE);
	let_go_unchanged();
	world_stop(&world);
}

/* He may want its room again. */
static void who_has_divided_a_leaf_joins_later(void **state)
{
	(void)state;
	plant(6);
	erase(0, 3, 8);
	assert_true(divide(4, 5, &world, NULL));
	let_go_replaced();
	/* An entry and a gap are left, by an edit, and by what takes more. */
	erase(1, 2, CLEAVE__CELLS - 2);
	erase(1, 1, 1);
	erase(2, 5, CLEAVE__CELLS - 5);
	erase(2, 1, 4);
	assert_int_equal(manual.self.counters.merges, 0);
	/* Nothing but a gap. */
	erase(1, 0, 1);
	assert_int_equal(manual.self.counters.merges, 1);
	/* After some edits the division is forgotten. */
	manual.self.divided -= PORT_RESTLESS;
	erase(3, 2, CLEAVE__CELLS - 2);
	erase(3, 1, 1);
	assert_int_equal(manual.self.counters.merges, 2);
	world_compare(&world);
	world_stop(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_full_leaf_and_a_full_neighbour_become_three, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_leaf_shares_its_neighbours_room, setup, teardown),
		cmocka_unit_test_setup_teardown(a_leaf_beside_a_locked_one_is_divided_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_put_at_the_end_leaves_a_full_leaf, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_parent_is_divided_too, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_parent_keeps_what_is_above_a_descent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_at_the_end_leaves_room, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_below_other_entries_copies_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_in_an_older_hold_is_no_way_upward, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_without_nodes_to_divide_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(new_leaves_are_published_locked_for_who_asks, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cramped_leaf_is_spread, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cramped_leaf_is_divided_alone_where_a_gap_is_filled, setup, teardown),
		cmocka_unit_test_setup_teardown(what_stands_in_the_way_of_a_division, setup, teardown),
		cmocka_unit_test_setup_teardown(a_gap_above_the_bound_is_not_for_siblings, setup, teardown),
		cmocka_unit_test_setup_teardown(a_joint_gap_goes_to_the_edited_leaf, setup, teardown),
		cmocka_unit_test_setup_teardown(what_stands_in_the_way_of_a_border, setup, teardown),
		cmocka_unit_test_setup_teardown(a_leaf_is_joined_with_a_small_neighbour, setup, teardown),
		cmocka_unit_test_setup_teardown(what_stands_in_the_way_of_joining, setup, teardown),
		cmocka_unit_test_setup_teardown(who_has_divided_a_leaf_joins_later, setup, teardown),
	};

	return RUN_TESTS(tests, argc, argv);
}
