/* SPDX-License-Identifier: ISC */
#include "lines.h"

#include "../../tools/program.h"

#include <getopt.h>
#include <string.h>

const char *arena;
bool written[THREADS][LINES];
bool noting;

/* ---- The port's accessors, noted ---- */

static void note(const void *p)
{
	size_t line = line_of(p);

	if (noting && line < LINES && sim_self() < THREADS)
		written[sim_self()][line] = true;
}

/* The linker gives the core these, and these the simulator's (--wrap). */
void __real_sim_store(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site);
uint64_t __real_sim_exchange(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site);
uint64_t __real_sim_fetch_add(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site);
bool __real_sim_cas(void *word, unsigned int size, uint64_t *expected, uint64_t value, int ok, int fail,
		    const struct sim_site *site);
void __real_sim_cell(const void *cell, bool write, const struct sim_site *site);
void __wrap_sim_store(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site);
uint64_t __wrap_sim_exchange(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site);
uint64_t __wrap_sim_fetch_add(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site);
bool __wrap_sim_cas(void *word, unsigned int size, uint64_t *expected, uint64_t value, int ok, int fail,
		    const struct sim_site *site);
void __wrap_sim_cell(const void *cell, bool write, const struct sim_site *site);

void __wrap_sim_store(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site)
{
	note(word);
	__real_sim_store(word, size, value, order, site);
}

uint64_t __wrap_sim_exchange(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site)
{
	note(word);
	return __real_sim_exchange(word, size, value, order, site);
}

uint64_t __wrap_sim_fetch_add(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site)
{
	note(word);
	return __real_sim_fetch_add(word, size, value, order, site);
}

bool __wrap_sim_cas(void *word, unsigned int size, uint64_t *expected, uint64_t value, int ok, int fail,
		    const struct sim_site *site)
{
	note(word);
	return __real_sim_cas(word, size, expected, value, ok, fail, site);
}

void __wrap_sim_cell(const void *cell, bool write, const struct sim_site *site)
{
	if (write)
		note(cell);
	__real_sim_cell(cell, write, site);
}

/* ---- Executions ---- */

enum sim_result lines_run(const struct sim_snapshot *snapshot, unsigned int nthreads, void (*body)(unsigned int thread),
			  uint64_t i)
{
	struct sim_execution execution;
	enum sim_result result;

	sim_snapshot_restore(snapshot);
	memset(written, 0, sizeof(written));
	noting = true;
	result = sim_execute(nthreads, body, i, &execution);
	noting = false;
	return result;
}

enum sim_result lines_run_alone(const struct sim_snapshot *snapshot, void (*body)(unsigned int thread))
{
	enum sim_result result = lines_run(snapshot, 1, body, 0);

	for (size_t i = 0; i < snapshot->used; i++)
		if (((const char *)snapshot->bytes)[i] != arena[i])
			written[0][i / 64] = true;
	return result;
}

/* ---- The programs ---- */

void lines_begin(int argc, char **argv, const char *what)
{
	static const struct option longs[] = { { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int option;

	program_begin(argv);
	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option != 'h')
			program_wrong("%s", "");
		printf("usage: %s\n\n%s\n\nExample:\n  %s && echo they do\n"
		       "\nExit status: 0 passed, 1 a line is written that must not be, 2 wrong usage or no output.\n",
		       program_name, what, program_name);
		exit(program_end(0));
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
}

int lines_end(bool good)
{
	printf("%s\n", good ? "passed" : "FAILED");
	return program_end(good ? 0 : 1);
}
