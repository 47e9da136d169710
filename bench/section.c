/* SPDX-License-Identifier: ISC */
/*
 * The cost of a read section alone.  Compiled once for each flavour: CLEAVE_SECTION_... chooses it, BENCH_SECTION is
 * the table's symbol and BENCH_NAME its name; _LGPL_SOURCE, where it is defined, makes liburcu's functions inline.
 */
#include "bench.h"

#include <cleave/section.h>

#include <stdio.h>
#include <stdlib.h>

static CLEAVE_SECTION_DOMAIN domain;
static CLEAVE_SECTION_THREAD record;

static void start(void)
{
	if (cleave_section_start(&domain, NULL, 0)) {
		fprintf(stderr, "cleave-bench: cannot start %s\n", BENCH_NAME);
		exit(1);
	}
	cleave_section_register(&record, &domain);
}

static void stop(void)
{
	cleave_section_unregister(&record, &domain);
	cleave_section_stop(&domain);
}

static void run(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		cleave_section_enter(&record);
		__asm__ volatile("" : : : "memory");
		cleave_section_leave(&record);
	}
	cleave_section_quiescent(&record);
}

const struct bench_section BENCH_SECTION = {
	.name = BENCH_NAME,
	.run = run,
	.start = start,
	.stop = stop,
};
