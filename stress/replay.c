/* SPDX-License-Identifier: ISC */
/*
 * cleave-replay: replays recordings of address-space calls on the plain model and compares it
 * with each snapshot the recorder took; or on the library's maps as well, which are compared with
 * each snapshot, too.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tools/program.h"
#include "space_map.h"
#include "space_model.h"
#include "trace.h"

enum mode {
	MODE_CHECK,		/* only read the file */
	MODE_MODEL,
	MODE_MAP,		/* maps as well */
	MODE_MAP_JOINED,	/* maps which join neighbours */
};

struct replay {
	const char *path;
	struct space_model *model;
	struct space_map *map;		/* NULL: only the model */
	uint64_t event;			/* how many have been read */
	uint64_t kinds[TRACE_KINDS];
	uint64_t failed_calls;
	uint32_t processes;
	size_t peak_lines;		/* most lines of a snapshot, as the kernel splits them */
	size_t peak_ranges;		/* most ranges of one process in the model */
	uint32_t peak_process;
	uint64_t compared;
	uint64_t mismatches;		/* of ranges and protections */
	uint64_t other_mismatches;	/* only of the other attributes */
	uint64_t map_mismatches;	/* of the maps, in any attribute */
};

static const char *
side(bool mapped, uint32_t attributes, uint32_t object, uint64_t offset, char *text, size_t size)
{
	if (!mapped)
		return "nothing";
	snprintf(text, size, "%c%c%c%c%s object %" PRIu32 " offset %" PRIx64,
		 attributes & 1 ? 'r' : '-', attributes & 2 ? 'w' : '-',
		 attributes & 4 ? 'x' : '-', attributes & TRACE_SHARED ? 's' : 'p',
		 attributes & TRACE_GROWS_DOWN ? " grows down" : "", object, offset);
	return text;
}

static void
print_difference(const struct replay *replay, const char *what, uint32_t process,
		 const struct space_difference *difference)
{
	const struct space_range *model = &difference->model;
	const struct trace_range *snapshot = &difference->snapshot;
	char texts[2][80];

	printf("%s: event %" PRIu64 ", process %" PRIu32 ": %" PRIx64 "-%" PRIx64
	       " should be %s, is %s in the %s\n",
	       replay->path, replay->event, process, difference->start, difference->end,
	       side(difference->has_snapshot, snapshot->attributes, snapshot->object,
		    snapshot->offset, texts[0], sizeof(texts[0])),
	       side(difference->has_model, model->attributes, model->object, model->offset,
		    texts[1], sizeof(texts[1])), what);
}

static void
print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	printf("  %s\n", text);
}

static void
compare_map(struct replay *replay, const struct space_effect *effect)
{
	struct cleave_lines lines = { print_line };
	struct space_difference difference;

	if (!space_map_matches(replay->map, effect->process, effect->ranges, effect->count,
			       &difference)) {
		if (replay->map_mismatches++ == 0)
			print_difference(replay, "map", effect->process, &difference);
	}
	if (space_map_verify(replay->map, effect->process, &lines)) {
		if (replay->map_mismatches++ == 0)
			printf("%s: event %" PRIu64 ", process %" PRIu32
			       ": cleave_map_verify() finds faults\n",
			       replay->path, replay->event, effect->process);
	}
}

static void
compare(struct replay *replay, const struct space_effect *effect)
{
	struct space_difference difference;
	uint32_t process = effect->process;

	replay->compared++;
	if (space_model_matches(replay->model, process, effect->ranges, effect->count,
				SPACE_COMPARE_ALL, &difference))
		return;
	if (space_model_matches(replay->model, process, effect->ranges, effect->count,
				SPACE_COMPARE_PROT, &difference)) {
		space_model_matches(replay->model, process, effect->ranges, effect->count,
				    SPACE_COMPARE_ALL, &difference);
		replay->other_mismatches++;
	} else {
		replay->mismatches++;
	}
	if (replay->mismatches + replay->other_mismatches == 1)
		print_difference(replay, "model", process, &difference);
}

static int
on_effect(void *context, const struct space_effect *effect)
{
	struct replay *replay = context;
	const struct space_range *ranges;
	size_t count;
	int error;

	if (effect->kind == SPACE_SNAPSHOT) {
		compare(replay, effect);
		if (replay->map)
			compare_map(replay, effect);
		return 0;
	}
	error = space_model_effect(replay->model, effect);
	if (!error && replay->map)
		error = space_map_effect(replay->map, effect);
	count = space_model_ranges(replay->model, effect->process, &ranges);
	if (count > replay->peak_ranges)
		replay->peak_ranges = count;
	return error;
}

static bool
on_next(void *context, uint32_t process, uint64_t from, struct space_range *range)
{
	const struct replay *replay = context;

	/* What mremap moves is what the map holds. */
	if (replay->map)
		return space_map_next(replay->map, process, from, range);
	return space_model_next(replay->model, process, from, range);
}

static void
count_event(struct replay *replay, const struct trace_event *event)
{
	replay->event++;
	replay->kinds[event->kind]++;
	if (event->result)
		replay->failed_calls++;
	if (event->process > replay->processes)
		replay->processes = event->process;
	if (event->kind == TRACE_SNAPSHOT && event->count > replay->peak_lines) {
		replay->peak_lines = event->count;
		replay->peak_process = event->process;
	}
}

static void
report(const struct replay *replay)
{
	uint64_t calls = 0;

	for (int kind = TRACE_MAP; kind <= TRACE_OTHER; kind++)
		calls += replay->kinds[kind];
	printf("%s: %" PRIu32 " processes, %" PRIu64 " calls (%" PRIu64 " failed),"
	       " peak %zu map lines of process %" PRIu32 ", %zu ranges when joined,"
	       " %" PRIu64 " snapshots compared, %" PRIu64 " mismatches\n",
	       replay->path, replay->processes, calls, replay->failed_calls, replay->peak_lines,
	       replay->peak_process, replay->peak_ranges, replay->compared,
	       replay->mismatches + replay->other_mismatches);
	printf(" ");
	for (int kind = 0; kind < TRACE_KINDS; kind++)
		if (replay->kinds[kind])
			printf(" %s %" PRIu64, trace_kind_name((enum trace_kind)kind),
			       replay->kinds[kind]);
	printf("\n");
	if (replay->map) {
		struct space_map_figures figures;

		space_map_figures(replay->map, &figures);
		printf("  maps: at most %" PRIu64 " entries in a snapshot, %" PRIu64 " forks, %"
		       PRIu64 " objects, %" PRIu64 " mismatches\n", figures.peak_entries,
		       figures.forks, figures.objects, replay->map_mismatches);
	}
	if (replay->other_mismatches)
		printf("  of the mismatches %" PRIu64 " are only of shared, grows down, object or"
		       " offset\n", replay->other_mismatches);
}

/* One object of the array; `json` may be NULL. */
static void
write_json(FILE *json, const struct replay *replay, size_t left)
{
	if (!json)
		return;
	fprintf(json, "%s\n  { \"file\": ", ftell(json) > 0 ? "," : "");
	program_json_string(json, replay->path);
	fprintf(json, ", \"processes\": %" PRIu32 ", \"failed_calls\": %" PRIu64 ", \"peak_lines\": %zu,"
		" \"peak_ranges\": %zu, \"snapshots\": %" PRIu64 ", \"mismatches\": %" PRIu64 ",\n"
		"    \"map_mismatches\": %" PRIu64 ", \"objects_left\": %zu, \"events\": {",
		replay->processes, replay->failed_calls, replay->peak_lines, replay->peak_ranges,
		replay->compared, replay->mismatches + replay->other_mismatches,
		replay->map_mismatches, left);
	for (int kind = 0; kind < TRACE_KINDS; kind++)
		fprintf(json, "%s\"%s\": %" PRIu64, kind ? ", " : " ",
			trace_kind_name((enum trace_kind)kind), replay->kinds[kind]);
	fprintf(json, " } }");
}

static int
create(struct replay *replay, const struct trace *trace, enum mode mode)
{
	int error = space_model_create(&replay->model);

	if (!error && mode != MODE_MODEL)
		error = space_map_create(&replay->map, trace_page_size(trace),
					 mode == MODE_MAP_JOINED);
	return error;
}

/* Return whether something was wrong. */
static bool
judge(struct replay *replay, FILE *json)
{
	size_t left;
	bool wrong = replay->mismatches || replay->other_mismatches || replay->map_mismatches;

	report(replay);
	left = space_map_destroy(replay->map);
	replay->map = NULL;
	if (left)
		printf("%s: %zu objects have references in the end\n", replay->path, left);
	write_json(json, replay, left);
	return wrong || left;
}

/* Return an exit status. */
static int
replay_file(const char *path, enum mode mode, FILE *json)
{
	static const struct space_ops ops = { on_effect, on_next };
	struct replay replay = { .path = path };
	struct space *space = NULL;
	struct trace *trace;
	struct trace_event event;
	char message[256];
	int got = 0, error, status = PROGRAM_WRONG;

	if (trace_open(&trace, path, message, sizeof(message))) {
		fprintf(stderr, "cleave-replay: %s: %s\n", path, message);
		return PROGRAM_WRONG;
	}
	error = create(&replay, trace, mode);
	if (!error)
		error = space_create(&space, &ops, &replay);
	while (!error && (got = trace_next(trace, &event)) != 0) {
		if (got < 0) {
			fprintf(stderr, "cleave-replay: %s: %s\n", path, trace_error(trace));
			break;
		}
		count_event(&replay, &event);
		error = space_apply(space, &event);
	}
	if (error) {
		fprintf(stderr, "cleave-replay: %s: event %" PRIu64 ": %s\n", path, replay.event,
			strerror(-error));
		status = EXIT_FAILURE;
	} else if (got == 0) {
		status = judge(&replay, json) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	space_map_destroy(replay.map);
	space_destroy(space);
	space_model_destroy(replay.model);
	trace_close(trace);
	return status;
}

/* Only read the file, which checks every field of it. Return an exit status. */
static int
check_file(const char *path)
{
	struct trace_log *log;
	char message[256];

	if (trace_load(&log, path, message, sizeof(message))) {
		fprintf(stderr, "cleave-replay: %s: %s\n", path, message);
		return PROGRAM_WRONG;
	}
	printf("%s: %zu events of %" PRIu32 " processes, undamaged\n", path, log->count,
	       log->processes);
	trace_unload(log);
	return EXIT_SUCCESS;
}

static const char help[] =
"usage: cleave-replay [--check | --map | --map-joined] [--json FILE] RECORDING...\n"
"\n"
"Replays recordings of address-space calls, which cleave-record made, on a plain model, and\n"
"compares the model with every snapshot of the real mappings in the recording.\n"
"\n"
"  --check        only look whether the files are undamaged, do not replay them\n"
"  --map          replay them on the library's maps as well, and compare those, too\n"
"  --map-joined   the same, with maps which join neighbours that differ in nothing\n"
"  --json FILE    the figures of what was replayed for a machine; - for standard output\n"
"  --help         this text\n"
"\n"
"Examples:\n"
"  cleave-replay stress/traces/*.trace.zst\n"
"  cleave-replay --map stress/traces/java.trace.zst\n"
"  cleave-replay --check out.trace.zst\n"
"\n"
"Exit status: 0 all match, 1 a snapshot does not, 2 a damaged file or wrong usage;\n"
"130 interrupted: what comes first on the command line is done.\n";

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "check", no_argument, NULL, 'c' },
		{ "map", no_argument, NULL, 'm' },
		{ "map-joined", no_argument, NULL, 'j' },
		{ "json", required_argument, NULL, 'J' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	enum mode mode = MODE_MODEL;
	const char *path = NULL;
	char *text = NULL;
	size_t size;
	FILE *json = NULL;
	int option, worst = EXIT_SUCCESS;

	program_begin(argv);
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			mode = MODE_CHECK;
			break;
		case 'm':
			mode = MODE_MAP;
			break;
		case 'j':
			mode = MODE_MAP_JOINED;
			break;
		case 'J':
			path = program_output(optarg);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind == argc)
		program_wrong("which recording?");
	if (path && mode == MODE_CHECK)
		program_wrong("--check has no figures for --json");
	if (path && !(json = open_memstream(&text, &size)))
		program_wrong("%s", strerror(errno));
	program_ends_early();
	for (int i = optind; i < argc && !program_stopped; i++) {
		int status = mode == MODE_CHECK ? check_file(argv[i]) :
						  replay_file(argv[i], mode, json);

		if (status == EXIT_FAILURE || !worst)
			worst = status;
	}
	if (json && !fclose(json)) {
		FILE *file = program_open(path);

		if (file)
			fprintf(file, "[%s\n]\n", text);
		if ((!file || !program_close(file, path)) && !worst)
			worst = PROGRAM_WRONG;
		free(text);
	}
	return program_end(worst);
}
