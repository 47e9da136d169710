/* SPDX-License-Identifier: ISC */
/*
 * Threads of the program that ask and are told (layout.h), and the servers that answer them.  A server is with one call
 * until it is answered, for it holds a transaction meanwhile.  One of those without work waits for the next post; when
 * it takes one and no other is left, it makes another server first.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pager.h"

#define MOMENT_NS 100000000L
#define SERVERS 160u

static struct {
	pthread_mutex_t lock; /* who waits for a post */
	uint32_t taken;	      /* [lock] posts that nobody serves yet, the oldest first; as in pager_shared */
	_Atomic uint32_t idle;
	_Atomic uint32_t n;
} servers = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void futex_wait(uint32_t *word, uint32_t while_value)
{
	const struct timespec moment = { 0, MOMENT_NS };

	syscall(SYS_futex, word, FUTEX_WAIT, while_value, &moment, NULL, 0);
}

static void slot_set(struct pager_slot *slot, uint32_t state)
{
	__atomic_store_n(&slot->state, state, __ATOMIC_RELEASE);
	syscall(SYS_futex, &slot->state, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* ---- Commands ---- */

long target_call(struct process *process, struct pager_slot *slot, long number, uint64_t a, uint64_t b, uint64_t c,
		 uint64_t d, uint64_t e, uint64_t f)
{
	const uint64_t argument[6] = { a, b, c, d, e, f };

	slot->number = number;
	for (unsigned int i = 0; i < 6; i++)
		slot->argument[i] = argument[i];
	slot_set(slot, SLOT_COMMAND);
	while (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == SLOT_COMMAND) {
		futex_wait(&slot->state, SLOT_COMMAND);
		if (process->state == PROCESS_DEAD || kill((pid_t)slot->owner, 0))
			return -ESRCH;
	}
	return (long)slot->result;
}

void target_answer(struct pager_slot *slot, long result)
{
	slot->result = result;
	slot_set(slot, SLOT_ANSWERED);
}

/* Its thread is gone for good. */
void target_forget(struct pager_slot *slot)
{
	__atomic_store_n(&slot->state, SLOT_FREE, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->owner, 0, __ATOMIC_RELEASE);
}

int target_discard(struct process *process, const struct slot_range *ranges, unsigned int n)
{
	long result = -ESRCH;

	pthread_mutex_lock(&process->helper_lock);
	if (process->helper) {
		for (unsigned int i = 0; i < n; i++)
			process->helper->list[i] = ranges[i];
		result = target_call(process, process->helper, COMMAND_DISCARD, n, 0, 0, 0, 0, 0);
	}
	pthread_mutex_unlock(&process->helper_lock);
	return (int)result;
}

/* ---- Servers ---- */

static struct pager_slot *slot_numbered(uint32_t number)
{
	return number ? &pager.shared->slots[number - 1] : NULL;
}

/* All that is posted, turned round: the oldest first.  Called with the lock held. */
static void take_posts(void)
{
	uint32_t number = __atomic_exchange_n(&pager.shared->posted, 0, __ATOMIC_ACQUIRE), before;

	for (; number; number = before) {
		struct pager_slot *slot = slot_numbered(number);

		before = slot->next;
		slot->next = servers.taken;
		servers.taken = number;
	}
}

/* The next slot that was posted; NULL: the end. */
static struct pager_slot *next_slot(void)
{
	struct pager_slot *slot;

	atomic_fetch_add(&servers.idle, 1);
	pthread_mutex_lock(&servers.lock);
	for (;;) {
		if (!servers.taken)
			take_posts();
		if (servers.taken || pager.ending)
			break;
		futex_wait(&pager.shared->posted, 0);
	}
	slot = pager.ending ? NULL : slot_numbered(servers.taken);
	if (slot)
		servers.taken = slot->next;
	pthread_mutex_unlock(&servers.lock);
	atomic_fetch_sub(&servers.idle, 1);
	return slot;
}

static void serve(struct pager_slot *slot)
{
	struct process *process;

	switch (slot->kind) {
	case SLOT_HELLO:
		target_answer(slot, process_hello(slot));
		return;
	case SLOT_FORKED:
		process_forked(slot);
		return;
	case SLOT_HELPER:
		process_helper(slot);
		return;
	case SLOT_EXIT:
		process_exits(slot);
		return;
	}
	count(&pager.calls);
	process = process_use(slot->space);
	if (!process) {
		target_answer(slot, -ESRCH);
		return;
	}
	self->process = process;
	self->slot = slot;
	target_answer(slot, call_made(process, slot));
	process_leave(process);
	/* What the call has freed makes room. */
	if (lacks_room())
		pager.engine->flush();
}

static void *server(void *nothing)
{
	struct worker *worker = aligned_alloc(64, (sizeof(*worker) + 63) & ~(size_t)63);
	struct pager_slot *slot;

	(void)nothing;
	if (!worker)
		supervisor_fail(&pager.supervisor, "a server", ENOMEM);
	worker_start(worker);
	while ((slot = next_slot())) {
		/* None waits for a call that has not begun: with so many all end, some later. */
		if (!servers.idle && servers.n < SERVERS)
			servers_start();
		serve(slot);
	}
	worker_stop(worker);
	return NULL;
}

void servers_start(void)
{
	atomic_fetch_add(&servers.n, 1);
	thread_spawn(server);
}
