/* SPDX-License-Identifier: ISC */
/* U2: the worker's store of `done`, after liburcu's grace period. */
#define CLEAVE_SECTION_MEMB
#include "litmus_grace.h"
