/* SPDX-License-Identifier: ISC */
/*
 * Grace periods among writers (lib/port/urcu/here.c) under total store order: a model, of which all interleavings are
 * tried.
 *
 *	reader	again and again: enters a section, loads the pointer, reads the object if it is linked, leaves; or the
 *		same with a change: a locked instruction and another load after the first, then one more counted, before
 *		it leaves or after
 *	writer	unlinks the object, reads the reader's count, waits until that has grown by so many, and reuses the
 *		object
 *
 * Each line of a program is one access to memory.  A store of the reader's waits in its buffer, first in, first out,
 * until the memory takes it, at any time; a locked instruction waits until the buffer is empty.  The writer's unlinking
 * is visible at once: its cookie sees to that.
 *
 * It is wrong if the object is reused while the reader may still read it.
 */
#include "states.h"

enum { ENTERS, LOADS, LOCKS, LOADS_AGAIN, COUNTS, LEAVES, COUNTS_LATE }; /* lines of the reader */
enum { UNLINKS, COUNTS_FIRST, WAITS, REUSES };			  /* lines of the writer */

#define BUFFERED 4u
#define COUNT_ENDS 8u /* counts are modulo this */

/* Bytes only, so that two states are equal if their bytes are. */
struct state {
	uint8_t linked, count;
	uint8_t reader, writer;	 /* lines */
	uint8_t changes;	 /* the reader does in this section: 0 no change, 1 counted inside, 2 outside */
	uint8_t made;		 /* the reader's own count */
	uint8_t reads;		 /* it has seen the object linked */
	uint8_t first;		 /* the count that the writer read */
	uint8_t n;
	uint8_t buffer[BUFFERED]; /* counts on their way */
};

struct rules {
	uint8_t enough;	   /* the count grows by so many */
	bool unlocked;	   /* the reader's changes pass no locked instruction */
	bool twice;	   /* what is counted inside is counted again outside, without another one in between */
	bool count_first;  /* the count is read before the object is unlinked */
	bool stays;	   /* it makes its next change in the section of the last one, or leaves that */
};

static bool count(struct state *state)
{
	if (state->n == BUFFERED)
		return false;
	state->made = (uint8_t)((state->made + 1) % COUNT_ENDS);
	state->buffer[state->n++] = state->made;
	return true;
}

/* The memory takes the oldest store. */
static bool take(struct state *state)
{
	if (state->n == 0)
		return false;
	state->count = state->buffer[0];
	state->n--;
	memmove(&state->buffer[0], &state->buffer[1], BUFFERED - 1);
	state->buffer[BUFFERED - 1] = 0;
	return true;
}

/* One access.  False: the thread must wait.  `changes`: what to do in the section that begins, or goes on. */
static bool read_side(struct state *state, const struct rules *rules, uint8_t changes)
{
	switch (state->reader) {
	case ENTERS:
		state->changes = changes;
		state->reader = LOADS;
		return true;
	case LOADS:
		state->reads = state->linked;
		state->reader = state->changes ? LOCKS : LEAVES;
		return true;
	case LOCKS:
		state->reader = LOADS_AGAIN;
		return rules->unlocked || state->n == 0;
	case LOADS_AGAIN:
		state->reads |= state->linked;
		state->reader = state->changes == 1 ? COUNTS : LEAVES;
		return true;
	case COUNTS:
		state->reader = rules->stays && changes ? LOCKS : LEAVES;
		return count(state);
	case LEAVES: /* all that is read in the section has been read */
		state->reads = 0;
		state->reader = state->changes == 2 || (rules->twice && state->changes) ? COUNTS_LATE : ENTERS;
		return true;
	default:
		state->reader = ENTERS;
		return count(state);
	}
}

static bool write_side(struct state *state, const struct rules *rules)
{
	uint8_t grown = (uint8_t)((state->count + COUNT_ENDS - state->first) % COUNT_ENDS);

	switch (state->writer) {
	case UNLINKS:
	case COUNTS_FIRST:
		if ((state->writer == UNLINKS) != rules->count_first)
			state->linked = 0;
		else
			state->first = state->count;
		break;
	case WAITS:
		if (grown < rules->enough)
			return false;
		break;
	default:
		return false;
	}
	state->writer++;
	return true;
}

/* ---- All interleavings ---- */

/* Does it go wrong, ever?  *n: how many states there are, up to the first that is wrong. */
static bool goes_wrong(const struct rules *rules, size_t *n, bool *reused)
{
	struct states states;
	struct state start = { .linked = 1 }, next;
	bool wrong = false;

	states_start(&states, sizeof(start), (size_t)1 << 20);
	states_reach(&states, &start);
	*reused = false;
	for (size_t i = 0; i < states.n && !wrong; i++) {
		const struct state *state = states_at(&states, i);

		wrong = state->writer == REUSES && state->reads;
		*reused |= state->writer == REUSES;
		for (uint8_t changes = 0; changes < 3; changes++) {
			next = *state;
			if (read_side(&next, rules, changes))
				states_reach(&states, &next);
		}
		next = *state;
		if (write_side(&next, rules))
			states_reach(&states, &next);
		next = *state;
		if (take(&next))
			states_reach(&states, &next);
	}
	*n = states.n;
	states_end(&states);
	return wrong;
}

static void check(const char *what, struct rules rules, bool wrong)
{
	bool reused;
	size_t n;

	CHECK(goes_wrong(&rules, &n, &reused) == wrong, "%s: %s", what,
	      wrong ? "a fault is not found" : "reused too early");
	assert_true(reused);
	print_message("%-50s %8zu states%s\n", what, n, wrong ? ", then the fault" : "");
}

/* ---- Tests ---- */

static void three_changes_are_enough(void **state)
{
	(void)state;
	check("three changes", (struct rules){ .enough = 3 }, false);
}

static void less_is_not(void **state)
{
	(void)state;
	check("two changes", (struct rules){ .enough = 2 }, true);
	check("three without a locked instruction", (struct rules){ .enough = 3, .unlocked = true }, true);
	check("three with two locked instructions", (struct rules){ .enough = 3, .twice = true }, true);
	check("three, counted from before the unlinking", (struct rules){ .enough = 3, .count_first = true }, true);
	check("three in one section", (struct rules){ .enough = 3, .stays = true }, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_changes_are_enough),
		cmocka_unit_test(less_is_not),
	};

	return RUN_TESTS(tests, argc, argv);
}
