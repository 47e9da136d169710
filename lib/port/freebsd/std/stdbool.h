/* SPDX-License-Identifier: ISC */
/* For include/cleave/types.h: in the kernel <sys/types.h> has bool. */
#include <sys/types.h>
