/* SPDX-License-Identifier: ISC */
/* For include/cleave/types.h: the kernel has bool in <linux/types.h>, true and false in <linux/stddef.h>. */
#include <linux/stddef.h>
#include <linux/types.h>
