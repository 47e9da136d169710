/* SPDX-License-Identifier: ISC */
/*
 * Changes of nodes: replace what a transaction's puts touch by private nodes, and publish them with one store at the
 * covering node.
 *
 *	before			   during				after
 *	    C			       C				    C
 *	   / \\			      / \\  ....			   / \\
 *	  A   P			     A   P     P'			  A   P'
 *	     / \\			        / \\   / | \\			     / | \\
 *	    L   M		       L   M  L1 L2  M			    L1 L2 M
 *
 * L (locked by the transaction) splits.  P is locked and copied; C, the lowest node that stays, is locked; its bound
 * for P is raised if need be; L and P are marked dead; C's child is swung; all is unlocked; L and P are retired.
 * M hangs under both P and P': a reader that is inside P sees what was current until the swing.
 */
#ifndef CLEAVE_RESTRUCTURE_H
#define CLEAVE_RESTRUCTURE_H

#include "repack.h"

/* Nodes for one simple change: leaves touched, their neighbours, and what a split makes of them. */
#define CLEAVE__SIMPLE_LEAVES 10u
#define CLEAVE__SIMPLE_BRANCHES (3u * CLEAVE__LEVELS)

/*
 * Replace the leaves that the transaction's puts touch and publish.  The nodes were reserved by the puts, so many
 * branches among them.  The replaced
 * nodes are dead and unlocked afterwards, on the transaction's dead lists; with `keep_locked` the new leaves are
 * locked and on its list of leaves in their place.
 * With txn->try_only it is called inside a read section and may fail, having changed nothing; else outside, and it
 * cannot.
 */
bool cleave__restructure(struct cleave_txn *txn, unsigned int branches, bool keep_locked);

/*
 * Put a private copy in the place of a leaf that the transaction holds, if the parent is free and its bound is no lower
 * than `gap`.  False: nothing has changed.
 */
bool cleave__replace_leaf(struct cleave_txn *txn, struct cleave__node *leaf, struct cleave__node *copy, uint64_t gap,
			  bool keep_locked);

/* The same for a leaf that is simply locked: it is dead, and still locked, when the copy is published. */
bool cleave__swing_leaf(struct cleave *index, struct cleave_thread *self, struct cleave__node *leaf,
			struct cleave__node *copy, uint64_t gap, bool keep_locked, bool try_only);

/*
 * Put branches, which were reserved, over the `run->nfresh` private nodes of `level` until one is left.
 */
void cleave__build_root(struct cleave_txn *txn, unsigned int level, struct cleave__run *run);

/*
 * Branches for so many new leaves in so many separate runs, whatever the tree's height is by then.  A run of c children
 * lies under at most two parents that are not wholly replaced: ceil((c + 2F - 2) / F) branches, for F the fan-out.
 * Runs may stay separate up to the root.
 */
unsigned int cleave__branches_for(unsigned int leaves, unsigned int runs);

/*
 * A transaction without puts that holds one small leaf: join it with a neighbour, if that is free and has room.
 */
void cleave__merge(struct cleave_txn *txn);

#endif
