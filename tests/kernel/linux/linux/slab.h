/* SPDX-License-Identifier: ISC */
/* Stands for <linux/slab.h>: mm-api.rst, memory-allocation.rst. */
#ifndef STUB_LINUX_SLAB_H
#define STUB_LINUX_SLAB_H

#include <linux/types.h>

#define ALIGN(x, a) (((x) + ((a)-1)) & ~((a)-1)) /* <linux/align.h> */

struct kmem_cache;

#define GFP_KERNEL 1u
#define GFP_NOWAIT 2u

struct kmem_cache *kmem_cache_create(const char *, unsigned int, unsigned int, unsigned int, void (*)(void *));
void kmem_cache_destroy(struct kmem_cache *);
void *kmem_cache_alloc(struct kmem_cache *, gfp_t);
void kmem_cache_free(struct kmem_cache *, void *);
void *kvmalloc(size_t, gfp_t);
void kvfree(const void *);

#endif
