/* SPDX-License-Identifier: ISC */
#include "scenarios.h"

#include "drawn.h"

#include <stdio.h>
#include <string.h>

/* Tables: one line a thing. */
/* clang-format off */

#define E(f, l, v) { .first = f, .last = l, .value = v }
#define SET(f, l, v) { .kind = STORE, .first = f, .last = l, .value = v }
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Leaves of 4 cells, branches of 4 children (platform.h).  "|" is a border of leaves, a dot a gap.
 */
static const struct shape shapes[] = {
	/* . 8-15 . */
	{ "lone", { E(8, 11, 1), E(12, 15, 1) }, { { .kind = UNCLIP, .first = 12, .last = 12 } },
	  8, 15, 1, 16, 19, 0, 20, 27 },
	/* . 8-11 12-15 .: full */
	{ "full", { E(8, 11, 1), E(12, 15, 1) }, { { 0 } }, 8, 11, 1, 12, 15, 1, 16, 23 },
	/* . 4-7 8-11 12-15 | 16-19 20-23 24-27 28-31 | 32-35 . 40-43 . */
	{ "boundary",
	  { E(4, 7, 1), E(8, 11, 1), E(12, 15, 2), E(16, 19, 2), E(20, 23, 1), E(24, 27, 1), E(28, 31, 3), E(32, 35, 3),
	    E(40, 43, 4) },
	  { { 0 } }, 12, 15, 2, 16, 19, 2, 36, 39 },
	/* . 4-7 8-9 . | 16-19 20-23 24-27 28-31 | 32-35 . 40-43 . */
	{ "gap_boundary",
	  { E(4, 7, 1), E(8, 9, 1), E(16, 19, 2), E(20, 23, 2), E(24, 27, 1), E(28, 31, 3), E(32, 35, 3),
	    E(40, 43, 4) },
	  { { 0 } }, 16, 19, 2, 20, 23, 2, 10, 15 },
	/* . 4-7 8-11 12-15 | 16-31 | 32-35 . 40-43 . */
	{ "one_cell",
	  { E(4, 7, 1), E(8, 11, 1), E(12, 15, 2), E(16, 19, 2), E(20, 23, 1), E(24, 27, 1), E(28, 31, 3), E(32, 35, 3),
	    E(40, 43, 4) },
	  { SET(16, 31, 3) }, 16, 31, 3, 32, 35, 3, 36, 39 },
	/* . 4-11 12-15 | 16-27 28-31 | 32-35 . 40-43 .: edits have room */
	{ "roomy",
	  { E(4, 7, 1), E(8, 11, 1), E(12, 15, 2), E(16, 19, 2), E(20, 23, 1), E(24, 27, 1), E(28, 31, 3), E(32, 35, 3),
	    E(40, 43, 4) },
	  { SET(4, 11, 1), SET(16, 27, 2) }, 12, 15, 2, 16, 27, 2, 36, 39 },
	/* . 4-7 8-11 12-15 | 16-27 28-31 | 32-35 . 40-43 .: the bound of the second leaf's gap is too high */
	{ "high_bound",
	  { E(4, 7, 1), E(8, 11, 1), E(12, 15, 2), E(16, 19, 2), E(20, 23, 1), E(24, 27, 1), E(28, 31, 3), E(32, 35, 3),
	    E(40, 43, 4) },
	  { SET(16, 27, 2), { .kind = ERASE, .first = 28, .last = 31 }, SET(28, 31, 3) },
	  16, 27, 2, 28, 31, 3, 36, 39 },
	/* . 4-15 | 16-16 17-27 28-31 | 32-35 . 40-43 .: what the words of two leaves recur in */
	{ "recurring",
	  { E(4, 7, 1), E(8, 11, 1), E(12, 15, 2), E(16, 19, 2), E(20, 23, 1), E(24, 27, 1), E(28, 31, 3), E(32, 35, 3),
	    E(40, 43, 4) },
	  { SET(4, 15, 2), SET(16, 27, 2), { .kind = CLIP, .first = 17, .last = 17 } }, 4, 15, 2, 17, 27, 2, 36, 39 },
	/* Leaves of 6 cells: . 4-7 . 10-15 | 16-17 . 20-21 22-27 | six of one size | 40-43 .: second bound high */
	{ "six",
	  { E(4, 7, 1), E(10, 11, 2), E(12, 13, 2), E(14, 15, 2), E(16, 17, 3), E(20, 21, 5), E(22, 23, 1),
	    E(24, 25, 1), E(26, 27, 1), E(28, 29, 3), E(30, 31, 1), E(32, 33, 3), E(34, 35, 1), E(36, 37, 3),
	    E(38, 39, 1), E(40, 43, 4) },
	  { { .kind = UNCLIP, .first = 12, .last = 12 }, { .kind = UNCLIP, .first = 14, .last = 14 },
	    { .kind = UNCLIP, .first = 24, .last = 24 }, { .kind = UNCLIP, .first = 26, .last = 26 },
	    { .kind = ERASE, .first = 20, .last = 21 }, { .kind = INSERT, .first = 20, .last = 21, .value = 5 } },
	  10, 15, 2, 16, 17, 3, 18, 19 },
	{ "empty", { { 0 } }, { { 0 } }, 8, 9, 0, 12, 13, 0, 16, 23 },
	/* three levels, the first branch full of full leaves */
	{ "deep",
	  { E(2, 5, 1), E(6, 9, 1), E(10, 11, 2), E(12, 13, 3), E(14, 15, 2), E(16, 17, 3), E(18, 19, 2), E(20, 21, 3),
	    E(22, 23, 2), E(24, 25, 3), E(26, 27, 2), E(28, 29, 3), E(30, 31, 2), E(32, 33, 3), E(34, 35, 2),
	    E(36, 37, 3), E(38, 39, 2), E(40, 41, 3), E(42, 43, 2), E(44, 45, 3), E(50, 51, 2), E(52, 53, 3) },
	  { { 0 } }, 2, 5, 1, 6, 9, 1, 46, 49 },
};

/* clang-format on */

#define SHAPES ((unsigned int)COUNT(shapes))

/* ---- Pairs and triples of calls: what a kind does at a place ---- */

static bool reads(enum kind kind)
{
	return kind <= FIND && kind != FREEZE && kind != DUPLICATE; /* these two lock */
}

/* place 0: the entry or the gap itself; 1: beside it */
static struct call call_at(enum kind kind, const struct shape *s, unsigned int place, unsigned int thread)
{
	struct call call = { .kind = kind };
	uint8_t first = place ? s->c : s->a, last = place ? s->d : s->b;
	uint8_t value = (uint8_t)(5 + 3 * thread);

	switch (kind) {
	case LOOKUP:
	case TICKET:
		call.first = call.last = (uint8_t)(first + 1);
		break;
	case MANY:
	case LOOK_RANGE:
		call.n = 3;
		/* fall through */
	case COVERS:
	case COVERS_SLOWLY:
		call.first = s->a;
		call.last = place && s->g > s->d ? s->g : s->d;
		break;
	case NEXT:
	case NEXT_ENTRY:
		call.first = call.last = first;
		call.n = 3;
		break;
	case FREEZE:
	case DUPLICATE:
		break;
	case PREVIOUS:
	case PREVIOUS_ENTRY:
		call.first = call.last = (uint8_t)(last + 1);
		call.n = 3;
		break;
	case CLIP:
	case TRY_CLIP:
		call.first = call.last = (uint8_t)(first + 2);
		break;
	case UNCLIP:
		call.first = call.last = place ? (uint8_t)(s->d + 1) : s->c;
		break;
	case INSERT:
		call.first = (uint8_t)(s->g + 2 * place);
		call.last = (uint8_t)(call.first + 1);
		call.value = value;
		break;
	case STORE:
	case TRY_STORE:
		call.first = (uint8_t)(first + 1);
		call.last = place ? last : (uint8_t)(s->c + 1);
		call.value = value;
		break;
	case HOLD:
		call.first = (uint8_t)(first + 1);
		call.last = place ? last : (uint8_t)(first + 1);
		call.value = value;
		break;
	case ERASE:
		call.first = first;
		call.last = last;
		break;
	case REPLACE:
	case TRY_REPLACE:
		call.first = first;
		call.last = last;
		call.value = place ? s->w : s->v;
		if (!call.value)
			call.value = 1;
		call.value2 = value;
		break;
	case BUILD:
		call.first = first;
		call.last = last;
		call.value = value;
		break;
	case FIND:
	case ALLOC:
		call.first = place ? 0 : s->g;
		call.last = place ? 62 : s->h;
		call.n = place ? 3 : 2;
		call.order = place ? CLEAVE_HIGHEST : CLEAVE_LOWEST;
		call.value = (uint8_t)(value + 1);
		break;
	case COMMIT:
	case ABORT:
	case PUBLISH:
	case TRY_COMMIT:
		call.first = place ? s->c : (uint8_t)(s->a + 1);
		call.last = place ? s->d : s->b;
		call.value = value;
		if (!place) {
			call.first2 = call.last2 = s->c;
			call.value2 = 0;
		}
		break;
	case KINDS:
		break;
	}
	return call;
}

static unsigned int pairs[KINDS * KINDS][2];
static unsigned int npairs;

static const enum kind triples[][3] = {
	{ CLIP, ERASE, LOOKUP },      { CLIP, ERASE, NEXT },	       { STORE, ERASE, PREVIOUS },
	{ ALLOC, ERASE, ALLOC },      { INSERT, ERASE, FIND },	       { COMMIT, LOOKUP, COMMIT },
	{ PUBLISH, TICKET, CLIP },    { CLIP, UNCLIP, COVERS },	       { CLIP, CLIP, CLIP },
	{ ERASE, ERASE, INSERT },     { COMMIT, CLIP, COVERS_SLOWLY }, { ALLOC, ALLOC, ERASE },
	{ REPLACE, REPLACE, TICKET }, { TRY_CLIP, ERASE, NEXT },       { TRY_STORE, COMMIT, CLIP },
	{ ERASE, ERASE, ERASE },      { ERASE, CLIP, DUPLICATE },      { STORE, ERASE, FREEZE },
	{ ERASE, INSERT, NEXT_ENTRY },	      { HOLD, HOLD, COVERS },	       { HOLD, ERASE, TICKET },
	{ HOLD, COMMIT, CLIP },	      { MANY, CLIP, ERASE },	       { MANY, COMMIT, STORE },
	{ MANY, HOLD, UNCLIP },	      { LOOK_RANGE, CLIP, ERASE },     { LOOK_RANGE, COMMIT, STORE },
};

static void list_pairs(void)
{
	if (npairs > 0)
		return;
	for (unsigned int i = 0; i < KINDS; i++)
		for (unsigned int j = i; j < KINDS; j++)
			if (!reads(i) || !reads(j)) {
				pairs[npairs][0] = i;
				pairs[npairs++][1] = j;
			}
}

/* ---- Scenarios with a history ---- */

struct named {
	const char *name;
	unsigned int shape;
	struct variant variant;
};

/* clang-format off */

enum { LONE, FULL, BOUNDARY, GAP_BOUNDARY, ONE_CELL, ROOMY, HIGH_BOUND, RECURRING, SIX, EMPTY, DEEP };

#define AT(k, f) { .kind = k, .first = f, .last = f }
#define RANGE(k, f, l, v) { .kind = k, .first = f, .last = l, .value = v }
#define TXN(k, f, l, v, f2, l2, v2) \
	{ .kind = k, .first = f, .last = l, .value = v, .first2 = f2, .last2 = l2, .value2 = v2 }
#define SEARCH(k, f, l, o, s, v) { .kind = k, .first = f, .last = l, .order = o, .n = s, .value = v }
#define VISITS(k, f, c) { .kind = k, .first = f, .last = f, .n = c }
#define LOOKS(f, l, c) { .kind = LOOK_RANGE, .first = f, .last = l, .n = c }

static const struct named named[] = {
	/*
	 * Words that recur (invariant 3): 13 and 17 are never both within an entry, but each for itself is so again
	 * and again.
	 */
	{ "words_recur", RECURRING,
	  { .nthreads = 2, .ncalls = { 6, 1 },
	    .calls = { { AT(CLIP, 13), AT(UNCLIP, 17), AT(CLIP, 17), AT(UNCLIP, 13), AT(CLIP, 13), AT(UNCLIP, 17) },
		       { RANGE(COVERS, 12, 19, 0) } } } },
	{ "words_recur_two_writers", RECURRING,
	  { .nthreads = 3, .ncalls = { 3, 3, 1 },
	    .calls = { { AT(CLIP, 13), AT(UNCLIP, 13), AT(CLIP, 13) }, { AT(UNCLIP, 17), AT(CLIP, 17), AT(UNCLIP, 17) },
		       { RANGE(COVERS, 12, 19, 0) } } } },
	{ "words_recur_replace", ROOMY,
	  { .nthreads = 2, .ncalls = { 4, 1 },
	    .calls = { { RANGE(ERASE, 14, 15, 0), RANGE(ERASE, 18, 18, 0), RANGE(STORE, 14, 15, 5),
			 RANGE(STORE, 18, 18, 6) },
		       
		       { RANGE(COVERS, 12, 19, 0) } } } },
	/* The same with gaps: 9 and 20 are never both free. */
	{ "words_recur_erase", SIX,
	  { .nthreads = 2, .ncalls = { 6, 1 },
	    .calls = { { RANGE(INSERT, 9, 9, 5), RANGE(ERASE, 20, 21, 0), RANGE(INSERT, 20, 21, 5),
			 RANGE(ERASE, 9, 9, 0), RANGE(INSERT, 9, 9, 5), RANGE(ERASE, 20, 21, 0) },
		       { RANGE(COVERS, 8, 21, 5) } } } },
	/* An erasure relies on the bound that its walk found; that branch is replaced, and its copy's bound lowered. */
	{ "bound_of_dead_parent", SIX,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(ERASE, 20, 21, 0) }, { AT(CLIP, 39), SEARCH(ALLOC, 8, 62, CLEAVE_LOWEST, 4, 6) } } } },
	/* Dead marks against publication (invariant 6). */
	{ "dead_mark", BOUNDARY,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(STORE, 14, 17, 5) }, { AT(CLIP, 13) }, { RANGE(COVERS, 12, 19, 0) } } } },
	{ "dead_mark_hole_moves", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { RANGE(ERASE, 13, 14, 0), TXN(COMMIT, 13, 14, 5, 17, 18, 0) },
		       { RANGE(COVERS, 12, 19, 0) } } } },
	{ "dead_mark_ticket", FULL,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { AT(CLIP, 10) }, { RANGE(ERASE, 8, 11, 0) }, { AT(TICKET, 9) } } } },
	/* Gap bounds (invariant 7): a raise, lowerings, a copy of the branch. */
	{ "bound_late", ROOMY,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(ERASE, 17, 20, 0) }, { AT(LOOKUP, 18), SEARCH(FIND, 8, 31, CLEAVE_LOWEST, 4, 0) } } } },
	{ "bound_late_cover", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(ERASE, 17, 20, 0) }, { AT(LOOKUP, 18), SEARCH(FIND, 8, 31, CLEAVE_LOWEST, 4, 0) } } } },
	{ "bound_late_cover_deep", DEEP,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(ERASE, 14, 17, 0) }, { AT(LOOKUP, 15), SEARCH(FIND, 4, 40, CLEAVE_LOWEST, 4, 0) } } } },
	{ "bound_late_cover_txn", DEEP,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { TXN(COMMIT, 14, 17, 0, 18, 18, 5) },
		       { AT(LOOKUP, 15), SEARCH(FIND, 4, 40, CLEAVE_LOWEST, 4, 0) } } } },
	{ "bound_dead_parent", HIGH_BOUND,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(ERASE, 17, 20, 0) },
		       { AT(CLIP, 10) },
		       { SEARCH(ALLOC, 8, 31, CLEAVE_LOWEST, 4, 5) } } } },
	{ "bound_dead_parent_of_live_leaf", HIGH_BOUND,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(ERASE, 17, 20, 0) },
		       { AT(CLIP, 41) },
		       { SEARCH(ALLOC, 8, 31, CLEAVE_LOWEST, 4, 5) } } } },
	{ "bound_lower_against_raise", HIGH_BOUND,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(ERASE, 17, 20, 0) },
		       { SEARCH(ALLOC, 8, 31, CLEAVE_LOWEST, 4, 5), SEARCH(ALLOC, 8, 31, CLEAVE_HIGHEST, 4, 6) } } } },
	/* The leaf is full when its gap grows: a copy takes its place, while its bound is about to be lowered. */
	{ "bound_lower_by_dead_child", HIGH_BOUND,
	  { .nthreads = 2, .ncalls = { 3, 2 },
	    .calls = { { AT(CLIP, 22), AT(CLIP, 30), RANGE(ERASE, 22, 27, 0) },
		       { SEARCH(ALLOC, 8, 31, CLEAVE_LOWEST, 8, 5), SEARCH(ALLOC, 8, 31, CLEAVE_LOWEST, 7, 6) } } } },
	{ "bound_raise_and_lower", DEEP,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(ERASE, 10, 13, 0) },
		       { SEARCH(ALLOC, 0, 20, CLEAVE_LOWEST, 4, 5), SEARCH(ALLOC, 0, 20, CLEAVE_LOWEST, 4, 6) } } } },
	{ "bound_two_lowerings", DEEP,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(ERASE, 2, 9, 0) },
		       { SEARCH(ALLOC, 0, 62, CLEAVE_LOWEST, 5, 5) },
		       { SEARCH(ALLOC, 0, 62, CLEAVE_LOWEST, 5, 6) } } } },
	{ "bound_branch_copy", DEEP,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(ERASE, 10, 15, 0) },
		       { AT(CLIP, 4) },
		       { SEARCH(ALLOC, 0, 40, CLEAVE_HIGHEST, 4, 6) } } } },
	/* A raise meets a lock above: it takes back what it raised below, and is made again. */
	{ "bound_raise_given_up", DEEP,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(ERASE, 12, 13, 0) },
		       { AT(CLIP, 37), SEARCH(FIND, 4, 20, CLEAVE_LOWEST, 2, 0) } } } },
	{ "bound_moving_gap", GAP_BOUNDARY,
	  { .nthreads = 3, .ncalls = { 2, 1, 1 },
	    .calls = { { RANGE(ERASE, 24, 31, 0), RANGE(STORE, 10, 15, 5) },
		       { SEARCH(ALLOC, 4, 40, CLEAVE_LOWEST, 5, 6) },
		       { SEARCH(FIND, 4, 40, CLEAVE_LOWEST, 5, 0) } } } },
	{ "bound_stale", GAP_BOUNDARY,
	  { .nthreads = 2, .ncalls = { 3, 1 },
	    .calls = { { RANGE(STORE, 10, 15, 5), SEARCH(ALLOC, 4, 31, CLEAVE_LOWEST, 4, 6), RANGE(ERASE, 10, 15, 0) },
		       { SEARCH(ALLOC, 4, 31, CLEAVE_LOWEST, 4, 7) } } } },
	/* Cookies against retirement: nodes and cells are reused while somebody reads. */
	{ "reuse_nodes", FULL,
	  { .nthreads = 2, .ncalls = { 3, 2 }, .cold = true,
	    .calls = { { AT(CLIP, 10), AT(CLIP, 14), RANGE(ERASE, 8, 15, 0) },
		       { AT(LOOKUP, 9), VISITS(NEXT, 8, 3) } } } },
	{ "reuse_nodes_two_writers", FULL,
	  { .nthreads = 3, .ncalls = { 2, 2, 1 }, .cold = true,
	    .calls = { { AT(CLIP, 10), RANGE(STORE, 12, 15, 5) },
		       { AT(CLIP, 14), RANGE(ERASE, 8, 9, 0) },
		       { RANGE(COVERS, 8, 15, 0) } } } },
	{ "reuse_cells", LONE,
	  { .nthreads = 2, .ncalls = { 4, 2 },
	    .calls = { { TXN(REPLACE, 8, 15, 1, 0, 0, 5), TXN(REPLACE, 8, 15, 5, 0, 0, 6),
			 TXN(REPLACE, 8, 15, 6, 0, 0, 7), TXN(REPLACE, 8, 15, 7, 0, 0, 8) },
		       { AT(LOOKUP, 9), AT(TICKET, 9) } } } },
	{ "reuse_cells_two_writers", LONE,
	  { .nthreads = 3, .ncalls = { 3, 3, 1 }, .cold = true,
	    .calls = { { RANGE(STORE, 8, 15, 5), RANGE(STORE, 8, 15, 6), RANGE(STORE, 8, 15, 7) },
		       { RANGE(STORE, 8, 15, 8), RANGE(STORE, 8, 15, 9), RANGE(STORE, 8, 15, 10) },
		       { AT(TICKET, 9) } } } },
	/* A leaf with room: cells that are dropped while older ones still wait, under another cookie or the same. */
	{ "reuse_cells_joined", ONE_CELL,
	  { .nthreads = 2, .ncalls = { 4, 1 },
	    .calls = { { RANGE(STORE, 16, 31, 5), RANGE(STORE, 16, 31, 6), RANGE(STORE, 16, 31, 7),
			 RANGE(STORE, 16, 31, 8) },
		       { AT(TICKET, 17) } } } },
	{ "reuse_cells_joined_two_readers", ONE_CELL,
	  { .nthreads = 3, .ncalls = { 5, 1, 1 },
	    .calls = { { RANGE(STORE, 16, 31, 5), RANGE(STORE, 16, 31, 6), RANGE(STORE, 16, 31, 7),
			 RANGE(STORE, 16, 31, 8), RANGE(STORE, 16, 31, 9) },
		       { AT(LOOKUP, 17) },
		       { AT(LOOKUP, 30) } } } },
	/* A held entry that is put into a copy, which stays locked, beside who waits for its leaf. */
	{ "hold_copies", BOUNDARY,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(HOLD, 12, 15, 5) }, { RANGE(STORE, 12, 14, 6) }, { AT(CLIP, 6) } } } },
	/* A whole entry gets another value again and again: the cells it leaves are written after a grace period. */
	{ "hold_replaces", ONE_CELL,
	  { .nthreads = 3, .ncalls = { 5, 1, 1 },
	    .calls = { { RANGE(HOLD, 16, 31, 5), RANGE(HOLD, 16, 31, 6), RANGE(HOLD, 16, 31, 7), RANGE(HOLD, 16, 31, 8),
			 RANGE(HOLD, 16, 31, 9) },
		       { AT(LOOKUP, 17) },
		       { AT(TICKET, 30) } } } },
	/* Gaps that are filled from their beginning: the cell that each leaves is written after a grace period only. */
	{ "hold_fills", EMPTY,
	  { .nthreads = 2, .ncalls = { 4, 1 },
	    .calls = { { RANGE(HOLD, 0, 7, 5), RANGE(HOLD, 8, 15, 6), RANGE(HOLD, 16, 23, 7), RANGE(HOLD, 24, 31, 8) },
		       { AT(LOOKUP, 17) } } } },
	/*
	 * Many lookups at once, a group and one more, whose walks go on through nodes that are replaced, split, reused.
	 */
	{ "many_split", DEEP,
	  { .nthreads = 2, .ncalls = { 3, 1 },
	    .calls = { { AT(CLIP, 4), AT(CLIP, 7), RANGE(ERASE, 10, 17, 0) }, { SEARCH(MANY, 2, 20, 0, 9, 0) } } } },
	{ "many_reuse_nodes", FULL,
	  { .nthreads = 2, .ncalls = { 4, 1 }, .cold = true,
	    .calls = { { AT(CLIP, 10), AT(CLIP, 14), RANGE(ERASE, 8, 15, 0), RANGE(INSERT, 9, 10, 5) },
		       { SEARCH(MANY, 8, 16, 0, 9, 0) } } } },
	{ "many_reuse_cells", ONE_CELL,
	  { .nthreads = 2, .ncalls = { 4, 1 },
	    .calls = { { RANGE(STORE, 16, 31, 5), RANGE(STORE, 16, 31, 6), RANGE(STORE, 16, 31, 7),
			 RANGE(STORE, 16, 31, 8) },
		       { SEARCH(MANY, 12, 36, 0, 9, 0) } } } },
	{ "many_root_changes", FULL,
	  { .nthreads = 3, .ncalls = { 2, 1, 1 },
	    .calls = { { TXN(COMMIT, 9, 10, 5, 13, 14, 6), RANGE(ERASE, 0, 62, 0) },
		       { AT(CLIP, 12) },
		       { SEARCH(MANY, 8, 16, 0, 3, 0) } } } },
	/* A held entry becomes a gap: bounds are raised under its lock, beside a search, and one who widens the gap. */
	{ "hold_erases", FULL,
	  { .nthreads = 3, .ncalls = { 1, 2, 1 },
	    .calls = { { RANGE(HOLD, 10, 13, 0) },
		       { RANGE(ERASE, 12, 15, 0), RANGE(HOLD, 13, 13, 6) },
		       { RANGE(COVERS, 8, 17, 0) } } } },
	/* The cell of what it erases is written again, after a grace period only. */
	{ "hold_erases_reuse_cells", LONE,
	  { .nthreads = 3, .ncalls = { 2, 1, 1 },
	    .calls = { { RANGE(HOLD, 8, 11, 0), AT(CLIP, 14) }, { AT(LOOKUP, 9) }, { AT(TICKET, 12) } } } },
	{ "hold_erases_and_merges", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 3, 2 },
	    .calls = { { RANGE(HOLD, 9, 10, 0), RANGE(HOLD, 12, 14, 0), RANGE(HOLD, 17, 18, 0) },
		       { AT(CLIP, 10), RANGE(HOLD, 13, 13, 0) } } } },
	{ "hold_erases_and_finds", ONE_CELL,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(HOLD, 17, 20, 0) }, { AT(LOOKUP, 18), SEARCH(FIND, 8, 31, CLEAVE_LOWEST, 4, 0) } } } },
	{ "hold_erases_at_border", GAP_BOUNDARY,
	  { .nthreads = 2, .ncalls = { 1, 1 },
	    .calls = { { RANGE(HOLD, 16, 19, 0) }, { AT(LOOKUP, 17) } } } },
	/* An erasure up to both borders: a gap on the left, the right neighbour busy: the left one is let go, once. */
	{ "erases_between_gap_and_busy", ONE_CELL,
	  { .nthreads = 3, .ncalls = { 2, 1, 1 },
	    .calls = { { RANGE(ERASE, 12, 15, 0), RANGE(ERASE, 16, 31, 0) },
		       { RANGE(HOLD, 32, 35, 5) },
		       { AT(CLIP, 6) } } } },
	{ "holds_erase_at_both_sides", BOUNDARY,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(HOLD, 12, 15, 0) }, { RANGE(HOLD, 16, 19, 0) },
		       { SEARCH(FIND, 8, 31, CLEAVE_LOWEST, 4, 0) } } } },
	/*
	 * A hold begins at the leaf of the last one, but not if that was replaced, and its memory holds something else.
	 */
	{ "hold_begins_where_it_was", FULL,
	  { .nthreads = 2, .ncalls = { 2, 4 }, .cold = true,
	    .calls = { { RANGE(HOLD, 12, 12, 0), RANGE(HOLD, 8, 8, 6) },
		       { AT(CLIP, 10), AT(CLIP, 14), RANGE(ERASE, 8, 15, 0), RANGE(INSERT, 9, 10, 5) } } } },
	/* It goes on in the leaf behind it, but not if that was replaced. */
	{ "hold_goes_on_upward", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 3, 4 }, .cold = true,
	    .calls = { { RANGE(HOLD, 2, 2, 0), RANGE(HOLD, 3, 3, 0), RANGE(HOLD, 16, 19, 7) },
		       { AT(CLIP, 17), AT(CLIP, 21), AT(CLIP, 25), AT(CLIP, 29) } } } },
	{ "hold_goes_on_further", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 3, 1 },
	    .calls = { { RANGE(HOLD, 2, 2, 0), RANGE(HOLD, 3, 3, 0), RANGE(HOLD, 32, 35, 7) }, { AT(CLIP, 17) } } } },
	/* A division locks what the walk found above the leaf, but not what was replaced, or is something else now. */
	{ "hold_divides_under_another", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 1, 4 }, .cold = true,
	    .calls = { { RANGE(HOLD, 12, 13, 5) }, { AT(CLIP, 17), AT(CLIP, 21), AT(CLIP, 25), AT(CLIP, 29) } } } },
	{ "hold_divides_under_two", DEEP,
	  { .nthreads = 2, .ncalls = { 1, 1 },
	    .calls = { { RANGE(HOLD, 38, 38, 5) }, { AT(CLIP, 3) } } } },
	/* Cut from below upward: the leaf is divided where it would be copied. */
	{ "hold_cuts_upward", BOUNDARY,
	  { .nthreads = 3, .ncalls = { 3, 1, 1 },
	    .calls = { { RANGE(HOLD, 28, 28, 5), RANGE(HOLD, 29, 29, 6), RANGE(HOLD, 30, 30, 7) },
		       { RANGE(COVERS, 27, 33, 0) },
		       { AT(CLIP, 34) } } } },
	/* The parent is full: the branch above is replaced with it. */
	{ "hold_cuts_under_a_full_branch", DEEP,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { RANGE(HOLD, 34, 34, 5), RANGE(HOLD, 35, 35, 6) }, { AT(CLIP, 37) } } } },
	{ "hold_cuts_below_a_growing_gap", DEEP,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(HOLD, 34, 34, 5) }, { RANGE(ERASE, 44, 45, 0) },
		       { SEARCH(FIND, 36, 60, CLEAVE_LOWEST, 6, 0) } } } },
	/*
	 * Two levels are replaced beside who goes on upward under them, by what he remembers.  (In the least nodes the
	 * two lie below another branch, not below the root.)
	 */
	{ "hold_goes_on_against_cuts", DEEP,
	  { .nthreads = 2, .ncalls = { 4, 3 }, .cold = true,
	    .calls = { { RANGE(HOLD, 28, 28, 5), RANGE(HOLD, 29, 29, 6), RANGE(HOLD, 34, 34, 6),
			 RANGE(HOLD, 38, 38, 6) },
		       { RANGE(HOLD, 34, 34, 7), RANGE(HOLD, 35, 35, 8), AT(CLIP, 39) } } } },
	/* It goes on in what a division of its own has made, but not under a branch that was replaced since. */
	{ "hold_cuts_on_under_another", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 2, 3 }, .cold = true,
	    .calls = { { RANGE(HOLD, 12, 13, 5), RANGE(HOLD, 14, 14, 6) },
		       { AT(CLIP, 17), AT(CLIP, 21), AT(CLIP, 25) } } } },
	{ "garbage_limit", FULL,
	  { .nthreads = 2, .ncalls = { 4, 2 }, .cold = true, .garbage_limit = 1,
	    .calls = { { AT(CLIP, 10), RANGE(STORE, 9, 14, 5), AT(CLIP, 11), RANGE(ERASE, 8, 15, 0) },
		       { AT(LOOKUP, 9), VISITS(PREVIOUS, 15, 3) } } } },
	/* Transactions against splits of the same subtree. */
	{ "txn_against_split", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { TXN(COMMIT, 13, 14, 5, 17, 18, 0) }, { AT(CLIP, 26), AT(CLIP, 22) } } } },
	{ "txn_against_split_deep", DEEP,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { TXN(PUBLISH, 10, 13, 5, 16, 17, 6) }, { AT(CLIP, 4) }, { RANGE(COVERS, 8, 17, 0) } } } },
	{ "txn_grows_root", FULL,
	  { .nthreads = 2, .ncalls = { 2, 2 },
	    .calls = { { TXN(COMMIT, 9, 10, 5, 13, 14, 6), AT(CLIP, 12) },
		       { RANGE(INSERT, 20, 21, 7), RANGE(ERASE, 12, 15, 0) } } } },
	{ "txns_crossing", BOUNDARY,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { TXN(COMMIT, 9, 10, 5, 33, 33, 0) }, { TXN(COMMIT, 17, 18, 6, 41, 42, 0) },
		       { TXN(PUBLISH, 13, 14, 7, 21, 22, 8) } } } },
	/* The gap at a leaf's border goes to the left; both leaves change at once. */
	{ "gap_to_the_left", GAP_BOUNDARY,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(ERASE, 16, 19, 0) }, { RANGE(INSERT, 10, 15, 5) }, { AT(CLIP, 22) } } } },
	/* Erases on both sides of a border, and a third that joins both gaps. */
	{ "border_two_erases", BOUNDARY,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(ERASE, 12, 15, 0) }, { RANGE(ERASE, 16, 19, 0) }, { RANGE(COVERS, 10, 21, 0) } } } },
	{ "border_erase_and_back", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 3, 3 },
	    .calls = { { RANGE(ERASE, 12, 15, 0), RANGE(INSERT, 12, 15, 5), RANGE(ERASE, 14, 15, 0) },
		       { RANGE(ERASE, 16, 19, 0), RANGE(INSERT, 16, 19, 6), RANGE(ERASE, 16, 17, 0) } } } },
	{ "border_both_sides", ONE_CELL,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(ERASE, 12, 15, 0) }, { RANGE(ERASE, 16, 31, 0) }, { RANGE(ERASE, 32, 35, 0) } } } },
	{ "border_txn", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { TXN(COMMIT, 12, 15, 0, 20, 23, 0) }, { RANGE(ERASE, 16, 19, 0), RANGE(ERASE, 8, 11, 0) } } } },
	/* The joint gap is larger than all under the branch above the parent. */
	{ "border_bound", DEEP,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { RANGE(ERASE, 10, 11, 0), RANGE(ERASE, 12, 13, 0) },
		       { SEARCH(ALLOC, 4, 20, CLEAVE_LOWEST, 4, 5) } } } },
	/* Beside each other: leaves are divided, shared and joined under one branch. */
	{ "siblings_divide", BOUNDARY,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { AT(CLIP, 18) }, { AT(CLIP, 6) }, { AT(CLIP, 34) } } } },
	{ "siblings_divide_and_join", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 2, 2 },
	    .calls = { { AT(CLIP, 18), RANGE(ERASE, 16, 31, 0) }, { AT(CLIP, 30), RANGE(ERASE, 32, 43, 0) } } } },
	{ "siblings_copy_beside", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { AT(CLIP, 18) }, { RANGE(STORE, 32, 35, 5), AT(LOOKUP, 33) } } } },
	/* A leaf that runs out of cells again and again is divided. */
	{ "cramped", FULL,
	  { .nthreads = 2, .ncalls = { 5, 2 },
	    .calls = { { RANGE(STORE, 8, 11, 5), RANGE(STORE, 8, 11, 6), RANGE(STORE, 8, 11, 7), RANGE(STORE, 8, 11, 8),
			 RANGE(STORE, 8, 11, 9) },
		       { AT(TICKET, 9), RANGE(COVERS, 8, 15, 0) } } } },
	/* An empty index is filled once. */
	{ "build_twice", EMPTY,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(BUILD, 8, 20, 5) }, { RANGE(BUILD, 9, 19, 6) }, { RANGE(COVERS, 8, 9, 0) } } } },
	{ "build_against_insert", EMPTY,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(BUILD, 8, 20, 5) }, { RANGE(INSERT, 12, 13, 6), RANGE(ERASE, 8, 20, 0) } } } },
	/* One instant of everything, beside writers. */
	{ "duplicate_two", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { RANGE(STORE, 14, 17, 5), RANGE(ERASE, 24, 31, 0) }, { AT(DUPLICATE, 0) } } } },
	{ "freeze_against_split", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { AT(CLIP, 14), RANGE(ERASE, 20, 31, 0) }, { AT(FREEZE, 0) } } } },
	/* The smallest gap is filled, and another one grows, while all are looked at. */
	{ "best_fit", GAP_BOUNDARY,
	  { .nthreads = 3, .ncalls = { 2, 1, 1 },
	    .calls = { { RANGE(INSERT, 10, 12, 5), RANGE(ERASE, 20, 23, 0) },
		       { SEARCH(ALLOC, 0, 62, CLEAVE_BEST, 2, 6) },
		       { SEARCH(FIND, 4, 40, CLEAVE_BEST, 3, 0) } } } },
	{ "insert_conflict", GAP_BOUNDARY,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(INSERT, 10, 17, 5) }, { RANGE(ERASE, 16, 19, 0) }, { RANGE(STORE, 12, 13, 6) } } } },
	/* Merges, splits and cursors. */
	{ "merge_against_cursor", ONE_CELL,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { RANGE(ERASE, 32, 35, 0), RANGE(ERASE, 17, 31, 0) }, { VISITS(NEXT, 12, 4) } } } },
	/* A cursor goes from one leaf to the next beside it, whose branch is replaced meanwhile. */
	{ "cursor_against_split", RECURRING,
	  { .nthreads = 2, .ncalls = { 3, 1 },
	    .calls = { { AT(CLIP, 20), AT(CLIP, 24), AT(CLIP, 8) }, { VISITS(NEXT, 5, 6) } } } },
	/* The same over the end of a branch: the one beside it, found before by the cursor, is replaced meanwhile. */
	{ "cursor_over_branches_against_split", DEEP,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { AT(CLIP, 41), RANGE(STORE, 30, 31, 1) }, { VISITS(NEXT, 24, 10) } } } },
	/* As both, with room for whole leaves, which have a loop of their own. */
	{ "cursor_by_leaves_against_split", DEEP,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { AT(CLIP, 41), RANGE(STORE, 30, 31, 1) }, { VISITS(NEXT, 18, 30) } } } },
	{ "cursor_by_leaves_against_merge", DEEP,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { RANGE(ERASE, 28, 45, 0), RANGE(STORE, 20, 21, 1) }, { VISITS(NEXT_ENTRY, 3, 30) } } } },
	/* The same by a range, which ends inside a leaf, beyond the leaves that change. */
	{ "range_by_leaves_against_split", DEEP,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { AT(CLIP, 41), RANGE(STORE, 30, 31, 1) }, { LOOKS(18, 42, 30) } } } },
	{ "range_by_leaves_against_merge", DEEP,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { RANGE(ERASE, 28, 45, 0), RANGE(STORE, 20, 21, 1) }, { LOOKS(3, 50, 29) } } } },
	/* An entry is joined with what the range has passed already. */
	{ "range_against_join", RECURRING,
	  { .nthreads = 2, .ncalls = { 2, 1 },
	    .calls = { { RANGE(STORE, 8, 27, 5), RANGE(ERASE, 12, 35, 0) }, { LOOKS(5, 40, 8) } } } },
	/* It looks ahead to one branch over all addresses, which is not beside the last leaf, although 2^64 is 0. */
	{ "cursor_into_one_branch", DEEP,
	  { .nthreads = 2, .ncalls = { 1, 1 },
	    .calls = { { RANGE(STORE, 10, 45, 5) }, { VISITS(NEXT, 2, 40) } } } },
	{ "merge_against_split", ONE_CELL,
	  { .nthreads = 3, .ncalls = { 1, 1, 1 },
	    .calls = { { RANGE(ERASE, 17, 31, 0) }, { AT(CLIP, 14) }, { VISITS(PREVIOUS, 36, 4) } } } },
	{ "merges_meet", ONE_CELL,
	  { .nthreads = 2, .ncalls = { 2, 2 }, .cold = true,
	    .calls = { { RANGE(ERASE, 17, 31, 0), RANGE(ERASE, 4, 11, 0) },
		       { RANGE(ERASE, 33, 43, 0), RANGE(ERASE, 12, 15, 0) } } } },
	{ "root_shrinks", ONE_CELL,
	  { .nthreads = 2, .ncalls = { 1, 2 },
	    .calls = { { RANGE(ERASE, 0, 62, 0) }, { AT(CLIP, 14), SEARCH(ALLOC, 0, 62, CLEAVE_LOWEST, 8, 5) } } } },
	/* Parking against unlocking, and a lock that is handed over. */
	{ "parking", LONE,
	  { .nthreads = 3, .ncalls = { 2, 2, 2 },
	    .calls = { { AT(CLIP, 10), AT(UNCLIP, 10) },
		       { AT(CLIP, 12), AT(UNCLIP, 12) },
		       { AT(CLIP, 14), AT(UNCLIP, 14) } } } },
	{ "parking_many", LONE,
	  { .nthreads = 4, .ncalls = { 3, 1, 1, 1 },
	    .calls = { { AT(CLIP, 10), AT(UNCLIP, 10), AT(CLIP, 10) },
		       { AT(CLIP, 12) },
		       { AT(CLIP, 14) },
		       { RANGE(STORE, 8, 9, 5) } } } },
	{ "hand_over_dead", FULL,
	  { .nthreads = 3, .ncalls = { 3, 1, 1 }, .cold = true,
	    .calls = { { RANGE(STORE, 9, 9, 5), RANGE(STORE, 13, 13, 6), RANGE(ERASE, 8, 15, 0) },
		       { AT(CLIP, 10) },
		       { AT(CLIP, 14) } } } },
	{ "hand_over_dead_txn", BOUNDARY,
	  { .nthreads = 3, .ncalls = { 2, 1, 1 },
	    .calls = { { TXN(COMMIT, 13, 14, 5, 17, 18, 0), TXN(COMMIT, 13, 14, 6, 17, 18, 5) },
		       { AT(CLIP, 10) },
		       { AT(CLIP, 6) } } } },
	{ "hand_over_txn", BOUNDARY,
	  { .nthreads = 3, .ncalls = { 3, 1, 1 },
	    .calls = { { AT(CLIP, 14), AT(CLIP, 18), AT(UNCLIP, 14) },
		       { TXN(COMMIT, 13, 14, 5, 17, 18, 0) },
		       { AT(CLIP, 22) } } } },
	{ "covers_locks", ROOMY,
	  { .nthreads = 2, .ncalls = { 4, 1 },
	    .calls = { { AT(CLIP, 14), AT(CLIP, 18), AT(UNCLIP, 14), AT(UNCLIP, 18) },
		       { RANGE(COVERS_SLOWLY, 9, 21, 0) } } } },
	/* No memory: what fails has changed nothing. */
	{ "no_memory", FULL,
	  { .nthreads = 2, .ncalls = { 2, 2 }, .cold = true, .fail_alloc = true,
	    .calls = { { AT(CLIP, 10), RANGE(ERASE, 8, 11, 0) },
		       { TXN(COMMIT, 9, 9, 5, 13, 13, 6), RANGE(INSERT, 20, 21, 7) } } } },
	/* Store buffering: each displaces, then asks for the other's place. */
	{ "store_then_ticket", BOUNDARY,
	  { .nthreads = 2, .ncalls = { 2, 2 }, .ordered_only = true,
	    .calls = { { RANGE(STORE, 13, 14, 5), AT(TICKET, 21) }, { RANGE(STORE, 21, 22, 6), AT(TICKET, 13) } } } },
};

/* clang-format on */

#define NAMED ((unsigned int)COUNT(named))
#define TRIPLES ((unsigned int)COUNT(triples))

unsigned int scenario_count(void)
{
	list_pairs();
	return NAMED + npairs + TRIPLES + 1;
}

const char *scenario_name(unsigned int i)
{
	static char name[96];

	list_pairs();
	if (i < NAMED)
		return named[i].name;
	i -= NAMED;
	if (i < npairs)
		snprintf(name, sizeof(name), "pair/%s/%s", kind_names[pairs[i][0]], kind_names[pairs[i][1]]);
	else if (i < npairs + TRIPLES)
		snprintf(name, sizeof(name), "triple/%s/%s/%s", kind_names[triples[i - npairs][0]],
			 kind_names[triples[i - npairs][1]], kind_names[triples[i - npairs][2]]);
	else
		return "drawn";
	return name;
}

/* Pairs and triples: each shape, all at one place or beside each other. */
unsigned int scenario_variants(unsigned int i)
{
	list_pairs();
	if (i == NAMED + npairs + TRIPLES)
		return DRAWN;
	return i < NAMED ? 1 : 2 * SHAPES;
}

void scenario_variant(unsigned int i, unsigned int number, struct variant *variant)
{
	unsigned int kinds[3];

	list_pairs();
	if (i < NAMED) {
		*variant = named[i].variant;
		variant->shape = &shapes[named[i].shape];
		return;
	}
	i -= NAMED;
	if (i == npairs + TRIPLES) {
		drawn_variant(number, variant);
		return;
	}
	memset(variant, 0, sizeof(*variant));
	variant->shape = &shapes[number / 2];
	variant->nthreads = i < npairs ? 2 : 3;
	variant->asks = variant->nthreads == 3;
	for (unsigned int t = 0; t < variant->nthreads; t++) {
		kinds[t] = i < npairs ? pairs[i][t] : (unsigned int)triples[i - npairs][t];
		variant->calls[t][0] = call_at(kinds[t], variant->shape, number % 2 ? t % 2 : 0, t);
		variant->ncalls[t] = 1;
	}
}
