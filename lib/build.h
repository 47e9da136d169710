/* SPDX-License-Identifier: ISC */
#ifndef CLEAVE_BUILD_H
#define CLEAVE_BUILD_H

#include "txn.h"

/* Give back a whole private tree, children first. */
void cleave__free_tree(struct cleave_thread *self, struct cleave__node *root);

#endif
