/* SPDX-License-Identifier: ISC */
/*
 * Maps that share pages, in the simulator's arena, with page tables that take part in the schedules: a program's access
 * is a read-modify-write of its translation and, in the same step, of the page, as a processor's is.
 *
 * What is judged, at each step: no page is freed or written out while an address shows it; nothing is entered where an
 * unmap has returned, nothing writable where a protect has; a read gives what some write put there that was not
 * overwritten before the read began; a child shows what its parent showed at some moment of the fork, and keeps it.
 */
#ifndef CLEAVE_SIM_FAULT_CALLS_H
#define CLEAVE_SIM_FAULT_CALLS_H

#include "sim.h"

#include <cleave/fault.h>

#define THREADS 3u
#define MOST_CALLS 3u
#define MAPS 4u
#define SLOTS 4u /* pages of a map */
#define PAGES 48u
#define EVENTS 24u
#define FILLINGS 200u

enum kind {
	NOTHING,
	READ,
	WRITE,
	TOUCH, /* a write fault without a write */
	UNMAP,
	MAP, /* anew, over whatever is there */
	MAP_OBJECT, /* its pages themselves */
	READ_ONLY,
	WRITABLE,
	FREE,
	FORK, /* into map `value` */
	SWAP,
	WIRE,
	UNWIRE,
	CLIP,
	JOIN,
	EVICT, /* a page of the object */
	FLUSH,
	KINDS
};

struct call {
	uint8_t kind;
	uint8_t map;
	uint8_t page;
	uint8_t last;
	uint8_t value;
};

/* What made a page of a map as it is. */
struct event {
	uint32_t began;
	uint32_t ended; /* 0: not yet */
	uint8_t value;	/* 0: as it is at first */
	bool candidate; /* of a child: one of these, and always the same */
	bool dead;
};

struct history {
	struct event events[EVENTS];
	unsigned int n;
	bool chosen; /* of the candidates, those that are not dead */
};

enum page_state { FREED, LIVE, OF_OBJECT, ZERO };

struct page {
	uint8_t state;
	uint8_t value;
	uint8_t mapped;
	uint8_t wired;
	uint8_t filling; /* its bytes, as long as it is not freed */
};

#define ALLOW_ENTER 1u
#define ALLOW_WRITE 2u

struct world {
	struct cleave_space_ops ops; /* first */
	struct cleave_domain domain;
	struct cleave_space space;
	struct cleave_thread threads[THREADS + 1]; /* the last one prepares */
	struct cleave_space_thread records[THREADS + 1];
	struct cleave_map maps[MAPS];
	bool exists[MAPS];
	struct cleave_word translation[MAPS][SLOTS]; /* page << 4 | protection */
	uint8_t allowed[MAPS][SLOTS];
	uint32_t granted[MAPS][SLOTS]; /* when rights were given last */
	uint8_t granting[MAPS][SLOTS];
	struct history history[MAPS][SLOTS];
	uint8_t history_of[MAPS];
	struct page pages[PAGES];
	uint8_t free_pages[PAGES]; /* last in, first out */
	unsigned int nfree;
	uint8_t tokens[PAGES];		  /* value + 1; 0: free */
	struct cleave_word object[SLOTS]; /* resident pages */
	uint8_t object_value[SLOTS];
	uint64_t object_refs;
	uint32_t now;
	uint64_t filled[FILLINGS]; /* plain: written where a page is filled, read where it is entered or copied */
	unsigned int nfillings;
	bool running;
	bool may_refuse; /* unmaps and protects are among the calls */
	bool shares;	 /* children show the pages of their parents */
	bool wires;	 /* something is, or may be wired */
	bool replaces;	 /* the object's pages are only mapped over page 0 of map 0 */
	uint64_t removed; /* plain: written after page 0 was removed, read before one of the object's is entered */
};

extern struct world *world;

#define SIM_PAGE UINT64_C(4096)
#define SIM_BASE UINT64_C(0x10000)

void fault_world_make(bool zero, bool object);
/* A call by a thread; the last one is the preparing one's, outside of an execution. */
void fault_call(unsigned int thread, const struct call *call);
void fault_share_histories(unsigned int from, unsigned int to);
void fault_stock(unsigned int thread);
/* Everything is given back: NULL, or what is wrong. */
const char *fault_world_end(void);

#endif
