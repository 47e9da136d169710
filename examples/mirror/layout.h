/* SPDX-License-Identifier: ISC */
/*
 * What the supervisor (cleave-mirror) and the agent, which it puts into every program, agree on: where the agent stands
 * in an address space, and the memory that all agents share with the supervisor.
 */
#ifndef MIRROR_LAYOUT_H
#define MIRROR_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

/*
 * The agent's region, 4 GiB at an address that no system hands out by itself.  The seccomp filter knows it by the upper
 * half of an address: system calls made from there, and those about memory there, pass.
 */
#define MIRROR_BASE UINT64_C(0x200000000000)
#define MIRROR_SIZE UINT64_C(0x100000000)
#define MIRROR_HIGH ((uint32_t)(MIRROR_BASE >> 32))
#define MIRROR_IMAGE_SIZE UINT64_C(0x1000000) /* the agent's own segments, at the start */
#define MIRROR_SHARED_AT (MIRROR_BASE + UINT64_C(0x2000000))
#define MIRROR_RECORDS_AT (MIRROR_BASE + UINT64_C(0x10000000))
#define MIRROR_ARENA_AT (MIRROR_BASE + UINT64_C(0x40000000))
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

#define MIRROR_TEXT 320

enum mirror_catches {
	MIRROR_FIRST,	/* disagreement */
	MIRROR_LASTING, /* the first one that lasted */
	MIRROR_CATCHES
};

struct mirror_catch {
	uint64_t when;	/* ns since the start */
	uint32_t state; /* 0 none, 1 being written, 2 there */
	char text[MIRROR_TEXT];
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
	char trouble_text[MIRROR_TEXT];
};

#define MIRROR_PROCESSES 8192 /* more share the last one */
#define MIRROR_EXECS 64

/* An exec needs the supervisor: it attaches before, and puts an agent into the new image. */
enum mirror_exec_state {
	MIRROR_EXEC_FREE,
	MIRROR_EXEC_CLAIMED,
	MIRROR_EXEC_WANTED,  /* the thread `tid` is about to exec */
	MIRROR_EXEC_GO,	     /* attached */
	MIRROR_EXEC_REFUSED, /* could not attach */
	MIRROR_EXEC_FAILED,  /* exec returned: detach */
};

struct mirror_exec {
	uint32_t state; /* and futex */
	uint32_t tid;
};

struct mirror_shared {
	uint64_t begun; /* CLOCK_MONOTONIC, ns */
	uint32_t naive;
	uint32_t nap;	     /* us between two windows */
	uint32_t supervisor; /* gets SIGUSR1 with each change of an exec; looks now and then, too */
	uint32_t nprocesses;
	struct mirror_exec execs[MIRROR_EXECS];
	struct mirror_process processes[MIRROR_PROCESSES];
};

#define MIRROR_SHARED_SIZE ((sizeof(struct mirror_shared) + 4095) & ~(size_t)4095)

_Static_assert(sizeof(struct mirror_shared) < MIRROR_RECORDS_AT - MIRROR_SHARED_AT, "it fits");

/* What the agent's entry is told, in its first argument; what it returns with its breakpoint: 0, or a line number. */
#define MIRROR_BOOT_FILTER 1u /* the first image: install the filter, which all later ones inherit */

#endif
