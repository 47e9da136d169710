/* SPDX-License-Identifier: ISC */
/*
 * Operations that the kernels' ports have in common.  A port includes it once, behind its own
 *
 *	static struct cleave_grace *grace_of(struct cleave_domain *domain)
 */
#ifndef CLEAVE_KERNEL_OPS_H
#define CLEAVE_KERNEL_OPS_H

#include "grace.h"

static uint64_t cookie(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	return cleave__grace_cookie(grace_of(domain));
}

static uint64_t cookie_stored(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	return cleave__grace_cookie_stored(grace_of(domain));
}

static bool done(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	(void)self;
	return cleave__grace_done(grace_of(domain), cookie);
}

#if defined(__x86_64__) || defined(__aarch64__)
static uint64_t begun(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	return cleave__grace_begun(grace_of(domain));
}
#endif

/*
 * None of these kernels can tell.  OpenBSD's SMR_ASSERT_CRITICAL() only asserts; in FreeBSD a processor's record is the
 * thread's own only inside of a section; Linux's rcu_read_lock_held() needs lockdep.  But each finds by itself who
 * sleeps in a section.
 */
static int inside(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	(void)self;
	return -1;
}

/* What every domain is told, beside its ops and its memory. */
static void domain_init(struct cleave_domain *domain, const struct cleave_ops *ops, const struct cleave_memory *memory,
			uint64_t garbage_limit)
{
	struct cleave_grace *grace = grace_of(domain);

	cleave_domain_init(domain, ops, memory, NULL, garbage_limit ? garbage_limit : CLEAVE__KERNEL_GARBAGE_LIMIT);
	domain->done = &grace->done;
	domain->started = CLEAVE__GRACE_STARTED(grace);
}

extern const struct cleave__search cleave__search_scalar;

/* SIMD registers are userspace's: to borrow them costs more than a walk. */
const struct cleave__search *cleave_search_named(const char *name)
{
	return name == NULL || strcmp(name, "scalar") == 0 ? &cleave__search_scalar : NULL;
}

#endif
