/* SPDX-License-Identifier: ISC */
/*
 * What the anonymous store is measured beside: an implementation is a table of functions, each of which does a batch.
 * All allocate with malloc(), and get their anons made beforehand.
 */
#ifndef BENCH_ANON_H
#define BENCH_ANON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct anon_impl {
	const char *name;
	void *(*make)(uint64_t nslots);
	void (*destroy)(void *store); /* its anons stay */
	/* This thread's handle; between online and offline it works on stores. */
	void *(*attach)(void);
	void (*detach)(void *thread);
	void (*online)(void *thread);
	void (*offline)(void *thread);

	void *(*anon)(void *thread);		   /* a new anon; NULL for an implementation that never frees them */
	void (*anon_free)(void *thread, void *anon);
	/* Fill the empty slots slots[0] to slots[n - 1] with the anons; how many failed. */
	size_t (*fill)(void *thread, void *store, const uint64_t *slots, void *const *anons, size_t n);
	uint64_t (*walk)(void *thread, void *store); /* the number of populated slots */
	void *(*clone)(void *thread, void *store);
	void (*drop)(void *thread, void *clone);
	/* Copy on write of one slot, with this anon. */
	bool (*write)(void *thread, void *store, uint64_t slot, void *anon);
	/* A window of slots is reserved, before something in it is touched. */
	void (*reserve)(void *thread, void *store, uint64_t first, uint64_t last);
	size_t (*bytes)(void *store); /* of nodes, tables and counts, without anons */
};

extern const struct anon_impl anon_cleave, anon_table, anon_amap, anon_array;

/* cleave: nodes copied by this thread so far. */
uint64_t anon_cleave_copies(const void *thread);

#endif
