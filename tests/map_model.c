/* SPDX-License-Identifier: ISC */
#include "map_model.h"

#define P MODEL_PAGE

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

static unsigned int index_of(const struct map_model *model, uint64_t addr)
{
	return (unsigned int)((addr - model->base) / P);
}

static uint64_t address_of(const struct map_model *model, unsigned int i)
{
	return model->base + i * P;
}

static bool mapped(const struct model_page *page)
{
	return page->entry && !(page->flags & CLEAVE_MAP_HOLE);
}

static bool begins(const struct map_model *model, unsigned int i)
{
	return model->pages[i].entry && model->pages[i].begins;
}

static unsigned int entry_start(const struct map_model *model, unsigned int i)
{
	while (!begins(model, i))
		i--;
	return i;
}

static unsigned int entry_end(const struct map_model *model, unsigned int i)
{
	for (i++; i < model->n && model->pages[i].entry && !model->pages[i].begins;)
		i++;
	return i;
}

static void cut(struct map_model *model, unsigned int i)
{
	if (i < model->n && model->pages[i].entry)
		model->pages[i].begins = true;
}

static void wipe(struct map_model *model, unsigned int i)
{
	memset(&model->pages[i], 0, sizeof(model->pages[i]));
}

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

static bool is_free(const struct map_model *model, unsigned int i)
{
	return !model->pages[i].entry && !map_model_guard(model, i);
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

/* -EINVAL; 1: nothing is left; 0 and page numbers. */
static int clamp(const struct map_model *model, uint64_t start, uint64_t end, unsigned int *from, unsigned int *to)
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

/* Growth beyond a limit undoes the change. */
static int limited(struct map_model *model, const struct map_model *before)
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

static bool all_mapped(const struct map_model *model, unsigned int from, unsigned int to)
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
	int error = clamp(model, start, end, &from, &to);

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
	if (!all_mapped(model, from, to))
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

static uint64_t new_store(struct map_model *model)
{
	return ++*model->next_store;
}

static void put_entry(struct map_model *model, const struct cleave_map_request *request, uint64_t addr)
{
	unsigned int from = index_of(model, addr), to = index_of(model, addr + request->size);
	uint64_t store = request->flags & CLEAVE_MAP_OVERLAY ? new_store(model) : 0;
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

static int map_fixed(struct map_model *model, const struct cleave_map_request *request)
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
	if (replace && (request->entry_flags & CLEAVE_MAP_STACK) && !all_mapped(model, from, to))
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
	return limited(model, &before);
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
		error = limited(model, &before);
	}
	if (!error)
		request->addr = addr;
	return error;
}

int map_model_map(struct map_model *model, struct cleave_map_request *request)
{
	int error = check_request(model, request);

	if (!error)
		error = request->flags & CLEAVE_MAP_FIXED ? map_fixed(model, request) : map_anywhere(model, request);
	if (error || (request->flags & CLEAVE_MAP_QUERY))
		return error;
	if (model->wire_future && request->protection && !(request->entry_flags & CLEAVE_MAP_HOLE) &&
	    map_model_wire(model, request->addr, request->addr + request->size)) {
		(void)map_model_unmap(model, request->addr, request->addr + request->size, 0);
		return -ENOMEM;
	}
	return error;
}

/* ---- Attributes ---- */

int map_model_protect(struct map_model *model, uint64_t start, uint64_t end, unsigned int protection,
		      uint32_t entry_flags, unsigned int flags)
{
	unsigned int from, to;
	bool opened[MODEL_PAGES] = { false }, stack = false;
	struct map_model before = *model;
	int error;

	if (protection > 7)
		return -EINVAL;
	error = clamp(model, start, end, &from, &to);
	if (error)
		return error < 0 ? error : 0;
	for (unsigned int i = from; i < to; i++) {
		const struct model_page *page = &model->pages[i];

		if (!mapped(page))
			continue;
		if ((page->flags & CLEAVE_MAP_IMMUTABLE) && !(flags & CLEAVE_PROTECT_IMMUTABLE))
			return -EPERM;
		if (page->flags & CLEAVE_MAP_SUBMAP)
			return -EINVAL;
		if (protection & ~(unsigned int)page->max_protection)
			return -EACCES;
	}
	for (unsigned int i = from, next; i < to; i = next) {
		unsigned int old = model->pages[i].protection, new = protection;

		next = i + 1;
		if (!mapped(&model->pages[i]))
			continue;
		next = entry_end(model, i) < to ? entry_end(model, i) : to;
		if (flags & CLEAVE_PROTECT_MAX) {
			new = old &protection;
			if (new == old && model->pages[i].max_protection == protection)
				continue;
		} else if (new == old) {
			continue;
		}
		cut(model, i);
		cut(model, next);
		for (unsigned int k = i; k < next; k++) {
			struct model_page *page = &model->pages[k];

			if (flags & CLEAVE_PROTECT_MAX)
				page->max_protection = (uint8_t)protection;
			page->protection = (uint8_t) new;
			if (new == old)
				continue;
			if (protection == (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE) && entry_flags) {
				stack |= !(page->flags & CLEAVE_MAP_STACK);
				page->flags |= entry_flags;
			}
			if (new == 0)
				page->wired = 0;
			opened[k] = old == 0;
		}
	}
	error = limited(model, &before);
	if (error)
		return error;
	model->serial += stack;
	if (!model->wire_future)
		return 0;
	for (unsigned int i = from, next; i < to; i = next) {
		next = i + 1;
		if (!opened[i])
			continue;
		next = entry_end(model, i) < to ? entry_end(model, i) : to;
		if (map_model_wire(model, address_of(model, i), address_of(model, next)))
			error = -ENOMEM;
	}
	return error;
}

/* Free space without an entry below it: where a selector's range begins or ends, and at the map's start. */
static bool bare_border(const struct map_model *model, unsigned int i)
{
	for (unsigned int k = 0; k < model->config.nselectors; k++)
		if ((model->config.selectors[k].start == address_of(model, i) ||
		     model->config.selectors[k].end == address_of(model, i)) &&
		    is_free(model, i))
			return true;
	return false;
}

int map_model_inherit(struct map_model *model, uint64_t start, uint64_t end, unsigned int inheritance)
{
	unsigned int from, to;
	int error;

	if (inheritance > 3)
		return -EINVAL;
	error = clamp(model, start, end, &from, &to);
	if (error)
		return error < 0 ? error : 0;
	for (unsigned int i = from; i < to; i++) {
		const struct model_page *page = &model->pages[i];

		if (page->entry && (page->flags & CLEAVE_MAP_IMMUTABLE))
			return -EPERM;
		if (inheritance == CLEAVE_INHERIT_ZERO &&
		    ((page->entry && !(page->protection & CLEAVE_PROT_WRITE)) || (i > from && bare_border(model, i))))
			return -EPERM;
	}
	cut(model, from);
	cut(model, to);
	for (unsigned int i = from; i < to; i++)
		if (model->pages[i].entry)
			model->pages[i].inheritance = (uint8_t)inheritance;
	return 0;
}

int map_model_advise(struct map_model *model, uint64_t start, uint64_t end, unsigned int advice)
{
	unsigned int from, to;
	int error;

	if (advice > 2)
		return -EINVAL;
	error = clamp(model, start, end, &from, &to);
	if (error)
		return error < 0 ? error : 0;
	cut(model, from);
	cut(model, to);
	for (unsigned int i = from; i < to; i++)
		if (model->pages[i].entry)
			model->pages[i].advice = (uint8_t)advice;
	return 0;
}

int map_model_immutable(struct map_model *model, uint64_t start, uint64_t end, bool immutable)
{
	unsigned int from, to;
	int error = clamp(model, start, end, &from, &to);

	if (error)
		return error < 0 ? error : 0;
	for (unsigned int i = from; i < to; i++)
		if (model->pages[i].entry && model->pages[i].inheritance == CLEAVE_INHERIT_ZERO)
			return -EPERM;
	cut(model, from);
	cut(model, to);
	for (unsigned int i = from; i < to; i++) {
		if (!model->pages[i].entry)
			continue;
		model->pages[i].flags &= ~CLEAVE_MAP_IMMUTABLE;
		if (immutable)
			model->pages[i].flags |= CLEAVE_MAP_IMMUTABLE;
	}
	return 0;
}

/* ---- Entries ---- */

int map_model_clip(struct map_model *model, uint64_t addr, bool upper)
{
	uint64_t inside = upper ? addr : addr - P;

	if (addr % P)
		return -EINVAL;
	if ((!upper && addr == 0) || inside < model->config.min || inside >= model->config.max ||
	    !model->pages[index_of(model, inside)].entry)
		return -ENOENT;
	if (addr < model->config.max)
		cut(model, index_of(model, addr));
	return 0;
}

bool map_model_joinable(const struct map_model *model, unsigned int i)
{
	const struct model_page *low, *high = &model->pages[i];

	if (i == 0)
		return false;
	low = high - 1;
	return low->entry && high->entry && !low->wired && !high->wired && !(low->flags & CLEAVE_MAP_SUBMAP) &&
	       low->object == high->object && low->store == high->store && low->flags == high->flags &&
	       low->protection == high->protection && low->max_protection == high->max_protection &&
	       low->inheritance == high->inheritance && low->advice == high->advice &&
	       (!low->object || low->offset + P == high->offset) && (!low->store || low->slot + 1 == high->slot);
}

int map_model_coalesce(struct map_model *model, uint64_t start, uint64_t end)
{
	unsigned int from, to;
	int error = clamp(model, start, end, &from, &to);

	if (error)
		return error < 0 ? error : 0;
	for (unsigned int i = from + 1; i < to; i++)
		if (begins(model, i) && map_model_joinable(model, i) && entry_start(model, i - 1) >= from &&
		    entry_end(model, i) <= to)
			model->pages[i].begins = false;
	return 0;
}

/* Give pages [from, to) the store they are waiting for. */
static uint64_t give_store(struct map_model *model, unsigned int from, unsigned int to)
{
	uint64_t store = new_store(model);

	for (unsigned int i = from; i < to; i++) {
		model->pages[i].store = store;
		model->pages[i].slot = i - from;
		model->pages[i].flags &= ~CLEAVE_MAP_NEEDS_COPY;
	}
	return store;
}

int map_model_set_store(struct map_model *model, uint64_t addr, uint64_t *store)
{
	unsigned int i;

	if (addr < model->config.min || addr >= model->config.max)
		return -ENOENT;
	i = index_of(model, addr);
	if (!model->pages[i].entry)
		return -ENOENT;
	if (!(model->pages[i].flags & CLEAVE_MAP_NEEDS_COPY))
		return -EEXIST;
	*store = give_store(model, entry_start(model, i), entry_end(model, i));
	return 0;
}

int map_model_submap(struct map_model *model, uint64_t start, uint64_t end, const void *submap)
{
	unsigned int from, to;

	if (start >= end || start % P || end % P || start < model->config.min || end > model->config.max)
		return -EINVAL;
	from = index_of(model, start);
	to = index_of(model, end);
	if (!mapped(&model->pages[from]) || entry_end(model, from) < to || model->pages[from].object ||
	    model->pages[from].store ||
	    (model->pages[from].flags & (CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY | CLEAVE_MAP_SUBMAP)))
		return -EINVAL;
	cut(model, from);
	cut(model, to);
	for (unsigned int i = from; i < to; i++) {
		model->pages[i].flags |= CLEAVE_MAP_SUBMAP;
		model->pages[i].object = submap;
		model->pages[i].offset = (i - from) * P;
	}
	return 0;
}

int map_model_stack(struct map_model *model, uint64_t addr, uint64_t size)
{
	uint64_t start = (addr & ~(P - 1)) + P, end = (addr + size) & ~(P - 1);
	struct cleave_map_request request = { .addr = start,
					      .size = end - start,
					      .flags = CLEAVE_MAP_FIXED | CLEAVE_MAP_REPLACE | CLEAVE_MAP_SIGALTSTACK,
					      .entry_flags = CLEAVE_MAP_COW | CLEAVE_MAP_STACK,
					      .protection = 3,
					      .max_protection = 3,
					      .inheritance = CLEAVE_INHERIT_COPY };

	if (addr + size < addr || start < addr || start < model->config.min || end > model->config.max || start > end)
		return -EINVAL;
	if (start == end)
		return 0;
	for (uint64_t at = start; at < end; at += P)
		if (!mapped(&model->pages[index_of(model, at)]) || model->pages[index_of(model, at)].protection != 3)
			return -EINVAL;
	return map_fixed(model, &request);
}

int map_model_clean(const struct map_model *model, uint64_t start, uint64_t end, unsigned int flags)
{
	unsigned int from, to;

	if (start > end || start % P || end % P || start < model->config.min || end > model->config.max)
		return -EINVAL;
	from = index_of(model, start);
	to = index_of(model, end);
	for (unsigned int i = from; i < to; i++) {
		const struct model_page *page = &model->pages[i];

		if (!mapped(page))
			return -EFAULT;
		if (page->flags & CLEAVE_MAP_SUBMAP)
			return -EINVAL;
		if ((flags & (CLEAVE_CLEAN_DEACTIVATE | CLEAVE_CLEAN_FREE)) && page->store &&
		    (page->flags & CLEAVE_MAP_IMMUTABLE))
			return -EPERM;
	}
	return model->bad_page >= start && model->bad_page < end ? -EIO : 0;
}

bool map_model_check(const struct map_model *model, uint64_t start, uint64_t end, unsigned int protection)
{
	if (start > end || start < model->config.min || end > model->config.max)
		return false;
	for (uint64_t at = start & ~(P - 1); start < end && at < end; at += P) {
		const struct model_page *page = &model->pages[index_of(model, at)];

		if (!mapped(page) || (protection & ~(unsigned int)page->protection))
			return false;
	}
	return true;
}

/* ---- Wiring ---- */

static int round_out(const struct map_model *model, uint64_t start, uint64_t end, unsigned int *from, unsigned int *to)
{
	start &= ~(P - 1);
	end = (end + P - 1) & ~(P - 1);
	if (start > end)
		return -EINVAL;
	if (start == end)
		return 1;
	if (start < model->config.min)
		return -EFAULT;
	if (end > model->config.max)
		return -EINVAL;
	*from = index_of(model, start);
	*to = index_of(model, end);
	for (unsigned int i = *from; i < *to; i++)
		if (!mapped(&model->pages[i]))
			return i == *from ? -EFAULT : -EINVAL;
	return 0;
}

/* Wire the entries of [from, to), which do not go beyond it. */
static int wire_entries(struct map_model *model, unsigned int from, unsigned int to)
{
	bool counted[MODEL_PAGES] = { false };
	bool failed = false;
	unsigned int next;

	for (unsigned int i = from; i < to; i = next) {
		struct model_page *page = &model->pages[i];

		next = i + 1;
		if (!mapped(page) || page->protection == 0)
			continue;
		next = entry_end(model, i);
		if ((page->flags & CLEAVE_MAP_NEEDS_COPY) && ((page->protection & CLEAVE_PROT_WRITE) || !page->object))
			(void)give_store(model, i, next);
		for (unsigned int k = i; k < next; k++) {
			counted[k] = true;
			failed |= model->pages[k].wired == 0 && model->bad_page == address_of(model, k);
		}
	}
	for (unsigned int i = from; i < to; i++)
		model->pages[i].wired += counted[i] && !failed;
	return failed ? -EIO : 0;
}

int map_model_wire(struct map_model *model, uint64_t start, uint64_t end)
{
	unsigned int from, to, last;
	int error = round_out(model, start, end, &from, &to);

	if (error)
		return error < 0 ? error : 0;
	last = to - 1;
	if (!model->pages[from].wired)
		cut(model, from);
	if (!model->pages[last].wired)
		cut(model, to);
	else
		to = entry_start(model, last);
	from = entry_start(model, from);
	return from < to ? wire_entries(model, from, to) : 0;
}

int map_model_unwire(struct map_model *model, uint64_t start, uint64_t end)
{
	unsigned int from, to;
	int error = round_out(model, start, end, &from, &to);

	if (error)
		return error < 0 ? error : 0;
	if (model->pages[from].wired)
		cut(model, from);
	if (model->pages[to - 1].wired)
		cut(model, to);
	for (unsigned int i = from; i < to; i++)
		model->pages[i].wired = 0;
	return 0;
}

int map_model_wire_all(struct map_model *model, unsigned int flags, uint64_t limit)
{
	uint64_t size = 0;
	int error;

	if (flags & ~3u)
		return -EINVAL;
	for (unsigned int i = 0; i < model->n; i++) {
		if (!flags)
			model->pages[i].wired = 0;
		size += mapped(&model->pages[i]) && model->pages[i].protection ? P : 0;
	}
	if (flags & CLEAVE_WIRE_CURRENT) {
		if (size > limit)
			return -ENOMEM;
		error = wire_entries(model, 0, model->n);
		if (error)
			return error;
	}
	model->wire_future = flags & CLEAVE_WIRE_FUTURE;
	return 0;
}

/* ---- Two maps ---- */

int map_model_fork(struct map_model *parent, struct map_model *child)
{
	uint64_t clones[64][2];
	unsigned int nclones = 0;

	for (unsigned int i = 0; i < parent->n; i++) {
		uint32_t flags = parent->pages[i].flags;

		if ((flags & CLEAVE_MAP_SUBMAP) || ((flags & CLEAVE_MAP_NEEDS_COPY) && !(flags & CLEAVE_MAP_COW)))
			return -EINVAL;
	}
	for (unsigned int i = 0; i < parent->n; i++) {
		struct model_page *page = &parent->pages[i];

		if (!page->entry || page->inheritance != CLEAVE_INHERIT_SHARE)
			continue;
		if (page->flags & CLEAVE_MAP_NEEDS_COPY)
			(void)give_store(parent, i, entry_end(parent, i));
		if (page->store)
			page->flags |= CLEAVE_MAP_SHARED;
	}
	*child = *parent;
	child->serial = 1;
	child->wire_future = false;
	for (unsigned int i = 0; i < child->n; i++) {
		struct model_page *page = &child->pages[i];
		unsigned int k;

		if (!page->entry)
			continue;
		page->wired = 0;
		switch (page->inheritance) {
		case CLEAVE_INHERIT_NONE:
			if (i + 1 < child->n && child->pages[i + 1].entry)
				child->pages[i + 1].begins = true;
			wipe(child, i);
			break;
		case CLEAVE_INHERIT_COPY:
			page->flags &= ~CLEAVE_MAP_SHARED;
			page->flags |= CLEAVE_MAP_COW;
			if (!page->store) {
				page->flags |= CLEAVE_MAP_NEEDS_COPY;
				break;
			}
			for (k = 0; k < nclones && clones[k][0] != page->store; k++)
				;
			if (k == nclones) {
				CHECK(nclones < 64, "too many stores");
				clones[nclones][0] = page->store;
				clones[nclones++][1] = new_store(child);
			}
			page->store = clones[k][1];
			break;
		case CLEAVE_INHERIT_ZERO:
			page->flags &= ~CLEAVE_MAP_SHARED;
			page->flags |= CLEAVE_MAP_COW | CLEAVE_MAP_NEEDS_COPY;
			page->object = NULL;
			page->offset = page->store = page->slot = 0;
			break;
		default:
			break;
		}
	}
	return 0;
}

int map_model_extract(struct map_model *from, uint64_t start, uint64_t len, struct map_model *to, unsigned int flags,
		      uint64_t *addr)
{
	struct cleave_map_request request = { .size = len };
	struct map_model before = *to, from_before = *from;
	unsigned int first, last, at;
	int error;

	if (start % P || len % P || start + len < start || start < from->config.min || start + len > from->config.max)
		return -EINVAL;
	if (len == 0)
		return 0;
	first = index_of(from, start);
	last = index_of(from, start + len);
	if (!all_mapped(from, first, last))
		return -EINVAL;
	error = map_model_find(to, &request, addr);
	if (error)
		return error;
	for (unsigned int i = first; i < last; i++)
		if (from->pages[i].flags & CLEAVE_MAP_SUBMAP)
			return -EINVAL;
	for (unsigned int i = first, next; i < last; i = next) {
		next = entry_end(from, i) < last ? entry_end(from, i) : last;
		if ((from->pages[i].flags & CLEAVE_MAP_NEEDS_COPY) ||
		    (from->pages[i].store && !(from->pages[i].flags & CLEAVE_MAP_SHARED))) {
			cut(from, i);
			cut(from, next);
		}
		if (from->pages[i].flags & CLEAVE_MAP_NEEDS_COPY)
			(void)give_store(from, i, next);
		for (unsigned int k = i; k < next; k++)
			if (from->pages[k].store)
				from->pages[k].flags |= CLEAVE_MAP_SHARED;
	}
	at = index_of(to, *addr);
	for (unsigned int i = first; i < last; i++, at++) {
		to->pages[at] = from->pages[i];
		to->pages[at].begins |= i == first;
		to->pages[at].wired = 0;
		if (flags & CLEAVE_EXTRACT_FIXPROT)
			to->pages[at].protection = to->pages[at].max_protection;
		to->pages[at].protection &= (uint8_t)~CLEAVE_PROT_EXEC;
	}
	error = limited(to, &before);
	if (error)
		*from = from_before;
	return error;
}
