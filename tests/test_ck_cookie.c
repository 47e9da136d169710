/* SPDX-License-Identifier: ISC */
/*
 * The cookies of lib/port/ck under total store order: a model of the epoch, of which all interleavings are tried.
 *
 *	reader	    again and again: enters a section, loads the pointer, reads the object if it is linked, leaves
 *	writer	    unlinks the object, takes a cookie, and reuses the object once the epoch has come so far
 *	advancers   again and again, advance the epoch if every record lets it: two of them; or one, and reader and
 *		    writer too when they have left their section, while what they stored there still waits in their
 *		    buffers (so each takes itself to be outside before others do)
 *
 * Each line of a program is one access to memory, as ck_epoch_begin(), ck_epoch_end(), cookie() and advance() make them
 * on x86.  A store waits in its thread's buffer, first in, first out, until the memory takes it, at any time; a locked
 * instruction waits until the buffer is empty.  A thread's load takes what its own buffer holds.
 *
 * It is wrong
 *	if the object is reused while the reader may still read it;
 *	if its cookie is below what begun() said in a section that then found it;
 *	if the epoch is more than one ahead of what a section has loaded, before that ends: what begun() says there is
 *	done too early.
 */
#include "states.h"

#include "port/ck/cookie.h"

enum { READER, WRITER, ADVANCER, THREADS = ADVANCER + 2 };
enum { WAITS = 7, REUSES }; /* lines of the writer */
enum { LINKED, ACTIVE, RECORD }; /* what is stored through a buffer; of ACTIVE and RECORD each has its own */

#define EPOCHS 6u /* the epoch stays below: room for every cookie that begins early */
#define BUFFERED 4u

struct buffer {
	uint8_t n;
	struct {
		uint8_t at, value;
	} store[BUFFERED];
};

/* Bytes only, so that two states are equal if their bytes are. */
struct state {
	uint8_t epoch, linked, active[2], record[2];
	uint8_t line[2];
	uint8_t local[2];      /* the epoch that a thread has loaded; the writer's cookie */
	uint8_t look[THREADS]; /* the line in advance() */
	uint8_t seen[THREADS]; /* the epoch there */
	uint8_t reads;	       /* the reader has seen the object linked */
	uint8_t begun;	       /* what begun() said in the last section that has */
	struct buffer buffer[2];
};

/* How the writer takes its cookie, and who advances the epoch. */
struct cookie {
	bool by_all;   /* not by two advancers: by one, the reader and the writer */
	bool inside;   /* a section */
	bool barrier;  /* before it loads the epoch */
	uint8_t grace; /* what it adds to the epoch */
	bool begun;    /* the reader asks begun(), too */
	bool unlocked; /* the epoch is raised by what waits for no buffer */
};

/* ---- Memory ---- */

static uint8_t *place(struct state *state, unsigned int thread, uint8_t at)
{
	return at == LINKED ? &state->linked : at == ACTIVE ? &state->active[thread] : &state->record[thread];
}

static void store(struct state *state, unsigned int thread, uint8_t at, uint8_t value)
{
	struct buffer *buffer = &state->buffer[thread];

	assert_true(buffer->n < BUFFERED);
	buffer->store[buffer->n].at = at;
	buffer->store[buffer->n++].value = value;
}

/* The memory takes the oldest store of a buffer. */
static void take(struct state *state, unsigned int thread)
{
	struct buffer *buffer = &state->buffer[thread];

	*place(state, thread, buffer->store[0].at) = buffer->store[0].value;
	buffer->n--;
	memmove(&buffer->store[0], &buffer->store[1], sizeof(buffer->store) - sizeof(buffer->store[0]));
	memset(&buffer->store[BUFFERED - 1], 0, sizeof(buffer->store[0]));
}

static bool is_empty(const struct state *state, unsigned int thread)
{
	return state->buffer[thread].n == 0;
}

/* ---- Programs: one access.  False: the thread must wait, or has finished ---- */

static bool read_side(struct state *state, const struct cookie *cookie)
{
	switch (state->line[READER]) {
	case 0: /* a locked exchange */
		if (!is_empty(state, READER))
			return false;
		state->active[READER] = 1;
		break;
	case 1:
		state->local[READER] = state->epoch;
		break;
	case 2:
		store(state, READER, RECORD, state->local[READER]);
		break;
	case 3:
		state->reads = state->linked;
		if (state->reads && cookie->begun)
			state->begun = (uint8_t)(state->local[READER] + CLEAVE__CK_GRACE_TSO);
		break;
	case 4: /* all that is read in the section has been read */
		state->reads = state->local[READER] = 0;
		store(state, READER, ACTIVE, 0);
		state->line[READER] = 0;
		return true;
	}
	state->line[READER]++;
	return true;
}

static bool write_side(struct state *state, const struct cookie *cookie)
{
	switch (state->line[WRITER]) {
	case 0: /* enter, as above */
		if (cookie->inside)
			state->active[WRITER] = 1;
		break;
	case 1:
		state->local[WRITER] = state->epoch;
		break;
	case 2:
		if (cookie->inside)
			store(state, WRITER, RECORD, state->local[WRITER]);
		break;
	case 3:
		store(state, WRITER, LINKED, 0);
		break;
	case 4: /* a locked instruction on something of its own */
		if (cookie->barrier && !is_empty(state, WRITER))
			return false;
		break;
	case 5:
		state->local[WRITER] = state->epoch + cookie->grace;
		break;
	case 6:
		if (cookie->inside)
			store(state, WRITER, ACTIVE, 0);
		break;
	case WAITS:
		if (state->epoch < state->local[WRITER])
			return false;
		break;
	default:
		return false;
	}
	state->line[WRITER]++;
	return true;
}

/* A thread sees itself outside: it does not look at its own record, which it has left. */
static bool advance(struct state *state, unsigned int thread, const struct cookie *cookie)
{
	uint8_t *line = &state->look[thread], *seen = &state->seen[thread];
	unsigned int of = *line < 3 ? READER : WRITER;

	switch (*line) {
	case 0:
		if (state->epoch == EPOCHS - 1)
			return false;
		*seen = state->epoch;
		break;
	case 1:
	case 3: /* nobody inside: past the look at the record */
		*line = (uint8_t)(*line + (of == thread || !state->active[of]));
		break;
	case 2:
	case 4:
		if (state->record[of] != *seen) {
			*line = *seen = 0;
			return true;
		}
		break;
	case 5: /* a locked instruction */
		if (thread < ADVANCER && !cookie->unlocked && !is_empty(state, thread))
			return false;
		if (state->epoch == *seen)
			state->epoch++;
		*line = *seen = 0;
		return true;
	}
	++*line;
	return true;
}

/* Is the thread where it may advance the epoch? */
static bool advances(const struct state *state, unsigned int thread, const struct cookie *cookie)
{
	if (thread >= ADVANCER) /* the other one stands still */
		return !cookie->by_all || !state->look[2 * ADVANCER + 1 - thread];
	return cookie->by_all && state->line[thread] == (thread == READER ? 0 : WAITS);
}

/* ---- All interleavings ---- */

static void swap(uint8_t *pair)
{
	uint8_t first = pair[0];

	pair[0] = pair[1];
	pair[1] = first;
}

static void reach(struct states *states, struct state *state)
{
	/* The advancers are alike. */
	if (state->look[ADVANCER] > state->look[ADVANCER + 1]) {
		swap(&state->look[ADVANCER]);
		swap(&state->seen[ADVANCER]);
	}
	states_reach(states, state);
}

/* What a thread does next, unless it is in the middle of advance(). */
static bool move(struct state *state, unsigned int thread, const struct cookie *cookie)
{
	if (state->look[thread])
		return false;
	return thread == READER ? read_side(state, cookie) : write_side(state, cookie);
}

/* Nobody finds the object any more, or reads it. */
static bool is_over(const struct state *state)
{
	return state->line[WRITER] == REUSES && is_empty(state, WRITER) && !state->reads;
}

static bool is_wrong(const struct state *state)
{
	uint8_t line = state->line[READER];

	return (state->line[WRITER] == REUSES && state->reads) ||
	       (state->line[WRITER] >= WAITS - 1 && state->local[WRITER] < state->begun) ||
	       (line > 1 && state->epoch > state->local[READER] + 1);
}

/* Does it go wrong, ever?  *n: how many states there are, up to the first that is wrong. */
static bool goes_wrong(const struct cookie *cookie, size_t *n, bool *reused)
{
	struct states states;
	struct state start = { .linked = 1 };
	bool wrong = false;

	states_start(&states, sizeof(start), (size_t)1 << 22);
	reach(&states, &start);
	*reused = false;
	for (size_t i = 0; i < states.n && !wrong; i++) {
		const struct state *state = states_at(&states, i);

		if (is_over(state)) {
			*reused = true;
			continue;
		}
		for (unsigned int thread = 0; thread < THREADS; thread++) {
			struct state next = *state;

			if (advances(&next, thread, cookie) && advance(&next, thread, cookie))
				reach(&states, &next);
		}
		for (unsigned int thread = READER; thread <= WRITER; thread++) {
			struct state next = *state;

			if (move(&next, thread, cookie))
				reach(&states, &next);
			next = *state;
			if (!is_empty(&next, thread)) {
				take(&next, thread);
				reach(&states, &next);
			}
		}
		wrong = is_wrong(state);
	}
	*n = states.n;
	states_end(&states);
	return wrong;
}

static void check(const char *what, struct cookie cookie, bool wrong)
{
	bool reused;
	size_t n;

	CHECK(goes_wrong(&cookie, &n, &reused) == wrong, "%s: %s", what,
	      wrong ? "a fault is not found" : "reused too early");
	assert_true(reused || wrong);
	print_message("%-50s %8zu states%s\n", what, n, wrong ? ", then the fault" : "");
}

/* ---- Tests ---- */

#define GRACE CLEAVE__CK_GRACE_TSO
#define BEHIND CLEAVE__CK_BEHIND

static void cookies_last_as_long_as_readers(void **state)
{
	(void)state;
	for (unsigned int by_all = 0; by_all < 2; by_all++) {
		check("outside, behind a barrier",
		      (struct cookie){ .by_all = by_all, .barrier = true, .grace = GRACE, .begun = true }, false);
		check("inside, without a barrier",
		      (struct cookie){ .by_all = by_all, .inside = true, .grace = GRACE + BEHIND, .begun = true },
		      false);
	}
}

static void shorter_cookies_do_not(void **state)
{
	(void)state;
	for (unsigned int begun = 0; begun < 2; begun++) {
		check("outside, without a barrier", (struct cookie){ .grace = GRACE, .begun = begun }, true);
		check("outside, without a barrier, one more",
		      (struct cookie){ .grace = GRACE + BEHIND, .begun = begun }, true);
		check("outside, behind a barrier, one less",
		      (struct cookie){ .barrier = true, .grace = GRACE - 1, .begun = begun }, true);
		check("inside, without a barrier, one less",
		      (struct cookie){ .inside = true, .grace = GRACE + BEHIND - 1, .begun = begun }, true);
	}
}

static void raising_without_a_barrier_does_not_do(void **state)
{
	(void)state;
	check("inside, without a barrier, nor where it advances",
	      (struct cookie){ .by_all = true, .inside = true, .grace = GRACE + BEHIND, .unlocked = true }, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cookies_last_as_long_as_readers),
		cmocka_unit_test(shorter_cookies_do_not),
		cmocka_unit_test(raising_without_a_barrier_does_not_do),
	};

	return RUN_TESTS(tests, argc, argv);
}
