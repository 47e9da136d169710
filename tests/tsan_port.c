/* SPDX-License-Identifier: ISC */
/*
 * What Thread Sanitizer must and must not say about the port.  One executable a flavour, all of it compiled with
 * -fsanitize=thread.  usage: tsan_port [fault [seconds]]
 *
 *	0  correct: silent, exit status 0
 *	1  an object is reused without a grace period		exit status 66
 *	2  its cookie was taken before it was unlinked		exit status 66
 *	3  two writers without a lock, grace periods between	exit status 66
 */
#include <cleave/section.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define OBJECTS 16

struct object {
	uint64_t payload[2]; /* plain: written before publication and after a grace period only */
	uint64_t cookie;
};

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "halt_on_error=1:exitcode=66";
}

static CLEAVE_SECTION_DOMAIN domain;
static const struct cleave_ops *ops;
static struct object object[2][OBJECTS];
static struct object *published[2];
static int fault;
static bool stop;
static uint64_t unguarded, sum;

static CLEAVE_SECTION_THREAD *new_record(void)
{
	CLEAVE_SECTION_THREAD *record = aligned_alloc(64, (sizeof(*record) + 63) & ~(size_t)63);

	if (!record)
		abort();
	cleave_section_register(record, &domain);
	return record;
}

static void end_record(CLEAVE_SECTION_THREAD *record)
{
	cleave_section_unregister(record, &domain);
#ifndef CLEAVE_SECTION_CK
	free(record);
#endif
}

static void *reader(void *argument)
{
	uint64_t seen = 0;

	(void)argument;
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		CLEAVE_SECTION_THREAD *record = new_record();

		/* Records come and go, and what their sections read stays ordered. */
		for (int i = 0; i < 500; i++) {
			struct object *found;

			cleave_section_enter(record);
			found = __atomic_load_n(&published[i % 2], __ATOMIC_ACQUIRE);
			seen += found->payload[0] + found->payload[1];
			cleave_section_leave(record);
			cleave_section_quiescent(record);
		}
		end_record(record);
	}
	__atomic_fetch_add(&sum, seen, __ATOMIC_RELAXED);
	return NULL;
}

static void *writer(void *argument)
{
	CLEAVE_SECTION_THREAD *record = new_record();
	size_t me = (size_t)argument;

	for (uint64_t i = 1; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); i++) {
		struct object *fresh = &object[me][i % OBJECTS], *old = published[me];

		/* Its last use is OBJECTS - 1 rounds ago. */
		if (fault != 1 && i >= OBJECTS) {
			for (int ask = 0; ask < 20 && !ops->done(&domain.domain, &record->thread, fresh->cookie);
			     ask++) {
				ops->advance(&domain.domain, &record->thread, fresh->cookie);
				cleave_section_quiescent(record);
			}
			ops->wait(&domain.domain, &record->thread, fresh->cookie);
		}
		fresh->payload[0] = i;
		fresh->payload[1] = ~i;
		if (fault == 2) {
			old->cookie = ops->cookie(&domain.domain, &record->thread);
			/* Far too early: its grace period may be over before readers stop finding `old`. */
			ops->wait(&domain.domain, &record->thread, old->cookie);
			__atomic_store_n(&published[me], fresh, __ATOMIC_RELEASE);
			old->payload[0] = i;
		} else {
			__atomic_store_n(&published[me], fresh, __ATOMIC_RELEASE);
			old->cookie = ops->cookie(&domain.domain, &record->thread);
		}
		if (fault == 3)
			unguarded++;
		ops->enter(&domain.domain, &record->thread);
		ops->leave(&domain.domain, &record->thread);
		cleave_section_quiescent(record);
	}
	end_record(record);
	return NULL;
}

int main(int argc, char **argv)
{
	CLEAVE_SECTION_THREAD *own;
	pthread_t thread[4];
	time_t end;

	fault = argc > 1 ? atoi(argv[1]) : 0;
	if (cleave_section_start(&domain, NULL, 0))
		return 1;
	ops = domain.domain.ops;
	published[0] = &object[0][0];
	published[1] = &object[1][0];
	for (size_t i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, i < 2 ? reader : writer, (void *)(i % 2));
	end = time(NULL) + (argc > 2 ? atoi(argv[2]) : 2);
	while (time(NULL) < end)
		usleep(10000);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (size_t i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	own = new_record();
	ops->wait(&domain.domain, &own->thread, ops->cookie(&domain.domain, &own->thread));
	end_record(own);
	cleave_section_stop(&domain);
	printf("silent\n");
	return 0;
}
