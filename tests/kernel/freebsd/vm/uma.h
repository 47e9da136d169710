/* SPDX-License-Identifier: ISC */
/* Stands for <vm/uma.h> of FreeBSD: uma(9).  The alignment is a mask. */
#ifndef STUB_VM_UMA_H
#define STUB_VM_UMA_H

#include <sys/types.h>

struct uma_zone;

typedef struct uma_zone *uma_zone_t;
typedef int (*uma_ctor)(void *, int, void *, int);
typedef void (*uma_dtor)(void *, int, void *);
typedef int (*uma_init)(void *, int, int);
typedef void (*uma_fini)(void *, int);

uma_zone_t uma_zcreate(const char *, size_t, uma_ctor, uma_dtor, uma_init, uma_fini, int, uint32_t);
void uma_zdestroy(uma_zone_t);
void *uma_zalloc(uma_zone_t, int);
void uma_zfree(uma_zone_t, void *);

#endif
