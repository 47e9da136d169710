/* SPDX-License-Identifier: ISC */
/*
 * The run-time half of the port contract: cookies, grace periods, parking and threads (fork: test_port_fork.c).  One
 * executable a flavour (CLEAVE_SECTION_...).  usage: test_port [seed [seconds of torture]]
 */
#define _GNU_SOURCE
#include "port_one.h"

static uint64_t seed = 1;
static double seconds = 2;

static uint64_t random64(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void test_cookie_waits_for_reader(void **state)
{
	struct reader reader = { .state = OUTSIDE };
	uint64_t cookie, later;
	double end;

	(void)state;
	pthread_create(&reader.thread, NULL, stay_inside, &reader);
	for (int round = 0; round < 20; round++) {
		set_state(&reader, ENTER, INSIDE);
		cookie = take_cookie(own);
		for (end = now() + 0.01; now() < end; usleep(50)) {
			assert_false(done(own, cookie));
			cleave_section_quiescent(own);
		}
		set_state(&reader, LEAVE, OUTSIDE);
		if (round % 2) {
			wait_cookie(own, cookie);
		} else {
			for (; !done(own, cookie); usleep(50)) /* or the test never ends */
				cleave_section_quiescent(own);
		}
		assert_true(done(own, cookie));
		later = take_cookie(own);
		assert_true(later >= cookie);
	}
	STORE(&reader.state, END);
	pthread_join(reader.thread, NULL);
}

/* A section that begins after the cookie does not hold it up: it can be done while that reader stays inside. */
static void test_later_reader(void **state)
{
#ifdef CLEAVE_SECTION_QSBR
	(void)state;
	skip(); /* quiescent states know nothing of sections */
#else
	struct reader reader = { .state = OUTSIDE };
	uint64_t cookie;

	(void)state;
	pthread_create(&reader.thread, NULL, stay_inside, &reader);
	cookie = take_cookie(own);
	wait_cookie(own, cookie);
	set_state(&reader, ENTER, INSIDE);
	assert_true(done(own, cookie));
	set_state(&reader, LEAVE, OUTSIDE);
	STORE(&reader.state, END);
	pthread_join(reader.thread, NULL);
#endif
}

static void test_wait(void **state)
{
	uint64_t cookie, last = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		cookie = take_cookie(own);
		assert_true(cookie >= last);
		last = cookie;
		wait_cookie(own, cookie);
		assert_true(done(own, cookie));
	}
}

static void test_inside(void **state)
{
	int known = ops->inside(&domain.domain, &own->thread);

	(void)state;
	assert_true(known == 0 || known == -1);
	ops->enter(&domain.domain, &own->thread);
	known = ops->inside(&domain.domain, &own->thread);
	assert_true(known == 1 || known == -1);
	ops->leave(&domain.domain, &own->thread);
	(void)ops->inside(&domain.domain, NULL);
}

/* ---- Torture, after rcutorture: how old is what readers see? ---- */

#define WRITERS 2
#define OBJECTS 64 /* of each writer */

/* age: 0 published, 1 unlinked, 2 past its grace period.  Readers may meet the first two. */
struct object {
	unsigned int age;
	uint64_t generation;
	uint64_t cookie;
};

static struct object object[WRITERS][OBJECTS];
static struct object *published[WRITERS];
static bool stop;
static uint64_t ages[4], changed, recycled;

static void *torture_reader(void *argument)
{
	CLEAVE_SECTION_THREAD *record = new_record();
	uint64_t random = seed * 1000003 + (uintptr_t)argument, seen[4] = { 0 };

	cleave_section_register(record, &domain);
	while (!LOAD(&stop)) {
		cleave_section_enter(record);
		for (int i = 0; i < 4; i++) {
			struct object *found = LOAD(&published[random64(&random) % WRITERS]);
			uint64_t generation = LOAD(&found->generation), spin = random64(&random) % 256;
			unsigned int age;

			if (spin == 0)
				sched_yield();
			while (spin--)
				__asm__ volatile("" : : : "memory");
			age = LOAD(&found->age);
			seen[age < 3 ? age : 3]++;
			if (LOAD(&found->generation) != generation)
				__atomic_fetch_add(&changed, 1, __ATOMIC_RELAXED);
		}
		cleave_section_leave(record);
		cleave_section_quiescent(record);
	}
	for (int i = 0; i < 4; i++)
		__atomic_fetch_add(&ages[i], seen[i], __ATOMIC_RELAXED);
	cleave_section_unregister(record, &domain);
	free_record(record);
	return NULL;
}

static void *torture_writer(void *argument)
{
	CLEAVE_SECTION_THREAD *record = new_record();
	uintptr_t me = (uintptr_t)argument;
	uint64_t random = seed * 7919 + me, made = 0, reused = 0;
	size_t next = 1, oldest = 0; /* a ring: published object, free ones, retired ones */

	cleave_section_register(record, &domain);
	while (!LOAD(&stop)) {
		struct object *fresh = &object[me][next % OBJECTS], *old = published[me];

		if (next - oldest == OBJECTS - 1) {
			/* All retired: wait, or go on asking. */
			struct object *first = &object[me][oldest % OBJECTS];

			if (random64(&random) % 8 == 0)
				wait_cookie(record, first->cookie);
			while (oldest + 1 < next && done(record, object[me][oldest % OBJECTS].cookie)) {
				STORE(&object[me][oldest++ % OBJECTS].age, 2);
				reused++;
			}
			cleave_section_quiescent(record);
			continue;
		}
		STORE(&fresh->generation, ++made);
		STORE(&fresh->age, 0);
		STORE(&published[me], fresh);
		STORE(&old->age, 1);
		old->cookie = take_cookie(record);
		next++;
		if (random64(&random) % 4 == 0) {
			ops->enter(&domain.domain, &record->thread);
			ops->leave(&domain.domain, &record->thread);
		}
		cleave_section_quiescent(record);
	}
	__atomic_fetch_add(&recycled, reused, __ATOMIC_RELAXED);
	cleave_section_unregister(record, &domain);
	free_record(record);
	return NULL;
}

static void test_torture(void **state)
{
	pthread_t reader[2], writer[WRITERS];
	double end;

	(void)state;
	memset(ages, 0, sizeof(ages));
	for (size_t i = 0; i < WRITERS; i++)
		published[i] = &object[i][0];
	for (size_t i = 0; i < 2; i++)
		pthread_create(&reader[i], NULL, torture_reader, (void *)i);
	for (size_t i = 0; i < WRITERS; i++)
		pthread_create(&writer[i], NULL, torture_writer, (void *)i);
	for (end = now() + seconds; now() < end; usleep(1000))
		cleave_section_quiescent(own);
	STORE(&stop, true);
	for (size_t i = 0; i < 2; i++)
		pthread_join(reader[i], NULL);
	/* A writer may wait for a grace period: this thread must not hold it up. */
	wait_cookie(own, take_cookie(own));
	for (size_t i = 0; i < WRITERS; i++) {
#ifdef CLEAVE_SECTION_QSBR
		rcu_thread_offline();
#endif
		pthread_join(writer[i], NULL);
#ifdef CLEAVE_SECTION_QSBR
		rcu_thread_online();
#endif
	}
	printf("ages seen: %llu %llu %llu %llu; recycled %llu\n", (unsigned long long)ages[0],
	       (unsigned long long)ages[1], (unsigned long long)ages[2], (unsigned long long)ages[3],
	       (unsigned long long)recycled);
	assert_true(ages[0] > 0);
	assert_true(recycled > OBJECTS);
	assert_int_equal(ages[2], 0);
	assert_int_equal(ages[3], 0);
	assert_int_equal(changed, 0);
}

/* ---- Parking ---- */

#define TURNS 20000u

static struct cleave_word32 turn, bell;

static void take_turns(CLEAVE_SECTION_THREAD *record, uint32_t me)
{
	for (uint32_t i = 0; i < TURNS; i++) {
		for (;;) {
			uint32_t seen = LOAD(&bell.word);

			if (LOAD(&turn.word) == me)
				break;
			ops->park(&domain.domain, &record->thread, &bell, seen);
		}
		STORE(&turn.word, !me);
		__atomic_fetch_add(&bell.word, 1, __ATOMIC_ACQ_REL);
		ops->wake(&domain.domain, &bell);
	}
}

static void *partner(void *argument)
{
	CLEAVE_SECTION_THREAD *record = new_record();

	(void)argument;
	cleave_section_register(record, &domain);
	take_turns(record, 1);
	cleave_section_unregister(record, &domain);
	free_record(record);
	return NULL;
}

/* A lost wake-up hangs: main() has set an alarm. */
static void test_park(void **state)
{
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, partner, NULL);
	take_turns(own, 0);
	pthread_join(thread, NULL);
}

static bool let_go;

static void *sleeper(void *argument)
{
	CLEAVE_SECTION_THREAD *record = new_record();

	cleave_section_register(record, &domain);
	STORE((bool *)argument, true);
	while (!LOAD(&let_go))
		ops->park(&domain.domain, &record->thread, &bell, LOAD(&bell.word));
	cleave_section_unregister(record, &domain);
	free_record(record);
	return NULL;
}

/* Nobody who is parked holds up a grace period. */
static void test_parked_is_quiescent(void **state)
{
	bool ready = false;
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, sleeper, &ready);
	while (!LOAD(&ready))
		usleep(100);
	for (int i = 0; i < 10; i++)
		wait_cookie(own, take_cookie(own));
	STORE(&let_go, true);
	__atomic_fetch_add(&bell.word, 1, __ATOMIC_ACQ_REL);
	ops->wake(&domain.domain, &bell);
	pthread_join(thread, NULL);
}

#if defined(CLEAVE_SECTION_MEMB) || defined(CLEAVE_SECTION_BP)
static void *wait_once(void *argument)
{
	CLEAVE_SECTION_THREAD *record = new_record();

	(void)argument;
	cleave_section_register(record, &domain);
	wait_cookie(record, take_cookie(record));
	cleave_section_unregister(record, &domain);
	free_record(record);
	return NULL;
}

/* The worker asks a thread that stays inside a call's section to wake it, and that does so when it leaves. */
static void test_who_stays_inside_is_awaited(void **state)
{
	uint32_t left = LOAD(&domain.left.word);
	pthread_t thread;
	uint64_t cookie;

	(void)state;
	ops->enter(&domain.domain, &own->thread);
	cookie = take_cookie(own);
	pthread_create(&thread, NULL, wait_once, NULL);
	while (!LOAD(&own->awaited.word))
		usleep(100);
	assert_false(done(own, cookie));
	ops->leave(&domain.domain, &own->thread);
	assert_int_equal(LOAD(&own->awaited.word), 0);
	assert_true(LOAD(&domain.left.word) != left);
	pthread_join(thread, NULL);
	assert_true(done(own, cookie));
}
#endif

/* Poll until it is done; 0: not in `most` polls. */
static unsigned int poll_cookie(uint64_t cookie, unsigned int most)
{
	for (unsigned int polls = 1; polls <= most; polls++) {
		if (done(own, cookie))
			return polls;
		cleave_section_quiescent(own);
		usleep(1000);
	}
	return 0;
}

/* A poll that starts nothing, because a grace period is under way, does not keep the next ones from being heard. */
static void test_every_poll_is_heard(void **state)
{
	struct reader reader = { .state = OUTSIDE };
	uint64_t cookie;

	(void)state;
	pthread_create(&reader.thread, NULL, stay_inside, &reader);
	for (int round = 0; round < 5; round++) {
		set_state(&reader, ENTER, INSIDE);
		assert_false(done(own, take_cookie(own)));
		usleep(2000); /* mostly, the grace period is under way then */
		cookie = take_cookie(own);
		assert_false(done(own, cookie));
		set_state(&reader, LEAVE, OUTSIDE);
		assert_true(poll_cookie(cookie, 500));
	}
	STORE(&reader.state, END);
	pthread_join(reader.thread, NULL);
}

#if (defined(CLEAVE_SECTION_MEMB) || defined(CLEAVE_SECTION_QSBR)) && !defined(CLEAVE_SECTION_TSAN)
/* The worker has ended what it was asked for, and the pause after it is over. */
static void come_to_rest(void)
{
	while (!LOAD(&domain.sleeping.word)) {
		cleave_section_quiescent(own);
		usleep(100);
	}
	usleep(300);
}
#endif

#if defined(CLEAVE_SECTION_MEMB) && !defined(CLEAVE_SECTION_TSAN)
static bool has_barrier(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0) & MEMBARRIER_CMD_PRIVATE_EXPEDITED;
}

static void test_runs_grace_periods_itself(void **state)
{
	struct reader reader = { .state = OUTSIDE };
	uint64_t wanted = LOAD(&domain.wanted.word), cookie;

	(void)state;
	pthread_create(&reader.thread, NULL, stay_inside, &reader);
	for (int round = 0; round < 100; round++)
		assert_true(poll_cookie(take_cookie(own), 10000));
	assert_true(LOAD(&domain.wanted.word) == wanted || !has_barrier()); /* the worker was not asked */

	/* Somebody is in the way: it is asked, and nobody waits here. */
	wanted = LOAD(&domain.wanted.word);
	set_state(&reader, ENTER, INSIDE);
	cookie = take_cookie(own);
	while (LOAD(&domain.wanted.word) == wanted)
		assert_false(done(own, cookie));
	set_state(&reader, LEAVE, OUTSIDE);
	assert_true(poll_cookie(cookie, 10000));

	/* And so if it is the thread itself, in a section of the program's. */
	cleave_section_enter(own);
	cookie = take_cookie(own);
	ops->advance(&domain.domain, &own->thread, cookie);
	assert_false(ops->done(&domain.domain, &own->thread, cookie));
	cleave_section_leave(own);
	assert_true(poll_cookie(cookie, 10000));
	STORE(&reader.state, END);
	pthread_join(reader.thread, NULL);
}

/* There is no other reader: at the first try, and the worker sleeps. */
static void test_alone(void **state)
{
	struct reader reader = { .state = OUTSIDE };
	uint64_t wanted = LOAD(&domain.wanted.word), cookie;

	(void)state;
	come_to_rest();
	for (int round = 0; round < 100; round++) {
		cookie = take_cookie(own);
		assert_false(ops->done(&domain.domain, &own->thread, cookie));
		ops->advance(&domain.domain, &own->thread, cookie);
		assert_true(ops->done(&domain.domain, &own->thread, cookie));
	}
	assert_true(LOAD(&domain.wanted.word) == wanted);

	/* Itself inside, it has to wait; and so for another one. */
	cleave_section_enter(own);
	cookie = take_cookie(own);
	ops->advance(&domain.domain, &own->thread, cookie);
	assert_false(ops->done(&domain.domain, &own->thread, cookie));
	cleave_section_leave(own);
	pthread_create(&reader.thread, NULL, stay_inside, &reader);
	set_state(&reader, ENTER, INSIDE);
	cookie = take_cookie(own);
	ops->advance(&domain.domain, &own->thread, cookie);
	assert_false(ops->done(&domain.domain, &own->thread, cookie));
	set_state(&reader, LEAVE, OUTSIDE);
	STORE(&reader.state, END);
	pthread_join(reader.thread, NULL);

	/* Alone again. */
	come_to_rest();
	cookie = take_cookie(own);
	ops->advance(&domain.domain, &own->thread, cookie);
	assert_true(ops->done(&domain.domain, &own->thread, cookie));
}

/* One grace period here is begun. */
static void begin_one(void)
{
	uint64_t started = LOAD(&domain.started.word);

	do {
		usleep(300); /* longer than any pause */
		ops->advance(&domain.domain, &own->thread, take_cookie(own));
	} while (LOAD(&domain.started.word) == started);
}

/* What is changed inside a section of the program's, where nothing but tries belongs, is no sign that it is over. */
static void test_not_counted_inside(void **state)
{
	uint64_t unlocks = own->thread.unlocks;

	(void)state;
	cleave_section_enter(own);
	for (unsigned int i = 0; i < 3; i++) {
		ops->enter(&domain.domain, &own->thread);
		own->thread.unlocks++;
		ops->leave(&domain.domain, &own->thread);
		assert_int_equal(own->thread.unlocks, unlocks);
	}
	cleave_section_leave(own);
	ops->enter(&domain.domain, &own->thread);
	ops->leave(&domain.domain, &own->thread);
	assert_int_equal(own->thread.unlocks, unlocks);
}

/*
 * Three changes of each other thread end what the one before has begun, wherever it is; less do not: a barrier ends
 * what begins, if nobody is inside.
 */
static void test_among_writers(void **state)
{
	struct reader reader = { .state = OUTSIDE };
	uint64_t *unlocks, begun;

	(void)state;
	if (!has_barrier())
		skip();
	pthread_create(&reader.thread, NULL, stay_inside, &reader);
	while (LOAD(&domain.threads) == own)
		usleep(100);
	unlocks = &LOAD(&domain.threads)->thread.unlocks;
	begin_one();
	for (uint64_t round = 0; round < 20; round++) {
		STORE(unlocks, *unlocks + round % 5);
		begin_one();
		assert_int_equal(LOAD(&domain.done.word) + (round % 5 >= 3), LOAD(&domain.started.word));
	}
	set_state(&reader, ENTER, INSIDE);
	begun = LOAD(&domain.started.word);
	for (uint64_t round = 0; round < 20; round++) {
		STORE(unlocks, *unlocks + (round < 19 ? 3 : 2));
		begin_one();
		assert_int_equal(LOAD(&domain.done.word), begun - (round == 19));
		begun = LOAD(&domain.started.word);
	}
	set_state(&reader, LEAVE, OUTSIDE);
	STORE(&reader.state, END);
	pthread_join(reader.thread, NULL);
}
#endif

#if defined(CLEAVE_SECTION_QSBR) && !defined(CLEAVE_SECTION_TSAN)
static bool advanced(uint64_t cookie)
{
	ops->advance(&domain.domain, &own->thread, cookie);
	return ops->done(&domain.domain, &own->thread, cookie);
}

/* There is no other reader: its own quiescent state is waited for, and the worker sleeps; unless that does not come. */
static void test_alone_from_one_quiescent_state_to_the_next(void **state)
{
	struct reader reader = { .state = OUTSIDE };
	uint64_t wanted, cookie;

	(void)state;
	come_to_rest();
	wanted = LOAD(&domain.wanted.word);
	for (int round = 0; round < 100; round++) {
		cookie = take_cookie(own);
		assert_false(advanced(cookie)); /* may be of one that was begun before the cookie */
		cleave_section_quiescent(own);
		if (advanced(cookie))
			continue;
		assert_false(advanced(cookie));
		cleave_section_quiescent(own);
		assert_true(advanced(cookie));
	}
	assert_true(LOAD(&domain.wanted.word) == wanted);

	cookie = take_cookie(own);
	for (unsigned int asked = 0; LOAD(&domain.wanted.word) == wanted; asked++) {
		assert_false(advanced(cookie));
		assert_true(asked < 1000);
	}
	assert_true(poll_cookie(cookie, 10000));

	/* Another one is there: it is the worker's. */
	pthread_create(&reader.thread, NULL, stay_inside, &reader);
	set_state(&reader, ENTER, INSIDE);
	come_to_rest();
	wanted = LOAD(&domain.wanted.word);
	cookie = take_cookie(own);
	assert_false(advanced(cookie));
	cleave_section_quiescent(own);
	assert_false(advanced(cookie));
	assert_true(LOAD(&domain.wanted.word) != wanted);
	set_state(&reader, LEAVE, OUTSIDE);
	STORE(&reader.state, END);
	rcu_thread_offline();
	pthread_join(reader.thread, NULL);
	rcu_thread_online();
}
#endif

/* ---- Threads that come and go ---- */

#define RECORDS 8

static CLEAVE_SECTION_THREAD *stormed[3][RECORDS];

static void *storm(void *argument)
{
	size_t me = (uintptr_t)argument;
	uint64_t random = seed * 31 + me;

	for (int i = 0; i < 2000; i++) {
		CLEAVE_SECTION_THREAD **record = &stormed[me][random64(&random) % RECORDS];

		if (!*record)
			*record = new_record();
		cleave_section_register(*record, &domain);
		cleave_section_enter(*record);
		cleave_section_leave(*record);
		if (i % 16 == 0)
			(void)done(*record, take_cookie(*record));
		if (i % 64 == 0)
			wait_cookie(*record, take_cookie(*record));
		cleave_section_unregister(*record, &domain);
#ifndef CLEAVE_SECTION_CK
		free_record(*record);
		*record = NULL;
#endif
	}
	return NULL;
}

static void test_storm(void **state)
{
	pthread_t thread[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, storm, (void *)i);
	for (int i = 0; i < 100; i++)
		wait_cookie(own, take_cookie(own));
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_offline();
#endif
	for (size_t i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_online();
#endif
	wait_cookie(own, take_cookie(own));
}

/* ---- Two domains of one flavour ---- */

static void test_two_domains(void **state)
{
	CLEAVE_SECTION_DOMAIN *second = aligned_alloc(64, (sizeof(*second) + 63) & ~(size_t)63);
	CLEAVE_SECTION_THREAD *record = new_record();
	uint64_t cookie;

	(void)state;
	assert_int_equal(cleave_section_start(second, NULL, 0), 0);
	cleave_section_register(record, second);
	for (int i = 0; i < 100; i++) {
		cookie = second->domain.ops->cookie(&second->domain, &record->thread);
		wait_cookie(own, take_cookie(own));
		second->domain.ops->wait(&second->domain, &record->thread, cookie);
		assert_true(second->domain.ops->done(&second->domain, &record->thread, cookie));
	}
	cleave_section_unregister(record, second);
	cleave_section_stop(second);
	free(second);
	free(record);
	wait_cookie(own, take_cookie(own));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inside),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_cookie_waits_for_reader),
		cmocka_unit_test(test_later_reader),
		cmocka_unit_test(test_park),
		cmocka_unit_test(test_parked_is_quiescent),
#if defined(CLEAVE_SECTION_MEMB) || defined(CLEAVE_SECTION_BP)
		cmocka_unit_test(test_who_stays_inside_is_awaited),
#endif
		cmocka_unit_test(test_every_poll_is_heard),
#if defined(CLEAVE_SECTION_MEMB) && !defined(CLEAVE_SECTION_TSAN)
		cmocka_unit_test(test_runs_grace_periods_itself),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_not_counted_inside),
		cmocka_unit_test(test_among_writers),
#endif
#if defined(CLEAVE_SECTION_QSBR) && !defined(CLEAVE_SECTION_TSAN)
		cmocka_unit_test(test_alone_from_one_quiescent_state_to_the_next),
#endif
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_two_domains),
		cmocka_unit_test(test_torture),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	seed += !seed;
	if (argc > 2)
		seconds = atof(argv[2]);
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	alarm(120);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
