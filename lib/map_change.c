/* SPDX-License-Identifier: ISC */
/* What a commit changes, range by range: accounts, windows, translations, wirings; and the last step that may fail. */
#include "map.h"

/* ---- What a commit changes ---- */

/* Only before the publication: the index has the old objects. */
bool cleave__map_next_change(struct cleave_map_txn *txn, struct cleave__map_change *change)
{
	const struct cleave__map_piece *piece;
	struct cleave_entry entry;

	if (change->piece == UINT32_MAX || change->end == txn->pieces[change->piece].end) {
		if (++change->piece == txn->npieces)
			return false;
		change->start = txn->pieces[change->piece].start;
	} else {
		change->start = change->end;
	}
	piece = &txn->pieces[change->piece];
	change->old = cleave__map_old(txn, change->start, &entry);
	change->new = piece->object;
	change->end = entry.last < piece->end - 1 ? entry.last + 1 : piece->end;
	return true;
}

static uint64_t size_of(const struct cleave__map_change *change, const struct cleave__map_object *object)
{
	return cleave__map_is_mapped(object) ? change->end - change->start : 0;
}

static bool has_window(const struct cleave__map_object *object)
{
	return cleave__map_is_entry(object) && object->attributes.store;
}

static bool same_window(const struct cleave__map_object *one, const struct cleave__map_object *other)
{
	return has_window(one) && has_window(other) && one->attributes.store == other->attributes.store &&
	       one->attributes.store_delta == other->attributes.store_delta;
}

static bool loses_window(const struct cleave__map_change *change)
{
	return has_window(change->old) && !same_window(change->old, change->new);
}

static bool gains_window(const struct cleave__map_change *change)
{
	return has_window(change->new) && !same_window(change->old, change->new);
}

static void window_of(const struct cleave_map_txn *txn, const struct cleave__map_change *change,
		      const struct cleave__map_object *object, struct cleave__map_drop *window)
{
	window->store = object->attributes.store;
	window->first = (change->start + object->attributes.store_delta) >> txn->map->config.page_shift;
	window->n = cleave__map_pages(txn, change->start, change->end);
}

/* What becomes of translations and wirings. */
uint32_t cleave__map_actions(const struct cleave__map_change *change)
{
	const struct cleave_map_attributes *old, *new;
	uint32_t actions = 0;

	if (change->old == change->new || !cleave__map_is_mapped(change->old))
		return 0;
	old = &change->old->attributes;
	if (!cleave__map_is_mapped(change->new))
		return CLEAVE__ACT_REMOVE | (old->wired ? CLEAVE__ACT_UNWIRE : 0);
	new = &change->new->attributes;
	if (old->wired && !new->wired)
		actions |= CLEAVE__ACT_UNWIRE;
	/*
	 * A first store, under what had none, leaves the pages of the object in sight.  But who changes a slot of it
	 * waits for faults on that slot, and those that are under way now do not name it.
	 */
	if (!old->store && new->store)
		actions |= CLEAVE__ACT_SETTLE;
	if (old->object != new->object || old->delta != new->delta || ((old->flags ^ new->flags) & CLEAVE_MAP_SUBMAP) ||
	    (old->store && (old->store != new->store || old->store_delta != new->store_delta)))
		actions |= CLEAVE__ACT_REMOVE | CLEAVE__ACT_REPLACE;
	if ((old->protection & ~new->protection) || (~old->flags & new->flags &CLEAVE_MAP_COW))
		actions |= CLEAVE__ACT_RESTRICT;
	return actions;
}

/* Stack entries that come by changing others, or go, are told to who caches them. */
static bool changes_stacks(const struct cleave__map_change *change)
{
	bool was = cleave__map_is_entry(change->old) && (change->old->attributes.flags & CLEAVE_MAP_STACK);
	bool is = cleave__map_is_entry(change->new) && (change->new->attributes.flags &CLEAVE_MAP_STACK);

	return was != is && (was || cleave__map_is_mapped(change->old));
}

void cleave__map_undo_windows(struct cleave_map_txn *txn)
{
	const struct cleave_map_ops *ops = cleave__map_ops(txn->map);
	struct cleave__map_change change = CLEAVE__FIRST_CHANGE;
	struct cleave__map_drop window;

	while (txn->nwindows) {
		bool more = cleave__map_next_change(txn, &change);

		PORT_ASSERT(more, "each window that was made or promised belongs to a change");
		if (loses_window(&change)) {
			window_of(txn, &change, change.old, &window);
			if (ops->window_cancel)
				ops->window_cancel(ops, window.store, window.first, window.n);
			txn->nwindows--;
		}
		if (txn->nwindows && gains_window(&change)) {
			window_of(txn, &change, change.new, &window);
			if (ops->window_undo)
				ops->window_undo(ops, window.store, window.first, window.n);
			txn->nwindows--;
		}
	}
}

static int reserve_windows(struct cleave_map_txn *txn, uint32_t ndrops)
{
	const struct cleave_map_ops *ops = cleave__map_ops(txn->map);
	const struct cleave_memory *memory = txn->map->maps->domain->memory;
	struct cleave__map_change change = CLEAVE__FIRST_CHANGE;
	struct cleave__map_drop window;
	uint32_t n = 0;
	int error = 0;

	if (ndrops) {
		txn->drops = memory->alloc(memory, ndrops * sizeof(*txn->drops), 16);
		if (!txn->drops)
			return -ENOMEM;
		txn->ndrops = ndrops;
	}
	while (!error && cleave__map_next_change(txn, &change)) {
		if (loses_window(&change)) {
			window_of(txn, &change, change.old, &txn->drops[n]);
			window = txn->drops[n++];
			if (ops->window_reserve)
				error = ops->window_reserve(ops, window.store, window.first, window.n);
			txn->nwindows += !error;
		}
		if (!error && gains_window(&change)) {
			window_of(txn, &change, change.new, &window);
			if (ops->window_add)
				error = ops->window_add(ops, window.store, window.first, window.n);
			txn->nwindows += !error;
		}
	}
	if (error)
		cleave__map_undo_windows(txn);
	return error;
}

/* ---- Prepare ---- */

int cleave_map_prepare(struct cleave_map_txn *txn)
{
	const struct cleave_map_config *config = &txn->map->config;
	struct cleave__map_change change = CLEAVE__FIRST_CHANGE;
	uint64_t size = 0, size_lost = 0, data = 0, data_lost = 0;
	uint32_t ndrops = 0;
	bool windows = false;
	int error;

	if (txn->prepared || txn->error)
		return txn->error;
	if (txn->npieces && !txn->plain) {
		if (txn->layout && (config->flags & CLEAVE_MAP_GUARD_PAGES))
			(void)cleave__map_place_guards(txn);
		if (!txn->error && !txn->apart && (config->flags & CLEAVE_MAP_COALESCE))
			(void)cleave__map_join_pieces(txn);
		if (txn->error)
			return txn->error;
	}
	while (cleave__map_next_change(txn, &change)) {
		uint32_t actions = cleave__map_actions(&change);

		if (txn->plain)
			actions &= ~CLEAVE__ACT_UNWIRE; /* a wiring that failed knows what it has wired */
		size += size_of(&change, change.new);
		size_lost += size_of(&change, change.old);
		data += cleave__map_data(txn->map, change.new, change.start, change.end);
		data_lost += cleave__map_data(txn->map, change.old, change.start, change.end);
		txn->pieces[change.piece].actions |= actions;
		txn->actions |= actions;
		txn->serial |= changes_stacks(&change);
		ndrops += loses_window(&change);
		windows |= gains_window(&change);
	}
	txn->grown = (struct cleave__map_bytes){ size > size_lost ? size - size_lost : 0,
						 data > data_lost ? data - data_lost : 0 };
	txn->shrunk = (struct cleave__map_bytes){ size_lost > size ? size_lost - size : 0,
						  data_lost > data ? data_lost - data : 0 };
	error = cleave__map_charge(txn->map, &txn->grown);
	if (!error && (ndrops || windows)) {
		error = reserve_windows(txn, ndrops);
		if (error)
			cleave__map_uncharge(txn->map, &txn->grown);
	}
	txn->error = error;
	txn->prepared = !error;
	return error;
}

/* ---- Accounts ---- */

static int charge_one(struct cleave_word *account, struct cleave_word *limit, uint64_t growth)
{
	uint64_t held, now = PORT_LOAD(account, PORT_RELAXED);

	if (growth == 0)
		return 0;
	do {
		held = PORT_LOAD(limit, PORT_RELAXED);
		if (now > held || growth > held - now)
			return -ENOMEM;
	} while (!PORT_CAS(account, &now, now + growth, PORT_RELAXED, PORT_RELAXED));
	return 0;
}

static void discharge_one(struct cleave_word *account, uint64_t bytes)
{
	if (bytes)
		PORT_FETCH_ADD(account, (uint64_t)0 - bytes, PORT_RELAXED);
}

int cleave__map_charge_limits(struct cleave_map *map, const struct cleave__map_bytes *bytes)
{
	int error = charge_one(&map->size, &map->size_limit, bytes->size);

	if (error)
		return error;
	error = charge_one(&map->data, &map->data_limit, bytes->data);
	if (error)
		discharge_one(&map->size, bytes->size);
	return error;
}

void cleave__map_uncharge_limits(struct cleave_map *map, const struct cleave__map_bytes *bytes)
{
	discharge_one(&map->size, bytes->size);
	discharge_one(&map->data, bytes->data);
}
