/* SPDX-License-Identifier: ISC */
/*
 * A flavour whose threads register with liburcu: memb and qsbr.  Included after liburcu's header, whose functions have
 * the same names in each.
 */
#ifndef CLEAVE_URCU_REGISTERED_H
#define CLEAVE_URCU_REGISTERED_H

#include "urcu.h"

static bool register_thread(void)
{
	if (URCU_TLS(rcu_reader).registered)
		return false;
	rcu_register_thread();
	return true;
}

static void unregister_thread(void)
{
	rcu_unregister_thread();
}

static void *reader(void)
{
	return &URCU_TLS(rcu_reader);
}

/*
 * liburcu's list still has the thread, whose memory the child will use for other things.  Nobody else runs and no
 * grace period is in progress, so the node can be unlinked where it is.
 */
static void forget(void *reader)
{
	cds_list_del(&((__typeof__(URCU_TLS(rcu_reader)) *)reader)->node);
}

#define CLEAVE__URCU_REGISTERED                                                     \
	.register_thread = register_thread, .unregister_thread = unregister_thread, \
	.reader = reader, .forget = forget

#endif
