/* SPDX-License-Identifier: ISC */
/* cleave-map: shows an address space, of a process, of a recording or of an index. */
#include "program.h"
#include "show.h"
#include "source.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"usage: cleave-map show SOURCE [options]\n"
	"\n"
	"Prints an address space as procmap and pmap do, and draws it.\n"
	"\n"
	"Sources:\n"
	"  --pid PID         the mappings of a process (/proc/PID/maps, which is not read at one instant)\n"
	"  --maps FILE       a copy of such a file; - for standard input\n"
	"  --trace FILE      a recording of cleave-record, with one of\n"
	"    --at N            after its first N events (0: before all)\n"
	"    --at-peak         where a process has most mappings\n"
	"    --process P       of this process of the recording (that of the last event; of any at the peak)\n"
	"  --dump FILE       the text of cleave_dump_rcu(), or of `cleave dump` in gdb; - for standard input\n"
	"\n"
	"Options:\n"
	"  --svg FILE        draw it: open FILE in a browser; - for standard output\n"
	"  --json FILE       write it for a machine; - for standard output\n"
	"  --gaps            print what is free, too\n"
	"  --help            this text\n"
	"\n"
	"The text is printed unless standard output has a drawing or JSON.\n"
	"\n"
	"Examples:\n"
	"  cleave-map show --pid $$\n"
	"  cleave-map show --trace stress/traces/firefox.trace.zst --at-peak --svg firefox.svg\n"
	"  cleave-map show --trace stress/traces/java.trace.zst --at 1000 --json - | jq .count\n"
	"\n"
	"Exit status: 0 shown; 2 wrong usage, bad input, or the output could not be written.\n";

struct options {
	const char *maps;
	const char *trace;
	const char *dump;
	const char *svg;
	const char *json;
	uint64_t pid;
	struct source_point point;
	bool at;
	bool gaps;
};

/* Do the options make sense together? */
static void check(const struct options *options)
{
	int sources =
		(options->pid != 0) + (options->maps != NULL) + (options->trace != NULL) + (options->dump != NULL);
	bool on_stdout = options->svg && !strcmp(options->svg, "-");

	if (sources != 1)
		program_wrong("one of --pid, --maps, --trace and --dump is wanted");
	if (options->trace && options->at == options->point.peak)
		program_wrong("--trace wants either --at or --at-peak");
	if (!options->trace && (options->at || options->point.peak || options->point.process))
		program_wrong("--at, --at-peak and --process go with --trace");
	if (on_stdout && options->json && !strcmp(options->json, "-"))
		program_wrong("a drawing and JSON do not fit into one output");
}

static void parse(struct options *options, int argc, char **argv)
{
	static const struct option names[] = {
		{ "pid", required_argument, NULL, 'p' },     { "maps", required_argument, NULL, 'm' },
		{ "trace", required_argument, NULL, 't' },   { "dump", required_argument, NULL, 'd' },
		{ "at", required_argument, NULL, 'a' },	     { "at-peak", no_argument, NULL, 'k' },
		{ "process", required_argument, NULL, 'P' }, { "svg", required_argument, NULL, 's' },
		{ "json", required_argument, NULL, 'j' },    { "gaps", no_argument, NULL, 'g' },
		{ "help", no_argument, NULL, 'h' },	     { NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (option) {
		case 'p':
			options->pid = program_number("pid", optarg, 1, INT32_MAX);
			break;
		case 'm':
			options->maps = optarg;
			break;
		case 't':
			options->trace = optarg;
			break;
		case 'd':
			options->dump = optarg;
			break;
		case 'a':
			options->at = true;
			options->point.event = program_number("at", optarg, 0, UINT64_MAX - 1);
			break;
		case 'k':
			options->point.peak = true;
			break;
		case 'P':
			options->point.process = (uint32_t)program_number("process", optarg, 1, UINT32_MAX);
			break;
		case 's':
			options->svg = optarg;
			break;
		case 'j':
			options->json = optarg;
			break;
		case 'g':
			options->gaps = true;
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind + 1 != argc || strcmp(argv[optind], "show"))
		program_wrong("what shall it do? There is one command: show");
	check(options);
	program_output(options->svg);
	program_output(options->json);
}

static int load(struct picture *picture, const struct options *options, char error[SOURCE_ERROR])
{
	if (options->pid)
		return source_process(picture, options->pid, error);
	if (options->maps)
		return source_maps(picture, options->maps, error);
	if (options->dump)
		return source_dump(picture, options->dump, error);
	return source_trace(picture, options->trace, &options->point, error);
}

/* Return: was it written? */
static bool write_to(const char *path, const struct picture *picture,
		     void (*show)(const struct picture *picture, FILE *file))
{
	FILE *file = program_open(path);

	if (!file)
		return false;
	show(picture, file);
	return program_close(file, path);
}

static bool is_stdout(const char *path)
{
	return path && !strcmp(path, "-");
}

int main(int argc, char **argv)
{
	struct options options = { .pid = 0 };
	struct picture picture = { .count = 0 };
	char error[SOURCE_ERROR] = "";
	bool good = true;

	program_begin(argv);
	parse(&options, argc, argv);
	if (load(&picture, &options, error)) {
		fprintf(stderr, "%s: %s\n", program_name, error);
		picture_free(&picture);
		return program_end(PROGRAM_WRONG);
	}
	if (options.svg)
		good = write_to(options.svg, &picture, show_svg);
	if (options.json)
		good = write_to(options.json, &picture, show_json) && good;
	if (!is_stdout(options.svg) && !is_stdout(options.json))
		show_text(&picture, stdout, options.gaps);
	picture_free(&picture);
	return program_end(good ? EXIT_SUCCESS : PROGRAM_WRONG);
}
