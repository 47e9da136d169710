/* SPDX-License-Identifier: ISC */
#include "leaf.h"

uint64_t cleave__leaf_gap(const struct cleave__leaf *leaf, uint64_t order)
{
	unsigned int count = cleave__count12(cleave__live(order));
	uint64_t gap = 0;

	for (unsigned int r = 0; r < count; r++) {
		struct cleave_entry entry;

		cleave__leaf_entry(leaf, order, count, r, &entry);
		if (!entry.value && cleave__gap_size(entry.first, entry.last) > gap)
			gap = cleave__gap_size(entry.first, entry.last);
	}
	return gap;
}

static uint64_t low_numbers(unsigned int n)
{
	return (UINT64_C(1) << (4 * n)) - 1;
}

/* Replace `drop` cells from rank `at` by the `nadd` cells packed in `add`. */
static void splice(struct cleave__edit *edit, unsigned int at, unsigned int drop, unsigned int nadd, uint64_t add)
{
	uint64_t numbers = edit->order & CLEAVE__NUMBERS;
	unsigned int live = cleave__live(edit->order);

	for (unsigned int r = at; r < at + drop; r++) {
		unsigned int bit = 1u << cleave__cell(numbers, r);

		live &= ~bit;
		if (edit->added & bit) {
			edit->added &= ~bit; /* never published: may be written again at once */
			edit->clean |= bit;
		} else {
			edit->dropped |= bit;
		}
	}
	for (unsigned int k = 0; k < nadd; k++) {
		unsigned int bit = 1u << cleave__cell(add, k);

		live |= bit;
		edit->added |= bit;
	}
	numbers = (numbers & low_numbers(at)) | add << (4 * at) | numbers >> (4 * (at + drop)) << (4 * (at + nadd));
	edit->count = edit->count - drop + nadd;
	edit->order = (numbers & low_numbers(edit->count)) | (uint64_t)live << 48;
}

void cleave__leaf_edit_init(struct cleave__edit *edit, struct cleave__leaf *leaf, uint64_t order, unsigned int clean)
{
	edit->leaf = leaf;
	edit->count = cleave__count12(cleave__live(order));
	edit->order = (order & low_numbers(edit->count)) | (uint64_t)cleave__live(order) << 48;
	edit->clean = clean;
	edit->added = 0;
	edit->dropped = 0;
	edit->gap = 0;
	edit->displaces = false;
}

static unsigned int fill(struct cleave__edit *edit, uint64_t start, void *value)
{
	unsigned int cell = (unsigned int)__builtin_ctz(edit->clean);

	edit->clean &= edit->clean - 1;
	PORT_CELL_WRITE(edit->leaf->start[cell], start);
	PORT_CELL_WRITE(edit->leaf->value[cell], value);
	return cell;
}

bool cleave__leaf_edit_put(struct cleave__edit *edit, unsigned int r, uint64_t first, uint64_t last, void *value)
{
	struct cleave__leaf *leaf = edit->leaf;
	unsigned int i = cleave__leaf_rank(leaf, edit->order, edit->count, r, first);
	unsigned int j = cleave__leaf_rank(leaf, edit->order, edit->count, i, last);
	struct cleave_entry head, tail, next;
	unsigned int at, end, nadd = 0;
	bool fresh, rest;
	uint64_t add = 0, gap_first = first, gap_last = last;

	cleave__leaf_entry(leaf, edit->order, edit->count, i, &head);
	cleave__leaf_entry(leaf, edit->order, edit->count, j, &tail);
	at = i + (head.first < first);
	end = j + 1;
	fresh = true;
	if (!value && at > 0) {
		struct cleave_entry before;

		cleave__leaf_entry(leaf, edit->order, edit->count, at - 1, &before);
		if (!before.value) {
			fresh = false; /* the gap before grows */
			gap_first = before.first;
		}
	}
	rest = last < tail.last;
	if (!value && rest && !tail.value) {
		rest = false; /* the gap behind is joined */
		gap_last = tail.last;
	} else if (!value && !rest && end < edit->count) {
		cleave__leaf_entry(leaf, edit->order, edit->count, end, &next);
		if (!next.value) {
			end++;
			gap_last = next.last;
		}
	}
	if (edit->count - (end - at) + fresh + rest > CLEAVE__CELLS ||
	    cleave__count12(edit->clean) < (unsigned int)fresh + rest)
		return false;
	for (unsigned int k = i; k <= j && !edit->displaces; k++) {
		void *old = PORT_CELL_READ(leaf->value[cleave__cell(edit->order, k)]);

		edit->displaces = old && old != value;
	}
	if (fresh)
		add |= (uint64_t)fill(edit, first, value) << (4 * nadd++);
	if (rest)
		add |= (uint64_t)fill(edit, last + 1, tail.value) << (4 * nadd++);
	if (!value && cleave__gap_size(gap_first, gap_last) > edit->gap)
		edit->gap = cleave__gap_size(gap_first, gap_last);
	splice(edit, at, end - at, nadd, add);
	return true;
}

void cleave__leaf_edit_join(struct cleave__edit *edit, unsigned int r)
{
	splice(edit, r, 1, 0, 0);
}

void cleave__leaf_edit_store(const struct cleave__edit *edit)
{
	struct cleave__leaf *leaf = edit->leaf;
	uint64_t order = edit->order;

	if (!edit->added && !edit->dropped)
		return;
	if (!edit->added)
		leaf->node.removals = (leaf->node.removals + 1) & 15;
	if (edit->count < CLEAVE__CELLS)
		order |= (uint64_t)leaf->node.removals << 44;
	PORT_YIELD();
	/*
	 * [M2-rel] the cells before the word that lists them; pairs with [M2-acq] cleave__order_rcu().
	 * A store that takes a value away is sequentially consistent as well, against the guard of a validating lookup
	 * (M6); one that only adds is not.
	 */
	if (edit->displaces)
		PORT_STORE(&leaf->node.order, order, PORT_SEQ_CST);
	else
		PORT_STORE(&leaf->node.order, order, PORT_RELEASE);
	/* After the store: a cell must not get a cookie that was taken while readers could still find it. */
	leaf->node.young |= (uint16_t)edit->dropped;
}

void cleave__leaf_init_private(struct cleave__leaf *leaf, uint64_t first, uint64_t last)
{
	leaf->node.first = first;
	leaf->node.last = last;
	leaf->node.level = 0;
	leaf->node.count = 0;
	leaf->node.removals = 0;
	leaf->node.replaced = 0;
	leaf->node.young = 0;
	leaf->node.old = 0;
	leaf->node.link = NULL;
	leaf->node.chain = NULL;
	PORT_STORE(&leaf->node.order, 0, PORT_RELAXED);
	PORT_STORE(&leaf->node.lock, 0, PORT_RELAXED);
}

void cleave__leaf_append_private(struct cleave__leaf *leaf, uint64_t start, void *value)
{
	uint64_t order = PORT_LOAD(&leaf->node.order, PORT_RELAXED);
	unsigned int cell = cleave__count12(cleave__live(order));

	PORT_CELL_WRITE(leaf->start[cell], start);
	PORT_CELL_WRITE(leaf->value[cell], value);
	order |= (uint64_t)cell << (4 * cell) | UINT64_C(1) << (48 + cell);
	PORT_STORE(&leaf->node.order, order, PORT_RELAXED);
}
