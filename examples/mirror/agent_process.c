/* SPDX-License-Identifier: ISC */
/* Fork and exit: the copy of an address space, and its end. */
#include "agent.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>

/* ---- Trouble ---- */

void trouble(const char *what, long error)
{
	struct mirror_process *process = agent.process;
	struct text text = { process->trouble_text, 0 };

	if (COUNT(process->trouble))
		return;
	text_string(&text, what);
	if (!error)
		return;
	text_string(&text, ": error ");
	text_number(&text, (uint64_t)-error);
}

/* ---- Fork ---- */

/*
 * The mirror is a part of what the kernel copies.  Every lock is taken around the call, so that the child's copy is of
 * one instant, and the same one as its copy of the mappings.  The order: the index, its domain, objects, the arena.
 */
static void prefork(struct record *record, struct cleave_txn *txn)
{
	if (agent.shared->naive)
		lock(&agent.naive_lock);
	cleave_prefork(txn, &agent.map.index, &record->ck.thread);
	cleave_ck_prefork(&agent.ck, &record->ck.thread);
	objects_prefork();
	arena_prefork();
}

static void postfork_parent(struct record *record, struct cleave_txn *txn)
{
	arena_postfork();
	objects_postfork();
	cleave_ck_postfork_parent(&agent.ck, &record->ck.thread);
	cleave_postfork_parent(txn);
	if (agent.shared->naive)
		unlock(&agent.naive_lock);
}

/* MADV_DONTFORK: the child has nothing there. */
static void drop_uninherited(struct record *record)
{
	uint64_t from = MAP_MIN;
	int more;

	do {
		size_t n = sizeof(record->entries) / sizeof(record->entries[0]);

		more = cleave_map_snapshot(&agent.map, &record->thread, &from, record->entries, &n);
		for (size_t i = 0; i < n; i++) {
			const struct cleave_map_entry *entry = &record->entries[i];

			if (entry->start < entry->end && entry->attributes.inheritance == CLEAVE_INHERIT_NONE)
				(void)cleave_map_unmap(&agent.map, &record->thread, entry->start, entry->end, 0);
		}
	} while (more);
}

static void claim_process(bool forked)
{
	uint32_t number = COUNT(agent.shared->nprocesses);

	agent.pid = (uint32_t)sys3(SYS_getpid, 0, 0, 0);
	agent.process = &agent.shared->processes[number < MIRROR_PROCESSES ? number : MIRROR_PROCESSES - 1];
	agent.process->pid = agent.pid;
	agent.process->forked = forked;
}

void process_open(void)
{
	claim_process(false);
}

static void postfork_child(struct record *record, struct cleave_txn *txn)
{
	int error;

	claim_process(true);
	arena_postfork();
	objects_postfork();
	records_forked(record);
	(void)cleave_ck_postfork_child(&agent.ck, &record->ck.thread);
	cleave_postfork_child(txn);
	/* Whoever held or awaited these is not here. */
	agent.naive_lock = agent.checker_lock = 0;
	agent.halt = agent.under_way = 0;
	agent.unsettled = 0;
	agent.leader_gone = 0;
	drop_uninherited(record);
	error = checker_start();
	if (error)
		trouble("starting the checker", error);
}

/* The thread comes back from the handler twice.  A stack that the child asked for is given to it by the context. */
long call_fork(struct record *record, const struct call *call, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct call here = *call;
	struct cleave_txn *txn = &record->txn.txn;
	uint64_t stack = 0;
	long result;

	if (call->number == SYS_clone) {
		stack = call->argument[1];
		here.argument[1] = 0;
	}
	prefork(record, txn);
	result = do_call(&here);
	if (result) {
		postfork_parent(record, txn);
		return result;
	}
	postfork_child(record, txn);
	record_put(record);
	if (stack)
		registers[REG_RSP] = (greg_t)stack;
	return 0;
}

/* ---- Exit ---- */

/* Is this thread the last one, the checker aside? */
static bool last_thread(void)
{
	struct stat status;

	return sys3(SYS_stat, "/proc/thread-self/..", &status, 0) == 0 && status.st_nlink == 2 + 2;
}

/* Does not return. */
void call_exit(struct record *record, const struct call *call)
{
	bool own = (uint32_t)sys3(SYS_getpid, 0, 0, 0) == agent.pid; /* not the child of a vfork */
	bool leader = own && thread_number() == agent.pid;

	if (own && call->number == SYS_exit) {
		__atomic_store_n(&agent.exit_status, (uint32_t)call->argument[0], __ATOMIC_RELAXED);
		if (leader)
			__atomic_store_n(&agent.leader_gone, 1, __ATOMIC_RELEASE);
	}
	if (own && (call->number == SYS_exit_group || (leader && last_thread()))) {
		check_all(record);
		/* What others were doing with page counts when a process forked, nobody finishes in the child. */
		if (!agent.process->forked && !agent.shared->naive && last_thread())
			check_map(record);
		sys3(SYS_exit_group, call->argument[0], 0, 0);
	}
	record_put(record);
	do_call(call);
}
