/* SPDX-License-Identifier: ISC */
/*
 * cleave-record: runs a program and writes down every call which changes an address space.
 *
 * The calls stop at a seccomp filter, all others run free. Of one address space at most one call
 * is let into the kernel at a time: the others wait at their entry until it has left. So the
 * order of lines is the order of effects, and whenever a call has just left, the mappings in
 * /proc/PID/maps are exactly those which the lines so far lead to (but for stacks, which grow by
 * page faults: see space_growth()).
 *
 * A task is in one of these states:
 *
 *	new ---> running <---> held ---> calling ---> running
 *	                                         ---> gone
 *
 *	new	seen by waitpid() before the event which tells whose child it is
 *	running	not stopped, or stopped for a reason which does not matter here
 *	held	stopped at the entry of a call, another one is calling in its space
 *	calling	inside a call, until its exit stop (or fork or exec event)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* After sys/ptrace.h, which has enums of the same names. */
#include <linux/ptrace.h>

#include "record_calls.h"

#define EXIT_USAGE	2
#define TASK_BUCKETS	1024U
#define GRACE_SECONDS	10U	/* between SIGTERM and SIGKILL, and for those left behind */

#if defined(__x86_64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_AARCH64
#else
#error "cleave-record: add the AUDIT_ARCH_ of this machine"
#endif

enum task_state { TASK_NEW, TASK_RUNNING, TASK_HELD, TASK_CALLING };

struct task {
	pid_t tid;
	pid_t group;			/* tgid */
	enum task_state state;
	bool stopped;			/* a new task which waits to be let go */
	bool ending;			/* its group exits: it makes no further call */
	bool leaving;			/* past its exit event: no longer a user of the space */
	uint64_t clone_flags;		/* of the last fork, vfork or clone */
	struct call call;
	struct space *space;
	struct task *next_held;
	struct task *next_in_bucket;
};

struct recorder {
	struct trace_writer *writer;
	struct task *bucket[TASK_BUCKETS];
	unsigned spaces;		/* numbers given so far */
	unsigned snapshot_every;
	pid_t root;
	int root_status;		/* wait status */
	bool root_gone;
	bool killing;
};

static volatile sig_atomic_t alarm_rang;

static void
on_alarm(int signal_number)
{
	(void)signal_number;
	alarm_rang = 1;
}

static void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "cleave-record: ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	exit(EXIT_FAILURE);
}

/* ---- Tasks and address spaces ---- */

static struct task **
task_link(struct recorder *recorder, pid_t tid)
{
	struct task **link = &recorder->bucket[(unsigned)tid % TASK_BUCKETS];

	while (*link && (*link)->tid != tid)
		link = &(*link)->next_in_bucket;
	return link;
}

static struct task *
task_find(struct recorder *recorder, pid_t tid)
{
	return *task_link(recorder, tid);
}

static struct task *
task_get(struct recorder *recorder, pid_t tid)
{
	struct task **link = task_link(recorder, tid);

	if (!*link) {
		*link = calloc(1, sizeof(**link));
		if (!*link)
			fail("out of memory");
		(*link)->tid = tid;
		(*link)->group = tid;
		(*link)->state = TASK_NEW;
	}
	return *link;
}

static struct space *
space_new(struct recorder *recorder)
{
	struct space *space = calloc(1, sizeof(*space));

	if (!space)
		fail("out of memory");
	space->number = ++recorder->spaces;
	return space;
}

static void
space_join(struct space *space, struct task *task)
{
	task->space = space;
	space->users++;
}

/* A task may have been killed at any time: that it is gone is told by waitpid() later. */
static void
resume(const struct task *task, enum __ptrace_request how, int signal_number)
{
	if (ptrace(how, task->tid, NULL, (void *)(intptr_t)signal_number) && errno != ESRCH)
		fail("ptrace: %s", strerror(errno));
}

static void
task_unhold(struct task *task)
{
	for (struct task **link = &task->space->held; *link; link = &(*link)->next_held) {
		if (*link == task) {
			*link = task->next_held;
			break;
		}
	}
	task->next_held = NULL;
}

static void enter(struct recorder *recorder, struct task *task);

/* The call of @space is over; let the next in. */
static void
space_next(struct recorder *recorder, struct space *space)
{
	struct task *task;

	space->calling = NULL;
	while (!space->calling && (task = space->held)) {
		space->held = task->next_held;
		task->next_held = NULL;
		enter(recorder, task);
	}
}

/* @task no longer uses its space: it ended or went on with another program. */
static void
space_leave(struct recorder *recorder, struct task *task)
{
	struct space *space = task->space;

	if (!space)
		return;
	task_unhold(task);
	task->space = NULL;
	if (--space->users == 0) {
		trace_writer_line(recorder->writer, "exit %u", space->number);
		map_lines_free(&space->growing);
		free(space);
		return;
	}
	if (space->calling == task)
		space_next(recorder, space);
}

static void
task_gone(struct recorder *recorder, struct task *task)
{
	struct task **link = task_link(recorder, task->tid);

	/* Killed inside a call: nobody can tell how much of it was done. */
	if (task->space && task->space->calling == task && !task->space->unsure) {
		task->space->unsure = true;
		trace_writer_line(recorder->writer, "unsure %u", task->space->number);
	}
	space_leave(recorder, task);
	*link = task->next_in_bucket;
	map_lines_free(&task->call.before);
	free(task);
}

/* ---- Calls ---- */

static bool
is_exec(long number)
{
	return number == SYS_execve || number == SYS_execveat;
}

static bool
is_fork(long number)
{
	switch (number) {
	case SYS_clone:
	case SYS_clone3:
#ifdef SYS_fork
	case SYS_fork:
	case SYS_vfork:
#endif
		return true;
	default:
		return false;
	}
}

static uint64_t
clone_flags(const struct task *task)
{
	const struct call *call = &task->call;

	switch (call->number) {
	case SYS_clone:
		return call->argument[0];
	case SYS_clone3:	/* the flags are the first word of struct clone_args */
		return (uint64_t)ptrace(PTRACE_PEEKDATA, task->tid,
					(void *)(uintptr_t)call->argument[0], NULL);
#ifdef SYS_vfork
	case SYS_vfork:
		return CLONE_VM | CLONE_VFORK;
#endif
	default:
		return 0;
	}
}

/* No other task of the group will make a call any more, and those held will never be let in. */
static void
group_ends(struct recorder *recorder, pid_t group)
{
	for (unsigned i = 0; i < TASK_BUCKETS; i++)
		for (struct task *task = recorder->bucket[i]; task; task = task->next_in_bucket)
			if (task->group == group) {
				task->ending = true;
				if (task->space)
					task_unhold(task);
			}
}

/* Let @task into its call; no other one of the space is inside. */
static void
enter(struct recorder *recorder, struct task *task)
{
	struct space *space = task->space;

	if (task->call.number == SYS_exit_group) {
		group_ends(recorder, task->group);
		task->state = TASK_RUNNING;
		resume(task, PTRACE_CONT, 0);
		return;
	}
	space->calling = task;
	task->state = TASK_CALLING;
	if (is_fork(task->call.number))
		space_growth(recorder->writer, space, task->tid);
	else if (is_exec(task->call.number) && space->calls)
		space_snapshot(recorder->writer, space, task->tid);
	else
		call_enter(recorder->writer, space, &task->call, task->tid);
	resume(task, PTRACE_SYSCALL, 0);
}

static void
on_entry(struct recorder *recorder, struct task *task)
{
	struct ptrace_syscall_info info;
	struct space *space = task->space;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, (void *)sizeof(info), &info) <= 0)
		return;
	if (!space) {		/* the first exec */
		resume(task, PTRACE_CONT, 0);
		return;
	}
	if (task->ending)
		return;
	task->call.number = (long)info.seccomp.nr;
	for (int i = 0; i < 6; i++)
		task->call.argument[i] = info.seccomp.args[i];
	if (is_fork(task->call.number)) {
		task->clone_flags = clone_flags(task);
		if (task->clone_flags & CLONE_VM) {
			resume(task, PTRACE_CONT, 0);
			return;
		}
	}
	if (space->calling) {
		struct task **link = &space->held;

		while (*link)
			link = &(*link)->next_held;
		*link = task;
		task->state = TASK_HELD;
		return;
	}
	enter(recorder, task);
}

static void
on_leave(struct recorder *recorder, struct task *task)
{
	struct ptrace_syscall_info info;
	struct space *space = task->space;

	if (!space || space->calling != task) {
		resume(task, PTRACE_CONT, 0);
		return;
	}
	if (ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, (void *)sizeof(info), &info) <= 0)
		return;		/* killed; task_gone() will see it as calling */
	if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		call_leave(recorder->writer, space, &task->call, task->tid, info.exit.rval);
	if (space->calls >= recorder->snapshot_every)
		space_snapshot(recorder->writer, space, task->tid);
	task->state = TASK_RUNNING;
	resume(task, PTRACE_CONT, 0);
	space_next(recorder, space);
}

/* ---- Events of processes ---- */

static void
on_fork(struct recorder *recorder, struct task *parent)
{
	struct space *space = parent->space;
	unsigned long message = 0;
	struct task *child;

	if (ptrace(PTRACE_GETEVENTMSG, parent->tid, NULL, &message) || !space)
		return;
	child = task_get(recorder, (pid_t)message);
	child->group = parent->clone_flags & CLONE_THREAD ? parent->group : child->tid;
	child->ending = parent->clone_flags & CLONE_THREAD ? parent->ending : false;
	if (parent->clone_flags & CLONE_VM) {
		space_join(space, child);
		trace_writer_line(recorder->writer, "share %u", space->number);
	} else {
		space_join(space_new(recorder), child);
		trace_writer_line(recorder->writer, "fork %u %u", child->space->number,
				  space->number);
		child->space->unsure = space->unsure;
		if (map_lines_copy(&child->space->growing, &space->growing))
			fail("out of memory");
		space_snapshot(recorder->writer, child->space, child->tid);
	}
	child->state = TASK_RUNNING;
	if (child->stopped)
		resume(child, PTRACE_CONT, 0);
	child->stopped = false;
	parent->state = TASK_RUNNING;
	resume(parent, PTRACE_CONT, 0);
	if (space->calling == parent)
		space_next(recorder, space);
}

/* Where the heap will start: a field of /proc/PID/stat, whose second one may hold spaces. */
static uint64_t
initial_brk(pid_t process)
{
	enum { FIELDS_BEFORE = 44 };	/* from the third field to "start_brk" */
	char path[64], text[2048], *at;
	size_t size;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
	file = fopen(path, "re");
	if (!file)
		return 0;
	size = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[size] = '\0';
	at = strrchr(text, ')');
	for (int i = 0; at && i <= FIELDS_BEFORE; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static void
on_exec(struct recorder *recorder, pid_t tid)
{
	struct task *task = task_find(recorder, tid), *leader;
	struct space *old;
	unsigned long former = 0;

	/* When a thread which is not the first one execs, it takes the first one's number. */
	if (!ptrace(PTRACE_GETEVENTMSG, tid, NULL, &former) && (pid_t)former != tid &&
	    (leader = task_find(recorder, (pid_t)former))) {
		struct task **link;

		if (task)
			task_gone(recorder, task);
		link = task_link(recorder, (pid_t)former);
		task = *link;
		*link = task->next_in_bucket;
		task->tid = tid;
		task->next_in_bucket = NULL;
		*task_link(recorder, tid) = task;
	}
	if (!task)
		return;
	old = task->space;
	trace_writer_line(recorder->writer, "exec %u %u %" PRIx64, recorder->spaces + 1,
			  old ? old->number : 0, trace_writer_pages(initial_brk(tid)));
	space_leave(recorder, task);
	space_join(space_new(recorder), task);
	task->state = TASK_RUNNING;
	task->leaving = false;
	task->ending = false;
	space_find_growing(task->space, tid);
	space_snapshot(recorder->writer, task->space, tid);
	resume(task, PTRACE_CONT, 0);
}

static void
on_exit_event(struct recorder *recorder, struct task *task)
{
	struct space *space = task->space;

	if (space && space->calling == task) {
		if (!space->unsure)
			trace_writer_line(recorder->writer, "unsure %u", space->number);
		space->unsure = true;
	}
	if (space && space->users == 1)
		space_snapshot(recorder->writer, space, task->tid);
	space_leave(recorder, task);
	task->leaving = true;
	resume(task, PTRACE_CONT, 0);
}

static void
on_event_stop(struct recorder *recorder, struct task *task, int signal_number)
{
	(void)recorder;
	if (task->state == TASK_NEW)
		task->stopped = true;
	else if (signal_number == SIGTRAP)
		resume(task, PTRACE_CONT, 0);
	else
		resume(task, PTRACE_LISTEN, 0);
}

static void
on_stop(struct recorder *recorder, pid_t tid, int status)
{
	struct task *task = task_get(recorder, tid);
	int signal_number = WSTOPSIG(status);

	switch (status >> 16) {
	case PTRACE_EVENT_SECCOMP:
		on_entry(recorder, task);
		break;
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		on_fork(recorder, task);
		break;
	case PTRACE_EVENT_EXEC:
		on_exec(recorder, tid);
		break;
	case PTRACE_EVENT_EXIT:
		on_exit_event(recorder, task);
		break;
	case PTRACE_EVENT_STOP:
		on_event_stop(recorder, task, signal_number);
		break;
	default:
		if (signal_number == (SIGTRAP | 0x80))
			on_leave(recorder, task);
		else
			resume(task, PTRACE_CONT, signal_number);
		break;
	}
}

/* ---- The program ---- */

/*
 * The filter: the calls below stop, of madvise only what changes the mapping, all else runs.
 * Another architecture's calls (32-bit programs) run unseen.
 */
static void
install_filter(void)
{
	static const unsigned traced[] = {
		SYS_mmap, SYS_munmap, SYS_mprotect, SYS_pkey_mprotect, SYS_mremap, SYS_brk,
		SYS_shmat, SYS_shmdt, SYS_remap_file_pages, SYS_io_setup, SYS_io_destroy,
		SYS_clone, SYS_clone3, SYS_execve, SYS_execveat, SYS_exit_group,
#ifdef SYS_fork
		SYS_fork, SYS_vfork,
#endif
#ifdef SYS_arch_prctl
		SYS_arch_prctl,
#endif
	};
	enum { TRACED = sizeof(traced) / sizeof(*traced) };
	const unsigned trace = SECCOMP_RET_TRACE, allow = SECCOMP_RET_ALLOW;
	struct sock_filter code[2 * TRACED + 24];
	struct sock_fprog program = { 0, code };
	unsigned short n = 0;

#define FIELD(name)	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#define GIVE(action)	BPF_STMT(BPF_RET | BPF_K, (action))
#define IF(test, value, yes, no)	BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), (yes), (no))
#define ADD(...)	(code[n++] = (struct sock_filter)__VA_ARGS__)
	ADD(FIELD(arch));
	ADD(IF(BPF_JEQ, AUDIT_ARCH_HERE, 1, 0));
	ADD(GIVE(allow));
	ADD(FIELD(nr));
	for (unsigned i = 0; i < TRACED; i++) {
		ADD(IF(BPF_JEQ, traced[i], 0, 1));
		ADD(GIVE(trace));
	}
	ADD(IF(BPF_JEQ, SYS_prctl, 0, 4));
	ADD(FIELD(args[0]));
	ADD(IF(BPF_JEQ, PR_SET_MM, 0, 1));
	ADD(GIVE(trace));
	ADD(GIVE(allow));
	ADD(IF(BPF_JEQ, SYS_madvise, 1, 0));
	ADD(GIVE(allow));
	ADD(FIELD(args[2]));
	ADD(IF(BPF_JGT, MADV_KEEPONFORK, 2, 0));
	ADD(IF(BPF_JGE, MADV_REMOVE, 2, 0));
	ADD(IF(BPF_JGT, MADV_SEQUENTIAL, 0, 1));
	ADD(GIVE(allow));
	ADD(GIVE(trace));
#undef ADD
#undef IF
#undef GIVE
#undef FIELD
	program.len = n;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) && errno == EACCES &&
	    !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	if (prctl(PR_GET_SECCOMP) != SECCOMP_MODE_FILTER && errno)
		fail("seccomp: %s", strerror(errno));
}

/* The child waits until it is traced, then becomes the program. */
static pid_t
start(char **program)
{
	const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			     PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT |
			     PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
	char go = 1;
	int gate[2];
	pid_t child;

	if (pipe(gate) || (child = fork()) < 0)
		fail("fork: %s", strerror(errno));
	if (child == 0) {
		signal(SIGINT, SIG_DFL);
		close(gate[1]);
		if (read(gate[0], &go, 1) != 1)
			_exit(127);
		close(gate[0]);
		install_filter();
		execvp(program[0], program);
		fprintf(stderr, "cleave-record: %s: %s\n", program[0], strerror(errno));
		_exit(127);
	}
	close(gate[0]);
	if (ptrace(PTRACE_SEIZE, child, NULL, (void *)options))
		fail("ptrace: %s", strerror(errno));
	if (write(gate[1], &go, 1) != 1)
		fail("pipe: %s", strerror(errno));
	close(gate[1]);
	return child;
}

static void
signal_all(struct recorder *recorder, int signal_number)
{
	for (unsigned i = 0; i < TASK_BUCKETS; i++)
		for (struct task *task = recorder->bucket[i]; task; task = task->next_in_bucket)
			if (task->tid == task->group)
				kill(task->tid, signal_number);
}

/* First ask the program to end, then end all which is left. */
static void
time_is_up(struct recorder *recorder)
{
	alarm_rang = 0;
	if (recorder->root_gone || recorder->killing)
		signal_all(recorder, SIGKILL);
	else
		kill(recorder->root, SIGTERM);
	recorder->killing = true;
	alarm(GRACE_SECONDS);
}

static void
run(struct recorder *recorder)
{
	for (;;) {
		int status;
		pid_t tid;

		if (alarm_rang)
			time_is_up(recorder);
		tid = waitpid(-1, &status, __WALL);
		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			return;		/* ECHILD: all are gone */
		if (WIFSTOPPED(status)) {
			on_stop(recorder, tid, status);
			continue;
		}
		if (task_find(recorder, tid))
			task_gone(recorder, task_find(recorder, tid));
		if (tid == recorder->root) {
			recorder->root_gone = true;
			recorder->root_status = status;
			alarm(GRACE_SECONDS);
		}
	}
}

static const char help[] =
"usage: cleave-record [options] -- program [argument...]\n"
"\n"
"Runs a program and records the calls which change its address space, and those of its\n"
"children. The result is read by cleave-replay; its format is in stress/traces/FORMAT.md.\n"
"\n"
"  --out FILE            where to write (default: out.trace.zst)\n"
"  --snapshot-every N    look at the mappings after every N calls of a process (default: 256)\n"
"  --seconds N           end the program after N seconds\n"
"  --help                this text\n"
"\n"
"Examples:\n"
"  cleave-record -- python3 -c 'print(1)'\n"
"  cleave-record --out gcc.trace.zst --snapshot-every 64 -- gcc -O2 -c file.c -o /dev/null\n"
"\n"
"Exit status: 0 recorded, 1 the recording or the program failed, 2 wrong usage.\n";

static unsigned
parse_count(const char *option, const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || !*text || value < 1 || value > 1000000000) {
		fprintf(stderr, "cleave-record: --%s wants a number from 1, not \"%s\"\n", option,
			text);
		exit(EXIT_USAGE);
	}
	return (unsigned)value;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "out", required_argument, NULL, 'o' },
		{ "snapshot-every", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static struct recorder recorder = { .snapshot_every = 256 };
	struct sigaction alarm_action = { .sa_handler = on_alarm };	/* no SA_RESTART */
	const char *path = "out.trace.zst";
	unsigned seconds = 0;
	struct task *first;
	int option, error;

	while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			path = optarg;
			break;
		case 'n':
			recorder.snapshot_every = parse_count("snapshot-every", optarg);
			break;
		case 's':
			seconds = parse_count("seconds", optarg);
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind == argc) {
		fprintf(stderr, "cleave-record: which program? (--help tells more)\n");
		return EXIT_USAGE;
	}
	error = trace_writer_open(&recorder.writer, path);
	if (error)
		fail("%s: %s", path, strerror(-error));
	sigaction(SIGALRM, &alarm_action, NULL);
	signal(SIGINT, SIG_IGN);
	recorder.root = start(argv + optind);
	first = task_get(&recorder, recorder.root);
	first->state = TASK_RUNNING;
	alarm(seconds);
	run(&recorder);
	error = trace_writer_close(recorder.writer);
	if (error)
		fail("%s: %s", path, strerror(-error));
	return WIFEXITED(recorder.root_status) && !WEXITSTATUS(recorder.root_status) ?
	       EXIT_SUCCESS : EXIT_FAILURE;
}
