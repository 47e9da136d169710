/* SPDX-License-Identifier: ISC */
/* The engine on the library: what its two files share. */
#ifndef PAGER_ENGINE_CLEAVE_H
#define PAGER_ENGINE_CLEAVE_H

#include <cleave/fault.h>

#include "pager.h"

struct engine_space {
	struct cleave_map map;
	struct process *process;
};

/* A worker's. */
struct record {
	struct cleave_space_thread thread;
	struct cleave_map_txn txn;
	struct process *child; /* of the fork that is under way */
	bool protects;	       /* something of it was write-protected */
	bool forked;
};

static inline struct record *record(void)
{
	return self->engine;
}

extern struct cleave_space cleave_engine_space;
/* Prepare the space with the callbacks. */
void cleave_engine_open(void);
/* In the middle of cleave_map_fork(), or behind it where it had nothing to protect: fork the process, once. */
void cleave_engine_fork(void);

#endif
