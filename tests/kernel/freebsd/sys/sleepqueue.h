/* SPDX-License-Identifier: ISC */
/* Stands for <sys/sleepqueue.h> of FreeBSD: sleepqueue(9). */
#ifndef STUB_SYS_SLEEPQUEUE_H
#define STUB_SYS_SLEEPQUEUE_H

struct lock_object;

#define SLEEPQ_SLEEP 0x00

void sleepq_lock(const void *);
void sleepq_release(const void *);
void sleepq_add(const void *, struct lock_object *, const char *, int, int);
void sleepq_wait(const void *, int);

#endif
