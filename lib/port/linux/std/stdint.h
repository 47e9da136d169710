/* SPDX-License-Identifier: ISC */
/* For include/cleave/types.h: the kernel has the types in <linux/types.h>, and other names for the rest. */
#ifndef CLEAVE_STDINT_H
#define CLEAVE_STDINT_H

#include <linux/limits.h>
#include <linux/types.h>

#ifndef UINT32_MAX
#define UINT32_MAX U32_MAX
#endif
#ifndef UINT64_MAX
#define UINT64_MAX U64_MAX
#endif
#ifndef INT64_MAX
#define INT64_MAX S64_MAX
#endif
#ifndef UINT32_C
#define UINT32_C(c) c##U
#endif
#ifndef UINT64_C
#define UINT64_C(c) c##ULL
#endif

#endif
