/* SPDX-License-Identifier: ISC */
/* OpenBSD's names, for test_kernel.c. */
#ifndef PORT_MEMORY_H
#define PORT_MEMORY_H

#include "port/kernel/grace.h"

#define port_memory cleave_openbsd_memory
#define port_memory_init(memory, wait) cleave_openbsd_memory_init(memory, wait)
#define port_memory_destroy(memory) cleave_openbsd_memory_destroy(memory)
#define port_start(domain, memory) cleave_openbsd_start(domain, memory, 0)

#endif
