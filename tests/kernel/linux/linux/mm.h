/* SPDX-License-Identifier: ISC */
/* Stands for <linux/mm.h>: kvmalloc(), where older kernels have it. */
#ifndef STUB_LINUX_MM_H
#define STUB_LINUX_MM_H

#include <linux/slab.h>

#endif
