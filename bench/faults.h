/* SPDX-License-Identifier: ISC */
/*
 * What the fault path is measured beside: an implementation is a table of functions, each of which does a batch.  Pages
 * are numbers, and what an embedder does with page tables is an empty function behind a pointer: what is measured is the
 * library's part.  Memory comes from the thread's own lists, so that no allocator's time counts.
 */
#ifndef BENCH_FAULTS_H
#define BENCH_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULTS_PAGE ((uint64_t)4096)
#define FAULTS_BASE ((uint64_t)1 << 32)

struct faults_impl {
	const char *name;
	/* An address space with one private mapping of so many pages, from FAULTS_BASE. */
	void *(*make)(uint64_t pages);
	void (*destroy)(void *world);
	/* This thread's handle. */
	void *(*attach)(void *world);
	void (*detach)(void *world, void *thread);
	/* Write faults on these pages; how many failed. */
	size_t (*touch)(void *world, void *thread, const uint64_t *pages, size_t n);
	/* A copy of the address space, and the first write to a page of the original after that. */
	void *(*fork)(void *world, void *thread);
	void (*exit)(void *world, void *thread, void *child);
	uint64_t (*entries)(void *world, void *thread);
};

extern const struct faults_impl faults_cleave, faults_amap, faults_tree;

/* cleave: nodes and pages copied by this thread so far. */
void faults_cleave_copies(const void *thread, uint64_t *nodes, uint64_t *pages);

/* The thread's memory: `size` bytes, rounded to lines. */
void *faults_alloc(size_t size);
void faults_free(void *at, size_t size);
/* Have so many bytes ready, touched. */
void faults_stock(size_t bytes);
/* What an embedder would do. */
extern int (*volatile faults_enter)(void *map, uint64_t addr, uint64_t page);

#endif
