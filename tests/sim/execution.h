/* SPDX-License-Identifier: ISC */
/*
 * One execution of a variant of a scenario: it must end, without a race, an invalid index or a broken rule, with
 * answers that some sequential order explains.
 */
#ifndef CLEAVE_SIM_EXECUTION_H
#define CLEAVE_SIM_EXECUTION_H

#include "scenarios.h"

/* What execution_prepare() chose. */
extern struct variant variant;
/* Why the last execution failed. */
extern char failure[1024];

/* Make the index that the variant begins with, and remember it. */
void execution_prepare(unsigned int scenario, unsigned int number);
/* Start from there, run the calls, judge them.  SIM_FAILED: failure[] says why. */
enum sim_result execution_run(uint64_t i, struct sim_execution *execution);
/* The calls of the last execution with their answers, and the index that they left. */
void execution_print(void);
/* What the library did in all executions: shows that nothing was left out. */
void execution_print_reached(void);
/* Forget the index. */
void execution_forget(void);

#endif
