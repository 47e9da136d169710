/* SPDX-License-Identifier: ISC */
#ifndef TESTS_CHILD_H
#define TESTS_CHILD_H

#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <unistd.h>

/* The end of a child of fork(): without what the parent will do at its end, but with what a coverage build counted. */
static inline _Noreturn void child_exit(int status)
{
	if (getenv("LLVM_PROFILE_FILE")) {
		__fpurge(stdout);
		exit(status);
	}
	_exit(status);
}

#endif
