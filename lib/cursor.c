/* SPDX-License-Identifier: ISC */
/*
 * Cursors: between calls they keep a key alone, so that any change and any pause is survived.  Inside a call they go
 * from leaf to leaf through the branch above, while that lives, and walk again where it does not.
 */
#include "steps.h"

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
	cleave__check_reader(cursor->index);
	return cursor->index->search->next_rcu(cursor, visits, n);
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

		if (beside) {
			position.count = cleave__count12(cleave__live(position.order));
			position.r = position.count - 1;
		} else {
			index->search->seek_rcu(index, top, &position);
		}
		cleave__prefetch_child(position.parent, position.index - 1);
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
		beside = done < n && cleave__step(&position, position.index - 1);
	}
	return done;
}
