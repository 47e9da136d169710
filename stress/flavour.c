/* SPDX-License-Identifier: ISC */
/* One flavour: CLEAVE_SECTION_... chooses it, STRESS_FLAVOUR is the table's symbol, STRESS_NAME its name. */
#include "flavour.h"

#include <cleave/section.h>

extern const struct flavour STRESS_FLAVOUR;

static int start(void *domain, const struct cleave_memory *memory, uint64_t garbage_limit)
{
	return cleave_section_start(domain, memory, garbage_limit);
}

static void stop(void *domain)
{
	cleave_section_stop(domain);
}

static struct cleave_domain *domain_of(void *domain)
{
	return &((CLEAVE_SECTION_DOMAIN *)domain)->domain;
}

static struct cleave_thread *thread_of(void *record)
{
	return &((CLEAVE_SECTION_THREAD *)record)->thread;
}

static void attach(void *record, void *domain)
{
	cleave_section_register(record, domain);
}

static void detach(void *record, void *domain)
{
	cleave_section_unregister(record, domain);
}

static void enter(void *record)
{
	cleave_section_enter(record);
}

static void leave(void *record)
{
	cleave_section_leave(record);
}

static void quiescent(void *record)
{
	cleave_section_quiescent(record);
}

static void offline(void)
{
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_offline();
#endif
}

static void online(void)
{
#ifdef CLEAVE_SECTION_QSBR
	rcu_thread_online();
#endif
}

const struct flavour STRESS_FLAVOUR = {
	.name = STRESS_NAME,
	.domain_size = sizeof(CLEAVE_SECTION_DOMAIN),
	.thread_size = sizeof(CLEAVE_SECTION_THREAD),
	.start = start,
	.stop = stop,
	.domain = domain_of,
	.thread = thread_of,
	.attach = attach,
	.detach = detach,
	.enter = enter,
	.leave = leave,
	.quiescent = quiescent,
	.offline = offline,
	.online = online,
};
