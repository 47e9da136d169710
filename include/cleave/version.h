/* SPDX-License-Identifier: ISC */
#ifndef CLEAVE_VERSION_H
#define CLEAVE_VERSION_H

#define CLEAVE_VERSION_MAJOR 0
#define CLEAVE_VERSION_MINOR 1
#define CLEAVE_VERSION_PATCH 0

/* As one number; cleave_version() says that of the library that runs. */
#define CLEAVE_VERSION ((CLEAVE_VERSION_MAJOR << 16) + (CLEAVE_VERSION_MINOR << 8) + CLEAVE_VERSION_PATCH)

#endif
