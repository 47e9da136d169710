/* SPDX-License-Identifier: ISC */
/*
 * What a map is, without any of its machinery: an array of pages, each with its attributes.  Written from the tables of
 * doc/map.md, not from the library.
 */
#ifndef TESTS_MAP_MODEL_H
#define TESTS_MAP_MODEL_H

#include <cleave/map.h>

#include "support.h"

#define MODEL_PAGES 128
#define MODEL_PAGE UINT64_C(4096)

struct model_page {
	bool entry;  /* part of an entry, HOLEs too */
	bool begins; /* an entry begins here */
	const void *object;
	uint64_t offset; /* of this page in the object */
	uint64_t store;	 /* the model's number of its store; 0: none */
	uint64_t slot;	 /* page in the store */
	uint32_t flags;
	uint32_t wired;
	uint8_t protection;
	uint8_t max_protection;
	uint8_t inheritance;
	uint8_t advice;
};

struct map_model {
	struct cleave_map_config config;
	uint64_t base; /* of page 0 */
	unsigned int n;
	uint64_t serial;
	bool wire_future;
	uint64_t size_limit;
	uint64_t data_limit;
	uint64_t *next_store; /* numbers, shared by all models of a world */
	uint64_t bad_page;    /* address at which wiring and cleaning fail */
	struct model_page pages[MODEL_PAGES];
};

void map_model_init(struct map_model *model, const struct cleave_map_config *config, uint64_t *next_store);

/* Is page i a guard?  Guards follow from the layout. */
bool map_model_guard(const struct map_model *model, unsigned int i);
uint64_t map_model_size(const struct map_model *model);
uint64_t map_model_data(const struct map_model *model);
uint64_t map_model_entries(const struct map_model *model);

int map_model_map(struct map_model *model, struct cleave_map_request *request);
int map_model_query(const struct map_model *model, struct cleave_map_request *request);
int map_model_find(const struct map_model *model, const struct cleave_map_request *request, uint64_t *addr);
int map_model_munmap(struct map_model *model, uint64_t addr, uint64_t len);
int map_model_unmap(struct map_model *model, uint64_t start, uint64_t end, unsigned int flags);
int map_model_protect(struct map_model *model, uint64_t start, uint64_t end, unsigned int protection,
		      uint32_t entry_flags, unsigned int flags);
int map_model_inherit(struct map_model *model, uint64_t start, uint64_t end, unsigned int inheritance);
int map_model_advise(struct map_model *model, uint64_t start, uint64_t end, unsigned int advice);
int map_model_immutable(struct map_model *model, uint64_t start, uint64_t end, bool immutable);
int map_model_clip(struct map_model *model, uint64_t addr, bool upper);
int map_model_coalesce(struct map_model *model, uint64_t start, uint64_t end);
int map_model_set_store(struct map_model *model, uint64_t addr, uint64_t *store);
int map_model_submap(struct map_model *model, uint64_t start, uint64_t end, const void *submap);
int map_model_stack(struct map_model *model, uint64_t addr, uint64_t size);
int map_model_clean(const struct map_model *model, uint64_t start, uint64_t end, unsigned int flags);
bool map_model_check(const struct map_model *model, uint64_t start, uint64_t end, unsigned int protection);
int map_model_wire(struct map_model *model, uint64_t start, uint64_t end);
int map_model_unwire(struct map_model *model, uint64_t start, uint64_t end);
int map_model_wire_all(struct map_model *model, unsigned int flags, uint64_t limit);
int map_model_fork(struct map_model *parent, struct map_model *child);
int map_model_extract(struct map_model *from, uint64_t start, uint64_t len, struct map_model *to, unsigned int flags,
		      uint64_t *addr);
/* May the pages i - 1 and i be of one entry? */
bool map_model_joinable(const struct map_model *model, unsigned int i);

#endif
