/* SPDX-License-Identifier: ISC */
/*
 * An input is a sequence of operations on two indexes of one domain; each is done to the index and to its model
 * (tests/world.h), and whatever differs stops the program.
 *
 * Bytes: the domain's grace periods, walk and limit; the indexes' addresses; then operations.  An operation is a byte
 * (what, on which index, with allocations that fail) and what that needs.  Addresses are short where they are likely to
 * meet: numbers of units, and borders of what is there.  Where the input ends, all bytes are 0.
 */
#include "world.h"

struct input {
	const uint8_t *at;
	const uint8_t *end;
};

struct fuzz {
	struct input input;
	struct manual_domain manual;
	struct world worlds[2];
	struct world *world; /* that the operation is on */
	struct cleave_cursor cursor;
	uint64_t key; /* where the cursor must be: the first address above what it visited ... */
	bool after;   /* ... or 2^64 */
	uint64_t recent;
	bool tight; /* few retired nodes are allowed: what may not wait for a grace period may find no memory */
};

#define LL(x) ((unsigned long long)(x))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- Bytes ---- */

static unsigned int byte(struct fuzz *fuzz)
{
	return fuzz->input.at < fuzz->input.end ? *fuzz->input.at++ : 0;
}

static uint64_t bytes(struct fuzz *fuzz, unsigned int n)
{
	uint64_t x = 0;

	while (n--)
		x = x << 8 | byte(fuzz);
	return x;
}

static uint64_t address(struct fuzz *fuzz)
{
	const struct keyspace *space = fuzz->world->space;
	const struct model *model = &fuzz->world->model;
	unsigned int how = byte(fuzz);

	if (how < 128)
		fuzz->recent = space->base + space->unit * how;
	else if (how < 160)
		fuzz->recent = model->cell[bytes(fuzz, 1 + (how & 1)) % model->count].first;
	else if (how < 192)
		fuzz->recent = model->cell[bytes(fuzz, 1 + (how & 1)) % model->count].last;
	else if (how < 208)
		fuzz->recent = model->cell[byte(fuzz) % model->count].first + how - 200;
	else if (how < 224)
		fuzz->recent = space->base + space->unit * bytes(fuzz, 2);
	else if (how < 232)
		fuzz->recent = (UINT64_C(1) << (byte(fuzz) & 63)) + how - 228;
	else if (how < 240)
		fuzz->recent = bytes(fuzz, 8);
	else if (how < 244)
		fuzz->recent = how & 1 ? CLEAVE_LAST : 0;
	else
		fuzz->recent += how - 250;
	return fuzz->recent;
}

static uint64_t size(struct fuzz *fuzz)
{
	uint64_t unit = fuzz->world->space->unit;
	unsigned int how = byte(fuzz);

	if (how < 160)
		return unit * (how + 1);
	if (how < 224)
		return (UINT64_C(1) << (how & 63)) + byte(fuzz);
	return 1 + bytes(fuzz, how & 7);
}

static void range(struct fuzz *fuzz, uint64_t *first, uint64_t *last)
{
	uint64_t other;

	*first = address(fuzz);
	if (byte(fuzz) & 1) {
		other = address(fuzz);
		*last = *first > other ? *first : other;
		*first = *first > other ? other : *first;
	} else {
		other = size(fuzz) - 1;
		*last = CLEAVE_LAST - *first < other ? CLEAVE_LAST : *first + other;
	}
}

/* Never NULL. */
static void *value(struct fuzz *fuzz)
{
	unsigned int how = byte(fuzz) & 7;

	return (void *)(how == 7 ? UINTPTR_MAX : how == 6 ? UINTPTR_MAX - 1 : (uintptr_t)how + 1);
}

static void *value_or_gap(struct fuzz *fuzz)
{
	return byte(fuzz) & 1 ? value(fuzz) : NULL;
}

static void request(struct fuzz *fuzz, struct cleave_request *request)
{
	unsigned int how = byte(fuzz);

	*request = (struct cleave_request){
		.order = (enum cleave_order)(how % (CLEAVE_BEST + 1)),
		.size = size(fuzz),
		.max = CLEAVE_LAST,
		.hint = address(fuzz),
	};
	if (how & 0x20) {
		request->align = how & 0x40 ? UINT64_C(1) << (byte(fuzz) & 63) : bytes(fuzz, 2);
		request->phase = bytes(fuzz, 1 + (how & 3));
	}
	if (how & 0x80)
		range(fuzz, &request->min, &request->max);
}

/* ---- Changes ---- */

static void read_operation(struct fuzz *fuzz, enum call call, struct operation *operation)
{
	struct world *world = fuzz->world;
	unsigned int how;

	memset(operation, 0, sizeof(*operation));
	operation->call = call;
	switch (call) {
	case CALL_ALLOC:
		request(fuzz, &operation->request);
		operation->value = value(fuzz);
		break;
	case CALL_CLIP:
	case CALL_TRY_CLIP:
	case CALL_UNCLIP:
		operation->first = operation->last = address(fuzz);
		break;
	case CALL_REPLACE_IF:
	case CALL_TRY_REPLACE_IF:
		operation->first = operation->last = address(fuzz);
		operation->expected = *model_at(&world->model, operation->first);
		how = byte(fuzz);
		operation->expected.first += (how & 3) == 3;
		operation->expected.last -= (how & 12) == 12;
		if ((how & 48) == 48)
			operation->expected.value = value_or_gap(fuzz);
		operation->value = value(fuzz);
		break;
	case CALL_HOLD:
		range(fuzz, &operation->first, &operation->last);
		operation->value = value(fuzz);
		operation->commit = byte(fuzz) & 7;
		break;
	default:
		range(fuzz, &operation->first, &operation->last);
		operation->value = call == CALL_INSERT ? value(fuzz) : value_or_gap(fuzz);
		break;
	}
	if (call != CALL_TXN && call != CALL_TRY_TXN)
		return;
	how = byte(fuzz);
	operation->puts = how % (OPERATION_PUTS + 1);
	operation->commit = (how & 0x30) != 0x30;
	operation->two_steps = how >> 7;
	for (unsigned int i = 0; i < operation->puts; i++) {
		struct cleave_entry *put = &operation->put[i];

		range(fuzz, &put->first, &put->last);
		if (put->first < operation->first || put->first > operation->last)
			put->first = operation->first;
		if (put->last < put->first || put->last > operation->last)
			put->last = operation->last;
		put->value = value_or_gap(fuzz);
	}
}

/* `grant`: so many allocations succeed; GRANT_ALL. */
static void change(struct fuzz *fuzz, enum call call, uint64_t grant)
{
	struct world *world = fuzz->world;
	struct operation operation;
	struct outcome outcome;
	char text[400];

	read_operation(fuzz, call, &operation);
	operation_print(&operation, text, sizeof(text));
	check_context("step %llu, index %d: %s", LL(world->step), (int)(world - fuzz->worlds), text);
	if (getenv("CLEAVE_TEST_TRACE"))
		fprintf(stderr, "%d: %s\n", (int)(world - fuzz->worlds), text);
	if (grant != GRANT_ALL) {
		/* without nodes in its caches it asks the allocator for each */
		cleave_thread_exit(&fuzz->manual.self);
		cleave_thread_init(&fuzz->manual.self, &fuzz->manual.domain);
		counting_memory_grant(&fuzz->manual.memory, grant);
	}
	world_call(world, &operation, &outcome);
	counting_memory_grant(&fuzz->manual.memory, GRANT_ALL);
	if ((grant != GRANT_ALL || fuzz->tight) && outcome.result == -ENOMEM) {
		CHECK(outcome.displaced.count == 0, "a failed call displaced something");
		world_compare(world);
	} else {
		world_follow(world, &operation, &outcome);
	}
	displaced_free(&outcome.displaced);
	world->step++;
}

/* The same calls with arguments that they must refuse. */
static void refused(struct fuzz *fuzz)
{
	struct cleave *index = &fuzz->world->index;
	struct cleave_thread *self = &fuzz->manual.self;
	uint64_t last = address(fuzz), first = last + 1, addr;
	struct cleave_entry entry = { first, last, &entry };
	struct cleave_request request = { .size = 0, .max = CLEAVE_LAST };
	struct cleave_txn txn;
	int answer = -EINVAL;

	if (last == CLEAVE_LAST)
		return;
	switch (byte(fuzz) % 8) {
	case 0:
		answer = cleave_insert(index, self, first, last, &entry, NULL);
		break;
	case 1:
		answer = cleave_insert(index, self, last, last, NULL, NULL);
		break;
	case 2:
		answer = cleave_store(index, self, first, last, &entry, NULL);
		break;
	case 3:
		answer = cleave_erase(index, self, first, last, NULL);
		break;
	case 4:
		answer = cleave_replace_if(index, self, &entry, &entry);
		break;
	case 5:
		answer = cleave_alloc(index, self, &request, &entry, &addr);
		break;
	case 6:
		answer = cleave_begin(&txn, index, self, first, last);
		break;
	case 7:
		if (cleave_begin(&txn, index, self, last, last))
			answer = 0;
		else if (cleave_put(&txn, first, first, &entry) != -EINVAL)
			answer = 0;
		cleave_abort(&txn);
		break;
	}
	CHECK(answer == -EINVAL, "%d, should be -EINVAL", answer);
}

/* A transaction on one index while the other is changed. */
static void nested(struct fuzz *fuzz)
{
	struct world *outer = fuzz->world, *inner = &fuzz->worlds[outer == fuzz->worlds];
	uint64_t first, last;
	void *put = value_or_gap(fuzz);
	struct cleave_txn txn;
	bool staged;

	range(fuzz, &first, &last);
	CHECK(cleave_begin(&txn, &outer->index, &fuzz->manual.self, first, last) == 0, "begin");
	staged = cleave_put(&txn, first, last, put) == 0;
	CHECK(staged || fuzz->tight, "put");
	fuzz->world = inner;
	change(fuzz, (enum call)(byte(fuzz) % CALLS), GRANT_ALL);
	check_index(&inner->index);
	fuzz->world = outer;
	if (byte(fuzz) & 1) {
		cleave_commit(&txn, NULL);
		if (staged)
			model_store(&outer->model, first, last, put, NULL);
	} else {
		cleave_abort(&txn);
	}
}

/* ---- Whole indexes ---- */

/* An index in place of the old one, of up to 1020 entries at equal distances. */
static void build(struct fuzz *fuzz)
{
	static struct cleave_entry entries[4 * 255 + 1];
	struct world *world = fuzz->world;
	uint64_t at = address(fuzz), stride = size(fuzz), room = size(fuzz);
	size_t n = 4 * byte(fuzz), count = 0;
	unsigned int how = byte(fuzz);
	const struct keyspace *space = world->space;
	bool wrong = false;

	if (room > stride)
		room = stride;
	for (; count < n; count++) {
		entries[count] =
			(struct cleave_entry){ at, at + (room - 1), (void *)(uintptr_t)(1 + count % (1 + how % 7)) };
		if (entries[count].last < at)
			break;
		if (CLEAVE_LAST - at < stride) {
			count++;
			break;
		}
		at += stride;
	}
	if (how >= 248 && count > 1) {
		entries[count / 2].value = how & 1 ? NULL : entries[count / 2].value;
		if (!(how & 1))
			entries[count / 2].first = entries[count / 2 - 1].last;
		wrong = true;
	}
	world_stop(world);
	world_start(world, &fuzz->manual.domain, &fuzz->manual.self, space, 1);
	if (how >= 240 && how < 248) {
		cleave_thread_exit(&fuzz->manual.self);
		cleave_thread_init(&fuzz->manual.self, &fuzz->manual.domain);
		counting_memory_grant(&fuzz->manual.memory, how & 7);
	}
	check_context("build of %zu entries", count);
	switch (cleave_build(&world->index, world->self, entries, count)) {
	case 0:
		CHECK(!wrong, "built from what is no list of entries");
		for (size_t i = 0; i < count; i++)
			model_store(&world->model, entries[i].first, entries[i].last, entries[i].value, NULL);
		break;
	case -ENOMEM:
		CHECK(fuzz->tight || counting_memory_failed(&fuzz->manual.memory) > 0,
		      "-ENOMEM, but no allocation failed");
		break;
	case -EINVAL:
		CHECK(wrong, "refused");
		break;
	default:
		CHECK(false, "build");
	}
	counting_memory_grant(&fuzz->manual.memory, GRANT_ALL);
}

struct fuzz_copier {
	struct cleave_copier copier;
	uintptr_t drop; /* this value is not copied */
	unsigned int fails_after;
	unsigned int made;
};

static int copy(struct cleave_copier *copier, const struct cleave_entry *entry, void **made)
{
	struct fuzz_copier *self = (struct fuzz_copier *)copier;

	if (self->fails_after-- == 0)
		return -EAGAIN;
	*made = (uintptr_t)entry->value == self->drop ? NULL : (void *)((uintptr_t)entry->value ^ 0x100);
	self->made += *made != NULL;
	return 0;
}

static void undo(struct cleave_copier *copier, const struct cleave_entry *made)
{
	struct fuzz_copier *self = (struct fuzz_copier *)copier;

	CHECK(made->value != NULL && self->made > 0, "undo of what was not made");
	self->made--;
}

static void duplicate(struct fuzz *fuzz)
{
	struct world *from = fuzz->world, to;
	unsigned int how = byte(fuzz);
	struct fuzz_copier copier = { { copy, undo }, 1 + (how & 3), UINT32_MAX, 0 };
	bool copies = how & 4, full = how & 16;
	int result;

	world_start(&to, &fuzz->manual.domain, &fuzz->manual.self, from->space, 1);
	check_context("duplicate, %#x", how);
	if (how & 8)
		copier.fails_after = byte(fuzz);
	if (full) {
		cleave_insert(&to.index, to.self, 5, 9, &to, NULL);
		model_insert(&to.model, 5, 9, &to, NULL);
	}
	if (how & 32) {
		cleave_thread_exit(&fuzz->manual.self);
		cleave_thread_init(&fuzz->manual.self, &fuzz->manual.domain);
		counting_memory_grant(&fuzz->manual.memory, how >> 6);
	}
	result = cleave_duplicate(&to.index, &from->index, to.self, copies ? &copier.copier : NULL);
	counting_memory_grant(&fuzz->manual.memory, GRANT_ALL);
	if (result) {
		CHECK((result == -EEXIST && full) || (result == -ENOMEM && (how & 32 || fuzz->tight)) ||
			      (result == -EAGAIN && copies && how & 8),
		      "%d", result);
		CHECK(copier.made == 0, "%u values not taken back", copier.made);
	} else {
		CHECK(!full, "the target was not empty");
		for (size_t i = 0; i < from->model.count; i++) {
			struct cleave_entry entry = from->model.cell[i];

			if (entry.value && copies)
				entry.value = (uintptr_t)entry.value == copier.drop ?
						      NULL :
						      (void *)((uintptr_t)entry.value ^ 0x100);
			if (entry.value)
				model_store(&to.model, entry.first, entry.last, entry.value, NULL);
		}
	}
	world_compare(&to);
	world_stop(&to);
}

/* ---- Questions ---- */

static bool other_value(void *context, const struct cleave_entry *entry)
{
	return entry->value != context;
}

static void ask_covers(struct fuzz *fuzz)
{
	struct world *world = fuzz->world;
	struct cleave_entry bad = { 0 }, want_bad = { 0 };
	struct cleave_ticket scratch[20];
	void *unwanted = value_or_gap(fuzz);
	uint64_t first, last;
	int want, got;

	range(fuzz, &first, &last);
	check_context("covers [%#llx, %#llx]", LL(first), LL(last));
	want = model_covers(&world->model, first, last, other_value, unwanted, &want_bad);
	manual_enter(&fuzz->manual);
	got = cleave_covers_rcu(&world->index, first, last, other_value, unwanted, &bad, scratch, byte(fuzz) % 21);
	manual_leave(&fuzz->manual);
	CHECK(got == want || got == -EAGAIN, "covers_rcu: %d, should be %d", got, want);
	CHECK(got != 0 || (bad.first == want_bad.first && bad.last == want_bad.last && bad.value == want_bad.value),
	      "covers_rcu: bad");
	got = cleave_covers(&world->index, world->self, first, last, other_value, unwanted, &bad);
	CHECK(got == want, "covers: %d, should be %d", got, want);
	CHECK(got != 0 || (bad.first == want_bad.first && bad.last == want_bad.last && bad.value == want_bad.value),
	      "covers: bad");
}

static void ask_gap(struct fuzz *fuzz)
{
	struct world *world = fuzz->world;
	struct cleave_request asked;
	uint64_t got_addr = 0, want_addr = 0;
	int got, want;

	request(fuzz, &asked);
	check_context("find_gap order %d size %#llx align %#llx phase %#llx in [%#llx, %#llx] hint %#llx", asked.order,
		      LL(asked.size), LL(asked.align), LL(asked.phase), LL(asked.min), LL(asked.max), LL(asked.hint));
	manual_enter(&fuzz->manual);
	got = cleave_find_gap_rcu(&world->index, &asked, &got_addr);
	manual_leave(&fuzz->manual);
	want = model_find_gap(&world->model, &asked, &want_addr);
	CHECK(got == want, "%d, should be %d", got, want);
	if (got)
		return;
	CHECK(model_gap_fits(&world->model, &asked, got_addr), "%#llx does not fit", LL(got_addr));
	CHECK(asked.order == CLEAVE_RANDOM || got_addr == want_addr, "%#llx, should be %#llx", LL(got_addr),
	      LL(want_addr));
}

static void check_visit(const struct cleave_visit *visit, const struct cleave_entry *entry, uint64_t first,
			uint64_t last)
{
	CHECK(visit->entry.first == entry->first && visit->entry.last == entry->last &&
		      visit->entry.value == entry->value && visit->first == first && visit->last == last,
	      "visit of [%#llx, %#llx], part [%#llx, %#llx], should be [%#llx, %#llx], part [%#llx, %#llx]",
	      LL(visit->entry.first), LL(visit->entry.last), LL(visit->first), LL(visit->last), LL(entry->first),
	      LL(entry->last), LL(first), LL(last));
}

/* Some steps of the cursor that lives as long as its index; whatever has changed since. */
static void step_cursor(struct fuzz *fuzz)
{
	const struct model *model = &fuzz->worlds[0].model;
	struct cleave_visit visits[5];
	unsigned int how = byte(fuzz);
	size_t most = how % 6, n, k = 0;
	bool gaps = fuzz->cursor.gaps;

	check_context("cursor at %#llx%s, %zu steps %s", LL(fuzz->key), fuzz->after ? " (after all)" : "", most,
		      how & 0x80 ? "up" : "down");
	manual_enter(&fuzz->manual);
	n = how & 0x80 ? cleave_next_rcu(&fuzz->cursor, visits, most)
		       : cleave_previous_rcu(&fuzz->cursor, visits, most);
	manual_leave(&fuzz->manual);
	while (how & 0x80 && k < most && !fuzz->after) {
		const struct cleave_entry *entry = model_at(model, fuzz->key);

		if (entry->value || gaps) {
			CHECK(k < n, "the cursor stopped after %zu", n);
			check_visit(&visits[k++], entry, fuzz->key, entry->last);
		}
		fuzz->after = entry->last == CLEAVE_LAST;
		fuzz->key = fuzz->after ? 0 : entry->last + 1;
	}
	while (!(how & 0x80) && k < most && (fuzz->after || fuzz->key > 0)) {
		uint64_t top = fuzz->after ? CLEAVE_LAST : fuzz->key - 1;
		const struct cleave_entry *entry = model_at(model, top);

		if (entry->value || gaps) {
			CHECK(k < n, "the cursor stopped after %zu", n);
			check_visit(&visits[k++], entry, entry->first, top);
		}
		fuzz->after = false;
		fuzz->key = entry->first;
	}
	CHECK(k == n, "%zu visits, should be %zu", n, k);
}

static void place_cursor(struct fuzz *fuzz)
{
	unsigned int how = byte(fuzz);
	struct world *world = fuzz->world;

	fuzz->world = &fuzz->worlds[0];
	fuzz->after = how & 2;
	fuzz->key = fuzz->after ? 0 : address(fuzz);
	if (fuzz->after)
		cleave_cursor_init_last(&fuzz->cursor, &fuzz->worlds[0].index, how & 1);
	else
		cleave_cursor_init(&fuzz->cursor, &fuzz->worlds[0].index, fuzz->key, how & 1);
	fuzz->world = world;
}

struct counted_lines {
	struct cleave_lines lines;
	size_t n;
};

static void count_line(struct cleave_lines *lines, const char *text)
{
	CHECK(strlen(text) > 0, "an empty line");
	((struct counted_lines *)lines)->n++;
}

static void dump(struct fuzz *fuzz)
{
	struct counted_lines flat = { { count_line }, 0 }, tree = { { count_line }, 0 };
	struct world *world = fuzz->world;
	struct cleave_statistics statistics;

	manual_enter(&fuzz->manual);
	cleave_dump_rcu(&world->index, &flat.lines, false);
	cleave_dump_rcu(&world->index, &tree.lines, true);
	cleave_statistics_rcu(&world->index, &statistics);
	manual_leave(&fuzz->manual);
	CHECK(flat.n == world->model.count, "%zu lines for %zu cells", flat.n, world->model.count);
	CHECK(tree.n == world->model.count + statistics.leaves + statistics.branches, "%zu lines", tree.n);
}

/* ---- One input ---- */

static void step(struct fuzz *fuzz)
{
	unsigned int what = byte(fuzz), kind = what & 31;
	uint64_t grant = (what & 192) == 192 ? byte(fuzz) : GRANT_ALL;

	fuzz->world = &fuzz->worlds[what >> 5 & 1];
	if (kind < CALLS) {
		change(fuzz, (enum call)kind, grant);
	} else if (kind < 16) {
		change(fuzz, kind & 1 ? CALL_TXN : CALL_ERASE, grant);
	} else {
		switch (kind) {
		case 16:
			build(fuzz);
			break;
		case 17:
			duplicate(fuzz);
			break;
		case 18:
			nested(fuzz);
			break;
		case 19:
			refused(fuzz);
			break;
		case 20:
			ask_covers(fuzz);
			break;
		case 21:
			ask_gap(fuzz);
			break;
		case 22:
			place_cursor(fuzz);
			break;
		case 23:
			dump(fuzz);
			break;
		case 24:
			world_compare(fuzz->world);
			break;
		case 25:
			fuzz->world->rng.state = byte(fuzz);
			world_ask(fuzz->world);
			break;
		case 26:
			(void)cleave_reserve(&fuzz->manual.self, byte(fuzz));
			break;
		default:
			step_cursor(fuzz);
			break;
		}
	}
	check_index(&fuzz->world->index);
	if (fuzz->world->model.count < 20)
		world_compare(fuzz->world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const walks[] = { NULL, "scalar", "avx2", "avx512" };
	static struct fuzz fuzz;
	const char *walk;
	unsigned int how;

	memset(&fuzz, 0, sizeof(fuzz));
	fuzz.input = (struct input){ data, data + size };
	how = byte(&fuzz);
	walk = walks[how >> 2 & 3];
	if (walk && !cleave_search_named(walk)) /* this processor has none of that name */
		walk = NULL;
	fuzz.tight = how & 16;
	manual_start(&fuzz.manual, (enum grace)(how % 3), walk, fuzz.tight ? 10 : UINT64_C(1) << 40);
	how = byte(&fuzz);
	for (int i = 0; i < 2; i++)
		world_start(&fuzz.worlds[i], &fuzz.manual.domain, &fuzz.manual.self,
			    &keyspaces[(how >> 4 * i & 15) % nkeyspaces], 1);
	fuzz.world = &fuzz.worlds[0];
	cleave_cursor_init(&fuzz.cursor, &fuzz.worlds[0].index, 0, how & 1);
	while (fuzz.input.at < fuzz.input.end)
		step(&fuzz);
	for (int i = 0; i < 2; i++) {
		world_compare(&fuzz.worlds[i]);
		world_stop(&fuzz.worlds[i]);
	}
	manual_stop(&fuzz.manual);
	return 0;
}
