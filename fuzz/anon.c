/* SPDX-License-Identifier: ISC */
/*
 * An input is the distance of slots, how grace periods end, and a sequence of changes of stores: tests/anon_twins.c
 * draws them from the input's bytes, makes them in the library and in plain arrays, and stops the program at what
 * differs.
 */
#include "anon_twins.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	anon_twins_start((enum grace)(data[0] % 3), data[0] / 3 % STRIDES, 1);
	it.world.rng.input = data + 1;
	it.world.rng.end = data + size;
	for (unsigned int i = 1; it.world.rng.input < it.world.rng.end; i++) {
		check_context("step %u", i);
		anon_twins_step();
		if (i % 16 == 0)
			anon_twins_compare();
	}
	anon_twins_compare();
	anon_twins_stop();
	return 0;
}
