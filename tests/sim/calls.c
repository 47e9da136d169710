/* SPDX-License-Identifier: ISC */
#include "calls.h"

#include <errno.h>
#include <stdio.h>

struct world *world;

struct receiver {
	struct cleave_sink sink;
	struct answer *answer;
};

static void each(struct cleave_sink *sink, const struct cleave_entry *displaced)
{
	struct answer *answer = ((struct receiver *)sink)->answer;

	if (answer->ndisplaced == MAX_ENTRIES)
		sim_fail("too many displaced entries");
	answer->displaced[answer->ndisplaced++] = *displaced;
}

/* A predicate that remembers what it was asked: what it was asked last, from `first` on, is what was answered for. */
struct asked {
	struct answer *answer;
	const struct call *call;
};

static bool is_asked_for(void *context, const struct cleave_entry *entry)
{
	struct asked *asked = context;
	struct answer *answer = asked->answer;

	if (entry->first <= asked->call->first)
		answer->n = 0;
	if (answer->n == MAX_ENTRIES)
		sim_fail("too many entries");
	answer->entries[answer->n++] = *entry;
	return model_covers(asked->call, entry);
}

static struct cleave_request request_of(const struct call *call)
{
	return (struct cleave_request){
		.order = call->order, .size = call->n, .min = call->first, .max = call->last, .hint = call->hint
	};
}

static void look(struct cleave_thread *self, const struct call *call, struct answer *answer)
{
	const struct cleave *index = &world->index;
	struct cleave_ticket ticket;

	sim_ops.enter(&world->domain, self);
	if (call->kind == TICKET) {
		cleave_lookup_ticket_rcu(index, call->first, &answer->entries[0], &ticket);
		answer->valid = cleave_ticket_valid_rcu(&ticket);
	} else {
		cleave_lookup_rcu(index, call->first, &answer->entries[0]);
	}
	answer->n = 1;
	sim_ops.leave(&world->domain, self);
}

static void look_many(struct cleave_thread *self, const struct call *call, struct answer *answer)
{
	uint64_t addrs[MAX_ENTRIES];

	for (unsigned int i = 0; i < call->n; i++)
		addrs[i] = address(many_unit(call, i));
	sim_ops.enter(&world->domain, self);
	cleave_lookup_many_rcu(&world->index, addrs, call->n, answer->entries);
	sim_ops.leave(&world->domain, self);
	answer->n = call->n;
}

/* displaced[]: the part of each that the one before did not reach. */
static void look_range(struct cleave_thread *self, const struct call *call, struct answer *answer)
{
	uint64_t key = call->first, last = address(call->last);
	bool gaps = call->n % 2 == 0, end = false;

	sim_ops.enter(&world->domain, self);
	answer->n = (unsigned int)cleave_lookup_range_rcu(&world->index, key, last, gaps, answer->entries, call->n);
	sim_ops.leave(&world->domain, self);
	for (unsigned int i = 0; i < answer->n; i++) {
		const struct cleave_entry *entry = &answer->entries[i];

		if (end || entry->last < key || entry->first > last ||
		    (gaps ? entry->first > key : entry->value == NULL))
			sim_fail("an entry of a range is not where the last one ended");
		if (entry->first > key)
			key = entry->first;
		answer->displaced[i] = (struct cleave_entry){ key, entry->last, NULL };
		end = entry->last >= last;
		key = entry->last + 1;
	}
	if (gaps && answer->n < call->n && !end)
		sim_fail("a range ended early");
}

static void covers(struct cleave_thread *self, const struct call *call, struct answer *answer)
{
	struct asked asked = { answer, call };
	struct cleave_entry bad = { 0 };

	if (call->kind == COVERS_SLOWLY) {
		answer->error = cleave_covers(&world->index, self, call->first, address(call->last), is_asked_for,
					      &asked, &bad);
	} else {
		sim_ops.enter(&world->domain, self);
		answer->error = cleave_covers_rcu(&world->index, call->first, address(call->last), is_asked_for, &asked,
						  &bad, NULL, 0);
		sim_ops.leave(&world->domain, self);
	}
	if (answer->error == 0 && (bad.first != answer->entries[answer->n - 1].first || model_covers(call, &bad)))
		sim_fail("covers names another entry than the last that it asked about");
}

/* An even number of visits is made at once, an odd one step by step. */
static void step(struct cleave_thread *self, const struct call *call, struct answer *answer)
{
	struct cleave_visit visits[MAX_ENTRIES];
	struct cleave_cursor cursor;
	uint64_t key = call->first;
	unsigned int each = call->n % 2 ? 1 : call->n;
	size_t got = each;

	bool up = call->kind == NEXT || call->kind == NEXT_ENTRY;
	bool gaps = call->kind == NEXT || call->kind == PREVIOUS;

	cleave_cursor_init(&cursor, &world->index, key, gaps);
	sim_ops.enter(&world->domain, self);
	while (answer->n < call->n && got == each) {
		got = up ? cleave_next_rcu(&cursor, visits, each) : cleave_previous_rcu(&cursor, visits, each);
		for (size_t i = 0; i < got; i++) {
			const struct cleave_visit *visit = &visits[i];

			if (visit->first < visit->entry.first || visit->last > visit->entry.last ||
			    visit->first > visit->last ||
			    (gaps ? (up ? visit->first != key : visit->last != key - 1)
				  : (!visit->entry.value || (up ? visit->first < key : visit->last > key - 1))))
				sim_fail("a visit is not where the last one ended");
			key = up ? visit->last + 1 : visit->first;
			answer->entries[answer->n] = visit->entry;
			answer->displaced[answer->n++] = (struct cleave_entry){ visit->first, visit->last, NULL };
		}
		if (key == 0)
			break;
	}
	sim_ops.leave(&world->domain, self);
	if (gaps && answer->n < call->n && key != 0)
		sim_fail("a cursor ended early");
}

static bool same_entry(const struct cleave_entry *a, const struct cleave_entry *b)
{
	return a->first == b->first && a->last == b->last && a->value == b->value;
}

static void transact(struct cleave_thread *self, const struct call *call, struct answer *answer,
		     struct cleave_sink *sink)
{
	uint64_t last = address(call->last2 > call->last ? call->last2 : call->last);
	struct cleave_entry again;
	struct cleave_txn txn;
	int error;

	if (call->kind == TRY_COMMIT) {
		sim_ops.enter(&world->domain, self);
		answer->error = cleave_try_begin_rcu(&txn, &world->index, self, call->first, last);
		sim_ops.leave(&world->domain, self);
		if (answer->error)
			return;
	} else if (cleave_begin(&txn, &world->index, self, call->first, last)) {
		sim_fail("begin failed");
	}
	cleave_txn_lookup(&txn, call->first, &answer->entries[0]);
	cleave_txn_lookup(&txn, last, &answer->entries[1]);
	answer->n = 2;
	error = cleave_put(&txn, call->first, address(call->last), VALUE(call->value));
	if (!error && call->last2)
		error = cleave_put(&txn, call->first2, address(call->last2), VALUE(call->value2));
	cleave_txn_lookup(&txn, call->first, &again);
	if (!same_entry(&again, &answer->entries[0]))
		sim_fail("the range of a transaction changed under it");
	answer->error = error;
	if (error || call->kind == ABORT) {
		cleave_abort(&txn);
		return;
	}
	if (call->kind == COMMIT || call->kind == TRY_COMMIT) {
		cleave_commit(&txn, sink);
		return;
	}
	cleave_publish(&txn);
	cleave_txn_lookup(&txn, call->first, &again);
	if (again.value != VALUE(call->value) || (call->value && again.first != call->first) ||
	    (call->value && again.last != address(call->last)))
		sim_fail("between publish and end the range is not what was put");
	cleave_end(&txn, sink);
}

static void hold(struct cleave_thread *self, const struct call *call, struct answer *answer)
{
	uint64_t last = address(call->last);
	struct cleave_entry again;
	struct cleave_hold hold;
	bool puts;

	cleave_hold_begin(&hold, &world->index, self, call->first);
	answer->entries[0] = hold.entry;
	answer->n = 1;
	if (last > hold.entry.last)
		last = hold.entry.last;
	puts = call->value || hold.entry.value; /* else there is nothing to erase */
	if (call->value)
		answer->error = cleave_hold_put(&hold, call->first, last, VALUE(call->value));
	else if (puts)
		answer->error = cleave_hold_erase(&hold, call->first, last);
	if (!answer->error && puts) {
		sim_ops.enter(&world->domain, self);
		cleave_lookup_rcu(&world->index, call->first, &again);
		sim_ops.leave(&world->domain, self);
		if (again.value != VALUE(call->value) ||
		    (call->value && (again.first != call->first || again.last != last)) || again.last < last)
			sim_fail("between put and release the held range is not what was put");
	}
	cleave_hold_end(&hold);
}

/* Nothing changes while all locks are held. */
static void freeze(struct cleave_thread *self, struct answer *answer)
{
	struct answer again;
	struct cleave_txn txn;

	cleave_prefork(&txn, &world->index, self);
	sim_ops.enter(&world->domain, self);
	read_all(&world->index, answer);
	read_all(&world->index, &again);
	sim_ops.leave(&world->domain, self);
	cleave_postfork_parent(&txn);
	if (answer->n != again.n)
		sim_fail("the index changed while all its locks were held");
	for (unsigned int i = 0; i < again.n; i++)
		if (!same_entry(&answer->entries[i], &again.entries[i]))
			sim_fail("the index changed while all its locks were held");
}

static void duplicate(unsigned int thread, struct cleave_thread *self, struct answer *answer)
{
	struct cleave *copy = &world->copies[thread];

	answer->error = cleave_init(copy, self);
	if (answer->error)
		return;
	answer->error = cleave_duplicate(copy, &world->index, self, NULL);
	if (!answer->error) {
		sim_ops.enter(&world->domain, self);
		read_all(copy, answer);
		sim_ops.leave(&world->domain, self);
		if (cleave_check(copy, NULL))
			sim_fail("the duplicate is no valid index");
	}
	cleave_destroy(copy, self);
}

void make_call(unsigned int thread, const struct call *call, struct answer *answer)
{
	struct cleave_thread *self = &world->threads[thread];
	struct cleave *index = &world->index;
	struct receiver receiver = { { each }, answer };
	struct cleave_entry *entry = &answer->entries[0];
	struct cleave_request request;
	uint64_t first = call->first, last = address(call->last);

	answer->error = 0;
	answer->n = answer->ndisplaced = 0;
	answer->valid = false;
	switch (call->kind) {
	case LOOKUP:
	case TICKET:
		look(self, call, answer);
		break;
	case MANY:
		look_many(self, call, answer);
		break;
	case LOOK_RANGE:
		look_range(self, call, answer);
		break;
	case COVERS:
	case COVERS_SLOWLY:
		covers(self, call, answer);
		break;
	case NEXT:
	case PREVIOUS:
	case NEXT_ENTRY:
	case PREVIOUS_ENTRY:
		step(self, call, answer);
		break;
	case FREEZE:
		freeze(self, answer);
		break;
	case DUPLICATE:
		duplicate(thread, self, answer);
		break;
	case FIND:
		request = request_of(call);
		sim_ops.enter(&world->domain, self);
		answer->error = cleave_find_gap_rcu(index, &request, &answer->addr);
		sim_ops.leave(&world->domain, self);
		break;
	case BUILD:
		answer->error = cleave_build(index, self,
					     (struct cleave_entry[]){ { first, first, VALUE(call->value) },
								      { last, last, VALUE(call->value) } },
					     2);
		break;
	case ALLOC:
		request = request_of(call);
		answer->error = cleave_alloc(index, self, &request, VALUE(call->value), &answer->addr);
		break;
	case HOLD:
		hold(self, call, answer);
		break;
	case CLIP:
		answer->error = cleave_clip(index, self, first);
		break;
	case UNCLIP:
		answer->error = cleave_unclip(index, self, first);
		break;
	case INSERT:
		answer->error = cleave_insert(index, self, first, last, VALUE(call->value), entry);
		break;
	case STORE:
		answer->error = cleave_store(index, self, first, last, VALUE(call->value), &receiver.sink);
		break;
	case ERASE:
		answer->error = cleave_erase(index, self, first, last, &receiver.sink);
		break;
	case REPLACE:
		*entry = (struct cleave_entry){ first, last, VALUE(call->value) };
		answer->error = cleave_replace_if(index, self, entry, VALUE(call->value2));
		break;
	case TRY_CLIP:
	case TRY_STORE:
	case TRY_REPLACE:
		sim_ops.enter(&world->domain, self);
		*entry = (struct cleave_entry){ first, last, VALUE(call->value) };
		if (call->kind == TRY_CLIP)
			answer->error = cleave_try_clip_rcu(index, self, first);
		else if (call->kind == TRY_STORE)
			answer->error = cleave_try_store_rcu(index, self, first, last, VALUE(call->value));
		else
			answer->error = cleave_try_replace_if_rcu(index, self, entry, VALUE(call->value2));
		sim_ops.leave(&world->domain, self);
		break;
	case COMMIT:
	case ABORT:
	case PUBLISH:
	case TRY_COMMIT:
		transact(self, call, answer, &receiver.sink);
		break;
	case KINDS:
		break;
	}
}

void read_all(const struct cleave *index, struct answer *answer)
{
	uint64_t at = 0;

	answer->n = 0;
	answer->error = 0;
	do {
		struct cleave_entry *entry = &answer->entries[answer->n];

		cleave_lookup_rcu(index, at, entry);
		at = entry->last + 1;
	} while (++answer->n < MAX_ENTRIES && at != 0);
}

const char *call_text(const struct call *call, char *text, size_t size)
{
	int n = snprintf(text, size, "%s(%u", kind_names[call->kind], call->first);

	switch (call->kind) {
	case LOOKUP:
	case TICKET:
	case CLIP:
	case TRY_CLIP:
	case UNCLIP:
		snprintf(text + n, size - (size_t)n, ")");
		break;
	case FREEZE:
	case DUPLICATE:
		snprintf(text + n, size - (size_t)n, ")");
		break;
	case NEXT:
	case PREVIOUS:
	case NEXT_ENTRY:
	case PREVIOUS_ENTRY:
		snprintf(text + n, size - (size_t)n, ", %u times)", call->n);
		break;
	case MANY:
		snprintf(text + n, size - (size_t)n, "-%u, %u addresses)", call->last, call->n);
		break;
	case LOOK_RANGE:
		snprintf(text + n, size - (size_t)n, "-%u, %u entries)", call->last, call->n);
		break;
	case FIND:
	case ALLOC:
		snprintf(text + n, size - (size_t)n, "-%u, order %d, size %u)", call->last, (int)call->order, call->n);
		break;
	default:
		n += snprintf(text + n, size - (size_t)n, "-%u", call->last);
		if (call->value)
			n += snprintf(text + n, size - (size_t)n, ", %u", call->value);
		if (call->last2)
			n += snprintf(text + n, size - (size_t)n, "; %u-%u, %u", call->first2, call->last2,
				      call->value2);
		else if (call->value2)
			n += snprintf(text + n, size - (size_t)n, " -> %u", call->value2);
		snprintf(text + n, size - (size_t)n, ")");
	}
	return text;
}
