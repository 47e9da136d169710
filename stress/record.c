/* SPDX-License-Identifier: ISC */
/*
 * cleave-record: runs a program and writes down every call which changes an address space.
 *
 * The calls stop at a seccomp filter, all others run free. What is done with those that stop:
 * record_tasks.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
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

#include "../tools/program.h"
#include "record_tasks.h"

#define GRACE_SECONDS	10U	/* between SIGTERM and SIGKILL, and for those left behind */

#if defined(__x86_64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_AARCH64
#else
#error "cleave-record: add the AUDIT_ARCH_ of this machine"
#endif

struct recording {
	struct recorder recorder;
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
		record_fail("seccomp: %s", strerror(errno));
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
		record_fail("fork: %s", strerror(errno));
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
		record_fail("ptrace: %s", strerror(errno));
	if (write(gate[1], &go, 1) != 1)
		record_fail("pipe: %s", strerror(errno));
	close(gate[1]);
	return child;
}

/* First ask the program to end, then end all which is left. */
static void
time_is_up(struct recording *recording)
{
	alarm_rang = 0;
	if (recording->root_gone || recording->killing)
		record_signal(&recording->recorder, SIGKILL);
	else
		kill(recording->root, SIGTERM);
	recording->killing = true;
	alarm(GRACE_SECONDS);
}

static void
run(struct recording *recording)
{
	for (;;) {
		int status;
		pid_t tid;

		if (alarm_rang)
			time_is_up(recording);
		tid = waitpid(-1, &status, __WALL);
		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			return;		/* ECHILD: all are gone */
		if (WIFSTOPPED(status)) {
			record_stop(&recording->recorder, tid, status);
			continue;
		}
		record_gone(&recording->recorder, tid);
		if (tid == recording->root) {
			recording->root_gone = true;
			recording->root_status = status;
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
"Exit status: 0 recorded; 1 the program failed, or could not be traced; 2 wrong usage, or FILE\n"
"cannot be written.\n";

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
	static struct recording recording = { .recorder.snapshot_every = 256 };
	struct sigaction alarm_action = { .sa_handler = on_alarm };	/* no SA_RESTART */
	const char *path = "out.trace.zst";
	unsigned seconds = 0;
	uint64_t events;
	int option, error;

	program_begin(argv);
	while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			path = optarg;
			break;
		case 'n':
			recording.recorder.snapshot_every =
				(unsigned)program_number("snapshot-every", optarg, 1, 1000000000);
			break;
		case 's':
			seconds = (unsigned)program_number("seconds", optarg, 1, 1000000000);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind == argc)
		program_wrong("which program?");
	program_command(argv[optind]);
	error = trace_writer_open(&recording.recorder.writer, path);
	if (error)
		program_wrong("%s: %s", path, strerror(-error));
	sigaction(SIGALRM, &alarm_action, NULL);
	signal(SIGINT, SIG_IGN); /* for the program, which shares the terminal */
	recording.root = start(argv + optind);
	record_begin(&recording.recorder, recording.root);
	alarm(seconds);
	run(&recording);
	error = trace_writer_close(recording.recorder.writer, &events);
	if (error)
		program_wrong("%s: %s", path, strerror(-error));
	fprintf(stderr, "%s: %" PRIu64 " events in %s\n", program_name, events, path);
	return program_end(WIFEXITED(recording.root_status) && !WEXITSTATUS(recording.root_status) ?
			   EXIT_SUCCESS : EXIT_FAILURE);
}
