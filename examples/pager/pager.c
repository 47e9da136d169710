/* SPDX-License-Identifier: ISC */
/*
 * cleave-pager: runs a program, and everything that it starts, and serves its page faults, from a map of each address
 * space and a store of pages.  This is the beginning and the end; pager.h says what there is between.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../tools/program.h"
#include "pager.h"

#define AGENT_NAME "cleave-pager-agent"

struct pager pager = { .supervisor.name = "cleave-pager", .workers_lock = PTHREAD_MUTEX_INITIALIZER };

static const struct engine *const engines[] = { &engine_cleave, &engine_mutex_tree, &engine_chunked };

#define ENGINES (sizeof(engines) / sizeof(engines[0]))

static const char help[] =
	"usage: cleave-pager [OPTIONS] PROGRAM [ARGS...]\n"
	"\n"
	"Runs PROGRAM, unmodified, and serves the page faults of its private anonymous memory through userfaultfd;\n"
	"also those of all that it starts.  Every call that changes an address space is carried out inside a\n"
	"transaction.\n"
	"\n"
	"  --limit SIZE    keep at most so much in memory (4M, 1G; bytes without a letter); the rest goes to a file\n"
	"  --swap DIR      where that file is made (/var/tmp); it has no name\n"
	"  --engine NAME   cleave: the library; mutex-tree: one mutex and a red-black tree; chunked: the same in\n"
	"                  entries of 64 KiB\n"
	"  --compare       one run with each engine, and a table\n"
	"  --handlers N    threads that serve faults (2)\n"
	"  --seconds N     end the program after N seconds\n"
	"  --svg FILE      draw a heat map of the faults over address and time\n"
	"  --json FILE     write the result there (-: to standard output); with --compare these two are FILE.ENGINE\n"
	"  --quiet         no progress\n"
	"  --agent FILE    the agent (" AGENT_NAME " beside this program)\n"
	"  --help          this text\n"
	"\n"
	"examples:\n"
	"  cleave-pager --limit 64M --svg heat.svg sort --parallel=2 -S 200M big.txt -o sorted.txt\n"
	"  cleave-pager python3 -c 'x = [bytes(5000) for i in range(50000)]'\n"
	"  cleave-pager --compare --limit 32M cleave-pager-stress --seconds 10\n"
	"\n"
	"exit status: 0 all went well, and the program succeeded; 1 something was violated, or the program failed;\n"
	"2 wrong usage, a FILE that cannot be written, or the system does not permit it (root; or, without forks,\n"
	"vm.unprivileged_userfaultfd=1).\n";

/* ---- Options ---- */

static uint64_t pages(const char *text)
{
	static const char letters[] = "KMGT";
	char *end;
	unsigned long long value = strtoull(text, &end, 10);
	const char *letter = *end ? strchr(letters, *end & ~0x20) : NULL;
	long shift = letter ? 10 * (letter - letters + 1) : 0;

	end += letter != NULL;
	if (*text < '0' || *text > '9' || *end || value > UINT64_MAX >> shift || value << shift < UINT64_C(1) << 20)
		program_wrong("--limit wants a size, at least 1M, not '%s'", text);
	value <<= shift;
	return value / PAGE;
}

static const struct engine *engine_named(const char *name)
{
	for (size_t i = 0; i < ENGINES; i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	program_wrong("there is no engine %s", name);
}

static void parse(struct options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{ "limit", required_argument, NULL, 'l' },    { "swap", required_argument, NULL, 'w' },
		{ "engine", required_argument, NULL, 'e' },   { "compare", no_argument, NULL, 'c' },
		{ "handlers", required_argument, NULL, 'n' }, { "seconds", required_argument, NULL, 't' },
		{ "svg", required_argument, NULL, 's' },      { "json", required_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },	      { "agent", required_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' },	      { NULL, 0, NULL, 0 },
	};
	int option;

	*options = (struct options){ .engine = engines[0], .handlers = 2, .swap = "/var/tmp" };
	/* '+': what follows PROGRAM is its own. */
	while ((option = getopt_long(argc, argv, "+h", known, NULL)) != -1) {
		switch (option) {
		case 'l':
			options->limit = pages(optarg);
			break;
		case 'w':
			options->swap = optarg;
			break;
		case 'e':
			options->engine = engine_named(optarg);
			break;
		case 'c':
			options->compare = true;
			break;
		case 'n':
			options->handlers = (unsigned int)program_number("handlers", optarg, 1, 64);
			break;
		case 't':
			options->seconds = (unsigned int)program_number("seconds", optarg, 1, 1000000000);
			break;
		case 's':
			options->svg = optarg;
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
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind == argc)
		program_wrong("which program?");
	program_command(argv[optind]);
	/* With --compare there are several. */
	if (!options->compare) {
		program_output(options->svg);
		program_output(options->json);
	}
	options->command = argv + optind;
}

/* ---- May we? ---- */

static void __attribute__((noreturn)) not_permitted(const char *what, int error)
{
	fprintf(stderr,
		"cleave-pager: %s: %s\n"
		"It takes over the page faults of other processes, also those inside of system calls: run it as root, "
		"or\n"
		"allow it to everybody (then for programs that do not fork) with\n"
		"    sysctl vm.unprivileged_userfaultfd=1\n",
		what, strerror(error));
	exit(2);
}

/* What a userfaultfd was told once it cannot be told again. */
static int try_userfaultfd(bool forks)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC), error;

	if (fd < 0)
		not_permitted("userfaultfd", errno);
	error = uffd_begin(fd, forks);
	close(fd);
	return error;
}

static void check_permission(void)
{
	int error;

	pager.follows_forks = try_userfaultfd(true) == 0;
	error = pager.follows_forks ? 0 : try_userfaultfd(false);
	if (error)
		not_permitted("this kernel's userfaultfd lacks write protection or events", -error);
}

/* ---- Running it ---- */

static void look_around(void)
{
	uint64_t seconds = (clock_ns() - pager.begun) / 1000000000u;
	static uint64_t looked_at;

	if (pager.options.seconds && seconds >= pager.options.seconds && !pager.supervisor.ended)
		supervisor_end(&pager.supervisor, SIGTERM);
	if (clock_ns() - looked_at < 200000000u)
		return;
	looked_at = clock_ns();
	for (uint32_t i = 0; i < pager.nprocesses; i++) {
		struct process *process = process_at(i);

		if (!process)
			continue;
		if (process->state == PROCESS_READY)
			process_read_faults(process);
		process_leave(process);
	}
}

static void start(void)
{
	struct rlimit files;
	int error;

	supervisor_open(&pager.supervisor, pager.options.agent, AGENT_NAME, sizeof(struct pager_shared));
	pager.shared = (struct pager_shared *)pager.supervisor.shared;
	pager.begun = clock_ns();
	if (pager.options.limit && (error = swap_open(pager.options.swap)))
		supervisor_fail(&pager.supervisor, pager.options.swap, -error);
	if (pager.options.svg)
		heat_start();
	/* The program is a child of a process with one thread. */
	supervisor_start(&pager.supervisor, pager.options.command);
	/* Three for each process. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (cleave_section_start(&pager.domain, &counted_memory, 0) || pager.engine->start())
		supervisor_fail(&pager.supervisor, "the engine", ENOMEM);
	reader_start();
	handlers_start(pager.options.handlers);
	evictor_start();
	servers_start();
}

static void finish(void)
{
	static struct worker worker __attribute__((aligned(64)));

	pager.ending = true;
	reader_wake();
	handlers_wake();
	evictor_kick();
	threads_join();
	/* Nobody uses a process any more. */
	worker_start(&worker);
	for (uint32_t i = 0; i < pager.nprocesses; i++)
		if (pager.processes[i].state != PROCESS_FREE)
			process_died(&pager.processes[i]);
	processes_bury();
	worker_stop(&worker);
	pager.engine->stop();
	cleave_section_stop(&pager.domain);
}

/* Return: did all go well? */
static bool run(struct summary *summary)
{
	struct supervisor *supervisor = &pager.supervisor;

	pager.engine = pager.options.engine;
	start();
	do {
		look_around();
		if (!pager.options.quiet)
			report_progress();
	} while (supervisor_round(supervisor));
	finish();
	summarize(summary);
	if (supervisor->problem[0])
		violation("%s", supervisor->problem);
	summary->violations = get(&pager.violations);
	summary->status = pager.options.seconds && supervisor->ended ? 0 : supervisor->program_status;
	report_table(summary);
	if (summary->status)
		fprintf(stderr, "%-22s %s %d\n", "the program",
			WIFSIGNALED(summary->status) ? "was killed by signal" : "exited with",
			WIFSIGNALED(summary->status) ? WTERMSIG(summary->status) : WEXITSTATUS(summary->status));
	return !summary->violations && !summary->status;
}

static bool write_files(const struct summary *summary)
{
	bool good = true;

	if (pager.options.svg)
		good = heat_draw(pager.options.svg);
	if (pager.options.json)
		good = report_json(summary, pager.options.json) && good;
	return good;
}

/* ---- The comparison: a process for each engine ---- */

/* Each writes files of its own. */
static const char *name_for(const char *path, const struct engine *engine)
{
	char *name;

	if (!path || strcmp(path, "-") == 0)
		return path;
	if (asprintf(&name, "%s.%s", path, engine->name) < 0)
		supervisor_fail(&pager.supervisor, "memory", ENOMEM);
	return name;
}

static int compare(void)
{
	struct summary *summaries =
		mmap(NULL, ENGINES * sizeof(*summaries), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool good = true;

	if (summaries == MAP_FAILED)
		supervisor_fail(&pager.supervisor, "memory", errno);
	for (size_t i = 0; i < ENGINES; i++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			pager.options.engine = engines[i];
			pager.options.svg = program_output(name_for(pager.options.svg, engines[i]));
			pager.options.json = program_output(name_for(pager.options.json, engines[i]));
			good = run(&summaries[i]);
			exit(program_end(!good ? 1 : write_files(&summaries[i]) ? 0 : PROGRAM_WRONG));
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			good = false;
	}
	report_comparison(summaries, ENGINES);
	return good ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct summary summary;
	bool good, written;

	program_begin(argv);
	parse(&pager.options, argc, argv);
	check_permission();
	if (pager.options.compare)
		return program_end(compare());
	good = run(&summary);
	written = write_files(&summary);
	return program_end(!good ? 1 : written ? 0 : PROGRAM_WRONG);
}
