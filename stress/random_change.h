/* SPDX-License-Identifier: ISC */
/* Changes that no recording asked for. */
#ifndef STRESS_RANDOM_CHANGE_H
#define STRESS_RANDOM_CHANGE_H

#include "shared.h"
#include "stripe.h"
#include "worker.h"

struct writer {
	struct worker *worker;
	struct put *puts; /* scratch */
	size_t room;
	struct shared shared;
};

void writer_room(struct writer *writer, size_t n);

/* One random change.  Not `free`: the mappings stay what they are, but for entries that random_forget() erases. */
void random_change(struct writer *writer, struct stripe *stripe, bool free);
void random_forget(struct writer *writer, struct stripe *stripe);

/* A random request with a window of some tiles; not CLEAVE_RANDOM. */
void random_request(struct rng *rng, bool narrow, uint64_t min, uint64_t max, struct cleave_request *request);

#endif
