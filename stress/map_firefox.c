/* SPDX-License-Identifier: ISC */
/*
 * Scenario "Firefox": a browser's address space of 6,849 entries, 457 of them pieces of 64 KiB that a kernel which
 * chunks anonymous memory has made.  One thread changes protections, unmaps and maps; eight look up what a page fault
 * would; a flat array judges every answer.  Before that, the pieces are joined and the entries counted.
 *
 * Each recorded mapping is divided into up to 64 cells, and changes begin and end at cells.  The array has a word for
 * each cell: what it was before the last change of it and what it is since, and how many changes it has had.  The word
 * of a cell that is being changed allows both.  A reader reads the words before and after its lookup; where more than
 * one change of the cell went by, what was allowed in between is unknown (counted as undecided).  Where nothing at all
 * was changed meanwhile, the whole entry must be as in the array, from border to border.
 */
#include "map_cells.h"

#include "../tools/program.h"

#include <cleave/section.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READERS 8
#define CHANGE_CELLS 40 /* of a change, at most */
#define LOOKUPS 32	/* in a read section */

/* What is known of a cell. */
#define CELL_MAPPED 0x01u
#define CELL_PROT(flags) ((flags) >> 1 & 7u)
#define CELL_PROTECTION(prot) ((prot) << 1)
#define CELL_PROTECTIONS CELL_PROTECTION(7u)
#define CELL_BEGINS 0x10u /* an entry begins here, even if the cell below is mapped */
#define CELL_FIRST 0x20u  /* as it was mapped first: maybe a file */

/* A word: changes << 16 | flags before << 8 | flags after. */
#define WORD(changes, before, after) ((uint64_t)(changes) << 16 | (uint64_t)(before) << 8 | (after))
#define BEFORE(word) ((unsigned int)((word) >> 8) & 0xffu)
#define AFTER(word) ((unsigned int)(word)&0xffu)
#define CHANGES(word) ((word) >> 16)

struct scenario {
	struct cells cells;
	uint64_t seed;
	uint64_t changes; /* to make; in the end, those made */
	CLEAVE_SECTION_DOMAIN domain;
	struct cleave_maps maps;
	struct cleave_map map;
	_Atomic uint64_t *word; /* one a cell */
	_Atomic uint64_t clock; /* odd while a change is under way */
	_Atomic size_t place;	/* the first cell of the last change */
	atomic_bool stop;
	atomic_uint failures;
};

struct reader {
	CLEAVE_SECTION_THREAD record; /* some flavours keep it to the end */
	struct scenario *scenario;
	pthread_t thread;
	uint64_t seed;
	uint64_t *versions; /* the newest that was seen of each cell */
	uint64_t lookups;
	uint64_t mapped;
	uint64_t whole;	     /* entries compared from border to border */
	uint64_t overlapped; /* a change of the cell was under way */
	uint64_t undecided;
	uint64_t checks; /* of protections of ranges */
};

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t below(uint64_t *state, uint64_t bound)
{
	return next_random(state) % bound;
}

/* ---- Judging ---- */

static void fail(struct scenario *scenario, uint64_t addr, const char *what, const struct cleave_map_entry *entry,
		 uint64_t before, uint64_t after)
{
	if (atomic_fetch_add(&scenario->failures, 1) < 4)
		printf("FAILED (seed %" PRIu64 "): %" PRIx64 ": %s: entry %" PRIx64 "-%" PRIx64
		       " protection %u, array %" PRIx64 " then %" PRIx64 "\n",
		       scenario->seed, addr, what, entry->start, entry->end, entry->attributes.protection, before,
		       after);
	atomic_store(&scenario->stop, true);
}

/* Is the answer what these flags say of the cell? */
static bool agrees(const struct scenario *scenario, unsigned int flags, size_t cell, bool mapped,
		   const struct cleave_map_entry *entry)
{
	const struct mapping *mapping = &scenario->cells.mapping[scenario->cells.mapping_of[cell]];
	const struct trace_range *recorded = &mapping->recorded;

	if (!mapped || !(flags & CELL_MAPPED))
		return mapped == !!(flags & CELL_MAPPED);
	if (entry->start > cell_start(&scenario->cells, cell) || entry->end < cell_end(&scenario->cells, cell))
		return false;
	if (entry->attributes.protection != CELL_PROT(flags))
		return false;
	if (!(flags & CELL_FIRST))
		return !entry->attributes.object;
	return entry->attributes.object == cells_object(recorded) &&
	       (!recorded->object || cleave_map_offset(entry) == recorded->offset + (entry->start - recorded->start));
}

static bool begins(const struct scenario *scenario, size_t cell)
{
	return !cell_touches(&scenario->cells, cell) || AFTER(atomic_load(&scenario->word[cell])) & CELL_BEGINS ||
	       !(AFTER(atomic_load(&scenario->word[cell - 1])) & CELL_MAPPED);
}

/* Nothing was being changed: an entry is what the array has from one border to the next. */
static bool whole_agrees(const struct scenario *scenario, size_t cell, bool mapped,
			 const struct cleave_map_entry *entry)
{
	size_t first = cell, end = cell + 1;

	if (!mapped)
		return true;
	while (!begins(scenario, first))
		first--;
	while (cell_touches(&scenario->cells, end) && !begins(scenario, end) &&
	       AFTER(atomic_load(&scenario->word[end])) & CELL_MAPPED)
		end++;
	return entry->start == cell_start(&scenario->cells, first) && entry->end == cell_end(&scenario->cells, end - 1);
}

static void judge(struct reader *reader, size_t cell, uint64_t addr, uint64_t clock, uint64_t before, bool mapped,
		  const struct cleave_map_entry *entry)
{
	struct scenario *scenario = reader->scenario;
	uint64_t after = atomic_load(&scenario->word[cell]);
	const unsigned int allowed[4] = { BEFORE(before), AFTER(before), BEFORE(after), AFTER(after) };
	bool right = false, still;

	if (CHANGES(after) - CHANGES(before) > 1) {
		reader->undecided++;
		return;
	}
	for (unsigned int i = 0; i < 4 && !right; i++)
		right = agrees(scenario, allowed[i], cell, mapped, entry);
	if (!right)
		fail(scenario, addr, "this was never there", entry, before, after);
	reader->overlapped += before != after || BEFORE(before) != AFTER(before);
	if (mapped) {
		if (entry->version < reader->versions[cell])
			fail(scenario, addr, "an older version than was seen before", entry, before, after);
		reader->versions[cell] = entry->version;
	}
	if (clock & 1 || atomic_load(&scenario->clock) != clock)
		return;
	right = whole_agrees(scenario, cell, mapped, entry);
	still = atomic_load(&scenario->clock) == clock;
	if (!right && still)
		fail(scenario, addr, "not from border to border", entry, before, after);
	reader->whole += still;
}

/* ---- Readers ---- */

/* Often near the last place, as faults come, or where the writer is; in the free space between mappings, too. */
static uint64_t choose(const struct scenario *scenario, uint64_t *seed, size_t *cell)
{
	uint64_t end, way = below(seed, 8);

	if (way < 2)
		*cell = below(seed, scenario->cells.n);
	else if (way < 4)
		*cell = (atomic_load(&scenario->place) + below(seed, CHANGE_CELLS + 2)) % scenario->cells.n;
	else
		*cell = (*cell + below(seed, 9) + scenario->cells.n - 4) % scenario->cells.n;
	end = cell_end(&scenario->cells, *cell);
	if (below(seed, 16) == 0 && !cell_touches(&scenario->cells, *cell + 1) && end < UINT64_MAX - 4095)
		return end;
	return cell_start(&scenario->cells, *cell) + below(seed, end - cell_start(&scenario->cells, *cell));
}

static void look(struct reader *reader, size_t *cell)
{
	struct scenario *scenario = reader->scenario;
	uint64_t addr = choose(scenario, &reader->seed, cell), clock, before;
	struct cleave_map_entry entry;
	bool mapped;

	reader->lookups++;
	if (addr >= cell_end(&scenario->cells, *cell)) {
		if (cleave_map_lookup_rcu(&scenario->map, addr, &entry))
			fail(scenario, addr, "nothing is ever mapped here", &entry, 0, 0);
		return;
	}
	clock = atomic_load(&scenario->clock);
	before = atomic_load(&scenario->word[*cell]);
	mapped = cleave_map_lookup_rcu(&scenario->map, addr, &entry);
	reader->mapped += mapped;
	judge(reader, *cell, addr, clock, before, mapped, &entry);
}

/* A range at one instant: judged where nothing was changed meanwhile. */
static void check(struct reader *reader, struct cleave_map_thread *thread)
{
	struct scenario *scenario = reader->scenario;
	size_t first = below(&reader->seed, scenario->cells.n), end = first + 1 + below(&reader->seed, 8);
	unsigned int wanted = (unsigned int)below(&reader->seed, 8);
	uint64_t clock = atomic_load(&scenario->clock);
	bool expected = true, got;

	if (end > scenario->cells.n)
		end = scenario->cells.n;
	got = cleave_map_check_protection(&scenario->map, thread, cell_start(&scenario->cells, first),
					  cell_end(&scenario->cells, end - 1), wanted);
	for (size_t cell = first; cell < end; cell++) {
		unsigned int flags = AFTER(atomic_load(&scenario->word[cell]));

		expected = expected && flags & CELL_MAPPED && !(wanted & ~CELL_PROT(flags)) &&
			   (cell == first || cell_touches(&scenario->cells, cell));
	}
	if (clock & 1 || atomic_load(&scenario->clock) != clock)
		return;
	reader->checks++;
	if (got != expected)
		fail(scenario, cell_start(&scenario->cells, first), "its protection was misjudged",
		     &(struct cleave_map_entry){ 0 }, got, expected);
}

static void *read_all(void *argument)
{
	struct reader *reader = argument;
	struct scenario *scenario = reader->scenario;
	struct cleave_map_thread thread;
	size_t cell = 0;

	cleave_section_register(&reader->record, &scenario->domain);
	cleave_map_thread_init(&thread, &scenario->maps, &reader->record.thread);
	while (!atomic_load(&scenario->stop)) {
		cleave_section_enter(&reader->record);
		for (unsigned int i = 0; i < LOOKUPS; i++)
			look(reader, &cell);
		cleave_section_leave(&reader->record);
		check(reader, &thread);
		cleave_section_quiescent(&reader->record);
	}
	cleave_map_thread_exit(&thread);
	cleave_section_unregister(&reader->record, &scenario->domain);
	return NULL;
}

/* ---- The writer ---- */

struct change {
	enum { PROTECT, UNMAP, MAP } kind;
	size_t first; /* cells */
	size_t end;
	unsigned int protection;
};

static unsigned int flags_of(const struct scenario *scenario, size_t cell)
{
	return AFTER(atomic_load_explicit(&scenario->word[cell], memory_order_relaxed));
}

static struct change choose_change(const struct scenario *scenario, uint64_t *seed)
{
	struct change change = {
		.first = below(seed, scenario->cells.n),
		.protection = (unsigned int)below(seed, 8),
	};
	size_t most = change.first + 1 + below(seed, CHANGE_CELLS);

	if (most > scenario->cells.n)
		most = scenario->cells.n;
	change.end = most;
	change.kind = below(seed, 3) ? PROTECT : UNMAP;
	if (flags_of(scenario, change.first) & CELL_MAPPED)
		return change;
	change.kind = MAP;
	change.end = change.first + 1;
	while (change.end < most && cell_touches(&scenario->cells, change.end) &&
	       !(flags_of(scenario, change.end) & CELL_MAPPED))
		change.end++;
	return change;
}

/* What the change makes of a cell; `end` is the one above the last, which may begin an entry then. */
static unsigned int changed(const struct scenario *scenario, const struct change *change, size_t cell)
{
	unsigned int flags = flags_of(scenario, cell), before;
	unsigned int protection = CELL_PROTECTION(change->protection);

	if (cell == change->end) {
		before = flags_of(scenario, cell - 1);
		if (!(flags & CELL_MAPPED) || !cell_touches(&scenario->cells, cell))
			return flags;
		if (change->kind != PROTECT || (before & CELL_MAPPED && (before & CELL_PROTECTIONS) != protection))
			flags |= CELL_BEGINS;
		return flags;
	}
	switch (change->kind) {
	case UNMAP:
		return 0;
	case MAP:
		return CELL_MAPPED | protection | (cell == change->first ? CELL_BEGINS : 0);
	default:
		/* What is already so is not clipped. */
		if (!(flags & CELL_MAPPED) || (flags & CELL_PROTECTIONS) == protection)
			return flags;
		return (flags & ~CELL_PROTECTIONS) | protection | (cell == change->first ? CELL_BEGINS : 0);
	}
}

static int carry_out(struct scenario *scenario, struct cleave_map_thread *thread, const struct change *change)
{
	uint64_t start = cell_start(&scenario->cells, change->first), end = cell_end(&scenario->cells, change->end - 1);
	struct cleave_map_request request = {
		.addr = start,
		.size = end - start,
		.flags = CLEAVE_MAP_FIXED,
		.entry_flags = CLEAVE_MAP_COW,
		.protection = (uint8_t)change->protection,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};

	if (change->kind == PROTECT)
		return cleave_map_protect(&scenario->map, thread, start, end, change->protection, 0, 0);
	if (change->kind == UNMAP)
		return cleave_map_unmap(&scenario->map, thread, start, end, 0);
	return cleave_map_map(&scenario->map, thread, &request);
}

static void make_change(struct scenario *scenario, struct cleave_map_thread *thread, const struct change *change)
{
	size_t n = change->end - change->first + (change->end < scenario->cells.n);
	uint64_t words[CHANGE_CELLS + 1];

	for (size_t i = 0; i < n; i++) {
		uint64_t old = atomic_load_explicit(&scenario->word[change->first + i], memory_order_relaxed);

		words[i] = WORD(CHANGES(old) + 1, AFTER(old), changed(scenario, change, change->first + i));
	}
	atomic_store(&scenario->place, change->first);
	atomic_fetch_add(&scenario->clock, 1);
	for (size_t i = 0; i < n; i++)
		atomic_store(&scenario->word[change->first + i], words[i]);
	must(carry_out(scenario, thread, change), "change");
	for (size_t i = 0; i < n; i++)
		atomic_store(&scenario->word[change->first + i],
			     WORD(CHANGES(words[i]), AFTER(words[i]), AFTER(words[i])));
	atomic_fetch_add(&scenario->clock, 1);
}

/* Only qsbr knows threads that hold up nobody without being in a section. */
static void offline(void)
{
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_offline();
#endif
}

static void online(void)
{
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_online();
#endif
}

static void write_all(struct scenario *scenario, struct cleave_map_thread *thread, CLEAVE_SECTION_THREAD *record)
{
	uint64_t seed = scenario->seed, kinds[3] = { 0 };

	for (uint64_t i = 0; i < scenario->changes && !atomic_load(&scenario->stop) && !program_stopped; i++) {
		struct change change = choose_change(scenario, &seed);

		make_change(scenario, thread, &change);
		kinds[change.kind]++;
		cleave_section_quiescent(record);
		if (i % 256)
			continue;
		if (program_progress_due(stdout))
			program_progress(stdout, "%" PRIu64 " of %" PRIu64 " changes", i, scenario->changes);
		offline();
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		online();
	}
	atomic_store(&scenario->stop, true);
	scenario->changes = kinds[PROTECT] + kinds[UNMAP] + kinds[MAP];
	program_progress_over(stdout);
	printf("writer: %" PRIu64 " protects, %" PRIu64 " unmaps, %" PRIu64 " maps\n", kinds[PROTECT], kinds[UNMAP],
	       kinds[MAP]);
}

/* ---- All ---- */

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	printf("  %s\n", text);
}

/* Everybody has left: every cell, and the map's own checks. */
static void check_all(struct scenario *scenario, struct cleave_map_thread *thread, CLEAVE_SECTION_THREAD *record)
{
	struct cleave_lines lines = { print_line };
	uint64_t entries = 0;

	for (size_t cell = 0; cell < scenario->cells.n; cell++) {
		uint64_t word = atomic_load(&scenario->word[cell]);
		struct cleave_map_entry entry;
		bool mapped;

		cleave_section_enter(record);
		mapped = cleave_map_lookup_rcu(&scenario->map, cell_start(&scenario->cells, cell), &entry);
		cleave_section_leave(record);
		if (!agrees(scenario, AFTER(word), cell, mapped, &entry) ||
		    !whole_agrees(scenario, cell, mapped, &entry))
			fail(scenario, cell_start(&scenario->cells, cell), "in the end", &entry, word, word);
		entries += mapped && begins(scenario, cell);
	}
	if (cells_entries(&scenario->map, thread) != entries)
		fail(scenario, 0, "the number of entries", &(struct cleave_map_entry){ 0 },
		     cells_entries(&scenario->map, thread), entries);
	if (cleave_map_verify(&scenario->map, thread, &lines))
		fail(scenario, 0, "cleave_map_verify()", &(struct cleave_map_entry){ 0 }, 0, 0);
}

/* Return: what the readers have done, together. */
static struct reader run(struct scenario *scenario, struct cleave_map_thread *thread, CLEAVE_SECTION_THREAD *record)
{
	static struct reader readers[READERS];
	struct reader sum = { .lookups = 0 };

	for (unsigned int i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .scenario = scenario, .seed = scenario->seed + 1 + i };
		readers[i].versions = need(calloc(scenario->cells.n, sizeof(*readers[i].versions)));
		must(-pthread_create(&readers[i].thread, NULL, read_all, &readers[i]), "thread");
	}
	write_all(scenario, thread, record);
	offline();
	for (unsigned int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		free(readers[i].versions);
		sum.lookups += readers[i].lookups;
		sum.mapped += readers[i].mapped;
		sum.whole += readers[i].whole;
		sum.overlapped += readers[i].overlapped;
		sum.undecided += readers[i].undecided;
		sum.checks += readers[i].checks;
	}
	online();
	printf("readers: %" PRIu64 " lookups (%" PRIu64 " mapped), %" PRIu64 " compared from border to border, %" PRIu64
	       " beside a change of their cell, %" PRIu64 " undecided, %" PRIu64 " protections of ranges\n",
	       sum.lookups, sum.mapped, sum.whole, sum.overlapped, sum.undecided, sum.checks);
	check_all(scenario, thread, record);
	printf("in the end: %" PRIu64 " entries\n", cells_entries(&scenario->map, thread));
	return sum;
}

static void make_array(struct scenario *scenario)
{
	scenario->word = need(calloc(scenario->cells.n, sizeof(*scenario->word)));
	for (size_t cell = 0; cell < scenario->cells.n; cell++) {
		const struct mapping *mapping = &scenario->cells.mapping[scenario->cells.mapping_of[cell]];
		unsigned int flags = CELL_MAPPED | CELL_FIRST |
				     CELL_PROTECTION(mapping->recorded.attributes & TRACE_PROT) |
				     (cell == mapping->cell ? CELL_BEGINS : 0);

		scenario->word[cell] = WORD(0, flags, flags);
	}
}

static bool write_json(const char *path, const struct scenario *scenario, const struct reader *sum, bool good)
{
	FILE *file = program_open(path);

	if (!file)
		return false;
	fprintf(file,
		"{ \"seed\": %" PRIu64 ", \"changes\": %" PRIu64 ", \"lookups\": %" PRIu64 ", \"mapped\": %" PRIu64
		", \"whole\": %" PRIu64 ", \"overlapped\": %" PRIu64 ", \"undecided\": %" PRIu64
		", \"protections\": %" PRIu64 ", \"passed\": %s }\n",
		scenario->seed, scenario->changes, sum->lookups, sum->mapped, sum->whole, sum->overlapped,
		sum->undecided, sum->checks, good ? "true" : "false");
	return program_close(file, path);
}

static const char help[] =
	"usage: map-firefox-FLAVOUR [options] RECORDING\n"
	"\n"
	"One thread changes a map of a browser's 6,849 entries, eight look things up in it; a flat array judges every\n"
	"answer.\n"
	"\n"
	"  --changes N    how many (50000)\n"
	"  --seed N       of all random choices (from the clock)\n"
	"  --json FILE    the figures for a machine; - for standard output\n"
	"  --help         this text\n"
	"\n"
	"Examples:\n"
	"  map-firefox-memb stress/traces/firefox.trace.zst\n"
	"  map-firefox-qsbr --changes 2000000 --json figures.json stress/traces/firefox.trace.zst\n"
	"\n"
	"Exit status: 0 passed, 1 a wrong answer, 2 wrong usage or a damaged recording, 130 interrupted.\n";

/* Return: where JSON is wanted, or NULL. */
static const char *parse(struct scenario *scenario, int argc, char **argv)
{
	static const struct option names[] = {
		{ "changes", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *json = NULL;
	struct timespec now;
	int option;

	clock_gettime(CLOCK_REALTIME, &now);
	scenario->changes = 50000;
	scenario->seed = (uint64_t)now.tv_sec ^ (uint64_t)now.tv_nsec << 20;
	while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (option) {
		case 'c':
			scenario->changes = program_number("changes", optarg, 1, UINT64_MAX);
			break;
		case 's':
			scenario->seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'j':
			json = program_output(optarg);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind + 1 != argc)
		program_wrong("which recording?");
	return json;
}

int main(int argc, char **argv)
{
	static const struct cleave_map_ops ops = { .object_ref = NULL };
	static struct scenario scenario;
	static CLEAVE_SECTION_THREAD record;
	struct cleave_map_thread thread;
	struct reader sum;
	const char *json;
	bool good;
	int status;

	program_begin(argv);
	json = parse(&scenario, argc, argv);
	program_ends_early();
	cells_load(&scenario.cells, argv[optind]);
	printf("seed %" PRIu64 "\n", scenario.seed);
	make_array(&scenario);
	must(cleave_section_start(&scenario.domain, NULL, 0), "start");
	cleave_section_register(&record, &scenario.domain);
	cleave_maps_init(&scenario.maps, &scenario.domain.domain, &ops);
	cleave_map_thread_init(&thread, &scenario.maps, &record.thread);
	good = cells_join(&scenario.cells, &scenario.map, &thread);
	cells_map(&scenario.cells, &scenario.map, &thread);
	sum = run(&scenario, &thread, &record);
	good = good && !atomic_load(&scenario.failures);
	cleave_map_destroy(&scenario.map, &thread);
	cleave_map_thread_exit(&thread);
	cleave_section_unregister(&record, &scenario.domain);
	cleave_section_stop(&scenario.domain);
	free(scenario.word);
	cells_free(&scenario.cells);
	printf("%s (seed %" PRIu64 ")\n", good ? "passed" : "FAILED", scenario.seed);
	status = good ? 0 : 1;
	if (json && !write_json(json, &scenario, &sum, good) && !status)
		status = PROGRAM_WRONG;
	return program_end(status);
}
