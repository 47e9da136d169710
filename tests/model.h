/* SPDX-License-Identifier: ISC */
/*
 * The plain model: what an index is, without any of its machinery.  A sorted array of cells that tile [0, 2^64 - 1],
 * and the meaning of include/cleave/cleave.h spelled out on it.
 */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include <cleave/cleave.h>

struct model {
	struct cleave_entry *cell;
	size_t count;
	size_t room;
};

/* Entries that a change displaced, in address order. */
struct displaced {
	struct cleave_sink sink;
	struct cleave_entry *entry;
	size_t count;
	size_t room;
};

void displaced_init(struct displaced *displaced);
void displaced_free(struct displaced *displaced);
void displaced_add(struct displaced *displaced, const struct cleave_entry *entry);
/* Join neighbouring parts of one cell of `base`: a transaction may deliver an entry put by put. */
void displaced_join(struct displaced *displaced, const struct model *base);

void model_init(struct model *model);
void model_free(struct model *model);
void model_copy(struct model *to, const struct model *from);
bool model_equal(const struct model *one, const struct model *other);

/* The number of the cell that holds `addr`. */
size_t model_find(const struct model *model, uint64_t addr);
const struct cleave_entry *model_at(const struct model *model, uint64_t addr);
/* Cells with a value. */
size_t model_entries(const struct model *model);

int model_clip(struct model *model, uint64_t addr);
int model_unclip(struct model *model, uint64_t addr);
int model_insert(struct model *model, uint64_t first, uint64_t last, void *value, struct cleave_entry *conflict);
int model_store(struct model *model, uint64_t first, uint64_t last, void *value, struct displaced *displaced);
int model_replace_if(struct model *model, struct cleave_entry *expected, void *value);

/* Does [addr, addr + size - 1] meet the request, and lie in a gap?  Not: is it the best. */
bool model_gap_fits(const struct model *model, const struct cleave_request *request, uint64_t addr);
/* 0 and the best address; for CLEAVE_RANDOM the lowest.  -ENOSPC, -EINVAL. */
int model_find_gap(const struct model *model, const struct cleave_request *request, uint64_t *addr);

int model_covers(const struct model *model, uint64_t first, uint64_t last, cleave_predicate *predicate, void *context,
		 struct cleave_entry *bad);

#endif
