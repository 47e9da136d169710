/* SPDX-License-Identifier: ISC */
/* A recording, replayed on the plain model until the wanted event. */
#include "source.h"

#include <space_model.h>
#include <trace.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct replay {
	struct space_model *model;
	struct space *space;
	uint64_t events;
	uint32_t process; /* of the last event */
	uint32_t processes;
	enum trace_kind kind;
	/* Where there were most mappings. */
	uint32_t wanted; /* only of this process; 0: of any */
	size_t most;
	uint64_t most_event;
	uint32_t most_process;
};

static int on_effect(void *context, const struct space_effect *effect)
{
	struct replay *replay = context;

	return effect->kind == SPACE_SNAPSHOT ? 0 : space_model_effect(replay->model, effect);
}

static bool on_next(void *context, uint32_t process, uint64_t from, struct space_range *range)
{
	struct replay *replay = context;

	return space_model_next(replay->model, process, from, range);
}

static void note_peak(struct replay *replay)
{
	const struct space_range *ranges;
	size_t count = space_model_ranges(replay->model, replay->process, &ranges);

	if ((replay->wanted && replay->wanted != replay->process) || count <= replay->most)
		return;
	replay->most = count;
	replay->most_event = replay->events;
	replay->most_process = replay->process;
}

/* Replay `limit` events, or all there are, each of them checked. */
static int replay_until(struct replay *replay, const char *path, uint64_t limit, char error[SOURCE_ERROR])
{
	static const struct space_ops ops = { on_effect, on_next };
	struct trace_event event;
	struct trace *trace;
	char message[256];
	int got = trace_open(&trace, path, message, sizeof(message));

	if (got) {
		snprintf(error, SOURCE_ERROR, "%.200s: %s", path, message);
		return got;
	}
	got = space_model_create(&replay->model);
	if (!got)
		got = space_create(&replay->space, &ops, replay);
	while (!got && replay->events < limit) {
		got = trace_next(trace, &event);
		if (got <= 0)
			break;
		replay->events++;
		replay->process = event.process;
		replay->kind = event.kind;
		if (event.process > replay->processes)
			replay->processes = event.process;
		got = space_apply(replay->space, &event);
		note_peak(replay);
	}
	/* What follows is not wanted, but the recording must be whole. */
	if (!got && replay->events == limit)
		while ((got = trace_next(trace, &event)) > 0)
			;
	if (got)
		snprintf(error, SOURCE_ERROR, "%.200s: %s", path,
			 *trace_error(trace) ? trace_error(trace) : strerror(-got));
	trace_close(trace);
	return got;
}

static void replay_end(struct replay *replay)
{
	space_destroy(replay->space);
	space_model_destroy(replay->model);
	replay->space = NULL;
	replay->model = NULL;
}

static int add_range(struct picture *picture, const struct space_range *range)
{
	struct picture_piece piece = {
		.first = range->start,
		.last = range->end - 1,
		.offset = range->offset,
		.protection = range->attributes & TRACE_PROT,
		.shared = range->attributes & TRACE_SHARED,
	};
	char name[32];

	if (range->attributes & TRACE_GROWS_DOWN)
		piece.kind = PICTURE_STACK;
	else if (range->object)
		piece.kind = piece.shared ? PICTURE_SHARED : PICTURE_FILE;
	else
		piece.kind = piece.protection ? PICTURE_ANONYMOUS : PICTURE_RESERVED;
	snprintf(name, sizeof(name), "object %" PRIu32, range->object);
	return picture_add(picture, &piece, range->object ? name : NULL);
}

static int take(struct picture *picture, const struct replay *replay, const char *path, uint32_t process,
		char error[SOURCE_ERROR])
{
	const struct space_range *ranges;
	size_t count = space_model_ranges(replay->model, process, &ranges);
	const char *name = strrchr(path, '/');
	int failed = 0;

	for (size_t i = 0; i < count && !failed; i++)
		failed = add_range(picture, &ranges[i]);
	if (failed)
		snprintf(error, SOURCE_ERROR, "%s", strerror(-failed));
	snprintf(picture->title, sizeof(picture->title), "%.200s, process %" PRIu32 " after event %" PRIu64 "%s%s%s",
		 name ? name + 1 : path, process, replay->events, replay->events ? " (" : "",
		 replay->events ? trace_kind_name(replay->kind) : "", replay->events ? ")" : "");
	return failed;
}

int source_trace(struct picture *picture, const char *path, const struct source_point *point, char error[SOURCE_ERROR])
{
	struct replay replay = { .wanted = point->process };
	uint64_t event = point->event;
	uint32_t process = point->process;
	int got = 0;

	if (point->peak) {
		got = replay_until(&replay, path, UINT64_MAX, error);
		replay_end(&replay);
		event = replay.most_event;
		process = replay.most_process;
		if (!got && !replay.most) {
			snprintf(error, SOURCE_ERROR, "%.200s: nothing is ever mapped%s", path,
				 point->process ? " in that process" : "");
			got = -ENODATA;
		}
		replay = (struct replay){ .wanted = point->process };
	}
	if (!got)
		got = replay_until(&replay, path, event, error);
	if (!process)
		process = replay.process;
	if (!got && replay.events < event) {
		snprintf(error, SOURCE_ERROR, "%.200s: event %" PRIu64 " is wanted, there are %" PRIu64, path, event,
			 replay.events);
		got = -ERANGE;
	}
	if (!got && process > replay.processes) {
		snprintf(error, SOURCE_ERROR, "%.200s: after event %" PRIu64 " there is no process %" PRIu32 " yet",
			 path, event, process);
		got = -ERANGE;
	}
	if (!got)
		got = take(picture, &replay, path, process, error);
	replay_end(&replay);
	return got;
}
