/* SPDX-License-Identifier: ISC */
/* Runs inputs of the fuzzer once each, without the fuzzer: the files named, and those of the folders named. */
#include "../tools/program.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST (1 << 20)

static unsigned int replayed;

static void replay_file(const char *path)
{
	uint8_t *data = malloc(MOST);
	FILE *file = fopen(path, "rb");
	size_t n;

	if (!data || !file)
		program_wrong("%s: %s", path, strerror(errno));
	n = fread(data, 1, MOST, file);
	if (ferror(file))
		program_wrong("%s: %s", path, strerror(errno));
	fclose(file);
	if (getenv("CLEAVE_TEST_TRACE"))
		fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	replayed++;
}

static void replay_folder(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;

	if (!folder)
		program_wrong("%s: %s", path, strerror(errno));
	while ((entry = readdir(folder))) {
		char name[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		replay_file(name);
	}
	closedir(folder);
}

static const char help[] =
	"usage: fuzz-replay-NAME FILE_OR_FOLDER...\n"
	"\n"
	"Run inputs of the fuzzer once each, without the fuzzer: files, and all files of folders.\n"
	"CLEAVE_TEST_TRACE=1 prints their steps.\n"
	"\n"
	"Example:\n"
	"  fuzz-replay-index fuzz/corpus/index\n"
	"\n"
	"Exit status: 0; 2: wrong usage, or an input cannot be read.  An input that fails ends it by SIGABRT.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int option;

	program_begin(argv);
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h')
			program_help(help);
		program_wrong("%s", "");
	}
	if (optind == argc)
		program_wrong("which inputs?");
	for (int i = optind; i < argc; i++) {
		struct stat about;

		if (stat(argv[i], &about))
			program_wrong("%s: %s", argv[i], strerror(errno));
		if (S_ISDIR(about.st_mode))
			replay_folder(argv[i]);
		else
			replay_file(argv[i]);
	}
	if (!replayed)
		program_wrong("there is no input in %s", argv[optind]);
	printf("%u inputs\n", replayed);
	return program_end(0);
}
