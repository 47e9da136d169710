/* SPDX-License-Identifier: ISC */
/* Stands for <linux/limits.h>: what the kernel calls UINT64_MAX. */
#ifndef STUB_LINUX_LIMITS_H
#define STUB_LINUX_LIMITS_H

#define U32_MAX ((u32)~0U)
#define U64_MAX ((u64)~0ULL)
#define S64_MAX ((s64)(U64_MAX >> 1))
#define SIZE_MAX (~(size_t)0)

#endif
