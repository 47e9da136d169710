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

/*
 * The key is the first address above what was visited: `after` stands for 2^64, in which case the key is 2^64 - 1;
 * `before` says that nothing is left below it.
 */
size_t cleave_next_rcu(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n)
{
	const struct cleave *index = cursor->index;
	size_t done = 0;

	cleave__check_reader(index);
	while (done < n && !cursor->after) {
		struct cleave__position position;
		const struct cleave__leaf *leaf;

		index->search->seek_rcu(index, cursor->key, &position);
		leaf = cleave__leaf_const(position.node);
		for (unsigned int r = position.r; r < position.count && done < n; r++) {
			struct cleave_visit *visit = &visits[done];

			cleave__leaf_entry(leaf, position.order, position.count, r, &visit->entry);
			visit->first = visit->entry.first < cursor->key ? cursor->key : visit->entry.first;
			visit->last = visit->entry.last;
			cursor->before = false;
			cursor->after = visit->last == UINT64_MAX;
			cursor->key = cursor->after ? UINT64_MAX : visit->last + 1;
			done += cursor->gaps || visit->entry.value;
		}
	}
	return done;
}

size_t cleave_previous_rcu(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n)
{
	const struct cleave *index = cursor->index;
	size_t done = 0;

	cleave__check_reader(index);
	while (done < n && !cursor->before) {
		uint64_t top = cursor->after ? UINT64_MAX : cursor->key - 1;
		struct cleave__position position;
		const struct cleave__leaf *leaf;

		index->search->seek_rcu(index, top, &position);
		leaf = cleave__leaf_const(position.node);
		for (unsigned int r = position.r + 1; r-- > 0 && done < n;) {
			struct cleave_visit *visit = &visits[done];

			cleave__leaf_entry(leaf, position.order, position.count, r, &visit->entry);
			visit->first = visit->entry.first;
			visit->last = visit->entry.last > top ? top : visit->entry.last;
			cursor->after = false;
			cursor->before = visit->first == 0;
			cursor->key = visit->first;
			done += cursor->gaps || visit->entry.value;
		}
	}
	return done;
}
