/* SPDX-License-Identifier: ISC */
/*
 * In the place of liburcu's <urcu.h>, for lib/port/urcu/memb.c under the simulator: a thread's record and its count, in
 * the arena, whose accesses are the simulator's.  As on x86, liburcu's plain stores are releases.
 */
#ifndef CLEAVE_SIM_URCU_H
#define CLEAVE_SIM_URCU_H

#include "port/port.h"

#include <stdlib.h>

struct urcu_reader {
	unsigned long ctr;
	bool registered;
	uint64_t node;
};

struct urcu_gp {
	unsigned long ctr;
};

/* Of the running thread, and what counts are compared with. */
struct urcu_reader *sim_urcu_reader(void);
extern const struct urcu_gp urcu_memb_gp;

#define URCU_TLS(name) (*sim_urcu_reader())
#define URCU_GP_COUNT 1ul
#define URCU_GP_CTR_NEST_MASK 0xfffful

#define _CMM_LOAD_SHARED(x) (x)
#define _CMM_STORE_SHARED(x, v) sim_store(&(x), sizeof(x), v, PORT_RELEASE, SIM_SITE)
#define cmm_barrier() ((void)0)
#define urcu_memb_smp_mb_slave() ((void)0)
#define urcu_common_wake_up_gp(gp) ((void)(gp))

/* gcc's accesses. */
#define __atomic_load_n(p, order) \
	sim_load(p, sizeof(*(p)), (order) == __ATOMIC_RELAXED ? PORT_RELAXED : PORT_ACQUIRE, SIM_SITE)
#define __atomic_store_n(p, value, order) \
	sim_store(p, sizeof(*(p)), value, (order) == __ATOMIC_RELAXED ? PORT_RELAXED : PORT_RELEASE, SIM_SITE)

static inline bool rcu_read_ongoing(void)
{
	return URCU_TLS(rcu_reader).ctr & URCU_GP_CTR_NEST_MASK;
}

/* There is no worker. */
static inline void synchronize_rcu(void)
{
	abort();
}

static inline void rcu_register_thread(void)
{
	URCU_TLS(rcu_reader).registered = true;
}

static inline void rcu_unregister_thread(void)
{
	URCU_TLS(rcu_reader).registered = false;
}

static inline void cds_list_del(uint64_t *node)
{
	*node = 0;
}

#endif
