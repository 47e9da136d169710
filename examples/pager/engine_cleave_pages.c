/* SPDX-License-Identifier: ISC */
/* What the library asks its embedder for: pages, and what becomes of them in the processes. */
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "engine_cleave.h"

struct cleave_space cleave_engine_space;

static struct process *process_of(struct cleave_map *map)
{
	return ((struct engine_space *)(void *)map)->process;
}

static struct cleave_space_thread *calling_thread(const struct cleave_space_ops *ops)
{
	(void)ops;
	return &record()->thread;
}

static uint64_t get_page(const struct cleave_space_ops *ops)
{
	(void)ops;
	return page_get();
}

static void free_page(const struct cleave_space_ops *ops, uint64_t page)
{
	(void)ops;
	page_free(page);
}

static void copy_page(const struct cleave_space_ops *ops, uint64_t from, uint64_t to)
{
	(void)ops;
	page_copy(from, to);
}

/* Neighbours that are there anyway were entered before, or come with a fault of their own. */
static int enter(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t addr, uint64_t page,
		 struct cleave_anon_page *anon, unsigned int protection, unsigned int flags)
{
	(void)ops;
	(void)anon;
	if (flags & CLEAVE_ENTER_AHEAD)
		return -EBUSY;
	return page_enter(process_of(map), addr, page, protection & CLEAVE_PROT_WRITE);
}

/*
 * After an unmap the kernel has removed them.  Before a copy on write the old page stays where it is, for it is
 * write-protected and the same as the copy, until that is entered in its place.  For DONTNEED they are dropped here.
 */
static void remove_pages(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	(void)ops;
	if (self->discards)
		(void)target_call(process_of(map), self->slot, SYS_madvise, start, end - start, MADV_DONTNEED, 0, 0, 0);
}

/* The kernel lowers what mprotect lowers; at a fork it is ours to do. */
static void protect(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		    unsigned int protection)
{
	int error;

	(void)ops;
	(void)protection;
	if (!record()->child)
		return;
	record()->protects = true;
	while ((error = uffd_protect(process_of(map), start, end, true)) == -EAGAIN)
		sched_yield();
	if (error && error != -ESRCH)
		violation("write protection for a fork: error %d", -error);
}

static void remove_page(const struct cleave_space_ops *ops, uint64_t page)
{
	(void)ops;
	/* Else for a page with two windows, while mremap moves it from one to the other: its range is protected. */
	if (self->evicts)
		page_remove(page);
}

static int write_out(const struct cleave_space_ops *ops, uint64_t page, uint64_t *token)
{
	(void)ops;
	return page_out(page, token);
}

static int read_in(const struct cleave_space_ops *ops, uint64_t token, uint64_t page)
{
	(void)ops;
	return page_in(token, page);
}

static void free_token(const struct cleave_space_ops *ops, uint64_t token)
{
	(void)ops;
	token_free(token);
}

/*
 * The anon was pinned, but its slot was not: until it was marked, a write may have given this process a copy.
 *	1. evictor: pins anon A, whose page is at X; A is shared with a child
 *	2. fault: replaces A by a copy at X, which the program writes
 *	3. evictor: marks A, waits for faults, drops what is at X: the copy
 * From the mark on A stays where it is: so this is asked now.
 */
static bool is_there(struct process *process, uint64_t addr, uint64_t page)
{
	struct cleave_anon_page *anon = NULL;
	struct cleave_map_entry entry;
	bool there;

	cleave_section_enter(&self->section);
	if (cleave_map_lookup_rcu(&process->space->map, addr, &entry) && entry.attributes.store)
		anon = cleave_anon_lookup_rcu(cleave_space_store(&entry.attributes),
					      cleave_space_slot(&cleave_engine_space, &entry.attributes, addr));
	there = anon && cleave_anon_page_content(anon) == page;
	cleave_section_leave(&self->section);
	return there;
}

static bool may_evict(const struct cleave_space_ops *ops, uint64_t page)
{
	(void)ops;
	return page_may_go(page) && is_there(self->process, page_address(page), page);
}

static const struct cleave_space_ops ops = {
	.calling_thread = calling_thread,
	.page_get = get_page,
	.page_free = free_page,
	.page_copy = copy_page,
	.enter = enter,
	.remove = remove_pages,
	.protect = protect,
	.remove_page = remove_page,
	.page_out = write_out,
	.page_in = read_in,
	.token_free = free_token,
	.may_evict = may_evict,
};

/* The fork of the process belongs into that of the map, when writes are held back and all is write-protected. */
static void (*library_clone_done)(const struct cleave_map_ops *ops, struct cleave_map *parent, void *const *stores,
				  void *const *clones, size_t n);

void cleave_engine_fork(void)
{
	if (record()->forked)
		return;
	record()->forked = true;
	(void)self->forks(self);
}

static void clone_done(const struct cleave_map_ops *map_ops, struct cleave_map *parent, void *const *stores,
		       void *const *clones, size_t n)
{
	if (record()->protects)
		cleave_engine_fork();
	library_clone_done(map_ops, parent, stores, clones, n);
}

void cleave_engine_open(void)
{
	struct cleave_map_ops *map_ops = &cleave_engine_space.map_ops;

	cleave_space_init(&cleave_engine_space, &pager.domain.domain, &ops, PAGE_SHIFT);
	library_clone_done = map_ops->clone_done;
	map_ops->clone_done = clone_done;
}
