/* SPDX-License-Identifier: ISC */
/* M2: a cell, then the order word that lists it.  Each leaf gets nine clips and one put that takes a value away. */
#include "leaf.h"

#include "litmus.h"

#define LEAVES 200u
#define CELLS 11u

static struct cleave__leaf leaf[LEAVES];
static char values[2];

static void put(struct cleave__leaf *of, uint64_t first, uint64_t last, void *value)
{
	uint64_t order = cleave__order_locked(of);
	struct cleave__edit edit;

	cleave__leaf_edit_init(&edit, of, order, cleave__count12(cleave__live(order)),
			       CLEAVE__ALL_CELLS & ~cleave__live(order));
	must(cleave__leaf_edit_put(&edit, 0, first, last, value), "room");
	cleave__leaf_edit_store(&edit);
}

static void *write_cells(void *argument)
{
	for (unsigned int i = 0; i < LEAVES; i++) {
		for (unsigned int k = 1; k < CELLS - 1; k++)
			put(&leaf[i], 10 * k, 999, &values[0]);
		put(&leaf[i], 5, 9, &values[1]);
	}
	return argument;
}

static void *read_cells(void *argument)
{
	for (unsigned int i = 0, count = 0; i < LEAVES; i++, count = 0) {
		while (count != CELLS) {
			uint64_t order = cleave__order_rcu(&leaf[i]), next = 0;

			count = cleave__count12(cleave__live(order));
			for (unsigned int r = 0; r < count; r++) {
				struct cleave_entry entry;

				cleave__leaf_entry(&leaf[i], order, count, r, &entry);
				must(entry.first == next && entry.value, "the cells that are listed tile the leaf");
				next = entry.last + 1;
			}
			must(next == 1000, "the last cell ends the leaf");
			sched_yield();
		}
	}
	return argument;
}

int main(void)
{
	for (unsigned int i = 0; i < LEAVES; i++) {
		cleave__leaf_init_private(&leaf[i], 0, 999);
		cleave__leaf_append_private(&leaf[i], 0, &values[0]);
	}
	return litmus((void *(*const[])(void *)){ write_cells, read_cells }, 2);
}
