/* SPDX-License-Identifier: ISC */
/*
 * cleave-replay: replays recordings of address-space calls on the plain model and compares it
 * with each snapshot the recorder took.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "space_model.h"
#include "trace.h"

#define EXIT_USAGE	2

struct replay {
	const char *path;
	struct space_model *model;
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
print_difference(const struct replay *replay, uint32_t process,
		 const struct space_difference *difference)
{
	const struct space_range *model = &difference->model;
	const struct trace_range *snapshot = &difference->snapshot;
	char texts[2][80];

	printf("%s: event %" PRIu64 ", process %" PRIu32 ": %" PRIx64 "-%" PRIx64
	       " should be %s, is %s\n",
	       replay->path, replay->event, process, difference->start, difference->end,
	       side(difference->has_snapshot, snapshot->attributes, snapshot->object,
		    snapshot->offset, texts[0], sizeof(texts[0])),
	       side(difference->has_model, model->attributes, model->object, model->offset,
		    texts[1], sizeof(texts[1])));
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
		print_difference(replay, process, &difference);
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
		return 0;
	}
	error = space_model_effect(replay->model, effect);
	count = space_model_ranges(replay->model, effect->process, &ranges);
	if (count > replay->peak_ranges)
		replay->peak_ranges = count;
	return error;
}

static bool
on_next(void *context, uint32_t process, uint64_t from, struct space_range *range)
{
	const struct replay *replay = context;

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
	if (replay->other_mismatches)
		printf("  of the mismatches %" PRIu64 " are only of shared, grows down, object or"
		       " offset\n", replay->other_mismatches);
}

/* Return an exit status. */
static int
replay_file(const char *path)
{
	static const struct space_ops ops = { on_effect, on_next };
	struct replay replay = { .path = path };
	struct space *space = NULL;
	struct trace *trace;
	struct trace_event event;
	char message[256];
	int got, error;

	if (trace_open(&trace, path, message, sizeof(message))) {
		fprintf(stderr, "cleave-replay: %s: %s\n", path, message);
		return EXIT_USAGE;
	}
	error = space_model_create(&replay.model);
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
	space_destroy(space);
	space_model_destroy(replay.model);
	trace_close(trace);
	if (error) {
		fprintf(stderr, "cleave-replay: %s: %s\n", path, strerror(-error));
		return EXIT_FAILURE;
	}
	if (got < 0)
		return EXIT_USAGE;
	report(&replay);
	return replay.mismatches || replay.other_mismatches ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Only read the file, which checks every field of it. Return an exit status. */
static int
check_file(const char *path)
{
	struct trace_log *log;
	char message[256];

	if (trace_load(&log, path, message, sizeof(message))) {
		fprintf(stderr, "cleave-replay: %s: %s\n", path, message);
		return EXIT_USAGE;
	}
	printf("%s: %zu events of %" PRIu32 " processes, undamaged\n", path, log->count,
	       log->processes);
	trace_unload(log);
	return EXIT_SUCCESS;
}

static const char help[] =
"usage: cleave-replay [--check] FILE...\n"
"\n"
"Replays recordings of address-space calls, which cleave-record made, on a plain model, and\n"
"compares the model with every snapshot of the real mappings in the recording.\n"
"\n"
"  --check   only look whether the files are undamaged, do not replay them\n"
"  --help    this text\n"
"\n"
"Examples:\n"
"  cleave-replay stress/traces/*.trace.zst\n"
"  cleave-replay --check out.trace.zst\n"
"\n"
"Exit status: 0 all match, 1 a snapshot does not, 2 a damaged file or wrong usage.\n";

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "check", no_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool only_check = false;
	int option, worst = EXIT_SUCCESS;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			only_check = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind == argc) {
		fprintf(stderr, "cleave-replay: which recording? (--help tells more)\n");
		return EXIT_USAGE;
	}
	for (int i = optind; i < argc; i++) {
		int status = only_check ? check_file(argv[i]) : replay_file(argv[i]);

		if (status > worst)
			worst = status;
	}
	return worst;
}
