/* SPDX-License-Identifier: ISC */
#include "oracle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static void set(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
}

static void *zeroed(size_t count, size_t size)
{
	size_t bytes = (count * size + 63) & ~(size_t)63;
	void *memory = aligned_alloc(64, bytes);

	if (memory)
		memset(memory, 0, bytes);
	return memory;
}

int oracle_init(struct oracle *oracle, size_t buckets, unsigned int ways, size_t deaths)
{
	memset(oracle, 0, sizeof(*oracle));
	oracle->buckets = buckets;
	oracle->ways = ways;
	oracle->deaths = deaths;
	oracle->lost = zeroed(buckets, sizeof(*oracle->lost));
	oracle->life = zeroed(buckets * ways, sizeof(*oracle->life));
	oracle->death = zeroed(deaths, sizeof(*oracle->death));
	return oracle->lost && oracle->life && oracle->death ? 0 : -ENOMEM;
}

void oracle_exit(struct oracle *oracle)
{
	free(oracle->lost);
	free(oracle->life);
	free(oracle->death);
}

static size_t bucket_of(const struct oracle *oracle, uint64_t first)
{
	return (first * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (oracle->buckets - 1);
}

/* ---- The owner ---- */

uint64_t oracle_next(const struct oracle *oracle)
{
	return (atomic_load_explicit(&oracle->clock, memory_order_relaxed) >> 1) + 1;
}

/* A reader that sees one of the new fields sees the odd version too, and then what stands before this call. */
static void write_life(struct life *life, uint64_t version, uint64_t value, uint64_t first, uint64_t last,
		       uint64_t from, uint64_t to)
{
	set(&life->version, version - 1);
	set(&life->first, first);
	set(&life->last, last);
	set(&life->value, value);
	set(&life->from, from);
	set(&life->to, to);
	set(&life->version, version);
}

struct life *oracle_begin(struct oracle *oracle, const void *value, uint64_t first, uint64_t last, uint64_t state)
{
	size_t bucket = bucket_of(oracle, first);
	struct life *life = oracle->life + bucket * oracle->ways, *oldest = life;

	for (unsigned int i = 1; i < oracle->ways; i++)
		if (get(&life[i].to) < get(&oldest->to))
			oldest = &life[i];
	if (get(&oldest->to) == ORACLE_OPEN) {
		set(&oracle->lost[bucket], UINT64_MAX);
		return NULL;
	}
	if (get(&oldest->to) > get(&oracle->lost[bucket]))
		set(&oracle->lost[bucket], get(&oldest->to));
	write_life(oldest, get(&oldest->version) + 2, (uintptr_t)value, first, last, state, ORACLE_OPEN);
	return oldest;
}

static void log_gap(struct oracle *oracle, const struct life *life, uint64_t state)
{
	uint64_t number = get(&oracle->died);
	struct life *death = &oracle->death[number & (oracle->deaths - 1)];

	write_life(death, 2 * (number + 1), 0, get(&life->first), get(&life->last), get(&life->from), state);
	set(&oracle->died, number + 1);
}

void oracle_end(struct oracle *oracle, struct life *life, uint64_t state)
{
	if (!life)
		return;
	if (!get(&life->value))
		log_gap(oracle, life, state);
	set(&life->to, state);
}

void oracle_announce(struct oracle *oracle)
{
	/* [O1-rel] lives before the change */
	set(&oracle->clock, atomic_load_explicit(&oracle->clock, memory_order_relaxed) + 1);
}

void oracle_settle(struct oracle *oracle)
{
	/* [O2-rel] the change before its end */
	set(&oracle->clock, atomic_load_explicit(&oracle->clock, memory_order_relaxed) + 1);
}

/* ---- Readers ---- */

/* A consistent copy of a life; false: it is being replaced, so that it ended long ago. */
static bool read_life(const struct life *life, uint64_t *first, uint64_t *last, uint64_t *value, struct span *span,
		      uint64_t *version)
{
	*version = get(&life->version);
	if (*version & 1)
		return false;
	*first = get(&life->first);
	*last = get(&life->last);
	*value = get(&life->value);
	span->from = get(&life->from);
	span->to = get(&life->to);
	return get(&life->version) == *version;
}

enum verdict oracle_lives(const struct oracle *oracle, const void *value, uint64_t first, uint64_t last,
			  struct window window, struct spans *spans)
{
	size_t bucket = bucket_of(oracle, first);
	const struct life *life = oracle->life + bucket * oracle->ways;

	spans->n = 0;
	for (unsigned int i = 0; i < oracle->ways; i++) {
		uint64_t its_first, its_last, its_value, version;
		struct span span;

		if (get(&life[i].first) != first)
			continue;
		if (!read_life(&life[i], &its_first, &its_last, &its_value, &span, &version))
			continue;
		if (its_first != first || its_last != last || its_value != (uintptr_t)value || span.from == span.to)
			continue;
		if (span.from <= window.b && span.to > window.a && spans->n < ORACLE_SPANS)
			spans->span[spans->n++] = span;
	}
	if (spans->n == ORACLE_SPANS || get(&oracle->lost[bucket]) > window.a)
		return UNDECIDED;
	return spans->n ? RIGHT : WRONG;
}

enum verdict oracle_was_gap(const struct oracle *oracle, uint64_t first, uint64_t last, struct window window)
{
	uint64_t died = get(&oracle->died);

	for (uint64_t number = died; number-- > 0;) {
		uint64_t its_first, its_last, its_value, version;
		struct span span;

		if (died - number > oracle->deaths)
			return UNDECIDED;
		if (!read_life(&oracle->death[number & (oracle->deaths - 1)], &its_first, &its_last, &its_value, &span,
			       &version) ||
		    version != 2 * (number + 1))
			return UNDECIDED;
		if (span.to <= window.a)
			return WRONG;
		if (its_first <= first && its_last >= last && span.from <= window.b)
			return RIGHT;
	}
	return WRONG;
}

void spans_intersect(struct spans *spans, const struct spans *with)
{
	struct spans both = { 0 };

	for (unsigned int i = 0; i < spans->n; i++) {
		for (unsigned int j = 0; j < with->n && both.n < ORACLE_SPANS; j++) {
			const struct span *x = &spans->span[i], *y = &with->span[j];
			struct span z = { x->from > y->from ? x->from : y->from, x->to < y->to ? x->to : y->to };

			if (z.from < z.to)
				both.span[both.n++] = z;
		}
	}
	*spans = both;
}
