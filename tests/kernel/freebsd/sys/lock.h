/* SPDX-License-Identifier: ISC */
/* Stands for <sys/lock.h> of FreeBSD: mutex(9) wants it first. */
#ifndef STUB_SYS_LOCK_H
#define STUB_SYS_LOCK_H

struct lock_object;

#endif
