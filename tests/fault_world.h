/* SPDX-License-Identifier: ISC */
/*
 * An embedder for tests of faults: pages of one word, page tables, objects, swap.  It stops at whatever a kernel could
 * not bear: a page that is freed while an address shows it, a wired page that goes, an entry after the end of its
 * mapping.  Page tables and pages are shared by threads as they are in a machine: an access through a translation is
 * atomic against its removal.
 */
#ifndef TESTS_FAULT_WORLD_H
#define TESTS_FAULT_WORLD_H

#include <cleave/fault.h>

#include <pthread.h>

#include "support.h"

#define PAGE UINT64_C(4096)
#define RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)
#define LL(x) ((unsigned long long)(x))

enum sim_state {
	SIM_FREE,
	SIM_LIVE,   /* of an anon, or spare */
	SIM_OBJECT, /* of an object */
	SIM_ZERO,
};

/* A page is called by its number times two. */
struct sim_page {
	struct cleave_word state;
	struct cleave_word value;  /* what the page says */
	struct cleave_word mapped; /* addresses that show it */
	struct cleave_word wired;
	struct cleave_word active;
	pthread_mutex_t lock;
	struct cleave_anon_page *anon; /* under the lock; NULL: none that is known */
	uint32_t next;		       /* free ones */
};

/* A translation: page << 4 | protection; its lock is the top bit. */
struct sim_table {
	struct cleave_map *map;
	uint64_t base;
	uint64_t n;
	struct cleave_word *entries;
	/* May be NULL.  Asked, with the translation locked, whether this may be entered now. */
	bool (*may_enter)(void *context, uint64_t number, unsigned int protection);
	void *context;
};

#define SIM_TABLES 64

struct sim_object {
	struct cleave_word refs;
	struct cleave_word fetched;
	uint64_t tag; /* byte offset o says tag + o */
	uint64_t n;
	struct cleave_word *pages;  /* resident: its number; or 0 */
	struct cleave_word *values; /* of those that are not */
	bool late;		    /* nothing is resident until it was fetched */
	pthread_mutex_t lock;	    /* fetching and evicting */
};

struct fault_world {
	struct cleave_space_ops ops; /* first */
	struct cleave_space space;
	struct sim_page *pages;
	uint32_t npages;
	uint32_t free; /* head of the list, under `lock` */
	pthread_mutex_t lock;
	pthread_mutex_t table_lock; /* of the list of tables */
	struct sim_table tables[SIM_TABLES];
	struct cleave_word *swapped; /* values; token is 2 * index + 1 */
	unsigned char *used;	     /* tokens, under `lock` */
	struct cleave_word live;     /* pages */
	struct cleave_word peak;
	struct cleave_word tokens;
	struct cleave_word objects;
	struct cleave_word fail_after; /* fallible callbacks that will succeed */
	struct cleave_word failures;
	struct cleave_word enters;
	struct cleave_word removes;
	struct cleave_word copied;
	bool no_protect; /* remove serves */
};

#define SIM_POISON UINT64_C(0xdeadbeefdeadbeef)

extern _Thread_local struct cleave_space_thread *fault_self;

/* zero: there is a zero page. */
void fault_world_start(struct fault_world *world, struct cleave_domain *domain, uint32_t npages, bool zero);
/* Nothing is left. */
void fault_world_stop(struct fault_world *world);
/* A record for the calling thread. */
void fault_thread_start(struct fault_world *world, struct cleave_space_thread *thread, struct cleave_thread *self);
void fault_thread_stop(struct cleave_space_thread *thread);

struct sim_table *fault_table_add(struct fault_world *world, struct cleave_map *map, uint64_t base, uint64_t n);
/* It is empty. */
void fault_table_drop(struct fault_world *world, struct cleave_map *map);
/* What an address shows: the page's number, or 0. */
uint64_t fault_shows(struct fault_world *world, struct cleave_map *map, uint64_t addr, unsigned int *protection);

/* A program's access: through the translation, or by a fault.  The fault's result. */
int fault_read(struct fault_world *world, struct cleave_map *map, uint64_t addr, uint64_t *value);
int fault_write(struct fault_world *world, struct cleave_map *map, uint64_t addr, uint64_t value);
/* The access alone.  False: the translation does not allow it. */
bool fault_load(struct fault_world *world, struct cleave_map *map, uint64_t addr, uint64_t *value);
bool fault_store(struct fault_world *world, struct cleave_map *map, uint64_t addr, uint64_t value);

struct sim_object *fault_object(struct fault_world *world, uint64_t tag, uint64_t n, bool late);
void fault_object_put(struct fault_world *world, struct sim_object *object);
/* Evict a page of it, unless it is wired. */
void fault_object_evict(struct fault_world *world, struct sim_object *object, uint64_t offset);

/* Evict whatever pages these numbers name now.  How many went. */
size_t fault_evict(struct fault_world *world, const uint32_t *numbers, size_t n);

/* Private memory, or of an object. */
struct cleave_map_request fault_request(uint64_t start, uint64_t pages, unsigned int protection);

#endif
