/* SPDX-License-Identifier: ISC */
/* The space of a map in the model: pages, limits, unmap, free space, map. */
#include "map_model_parts.h"

void map_model_init(struct map_model *model, const struct cleave_map_config *config, uint64_t *next_store)
{
	memset(model, 0, sizeof(*model));
	model->config = *config;
	if (!config->nselectors) {
		model->config.nselectors = 1;
		model->config.selectors[0] = (struct cleave_map_selector){ config->min, config->max,
									   CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_ANY };
	}
	model->base = config->min;
	model->n = (unsigned int)((config->max - config->min) / P);
	CHECK(model->n <= MODEL_PAGES, "too many pages");
	model->serial = 1;
	model->size_limit = config->flags & CLEAVE_MAP_LIMITS ? config->size_limit : UINT64_MAX;
	model->data_limit = config->flags & CLEAVE_MAP_LIMITS ? config->data_limit : UINT64_MAX;
	model->next_store = next_store;
}

/* ---- Pages ---- */

bool map_model_guard(const struct map_model *model, unsigned int i)
{
	unsigned int start = i, end = i;

	if (!(model->config.flags & CLEAVE_MAP_GUARD_PAGES) || model->pages[i].entry)
		return false;
	while (start > 0 && !model->pages[start - 1].entry)
		start--;
	while (end < model->n && !model->pages[end].entry)
		end++;
	return start > 0 && i < start + (end - start == 2 ? 2u : 1u);
}

uint64_t map_model_size(const struct map_model *model)
{
	uint64_t size = 0;

	for (unsigned int i = 0; i < model->n; i++)
		size += mapped(&model->pages[i]) ? P : 0;
	return size;
}

static bool is_data(const struct map_model *model, unsigned int i)
{
	uint64_t addr = address_of(model, i);

	return mapped(&model->pages[i]) && !model->pages[i].object && model->pages[i].protection != 0 &&
	       !(addr >= model->config.stack_start && addr < model->config.stack_end);
}

uint64_t map_model_data(const struct map_model *model)
{
	uint64_t data = 0;

	for (unsigned int i = 0; i < model->n; i++)
		data += is_data(model, i) ? P : 0;
	return data;
}

uint64_t map_model_entries(const struct map_model *model)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < model->n; i++)
		n += begins(model, i);
	return n;
}

int map_model_clamp(const struct map_model *model, uint64_t start, uint64_t end, unsigned int *from, unsigned int *to)
{
	if (start > end || start % P || end % P)
		return -EINVAL;
	if (start < model->config.min)
		start = model->config.min;
	if (end > model->config.max)
		end = model->config.max;
	if (start >= end)
		return 1;
	*from = index_of(model, start);
	*to = index_of(model, end);
	return 0;
}

int map_model_limited(struct map_model *model, const struct map_model *before)
{
	uint64_t size = map_model_size(model), data = map_model_data(model);

	if ((size > map_model_size(before) && size > model->size_limit) ||
	    (data > map_model_data(before) && data > model->data_limit)) {
		*model = *before;
		return -ENOMEM;
	}
	return 0;
}

/* ---- Unmap ---- */

static void remove_pages(struct map_model *model, unsigned int from, unsigned int to, bool holes)
{
	bool stack = false;

	cut(model, to);
	cut(model, from);
	for (unsigned int i = from; i < to; i++) {
		if (!model->pages[i].entry || (!mapped(&model->pages[i]) && !holes))
			continue;
		stack |= (model->pages[i].flags & CLEAVE_MAP_STACK) != 0;
		if (i + 1 < model->n && model->pages[i + 1].entry)
			model->pages[i + 1].begins = true;
		wipe(model, i);
	}
	model->serial += stack;
}

static bool any_immutable(const struct map_model *model, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++)
		if (mapped(&model->pages[i]) && (model->pages[i].flags & CLEAVE_MAP_IMMUTABLE))
			return true;
	return false;
}

bool map_model_all_mapped(const struct map_model *model, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++)
		if (!mapped(&model->pages[i]))
			return false;
	return true;
}

/* Parts of HOLEs that stay are not clipped. */
static void unmap_pages(struct map_model *model, unsigned int from, unsigned int to, bool holes)
{
	while (from < to && !holes && model->pages[from].entry && !mapped(&model->pages[from]))
		from++;
	while (from < to && !holes && model->pages[to - 1].entry && !mapped(&model->pages[to - 1]))
		to--;
	if (from < to)
		remove_pages(model, from, to, holes);
}

int map_model_unmap(struct map_model *model, uint64_t start, uint64_t end, unsigned int flags)
{
	unsigned int from, to;
	int error = map_model_clamp(model, start, end, &from, &to);

	if (error)
		return error < 0 ? error : 0;
	if ((flags & CLEAVE_MAP_KEEP_IMMUTABLE) && any_immutable(model, from, to))
		return -EPERM;
	unmap_pages(model, from, to, flags & CLEAVE_MAP_REMOVE_HOLES);
	return 0;
}

int map_model_munmap(struct map_model *model, uint64_t addr, uint64_t len)
{
	uint64_t skew = addr % P;
	unsigned int from, to;

	if (len + skew < len)
		return -EINVAL;
	len += skew;
	addr -= skew;
	if (len != 0 && ((len + P - 1) & ~(P - 1)) == 0)
		return -EINVAL;
	len = (len + P - 1) & ~(P - 1);
	if (addr + len < addr || addr < model->config.min || addr + len > model->config.max)
		return -EINVAL;
	if (len == 0)
		return 0;
	from = index_of(model, addr);
	to = index_of(model, addr + len);
	if (!map_model_all_mapped(model, from, to))
		return -EINVAL;
	if (any_immutable(model, from, to))
		return -EPERM;
	remove_pages(model, from, to, false);
	return 0;
}

/* ---- Space ---- */

static bool fits(const struct map_model *model, const struct cleave_map_selector *selector,
		 const struct cleave_map_request *request, uint64_t addr)
{
	uint64_t size = request->size + (model->config.flags & CLEAVE_MAP_GUARD_PAGES ? P : 0);
	uint64_t align = request->align > P ? request->align : P;
	uint64_t low = selector->start > P ? selector->start : P;

	if (addr < low || selector->end <= addr || selector->end - addr < size || addr % align != request->phase)
		return false;
	for (uint64_t at = addr; at < addr + size; at += P)
		if (!is_free(model, index_of(model, at)))
			return false;
	return true;
}

/* The pages of the gap, within the selector's range, in which addr lies. */
static uint64_t gap_size(const struct map_model *model, const struct cleave_map_selector *selector, uint64_t addr)
{
	uint64_t low = selector->start > P ? selector->start : P, start = addr, end = addr;

	while (start > low && is_free(model, index_of(model, start - P)))
		start -= P;
	while (end < selector->end && is_free(model, index_of(model, end)))
		end += P;
	return end - start;
}

static bool select_in(const struct map_model *model, const struct cleave_map_selector *selector,
		      const struct cleave_map_request *request, uint64_t *addr)
{
	uint64_t best = UINT64_MAX;
	bool found = false;

	for (uint64_t at = selector->start; at < selector->end; at += P) {
		if (!fits(model, selector, request, at))
			continue;
		if (selector->policy == CLEAVE_SELECT_LOWEST && found)
			continue;
		if (selector->policy == CLEAVE_SELECT_BEST_FIT) {
			if (gap_size(model, selector, at) >= best)
				continue;
			best = gap_size(model, selector, at);
		}
		found = true;
		*addr = at;
	}
	return found;
}

int map_model_find(const struct map_model *model, const struct cleave_map_request *request, uint64_t *addr)
{
	static const enum cleave_map_role roles[] = { CLEAVE_SELECT_EXEC, CLEAVE_SELECT_ANY, CLEAVE_SELECT_BRK_STACK };
	uint64_t align = request->align > P ? request->align : P;

	if (request->size == 0 || request->size % P || (request->align & (request->align - 1)) ||
	    request->phase >= align || request->phase % P)
		return -EINVAL;
	for (unsigned int r = request->protection & CLEAVE_PROT_EXEC ? 0 : 1; r < 3; r++)
		for (unsigned int i = 0; i < model->config.nselectors; i++)
			if (model->config.selectors[i].role == roles[r] &&
			    select_in(model, &model->config.selectors[i], request, addr))
				return 0;
	return -ENOMEM;
}

static bool available(const struct map_model *model, uint64_t addr, uint64_t size)
{
	if (addr < model->config.min || addr + size < addr || addr + size > model->config.max)
		return false;
	for (uint64_t at = addr; at < addr + size; at += P)
		if (model->pages[index_of(model, at)].entry)
			return false;
	return true;
}

int map_model_query(const struct map_model *model, struct cleave_map_request *request)
{
	uint64_t unused, from = request->addr & ~(P - 1);
	struct cleave_map_selector all = { model->config.min, model->config.max, CLEAVE_SELECT_LOWEST, 0 };

	if (map_model_find(model, request, &unused) == -EINVAL)
		return -EINVAL;
	if (request->flags & CLEAVE_MAP_FIXED)
		return request->addr % P == 0 && available(model, request->addr, request->size) ? 0 : -EINVAL;
	for (uint64_t at = model->config.min; at < model->config.max; at += P) {
		uint64_t end = at + request->size + (model->config.flags & CLEAVE_MAP_GUARD_PAGES ? P : 0);
		bool avoid = at < from;

		for (unsigned int i = 0; i < model->config.nselectors; i++)
			avoid |= model->config.selectors[i].role == CLEAVE_SELECT_BRK_STACK &&
				 at < model->config.selectors[i].end && end > model->config.selectors[i].start;
		if (!avoid && fits(model, &all, request, at)) {
			request->addr = at;
			return 0;
		}
	}
	return -ENOMEM;
}

/* ---- Map ---- */

uint64_t map_model_new_store(struct map_model *model)
{
	return ++*model->next_store;
}

static void put_entry(struct map_model *model, const struct cleave_map_request *request, uint64_t addr)
{
	unsigned int from = index_of(model, addr), to = index_of(model, addr + request->size);
	uint64_t store = request->flags & CLEAVE_MAP_OVERLAY ? map_model_new_store(model) : 0;
	uint32_t flags = request->entry_flags;

	if ((flags & CLEAVE_MAP_COW) && !store)
		flags |= CLEAVE_MAP_NEEDS_COPY;
	for (unsigned int i = from; i < to; i++)
		model->pages[i] = (struct model_page){ .entry = true,
						       .begins = i == from,
						       .object = request->object,
						       .offset = request->object ? request->offset + (i - from) * P : 0,
						       .store = store,
						       .slot = store ? i - from : 0,
						       .flags = flags,
						       .protection = request->protection,
						       .max_protection = request->max_protection,
						       .inheritance = request->inheritance,
						       .advice = request->advice };
	if ((flags & CLEAVE_MAP_STACK) && (request->flags & CLEAVE_MAP_FIXED))
		model->serial++;
}

int map_model_map_fixed(struct map_model *model, const struct cleave_map_request *request)
{
	bool replace = request->flags & CLEAVE_MAP_REPLACE;
	struct map_model before = *model;
	uint64_t serial = model->serial;
	unsigned int from, to;

	if (request->addr + request->size < request->addr || request->addr < model->config.min ||
	    request->addr + request->size > model->config.max)
		return -ENOMEM;
	from = index_of(model, request->addr);
	to = index_of(model, request->addr + request->size);
	if (replace && (request->entry_flags & CLEAVE_MAP_STACK) && !map_model_all_mapped(model, from, to))
		return -EINVAL;
	if (replace && !(request->flags & CLEAVE_MAP_SIGALTSTACK) && any_immutable(model, from, to))
		return -EPERM;
	for (unsigned int i = from; i < to; i++)
		if (model->pages[i].entry && (!replace || !mapped(&model->pages[i])))
			return -ENOMEM;
	if (request->flags & CLEAVE_MAP_QUERY)
		return 0;
	cut(model, to);
	remove_pages(model, from, to, false);
	put_entry(model, request, request->addr);
	if (model->serial > serial)
		model->serial = serial + 1; /* one change, one count */
	return map_model_limited(model, &before);
}

static int check_request(const struct map_model *model, const struct cleave_map_request *request)
{
	bool fixed = request->flags & CLEAVE_MAP_FIXED;
	uint64_t unused;

	if (request->protection > 7 || request->max_protection > 7 || request->inheritance > 3 || request->advice > 2 ||
	    (fixed && request->addr % P) || (!fixed && (request->flags & CLEAVE_MAP_REPLACE)))
		return -EINVAL;
	if ((request->entry_flags & CLEAVE_MAP_HOLE) &&
	    (!fixed || request->object || (request->flags & CLEAVE_MAP_OVERLAY) ||
	     (request->entry_flags & CLEAVE_MAP_COW)))
		return -EINVAL;
	if (map_model_find(model, request, &unused) == -EINVAL)
		return -EINVAL;
	if (request->size > model->config.max - model->config.min)
		return -ENOMEM;
	return request->protection & ~request->max_protection ? -EACCES : 0;
}

static int map_anywhere(struct map_model *model, struct cleave_map_request *request)
{
	uint64_t align = request->align ? request->align : 1, addr = request->addr;
	struct map_model before = *model;
	int error = 0;

	if (!addr || addr % P || addr % align != request->phase % align || !available(model, addr, request->size))
		error = map_model_find(model, request, &addr);
	if (error)
		return error;
	if (!(request->flags & CLEAVE_MAP_QUERY)) {
		put_entry(model, request, addr);
		error = map_model_limited(model, &before);
	}
	if (!error)
		request->addr = addr;
	return error;
}

int map_model_map(struct map_model *model, struct cleave_map_request *request)
{
	int error = check_request(model, request);

	if (!error)
		error = request->flags & CLEAVE_MAP_FIXED ? map_model_map_fixed(model, request)
							  : map_anywhere(model, request);
	if (error || (request->flags & CLEAVE_MAP_QUERY))
		return error;
	if (model->wire_future && request->protection && !(request->entry_flags & CLEAVE_MAP_HOLE) &&
	    map_model_wire(model, request->addr, request->addr + request->size)) {
		(void)map_model_unmap(model, request->addr, request->addr + request->size, 0);
		return -ENOMEM;
	}
	return error;
}
