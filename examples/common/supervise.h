/* SPDX-License-Identifier: ISC */
/*
 * Running a program, and all that it starts, with an agent in each of its images: the program is stopped after each
 * exec, before its first instruction, and gets its agent there.  All of it by one thread, which traces.
 */
#ifndef COMMON_SUPERVISE_H
#define COMMON_SUPERVISE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject.h"
#include "trap_layout.h"

struct supervisor {
	const char *name; /* [I] of this program, for messages */
	struct agent_image agent;
	struct trap_shared *shared; /* and what stands behind it */
	sigset_t mask;		    /* the program's */
	pid_t program;
	int program_status; /* of wait */
	bool program_gone;
	bool first_done; /* the first image has its agent, and the filter */
	bool ended;	 /* told to end, or gone */
	uint64_t ended_at;
	char problem[256]; /* "": none */
};

/* CLOCK_MONOTONIC, in ns. */
uint64_t clock_ns(void);
/* Say it and exit with 1. */
void supervisor_fail(const struct supervisor *supervisor, const char *what, int error) __attribute__((noreturn));

/* Read the agent's file: `path`, or `beside` in the directory of this program.  Make `size` bytes of shared memory. */
void supervisor_open(struct supervisor *supervisor, const char *path, const char *beside, size_t size);
/* Start the program; SIGCHLD and SIGUSR1 are blocked from here on.  Called before other threads are made. */
void supervisor_start(struct supervisor *supervisor, char **command);
/* Answer agents, handle events, and wait for more for a moment.  Return: is somebody left? */
bool supervisor_round(struct supervisor *supervisor);
/* End all that is left.  What is still there after some seconds gets SIGKILL. */
void supervisor_end(struct supervisor *supervisor, int signal);

#endif
