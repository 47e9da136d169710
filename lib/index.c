/* SPDX-License-Identifier: ISC */
/* The public face: life of an index, lookups, coverage. */
#include "build.h"

int cleave_version(void)
{
	return CLEAVE_VERSION;
}

int cleave_init(struct cleave *index, struct cleave_thread *self) PORT_UNCHECKED
{
	struct cleave__node *node;
	int error = cleave__pool_fill(self, 1, 0, true);

	if (error)
		return error;
	memset(index, 0, sizeof(*index));
	index->domain = self->domain;
	index->search = self->domain->search;
	index->number = PORT_FETCH_ADD(&self->domain->indexes, 1, PORT_RELAXED) + 1;
	node = cleave__pool_take(self, CLEAVE__LEAF);
	cleave__leaf_init_private(cleave__leaf(node), 0, UINT64_MAX);
	cleave__leaf_append_private(cleave__leaf(node), 0, NULL);
	cleave__root_publish_locked(index, node);
	return 0;
}

void cleave_destroy(struct cleave *index, struct cleave_thread *self)
{
	cleave__free_tree(self, cleave__root_node(PORT_LOAD(&index->root, PORT_RELAXED)));
	PORT_STORE(&index->root, 0, PORT_RELAXED);
}

void *cleave_lookup_rcu(const struct cleave *index, uint64_t addr, struct cleave_entry *entry)
{
	cleave__check_reader(index);
	return index->search->lookup_rcu(index, addr, entry);
}

void *cleave_value_rcu(const struct cleave *index, uint64_t addr)
{
	cleave__check_reader(index);
	return index->search->value_rcu(index, addr);
}

void *cleave_lookup_ticket_rcu(const struct cleave *index, uint64_t addr, struct cleave_entry *entry,
			       struct cleave_ticket *ticket)
{
	cleave__check_reader(index);
	return index->search->lookup_ticket_rcu(index, addr, entry, ticket);
}

void *cleave_lookup_ref(const struct cleave *index, struct cleave_thread *self, uint64_t addr,
			bool (*tryref)(void *value), struct cleave_entry *entry)
{
	void *value, *before = NULL;
	struct cleave_entry found;

	cleave__enter(index, self);
	while ((value = index->search->lookup_rcu(index, addr, &found)) && !tryref(value)) {
		if (value == before) {
			value = NULL;
			break;
		}
		before = value;
	}
	cleave__leave(index, self);
	if (entry)
		*entry = found;
	return value;
}

void cleave_lookup_many_rcu(const struct cleave *index, const uint64_t *addrs, size_t n, struct cleave_entry *entries)
{
	cleave__check_reader(index);
	index->search->lookup_many_rcu(index, addrs, n, entries);
}

size_t cleave_lookup_range_rcu(const struct cleave *index, uint64_t first, uint64_t last, bool gaps,
			       struct cleave_entry *entries, size_t n)
{
	cleave__check_reader(index);
	return index->search->lookup_range_rcu(index, first, last, gaps, entries, n);
}

bool cleave_ticket_valid_rcu(const struct cleave_ticket *ticket)
{
	/* [M5-sc] against the stores that take a value away */
	return PORT_LOAD(&ticket->leaf->order, PORT_SEQ_CST) == ticket->order;
}

/* ---- Coverage ---- */

#define COVER_TICKETS 16u
#define COVER_TRIES PORT_COVER_TRIES

struct cover {
	uint64_t first;
	uint64_t last;
	cleave_predicate *predicate;
	void *context;
	struct cleave_ticket *tickets;
	size_t capacity;
	size_t n;
	struct cleave_entry bad;
};

/* Ask about each entry, and keep a ticket for each leaf.  1, 0 or -EAGAIN: more leaves than tickets. */
static int collect(const struct cleave *index, struct cover *cover)
{
	uint64_t at = cover->first;

	cover->n = 0;
	for (;;) {
		struct cleave__position position;
		const struct cleave__leaf *leaf;

		if (cover->n == cover->capacity)
			return -EAGAIN;
		index->search->seek_rcu(index, at, &position);
		leaf = cleave__leaf_const(position.node);
		cover->tickets[cover->n++] =
			(struct cleave_ticket){ position.node, cleave__order_ticket(position.order) };
		for (unsigned int r = position.r; r < position.count; r++) {
			cleave__leaf_entry(leaf, position.order, position.count, r, &cover->bad);
			if (cover->bad.first > cover->last)
				break;
			if (!cover->predicate(cover->context, &cover->bad))
				return 0;
		}
		if (leaf->node.last >= cover->last)
			return 1;
		at = leaf->node.last + 1;
	}
}

static bool still_so(const struct cover *cover)
{
	for (size_t i = 0; i < cover->n; i++)
		if (!cleave_ticket_valid_rcu(&cover->tickets[i]))
			return false;
	return true;
}

int cleave_covers_rcu(const struct cleave *index, uint64_t first, uint64_t last, cleave_predicate *predicate,
		      void *context, struct cleave_entry *bad, struct cleave_ticket *scratch, size_t nscratch)
{
	struct cleave_ticket tickets[COVER_TICKETS];
	struct cover cover = { .first = first, .last = last, .predicate = predicate, .context = context };

	if (first > last)
		return -EINVAL;
	cleave__check_reader(index);
	cover.tickets = scratch && nscratch > COVER_TICKETS ? scratch : tickets;
	cover.capacity = scratch && nscratch > COVER_TICKETS ? nscratch : COVER_TICKETS;
	for (unsigned int try = 0; try < COVER_TRIES; try++) {
		int result = collect(index, &cover);

		if (result < 0)
			return result;
		if (!still_so(&cover))
			continue;
		if (result == 0 && bad)
			*bad = cover.bad;
		return result;
	}
	return -EAGAIN;
}

int cleave_covers(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
		  cleave_predicate *predicate, void *context, struct cleave_entry *bad)
{
	struct cleave_entry entry;
	struct cleave_txn txn;
	uint64_t at = first;
	int result;

	cleave__check_writer(index, self, false);
	cleave__enter(index, self);
	result = cleave_covers_rcu(index, first, last, predicate, context, bad, NULL, 0);
	cleave__leave(index, self);
	if (result != -EAGAIN)
		return result;
	cleave__begin(&txn, index, self, first, last, false);
	for (result = 1; result == 1; at = entry.last + 1) {
		cleave_txn_lookup(&txn, at, &entry);
		result = predicate(context, &entry);
		if (!result && bad)
			*bad = entry;
		if (entry.last >= last)
			break;
	}
	cleave_abort(&txn);
	return result;
}
