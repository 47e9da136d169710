/* SPDX-License-Identifier: ISC */
/* The cookie of grace.h on processors where a barrier and a load do for the read-modify-write (x86). */
#include "kernel.h"

static struct cleave_word *somewhere;

#define CLEAVE__FULL_BARRIER() PORT_FETCH_ADD(somewhere, 0, PORT_RELAXED)
#include "port/kernel/grace.h"

uint64_t kernel_cookie_behind_barrier(struct cleave_grace *grace, struct cleave_word *elsewhere);

uint64_t kernel_cookie_behind_barrier(struct cleave_grace *grace, struct cleave_word *elsewhere)
{
	somewhere = elsewhere;
	return cleave__grace_cookie(grace);
}
