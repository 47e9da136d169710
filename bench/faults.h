/* SPDX-License-Identifier: ISC */
/*
 * What the fault path is measured beside: an implementation is a table of functions, each of which does a batch.  Pages
 * are numbers, and what an embedder does with page tables is an empty function behind a pointer: what is measured is
 * the library's part.  Memory comes from the thread's own lists, so that no allocator's time counts.
 */
#ifndef BENCH_FAULTS_H
#define BENCH_FAULTS_H

#include "layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULTS_PAGE ((uint64_t)LAYOUT_PAGE)
#define FAULTS_BASE LAYOUT_TOP /* where the segment begins: above all other mappings */
#define FAULTS_CHUNK 16u       /* pages of an amap, where a segment is cut into such pieces */

struct faults_impl {
	const char *name;
	bool peer; /* not this library */
	/* An address space with one private mapping of so many pages, from FAULTS_BASE, and others below. */
	void *(*make)(uint64_t pages, const struct layout *others);
	void (*destroy)(void *world);
	/* This thread's handle.  Between online and offline it works, else it holds up nobody. */
	void *(*attach)(void *world);
	void (*detach)(void *thread);
	void (*online)(void *thread);
	void (*offline)(void *thread);
	/* Write faults on these pages; how many failed. */
	size_t (*touch)(void *thread, const uint64_t *pages, size_t n);
	/* Unmap one of the others, and map it again; how many of the two failed. */
	size_t (*remap)(void *thread, const struct cleave_entry *entry);
	/* A copy of the address space, and the first write to a page of the original after that. */
	void *(*fork)(void *thread);
	void (*exit)(void *thread, void *child);
	uint64_t (*entries)(void *thread); /* of the segment */
};

extern const struct faults_impl faults_memb, faults_memb_chunked, faults_qsbr, faults_ck, faults_amap, faults_tree;

/* The library: nodes and pages copied by this thread so far.  A thread of faults_memb. */
void faults_memb_copies(const void *thread, uint64_t *nodes, uint64_t *pages);

/* The thread's memory: `size` bytes, rounded to lines. */
void *faults_alloc(size_t size);
void faults_free(void *at, size_t size);
/* Have so many bytes ready, touched. */
void faults_stock(size_t bytes);
/* Give back all of it, of all threads: those that used it have ended, save the caller, and none of it is in use. */
void faults_forget(void);
/* What an embedder would do. */
extern int (*volatile faults_enter)(void *map, uint64_t addr, uint64_t page);

#endif
