/* SPDX-License-Identifier: ISC */
/*
 * cleave-pager-killed CHILDREN SEED: forks children that change their address spaces and touch memory all the time,
 * four at once, and kills each at some moment.  Nothing that one leaves half done may hold up the others.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

int main(int argc, char **argv)
{
	unsigned int n = argc == 3 ? (unsigned int)strtoul(argv[1], NULL, 10) : 0;
	uint64_t seed = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	int status, bad = 0;

	if (!n) {
		fprintf(stderr, "usage: cleave-pager-killed CHILDREN SEED\n");
		return 2;
	}
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
	return bad ? 1 : 0;
}
