/* SPDX-License-Identifier: ISC */
/* What the parts of a world share: world.c, world_draw.c and world_ask.c. */
#ifndef TESTS_WORLD_PARTS_H
#define TESTS_WORLD_PARTS_H

#include "world.h"

#define PRINT(entry) (unsigned long long)(entry).first, (unsigned long long)(entry).last, (entry).value
#define LL(x) ((unsigned long long)(x))

void *world_value_or_gap(struct rng *rng);
void world_request_random(struct world *world, struct cleave_request *request);
/* Lookups at both ends of a range and beside it.  In a read section. */
void world_ask_around(struct world *world, uint64_t first, uint64_t last);

static inline void enter(struct world *world)
{
	world->domain->ops->enter(world->domain, world->self);
}

static inline void leave(struct world *world)
{
	world->domain->ops->leave(world->domain, world->self);
}

static inline void same_entry(const char *what, uint64_t addr, const struct cleave_entry *got,
			      const struct cleave_entry *want)
{
	CHECK(got->first == want->first && got->last == want->last && got->value == want->value,
	      "%s at %#llx: [%#llx, %#llx] %p, should be [%#llx, %#llx] %p", what, LL(addr), PRINT(*got), PRINT(*want));
}

#endif
