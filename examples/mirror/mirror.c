/* SPDX-License-Identifier: ISC */
/*
 * cleave-mirror: runs a program, and everything that it starts, with an agent in each process which mirrors the address
 * space in a cleave_map and compares the two.  This is the supervisor.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "../../tools/program.h"
#include "../common/supervise.h"
#include "layout.h"
#include "report.h"

#define AGENT_NAME "cleave-mirror-agent"

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

struct mirror {
	struct supervisor supervisor;
	struct options options;
	struct mirror_shared *shared;
};

static const char help[] =
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
	"exit status: 0 the two agreed, and the program succeeded; 1 they disagreed, or something failed;\n"
	"2 wrong usage, or FILE cannot be written.\n";

/* ---- Options ---- */

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
			options->seconds = (unsigned int)program_number("seconds", optarg, 1, 1000000000);
			break;
		case 'p':
			options->nap = (unsigned int)program_number("nap", optarg, 0, 1000000000);
			break;
		case 'j':
			options->json = program_output(optarg);
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
	options->command = argv + optind;
}

/* ---- Running it ---- */

static void look_for_an_end(struct mirror *mirror, const struct totals *totals)
{
	uint64_t seconds = (clock_ns() - mirror->shared->begun) / 1000000000u;

	if (mirror->options.stop && totals->sum.lasting)
		supervisor_end(&mirror->supervisor, SIGKILL);
	else if (mirror->options.seconds && seconds >= mirror->options.seconds && !mirror->supervisor.ended)
		supervisor_end(&mirror->supervisor, SIGTERM);
}

static void supervise(struct mirror *mirror)
{
	struct totals totals;

	do {
		report_sum(mirror->shared, &totals);
		look_for_an_end(mirror, &totals);
		if (!mirror->options.quiet)
			report_progress(&totals);
	} while (supervisor_round(&mirror->supervisor));
}

int main(int argc, char **argv)
{
	static struct mirror mirror = { .supervisor.name = "cleave-mirror" };
	struct supervisor *supervisor = &mirror.supervisor;
	struct totals totals;
	bool succeeded;
	int status;

	program_begin(argv);
	parse(&mirror.options, argc, argv);
	supervisor_open(supervisor, mirror.options.agent, AGENT_NAME, sizeof(struct mirror_shared));
	mirror.shared = (struct mirror_shared *)supervisor->shared;
	mirror.shared->naive = mirror.options.naive;
	mirror.shared->nap = mirror.options.nap;
	mirror.shared->begun = clock_ns();
	supervisor_start(supervisor, mirror.options.command);
	supervise(&mirror);

	report_sum(mirror.shared, &totals);
	totals.naive = mirror.options.naive;
	totals.program = mirror.options.command[0];
	totals.program_status = supervisor->program_status;
	totals.ended = supervisor->ended && (mirror.options.stop || mirror.options.seconds);
	totals.problem = supervisor->problem[0] ? supervisor->problem : NULL;
	report_table(&totals);
	succeeded = totals.ended || (WIFEXITED(totals.program_status) && WEXITSTATUS(totals.program_status) == 0);
	status = succeeded && !totals.sum.disagreements && !totals.sum.trouble && !totals.problem && totals.sum.windows
			 ? 0
			 : 1;
	if (mirror.options.json && !report_json(&totals, mirror.options.json) && !status)
		status = PROGRAM_WRONG;
	return program_end(status);
}
