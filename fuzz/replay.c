/* SPDX-License-Identifier: ISC */
/* Runs inputs of the fuzzer once each, without the fuzzer: the files named, and those of the folders named. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST (1 << 20)

static unsigned int replayed;

static int replay_file(const char *path)
{
	uint8_t *data = malloc(MOST);
	FILE *file = fopen(path, "rb");
	size_t n;

	if (!data || !file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 2;
	}
	n = fread(data, 1, MOST, file);
	fclose(file);
	if (getenv("CLEAVE_TEST_TRACE"))
		fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	replayed++;
	return 0;
}

static int replay_folder(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	int status = 0;

	if (!folder) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 2;
	}
	while (!status && (entry = readdir(folder))) {
		char name[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		status = replay_file(name);
	}
	closedir(folder);
	return status;
}

int main(int argc, char **argv)
{
	int status = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE_OR_FOLDER...\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc && !status; i++) {
		struct stat about;

		if (stat(argv[i], &about)) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 2;
		}
		status = S_ISDIR(about.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
	}
	if (!status && !replayed) {
		fprintf(stderr, "no input\n");
		return 2;
	}
	printf("%u inputs\n", replayed);
	return status;
}
