/* SPDX-License-Identifier: ISC */
/*
 * A litmus program runs one pair of memory orders (doc/memory-order.md) on the library's own functions, with nothing
 * else between its threads: Thread Sanitizer reports a race if either side of the pair is too weak, on any processor.
 */
#ifndef CLEAVE_LITMUS_H
#define CLEAVE_LITMUS_H

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

static inline void must(int condition, const char *what)
{
	if (!condition) {
		fprintf(stderr, "wrong: %s\n", what);
		exit(1);
	}
}

/* Run the threads of the litmus, and wait for them. */
static inline int litmus(void *(*const *run)(void *), unsigned int n)
{
	pthread_t thread[4];

	for (unsigned int i = 0; i < n; i++)
		must(pthread_create(&thread[i], NULL, run[i], NULL) == 0, "pthread_create");
	for (unsigned int i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	printf("silent\n");
	return 0;
}

#endif
