/* SPDX-License-Identifier: ISC */
/*
 * An embedder for tests of the map: counts references, windows, promises, wired pages and translations, and stops at
 * anything that does not add up.
 */
#ifndef TESTS_MAP_WORLD_H
#define TESTS_MAP_WORLD_H

#include <cleave/map.h>

#include "support.h"

#define PAGE UINT64_C(4096)
#define RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)

/* A backing object, or a store. */
struct thing {
	struct cleave_word refs;
	uint64_t pages;		    /* of a store */
	uint64_t *windows;	    /* of a store: on each page; or NULL: not counted */
	uint64_t model;		    /* the model's number of the store; 0: not met yet */
	const struct thing *origin; /* of a clone */
	struct thing *next;
	bool cloning;
};

/* What a page table would hold for a page. */
struct translation {
	bool present;
	uint8_t protection;
	const void *object;
	uint64_t offset;
	const void *store;
	uint64_t slot;
};

#define EMBEDDER_MAPS 8
#define EMBEDDER_PAGES 128

/* Pages of one map that the embedder watches, from `base`. */
struct watched {
	struct cleave_map *map;
	uint64_t base;
	bool wired[EMBEDDER_PAGES];
	struct translation translations[EMBEDDER_PAGES];
};

struct embedder {
	struct cleave_map_ops ops;
	struct cleave_word live; /* things with references */
	struct thing *stores;	 /* made by store_new and clone, dead ones too */
	uint64_t promised;	 /* pages reserved for drops */
	bool destroying;	 /* drops without promises */
	bool counted;		 /* count windows: single-threaded tests */
	uint64_t bad_page;	 /* address at which wiring fails; 0: none */
	uint64_t fail_after;	 /* calls that may fail and will succeed; GRANT_ALL: all */
	uint64_t failures;
	uint64_t removals; /* calls of translate */
	uint64_t restrictions;
	uint64_t write_protections;
	uint64_t clones;
	uint64_t cleaned; /* pages */
	uint64_t copied;  /* wired pages that fork copied */
	uint64_t random;
	struct watched watched[EMBEDDER_MAPS];
};

void embedder_init(struct embedder *embedder);
/* Nothing refers to anything any more. */
void embedder_stop(struct embedder *embedder);
void embedder_watch(struct embedder *embedder, struct cleave_map *map, uint64_t base);
void embedder_forget(struct embedder *embedder, const struct cleave_map *map);
struct watched *embedder_watched(struct embedder *embedder, const struct cleave_map *map);
/* A backing object with one reference, the caller's. */
struct thing *thing_new(struct embedder *embedder);
void thing_ref(struct thing *thing);
void thing_unref(struct embedder *embedder, struct thing *thing);
uint64_t thing_refs(const struct thing *thing);

/* One map, one thread, a domain whose grace periods the test ends. */
struct solo {
	struct manual_domain domain;
	struct embedder embedder;
	struct cleave_maps maps;
	struct cleave_map_thread thread;
	struct cleave_map map;
};

#define SOLO_BASE UINT64_C(0x10000)
#define SOLO_PAGES 128

/* A map of SOLO_PAGES pages from SOLO_BASE, if config is NULL. */
void solo_start(struct solo *solo, const struct cleave_map_config *config);
void solo_stop(struct solo *solo);
/* Another map of the same embedder's, with all that is in it. */
void solo_destroy(struct solo *solo, struct cleave_map *map);
void solo_check(struct solo *solo);
struct cleave_map_config solo_config(void);

/* Address of page n. */
#define AT(n) (SOLO_BASE + (uint64_t)(n)*PAGE)

/* Anonymous RW memory with COW; the result of the call. */
int solo_map(struct solo *solo, unsigned int from, unsigned int to);
struct cleave_map_request request_fixed(unsigned int from, unsigned int to);
/* The entry at page n; false: it is not mapped. */
bool solo_lookup(struct solo *solo, unsigned int n, struct cleave_map_entry *entry);
bool solo_lookup_in(struct solo *solo, struct cleave_map *map, uint64_t addr, struct cleave_map_entry *entry);
/* Number of entries. */
uint64_t map_entries(struct cleave_map *map, struct cleave_map_thread *thread);
uint64_t solo_entries(struct solo *solo);
/* The entries, as "from-to:rwx" with marks, for comparing with a literal. */
const char *solo_text(struct solo *solo);

/* Everything in a map, to be compared later. */
struct picture {
	struct cleave_map_entry *entries;
	size_t n;
	struct cleave_map_accounts accounts;
};

void picture_take(struct picture *picture, struct cleave_map *map, struct cleave_map_thread *thread);
bool picture_equal(const struct picture *one, const struct picture *other);
void picture_free(struct picture *picture);

#endif
