/* SPDX-License-Identifier: ISC */
/* Stands for <sys/malloc.h> of FreeBSD: malloc(9). */
#ifndef STUB_SYS_MALLOC_H
#define STUB_SYS_MALLOC_H

#include <sys/types.h>

struct malloc_type {
	const char *name;
};

#define M_NOWAIT 0x0001
#define M_WAITOK 0x0002

/* SYSINIT() is <sys/kernel.h>'s. */
#define MALLOC_DEFINE(type, shortdesc, longdesc)           \
	struct malloc_type type[1] = { { shortdesc } };    \
	SYSINIT(type##_init, 0, 0, malloc_init, type)

void *malloc(size_t, struct malloc_type *, int);
void *malloc_aligned(size_t, size_t, struct malloc_type *, int);
void free(void *, struct malloc_type *);

#endif
