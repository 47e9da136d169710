/* SPDX-License-Identifier: ISC */
/* For include/cleave/types.h: in the kernel this one has another name. */
#include <linux/stddef.h>
#include <linux/types.h>
