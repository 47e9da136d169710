/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <linux/futex.h>
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

#define ROUND_NS 50000000L /* between two looks, if nothing happens */
#define GRACE_SECONDS 10   /* for what the program left behind */

void supervisor_fail(const struct supervisor *supervisor, const char *what, int error)
{
	fprintf(stderr, "%s: %s%s%s\n", supervisor->name, what, error ? ": " : "", error ? strerror(error) : "");
	exit(1);
}

uint64_t clock_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* ---- Start ---- */

static void open_agent(struct supervisor *supervisor, const char *path, const char *beside)
{
	char self[PATH_MAX], here[PATH_MAX + NAME_MAX + 2];
	ssize_t n;
	int error;

	if (!path) {
		n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n < 0)
			supervisor_fail(supervisor, "readlink /proc/self/exe", errno);
		self[n] = '\0';
		snprintf(here, sizeof(here), "%s/%s", dirname(self), beside);
		path = here;
	}
	error = agent_image_read(&supervisor->agent, path);
	if (error)
		supervisor_fail(supervisor, path, -error);
}

static void open_shared(struct supervisor *supervisor, size_t size)
{
	int fd = memfd_create(supervisor->name, MFD_CLOEXEC); /* agents open it by its path here */

	size = (size + 4095) & ~(size_t)4095;
	if (fd < 0 || ftruncate(fd, (off_t)size))
		supervisor_fail(supervisor, "shared memory", errno);
	supervisor->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (supervisor->shared == MAP_FAILED)
		supervisor_fail(supervisor, "shared memory", errno);
	supervisor->agent.shared_size = size;
	snprintf(supervisor->agent.shared_path, sizeof(supervisor->agent.shared_path), "/proc/%d/fd/%d", (int)getpid(),
		 fd);
	supervisor->shared->supervisor = (uint32_t)getpid();
}

void supervisor_open(struct supervisor *supervisor, const char *path, const char *beside, size_t size)
{
	if (sizeof(void *) != 8)
		supervisor_fail(supervisor, "this needs a 64-bit system", 0);
	open_agent(supervisor, path, beside);
	open_shared(supervisor, size);
}

/* Blocked but here: a child or tracee has news, an agent wants to exec. */
static void news(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGUSR1);
}

void supervisor_start(struct supervisor *supervisor, char **command)
{
	sigset_t set;
	int status;

	news(&set);
	sigprocmask(SIG_BLOCK, &set, &supervisor->mask);
	signal(SIGINT, SIG_IGN); /* for the program, which shares the terminal */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	fflush(NULL);
	supervisor->program = fork();
	if (supervisor->program < 0)
		supervisor_fail(supervisor, "fork", errno);
	if (supervisor->program == 0) {
		signal(SIGINT, SIG_DFL);
		sigprocmask(SIG_SETMASK, &supervisor->mask, NULL);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(command[0], command);
		fprintf(stderr, "%s: %s: %s\n", supervisor->name, command[0], strerror(errno));
		_exit(127);
	}
	if (waitpid(supervisor->program, &status, 0) < 0 || !WIFSTOPPED(status))
		supervisor_fail(supervisor, "the program did not start", 0);
	if (ptrace(PTRACE_SETOPTIONS, supervisor->program, 0, PTRACE_O_TRACEEXEC) ||
	    ptrace(PTRACE_CONT, supervisor->program, 0, 0))
		supervisor_fail(supervisor, "ptrace", errno);
}

/* ---- Agents ---- */

static void put_agent_in(struct supervisor *supervisor, pid_t process)
{
	const char *problem = inject(&supervisor->agent, process, supervisor->first_done ? 0 : TRAP_BOOT_FILTER);

	if (problem) {
		fprintf(stderr, "%s: process %d cannot be taken in: %s\n", supervisor->name, (int)process, problem);
		snprintf(supervisor->problem, sizeof(supervisor->problem), "%s", problem);
		kill(process, SIGKILL);
	}
	supervisor->first_done = true;
	ptrace(PTRACE_DETACH, process, 0, 0);
}

static void answer(struct trap_exec *exec, uint32_t state)
{
	__atomic_store_n(&exec->state, state, __ATOMIC_RELEASE);
	syscall(SYS_futex, &exec->state, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void release(struct trap_exec *exec)
{
	pid_t thread = (pid_t)exec->tid;
	int status;

	if (ptrace(PTRACE_INTERRUPT, thread, 0, 0) == 0 && waitpid(thread, &status, __WALL) == thread &&
	    WIFSTOPPED(status)) {
		int carried = status >> 16 == 0 ? WSTOPSIG(status) : 0;

		ptrace(PTRACE_DETACH, thread, 0, carried);
	}
	answer(exec, TRAP_EXEC_FREE);
}

static void answer_requests(struct supervisor *supervisor)
{
	for (unsigned int i = 0; i < TRAP_EXECS; i++) {
		struct trap_exec *exec = &supervisor->shared->execs[i];

		switch (__atomic_load_n(&exec->state, __ATOMIC_ACQUIRE)) {
		case TRAP_EXEC_WANTED:
			if (ptrace(PTRACE_SEIZE, (pid_t)exec->tid, 0, PTRACE_O_TRACEEXEC)) {
				fprintf(stderr, "%s: cannot attach to %u for its exec: %s\n", supervisor->name,
					exec->tid, strerror(errno));
				answer(exec, TRAP_EXEC_REFUSED);
			} else {
				answer(exec, TRAP_EXEC_GO);
			}
			break;
		case TRAP_EXEC_FAILED:
			release(exec);
			break;
		}
	}
}

static void free_exec_of(struct supervisor *supervisor, pid_t thread)
{
	for (unsigned int i = 0; i < TRAP_EXECS; i++) {
		struct trap_exec *exec = &supervisor->shared->execs[i];

		if (exec->tid == (uint32_t)thread && __atomic_load_n(&exec->state, __ATOMIC_ACQUIRE) == TRAP_EXEC_GO)
			answer(exec, TRAP_EXEC_FREE);
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

void supervisor_end(struct supervisor *supervisor, int signal)
{
	end_children(signal);
	if (!supervisor->ended) {
		supervisor->ended = true;
		supervisor->ended_at = clock_ns();
	}
}

static void look_for_an_end(struct supervisor *supervisor)
{
	if (supervisor->program_gone && !supervisor->ended) {
		supervisor->ended = true;
		supervisor->ended_at = clock_ns();
	}
	if (supervisor->ended && clock_ns() - supervisor->ended_at > GRACE_SECONDS * UINT64_C(1000000000))
		supervisor_end(supervisor, SIGKILL);
}

bool supervisor_round(struct supervisor *supervisor)
{
	answer_requests(supervisor);
	look_for_an_end(supervisor);
	wait_for_news();
	return handle_events(supervisor);
}
