/* SPDX-License-Identifier: ISC */
/* Arguments of the options of all simulators.  What is none ends the program, which would find nothing otherwise. */
#ifndef CLEAVE_SIM_OPTIONS_H
#define CLEAVE_SIM_OPTIONS_H

#include "port/sim/sim.h"

#include "../../tools/program.h"

/* UINT32_MAX stands for an option that was not given. */
static inline unsigned int option_small(const char *option, const char *text, unsigned int most)
{
	return (unsigned int)program_number(option, text, 0, most);
}

static inline double option_seconds(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0 && seconds <= 1e9))
		program_wrong("--seconds wants a time up to 1e9, not '%s'", text);
	return seconds;
}

/* One of n words: its number. */
static inline unsigned int option_word(const char *option, const char *text, const char *const *words, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	program_wrong("there is no --%s %s", option, text);
}

static const char *const strategy_names[] = { "random", "pct", "dfs" };

static inline enum sim_strategy option_strategy(const char *text)
{
	return (enum sim_strategy)option_word("strategy", text, strategy_names, 3);
}

#endif
