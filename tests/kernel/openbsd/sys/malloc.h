/* SPDX-License-Identifier: ISC */
/* Stands for <sys/malloc.h> of OpenBSD: malloc(9). */
#ifndef STUB_SYS_MALLOC_H
#define STUB_SYS_MALLOC_H

#include <sys/types.h>

#define M_WAITOK 0x0001
#define M_NOWAIT 0x0002
#define M_TEMP 127

void *malloc(size_t, int, int);
void free(void *, int, size_t);

#endif
