/* SPDX-License-Identifier: ISC */
/*
 * Lookups in a signal handler, wherever it interrupts its thread: in a section, in a change, under a lock that the
 * change has taken, asleep on one.  Another thread writes, too; what either displaces is poisoned once its grace period
 * is over.
 */
#include "fixture.h"

#include <sched.h>
#include <signal.h>

#define PLACES 64u
#define PLACE UINT64_C(100) /* addresses */
#define SIGNALS 2000u
#define MANY 5000u /* changes, in which a grace period ends if nothing holds it up */
#define GONE UINT64_MAX

/* A value: it knows its place. */
struct thing {
	struct thing *next;
	uint64_t place;
};

/* One of the two threads that write; each has every other place. */
struct writer {
	CLEAVE_SECTION_THREAD *record;
	struct rng rng;
	unsigned int parity;
	struct thing things[4 * PLACES];
	struct thing *free;
	struct thing *displaced; /* since the cookie was taken */
	struct thing *waiting;	 /* for the cookie */
	uint64_t cookie;
	uint64_t changes; /* read by the handler */
};

static struct fixture fixture;
static struct writer writers[2];
static pthread_t interrupted;
static uint32_t stop;

/* The handler's. */
static uint64_t handled, found;
static const char *wrong;

/* ---- The handler ---- */

static void look(uint64_t addr)
{
	struct cleave_entry entry;
	struct thing *thing = cleave_lookup_rcu(&fixture.index, addr, &entry);

	if (addr < entry.first || addr > entry.last)
		wrong = "an entry that does not hold the address";
	else if (thing && (entry.first / PLACE != addr / PLACE || entry.last / PLACE != addr / PLACE))
		wrong = "an entry that never was";
	else if (thing && thing->place != addr / PLACE)
		wrong = "a value that was given up, or that belongs elsewhere";
	found += thing != NULL;
}

/*
 * What was found stays, whatever the other thread does meanwhile.  It may get nowhere: for want of a grace period, or
 * because it waits for a lock of the thread that was interrupted.
 */
static void look_long(uint64_t addr)
{
	struct thing *thing = cleave_value_rcu(&fixture.index, addr);
	uint64_t before = __atomic_load_n(&writers[1].changes, __ATOMIC_RELAXED);

	for (unsigned int i = 0; i < 1000; i++) {
		sched_yield();
		if (__atomic_load_n(&writers[1].changes, __ATOMIC_RELAXED) - before > MANY)
			break;
	}
	if (thing && __atomic_load_n(&thing->place, __ATOMIC_RELAXED) != addr / PLACE)
		wrong = "a value that was given up meanwhile";
}

static void on_signal(int number)
{
	uint64_t addr = handled * 37;

	(void)number;
	cleave_section_enter(&fixture.main);
	for (unsigned int i = 0; i < 16; i++, addr += 611)
		look(addr % (PLACES * PLACE));
	if (handled % 16 == 15)
		look_long(addr / (2 * PLACE) % (PLACES / 2) * 2 * PLACE + PLACE); /* a place of the other's */
	cleave_section_leave(&fixture.main);
	__atomic_store_n(&handled, handled + 1, __ATOMIC_RELEASE);
}

/* One after the other. */
static void *send(void *argument)
{
	uint64_t sent = 0;

	(void)argument;
	for (; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); sched_yield())
		if (__atomic_load_n(&handled, __ATOMIC_ACQUIRE) == sent) {
			pthread_kill(interrupted, SIGUSR1);
			sent++;
		}
	return NULL;
}

/* ---- The writers ---- */

static void writer_init(struct writer *writer, CLEAVE_SECTION_THREAD *record, unsigned int parity)
{
	memset(writer, 0, sizeof(*writer));
	writer->record = record;
	writer->rng.state = fixture.seed + parity;
	writer->parity = parity;
	for (size_t i = 0; i < 4 * PLACES; i++) {
		writer->things[i].next = writer->free;
		writer->free = &writer->things[i];
	}
}

static void displace(struct writer *writer, struct thing *thing)
{
	if (!thing)
		return;
	thing->next = writer->displaced;
	writer->displaced = thing;
}

/* Take back what nobody can see any more. */
static void collect(struct writer *writer, bool wait)
{
	struct cleave_thread *self = &writer->record->thread;
	struct thing *thing;

	if (writer->waiting && wait)
		cleave_grace_wait(self, writer->cookie);
	else if (writer->waiting && !cleave_grace_done(self, writer->cookie))
		return;
	while ((thing = writer->waiting) != NULL) {
		writer->waiting = thing->next;
		thing->place = GONE;
		thing->next = writer->free;
		writer->free = thing;
	}
	writer->waiting = writer->displaced;
	writer->displaced = NULL;
	writer->cookie = cleave_grace_cookie(self);
}

static struct thing *new_thing(struct writer *writer, uint64_t place)
{
	struct thing *thing;

	while (!writer->free)
		collect(writer, true);
	thing = writer->free;
	writer->free = thing->next;
	thing->place = place;
	return thing;
}

/* A place gets another value, or none, or is cut. */
static void change(struct writer *writer)
{
	struct cleave *index = &fixture.index;
	struct cleave_thread *self = &writer->record->thread;
	uint64_t place = 2 * rng_below(&writer->rng, PLACES / 2) + writer->parity;
	uint64_t first = place * PLACE, last = first + PLACE - 1;
	struct thing *old;
	int result = 0;

	cleave_section_enter(writer->record);
	old = cleave_value_rcu(index, first); /* nobody else changes it */
	cleave_section_leave(writer->record);
	switch (rng_below(&writer->rng, 3)) {
	case 0:
		if (old)
			result = cleave_clip(index, self, first + 1 + rng_below(&writer->rng, PLACE - 1));
		break;
	case 1:
		result = cleave_store(index, self, first, last, new_thing(writer, place), NULL);
		displace(writer, old);
		break;
	default:
		result = cleave_erase(index, self, first, last, NULL);
		displace(writer, old);
		break;
	}
	CHECK(result == 0, "%d", result);
	collect(writer, false);
	__atomic_store_n(&writer->changes, writer->changes + 1, __ATOMIC_RELAXED);
}

static void write_beside(struct worker *worker)
{
	writer_init(&writers[1], &worker->record, 1);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
		change(&writers[1]);
}

static void a_handler_looks_up(void **state)
{
	struct sigaction action = { .sa_handler = on_signal }, before;
	uint64_t signals = test_scaled(SIGNALS);
	struct worker worker;
	pthread_t sender;

	(void)state;
	fixture_start(&fixture, 0);
	writer_init(&writers[0], &fixture.main, 0);
	/* bp wants its thread to have been in a section before. */
	cleave_section_enter(&fixture.main);
	cleave_section_leave(&fixture.main);
	interrupted = pthread_self();
	CHECK(sigaction(SIGUSR1, &action, &before) == 0, "sigaction");
	worker_start(&worker, &fixture, 1, write_beside, NULL);
	CHECK(pthread_create(&sender, NULL, send, NULL) == 0, "thread");
	while (__atomic_load_n(&handled, __ATOMIC_ACQUIRE) < signals) {
		change(&writers[0]);
		CHECK(!wrong, "a handler found %s", wrong);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	pthread_join(sender, NULL);
	worker_join(&worker);
	CHECK(sigaction(SIGUSR1, &before, NULL) == 0, "sigaction");
	CHECK(!wrong, "a handler found %s", wrong);
	assert_true(found > 0);
	check_index(&fixture.index);
	fixture_stop(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handler_looks_up),
	};

	return RUN_TESTS(tests, argc, argv);
}
