/* SPDX-License-Identifier: ISC */
/*
 * A store's world in the simulator's arena: two stores, pages with one number each, translations.
 *
 * A page is a word: its number, and which store has it entered writable.  A program's store is a compare-and-swap of
 * that word, as a processor's through its translation; taking write permission away clears the store's name.  So what
 * the embedder does to page tables takes part in the schedules.
 */
#ifndef CLEAVE_SIM_ANON_CALLS_H
#define CLEAVE_SIM_ANON_CALLS_H

#include "sim.h"

#include "anon_model.h"

#include <cleave/anon.h>

#define PAGES 40u

struct world {
	struct cleave_domain domain;
	struct cleave_anon_domain anons;
	struct cleave_thread threads[THREADS + 1]; /* the last one prepares */
	struct cleave_anon_context *contexts[THREADS + 1];
	struct cleave_anon *stores[STORES];
	struct cleave_word page[PAGES];			   /* number | writable in store + 1 << 8 */
	struct cleave_word translation[STORES][SLOTS]; /* the page that a program's store goes to; 0: none */
	struct cleave_word32 next_page;
	struct cleave_word visits[PAGES]; /* by the walker, of tokens */
	struct cleave_word released[PAGES];
	struct cleave_word32 drought; /* no memory any more */
	/* Plain, for what must happen before what: */
	/* Read by who reads a page through a store; written by who writes it in place for another. */
	uint64_t shown[PAGES][STORES];
	uint64_t written[SIM_THREADS]; /* by a thread that writes under its guard; read around a fork() */
	uint64_t locked[PAGES];	       /* under the lock of the page's anon */
};

extern struct world *world;
extern const struct cleave_anon_ops anon_ops;
extern const struct cleave_memory anon_memory;

/* A new page with this number, or a token. */
uint64_t page_take(uint8_t number, bool swapped);

/* Make a call; the answer into the record. */
void anon_call(unsigned int thread, struct record *record);

/* Prepare a translation, as a fault would. */
void anon_map(unsigned int store, unsigned int slot);

/* What the stores hold, outside of an execution. */
void anon_state(struct state *state);

/* No store has a node without anything in it; NULL, or what is wrong. */
const char *anon_empty(void);

/* Nothing is left after everything is given back; NULL, or what is wrong. */
const char *anon_end(void);

#endif
