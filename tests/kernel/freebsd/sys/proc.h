/* SPDX-License-Identifier: ISC */
/* Stands for <sys/proc.h> of FreeBSD: struct thread. */
#ifndef STUB_SYS_PROC_H
#define STUB_SYS_PROC_H

struct thread;

#endif
