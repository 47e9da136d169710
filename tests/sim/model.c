/* SPDX-License-Identifier: ISC */
/*
 * Linearizability by search, with a memory of the failed states (Wing and Gong 1993, Lowe 2017), over a model that is
 * written without regard to how the index works.
 */
#include "model.h"

#include <errno.h>
#include <string.h>

const char *const kind_names[KINDS] = { "lookup",    "ticket",	    "many",	  "covers",	    "covers_slowly",
					"next",	     "previous",    "next_entry", "previous_entry", "range",
					"freeze",    "duplicate",   "find",	  "clip",	    "unclip",
					"insert",    "store",	    "erase",	  "replace",	    "alloc",
					"hold",	     "build",	    "commit",	  "abort",	    "publish",
					"try_clip",  "try_store",   "try_replace", "try_commit" };

#define TABLE 4096u

static uint64_t failed[TABLE];
static uint64_t salt;

unsigned int many_unit(const struct call *call, unsigned int i)
{
	return call->first + (unsigned int)(call->last - call->first) * i / (call->n - 1u);
}

void model_init(struct model *model)
{
	memset(model, 0, sizeof(*model));
	model->starts = 1;
}

static uint64_t bit(unsigned int unit)
{
	return UINT64_C(1) << unit;
}

static uint64_t range_bits(unsigned int first, unsigned int last)
{
	return (last == 63 ? ~UINT64_C(0) : bit(last + 1) - 1) & ~(bit(first) - 1);
}

static uint64_t free_bits(const struct model *model)
{
	uint64_t free = 0;

	for (unsigned int u = 0; u < UNITS; u++)
		free |= (uint64_t)!model->value[u] << u;
	return free;
}

static void narrow_searches(struct model *model, unsigned int except)
{
	uint64_t free;

	if (!model->searching)
		return;
	free = free_bits(model);
	for (unsigned int s = 0; s < 4; s++)
		if (s != except)
			model->free[s] &= free;
}

static void put(struct model *model, unsigned int first, unsigned int last, unsigned int value, unsigned int search)
{
	memset(&model->value[first], (int)value, last - first + 1);
	model->starts = (model->starts & ~range_bits(first, last)) | bit(first);
	if (last < UNITS - 1)
		model->starts |= bit(last + 1);
	if (!value && first > 0 && !model->value[first - 1])
		model->starts &= ~bit(first);
	if (!value && last < UNITS - 1 && !model->value[last + 1])
		model->starts &= ~bit(last + 1);
	narrow_searches(model, search);
}

void model_put(struct model *model, unsigned int first, unsigned int last, unsigned int value)
{
	put(model, first, last, value, UNITS);
}

static unsigned int unit_of(uint64_t addr)
{
	return addr >= UNITS - 1 ? UNITS - 1 : (unsigned int)addr;
}

void model_entry(const struct model *model, unsigned int unit, struct cleave_entry *entry)
{
	uint64_t below = model->starts & range_bits(0, unit);
	uint64_t above = unit == UNITS - 1 ? 0 : model->starts & ~range_bits(0, unit);

	entry->first = 63u - (unsigned int)__builtin_clzll(below);
	entry->last = above ? (unsigned int)__builtin_ctzll(above) - 1u : UINT64_MAX;
	entry->value = VALUE(model->value[unit]);
}

static bool same(const struct cleave_entry *a, const struct cleave_entry *b)
{
	return a->first == b->first && a->last == b->last && a->value == b->value;
}

static bool entry_is(const struct model *model, uint64_t addr, const struct cleave_entry *entry)
{
	struct cleave_entry real;

	model_entry(model, unit_of(addr), &real);
	return same(&real, entry);
}

/* The pieces of entries inside a range. */
static unsigned int pieces(const struct model *model, unsigned int first, unsigned int last, struct cleave_entry *list)
{
	unsigned int n = 0;
	uint64_t at = first;

	for (;;) {
		struct cleave_entry entry;

		model_entry(model, unit_of(at), &entry);
		if (entry.first < first)
			entry.first = first;
		if (entry.last > address(last))
			entry.last = address(last);
		if (entry.value)
			list[n++] = entry;
		if (entry.last >= address(last))
			return n;
		at = entry.last + 1;
	}
}

static bool displaced_are(const struct model *model, const struct call *call, const struct answer *answer)
{
	struct cleave_entry list[2 * UNITS];
	unsigned int n = pieces(model, call->first, call->last, list);

	if (call->last2)
		n += pieces(model, call->first2, call->last2, list + n);
	if (n != answer->ndisplaced)
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (!same(&list[i], &answer->displaced[i]))
			return false;
	return true;
}

bool model_covers(const struct call *call, const struct cleave_entry *entry)
{
	return call->value ? entry->value != VALUE(call->value) : entry->value != NULL;
}

static bool apply_covers(const struct model *model, const struct call *call, const struct answer *answer)
{
	uint64_t at = call->first;

	if (answer->error == -EAGAIN)
		return true;
	for (unsigned int i = 0; i < answer->n; i++) {
		const struct cleave_entry *entry = &answer->entries[i];

		if (!entry_is(model, at, entry))
			return false;
		if (answer->error == 0 && i + 1 == answer->n)
			return !model_covers(call, entry);
		if (!model_covers(call, entry))
			return false;
		if (entry->last >= address(call->last))
			return answer->error == 1 && i + 1 == answer->n;
		at = entry->last + 1;
	}
	return false;
}

/* ---- Free space ---- */

static bool fits(uint64_t free, unsigned int first, unsigned int size)
{
	return first + size <= UNITS - 1 && !(range_bits(first, first + size - 1) & ~free);
}

static unsigned int distance(const struct call *call, unsigned int addr)
{
	switch (call->order) {
	case CLEAVE_LOWEST:
	case CLEAVE_NEXT:
	case CLEAVE_RANDOM:
	case CLEAVE_BEST: /* sizes are not compared: a gap that was smaller may have grown */
		return addr;
	case CLEAVE_HIGHEST:
		return UNITS - addr;
	case CLEAVE_NEAREST:
		return addr > call->hint ? 2u * (addr - call->hint) + 1 : 2u * (call->hint - addr);
	}
	return 0;
}

/* Was there a fitting place for the whole call that ranks better than the answer? */
static bool better(const struct model *model, const struct item *item)
{
	const struct call *call = item->call;
	uint64_t free = model->free[item->search];
	unsigned int from = call->first;

	if (call->order == CLEAVE_NEXT && call->hint > from)
		from = call->hint;
	for (unsigned int addr = from; addr + call->n - 1 <= call->last; addr++) {
		if (!fits(free, addr, call->n))
			continue;
		if (item->answer->error)
			return true;
		if (call->order < CLEAVE_RANDOM && distance(call, addr) < distance(call, unit_of(item->answer->addr)))
			return true;
	}
	return false;
}

static bool apply_search(struct model *model, const struct item *item)
{
	const struct answer *answer = item->answer;

	switch (item->part) {
	case 0:
		model->free[item->search] = free_bits(model);
		model->searching |= 1u << item->search;
		return true;
	case 1:
		if (answer->error)
			return true;
		if (answer->addr < item->call->first || answer->addr + item->call->n - 1 > item->call->last ||
		    !fits(free_bits(model), unit_of(answer->addr), item->call->n))
			return false;
		if (item->call->kind == ALLOC)
			put(model, unit_of(answer->addr), unit_of(answer->addr) + item->call->n - 1, item->call->value,
			    item->search);
		return true;
	default:
		if (better(model, item))
			return false;
		model->searching &= ~(1u << item->search);
		model->free[item->search] = 0;
		return true;
	}
}

/* ---- All calls ---- */

static bool is_everything(const struct model *model, const struct answer *answer)
{
	uint64_t at = 0;

	for (unsigned int i = 0; i < answer->n; at = answer->entries[i++].last + 1)
		if (!entry_is(model, at, &answer->entries[i]))
			return false;
	return answer->n > 0 && at == 0;
}

static bool apply(struct model *model, const struct item *item)
{
	const struct call *call = item->call;
	const struct answer *answer = item->answer;
	struct cleave_entry entry, before;

	if (!call)
		return is_everything(model, answer);
	if (answer->error == -ENOMEM)
		return true;
	model_entry(model, call->first, &entry);
	switch (call->kind) {
	case LOOKUP:
	case TICKET:
		return entry_is(model, call->first, &answer->entries[0]);
	case MANY:
		return entry_is(model, address(many_unit(call, item->part)), &answer->entries[item->part]);
	case COVERS:
	case COVERS_SLOWLY:
		return apply_covers(model, call, answer);
	case NEXT:
	case PREVIOUS: /* displaced[] has the parts that were visited */
	case NEXT_ENTRY:
	case PREVIOUS_ENTRY:
	case LOOK_RANGE:
		return entry_is(model,
				call->kind == PREVIOUS || call->kind == PREVIOUS_ENTRY
					? answer->displaced[item->part].last
					: answer->displaced[item->part].first,
				&answer->entries[item->part]);
	case FREEZE:
	case DUPLICATE:
		return is_everything(model, answer);
	case CLIP:
	case TRY_CLIP:
		if (answer->error)
			return answer->error == -EAGAIN || !entry.value;
		if (entry.value)
			model->starts |= bit(call->first);
		return entry.value != NULL;
	case UNCLIP:
		if (call->first == 0 || !entry.value || entry.first != call->first)
			return answer->error == -ENOENT;
		model_entry(model, call->first - 1u, &before);
		if (before.value != entry.value)
			return answer->error == -ENOENT;
		model->starts &= ~bit(call->first);
		return answer->error == 0;
	case INSERT:
		if (!entry.value && entry.last >= address(call->last)) {
			put(model, call->first, call->last, call->value, UNITS);
			return answer->error == 0;
		}
		if (!entry.value)
			model_entry(model, unit_of(entry.last + 1), &entry);
		return answer->error == -EEXIST && same(&entry, &answer->entries[0]);
	case STORE:
	case ERASE:
	case TRY_STORE:
		if (answer->error)
			return call->kind == TRY_STORE && answer->error == -EAGAIN;
		if (call->kind != TRY_STORE && !displaced_are(model, call, answer))
			return false;
		put(model, call->first, call->last, call->kind == ERASE ? 0 : call->value, UNITS);
		return true;
	case REPLACE:
	case TRY_REPLACE:
		if (answer->error == -EAGAIN)
			return call->kind == TRY_REPLACE;
		if (entry.first == call->first && entry.last == call->last && entry.value == VALUE(call->value)) {
			put(model, call->first, call->last, call->value2, UNITS);
			return answer->error == 0;
		}
		return answer->error == -ENOENT && same(&entry, &answer->entries[0]);
	case HOLD:
		if (!same(&entry, &answer->entries[0]))
			return false;
		if (answer->error)
			return answer->error == -EAGAIN && !call->value;
		put(model, call->first, unit_of(entry.last) < call->last ? unit_of(entry.last) : call->last,
		    call->value, UNITS);
		return true;
	case FIND:
	case ALLOC:
		return apply_search(model, item);
	case BUILD:
		if (entry.value || entry.first != 0 || entry.last != UINT64_MAX)
			return answer->error == -EEXIST;
		put(model, call->first, call->first, call->value, UNITS);
		put(model, call->last, call->last, call->value, UNITS);
		return answer->error == 0;
	case TRY_COMMIT:
		if (answer->error == -EAGAIN)
			return true;
		/* fall through */
	case COMMIT:
	case PUBLISH:
	case ABORT:
		for (unsigned int i = 0; i < answer->n; i++)
			if (!entry_is(model, answer->entries[i].first, &answer->entries[i]))
				return false;
		if (call->kind == ABORT)
			return true;
		if (!displaced_are(model, call, answer))
			return false;
		put(model, call->first, call->last, call->value, UNITS);
		if (call->last2)
			put(model, call->first2, call->last2, call->value2, UNITS);
		return true;
	case KINDS:
		break;
	}
	return false;
}

static uint64_t hash_of(const struct model *model, uint32_t done)
{
	const unsigned char *bytes = (const unsigned char *)model;
	/* spread before the first word comes: that one holds values of low units, and must not undo what is done */
	uint64_t hash = (salt ^ done) * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i + 8 <= sizeof(*model); i += 8) {
		uint64_t x;

		memcpy(&x, bytes + i, 8);
		hash = (hash ^ x) * UINT64_C(0xff51afd7ed558ccd);
		hash ^= hash >> 32;
	}
	return hash | 1;
}

static bool search(const struct model *model, const struct item *items, unsigned int n, uint32_t done)
{
	uint64_t hash;
	unsigned int place;

	if (done == (uint32_t)((UINT64_C(1) << n) - 1))
		return true;
	hash = hash_of(model, done);
	place = (unsigned int)(hash >> 40) & (TABLE - 1);
	if (failed[place] == hash)
		return false;
	for (unsigned int i = 0; i < n; i++) {
		struct model next;

		if (done >> i & 1 || (items[i].before & ~done))
			continue;
		next = *model;
		if (apply(&next, &items[i]) && search(&next, items, n, done | 1u << i))
			return true;
	}
	failed[place] = hash;
	return false;
}

bool linearizable(const struct model *start, const struct item *items, unsigned int n)
{
	/* so that entries of earlier searches in the table mean nothing */
	salt = (salt + 1) * UINT64_C(0x9e3779b97f4a7c15);
	return search(start, items, n, 0);
}
