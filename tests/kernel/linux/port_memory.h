/* SPDX-License-Identifier: ISC */
/* Linux's names, for test_kernel.c. */
#ifndef PORT_MEMORY_H
#define PORT_MEMORY_H

#include "port/kernel/grace.h"

#define port_memory cleave_linux_memory
#define port_memory_init(memory, wait) \
	(cleave_linux_memory_init(memory, (wait) ? GFP_KERNEL : GFP_NOWAIT) ? host_fail("no memory") : (void)0)
#define port_memory_destroy(memory) cleave_linux_memory_destroy(memory)
#define port_start(domain, memory) cleave_linux_start(domain, memory, 0)

#endif
