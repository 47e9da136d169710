/* SPDX-License-Identifier: ISC */
/* Stands for <linux/prefetch.h>: prefetch(). */
#ifndef STUB_LINUX_PREFETCH_H
#define STUB_LINUX_PREFETCH_H

#define prefetch(address) __builtin_prefetch(address)

#endif
