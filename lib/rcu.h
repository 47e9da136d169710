/* SPDX-License-Identifier: ISC */
/*
 * Shared pointers that do not dereference: whoever follows one says why it may.
 *
 *   _rcu	in a read section; the node stays valid until its end
 *   _locked	the lock that guards the pointer is held, so nobody else stores it
 *   _private	not yet published
 *
 * This file and the order word's accessors (leaf.h) are the only places that load or store what readers share.
 */
#ifndef CLEAVE_RCU_H
#define CLEAVE_RCU_H

#include "port/port.h"

struct cleave__node;

struct cleave__link {
	struct cleave__node *word; /* [a] */
};

/* [M1-acq] the node's contents after the pointer to it; pairs with [M1-rel] cleave__link_publish_locked(). */
static PORT_ALWAYS_INLINE struct cleave__node *cleave__link_read_rcu(const struct cleave__link *link) PORT_INSIDE
{
	return PORT_LOAD(link, PORT_ACQUIRE);
}

static inline struct cleave__node *cleave__link_read_locked(const struct cleave__link *link)
{
	return PORT_LOAD(link, PORT_RELAXED);
}

/*
 * [M1-rel] pairs with [M1-acq] cleave__link_read_rcu().  Release is enough for who validates by a ticket, too: the
 * leaves that a swing takes away are marked dead before it (M5).
 */
static inline void cleave__link_publish_locked(struct cleave__link *link, struct cleave__node *node)
{
	PORT_STORE(link, node, PORT_RELEASE);
}

static inline void cleave__link_init_private(struct cleave__link *link, struct cleave__node *node)
{
	PORT_STORE(link, node, PORT_RELAXED);
}

/* Of a branch whose lock is held to a private one. */
static PORT_ALWAYS_INLINE void cleave__link_copy_private(struct cleave__link *to, const struct cleave__link *from)
{
	PORT_COPY(to, from);
}

#endif
