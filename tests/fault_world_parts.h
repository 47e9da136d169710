/* SPDX-License-Identifier: ISC */
/* What the parts of the fault tests' world share: fault_world.c, fault_tables.c, fault_backing.c. */
#ifndef TESTS_FAULT_WORLD_PARTS_H
#define TESTS_FAULT_WORLD_PARTS_H

#include "fault_world.h"

static inline struct fault_world *world_of(const struct cleave_space_ops *ops)
{
	return (struct fault_world *)(uintptr_t)ops;
}

static inline uint64_t load(struct cleave_word *word)
{
	return __atomic_load_n(&word->word, __ATOMIC_ACQUIRE);
}

static inline void store(struct cleave_word *word, uint64_t value)
{
	__atomic_store_n(&word->word, value, __ATOMIC_RELEASE);
}

static inline void add(struct cleave_word *word, uint64_t value)
{
	__atomic_fetch_add(&word->word, value, __ATOMIC_ACQ_REL);
}

/* Shall this callback fail? */
bool fault_fails(struct fault_world *world);

static inline void check_guarded(void)
{
	CHECK(__atomic_load_n(&fault_self->context->guard.word.word, __ATOMIC_RELAXED) & 1, "called without a guard");
}

static inline void check_unguarded(void)
{
	CHECK(!(__atomic_load_n(&fault_self->context->guard.word.word, __ATOMIC_RELAXED) & 1), "called under a guard");
}

static inline struct sim_page *page_at(struct fault_world *world, uint64_t page)
{
	CHECK((page & 1) == 0 && page >= 2 && page / 2 < world->npages, "page %llu was never made", LL(page));
	return &world->pages[page / 2];
}

/* A page that is free becomes this (0: none is left); and back. */
uint64_t fault_page_take(struct fault_world *world, enum sim_state state, uint64_t value);
void fault_page_give(struct fault_world *world, uint64_t page, enum sim_state state);

/* Callbacks: page tables; objects and swap. */
void fault_tables_embed(struct cleave_space_ops *ops);
void fault_backing_embed(struct cleave_space_ops *ops);
void fault_remove_page(const struct cleave_space_ops *ops, uint64_t page);

#endif
