/* SPDX-License-Identifier: ISC */
#ifndef CLEAVE_SIM_DRAWN_H
#define CLEAVE_SIM_DRAWN_H

#include "scenarios.h"

/* The number's scenario; its shape lives until the next is drawn. */
void drawn_variant(uint32_t number, struct variant *variant);

#endif
