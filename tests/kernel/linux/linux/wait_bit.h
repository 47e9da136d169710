/* SPDX-License-Identifier: ISC */
/* Stands for <linux/wait_bit.h>: wait_var_event() and wake_up_var(). */
#ifndef STUB_LINUX_WAIT_BIT_H
#define STUB_LINUX_WAIT_BIT_H

/* The look at the condition and the going to sleep are one step for who wakes. */
void stub_wait_begin(void);
void stub_wait_sleep(void *);
void stub_wait_end(void);
void wake_up_var(void *);

#define wait_var_event(var, condition)        \
	do {                                  \
		stub_wait_begin();            \
		while (!(condition)) {        \
			stub_wait_sleep(var); \
			stub_wait_begin();    \
		}                             \
		stub_wait_end();              \
	} while (0)

#endif
