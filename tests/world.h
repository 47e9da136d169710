/* SPDX-License-Identifier: ISC */
/*
 * An index and its model, driven side by side with random operations.
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include "model.h"
#include "support.h"

/* Where random addresses come from. */
struct keyspace {
	const char *name;
	uint64_t base;
	uint64_t units; /* 0: all of 2^64, sizes of every magnitude */
	uint64_t unit;
	uint64_t longest; /* of an entry, in units */
};

extern const struct keyspace keyspaces[];
extern const size_t nkeyspaces;

uint64_t keyspace_addr(const struct keyspace *space, struct rng *rng);
void keyspace_range(const struct keyspace *space, struct rng *rng, uint64_t *first, uint64_t *last);

enum call {
	CALL_INSERT,
	CALL_STORE,
	CALL_ERASE,
	CALL_CLIP,
	CALL_UNCLIP,
	CALL_REPLACE_IF,
	CALL_ALLOC,
	CALL_TXN,
	CALL_HOLD,
	CALL_TRY_STORE,
	CALL_TRY_CLIP,
	CALL_TRY_REPLACE_IF,
	CALL_TRY_TXN,
	CALLS
};

#define OPERATION_PUTS 8

struct operation {
	enum call call;
	uint64_t first;
	uint64_t last;
	void *value;
	struct cleave_entry expected;
	struct cleave_request request;
	struct cleave_entry put[OPERATION_PUTS];
	unsigned int puts;
	bool commit;	/* or abort */
	bool two_steps; /* publish, then end */
};

struct outcome {
	int result;
	struct cleave_entry entry; /* insert's conflict, replace_if's expected, what was held */
	uint64_t addr;		   /* alloc */
	struct displaced displaced;
};

struct world {
	struct cleave_domain *domain;
	struct cleave_thread *self;
	struct cleave index;
	struct model model;
	struct model base; /* scratch: the model before the operation */
	struct rng rng;
	const struct keyspace *space;
	uint64_t seed;
	uint64_t step;
	uint64_t refused; /* try forms that answered -EAGAIN */
	uint64_t tried;
	struct cleave_request request; /* the last one drawn */
	uint64_t edges;		       /* allocations whose search could begin where the last one's did */
};

void world_start(struct world *world, struct cleave_domain *domain, struct cleave_thread *self,
		 const struct keyspace *space, uint64_t seed);
void world_stop(struct world *world);

void operation_random(struct world *world, struct operation *operation);
/* A line for a person. */
void operation_print(const struct operation *operation, char *text, size_t size);

/* Do it to the index. */
void world_call(struct world *world, const struct operation *operation, struct outcome *outcome);
/* Do it to the model too, and compare what both said. */
void world_follow(struct world *world, const struct operation *operation, const struct outcome *outcome);

/* One random operation, checked. */
void world_step(struct world *world);
/* Random questions, each answered by both. */
void world_ask(struct world *world);
/* Compare everything: invariants, cursors both ways, lookups at every boundary, statistics. */
void world_compare(struct world *world);

#endif
