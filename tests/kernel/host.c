/* SPDX-License-Identifier: ISC */
#include "host.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 64u

_Static_assert(sizeof(pthread_mutex_t) <= 8 * sizeof(void *), "a mutex fits into the kernels'");

static struct slot {
	_Alignas(64) host_number section; /* 0: outside; else the clock when it was entered */
	bool taken;
} slots[SLOTS];
static host_number clock_now = 1;

static _Thread_local struct slot *own_slot;
static _Thread_local unsigned int nesting, mutexes;
static _Thread_local host_number random_state;

void host_fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	_exit(1); /* no core file */
}

void host_note(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

/* ---- Threads ---- */

struct thread {
	pthread_t id;
	void (*body)(void *argument);
	void *argument;
};

static void *run(void *argument)
{
	struct thread *thread = argument;

	thread->body(thread->argument);
	if (nesting || mutexes)
		host_fail("a thread ends in a section, or with a mutex");
	if (own_slot)
		__atomic_store_n(&own_slot->taken, false, __ATOMIC_RELEASE);
	return NULL;
}

void *host_thread(void (*body)(void *argument), void *argument)
{
	struct thread *thread = malloc(sizeof(*thread));

	thread->body = body;
	thread->argument = argument;
	if (pthread_create(&thread->id, NULL, run, thread))
		host_fail("no thread");
	return thread;
}

void host_join(void *thread)
{
	pthread_join(((struct thread *)thread)->id, NULL);
	free(thread);
}

void host_nap(unsigned int microseconds)
{
	usleep(microseconds);
}

host_number host_random(void)
{
	static host_number seeds = 1;

	if (!random_state)
		random_state = __atomic_add_fetch(&seeds, 1, __ATOMIC_RELAXED) * UINT64_C(0x9e3779b97f4a7c15);
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* ---- Mutexes, channels ---- */

void host_mutex_init(void *mutex)
{
	pthread_mutex_init(mutex, NULL);
}

void host_mutex_destroy(void *mutex)
{
	pthread_mutex_destroy(mutex);
}

void host_mutex_lock(void *mutex)
{
	pthread_mutex_lock(mutex);
	mutexes++;
}

bool host_mutex_trylock(void *mutex)
{
	if (pthread_mutex_trylock(mutex))
		return false;
	mutexes++;
	return true;
}

void host_mutex_unlock(void *mutex)
{
	mutexes--;
	pthread_mutex_unlock(mutex);
}

static pthread_mutex_t channels = PTHREAD_MUTEX_INITIALIZER;

static struct sleeper {
	const void *channel; /* NULL: woken */
	struct sleeper *next;
	pthread_cond_t woken;
} * sleepers;

void host_may_sleep(const char *who)
{
	if (nesting)
		host_fail("%s in a read section", who);
	if (mutexes)
		host_fail("%s with a mutex held", who);
}

void host_channels_lock(void)
{
	pthread_mutex_lock(&channels);
}

void host_channels_unlock(void)
{
	pthread_mutex_unlock(&channels);
}

void host_channel_sleep(const void *channel)
{
	struct sleeper own = { .channel = channel, .next = sleepers, .woken = PTHREAD_COND_INITIALIZER };
	struct sleeper **link;

	host_may_sleep("sleeps");
	sleepers = &own;
	while (own.channel)
		pthread_cond_wait(&own.woken, &channels);
	for (link = &sleepers; *link != &own; link = &(*link)->next)
		;
	*link = own.next;
	pthread_mutex_unlock(&channels);
}

void host_channel_wake(const void *channel)
{
	pthread_mutex_lock(&channels);
	for (struct sleeper *sleeper = sleepers; sleeper; sleeper = sleeper->next) {
		if (sleeper->channel == channel) {
			sleeper->channel = NULL;
			pthread_cond_signal(&sleeper->woken);
		}
	}
	pthread_mutex_unlock(&channels);
}

/* ---- Read sections ---- */

static struct slot *slot(void)
{
	for (unsigned int i = 0; !own_slot && i < SLOTS; i++)
		if (!__atomic_exchange_n(&slots[i].taken, true, __ATOMIC_ACQUIRE))
			own_slot = &slots[i];
	if (!own_slot)
		host_fail("too many threads");
	return own_slot;
}

void host_section_enter(void)
{
	if (nesting++)
		return;
	__atomic_store_n(&slot()->section, __atomic_load_n(&clock_now, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void host_section_leave(void)
{
	if (!nesting)
		host_fail("leaves a section that it has not entered");
	if (!--nesting)
		__atomic_store_n(&slot()->section, 0, __ATOMIC_RELEASE);
}

bool host_section_inside(void)
{
	return nesting != 0;
}

host_number host_section_mark(void)
{
	host_number mark = __atomic_add_fetch(&clock_now, 1, __ATOMIC_SEQ_CST);

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return mark;
}

bool host_section_past(host_number mark)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < SLOTS; i++) {
		host_number section = __atomic_load_n(&slots[i].section, __ATOMIC_SEQ_CST);

		if (section && section < mark)
			return false;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return true;
}

/* ---- Memory ---- */

static host_number allocated;
static bool alloc_fails;

void *host_alloc(host_number size, host_number align)
{
	void *memory;

	if (__atomic_load_n(&alloc_fails, __ATOMIC_RELAXED))
		return NULL;
	if (nesting)
		host_fail("allocates in a read section");
	memory = aligned_alloc(align, (size + align - 1) / align * align);
	if (!memory)
		host_fail("out of memory");
	memset(memory, 0xa5, size);
	__atomic_add_fetch(&allocated, 1, __ATOMIC_RELAXED);
	return memory;
}

void host_free(void *memory)
{
	if (nesting)
		host_fail("frees in a read section");
	__atomic_sub_fetch(&allocated, 1, __ATOMIC_RELAXED);
	free(memory);
}

host_number host_allocated(void)
{
	return __atomic_load_n(&allocated, __ATOMIC_RELAXED);
}

void host_alloc_fails(bool fails)
{
	__atomic_store_n(&alloc_fails, fails, __ATOMIC_RELAXED);
}
