/* SPDX-License-Identifier: ISC */
/* The entries of a map in the model: attributes, what is done to entries, wiring; fork and extract. */
#include "map_model_parts.h"

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
	error = map_model_clamp(model, start, end, &from, &to);
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
	error = map_model_limited(model, &before);
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
	error = map_model_clamp(model, start, end, &from, &to);
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
	error = map_model_clamp(model, start, end, &from, &to);
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
	int error = map_model_clamp(model, start, end, &from, &to);

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
	int error = map_model_clamp(model, start, end, &from, &to);

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
	uint64_t store = map_model_new_store(model);

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
	return map_model_map_fixed(model, &request);
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
				clones[nclones++][1] = map_model_new_store(child);
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
	if (!map_model_all_mapped(from, first, last))
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
	error = map_model_limited(to, &before);
	if (error)
		*from = from_before;
	return error;
}
