/* SPDX-License-Identifier: ISC */
/*
 * Transactions of a map: one range transaction of the index, and what the map adds: an overlay of what is staged, so
 * that several operations compose; page counts; translations, taken down between the publication and the unlock.
 */
#include "map.h"

/* ---- Waiting ---- */

uint32_t cleave__map_wakeups(struct cleave_map *map)
{
	/* [P2-acq] who sees the bump sees why */
	return PORT_LOAD(&map->wakeups, PORT_ACQUIRE);
}

void cleave__map_wake(struct cleave_map *map)
{
	struct cleave_domain *domain = map->maps->domain;

	/* [P2-rel] the end of the wiring, or of the busy state, comes before the count that lets waiters look again */
	PORT_FETCH_ADD(&map->wakeups, 1, PORT_RELEASE);
	domain->ops->wake(domain, &map->wakeups);
}

void cleave__map_wait(struct cleave_map *map, struct cleave_map_thread *thread, uint32_t seen)
{
	struct cleave_domain *domain = map->maps->domain;

	while (cleave__map_wakeups(map) == seen)
		domain->ops->park(domain, thread->self, &map->wakeups, seen);
}

/* ---- Begin ---- */

void *cleave__map_old(struct cleave_map_txn *txn, uint64_t addr, struct cleave_entry *entry)
{
	if (addr < txn->seen.first || addr > txn->seen.last)
		(void)cleave_txn_lookup(&txn->txn, addr, &txn->seen);
	*entry = txn->seen;
	return entry->value;
}

/* Does somebody else wire a part of the range? */
static bool foreign_transition(struct cleave_map_txn *txn)
{
	uint64_t addr = txn->start;
	struct cleave_entry entry;

	for (;;) {
		const struct cleave__map_object *object = cleave__map_old(txn, addr, &entry);

		if (object && (object->attributes.flags & CLEAVE_MAP_IN_TRANSITION) && object->owner != txn->thread)
			return true;
		if (entry.last >= txn->end - 1)
			return false;
		addr = entry.last + 1;
	}
}

/*
 * Must others be waited for?  `busy` and `wirings` are read after the leaves were locked: whoever made the map busy
 * locked all of it after saying so, and a wiring is counted before its objects are published.
 */
static bool excluded(struct cleave_map_txn *txn)
{
	uint64_t busy = PORT_LOAD(&txn->map->busy, PORT_RELAXED);

	if (PORT_UNLIKELY(busy && busy != (uint64_t)(uintptr_t)txn->thread))
		return true;
	return PORT_UNLIKELY(PORT_LOAD(&txn->map->wirings, PORT_RELAXED)) && foreign_transition(txn);
}

/* Around the range: where a guard page may move to, and what may be joined with it. */
static void widen(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t *first, uint64_t *last)
{
	struct cleave_domain *domain = map->maps->domain;
	const struct cleave_map_config *config = &map->config;
	uint64_t reach = 3 * cleave__map_page(map);
	struct cleave_entry entry;

	if (config->flags & CLEAVE_MAP_GUARD_PAGES) {
		*first = *first - config->min > reach ? *first - reach : config->min;
		*last = config->max - 1 - *last > reach ? *last + reach : config->max - 1;
	}
	if (config->flags & CLEAVE_MAP_COALESCE) {
		/* A guess: what has changed until the lock is not joined. */
		domain->ops->enter(domain, thread->self);
		if (*first > config->min && cleave_lookup_rcu(&map->index, *first - 1, &entry))
			*first = entry.first;
		if (*last < config->max - 1 && cleave_lookup_rcu(&map->index, *last + 1, &entry))
			*last = entry.last;
		domain->ops->leave(domain, thread->self);
	}
}

static int try_begin(struct cleave_map_txn *txn, uint64_t first, uint64_t last)
{
	struct cleave_domain *domain = txn->map->maps->domain;
	int error;

	domain->ops->enter(domain, txn->thread->self);
	error = cleave_try_begin_rcu(&txn->txn, &txn->map->index, txn->thread->self, first, last);
	domain->ops->leave(domain, txn->thread->self);
	return error;
}

int cleave__map_begin(struct cleave_map_txn *txn, struct cleave_map *map, struct cleave_map_thread *thread,
		      uint64_t start, uint64_t end, unsigned int how)
{
	bool anyway = how & CLEAVE__BEGIN_ANYWAY;
	bool try_only = !anyway && ((how & CLEAVE__BEGIN_TRY) || (map->config.flags & CLEAVE_MAP_NO_SLEEP));

	txn->map = map;
	txn->thread = thread;
	txn->start = start;
	txn->end = end;
	txn->pieces = txn->inline_pieces;
	txn->npieces = 0;
	txn->capacity = CLEAVE_MAP_TXN_INLINE;
	txn->error = 0;
	txn->layout = txn->apart = txn->plain = txn->prepared = txn->published = txn->serial = false;
	txn->actions = txn->nwindows = txn->ndrops = 0;
	txn->drops = NULL;
	txn->grown = txn->shrunk = (struct cleave__map_bytes){ 0 };
	for (;;) {
		uint32_t seen = cleave__map_wakeups(map);
		uint64_t first = start, last = end - 1;
		int error;

		txn->seen = (struct cleave_entry){ .first = 1 };
		widen(map, thread, &first, &last);
		error = try_only ? try_begin(txn, first, last)
				 : cleave_begin(&txn->txn, &map->index, thread->self, first, last);
		if (error)
			return error;
		if (anyway || !excluded(txn))
			return 0;
		cleave_abort(&txn->txn);
		if (try_only)
			return -EAGAIN;
		cleave__map_wait(map, thread, seen);
	}
}

int cleave_map_begin(struct cleave_map_txn *txn, struct cleave_map *map, struct cleave_map_thread *thread,
		     uint64_t start, uint64_t end)
{
	if (start >= end || start < map->config.min || end > map->config.max || !cleave__map_aligned(map, start) ||
	    !cleave__map_aligned(map, end))
		return -EINVAL;
	return cleave__map_begin(txn, map, thread, start, end, 0);
}

/* ---- The overlay ---- */

/* The first piece that ends above addr. */
static uint32_t find_piece(const struct cleave_map_txn *txn, uint64_t addr)
{
	uint32_t low = 0, high = txn->npieces;

	/* Mostly at the end: operations go upward. */
	if (high && txn->pieces[high - 1].end <= addr)
		return high;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (txn->pieces[middle].end > addr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void cleave__map_view(struct cleave_map_txn *txn, uint64_t addr, struct cleave__map_view *view)
{
	const struct cleave_map_config *config = &txn->map->config;
	uint32_t i = find_piece(txn, addr);
	struct cleave_entry entry;

	if (i < txn->npieces && txn->pieces[i].start <= addr) {
		*view = (struct cleave__map_view){ txn->pieces[i].start, txn->pieces[i].end, txn->pieces[i].object,
						   true };
		return;
	}
	view->object = cleave__map_old(txn, addr, &entry);
	view->start = entry.first < config->min ? config->min : entry.first;
	view->end = entry.last > config->max - 1 ? config->max : entry.last + 1;
	view->staged = false;
	if (i < txn->npieces && view->end > txn->pieces[i].start)
		view->end = txn->pieces[i].start;
	if (i > 0 && view->start < txn->pieces[i - 1].end)
		view->start = txn->pieces[i - 1].end;
}

static int make_room(struct cleave_map_txn *txn)
{
	const struct cleave_memory *memory = txn->map->maps->domain->memory;
	struct cleave__map_piece *pieces;
	uint32_t capacity;

	if (txn->npieces + 2 <= txn->capacity)
		return 0;
	capacity = txn->capacity * 4;
	pieces = memory->alloc(memory, capacity * sizeof(*pieces), 16);
	if (!pieces)
		return -ENOMEM;
	memcpy(pieces, txn->pieces, txn->npieces * sizeof(*pieces));
	if (txn->pieces != txn->inline_pieces)
		memory->free(memory, txn->pieces, txn->capacity * sizeof(*pieces));
	txn->pieces = pieces;
	txn->capacity = capacity;
	return 0;
}

static void move_pieces(struct cleave_map_txn *txn, uint32_t from, uint32_t to)
{
	uint32_t n = txn->npieces - from;

	if (to > from)
		while (n--)
			txn->pieces[to + n] = txn->pieces[from + n];
	else if (to < from)
		for (uint32_t i = 0; i < n; i++)
			txn->pieces[to + i] = txn->pieces[from + i];
	txn->npieces = txn->npieces - from + to;
}

int cleave__map_stage(struct cleave_map_txn *txn, uint64_t start, uint64_t end, struct cleave__map_object *object)
{
	struct cleave__map_piece low = { 0 }, high = { 0 };
	uint32_t i, j, at;
	int error = make_room(txn);

	if (!error)
		error = cleave_put(&txn->txn, start, end - 1, object);
	if (error) {
		txn->error = error;
		return error;
	}
	if (object)
		cleave__map_pages_add(object, cleave__map_pages(txn, start, end));
	i = find_piece(txn, start);
	for (j = i; j < txn->npieces && txn->pieces[j].start < end; j++) {
		struct cleave__map_piece *piece = &txn->pieces[j];
		uint64_t from = piece->start > start ? piece->start : start, to = piece->end < end ? piece->end : end;

		if (piece->start < start)
			low = (struct cleave__map_piece){ piece->start, start, piece->object, 0 };
		if (piece->end > end)
			high = (struct cleave__map_piece){ end, piece->end, piece->object, 0 };
		if (piece->object)
			cleave__map_pages_drop(txn->thread, piece->object, cleave__map_pages(txn, from, to));
	}
	at = i + (low.end != 0);
	move_pieces(txn, j, at + 1 + (high.end != 0));
	if (low.end)
		txn->pieces[i] = low;
	txn->pieces[at] = (struct cleave__map_piece){ start, end, object, 0 };
	if (high.end)
		txn->pieces[at + 1] = high;
	return 0;
}

int cleave__map_stage_like(struct cleave_map_txn *txn, uint64_t start, uint64_t end,
			   const struct cleave_map_attributes *attributes, struct cleave__map_object **last)
{
	struct cleave__map_object *before = *last;
	struct cleave__map_object *object = cleave__map_object_like(txn->thread, last, attributes);
	int error;

	if (!object) {
		txn->error = -ENOMEM;
		return -ENOMEM;
	}
	error = cleave__map_stage(txn, start, end, object);
	if (error && object != before) {
		cleave__map_object_discard(txn->thread, object);
		*last = before;
	}
	return error;
}

/* ---- Commit ---- */

static void free_txn(struct cleave_map_txn *txn)
{
	const struct cleave_memory *memory = txn->map->maps->domain->memory;

	if (txn->pieces != txn->inline_pieces)
		memory->free(memory, txn->pieces, txn->capacity * sizeof(*txn->pieces));
	if (txn->drops)
		memory->free(memory, txn->drops, txn->ndrops * sizeof(*txn->drops));
	cleave__map_tidy(txn->thread, !(txn->map->config.flags & CLEAVE_MAP_NO_SLEEP));
}

static void unwire_changes(struct cleave_map_txn *txn)
{
	const struct cleave_map_ops *ops = cleave__map_ops(txn->map);
	struct cleave__map_change change = CLEAVE__FIRST_CHANGE;

	if (ops->unwire)
		while (cleave__map_next_change(txn, &change))
			if (cleave__map_actions(&change) & CLEAVE__ACT_UNWIRE)
				ops->unwire(ops, txn->map, change.start, change.end);
}

struct displaced_sink {
	struct cleave_sink sink;
	struct cleave_map_txn *txn;
	bool windows; /* are dropped */
};

/* Called without locks.  Windows go before the first page count: until then the old objects hold the stores. */
static void displace(struct cleave_sink *sink, const struct cleave_entry *displaced)
{
	struct displaced_sink *all = (struct displaced_sink *)(void *)sink;
	struct cleave_map_txn *txn = all->txn;
	const struct cleave_map_ops *ops = cleave__map_ops(txn->map);

	if (!all->windows && ops->window_drop)
		for (uint32_t i = 0; i < txn->ndrops; i++)
			ops->window_drop(ops, txn->drops[i].store, txn->drops[i].first, txn->drops[i].n);
	all->windows = true;
	cleave__map_pages_drop(txn->thread, displaced->value,
			       (displaced->last - displaced->first + 1) >> txn->map->config.page_shift);
}

static void announce_stacks(struct cleave_map_txn *txn)
{
	/* [P3-rel] the new entries come before the count that makes caches look */
	if (txn->serial)
		PORT_FETCH_ADD(&txn->map->serial, 1, PORT_RELEASE);
}

static void settle(struct cleave_map_txn *txn)
{
	cleave__map_uncharge(txn->map, &txn->shrunk);
	cleave__map_credit(txn->map, txn->thread, txn->grown.size - txn->shrunk.size,
			   txn->grown.data - txn->shrunk.data);
	free_txn(txn);
}

static void translate_pieces(struct cleave_map_txn *txn)
{
	const struct cleave_map_ops *ops = cleave__map_ops(txn->map);

	for (uint32_t i = 0; i < txn->npieces; i++) {
		const struct cleave__map_piece *piece = &txn->pieces[i];

		if ((piece->actions & CLEAVE__ACT_UNWIRE) && !(piece->actions & CLEAVE__ACT_REMOVE))
			ops->translate(ops, txn->map, piece->start, piece->end, CLEAVE_MAP_UNWIRE);
		if (piece->actions & (CLEAVE__ACT_REMOVE | CLEAVE__ACT_RESTRICT | CLEAVE__ACT_SETTLE))
			ops->translate(ops, txn->map, piece->start, piece->end,
				       piece->actions & CLEAVE__ACT_REMOVE     ? CLEAVE_MAP_REMOVE
				       : piece->actions & CLEAVE__ACT_RESTRICT ? CLEAVE_MAP_RESTRICT
									       : CLEAVE_MAP_SETTLE);
	}
}

int cleave_map_publish(struct cleave_map_txn *txn)
{
	const struct cleave_map_ops *ops = cleave__map_ops(txn->map);
	int error = cleave_map_prepare(txn);

	if (error) {
		cleave_map_abort(txn);
		return error;
	}
	if (txn->actions & CLEAVE__ACT_UNWIRE)
		unwire_changes(txn);
	/* Before the publication, which releases it: who sees the new mapping sees this. */
	if (txn->actions & CLEAVE__ACT_REPLACE)
		PORT_FETCH_ADD(&txn->map->replacing, 1, PORT_RELAXED);
	cleave_publish(&txn->txn);
	txn->published = true;
	announce_stacks(txn);
	if (ops->translate)
		translate_pieces(txn);
	/* [P5-rel] the translations are gone; pairs with [P5-acq] a fault in the new mapping */
	if (txn->actions & CLEAVE__ACT_REPLACE)
		PORT_FETCH_ADD(&txn->map->replacing, (uint32_t)-1, PORT_RELEASE);
	return 0;
}

void cleave_map_end(struct cleave_map_txn *txn)
{
	struct displaced_sink sink = { .sink = { displace }, .txn = txn };

	PORT_ASSERT(txn->published, "a transaction of a map ends after it was published");
	cleave_end(&txn->txn, &sink.sink);
	settle(txn);
}

int cleave_map_commit(struct cleave_map_txn *txn)
{
	struct displaced_sink sink = { .sink = { displace }, .txn = txn };
	int error;

	if (!txn->npieces && !txn->error) {
		cleave_abort(&txn->txn);
		announce_stacks(txn);
		free_txn(txn);
		return 0;
	}
	error = cleave_map_prepare(txn);
	if (!error && !(txn->actions & CLEAVE__ACT_UNWIRE) &&
	    (!txn->actions || !cleave__map_ops(txn->map)->translate)) {
		cleave_commit(&txn->txn, &sink.sink);
		txn->published = true;
		announce_stacks(txn);
		settle(txn);
		return 0;
	}
	error = cleave_map_publish(txn);
	if (!error)
		cleave_map_end(txn);
	return error;
}

void cleave_map_abort(struct cleave_map_txn *txn)
{
	PORT_ASSERT(!txn->published, "a published transaction of a map cannot be aborted");
	if (txn->prepared) {
		cleave__map_undo_windows(txn);
		cleave__map_uncharge(txn->map, &txn->grown);
	}
	cleave_abort(&txn->txn);
	for (uint32_t i = 0; i < txn->npieces; i++)
		if (txn->pieces[i].object)
			cleave__map_pages_drop(txn->thread, txn->pieces[i].object,
					       cleave__map_pages(txn, txn->pieces[i].start, txn->pieces[i].end));
	free_txn(txn);
}

int cleave__map_finish(struct cleave_map_txn *txn, int error)
{
	if (!error)
		return cleave_map_commit(txn);
	cleave_map_abort(txn);
	return error;
}
