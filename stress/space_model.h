/* SPDX-License-Identifier: ISC */
/*
 * The plainest address space there is, to compare others with: for each process a sorted array
 * of ranges which do not overlap. Neighbours with the same attributes are one range.
 */
#ifndef STRESS_SPACE_MODEL_H
#define STRESS_SPACE_MODEL_H

#include "space.h"

struct space_model;

int space_model_create(struct space_model **out);
void space_model_destroy(struct space_model *model);

/* For space_create(), with the model as context. */
extern const struct space_ops space_model_ops;

/* The two functions of space_model_ops, for consumers which wrap them. */
int space_model_effect(void *model, const struct space_effect *effect);
bool space_model_next(void *model, uint32_t process, uint64_t from, struct space_range *range);

/* The ranges of @process; good until the next effect. Return how many. */
size_t space_model_ranges(const struct space_model *model, uint32_t process,
			  const struct space_range **ranges);

/* Which attributes of a range are compared. */
enum space_compare {
	SPACE_COMPARE_PROT,	/* the protection */
	SPACE_COMPARE_ALL,	/* and shared, grows down, object and offset */
};

/* The first piece in which two address spaces differ. An object of a hole is 0. */
struct space_difference {
	uint64_t start;
	uint64_t end;
	bool has_model;			/* is it mapped in the model */
	bool has_snapshot;
	struct space_range model;
	struct trace_range snapshot;
};

/* Return: whether the model's @process looks like the snapshot. */
bool space_model_matches(const struct space_model *model, uint32_t process,
			 const struct trace_range *ranges, size_t count,
			 enum space_compare what, struct space_difference *difference);

#endif
