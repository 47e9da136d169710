/* SPDX-License-Identifier: ISC */
/*
 * A larger address space, made from a recorded one: the fullest snapshot of a recording, with
 * clusters of its mappings repeated at other addresses.
 */
#ifndef STRESS_SCALE_H
#define STRESS_SCALE_H

#include <stddef.h>
#include <stdint.h>

#include "trace.h"

struct scale {
	struct trace_range *range;	/* sorted, not overlapping, as the kernel splits them */
	size_t count;
	size_t recorded;	/* so many of them are as recorded, the others are copies */
	uint32_t process;	/* of the recording */
};

/**
 * Take the fullest snapshot of @p log and repeat clusters of it until there are @p count ranges;
 * the same @p seed gives the same ranges. If there are as many already, nothing is repeated and
 * nothing left out.
 *
 * Return: 1 if clusters were repeated, 0 if the ranges are only recorded ones, or negative errno:
 * -ENOMEM, -ENODATA without a snapshot, -EINVAL if no cluster is small enough to be repeated,
 * -ENOSPC if the addresses do not suffice.
 */
int scale_peak(struct scale **out, const struct trace_log *log, size_t count, uint64_t seed);

void scale_free(struct scale *scale);

#endif
