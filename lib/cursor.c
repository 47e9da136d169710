/* SPDX-License-Identifier: ISC */
/*
 * Cursors: between calls they keep a key alone, so that any change and any pause is survived.  Inside a call they go from
 * leaf to leaf through the branch above, while that lives, and walk again where it does not.
 */
#include "walk.h"

void cleave_cursor_init(struct cleave_cursor *cursor, const struct cleave *index, uint64_t addr, bool gaps)
{
	cursor->index = index;
	cursor->key = addr;
	cursor->before = addr == 0;
	cursor->after = false;
	cursor->gaps = gaps;
}

void cleave_cursor_init_last(struct cleave_cursor *cursor, const struct cleave *index, bool gaps)
{
	cursor->index = index;
	cursor->key = UINT64_MAX;
	cursor->before = false;
	cursor->after = true;
	cursor->gaps = gaps;
}

/* The neighbour's lines come while this leaf's entries are visited. */
static inline void prefetch_child(const struct cleave__branch *parent, unsigned int i) PORT_INSIDE
{
	const char *line;

	if (!parent || i >= parent->node.count)
		return;
	line = (const char *)cleave__link_read_rcu(&parent->child[i]);
	PORT_PREFETCH(line);
	PORT_PREFETCH(line + 64);
	PORT_PREFETCH(line + 128);
	PORT_PREFETCH(line + 192);
}

/*
 * From a leaf whose word was read to the i-th child of its parent, which is beside it, without a walk.  Only while the
 * parent lives, looked at after the word was read; for visits are of times that do not decrease, and without that:
 *	1. cursor: walks to A, under P
 *	2. writer: divides B, beside A: P is dead, P' in its place;  then it changes A
 *	3. cursor: reads A, as it is now; goes on from P to B, as it was before 2
 * What the parent had when it was alive was there at that moment; should it die before the child is read, then in the
 * moment when it died, which is later.
 */
static inline bool step(struct cleave__position *position, unsigned int i) PORT_INSIDE
{
	const struct cleave__branch *parent = position->parent;

	if (!parent || i >= parent->node.count || cleave__dead_locked(&parent->node))
		return false;
	position->node = cleave__link_read_rcu(&parent->child[i]);
	position->index = i;
	position->order = cleave__order_rcu(cleave__leaf_const(position->node));
	position->count = cleave__count12(cleave__live(position->order));
	return true;
}

/*
 * The key is the first address above what was visited: `after` stands for 2^64, in which case the key is 2^64 - 1;
 * `before` says that nothing is left below it.
 */

/* Visit the cell that holds the key, whose entry ends below `end`; 1: it is wanted. */
static PORT_ALWAYS_INLINE size_t visit(struct cleave_visit *visit, const struct cleave__leaf *leaf, unsigned int cell,
				       uint64_t key, uint64_t end, bool gaps)
{
	void *value = PORT_CELL_READ(leaf->value[cell]);

	visit->entry.first = PORT_CELL_READ(leaf->start[cell]);
	visit->entry.last = end - 1;
	visit->entry.value = value;
	visit->first = key;
	visit->last = end - 1;
	return gaps || value;
}

size_t cleave_next_rcu(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n)
{
	const struct cleave *index = cursor->index;
	const bool gaps = cursor->gaps;
	uint64_t key = cursor->key;
	bool beside = false; /* the next leaf is known */
	struct cleave__position position;
	size_t done = 0;

	cleave__check_reader(index);
	while (done < n && !cursor->after) {
		const struct cleave__leaf *leaf;
		uint64_t cells;
		size_t left, steps;

		if (beside)
			position.r = 0;
		else
			index->search->seek_rcu(index, key, &position);
		prefetch_child(position.parent, position.index + 1);
		leaf = cleave__leaf_const(position.node);
		cells = position.order >> (4 * position.r);
		left = position.count - position.r;
		steps = left - 1 < n - done ? left - 1 : n - done;
		left -= steps;
		for (; steps > 0; steps--) {
			unsigned int cell = cleave__cell(cells, 0);
			uint64_t end = PORT_CELL_READ(leaf->start[cleave__cell(cells, 1)]);

			done += visit(&visits[done], leaf, cell, key, end, gaps);
			cells >>= 4;
			key = end;
		}
		if (left == 1 && done < n) {
			done += visit(&visits[done], leaf, cleave__cell(cells, 0), key, leaf->node.last + 1, gaps);
			key = leaf->node.last + 1; /* 0: 2^64 */
			left = 0;
		}
		cursor->before = false;
		cursor->after = key == 0;
		key -= cursor->after;
		beside = left == 0 && step(&position, position.index + 1);
	}
	cursor->key = key;
	return done;
}

size_t cleave_previous_rcu(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n)
{
	const struct cleave *index = cursor->index;
	const bool gaps = cursor->gaps;
	bool beside = false;
	struct cleave__position position;
	size_t done = 0;

	cleave__check_reader(index);
	while (done < n && !cursor->before) {
		uint64_t top = cursor->after ? UINT64_MAX : cursor->key - 1;
		const struct cleave__leaf *leaf;
		uint64_t first = 0;

		if (beside)
			position.r = position.count - 1;
		else
			index->search->seek_rcu(index, top, &position);
		prefetch_child(position.parent, position.index - 1);
		leaf = cleave__leaf_const(position.node);
		for (unsigned int r = position.r + 1; r-- > 0 && done < n;) {
			struct cleave_entry entry;

			cleave__leaf_entry(leaf, position.order, position.count, r, &entry);
			first = entry.first;
			visits[done].entry = entry;
			visits[done].first = first;
			visits[done].last = entry.last > top ? top : entry.last;
			done += gaps || entry.value;
		}
		cursor->after = false;
		cursor->before = first == 0;
		cursor->key = first;
		beside = done < n && step(&position, position.index - 1);
	}
	return done;
}
