/* SPDX-License-Identifier: ISC */
/* What the pager and its agents share: through slots an agent's threads ask, and are told what to do. */
#ifndef PAGER_LAYOUT_H
#define PAGER_LAYOUT_H

#include <stdint.h>

#include "../common/trap_layout.h"

#define PAGER_SLOTS 256u
#define PAGER_LIST 64u /* ranges of one command */

/* In the agent's region: a stack for each slot, so that a thread about a call touches nothing that is paged. */
#define PAGER_STACKS_AT (TRAP_BASE + UINT64_C(0x10000000))
#define PAGER_STACK_SIZE UINT64_C(0x8000)

enum slot_kind {
	SLOT_HELLO,  /* a new image: argument 0 is its userfaultfd */
	SLOT_CALL,   /* a trapped call */
	SLOT_FORKED, /* the child of a fork */
	SLOT_HELPER, /* a thread that carries out commands */
	SLOT_EXIT,   /* the process ends when this is answered */
};

/*
 * FREE -> POSTED by the thread; then COMMAND by the pager and DONE by the thread, as often as the pager wants;
 * ANSWERED by the pager; FREE by the thread.  The word is a futex of both.
 */
enum slot_state {
	SLOT_FREE,
	SLOT_POSTED,
	SLOT_COMMAND,
	SLOT_DONE,
	SLOT_ANSWERED,
};

/* Commands that are no system calls. */
#define COMMAND_DISCARD (-1) /* madvise(MADV_DONTNEED) for argument[0] ranges of the list */

struct slot_range {
	uint64_t start;
	uint64_t size;
};

struct pager_slot {
	uint32_t state; /* [a] */
	uint32_t owner; /* [a] a thread's number; 0: nobody's */
	uint32_t kind;
	uint32_t space; /* the process's number with the pager; HELLO: told by it */
	uint32_t child; /* with the command of a fork: the child's */
	uint32_t pid;
	uint32_t next; /* while it is posted: the slot posted before, as in `posted` */
	int64_t number; /* the call, or the command */
	uint64_t argument[6];
	int64_t result; /* of the command; with ANSWERED: of the call */
	struct slot_range list[PAGER_LIST];
} __attribute__((aligned(64)));

struct pager_shared {
	struct trap_shared trap;
	/*
	 * [a] and futex: the slot posted last, its number + 1; 0: none.  Threads push with one compare-and-swap, the
	 * pager takes all at once: a thread may be killed between any two instructions, and nobody may wait for what it
	 * has not done.
	 */
	uint32_t posted __attribute__((aligned(64)));
	struct pager_slot slots[PAGER_SLOTS];
};

#endif
