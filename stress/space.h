/* SPDX-License-Identifier: ISC */
/*
 * Turns the events of a recording into effects on address spaces.
 *
 * A recording says what a program asked for and what the kernel answered. A consumer, be it an
 * index under test or a model, wants to know what happened to which range. It gives two
 * functions: one carries an effect out, the other looks a range up (mremap moves what is there).
 *
 * Ranges are half open, in bytes, multiples of the page size.
 */
#ifndef STRESS_SPACE_H
#define STRESS_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"

/* An attribute besides TRACE_PROT, TRACE_SHARED, TRACE_GROWS_DOWN: a fork leaves it out. */
#define SPACE_NO_FORK	0x20U

struct space_range {
	uint64_t start;
	uint64_t end;
	uint64_t offset;	/* in the object, of "start"; 0 if there is none */
	uint32_t object;	/* 0: anonymous and private */
	uint32_t attributes;
};

enum space_kind {
	SPACE_EXEC,	/* process begins; it is empty */
	SPACE_FORK,	/* process begins as a copy of other, but for SPACE_NO_FORK ranges */
	SPACE_EXIT,	/* process ends and loses all ranges */
	SPACE_MAP,	/* range replaces whatever is there */
	SPACE_GROW,	/* the same; a stack has grown by it, nothing was there */
	SPACE_UNMAP,	/* range.start to range.end becomes empty; it may be so in part already */
	SPACE_PROTECT,	/* what is mapped there gets the TRACE_PROT of range.attributes */
	SPACE_ADVISE,	/* what is mapped there gets the SPACE_NO_FORK of range.attributes */
	SPACE_SNAPSHOT,	/* process must look like ranges now: nothing to carry out */
	SPACE_KINDS
};

struct space_effect {
	enum space_kind kind;
	uint32_t process;
	uint32_t other;
	struct space_range range;
	const struct trace_range *ranges;	/* SPACE_SNAPSHOT */
	size_t count;
};

struct space_ops {
	/* Return 0 or negative errno, which ends the replay. */
	int (*effect)(void *context, const struct space_effect *effect);
	/* Find the first range of @process which ends above @from; false if there is none. */
	bool (*next)(void *context, uint32_t process, uint64_t from, struct space_range *range);
};

/* What has to be remembered between events: where the brk of each process is. */
struct space;

int space_create(struct space **out, const struct space_ops *ops, void *context);
void space_destroy(struct space *space);

/**
 * Carry out one event. Events of one process must come in their order, and a fork, exec or exit
 * in its order among those of both processes; processes are otherwise independent.
 * Return: 0 or negative errno: that of an effect, or -ENOMEM.
 */
int space_apply(struct space *space, const struct trace_event *event);

#endif
