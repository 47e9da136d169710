/* SPDX-License-Identifier: ISC */
/* What people and programs are told. */
#ifndef MIRROR_REPORT_H
#define MIRROR_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

struct totals {
	struct mirror_process sum;
	uint64_t calls;
	uint32_t processes;
	double seconds;
	double caught[MIRROR_CATCHES];	  /* seconds until then */
	const char *text[MIRROR_CATCHES]; /* NULL: none */
	const char *trouble_text;	  /* NULL */
	/* Filled in by the caller, for the table: */
	bool naive;
	bool ended; /* by the supervisor, as it was told */
	const char *program;
	int program_status;  /* of wait */
	const char *problem; /* NULL */
};

void report_sum(const struct mirror_shared *shared, struct totals *totals);
/* One line, written over, if standard error is a terminal; else one now and then. */
void report_progress(const struct totals *totals);
void report_table(const struct totals *totals);
bool report_json(const struct totals *totals, const char *path);

#endif
