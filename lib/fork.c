/* SPDX-License-Identifier: ISC */
/* Around fork(): every lock is taken in lock order, so that the child's copy is of one instant. */
#include "txn.h"

/* The branches, level by level, by the transaction's list. */
static void lock_branches(struct cleave_txn *txn) PORT_UNCHECKED
{
	struct cleave *index = txn->index;
	unsigned int top;
	bool lower;

	/* With all leaves locked nothing is restructured, so the height stays. */
	top = cleave__root_level(PORT_LOAD(&index->root, PORT_RELAXED));
	for (unsigned int level = 1; level <= top; level++) {
		uint64_t addr = 0;

		for (;;) {
			struct cleave__node *node = cleave__lock_node(index, txn->self, level, addr, false, &lower);

			node->link = txn->branches;
			txn->branches = node;
			if (node->last == UINT64_MAX)
				break;
			addr = node->last + 1;
		}
	}
	cleave__lock_word(index->domain, txn->self, &index->root_lock);
}

void cleave_prefork(struct cleave_txn *txn, struct cleave *index, struct cleave_thread *self)
{
	cleave__begin(txn, index, self, 0, UINT64_MAX, false);
	lock_branches(txn);
}

void cleave_postfork_parent(struct cleave_txn *txn) PORT_UNCHECKED
{
	struct cleave__node *next;

	cleave__unlock(txn->index->domain, &txn->index->root_lock, true);
	for (struct cleave__node *node = txn->branches; node; node = next) {
		next = node->link;
		cleave__unlock_node(txn->index, node);
	}
	txn->branches = NULL;
	cleave_abort(txn);
}

/* Nobody waits in the child: marks are wiped, so that no lock is handed to a thread that does not exist. */
void cleave_postfork_child(struct cleave_txn *txn)
{
	PORT_STORE(&txn->index->root_lock, CLEAVE__LOCKED, PORT_RELAXED);
	for (struct cleave__node *node = txn->branches; node; node = node->link)
		PORT_STORE(&node->lock, CLEAVE__LOCKED, PORT_RELAXED);
	for (struct cleave__node *node = txn->leaves; node; node = node->link)
		PORT_STORE(&node->lock, CLEAVE__LOCKED, PORT_RELAXED);
	cleave_postfork_parent(txn);
}

void cleave_domain_prefork(struct cleave_domain *domain, struct cleave_thread *self) PORT_LOCKS(domain->lock)
{
	cleave__lock_word(domain, self, &domain->lock);
}

void cleave_domain_postfork_parent(struct cleave_domain *domain, struct cleave_thread *self) PORT_UNLOCKS(domain->lock)
{
	(void)self;
	cleave__unlock(domain, &domain->lock, true);
}

void cleave_domain_postfork_child(struct cleave_domain *domain, struct cleave_thread *self) PORT_UNLOCKS(domain->lock)
{
	PORT_STORE(&domain->lock, CLEAVE__LOCKED, PORT_RELAXED);
	cleave_domain_postfork_parent(domain, self);
}
