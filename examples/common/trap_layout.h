/* SPDX-License-Identifier: ISC */
/*
 * What a supervisor and the agent, which it puts into every program, agree on: where the agent stands in an address
 * space, and how an exec is announced.
 */
#ifndef COMMON_LAYOUT_H
#define COMMON_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

/*
 * The agent's region, 4 GiB at an address that no system hands out by itself.  The seccomp filter knows it by the upper
 * half of an address: system calls made from there, and those about memory there, pass.
 */
#define TRAP_BASE UINT64_C(0x200000000000)
#define TRAP_SIZE UINT64_C(0x100000000)
#define TRAP_HIGH ((uint32_t)(TRAP_BASE >> 32))
#define TRAP_IMAGE_SIZE UINT64_C(0x1000000) /* the agent's own segments, at the start */
#define TRAP_SHARED_AT (TRAP_BASE + UINT64_C(0x2000000))

#define TRAP_TEXT 320
#define TRAP_EXECS 64

/* An exec needs the supervisor: it attaches before, and puts an agent into the new image. */
enum trap_exec_state {
	TRAP_EXEC_FREE,
	TRAP_EXEC_CLAIMED,
	TRAP_EXEC_WANTED,  /* the thread `tid` is about to exec */
	TRAP_EXEC_GO,	   /* attached */
	TRAP_EXEC_REFUSED, /* could not attach */
	TRAP_EXEC_FAILED,  /* exec returned: detach */
};

struct trap_exec {
	uint32_t state; /* and futex */
	uint32_t tid;
};

/* At the start of the memory that all agents share with the supervisor, at TRAP_SHARED_AT in each. */
struct trap_shared {
	uint32_t supervisor; /* gets SIGUSR1 with each change of an exec; looks now and then, too */
	uint32_t pad;
	struct trap_exec execs[TRAP_EXECS];
};

/* What the agent's entry is told, in its first argument; what it returns with its breakpoint: 0, or a line number. */
#define TRAP_BOOT_FILTER 1u /* the first image: install the filter, which all later ones inherit */

#endif
