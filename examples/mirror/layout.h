/* SPDX-License-Identifier: ISC */
/*
 * What the supervisor (cleave-mirror) and the agent, which it puts into every program, agree on: where the agent stands
 * in an address space, and the memory that all agents share with the supervisor.
 */
#ifndef MIRROR_LAYOUT_H
#define MIRROR_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "../common/trap_layout.h"

/* In the agent's region, behind its image and the shared memory. */
#define MIRROR_RECORDS_AT (TRAP_BASE + UINT64_C(0x10000000))
#define MIRROR_ARENA_AT (TRAP_BASE + UINT64_C(0x40000000))
#define MIRROR_ARENA_SIZE UINT64_C(0x80000000)

enum mirror_kind {
	MIRROR_MMAP,
	MIRROR_MUNMAP,
	MIRROR_MPROTECT,
	MIRROR_PKEY_MPROTECT,
	MIRROR_MREMAP,
	MIRROR_BRK,
	MIRROR_SHMAT,
	MIRROR_SHMDT,
	MIRROR_MADVISE,
	MIRROR_FORK,
	MIRROR_EXEC,
	MIRROR_OTHER, /* rare ones, after which the map is read back */
	MIRROR_KINDS
};

#define MIRROR_KIND_NAMES                                                                                            \
	{                                                                                                            \
		"mmap", "munmap", "mprotect", "pkey_mprotect", "mremap", "brk", "shmat", "shmdt", "madvise", "fork", \
			"exec", "other"                                                                              \
	}

enum mirror_catches {
	MIRROR_FIRST,	/* disagreement */
	MIRROR_LASTING, /* the first one that lasted */
	MIRROR_CATCHES
};

struct mirror_catch {
	uint64_t when;	/* ns since the start */
	uint32_t state; /* 0 none, 1 being written, 2 there */
	char text[TRAP_TEXT];
};

/* One image: a process from its exec or fork to its exec or end.  Written by its agent, atomically. */
struct mirror_process {
	uint32_t pid;
	uint32_t forked; /* not by an exec */
	uint64_t calls[MIRROR_KINDS];
	uint64_t failures[MIRROR_KINDS]; /* of these, refused by the kernel */
	uint64_t windows;		 /* compared */
	uint64_t entries;		 /* of the mirror, in these windows */
	uint64_t passes;		 /* over the whole address space */
	uint64_t growths;		 /* of stacks, noticed */
	uint64_t settled;		 /* ranges read back after a failure that may have changed a part */
	uint64_t disagreements;		 /* windows that differed */
	uint64_t lasting;		 /* of these, still so when looked at again (agent_check.c) */
	uint64_t verified;		 /* maps checked by themselves, at a quiet end */
	uint64_t trouble;		 /* what the agent could not do */
	struct mirror_catch caught[MIRROR_CATCHES];
	char trouble_text[TRAP_TEXT];
};

#define MIRROR_PROCESSES 8192 /* more share the last one */

struct mirror_shared {
	struct trap_shared trap;
	uint64_t begun; /* CLOCK_MONOTONIC, ns */
	uint32_t naive;
	uint32_t nap; /* us between two windows */
	uint32_t nprocesses;
	struct mirror_process processes[MIRROR_PROCESSES];
};

#define MIRROR_SHARED_SIZE ((sizeof(struct mirror_shared) + 4095) & ~(size_t)4095)

_Static_assert(sizeof(struct mirror_shared) < MIRROR_RECORDS_AT - TRAP_SHARED_AT, "it fits");

#endif
