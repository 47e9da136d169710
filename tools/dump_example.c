/* SPDX-License-Identifier: ISC */
/*
 * Prints the dump of an index.  Entry i is [i * 3000, i * 3000 + 1fff] (hexadecimal), and the highest address has an
 * entry of its own.  For the tests of cleave-map and cleave-gdb.py.
 */
#include "program.h"

#include <cleave/section.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	puts(text);
}

static const char help[] = "usage: dump-example [options]\n"
			   "\n"
			   "Print the dump of an index.\n"
			   "\n"
			   "  --entries N    so many, and one more (10)\n"
			   "  --nodes        its nodes, too\n"
			   "  --abort        then hold entry 1 and abort\n"
			   "  --help         this text\n"
			   "\n"
			   "Example:\n"
			   "  dump-example --entries 300 --nodes | cleave-map show --dump -\n"
			   "\n"
			   "Exit status: 0; 2: wrong usage, no memory, or no output.\n";

static uint64_t parse(bool *nodes, bool *aborts, int argc, char **argv)
{
	static const struct option names[] = {
		{ "entries", required_argument, NULL, 'e' },
		{ "nodes", no_argument, NULL, 'n' },
		{ "abort", no_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t entries = 10;
	int option;

	while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (option) {
		case 'e':
			entries = program_number("entries", optarg, 0, 1000000);
			break;
		case 'n':
			*nodes = true;
			break;
		case 'a':
			*aborts = true;
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
	return entries;
}

int main(int argc, char **argv)
{
	static CLEAVE_SECTION_DOMAIN domain;
	static CLEAVE_SECTION_THREAD record;
	static struct cleave index;
	static struct cleave_hold hold;
	static char values[2];
	struct cleave_lines lines = { print_line };
	bool nodes = false, aborts = false;
	uint64_t n;
	int error;

	program_begin(argv);
	n = parse(&nodes, &aborts, argc, argv);
	if (cleave_section_start(&domain, NULL, 0))
		return PROGRAM_WRONG;
	cleave_section_register(&record, &domain);
	error = cleave_init(&index, &record.thread);
	for (uint64_t i = 0; i < n && !error; i++)
		error = cleave_insert(&index, &record.thread, i * 0x3000, i * 0x3000 + 0x1fff, &values[0], NULL);
	if (!error)
		error = cleave_insert(&index, &record.thread, UINT64_MAX, UINT64_MAX, &values[1], NULL);
	cleave_section_enter(&record);
	cleave_dump_rcu(&index, &lines, nodes);
	cleave_section_leave(&record);
	if (aborts) {
		fflush(stdout);
		cleave_hold_begin(&hold, &index, &record.thread, 0x3000);
		abort();
	}
	cleave_destroy(&index, &record.thread);
	cleave_section_unregister(&record, &domain);
	cleave_section_stop(&domain);
	return program_end(error ? PROGRAM_WRONG : EXIT_SUCCESS);
}
