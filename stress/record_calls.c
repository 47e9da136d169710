/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "record_calls.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/*
 * How far below a mapping which grows down a call may lie and still concern the part it has
 * grown by since the last look. The default limit of a stack is 8 MiB.
 */
#define GROWTH_REACH	(UINT64_C(64) << 20)

#define HUGE_SHIFT_DEFAULT	21
#define HUGE_SHIFT_MASK		0x3f

/* Newer than the headers of some systems. */
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif
#define MAP_TYPE_BITS		0x0f
#define PROT_BITS		((unsigned)(PROT_READ | PROT_WRITE | PROT_EXEC))

static uint64_t
page(uint64_t address)
{
	return trace_writer_page(address);
}

static uint64_t
pages(uint64_t length)
{
	return trace_writer_pages(length);
}

struct letter {
	unsigned bit;
	char letter;
};

static const struct letter map_letters[] = {
	{ MAP_ANONYMOUS, 'a' },	{ MAP_FIXED, 'f' },	{ MAP_FIXED_NOREPLACE, 'e' },
	{ MAP_GROWSDOWN, 'g' },	{ MAP_HUGETLB, 'h' },	{ MAP_LOCKED, 'l' },
	{ MAP_NORESERVE, 'n' },	{ MAP_POPULATE, 'o' },	{ MAP_STACK, 'k' },
};

static const struct letter remap_letters[] = {
	{ MREMAP_MAYMOVE, 'm' }, { MREMAP_FIXED, 'f' }, { MREMAP_DONTUNMAP, 'd' },
};

struct advice {
	int advice;
	const char *name;
};

static const struct advice advices[] = {
	{ MADV_NORMAL, "normal" },
	{ MADV_RANDOM, "random" },
	{ MADV_SEQUENTIAL, "sequential" },
	{ MADV_REMOVE, "remove" },
	{ MADV_DONTFORK, "nofork" },
	{ MADV_DOFORK, "dofork" },
	{ MADV_MERGEABLE, "mergeable" },
	{ MADV_UNMERGEABLE, "unmergeable" },
	{ MADV_HUGEPAGE, "hugepage" },
	{ MADV_NOHUGEPAGE, "nohugepage" },
	{ MADV_DONTDUMP, "nodump" },
	{ MADV_DODUMP, "dodump" },
	{ MADV_WIPEONFORK, "wipeonfork" },
	{ MADV_KEEPONFORK, "keeponfork" },
};

/* Set bits as letters, after what @text already holds. */
static void
append_letters(char *text, const struct letter *letters, size_t count, uint64_t flags)
{
	char *at = text + strlen(text);

	for (size_t i = 0; i < count; i++)
		if ((flags & letters[i].bit) == letters[i].bit)
			*at++ = letters[i].letter;
	*at = '\0';
}

static bool
is_shared(uint64_t flags)
{
	uint64_t type = flags & MAP_TYPE_BITS;

	return type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
}

static uint64_t
mmap_pages(const struct call *call)
{
	uint64_t length = call->argument[1], flags = call->argument[3], unit;
	unsigned shift;

	if (flags & MAP_HUGETLB) {
		shift = (unsigned)(flags >> MAP_HUGE_SHIFT) & HUGE_SHIFT_MASK;
		unit = UINT64_C(1) << (shift ? shift : HUGE_SHIFT_DEFAULT);
		length = (length + unit - 1) & ~(unit - 1);
	}
	return pages(length);
}

/* Mappings of a dying process cannot be read; the trace then says that it is unsure. */
static bool
read_lines(struct trace_writer *writer, struct space *space, struct map_lines *lines, pid_t task)
{
	if (!map_lines_read(lines, task) && lines->count)
		return true;
	if (!space->unsure)
		trace_writer_line(writer, "unsure %u", space->number);
	space->unsure = true;
	map_lines_free(lines);
	return false;
}

void
space_find_growing(struct space *space, pid_t task)
{
	if (map_lines_read_growing(&space->growing, task))
		space->growing.count = 0;
}

/* Growth moves only the start: a mapping is known again by its end. */
static void
write_growth(struct trace_writer *writer, struct space *space, struct map_lines *lines)
{
	for (size_t i = 0; i < space->growing.count; i++) {
		struct map_line *known = &space->growing.line[i];
		const struct map_line *now = map_lines_find(lines, known->end - 1);

		if (!now || now->end != known->end || now->start > known->end)
			continue;
		lines->line[now - lines->line].attributes |= MAP_LINE_GROWS_DOWN;
		if (now->start >= known->start)
			continue;
		trace_writer_line(writer, "grow %u %" PRIx64 " %" PRIx64 " %x", space->number,
				  page(now->start), pages(known->start - now->start),
				  now->attributes);
		known->start = now->start;
	}
}

void
space_growth(struct trace_writer *writer, struct space *space, pid_t task)
{
	struct map_lines lines = { 0 };

	if (space->growing.count && read_lines(writer, space, &lines, task))
		write_growth(writer, space, &lines);
	map_lines_free(&lines);
}

void
space_snapshot(struct trace_writer *writer, struct space *space, pid_t task)
{
	struct map_lines lines = { 0 };

	space->calls = 0;
	if (!space->unsure && read_lines(writer, space, &lines, task)) {
		write_growth(writer, space, &lines);
		trace_writer_snapshot(writer, space->number, &lines);
	}
	map_lines_free(&lines);
}

static bool
near_growing(const struct space *space, uint64_t address, uint64_t length)
{
	for (size_t i = 0; i < space->growing.count; i++) {
		const struct map_line *known = &space->growing.line[i];

		if (address < known->end && known->start - GROWTH_REACH < address + length)
			return true;
	}
	return false;
}

static bool
concerns_growing(const struct space *space, const struct call *call)
{
	const uint64_t *argument = call->argument;

	switch (call->number) {
	case SYS_mmap:
		return (argument[3] & (MAP_FIXED | MAP_GROWSDOWN)) &&
		       ((argument[3] & MAP_GROWSDOWN) ||
			near_growing(space, argument[0], argument[1]));
	case SYS_munmap:
	case SYS_mprotect:
	case SYS_pkey_mprotect:
	case SYS_madvise:
		return near_growing(space, argument[0], argument[1]);
	case SYS_mremap:
		return near_growing(space, argument[0], argument[1]) ||
		       ((argument[3] & MREMAP_FIXED) &&
			near_growing(space, argument[4], argument[2]));
	default:
		return false;
	}
}

/* Calls whose effect is told by comparing the mappings before and after. */
static bool
is_compared(long number)
{
	switch (number) {
	case SYS_shmat:
	case SYS_shmdt:
	case SYS_remap_file_pages:
	case SYS_io_setup:
	case SYS_io_destroy:
	case SYS_prctl:
#ifdef SYS_arch_prctl
	case SYS_arch_prctl:
#endif
		return true;
	default:
		return false;
	}
}

/* PROT_GROWSDOWN means "from where the mapping starts"; the trace has the start it means. */
static void
resolve_prot_growsdown(const struct space *space, struct call *call)
{
	uint64_t *argument = call->argument;

	for (size_t i = 0; i < space->growing.count; i++) {
		const struct map_line *known = &space->growing.line[i];

		if (argument[0] < known->start || argument[0] >= known->end)
			continue;
		argument[1] += argument[0] - known->start;
		argument[0] = known->start;
		return;
	}
}

void
call_enter(struct trace_writer *writer, struct space *space, struct call *call, pid_t task)
{
	uint64_t *argument = call->argument;

	call->before.count = 0;
	if ((call->number == SYS_mprotect || call->number == SYS_pkey_mprotect) &&
	    (argument[2] & PROT_GROWSDOWN)) {
		space_growth(writer, space, task);
		resolve_prot_growsdown(space, call);
	}
	if (concerns_growing(space, call))
		space_growth(writer, space, task);
	if (is_compared(call->number) ||
	    (call->number == SYS_mremap && (argument[3] & MREMAP_FIXED)))
		read_lines(writer, space, &call->before, task);
}

static void
write_found(struct trace_writer *writer, const struct space *space, const struct map_line *line,
	    uint64_t start, uint64_t end)
{
	uint32_t object = trace_writer_object(writer, line->device, line->inode);
	uint64_t offset = object ? page(line->offset + (start - line->start)) : 0;

	trace_writer_line(writer, "found %u %" PRIx64 " %" PRIx64 " %x %" PRIu32 " %" PRIx64,
			  space->number, page(start), pages(end - start), line->attributes,
			  object, offset);
}

static void
write_lost(struct trace_writer *writer, const struct space *space, uint64_t start, uint64_t end)
{
	trace_writer_line(writer, "lost %u %" PRIx64 " %" PRIx64, space->number, page(start),
			  pages(end - start));
}

/*
 * A failed call may have emptied a range before it failed. Writing down which parts are empty
 * after it is right whether it did or not.
 */
static void
write_empty(struct trace_writer *writer, struct space *space, pid_t task, uint64_t start,
	    uint64_t length)
{
	struct map_lines lines = { 0 };
	uint64_t end = start + length, at = start;

	if (end <= start || !read_lines(writer, space, &lines, task))
		return;
	while (at < end) {
		const struct map_line *line = map_lines_find(&lines, at);
		uint64_t next = line && line->start < end ? line->start : end;

		if (next > at)
			write_lost(writer, space, at, next);
		at = next < end ? line->end : end;
	}
	map_lines_free(&lines);
}

/* The same for mprotect, which changes mapping after mapping until it meets one it may not. */
static void
write_changed(struct trace_writer *writer, struct space *space, const struct call *call,
	      pid_t task)
{
	struct map_lines lines = { 0 };
	uint64_t start = call->argument[0], end = start + call->argument[1], at = start;
	unsigned prot = (unsigned)call->argument[2] & PROT_BITS;

	if (end <= start || !read_lines(writer, space, &lines, task))
		return;
	while (at < end) {
		const struct map_line *line = map_lines_find(&lines, at);

		if (!line || line->start > at || (line->attributes & MAP_LINE_PROT) != prot)
			break;
		at = line->end < end ? line->end : end;
	}
	if (at > start)
		trace_writer_line(writer, "changed %u %" PRIx64 " %" PRIx64 " %x", space->number,
				  page(start), pages(at - start), prot);
	map_lines_free(&lines);
}

static bool
same_at(const struct map_line *a, const struct map_line *b, uint64_t address)
{
	if (!a || !b)
		return a == b;
	return a->attributes == b->attributes && a->device == b->device &&
	       a->inode == b->inode &&
	       (!a->inode || a->offset + (address - a->start) == b->offset + (address - b->start));
}

static const struct map_line *
covering(const struct map_lines *lines, uint64_t at, uint64_t *next)
{
	const struct map_line *line = map_lines_find(lines, at);
	uint64_t boundary;

	if (!line)
		return NULL;
	boundary = line->start > at ? line->start : line->end;
	if (boundary < *next)
		*next = boundary;
	return line->start > at ? NULL : line;
}

static void
write_difference(struct trace_writer *writer, struct space *space, const struct map_lines *before,
		 pid_t task)
{
	struct map_lines after = { 0 };
	uint64_t at = 0, next;

	if (!read_lines(writer, space, &after, task))
		return;
	for (; at < UINT64_MAX; at = next) {
		const struct map_line *old_line, *new_line;

		next = UINT64_MAX;
		old_line = covering(before, at, &next);
		new_line = covering(&after, at, &next);
		if (same_at(old_line, new_line, at))
			continue;
		if (new_line)
			write_found(writer, space, new_line, at, next);
		else
			write_lost(writer, space, at, next);
	}
	map_lines_free(&after);
}

/* Result of a call which gives an address: a page number, or "-" and the errno. */
static const char *
address_result(char *text, size_t size, int64_t result)
{
	if (result < 0 && result >= -4095)
		snprintf(text, size, "%" PRId64, result);
	else
		snprintf(text, size, "%" PRIx64, page((uint64_t)result));
	return text;
}

static uint32_t
object_at(struct trace_writer *writer, struct space *space, pid_t task, uint64_t address)
{
	struct map_lines lines = { 0 };
	const struct map_line *line = NULL;
	uint32_t object = 0;

	if (read_lines(writer, space, &lines, task))
		line = map_lines_find(&lines, address);
	if (line)
		object = trace_writer_object(writer, line->device, line->inode);
	map_lines_free(&lines);
	return object;
}

static void
leave_mmap(struct trace_writer *writer, struct space *space, const struct call *call, pid_t task,
	   int64_t result)
{
	const uint64_t *argument = call->argument;
	bool shared = is_shared(argument[3]), failed = result < 0 && result >= -4095;
	char flags[32], address[24];
	uint32_t object = 0;

	snprintf(flags, sizeof(flags), "%c", shared ? 's' : 'p');
	append_letters(flags, map_letters, sizeof(map_letters) / sizeof(*map_letters),
		       argument[3]);
	/*
	 * Only the mapping itself tells its file for certain: shared anonymous memory gets one in
	 * the call, /dev/zero another one, and some file systems put one file on top of another.
	 */
	if (!failed && (shared || !(argument[3] & MAP_ANONYMOUS)))
		object = object_at(writer, space, task, (uint64_t)result);
	trace_writer_line(writer, "map %u %" PRIx64 " %" PRIx64 " %x %s %" PRIu32 " %" PRIx64 " %s",
			  space->number, page(argument[0]), mmap_pages(call),
			  (unsigned)argument[2] & PROT_BITS, flags, object,
			  object ? page(argument[5]) : 0,
			  address_result(address, sizeof(address), result));
	if (failed && (argument[3] & MAP_FIXED) && !(argument[3] & MAP_FIXED_NOREPLACE))
		write_empty(writer, space, task, argument[0], argument[1]);
}

static void
leave_mremap(struct trace_writer *writer, struct space *space, const struct call *call, pid_t task,
	     int64_t result)
{
	const uint64_t *argument = call->argument;
	bool fixed = argument[3] & (MREMAP_FIXED | MREMAP_DONTUNMAP);
	char flags[8] = "-", address[24];

	append_letters(flags, remap_letters, sizeof(remap_letters) / sizeof(*remap_letters),
		       argument[3]);
	trace_writer_line(writer, "remap %u %" PRIx64 " %" PRIx64 " %" PRIx64 " %s %" PRIx64 " %s",
			  space->number, page(argument[0]), pages(argument[1]),
			  pages(argument[2]), flags, fixed ? page(argument[4]) : 0,
			  address_result(address, sizeof(address), result));
	if (result >= 0 || result < -4095)
		return;
	if (argument[3] & MREMAP_FIXED)
		write_difference(writer, space, &call->before, task);
	else
		write_empty(writer, space, task, argument[0], argument[1]);
}

static void
leave_madvise(struct trace_writer *writer, const struct space *space, const struct call *call,
	      int64_t result)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++)
		if (advices[i].advice == (int)call->argument[2])
			trace_writer_line(writer, "advise %u %" PRIx64 " %" PRIx64 " %s %" PRId64,
					  space->number, page(call->argument[0]),
					  pages(call->argument[1]), advices[i].name, result);
}

static void
leave_compared(struct trace_writer *writer, struct space *space, const struct call *call,
	       pid_t task, int64_t result)
{
	const uint64_t *argument = call->argument;
	char address[24];

	switch (call->number) {
	case SYS_shmat:
		trace_writer_line(writer, "attach %u %" PRIx64 " %s", space->number,
				  page(argument[1]),
				  address_result(address, sizeof(address), result));
		break;
	case SYS_shmdt:
		trace_writer_line(writer, "detach %u %" PRIx64 " %" PRId64, space->number,
				  page(argument[0]), result);
		break;
	case SYS_remap_file_pages:
		trace_writer_line(writer, "pages %u %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRId64,
				  space->number, page(argument[0]), pages(argument[1]),
				  argument[3] & UINT32_MAX, result);
		break;
	default:
		trace_writer_line(writer, "other %u %" PRId64, space->number,
				  result < 0 ? result : 0);
		break;
	}
	write_difference(writer, space, &call->before, task);
}

void
call_leave(struct trace_writer *writer, struct space *space, struct call *call, pid_t task,
	   int64_t result)
{
	const uint64_t *argument = call->argument;
	bool growing = concerns_growing(space, call);

	switch (call->number) {
	case SYS_mmap:
		leave_mmap(writer, space, call, task, result);
		break;
	case SYS_munmap:
		trace_writer_line(writer, "unmap %u %" PRIx64 " %" PRIx64 " %" PRId64,
				  space->number, page(argument[0]), pages(argument[1]), result);
		break;
	case SYS_mprotect:
	case SYS_pkey_mprotect:
		trace_writer_line(writer, "protect %u %" PRIx64 " %" PRIx64 " %x %" PRId64,
				  space->number, page(argument[0]), pages(argument[1]),
				  (unsigned)argument[2] & PROT_BITS, result);
		if (result < 0)
			write_changed(writer, space, call, task);
		break;
	case SYS_mremap:
		leave_mremap(writer, space, call, task, result);
		break;
	case SYS_brk:
		/* A brk which fails gives the old end: so does one which only asks. */
		if (!argument[0])
			return;
		trace_writer_line(writer, "brk %u %" PRIx64 " %d", space->number,
				  pages(argument[0]),
				  (uint64_t)result == argument[0] ? 0 : -ENOMEM);
		break;
	case SYS_madvise:
		leave_madvise(writer, space, call, result);
		break;
	default:
		if (!is_compared(call->number))
			return;
		leave_compared(writer, space, call, task, result);
		break;
	}
	if (growing)
		space_find_growing(space, task);
	space->calls++;
}
