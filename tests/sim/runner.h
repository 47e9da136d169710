/* SPDX-License-Identifier: ISC */
/* A program that runs scenarios under chosen schedules: its options, its time, its report. */
#ifndef CLEAVE_SIM_RUNNER_H
#define CLEAVE_SIM_RUNNER_H

#include "sim.h"

struct runner {
	const char *program;
	const char *subject;
	unsigned int named;  /* scenarios with names */
	unsigned int random; /* numbers above those */
	/* Where memory may fail much else does not happen: of the executions a quarter is like that, not all. */
	bool quarter_fails;
	const char *(*name)(unsigned int number);
	/* Prepare a scenario, up to the snapshot; its name. */
	const char *(*choose)(unsigned int number);
	/* One execution from the snapshot; print what happened, if it failed. */
	enum sim_result (*execute)(uint64_t i, struct sim_execution *execution, bool print);
};

extern struct sim_snapshot runner_snapshot;
extern char runner_failure[1024];

int runner_main(const struct runner *it, int argc, char **argv);

#endif
