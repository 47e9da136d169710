/* SPDX-License-Identifier: ISC */
#ifndef CLEAVE_SIM_HISTORIES_H
#define CLEAVE_SIM_HISTORIES_H

#include "scenarios.h"

struct history {
	const char *name;
	unsigned int shape;
	struct variant variant;
};

extern const struct history histories[];
extern const unsigned int nhistories;

#endif
