/* SPDX-License-Identifier: ISC */
/* Arguments of the options of all simulators.  What is none ends the program, which would find nothing otherwise. */
#ifndef CLEAVE_SIM_OPTIONS_H
#define CLEAVE_SIM_OPTIONS_H

#include "port/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn static inline void option_bad(const char *text, const char *what)
{
	fprintf(stderr, "'%s' is no %s (--help tells more)\n", text, what);
	exit(2);
}

static inline uint64_t option_number(const char *text)
{
	uint64_t number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-')
		option_bad(text, "number");
	return number;
}

/* UINT32_MAX stands for an option that was not given. */
static inline unsigned int option_small(const char *text)
{
	uint64_t number = option_number(text);

	if (number >= UINT32_MAX)
		option_bad(text, "such number");
	return (unsigned int)number;
}

static inline double option_seconds(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0))
		option_bad(text, "time");
	return seconds;
}

/* One of n words: its number. */
static inline unsigned int option_word(const char *text, const char *const *words, unsigned int n, const char *what)
{
	for (unsigned int i = 0; i < n; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	option_bad(text, what);
}

static const char *const strategy_names[] = { "random", "pct", "dfs" };

static inline enum sim_strategy option_strategy(const char *text)
{
	return (enum sim_strategy)option_word(text, strategy_names, 3, "strategy");
}

#endif
