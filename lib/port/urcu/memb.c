/* SPDX-License-Identifier: ISC */
/*
 * liburcu with sys_membarrier.
 *
 * _LGPL_SOURCE: every write opens read sections, so liburcu's inlines are worth having: 0.7 ns a section against 10
 * called.  liburcu allows it for code under a licence that is compatible with the LGPL, which ISC is.  They also give
 * access to the reader's node, which `forget` needs.  Thread Sanitizer sees plain accesses in them: hidden.
 */
#ifndef _LGPL_SOURCE
#define _LGPL_SOURCE
#endif
#define RCU_MEMBARRIER
#include <urcu.h>

#include "moment.h"

static void *register_thread(void)
{
	if (URCU_TLS(rcu_reader).registered)
		return NULL;
	rcu_register_thread();
	return &URCU_TLS(rcu_reader);
}

static void unregister_thread(void)
{
	rcu_unregister_thread();
}

/*
 * liburcu's list still has the thread, whose memory the child will use for other things.  Nobody else runs and no
 * grace period is in progress, so the node can be unlinked where it is.
 */
static void forget(void *reader)
{
	cds_list_del(&((struct urcu_reader *)reader)->node);
}

static const struct cleave__urcu_flavour memb = {
	.ops = { CLEAVE__URCU_OPS, .enter = enter, .leave = leave, .inside = inside },
	.synchronize = synchronize,
	.register_thread = register_thread,
	.unregister_thread = unregister_thread,
	.forget = forget,
};

int cleave_urcu_memb_start(struct cleave_urcu *urcu, const struct cleave_memory *memory, uint64_t garbage_limit)
{
	return cleave__urcu_start(urcu, &memb, memory, garbage_limit);
}
