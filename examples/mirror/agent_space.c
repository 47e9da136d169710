/* SPDX-License-Identifier: ISC */
/* The mirror itself: how it begins, how changes are made in it, what the kernel does to it unasked. */
#include "agent.h"

#include <sys/resource.h>
#include <sys/syscall.h>

#define STACK_ROOM_LEAST (UINT64_C(8) << 20)
#define STACK_ROOM_MOST (UINT64_C(128) << 20)
#define STACK_GUARD (UINT64_C(256) * PAGE) /* Linux keeps it free below a stack */

struct agent agent;

/* ---- Changes ---- */

void widen_to_stack(uint64_t *start, uint64_t *end)
{
	if (*start >= agent.stack_top || *end <= agent.stack_low)
		return;
	if (*start > agent.stack_low)
		*start = agent.stack_low;
	if (*end < agent.stack_top)
		*end = agent.stack_top;
}

void change_begin(struct record *record, uint64_t start, uint64_t end)
{
	if (agent.shared->naive)
		lock(&agent.naive_lock);
	/* The range was checked; the map sleeps for locks. */
	(void)cleave_map_begin(&record->txn, &agent.map, &record->thread, start, end);
}

bool change_prepare(struct record *record, int error)
{
	if (!error)
		error = cleave_map_prepare(&record->txn);
	if (error)
		change_abort(record);
	return !error;
}

void change_commit(struct record *record)
{
	int error = cleave_map_commit(&record->txn);

	if (error)
		trouble("commit", error);
	if (agent.shared->naive)
		unlock(&agent.naive_lock);
}

void change_abort(struct record *record)
{
	cleave_map_abort(&record->txn);
	if (agent.shared->naive)
		unlock(&agent.naive_lock);
}

uint64_t free_space(struct record *record, const struct cleave_map_request *request, bool below_2g)
{
	struct cleave_request low = {
		.order = CLEAVE_HIGHEST,
		.size = request->size,
		.align = request->align,
		.min = UINT64_C(0x40000000),
		.max = UINT64_C(0x7fffffff),
	};
	uint64_t addr;
	int error;

	if (!below_2g)
		return cleave_map_find_space(&agent.map, &record->thread, request, &addr) ? 0 : addr;
	/* MAP_32BIT: a window that is no selector of the map. */
	cleave_section_enter(&record->ck);
	error = cleave_find_gap_rcu(&agent.map.index, &low, &addr);
	cleave_section_leave(&record->ck);
	return error ? 0 : addr;
}

/* ---- What the kernel shows ---- */

int line_attributes(const struct line *line, struct cleave_map_attributes *attributes)
{
	*attributes = (struct cleave_map_attributes){
		.flags = (line->shared ? 0 : CLEAVE_MAP_COW) | (line->stack ? CLEAVE_MAP_STACK : 0),
		.protection = line->protection,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = line->shared ? CLEAVE_INHERIT_SHARE : CLEAVE_INHERIT_COPY,
	};
	if (line->device || line->inode) {
		attributes->object = object_get(OBJECT_SHOWN, line->device, line->inode, 0);
		attributes->delta = line->offset - line->start;
		if (!attributes->object)
			return -ENOMEM;
	}
	return 0;
}

static int put_line(struct record *record, const struct line *line, uint64_t start, uint64_t end)
{
	struct cleave_map_attributes attributes;
	int error = line_attributes(line, &attributes);

	if (!error)
		error = cleave_map_put(&record->txn, start, end, &attributes);
	object_drop(attributes.object);
	return error;
}

static int read_back(struct record *record, uint64_t start, uint64_t end)
{
	struct line line;
	int error = maps_open(&record->maps, MAPS);

	if (error)
		return error;
	error = cleave_map_txn_unmap(&record->txn, start, end, 0);
	while (!error && maps_next(&record->maps, &line) && line.start < end) {
		uint64_t from = line.start > start ? line.start : start, to = line.end < end ? line.end : end;

		if (from < to && !touches_agent(from, to))
			error = put_line(record, &line, from, to);
	}
	maps_close(&record->maps);
	return error;
}

void settle(struct record *record, uint64_t start, uint64_t end)
{
	int error;

	COUNT(agent.process->settled);
	/* The checker looks at both after a comparison that failed. */
	__atomic_fetch_add(&agent.unsettled, 1, __ATOMIC_SEQ_CST);
	cleave_map_abort(&record->txn);
	(void)cleave_map_begin(&record->txn, &agent.map, &record->thread, start, end);
	error = read_back(record, start, end);
	if (!error)
		error = cleave_map_prepare(&record->txn);
	if (error) {
		trouble("reading a range back", error);
		cleave_map_abort(&record->txn);
	} else {
		(void)cleave_map_commit(&record->txn);
	}
	__atomic_fetch_add(&agent.settlements, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_sub(&agent.unsettled, 1, __ATOMIC_SEQ_CST);
	if (agent.shared->naive)
		unlock(&agent.naive_lock);
}

long call_other(struct record *record, const struct call *call)
{
	long result;
	int error;

	change_begin(record, MAP_MIN, MAP_MAX);
	result = do_call(call);
	error = read_back(record, MAP_MIN, MAP_MAX);
	COUNT(agent.process->settled);
	if (error) {
		trouble("reading all back", error);
		change_abort(record);
	} else {
		change_commit(record);
	}
	return result;
}

/* ---- Stacks grow without a call ---- */

/* The line's mapping goes on above gap_end; does the mirror have a stack there? */
bool grown_into(struct record *record, uint64_t gap_end, const struct line *line)
{
	struct cleave_map_entry entry;
	bool mapped;

	if (line->end <= gap_end || line->shared || line->device || line->inode || gap_end >= MAP_MAX)
		return false;
	if (gap_end < record->txn.end) {
		mapped = cleave_map_txn_lookup(&record->txn, gap_end, &entry);
	} else {
		cleave_section_enter(&record->ck);
		mapped = cleave_map_lookup_rcu(&agent.map, gap_end, &entry);
		cleave_section_leave(&record->ck);
	}
	return mapped && (entry.attributes.flags & CLEAVE_MAP_STACK);
}

int put_growth(struct record *record, uint64_t start, uint64_t end, const struct line *line)
{
	struct line grown = *line;

	grown.stack = true;
	COUNT(agent.process->growths);
	return put_line(record, &grown, start, end);
}

void absorb_growth(struct record *record)
{
	uint64_t start = record->txn.start, end = record->txn.end, gap_end;
	struct cleave_map_entry entry;
	struct line line;

	if (start > agent.stack_low || end < agent.stack_top || maps_open(&record->maps, MAPS))
		return;
	while (maps_next(&record->maps, &line) && line.start < agent.stack_top) {
		if (line.end <= agent.stack_low)
			continue;
		start = line.start > agent.stack_low ? line.start : agent.stack_low;
		if (cleave_map_txn_lookup(&record->txn, start, &entry))
			continue;
		gap_end = entry.attributes.flags & CLEAVE_MAP_HOLE ? entry.end : entry.start + entry.fspace;
		if (grown_into(record, gap_end, &line))
			(void)put_growth(record, start, gap_end, &line);
	}
	maps_close(&record->maps);
}

/* ---- The beginning ---- */

struct outline {
	uint64_t stack_low;
	uint64_t stack_start;
	uint64_t stack_top;
	uint64_t below; /* the end of the highest mapping below the stack */
};

static uint64_t stack_room(void)
{
	struct rlimit limit = { STACK_ROOM_LEAST, 0 };

	sys3(SYS_getrlimit, RLIMIT_STACK, &limit, 0);
	if (limit.rlim_cur < STACK_ROOM_LEAST)
		limit.rlim_cur = STACK_ROOM_LEAST;
	return (limit.rlim_cur > STACK_ROOM_MOST ? STACK_ROOM_MOST : page_up(limit.rlim_cur)) + STACK_GUARD;
}

static void find_outline(struct record *record, struct outline *outline)
{
	uint64_t room = stack_room();
	struct line line;

	*outline = (struct outline){ MAP_MAX, MAP_MAX, MAP_MAX, MAP_MIN };
	while (maps_next(&record->maps, &line)) {
		if (line.stack) {
			outline->stack_start = line.start;
			outline->stack_top = line.end;
			break;
		}
		if (line.start < MAP_MAX && !touches_agent(line.start, line.end))
			outline->below = line.end;
	}
	outline->stack_low =
		outline->stack_start - outline->below > room ? outline->stack_start - room : outline->below;
	maps_rewind(&record->maps);
}

static int put_hole(struct record *record, uint64_t start, uint64_t end, uint32_t flags)
{
	const struct cleave_map_attributes hole = { .flags = CLEAVE_MAP_HOLE | flags };

	return start < end ? cleave_map_put(&record->txn, start, end, &hole) : 0;
}

static int fill(struct record *record, const struct outline *outline)
{
	struct line line;
	int error;

	error = cleave_map_begin(&record->txn, &agent.map, &record->thread, MAP_MIN, MAP_MAX);
	if (error)
		return error;
	error = put_hole(record, outline->stack_low, outline->stack_start, CLEAVE_MAP_STACK);
	while (!error && maps_next(&record->maps, &line) && line.start < MAP_MAX)
		if (!touches_agent(line.start, line.end))
			error = put_line(record, &line, line.start, line.end);
	if (!error)
		error = put_hole(record, TRAP_BASE, TRAP_BASE + TRAP_SIZE, 0);
	if (!error)
		return cleave_map_commit(&record->txn);
	cleave_map_abort(&record->txn);
	return error;
}

int space_open(struct record *record)
{
	struct cleave_map_config config = {
		.min = MAP_MIN,
		.max = MAP_MAX,
		.page_shift = 12,
		.nselectors = 1,
	};
	struct outline outline;
	int error = maps_open(&record->maps, MAPS);

	if (error)
		return error;
	find_outline(record, &outline);
	agent.stack_low = outline.stack_low;
	agent.stack_top = outline.stack_top;
	agent.heap_end = (uint64_t)sys3(SYS_brk, 0, 0, 0);
	agent.heap_start = page_up(agent.heap_end);
	/* As Linux: downward from where the program's interpreter was put. */
	config.selectors[0] =
		(struct cleave_map_selector){ UINT64_C(0x10000),
					      outline.below > (MAP_MAX >> 1) ? outline.below : outline.stack_low,
					      CLEAVE_SELECT_HIGHEST, CLEAVE_SELECT_ANY };
	error = cleave_map_init(&agent.map, &record->thread, &config);
	if (!error)
		error = fill(record, &outline);
	maps_close(&record->maps);
	return error;
}
