/* SPDX-License-Identifier: ISC */
/*
 * liburcu "bulletproof": threads register themselves when they first read and leave when they end, so there is nothing
 * to do here for either, and fork() is liburcu's own business.
 *
 * Its synchronize_rcu() sleeps 10 ms when it meets a reader that stays inside for some ten microseconds, for instance
 * one that lost its processor.  Where reuse must be quick, memb is better.
 *
 * _LGPL_SOURCE: inlines, as in memb.c.
 */
#ifndef _LGPL_SOURCE
#define _LGPL_SOURCE
#endif
#include <pthread.h>
#include <urcu-bp.h>

#include "urcu.h"

static inline void lock_section(const struct cleave_urcu_thread *thread)
{
	(void)thread;
	rcu_read_lock();
}

static inline void unlock_section(const struct cleave_urcu_thread *thread)
{
	(void)thread;
	rcu_read_unlock();
}

#include "moment.h"

static bool register_thread(void)
{
	rcu_register_thread();
	return false;
}

/*
 * liburcu's functions take its locks, once a process; several domains may be prepared for the same fork().  `depth`
 * belongs to who holds the mutex; `owner` is compared by a thread with itself only.
 */
static pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER;
static struct cleave_word owner;
static unsigned int depth;

_Static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "a thread's name fits a word");

static void prefork(void)
{
	if (PORT_LOAD(&owner, PORT_RELAXED) != (uint64_t)pthread_self()) {
		pthread_mutex_lock(&forking);
		PORT_STORE(&owner, (uint64_t)pthread_self(), PORT_RELAXED);
		urcu_bp_before_fork();
	}
	depth++;
}

static void postfork_parent(void)
{
	if (--depth)
		return;
	urcu_bp_after_fork_parent();
	PORT_STORE(&owner, 0, PORT_RELAXED);
	pthread_mutex_unlock(&forking);
}

static void postfork_child(void)
{
	if (--depth)
		return;
	urcu_bp_after_fork_child();
	PORT_STORE(&owner, 0, PORT_RELAXED);
	pthread_mutex_unlock(&forking);
}

static const struct cleave__urcu_flavour bp = {
	.ops = { CLEAVE__URCU_OPS, .enter = enter, .leave = leave, .inside = inside },
	.synchronize = synchronize,
	.register_thread = register_thread,
	.prefork = prefork,
	.postfork_parent = postfork_parent,
	.postfork_child = postfork_child,
};

int cleave_urcu_bp_start(struct cleave_urcu *urcu, const struct cleave_memory *memory, uint64_t garbage_limit)
{
	return cleave__urcu_start(urcu, &bp, memory, garbage_limit);
}
