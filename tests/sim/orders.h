/* SPDX-License-Identifier: ISC */
/* The scenarios of cleave-sim-orders. */
#ifndef CLEAVE_SIM_ORDERS_H
#define CLEAVE_SIM_ORDERS_H

#include "orders_run.h"

extern const struct scenario orders_guards[], orders_index[], orders_memb[], orders_port[];

#endif
