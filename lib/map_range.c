/* SPDX-License-Identifier: ISC */
/* What changes a range: unmap, protect, inherit, advise, immutable.  Each checks everything and then stages. */
#include "map.h"

int cleave__map_clamp(const struct cleave_map *map, uint64_t *start, uint64_t *end)
{
	if (*start > *end || !cleave__map_aligned(map, *start | *end))
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
	error = cleave__map_unmap_held(map, thread, start, end, flags & CLEAVE_MAP_KEEP_IMMUTABLE);
	if (error != CLEAVE__NOT_SIMPLE)
		return error;
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
	error = cleave__map_unmap_held(map, thread, addr, addr + len, true);
	if (error != CLEAVE__NOT_SIMPLE)
		return error;
	error = cleave__map_begin(&txn, map, thread, addr, addr + len, 0);
	if (error)
		return error;
	return cleave__map_finish(&txn, cleave_map_txn_munmap(&txn, addr, addr + len));
}

/* ---- Rules: protect, inherit, advise, immutable ---- */

/* On all mapped entries of a range. */
static int check_all(struct cleave_map_txn *txn, uint64_t start, uint64_t end, const struct cleave__map_rule *rule)
{
	struct part part;
	int error = 0;

	for (uint64_t addr = start; !error && next_part(txn, &addr, end, &part);)
		if (cleave__map_is_entry(part.object) && (rule->ops->clips || cleave__map_is_mapped(part.object)))
			error = rule->ops->check(rule, &part.object->attributes);
	return error;
}

static int set_all(struct cleave_map_txn *txn, uint64_t start, uint64_t end, const struct cleave__map_rule *rule)
{
	struct cleave__map_object *last = NULL;
	struct part part;
	int error = 0;

	for (uint64_t addr = start; !error && next_part(txn, &addr, end, &part);) {
		struct cleave_map_attributes attributes;

		if (!cleave__map_is_entry(part.object) || !(rule->ops->clips || cleave__map_is_mapped(part.object)))
			continue;
		attributes = part.object->attributes;
		if (rule->ops->set(rule, &attributes))
			error = cleave__map_stage_like(txn, part.start, part.end, &attributes, &last);
		else if (rule->ops->clips && part.cut)
			error = cleave__map_stage(txn, part.start, part.end, part.object);
	}
	return error;
}

static int apply_rule(struct cleave_map_txn *txn, uint64_t start, uint64_t end, const struct cleave__map_rule *rule)
{
	int error = check_all(txn, start, end, rule);

	return error ? error : set_all(txn, start, end, rule);
}

/* ---- Protect ---- */

static int check_arguments(unsigned int protection, uint32_t entry_flags, unsigned int flags)
{
	return (protection & ~(unsigned int)CLEAVE_PROT_ALL) | (entry_flags & ~CLEAVE_MAP_STACK) |
			       (flags & ~(CLEAVE_PROTECT_MAX | CLEAVE_PROTECT_IMMUTABLE))
		       ? -EINVAL
		       : 0;
}

static int check_protect(const struct cleave__map_rule *rule, const struct cleave_map_attributes *attributes)
{
	if ((attributes->flags & CLEAVE_MAP_IMMUTABLE) && !(rule->flags & CLEAVE_PROTECT_IMMUTABLE))
		return -EPERM;
	if (attributes->flags & CLEAVE_MAP_SUBMAP)
		return -EINVAL;
	return rule->value & ~(unsigned int)attributes->max_protection ? -EACCES : 0;
}

static bool set_protection(const struct cleave__map_rule *rule, struct cleave_map_attributes *attributes)
{
	uint8_t was = attributes->protection, protection = (uint8_t)rule->value;

	if (rule->flags & CLEAVE_PROTECT_MAX) {
		if (attributes->max_protection == protection && (was & ~protection) == 0)
			return false;
		attributes->max_protection = protection;
		attributes->protection &= protection;
	} else {
		if (was == protection)
			return false;
		attributes->protection = protection;
	}
	if (attributes->protection == was)
		return true;
	if (protection == (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE))
		attributes->flags |= rule->entry_flags;
	if (attributes->protection == CLEAVE_PROT_NONE)
		attributes->wired = 0;
	return true;
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

static int protect_in_txn(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			  const struct cleave__map_rule *rule)
{
	struct cleave_map_txn txn;
	int error = cleave__map_begin(&txn, map, thread, start, end, 0);

	if (error)
		return error;
	error = apply_rule(&txn, start, end, rule);
	if (!error && PORT_UNLIKELY(PORT_LOAD(&map->wire_future, PORT_RELAXED)))
		return protect_and_wire(&txn);
	return cleave__map_finish(&txn, error);
}

static const struct cleave__map_rule_ops protect_ops = {
	.verb = CLEAVE__PROTECT, .check = check_protect, .set = set_protection, .transact = protect_in_txn
};

int cleave_map_txn_protect(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int protection,
			   uint32_t entry_flags, unsigned int flags)
{
	struct cleave__map_rule rule = {
		.ops = &protect_ops, .value = protection, .entry_flags = entry_flags, .flags = flags
	};
	int error = check_txn(txn, start, end);

	if (!error)
		error = check_arguments(protection, entry_flags, flags);
	return error ? error : apply_rule(txn, start, end, &rule);
}

int cleave_map_protect(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		       unsigned int protection, uint32_t entry_flags, unsigned int flags)
{
	int error = check_arguments(protection, entry_flags, flags);

	if (!error)
		error = cleave__map_clamp(map, &start, &end);
	if (PORT_UNLIKELY(error))
		return error < 0 ? error : 0;
	return cleave__map_change_held(map, thread, start, end, &protect_ops,
				       cleave__map_rule_word(CLEAVE__PROTECT, protection, entry_flags, flags));
}

/* ---- Inherit, advise, immutable: entries are clipped at both ends of the range ---- */

static bool set_field(uint8_t *field, unsigned int value)
{
	bool differs = *field != value;

	*field = (uint8_t)value;
	return differs;
}

static int check_inherit(const struct cleave__map_rule *rule, const struct cleave_map_attributes *attributes)
{
	bool zero = rule->value == CLEAVE_INHERIT_ZERO;

	return (attributes->flags & CLEAVE_MAP_IMMUTABLE) || (zero && !(attributes->protection & CLEAVE_PROT_WRITE))
		       ? -EPERM
		       : 0;
}

static bool set_inheritance(const struct cleave__map_rule *rule, struct cleave_map_attributes *attributes)
{
	return set_field(&attributes->inheritance, rule->value);
}

static int check_advise(const struct cleave__map_rule *rule, const struct cleave_map_attributes *attributes)
{
	(void)rule;
	(void)attributes;
	return 0;
}

static bool set_advice(const struct cleave__map_rule *rule, struct cleave_map_attributes *attributes)
{
	return set_field(&attributes->advice, rule->value);
}

static int check_immutable(const struct cleave__map_rule *rule, const struct cleave_map_attributes *attributes)
{
	(void)rule;
	return attributes->inheritance == CLEAVE_INHERIT_ZERO ? -EPERM : 0;
}

static bool set_immutable(const struct cleave__map_rule *rule, struct cleave_map_attributes *attributes)
{
	uint32_t was = attributes->flags;

	attributes->flags = rule->value ? was | CLEAVE_MAP_IMMUTABLE : was & ~CLEAVE_MAP_IMMUTABLE;
	return attributes->flags != was;
}

/* Free space without an entry below it counts as one that is not writable. */
static int check_free(struct cleave_map_txn *txn, uint64_t start, uint64_t end)
{
	struct part part;
	uint64_t border;

	for (uint64_t addr = start; next_part(txn, &addr, end, &part);)
		if (!part.object &&
		    cleave__map_border(txn->map, part.start > start ? part.start : start + 1, part.end - 1, &border))
			return -EPERM;
	return 0;
}

static int set_in_txn(struct cleave_map_txn *txn, uint64_t start, uint64_t end, const struct cleave__map_rule *rule)
{
	int error = check_txn(txn, start, end);

	if (!error && rule->ops->set == set_inheritance && rule->value == CLEAVE_INHERIT_ZERO)
		error = check_free(txn, start, end);
	return error ? error : apply_rule(txn, start, end, rule);
}

static int set_in_own_txn(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			  const struct cleave__map_rule *rule)
{
	struct cleave_map_txn txn;
	int error = cleave__map_begin(&txn, map, thread, start, end, 0);

	return error ? error : cleave__map_finish(&txn, set_in_txn(&txn, start, end, rule));
}

static int set_in_map(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		      const struct cleave__map_rule *rule)
{
	int error = cleave__map_clamp(map, &start, &end);

	if (error)
		return error < 0 ? error : 0;
	return cleave__map_change_held(map, thread, start, end, rule->ops, cleave__map_rule_key(rule));
}

static const struct cleave__map_rule_ops inherit_ops = {
	.verb = CLEAVE__INHERIT,
	.check = check_inherit,
	.set = set_inheritance,
	.transact = set_in_own_txn,
	.clips = true,
};
static const struct cleave__map_rule_ops advise_ops = {
	.verb = CLEAVE__ADVISE, .check = check_advise, .set = set_advice, .transact = set_in_own_txn, .clips = true
};
static const struct cleave__map_rule_ops immutable_ops = {
	.verb = CLEAVE__IMMUTABLE,
	.check = check_immutable,
	.set = set_immutable,
	.transact = set_in_own_txn,
	.clips = true,
};

static struct cleave__map_rule rule_of(const struct cleave__map_rule_ops *ops, unsigned int value)
{
	return (struct cleave__map_rule){ .ops = ops, .value = value };
}

int cleave_map_txn_inherit(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int inheritance)
{
	struct cleave__map_rule rule = rule_of(&inherit_ops, inheritance);

	return inheritance > CLEAVE_INHERIT_ZERO ? -EINVAL : set_in_txn(txn, start, end, &rule);
}

int cleave_map_inherit(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		       unsigned int inheritance)
{
	struct cleave__map_rule rule = rule_of(&inherit_ops, inheritance);

	return inheritance > CLEAVE_INHERIT_ZERO ? -EINVAL : set_in_map(map, thread, start, end, &rule);
}

int cleave_map_txn_advise(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int advice)
{
	struct cleave__map_rule rule = rule_of(&advise_ops, advice);

	return advice > CLEAVE_ADVICE_SEQUENTIAL ? -EINVAL : set_in_txn(txn, start, end, &rule);
}

int cleave_map_advise(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
		      unsigned int advice)
{
	struct cleave__map_rule rule = rule_of(&advise_ops, advice);

	return advice > CLEAVE_ADVICE_SEQUENTIAL ? -EINVAL : set_in_map(map, thread, start, end, &rule);
}

int cleave_map_txn_immutable(struct cleave_map_txn *txn, uint64_t start, uint64_t end, bool immutable)
{
	struct cleave__map_rule rule = rule_of(&immutable_ops, immutable);

	return set_in_txn(txn, start, end, &rule);
}

int cleave_map_immutable(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			 bool immutable)
{
	struct cleave__map_rule rule = rule_of(&immutable_ops, immutable);

	return set_in_map(map, thread, start, end, &rule);
}
