/* SPDX-License-Identifier: ISC */
/*
 * Changes of a stripe by its owner.  Each one predicts from the model what the index must answer (return code,
 * conflict, place, displaced entries, and the entries around it afterwards) and compares.
 */
#ifndef STRESS_CHANGE_H
#define STRESS_CHANGE_H

#include "job.h"

enum how {
	BY_STORE,  /* or erase */
	BY_TRY,	   /* the try form, else the sleeping one */
	BY_INSERT, /* must be free */
	BY_ALLOC,  /* must be free: an alloc that has only this place to choose */
	BY_TXN,
	HOWS
};

/* Make the range one entry, or a gap. */
void change_put(struct worker *worker, struct stripe *stripe, uint64_t first, uint64_t last, struct object *object,
		enum how how);
void change_clip(struct worker *worker, struct stripe *stripe, uint64_t addr, bool try);
void change_unclip(struct worker *worker, struct stripe *stripe, uint64_t addr);
/* Try to insert where it may not be free; the object is dropped if it is not. */
void change_insert(struct worker *worker, struct stripe *stripe, uint64_t first, uint64_t last, struct object *object);
/* Replace the value of `expected`, which may be none of the stripe's entries. */
void change_replace(struct worker *worker, struct stripe *stripe, const struct cleave_entry *expected,
		    struct object *object, bool try);
/* The request's window lies in the stripe, and its order is not random.  Return whether there was room. */
bool change_alloc(struct worker *worker, struct stripe *stripe, const struct cleave_request *request,
		  struct object *object, uint64_t *addr);

enum ending { COMMIT, PUBLISH, ABORT };

/* A transaction over [first, last]; later puts win over earlier ones. */
void change_txn(struct worker *worker, struct stripe *stripe, uint64_t first, uint64_t last, const struct put *puts,
		size_t n, bool try, enum ending ending);

/* Calls that must fail and change nothing. */
void change_invalid(struct worker *worker, struct stripe *stripe);

/* The whole stripe against its model, and the protections against a snapshot (NULL: none). */
void change_compare(struct worker *worker, struct stripe *stripe, const struct space_effect *snapshot);

#endif
