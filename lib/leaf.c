/* SPDX-License-Identifier: ISC */
#include "leaf.h"

/* For each number of 2, 4 ... 12 bits, how many of these are set, and n more. */
#define COUNTS2(n) n, (n) + 1, (n) + 1, (n) + 2
#define COUNTS4(n) COUNTS2(n), COUNTS2((n) + 1), COUNTS2((n) + 1), COUNTS2((n) + 2)
#define COUNTS6(n) COUNTS4(n), COUNTS4((n) + 1), COUNTS4((n) + 1), COUNTS4((n) + 2)
#define COUNTS8(n) COUNTS6(n), COUNTS6((n) + 1), COUNTS6((n) + 1), COUNTS6((n) + 2)
#define COUNTS10(n) COUNTS8(n), COUNTS8((n) + 1), COUNTS8((n) + 1), COUNTS8((n) + 2)
#define COUNTS12(n) COUNTS10(n), COUNTS10((n) + 1), COUNTS10((n) + 1), COUNTS10((n) + 2)

const unsigned char cleave__counts[] __attribute__((aligned(64))) = { COUNTS12(0) };

_Static_assert(sizeof(cleave__counts) == 1u << CLEAVE__CELL_ROOM, "a count for each set of cells");

uint64_t cleave__leaf_gap(const struct cleave__leaf *leaf, uint64_t order)
{
	unsigned int count = cleave__count12(cleave__live(order));
	uint64_t gap = 0, numbers = order;

	for (unsigned int r = 0; r < count; r++, numbers >>= 4) {
		if (!PORT_CELL_READ(leaf->value[numbers & 15])) {
			uint64_t first = PORT_CELL_READ(leaf->start[numbers & 15]);
			uint64_t size = cleave__gap_size(first, cleave__cell_last(leaf, order, count, r));

			gap = size > gap ? size : gap;
		}
	}
	return gap;
}

void cleave__leaf_copy_private(struct cleave__leaf *restrict copy, const struct cleave__leaf *restrict leaf)
{
	cleave__leaf_init_private(copy, leaf->node.first, leaf->node.last);
	/* All cells, where they are: which ones are live is as good as random. */
	for (unsigned int cell = 0; cell < CLEAVE__CELL_ROOM; cell++)
		PORT_CELL_WRITE(copy->start[cell], PORT_CELL_READ(leaf->start[cell]));
	for (unsigned int cell = 0; cell < CLEAVE__CELL_ROOM; cell++)
		PORT_CELL_WRITE(copy->value[cell], PORT_CELL_READ(leaf->value[cell]));
}

void cleave__leaf_edit_init_copy(struct cleave__edit *edit, struct cleave__leaf *copy, const struct cleave__leaf *leaf,
				 uint64_t order, unsigned int count)
{
	unsigned int live = cleave__live(order);

	cleave__leaf_copy_private(copy, leaf);
	cleave__leaf_edit_init(edit, copy, order, count, CLEAVE__ALL_CELLS & ~live);
	edit->added = live; /* none was published yet */
}

bool cleave__leaf_edit_put(struct cleave__edit *edit, unsigned int r, uint64_t first, uint64_t last, void *value)
{
	unsigned int i = cleave__leaf_rank(edit->leaf, edit->order, edit->count, r, first);
	unsigned int j = cleave__leaf_rank(edit->leaf, edit->order, edit->count, i, last);
	bool displaces = edit->displaces;

	for (unsigned int k = i; k <= j && !displaces; k++)
		displaces = cleave__edit_value(edit, k) && cleave__edit_value(edit, k) != value;
	if (!cleave__leaf_edit_exchange(edit, i, j, cleave__edit_start(edit, i), cleave__edit_last(edit, j),
					cleave__edit_value(edit, j), first, last, value))
		return false;
	edit->displaces = displaces;
	return true;
}

void cleave__leaf_edit_store_private(const struct cleave__edit *edit)
{
	PORT_STORE(&edit->leaf->node.order, edit->order, PORT_RELAXED);
}

void cleave__leaf_init_private(struct cleave__leaf *leaf, uint64_t first, uint64_t last)
{
	cleave__node_init_private(&leaf->node, 0, first, last);
}

void cleave__leaf_fill_private(struct cleave__leaf *restrict leaf, const uint64_t *restrict start,
			       void *const *restrict value)
{
	for (unsigned int cell = 0; cell < CLEAVE__CELLS; cell++)
		PORT_CELL_WRITE(leaf->start[cell], start[cell]);
	for (unsigned int cell = 0; cell < CLEAVE__CELLS; cell++)
		PORT_CELL_WRITE(leaf->value[cell], value[cell]);
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
