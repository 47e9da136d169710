/* SPDX-License-Identifier: ISC */
/*
 * The library's memory: blocks of powers of two from an arena that was reserved at the start.  No call changes the
 * address space afterwards; pages come by being touched.
 */
#include "agent.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#define SMALLEST 6 /* 64 bytes: a cache line, the library's alignment */
#define CLASSES 32

struct block {
	struct block *next;
};

static struct {
	uint32_t lock;
	uint64_t used;		     /* [l] */
	struct block *free[CLASSES]; /* [l] */
} heap;

static unsigned int class_of(size_t size, size_t align)
{
	unsigned int class = SMALLEST;

	if (size < align)
		size = align;
	while ((size_t)1 << class < size)
		class ++;
	return class;
}

static void *arena_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	unsigned int class;
	struct block *block;
	uint64_t bytes, at;

	(void)memory;
	if (size > MIRROR_ARENA_SIZE / 4)
		return NULL;
	class = class_of(size, align);
	bytes = UINT64_C(1) << class;
	lock(&heap.lock);
	block = heap.free[class];
	if (block) {
		heap.free[class] = block->next;
	} else {
		/* Aligned to its size, as far as a page goes. */
		at = (heap.used + (bytes < PAGE ? bytes : PAGE) - 1) & ~((bytes < PAGE ? bytes : PAGE) - 1);
		if (at + bytes <= MIRROR_ARENA_SIZE) {
			heap.used = at + bytes;
			block = (struct block *)(uintptr_t)(MIRROR_ARENA_AT + at);
		}
	}
	unlock(&heap.lock);
	return block;
}

static void arena_free(const struct cleave_memory *memory, void *node, size_t size)
{
	unsigned int class = class_of(size, 1);
	struct block *block = node;

	(void)memory;
	lock(&heap.lock);
	block->next = heap.free[class];
	heap.free[class] = block;
	unlock(&heap.lock);
}

const struct cleave_memory arena = { .alloc = arena_alloc, .free = arena_free };

int arena_open(void)
{
	long at = sys6(SYS_mmap, MIRROR_ARENA_AT, MIRROR_ARENA_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);

	return at == (long)MIRROR_ARENA_AT ? 0 : -ENOMEM;
}

void arena_prefork(void)
{
	lock(&heap.lock);
}

/* Both sides.  In the child nobody sleeps on the lock. */
void arena_postfork(void)
{
	unlock(&heap.lock);
}
