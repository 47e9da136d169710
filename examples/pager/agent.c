/* SPDX-License-Identifier: ISC */
/*
 * The agent: what the pager needs inside of every process.  It decides nothing.  A trapped call is posted in a slot of
 * the shared memory; then the thread makes the system calls that the pager wants, until it gets the result.  A helper
 * thread takes commands at any time.
 *
 * While the pager holds a transaction for a call, the calling thread must not fault on memory that is paged: so it
 * works on a stack in the agent's region.
 */
#include "../common/trap.h"

#include <linux/futex.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#include "layout.h"

#define HELPER_STACK (16 * 1024)

_Static_assert(TRAP_SHARED_AT + sizeof(struct pager_shared) < PAGER_STACKS_AT, "it fits");

/* Of the process, and copied with it by a fork. */
static struct {
	uint32_t space;
	uint32_t pid;
	uint32_t leader_gone; /* [a] the first thread has ended */
	uint32_t exit_status; /* [a] of the thread that ended last */
} agent;

static struct pager_shared *shared(void)
{
	return (struct pager_shared *)(uintptr_t)TRAP_SHARED_AT;
}

/* ---- Slots ---- */

static bool claim(uint32_t *owner, uint32_t from, uint32_t thread)
{
	return __atomic_compare_exchange_n(owner, &from, thread, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* All are taken only by hundreds of threads, or by those that were killed in a call. */
static struct pager_slot *slot_get(void)
{
	uint32_t thread = thread_number();

	for (uint32_t i = 0;; i++) {
		struct pager_slot *slot = &shared()->slots[(thread + i) % PAGER_SLOTS];
		uint32_t owner = __atomic_load_n(&slot->owner, __ATOMIC_RELAXED);
		uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_RELAXED);

		if (i >= PAGER_SLOTS && owner && (state == SLOT_FREE || state == SLOT_ANSWERED) &&
		    sys3(SYS_kill, owner, 0, 0) == -ESRCH && claim(&slot->owner, owner, thread))
			return slot;
		if (!owner && claim(&slot->owner, 0, thread))
			return slot;
		if (i % PAGER_SLOTS == PAGER_SLOTS - 1)
			nap(1000);
	}
}

static void slot_put(struct pager_slot *slot)
{
	__atomic_store_n(&slot->state, SLOT_FREE, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->owner, 0, __ATOMIC_RELEASE);
}

static void slot_set(struct pager_slot *slot, uint32_t state)
{
	__atomic_store_n(&slot->state, state, __ATOMIC_RELEASE);
	sys3(SYS_futex, &slot->state, FUTEX_WAKE, 1);
}

static void slot_post(struct pager_slot *slot, enum slot_kind kind)
{
	uint32_t *posted = &shared()->posted, number = (uint32_t)(slot - shared()->slots) + 1;

	slot->kind = kind;
	slot->space = agent.space;
	slot->pid = agent.pid;
	__atomic_store_n(&slot->state, SLOT_POSTED, __ATOMIC_RELAXED);
	slot->next = __atomic_load_n(posted, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(posted, &slot->next, number, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	sys3(SYS_futex, posted, FUTEX_WAKE, 1);
}

/* If the pager is gone, nobody answers, and nobody serves faults either: the process ends. */
static uint32_t slot_wait(struct pager_slot *slot, uint32_t while_state)
{
	const struct timespec second = { 1, 0 };
	uint32_t state;

	while ((state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE)) == while_state)
		if (sys4(SYS_futex, &slot->state, FUTEX_WAIT, while_state, &second) == -ETIMEDOUT &&
		    sys3(SYS_kill, trap_shared()->supervisor, 0, 0) == -ESRCH)
			sys3(SYS_exit_group, 127, 0, 0);
	return state;
}

static long carry_out(struct pager_slot *slot)
{
	struct call command = { .number = slot->number };

	if (slot->number == COMMAND_DISCARD) {
		long result = 0;

		for (uint32_t i = 0; i < slot->argument[0] && !result; i++)
			result = sys3(SYS_madvise, slot->list[i].start, slot->list[i].size, MADV_DONTNEED);
		return result;
	}
	for (unsigned int i = 0; i < 6; i++)
		command.argument[i] = slot->argument[i];
	return do_call(&command);
}

/* ---- The helper ---- */

/* Is nobody but the helper left?  The process has ended then: its first thread stays as a zombie until then. */
static bool all_gone(void)
{
	struct stat status;

	return __atomic_load_n(&agent.leader_gone, __ATOMIC_ACQUIRE) &&
	       sys3(SYS_stat, "/proc/thread-self/..", &status, 0) == 0 && status.st_nlink == 2 + 2;
}

static void tell_exit(void)
{
	struct pager_slot *slot = slot_get();

	slot_post(slot, SLOT_EXIT);
	(void)slot_wait(slot, SLOT_POSTED);
	slot_put(slot);
}

static void helper(void)
{
	const struct timespec moment = { 0, 200000000 };
	struct pager_slot *slot;
	uint32_t state;

	sys3(SYS_prctl, PR_SET_NAME, "cleave-helper", 0);
	/* A file table of its own: the process sees neither the file nor its number. */
	sys3(SYS_close_range, 0, ~0u, 0);
	slot = slot_get();
	slot_post(slot, SLOT_HELPER);
	for (;;) {
		state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
		if (state == SLOT_COMMAND) {
			slot->result = carry_out(slot);
			slot_set(slot, SLOT_DONE);
			continue;
		}
		sys4(SYS_futex, &slot->state, FUTEX_WAIT, state, &moment);
		/* Without the pager what it has written to the file is lost: nobody may go on as if it were zeros. */
		if (sys3(SYS_kill, trap_shared()->supervisor, 0, 0) == -ESRCH)
			sys3(SYS_exit_group, 127, 0, 0);
		if (all_gone()) {
			tell_exit();
			sys3(SYS_exit_group, __atomic_load_n(&agent.exit_status, __ATOMIC_RELAXED), 0, 0);
		}
	}
}

static int helper_start(void)
{
	/* In the child of a fork the parent's helper does not exist: the stack is free again. */
	static char stack[HELPER_STACK] __attribute__((aligned(16)));
	long thread = spawn(helper, stack + sizeof(stack));

	return is_error(thread) ? (int)thread : 0;
}

/* ---- Calls ---- */

static bool is_fork(long number)
{
	return number == SYS_fork || number == SYS_clone;
}

/* In the child.  The slot is its parent's; what it said is in `child`. */
static long forked(uint32_t child)
{
	struct pager_slot *slot;
	long result;

	agent.space = child;
	agent.pid = (uint32_t)sys3(SYS_getpid, 0, 0, 0);
	agent.leader_gone = 0;
	slot = slot_get();
	slot_post(slot, SLOT_FORKED);
	(void)slot_wait(slot, SLOT_POSTED);
	result = slot->result;
	slot_put(slot);
	return helper_start() ? -ENOMEM : result;
}

struct task {
	struct pager_slot *slot;
	enum slot_kind kind;
	bool child; /* of a fork */
	long result;
};

static void perform(void *argument)
{
	struct task *task = argument;
	struct pager_slot *slot = task->slot;
	uint32_t state;

	slot_post(slot, task->kind);
	state = slot_wait(slot, SLOT_POSTED);
	while (state == SLOT_COMMAND) {
		uint32_t child = slot->child;
		bool forks = is_fork((long)slot->number);
		long result = carry_out(slot);

		if (forks && result == 0) {
			task->child = true;
			task->result = forked(child);
			return;
		}
		slot->result = result;
		slot_set(slot, SLOT_DONE);
		state = slot_wait(slot, SLOT_DONE);
	}
	task->result = (long)slot->result;
}

/* f(argument) on the slot's stack; rbx is kept by it. */
static void run_on(void (*f)(void *), void *argument, struct pager_slot *slot)
{
	uint64_t top = PAGER_STACKS_AT + (uint64_t)(slot - shared()->slots + 1) * PAGER_STACK_SIZE;

	__asm__ volatile("mov %%rsp, %%rbx\n\t"
			 "mov %[top], %%rsp\n\t"
			 "call *%[f]\n\t"
			 "mov %%rbx, %%rsp\n\t"
			 : "+D"(argument)
			 : [top] "r"(top), [f] "r"(f)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
}

static long ask(const struct call *call, bool *child)
{
	struct task task = { .slot = slot_get(), .kind = SLOT_CALL };

	task.slot->number = call->number;
	for (unsigned int i = 0; i < 6; i++)
		task.slot->argument[i] = call->argument[i];
	run_on(perform, &task, task.slot);
	if (!task.child)
		slot_put(task.slot);
	*child = task.child;
	return task.result;
}

/* The thread comes back from the handler twice.  A stack that the child asked for is given to it by the context. */
static long fork_call(const struct call *call, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct call here = *call;
	bool child, tells = false;
	long result;

	if (call->number == SYS_clone) {
		/* In the middle of the fork the parent's memory cannot be written. */
		tells = call->argument[0] & CLONE_PARENT_SETTID;
		here.argument[0] &= ~(uint64_t)CLONE_PARENT_SETTID;
		here.argument[1] = 0;
	}
	result = ask(&here, &child);
	if (tells && !child && result > 0)
		*(volatile int *)(uintptr_t)call->argument[2] = (int)result;
	if (child && call->number == SYS_clone && call->argument[1])
		registers[REG_RSP] = (greg_t)call->argument[1];
	return result;
}

/*
 * A thread ends.  Whoever joins it waits for the kernel to clear its number in its memory, which the kernel does not do
 * where a page is missing by then: it serves no userfaults of threads that are ending.  So it is done here, by a thread
 * that touches nothing of its own any more: its stack may be unmapped as soon as it is joined.
 */
struct end {
	uint32_t *number; /* NULL: nobody waits */
	uint64_t status;
	struct pager_slot *slot; /* whose stack this runs on */
};

static void end_thread(void *argument)
{
	struct end end = *(struct end *)argument;

	if (end.number) {
		__atomic_store_n(end.number, 0, __ATOMIC_SEQ_CST);
		sys3(SYS_futex, end.number, FUTEX_WAKE, 1);
	}
	/* Without a stack: the slot's is another thread's from here on. */
	__asm__ volatile("movl $0, %[owner]\n\t"
			 "syscall\n\t"
			 "hlt"
			 : [owner] "=m"(end.slot->owner)
			 : "a"(SYS_exit), "D"(end.status)
			 : "memory");
}

static void exit_thread(uint64_t status)
{
	static uint32_t nobodys;
	struct end end = { .status = status };

	if (sys6(SYS_prctl, PR_GET_TID_ADDRESS, (uint64_t)(uintptr_t)&end.number, 0, 0, 0, 0))
		return;
	sys3(SYS_set_tid_address, &nobodys, 0, 0);
	end.slot = slot_get();
	run_on(end_thread, &end, end.slot);
}

static void exit_call(const struct call *call)
{
	bool own = (uint32_t)sys3(SYS_getpid, 0, 0, 0) == agent.pid; /* not the child of a vfork */

	if (own && call->number == SYS_exit) {
		__atomic_store_n(&agent.exit_status, (uint32_t)call->argument[0], __ATOMIC_RELAXED);
		if (thread_number() == agent.pid)
			__atomic_store_n(&agent.leader_gone, 1, __ATOMIC_RELEASE);
		exit_thread(call->argument[0]);
	} else if (own) {
		tell_exit();
	}
	do_call(call);
}

long agent_call(const struct call *call, void *context)
{
	bool child;

	if (is_signal_call(call->number))
		return call_signal(call, context);
	switch (call->number) {
	case SYS_exit:
	case SYS_exit_group:
		exit_call(call);
		return 0;
	case SYS_execve:
	case SYS_execveat:
		return call_exec(call);
	case SYS_fork:
	case SYS_clone:
		return fork_call(call, context);
	default:
		return ask(call, &child);
	}
}

/* ---- The beginning ---- */

int agent_begin(uint64_t flags)
{
	uint64_t size = PAGER_SLOTS * PAGER_STACK_SIZE;
	struct task task = { .kind = SLOT_HELLO };
	long fd;

	(void)flags;
	agent.pid = (uint32_t)sys3(SYS_getpid, 0, 0, 0);
	if (sys6(SYS_mmap, PAGER_STACKS_AT, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, (uint64_t)-1,
		 0) != (long)PAGER_STACKS_AT)
		return __LINE__;
	fd = sys3(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK, 0, 0);
	if (is_error(fd))
		return __LINE__;
	task.slot = slot_get();
	task.slot->argument[0] = (uint64_t)fd;
	perform(&task);
	agent.space = task.slot->space;
	slot_put(task.slot);
	sys3(SYS_close, fd, 0, 0);
	return task.result ? __LINE__ : 0;
}

int agent_begun(void)
{
	return helper_start() ? __LINE__ : 0;
}
