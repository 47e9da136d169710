/* SPDX-License-Identifier: ISC */
/* Stands for <sys/stddef.h> of FreeBSD. */
#ifndef STUB_SYS_STDDEF_H
#define STUB_SYS_STDDEF_H

#include <sys/param.h>

#define offsetof(type, field) __builtin_offsetof(type, field)

#endif
