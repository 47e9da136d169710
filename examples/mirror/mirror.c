/* SPDX-License-Identifier: ISC */
/*
 * cleave-mirror: runs a program, and everything that it starts, with an agent in each process which mirrors the address
 * space in a cleave_map and compares the two.  This is the supervisor: it puts the agents in, and reports.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "inject.h"
#include "layout.h"
#include "report.h"

#define AGENT_NAME "cleave-mirror-agent"
#define ROUND_NS 50000000L /* between two looks, if nothing happens */
#define GRACE_SECONDS 10   /* for what the program left behind */

struct options {
	bool naive;
	bool stop;
	bool quiet;
	unsigned int nap;
	unsigned int seconds; /* 0: no limit */
	const char *json;
	const char *agent;
	char **command;
};

struct supervisor {
	struct options options;
	struct agent_image agent;
	struct mirror_shared *shared;
	char shared_path[64];
	sigset_t mask; /* the program's */
	pid_t program;
	int program_status; /* of wait */
	bool program_gone;
	bool first_done; /* the first image has its agent, and the filter */
	bool ended;	 /* told to end */
	uint64_t ended_at;
	char problem[256];
};

static const char usage[] =
	"usage: cleave-mirror [OPTIONS] PROGRAM [ARGS...]\n"
	"\n"
	"Runs PROGRAM, unmodified, and mirrors its address space in a cleave_map: every call that changes mappings is\n"
	"carried out inside a transaction on its range.  A checker compares the map with /proc/PID/maps, one window "
	"at\n"
	"a time, while it holds the transaction on that window.  Children and what they exec are mirrored, too.\n"
	"\n"
	"  --naive         the usual order instead: the system call, then the update under a lock\n"
	"  --stop          end the program at the first disagreement that lasts\n"
	"  --seconds N     end the program after N seconds\n"
	"  --nap US        pause of the checker between two windows (100)\n"
	"  --json FILE     write the result there (-: to standard output)\n"
	"  --quiet         no progress\n"
	"  --agent FILE    the agent (" AGENT_NAME " beside this program)\n"
	"  --help          this text\n"
	"\n"
	"examples:\n"
	"  cleave-mirror java -version\n"
	"  cleave-mirror node -e 'setTimeout(() => {}, 5000)'\n"
	"  cleave-mirror --stop --naive cleave-mirror-stress --seconds 10\n"
	"\n"
	"exit status: 0 the two agreed, and the program succeeded; 1 they disagreed, or something failed; 2 usage.\n";

/* ---- Options ---- */

static unsigned int number(const char *text, const char *option)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end || value > 1000000000) {
		fprintf(stderr, "cleave-mirror: %s wants a number, not '%s'\n", option, text);
		exit(2);
	}
	return (unsigned int)value;
}

static void parse(struct options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{ "naive", no_argument, NULL, 'n' },
		{ "stop", no_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "nap", required_argument, NULL, 'p' },
		{ "json", required_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "agent", required_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*options = (struct options){ .nap = 100 };
	/* '+': what follows PROGRAM is its own. */
	while ((option = getopt_long(argc, argv, "+h", known, NULL)) != -1) {
		switch (option) {
		case 'n':
			options->naive = true;
			break;
		case 's':
			options->stop = true;
			break;
		case 't':
			options->seconds = number(optarg, "--seconds");
			break;
		case 'p':
			options->nap = number(optarg, "--nap");
			break;
		case 'j':
			options->json = optarg;
			break;
		case 'q':
			options->quiet = true;
			break;
		case 'a':
			options->agent = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind == argc) {
		fputs(usage, stderr);
		exit(2);
	}
	options->command = argv + optind;
}

/* ---- Start ---- */

static void __attribute__((noreturn)) fail(const char *what, int error)
{
	fprintf(stderr, "cleave-mirror: %s%s%s\n", what, error ? ": " : "", error ? strerror(error) : "");
	exit(1);
}

static uint64_t clock_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void open_agent(struct supervisor *supervisor)
{
	char self[PATH_MAX], path[PATH_MAX + sizeof(AGENT_NAME) + 1];
	const char *name = supervisor->options.agent;
	ssize_t n;
	int error;

	if (!name) {
		n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n < 0)
			fail("readlink /proc/self/exe", errno);
		self[n] = '\0';
		snprintf(path, sizeof(path), "%s/%s", dirname(self), AGENT_NAME);
		name = path;
	}
	error = agent_image_read(&supervisor->agent, name);
	if (error)
		fail(name, -error);
}

static void open_shared(struct supervisor *supervisor)
{
	int fd = memfd_create("cleave-mirror", MFD_CLOEXEC); /* agents open it by its path here */

	if (fd < 0 || ftruncate(fd, MIRROR_SHARED_SIZE))
		fail("shared memory", errno);
	supervisor->shared = mmap(NULL, MIRROR_SHARED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (supervisor->shared == MAP_FAILED)
		fail("shared memory", errno);
	snprintf(supervisor->shared_path, sizeof(supervisor->shared_path), "/proc/%d/fd/%d", (int)getpid(), fd);
	supervisor->shared->supervisor = (uint32_t)getpid();
	supervisor->shared->naive = supervisor->options.naive;
	supervisor->shared->nap = supervisor->options.nap;
	supervisor->shared->begun = clock_ns();
}

static void start_program(struct supervisor *supervisor)
{
	char **command = supervisor->options.command;
	int status;

	fflush(NULL);
	supervisor->program = fork();
	if (supervisor->program < 0)
		fail("fork", errno);
	if (supervisor->program == 0) {
		signal(SIGINT, SIG_DFL);
		sigprocmask(SIG_SETMASK, &supervisor->mask, NULL);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(command[0], command);
		fprintf(stderr, "cleave-mirror: %s: %s\n", command[0], strerror(errno));
		_exit(127);
	}
	if (waitpid(supervisor->program, &status, 0) < 0 || !WIFSTOPPED(status))
		fail("the program did not start", 0);
	if (ptrace(PTRACE_SETOPTIONS, supervisor->program, 0, PTRACE_O_TRACEEXEC) ||
	    ptrace(PTRACE_CONT, supervisor->program, 0, 0))
		fail("ptrace", errno);
}

/* ---- Agents ---- */

static void put_agent_in(struct supervisor *supervisor, pid_t process)
{
	const char *problem = inject(&supervisor->agent, process, supervisor->shared_path,
				     supervisor->first_done ? 0 : MIRROR_BOOT_FILTER);

	if (problem) {
		fprintf(stderr, "cleave-mirror: process %d cannot be mirrored: %s\n", (int)process, problem);
		snprintf(supervisor->problem, sizeof(supervisor->problem), "%s", problem);
		kill(process, SIGKILL);
	}
	supervisor->first_done = true;
	ptrace(PTRACE_DETACH, process, 0, 0);
}

static void answer(struct mirror_exec *exec, uint32_t state)
{
	__atomic_store_n(&exec->state, state, __ATOMIC_RELEASE);
	syscall(SYS_futex, &exec->state, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void release(struct mirror_exec *exec)
{
	pid_t thread = (pid_t)exec->tid;
	int status;

	if (ptrace(PTRACE_INTERRUPT, thread, 0, 0) == 0 && waitpid(thread, &status, __WALL) == thread &&
	    WIFSTOPPED(status)) {
		int carried = status >> 16 == 0 ? WSTOPSIG(status) : 0;

		ptrace(PTRACE_DETACH, thread, 0, carried);
	}
	answer(exec, MIRROR_EXEC_FREE);
}

static void answer_requests(struct supervisor *supervisor)
{
	for (unsigned int i = 0; i < MIRROR_EXECS; i++) {
		struct mirror_exec *exec = &supervisor->shared->execs[i];

		switch (__atomic_load_n(&exec->state, __ATOMIC_ACQUIRE)) {
		case MIRROR_EXEC_WANTED:
			if (ptrace(PTRACE_SEIZE, (pid_t)exec->tid, 0, PTRACE_O_TRACEEXEC)) {
				fprintf(stderr, "cleave-mirror: cannot attach to %u for its exec: %s\n", exec->tid,
					strerror(errno));
				answer(exec, MIRROR_EXEC_REFUSED);
			} else {
				answer(exec, MIRROR_EXEC_GO);
			}
			break;
		case MIRROR_EXEC_FAILED:
			release(exec);
			break;
		}
	}
}

static void free_exec_of(struct supervisor *supervisor, pid_t thread)
{
	for (unsigned int i = 0; i < MIRROR_EXECS; i++) {
		struct mirror_exec *exec = &supervisor->shared->execs[i];

		if (exec->tid == (uint32_t)thread && __atomic_load_n(&exec->state, __ATOMIC_ACQUIRE) == MIRROR_EXEC_GO)
			answer(exec, MIRROR_EXEC_FREE);
	}
}

/* ---- Events ---- */

static void handle_stop(struct supervisor *supervisor, pid_t thread, int status)
{
	unsigned long former = 0;
	int event = status >> 16, signal = WSTOPSIG(status);

	if (event == PTRACE_EVENT_EXEC) {
		ptrace(PTRACE_GETEVENTMSG, thread, 0, &former);
		put_agent_in(supervisor, thread);
		free_exec_of(supervisor, (pid_t)former);
		return;
	}
	/* A signal on its way, or a stop of the group. */
	ptrace(PTRACE_CONT, thread, 0, event ? 0 : signal);
}

/* Return: is somebody left? */
static bool handle_events(struct supervisor *supervisor)
{
	int status;
	pid_t thread;

	while ((thread = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		if (WIFSTOPPED(status)) {
			handle_stop(supervisor, thread, status);
			continue;
		}
		free_exec_of(supervisor, thread);
		if (thread == supervisor->program) {
			supervisor->program_gone = true;
			supervisor->program_status = status;
		}
	}
	return thread == 0 || errno != ECHILD;
}

/* Blocked but here: a child or tracee has news, an agent wants to exec. */
static void news(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGUSR1);
}

static void wait_for_news(void)
{
	const struct timespec round = { 0, ROUND_NS };
	sigset_t set;

	news(&set);
	sigtimedwait(&set, NULL, &round);
}

/* ---- The end ---- */

/* What the program left behind is adopted by this process, a generation at a time. */
static void end_children(int signal)
{
	char path[64];
	FILE *file;
	int child;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "re");
	if (!file)
		return;
	while (fscanf(file, "%d", &child) == 1)
		kill(child, signal);
	fclose(file);
}

static void end_all(struct supervisor *supervisor, int signal)
{
	end_children(signal);
	if (!supervisor->ended) {
		supervisor->ended = true;
		supervisor->ended_at = clock_ns();
	}
}

static void look_for_an_end(struct supervisor *supervisor, const struct totals *totals)
{
	uint64_t seconds = (clock_ns() - supervisor->shared->begun) / 1000000000u;

	if (supervisor->options.stop && totals->sum.lasting)
		end_all(supervisor, SIGKILL);
	else if (supervisor->options.seconds && seconds >= supervisor->options.seconds && !supervisor->ended)
		end_all(supervisor, SIGTERM);
	if (supervisor->program_gone && !supervisor->ended) {
		supervisor->ended = true;
		supervisor->ended_at = clock_ns();
	}
	if (supervisor->ended && clock_ns() - supervisor->ended_at > GRACE_SECONDS * UINT64_C(1000000000))
		end_all(supervisor, SIGKILL);
}

static void supervise(struct supervisor *supervisor)
{
	struct totals totals;

	do {
		answer_requests(supervisor);
		report_sum(supervisor->shared, &totals);
		look_for_an_end(supervisor, &totals);
		if (!supervisor->options.quiet)
			report_progress(&totals);
		wait_for_news();
	} while (handle_events(supervisor));
}

int main(int argc, char **argv)
{
	static struct supervisor supervisor;
	sigset_t set;
	struct totals totals;
	bool succeeded;

	parse(&supervisor.options, argc, argv);
	if (sizeof(void *) != 8)
		fail("this needs a 64-bit system", 0);
	open_agent(&supervisor);
	open_shared(&supervisor);
	news(&set);
	sigprocmask(SIG_BLOCK, &set, &supervisor.mask);
	signal(SIGINT, SIG_IGN); /* for the program, which shares the terminal; see start_program() */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	start_program(&supervisor);
	supervise(&supervisor);

	report_sum(supervisor.shared, &totals);
	totals.naive = supervisor.options.naive;
	totals.program = supervisor.options.command[0];
	totals.program_status = supervisor.program_status;
	totals.ended = supervisor.ended && (supervisor.options.stop || supervisor.options.seconds);
	totals.problem = supervisor.problem[0] ? supervisor.problem : NULL;
	report_table(&totals, !supervisor.options.quiet);
	if (supervisor.options.json && !report_json(&totals, supervisor.options.json))
		return 1;
	succeeded = totals.ended || (WIFEXITED(totals.program_status) && WEXITSTATUS(totals.program_status) == 0);
	return succeeded && !totals.sum.disagreements && !totals.sum.trouble && !totals.problem && totals.sum.windows
		       ? 0
		       : 1;
}
