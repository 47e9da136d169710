/* SPDX-License-Identifier: ISC */
/* Stands for <linux/stddef.h>: NULL, true, false, offsetof. */
#ifndef STUB_LINUX_STDDEF_H
#define STUB_LINUX_STDDEF_H

#define NULL ((void *)0)
#define offsetof(type, member) __builtin_offsetof(type, member)

enum { false = 0, true = 1 };

#endif
