/* SPDX-License-Identifier: ISC */
/* For include/cleave/types.h: the kernel has no <stddef.h>. */
#ifndef CLEAVE_STDDEF_H
#define CLEAVE_STDDEF_H

#include <sys/param.h>

#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif

#endif
