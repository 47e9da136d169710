/* SPDX-License-Identifier: ISC */
/* Range transactions, for the rest of the core.  The public functions are in cleave.h. */
#ifndef CLEAVE_TXN_H
#define CLEAVE_TXN_H

#include "restructure.h"

/* As cleave_begin() and cleave_try_begin_rcu(), for checked arguments. */
bool cleave__begin(struct cleave_txn *txn, struct cleave *index, struct cleave_thread *self, uint64_t first,
		   uint64_t last, bool try_only);

/*
 * Begin one, of its thread and on its list already, with a leaf that is locked.  Its puts are inside that leaf, and
 * none is a gap.
 */
void cleave__begin_with(struct cleave_txn *txn, struct cleave__node *leaf);

/* As cleave_put(); the range may reach beyond the transaction's, within its locked leaves. */
int cleave__put(struct cleave_txn *txn, uint64_t first, uint64_t last, void *value);

/* Publish.  False: try_only, and nothing changed. */
bool cleave__publish(struct cleave_txn *txn, bool keep_locked);

/* Unlock, hand out what was displaced if it was published, retire what was replaced. */
void cleave__finish(struct cleave_txn *txn, struct cleave_sink *sink);

/* Debug builds: may this thread begin to write? */
void cleave__check_writer_now(struct cleave *index, struct cleave_thread *self, bool in_section);

static inline void cleave__check_writer(struct cleave *index, struct cleave_thread *self, bool in_section)
{
	if (PORT_DEBUG)
		cleave__check_writer_now(index, self, in_section);
}

/* A change ends, whose count says that its thread is outside of sections between any two (types.h, `unlocks`). */
static inline void cleave__check_outside(struct cleave_thread *self)
{
	if (PORT_DEBUG)
		PORT_ASSERT(self->domain->ops->inside(self->domain, self) != 1,
			    "transactions and holds end outside of read sections");
}

/* Off its thread's list, where it stands among others: they end in any order. */
static inline void cleave__unlist(struct cleave_txn *txn)
{
	struct cleave_txn **place = &txn->self->txns;

	while (*place != txn)
		place = &(*place)->next;
	*place = txn->next;
}

/* The leaf has few cells: merge it with a neighbour if that costs no wait. */
void cleave__merge_small(struct cleave *index, struct cleave_thread *self, uint64_t addr);

#endif
