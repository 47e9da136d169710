/* SPDX-License-Identifier: ISC */
/* Stands for <sys/systm.h> of OpenBSD: panic(9), tsleep(9), and the string functions of the kernel. */
#ifndef STUB_SYS_SYSTM_H
#define STUB_SYS_SYSTM_H

#include <sys/stdint.h>

struct mutex;

#define INFSLP UINT64_MAX

#define __predict_true(condition) __builtin_expect((condition) != 0, 1)
#define __predict_false(condition) __builtin_expect((condition) != 0, 0)

void panic(const char *, ...) __attribute__((noreturn, format(printf, 1, 2)));
int msleep_nsec(void *, struct mutex *, int, const char *, uint64_t);
void wakeup(void *);

void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int strcmp(const char *, const char *);

#endif
