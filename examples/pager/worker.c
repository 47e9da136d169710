/* SPDX-License-Identifier: ISC */
/* Threads of the pager, and the engine's memory, which is counted. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pager.h"

__thread struct worker *self;

/* ---- Memory ---- */

static void account(size_t size)
{
	uint64_t now = atomic_fetch_add_explicit(&pager.metadata, size, memory_order_relaxed) + size;
	uint64_t peak = get(&pager.metadata_peak);

	while (now > peak && !atomic_compare_exchange_weak(&pager.metadata_peak, &peak, now))
		;
}

static void *alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	void *node;

	(void)memory;
	node = align > 16 ? aligned_alloc(align, (size + align - 1) & ~(align - 1)) : malloc(size);
	if (node)
		account(size);
	return node;
}

static void release(const struct cleave_memory *memory, void *node, size_t size)
{
	(void)memory;
	free(node);
	atomic_fetch_sub_explicit(&pager.metadata, size, memory_order_relaxed);
}

const struct cleave_memory counted_memory = { .alloc = alloc, .free = release };

void *counted_alloc(size_t size)
{
	return alloc(&counted_memory, size, 1);
}

void counted_free(void *memory, size_t size)
{
	release(&counted_memory, memory, size);
}

/* ---- Threads ---- */

void worker_start(struct worker *worker)
{
	memset(worker, 0, sizeof(*worker));
	self = worker;
	worker->buffer = aligned_alloc(PAGE, PAGE);
	if (!worker->buffer)
		supervisor_fail(&pager.supervisor, "a thread", ENOMEM);
	cleave_section_register(&worker->section, &pager.domain);
	if (pager.engine->worker_start(worker))
		supervisor_fail(&pager.supervisor, "a thread of the engine", ENOMEM);
	pthread_mutex_lock(&pager.workers_lock);
	worker->next = pager.workers;
	pager.workers = worker;
	pthread_mutex_unlock(&pager.workers_lock);
}

/* The record stays in the list, for its counters. */
void worker_stop(struct worker *worker)
{
	pager.engine->worker_stop(worker);
	cleave_section_unregister(&worker->section, &pager.domain);
	free(worker->buffer);
	self = NULL;
}

static struct {
	pthread_mutex_t lock;
	pthread_t threads[256];
	unsigned int n;
} threads = { .lock = PTHREAD_MUTEX_INITIALIZER };

void thread_spawn(void *(*f)(void *))
{
	sigset_t all, old;
	int error = EAGAIN;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&threads.lock);
	if (threads.n < sizeof(threads.threads) / sizeof(threads.threads[0]))
		error = pthread_create(&threads.threads[threads.n], NULL, f, NULL);
	threads.n += !error;
	pthread_mutex_unlock(&threads.lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error)
		supervisor_fail(&pager.supervisor, "a thread", error);
}

/* Servers may start others until they end. */
void threads_join(void)
{
	pthread_t thread;

	for (unsigned int i = 0;; i++) {
		pthread_mutex_lock(&threads.lock);
		if (i == threads.n) {
			pthread_mutex_unlock(&threads.lock);
			return;
		}
		thread = threads.threads[i];
		pthread_mutex_unlock(&threads.lock);
		pthread_join(thread, NULL);
	}
}

/* ---- What must not be ---- */

void violation(const char *format, ...)
{
	va_list list;

	count(&pager.violations);
	if (atomic_flag_test_and_set(&pager.violated))
		return;
	va_start(list, format);
	vsnprintf(pager.violation, sizeof(pager.violation), format, list);
	va_end(list);
}
