/* SPDX-License-Identifier: ISC */
/* Numbers on the command lines of these programs. */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* From 0 to `most`; else the program ends. */
static inline uint64_t option_number(const char *program, const char *option, const char *text, uint64_t most)
{
	uint64_t number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (!errno && end != text && !*end && *text != '-' && number <= most)
		return number;
	fprintf(stderr, "%s: --%s wants a number up to %" PRIu64 ", not '%s'\n", program, option, most, text);
	exit(2);
}

#endif
