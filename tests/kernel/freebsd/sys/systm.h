/* SPDX-License-Identifier: ISC */
/* Stands for <sys/systm.h> of FreeBSD: panic(9), wakeup of sleep(9), and the string functions of the kernel. */
#ifndef STUB_SYS_SYSTM_H
#define STUB_SYS_SYSTM_H

#include <sys/stdint.h>

void panic(const char *, ...) __attribute__((noreturn, format(printf, 1, 2)));
void wakeup(const void *);

void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int strcmp(const char *, const char *);

#endif
