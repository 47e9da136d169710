/* SPDX-License-Identifier: ISC */
/* The platform of userspace, but that writes to shared words and cells are reported: lines.c counts them. */
#ifndef LINES_PLATFORM_H
#define LINES_PLATFORM_H

#include "../../lib/port/user/platform.h"

#include <stdbool.h>
#include <stdint.h>

enum lines_write {
	LINES_STORE, /* also of a cell */
	LINES_RMW,   /* and a compare-and-swap that failed */
	LINES_LOCK,  /* 0 became 1 in a word of 32 bits: what taking a lock looks like */
};

void lines_note(const void *word, enum lines_write write);

#undef PORT_STORE
#undef PORT_EXCHANGE
#undef PORT_CAS
#undef PORT_FETCH_ADD
#undef PORT_CELL_WRITE

#define PORT_STORE(p, value, order) (lines_note(p, LINES_STORE), __atomic_store_n(&(p)->word, value, order))
#define PORT_EXCHANGE(p, value, order) (lines_note(p, LINES_RMW), __atomic_exchange_n(&(p)->word, value, order))
#define PORT_FETCH_ADD(p, value, order) (lines_note(p, LINES_RMW), __atomic_fetch_add(&(p)->word, value, order))
#define PORT_CELL_WRITE(x, v) (lines_note(&(x), LINES_STORE), (x) = (v))
#define PORT_CAS(p, expected, value, ok, fail)                                                                    \
	(lines_note(p, sizeof((p)->word) == 4 && *(expected) == 0 && (value) == 1 && (p)->word == 0 ? LINES_LOCK : \
												      LINES_RMW),  \
	 __atomic_compare_exchange_n(&(p)->word, expected, value, false, ok, fail))

#endif
