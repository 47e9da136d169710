/* SPDX-License-Identifier: ISC */
/* Calls about a range whose address the program gives: munmap, mprotect, madvise, brk. */
#include "agent.h"

#include <sys/mman.h>
#include <sys/syscall.h>

/*
 * A change of [start, end) whose outcome can be told beforehand: `stage` stages it in the record's transaction and says
 * in *expected what the kernel will return (0, or an error after a part was done).
 */
struct change {
	const struct call *call;
	uint64_t start;
	uint64_t end;
	int (*stage)(struct record *record, struct change *change);
	long expected;
	bool whole; /* a failure has changed nothing */
};

/* A thread that names its own range meets the agent's region only by mistake. */
static bool foreign(uint64_t start, uint64_t end)
{
	return !touches_agent(start, end);
}

/* The same knowledge of what the kernel does, in the other order: what the stage sees is of a later time. */
static long carry_naively(struct record *record, struct change *change)
{
	long result = do_call(change->call);

	if (is_error(result) && (change->whole || result == -EINVAL))
		return result;
	change_begin(record, change->start, change->end);
	if (change->stage(record, change))
		change_abort(record);
	else if (result == change->expected || !is_error(result))
		change_commit(record);
	else
		settle(record, change->start, change->end);
	return result;
}

static long carry(struct record *record, struct change *change)
{
	uint64_t start = change->start, end = change->end;
	long result;

	if (agent.shared->naive)
		return carry_naively(record, change);
	widen_to_stack(&start, &end);
	change_begin(record, start, end);
	absorb_growth(record);
	if (!change_prepare(record, change->stage(record, change)))
		return -ENOMEM;
	result = do_call(change->call);
	if (result == change->expected)
		change_commit(record);
	else if (is_error(result) && (change->whole || result == -EINVAL))
		change_abort(record);
	else
		settle(record, start, end);
	return result;
}

/* ---- munmap ---- */

static int stage_munmap(struct record *record, struct change *change)
{
	return cleave_map_txn_unmap(&record->txn, change->start, change->end, 0);
}

long call_munmap(struct record *record, const struct call *call)
{
	uint64_t start = call->argument[0], length = call->argument[1];
	struct change change = { call, start, start + page_up(length), stage_munmap, 0, true };

	if ((start & (PAGE - 1)) || !length || length > MAP_MAX || !inside_map(start, page_up(length)))
		return do_call(call);
	return foreign(change.start, change.end) ? carry(record, &change) : -EINVAL;
}

/* ---- mprotect ---- */

/* Linux changes what comes before the first hole, and then fails. */
static int stage_mprotect(struct record *record, struct change *change)
{
	unsigned int protection = change->call->argument[2] & CLEAVE_PROT_ALL;
	struct cleave_map_entry entry;
	uint64_t at = change->start;

	while (at < change->end && cleave_map_txn_lookup(&record->txn, at, &entry))
		at = entry.end;
	if (at > change->end)
		at = change->end;
	change->expected = at < change->end ? -ENOMEM : 0;
	return at > change->start ? cleave_map_txn_protect(&record->txn, change->start, at, protection, 0, 0) : 0;
}

/* PROT_GROWSDOWN: from where the stack begins now.  0: the kernel shall judge. */
static uint64_t begin_of_stack(struct record *record, uint64_t addr)
{
	uint64_t start = 0;
	struct line line;

	if (maps_open(&record->maps, MAPS))
		return 0;
	while (maps_next(&record->maps, &line) && line.start <= addr)
		if (line.end > addr)
			start = line.start;
	maps_close(&record->maps);
	return start;
}

long call_mprotect(struct record *record, const struct call *call)
{
	uint64_t start = call->argument[0], length = call->argument[1];
	struct change change = { call, start, start + page_up(length), stage_mprotect, 0, false };

	if ((start & (PAGE - 1)) || !length || length > MAP_MAX || !inside_map(start, page_up(length)))
		return do_call(call);
	if (call->argument[2] & PROT_GROWSUP)
		return do_call(call);
	if (call->argument[2] & PROT_GROWSDOWN)
		change.start = begin_of_stack(record, start);
	if (!change.start)
		return do_call(call);
	return foreign(change.start, change.end) ? carry(record, &change) : -ENOMEM;
}

/* ---- madvise ---- */

static void advise(struct cleave_map_attributes *attributes, uint64_t advice)
{
	uint8_t inherited = attributes->flags & CLEAVE_MAP_COW ? CLEAVE_INHERIT_COPY : CLEAVE_INHERIT_SHARE;

	switch (advice) {
	case MADV_NORMAL:
		attributes->advice = CLEAVE_ADVICE_NORMAL;
		break;
	case MADV_RANDOM:
		attributes->advice = CLEAVE_ADVICE_RANDOM;
		break;
	case MADV_SEQUENTIAL:
		attributes->advice = CLEAVE_ADVICE_SEQUENTIAL;
		break;
	case MADV_DONTFORK:
		attributes->inheritance = CLEAVE_INHERIT_NONE;
		break;
	case MADV_WIPEONFORK:
		attributes->inheritance = CLEAVE_INHERIT_ZERO;
		break;
	case MADV_DOFORK:
	case MADV_KEEPONFORK:
		attributes->inheritance = inherited;
		break;
	case MADV_DONTDUMP:
		attributes->flags |= CLEAVE_MAP_CONCEAL;
		break;
	case MADV_DODUMP:
		attributes->flags &= ~CLEAVE_MAP_CONCEAL;
		break;
	}
}

/* Linux goes on over holes, and fails at the end. */
static int stage_madvise(struct record *record, struct change *change)
{
	struct cleave_map_entry entry;
	uint64_t end;
	int error = 0;

	change->expected = 0;
	for (uint64_t at = change->start; !error && at < change->end; at = end) {
		if (!cleave_map_txn_lookup(&record->txn, at, &entry)) {
			end = entry.attributes.flags & CLEAVE_MAP_HOLE ? entry.end : entry.start + entry.fspace;
			change->expected = -ENOMEM;
			continue;
		}
		end = entry.end < change->end ? entry.end : change->end;
		advise(&entry.attributes, change->call->argument[2]);
		error = cleave_map_put(&record->txn, at, end, &entry.attributes);
	}
	return error;
}

long call_madvise(struct record *record, const struct call *call)
{
	uint64_t start = call->argument[0], length = call->argument[1];
	/* A failure half-way changes nothing that /proc/PID/maps shows: there is nothing to read back. */
	struct change change = { call, start, start + page_up(length), stage_madvise, 0, true };

	if ((start & (PAGE - 1)) || !length || length > MAP_MAX || !inside_map(start, page_up(length)))
		return do_call(call);
	return foreign(change.start, change.end) ? carry(record, &change) : -ENOMEM;
}

/* ---- brk ---- */

static int stage_brk(struct record *record, uint64_t from, uint64_t to)
{
	const struct cleave_map_attributes heap = {
		.flags = CLEAVE_MAP_COW,
		.protection = CLEAVE_PROT_READ | CLEAVE_PROT_WRITE,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};

	if (to > from)
		return cleave_map_put(&record->txn, from, to, &heap);
	return to < from ? cleave_map_txn_unmap(&record->txn, to, from, 0) : 0;
}

static uint64_t heap_end(void)
{
	return __atomic_load_n(&agent.heap_end, __ATOMIC_RELAXED);
}

/* The heap's first page is in every transaction of a brk, so that one comes after the other. */
static void begin_heap(struct record *record, uint64_t wanted)
{
	for (;;) {
		uint64_t end = heap_end();

		end = page_up(end > wanted ? end : wanted);
		if (end < agent.heap_start + PAGE)
			end = agent.heap_start + PAGE;
		change_begin(record, agent.heap_start, end);
		if (page_up(heap_end()) <= end)
			return;
		change_abort(record);
	}
}

static long brk_naively(struct record *record, const struct call *call)
{
	uint64_t wanted = call->argument[0];
	long result = do_call(call);

	if (result != (long)wanted)
		return result;
	begin_heap(record, wanted);
	(void)stage_brk(record, page_up(heap_end()), page_up(wanted));
	__atomic_store_n(&agent.heap_end, wanted, __ATOMIC_RELAXED);
	change_commit(record);
	return result;
}

long call_brk(struct record *record, const struct call *call)
{
	uint64_t wanted = call->argument[0], old;
	long result;

	if (page_up(wanted) < agent.heap_start || wanted > MAP_MAX || touches_agent(agent.heap_start, page_up(wanted)))
		return do_call(&(struct call){ call->number, { 0 } }); /* a question, or nonsense: the break as it is */
	if (agent.shared->naive)
		return brk_naively(record, call);
	begin_heap(record, wanted);
	old = heap_end();
	if (!change_prepare(record, stage_brk(record, page_up(old), page_up(wanted))))
		return (long)old;
	result = do_call(call);
	if (result == (long)wanted) {
		__atomic_store_n(&agent.heap_end, wanted, __ATOMIC_RELAXED);
		change_commit(record);
	} else {
		change_abort(record); /* refused; the kernel keeps what was */
	}
	return result;
}
