/* SPDX-License-Identifier: ISC */
/* The states of a model that were reached, each once: to try all interleavings of its steps. */
#ifndef TESTS_STATES_H
#define TESTS_STATES_H

#include "support.h"

/* A state is bytes, without padding: two are equal if their bytes are. */
struct states {
	unsigned char *bytes; /* of all that were reached, in the order of their finding */
	uint32_t *table;      /* by hash: a number + 1 */
	size_t size, n, most;
};

/* `most`: a power of two. */
static inline void states_start(struct states *states, size_t size, size_t most)
{
	*states = (struct states){ .size = size, .most = most };
	states->bytes = calloc(most, size);
	states->table = calloc(2 * most, sizeof(*states->table));
	CHECK(states->bytes && states->table, "memory");
}

static inline void states_end(struct states *states)
{
	free(states->bytes);
	free(states->table);
}

static inline const void *states_at(const struct states *states, size_t i)
{
	return states->bytes + i * states->size;
}

static inline void states_reach(struct states *states, const void *state)
{
	const unsigned char *bytes = state;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t bucket;

	for (size_t i = 0; i < states->size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	for (bucket = (hash ^ hash >> 32) & (2 * states->most - 1); states->table[bucket];
	     bucket = (bucket + 1) & (2 * states->most - 1))
		if (!memcmp(states_at(states, states->table[bucket] - 1), state, states->size))
			return;
	CHECK(states->n < states->most, "more than %zu states", states->most);
	memcpy(states->bytes + states->n++ * states->size, state, states->size);
	states->table[bucket] = (uint32_t)states->n;
}

#endif
