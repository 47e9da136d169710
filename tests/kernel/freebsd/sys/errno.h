/* SPDX-License-Identifier: ISC */
/* Stands for <sys/errno.h> of FreeBSD: errno(2). */
#ifndef STUB_SYS_ERRNO_H
#define STUB_SYS_ERRNO_H

#define EPERM 1
#define ENOENT 2
#define ENOMEM 12
#define EACCES 13
#define EFAULT 14
#define EBUSY 16
#define EEXIST 17
#define EINVAL 22
#define ENOSPC 28
#define EAGAIN 35

#endif
