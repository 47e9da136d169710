/* SPDX-License-Identifier: ISC */
/* What the embedder of the fault scenarios (fault_embedder.c) and their calls (fault_calls.c) share. */
#ifndef CLEAVE_SIM_FAULT_PARTS_H
#define CLEAVE_SIM_FAULT_PARTS_H

#include "port/port.h"

#include "fault_calls.h"

#define HELD UINT64_C(8) /* beside the protection */
#define OBJECT 200u	 /* its page n says OBJECT + n */

/* What was wrong outside of an execution. */
extern const char *fault_broken;

#define MUST(condition, ...) \
	((condition) ? (void)0 : world->running ? sim_fail(__VA_ARGS__) : (void)(fault_broken = #condition))

static inline uint64_t address(unsigned int page)
{
	return SIM_BASE + page * SIM_PAGE;
}

/* A page that is free becomes this; and back. */
uint64_t fault_page_take(enum page_state state, uint8_t value);
void fault_page_give(uint64_t content, enum page_state state);
/* The callbacks. */
void fault_embed(struct cleave_space_ops *ops);

#endif
