/* SPDX-License-Identifier: ISC */
/* Stands for <linux/string.h>: the string functions of the kernel. */
#ifndef STUB_LINUX_STRING_H
#define STUB_LINUX_STRING_H

#include <linux/types.h>

void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int strcmp(const char *, const char *);

#endif
