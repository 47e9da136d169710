/* SPDX-License-Identifier: ISC */
/*
 * cleave-pager-killed: forks children that change their address spaces and touch memory all the time,
 * four at once, and kills each at some moment.  Nothing that one leaves half done may hold up the others.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../tools/program.h"

#define FAMILIES 4u
#define SIZE ((size_t)1 << 16)
#define LIFE_NS 1500000u /* at most; a fork with its helper thread takes a tenth of it */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void __attribute__((noreturn)) live(void)
{
	for (;;) {
		volatile unsigned char *memory =
			mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			_exit(1);
		*memory = 1;
		munmap((void *)(uintptr_t)memory, SIZE);
	}
}

static int kill_children(unsigned int n, uint64_t random)
{
	for (unsigned int i = 0; i < n; i++) {
		struct timespec life = { 0, (long)(next_random(&random) % LIFE_NS) };
		pid_t child = fork();
		int status;

		if (child == 0)
			live();
		if (child < 0) {
			perror("killed: fork");
			return 1;
		}
		nanosleep(&life, NULL);
		kill(child, SIGKILL);
		if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) {
			fprintf(stderr, "killed: a child ended by itself\n");
			return 1;
		}
	}
	return 0;
}

static const char help[] =
	"usage: cleave-pager-killed [options]\n"
	"\n"
	"Children that map, touch and unmap memory all the time, each killed at some moment.  For cleave-pager.\n"
	"\n"
	"  --children N    of each of four families (1500)\n"
	"  --seed N        of the moments (from the clock)\n"
	"  --help          this text\n"
	"\n"
	"Example:\n"
	"  cleave-pager cleave-pager-killed --children 500\n"
	"\n"
	"Exit status: 0; 1: a child ended by itself; 2: wrong usage.\n";

static void parse(unsigned int *children, uint64_t *seed, int argc, char **argv)
{
	static const struct option known[] = {
		{ "children", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*children = 1500;
	*seed = (uint64_t)time(NULL);
	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (option) {
		case 'c':
			*children = (unsigned int)program_number("children", optarg, 1, 1000000000);
			break;
		case 's':
			*seed = program_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'h':
			program_help(help);
		default:
			program_wrong("%s", "");
		}
	}
	if (optind < argc)
		program_wrong("what is %s?", argv[optind]);
}

int main(int argc, char **argv)
{
	unsigned int n;
	uint64_t seed;
	int status, bad = 0;

	program_begin(argv);
	parse(&n, &seed, argc, argv);
	printf("killed: %u families of %u children, seed %llu\n", FAMILIES, n, (unsigned long long)seed);
	fflush(stdout);
	for (unsigned int i = 0; i < FAMILIES; i++) {
		pid_t family = fork();

		if (family == 0)
			_exit(kill_children(n, (seed * UINT64_C(0x9e3779b97f4a7c15) + i) | 1));
		bad |= family < 0;
	}
	while (wait(&status) > 0)
		bad |= status;
	return program_end(bad ? 1 : 0);
}
