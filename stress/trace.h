/* SPDX-License-Identifier: ISC */
/*
 * Reads recordings of address-space calls (traces/FORMAT.md), which cleave-record makes.
 *
 * Every field is checked: what is read of a damaged file is a clear error, never an event with
 * values out of bounds. Addresses, lengths and offsets are bytes, multiples of the page size;
 * ranges are half open.
 *
 * A "process" is an address space: threads and vfork children are part of their parent's, an
 * exec begins a new one. They are numbered from 1 in the order of their appearance.
 */
#ifndef STRESS_TRACE_H
#define STRESS_TRACE_H

#include <stddef.h>
#include <stdint.h>

/* Attributes of a mapping. The low three are PROT_READ, PROT_WRITE and PROT_EXEC. */
#define TRACE_PROT		0x07U
#define TRACE_SHARED		0x08U
#define TRACE_GROWS_DOWN	0x10U

/* Flags of TRACE_MAP. */
#define TRACE_MAP_SHARED	0x0001U
#define TRACE_MAP_ANONYMOUS	0x0002U
#define TRACE_MAP_FIXED		0x0004U
#define TRACE_MAP_EMPTY		0x0008U		/* fixed, and fails if something is there */
#define TRACE_MAP_GROWS_DOWN	0x0010U
#define TRACE_MAP_HUGE		0x0020U
#define TRACE_MAP_LOCKED	0x0040U
#define TRACE_MAP_NO_RESERVE	0x0080U
#define TRACE_MAP_POPULATE	0x0100U
#define TRACE_MAP_STACK		0x0200U

/* Flags of TRACE_REMAP. */
#define TRACE_REMAP_MAY_MOVE	0x1U
#define TRACE_REMAP_FIXED	0x2U
#define TRACE_REMAP_KEEP	0x4U		/* MREMAP_DONTUNMAP */

/*
 * Which fields of trace_event an event fills in; the others are zero. A call which failed has
 * "result" below zero and changed nothing, but for what FOUND, LOST and CHANGED say next.
 */
enum trace_kind {
	TRACE_EXEC,		/* process, other: the old one or 0, address: where brk starts */
	TRACE_FORK,		/* process, other: the parent */
	TRACE_SHARE,		/* process: it got one more thread or vfork child */
	TRACE_EXIT,		/* process */

	TRACE_MAP,		/* address: the hint, length, attributes, flags, object, offset,
				   placed, result */
	TRACE_UNMAP,		/* address, length, result */
	TRACE_PROTECT,		/* address, length, attributes, result */
	TRACE_REMAP,		/* address, length, new_length, flags, new_address, placed,
				   result */
	TRACE_BRK,		/* address: the new end, result */
	TRACE_ADVISE,		/* address, length, advice, result */
	TRACE_ATTACH,		/* shmat: address: the hint, placed, result */
	TRACE_DETACH,		/* shmdt: address, result */
	TRACE_PAGES,		/* remap_file_pages: address, length, offset, result */
	TRACE_OTHER,		/* another call: result */

	/* What the kernel was seen to have done, in or after the call before. */
	TRACE_GROW,		/* address, length: the new part; attributes */
	TRACE_FOUND,		/* address, length, attributes, object, offset */
	TRACE_LOST,		/* address, length */
	TRACE_CHANGED,		/* address, length, attributes: only the protection */

	TRACE_UNSURE,		/* process: a call was killed half way; no snapshot follows */
	TRACE_SNAPSHOT,		/* process, ranges, count */
	TRACE_KINDS
};

enum trace_advice {
	TRACE_ADVICE_NORMAL,
	TRACE_ADVICE_RANDOM,
	TRACE_ADVICE_SEQUENTIAL,
	TRACE_ADVICE_REMOVE,
	TRACE_ADVICE_NO_FORK,
	TRACE_ADVICE_DO_FORK,
	TRACE_ADVICE_MERGEABLE,
	TRACE_ADVICE_UNMERGEABLE,
	TRACE_ADVICE_HUGE_PAGE,
	TRACE_ADVICE_NO_HUGE_PAGE,
	TRACE_ADVICE_NO_DUMP,
	TRACE_ADVICE_DO_DUMP,
	TRACE_ADVICE_WIPE_ON_FORK,
	TRACE_ADVICE_KEEP_ON_FORK,
	TRACE_ADVICES
};

/* One line of /proc/PID/maps. In a snapshot they are sorted and do not overlap. */
struct trace_range {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	uint32_t object;	/* the file, numbered from 1; 0: none */
	uint32_t attributes;
};

struct trace_event {
	enum trace_kind kind;
	uint32_t process;
	uint32_t other;
	uint32_t object;
	uint32_t attributes;
	uint32_t flags;
	enum trace_advice advice;
	int32_t result;		/* 0 or negative errno */
	uint64_t address;
	uint64_t length;
	uint64_t offset;
	uint64_t new_address;
	uint64_t new_length;
	uint64_t placed;	/* where a mapping was put, if result is 0 */
	const struct trace_range *ranges;	/* good until the next event is read */
	size_t count;
};

struct trace;

/**
 * Open a recording.
 * @param error where a message goes if this fails
 * @param size bytes of @p error
 * Return: 0 or negative errno: -EBADMSG if it is no recording.
 */
int trace_open(struct trace **out, const char *path, char *error, size_t size);

/**
 * Read the next event.
 * Return: 1, or 0 at the end of an undamaged recording, or negative errno: trace_error() tells.
 */
int trace_next(struct trace *trace, struct trace_event *event);

/* Message of the error which trace_next() returned. */
const char *trace_error(const struct trace *trace);

uint64_t trace_page_size(const struct trace *trace);

void trace_close(struct trace *trace);

/* A whole recording in memory. */
struct trace_log {
	struct trace_event *event;
	size_t count;
	struct trace_range *range;	/* those of all snapshots */
	size_t ranges;
	uint64_t page_size;
	uint32_t processes;
};

/* Parameters and return as trace_open(). */
int trace_load(struct trace_log **out, const char *path, char *error, size_t size);

void trace_unload(struct trace_log *log);

/* Its word in the file: "map", "unmap", ... */
const char *trace_kind_name(enum trace_kind kind);

#endif
