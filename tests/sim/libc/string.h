/* SPDX-License-Identifier: ISC */
/* For lib/port/sim/platform.h where a kernel's headers stand for libc's. */
#ifndef CLEAVE_SIM_STRING_H
#define CLEAVE_SIM_STRING_H

#include <stddef.h>

void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int strcmp(const char *, const char *);

#endif
