/* SPDX-License-Identifier: ISC */
/*
 * liburcu with quiescent states.  A section costs nothing; a registered thread holds up every grace period from one
 * quiescent state to the next, so whatever sleeps goes offline.
 *
 * _LGPL_SOURCE: inlines, as in memb.c.
 */
#ifndef _LGPL_SOURCE
#define _LGPL_SOURCE
#endif
#include <urcu-qsbr.h>

#include "registered.h"

static void enter(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	(void)self;
	PORT_ASSERT(rcu_read_ongoing(), "a qsbr thread is registered and online when it reads");
	CLEAVE__TSAN_HIDE();
	rcu_read_lock();
	CLEAVE__TSAN_SHOW();
}

static void leave(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	cleave_section_tsan_leave(self);
	CLEAVE__TSAN_HIDE();
	rcu_read_unlock();
	CLEAVE__TSAN_SHOW();
}

/* Only an offline thread is surely outside. */
static int inside(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	(void)self;
	return rcu_read_ongoing() ? -1 : 0;
}

static bool offline(void)
{
	if (!rcu_read_ongoing())
		return false;
	CLEAVE__TSAN_HIDE();
	rcu_thread_offline();
	CLEAVE__TSAN_SHOW();
	return true;
}

static void online(void)
{
	CLEAVE__TSAN_HIDE();
	rcu_thread_online();
	CLEAVE__TSAN_SHOW();
}

static void synchronize(void)
{
	synchronize_rcu();
}

static const struct cleave__urcu_flavour qsbr = {
	.ops = { CLEAVE__URCU_OPS, .enter = enter, .leave = leave, .inside = inside },
	.synchronize = synchronize,
	CLEAVE__URCU_REGISTERED,
	.quiescent = true,
	.offline = offline,
	.online = online,
};

int cleave_urcu_qsbr_start(struct cleave_urcu *urcu, const struct cleave_memory *memory, uint64_t garbage_limit)
{
	return cleave__urcu_start(urcu, &qsbr, memory, garbage_limit);
}
