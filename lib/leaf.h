/* SPDX-License-Identifier: ISC */
/*
 * One leaf: 12 write-once cells and the order word that says which of them are live, and in what order.
 *
 *	line 0	header (node.h)
 *	line 1	start[0..7]
 *	line 2	start[8..11]  value[0..3]
 *	line 3	value[4..11]
 *
 *   63	    60 59	 48 47	44		   4 3	 0
 *  +---------+------------+------+-- ... --+------+------+
 *  | removals| live mask  | nr 11|	    | nr 1 | nr 0 |   the order word
 *  +---------+------------+------+-- ... --+------+------+
 *
 * nr r is the cell that is r-th in address order; beyond the live cells it is 0.  `removals` counts, modulo 15, the
 * stores that removed cells and added none, so that no word recurs inside a read section (below); 15: dead.
 *
 * Invariants
 *   1. The live cells tile [first, last]; the lowest starts at `first`.  Two neighbours are never both gaps, in two
 *	leaves that meet neither: a gap never reaches over a border.
 *   2. A live cell is never written.  One that left the order word is written, or listed again, only after a grace
 *	period: `young` collects such cells; they move to `old`, with a cookie, if that is empty or has the same cookie.
 *   3. Every change is one store of the order word, and no word recurs inside a read section.  Rule 2 alone does not
 *	give that:
 *		1. reader: loads the word {0} of this leaf
 *		2. writer: clips, {0,1};  clips elsewhere too
 *		3. reader: loads another leaf, after its clip
 *		4. writer: undoes this clip, {0} again: no cell was rewritten
 *		5. reader: validates {0}: accepts a state of both leaves that never was
 *	A word can recur only if all its cells stayed live, so that at most 11 stores between the two remove cells and
 *	add none, and the last one does; `removals` does not wrap in 11.
 *
 * This file knows no locks and no tree.
 */
#ifndef CLEAVE_LEAF_H
#define CLEAVE_LEAF_H

#include "node.h"

#define CLEAVE__CELL_ROOM 12u /* what the layout holds */
#define CLEAVE__CELLS PORT_CELLS /* of these in use; 12, but in tests */
#define CLEAVE__ALL_CELLS ((1u << CLEAVE__CELLS) - 1)
#define CLEAVE__NUMBERS ((UINT64_C(1) << 48) - 1)

struct cleave__leaf {
	struct cleave__node node;
	uint64_t start[CLEAVE__CELL_ROOM]; /* [o] */
	void *value[CLEAVE__CELL_ROOM];    /* [o] */
};

_Static_assert(sizeof(struct cleave__leaf) == 256, "a leaf is four cache lines");
_Static_assert(offsetof(struct cleave__leaf, start) == 64, "the starts begin a line");

static inline struct cleave__leaf *cleave__leaf(struct cleave__node *node)
{
	return (struct cleave__leaf *)node;
}

static PORT_ALWAYS_INLINE const struct cleave__leaf *cleave__leaf_const(const struct cleave__node *node)
{
	return (const struct cleave__leaf *)node;
}

static PORT_ALWAYS_INLINE unsigned int cleave__live(uint64_t order)
{
	return (unsigned int)PORT_BITS(order, 48, CLEAVE__CELLS);
}

/* All lines of a leaf. */
static PORT_ALWAYS_INLINE void cleave__leaf_prefetch(const struct cleave__node *node)
{
	const char *line = (const char *)node;

	PORT_PREFETCH(line);
	PORT_PREFETCH(line + 64);
	PORT_PREFETCH(line + 128);
	PORT_PREFETCH(line + 192);
}

/* The r-th live cell.  r == 12 is allowed and yields a number without meaning. */
static PORT_ALWAYS_INLINE unsigned int cleave__cell(uint64_t order, unsigned int r)
{
	return (unsigned int)(order >> (4 * r)) & 15;
}

/* The numbers of the first n ranks. */
static PORT_ALWAYS_INLINE uint64_t cleave__low_numbers(unsigned int n)
{
	return (UINT64_C(1) << (4 * n)) - 1;
}

/* An order word that lists the first n cells. */
static PORT_ALWAYS_INLINE uint64_t cleave__order_of_first(unsigned int n)
{
	return (UINT64_C(0xba9876543210) & cleave__low_numbers(n)) | ((UINT64_C(1) << n) - 1) << 48;
}

/* Bits set among 12; not __builtin_popcount(), which calls libgcc where the processor has no such instruction. */
static PORT_ALWAYS_INLINE unsigned int cleave__count12(unsigned int mask)
{
	mask -= mask >> 1 & 0x555;
	mask = (mask & 0x333) + (mask >> 2 & 0x333);
	mask = (mask + (mask >> 4)) & 0xf0f;
	return (mask + (mask >> 8)) & 15;
}

/* The same as a table, where time counts more than a line of cache: searches without SIMD. */
extern const unsigned char cleave__counts[1u << CLEAVE__CELL_ROOM];

/*
 * [M2-acq] the cells after the word that lists them; pairs with [M2-rel] cleave__order_publish_locked().
 * Without it a reader finds a new cell's number and reads what the cell held before.
 */
static PORT_ALWAYS_INLINE uint64_t cleave__order_rcu(const struct cleave__leaf *leaf) PORT_INSIDE
{
	return PORT_LOAD(&leaf->node.order, PORT_ACQUIRE);
}

static inline uint64_t cleave__order_locked(const struct cleave__leaf *leaf)
{
	return PORT_LOAD(&leaf->node.order, PORT_RELAXED);
}

/* Count in a word that it removes cells and adds none, if it does. */
static PORT_ALWAYS_INLINE uint64_t cleave__order_removes(uint64_t order, bool removes)
{
	order += (uint64_t)removes << 60;
	return PORT_UNLIKELY(order >= CLEAVE__DEAD) ? order - CLEAVE__DEAD : order;
}

/* The word that a ticket remembers; never one of a dead leaf. */
static PORT_ALWAYS_INLINE uint64_t cleave__order_ticket(uint64_t order)
{
	return PORT_LIKELY(order < CLEAVE__DEAD) ? order : 0;
}

/* The last address of the r-th of `count` live cells; no branch depends on the data. */
static PORT_ALWAYS_INLINE uint64_t cleave__cell_last(const struct cleave__leaf *leaf, uint64_t order,
						     unsigned int count, unsigned int r)
{
	size_t more = r + 1 < count;
	/* the word to read: start[cell], of which 1 is taken, or `last` */
	size_t last = offsetof(struct cleave__leaf, node.last) / 8, start = offsetof(struct cleave__leaf, start) / 8;
	size_t at = last + ((start - last + cleave__cell(order, r + 1)) & (0 - more));

	return PORT_CELL_READ(((const uint64_t *)(const void *)leaf)[at]) - more;
}

/* The entry of the r-th of `count` live cells. */
static PORT_ALWAYS_INLINE void cleave__leaf_entry(const struct cleave__leaf *leaf, uint64_t order, unsigned int count,
						  unsigned int r, struct cleave_entry *entry)
{
	unsigned int cell = cleave__cell(order, r);

	entry->first = PORT_CELL_READ(leaf->start[cell]);
	entry->last = cleave__cell_last(leaf, order, count, r);
	entry->value = PORT_CELL_READ(leaf->value[cell]);
}

/*
 * The same for a search that may read cells which are not live.  `more`: the r-th is not the last one.  The end is
 * chosen between two loaded values: to choose between two addresses and load once, with or without a branch, costs 3 ns
 * of 10, because lookups then overlap less.
 */
static PORT_ALWAYS_INLINE void cleave__leaf_entry_any(const struct cleave__leaf *leaf, uint64_t order, bool more,
						      unsigned int r, struct cleave_entry *entry)
{
	const uint64_t *word = (const uint64_t *)(const void *)leaf;
	const size_t start = offsetof(struct cleave__leaf, start) / 8;
	uint64_t numbers = order >> (4 * r);
	size_t cell = numbers & 15, next = PORT_BITS(numbers, 4, 4);
	uint64_t last = leaf->node.last, end = word[start + next] - 1; /* without meaning where there is no more */

	entry->first = word[start + cell];
	entry->last = more ? end : last;
	entry->value = leaf->value[cell];
}

/* What is made of a leaf's cells, in an array of these. */
enum cleave__form {
	CLEAVE__ENTRIES, /* struct cleave_entry */
	CLEAVE__VISITS,	 /* struct cleave_visit, not trimmed */
};

static PORT_ALWAYS_INLINE void *cleave__form_at(enum cleave__form form, void *to, size_t i)
{
	return (char *)to + i * (form == CLEAVE__VISITS ? sizeof(struct cleave_visit) : sizeof(struct cleave_entry));
}

/*
 * Write the cells from rank r on, at most `room` of them, gaps only if they are wanted.  Returns how many that makes.
 */
static PORT_ALWAYS_INLINE unsigned int cleave__leaf_cells(const struct cleave__leaf *leaf, uint64_t order,
							  unsigned int count, unsigned int r, size_t room, bool gaps,
							  enum cleave__form form, void *to)
{
	unsigned int end = room < count - r ? r + (unsigned int)room : count, found = 0;
	uint64_t cells = order >> (4 * r);
	uint64_t first = PORT_CELL_READ(leaf->start[cells & 15]);

	for (; r < end; r++, cells >>= 4) {
		void *value = PORT_CELL_READ(leaf->value[cells & 15]);
		uint64_t next = r + 1 < count ? PORT_CELL_READ(leaf->start[cells >> 4 & 15]) : leaf->node.last + 1;
		struct cleave_entry entry = { first, next - 1, value };

		if (form == CLEAVE__VISITS)
			*(struct cleave_visit *)cleave__form_at(form, to, found) =
				(struct cleave_visit){ entry, entry.first, entry.last };
		else
			*(struct cleave_entry *)cleave__form_at(form, to, found) = entry;
		found += gaps || value;
		first = next;
	}
	return found;
}

/* The rank of the cell that holds `addr`, from a given rank upward. */
static inline unsigned int cleave__leaf_rank(const struct cleave__leaf *leaf, uint64_t order, unsigned int count,
					     unsigned int r, uint64_t addr)
{
	while (r + 1 < count && PORT_CELL_READ(leaf->start[cleave__cell(order, r + 1)]) <= addr)
		r++;
	return r;
}

/* Size of a gap; 2^64 counts as 2^64 - 1. */
static inline uint64_t cleave__gap_size(uint64_t first, uint64_t last)
{
	return last - first == UINT64_MAX ? UINT64_MAX : last - first + 1;
}

/* The largest gap among the cells of an order word; 0: none. */
uint64_t cleave__leaf_gap(const struct cleave__leaf *leaf, uint64_t order);

#define CLEAVE__CRAMPED (CLEAVE__CELLS * 2 / 3) /* live cells */
#define CLEAVE__COPIES 2u			/* in a row */

/*
 * Was the leaf copied several times for want of a clean cell, and has it none again, before any passed its grace
 * period?  Where so little room is left for so many changes, a leaf is better divided than copied for ever.
 */
static inline bool cleave__leaf_cramped(const struct cleave__leaf *leaf, unsigned int count)
{
	return count >= CLEAVE__CRAMPED && leaf->node.count >= CLEAVE__COPIES;
}

/* Is there a gap at the left, or the right, end of a locked leaf? */
static inline bool cleave__leaf_gap_at_end(const struct cleave__leaf *leaf, bool right)
{
	uint64_t order = cleave__order_locked(leaf);
	unsigned int count = cleave__count12(cleave__live(order));

	return !PORT_CELL_READ(leaf->value[cleave__cell(order, right ? count - 1 : 0)]);
}

/* ---- Edits: several puts, one store ---- */

struct cleave__edit {
	struct cleave__leaf *leaf;
	uint64_t order;	      /* as it will be, but for `removals` */
	unsigned int count;   /* live cells */
	unsigned int clean;   /* cells that may be written */
	unsigned int added;   /* cells that this edit wrote and lists */
	unsigned int dropped; /* cells that it no longer lists */
	uint64_t gap;	      /* the largest gap that it makes; 0: none */
	bool displaces;	      /* some address loses its value */
};

/* Begin to edit a locked leaf.  `clean`: cells that are neither live nor waiting for a grace period. */
static PORT_ALWAYS_INLINE void cleave__leaf_edit_init(struct cleave__edit *edit, struct cleave__leaf *leaf,
						      uint64_t order, unsigned int count, unsigned int clean)
{
	*edit = (struct cleave__edit){
		.leaf = leaf,
		.count = count,
		.order = order,
		.clean = clean,
	};
}

/* Begin an edit of `copy`, a private leaf that becomes what the edit's leaf was with its order word `order`. */
void cleave__leaf_edit_init_copy(struct cleave__edit *edit, struct cleave__leaf *copy, const struct cleave__leaf *leaf,
				 uint64_t order, unsigned int count);

/* Make a private leaf with the range of another, and all its cells, where they are; without an order word. */
void cleave__leaf_copy_private(struct cleave__leaf *restrict copy, const struct cleave__leaf *restrict leaf);

/* End the edit of a private leaf. */
void cleave__leaf_edit_store_private(const struct cleave__edit *edit);

static PORT_ALWAYS_INLINE uint64_t cleave__edit_start(const struct cleave__edit *edit, unsigned int r)
{
	return PORT_CELL_READ(edit->leaf->start[cleave__cell(edit->order, r)]);
}

static PORT_ALWAYS_INLINE void *cleave__edit_value(const struct cleave__edit *edit, unsigned int r)
{
	return PORT_CELL_READ(edit->leaf->value[cleave__cell(edit->order, r)]);
}

static PORT_ALWAYS_INLINE uint64_t cleave__edit_last(const struct cleave__edit *edit, unsigned int r)
{
	return cleave__cell_last(edit->leaf, edit->order, edit->count, r);
}

/* The cells of `n` ranks from `at`; mostly there are two at most. */
static PORT_ALWAYS_INLINE unsigned int cleave__edit_cells(const struct cleave__edit *edit, unsigned int at,
							  unsigned int n)
{
	unsigned int cells = (unsigned int)(n > 0) << cleave__cell(edit->order, at) |
			     (unsigned int)(n > 1) << cleave__cell(edit->order, at + 1);

	for (unsigned int r = at + 2; PORT_UNLIKELY(r < at + n); r++)
		cells |= 1u << cleave__cell(edit->order, r);
	return cells;
}

/*
 * The half of a put that changes the list.  The i-th cell, which starts at `head`, holds `first`; the j-th, which ends
 * at `tail` and holds `tail_value`, holds `last`.  All between `first` and `last` gives way to one cell, and what the
 * j-th has above `last` to another.
 *
 * What a put needs is as good as random, so few branches here depend on it: it is computed, and both clean cells are
 * written even where none is needed.
 */
static PORT_ALWAYS_INLINE bool cleave__leaf_edit_exchange(struct cleave__edit *edit, unsigned int i, unsigned int j,
							  uint64_t head, uint64_t tail, void *tail_value,
							  uint64_t first, uint64_t last, void *value)
{
	unsigned int at = i + (head < first), end = j + 1, cells, clean, others, n, one = 0, other = 0, added;
	bool fresh = true, rest = last < tail;

	if (!value) {
		/* Neighbours that are gaps are joined: the one before keeps its cell, the one behind loses it. */
		unsigned int above = at > 0, before = at - above, behind = end < edit->count ? end : 0;
		bool joins_before = above & !cleave__edit_value(edit, before);
		bool joins_behind = !rest & (behind > 0) & !cleave__edit_value(edit, behind);
		uint64_t before_first = cleave__edit_start(edit, before);
		uint64_t behind_last = cleave__edit_last(edit, behind), same_last = tail_value ? last : tail;
		uint64_t gap_first = joins_before ? before_first : first;
		uint64_t gap_last = joins_behind ? behind_last : same_last;
		uint64_t gap = cleave__gap_size(gap_first, gap_last);

		fresh = !joins_before;
		rest &= tail_value != NULL;
		end += joins_behind;
		edit->gap = gap > edit->gap ? gap : edit->gap;
	}
	n = (unsigned int)fresh + rest;
	cells = cleave__edit_cells(edit, at, end - at);
	/* Those that were never published may be written again at once. */
	clean = edit->clean | (cells & edit->added);
	others = clean & (clean - 1);
	if (PORT_UNLIKELY(n > (unsigned int)(clean != 0) + (others != 0)))
		return false;
	if (PORT_LIKELY(clean)) {
		one = (unsigned int)__builtin_ctz(clean);
		other = (unsigned int)__builtin_ctz(others ? others : clean);
		PORT_CELL_WRITE(edit->leaf->start[other], last + 1);
		PORT_CELL_WRITE(edit->leaf->value[other], tail_value);
		PORT_CELL_WRITE(edit->leaf->start[one], fresh ? first : last + 1);
		PORT_CELL_WRITE(edit->leaf->value[one], fresh ? value : tail_value);
	}
	added = (unsigned int)(n > 0) << one | (unsigned int)(n > 1) << other;
	edit->order = (edit->order & cleave__low_numbers(at)) |
		      ((one | other << 4) & cleave__low_numbers(n)) << (4 * at) |
		      (edit->order & CLEAVE__NUMBERS) >> (4 * end) << (4 * (at + n)) |
		      ((edit->order >> 48 & ~(uint64_t)cells) | added) << 48;
	edit->count += n - (end - at);
	edit->dropped |= cells & ~edit->added;
	edit->added = (edit->added & ~cells) | added;
	edit->clean = clean & ~added;
	return true;
}

/*
 * Make [first, last], inside the leaf, one cell of this value; `r` is a rank at or below that of `first`.  A gap joins
 * its neighbours; at the leaf's border the caller has seen to invariant 1.  The entry that loses its head keeps its
 * tail as a new cell.
 * False: there is no room; the edit must be given up.
 */
bool cleave__leaf_edit_put(struct cleave__edit *edit, unsigned int r, uint64_t first, uint64_t last, void *value);

/* The same, inside the r-th cell, which is `entry`. */
static PORT_ALWAYS_INLINE bool cleave__leaf_edit_put_inside(struct cleave__edit *edit, unsigned int r,
							    const struct cleave_entry *entry, uint64_t first,
							    uint64_t last, void *value)
{
	edit->displaces |= entry->value && entry->value != value;
	return cleave__leaf_edit_exchange(edit, r, r, entry->first, entry->last, entry->value, first, last, value);
}

/*
 * The numbers of an order word with the `n` of `fresh` in the place of `drop` from rank `at`.  (drop and n are below 3;
 * all of it is shifts, because ranks are as good as random.)
 */
static PORT_ALWAYS_INLINE uint64_t cleave__numbers_exchange(uint64_t order, unsigned int at, unsigned int drop,
							    uint64_t fresh, unsigned int n)
{
	uint64_t numbers = order & CLEAVE__NUMBERS;

	return (numbers & cleave__low_numbers(at)) | fresh << (4 * at) |
	       numbers >> (4 * (at + drop)) << (4 * (at + n));
}

/*
 * Publish an order word that keeps every address's value: a cell was added or joined.
 * [M2-rel] the cells before the word that lists them; pairs with [M2-acq] cleave__order_rcu().
 */
static inline void cleave__order_publish_locked(struct cleave__leaf *leaf, uint64_t order) PORT_LOCKED(leaf->node.lock)
{
	PORT_YIELD();
	PORT_STORE(&leaf->node.order, order, PORT_RELEASE);
}

/*
 * The same for one that takes some address's value away, or needs the barrier for a cookie (pool.h).
 * [M2-rel] as cleave__order_publish_locked().
 * [M5-sc] It orders against the guard of a validating lookup too.
 */
static inline void cleave__order_displace_locked(struct cleave__leaf *leaf, uint64_t order) PORT_LOCKED(leaf->node.lock)
{
	PORT_YIELD();
	PORT_STORE(&leaf->node.order, order, PORT_SEQ_CST);
}

/* Of a locked leaf: what takes the place of some neighbouring cells. */
struct cleave__exchange {
	unsigned int at;      /* the rank of the first */
	unsigned int drop;    /* how many go, 0 to 2 */
	unsigned int dropped; /* those, as cells */
	unsigned int n;	      /* how many come, 0 to 2: they are filled */
	unsigned int fresh;   /* their numbers */
	unsigned int added;   /* those, as cells */
	bool displaces;	      /* some address loses its value, or a cookie needs the barrier */
};

/* The order word then. */
static PORT_ALWAYS_INLINE uint64_t cleave__order_exchange(uint64_t order, const struct cleave__exchange *exchange)
{
	uint64_t live = (order >> 48 & ~(uint64_t)exchange->dropped) | exchange->added; /* and `removals` */

	order = cleave__numbers_exchange(order, exchange->at, exchange->drop, exchange->fresh, exchange->n) |
		live << 48;
	return cleave__order_removes(order, exchange->n == 0);
}

/* Publish it: an edit in one place, in few instructions.  What was dropped is the caller's to hand on. */
static PORT_ALWAYS_INLINE void cleave__leaf_exchange(struct cleave__leaf *leaf, uint64_t order,
						     const struct cleave__exchange *exchange)
	PORT_LOCKED(leaf->node.lock)
{
	order = cleave__order_exchange(order, exchange);
	if (exchange->displaces)
		cleave__order_displace_locked(leaf, order);
	else
		cleave__order_publish_locked(leaf, order);
}

/* Publish the edit under the leaf's lock.  What it dropped is the caller's to hand on. */
static PORT_ALWAYS_INLINE void cleave__leaf_edit_store(const struct cleave__edit *edit)
	PORT_LOCKED(edit->leaf->node.lock) PORT_UNCHECKED
{
	uint64_t order = cleave__order_removes(edit->order, !edit->added);

	if (!edit->added && !edit->dropped)
		return;
	if (edit->displaces)
		cleave__order_displace_locked(edit->leaf, order);
	else
		cleave__order_publish_locked(edit->leaf, order);
}

/*
 * The commonest edits by themselves: `entry`, the r-th of *count live cells, or its head up to `last`, gets this value,
 * which is not NULL; what remains moves to another cell.  Its own one is dropped.  `clean`: cells that may be written.
 * False: there are too few.
 */
static PORT_ALWAYS_INLINE bool cleave__leaf_replace(struct cleave__leaf *leaf, uint64_t order, unsigned int *count,
						    unsigned int r, const struct cleave_entry *entry, uint64_t last,
						    void *value, unsigned int clean)
	PORT_LOCKED(leaf->node.lock) PORT_UNCHECKED
{
	unsigned int at = cleave__cell(order, r), others = clean & (clean - 1), cell, rest;

	if (!(last < entry->last ? others : clean))
		return false;
	cell = (unsigned int)__builtin_ctz(clean);
	PORT_CELL_WRITE(leaf->start[cell], entry->first);
	PORT_CELL_WRITE(leaf->value[cell], value);
	order ^= (uint64_t)(at ^ cell) << (4 * r) ^ (uint64_t)(1u << at | 1u << cell) << 48;
	if (last < entry->last) {
		rest = (unsigned int)__builtin_ctz(others);
		PORT_CELL_WRITE(leaf->start[rest], last + 1);
		PORT_CELL_WRITE(leaf->value[rest], entry->value);
		order = cleave__numbers_exchange(order, r + 1, 0, rest, 1) | (order & ~CLEAVE__NUMBERS) |
			UINT64_C(1) << (48 + rest);
		++*count;
	}
	if (entry->value)
		cleave__order_displace_locked(leaf, order);
	else
		cleave__order_publish_locked(leaf, order);
	return true;
}

/* ---- Private leaves ---- */

/* Make a private leaf over [first, last] without cells. */
void cleave__leaf_init_private(struct cleave__leaf *leaf, uint64_t first, uint64_t last);

/* Write all cells; 12 of each are read. */
void cleave__leaf_fill_private(struct cleave__leaf *leaf, const uint64_t *restrict start, void *const *restrict value);

/* Append a cell. */
void cleave__leaf_append_private(struct cleave__leaf *leaf, uint64_t start, void *value);

#endif
