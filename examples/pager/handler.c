/* SPDX-License-Identifier: ISC */
/* Serving faults. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pager.h"

/* ---- The queue: from the reader, which must not wait, to the handlers ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct fault *faults; /* [lock] a ring */
	size_t size;	      /* [lock] a power of two */
	size_t head, tail;    /* [lock] */
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER };

/* Called with the lock held. */
static void queue_grow(void)
{
	size_t size = queue.size ? 2 * queue.size : 1024;
	struct fault *faults = malloc(size * sizeof(*faults));

	if (!faults)
		supervisor_fail(&pager.supervisor, "the queue of faults", ENOMEM);
	for (size_t i = queue.head; i != queue.tail; i++)
		faults[i & (size - 1)] = queue.faults[i & (queue.size - 1)];
	free(queue.faults);
	queue.faults = faults;
	queue.size = size;
}

void fault_queue(const struct fault *faults, size_t n)
{
	pthread_mutex_lock(&queue.lock);
	for (size_t i = 0; i < n; i++) {
		if (queue.tail - queue.head == queue.size)
			queue_grow();
		queue.faults[queue.tail++ & (queue.size - 1)] = faults[i];
	}
	pthread_mutex_unlock(&queue.lock);
	if (n > 1)
		pthread_cond_broadcast(&queue.filled);
	else
		pthread_cond_signal(&queue.filled);
}

static bool fault_next(struct fault *fault)
{
	bool found;

	pthread_mutex_lock(&queue.lock);
	while (queue.head == queue.tail && !pager.ending)
		pthread_cond_wait(&queue.filled, &queue.lock);
	found = queue.head != queue.tail;
	if (found)
		*fault = queue.faults[queue.head++ & (queue.size - 1)];
	pthread_mutex_unlock(&queue.lock);
	return found;
}

/* ---- One fault ---- */

static void await_opening(const struct process *process)
{
	const struct timespec moment = { 0, 50000 };

	while (process->state == PROCESS_OPENING)
		nanosleep(&moment, NULL);
}

static int serve(struct process *process, const struct fault *fault)
{
	const struct timespec moment = { 0, 1000000 }, short_moment = { 0, 20000 };
	int error;

	for (unsigned int i = 0;; i++) {
		self->missing = fault->missing;
		self->buffered = 0;
		self->kind = FAULT_READ;
		error = pager.engine->fault(process, fault->addr, fault->write);
		switch (error) {
		case -EAGAIN: /* the reader has an event to read; the guard is cleared */
			count(&self->counters.retries);
			if (i < 4)
				sched_yield();
			else
				nanosleep(&short_moment, NULL);
			break;
		case -ENOMEM:
			nanosleep(&moment, NULL);
			break;
		default:
			return error;
		}
		if (process->state == PROCESS_DEAD)
			return -ESRCH;
	}
}

static void handle(struct process *process, const struct fault *fault)
{
	uint64_t before = clock_ns();
	int error;

	await_opening(process);
	wait_for_room();
	self->process = process;
	error = serve(process, fault);
	switch (error) {
	case 0:
		count(&self->counters.faults[self->kind]);
		heat_add(fault->addr, self->kind);
		break;
	case -EFAULT: /* unmapped, or about to be mapped: who still wants it faults again */
	case -EACCES:
	case -ENOENT:
		count(&self->counters.stale);
		(void)uffd_wake(process, fault->addr);
		break;
	case -ESRCH:
		break; /* it is gone */
	default:
		violation("process %d: a fault at %llx ends with %s", (int)process->pid,
			  (unsigned long long)fault->addr, strerror(-error));
		(void)uffd_wake(process, fault->addr);
	}
	atomic_fetch_add_explicit(&self->counters.nanoseconds, clock_ns() - before, memory_order_relaxed);
}

static void *handler(void *nothing)
{
	struct worker *worker = aligned_alloc(64, (sizeof(*worker) + 63) & ~(size_t)63);
	struct fault fault;

	(void)nothing;
	if (!worker)
		supervisor_fail(&pager.supervisor, "a handler", ENOMEM);
	worker_start(worker);
	while (fault_next(&fault)) {
		struct process *process = process_use(fault.process);

		if (!process)
			continue;
		handle(process, &fault);
		process_leave(process);
	}
	worker_stop(worker);
	return NULL;
}

void handlers_start(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		thread_spawn(handler);
}

void handlers_wake(void)
{
	pthread_mutex_lock(&queue.lock);
	pthread_cond_broadcast(&queue.filled);
	pthread_mutex_unlock(&queue.lock);
}
