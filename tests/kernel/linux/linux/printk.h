/* SPDX-License-Identifier: ISC */
/* Stands for <linux/printk.h>: printk-basics.rst. */
#ifndef STUB_LINUX_PRINTK_H
#define STUB_LINUX_PRINTK_H

int _printk(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define pr_emerg(format, ...) _printk(format, ##__VA_ARGS__)

#endif
