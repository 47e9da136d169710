/* SPDX-License-Identifier: ISC */
/* Stands for <machine/cpu.h> of FreeBSD on amd64. */
#ifndef STUB_MACHINE_CPU_H
#define STUB_MACHINE_CPU_H

#define cpu_spinwait() __asm__ volatile("pause" ::: "memory")

#endif
