/* SPDX-License-Identifier: ISC */
/* Pages and entries of the model of a map, for its parts: map_model.c and map_model_entries.c. */
#ifndef TESTS_MAP_MODEL_PARTS_H
#define TESTS_MAP_MODEL_PARTS_H

#include "map_model.h"

#define P MODEL_PAGE

static inline unsigned int index_of(const struct map_model *model, uint64_t addr)
{
	return (unsigned int)((addr - model->base) / P);
}

static inline uint64_t address_of(const struct map_model *model, unsigned int i)
{
	return model->base + i * P;
}

static inline bool mapped(const struct model_page *page)
{
	return page->entry && !(page->flags & CLEAVE_MAP_HOLE);
}

static inline bool begins(const struct map_model *model, unsigned int i)
{
	return model->pages[i].entry && model->pages[i].begins;
}

static inline unsigned int entry_start(const struct map_model *model, unsigned int i)
{
	while (!begins(model, i))
		i--;
	return i;
}

static inline unsigned int entry_end(const struct map_model *model, unsigned int i)
{
	for (i++; i < model->n && model->pages[i].entry && !model->pages[i].begins;)
		i++;
	return i;
}

static inline void cut(struct map_model *model, unsigned int i)
{
	if (i < model->n && model->pages[i].entry)
		model->pages[i].begins = true;
}

static inline void wipe(struct map_model *model, unsigned int i)
{
	memset(&model->pages[i], 0, sizeof(model->pages[i]));
}

static inline bool is_free(const struct map_model *model, unsigned int i)
{
	return !model->pages[i].entry && !map_model_guard(model, i);
}

/* -EINVAL; 1: nothing is left; 0 and page numbers. */
int map_model_clamp(const struct map_model *model, uint64_t start, uint64_t end, unsigned int *from, unsigned int *to);
/* Growth beyond a limit undoes the change. */
int map_model_limited(struct map_model *model, const struct map_model *before);
bool map_model_all_mapped(const struct map_model *model, unsigned int from, unsigned int to);
uint64_t map_model_new_store(struct map_model *model);
int map_model_map_fixed(struct map_model *model, const struct cleave_map_request *request);

#endif
