/* SPDX-License-Identifier: ISC */
/*
 * Read sections of a flavour whose worker chooses its moment (urcu.c): memb and bp.  Included after liburcu's header,
 * whose functions have the same names in each, and after lock_section() and unlock_section(), which open and close a
 * section of the calling thread.
 */
#ifndef CLEAVE_URCU_MOMENT_H
#define CLEAVE_URCU_MOMENT_H

#include "urcu.h"

static void enter(struct cleave_domain *domain, struct cleave_thread *self)
{
	struct cleave_urcu_thread *thread = cleave__container(self, struct cleave_urcu_thread, thread);

	(void)domain;
	PORT_STORE(&thread->inside, 1, PORT_RELAXED);
	CLEAVE__TSAN_HIDE();
	lock_section(thread);
	CLEAVE__TSAN_SHOW();
}

static PORT_NO_INLINE void leave_awaited(struct cleave_domain *domain, struct cleave_urcu_thread *thread)
{
	CLEAVE__TSAN_HIDE();
	unlock_section(thread);
	CLEAVE__TSAN_SHOW();
	cleave__urcu_give_way(domain, thread);
}

/*
 * Whether somebody awaits this is looked at before it is so: then nothing is to be kept for after liburcu's code, which
 * may call the kernel.  Who is marked in between gives way the next time.
 */
static void leave(struct cleave_domain *domain, struct cleave_thread *self)
{
	struct cleave_urcu_thread *thread = cleave__container(self, struct cleave_urcu_thread, thread);

	cleave_section_tsan_leave(self);
	PORT_STORE(&thread->inside, 0, PORT_RELAXED);
	if (PORT_UNLIKELY(PORT_LOAD(&thread->awaited, PORT_RELAXED))) {
		leave_awaited(domain, thread);
		return;
	}
	CLEAVE__TSAN_HIDE();
	unlock_section(thread);
	CLEAVE__TSAN_SHOW();
}

static int inside(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	(void)self;
	return rcu_read_ongoing() ? 1 : 0;
}

static void synchronize(void)
{
	synchronize_rcu();
}

#endif
