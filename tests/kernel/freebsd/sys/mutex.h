/* SPDX-License-Identifier: ISC */
/* Stands for <sys/mutex.h> of FreeBSD: mutex(9). */
#ifndef STUB_SYS_MUTEX_H
#define STUB_SYS_MUTEX_H

struct mtx {
	void *words[8];
};

#define MTX_DEF 0x00000000

void mtx_init(struct mtx *, const char *, const char *, int);
void mtx_destroy(struct mtx *);
void mtx_lock(struct mtx *);
int mtx_trylock(struct mtx *);
void mtx_unlock(struct mtx *);

#endif
