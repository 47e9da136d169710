/* SPDX-License-Identifier: ISC */
/* Stands for <machine/cpu.h> of OpenBSD on amd64. */
#ifndef STUB_MACHINE_CPU_H
#define STUB_MACHINE_CPU_H

#define CPU_BUSY_CYCLE() __asm__ volatile("pause" ::: "memory")

#endif
