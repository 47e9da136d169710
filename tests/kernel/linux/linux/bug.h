/* SPDX-License-Identifier: ISC */
/* Stands for <linux/bug.h>: BUG(). */
#ifndef STUB_LINUX_BUG_H
#define STUB_LINUX_BUG_H

void stub_bug(void) __attribute__((noreturn));
#define BUG() stub_bug()

#endif
