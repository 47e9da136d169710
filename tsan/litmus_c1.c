/* SPDX-License-Identifier: ISC */
/* C1: whoever raises `wide`, after ConcurrencyKit's epoch has advanced. */
#define CLEAVE_SECTION_CK
#include "litmus_grace.h"
