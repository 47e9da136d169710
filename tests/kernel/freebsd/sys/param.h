/* SPDX-License-Identifier: ISC */
/* Stands for <sys/param.h> of FreeBSD: types, NULL, the priorities of sleep(9), what <sys/cdefs.h> has for all. */
#ifndef STUB_SYS_PARAM_H
#define STUB_SYS_PARAM_H

#include <sys/types.h>

#define NULL ((void *)0)
#define ALIGN(p) (((uintptr_t)(p) + 15) & ~(uintptr_t)15)
#define PVM 84

#define __predict_true(exp) __builtin_expect((exp), 1)
#define __predict_false(exp) __builtin_expect((exp), 0)
#define __DECONST(type, var) ((type)(uintptr_t)(const void *)(var))

#endif
