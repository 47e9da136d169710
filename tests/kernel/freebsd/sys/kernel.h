/* SPDX-License-Identifier: ISC */
/* Stands for <sys/kernel.h> of FreeBSD: SYSINIT(), that MALLOC_DEFINE() of malloc(9) is made of. */
#ifndef STUB_SYS_KERNEL_H
#define STUB_SYS_KERNEL_H

#define SYSINIT(name, subsystem, order, function, argument) _Static_assert(1, #name)

#endif
