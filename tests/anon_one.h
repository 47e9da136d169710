/* SPDX-License-Identifier: ISC */
/* One thread's stores, for tests that each begin with none; and a copier of pages that never fails. */
#ifndef TESTS_ANON_ONE_H
#define TESTS_ANON_ONE_H

#include "anon_support.h"

static struct anon_world world;

static inline int start(void **state)
{
	(void)state;
	anon_world_start(&world, GRACE_LATE);
	return 0;
}

/* Checks that nothing leaked. */
static inline int stop(void **state)
{
	(void)state;
	anon_world_stop(&world);
	return 0;
}

static inline int copy_page(struct cleave_anon_copier *copier, uint64_t from, uint64_t *content)
{
	(void)copier;
	(void)from;
	*content = pages_take(world.pages, false);
	return 0;
}

static inline void undo_page(struct cleave_anon_copier *copier, uint64_t content)
{
	(void)copier;
	pages_release(&world.pages->ops, content);
}

#endif
