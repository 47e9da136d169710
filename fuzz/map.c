/* SPDX-License-Identifier: ISC */
/*
 * An input is the kind of maps and a sequence of calls to them: what tests/map_twins.c draws from a generator of random
 * numbers it draws from the input's bytes.  Each call is made to the library and to the model, and whatever differs
 * stops the program.
 */
#include "map_twins.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct universe universe;

	if (size < 1)
		return 0;
	universe_start(&universe, data[0] % UNIVERSE_KINDS, data[0] / UNIVERSE_KINDS);
	universe.rng.input = data + 1;
	universe.rng.end = data + size;
	universe.inject = data[0] >= 224;
	if (universe.inject)
		universe.domain.grace = GRACE_ON_DEMAND; /* most changes allocate */
	while (universe.rng.input < universe.rng.end)
		universe_step(&universe);
	universe_stop(&universe);
	return 0;
}
