/* SPDX-License-Identifier: ISC */
/*
 * Prints the dump of an index: `dump-example N` or `dump-example N nodes`.  Entry i is [i * 3000, i * 3000 + 1fff]
 * (hexadecimal), and the highest address has an entry of its own.  With a third argument it holds entry 1 then, and
 * aborts.  For the tests of cleave-map and cleave-gdb.py.
 */
#include <cleave/section.h>

#include <stdio.h>
#include <stdlib.h>

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	puts(text);
}

int main(int argc, char **argv)
{
	static CLEAVE_SECTION_DOMAIN domain;
	static CLEAVE_SECTION_THREAD record;
	static struct cleave index;
	static struct cleave_hold hold;
	static char values[2];
	struct cleave_lines lines = { print_line };
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	int error;

	if (cleave_section_start(&domain, NULL, 0))
		return EXIT_FAILURE;
	cleave_section_register(&record, &domain);
	error = cleave_init(&index, &record.thread);
	for (unsigned long i = 0; i < n && !error; i++)
		error = cleave_insert(&index, &record.thread, i * 0x3000, i * 0x3000 + 0x1fff, &values[0], NULL);
	if (!error)
		error = cleave_insert(&index, &record.thread, UINT64_MAX, UINT64_MAX, &values[1], NULL);
	cleave_section_enter(&record);
	cleave_dump_rcu(&index, &lines, argc > 2);
	cleave_section_leave(&record);
	if (argc > 3) {
		fflush(stdout);
		cleave_hold_begin(&hold, &index, &record.thread, 0x3000);
		abort();
	}
	cleave_destroy(&index, &record.thread);
	cleave_section_unregister(&record, &domain);
	cleave_section_stop(&domain);
	return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
