/* SPDX-License-Identifier: ISC */
/* For lib/port/sim/platform.h where a kernel's headers stand for libc's: what lib/port/linux names. */
#ifndef CLEAVE_SIM_ERRNO_H
#define CLEAVE_SIM_ERRNO_H

#define ENOMEM 12

#endif
