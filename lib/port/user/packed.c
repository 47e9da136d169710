/* SPDX-License-Identifier: ISC */
/*
 * Memory for nodes, from the kernel, without space between them:
 *
 *	region	2 MiB, aligned to that		 addresses, which are kept
 *	piece	64 KiB, aligned to that		 blocks of one size behind a header; found by the address of any of them
 *	block	a multiple of 64 bytes, to 4 KiB; never over the end of a page
 *
 * A piece without blocks in use gives its memory back to the kernel, and serves any size later.  What is larger is
 * mapped by itself.  One lock is around each heap: a thread comes here only for what its cache does not hold
 * (../../pool.h).
 */
#define _GNU_SOURCE
#include "user.h"

#include <pthread.h>
#include <sys/mman.h>

#define REGION ((size_t)2 << 20)
#define PIECE ((uint32_t)64 << 10)
#define PAGE ((uint32_t)4096)
#define STEP ((size_t)64)
#define SIZES (PAGE / STEP)

struct piece {
	struct piece *next; /* while it has room: of its size; while it has no blocks: of those */
	struct piece *previous;
	void *given_back; /* blocks, by their first word */
	uint32_t used;	  /* blocks in use */
	uint32_t fresh;	  /* the place of the next block that never was in use */
};

_Static_assert(sizeof(struct piece) <= STEP, "the header takes no more than the least block");

struct heap {
	bool huge;
	struct cleave_word32 lock;
	struct piece *roomy[SIZES]; /* [l] */
	struct piece *empty;	    /* [l] */
	char *next;		    /* [l] the rest of the newest region */
	char *end;		    /* [l] */
};

static struct heap small_heap, huge_heap = { .huge = true };

/* ---- Around fork(): who is inside while another thread forks would leave its lock to the child ---- */

static void before_fork(void)
{
	cleave__user_lock(&small_heap.lock);
	cleave__user_lock(&huge_heap.lock);
}

static void after_fork(void)
{
	cleave__user_unlock(&huge_heap.lock);
	cleave__user_unlock(&small_heap.lock);
}

/*
 * Before main(): of handlers the first registered is called last.  Those of the program stop indexes and stores, which
 * waits for threads that take memory under the locks of these, and takes some itself.  Registered at the first block:
 *	1. program: registers a handler that calls cleave_prefork()
 *	2. T: cleave_put(), with its leaves locked, needs a node
 *	3. the program forks: before_fork() locks the heap;  cleave_prefork() waits for T, and T for the heap.
 */
__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);
}

/* ---- Pieces ---- */

static bool new_region(struct heap *heap)
{
	int saved = errno;
	char *memory;
	size_t below;

	memory = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		errno = saved;
		return false;
	}
	below = -(uintptr_t)memory & (REGION - 1);
	if (below)
		munmap(memory, below);
	munmap(memory + below + REGION, REGION - below);
	heap->next = memory + below;
	heap->end = heap->next + REGION;
	if (heap->huge)
		madvise(heap->next, REGION, MADV_HUGEPAGE); /* a wish */
	errno = saved;
	return true;
}

/* The first place from one on where a block does not reach over the end of a page. */
static uint32_t place_from(uint32_t at, size_t size)
{
	return at % PAGE + size <= PAGE ? at : (at / PAGE + 1) * PAGE;
}

static bool has_room(const struct piece *piece)
{
	return piece->given_back || piece->fresh < PIECE;
}

static void link_piece(struct piece **list, struct piece *piece)
{
	piece->previous = NULL;
	piece->next = *list;
	if (*list)
		(*list)->previous = piece;
	*list = piece;
}

static void unlink_piece(struct piece **list, struct piece *piece)
{
	if (piece->next)
		piece->next->previous = piece->previous;
	if (piece->previous)
		piece->previous->next = piece->next;
	else
		*list = piece->next;
}

static struct piece *new_piece(struct heap *heap, size_t size)
{
	struct piece *piece = heap->empty;

	if (piece) {
		heap->empty = piece->next;
	} else {
		if (heap->next == heap->end && !new_region(heap))
			return NULL;
		piece = (struct piece *)(void *)heap->next;
		heap->next += PIECE;
	}
	piece->given_back = NULL;
	piece->used = 0;
	piece->fresh = place_from(STEP, size);
	link_piece(&heap->roomy[size / STEP - 1], piece);
	return piece;
}

/* All but the header's page goes back; of a huge page, that would leave small ones. */
static void empty_piece(struct heap *heap, struct piece *piece, size_t size)
{
	int saved = errno;

	unlink_piece(&heap->roomy[size / STEP - 1], piece);
	if (!heap->huge)
		madvise((char *)piece + PAGE, PIECE - PAGE, MADV_DONTNEED);
	piece->next = heap->empty;
	heap->empty = piece;
	errno = saved;
}

/* ---- Blocks ---- */

static void *take(struct heap *heap, size_t size)
{
	struct piece *piece;
	void *block = NULL;

	cleave__user_lock(&heap->lock);
	piece = heap->roomy[size / STEP - 1];
	if (!piece)
		piece = new_piece(heap, size);
	if (piece) {
		block = piece->given_back;
		if (block) {
			piece->given_back = *(void **)block;
		} else {
			block = (char *)piece + piece->fresh;
			piece->fresh = place_from(piece->fresh + (uint32_t)size, size);
		}
		piece->used++;
		if (!has_room(piece))
			unlink_piece(&heap->roomy[size / STEP - 1], piece);
	}
	cleave__user_unlock(&heap->lock);
	return block;
}

static void give(struct heap *heap, void *block, size_t size)
{
	struct piece *piece = (struct piece *)((uintptr_t)block & ~(uintptr_t)(PIECE - 1));

	cleave__user_lock(&heap->lock);
	if (!has_room(piece))
		link_piece(&heap->roomy[size / STEP - 1], piece);
	*(void **)block = piece->given_back;
	piece->given_back = block;
	piece->used--;
	/* The last one of its size stays, for who takes and gives by turns. */
	if (piece->used == 0 && (piece->next || piece->previous))
		empty_piece(heap, piece, size);
	cleave__user_unlock(&heap->lock);
}

/* ---- What is larger than a page ---- */

static size_t whole_pages(size_t size)
{
	return (size + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static void *map(size_t size)
{
	int saved = errno;
	void *memory = mmap(NULL, whole_pages(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	errno = saved;
	return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(void *memory, size_t size)
{
	int saved = errno;

	munmap(memory, whole_pages(size));
	errno = saved;
}

/* ---- The two heaps ---- */

static size_t whole_steps(size_t size)
{
	return size ? (size + STEP - 1) & ~(STEP - 1) : STEP;
}

static void *alloc_from(struct heap *heap, size_t size, size_t align)
{
	PORT_ASSERT(align <= STEP, "the library asks for lines at the most");
	(void)align;
	return size > PAGE ? map(size) : take(heap, whole_steps(size));
}

static void free_to(struct heap *heap, void *node, size_t size)
{
	if (size > PAGE)
		unmap(node, size);
	else
		give(heap, node, whole_steps(size));
}

static void *packed_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	(void)memory;
	return alloc_from(&small_heap, size, align);
}

static void packed_free(const struct cleave_memory *memory, void *node, size_t size)
{
	(void)memory;
	free_to(&small_heap, node, size);
}

const struct cleave_memory cleave_memory_packed = { .alloc = packed_alloc, .free = packed_free };

static void *huge_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	(void)memory;
	return alloc_from(&huge_heap, size, align);
}

static void huge_free(const struct cleave_memory *memory, void *node, size_t size)
{
	(void)memory;
	free_to(&huge_heap, node, size);
}

const struct cleave_memory cleave_memory_huge = { .alloc = huge_alloc, .free = huge_free };
