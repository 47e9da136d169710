/* SPDX-License-Identifier: ISC */
/* The validator sees what it is there for: each invariant is broken by hand, in turn. */
#include "pool.h"

#include "support.h"

#define ENTRIES 60
#define MOST_LEAVES 16

/* A root with leaves below it: [100 i + 100, 100 i + 149] for each entry, gaps between them. */
struct tree {
	struct manual_domain manual;
	struct cleave index;
	struct cleave__branch *root;
	struct cleave__leaf *leaf[MOST_LEAVES];
	unsigned int leaves;
	unsigned int partial; /* a leaf in the middle that is not full */
};

struct said {
	struct cleave_lines lines;
	size_t n;
	char text[64 * 160];
};

static void hear(struct cleave_lines *lines, const char *text)
{
	struct said *said = (struct said *)lines;

	said->n++;
	if (strlen(said->text) + strlen(text) + 2 < sizeof(said->text)) {
		strcat(said->text, text);
		strcat(said->text, "\n");
	}
}

static uint64_t word(const struct cleave__leaf *leaf)
{
	return leaf->node.order.word;
}

static unsigned int count(const struct cleave__leaf *leaf)
{
	return cleave__count12(cleave__live(word(leaf)));
}

static void plant(struct tree *tree)
{
	memset(tree, 0, sizeof(*tree));
	manual_start(&tree->manual, GRACE_AT_ONCE, NULL, 1000);
	CHECK(cleave_init(&tree->index, &tree->manual.self) == 0, "init");
	for (uint64_t i = 0; i < ENTRIES; i++)
		CHECK(cleave_insert(&tree->index, &tree->manual.self, 100 * i + 100, 100 * i + 149,
				    (void *)(uintptr_t)(i + 1), NULL) == 0,
		      "insert");
	CHECK(cleave__root_level(tree->index.root.word) == 1, "the test wants a root above leaves");
	tree->root = cleave__branch(cleave__root_node(tree->index.root.word));
	tree->leaves = tree->root->node.count;
	CHECK(tree->leaves >= 4 && tree->leaves < MOST_LEAVES, "%u leaves", tree->leaves);
	for (unsigned int i = 0; i < tree->leaves; i++) {
		tree->leaf[i] = cleave__leaf(tree->root->child[i].word);
		if (i > 0 && i + 1 < tree->leaves && count(tree->leaf[i]) < CLEAVE__CELLS)
			tree->partial = i;
	}
	if (!tree->partial) { /* all are full: make room in one */
		CHECK(cleave_erase(&tree->index, &tree->manual.self,
				   tree->leaf[1]->start[cleave__cell(word(tree->leaf[1]), 2)],
				   tree->leaf[1]->start[cleave__cell(word(tree->leaf[1]), 3)], NULL) == 0,
		      "erase");
		tree->leaf[1] = cleave__leaf(tree->root->child[1].word);
		tree->partial = 1;
	}
	CHECK(count(tree->leaf[tree->partial]) < CLEAVE__CELLS && count(tree->leaf[tree->partial]) >= 4, "%u cells",
	      count(tree->leaf[tree->partial]));
	check_index(&tree->index);
}

static void fell(struct tree *tree)
{
	cleave_destroy(&tree->index, &tree->manual.self);
	manual_stop(&tree->manual);
}

/* ---- What is broken ---- */

static struct cleave__leaf *victim(struct tree *tree)
{
	return tree->leaf[tree->partial];
}

/* Cell number `cell` is listed as the r-th. */
static void list(struct cleave__leaf *leaf, unsigned int r, unsigned int cell)
{
	leaf->node.order.word = (word(leaf) & ~(UINT64_C(15) << 4 * r)) | (uint64_t)cell << 4 * r;
}

static void lock_held(struct tree *tree)
{
	victim(tree)->node.lock.word = CLEAVE__LOCKED;
}

static void dead(struct tree *tree)
{
	victim(tree)->node.order.word |= CLEAVE__DEAD;
}

static void levels(struct tree *tree)
{
	tree->root->node.level = 2;
}

static void place_first(struct tree *tree)
{
	victim(tree)->node.first--;
}

static void place_last(struct tree *tree)
{
	victim(tree)->node.last++;
}

static void bound(struct tree *tree)
{
	tree->root->gap[tree->partial].word = 1;
}

static void root_first(struct tree *tree)
{
	tree->root->node.first = 1;
}

static void root_last(struct tree *tree)
{
	tree->root->node.last--;
}

static void no_children(struct tree *tree)
{
	tree->root->node.count = 0;
}

static void pivots(struct tree *tree)
{
	tree->root->pivot[2] = tree->root->pivot[1];
}

static void unused_pivot(struct tree *tree)
{
	tree->root->pivot[CLEAVE__FANOUT - 1] = 7;
}

static void hole(struct tree *tree)
{
	tree->leaf[2]->node.first++;
}

static void beyond_the_end(struct tree *tree)
{
	tree->leaf[tree->leaves - 2]->node.last = UINT64_MAX;
	tree->leaf[tree->leaves - 1]->node.first = 0;
}

static void no_cell(struct tree *tree)
{
	victim(tree)->node.order.word = 0;
}

static void live_and_young(struct tree *tree)
{
	victim(tree)->node.young |= (uint16_t)(1u << cleave__cell(word(victim(tree)), 0));
}

static void live_and_old(struct tree *tree)
{
	victim(tree)->node.old |= (uint16_t)(1u << cleave__cell(word(victim(tree)), 0));
}

static void young_and_old(struct tree *tree)
{
	unsigned int clean = ~cleave__live(word(victim(tree))) & CLEAVE__ALL_CELLS;

	victim(tree)->node.young |= (uint16_t)(clean & -clean);
	victim(tree)->node.old |= (uint16_t)(clean & -clean);
}

static void number_too_many(struct tree *tree)
{
	victim(tree)->node.order.word |= UINT64_C(1) << 44;
}

static void listed_twice(struct tree *tree)
{
	list(victim(tree), 1, cleave__cell(word(victim(tree)), 0));
}

static void listed_dead_cell(struct tree *tree)
{
	unsigned int clean = ~cleave__live(word(victim(tree))) & CLEAVE__ALL_CELLS;

	list(victim(tree), 1, (unsigned int)__builtin_ctz(clean));
}

static void listed_no_cell(struct tree *tree)
{
	list(victim(tree), count(victim(tree)) - 1, 14);
}

static void outside_above(struct tree *tree)
{
	struct cleave__leaf *leaf = victim(tree);

	leaf->start[cleave__cell(word(leaf), count(leaf) - 1)] = leaf->node.last + 1;
}

static void outside_below(struct tree *tree)
{
	struct cleave__leaf *leaf = victim(tree);

	leaf->start[cleave__cell(word(leaf), 1)] = leaf->node.first - 1;
}

static void first_cell(struct tree *tree)
{
	victim(tree)->start[cleave__cell(word(victim(tree)), 0)]++;
}

static void not_ascending(struct tree *tree)
{
	struct cleave__leaf *leaf = victim(tree);
	uint64_t *one = &leaf->start[cleave__cell(word(leaf), 1)], *two = &leaf->start[cleave__cell(word(leaf), 2)];
	uint64_t start = *one;

	*one = *two;
	*two = start;
}

static void two_gaps(struct tree *tree)
{
	struct cleave__leaf *leaf = victim(tree);

	leaf->value[cleave__cell(word(leaf), 1)] = leaf->value[cleave__cell(word(leaf), 2)] = NULL;
}

static void two_gaps_at_a_border(struct tree *tree)
{
	struct cleave__leaf *leaf = tree->leaf[1], *next = tree->leaf[2];

	leaf->value[cleave__cell(word(leaf), count(leaf) - 1)] = next->value[cleave__cell(word(next), 0)] = NULL;
}

static const struct {
	const char *name;
	void (*damage)(struct tree *tree);
	const char *rule;
} faults[] = {
	{ "a lock is held", lock_held, "no lock is held" },
	{ "a dead node", dead, "no node in the tree is dead" },
	{ "a level is left out", levels, "levels count down" },
	{ "a child begins too low", place_first, "a child covers exactly its place" },
	{ "a child ends too high", place_last, "a child covers exactly its place" },
	{ "a bound is too low", bound, "a gap bound is never too low" },
	{ "the root does not begin at 0", root_first, "the root covers everything" },
	{ "the root does not end at the last address", root_last, "the root covers everything" },
	{ "no children", no_children, "children" },
	{ "two pivots are equal", pivots, "pivots ascend" },
	{ "an unused pivot", unused_pivot, "the last pivot, and unused ones" },
	{ "a hole between leaves", hole, "leaves tile the address space" },
	{ "leaves beyond the last address", beyond_the_end, "leaves tile the address space" },
	{ "a leaf without cells", no_cell, "a leaf has a cell" },
	{ "a live cell is young", live_and_young, "a cell is live, young, old or clean" },
	{ "a live cell is old", live_and_old, "a cell is live, young, old or clean" },
	{ "a cell is young and old", young_and_old, "a cell is live, young, old or clean" },
	{ "a number too many", number_too_many, "beyond the live cells an order word has no number" },
	{ "a cell is listed twice", listed_twice, "each live cell is listed once" },
	{ "a cell is listed that is not live", listed_dead_cell, "each live cell is listed once" },
	{ "a number is listed that no cell has", listed_no_cell, "each live cell is listed once" },
	{ "a cell begins above its leaf", outside_above, "cells lie in their leaf" },
	{ "a cell begins below its leaf", outside_below, "cells lie in their leaf" },
	{ "the first cell begins too high", first_cell, "the first cell begins the leaf" },
	{ "cells in another order", not_ascending, "cells ascend" },
	{ "two gaps in a row", two_gaps, "gaps are maximal" },
	{ "two gaps meet at a border", two_gaps_at_a_border, "gaps are maximal" },
};

static void each_broken_invariant_is_reported(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct said said = { .lines = { hear } };
		struct cleave__branch root;
		struct cleave__leaf leaf[MOST_LEAVES];
		struct tree tree;
		size_t violations;

		check_context("%s", faults[i].name);
		plant(&tree);
		root = *tree.root;
		for (unsigned int k = 0; k < tree.leaves; k++)
			leaf[k] = *tree.leaf[k];
		faults[i].damage(&tree);
		violations = cleave_check(&tree.index, &said.lines);
		CHECK(violations > 0 && violations == said.n, "%zu violations, %zu lines", violations, said.n);
		CHECK(strstr(said.text, faults[i].rule) != NULL, "no word of \"%s\":\n%s", faults[i].rule, said.text);
		CHECK(cleave_check(&tree.index, NULL) == violations, "another number without lines");
		*tree.root = root;
		for (unsigned int k = 0; k < tree.leaves; k++)
			*tree.leaf[k] = leaf[k];
		CHECK(cleave_check(&tree.index, NULL) == 0, "it is repaired");
		fell(&tree);
	}
}

static void a_sound_index_has_no_violations(void **state)
{
	struct said said = { .lines = { hear } };
	struct tree tree;

	(void)state;
	plant(&tree);
	CHECK(cleave_check(&tree.index, &said.lines) == 0 && said.n == 0, "%s", said.text);
	fell(&tree);
}

/* Where the violation is: a reader of the line finds the node. */
static void a_violation_names_its_node(void **state)
{
	struct said said = { .lines = { hear } };
	struct tree tree;
	char range[40];

	(void)state;
	plant(&tree);
	tree.leaf[2]->node.lock.word = CLEAVE__LOCKED;
	cleave_check(&tree.index, &said.lines);
	snprintf(range, sizeof(range), "%016llx-%016llx", (unsigned long long)tree.leaf[2]->node.first,
		 (unsigned long long)tree.leaf[2]->node.last);
	CHECK(strstr(said.text, range) && strstr(said.text, "leaf of level 0"), "%s", said.text);
	tree.leaf[2]->node.lock.word = 0;
	tree.root->node.lock.word = CLEAVE__LOCKED;
	said.text[0] = '\0';
	cleave_check(&tree.index, &said.lines);
	CHECK(strstr(said.text, "branch of level 1 0000000000000000-ffffffffffffffff"), "%s", said.text);
	tree.root->node.lock.word = 0;
	fell(&tree);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_index_has_no_violations),
		cmocka_unit_test(each_broken_invariant_is_reported),
		cmocka_unit_test(a_violation_names_its_node),
	};

	return RUN_TESTS(tests, argc, argv);
}
