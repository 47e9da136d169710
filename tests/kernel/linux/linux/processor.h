/* SPDX-License-Identifier: ISC */
/* Stands for <linux/processor.h>: cpu_relax(). */
#ifndef STUB_LINUX_PROCESSOR_H
#define STUB_LINUX_PROCESSOR_H

#define cpu_relax() __asm__ volatile("pause" ::: "memory")

#endif
