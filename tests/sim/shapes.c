/* SPDX-License-Identifier: ISC */
/* What is in the index when the threads begin. */
#include "shapes.h"

/* Tables: one line a thing. */
/* clang-format off */

#define E(f, l, v) { .first = f, .last = l, .value = v }
#define SET(f, l, v) { .kind = STORE, .first = f, .last = l, .value = v }

/*
 * Leaves of 4 cells, branches of 4 children (platform.h).  "|" is a border of leaves, a dot a gap.
 */
const struct shape shapes[] = {
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

const unsigned int nshapes = sizeof(shapes) / sizeof(shapes[0]);
