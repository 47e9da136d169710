/* SPDX-License-Identifier: ISC */
/* Stands for <sys/pool.h> of OpenBSD: pool_init(9). */
#ifndef STUB_SYS_POOL_H
#define STUB_SYS_POOL_H

#include <sys/types.h>

struct pool_allocator;

struct pool {
	size_t size;
	size_t align;
};

#define PR_WAITOK 0x0001
#define PR_NOWAIT 0x0002

void pool_init(struct pool *, size_t, u_int, int, int, const char *, struct pool_allocator *);
void pool_destroy(struct pool *);
void *pool_get(struct pool *, int);
void pool_put(struct pool *, void *);

#endif
