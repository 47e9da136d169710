/* SPDX-License-Identifier: ISC */
/* Stands for <sys/param.h> of OpenBSD: types, NULL, the priorities and flags of tsleep(9), the levels of spl(9). */
#ifndef STUB_SYS_PARAM_H
#define STUB_SYS_PARAM_H

#include <sys/types.h>

#define NULL ((void *)0)
#define ALIGN(p) (((unsigned long)(p) + 15) & ~15ul)
#define PVM 4
#define PNORELOCK 0x200
#define IPL_NONE 0
#define IPL_MPFLOOR 9

#endif
