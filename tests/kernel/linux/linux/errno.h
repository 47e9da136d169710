/* SPDX-License-Identifier: ISC */
/* Stands for <linux/errno.h>: errno(3). */
#ifndef STUB_LINUX_ERRNO_H
#define STUB_LINUX_ERRNO_H

#define EPERM 1
#define ENOENT 2
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EFAULT 14
#define EBUSY 16
#define EEXIST 17
#define EINVAL 22
#define ENOSPC 28

#endif
