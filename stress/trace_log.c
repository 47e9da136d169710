/* SPDX-License-Identifier: ISC */
/*
 * A whole recording in memory, for those who replay it many times.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

/* Make room for @more elements after @count. Return 0 or -ENOMEM. */
static int
reserve(void **array, size_t *room, size_t count, size_t more, size_t size)
{
	size_t wanted = *room ? *room : 1024;
	void *grown;

	if (more <= *room - count)
		return 0;
	while (wanted - count < more) {
		if (wanted > SIZE_MAX / 2 / size)
			return -ENOMEM;
		wanted *= 2;
	}
	grown = realloc(*array, wanted * size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*room = wanted;
	return 0;
}

static int
read_all(struct trace *trace, struct trace_log *log, char *error, size_t size)
{
	size_t event_room = 0, range_room = 0;
	struct trace_event event;
	int got;

	while ((got = trace_next(trace, &event)) > 0) {
		void *events = log->event, *ranges = log->range;
		int full = reserve(&events, &event_room, log->count, 1, sizeof(event));

		log->event = events;
		if (!full)
			full = reserve(&ranges, &range_room, log->ranges, event.count,
				       sizeof(*log->range));
		log->range = ranges;
		if (full) {
			snprintf(error, size, "out of memory");
			return full;
		}
		if (event.count)
			memcpy(log->range + log->ranges, event.ranges,
			       event.count * sizeof(*log->range));
		log->ranges += event.count;
		log->event[log->count++] = event;
		if (event.process > log->processes)
			log->processes = event.process;
	}
	if (got < 0)
		snprintf(error, size, "%s", trace_error(trace));
	return got;
}

/* The array of ranges moved while it grew: only now it is known where each snapshot lies. */
static void
set_ranges(struct trace_log *log)
{
	struct trace_range *at = log->range;

	for (size_t i = 0; i < log->count; i++) {
		log->event[i].ranges = NULL;
		if (!log->event[i].count)
			continue;
		log->event[i].ranges = at;
		at += log->event[i].count;
	}
}

int
trace_load(struct trace_log **out, const char *path, char *error, size_t size)
{
	struct trace_log *log;
	struct trace *trace;
	int result;

	*out = NULL;
	result = trace_open(&trace, path, error, size);
	if (result)
		return result;
	log = calloc(1, sizeof(*log));
	if (!log) {
		snprintf(error, size, "out of memory");
		trace_close(trace);
		return -ENOMEM;
	}
	log->page_size = trace_page_size(trace);
	result = read_all(trace, log, error, size);
	trace_close(trace);
	if (result) {
		trace_unload(log);
		return result;
	}
	set_ranges(log);
	*out = log;
	return 0;
}

void
trace_unload(struct trace_log *log)
{
	if (!log)
		return;
	free(log->event);
	free(log->range);
	free(log);
}
