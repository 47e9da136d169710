/* SPDX-License-Identifier: ISC */
/* What changes a range: unmap, protect, inherit, advise, immutable.  Each checks everything and then stages. */
#include "map.h"

int cleave__map_clamp(const struct cleave_map *map, uint64_t *start, uint64_t *end)
{
	if (*start > *end || !cleave__map_aligned(map, *start) || !cleave__map_aligned(map, *end))
		return -EINVAL;
	if (*start < map->config.min)
		*start = map->config.min;
	if (*end > map->config.max)
		*end = map->config.max;
	return *start >= *end;
}

static int check_txn(const struct cleave_map_txn *txn, uint64_t start, uint64_t end)
{
	return start > end || start < txn->start || end > txn->end || !cleave__map_aligned(txn->map, start) ||
			       !cleave__map_aligned(txn->map, end) || txn->prepared
		       ? -EINVAL
		       : txn->error;
}

/* A part of a range, under one object. */
struct part {
	uint64_t start;
	uint64_t end;
	struct cleave__map_object *object;
	bool cut; /* the entry goes on beyond the range */
};

/* The next part of [.., end) from *addr on. */
static bool next_part(struct cleave_map_txn *txn, uint64_t *addr, uint64_t end, struct part *part)
{
	struct cleave__map_view view;

	if (*addr >= end)
		return false;
	cleave__map_view(txn, *addr, &view);
	part->start = *addr;
	part->end = view.end < end ? view.end : end;
	part->object = view.object;
	part->cut = view.start < part->start || view.end > part->end;
	*addr = part->end;
	return true;
}

/* ---- Unmap ---- */

int cleave_map_txn_unmap(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int flags)
{
	uint64_t addr, run = start;
	bool found = false;
	struct part part;
	int error = check_txn(txn, start, end);

	if (!error && (flags & ~(CLEAVE_MAP_KEEP_IMMUTABLE | CLEAVE_MAP_REMOVE_HOLES)))
		error = -EINVAL;
	if (error)
		return error;
	if (flags & CLEAVE_MAP_KEEP_IMMUTABLE)
		for (addr = start; next_part(txn, &addr, end, &part);)
			if (cleave__map_is_mapped(part.object) &&
			    (part.object->attributes.flags & CLEAVE_MAP_IMMUTABLE))
				return -EPERM;
	txn->layout = true;
	for (addr = start; !error && next_part(txn, &addr, end, &part);) {
		bool stays = cleave__map_is_entry(part.object) && !cleave__map_is_mapped(part.object) &&
			     !(flags & CLEAVE_MAP_REMOVE_HOLES);

		if (!stays) {
			found |= cleave__map_is_entry(part.object);
			continue;
		}
		if (found)
			error = cleave__map_stage(txn, run, part.start, NULL);
		found = false;
		run = part.end;
	}
	if (!error && found)
		error = cleave__map_stage(txn, run, end, NULL);
	return error;
}

int cleave_map_unmap(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		     unsigned int flags)
{
	struct cleave_map_txn txn;
	int error = flags & ~(CLEAVE_MAP_KEEP_IMMUTABLE | CLEAVE_MAP_REMOVE_HOLES)
			    ? -EINVAL
			    : cleave__map_clamp(map, &start, &end);

	if (error)
		return error < 0 ? error : 0;
	error = cleave__map_begin(&txn, map, thread, start, end, 0);
	if (error)
		return error;
	return cleave__map_finish(&txn, cleave_map_txn_unmap(&txn, start, end, flags));
}

int cleave_map_txn_munmap(struct cleave_map_txn *txn, uint64_t start, uint64_t end)
{
	struct part part;
	int error = check_txn(txn, start, end);

	if (error)
		return error;
	for (uint64_t addr = start; next_part(txn, &addr, end, &part);)
		if (!cleave__map_is_mapped(part.object))
			return -EINVAL;
	return cleave_map_txn_unmap(txn, start, end, CLEAVE_MAP_KEEP_IMMUTABLE);
}

int cleave_map_munmap(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr, uint64_t len)
{
	uint64_t mask = cleave__map_page(map) - 1, skew = addr & mask;
	struct cleave_map_txn txn;
	int error;

	if (len > UINT64_MAX - skew)
		return -EINVAL;
	addr -= skew;
	len += skew;
	if (len > UINT64_MAX - mask)
		return -EINVAL;
	len = (len + mask) & ~mask;
	if (addr < map->config.min || addr > map->config.max || len > map->config.max - addr)
		return -EINVAL;
	if (len == 0)
		return 0;
	error = cleave__map_begin(&txn, map, thread, addr, addr + len, 0);
	if (error)
		return error;
	return cleave__map_finish(&txn, cleave_map_txn_munmap(&txn, addr, addr + len));
}

/* ---- Protect ---- */

static int check_arguments(unsigned int protection, uint32_t entry_flags, unsigned int flags)
{
	return protection > CLEAVE_PROT_ALL || (entry_flags & ~CLEAVE_MAP_STACK) ||
			       (flags & ~(CLEAVE_PROTECT_MAX | CLEAVE_PROTECT_IMMUTABLE))
		       ? -EINVAL
		       : 0;
}

static int check_protect(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int protection,
			 unsigned int flags)
{
	struct part part;

	for (uint64_t addr = start; next_part(txn, &addr, end, &part);) {
		const struct cleave_map_attributes *attributes;

		if (!cleave__map_is_mapped(part.object))
			continue;
		attributes = &part.object->attributes;
		if ((attributes->flags & CLEAVE_MAP_IMMUTABLE) && !(flags & CLEAVE_PROTECT_IMMUTABLE))
			return -EPERM;
		if (attributes->flags & CLEAVE_MAP_SUBMAP)
			return -EINVAL;
		if (protection & ~(unsigned int)attributes->max_protection)
			return -EACCES;
	}
	return 0;
}

/* What protect makes of the attributes.  False: they are so already. */
static bool protect_one(struct cleave_map_attributes *attributes, unsigned int protection, uint32_t entry_flags,
			unsigned int flags)
{
	uint8_t was = attributes->protection;

	if (flags & CLEAVE_PROTECT_MAX) {
		if (attributes->max_protection == protection && (was & ~protection) == 0)
			return false;
		attributes->max_protection = (uint8_t)protection;
		attributes->protection &= (uint8_t)protection;
	} else {
		if (was == protection)
			return false;
		attributes->protection = (uint8_t)protection;
	}
	if (attributes->protection == was)
		return true;
	if (protection == (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE))
		attributes->flags |= entry_flags;
	if (attributes->protection == CLEAVE_PROT_NONE)
		attributes->wired = 0;
	return true;
}

int cleave_map_txn_protect(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int protection,
			   uint32_t entry_flags, unsigned int flags)
{
	struct cleave__map_object *last = NULL;
	struct part part;
	int error = check_txn(txn, start, end);

	if (!error)
		error = check_arguments(protection, entry_flags, flags);
	if (!error)
		error = check_protect(txn, start, end, protection, flags);
	for (uint64_t addr = start; !error && next_part(txn, &addr, end, &part);) {
		struct cleave_map_attributes attributes;

		if (!cleave__map_is_mapped(part.object))
			continue;
		attributes = part.object->attributes;
		if (protect_one(&attributes, protection, entry_flags, flags))
			error = cleave__map_stage_like(txn, part.start, part.end, &attributes, &last);
	}
	return error;
}

struct range {
	uint64_t start;
	uint64_t end;
};

/* The ranges that protect opens, for a map whose future mappings are wired: n of them, or -ENOMEM. */
static int opened_ranges(struct cleave_map_txn *txn, struct range **ranges, uint32_t *n)
{
	const struct cleave_memory *memory = txn->map->maps->domain->memory;
	struct cleave_entry entry;

	*n = 0;
	if (!txn->npieces)
		return 0;
	*ranges = memory->alloc(memory, txn->npieces * sizeof(**ranges), 16);
	if (!*ranges) {
		txn->error = -ENOMEM;
		return -ENOMEM;
	}
	/* A piece of protect lies in one entry. */
	for (uint32_t i = 0; i < txn->npieces; i++) {
		const struct cleave__map_piece *piece = &txn->pieces[i];
		const struct cleave__map_object *old = cleave__map_old(txn, piece->start, &entry);

		if (!old->attributes.protection && piece->object->attributes.protection)
			(*ranges)[(*n)++] = (struct range){ piece->start, piece->end };
	}
	return 0;
}

static int protect_and_wire(struct cleave_map_txn *txn)
{
	const struct cleave_memory *memory = txn->map->maps->domain->memory;
	struct cleave_map_thread *thread = txn->thread;
	struct cleave_map *map = txn->map;
	uint32_t n, room = txn->npieces;
	struct range *ranges = NULL;
	int error = opened_ranges(txn, &ranges, &n);

	error = cleave__map_finish(txn, error);
	for (uint32_t i = 0; ranges && error != -EAGAIN && i < n; i++) {
		if (error && i == 0)
			break; /* not published */
		if (cleave_map_wire(map, thread, ranges[i].start, ranges[i].end))
			error = -ENOMEM; /* late; the rest is tried all the same */
	}
	if (ranges)
		memory->free(memory, ranges, room * sizeof(*ranges));
	return error;
}

int cleave_map_protect(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		       unsigned int protection, uint32_t entry_flags, unsigned int flags)
{
	struct cleave_map_txn txn;
	int error = check_arguments(protection, entry_flags, flags);

	if (!error)
		error = cleave__map_clamp(map, &start, &end);
	if (error)
		return error < 0 ? error : 0;
	error = cleave__map_begin(&txn, map, thread, start, end, 0);
	if (error)
		return error;
	error = cleave_map_txn_protect(&txn, start, end, protection, entry_flags, flags);
	if (!error && PORT_UNLIKELY(PORT_LOAD(&map->wire_future, PORT_RELAXED)))
		return protect_and_wire(&txn);
	return cleave__map_finish(&txn, error);
}

/* ---- Inherit, advise, immutable ---- */

enum field { INHERITANCE, ADVICE, IMMUTABLE };

static void set_field(struct cleave_map_attributes *attributes, enum field field, unsigned int value)
{
	switch (field) {
	case INHERITANCE:
		attributes->inheritance = (uint8_t)value;
		break;
	case ADVICE:
		attributes->advice = (uint8_t)value;
		break;
	case IMMUTABLE:
		attributes->flags &= ~CLEAVE_MAP_IMMUTABLE;
		if (value)
			attributes->flags |= CLEAVE_MAP_IMMUTABLE;
		break;
	}
}

/* Set it on all entries of a range, which are clipped at both ends. */
static int set_range(struct cleave_map_txn *txn, uint64_t start, uint64_t end, enum field field, unsigned int value)
{
	struct cleave__map_object *last = NULL;
	struct part part;
	int error = 0;

	for (uint64_t addr = start; !error && next_part(txn, &addr, end, &part);) {
		struct cleave_map_attributes attributes;

		if (!cleave__map_is_entry(part.object))
			continue;
		attributes = part.object->attributes;
		set_field(&attributes, field, value);
		if (!cleave__map_equal(&attributes, &part.object->attributes))
			error = cleave__map_stage_like(txn, part.start, part.end, &attributes, &last);
		else if (part.cut)
			error = cleave__map_stage(txn, part.start, part.end, part.object);
	}
	return error;
}

int cleave_map_txn_inherit(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int inheritance)
{
	bool zero = inheritance == CLEAVE_INHERIT_ZERO;
	struct part part;
	uint64_t border;
	int error = inheritance > CLEAVE_INHERIT_ZERO ? -EINVAL : check_txn(txn, start, end);

	if (error)
		return error;
	for (uint64_t addr = start; next_part(txn, &addr, end, &part);) {
		if (cleave__map_is_entry(part.object)) {
			if ((part.object->attributes.flags & CLEAVE_MAP_IMMUTABLE) ||
			    (zero && !(part.object->attributes.protection & CLEAVE_PROT_WRITE)))
				return -EPERM;
		} else if (zero && !part.object && part.end - 1 > start &&
			   cleave__map_border(txn->map, part.start > start ? part.start : start + 1, part.end - 1,
					      &border)) {
			return -EPERM; /* free space without an entry below it counts as one that is not writable */
		}
	}
	return set_range(txn, start, end, INHERITANCE, inheritance);
}

int cleave_map_inherit(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		       unsigned int inheritance)
{
	struct cleave_map_txn txn;
	int error = inheritance > CLEAVE_INHERIT_ZERO ? -EINVAL : cleave__map_clamp(map, &start, &end);

	if (error)
		return error < 0 ? error : 0;
	error = cleave__map_begin(&txn, map, thread, start, end, 0);
	if (error)
		return error;
	return cleave__map_finish(&txn, cleave_map_txn_inherit(&txn, start, end, inheritance));
}

int cleave_map_txn_advise(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int advice)
{
	int error = advice > CLEAVE_ADVICE_SEQUENTIAL ? -EINVAL : check_txn(txn, start, end);

	return error ? error : set_range(txn, start, end, ADVICE, advice);
}

int cleave_map_advise(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		      unsigned int advice)
{
	struct cleave_map_txn txn;
	int error = advice > CLEAVE_ADVICE_SEQUENTIAL ? -EINVAL : cleave__map_clamp(map, &start, &end);

	if (error)
		return error < 0 ? error : 0;
	error = cleave__map_begin(&txn, map, thread, start, end, 0);
	if (error)
		return error;
	return cleave__map_finish(&txn, cleave_map_txn_advise(&txn, start, end, advice));
}

int cleave_map_txn_immutable(struct cleave_map_txn *txn, uint64_t start, uint64_t end, bool immutable)
{
	struct part part;
	int error = check_txn(txn, start, end);

	if (error)
		return error;
	for (uint64_t addr = start; next_part(txn, &addr, end, &part);)
		if (cleave__map_is_entry(part.object) && part.object->attributes.inheritance == CLEAVE_INHERIT_ZERO)
			return -EPERM;
	return set_range(txn, start, end, IMMUTABLE, immutable);
}

int cleave_map_immutable(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			 bool immutable)
{
	struct cleave_map_txn txn;
	int error = cleave__map_clamp(map, &start, &end);

	if (error)
		return error < 0 ? error : 0;
	error = cleave__map_begin(&txn, map, thread, start, end, 0);
	if (error)
		return error;
	return cleave__map_finish(&txn, cleave_map_txn_immutable(&txn, start, end, immutable));
}
