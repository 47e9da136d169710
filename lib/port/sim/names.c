/* SPDX-License-Identifier: ISC */
/* What traces call things. */
#include "internal.h"

#include <stdio.h>

static const char *const order_names[] = { "relaxed", "acquire", "release", "acq_rel", "seq_cst" };

const char *sim_node_name(unsigned int number, uint32_t size)
{
	static char names[4][32];
	static unsigned int turn;
	char *name = names[turn++ % 4];

	snprintf(name, sizeof(names[0]), "%s%u",
		 size == sizeof(struct cleave__leaf)	 ? "leaf"
		 : size == sizeof(struct cleave__branch) ? "branch"
							 : "thing",
		 number);
	return name;
}

static const char *range_names(const struct cleave *index, const struct cleave_domain *domain, const char *p)
{
	static char name[48];
	size_t offset;

	if (index && p >= (const char *)index && p < (const char *)(index + 1))
		return p == (const char *)&index->root ? "root" : "root_lock";
	if (!domain || p < (const char *)domain || p >= (const char *)(domain + 1))
		return "?";
	offset = (size_t)(p - (const char *)domain);
	if (offset == offsetof(struct cleave_domain, garbage))
		return "garbage";
	if (offset == offsetof(struct cleave_domain, lock))
		return "domain.lock";
	snprintf(name, sizeof(name), "bucket[%zu]",
		 (offset - offsetof(struct cleave_domain, bucket)) / sizeof(struct cleave_bucket));
	return name;
}

const struct cleave *sim_index;
const struct cleave_domain *sim_domain;

static void array_name(char *name, size_t size, const char *node, uint32_t field, const char *first, size_t at_first,
		       const char *second, size_t at_second)
{
	snprintf(name, size, "%s.%s[%zu]", node, field < at_second ? first : second,
		 (field - (field < at_second ? at_first : at_second)) / 8);
}

const char *sim_name(const void *p)
{
	static char name[96];
	uint32_t field, size;
	unsigned int i = sim_node_number(p, &field, &size);
	const char *node;

	if (!i)
		return range_names(sim_index, sim_domain, p);
	node = sim_node_name(i, size);
	if (size != sizeof(struct cleave__leaf) && size != sizeof(struct cleave__branch))
		snprintf(name, sizeof(name), "%s+%u", node, (unsigned int)field);
	else if (field == offsetof(struct cleave__node, order))
		snprintf(name, sizeof(name), "%s.order", node);
	else if (field == offsetof(struct cleave__node, lock))
		snprintf(name, sizeof(name), "%s.lock", node);
	else if (size == sizeof(struct cleave__leaf))
		array_name(name, sizeof(name), node, field, "start", offsetof(struct cleave__leaf, start), "value",
			   offsetof(struct cleave__leaf, value));
	else
		array_name(name, sizeof(name), node, field, "child", offsetof(struct cleave__branch, child), "gap",
			   offsetof(struct cleave__branch, gap));
	return name;
}

const char *sim_value_name(const void *p, unsigned int size, uint64_t value)
{
	static char names[4][64];
	static unsigned int turn;
	char *name = names[turn++ % 4];
	uint32_t field, node_size, target_size, ignored;
	unsigned int i = sim_node_number(p, &field, &node_size);
	unsigned int j = sim_node_number((const void *)(uintptr_t)(value & ~(uint64_t)63), &ignored, &target_size);

	if (size == 4) {
		snprintf(name, sizeof(names[0]), "%u%s%s%s%s", (unsigned int)value, value & 1 ? " locked" : "",
			 value & 2 ? " waiters" : "", value & 4 ? " asked" : "", value & 8 ? " granted" : "");
	} else if (j) {
		snprintf(name, sizeof(names[0]), "%s", sim_node_name(j, target_size));
	} else if (i && field == 0) {
		int n = snprintf(name, sizeof(names[0]), "%s{", value >= CLEAVE__DEAD ? "dead " : "");
		unsigned int count = cleave__count12(cleave__live(value));

		for (unsigned int r = 0; r < count; r++)
			n += snprintf(name + n, sizeof(names[0]) - (size_t)n, r ? ",%u" : "%u", cleave__cell(value, r));
		snprintf(name + n, sizeof(names[0]) - (size_t)n, "} removals %u", (unsigned int)(value >> 60));
	} else {
		snprintf(name, sizeof(names[0]), "%#llx", (unsigned long long)value);
	}
	return name;
}

void sim_trace(const char *what, const void *p, unsigned int size, int order, uint64_t value, const char *more,
	       const struct sim_site *site)
{
	const char *file = strrchr(site->file, '/');

	if (sim.trace)
		sim_note("%-8s %-7s %-18s %s%s  [%s:%d %s]", what, order_names[order], sim_name(p),
			 sim_value_name(p, size, value), more, file ? file + 1 : site->file, site->line,
			 site->function);
}
