/* SPDX-License-Identifier: ISC */
/* Stands for <sys/mutex.h> of OpenBSD: mutex(9). */
#ifndef STUB_SYS_MUTEX_H
#define STUB_SYS_MUTEX_H

struct mutex {
	void *words[8];
	int level;
};

void mtx_init(struct mutex *, int);
void mtx_enter(struct mutex *);
void mtx_leave(struct mutex *);

#endif
