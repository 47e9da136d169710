/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "distance.h"
#include "measure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Of some batches the fastest counts: who was interrupted, or waited for the other one's start, is not farther away. */
#define BATCHES 16u
#define ROUNDS 128u /* of a batch: there and back */

struct course {
	_Alignas(MEASURE_APART) atomic_uint turn; /* odd: it comes from the first one */
	_Alignas(MEASURE_APART) int processor[2];
	double ns;
};

static void *ask(void *argument)
{
	struct course *course = argument;
	unsigned int turn = 0;

	measure_pin(course->processor[0]);
	for (unsigned int batch = 0; batch < BATCHES; batch++) {
		double seconds, start = measure_wall();

		for (unsigned int i = 0; i < ROUNDS; i++, turn += 2) {
			atomic_store_explicit(&course->turn, turn + 1, memory_order_release);
			while (atomic_load_explicit(&course->turn, memory_order_acquire) != turn + 2)
				;
		}
		seconds = measure_wall() - start;
		if (!batch || seconds / (2 * ROUNDS) * 1e9 < course->ns)
			course->ns = seconds / (2 * ROUNDS) * 1e9;
	}
	return NULL;
}

static void *answer(void *argument)
{
	struct course *course = argument;

	measure_pin(course->processor[1]);
	for (unsigned int turn = 0; turn < 2 * BATCHES * ROUNDS; turn += 2) {
		while (atomic_load_explicit(&course->turn, memory_order_acquire) != turn + 1)
			;
		atomic_store_explicit(&course->turn, turn + 2, memory_order_release);
	}
	return NULL;
}

double distance_between(int first, int second)
{
	struct course course = { .processor = { first, second } };
	pthread_t threads[2];

	if (pthread_create(&threads[0], NULL, ask, &course) || pthread_create(&threads[1], NULL, answer, &course)) {
		perror("cleave-bench: a thread");
		exit(1);
	}
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return course.ns;
}
