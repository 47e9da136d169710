/* SPDX-License-Identifier: ISC */
/* Looking inside: the validator, statistics, and a dump for people.  No libc: text is made by hand. */
#include "walk.h"

/* ---- Text ---- */

struct text {
	char line[160];
	unsigned int n;
};

static void put_text(struct text *text, const char *s)
{
	while (*s && text->n < sizeof(text->line) - 1)
		text->line[text->n++] = *s++;
}

static void put_number(struct text *text, uint64_t x, unsigned int base, unsigned int width)
{
	char digits[24];
	unsigned int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[x % base];
		x /= base;
	} while (x || n < width);
	while (n-- > 0 && text->n < sizeof(text->line) - 1)
		text->line[text->n++] = digits[n];
}

static void put_range(struct text *text, uint64_t first, uint64_t last)
{
	put_number(text, first, 16, 16);
	put_text(text, "-");
	put_number(text, last, 16, 16);
}

static void put_indent(struct text *text, unsigned int depth)
{
	while (depth-- > 0)
		put_text(text, "  ");
}

static void flush(struct text *text, struct cleave_lines *lines)
{
	text->line[text->n] = '\0';
	if (lines)
		lines->line(lines, text->line);
	text->n = 0;
}

/* ---- A walk over all nodes, parents first ---- */

struct visitor {
	void (*visit)(struct visitor *visitor, struct cleave__node *node, const struct cleave__branch *parent,
		      unsigned int index, unsigned int depth);
};

static void visit_all(const struct cleave *index, struct visitor *visitor) PORT_INSIDE
{
	struct cleave__branch *path[CLEAVE__LEVELS];
	unsigned int at[CLEAVE__LEVELS];
	uint64_t root = cleave__root_rcu(index);
	unsigned int top = cleave__root_level(root), level = top;
	struct cleave__node *node = cleave__root_node(root);

	visitor->visit(visitor, node, NULL, 0, 0);
	if (top == 0)
		return;
	path[top] = cleave__branch(node);
	at[top] = 0;
	for (;;) {
		unsigned int i = at[level]++;

		if (i == path[level]->node.count) {
			if (level++ == top)
				return;
			continue;
		}
		node = cleave__link_read_rcu(&path[level]->child[i]);
		visitor->visit(visitor, node, path[level], i, top - level + 1);
		if (level > 1) {
			path[--level] = cleave__branch(node);
			at[level] = 0;
		}
	}
}

/* ---- Statistics ---- */

struct counting {
	struct visitor visitor;
	struct cleave_statistics *statistics;
};

static void count_node(struct visitor *visitor, struct cleave__node *node, const struct cleave__branch *parent,
		       unsigned int index, unsigned int depth) PORT_INSIDE
{
	struct cleave_statistics *statistics = ((struct counting *)visitor)->statistics;
	const struct cleave__leaf *leaf = cleave__leaf_const(node);
	uint64_t order;
	unsigned int count;

	(void)parent;
	(void)index;
	if (depth + 1 > statistics->height)
		statistics->height = depth + 1;
	if (node->level) {
		statistics->branches++;
		statistics->bytes += sizeof(struct cleave__branch);
		return;
	}
	statistics->leaves++;
	statistics->bytes += sizeof(struct cleave__leaf);
	order = cleave__order_rcu(leaf);
	count = cleave__count12(cleave__live(order));
	for (unsigned int r = 0; r < count; r++) {
		struct cleave_entry entry;
		uint64_t size;

		cleave__leaf_entry(leaf, order, count, r, &entry);
		size = cleave__gap_size(entry.first, entry.last);
		if (entry.value) {
			statistics->entries++;
			statistics->mapped += size;
		} else {
			statistics->gaps++;
			if (size > statistics->largest_gap)
				statistics->largest_gap = size;
		}
	}
}

void cleave_statistics_rcu(const struct cleave *index, struct cleave_statistics *statistics) PORT_INSIDE
{
	struct counting counting = { { count_node }, statistics };

	memset(statistics, 0, sizeof(*statistics));
	visit_all(index, &counting.visitor);
	if (statistics->entries && statistics->mapped == 0) /* all addresses */
		statistics->mapped = UINT64_MAX;
}

/* ---- Validator ---- */

struct checking {
	struct visitor visitor;
	struct cleave_lines *lines;
	size_t violations;
	uint64_t next; /* the first address that no leaf has covered */
	bool gap;      /* the cell before is a gap */
	bool ended;
};

static void violation(struct checking *checking, const struct cleave__node *node, const char *rule)
{
	struct text text = { .n = 0 };

	checking->violations++;
	put_text(&text, node->level ? "branch of level " : "leaf of level ");
	put_number(&text, node->level, 10, 1);
	put_text(&text, " ");
	put_range(&text, node->first, node->last);
	put_text(&text, ": ");
	put_text(&text, rule);
	flush(&text, checking->lines);
}

static void expect(struct checking *checking, const struct cleave__node *node, bool holds, const char *rule)
{
	if (!holds)
		violation(checking, node, rule);
}

static uint64_t true_gap(const struct cleave__node *node) PORT_INSIDE
{
	uint64_t gap = 0;

	if (node->level) {
		for (unsigned int i = 0; i < node->count; i++)
			if (cleave__branch_gap(cleave__branch_const(node), i) > gap)
				gap = cleave__branch_gap(cleave__branch_const(node), i);
		return gap;
	}
	return cleave__leaf_gap(cleave__leaf_const(node), cleave__order_rcu(cleave__leaf_const(node)));
}

static void check_branch(struct checking *checking, const struct cleave__node *node)
{
	const struct cleave__branch *branch = cleave__branch_const(node);

	expect(checking, node, node->count >= 1 && node->count <= CLEAVE__FANOUT,
	       "a branch has 1 to CLEAVE__FANOUT children");
	for (unsigned int i = 0; i < CLEAVE__FANOUT; i++) {
		if (i > 0 && i < node->count)
			expect(checking, node, branch->pivot[i] > branch->pivot[i - 1], "pivots ascend");
		if (i + 1 >= node->count)
			expect(checking, node, branch->pivot[i] == node->last,
			       "the last pivot, and unused ones, are `last`");
	}
}

static void check_leaf(struct checking *checking, const struct cleave__node *node) PORT_INSIDE
{
	const struct cleave__leaf *leaf = cleave__leaf_const(node);
	uint64_t order = cleave__order_rcu(leaf);
	unsigned int live = cleave__live(order), count = cleave__count12(live), listed = 0;
	uint64_t previous = 0;

	expect(checking, node, node->first == checking->next && !checking->ended, "leaves tile the address space");
	checking->next = node->last + 1;
	checking->ended = node->last == UINT64_MAX;
	expect(checking, node, count >= 1, "a leaf has a cell (invariant 1)");
	expect(checking, node, !(live & (node->young | node->old)) && !(node->young & node->old),
	       "a cell is live, young, old or clean (invariant 2)");
	expect(checking, node, !(order & CLEAVE__NUMBERS & ~cleave__low_numbers(count)),
	       "beyond the live cells an order word has no number");
	for (unsigned int r = 0; r < count; r++) {
		unsigned int cell = cleave__cell(order, r);
		uint64_t start = cell < CLEAVE__CELLS ? leaf->start[cell] : 0;
		void *value = cell < CLEAVE__CELLS ? leaf->value[cell] : NULL;

		expect(checking, node, live >> cell & 1 && !(listed >> cell & 1), "each live cell is listed once");
		listed |= 1u << cell;
		expect(checking, node, start >= node->first && start <= node->last, "cells lie in their leaf");
		if (r == 0)
			expect(checking, node, start == node->first, "the first cell begins the leaf (invariant 1)");
		else
			expect(checking, node, start > previous, "cells ascend");
		expect(checking, node, value || !checking->gap, "gaps are maximal, over leaves too (invariant 1)");
		checking->gap = !value;
		previous = start;
	}
}

static void check_node(struct visitor *visitor, struct cleave__node *node, const struct cleave__branch *parent,
		       unsigned int index, unsigned int depth) PORT_INSIDE
{
	struct checking *checking = (struct checking *)visitor;

	(void)depth;
	expect(checking, node, PORT_LOAD(&node->lock, PORT_RELAXED) == 0, "no lock is held at rest");
	expect(checking, node, !cleave__dead_locked(node), "no node in the tree is dead (invariant 6)");
	if (parent) {
		expect(checking, node, node->level + 1 == parent->node.level, "levels count down");
		expect(checking, node, node->first == (index ? parent->pivot[index - 1] + 1 : parent->node.first) &&
		       node->last == parent->pivot[index], "a child covers exactly its place (invariant 4)");
		expect(checking, node, cleave__branch_gap(parent, index) >= true_gap(node),
		       "a gap bound is never too low (invariant 7)");
	} else {
		expect(checking, node, node->first == 0 && node->last == UINT64_MAX, "the root covers everything");
	}
	if (node->level)
		check_branch(checking, node);
	else
		check_leaf(checking, node);
}

size_t cleave_check(struct cleave *index, struct cleave_lines *lines) PORT_UNCHECKED
{
	struct checking checking = { .visitor = { check_node }, .lines = lines };

	visit_all(index, &checking.visitor);
	return checking.violations;
}

/* ---- Dump ---- */

struct dumping {
	struct visitor visitor;
	struct cleave_lines *lines;
	bool nodes;
};

static void dump_node(struct visitor *visitor, struct cleave__node *node, const struct cleave__branch *parent,
		      unsigned int index, unsigned int depth) PORT_INSIDE
{
	struct dumping *dumping = (struct dumping *)visitor;
	const struct cleave__leaf *leaf = cleave__leaf_const(node);
	struct text text = { .n = 0 };
	uint64_t order = node->level ? 0 : cleave__order_rcu(leaf);
	unsigned int count = node->level ? node->count : cleave__count12(cleave__live(order));

	if (dumping->nodes) {
		put_indent(&text, depth);
		put_text(&text, node->level ? "branch " : "leaf ");
		put_range(&text, node->first, node->last);
		put_text(&text, node->level ? ", children " : ", cells ");
		put_number(&text, count, 10, 1);
		if (parent) {
			put_text(&text, ", gap bound ");
			put_number(&text, cleave__branch_gap(parent, index), 16, 1);
		}
		flush(&text, dumping->lines);
	}
	for (unsigned int r = 0; !node->level && r < count; r++) {
		struct cleave_entry entry;

		cleave__leaf_entry(leaf, order, count, r, &entry);
		put_indent(&text, dumping->nodes ? depth + 1 : 0);
		put_range(&text, entry.first, entry.last);
		put_text(&text, entry.value ? "  " : "  gap");
		if (entry.value)
			put_number(&text, (uintptr_t)entry.value, 16, 1);
		flush(&text, dumping->lines);
	}
}

void cleave_dump_rcu(const struct cleave *index, struct cleave_lines *lines, bool nodes) PORT_INSIDE
{
	struct dumping dumping = { .visitor = { dump_node }, .lines = lines, .nodes = nodes };

	visit_all(index, &dumping.visitor);
}
