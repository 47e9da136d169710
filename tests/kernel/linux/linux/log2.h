/* SPDX-License-Identifier: ISC */
/* Stands for <linux/log2.h>: roundup_pow_of_two(). */
#ifndef STUB_LINUX_LOG2_H
#define STUB_LINUX_LOG2_H

#define roundup_pow_of_two(n) ((n) <= 1 ? 1UL : 1UL << (64 - __builtin_clzl((n)-1)))

#endif
