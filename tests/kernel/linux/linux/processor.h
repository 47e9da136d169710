/* SPDX-License-Identifier: ISC */
/* Stands for <linux/processor.h>: cpu_relax(). */
#ifndef STUB_LINUX_PROCESSOR_H
#define STUB_LINUX_PROCESSOR_H

#define current get_current() /* <asm/current.h> */
#define cpu_relax() __asm__ volatile("pause" ::: "memory")

#endif
