/* SPDX-License-Identifier: ISC */
/*
 * The checker: one window of the mirror after another is compared with /proc/PID/maps, while a transaction on the
 * window keeps everybody from changing it.  What the file shows of other ranges may be of other instants, and is not
 * looked at.
 */
#include "agent.h"

#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define CHECKER_STACK (64 * 1024)
#define LOOKS_MOST 1024	  /* disagreements that are looked at again */
#define LASTING_NAP 20000 /* us, before that */
#define WINDOW_ENTRIES 32

struct difference {
	uint64_t start;
	uint64_t end;
	struct cleave_map_entry mirror;
	bool mirrored;
	struct line kernel;
	bool mapped;
};

/* ---- One window ---- */

static bool same(const struct cleave_map_entry *entry, const struct line *line)
{
	struct object *object = entry->attributes.object;

	if (entry->attributes.protection != line->protection ||
	    !(entry->attributes.flags & CLEAVE_MAP_COW) != line->shared)
		return false;
	if (!object)
		return !line->device && !line->inode;
	if (!object->learned) {
		object->learned = 1;
		object->device = line->device;
		object->inode = line->inode;
	}
	if (object->device != line->device || object->inode != line->inode)
		return false;
	return entry->attributes.delta == line->offset - line->start;
}

/* Does the mirror agree with the kernel in the record's transaction? */
static bool compare(struct record *record, struct difference *difference)
{
	uint64_t at = record->txn.start, end = record->txn.end, entries = 0;
	struct line line = { 0 };
	bool lines = true;

	maps_rewind(&record->maps);
	while (at < end) {
		struct cleave_map_entry entry;
		bool mirrored = cleave_map_txn_lookup(&record->txn, at, &entry), hole, mapped, agreed;
		uint64_t stop;

		hole = entry.attributes.flags & CLEAVE_MAP_HOLE;
		stop = mirrored || hole ? entry.end : entry.start + entry.fspace;
		while (lines && line.end <= at)
			lines = maps_next(&record->maps, &line);
		mapped = lines && line.start <= at;
		if (hole && touches_agent(at, stop)) {
			at = stop;
			continue;
		}
		if (!mirrored && mapped && grown_into(record, stop, &line)) {
			if (put_growth(record, at, stop, &line))
				return true; /* no memory: look another time */
			at = stop;
			continue;
		}
		if (mapped && line.end < stop)
			stop = line.end;
		if (!mapped && lines && line.start < stop)
			stop = line.start;
		agreed = mirrored == mapped && (!mapped || same(&entry, &line));
		if (!agreed) {
			*difference = (struct difference){ at, stop, entry, mirrored, line, mapped };
			return false;
		}
		entries += mirrored;
		at = stop;
	}
	__atomic_fetch_add(&agent.process->entries, entries, __ATOMIC_RELAXED);
	return true;
}

static void describe(struct text *text, unsigned int protection, bool shared, uint64_t device, uint64_t inode,
		     uint64_t offset)
{
	char letters[6] = { protection & CLEAVE_PROT_READ ? 'r' : '-',
			    protection & CLEAVE_PROT_WRITE ? 'w' : '-',
			    protection & CLEAVE_PROT_EXEC ? 'x' : '-',
			    shared ? 's' : 'p',
			    ' ',
			    '\0' };

	text_string(text, letters);
	if (!device && !inode) {
		text_string(text, "anonymous");
		return;
	}
	text_string(text, "file ");
	text_hex(text, device >> 32);
	text_string(text, ":");
	text_hex(text, device & UINT32_MAX);
	text_string(text, " ");
	text_number(text, inode);
	text_string(text, " at ");
	text_hex(text, offset);
}

static void report(const struct difference *difference, struct mirror_catch *caught)
{
	const struct cleave_map_attributes *attributes = &difference->mirror.attributes;
	const struct object *object = attributes->object;
	struct text text = { caught->text, 0 };
	uint32_t none = 0;

	if (!__atomic_compare_exchange_n(&caught->state, &none, 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	caught->when = now() - agent.shared->begun;
	text_hex(&text, difference->start);
	text_string(&text, "-");
	text_hex(&text, difference->end);
	text_string(&text, ": the kernel has ");
	if (difference->mapped)
		describe(&text, difference->kernel.protection, difference->kernel.shared, difference->kernel.device,
			 difference->kernel.inode,
			 difference->kernel.offset + difference->start - difference->kernel.start);
	else
		text_string(&text, "nothing");
	text_string(&text, ", the mirror ");
	if (difference->mirrored)
		describe(&text, attributes->protection, !(attributes->flags & CLEAVE_MAP_COW),
			 object ? object->device : 0, object ? object->inode : 0,
			 difference->start + attributes->delta);
	else
		text_string(&text, attributes->flags & CLEAVE_MAP_HOLE ? "a reserved range" : "nothing");
	__atomic_store_n(&caught->state, 2, __ATOMIC_RELEASE);
}

/*
 * A range is settled when a call has failed half-way: its transaction was aborted, and another one reads the range
 * back.  In between, the two differ.
 */
static bool settling(uint64_t *settlements)
{
	uint64_t before = *settlements;

	*settlements = __atomic_load_n(&agent.settlements, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&agent.unsettled, __ATOMIC_SEQ_CST) != 0 || *settlements != before;
}

/* Return: agreed.  The checker's lock is held. */
static bool check_window(struct record *record, uint64_t start, uint64_t end, struct difference *difference)
{
	uint64_t settlements = __atomic_load_n(&agent.settlements, __ATOMIC_SEQ_CST);
	bool agreed, excused = settling(&settlements);

	change_begin(record, start, end);
	agreed = compare(record, difference);
	if (!agreed && (settling(&settlements) || excused))
		agreed = true;
	change_commit(record);
	return agreed;
}

/*
 * Does the difference last?  With the naive order one is sure to be seen between a call and its update.  So no call
 * may begin, those under way end, and what differs then is wrong.  (In the other order there is no such state: a moment
 * must do.)
 */
static bool lasts(struct record *record, const struct difference *first, struct difference *second)
{
	bool agreed;

	if (agent.shared->naive) {
		__atomic_store_n(&agent.halt, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&agent.under_way, __ATOMIC_SEQ_CST))
			nap(50);
	} else {
		nap(LASTING_NAP);
	}
	agreed = check_window(record, first->start, first->end, second);
	if (agent.shared->naive) {
		__atomic_store_n(&agent.halt, 0, __ATOMIC_SEQ_CST);
		sys3(SYS_futex, &agent.halt, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX);
	}
	return !agreed;
}

static void check_and_report(struct record *record, uint64_t start, uint64_t end)
{
	struct mirror_process *process = agent.process;
	struct difference first, second;

	COUNT(process->windows);
	if (check_window(record, start, end, &first))
		return;
	COUNT(process->disagreements);
	report(&first, &process->caught[MIRROR_FIRST]);
	if (process->disagreements > LOOKS_MOST || !lasts(record, &first, &second))
		return;
	COUNT(process->lasting);
	report(&second, &process->caught[MIRROR_LASTING]);
}

/* ---- All windows ---- */

/* A window is what WINDOW_ENTRIES entries of the mirror and the space between them cover. */
static uint64_t window_end(struct record *record, uint64_t start)
{
	uint64_t from = start;
	size_t n = WINDOW_ENTRIES;

	(void)cleave_map_snapshot(&agent.map, &record->thread, &from, record->entries, &n);
	return n == WINDOW_ENTRIES && record->entries[n - 1].end > start ? record->entries[n - 1].end : MAP_MAX;
}

static void pass(struct record *record, uint64_t pause)
{
	for (uint64_t start = MAP_MIN, end; start < MAP_MAX; start = end) {
		end = window_end(record, start);
		lock(&agent.checker_lock);
		check_and_report(record, start, end);
		unlock(&agent.checker_lock);
		nap(pause);
	}
	COUNT(agent.process->passes);
}

void check_all(struct record *record)
{
	if (maps_open(&record->maps, MAPS))
		return;
	pass(record, 0);
	maps_close(&record->maps);
}

/* ---- The map by itself ---- */

static void violated(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	trouble(text, 0);
}

void check_map(struct record *record)
{
	struct cleave_lines lines = { violated };

	lock(&agent.checker_lock);
	(void)cleave_map_verify(&agent.map, &record->thread, &lines);
	COUNT(agent.process->verified);
	unlock(&agent.checker_lock);
}

/* ---- The thread ---- */

/* With the checker alone left, the process has ended: its first thread stays as a zombie until then. */
static void end_with_the_last(void)
{
	struct stat status;

	if (!__atomic_load_n(&agent.leader_gone, __ATOMIC_ACQUIRE) ||
	    sys3(SYS_stat, "/proc/thread-self/..", &status, 0))
		return;
	if (status.st_nlink == 2 + 2)
		sys3(SYS_exit_group, __atomic_load_n(&agent.exit_status, __ATOMIC_RELAXED), 0, 0);
}

static void checker(void)
{
	struct record *record;

	sys3(SYS_prctl, PR_SET_NAME, "cleave-checker", 0);
	/* A file table of its own: the process sees neither the file nor its number. */
	sys3(SYS_close_range, 0, ~0u, 0);
	record = record_get();
	if (maps_open(&record->maps, MAPS)) {
		trouble("open /proc/self/maps", record->maps.fd);
		record_put(record);
		sys3(SYS_exit, 0, 0, 0);
	}
	for (;;) {
		pass(record, agent.shared->nap);
		end_with_the_last();
	}
}

int checker_start(void)
{
	/* In the child of a fork the parent's checker does not exist: the stack is free again. */
	static char stack[CHECKER_STACK] __attribute__((aligned(16)));
	long thread = spawn(checker, stack + sizeof(stack));

	return is_error(thread) ? (int)thread : 0;
}
