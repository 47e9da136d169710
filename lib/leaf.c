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

bool cleave__leaf_gap_at_end(const struct cleave__leaf *leaf, bool right)
{
	uint64_t order = cleave__order_locked(leaf);
	unsigned int count = cleave__count12(cleave__live(order));

	return !PORT_CELL_READ(leaf->value[cleave__cell(order, right ? count - 1 : 0)]);
}

static uint64_t low_numbers(unsigned int n)
{
	return (UINT64_C(1) << (4 * n)) - 1;
}

/* The cells of `n` ranks from `at`. */
static unsigned int cells_of(uint64_t numbers, unsigned int at, unsigned int n)
{
	unsigned int cells = 0;

	for (unsigned int r = at; r < at + n; r++)
		cells |= 1u << cleave__cell(numbers, r);
	return cells;
}

/* Take `drop` cells, `cells`, from rank `at` off the list.  Those that were never published may be written again at once. */
static void drop_cells(struct cleave__edit *edit, unsigned int at, unsigned int drop, unsigned int cells)
{
	uint64_t numbers = edit->order & CLEAVE__NUMBERS;
	uint64_t live = (uint64_t)(cleave__live(edit->order) & ~cells) << 48;

	edit->clean |= cells & edit->added;
	edit->dropped |= cells & ~edit->added;
	edit->added &= ~cells;
	edit->count -= drop;
	edit->order = (numbers & low_numbers(at)) | numbers >> (4 * at) >> (4 * drop) << (4 * at) | live;
}

/* Write a clean cell and list it as the r-th. */
static void add_cell(struct cleave__edit *edit, unsigned int r, uint64_t start, void *value)
{
	unsigned int cell = (unsigned int)__builtin_ctz(edit->clean);

	edit->clean &= edit->clean - 1;
	edit->added |= 1u << cell;
	PORT_CELL_WRITE(edit->leaf->start[cell], start);
	PORT_CELL_WRITE(edit->leaf->value[cell], value);
	edit->order = cleave__order_insert(edit->order, edit->count++, r, cell);
}

void cleave__leaf_edit_init(struct cleave__edit *edit, struct cleave__leaf *leaf, uint64_t order, unsigned int count,
			    unsigned int clean)
{
	edit->leaf = leaf;
	edit->count = count;
	edit->order = (order & low_numbers(count)) | (uint64_t)cleave__live(order) << 48;
	edit->clean = clean;
	edit->added = 0;
	edit->dropped = 0;
	edit->gap = 0;
	edit->displaces = false;
}

void cleave__leaf_edit_init_copy(struct cleave__edit *edit, struct cleave__leaf *copy, const struct cleave__leaf *leaf,
				 uint64_t order, unsigned int count)
{
	uint64_t numbers = UINT64_C(0xba9876543210) & low_numbers(count);
	unsigned int live = (1u << count) - 1;

	cleave__leaf_init_private(copy, leaf->node.first, leaf->node.last);
	for (unsigned int r = 0; r < count; r++) {
		unsigned int cell = cleave__cell(order, r);

		PORT_CELL_WRITE(copy->start[r], PORT_CELL_READ(leaf->start[cell]));
		PORT_CELL_WRITE(copy->value[r], PORT_CELL_READ(leaf->value[cell]));
	}
	cleave__leaf_edit_init(edit, copy, numbers | (uint64_t)live << 48, count, CLEAVE__ALL_CELLS & ~live);
	edit->added = live; /* none was published yet */
}

static uint64_t start_of(const struct cleave__edit *edit, unsigned int r)
{
	return PORT_CELL_READ(edit->leaf->start[cleave__cell(edit->order, r)]);
}

static void *value_of(const struct cleave__edit *edit, unsigned int r)
{
	return PORT_CELL_READ(edit->leaf->value[cleave__cell(edit->order, r)]);
}

static uint64_t last_of(const struct cleave__edit *edit, unsigned int r)
{
	return r + 1 < edit->count ? start_of(edit, r + 1) - 1 : edit->leaf->node.last;
}

bool cleave__leaf_edit_put(struct cleave__edit *edit, unsigned int r, uint64_t first, uint64_t last, void *value)
{
	unsigned int i = cleave__leaf_rank(edit->leaf, edit->order, edit->count, r, first);
	unsigned int j = cleave__leaf_rank(edit->leaf, edit->order, edit->count, i, last);
	unsigned int at = i + (start_of(edit, i) < first), end = j + 1;
	uint64_t tail_last = last_of(edit, j);
	void *tail_value = value_of(edit, j);
	bool fresh = true, rest = last < tail_last;
	unsigned int cells;

	if (!value) {
		uint64_t gap_first = first, gap_last = last;

		if (at > 0 && !value_of(edit, at - 1)) {
			fresh = false; /* the gap before grows */
			gap_first = start_of(edit, at - 1);
		}
		if (rest && !tail_value) {
			rest = false; /* the gap behind is joined */
			gap_last = tail_last;
		} else if (!rest && end < edit->count && !value_of(edit, end)) {
			gap_last = last_of(edit, end);
			end++;
		}
		if (cleave__gap_size(gap_first, gap_last) > edit->gap)
			edit->gap = cleave__gap_size(gap_first, gap_last);
	}
	if (edit->count - (end - at) + fresh + rest > CLEAVE__CELLS)
		return false;
	cells = cells_of(edit->order, at, end - at);
	if (cleave__count12(edit->clean | (cells & edit->added)) < (unsigned int)fresh + rest)
		return false;
	for (unsigned int k = i; k <= j && !edit->displaces; k++)
		edit->displaces = value_of(edit, k) && value_of(edit, k) != value;
	drop_cells(edit, at, end - at, cells);
	if (fresh)
		add_cell(edit, at++, first, value);
	if (rest)
		add_cell(edit, at, last + 1, tail_value);
	return true;
}

void cleave__leaf_edit_store(const struct cleave__edit *edit) PORT_UNCHECKED
{
	struct cleave__leaf *leaf = edit->leaf;
	uint64_t order = edit->order;

	if (!edit->added && !edit->dropped)
		return;
	if (!edit->added)
		leaf->node.removals = (leaf->node.removals + 1) & 15;
	if (edit->displaces)
		cleave__order_displace_locked(leaf, order, edit->count);
	else
		cleave__order_publish_locked(leaf, order, edit->count);
	/* After the store: a cell must not get a cookie that was taken while readers could still find it. */
	leaf->node.young |= (uint16_t)edit->dropped;
}

void cleave__leaf_edit_store_private(const struct cleave__edit *edit)
{
	PORT_STORE(&edit->leaf->node.order, edit->order, PORT_RELAXED);
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

	PORT_ASSERT(cell < CLEAVE__CELLS, "a leaf is not packed beyond its cells");
	PORT_CELL_WRITE(leaf->start[cell], start);
	PORT_CELL_WRITE(leaf->value[cell], value);
	order |= (uint64_t)cell << (4 * cell) | UINT64_C(1) << (48 + cell);
	PORT_STORE(&leaf->node.order, order, PORT_RELAXED);
}
