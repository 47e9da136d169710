/* SPDX-License-Identifier: ISC */
/* FreeBSD's names, for test_kernel.c. */
#ifndef PORT_MEMORY_H
#define PORT_MEMORY_H

#include "port/kernel/grace.h"

#define port_memory cleave_freebsd_memory
#define port_memory_init(memory, wait) cleave_freebsd_memory_init(memory, wait)
#define port_memory_destroy(memory) cleave_freebsd_memory_destroy(memory)
#define port_start(domain, memory) cleave_freebsd_start(domain, memory, 0)

#endif
