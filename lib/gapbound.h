/* SPDX-License-Identifier: ISC */
/*
 * Gap bounds of the branches above a node (invariant 7, branch.h).  A bound is written only by who also holds the child,
 * or raises on behalf of who holds a node below it; so the child's holder may read it unlocked, and a failed try may
 * restore it.
 */
#ifndef CLEAVE_GAPBOUND_H
#define CLEAVE_GAPBOUND_H

#include "pool.h"

/*
 * A gap of this size is about to appear inside the locked live node of `level` that holds `addr`: no bound above it
 * may be lower.  Blocks outside of read sections; with `try_only` it is called inside one.
 * False: `try_only`, and a branch is locked; nothing is raised.
 */
bool cleave__raise(struct cleave *index, struct cleave_thread *self, unsigned int level, uint64_t addr, uint64_t gap,
		   bool try_only);

/*
 * A search found nothing under the child of `level` that holds `addr`, though its bound let it in: if child and parent
 * are free to lock, lower the bound to what the child has.  Inside a read section; never waits.
 */
void cleave__lower_rcu(struct cleave *index, struct cleave_thread *self, unsigned int level, uint64_t addr) PORT_INSIDE;

/* The largest gap inside a node: exact for a leaf, the largest bound for a branch.  The node is locked or private. */
uint64_t cleave__node_gap(struct cleave__node *node);

#endif
