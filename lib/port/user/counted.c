/* SPDX-License-Identifier: ISC */
/* Memory that is counted.  The counts say nothing of what is in it: all relaxed. */
#include "user.h"

#include <cleave/section.h>

static void *counted_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	struct cleave_counted_memory *counted = (struct cleave_counted_memory *)(uintptr_t)memory;
	void *block = counted->below->alloc(counted->below, size, align);
	uint64_t now, peak;

	if (!block) {
		PORT_FETCH_ADD(&counted->failures, 1, PORT_RELAXED);
		return NULL;
	}
	PORT_FETCH_ADD(&counted->blocks, 1, PORT_RELAXED);
	now = PORT_FETCH_ADD(&counted->bytes, size, PORT_RELAXED) + size;
	peak = PORT_LOAD(&counted->peak, PORT_RELAXED);
	while (peak < now && !PORT_CAS(&counted->peak, &peak, now, PORT_RELAXED, PORT_RELAXED))
		;
	return block;
}

static void counted_free(const struct cleave_memory *memory, void *block, size_t size)
{
	struct cleave_counted_memory *counted = (struct cleave_counted_memory *)(uintptr_t)memory;

	PORT_FETCH_ADD(&counted->bytes, (uint64_t)0 - size, PORT_RELAXED);
	PORT_FETCH_ADD(&counted->blocks, UINT64_MAX, PORT_RELAXED);
	counted->below->free(counted->below, block, size);
}

void cleave_counted_memory_init(struct cleave_counted_memory *counted, const struct cleave_memory *below)
{
	*counted = (struct cleave_counted_memory){
		.memory = { .alloc = counted_alloc, .free = counted_free },
		.below = below,
	};
}

void cleave_counted_memory_usage(const struct cleave_counted_memory *counted, struct cleave_memory_usage *usage)
{
	usage->bytes = PORT_LOAD(&counted->bytes, PORT_RELAXED);
	usage->peak = PORT_LOAD(&counted->peak, PORT_RELAXED);
	usage->blocks = PORT_LOAD(&counted->blocks, PORT_RELAXED);
	usage->failures = PORT_LOAD(&counted->failures, PORT_RELAXED);
}
