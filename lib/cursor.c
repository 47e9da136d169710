/* SPDX-License-Identifier: ISC */
/* Cursors: they keep a key and walk again for each leaf, so that any change and any pause is survived. */
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

/* The neighbour's lines come while this leaf's entries are visited; the next walk finds it by itself, whatever it is. */
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
 * The key is the first address above what was visited: `after` stands for 2^64, in which case the key is 2^64 - 1;
 * `before` says that nothing is left below it.
 */
size_t cleave_next_rcu(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n)
{
	const struct cleave *index = cursor->index;
	const bool gaps = cursor->gaps;
	uint64_t key = cursor->key;
	size_t done = 0;

	cleave__check_reader(index);
	while (done < n && !cursor->after) {
		struct cleave__position position;
		const struct cleave__leaf *leaf;
		unsigned int r, cell;
		uint64_t first;

		index->search->seek_rcu(index, key, &position);
		prefetch_child(position.parent, position.index + 1);
		leaf = cleave__leaf_const(position.node);
		cell = cleave__cell(position.order, position.r);
		first = PORT_CELL_READ(leaf->start[cell]);
		for (r = position.r + 1; done < n; r++) {
			bool more = r < position.count;
			unsigned int next = more ? cleave__cell(position.order, r) : cell;
			uint64_t end = more ? PORT_CELL_READ(leaf->start[next]) : leaf->node.last + 1;
			void *value = PORT_CELL_READ(leaf->value[cell]);

			visits[done].entry = (struct cleave_entry){ first, end - 1, value };
			visits[done].first = first < key ? key : first;
			visits[done].last = end - 1;
			done += gaps || value;
			key = first = end; /* 0: 2^64 */
			cell = next;
			if (!more)
				break;
		}
		cursor->before = false;
		cursor->after = key == 0;
		cursor->key = key -= cursor->after;
	}
	return done;
}

size_t cleave_previous_rcu(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n)
{
	const struct cleave *index = cursor->index;
	const bool gaps = cursor->gaps;
	size_t done = 0;

	cleave__check_reader(index);
	while (done < n && !cursor->before) {
		uint64_t top = cursor->after ? UINT64_MAX : cursor->key - 1;
		struct cleave__position position;
		const struct cleave__leaf *leaf;
		uint64_t first = 0;

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
	}
	return done;
}
