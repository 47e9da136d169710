/* SPDX-License-Identifier: ISC */
/* Stands for <linux/rcupdate.h>: whatisRCU.rst, and the kernel-doc of the polled grace periods. */
#ifndef STUB_LINUX_RCUPDATE_H
#define STUB_LINUX_RCUPDATE_H

#include <linux/types.h>

void rcu_read_lock(void);
void rcu_read_unlock(void);
void synchronize_rcu(void);
unsigned long start_poll_synchronize_rcu(void);
bool poll_state_synchronize_rcu(unsigned long);

#endif
